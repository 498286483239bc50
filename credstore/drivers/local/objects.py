"""Objects as pairs of a data file and its attributes: found, published and removed as one.

Rules of this file: everything blocks and runs in a thread. Readers take no lock: the data file they
open decides which attributes belong to it. Writers hold the key's lock, and what is seen changes
with one system call, the rename or link in `_publish` and the unlink in `delete`. An object is at its
primary name, or aside where that is taken by a directory; it never moves back, so a reader that looks
at the primary name first and aside then cannot miss it.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

from credstore.driver import Precondition
from credstore.drivers.local.atomic import (
    ABSENT,
    Directories,
    Temporary,
    Token,
    open_regular,
)
from credstore.drivers.local.attributes import Attributes, Shelf, foreign
from credstore.drivers.local.failures import MovedError, translate
from credstore.drivers.local.locks import Hold, KeyLocks, is_marked
from credstore.drivers.local.names import Place, aside, primary
from credstore.drivers.local.root import Root
from credstore.errors import (
    Applied,
    ErrorCode,
    StorageAccessDeniedError,
    StorageAlreadyExistsError,
    StorageConflictError,
    StorageError,
    StorageIntegrityError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
)

T = TypeVar("T")
_ATTEMPTS = 64
"""How often an operation starts again when others keep changing the directories under it."""


@dataclass(slots=True)
class OpenObject:
    """A data file held open with the attributes of just this version; close it.

    Attributes:
        fd: The file, or -1 when closed.
        token: Which version it is.
        attributes: What is kept beside it.
        content: The wanted bytes where they were read at once, else None.
    """

    fd: int
    token: Token
    attributes: Attributes
    content: bytes | None = None

    def close(self) -> None:
        """Let go of the file; safe to call again."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


class Objects:
    """The objects below one root."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._locks: KeyLocks | None = None

    # Reading

    def open(self, key: str) -> OpenObject:
        """Open the present version of an object.

        Raises:
            StorageNotFoundError: There is none.
        """
        seen: Token | None = None
        for _ in range(_ATTEMPTS):
            found = self._open_file(key)
            if found is None:
                self._root.check_there()
                raise StorageObjectNotFoundError("there is no such object")
            fd, token = found
            try:
                attributes = self._attributes(key, fd, token, again=token == seen)
            except BaseException:
                os.close(fd)
                raise
            if attributes is not None:
                return OpenObject(fd, token, attributes)
            os.close(fd)
            seen = token
        raise StorageConflictError("the object kept changing while it was opened", retryable=True)

    def _attributes(self, key: str, fd: int, token: Token, *, again: bool) -> Attributes | None:
        """None where the object must be looked at once more: it may have been replaced just now."""
        control = self._root.control()
        if control is None:
            return foreign(key)
        shelf = Shelf(control, key)
        attributes = shelf.read(token) or (shelf.adopt(fd, token) if again else None)
        if attributes is not None or not again:
            return attributes
        # Attributes may be those of a version that is not published yet, or never will be.
        if is_marked(control, key) or not shelf.has_any():
            return foreign(key)
        current = self._current(key)
        if is_marked(control, key) or current is None or current[1] != token:
            return None
        raise StorageIntegrityError(
            "the file was changed by another program, or damaged, since it was stored; store it again, or "
            "delete it through credstore and put the file back",
            code=ErrorCode.CHANGED_OUTSIDE,
        )

    def _places(self, key: str) -> tuple[Place, Place]:
        return primary(key, fold=self._root.fold), aside(key, fold=self._root.fold)

    def _open_file(self, key: str) -> tuple[int, Token] | None:
        for place in self._places(key):
            try:
                with Directories.open(self._root.fd, place.directories) as where:
                    found = open_regular(where.last, place.name)
            except OSError as error:
                if error.errno in ABSENT:
                    continue
                raise
            if found is not None:
                return found[0], Token.of(found[1])
        return None

    def _current(self, key: str) -> tuple[Place, Token] | None:
        """Where the object is now, without opening it."""
        for place in self._places(key):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                status = self._status(place)
                if status is not None and stat.S_ISREG(status.st_mode):
                    return place, Token.of(status)
        return None

    def _status(self, place: Place) -> os.stat_result | None:
        try:
            with Directories.open(self._root.fd, place.directories) as where:
                return os.stat(place.name, dir_fd=where.last, follow_symlinks=False)
        except OSError as error:
            if error.errno in ABSENT:
                return None
            raise

    # Writing

    def prepare(self) -> None:
        """Be ready to write: nothing failed before, and what killed writers left is removed."""
        self._root.syncer.check()
        if self._locks is None:
            self._root.prepare()
            locks = KeyLocks(self._root.part("locks"), self._recover)
            locks.recover_all()
            self._locks = locks

    def temporary(self) -> Temporary:
        """A new file to write an object's bytes to; discard it in the end."""
        self.prepare()
        return Temporary(self._root.part("tmp"), self._root.syncer)

    @contextlib.contextmanager
    def _writing(self, key: str, deadline: float | None) -> Generator[Hold, None, None]:
        self.prepare()
        if self._locks is None:
            raise MovedError
        with self._locks.hold(key, deadline) as hold:
            yield hold

    def _recover(self, key: str) -> None:
        current = self._current(key)
        self._shelf(key).sweep(None if current is None else current[1])

    def _shelf(self, key: str) -> Shelf:
        control = self._root.control()
        if control is None:
            raise MovedError
        return Shelf(control, key)

    def publish(
        self, file: Temporary, attributes: Attributes, precondition: Precondition, deadline: float | None
    ) -> Token:
        """Make a complete temporary file the object `attributes.key`, durable on return.

        Raises:
            StorageAlreadyExistsError: Mode "create", and there is an object.
            StoragePreconditionFailedError: Mode "replace", and there is not that version.
        """
        token = file.settle()
        key = attributes.key

        def attempt() -> Token:
            self._make_way(key, deadline)
            with self._writing(key, deadline) as hold:
                current = self._current(key)
                _check(precondition, None if current is None else current[1])
                place = self._target(key) if current is None else current[0]
                create = precondition.mode == "create"
                published = self._publish(file, token, attributes, place, create=create)
                if current is not None:
                    self._sweep(key, published, hold)
                return published

        return _again(attempt)

    def _target(self, key: str) -> Place:
        """Where a new object goes: aside if anything, even a link, has its name."""
        first, second = self._places(key)
        return first if self._status(first) is None else second

    def _make_way(self, key: str, deadline: float | None) -> None:
        """Move objects aside whose names are needed as directories: `a` for `a/b`."""
        segments = key.split("/")
        for count in range(1, len(segments)):
            ancestor = "/".join(segments[:count])
            first, second = self._places(ancestor)
            status = self._status(first)
            if status is None or stat.S_ISDIR(status.st_mode):
                continue
            if not stat.S_ISREG(status.st_mode):
                raise StorageAccessDeniedError(
                    "a symbolic link or special file stands where the key needs a directory; remove it"
                )
            with self._writing(ancestor, deadline):
                self._move_aside(first, second)

    def _move_aside(self, first: Place, second: Place) -> None:
        status = self._status(first)
        if status is None or not stat.S_ISREG(status.st_mode):
            raise MovedError
        with self._opened(second, make=True) as where, self._opened(first) as source:
            os.rename(first.name, second.name, src_dir_fd=source.last, dst_dir_fd=where.last)
            where.sync(self._root.syncer)

    @contextlib.contextmanager
    def _opened(self, place: Place, *, make: bool = False) -> Generator[Directories, None, None]:
        try:
            where = Directories.open(self._root.fd, place.directories, make=make)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise MovedError from error
        with where:
            yield where

    def _publish(
        self,
        file: Temporary,
        token: Token,
        attributes: Attributes,
        place: Place,
        *,
        create: bool,
    ) -> Token:
        shelf = self._shelf(attributes.key)
        with self._opened(place, make=True) as where:
            token = self._keep(shelf, file, token, attributes)
            try:
                if create:
                    file.link(where.last, place.name)
                else:
                    file.rename(where.last, place.name)
            except OSError as error:
                shelf.forget(token)
                if isinstance(error, FileExistsError | IsADirectoryError | FileNotFoundError):
                    raise MovedError from error
                raise translate(error) from error
            self._flush(where)
        return token

    def _sweep(self, key: str, keep: Token | None, hold: Hold) -> None:
        """Remove superseded attributes; what cannot be removed now is left to the next writer."""
        try:
            self._shelf(key).sweep(keep)
        except OSError:
            hold.clean = False

    def _keep(self, shelf: Shelf, file: Temporary, token: Token, attributes: Attributes) -> Token:
        """Write the attributes first, under a version no other file of this key ever had."""
        for step in range(1, _ATTEMPTS):
            try:
                shelf.write(attributes, token, self._root.syncer)
                return token
            except FileExistsError:
                token = file.settle(step)
        raise StorageConflictError("no free version was found for the object", retryable=True)

    def _flush(self, where: Directories) -> None:
        """Make durable what is visible already: a failure here leaves open whether it stays."""
        try:
            where.sync(self._root.syncer)
        except OSError as error:
            raise translate(error, applied="maybe") from error

    def delete(self, key: str, *, if_match: str | None, deadline: float | None) -> bool:
        """Remove an object; True if there was one. Durable on return.

        Raises:
            StoragePreconditionFailedError: `if_match`, and there is not that version.
        """
        self._root.syncer.check()
        if self._current(key) is None:
            self._root.check_there()
            if if_match is not None:
                _check(Precondition("replace", if_match), None)
            return False
        with self._writing(key, deadline) as hold:
            current = self._current(key)
            if if_match is not None:
                _check(Precondition("replace", if_match), None if current is None else current[1])
            if current is None:
                return False
            # Aside first: seen from outside, an older object there must not come back in between.
            applied: Applied = "no"
            for place in reversed(self._places(key)):
                try:
                    removed = self._unlink(place)
                except StorageError:
                    raise  # Told already, with what is known of the outcome.
                except OSError as error:
                    raise translate(error, applied=applied) from error
                applied = "maybe" if removed else applied
            self._sweep(key, None, hold)
        return True

    def _unlink(self, place: Place) -> bool:
        try:
            where = Directories.open(self._root.fd, place.directories)
        except OSError as error:
            if error.errno in ABSENT:
                return False
            raise
        with where:
            status = self._status(place)
            if status is None or not stat.S_ISREG(status.st_mode):
                return False
            os.unlink(place.name, dir_fd=where.last)
            self._flush(where)
            where.prune()
        return True


def _check(precondition: Precondition, current: Token | None) -> None:
    if precondition.mode == "create" and current is not None:
        raise StorageAlreadyExistsError("there is an object of this key already")
    if precondition.mode == "replace" and (current is None or current.etag != precondition.etag):
        found = "absent" if current is None else "another version"
        raise StoragePreconditionFailedError(
            f"the object is {found}, not the version that was to be replaced"
        )


def _again(attempt: Callable[[], T]) -> T:
    """Start again while others change the directories in between."""
    for _ in range(_ATTEMPTS):
        with contextlib.suppress(MovedError):
            return attempt()
    raise StorageConflictError("others kept changing the same directories", retryable=True)
