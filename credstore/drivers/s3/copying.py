"""Copy inside the store: one request, or ranges of the source where it is too large for that.

Rules of this file: a copy is of exactly the version `request.source` names, or an error and gone again
(P8): what the provider answers of it is compared, see `proving.py`; what S3 would not copy by itself
(metadata under REPLACE, tags of a copy in parts, encryption) is sent, and what a cloud drops all the same
is written afterwards. In place nothing is rewritten before it is proved, unless the cloud pins copies.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import NoReturn

from credstore.driver.refusals import TAGS
from credstore.driver.values import CopyRequest, ObjectInfo, PutResult, ReadOptions
from credstore.drivers.s3.bucket import Bucket, parsed
from credstore.drivers.s3.headers import read_encryption, tag_headers, to_confirm
from credstore.drivers.s3.multipart import Upload, part_etag, plan_part_size, upload_parts
from credstore.drivers.s3.ours import Confirmation, Write, check_answer, look_up, take_back
from credstore.drivers.s3.proving import (
    Verdict,
    compare,
    compare_parts,
    is_blind,
    is_changed,
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
from credstore.drivers.s3.settling import explain, settle_write
from credstore.drivers.s3.uploads import completion_headers, upload_part_copy
from credstore.drivers.s3.xml import parse_copied, parse_tags
from credstore.errors import (
    ErrorCode,
    StorageError,
    StorageIntegrityError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
    StorageUnsupportedError,
)
from credstore.model import NOTHING

_OTHER = (
    "what was copied is not the version that was looked at: the source was replaced meanwhile, or the "
    "provider copied another object"
)


@dataclass(frozen=True, slots=True)
class Made:
    """A copy that was made, as far as answers tell."""

    etag: str | None
    version_id: str | None
    encryption: str | None


async def copy(bucket: Bucket, request: CopyRequest) -> PutResult:
    """Copy one object; see `Driver.copy`.

    Cost: 1 request up to `single_copy_limit`, 2 where entity tags cannot be compared (one of both is in
    parts or under a key of a customer or key service) and no version pins the source; 1 or 2 more for tags
    where the cloud does not keep them. Else, and in place where the cloud does not pin copies, 3 and one per
    part, and up to 2 more to find comparable parts and to look at the source again. 1 HEAD if unclear.
    """
    bucket.check_key(request.source.key)
    dialect, source = bucket.dialect, request.source
    unpinned = request.destination == source.key and not pins(dialect, source) and source.size > 0
    write = _write(bucket, request)
    size = None
    if unpinned or may_be_another(dialect, source.key) or _wants_proof(bucket, request):
        size = await provable_part_size(bucket, request, write.encryption)
    whole = source.size <= bucket.config.single_copy_limit
    if unpinned or not whole or (size is not None and size < source.size):
        return await _copy_in_parts(bucket, request, write, size)
    return await _copy_at_once(bucket, request, write)


def _wants_proof(bucket: Bucket, request: CopyRequest) -> bool:
    """Whether it is worth a request to find out in which parts the copy could be proved."""
    if not request.provable or not bucket.dialect.capabilities.content_etags:
        return False
    return request.source.etag is not None and "-" in request.source.etag


def _write(bucket: Bucket, request: CopyRequest) -> Write:
    encryption = copied_encryption(request, bucket.dialect)
    confirmed = to_confirm(encryption, bucket.dialect)
    return Write(
        key=request.destination,
        write_id=request.write_id,
        precondition=request.precondition,
        customer_key=encryption,
        # AES256 that is only kept nobody has asked for; under a key of its own the copy has to be too.
        encryption=None if encryption == "AES256" and request.encryption is None else confirmed,
        in_place=request.destination == request.source.key,
        deadline=request.deadline,
    )


async def _copy_at_once(bucket: Bucket, request: CopyRequest, write: Write) -> PutResult:
    dialect = bucket.dialect
    wire = copy_object(bucket.name, request, dialect)
    tags: Mapping[str, str] = NOTHING
    if not dialect.copy_keeps_tags or (request.source.tag_count and bucket.is_elsewhere):
        tags = await _source_tags(bucket, request)
    try:
        reply = await bucket.call(wire, deadline=request.deadline)
    except StorageError as error:
        made = _seen(await _settle(bucket, request, write, error))
    else:
        try:
            etag = await parsed(parse_copied, reply.body)
        except StorageIntegrityError as error:
            error.applied = "maybe"
            made = _seen(await _settle(bucket, request, write, error))
        else:
            await check_answer(bucket, write, reply.headers)
            made = Made(etag, version_of(reply.headers), read_encryption(reply.headers)[0])
            if etag is None and (found := await look_up(bucket, write)) is not None:
                made = Made(found.etag, made.version_id or found.version_id, made.encryption)
    verdict = compare(request.source, made.etag, made.encryption or write.encryption)
    if verdict != "same":
        await _prove(bucket, request, write, made, verdict)
    if tags:
        await _restore_tags(bucket, write, made, tags)
    return _result(bucket, request, made)


def _seen(info: ObjectInfo) -> Made:
    return Made(info.etag, info.version_id, info.encryption)


async def _settle(bucket: Bucket, request: CopyRequest, write: Write, error: StorageError) -> ObjectInfo:
    """As `settle_write`, but 412 may be about the source as well as about the destination."""
    if error.applied != "no":
        return await settle_write(bucket, write, error)
    if isinstance(error, StoragePreconditionFailedError) and request.precondition.mode == "create":
        options = ReadOptions(customer_key=write.customer_key, deadline=request.deadline)
        try:
            await head(bucket, request.destination, options)
        except StorageObjectNotFoundError:
            raise error from None
        raise explain(error, request.precondition)
    raise error


async def _prove(bucket: Bucket, request: CopyRequest, write: Write, made: Made, verdict: Verdict) -> None:
    """Find out by other ways what entity tags do not say of a copy that is there.

    Raises:
        StoragePreconditionFailedError: It is not of the version that was looked at, and gone if it could be.
        StorageError: It could not be found out; `applied` is "yes".
    """
    source = request.source
    wrong = verdict == "other" and bucket.dialect.capabilities.content_etags
    try:
        if not wrong:
            doubtful = verdict == "other" or _needs_reading(bucket, source)
            if not write.in_place and pinned_version(bucket, source) is None:
                changed = await is_changed(bucket, request)
                wrong = changed is True
                doubtful = doubtful or (changed is None and not pins(bucket.dialect, source))
            wrong = wrong or (doubtful and not await reads_the_same(bucket, request, write))
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

    Where nothing is promised of tags, an object has some only if the provider has said so of this one:
    they were set by others, and are kept all the same.

    Args:
        bucket: Where the object is.
        request: The copy.
        always: Whether to ask whatever was said of the source; as the dialect needs it unless given.
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
    )


async def get_tags(
    bucket: Bucket, key: str, version_id: str | None, deadline: float | None
) -> dict[str, str]:
    """The tags of an object; none where the cloud has none."""
    if not bucket.dialect.capabilities.tags:
        return {}
    return await _read_tags(bucket, key, version_id, deadline)


async def _read_tags(
    bucket: Bucket, key: str, version_id: str | None, deadline: float | None
) -> dict[str, str]:
    reply = await bucket.call(get_tagging(key, version_id), deadline=deadline)
    return await parsed(parse_tags, reply.body)


async def put_tags(
    bucket: Bucket, key: str, tags: Mapping[str, str], *, version_id: str | None, deadline: float | None
) -> None:
    """Replace the tags of an object.

    Raises:
        StorageUnsupportedError: The cloud has none.
    """
    if not bucket.dialect.capabilities.tags:
        raise TAGS.of(bucket.dialect.name)
    await bucket.call(put_tagging(key, version_id, tags), deadline=deadline)


async def _copy_in_parts(
    bucket: Bucket, request: CopyRequest, write: Write, provable: int | None
) -> PutResult:
    """Copy ranges: of the size whose entity tags can be compared, if there is one."""
    dialect, config, source = bucket.dialect, bucket.config, request.source
    completion = completion_headers(request.precondition, write.encryption, dialect)
    headers = copied_object_headers(request, dialect)
    tags = await _source_tags(bucket, request, always=dialect.capabilities.tags)
    headers |= tag_headers(tags)
    size = provable or plan_part_size(source.size, config.copy_part_size, dialect.max_single_put)
    proved = False
    told: str | None = None  # What nobody asked for, a bucket may have by default.

    async def spans() -> AsyncGenerator[tuple[int, int], None]:
        for start in range(0, source.size, size):
            yield start, min(start + size, source.size)

    async def send(upload_id: str, number: int, span: tuple[int, int]) -> str:
        nonlocal told
        wire = upload_part_copy(bucket.name, request, dialect, upload_id=upload_id, number=number, span=span)
        reply = await bucket.call(wire, deadline=request.deadline)
        upload.confirmation.part(reply.headers)
        told = told or read_encryption(reply.headers)[0]
        return part_etag(reply, await parsed(parse_copied, reply.body))

    async def verify(etags: list[str]) -> None:
        nonlocal proved
        verdict = compare_parts(source, etags, told or write.encryption)
        if verdict == "same":
            proved = True
            return
        pinned = pinned_version(bucket, source) is not None
        changed = False if pinned else await is_changed(bucket, request)
        if changed is None:
            raise StorageObjectNotFoundError("the source was deleted while it was copied")
        if changed or (verdict == "other" and dialect.capabilities.content_etags):
            raise StoragePreconditionFailedError(f"{_OTHER}; nothing was stored")
        if write.in_place and not pins(dialect, source):
            raise StorageUnsupportedError(
                f"{dialect.name} does not pin a copy to its source, and nothing proves here that the object "
                "would stay what it is, so it is not rewritten in place; nothing was stored"
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
    if not proved and _needs_reading(bucket, source):
        await _prove(bucket, request, write, made, "unknown")
    if tags and not dialect.capabilities.tags:  # Whether it heeds the header, nobody has vouched for.
        await _restore_tags(bucket, write, made, tags)
    return _result(bucket, request, made)
