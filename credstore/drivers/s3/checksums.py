"""`Content-MD5`, for writes that lock their object, and all of a bucket that refuses bodies without.

Rules of this file: whether a bucket insists is learnt from its refusal, which costs one request once; a body
that cannot be read twice is not read for its checksum.

Source: S3 API PutObject and UploadPart: "Content-MD5 or x-amz-sdk-checksum-algorithm" is required for any
object under a retention period, also one that the bucket gives by default. The MD5 is what all servers know;
a part may have another checksum only if its upload was started with that algorithm.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from dataclasses import replace

from credstore.drivers.s3.headers import format_md5
from credstore.drivers.s3.requests import S3Request
from credstore.errors import ErrorCode, StorageError, StorageInvalidRequestError
from credstore.hashing import hash_into
from credstore.wire.transport import StreamBody

HEADER = "content-md5"
_OF_BODIES = frozenset({"PutObject", "UploadPart"})


class Checksums:
    """What one bucket has shown of which requests have to carry `Content-MD5`.

    Attributes:
        is_known: Whether the bucket was asked, or cannot be.
    """

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._operations: frozenset[str] = frozenset()
        self.is_known = False

    @property
    def of_bodies(self) -> bool:
        """Whether the bucket has refused a body without one."""
        return self._operations >= _OF_BODIES

    def lacks(self, request: S3Request) -> bool:
        """Whether a request has to carry a checksum that can be computed, and does not yet."""
        needed = request.checked or request.operation in self._operations
        return needed and request.replayable and HEADER not in request.headers

    def wants(self, refusal: StorageError, request: S3Request) -> bool:
        """Whether a request was refused because the bucket wants the checksum of its body."""
        return refusal.code == ErrorCode.CHECKSUM_REQUIRED and HEADER not in request.headers

    async def after(self, refusal: StorageError, request: S3Request) -> S3Request:
        """The request to send in place of one that was refused for that.

        Raises:
            StorageInvalidRequestError: The body cannot be read again; the next one will be sent in parts, so
                it is retryable (code "CHECKSUM_REQUIRED").
            StorageError: The body cannot be read.
        """
        self.learn(request.operation)
        if not request.replayable:
            raise _cannot_be_read_again(refusal)
        return await with_md5(request)

    def learn(self, operation: str) -> None:
        """Take note of an operation that is refused without one."""
        self.is_known = self.is_known or operation in _OF_BODIES
        self._operations |= _OF_BODIES if operation in _OF_BODIES else {operation}


def _cannot_be_read_again(refusal: StorageError) -> StorageInvalidRequestError:
    facts = refusal.facts()
    facts["retryable"] = True
    return StorageInvalidRequestError(
        "the bucket takes a body only with its checksum before it (most likely its Object Lock has a default "
        "retention), and this one cannot be read a second time; give it again: this store sends such bodies "
        "in parts from now on",
        **facts,
    )


async def with_md5(request: S3Request) -> S3Request:
    """The same request with the `Content-MD5` of its body, computed off the loop where that takes time.

    Raises:
        StorageError: The body cannot be read.
    """
    digest = hashlib.md5(usedforsecurity=False)
    body = request.body
    if isinstance(body, StreamBody):
        chunks = body.open()
        try:
            async for chunk in chunks:
                await hash_into(digest, chunk)
        finally:
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()
    elif body is not None:
        await hash_into(digest, body)
    return replace(request, headers={**request.headers, HEADER: format_md5(digest.digest())})
