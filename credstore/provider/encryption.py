"""Encryption on the client: bodies sealed on their way out, stored bytes opened on their way in.

Rules of this file: the store's policy decides whether and how an object is encrypted, never the object (P23).
What an object's metadata says about its key counts only if its body agrees; otherwise the body's own wrapped
key is tried, so that changed or stripped metadata never changes what decrypts. Whatever is wrong with an
encrypted object, the error and its text are the same (P22).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping
from dataclasses import replace
from secrets import token_bytes

from credstore.driver.contract import Driver
from credstore.driver.pinning import get_same
from credstore.driver.reader import ObjectReader
from credstore.driver.values import Body, BytesBody, ObjectInfo, ReadOptions, StoredReader
from credstore.encryption import ClientSide, DataKey
from credstore.errors import (
    ErrorCode,
    StorageDecryptionError,
    StorageIntegrityError,
    StorageInvalidRequestError,
)
from credstore.hashing import sha256
from credstore.model import NOTHING, Codec
from credstore.pipeline.envelope import Opener, Sealer, check_key, open_at_once, seal_at_once
from credstore.pipeline.header import (
    MAGIC,
    MAX_HEADER,
    SALT,
    USUAL_HEADER,
    Binding,
    Header,
    Span,
    header_size,
    parse_header,
    parse_wrapped,
    sealed_size,
    span_of,
    undecryptable,
)
from credstore.pipeline.pipeline import CONTENT_TYPE, WRAPPED_KEY, Recipe
from credstore.provider.bodies import EncodedBody, digest_of
from credstore.quick import made
from credstore.threads import in_pool

INLINE = 256 * 1024
"""Number of bytes encrypted or decrypted on the event loop: under a third of a millisecond."""


class _Envelope:
    """A sealer whose header comes with its first bytes."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._header = sealer.header

    def feed(self, data: bytes) -> bytes:
        header, self._header = self._header, b""
        return header + self._sealer.feed(data)

    def finish(self) -> bytes:
        header, self._header = self._header, b""
        return header + self._sealer.finish()


async def sealed_body(
    policy: ClientSide, body: Body, place: tuple[str, str], codec: Codec | None, plain_size: int | None
) -> tuple[Body, bytes | None]:
    """A body encrypted with its own data key, and its SHA-256 where it can be known beforehand.

    Args:
        policy: The store's.
        body: What comes from the codec.
        place: Key of the object and write-id of the write.
        codec: What made the body.
        plain_size: Bytes before the codec, or None.

    Raises:
        StorageError: The key ring could not give a key.
    """
    if body.data is not None:
        sealed = await sealed_bytes(policy, body.data, place, codec, plain_size)
        return BytesBody(sealed), await sha256(sealed)
    key, write_id = place
    data_key = await policy.keyring.generate(store_id=policy.store_id)
    binding = Binding(policy.store_id, key, write_id, codec)
    salt = token_bytes(SALT)

    def sealer() -> Sealer:
        return Sealer(data_key, binding, salt=salt, chunk_size=policy.chunk_size, plain_size=plain_size)

    length = None
    if body.length is not None:
        size = header_size(data_key)
        length = sealed_size(body.length, chunk_size=policy.chunk_size, header_size=size)
    streamed = EncodedBody(body, lambda: _Envelope(sealer()), length)
    return streamed, await digest_of(streamed) if streamed.replayable and length is not None else None


async def sealed_bytes(
    policy: ClientSide, data: bytes, place: tuple[str, str], codec: Codec | None, plain_size: int | None
) -> bytes:
    """The same for bytes: all that is stored.

    Raises:
        StorageError: The key ring could not give a key.
    """
    key, write_id = place
    data_key = await policy.keyring.generate(store_id=policy.store_id)
    binding = Binding(policy.store_id, key, write_id, codec)
    salt, size = token_bytes(SALT), policy.chunk_size
    if len(data) <= INLINE:
        return seal_at_once(data, data_key, binding, salt=salt, chunk_size=size, plain_size=plain_size)
    return await in_pool(
        seal_at_once, data, data_key, binding, salt=salt, chunk_size=size, plain_size=plain_size
    )


def is_meant(policy: ClientSide | None, found: Recipe) -> bool:
    """Whether an object is to be decrypted.

    Args:
        policy: The store's, or the call's.
        found: What the object's metadata says.

    Raises:
        StorageInvalidRequestError: It is encrypted, and there is no key ring (code "ENCRYPTED").
    """
    if policy is not None:
        return policy.required or found.sealed
    if found.sealed:
        raise StorageInvalidRequestError(
            "the object is encrypted; name its key and store id (`wrapping_key` and `store_id`), or pass "
            "encryption=ClientSide(...) with its key ring (decode=False returns the stored bytes)",
            code=ErrorCode.ENCRYPTED,
        )
    return False


async def open_whole(
    policy: ClientSide, info: ObjectInfo, key: str, stored: bytes
) -> tuple[bytes, Recipe | None]:
    """What was encrypted, taken from all stored bytes, and how to make it plain, unless it is.

    Raises:
        StorageDecryptionError: It does not decrypt.
        StorageError: The key ring could not be asked.
    """
    header = parse_header(stored, complete=True)
    if header is None:
        raise undecryptable()
    data_key = await data_key_of(policy, header, info.system)
    if len(stored) - header.size <= INLINE:
        opened, plain_size = open_at_once(stored, header, data_key, store_id=policy.store_id, name=key)
    else:
        opened, plain_size = await in_pool(
            open_at_once, stored, header, data_key, store_id=policy.store_id, name=key
        )
    return opened, None if header.codec is None else recipe_of_header(info, header, plain_size)


async def open_stream(policy: ClientSide, stored: StoredReader, key: str) -> tuple[StoredReader, Recipe]:
    """A reader of what was encrypted, on top of one of all stored bytes, and how to make it plain.

    Raises:
        StorageDecryptionError: Its header is invalid, or its key is a different one.
        StorageError: The key ring could not be asked.
    """
    head, header = await read_header(stored)
    opener = await opener_of(policy, stored.info, key, header)
    chunks = _opened(head[header.size :], stored, opener)
    found = recipe_of_header(stored.info, header, opener.plain_size)
    length = span_of(header, stored.info.size, 0, None).length
    return ObjectReader(stored.info, chunks, length=length, close=stored.aclose), found


async def open_span(
    policy: ClientSide, stored: StoredReader, key: str, header: Header, span: Span
) -> tuple[StoredReader, Recipe]:
    """A reader of a range of what was encrypted, on top of a reader of the chunks that hold it."""
    opener = await opener_of(policy, stored.info, key, header, span)
    chunks = _opened(b"", stored, opener)
    reader = ObjectReader(stored.info, chunks, length=span.length, close=stored.aclose)
    return reader, recipe_of_header(stored.info, header, opener.plain_size)


async def read_header(stored: AsyncIterator[bytes]) -> tuple[bytes, Header]:
    """The header at the start of the stored bytes, and all bytes that were read for it.

    Raises:
        StorageDecryptionError: There is none.
    """
    head = b""
    async for chunk in _same_error(stored):
        head += chunk
        header = parse_header(head)
        if header is not None:
            return head, header
    header = parse_header(head, complete=True)
    if header is None:
        raise undecryptable()
    return head, header


async def read_head(driver: Driver, key: str, options: ReadOptions) -> tuple[ObjectInfo, bytes]:
    """An object's state and its first bytes, which hold nearly every header.

    Raises:
        StorageError: As `Driver.get`.
    """
    async with await driver.get(key, replace(options, start=0, end=USUAL_HEADER)) as first:
        return first.info, await first.read()


async def header_of(driver: Driver, key: str, options: ReadOptions, info: ObjectInfo, head: bytes) -> Header:
    """The header of an object that starts with `head`, read from the same version.

    Raises:
        StorageDecryptionError: It has no header.
        StorageError: As `Driver.get`.
    """
    header = parse_header(head, complete=info.size <= USUAL_HEADER)
    if header is not None:
        return header
    async with await get_same(driver, key, replace(options, start=0, end=MAX_HEADER), info) as again:
        return (await read_header(again))[1]


async def looked_at(stored: StoredReader, policy: ClientSide | None) -> tuple[StoredReader, bool]:
    """A reader of the same bytes from the start, and whether they are encrypted, marked or not."""
    if policy is None:
        return stored, False
    head = b""
    async for chunk in stored:
        head += chunk
        if len(head) >= len(MAGIC):
            break

    async def chunks() -> AsyncGenerator[bytes, None]:
        if head:
            yield head
        async for chunk in stored:
            yield chunk

    again = ObjectReader(stored.info, chunks(), length=stored.length, close=stored.aclose)
    return again, begins_sealed(head)


def begins_sealed(head: bytes) -> bool:
    """Whether bytes start like an encrypted object, whatever its metadata says."""
    return head.startswith(MAGIC)


async def opener_of(
    policy: ClientSide, info: ObjectInfo, key: str, header: Header, span: Span | None = None
) -> Opener:
    """What decrypts this object, once its key is known to be the right one."""
    data_key = await data_key_of(policy, header, info.system)
    return Opener(header, data_key, Binding(policy.store_id, key, None, header.codec), span)


def data_key_of(policy: ClientSide, header: Header, system: Mapping[str, str] | None) -> Awaitable[DataKey]:
    """The object's data key: from its metadata if its body commits to that one, otherwise from its body.

    Raises:
        StorageDecryptionError: When awaited: neither of them unwraps to the right key.
        StorageError: When awaited: the key ring could not be asked.
    """
    text = system.get(WRAPPED_KEY) if system else None
    if text is None:
        return _unwrapped(policy, header, header.key_id, header.wrapped)
    return _renewed(policy, header, text)


async def _renewed(policy: ClientSide, header: Header, text: str) -> DataKey:
    try:
        found = await _unwrapped(policy, header, *parse_wrapped(text))
        check_key(header, found)
    except StorageDecryptionError:
        pass  # Not this object's key: treated as if it were not there.
    else:
        return found
    return await _unwrapped(policy, header, header.key_id, header.wrapped)


def _unwrapped(policy: ClientSide, header: Header, key_id: str, wrapped: bytes) -> Awaitable[DataKey]:
    return policy.keyring.unwrap(
        key_id, wrapped, store_id=policy.store_id, suite=header.suite, salt=header.salt
    )


def recipe_of_header(info: ObjectInfo, header: Header, plain_size: int | None) -> Recipe:
    """How to turn what was encrypted into plain bytes."""
    headers = info.headers
    marked = (info.system or NOTHING).get(CONTENT_TYPE)
    content_type = marked or (headers.content_type if headers else None)
    return made(
        Recipe,
        {
            "codec": header.codec,
            "plain_size": plain_size,
            "content_type": content_type,
            "opaque": True,
            "sealed": True,
        },
    )


async def _opened(head: bytes, stored: AsyncIterator[bytes], opener: Opener) -> AsyncGenerator[bytes, None]:
    if head and (plain := await _fed(opener, head)):
        yield plain
    async for chunk in _same_error(stored):
        if plain := await _fed(opener, chunk):
            yield plain
    if last := opener.finish():
        yield last


async def _fed(opener: Opener, chunk: bytes) -> bytes:
    return opener.feed(chunk) if len(chunk) <= INLINE else await in_pool(opener.feed, chunk)


async def _same_error(stored: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes; if they are not those that were stored, this raises the one error of this file."""
    try:
        async for chunk in stored:
            yield chunk
    except StorageIntegrityError:
        raise undecryptable() from None
