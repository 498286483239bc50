"""Objects found and opened, each with the attributes of just its version.

Rules of this file: readers take no lock. The data file that is held open decides which attributes belong
to it, and where that takes more than a look, only what did not change in the meantime counts.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from credstore.drivers.local.atomic import ABSENT, Token, open_regular, opened, release
from credstore.drivers.local.attributes import Attributes, Shelf, file_digest, foreign
from credstore.drivers.local.belonging import Mark, Verdict, belonging
from credstore.drivers.local.directories import Directories
from credstore.drivers.local.locks import read_mark
from credstore.drivers.local.names import Place, places
from credstore.drivers.local.root import Root
from credstore.errors import (
    ErrorCode,
    StorageConflictError,
    StorageIntegrityError,
    StorageObjectNotFoundError,
)

ATTEMPTS = 64
"""How often an operation starts over when others keep changing the directories under it."""


@dataclass(slots=True)
class OpenObject:
    """A data file held open with the attributes of just this version; close it.

    Attributes:
        fd: The file, or -1 when closed.
        token: What its status showed when it was opened.
        attributes: What is kept with it.
        etag: Which version it is.
        content: The wanted bytes where they were read at once, else None.
    """

    fd: int
    token: Token
    attributes: Attributes
    etag: str
    content: bytes | None = None

    def changed(self) -> bool:
        """Whether another program wrote to the file since it was opened, as far as its time shows."""
        now = Token.of(os.fstat(self.fd))
        return (now.size, now.mtime) != (self.token.size, self.token.mtime)

    def close(self) -> None:
        """Close the file; safe to call again."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            release(fd)


class Lookup:
    """Finds the objects below one root."""

    def __init__(self, root: Root) -> None:
        self._root = root

    def open(self, key: str) -> OpenObject:
        """Open the current version of an object.

        Raises:
            StorageNotFoundError: There is none.
        """
        for _ in range(ATTEMPTS):
            found = self._open_file(key)
            if found is None:
                self._root.check_there()
                raise StorageObjectNotFoundError("there is no such object")
            fd, token = found
            try:
                opened = self._identified(key, fd, token)
                if opened is not None:
                    self._root.check_there()
                    return opened
            except BaseException:
                release(fd)
                raise
            release(fd)
        raise StorageConflictError("the object kept changing while it was opened", retryable=True)

    def _identified(self, key: str, fd: int, token: Token) -> OpenObject | None:
        """The file with its attributes; None where it was replaced in the meantime, so nothing is known."""
        directory = self._root.attributes()
        if directory is None:
            return OpenObject(fd, token, foreign(key), token.etag(None))
        shelf = Shelf(directory, key)
        exact = shelf.read(token)
        if exact is not None and exact.inode == token.inode:
            # While the file is held open, no other one has its inode, so these attributes are its own.
            attributes = exact.attributes
            return OpenObject(fd, token, attributes, token.etag(attributes.write_id))
        return self._weighed(shelf, key, fd, token)

    def _weighed(self, shelf: Shelf, key: str, fd: int, token: Token) -> OpenObject | None:
        """As `_identified`, where one look does not decide."""
        mark, records = self._mark(key), shelf.records()
        found = belonging(records, token, _lazy_digest(fd), mark)
        # Attributes that were there when the file was looked at, and are gone now, may have been its own.
        if not self._is_at(key, fd) or (records and (self._mark(key) != mark or shelf.records() != records)):
            return None
        if found is Verdict.FOREIGN:
            return OpenObject(fd, token, foreign(key), token.etag(None))
        if isinstance(found, Verdict):
            raise _not_the_object(found)
        label, record = found
        write_id = record.attributes.write_id if label == token.label else None
        return OpenObject(fd, token, record.attributes, token.etag(write_id))

    def etag(self, key: str, token: Token) -> str | None:
        """The entity tag of the file `token`, as `open` gives it; None where only its bytes would show it."""
        return self._etag(self._root.attributes(), key, token)

    def etags(self, found: Iterable[tuple[str, Token]]) -> Iterator[str | None]:
        """As `etag`, of files whose status is known already: where no attributes are now, none were then."""
        directory = self._root.attributes()
        for key, token in found:
            yield self._etag(directory, key, token)

    def _etag(self, directory: int | None, key: str, token: Token) -> str | None:
        if directory is None:
            return token.etag(None)
        try:
            exact = Shelf(directory, key).brief(token)
        except StorageIntegrityError:
            return None
        if exact is None or exact.replaced == token.identity:
            return token.etag(None)
        if exact.inode != token.inode:
            mark = self._mark(key)
            if mark is not None and mark.doubts(exact.write_id, token):
                return None
        return token.etag(exact.write_id)

    def is_version(self, key: str, token: Token, etag: str | None) -> bool:
        """Whether the file `token` is the version with this entity tag, by its bytes too, as readers check.

        Another program can replace a file by one with the same size and modification time, or change it in
        place and set its time back; only the bytes show that.
        """
        if self.etag(key, token) != etag:
            return False
        directory = self._root.attributes()
        record = None if directory is None or etag == token.etag(None) else Shelf(directory, key).read(token)
        digest = None if record is None else record.attributes.digest
        return digest is None or self.digest(key) == digest

    def _mark(self, key: str) -> Mark | None:
        control = self._root.control()
        return None if control is None else read_mark(control, key)

    def places(self, key: str) -> tuple[Place, Place]:
        """Where the object can be: at its own name, and aside."""
        return places(key, fold=self._root.fold)

    def _open_file(self, key: str) -> tuple[int, Token] | None:
        for place in self.places(key):
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

    def _is_at(self, key: str, fd: int) -> bool:
        """Whether the open file is the one that the key names now."""
        for place in self.places(key):
            status = self.status(place)
            if status is not None and stat.S_ISREG(status.st_mode):
                return os.path.samestat(status, os.fstat(fd))
        return False

    def current(self, key: str) -> tuple[Place, Token] | None:
        """Where the object is now, without opening it."""
        for place in self.places(key):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                status = self.status(place)
                if status is not None and stat.S_ISREG(status.st_mode):
                    return place, Token.of(status)
        return None

    def status(self, place: Place) -> os.stat_result | None:
        """The status of what is at one place, links not followed; None if nothing is there."""
        try:
            with Directories.open(self._root.fd, place.directories) as where:
                return os.stat(place.name, dir_fd=where.last, follow_symlinks=False)
        except OSError as error:
            if error.errno in ABSENT:
                return None
            raise

    def digest(self, key: str) -> str:
        """SHA-256 of the object's bytes in hex; empty where they cannot be read."""
        try:
            found = self._open_file(key)
            if found is None:
                return ""
            with opened(found[0]) as fd:
                return file_digest(fd)
        except OSError:
            return ""


def _lazy_digest(fd: int) -> Callable[[], str]:
    """Returns the SHA-256 of an open file in hex, read once at most."""
    known: list[str] = []

    def digest() -> str:
        if not known:
            known.append(file_digest(fd))
        return known[0]

    return digest


def _not_the_object(verdict: Verdict) -> StorageIntegrityError:
    if verdict is Verdict.DAMAGED:
        text = (
            "the attributes of the object are damaged, or from another version of credstore; store it again"
        )
        return StorageIntegrityError(text, code=ErrorCode.ATTRIBUTES_DAMAGED)
    return StorageIntegrityError(
        "the file was changed by another program, or damaged, since it was stored; store it again, or "
        "delete it through credstore and put the file back",
        code=ErrorCode.CHANGED_OUTSIDE,
    )
