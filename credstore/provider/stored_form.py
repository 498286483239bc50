"""Objects in their stored form between two stores, and copies inside one that are proved.

What is stored is sent on as it is: same bytes, same codec, same headers and metadata, so both ends can be
compared by the digest of the stored bytes without being read. An object that is encrypted by the client
cannot travel so, since it is bound to its key and store; `as_stored` says which can.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from os import urandom

from credstore.driver.contract import CopiesAcross, Driver, KeepsConnections, TaggedDriver
from credstore.driver.pinning import get_same
from credstore.driver.values import (
    NO_HEADERS,
    Body,
    BytesBody,
    CopyRequest,
    ObjectInfo,
    PutRequest,
    ReadOptions,
)
from credstore.hashing import hash_into, sha256
from credstore.model import NOTHING, StorageItem
from credstore.pipeline.pipeline import coding_of
from credstore.provider.copying import plan_copy
from credstore.provider.provider import StorageProvider
from credstore.provider.proving import HashedBody, check_copy, is_usual
from credstore.provider.read import item_of, known_recipe
from credstore.provider.session import Session
from credstore.provider.terms import precondition_of


@dataclass(frozen=True, slots=True)
class Carried:
    """An object that is to be put elsewhere, with everything that is known of it.

    Attributes:
        item: As users see it.
        tags: Object tags.
        info: As the driver reports it.
        data: Its stored bytes, where they came along.
    """

    item: StorageItem
    tags: Mapping[str, str]
    info: ObjectInfo
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class Landed:
    """An object that was put.

    Attributes:
        etag: Entity tag, or None.
        digest: SHA-256 of its stored bytes as they were read from the source, where it is known.
        proved: The store itself has computed a checksum of what it keeps, and it is that of these bytes.
    """

    etag: str | None
    digest: bytes | None
    proved: bool = False


@dataclass(frozen=True, slots=True)
class _SourceBody:
    """The stored bytes of an object elsewhere, read again for every pass, always of the same version."""

    driver: Driver
    info: ObjectInfo
    options: ReadOptions
    data: None = None
    replayable: bool = True

    @property
    def length(self) -> int:
        """Stored bytes."""
        return self.info.size

    async def open(self, offset: int = 0) -> AsyncIterator[bytes]:
        """The bytes from `offset` onwards."""
        if offset >= self.info.size:
            return
        options = replace(self.options, start=offset)
        async with await get_same(self.driver, self.info.key, options, self.info) as reader:
            async for chunk in reader:
                yield chunk


def session_of(provider: StorageProvider) -> Session:
    """What the provider's verbs work with."""
    return provider._session  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - the same package


async def carried(
    source: StorageProvider, key: str, destination: StorageProvider, size: int
) -> Carried | None:
    """An object that is to travel as it is stored; None where it cannot travel so to this destination.

    Args:
        source: Has the object.
        key: Of the object.
        destination: Where it goes.
        size: Stored bytes that it had when it was listed; up to `spool_size`, they come along.

    Raises:
        StorageObjectNotFoundError: It is gone.
        StorageError: It could not be looked at.

    Cost: 1 request; 1 more for an object with tags. None where the destination encrypts by itself.
    """
    if session_of(destination).policy is not None:
        return None
    session = session_of(source)
    with session.call("open", key):
        options, spool = session.reading(), session.config.spool_size
        data: bytes | None = None
        if size > spool:
            info = await session.driver.head(key, options)
        else:
            async with await session.driver.get(key, options) as reader:
                info = reader.info
                if info.size <= spool and _travels(info):
                    data = await reader.read()  # Compared with the recorded digest, if any.
        if not _travels(info):
            return None
        # Only now: whoever holds a connection while asking for another one may wait for ever.
        tags = await _tags(session, key, info.tag_count)
        item = item_of(info, session.name, known_recipe(info))
        return Carried(item, tags, replace(info, key=key), data)


def _travels(info: ObjectInfo) -> bool:
    """Whether an object can be put into another store as it is stored."""
    found = known_recipe(info)
    # Another program's gzip is decoded by its Content-Encoding, which only goes for objects without our
    # marks: put by credstore it would no longer be decoded.
    foreign = info.write_id is None and coding_of((info.headers or NO_HEADERS).content_encoding)
    return not foreign and not (found is not None and found.sealed)


async def tags_of(provider: StorageProvider, item: StorageItem) -> Mapping[str, str]:
    """The tags of an object that was looked at.

    Raises:
        StorageError: They could not be read.

    Cost: none; 1 request where it has some, or the store does not say whether it has.
    """
    session = session_of(provider)
    with session.call("open", item.key):
        return await _tags(session, item.key, item.tag_count)


async def _tags(session: Session, key: str, count: int | None) -> Mapping[str, str]:
    driver = session.driver
    # A cloud says with the object how many tags it has (x-amz-tagging-count, x-ms-tag-count).
    if not session.capabilities.tags or (isinstance(driver, KeepsConnections) and not count):
        return NOTHING
    return (
        await driver.get_tags(key, deadline=session.deadline())
        if isinstance(driver, TaggedDriver)
        else NOTHING
    )


async def put_stored(
    source: StorageProvider,
    carrying: Carried,
    destination: StorageProvider,
    key: str,
    *,
    metadata: Mapping[str, str],
    if_absent: bool,
) -> Landed:
    """Put an object into another store as it is stored.

    Args:
        source: Has the object.
        carrying: From `carried`.
        destination: Where it goes.
        key: Its key there.
        metadata: The user's metadata there.
        if_absent: Refuse to replace an object.

    Raises:
        StorageIntegrityError: The source was replaced meanwhile, or is not what was stored there.
        StorageError: As `StorageProvider.store`.

    Cost: 1 write; and 1 read for each pass over bytes that did not come along.
    """
    there, here, info = session_of(source), session_of(destination), carrying.info
    if carrying.item.dictionary is not None:
        await destination.add_dictionary(await source.get_dictionary(carrying.item.dictionary))
    with here.call("store", key, mutation=True):
        here.check_key(key)
        condition = precondition_of(here.capabilities, here.name, if_absent=if_absent)
        body, digest = await _body(there, info, carrying.data)
        hashed = HashedBody(body)
        able = here.capabilities
        result = await here.driver.put(
            PutRequest(
                key=key,
                body=body if isinstance(body, BytesBody) else hashed,
                write_id=urandom(16).hex(),
                digest=digest,
                headers=info.headers or NO_HEADERS,
                metadata=metadata,
                system=info.system or NOTHING,
                precondition=condition,
                encryption=here.at_rest(),
                encryption_by_default=here.config.encryption is None,
                storage_class=info.storage_class if info.storage_class in able.storage_classes else None,
                tags=carrying.tags if able.tags else NOTHING,
                deadline=here.deadline(None, info.size),
            )
        )
        return Landed(result.etag, digest or hashed.digest, result.proved)


async def _body(there: Session, info: ObjectInfo, data: bytes | None) -> tuple[Body, bytes | None]:
    """The stored bytes as a body that can be sent again, and their digest where it is known."""
    if data is None:
        return _SourceBody(there.driver, info, there.reading()), info.digest or None
    return BytesBody(data), info.digest or await sha256(data)


async def digest_stored(provider: StorageProvider, key: str, etag: str | None) -> bytes:
    """SHA-256 of the stored bytes of an object, read from the store (32 bytes).

    Args:
        provider: Has the object.
        key: Of the object.
        etag: Only of this version, or None for the one that is there.

    Raises:
        StoragePreconditionFailedError: It is another version.
        StorageError: It could not be read whole.
    """
    session = session_of(provider)
    with session.call("open", key):
        options = replace(session.reading(), if_match=etag)
        digest = hashlib.sha256()
        async with await session.driver.get(key, options) as reader:
            async for chunk in reader:
                await hash_into(digest, chunk)
        return digest.digest()


async def copy_proved(
    provider: StorageProvider, source: str, destination: str, *, if_absent: bool
) -> tuple[StorageItem, Landed]:
    """Copy inside one store, and prove the copy as `move` does, without deleting the source.

    Returns:
        The source as it was when it was copied, and the copy.

    Raises:
        StorageError: As `StorageProvider.move`; the source is kept in any case.

    Cost: 2 requests where the response to the copy proves it, else as `StorageProvider.move` before it
        deletes.
    """
    session = session_of(provider)
    with session.call("copy", source, mutation=True):
        request, copier = await plan_copy(
            session, source, destination, if_absent=if_absent, server_side=False, lock={}
        )
        info, found = request.source, known_recipe(request.source)
        if found is not None and found.dictionary is not None:
            # It may belong to a store below this one, whose dictionaries do not come along.
            await session.dictionaries.get(found.dictionary)
        result = await copier.make(replace(request, provable=True))
        if copier.resealed or not (result.proved and _is_bare(info)):
            await check_copy(session, request, result, None, resealed=copier.resealed)
        digest = None if copier.resealed else info.digest or None
        return item_of(info, session.name, found), Landed(result.etag, digest, proved=True)


async def copy_across(
    source: StorageProvider,
    key: str,
    destination: StorageProvider,
    to: str,
    *,
    metadata: Callable[[StorageItem], Mapping[str, str]],
    if_absent: bool,
) -> tuple[StorageItem, Landed] | None:
    """Copy between two buckets of one account, by their cloud itself; None where it cannot be made so.

    Args:
        source: Has the object.
        key: Of the object.
        destination: Where it goes.
        to: Its key there.
        metadata: The user's metadata of the copy, from what the object is.
        if_absent: Refuse to replace an object.

    Returns:
        The source as it was when it was copied, and the copy, which is proved as `copy_proved` proves it.

    Raises:
        StorageError: As `StorageProvider.copy`, or the copy is not what was copied.

    Cost: as `copy_proved`; none where the stores do not reach each other.
    """
    there, here = session_of(source), session_of(destination)
    driver = here.driver
    if here.policy is not None or not isinstance(driver, CopiesAcross) or not driver.reaches(there.driver):
        return None
    with here.call("copy", to, mutation=True):
        here.check_key(to)
        condition = precondition_of(here.capabilities, here.name, if_absent=if_absent)
        reading = there.reading()
        info = await there.driver.head(key, reading)
        found = known_recipe(info)
        if not _travels(info) or reading.customer_key is not None or info.encryption == "SSE-C":
            return None
        if found is not None and found.dictionary is not None:
            await destination.add_dictionary(await source.get_dictionary(found.dictionary))
        item = item_of(info, there.name, found)
        request = CopyRequest(
            source=replace(info, key=key, metadata=metadata(item)),
            destination=to,
            write_id=urandom(16).hex(),
            precondition=condition,
            encryption=None if here.config.encryption is None else here.at_rest(),
            provable=True,
            deadline=here.deadline(None, info.size),
        )
        result = await driver.copy_across(there.driver, request)
        if not (result.proved and _is_bare(info)):
            await check_copy(here, request, result, None, resealed=False, origin=there)
        return item, Landed(result.etag, info.digest or None, proved=True)


def _is_bare(info: ObjectInfo) -> bool:
    """Whether all that an object keeps with its bytes is in the request of a copy, which was acknowledged."""
    return not info.tag_count and not info.extras and is_usual(info) and info.encryption in {None, "AES256"}
