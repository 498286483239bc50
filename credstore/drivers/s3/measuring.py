"""How long an object is where the response that has it does not say so, and what went wrong with a body.

Rules of this file: the end of a body that is sent in chunks is certain; that of one which ends with its
connection is not, unless the object has a recorded digest, which its reader checks.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace

from credstore.driver.values import ObjectInfo, ReadOptions
from credstore.drivers.s3.bucket import Bucket
from credstore.drivers.s3.requests import get_object, head_object
from credstore.drivers.s3.responses import parse_content_range, parse_info
from credstore.drivers.s3.xml import parse_size
from credstore.errors import (
    ErrorCode,
    StorageConnectionError,
    StorageError,
    StorageIntegrityError,
    StorageTimeoutError,
)
from credstore.wire.transport import HttpResponse, WireError


def no_length() -> StorageIntegrityError:
    """The error for an object whose length nothing shows."""
    return StorageIntegrityError(
        "the response does not say how long the object is; a proxy in between may have decompressed it",
        code=ErrorCode.NO_LENGTH,
    )


def info_of(bucket: Bucket, key: str, headers: Mapping[str, str], size: int) -> ObjectInfo:
    """What the headers of a response say about an object of `size` bytes."""
    return parse_info(key, headers, size=size, served_by=bucket.label)


def cut(done: int, length: int | None, *, idle: bool) -> StorageError:
    """The error of a body that broke off or, `idle`, stopped coming, after `done` bytes of `length`."""
    share = f"{done} bytes" if length is None else f"{done} of {length} bytes"
    if idle:
        return StorageTimeoutError(f"the body stopped coming after {share}")
    return StorageConnectionError(f"the connection broke after {share} of the body")


class Measure:
    """Finds out how long an object is."""

    def __init__(
        self,
        bucket: Bucket,
        key: str,
        options: ReadOptions,
        headers: Mapping[str, str],
        response: HttpResponse,
    ) -> None:
        """Begin with a response that is open."""
        self._bucket = bucket
        self._key = key
        self._options = replace(options, start=0, end=None, suffix=None)
        self._headers = headers
        self._response = response
        self.rest: AsyncGenerator[bytes, None] | None = None
        """The rest of the body."""
        self.held: list[bytes] = []
        """What of the body was read and is still to be given."""
        self.used_up = False
        """Whether the body is gone, so that the object has to be asked for again."""

    async def size(self, *, counting: bool) -> int:
        """Bytes of the object.

        Args:
            counting: Read a long body to its end, if no other response says how long it is.

        Raises:
            StorageIntegrityError: That cannot be known (code "NO_LENGTH").
            StorageError: The body broke off.
        """
        chunked = self._headers.get("transfer-encoding", "").strip().lower() == "chunked"
        if not chunked and not info_of(self._bucket, self._key, self._headers, 0).digest:
            raise no_length()
        self.rest = chunks = self._response.chunks()
        done = 0
        try:
            async for chunk in chunks:
                self.held.append(chunk)
                done += len(chunk)
                if done > self._bucket.config.part_size:
                    break
            else:
                return done
            told = await self._told()
            if told is not None:
                return told
            if not counting:
                raise no_length()
            self.held.clear()
            self.rest, self.used_up = None, True
            async with aclosing(chunks):
                async for chunk in chunks:
                    done += len(chunk)
        except WireError as broken:
            raise cut(done, None, idle=broken.kind == "timeout") from None
        return done

    async def _told(self) -> int | None:
        """What other answers about the object say."""
        bucket, options = self._bucket, self._options
        try:
            reply = await bucket.call(
                head_object(self._key, options, bucket.dialect), deadline=options.deadline
            )
            size = parse_size(reply.headers.get("content-length"))
            if size is None:
                first = get_object(self._key, replace(options, end=1), bucket.dialect, ranged=True)
                reply = await bucket.call(first, deadline=options.deadline, stream=True)
                if reply.response is not None:
                    await reply.response.aclose()
                found = parse_content_range(reply.headers.get("content-range"))
                size = None if found is None else found[2]
        except StorageError:
            return None
        same = "etag" not in self._headers or reply.headers.get("etag") == self._headers["etag"]
        return size if same else None
