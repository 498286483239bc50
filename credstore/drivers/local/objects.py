"""Objects as pairs of a data file and its attributes: found, published and removed as one.

Rules of this file: everything blocks and runs in a thread. Readers take no lock (`lookup.py`). Writers
hold the key's lock, and what is visible changes with one system call, the rename or link in `_publish` and
the unlink in `delete`; after it no error says that nothing was done. An object is at its primary name, or
aside where that is taken by a directory; it never moves back, so a reader that looks at the primary name
first and aside then cannot miss it.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

from credstore.driver.retention import check_removable
from credstore.driver.values import Precondition
from credstore.drivers.local.atomic import ABSENT, Temporary, Token
from credstore.drivers.local.attributes import Attributes, Record, Shelf, file_digest, owner_of
from credstore.drivers.local.belonging import Mark, Verdict, belonging
from credstore.drivers.local.directories import Branches, Directories
from credstore.drivers.local.failures import MovedError, translate
from credstore.drivers.local.locks import Hold, KeyLocks
from credstore.drivers.local.lookup import ATTEMPTS, Lookup
from credstore.drivers.local.names import Place
from credstore.drivers.local.root import Root
from credstore.errors import (
    Applied,
    StorageAccessDeniedError,
    StorageAlreadyExistsError,
    StorageConflictError,
    StorageError,
    StorageIntegrityError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
)

T = TypeVar("T")


class BlockedError(Exception):
    """A file or link is where a key needs a directory."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where a key's object is, or goes.

    Attributes:
        place: There.
        current: The object that is there now, at that place, or None.
        where: The directories that lead there, open as far as there are any.
    """

    place: Place
    current: tuple[Place, Token] | None
    where: Directories


class Objects:
    """The objects below one root.

    Attributes:
        lookup: Finds and opens them.
    """

    def __init__(self, root: Root, clock: Callable[[], float]) -> None:
        """Objects below `root`; `clock` returns Unix seconds, for retention."""
        self.lookup = Lookup(root)
        self._clock = clock
        self._root = root
        self._locks: KeyLocks | None = None

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)

    def prepare(self) -> None:
        """Get ready to write: check that nothing failed before, and remove what killed writers left."""
        self._root.syncer.check()
        if self._locks is None:
            self._root.prepare()
            locks = KeyLocks(self._root.part("locks"), self._recover)
            locks.recover_all()
            self._locks = locks

    def temporary(self, key: str) -> Temporary:
        """A new file to write the bytes of the object `key` to; discard it at the end."""
        self.prepare()
        return Temporary(self._root.part("tmp"), self._root.syncer, owner_of(key))

    def writing(self, key: str, deadline: float | None) -> Hold:
        """Hold the key's lock until the end of a `with` block; see `KeyLocks.hold`."""
        self.prepare()
        if self._locks is None:
            raise MovedError
        return self._locks.hold(key, deadline)

    def _recover(self, mark: Mark) -> None:
        """Bring the attributes of a key into agreement with its file; its lock is held."""
        shelf = self.shelf(mark.key)
        current = self.lookup.current(mark.key)
        if current is None:
            shelf.sweep(None)
            return
        found = belonging(shelf.records(), current[1], lambda: self.lookup.digest(mark.key), mark)
        if isinstance(found, tuple):
            shelf.sweep(found[0])
        elif found is Verdict.FOREIGN:
            shelf.sweep(None)

    def shelf(self, key: str) -> Shelf:
        """Where the key's attributes are."""
        directory = self._root.attributes()
        if directory is None:
            raise MovedError
        return Shelf(directory, key)

    def publish(
        self, file: Temporary, attributes: Attributes, precondition: Precondition, deadline: float | None
    ) -> Token:
        """Make a complete temporary file the object `attributes.key`, durable on return.

        Raises:
            StorageAlreadyExistsError: Mode "create", and there is an object.
            StoragePreconditionFailedError: Mode "replace", and that version is not there.
        """
        token = file.settle()
        key = attributes.key

        def attempt() -> Token:
            self._root.check_there()
            try:
                with self.writing(key, deadline) as hold, self.place(key) as found:
                    self.check(precondition, key, found.current)
                    self.check_removable(key, found.current)
                    hold.mark(Mark(key, write_id=attributes.write_id))
                    published = self._publish(file, token, attributes, found, precondition)
                    if found.current is not None:
                        self.sweep(key, published, hold)
            except BlockedError:
                self.make_way(key, deadline)
                raise MovedError from None
            return published

        return _again(attempt)

    @contextlib.contextmanager
    def place(self, key: str, branches: Branches | None = None) -> Generator[Found, None, None]:
        """Where the object is, or where a new one goes: aside if anything, even a link, has its name.

        Args:
            key: The object's key.
            branches: Where its directories are opened and stay open, or None for the block alone.
        """
        first, second = self.lookup.places(key)
        try:
            where = Directories.reach(self._root.fd, first.directories, branches=branches)
        except OSError as error:
            if error.errno in ABSENT:
                raise BlockedError from error
            raise
        with where:
            here = None if where.missing else _status(where.last, first.name)
            if first.directories != second.directories:
                there = self.lookup.status(second)
            else:
                there = None if where.missing else _status(where.last, second.name)
            current: tuple[Place, Token] | None = None
            if here is not None and stat.S_ISREG(here.st_mode):
                current = first, Token.of(here)
            elif there is not None and stat.S_ISREG(there.st_mode):
                current = second, Token.of(there)
            place = current[0] if current is not None else first if here is None else second
            if place.directories == first.directories:
                yield Found(place, current, where)
                return
            with self._opened(place, make=True) as beside:
                yield Found(place, current, beside)

    def make_way(self, key: str, deadline: float | None) -> None:
        """Move aside objects whose names are needed as directories: `a` for `a/b`."""
        segments = key.split("/")
        for count in range(1, len(segments)):
            ancestor = "/".join(segments[:count])
            first, second = self.lookup.places(ancestor)
            status = self.lookup.status(first)
            if status is None or stat.S_ISDIR(status.st_mode):
                continue
            if not stat.S_ISREG(status.st_mode):
                raise StorageAccessDeniedError(
                    "a symbolic link or special file is where the key needs a directory; remove it"
                )
            with self.writing(ancestor, deadline):
                self._move_aside(first, second)

    def _move_aside(self, first: Place, second: Place) -> None:
        status = self.lookup.status(first)
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
        found: Found,
        precondition: Precondition,
    ) -> Token:
        shelf = self.shelf(attributes.key)
        place, where = found.place, found.where
        replaced = None if found.current is None else found.current[1].identity
        try:
            where.make()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise MovedError from error
        token = self._keep(shelf, file, token, attributes, replaced)
        self.show(file, shelf, token, found, precondition)
        self._flush(where)
        self.check_place(where, place)
        return token

    def show(
        self, file: Temporary, shelf: Shelf, token: Token, found: Found, precondition: Precondition
    ) -> None:
        """Give the file its name; where that is impossible, its attributes are removed."""
        place, where = found.place, found.where
        try:
            if precondition.mode == "create":
                file.link(where.last, place.name)
            else:
                file.rename(where.last, place.name)
        except OSError as error:
            if not _is_published(file, where, place, error):
                shelf.forget(token)
                if isinstance(error, FileExistsError | IsADirectoryError | FileNotFoundError):
                    raise MovedError from error
                raise translate(error) from error

    def check_place(self, where: Directories, place: Place) -> None:
        """Notice that the root, or the key's directory, was moved away with the object just published."""
        self._root.check_there(applied="maybe")
        if self._root.leads_to(where.last, place.directories):
            return
        try:
            with Directories.open(self._root.fd, place.directories) as now:
                same = os.path.samestat(os.fstat(now.last), os.fstat(where.last))
        except OSError as error:
            if error.errno not in ABSENT:
                raise translate(error, applied="maybe") from error
            same = False
        if (
            not same
        ):  # Otherwise another program replaced or removed the file, and the write came before that.
            raise StorageConflictError(
                "the directory of the key was moved or removed while the object was stored; the object is "
                "in it, not at its key",
                applied="maybe",
            )

    def sweep(self, key: str, keep: Token | None, hold: Hold) -> None:
        """Remove superseded attributes; what cannot be removed now is left to the next writer."""
        try:
            self.shelf(key).sweep(None if keep is None else keep.label)
        except (OSError, MovedError):
            hold.clean = False

    def _keep(
        self, shelf: Shelf, file: Temporary, token: Token, attributes: Attributes, replaced: str | None
    ) -> Token:
        """Write the attributes first, under a size and time that no others of this key have now."""
        for step in range(1, ATTEMPTS):
            try:
                shelf.write(attributes, token, replaced, self._root.syncer)
                return token
            except FileExistsError:
                token = file.settle(step)
        raise StorageConflictError("no free version was found for the object", retryable=True)

    def _flush(self, where: Directories) -> None:
        """Make durable what is already visible: after a failure here it is open whether it stays."""
        try:
            where.sync(self._root.syncer)
        except OSError as error:
            raise translate(error, applied="maybe") from error

    def delete(self, key: str, *, if_match: str | None, deadline: float | None) -> bool:
        """Remove an object; True if there was one. Durable on return.

        Raises:
            StoragePreconditionFailedError: `if_match`, and that version is not there.
        """
        self._root.syncer.check()
        condition = Precondition() if if_match is None else Precondition("replace", if_match)
        if self.lookup.current(key) is None:
            self._root.check_there()
            self.check(condition, key, None)
            return False
        with self.writing(key, deadline) as hold:
            current = self.lookup.current(key)
            self._root.check_there()
            self.check(condition, key, current)
            if current is None:
                return False
            self.check_removable(key, current)
            hold.mark(Mark(key, removed=current[1].identity))
            # Aside first: seen from outside, an older object there must not come back in between.
            applied: Applied = "no"
            for place in reversed(self.lookup.places(key)):
                try:
                    removed = self._unlink(place)
                except StorageError:
                    raise  # Already translated, with what is known of the outcome.
                except OSError as error:
                    raise translate(error, applied=applied) from error
                applied = "maybe" if removed else applied
            self.sweep(key, None, hold)
        self._root.check_there(applied="maybe")
        return True

    def check(self, precondition: Precondition, key: str, current: tuple[Place, Token] | None) -> None:
        """Refuse where the condition does not hold; the key's lock is held."""
        if precondition.mode == "create" and current is not None:
            raise StorageAlreadyExistsError("there is already an object with this key")
        if precondition.mode == "replace" and (
            current is None or not self.lookup.is_version(key, current[1], precondition.etag)
        ):
            found = "absent" if current is None else "another version"
            raise StoragePreconditionFailedError(
                f"the object is {found}, not the version that was to be replaced"
            )

    def check_removable(self, key: str, current: tuple[Place, Token] | None) -> None:
        """Refuse to remove or replace what is kept; the key's lock is held.

        What another program has damaged is not what was kept any more, and can be stored again.

        Raises:
            StorageRetainedError: A retention or legal hold keeps it.
        """
        if current is None:
            return
        try:
            record = self.shelf(key).read(current[1])
            if record is not None and record.inode == current[1].inode:
                retention = record.attributes.retention
            else:
                with contextlib.closing(self.lookup.open(key)) as opened:
                    retention = opened.attributes.retention
        except (StorageIntegrityError, StorageObjectNotFoundError):
            return
        check_removable(retention, self._now())

    def amend(self, key: str, change: Callable[[Attributes], Attributes], deadline: float | None) -> None:
        """Change what is kept about an object besides its bytes, which stay as they are; durable on return.

        Raises:
            StorageObjectNotFoundError: There is no such object.
            StorageError: What `change` raises, or a failure; it is all or nothing.
        """
        self._root.check_there()
        with self.writing(key, deadline), contextlib.closing(self.lookup.open(key)) as opened:
            shelf, now, token = self.shelf(key), opened.attributes, opened.token
            changed = change(now)
            if changed == now:
                return
            if now.digest is None:  # By another tool; what was seen just now is what is kept.
                changed = replace(changed, digest=file_digest(opened.fd))
            found = {
                label: each for label, each in shelf.records().items() if each and each.attributes == now
            }
            label = token.label if token.label in found or not found else next(iter(found))
            old = found.get(label) or Record(now, token.size, token.inode, None)
            with contextlib.closing(self.temporary(key)) as file:
                shelf.amend(label, replace(old, attributes=changed), file, self._root.syncer)

    def _unlink(self, place: Place) -> bool:
        try:
            where = Directories.open(self._root.fd, place.directories)
        except OSError as error:
            if error.errno in ABSENT:
                return False
            raise
        with where:
            status = self.lookup.status(place)
            if status is None or not stat.S_ISREG(status.st_mode):
                return False
            os.unlink(place.name, dir_fd=where.last)
            self._flush(where)
            where.prune()
        return True


def _is_published(file: Temporary, where: Directories, place: Place, refusal: OSError) -> bool:
    """Whether the file has its place in spite of the error from renaming or linking."""
    try:
        return file.is_at(where.last, place.name)
    except OSError:
        raise translate(refusal, applied="maybe") from refusal


def _status(directory: int, name: str) -> os.stat_result | None:
    """The status of a name in an open directory, links not followed; None if nothing is there."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError as error:
        if error.errno in ABSENT:
            return None
        raise


def _again(attempt: Callable[[], T]) -> T:
    """Start over while others change the directories in between."""
    for _ in range(ATTEMPTS):
        with contextlib.suppress(MovedError):
            return attempt()
    raise StorageConflictError("others kept changing the same directories", retryable=True)
