"""Copy inside the store: one request, or ranges of the source if it is too large for that.

Rules of this file: a copy is either of exactly the version `request.source` names, or it is removed again and
an error is raised (P8): what the provider reports about it is compared, see `proving.py`; what S3 would not
copy by itself (metadata under REPLACE, tags of a copy in parts, encryption) is sent, and what a cloud drops
nevertheless is written afterwards, or the copy is an error. Nothing is rewritten in place before it is
proved, unless the cloud pins copies.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace
from secrets import token_hex
from typing import NoReturn

from credstore.driver.internal import COPIES, internal_key
from credstore.driver.refusals import TAGS
from credstore.driver.values import OVERWRITE, CopyRequest, ObjectInfo, PutResult, ReadOptions
from credstore.drivers.s3.bucket import Bucket, parsed
from credstore.drivers.s3.headers import format_sha256, read_encryption, tag_headers, to_confirm
from credstore.drivers.s3.locking import check_locked
from credstore.drivers.s3.multipart import Upload, listed_etag, plan_part_size, upload_parts
from credstore.drivers.s3.ours import Confirmation, Write, check_answer, discard, look_up, take_back
from credstore.drivers.s3.proving import (
    Verdict,
    compare,
    compare_parts,
    is_blind,
    is_changed,
    is_kept_apart,
    may_be_another,
    pinned_version,
    pins,
    provable_part_size,
    reads_the_same,
)
from credstore.drivers.s3.reading import head
from credstore.drivers.s3.requests import (
    copied_encryption,
    copied_object_headers,
    copy_object,
    get_tagging,
    put_tagging,
)
from credstore.drivers.s3.responses import version_of
from credstore.drivers.s3.settling import settle_write
from credstore.drivers.s3.uploads import completion_headers, upload_part_copy
from credstore.drivers.s3.xml import parse_copied, parse_tags
from credstore.errors import (
    ErrorCode,
    StorageError,
    StorageIntegrityError,
    StorageNotFoundError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
    StorageUnsupportedError,
)
from credstore.model import NOTHING

_AT_ONCE = "CopyObject"
_IN_PARTS = "in parts"
_NO_TAGS = frozenset({"NoSuchTagSet", "NoSuchTagSetError"})
"""Codes of servers for an object that has no tags."""
_OTHER = (
    "what was copied is not the version that was looked at: the source was replaced in the meantime, or the "
    "provider copied another object"
)


@dataclass(frozen=True, slots=True)
class Made:
    """A copy that was made, as far as the responses show."""

    etag: str | None
    version_id: str | None
    encryption: str | None
    proved: bool = False


async def copy(bucket: Bucket, request: CopyRequest, origin: Bucket | None = None) -> PutResult:
    """Copy one object; see `Driver.copy`.

    Args:
        bucket: Where the copy goes.
        request: What to copy.
        origin: Another bucket that has the source, at the same endpoint and with the same credentials.

    Cost: 1 request up to `single_copy_limit`, 2 where entity tags cannot be compared (one of the two is in
    parts or under a key of a customer or key service) and no version pins the source; 1 or 2 more for tags
    where the cloud does not keep them; 1 more for the first one at an endpoint that is not the cloud's own.
    Otherwise, and in place where the cloud does not pin copies, 3 plus one per part, and up to 2 more to find
    comparable parts and to look at the source again. 1 HEAD if unclear. The first one in place at an endpoint
    that is not the cloud's own is made twice, first to a name of credstore's own, and costs 1 deletion more.
    The first one under retention or legal hold costs 1 more there.
    """
    bucket.check_key(request.source.key)
    dialect, source, origin = bucket.dialect, request.source, origin or bucket
    pinned = pins(dialect, source) or is_kept_apart(bucket, source)
    write = _write(bucket, request, origin)
    unpinned = write.in_place and not pinned and source.size > 0
    size = None
    if unpinned or may_be_another(dialect, source.key) or _wants_proof(bucket, request):
        size = await provable_part_size(origin, request, write.encryption)
    whole = source.size <= bucket.config.single_copy_limit
    in_parts = unpinned or not whole or (size is not None and size < source.size)
    way = _IN_PARTS if in_parts else _AT_ONCE
    if write.in_place and bucket.is_elsewhere and way not in bucket.kept:
        await _rehearse(bucket, request, size, way)
    return await _copied(bucket, request, write, size, way, origin=origin)


async def _copied(
    bucket: Bucket, request: CopyRequest, write: Write, size: int | None, way: str, *, origin: Bucket
) -> PutResult:
    if way == _IN_PARTS:
        return await _copy_in_parts(bucket, request, write, size, origin)
    return await _copy_at_once(bucket, request, write, origin)


async def _rehearse(bucket: Bucket, request: CopyRequest, size: int | None, way: str) -> None:
    """Make a copy elsewhere and look at it before the only one is rewritten, which nothing could restore.

    Raises:
        StorageIntegrityError: The provider drops the metadata of copies (code "COPY_INCOMPLETE"); `applied`
            is "no".
        StorageError: This could not be found out; `applied` is "no".
    """
    token = token_hex(16)
    key = _beside(request.destination, COPIES + token, bucket.dialect.capabilities.max_key_size)
    trial = replace(request, destination=key, write_id=token, precondition=OVERWRITE)
    version_id = None
    try:
        made = await _copied(bucket, trial, _write(bucket, trial, bucket), size, way, origin=bucket)
        version_id = made.version_id if bucket.dialect.capabilities.versions else None
    except StorageError as error:
        error.applied = "no"
        error.message = f"nothing is rewritten in place before the same copy elsewhere: {error.message}"
        raise
    finally:
        await discard(bucket, key, version_id)


def _beside(key: str, name: str, largest: int) -> str:
    """A key of credstore's own in the folder of another, where the same credentials reach, or above."""
    folder = key
    while True:
        folder, _, _ = folder.rpartition("/")
        own = internal_key(name, folder)
        if not folder or len(own.encode()) <= largest:
            return own


def _wants_proof(bucket: Bucket, request: CopyRequest) -> bool:
    """Whether it is worth a request to find out which part size could prove the copy."""
    if not request.provable or not bucket.dialect.capabilities.content_etags:
        return False
    if bucket.dialect.checks_sha256 and request.source.digest:
        return False  # Its SHA-256 is asked for.
    return request.source.etag is not None and "-" in request.source.etag


def _write(bucket: Bucket, request: CopyRequest, origin: Bucket) -> Write:
    encryption = copied_encryption(request, bucket.dialect)
    confirmed = to_confirm(encryption, bucket.dialect)
    return Write(
        key=request.destination,
        write_id=request.write_id,
        precondition=request.precondition,
        customer_key=encryption,
        # AES256 that is only inherited was not requested; but a key of its own must be kept for the copy.
        encryption=None if encryption == "AES256" and request.encryption is None else confirmed,
        in_place=origin is bucket and request.destination == request.source.key,
        retention=request.retention,
        deadline=request.deadline,
    )


async def _copy_at_once(bucket: Bucket, request: CopyRequest, write: Write, origin: Bucket) -> PutResult:
    dialect = bucket.dialect
    digested = (
        request.provable
        and request.source.digest is not None
        and (bucket.reports_digests or dialect.checks_sha256)
    )
    wire = copy_object(origin.name, request, dialect, digested=digested)
    tags: Mapping[str, str] = NOTHING
    if not dialect.copy_keeps_tags or (request.source.tag_count and bucket.is_elsewhere):
        tags = await _source_tags(origin, request)
    found: ObjectInfo | None = None
    try:
        reply = await bucket.call(wire, deadline=request.deadline)
    except StorageError as error:
        found = await settle_write(bucket, write, error, of_copy=True)
        made = _seen(found)
    else:
        try:
            etag, checksum = await parsed(parse_copied, reply.body)
        except StorageIntegrityError as error:
            error.applied = "maybe"
            found = await settle_write(bucket, write, error, of_copy=True)
            made = _seen(found)
        else:
            await check_answer(bucket, write, reply.headers)
            made = Made(etag, version_of(reply.headers), read_encryption(reply.headers)[0])
            if checksum is not None and request.source.digest and dialect.checks_sha256:
                if checksum != format_sha256(request.source.digest):
                    await _refuse(bucket, write, made.version_id)
                made = replace(made, proved=True)
            if etag is None and (found := await look_up(bucket, write)) is not None:
                version_id = made.version_id or found.version_id
                made = replace(made, etag=found.etag, version_id=version_id)
    await _check_kept(bucket, request, write, made, way=_AT_ONCE, seen=found)
    await check_locked(bucket, write, made.version_id, way=_AT_ONCE)
    verdict = compare(request.source, made.etag, made.encryption or write.encryption)
    if verdict != "same" and not made.proved:
        await _prove(bucket, request, write, made, verdict, origin=origin)
    if tags:
        await _restore_tags(bucket, write, made, tags)
    return _result(bucket, request, made)


def _seen(info: ObjectInfo) -> Made:
    return Made(info.etag, info.version_id, info.encryption)


async def _check_kept(
    bucket: Bucket,
    request: CopyRequest,
    write: Write,
    made: Made,
    *,
    way: str,
    seen: ObjectInfo | None,
) -> None:
    """Refuse a copy without the write-id and digest that were sent with it; some servers drop all metadata.

    Those of a cloud are known; another server is looked at once, for each way of copying.

    Args:
        bucket: Where it is.
        request: What was copied.
        write: The same.
        made: The copy.
        way: Name of the way.
        seen: What HEAD has said of the copy, if it was asked already.

    Raises:
        StorageIntegrityError: They are not there (code "COPY_INCOMPLETE", `applied` "yes").
        StorageError: The copy could not be looked at; `applied` is "yes".
    """
    if way in bucket.kept or not bucket.is_elsewhere or (request.provable and not made.proved):
        return
    source = request.source
    try:
        options = ReadOptions(customer_key=write.customer_key, deadline=request.deadline)
        seen = seen or await head(bucket, write.key, options)
    except StorageObjectNotFoundError:
        return  # Somebody else has deleted it by now.
    except StorageError as error:
        error.applied = "yes"
        error.message += " (the copy was made, but it could not be seen whether its metadata was kept)"
        raise
    if seen.write_id == write.write_id and seen.digest == source.digest:
        bucket.kept.add(way)
        return
    if seen.write_id not in {write.write_id, source.write_id, None} or made.etag not in {seen.etag, None}:
        return  # Another writer's object.
    clause = "what was copied was left as it is"
    if made.version_id is not None and bucket.dialect.capabilities.versions:
        clause, _ = await take_back(bucket, write, made.version_id)
    raise StorageIntegrityError(
        "the provider did not keep the metadata that was sent with the copy (the write-id and the digest are "
        f"part of it), so it would be unprotected; {clause}",
        code=ErrorCode.COPY_INCOMPLETE,
        applied="yes",
    )


async def _prove(
    bucket: Bucket, request: CopyRequest, write: Write, made: Made, verdict: Verdict, *, origin: Bucket
) -> None:
    """Find out in other ways what entity tags do not say about a copy that was made.

    Raises:
        StoragePreconditionFailedError: It is not of the version that was looked at, and has been removed if
            possible.
        StorageError: This could not be found out; `applied` is "yes".
    """
    source = request.source
    wrong = verdict == "other" and bucket.dialect.capabilities.content_etags
    try:
        if not wrong:
            doubtful = verdict == "other" or _needs_reading(bucket, source)
            if not write.in_place and pinned_version(bucket, source) is None:
                changed = await is_changed(origin, request)
                wrong = changed is True
                doubtful = doubtful or (changed is None and not pins(bucket.dialect, source))
            wrong = wrong or (doubtful and not await reads_the_same(bucket, request, write, origin))
    except StorageError as error:
        error.applied = "yes"
        error.message += " (the copy was made, but could not be compared with its source)"
        raise
    if wrong:
        await _refuse(bucket, write, made.version_id)


def _needs_reading(bucket: Bucket, source: ObjectInfo) -> bool:
    """Whether only its bytes prove a copy whose entity tags say nothing."""
    return may_be_another(bucket.dialect, source.key) or is_blind(bucket, source)


async def _refuse(bucket: Bucket, write: Write, version_id: str | None) -> NoReturn:
    clause, gone = await take_back(bucket, write, version_id)
    restored = gone and (version_id is not None or write.precondition.mode == "create")
    raise StoragePreconditionFailedError(f"{_OTHER}; {clause}", applied="no" if restored else "yes")


async def _source_tags(bucket: Bucket, request: CopyRequest, *, always: bool | None = None) -> dict[str, str]:
    """The tags that the copy has to have.

    Where the cloud promises nothing about tags, an object has some only if the provider has said so about
    this one: they were set by others, and are kept anyway.

    Args:
        bucket: Where the object is.
        request: The copy.
        always: Whether to ask, whatever was said about the source; as the dialect requires unless given.
    """
    dialect, source = bucket.dialect, request.source
    if always is None:
        always = dialect.capabilities.tags and not dialect.copy_keeps_tags
    if not always and not source.tag_count:
        return {}
    return await _read_tags(bucket, source.key, pinned_version(bucket, source), request.deadline)


async def _restore_tags(bucket: Bucket, write: Write, made: Made, tags: Mapping[str, str]) -> None:
    try:
        await bucket.call(put_tagging(write.key, made.version_id, tags), deadline=write.deadline)
    except StorageError as error:
        clause, _ = await take_back(bucket, write, made.version_id)
        facts = error.facts()
        facts["code"], facts["applied"] = ErrorCode.COPY_INCOMPLETE, "yes"
        raise StorageIntegrityError(
            f"the source's tags could not be given to the copy ({error.message}); {clause}", **facts
        ) from error


def _result(bucket: Bucket, request: CopyRequest, made: Made) -> PutResult:
    return PutResult(
        key=request.destination,
        size=request.source.size,
        etag=made.etag,
        version_id=made.version_id,
        digest=request.source.digest,
        encryption=made.encryption,
        served_by=bucket.label,
        replicas=(bucket.label,),
        proved=made.proved,
    )


async def get_tags(
    bucket: Bucket, key: str, version_id: str | None, deadline: float | None
) -> dict[str, str]:
    """The tags of an object; empty where the cloud has no tags."""
    if not bucket.dialect.capabilities.tags:
        return {}
    return await _read_tags(bucket, key, version_id, deadline)


async def _read_tags(
    bucket: Bucket, key: str, version_id: str | None, deadline: float | None
) -> dict[str, str]:
    try:
        reply = await bucket.call(get_tagging(key, version_id), deadline=deadline)
    except StorageNotFoundError as error:
        if error.provider_code in _NO_TAGS:
            return {}
        raise
    return await parsed(parse_tags, reply.body)


async def put_tags(
    bucket: Bucket, key: str, tags: Mapping[str, str], *, version_id: str | None, deadline: float | None
) -> None:
    """Replace the tags of an object.

    Raises:
        StorageUnsupportedError: The cloud has no tags.
    """
    if not bucket.dialect.capabilities.tags:
        raise TAGS.of(bucket.dialect.name)
    await bucket.call(put_tagging(key, version_id, tags), deadline=deadline)


async def _copy_in_parts(
    bucket: Bucket, request: CopyRequest, write: Write, provable: int | None, origin: Bucket
) -> PutResult:
    """Copy ranges, of the size whose entity tags can be compared, if there is one."""
    dialect, config, source = bucket.dialect, bucket.config, request.source
    completion = completion_headers(request.precondition, write.encryption, dialect)
    headers = copied_object_headers(request, dialect)
    tags = await _source_tags(origin, request, always=dialect.capabilities.tags)
    headers |= tag_headers(tags)
    size = provable or plan_part_size(source.size, config.copy_part_size, dialect.max_single_put)
    proved = False
    told: str | None = None  # What was not requested, a bucket may have by default.

    async def spans() -> AsyncGenerator[tuple[int, int], None]:
        for start in range(0, source.size, size):
            yield start, min(start + size, source.size)

    async def send(upload_id: str, number: int, span: tuple[int, int]) -> str:
        nonlocal told
        wire = upload_part_copy(origin.name, request, dialect, upload_id=upload_id, number=number, span=span)
        reply = await bucket.call(wire, deadline=request.deadline)
        upload.confirmation.part(reply.headers)
        told = told or read_encryption(reply.headers)[0]
        try:
            etag, _ = await parsed(parse_copied, reply.body)
        except StorageIntegrityError:
            etag = None
        return etag or await listed_etag(bucket, write, upload_id, number, span[1] - span[0])

    async def verify(etags: list[str]) -> None:
        nonlocal proved
        verdict = compare_parts(source, etags, told or write.encryption)
        if verdict == "same":
            proved = True
            return
        pinned = pinned_version(bucket, source) is not None
        changed = False if pinned else await is_changed(origin, request)
        if changed is None:
            raise StorageObjectNotFoundError("the source was deleted while it was being copied")
        if changed or (verdict == "other" and dialect.capabilities.content_etags):
            raise StoragePreconditionFailedError(f"{_OTHER}; nothing was stored")
        if write.in_place and not (pins(dialect, source) or is_kept_apart(bucket, source)):
            raise StorageUnsupportedError(
                f"{dialect.name} does not pin a copy to its source, and nothing proves that the object would "
                f"stay the same, so it is not rewritten in place; nothing was stored"
            )

    upload = Upload(
        write=write,
        headers=headers,
        completion=completion,
        concurrency=config.max_concurrency,
        confirmation=Confirmation(write.encryption),
    )
    done = await upload_parts(bucket, upload, spans(), send, verify=verify)
    made = Made(done.etag, done.version_id, done.encryption)
    seen = done if isinstance(done, ObjectInfo) else None
    await _check_kept(bucket, request, write, made, way=_IN_PARTS, seen=seen)
    await check_locked(bucket, write, made.version_id, way="CreateMultipartUpload")
    if not proved and _needs_reading(bucket, source):
        await _prove(bucket, request, write, made, "unknown", origin=origin)
    if tags and not dialect.capabilities.tags:  # Whether it respects the header is not known.
        await _restore_tags(bucket, write, made, tags)
    return _result(bucket, request, made)
