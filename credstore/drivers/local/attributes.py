"""What a store keeps of an object beside its bytes, and where.

An attributes file is named for the key *and* the version of the data file it belongs to (size and
modification time). It is written and flushed before that version is published, so the one rename
or link that publishes the bytes publishes the attributes too. A data file of whose key no attributes
are kept was written by another tool. One whose time was changed (`touch`, a restore) but whose bytes
are those of the recorded SHA-256 keeps its attributes. One whose bytes are others than those that were
stored is damaged, and never passes for an object.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mimetypes
import os
from dataclasses import asdict, dataclass, fields
from typing import Any, cast

from credstore.driver import NO_HEADERS, ContentHeaders
from credstore.drivers.local.atomic import (
    CREATE,
    Directories,
    Syncer,
    Token,
    open_regular,
    opened,
    read_all,
    write_all,
)
from credstore.errors import ErrorCode, StorageIntegrityError

FORMAT = 1
_PIECE = 1024 * 1024
_TYPES = mimetypes.MimeTypes(filenames=())
"""Python's own table: the machine's would make the answer differ from host to host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """All that is kept of an object beside its bytes; the fields are those of `PutRequest`.

    Attributes:
        key: The object's key.
        write_id: Of the write that made it, or None for a file of another tool.
        digest: SHA-256 of the bytes in hex, or None for a file of another tool.
        headers: Content headers.
        metadata: The user's.
        system: credstore's own.
        tags: Object tags.
    """

    key: str
    write_id: str | None
    digest: str | None
    headers: ContentHeaders
    metadata: dict[str, str]
    system: dict[str, str]
    tags: dict[str, str]

    def encode(self) -> bytes:
        """As one JSON object."""
        return json.dumps({"format": FORMAT, **asdict(self)}, ensure_ascii=False, sort_keys=True).encode()

    @classmethod
    def decode(cls, data: bytes) -> Attributes:
        """The inverse of `encode`.

        Raises:
            StorageIntegrityError: Code "ATTRIBUTES_DAMAGED".
        """
        try:
            found = cast("dict[str, Any]", json.loads(data))
            if found.pop("format") != FORMAT:
                raise ValueError
            headers = ContentHeaders(**found.pop("headers"))
            if set(found) != {each.name for each in fields(cls)} - {"headers"}:
                raise ValueError
            return cls(headers=headers, **found)
        except (ValueError, TypeError, KeyError, AttributeError):
            text = "the attributes of the object are damaged, or of a newer credstore"
            raise StorageIntegrityError(text, code=ErrorCode.ATTRIBUTES_DAMAGED) from None


def foreign(key: str) -> Attributes:
    """The attributes of a file that another tool wrote: a content type guessed from its name."""
    guessed, encoding = _TYPES.guess_type(key.rpartition("/")[2], strict=False)
    headers = ContentHeaders(content_type=guessed) if guessed and not encoding else NO_HEADERS
    return Attributes(key=key, write_id=None, digest=None, headers=headers, metadata={}, system={}, tags={})


class Shelf:
    """The attributes of one key: files `<SHA-256 of the key>.<version>` in one of 4,096 directories."""

    __slots__ = ("_control", "_key", "_names", "_stem")

    def __init__(self, control: int, key: str) -> None:
        self._control = control
        self._key = key
        self._stem = hashlib.sha256(key.encode()).hexdigest()
        self._names = ("attributes", self._stem[:3])

    def write(self, attributes: Attributes, token: Token, syncer: Syncer) -> None:
        """Keep `attributes` for the version `token`, durable on return; FileExistsError if taken."""
        with Directories.open(self._control, self._names, make=True) as where:
            name = f"{self._stem}.{token.label}"
            fd = os.open(name, CREATE, 0o666, dir_fd=where.last)
            try:
                with opened(fd):
                    write_all(fd, attributes.encode())
                    syncer.sync(fd)
                where.sync(syncer)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=where.last)
                raise

    def forget(self, token: Token) -> None:
        """Take back what `write` kept for a version that was not published."""
        with contextlib.suppress(OSError), Directories.open(self._control, self._names) as where:
            os.unlink(f"{self._stem}.{token.label}", dir_fd=where.last)

    def read(self, token: Token) -> Attributes | None:
        """The attributes of exactly this version, or None."""
        try:
            with Directories.open(self._control, self._names) as where:
                return self._read(where.last, f"{self._stem}.{token.label}")
        except FileNotFoundError:
            return None

    def _read(self, directory: int, name: str) -> Attributes | None:
        found = open_regular(directory, name)
        if found is None:
            return None
        with opened(found[0]) as fd:
            attributes = Attributes.decode(read_all(fd, 0, found[1].st_size))
        return attributes if attributes.key == self._key else None

    def adopt(self, fd: int, token: Token) -> Attributes | None:
        """Attributes of another time whose size and SHA-256 are those of the open file, or None."""
        try:
            where = Directories.open(self._control, self._names)
        except FileNotFoundError:
            return None
        with where:
            digest = None
            for name in sorted(self._listed(where.last), reverse=True):
                if name.split(".")[1].partition("-")[0] != f"{token.size:x}":
                    continue
                attributes = self._read(where.last, name)
                if attributes is not None and attributes.digest is not None:
                    digest = digest or file_digest(fd)
                    if attributes.digest == digest:
                        return attributes
        return None

    def has_any(self) -> bool:
        """Whether attributes of any version are kept."""
        try:
            with Directories.open(self._control, self._names) as where:
                return bool(self._listed(where.last))
        except FileNotFoundError:
            return False

    def sweep(self, keep: Token | None) -> None:
        """Remove all but the attributes of the version `keep`.

        Where those are not there, the attributes of its size stay: a changed time may explain it.
        """
        with contextlib.suppress(FileNotFoundError), Directories.open(self._control, self._names) as where:
            names = self._listed(where.last)
            spared: set[str] = set()
            if keep is not None:
                exact = f"{self._stem}.{keep.label}"
                same_size = f"{self._stem}.{keep.size:x}-"
                spared = {exact} if exact in names else {n for n in names if n.startswith(same_size)}
            for name in names - spared:
                os.unlink(name, dir_fd=where.last)

    def _listed(self, directory: int) -> set[str]:
        return {name for name in os.listdir(directory) if name.startswith(self._stem + ".")}


def file_digest(fd: int) -> str:
    """SHA-256 in hex of all of an open file, wherever it stands."""
    digest = hashlib.sha256()
    offset = 0
    while part := os.pread(fd, _PIECE, offset):
        digest.update(part)
        offset += len(part)
    return digest.hexdigest()
