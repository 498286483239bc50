"""Whether the right thing was copied: by entity tags where they are conclusive, else by the bytes.

Rules of this file: a condition on the copy's source is not relied on, since servers ignore it, and some
decode the source's name twice and copy another object. Equal tags prove a copy; unequal ones disprove it
only where both are known to be the MD5 of the bytes.

Source: S3 API "Object" (ETag); a tag of an object in parts is the MD5 of its parts' MD5s, and their number.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Literal
from urllib.parse import unquote_plus

from credstore.driver.pinning import is_same
from credstore.driver.values import CopyRequest, ObjectInfo, ReadOptions
from credstore.drivers.s3.bucket import Bucket
from credstore.drivers.s3.dialect import MAX_PARTS, S3Dialect
from credstore.drivers.s3.ours import Write
from credstore.drivers.s3.reading import head, open_object
from credstore.drivers.s3.requests import head_part
from credstore.drivers.s3.xml import NULL_VERSION, parse_size
from credstore.encryption import ServerEncryption
from credstore.errors import (
    ErrorCode,
    StorageConflictError,
    StorageError,
    StorageIntegrityError,
    StorageObjectNotFoundError,
)
from credstore.hashing import sha256_of
from credstore.model import strong_etag

Verdict = Literal["same", "other", "unknown"]
"""What entity tags say about a copy."""
_MD5 = re.compile(r"[0-9a-fA-F]{32}")
_OF_PARTS = re.compile(r"[0-9a-fA-F]{32}-([0-9]{1,5})")
_PLAIN = frozenset({None, "AES256"})
"""Encryption at rest that does not change entity tags; under other keys they are not an MD5."""


def compare(source: ObjectInfo, etag: str | None, encryption: str | ServerEncryption | None) -> Verdict:
    """What the entity tag of a whole copy says.

    Args:
        source: Of the copy.
        etag: Of the copy.
        encryption: Of the copy.
    """
    ours, theirs = strong_etag(etag), strong_etag(source.etag)
    if ours is None or theirs is None:
        return "unknown"
    if ours.lower() == theirs.lower():
        return "same"
    both_md5 = _MD5.fullmatch(ours) and _MD5.fullmatch(theirs)
    return "other" if both_md5 and _is_plain(source, encryption) else "unknown"


def compare_parts(
    source: ObjectInfo, etags: Sequence[str], encryption: str | ServerEncryption | None
) -> Verdict:
    """What the entity tags of all parts of a copy say, before it is completed."""
    if len(etags) == 1 and source.etag is not None and _MD5.fullmatch(source.etag):
        return compare(source, etags[0], encryption)
    if not all(_MD5.fullmatch(each) for each in etags):
        return "unknown"
    return "same" if compare(source, composite_etag(etags), encryption) == "same" else "unknown"


def composite_etag(etags: Sequence[str]) -> str:
    """The entity tag of an object made from these parts, whose own tags are MD5s."""
    joined = b"".join(bytes.fromhex(each) for each in etags)
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(etags)}"


def _is_plain(source: ObjectInfo, encryption: str | ServerEncryption | None) -> bool:
    return source.encryption in _PLAIN and (encryption is None or encryption == "AES256")


def pins(dialect: S3Dialect, source: ObjectInfo) -> bool:
    """Whether a condition on the source binds a copy to the version that was looked at."""
    return dialect.pinned_copy and strong_etag(source.etag) is not None


def is_blind(bucket: Bucket, source: ObjectInfo) -> bool:
    """Whether nothing that could be sent names the version of a copy's source: it has a weak tag or none."""
    return strong_etag(source.etag) is None and pinned_version(bucket, source) is None


def may_be_another(dialect: S3Dialect, key: str) -> bool:
    """Whether a server that decodes the name of a copy's source twice would copy a different object."""
    return not dialect.pinned_copy and unquote_plus(key) != key


async def provable_part_size(
    bucket: Bucket, request: CopyRequest, encryption: ServerEncryption | None
) -> int | None:
    """Part size with which a copy's entity tags can be compared with its source's; None if there is none.

    Cost: 1 request for a source that is in parts itself, otherwise none.
    """
    source, largest = request.source, bucket.dialect.max_single_put
    if source.etag is None or not _is_plain(source, encryption) or not source.size:
        return None
    if _MD5.fullmatch(source.etag):
        return source.size if source.size <= largest else None
    found = _OF_PARTS.fullmatch(source.etag)
    if found is None or not 1 <= int(found[1]) <= MAX_PARTS:
        return None
    options = ReadOptions(
        if_match=source.etag, version_id=pinned_version(bucket, source), deadline=request.deadline
    )
    told: int | None = None
    try:
        reply = await bucket.call(
            head_part(source.key, 1, options, bucket.dialect), deadline=request.deadline
        )
        told = parse_size(reply.headers.get("content-length"))
    except StorageError:
        told = None  # Not every server knows about parts; the likeliest size is tried.
    for size in (told, bucket.config.part_size):
        if size and size <= largest and -(-source.size // size) == int(found[1]):
            return size
    return None


def pinned_version(bucket: Bucket, source: ObjectInfo) -> str | None:
    """The version that names the source's bytes permanently, where the cloud keeps versions."""
    return source.version_id if bucket.dialect.capabilities.versions else None


def is_kept_apart(bucket: Bucket, source: ObjectInfo) -> bool:
    """Whether the source is a version that a write to its key leaves as it is, and that is named for good."""
    return pinned_version(bucket, source) not in {None, NULL_VERSION}


async def is_changed(bucket: Bucket, request: CopyRequest) -> bool | None:
    """Whether a copy's source is a different version now; None if it is gone."""
    source = request.source
    options = ReadOptions(customer_key=request.source_customer_key, deadline=request.deadline)
    try:
        now = await head(bucket, source.key, options)
    except StorageObjectNotFoundError:
        return None
    if is_blind(bucket, source):
        return not is_same(now, source)
    return (now.etag, now.write_id, now.size) != (source.etag, source.write_id, source.size)


async def reads_the_same(bucket: Bucket, request: CopyRequest, write: Write, origin: Bucket) -> bool:
    """Whether a copy has the bytes of its source, by reading it, and also the source if it has no digest.

    Raises:
        StorageConflictError: Another writer has replaced the copy.
        StorageError: One of them could not be read.
    """
    source = request.source
    options = ReadOptions(customer_key=write.customer_key, deadline=request.deadline)
    try:
        async with await open_object(bucket, write.key, options) as copy:
            if copy.info.write_id != write.write_id:
                raise StorageConflictError("another writer replaced the copy before it was compared")
            if copy.info.size != source.size:
                return False
            found = await sha256_of(copy)
    except StorageIntegrityError as error:
        if error.code != ErrorCode.DIGEST_MISMATCH:
            raise
        return False
    if source.digest:
        return found == source.digest
    options = ReadOptions(
        if_match=strong_etag(source.etag),
        version_id=pinned_version(bucket, source),
        customer_key=request.source_customer_key,
        deadline=request.deadline,
    )
    async with await open_object(origin, source.key, options) as original:
        if is_blind(bucket, source) and not is_same(source, original.info):
            return False
        return found == await sha256_of(original)
