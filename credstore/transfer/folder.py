"""A folder of plain files as one end of a transfer.

Rules of this file: a folder stays a folder of plain files; nothing is kept next to them, and a file appears
under its name whole, verified and with its time, or not at all (`files.PendingFile`). Links are not followed
unless asked for, and nothing is written through one that leads out of the folder. The root of a local store,
which keeps more about a file than the file has, is refused, and so is what is below it: it is a store,
`file:///...`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import islice
from pathlib import Path

from credstore.concurrency import in_thread
from credstore.driver.internal import SEGMENT, store_above
from credstore.errors import (
    ErrorCode,
    StorageAccessDeniedError,
    StorageAlreadyExistsError,
    StorageError,
    StorageInvalidRequestError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
)
from credstore.files import FileState, PendingFile, is_leftover, remove_leftover, sync_directory
from credstore.folders import remove_empty
from credstore.hashing import hash_into
from credstore.model import StoreOptions
from credstore.transfer.disks import UNFIT, count_below, ignores_case, leads_into, translated, unfit
from credstore.transfer.filters import Filter
from credstore.transfer.mapping import Held
from credstore.transfer.plan import Entry, Facts
from credstore.transfer.sides import (
    MTIME,
    SMALL,
    Content,
    Depth,
    Flow,
    Written,
    differs,
    mtime_text,
    pieces_of,
    seconds,
)
from credstore.transfer.states import entry_of, marker_of, refused, tag_of
from credstore.transfer.types import guess_type
from credstore.transfer.values import Links

MARKER_TYPE = "application/x-directory"
"""Of an object that stands for a folder, as the tools that make such ones say it."""
EMPTY = hashlib.sha256().digest()
TINY = 64 * 1024
"""Bytes up to which files are read together."""
_BATCH = 1000


class Folder:
    """Plain files below one directory; see `Side`."""

    ordered = True
    plain = True
    sealed = ""
    branches = False

    def __init__(self, path: Path, *, links: Links = "skip", empty_folders: bool = False) -> None:
        """Name it; nothing is touched.

        Args:
            path: The directory; a relative one belongs to the current directory of now.
            links: Whether to go where symbolic links lead, leave them out, or refuse them.
            empty_folders: Whether folders with nothing in them count.
        """
        self.path = Path(os.path.realpath(path))
        self.label = f"the folder {str(path)!r}"
        self.identity = f"folder {self.path}"
        self.only: tuple[str, str] | None = None
        self.held = Held(unfit, branches=False)
        self.foreign: tuple[Path, ...] = ()
        """Directories of the other end, into which no link may lead."""
        self._follow, self._links, self.empty_folders = links == "follow", links, empty_folders
        self._known: set[Path] = set()
        self._markers: set[Path] = set()
        self._folds: bool | None = None
        self._ahead: dict[str, tuple[os.stat_result, bytes | None, bytes]] = {}

    async def folds(self) -> bool:
        """Whether its disk ignores the case of names; see `Side.folds`."""
        if self._folds is None:
            self._folds = await in_thread(ignores_case, self.path)
        return self._folds

    def unfit(self, name: str) -> str | None:
        """Why no file can have this name; see `Side.unfit`."""
        return unfit(self.held.called(name))

    async def entries(self, wanted: Filter, *, destination: bool) -> AsyncGenerator[Entry, None]:
        """The files; see `Side.entries`.

        Raises:
            StorageInvalidRequestError: There is no such folder, or it is the root of a local store.
            StorageAccessDeniedError: It may not be read.
        """
        if not await in_thread(self._is_there):
            if destination:
                return
            raise StorageInvalidRequestError(f"there is no folder {str(self.path)!r}")
        if self.only is not None:
            only = await in_thread(self._only)
            if only is not None and not (destination and only.refused):
                yield only
            return
        walk = self._walk("", wanted, sweep=destination, above=frozenset())
        while batch := await in_thread(lambda: list(islice(walk, _BATCH))):
            for each in batch:
                yield each

    def _file(self, name: str) -> Path:
        if self.only is not None and name == self.only[1]:
            return self.path / self.only[0]
        return self.path / self.held.called(name)

    def _is_folder(self, name: str) -> bool:
        """Whether a name stands for a folder."""
        return self.held.called(name).endswith("/")

    def _only(self) -> Entry | None:
        (name, called) = self.only or ("", "")
        try:
            found = (self.path / name).stat()  # Named by the user, so a link is followed.
        except FileNotFoundError:
            return None
        except OSError as error:
            return refused(called, f"it cannot be looked at: {error.strerror}", fault=True)
        if not stat.S_ISREG(found.st_mode):
            return refused(called, "it is not a file", fault=True)
        return entry_of(called, found)

    def _is_there(self) -> bool:
        try:
            above = store_above(self.path)
            if above is not None:
                raise StorageInvalidRequestError(
                    f"{str(self.path)!r} is in the local store {str(above)!r}, whose files may be compressed "
                    "or encrypted; name it as part of that store, file:///...?prefix=..., or store:..."
                )
            found = self.path.stat()
            if not stat.S_ISDIR(found.st_mode):
                raise StorageInvalidRequestError(f"{str(self.path)!r} is not a folder")
            if (self.path / SEGMENT).is_dir():
                raise StorageInvalidRequestError(
                    f"{str(self.path)!r} is the root of a local store, which keeps metadata next to its "
                    "files; name it as a store, file:///..."
                )
            with os.scandir(self.path):
                return True
        except FileNotFoundError:
            return False
        except OSError as error:
            raise translated(error, str(self.path)) from None

    def _walk(
        self, base: str, wanted: Filter, *, sweep: bool, above: frozenset[tuple[int, int]]
    ) -> Iterator[Entry]:
        """The files below one directory whose name, with a slash, is `base`."""
        folder = self.path / base
        try:
            here = folder.stat()
            with os.scandir(folder) as found:
                items = sorted(self._named(each) for each in found)
        except OSError as error:
            yield refused(base, f"the folder cannot be read: {error.strerror}", fault=True)
            return
        if (here.st_dev, here.st_ino) in above:
            yield refused(base, "a symbolic link leads back to a folder above it", fault=True)
            return
        if self._follow and self.foreign and leads_into(folder, self.foreign):
            yield refused(base, "a symbolic link leads into the other end of the transfer", fault=True)
            return
        above |= {(here.st_dev, here.st_ino)}
        if not items and base and wanted(base):
            if self.empty_folders:
                yield marker_of(base, here)
            elif not sweep:
                yield refused(base, "an empty folder, which is not kept", fault=False)
        for name, _, item in items:
            if is_leftover(item.name):
                if sweep:
                    remove_leftover(folder / item.name)
                continue
            if UNFIT.search(name):
                yield refused(base + ascii(name)[1:-1], "its name is not UTF-8", fault=True)
            elif name.endswith("/"):
                if wanted.enters(base + name):
                    yield from self._walk(base + name, wanted, sweep=sweep, above=above)
            elif wanted(called := self.held.name_of(base + name)):
                yield self._entry(called, item)

    def _named(self, item: os.DirEntry[str]) -> tuple[str, str, os.DirEntry[str]]:
        """The name as it sorts, that of a directory with a slash."""
        try:
            folder = item.is_dir(follow_symlinks=self._follow)
        except OSError:
            folder = False
        return (item.name + "/" if folder else item.name), item.name, item

    def _entry(self, name: str, item: os.DirEntry[str]) -> Entry:
        try:
            if item.is_symlink() and not self._follow:
                refuses = self._links == "error"
                return refused(name, "a symbolic link, which is not followed", fault=refuses)
            found = item.stat(follow_symlinks=self._follow)
        except OSError as error:
            return refused(name, f"it cannot be looked at: {error.strerror}", fault=True)
        if not stat.S_ISREG(found.st_mode):
            return refused(name, "neither a file nor a folder", fault=False)
        return entry_of(name, found)

    async def look(self, entry: Entry, depth: Depth) -> Facts:
        """Size and time, and the digest if it is to be read; see `Side.look`."""
        if self._is_folder(entry.name):
            return Facts(0, None, EMPTY)
        if depth == "facts":
            return Facts(entry.size, entry.modified)
        found, digest, _ = await in_thread(self._hashed, entry.name, keep=False)
        return Facts(found.st_size, seconds(found.st_mtime_ns), digest)

    def _hashed(self, name: str, *, keep: bool) -> tuple[os.stat_result, bytes | None, bytes]:
        """The state of a file, its digest and, with `keep`, its bytes, or neither where it is not small.

        Raises:
            StorageInvalidRequestError: It cannot be read, is not a file, or changed while it was read.
        """
        path = self._file(name)
        flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | os.O_NONBLOCK
        try:
            fd = os.open(path, flags | (0 if self._follow or self.only else os.O_NOFOLLOW))
        except FileNotFoundError:
            raise StorageObjectNotFoundError("the file is gone", key=name) from None
        except OSError as error:
            raise StorageInvalidRequestError(f"the file cannot be read: {error.strerror}", key=name) from None
        with os.fdopen(fd, "rb", buffering=0) as file:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise StorageInvalidRequestError("it is no longer a file", key=name)
            if keep and found.st_size > SMALL:
                return found, None, b""  # Whoever takes it reads it anyway.
            digest, size, parts = hashlib.sha256(), 0, list[bytes]()
            try:
                while chunk := file.read(SMALL):
                    digest.update(chunk)
                    size += len(chunk)
                    if keep:
                        parts.append(chunk)
                    if size > found.st_size:
                        raise _changed(name)
            except OSError as error:
                raise StorageInvalidRequestError(
                    f"the file cannot be read: {error.strerror}", key=name
                ) from None
            if size != found.st_size or not FileState.of(os.fstat(fd)).has_bytes_of(FileState.of(found)):
                raise _changed(name)
        return found, digest.digest(), b"".join(parts)

    async def prepare(self, entries: Sequence[Entry]) -> None:
        """Read small files together, in one visit to a thread; see `Side.prepare`."""

        def read() -> dict[str, tuple[os.stat_result, bytes | None, bytes]]:
            found: dict[str, tuple[os.stat_result, bytes | None, bytes]] = {}
            for each in entries:
                if each.size <= TINY and not self._is_folder(each.name):
                    with suppress(StorageError):  # Whoever reads it alone says why it cannot be read.
                        found[each.name] = self._hashed(each.name, keep=True)
            return found

        self._ahead = await in_thread(read)

    @asynccontextmanager
    async def read(self, entry: Entry, flow: Flow) -> AsyncGenerator[Content]:
        """One file; see `Side.read`.

        Raises:
            StorageInvalidRequestError: It cannot be read, or changed while it was (code "SOURCE_CHANGED").
        """
        if self._is_folder(entry.name):
            options: StoreOptions = {"content_type": MARKER_TYPE, "compress": False}
            yield Content(entry.tag, 0, b"", EMPTY, None, options, _as_it_was)
            return
        ahead = self._ahead.pop(entry.name, None)
        if ahead is None:
            ahead = await in_thread(self._hashed, entry.name, keep=True)
        found, digest, data = ahead
        path = self._file(entry.name)

        async def settled() -> None:
            def look() -> None:
                try:
                    now = path.stat(follow_symlinks=self._follow or self.only is not None)
                except OSError:
                    raise _changed(entry.name) from None
                if not FileState.of(now).has_bytes_of(FileState.of(found)):
                    raise _changed(entry.name)

            await in_thread(look)

        small = found.st_size <= SMALL
        await flow(found.st_size)
        yield Content(
            tag=tag_of(found),
            size=found.st_size,
            data=data if small else path,
            digest=digest,
            modified=found.st_mtime_ns,
            options={
                "content_type": guess_type(path.name, entry.name),
                "metadata": {MTIME: mtime_text(found.st_mtime_ns)},
            },
            settled=_as_it_was if small else settled,
        )

    async def write(
        self, name: str, content: Content, *, if_absent: bool, verify: bool, flow: Flow
    ) -> Written:
        """Make a file of it, or a folder of a marker; see `Side.write`."""
        del flow  # What is written was counted when it was read.
        if self._is_folder(name):
            return await self._write_marker(name, content)
        file = PendingFile(self._file(name), replace=not if_absent)
        try:
            if isinstance(content.data, bytes):
                version, digest = await in_thread(
                    self._write_whole, file, content, content.data, verify=verify
                )
            else:
                version, digest = await self._write_pieces(file, content, content.data, verify=verify)
        except FileExistsError:
            if file.target.is_dir():
                raise translated(OSError(errno.EISDIR, os.strerror(errno.EISDIR)), name) from None
            raise StorageAlreadyExistsError("there is a file of that name", key=name) from None
        except StorageError:
            raise  # Some are themselves an `OSError`.
        except OSError as error:
            raise translated(error, name) from None
        return Written(version, digest, content.tag, tuple(content.lost) + _beside(content))

    async def _write_marker(self, name: str, content: Content) -> Written:
        path = self._file(name)

        def make() -> str:
            self._make_parents(path / "any")
            self._markers.add(path)
            return marker_of(name, path.stat()).version

        try:
            version = await in_thread(make)
        except StorageError:
            raise
        except OSError as error:
            raise translated(error, name) from None
        return Written(version, EMPTY, content.tag, tuple(content.lost) + _beside(content))

    def _write_whole(
        self, file: PendingFile, content: Content, data: bytes, *, verify: bool
    ) -> tuple[str, bytes]:
        self._make_parents(file.target)
        with file:
            file.write(data)
            digest = hashlib.sha256(data).digest()
            if content.digest not in {None, digest}:
                raise differs()
            return _finish(file, digest if verify else None, content.modified), digest

    async def _write_pieces(
        self, file: PendingFile, content: Content, data: Path | AsyncIterator[bytes], *, verify: bool
    ) -> tuple[str, bytes]:
        await in_thread(self._make_parents, file.target)
        try:
            await in_thread(file.open)
            seen = hashlib.sha256()
            async for chunk in pieces_of(data):
                await hash_into(seen, chunk)
                await in_thread(file.write, chunk)
            await content.settled()
            digest = seen.digest()
            if content.digest not in {None, digest}:
                raise differs()
            return await in_thread(_finish, file, digest if verify else None, content.modified), digest
        finally:
            await in_thread(file.close)

    def _make_parents(self, target: Path) -> None:
        parent = target.parent
        if parent in self._known and parent.is_dir():
            return
        if not Path(os.path.realpath(parent)).is_relative_to(self.path):
            raise StorageAccessDeniedError(
                f"a symbolic link at {str(parent)!r} leads out of the folder, and nothing is written there"
            )
        missing = [each for each in (parent, *parent.parents) if not each.exists()]
        try:
            parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError:  # It is not that of the file that is to be written.
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
        for each in missing:
            sync_directory(each.parent)
        if len(self._known) >= _BATCH:
            self._known.clear()
        self._known.add(parent)

    async def below(self, name: str) -> int:
        """See `Side.below`."""
        return 0 if self._is_folder(name) else await in_thread(count_below, self._file(name))

    async def make_way(self, name: str) -> None:
        """See `Side.make_way`."""
        path = self._file(name)
        if not self._is_folder(name) and path not in self._markers:
            await in_thread(remove_empty, path)

    async def delete(self, entry: Entry) -> None:
        """Remove a file, and the folders that are empty without it; see `Side.delete`."""

        def remove() -> None:
            path = self._file(entry.name)
            try:
                if self._is_folder(entry.name):
                    with suppress(OSError):  # Something is in it again.
                        path.rmdir()
                    return
                if tag_of(path.lstat()) != entry.tag:
                    raise StoragePreconditionFailedError(
                        "the file was changed meanwhile, so it was kept", key=entry.name
                    )
                path.unlink()
            except FileNotFoundError:
                return
            except StorageError:
                raise
            except OSError as error:
                raise translated(error, entry.name) from None
            with suppress(OSError):  # The first one that is not empty.
                for folder in path.parents:
                    if folder == self.path or folder in self._markers:
                        return
                    folder.rmdir()

        await in_thread(remove)


def _changed(name: str) -> StorageInvalidRequestError:
    return StorageInvalidRequestError(
        "the file changed while it was being read", code=ErrorCode.SOURCE_CHANGED, key=name, retryable=True
    )


async def _as_it_was() -> None:
    """What was read at once is of one state."""


def _finish(file: PendingFile, digest: bytes | None, modified: int | None) -> str:
    """Compare a file with what was written to it, and publish it with its time."""
    if digest is not None:
        seen, at = hashlib.sha256(), 0
        while chunk := os.pread(file.fd, SMALL, at):
            seen.update(chunk)
            at += len(chunk)
        if seen.digest() != digest:
            raise differs()
    if modified is not None:
        os.utime(file.fd, ns=(modified, modified))
    file.publish()
    return tag_of(os.fstat(file.fd))


def _beside(content: Content) -> tuple[str, ...]:
    """What is stored with an object that a plain file has no place for."""
    options = content.options
    kept = {name for name in options.get("metadata", {}) if name != MTIME}
    beside = {
        "metadata": kept,
        "tags": options.get("tags"),
        "cache_control": options.get("cache_control"),
        "content_disposition": options.get("content_disposition"),
        "content_language": options.get("content_language"),
    }
    return tuple(name for name, value in beside.items() if value)
