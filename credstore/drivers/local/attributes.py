"""What a store keeps about an object besides its bytes, and where.

An attributes file is named for the key *and* the version of the data file it belongs to (size and
modification time), and records that file's inode and which file it was to replace. It is written and
flushed before that version is published, so the one rename or link that publishes the bytes publishes
the attributes too. A data file for whose key no attributes are kept was written by another tool. One whose
time was changed (`touch`, a restore) but whose bytes match the recorded SHA-256 keeps its
attributes. One whose bytes are not those that were stored is damaged, and never passes for an
object. `belonging.py` decides which is which.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import mimetypes
import os
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple, Self, cast, get_args

from credstore.driver.retention import NOT_RETAINED, keeps
from credstore.driver.values import NO_HEADERS, ContentHeaders
from credstore.drivers.local.atomic import (
    DIRECTORY,
    READ,
    Temporary,
    Token,
    open_regular,
    opened,
    read_all,
    release,
)
from credstore.drivers.local.directories import Branches, Directories
from credstore.drivers.local.failures import translate
from credstore.drivers.local.flushing import Syncer
from credstore.drivers.local.names import key_digest
from credstore.errors import ErrorCode, RetentionMode, StorageIntegrityError
from credstore.files import CREATE, write_all
from credstore.model import Retention

FORMAT = 2
_JSON = json.JSONEncoder(ensure_ascii=False, sort_keys=True)
_PIECE = 1024 * 1024
_DIGEST_SIZE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """All that is kept about an object besides its bytes; the fields are those of `PutRequest`.

    Attributes:
        key: The object's key.
        write_id: Of the write that made it, or None for a file of another tool.
        digest: SHA-256 of the bytes in hex, or None for a file of another tool.
        headers: Content headers.
        metadata: The user's.
        system: credstore's own.
        tags: Object tags.
        retention: What keeps the object; in force or not.
    """

    key: str
    write_id: str | None
    digest: str | None
    headers: ContentHeaders
    metadata: dict[str, str]
    system: dict[str, str]
    tags: dict[str, str]
    retention: Retention = NOT_RETAINED


_RETENTION = "retention"
_ATTRIBUTES = tuple(each.name for each in fields(Attributes) if each.name != _RETENTION)
_HEADERS = tuple(each.name for each in fields(ContentHeaders))


@dataclass(frozen=True, slots=True)
class Record:
    """The attributes of one version, and what distinguishes its file from others.

    Attributes:
        attributes: Of the object.
        size: Of the file, in bytes.
        inode: Of the file, as it was published.
        replaced: Identity of the file that was there when this was written, or None.
    """

    attributes: Attributes
    size: int
    inode: int
    replaced: str | None

    def encode(self) -> bytes:
        """As one JSON object."""
        found: dict[str, object] = {name: getattr(self.attributes, name) for name in _ATTRIBUTES}
        found["headers"] = {name: getattr(self.attributes.headers, name) for name in _HEADERS}
        found |= {"format": FORMAT, "size": self.size, "inode": self.inode, "replaced": self.replaced}
        if keeps(self.attributes.retention):  # Otherwise left out: earlier versions of credstore can read it.
            found[_RETENTION] = _told(self.attributes.retention)
        return _JSON.encode(found).encode()

    @classmethod
    def decode(cls, data: bytes) -> Record:
        """The inverse of `encode`.

        Raises:
            StorageIntegrityError: Code "ATTRIBUTES_DAMAGED".
        """
        try:
            found = _members(data)
            size, inode, replaced = (found.pop(name) for name in ("size", "inode", "replaced"))
            headers = ContentHeaders(**found.pop("headers"))
            retention = _retention(found.pop(_RETENTION)) if _RETENTION in found else NOT_RETAINED
            record = cls(Attributes(headers=headers, retention=retention, **found), size, inode, replaced)
            record._check()
            return record
        except _DAMAGED:
            raise _damaged() from None

    def _check(self) -> None:
        """Refuse members of other kinds than `encode` writes, with TypeError or ValueError."""
        about = self.attributes
        headers = [getattr(about.headers, name) for name in _HEADERS]
        texts = [about.key]
        texts += [
            value for value in (*headers, about.write_id, about.digest, self.replaced) if value is not None
        ]
        for mapping in (about.metadata, about.system, about.tags):
            if type(mapping) is not dict:
                raise TypeError
            texts += mapping.values()
        if set(map(type, texts)) != {str} or {type(self.size), type(self.inode)} != {int}:
            raise TypeError
        if about.digest is not None and len(bytes.fromhex(about.digest)) != _DIGEST_SIZE:
            raise ValueError


def _told(retention: Retention) -> dict[str, object]:
    until = retention.retain_until
    return {
        "mode": retention.mode,
        "retain_until": None if until is None else until.isoformat(),
        "legal_hold": retention.legal_hold,
    }


def _retention(told: dict[str, Any]) -> Retention:
    """The inverse of `_told`; TypeError, ValueError or KeyError where it is something else."""
    mode, until, held = told["mode"], told["retain_until"], told["legal_hold"]
    if (
        mode not in {*get_args(RetentionMode), None}
        or type(held) is not bool
        or (mode is None) != (until is None)
    ):
        raise ValueError
    end = None if until is None else datetime.fromisoformat(until)
    if end is not None and end.utcoffset() is None:
        raise ValueError
    return Retention(mode=mode, retain_until=end, legal_hold=held)


class Brief(NamedTuple):
    """What a listing needs of a `Record`; see there."""

    key: str
    write_id: str | None
    inode: int
    replaced: str | None

    @classmethod
    def decode(cls, data: bytes) -> Brief:
        """From the bytes of a whole record, of which the other members are not looked at.

        Raises:
            StorageIntegrityError: Code "ATTRIBUTES_DAMAGED".
        """
        try:
            found = _members(data)
            brief = cls(found["key"], found["write_id"], found["inode"], found["replaced"])
        except _DAMAGED:
            raise _damaged() from None
        if (
            type(brief.key) is not str
            or type(brief.inode) is not int
            or not {type(brief.write_id), type(brief.replaced)} <= {str, type(None)}
        ):
            raise _damaged()
        return brief


_DAMAGED = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What damaged bytes raise."""


def _members(data: bytes) -> dict[str, Any]:
    """Of a record that was encoded, without its format."""
    found = cast("dict[str, Any]", json.loads(data))
    if found.pop("format") != FORMAT:
        raise ValueError
    return found


def _damaged() -> StorageIntegrityError:
    text = "the attributes of the object are damaged, or from a newer credstore"
    return StorageIntegrityError(text, code=ErrorCode.ATTRIBUTES_DAMAGED)


def foreign(key: str) -> Attributes:
    """The attributes of a file that another tool wrote: a content type guessed from its name."""
    guessed, encoding = _types().guess_type(key.rpartition("/")[2], strict=False)
    headers = ContentHeaders(content_type=guessed) if guessed and not encoding else NO_HEADERS
    return Attributes(key=key, write_id=None, digest=None, headers=headers, metadata={}, system={}, tags={})


@dataclass(slots=True)
class Kept:
    """Attributes that were written; close it with `with`.

    Attributes:
        where: Their directory.
        name: In it.
        fd: The file, or -1 once it is closed.
    """

    where: Directories
    name: str
    fd: int

    def end(self, syncer: Syncer) -> None:
        """Close the file, which was flushed."""
        fd, self.fd = self.fd, -1
        syncer.close(fd)

    def forget(self) -> None:
        """Remove them: the version is not published."""
        with contextlib.suppress(OSError):
            os.unlink(self.name, dir_fd=self.where.last)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.fd >= 0:
            release(self.fd)
        self.where.close()


class Shelf:
    """The attributes of one key: files `<SHA-256 of the key>.<version>` in one of 4,096 directories."""

    __slots__ = ("_directory", "_key", "_names", "_stem")

    def __init__(self, directory: int, key: str) -> None:
        """Start with what is there.

        Args:
            directory: The store's directory of attributes, whose own entry is durable.
            key: The object's key.
        """
        self._directory = directory
        self._key = key
        self._stem = key_digest(key)
        self._names = (self._stem[:3],)

    def write(self, attributes: Attributes, token: Token, replaced: str | None, syncer: Syncer) -> None:
        """Keep `attributes` for the version `token`, durable on return; FileExistsError if that is taken.

        Args:
            attributes: Of the object.
            token: Of the file that is to be published.
            replaced: Identity of the file that is there now, or None.
            syncer: How writes are made durable.
        """
        with self.begin(attributes, token, replaced) as kept:
            try:
                try:
                    syncer.sync(kept.fd)
                finally:
                    kept.end(syncer)
                kept.where.sync(syncer)
            except BaseException:
                kept.forget()
                raise

    def begin(
        self, attributes: Attributes, token: Token, replaced: str | None, branches: Branches | None = None
    ) -> Kept:
        """As `write`, but nothing is flushed yet; the directory is one of `branches`, if there are any."""
        record = Record(attributes, token.size, token.inode, replaced)
        where = Directories.open(self._directory, self._names, make=True, lasting=True, branches=branches)
        try:
            name = f"{self._stem}.{token.label}"
            kept = Kept(where, name, os.open(name, CREATE, 0o666, dir_fd=where.last))
            try:
                write_all(kept.fd, record.encode())
            except BaseException:
                kept.forget()
                raise
        except BaseException:
            where.close()
            raise
        return kept

    def amend(self, label: str, record: Record, file: Temporary, syncer: Syncer) -> None:
        """Replace the attributes of one version by others, durable on return; `file` is empty.

        Raises:
            StorageError: They were replaced, but may not be durable; `applied` is "maybe".
            OSError: They are the old ones.
        """
        file.write(record.encode())
        syncer.sync(file.fd)
        with Directories.open(self._directory, self._names, make=True, lasting=True) as where:
            file.rename(where.last, f"{self._stem}.{label}")
            try:
                where.sync(syncer)
            except OSError as error:
                raise translate(error, applied="maybe") from error

    def forget(self, token: Token) -> None:
        """Remove what `write` kept for a version that was not published."""
        with contextlib.suppress(OSError), Directories.open(self._directory, self._names) as where:
            os.unlink(f"{self._stem}.{token.label}", dir_fd=where.last)

    def read(self, token: Token) -> Record | None:
        """What is kept under the size and time of `token`, or None.

        Raises:
            StorageIntegrityError: It is damaged.
        """
        return self._own(self._found(token))

    def brief(self, token: Token) -> Brief | None:
        """The same for a listing, which needs little of it.

        Raises:
            StorageIntegrityError: It is damaged.
        """
        data = self._found(token)
        brief = Brief.decode(data) if data else None
        return brief if brief is not None and brief.key == self._key else None

    def _found(self, token: Token) -> bytes:
        """The bytes of what is kept under the size and time of `token`; empty if there is nothing."""
        try:
            where = os.open(self._names[0], DIRECTORY, dir_fd=self._directory)
        except FileNotFoundError:
            return b""
        try:
            return _bytes(where, f"{self._stem}.{token.label}")
        finally:
            release(where)

    def _own(self, data: bytes) -> Record | None:
        record = Record.decode(data) if data else None
        return record if record is not None and record.attributes.key == self._key else None

    def records(self) -> dict[str, Record | None]:
        """All that is kept for the key, by label; None for what is damaged."""
        found: dict[str, Record | None] = {}
        with contextlib.suppress(FileNotFoundError), Directories.open(self._directory, self._names) as where:
            for name in sorted(_beginning(where.last, self._stem), reverse=True):
                label = name.partition(".")[2]
                try:
                    record = self._own(_bytes(where.last, name))
                except StorageIntegrityError:
                    found[label] = None
                else:
                    if record is not None:
                        found[label] = record
        return found

    def sweep(self, keep: str | None) -> None:
        """Remove all but the attributes of the label `keep`."""
        with contextlib.suppress(FileNotFoundError), Directories.open(self._directory, self._names) as where:
            for name in _beginning(where.last, self._stem) - {f"{self._stem}.{keep}"}:
                os.unlink(name, dir_fd=where.last)


def owner_of(key: str) -> str:
    """What the names of a key's temporary files start with, so that `reap` finds what their writers left."""
    return key_digest(key)[:16]


def reap(temporary: int, attributes: int | None) -> None:
    """Remove the temporary files whose writers are dead, and the attributes written for them.

    A writer that is alive holds its file's lock. One that is dead, or was cut off by a power failure, and
    whose file has no other name, did not publish it; its mark may be lost, but not this.

    Args:
        temporary: The directory of temporary files.
        attributes: That of attributes, or None where there is none yet.
    """
    for name in os.listdir(temporary):
        with contextlib.suppress(OSError), opened(os.open(name, READ, dir_fd=temporary)) as fd:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            status = os.fstat(fd)
            # Its writer may have published it, and ended, between our open and our lock.
            if not os.path.samestat(status, os.stat(name, dir_fd=temporary, follow_symlinks=False)):
                continue
            if attributes is not None and status.st_nlink == 1:
                _disown(attributes, name, status.st_ino)
            os.unlink(name, dir_fd=temporary)


def _bytes(directory: int, name: str) -> bytes:
    """Of one record; empty where there is none, or its writer died before the version was published."""
    found = open_regular(directory, name)
    if found is None:
        return b""
    fd, status = found
    try:
        return read_all(fd, 0, status.st_size)
    finally:
        release(fd)


def _beginning(directory: int, start: str) -> set[str]:
    return {name for name in os.listdir(directory) if name.startswith(start)}


def _disown(attributes: int, temporary: str, inode: int) -> None:
    with contextlib.suppress(FileNotFoundError), Directories.open(attributes, (temporary[:3],)) as where:
        for name in _beginning(where.last, temporary[:16]):
            found = open_regular(where.last, name)
            if found is None:
                continue
            with opened(found[0]) as fd, contextlib.suppress(StorageIntegrityError):
                if Record.decode(read_all(fd, 0, found[1].st_size)).inode == inode:
                    os.unlink(name, dir_fd=where.last)


def file_digest(fd: int) -> str:
    """SHA-256 in hex of all of an open file, whatever its position."""
    digest = hashlib.sha256()
    offset = 0
    while part := os.pread(fd, _PIECE, offset):
        digest.update(part)
        offset += len(part)
    return digest.hexdigest()


@cache
def _types() -> mimetypes.MimeTypes:
    """Python's own table: the machine's would make the result differ from host to host."""
    return mimetypes.MimeTypes(filenames=())
