"""How a failure is reported: one line for a person, one JSON document for a program, never a traceback."""

from __future__ import annotations

import json
import traceback
from pathlib import Path

import click

from credstore.cli.exits import Exit, exit_of
from credstore.cli.options import Invocation
from credstore.cli.output import note, printable, to_json
from credstore.errors import StorageError, StorageObjectNotFoundError, StorageVersionsRemainError


def report(error: Exception, invocation: Invocation) -> int:
    """Report a failure on stderr, and return its exit code."""
    code = Exit.USAGE if isinstance(error, click.UsageError) else exit_of(error)
    if invocation.json:
        document: dict[str, object] = {"type": type(error).__name__, "message": _message(error)}
        document["exit_code"] = int(code)
        if isinstance(error, StorageError):
            document.update(error.facts())
        note(json.dumps({"error": to_json(document)}))
    else:
        note(f"credstore: {printable(_line(error, invocation))}")
    return code


def report_end(word: str, code: Exit, invocation: Invocation) -> int:
    """Report on stderr that the command was ended from outside, and return its exit code."""
    text = f"{word}{invocation.interrupted}"
    if invocation.json:
        document = {"type": word.capitalize(), "message": text, "exit_code": int(code)}
        note(json.dumps({"error": document}))
    else:
        note(f"credstore: {text}")
    return code


def _line(error: Exception, invocation: Invocation) -> str:
    if isinstance(error, StorageError):
        return str(error) if invocation.verbose else _short(error)
    return _message(error)


def _short(error: StorageError) -> str:
    """Which object, what, the code and the provider's id of the request; `--verbose` shows the other facts.

    An object that does not exist is nothing a provider's support is asked about, so its id is left out.
    """
    about = f"{error.key!r}: " if error.key is not None and repr(error.key) not in error.message else ""
    unclear = error.applied == "maybe" and not isinstance(error, StorageVersionsRemainError)
    maybe = "; it may have happened anyway" if unclear else ""
    again = "; a retry may help" if error.retryable else ""
    asked = error.request_id if not isinstance(error, StorageObjectNotFoundError) else None
    request = f"; request id: {asked}" if asked else ""
    lead = ""
    if isinstance(error, StorageObjectNotFoundError) and (error.key or "").startswith("/"):
        lead = "; a slash at its beginning is part of a key, and keys seldom have one"
    return f"{about}{error.message}{lead}{maybe}{again} [{error.code}{request}]"


def _message(error: Exception) -> str:
    if isinstance(error, StorageError):
        return error.message
    if isinstance(error, click.ClickException):
        return " ".join(error.format_message().split())
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    # The text of an unexpected error could hold anything, so only its kind and place are reported.
    last = traceback.extract_tb(error.__traceback__)[-1:]
    place = "".join(f" at {Path(frame.filename).name}:{frame.lineno}" for frame in last)
    return f"an unexpected {type(error).__name__}{place} ended the command; please report it"
