"""The write path: from what a user passes in to one `PutRequest`, and back from its result.

Order of checks: key, options, capabilities; then the data is looked at. Nothing is sent before all of it has
passed. Bodies up to the threshold are in memory, with digest and length; a larger file gets its digest in a
separate pass; a larger stream that can be read only once has none beforehand.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from credstore.config.settings import CommonConfig
from credstore.config.url import nearest, shown
from credstore.driver.contract import Driver, SendsParts
from credstore.driver.refusals import RESUME
from credstore.driver.values import (
    Body,
    BytesBody,
    ContentHeaders,
    PartDigests,
    PutRequest,
    PutResult,
)
from credstore.errors import StorageInvalidRequestError
from credstore.hashing import sha256
from credstore.model import NOTHING, Codec, Dictionary, StorageResult, StoreOptions
from credstore.pipeline.codec import encode, encoder
from credstore.pipeline.pipeline import DICTIONARY, marks, sealed_marks
from credstore.provider.bodies import (
    INLINE,
    EncodedBody,
    WatchedBody,
    digest_of,
    digests_of,
    settled,
)
from credstore.provider.dictionaries import Dictionaries, in_plain_text, is_name
from credstore.provider.encryption import sealed_body
from credstore.provider.plans import plain_write, sealed_write, too_large
from credstore.provider.resume_file import FileJournal
from credstore.provider.session import Session, deadline_for
from credstore.provider.terms import chosen_codec, terms_of
from credstore.provider.validation import check_options
from credstore.quick import made
from credstore.threads import in_pool


class Write(NamedTuple):
    """A checked write and what its result needs.

    Attributes:
        request: For the driver.
        codec: What it is compressed with, or None.
        plain_size: Number of bytes given, or None until the end of a stream.
        sealed: Whether it is encrypted here.
        content_type: Of the plain bytes.
        given: What was passed in; for a stream, it counts the bytes.
    """

    request: PutRequest
    codec: Codec | None
    plain_size: int | None
    sealed: bool
    content_type: str
    given: BytesBody | WatchedBody


def planned(key: str, data: BytesBody, options: StoreOptions, session: Session) -> Write | None:
    """A plain write, checked; None where it takes `plan_other`."""
    plain = plain_write(key, data, options, session)
    return None if plain is None else Write(plain[0], None, len(data.data), False, plain[1], data)


async def plan_other(
    key: str, data: BytesBody | WatchedBody, options: StoreOptions, session: Session
) -> Write:
    """As `plan_write`, in fewer steps where the write is encrypted here, and nothing else."""
    if isinstance(data, BytesBody):
        sealed = await sealed_write(key, data, options, session)
        if sealed is not None:
            return Write(sealed[0], None, len(data.data), True, sealed[1], data)
    return await plan_write(key, data, options, session)


async def plan_write(
    key: str,
    data: BytesBody | WatchedBody,
    options: StoreOptions,
    session: Session,
) -> Write:
    """Check everything and make the request; any dictionary it needs is in the store afterwards.

    Args:
        key: Of the object.
        data: What the caller passed in.
        options: What the caller passed in.
        session: Of the store.

    Raises:
        StorageInvalidRequestError: An option is wrong, or the object is too large.
        StorageUnsupportedError: The provider cannot honour an option.
    """
    check_options(options)
    _check_drivers(options.get("driver_options", NOTHING), session.option_names)
    config, capabilities, dictionaries = session.config, session.capabilities, session.dictionaries
    policy = session.policy_of(options.get("encryption"), options.get("timeout"))
    resume = options.get("resume")
    if resume is not None and not capabilities.resumable:
        raise RESUME.of(session.name)
    codec = chosen_codec(options.get("compress", "zstd" if "dictionary" in options else config.compress))
    terms = terms_of(options, session)
    dictionary: Dictionary | None = None
    if codec == "zstd" or "dictionary" in options:
        dictionary = await _dictionary(options.get("dictionary", config.dictionary), codec, dictionaries)
    if policy is not None and dictionary is not None:
        raise in_plain_text()
    plain = data if isinstance(data, BytesBody) else await settled(data, config.spool_size)
    plain_size = plain.length
    write_id = os.urandom(16).hex()
    body = plain if codec is None else await _encoded(plain, codec, dictionary)
    parts: PartDigests | None = None
    if policy is None:
        digest, parts = await _digests_of(body, codec, session.driver)
    else:
        body, digest = await sealed_body(policy, body, (key, write_id), codec, plain_size)
    as_given = codec is None and policy is None
    if resume is not None and not (as_given and body.replayable and digest is not None):
        raise StorageInvalidRequestError(
            "an upload can be resumed for bytes, a path or a file that can seek, stored neither compressed "
            "nor encrypted"
        )
    limit = capabilities.max_object_size
    if limit is not None and body.length is not None and body.length > limit:
        raise too_large(body.length, limit)
    content_type = options.get("content_type", config.content_type)
    sealed = policy is not None
    marked = sealed_marks(content_type) if sealed else marks(codec, content_type, plain_size, dictionary)
    if dictionary is not None:
        await dictionaries.ensure(dictionary)
    request = PutRequest(
        key=key,
        body=body,
        write_id=write_id,
        digest=digest,
        parts=parts,
        headers=ContentHeaders(
            content_type=marked.content_type,
            content_encoding=marked.content_encoding,
            cache_control=options.get("cache_control", config.cache_control),
            content_disposition=options.get("content_disposition"),
            content_language=options.get("content_language"),
        ),
        metadata=terms.metadata,
        system=marked.system,
        precondition=terms.precondition,
        encryption=terms.encryption,
        encryption_by_default=terms.encryption_by_default,
        storage_class=terms.storage_class,
        tags=terms.tags,
        retention=terms.retention,
        driver_options=options.get("driver_options", NOTHING),
        deadline=deadline_for(options.get("timeout", config.timeout), _timed(body.length, config)),
        progress=options.get("progress"),
        journal=None if resume is None else FileJournal(resume),
    )
    return Write(request, codec, plain_size, sealed, content_type, data)


def _check_drivers(given: Mapping[str, object], names: frozenset[str]) -> None:
    """Refuse options under a name that no driver takes options by: they would change nothing."""
    for name in given:
        if name not in names:
            raise StorageInvalidRequestError(
                f"driver_options has the name {shown(str(name))}, which no driver of this store has"
                f"{nearest(str(name), names)}"
            )


def finish_write(write: Write, result: PutResult, session: Session) -> StorageResult:
    """What `store` returns.

    Args:
        write: The write that was requested.
        result: What the driver reported.
        session: Of the store.
    """
    provider, request = session.name, write.request
    as_given = write.codec is None and not write.sealed
    served_by = result.served_by or provider
    return made(
        StorageResult,
        {
            "key": result.key,
            "url": session.url_of(result.key, result.served_by),
            "etag": result.etag,
            "version_id": result.version_id,
            "size": result.size,
            "timestamp": datetime.now(UTC),
            "provider": provider,
            "plain_size": result.size if as_given else _plain_size(write),
            "digest": result.digest,
            "content_type": write.content_type if write.sealed else request.headers.content_type,
            "compression": write.codec,
            "dictionary": None if write.codec is None else request.system.get(DICTIONARY),
            "encryption": result.encryption,
            "client_side": write.sealed,
            "served_by": served_by,
            "degraded": result.degraded,
            "replicas": result.replicas or (served_by,),
            "proved": result.proved,
        },
    )


async def _dictionary(asked: object, codec: Codec | None, dictionaries: Dictionaries) -> Dictionary | None:
    """The dictionary for an option or setting, which is either a dictionary or its name.

    Raises:
        StorageInvalidRequestError: It is neither, or the codec is not zstd.
        StorageCodecError: There is no dictionary with this name in the store.
    """
    if asked is None:
        return None
    if codec != "zstd":
        raise StorageInvalidRequestError("a dictionary is for compress='zstd'; leave one of them out")
    if isinstance(asked, Dictionary):
        return asked
    if not is_name(asked):
        raise StorageInvalidRequestError(
            f"dictionary is a Dictionary or the name of one, 64 hex digits, not {asked!r}"
        )
    return await dictionaries.get(str(asked))


def _timed(size: int | None, config: CommonConfig) -> int | None:
    """The size a deadline is based on; None where other transfers may use up the time of this one."""
    return None if config.is_paced else size


async def _encoded(plain: Body, codec: Codec, dictionary: Dictionary | None) -> Body:
    if plain.data is None:
        return EncodedBody(plain, lambda: encoder(codec, dictionary))
    if len(plain.data) <= INLINE:
        return BytesBody(encode(codec, plain.data, dictionary))
    return BytesBody(await in_pool(encode, codec, plain.data, dictionary))


async def _digests_of(
    body: Body, codec: Codec | None, driver: Driver
) -> tuple[bytes | None, PartDigests | None]:
    """SHA-256 of a body, where one more pass over it is worth it, and of the parts that it is sent in."""
    if body.data is not None:
        return await sha256(body.data), None
    if codec is not None or not body.replayable:
        return None, None
    length = body.length
    size = driver.part_size(length) if length is not None and isinstance(driver, SendsParts) else None
    return (await digest_of(body), None) if size is None else await digests_of(body, size)


def _plain_size(write: Write) -> int | None:
    if write.plain_size is not None or isinstance(write.given, BytesBody):
        return write.plain_size
    return write.given.done
