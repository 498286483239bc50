"""Objects in blocks: sent a few at a time, and committed as one.

Rules of this file: at most `max_concurrency` blocks are in memory; a block's id says which write it is of,
and only blocks of this write are ever committed, so that those of others do not get into its object. Azure
has no way to drop blocks: those of an upload that was given up show nothing under the key, and go with the
next write to it, or after a week.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TypeVar

from credstore.concurrency import map_all
from credstore.config.azure import MAX_BLOCK
from credstore.config.settings import MIB
from credstore.driver.unclear import Write
from credstore.driver.values import ObjectInfo
from credstore.drivers.azure.capabilities import MAX_BLOCKS
from credstore.drivers.azure.container import Container
from credstore.drivers.azure.requests import put_block_list
from credstore.drivers.azure.settling import settle_write
from credstore.encryption import ServerEncryption
from credstore.errors import ErrorCode, StorageError, StorageInvalidRequestError
from credstore.threads import in_pool
from credstore.wire.exchange import Reply

P = TypeVar("P")
_DIGITS = 7
"""Of a block's number in its id, which has then 39 bytes, and in base64 no padding."""
_GONE = "InvalidBlockList"
_ID = 32
"""Characters of a write-id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One object to send in blocks.

    Attributes:
        write: The write it is.
        headers: Describe the object, with its condition, without its encryption; sent when it is committed.
        concurrency: Number of blocks in flight.
        encryption: That was requested.
    """

    write: Write
    headers: Mapping[str, str] = field(repr=False)
    concurrency: int
    encryption: ServerEncryption | None = None


def block_id(write_id: str, number: int) -> str:
    """The id of a block: all of one write have the same length, as Azure demands."""
    return base64.b64encode(f"{write_id}{number:0{_DIGITS}d}".encode()).decode("ascii")


def number_of(write_id: str, found: str) -> int | None:
    """The number of a block of this write; None for a block of another."""
    try:
        text = base64.b64decode(found, validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return None
    digits = text[_ID:]
    return int(digits) if text[:_ID] == write_id and len(digits) == _DIGITS and digits.isdigit() else None


def plan_block_size(length: int | None, size: int) -> int:
    """Bytes of each block but the last: as configured, or more so that 50,000 suffice.

    Raises:
        StorageInvalidRequestError: The body is too long for 50,000 of the largest.
    """
    if length is None or length <= size * MAX_BLOCKS:
        return size
    if length > MAX_BLOCK * MAX_BLOCKS:
        raise StorageInvalidRequestError(
            f"the body has {length} bytes, more than {MAX_BLOCKS} blocks of {MAX_BLOCK}",
            code=ErrorCode.TOO_LARGE,
        )
    return min(MAX_BLOCK, -(-length // (MAX_BLOCKS * MIB)) * MIB)


async def upload_blocks(
    container: Container,
    upload: Upload,
    parts: AsyncGenerator[P, None],
    send: Callable[[str, int, P], Awaitable[None]],
) -> Reply | ObjectInfo:
    """Make one object from parts.

    Args:
        container: Where to store it.
        upload: Which object.
        parts: Taken one by one, never more than `concurrency` ahead.
        send: Sends one part by (block id, number from 1, part).

    Returns:
        The response to the commit, or what HEAD saw if only that showed that it was committed.

    Raises:
        StorageError: `applied` is "no" for anything before the commit.
    """
    write = upload.write

    async def run(numbered: tuple[int, P]) -> str:
        number, part = numbered
        name = block_id(write.write_id, number)
        await send(name, number, part)
        return name

    try:
        names = await map_all(_numbered(parts), run, at_once=upload.concurrency)
    except StorageError as error:
        error.applied = "no"  # Blocks that are not committed show nothing under the key.
        raise
    request = await in_pool(put_block_list, write.key, names, upload.headers, upload.encryption)
    try:
        return await container.call(request, deadline=write.deadline)
    except StorageError as error:
        # Not this request can succeed later, but the whole write, with its blocks.
        error.retryable |= error.provider_code == _GONE
        return await settle_write(container, write, error, asked=upload.encryption)


async def _numbered(parts: AsyncGenerator[P, None]) -> AsyncGenerator[tuple[int, P], None]:
    number = 0
    async with aclosing(parts):
        async for part in parts:
            number += 1
            if number > MAX_BLOCKS:
                raise StorageInvalidRequestError(
                    f"the body has more than {MAX_BLOCKS} blocks; pass its length or raise part_size",
                    code=ErrorCode.TOO_LARGE,
                )
            yield number, part
