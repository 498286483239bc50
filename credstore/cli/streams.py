"""The standard streams of the process, so that whatever they lead to, each command ends with its own code.

Rules of this file: what standard output does not take is a failure, which names it. What standard error does
not take is lost, and changes nothing. A stream that is closed is as one that can be neither read nor written.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Generator
from io import BufferedReader, BufferedWriter, FileIO, TextIOWrapper
from typing import TYPE_CHECKING, TextIO, cast

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

INPUT, OUTPUT = "standard input", "standard output"


@contextlib.contextmanager
def naming_stream(name: str) -> Generator[None, None, None]:
    """Make errors of the system inside name the stream."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, name) from None


class _Input(FileIO):
    """Standard input, whose errors name it."""

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        with naming_stream(INPUT):
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with naming_stream(INPUT):
            return super().readall()


class _Output(FileIO):
    """Standard output, whose errors name it."""

    def write(self, data: ReadableBuffer, /) -> int:
        with naming_stream(OUTPUT):
            return super().write(data)


class _Errors(FileIO):
    """Standard error, which has no errors: there would be nowhere to say so."""

    def write(self, data: ReadableBuffer, /) -> int:
        with contextlib.suppress(OSError):
            return super().write(data)
        return memoryview(data).nbytes


def prepare_streams() -> None:
    """Make the standard streams ready for any place that they may lead to.

    The number of a closed stream goes to whatever is opened next, which would then get what is printed; so
    something takes it, in this order, before anything else is opened.
    """
    if cast("object", sys.stdin) is None:
        sys.stdin = TextIOWrapper(BufferedReader(_Input(_opened(os.O_WRONLY))), encoding="utf-8")
    if cast("object", sys.stdout) is None:
        sys.stdout = _text(_Output(_opened(os.O_RDONLY), "w"))
    elif sys.stdout is sys.__stdout__:
        sys.stdout = _over(cast("TextIO", sys.stdout), _Output)
    if cast("object", sys.stderr) is None:
        sys.stderr = _text(_Errors(_opened(os.O_WRONLY), "w"))
    elif sys.stderr is sys.__stderr__:
        sys.stderr = _over(cast("TextIO", sys.stderr), _Errors)


def discard_output() -> None:
    """Make the flush at exit go nowhere, instead of complaining about what was not taken."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _opened(flags: int) -> int:
    """What a closed stream leads to: reading from what is only written to fails, and the reverse."""
    return os.open(os.devnull, flags)


def _text(raw: FileIO) -> TextIOWrapper:
    return TextIOWrapper(BufferedWriter(raw), encoding="utf-8", errors="backslashreplace")


def _over(stream: TextIO, kind: type[FileIO]) -> TextIO:
    """The same stream over another class of file; as it is where it is not over a plain one (Windows)."""
    below: object = getattr(stream, "buffer", None)
    unbuffered = isinstance(below, FileIO)
    raw: object = below if unbuffered else getattr(below, "raw", None)
    if type(raw) is not FileIO or not isinstance(stream, TextIOWrapper):
        return stream
    ours = kind(raw.fileno(), "w", closefd=False)
    return TextIOWrapper(
        cast("BufferedWriter", ours) if unbuffered else BufferedWriter(ours),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
