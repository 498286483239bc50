"""credstore's own objects in a user's store: every key with the segment `.credstore`.

    .credstore/keys/<id>             wrapped keys that are kept separately from their objects
    .credstore/dictionaries/<name>   zstd dictionaries, each named after its content
    .credstore/copies/<token>        a copy that is made to see what the provider keeps, for a moment
    .credstore/failover              on a fallback: until when it may have received writes
    .credstore/tombstones/<key>      on replicas: that an object was deleted, and when
    .credstore/missed/<key>          on replicas: that a member has missed a write or delete of an object

Rules of this file: no other module spells the segment in a key. No user-facing verb reads, lists, counts,
writes, links to or deletes such a key, wherever in it the segment appears: a store on `team/a/` keeps its
objects at `team/a/.credstore/`, and the whole bucket may be a store too. What is kept here is small, bypasses
codec and client-side encryption, and does not count as a user's event.
"""

from __future__ import annotations

from pathlib import Path
from secrets import token_hex
from typing import Protocol

from credstore.driver.contract import Driver
from credstore.driver.values import (
    OVERWRITE,
    BytesBody,
    ContentHeaders,
    ObjectInfo,
    Precondition,
    PutRequest,
    ReadOptions,
)
from credstore.encryption import ServerEncryption
from credstore.errors import ErrorCode, StorageIntegrityError, StorageInvalidRequestError
from credstore.hashing import sha256
from credstore.model import strong_etag

SEGMENT = ".credstore"
KEYS = "keys/"
DICTIONARIES = "dictionaries/"
COPIES = "copies/"
FAILOVER = "failover"
TOMBSTONES = "tombstones/"
MISSED = "missed/"
LARGEST = 8 * 1024 * 1024
"""Largest size of such an object, in bytes."""
_MARK = f"/{SEGMENT}/"


def internal_key(name: str, folder: str = "") -> str:
    """The full key of the object that is called `name` here, or in a folder.

    >>> internal_key(FAILOVER), internal_key(FAILOVER, "team/a")
    ('.credstore/failover', 'team/a/.credstore/failover')
    """
    return f"{folder}{_MARK if folder else SEGMENT + '/'}{name}"


def is_internal(key: str) -> bool:
    """Whether a key is credstore's own: exactly `.credstore` is one of its segments.

    >>> [is_internal(key) for key in (".credstore", "a/.credstore/keys/x", "a.credstore", ".CREDSTORE/x")]
    [True, True, False, False]
    """
    return SEGMENT in key and _MARK in f"/{key}/"


def is_internal_prefix(prefix: str) -> bool:
    """Whether every key that starts with this prefix is credstore's own.

    >>> [is_internal_prefix(prefix) for prefix in (".credstore/", ".credstore/keys/0", ".credstore")]
    [True, True, False]
    """
    return SEGMENT in prefix and _MARK in f"/{prefix}"


def behind_internal(key: str) -> str | None:
    """Where to resume a listing to skip the folder that an internal key is in; None if that gains nothing.

    Everything between the two is in that folder, and what credstore puts there has smaller names.

    >>> behind_internal("team/a/.credstore/keys/x")
    'team/a/.credstore/~'
    """
    above, mark, _ = f"/{key}".partition(_MARK)
    behind = f"{above}{mark}~"[1:]
    return behind if mark and key.encode() < behind.encode() else None


class Terms(Protocol):
    """How requests for these objects are made."""

    def reading(self) -> ReadOptions:
        """Options of one small request that starts now."""
        ...

    def deadline(self, *, size: int) -> float | None:
        """Options of a write of `size` bytes that starts now."""
        ...

    def at_rest(self) -> ServerEncryption | None:
        """Encryption of what is written, the same as for all objects of the store."""
        ...


class InternalObjects:
    """The small objects that credstore keeps in one store; nothing else reads or writes them."""

    def __init__(self, driver: Driver, terms: Terms) -> None:
        """Send nothing yet.

        Args:
            driver: Of the store.
            terms: Asked at each request.
        """
        self._driver = driver
        self._terms = terms

    async def get(self, name: str, *, max_size: int = LARGEST) -> bytes:
        """All bytes of an object, checked against the digest recorded with it.

        Args:
            name: The key without the segment.
            max_size: Maximum number of bytes.

        Raises:
            StorageObjectNotFoundError: There is no such object.
            StorageIntegrityError: It was changed, or has more than `max_size` bytes.
            StorageError: The store cannot be read.
        """
        reader = await self._driver.get(internal_key(name), self._terms.reading())
        try:
            return await reader.read(max_size)
        except StorageInvalidRequestError as error:
            if error.code != ErrorCode.TOO_LARGE:
                raise
            raise StorageIntegrityError(
                f"{internal_key(name)} is credstore's own and has at most {max_size} bytes; what is there "
                "has more, so something else was put in its place"
            ) from None

    async def head(self, name: str) -> ObjectInfo:
        """What is known about an object.

        Raises:
            StorageObjectNotFoundError: There is no such object.
            StorageError: The store cannot be read.
        """
        return await self._driver.head(internal_key(name), self._terms.reading())

    async def put(
        self,
        name: str,
        data: bytes,
        *,
        content_type: str,
        cache_control: str | None = None,
        precondition: Precondition = OVERWRITE,
    ) -> None:
        """Write an object with its digest.

        Args:
            name: The key without the segment.
            data: At most `LARGEST` bytes.
            content_type: MIME type.
            cache_control: For caches on the way.
            precondition: What may be replaced.

        Raises:
            StorageInvalidRequestError: `data` is larger (code "TOO_LARGE"); nothing was sent.
            StorageError: As `Driver.put`.
        """
        if len(data) > LARGEST:
            raise StorageInvalidRequestError(
                f"{internal_key(name)} would have {len(data)} bytes, more than {LARGEST}",
                code=ErrorCode.TOO_LARGE,
            )
        await self._driver.put(
            PutRequest(
                key=internal_key(name),
                body=BytesBody(data),
                write_id=token_hex(16),
                digest=await sha256(data),
                headers=ContentHeaders(content_type=content_type, cache_control=cache_control),
                precondition=precondition,
                encryption=self._terms.at_rest(),
                deadline=self._terms.deadline(size=len(data)),
            )
        )

    async def replace(
        self, name: str, data: bytes, *, content_type: str, cache_control: str | None = None
    ) -> None:
        """As `put`, over the version that is there now; never creates an object.

        Raises:
            StorageObjectNotFoundError: There is no such object.
            StoragePreconditionFailedError: It was replaced or removed in the meantime, where the store can
                tell.
            StorageError: As `put`.
        """
        info = await self.head(name)
        etag = strong_etag(info.etag) if self._driver.capabilities.conditional_replace else None
        await self.put(
            name,
            data,
            content_type=content_type,
            cache_control=cache_control,
            precondition=Precondition("replace", etag) if etag is not None else OVERWRITE,
        )


def store_above(path: Path) -> Path | None:
    """The root of the local store that has a path's files as objects, unless the path is one itself.

    Raises:
        OSError: It cannot be found out.
    """
    return next((each for each in path.parents if (each / SEGMENT / "format").is_file()), None)
