"""Uploads in blocks that another process continues.

Rules of this file: an upload is continued only for the same bytes at the same place with the same options;
the server says which blocks it has, and the token alone is never trusted. An upload whose blocks are gone may
have become the object, which is checked before anything is sent again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from credstore.driver import resume_tokens
from credstore.driver.values import WRITE_ID, Journal, ObjectInfo, PutRequest, ReadOptions, ResumeToken
from credstore.drivers.azure.blocks import number_of
from credstore.drivers.azure.container import Container, parsed
from credstore.drivers.azure.encryption import PREFIX, write_headers
from credstore.drivers.azure.headers import META, encode_name
from credstore.drivers.azure.reading import head
from credstore.drivers.azure.requests import get_block_list
from credstore.drivers.azure.xml import BlockInfo, parse_blocks
from credstore.encryption import CustomerKey
from credstore.errors import StorageObjectNotFoundError

_OF_WRITE = META + encode_name(WRITE_ID)


@dataclass(frozen=True, slots=True)
class Begun:
    """An existing upload: bytes of each block but the last, and the numbers of the blocks it has."""

    part_size: int
    known: frozenset[int]


def token_of(
    container: Container, request: PutRequest, headers: Mapping[str, str], part_size: int
) -> ResumeToken:
    """The token of an upload that starts now; Azure has no name for one but what its blocks are called."""
    return resume_tokens.token_of(
        request,
        place=_place(container),
        options=_options(headers, request),
        part_size=part_size,
        upload_id=request.write_id,
    )


def _place(container: Container) -> str:
    return container.origin + container.path(None)


def _options(headers: Mapping[str, str], request: PutRequest) -> str:
    """A digest of what the object is stored with, without the write's id."""
    sealed = write_headers(request.encryption)
    sealed.pop(f"{PREFIX}key", None)
    kept = [each for each in headers.items() if each[0] != _OF_WRITE]
    return resume_tokens.options_digest([*kept, *sealed.items()])


async def begun_before(
    container: Container, request: PutRequest, headers: Mapping[str, str], journal: Journal
) -> tuple[PutRequest, Begun | ObjectInfo | None]:
    """What exists of the write that the journal describes, and the request to continue with.

    Returns:
        The request (with the original write-id, if there is one), and: the upload to continue; the object, if
        the upload was committed; None to start again.

    Raises:
        StorageInvalidRequestError: The journal is for another object or other options (code
            "RESUME_MISMATCH"), or the source has changed since (code "SOURCE_CHANGED").
    """
    token = await journal.load()
    if token is None:
        return request, None
    resume_tokens.check_token(token, request, place=_place(container), options=_options(headers, request))
    resumed = replace(request, write_id=token.write_id)
    known: set[int] = set()
    for each in await _blocks(container, resumed):
        number = number_of(token.write_id, each.block_id)
        if number is not None and each.size == _size(token, number):
            known.add(number)
    if not known:
        found = await _object(container, resumed)
        if found is not None:
            return resumed, found
    return resumed, Begun(token.part_size, frozenset(known))


def _size(token: ResumeToken, number: int) -> int:
    """Bytes that a block must have; 0 for one that does not belong to this upload."""
    return max(0, min(token.part_size, token.size - (number - 1) * token.part_size))


async def _blocks(container: Container, request: PutRequest) -> list[BlockInfo]:
    try:
        reply = await container.call(get_block_list(request.key), deadline=request.deadline)
    except StorageObjectNotFoundError:
        return []
    return await parsed(parse_blocks, reply.body)


async def _object(container: Container, request: PutRequest) -> ObjectInfo | None:
    """The object, if it was made by exactly this write."""
    try:
        key = request.encryption if isinstance(request.encryption, CustomerKey) else None
        options = ReadOptions(customer_key=key, deadline=request.deadline)
        found = await head(container, request.key, options)
    except StorageObjectNotFoundError:
        return None
    return found if found.write_id == request.write_id else None
