"""What is known of an asset: its digest and size, from bytes, files and streams of any length.

Rules of this file: nothing large is in memory or hashed on the event loop; files are read in threads and
refused when they change in the meantime.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from typing import TypeAlias, cast

from credstore.errors import ErrorCode, StorageInvalidRequestError
from credstore.hashing import hash_into, joined
from credstore.model import Progress, Storable
from credstore.proofs.format.record import AssetDigest
from credstore.proofs.media_types import HEAD, check_media_type
from credstore.provider.bodies import WatchedBody
from credstore.provider.call import Call
from credstore.provider.sources import body_of
from credstore.provider.validation import check_progress

Asset: TypeAlias = Storable | AssetDigest
"""Bytes, a path object, a binary file, an (async) iterable of bytes, or digest and size already known."""
_SMALL = 64 * 1024
_PIECE = 1024 * 1024


async def measure_asset(
    asset: Asset, *, progress: Progress | None = None, media_type: str | None = None
) -> AssetDigest:
    """Digest and size of an asset, reading it once as a stream.

    Args:
        asset: What to measure; an `AssetDigest` is returned as it is.
        progress: Called with (bytes hashed, total or None), in order.
        media_type: What the asset is said to be; None is not compared.

    Raises:
        StorageInvalidRequestError: Text, a path that cannot be read, a file that changed, another type;
            `progress` cannot be called; or the first bytes contradict `media_type`.
        Exception: What the user's own stream or callback raised.
    """
    check_progress(progress)
    if isinstance(asset, AssetDigest):
        return asset
    if isinstance(asset, bytes) and len(asset) <= _SMALL and progress is None:
        await check_media_type(media_type, asset[:HEAD])
        return AssetDigest.of(asset)
    if isinstance(cast("object", asset), Mapping):
        raise StorageInvalidRequestError("the asset is a mapping; pass bytes, a path or an AssetDigest")
    body = await body_of(asset)
    digest = hashlib.sha256()
    done = 0
    head = b""
    async with aclosing(WatchedBody(body)) as watched:
        async for chunk in watched.open():
            head += chunk[: HEAD - len(head)]
            for piece in _pieces(chunk):
                await hash_into(digest, piece)
                done += len(piece)
                if progress is not None:
                    progress(done, body.length)
    await check_media_type(media_type, head)
    return AssetDigest(digest.digest(), done)


def _pieces(chunk: bytes) -> Iterator[bytes]:
    """A large chunk in pieces, so that progress is reported; copied, since a hash takes bytes."""
    if len(chunk) <= _PIECE:
        yield chunk
        return
    for start in range(0, len(chunk), _PIECE):
        yield chunk[start : start + _PIECE]


async def read_small(data: Storable, *, most: int, what: str) -> bytes:
    """All bytes of something that must be small.

    Args:
        data: Bytes, a path object, a binary file or an (async) iterable of bytes.
        most: Maximum number of bytes.
        what: Its name, for the error.

    Raises:
        StorageInvalidRequestError: More bytes (code "TOO_LARGE"), or as in `measure_asset`.
        Exception: What the user's own stream raised.
    """
    body = await body_of(data)
    parts: list[bytes] = []
    size = body.length or 0
    if size <= most:
        size = 0
        async with aclosing(WatchedBody(body)) as watched:
            async for chunk in watched.open():
                size += len(chunk)
                if size > most:
                    break
                parts.append(chunk)
    if size > most:
        raise StorageInvalidRequestError(f"{what} has at most {most} bytes", code=ErrorCode.TOO_LARGE)
    return await joined(parts) if parts else b""


async def measure_outside(
    asset: Asset, call: Call, progress: Progress | None = None, *, media_type: str | None = None
) -> AssetDigest:
    """As `measure_asset`; what the user's own stream raises is not an error of the call."""
    with call.outside():
        return await measure_asset(asset, progress=progress, media_type=media_type)
