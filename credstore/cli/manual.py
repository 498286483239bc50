"""The manual page, made of the commands themselves.

Source: man(7), "Sections within a manual page" and the macros of the man package.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping

import click


def page(program: click.Group, exits: Mapping[int, str]) -> str:
    """The page as roff.

    Args:
        program: The commands; each is loaded.
        exits: What each exit code means.
    """
    context = click.Context(program, info_name="credstore")
    lines = [
        '.TH CREDSTORE 1 "" "credstore" "User Commands"',
        ".SH NAME",
        r"credstore \- signed content\-provenance proofs on any object store",
        ".SH SYNOPSIS",
        r".B credstore",
        r"[\fIOPTION\fR]... \fICOMMAND\fR [\fIARGUMENT\fR]...",
        ".SH DESCRIPTION",
        _text(program.help or ""),
        ".SH OPTIONS",
        *_options(program, context),
        ".SH COMMANDS",
        *_commands(program, context, "credstore"),
        ".SH EXIT STATUS",
    ]
    for code, meaning in exits.items():
        lines += [".TP", rf"\fB{code}\fR", _text(meaning)]
    return "\n".join(lines) + "\n"


def _commands(group: click.Group, context: click.Context, path: str) -> Iterator[str]:
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if found is None or found.hidden:
            continue
        inner = click.Context(found, parent=context, info_name=name)
        usage = " ".join(found.collect_usage_pieces(inner))
        yield f".SS {_text(f'{path} {name} {usage}'.strip())}"
        for number, paragraph in enumerate(inspect.cleandoc(found.help or "").split("\n\n")):
            if number:
                yield ".PP"
            yield _text(paragraph)
        yield from _options(found, inner)
        if isinstance(found, click.Group):
            yield from _commands(found, inner, f"{path} {name}")


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and record[1]:
            yield ".TP"
            yield rf"\fB{_text(record[0])}\fR"
            yield _text(record[1])


def _text(text: str) -> str:
    """Words that roff takes as they are."""
    found = " ".join(text.split()).replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{found}" if found.startswith((".", "'")) else found
