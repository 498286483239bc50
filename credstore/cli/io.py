"""Where bytes of a transfer come from and go to: standard streams, and files made whole or not at all."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import click

from credstore.cli.streams import INPUT, OUTPUT, naming_stream
from credstore.concurrency import in_thread
from credstore.files import PendingFile, write_all
from credstore.threads import in_daemon

CHUNK = 1024 * 1024


class Sink(Protocol):
    """Takes the bytes of one object."""

    async def write(self, data: bytes) -> None:
        """Take more bytes."""
        ...


async def read_standard_input() -> AsyncIterator[bytes]:
    """The bytes of standard input until its end, without a thread that an interrupt would wait for."""
    descriptor = sys.stdin.fileno()
    while True:
        try:
            await _readable(descriptor)
        except (PermissionError, NotImplementedError):
            # A regular file is always readable and cannot be waited for; nor can anything on Windows.
            chunk = await in_daemon(lambda: _read(descriptor))
        else:
            chunk = _read(descriptor)
        if not chunk:
            return
        yield chunk


def _read(descriptor: int) -> bytes:
    with naming_stream(INPUT):
        return os.read(descriptor, CHUNK)


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(descriptor, wake)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


class StandardOutput:
    """Standard output as a sink."""

    async def write(self, data: bytes) -> None:
        """Write all of it.

        Raises:
            BrokenPipeError: No one reads any more.
            OSError: It is closed, or the disk that it is on is full.
        """
        with naming_stream(OUTPUT):
            await in_thread(write_all, sys.stdout.fileno(), data)


class NewFile:
    """A file that appears under its name with all bytes, or not at all; see `credstore.files.PendingFile`."""

    def __init__(self, target: Path, *, replace: bool) -> None:
        """Name the file; nothing is touched yet.

        Args:
            target: Its path; a symbolic link stays, and the file it leads to is written.
            replace: Whether an existing file may be replaced.
        """
        self.target = Path(os.path.realpath(target))
        self._replace = replace
        self._file = PendingFile(self.target, replace=replace)

    async def __aenter__(self) -> Self:
        """Make the hidden file.

        Raises:
            click.UsageError: The target cannot be a file.
            FileExistsError: The target exists and is not to be replaced.
            OSError: The directory cannot be written to.
        """
        try:
            await in_thread(self._create)
        except BaseException:
            self._file.close()
            raise
        return self

    def _create(self) -> None:
        if self.target.exists() and not self.target.is_file():
            raise click.UsageError(f"{self.target} is not a regular file; write to - and redirect")
        if self.target.exists() and not self._replace:
            raise self._exists()
        self._file.open()

    async def write(self, data: bytes) -> None:
        """Take more bytes.

        Raises:
            OSError: The disk is full.
        """
        await in_thread(self._file.write, data)

    async def publish(self) -> None:
        """Make the file durable and give it its name.

        Raises:
            FileExistsError: Someone else made it in the meantime, and it is not to be replaced.
            OSError: The disk failed.
        """
        try:
            await in_thread(self._file.publish)
        except FileExistsError:
            raise self._exists() from None

    def _exists(self) -> FileExistsError:
        return FileExistsError(errno.EEXIST, "already exists; --force replaces it", str(self.target))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
