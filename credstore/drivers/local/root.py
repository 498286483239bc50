"""The root directory of a store and its control directory `.credstore`, opened once.

    .credstore/format        what this store's names mean; written once
    .credstore/link-secret   32 bytes that sign temporary links, for the owner only
    .credstore/tmp/          files being written
    .credstore/locks/        one lock per group of keys
    .credstore/attributes/   what is kept besides the bytes

A root can be read without any of these; they are made by the first write.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import threading
from collections.abc import Sequence
from pathlib import Path

from credstore.drivers.local.atomic import (
    DIRECTORY,
    Temporary,
    create_locked,
    open_regular,
    opened,
    read_all,
    release,
)
from credstore.drivers.local.attributes import reap
from credstore.drivers.local.directories import Directories
from credstore.drivers.local.failures import unusable_root
from credstore.drivers.local.flushing import LASTING, Syncer
from credstore.drivers.local.names import CONTROL
from credstore.errors import (
    Applied,
    ErrorCode,
    StorageAccessDeniedError,
    StorageConfigurationError,
    StorageReadOnlyError,
)

_FORMAT = 1
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE})
"""Errors of walking a path that no longer leads to a directory."""
_SECRET_SIZE = 32
_UPPER, _LOWER = "Probe-\u00c4-\u00e9", "probe-\u00e4-e\u0301"


class Root:
    """The open directories of one store.

    Attributes:
        fd: The root.
        fold: Whether this file system confuses names by case or Unicode form.
        syncer: How writes are made durable.
    """

    def __init__(self, path: str, *, create: bool, fsync: bool) -> None:
        self.path = path
        self.syncer = Syncer(enabled=fsync)
        self._lock = threading.Lock()
        self._control: int | None = None
        self._attributes: int | None = None
        self._parts: dict[str, int] = {}
        try:
            if create:
                _make(Path(path), self.syncer)
            self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise unusable_root(path, error) from None
        try:
            self.fold = self._known_fold()
            self._here = os.fstat(self.fd)
        except BaseException:
            release(self.fd)
            raise

    def check_there(self, *, applied: Applied = "no") -> None:
        """Refuse to work on a directory that is no longer at the store's path; one system call.

        Args:
            applied: Whether what was asked for has been done by now, in the directory that was moved.

        Raises:
            StorageConfigurationError: It was removed, moved or replaced while it was open, or another file
                system was mounted over it (code "ROOT_REMOVED").
        """
        try:
            there = os.stat(self.path)  # noqa: PTH116 - a path object is slow
        except OSError as error:
            if error.errno not in _GONE:
                # The path cannot be walked now, for example after the process dropped its rights.
                if not os.fstat(self.fd).st_nlink:
                    raise self._gone("was removed", applied) from None
                return
            raise self._gone("is missing: it was removed or moved", applied) from None
        if not os.path.samestat(there, self._here) and not os.path.samestat(there, os.fstat(self.fd)):
            raise self._gone("was replaced by another one", applied)

    def leads_to(self, directory: int, names: Sequence[str]) -> bool:
        """Whether these names lead from the root to an open directory now, no link among them.

        Linux says where a directory is that is held open; elsewhere this is False.
        """
        try:
            root, there = (os.readlink(f"/proc/self/fd/{fd}") for fd in (self.fd, directory))  # noqa: PTH115
        except OSError:
            return False
        return there == os.path.join(root, *names)  # noqa: PTH118 - a path object is slow

    def _gone(self, what: str, applied: Applied) -> StorageConfigurationError:
        outcome = "; the write was done in the directory that was there before" if applied == "maybe" else ""
        return StorageConfigurationError(
            f"the directory {self.path!r} {what} while the store was open{outcome}; put it back, or open the "
            "store again",
            code=ErrorCode.ROOT_REMOVED,
            applied=applied,
        )

    def _known_fold(self) -> bool:
        control = self.control()
        stored = None if control is None else _read_file(control, "format")
        if stored is None:
            return False
        try:
            found = json.loads(stored)
            if found["format"] == _FORMAT:
                return bool(found["fold"])
        except (ValueError, TypeError, KeyError, RecursionError):
            pass
        text = f"{self.path!r} belongs to another version of credstore, or its format file is damaged"
        raise StorageConfigurationError(text)

    def control(self) -> int | None:
        """The control directory, or None where there is none yet."""
        if self._control is None:
            try:
                with self._lock, contextlib.suppress(FileNotFoundError):
                    if self._control is None:
                        self._control = os.open(CONTROL, DIRECTORY, dir_fd=self.fd)
            except NotADirectoryError:
                text = (
                    f"{CONTROL} in {self.path!r} is a link or file, not the directory of a store; remove it"
                )
                raise StorageConfigurationError(text) from None
        return self._control

    def attributes(self) -> int | None:
        """The control directory's part for attributes, or None where there is none yet."""
        if self._attributes is None:
            control = self.control()
            if control is None:
                return None
            with self._lock, contextlib.suppress(FileNotFoundError):
                if self._attributes is None:
                    self._attributes = os.open("attributes", DIRECTORY, dir_fd=control)
        return self._attributes

    def part(self, name: str) -> int:
        """The control directory's part `name`; call `prepare` first."""
        return self._parts[name]

    def prepare(self) -> bool:
        """Make everything that writing needs; True the first time.

        Raises:
            OSError: It cannot be made.
        """
        if self._parts:
            return False
        self.control()
        shelves: list[str] = []
        with Directories.open(self.fd, (CONTROL,), make=True) as control:
            for name in ("tmp", "locks", "attributes"):
                with Directories.open(control.last, (name,), make=True) as part:
                    if name == "attributes":
                        shelves = os.listdir(part.last)  # noqa: PTH208 - a descriptor
                    part.sync(self.syncer)
                    if name == "tmp":
                        reap(part.last, self.attributes())
                        self._remember_format(control.last, part.last)
            control.sync(self.syncer)
        control_fd = self.control()
        if control_fd is None:
            raise FileNotFoundError
        attributes = self.attributes()
        if attributes is not None:
            self.syncer.learn({(attributes, (shelf,)): LASTING for shelf in shelves})
        with self._lock:
            if self._parts:
                return False
            self._parts = {name: os.open(name, DIRECTORY, dir_fd=control_fd) for name in ("tmp", "locks")}
        return True

    def _remember_format(self, control: int, temporary: int) -> None:
        if _read_file(control, "format") is None:
            self.fold = _probe_fold(temporary)
            content = json.dumps({"format": _FORMAT, "fold": self.fold}).encode()
            self._publish(control, temporary, "format", content, 0o644)
        self.fold = self._known_fold()

    def link_secret(self, *, make: bool = True) -> bytes:
        """The 32 bytes that sign links.

        Args:
            make: Make them if there are none yet.

        Raises:
            StorageReadOnlyError: There are none, and they are not to be made.
        """
        control = self.control()
        secret = None if control is None else _read_file(control, "link-secret")
        if secret is None and not make:
            raise StorageReadOnlyError(
                f"{self.path!r} has no secret yet that signs links, and was opened with read_only=True; make "
                "the first link with a store that may write"
            )
        if secret is None:
            self.check_there()
            self.prepare()
            control_fd = self.control()
            if control_fd is None:
                raise FileNotFoundError
            self._publish(
                control_fd, self.part("tmp"), "link-secret", secrets.token_bytes(_SECRET_SIZE), 0o600
            )
            secret = _read_file(control_fd, "link-secret")
        if secret is None or len(secret) != _SECRET_SIZE:
            text = "the secret that signs links is damaged; remove .credstore/link-secret to make a new one"
            raise StorageConfigurationError(text)
        return secret

    def _publish(self, control: int, temporary: int, name: str, content: bytes, mode: int) -> None:
        file = Temporary(temporary, self.syncer)
        try:
            os.fchmod(file.fd, mode)
            file.write(content)
            file.settle()
            with contextlib.suppress(FileExistsError):
                file.link(control, name)
            self.syncer.sync(control)
        finally:
            file.discard()

    def check(self, *, writing: bool = True) -> None:
        """Prove that the root is where it was.

        Args:
            writing: Also that it can be written to.

        Raises:
            StorageConfigurationError: The directory was removed or replaced.
            StorageAccessDeniedError: It cannot be written to.
        """
        self.check_there()
        if not writing:
            return
        if os.statvfs(self.fd).f_flag & os.ST_RDONLY or not os.access(
            ".", os.W_OK | os.X_OK, dir_fd=self.fd, effective_ids=os.access in os.supports_effective_ids
        ):
            text = f"the directory {self.path!r} can be read but not written to; change its owner or mode"
            raise StorageAccessDeniedError(text)

    def close(self) -> None:
        """Close all directories."""
        with self._lock:
            for fd in (*self._parts.values(), self._attributes, self._control, self.fd):
                if fd is not None:
                    release(fd)
            self._parts, self._attributes, self._control = {}, None, None


def _make(path: Path, syncer: Syncer) -> None:
    missing: list[Path] = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        with opened(os.open(each.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as fd:
            syncer.sync(fd)


def _read_file(directory: int, name: str) -> bytes | None:
    found = open_regular(directory, name)
    if found is None:
        return None
    with opened(found[0]) as fd:
        return read_all(fd, 0, found[1].st_size)


def _probe_fold(directory: int) -> bool:
    """Whether a name is found, or comes back, in another case or Unicode form."""
    upper, fd = create_locked(directory, _UPPER)
    with opened(fd):
        try:
            variants = (
                upper.replace(_UPPER, _LOWER),
                upper.replace("P", "p"),  # FAT may ignore the case of ASCII only.
                upper.replace("\u00c4", "\u00e4"),
                upper.replace("\u00e9", "e\u0301"),
            )
            found = any(_opens(directory, name) for name in variants)
            return found or upper not in os.listdir(directory)
        finally:
            os.unlink(upper, dir_fd=directory)


def _opens(directory: int, name: str) -> bool:
    """Whether `name` can be opened as a regular file."""
    found = open_regular(directory, name)
    if found is None:
        return False
    os.close(found[0])
    return True
