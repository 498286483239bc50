"""Where bytes of a transfer come from and go to: standard streams, and files made whole or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import click

from credstore.concurrency import in_thread

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
            chunk = await asyncio.to_thread(os.read, descriptor, CHUNK)
        else:
            chunk = os.read(descriptor, CHUNK)
        if not chunk:
            return
        yield chunk


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
            BrokenPipeError: Nobody reads any more.
        """
        await in_thread(_write_all, sys.stdout.fileno(), data)


class NewFile:
    """A file that appears under its name with all bytes, or not at all.

    The bytes go to a hidden file beside it, which is made durable and then named; leaving the
    context without `publish` removes it.
    """

    def __init__(self, target: Path, *, replace: bool) -> None:
        """Name the file; nothing is touched yet.

        Args:
            target: Its path; a symbolic link stays and the file it leads to is meant.
            replace: Whether an existing file may be replaced.
        """
        self.target = Path(os.path.realpath(target))
        self._replace = replace
        self._temporary = self.target.parent / f".credstore-{secrets.token_hex(8)}"
        self._descriptor = -1

    async def __aenter__(self) -> Self:
        """Make the hidden file.

        Raises:
            click.UsageError: The target is no place for a file.
            FileExistsError: The target exists and is not to be replaced.
            OSError: The directory cannot be written.
        """
        await in_thread(self._create)
        return self

    def _create(self) -> None:
        if self.target.exists() and not self.target.is_file():
            raise click.UsageError(f"{self.target} is no regular file; write to - and redirect")
        if self.target.exists() and not self._replace:
            raise self._exists()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        try:
            self._descriptor = os.open(self._temporary, flags, 0o666)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.target)) from None

    async def write(self, data: bytes) -> None:
        """Take more bytes.

        Raises:
            OSError: The disk is full.
        """
        await in_thread(_write_all, self._descriptor, data)

    async def publish(self) -> None:
        """Make the file durable and give it its name.

        Raises:
            FileExistsError: It was made by someone else meanwhile, and is not to be replaced.
            OSError: The disk failed.
        """
        await in_thread(self._publish)

    def _publish(self) -> None:
        os.fsync(self._descriptor)
        if self._replace:
            self._temporary.replace(self.target)
            return
        try:
            os.link(self._temporary, self.target)
        except FileExistsError:
            raise self._exists() from None
        except OSError:
            # A file system without hard links: the check and the renaming are two steps there.
            if self.target.exists():
                raise self._exists() from None
            self._temporary.rename(self.target)

    def _exists(self) -> FileExistsError:
        return FileExistsError(errno.EEXIST, "exists already; --force replaces it", str(self.target))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        with contextlib.suppress(FileNotFoundError):
            self._temporary.unlink()


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
