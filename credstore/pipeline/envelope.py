"""Encryption and decryption of one object: AES-256-GCM in chunks, bound to its place (STREAM).

Rules of this file: pure and incremental; randomness (data key and salt) comes from outside, so the same
arguments yield the same bytes and a retry sends what the first attempt sent (P13). A data key encrypts one
object: with a different salt it would yield other keys, and with the same salt and other bytes it would break
GCM. The commitment is compared before anything is decrypted, every time, whoever unwrapped or cached the key
(CVE-2026-6550); no part of a chunk is returned before its tag is checked; after a failure, an opener returns
nothing more. All failures are `undecryptable()` (P22). Local variables only hold wrappers of keys, since a
traceback may show them.

Source: docs/envelope.md. STREAM: Hoang, Reyhanitabar, Rogaway, Vizár, "Online Authenticated-
Encryption and its Nonce-Reuse Misuse-Resistance", 2015.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

from credstore.encryption import DataKey
from credstore.errors import ErrorCode, StorageDecryptionError, StorageInvalidRequestError
from credstore.pipeline.header import (
    MAX_CHUNKS,
    SLOT_TAG,
    SUITE,
    TAG,
    VERSION,
    Binding,
    Header,
    Span,
    bound,
    make_core,
    make_slot,
    undecryptable,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.hmac import HMAC
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

Data = bytes | bytearray | memoryview

_INFO = b"credstore envelope" + bytes((VERSION, SUITE))
_DERIVED = struct.Struct(">32s32s24sQ")
"""Chunk key, commitment, slot key, mask of the plain size: 96 bytes, three blocks of SHA-256."""


class _Cryptography(NamedTuple):
    """What is used of the package; imported when first used."""

    aead: type[AESGCM]
    kdf: type[HKDF]
    mac: type[HMAC]
    sha256: SHA256
    invalid: type[Exception]
    """Raised for a wrong tag."""


@cache
def _cryptography() -> _Cryptography:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.hmac import HMAC
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return _Cryptography(AESGCM, HKDF, HMAC, SHA256(), InvalidTag)


def _derived(key: DataKey, salt: bytes, slot: bytes) -> tuple[AESGCM, bytes, bytes, int]:
    """What follows from a data key and a salt: cipher, commitment, the tag of a slot, the size mask."""
    aead, kdf, mac, sha256, _ = _cryptography()
    derived = kdf(sha256, _DERIVED.size, salt, _INFO).derive(key.reveal())
    chunk_key, commitment, slot_key, mask = _DERIVED.unpack(derived)
    tag = mac(slot_key, sha256)
    tag.update(slot)
    return aead(chunk_key), commitment, tag.finalize()[:SLOT_TAG], mask


class _Chunks:
    """Bytes of any length in, chunks of one length out; the last stays in `rest` until more arrive."""

    __slots__ = ("_size", "rest")

    def __init__(self, size: int) -> None:
        self._size = size
        self.rest = bytearray()

    def push(self, data: Data) -> Iterator[Data]:
        view, size, rest = memoryview(data), self._size, self.rest
        if len(rest) + len(view) <= size:
            rest += view
            return
        if rest:
            missing = size - len(rest)
            rest += view[:missing]
            yield rest
        else:
            missing = 0
        last = len(view) - (len(view) - missing - 1) % size - 1
        for start in range(missing, last, size):
            yield view[start : start + size]
        self.rest = bytearray(view[last:])


def _begun(
    key: DataKey, binding: Binding, salt: bytes, chunk_size: int, plain_size: int | None
) -> tuple[AESGCM, bytes, bytes]:
    """An object's cipher, header and associated data."""
    slot = make_slot(key)
    cipher, commitment, tag, mask = _derived(key, salt, slot)
    core = make_core(
        binding,
        chunk_size=chunk_size,
        size_known=plain_size is not None,
        salt=salt,
        commitment=commitment,
        masked_size=(mask ^ (plain_size or 0)).to_bytes(8, "big"),
    )
    return cipher, core + slot + tag, binding.associated_data(core)


class Sealer:
    """Plain bytes in, an encrypted object out.

    Attributes:
        header: What the object starts with, before everything that `feed` and `finish` return.
    """

    __slots__ = ("_chunk_size", "_chunks", "_cipher", "_data", "_done", "_exact", "_index", "header")

    def __init__(
        self, key: DataKey, binding: Binding, *, salt: bytes, chunk_size: int, plain_size: int | None
    ) -> None:
        """Start an object.

        Args:
            key: New for this object.
            binding: Where it goes, with the write-id.
            salt: 32 random bytes, new for this object.
            chunk_size: Bytes of a chunk: a power of two from 4 KiB to 4 MiB.
            plain_size: Bytes before the codec, or None if that is not known yet. Without a codec, exactly
                this many must be fed.

        Raises:
            StorageInvalidRequestError: An argument does not fit the format.
            StorageConfigurationError: The package cryptography is missing.
        """
        self._cipher, self.header, self._data = _begun(key, binding, salt, chunk_size, plain_size)
        self._chunk_size = chunk_size
        self._chunks = _Chunks(chunk_size)
        self._exact = plain_size if binding.codec is None else None
        self._index = 0
        self._done = 0

    def feed(self, data: Data) -> bytes:
        """Encrypt more; returns the chunks that are complete and cannot be the last."""
        sealed = BytesIO()
        self._feed_into(sealed, data)
        return sealed.getvalue()

    def finish(self) -> bytes:
        """The last chunk.

        Raises:
            StorageInvalidRequestError: The number of bytes fed is not the one announced.
        """
        return self._end(self._chunks.rest, self._done)

    def seal(self, data: Data) -> bytes:
        """The whole object for `data`, including the header, instead of `feed` and `finish`.

        Raises:
            StorageInvalidRequestError: See `finish`.
        """
        if len(data) <= self._chunk_size:
            return self.header + self._end(data, len(data))
        # One growing buffer: joining the chunks of 64 MiB would take as long as encrypting them.
        sealed = BytesIO()
        sealed.write(self.header)
        self._feed_into(sealed, data)
        sealed.write(self.finish())
        return sealed.getvalue()

    def _end(self, chunk: Data, done: int) -> bytes:
        if self._exact is not None and done != self._exact:
            raise StorageInvalidRequestError(
                f"there were {done} bytes, but {self._exact} were announced; nothing is kept",
                code=ErrorCode.SOURCE_CHANGED,
            )
        return self._encrypt(chunk, last=True)

    def _feed_into(self, sealed: BytesIO, data: Data) -> None:
        self._done += len(data)
        sealed.writelines(self._encrypt(chunk, last=False) for chunk in self._chunks.push(data))

    def _encrypt(self, chunk: Data, *, last: bool) -> bytes:
        index = self._index
        if index >= MAX_CHUNKS:
            raise StorageInvalidRequestError(
                f"the object has more than {MAX_CHUNKS} chunks; use a larger chunk_size",
                code=ErrorCode.TOO_LARGE,
            )
        self._index = index + 1
        return self._cipher.encrypt(_nonce(index, last=last), chunk, self._data)


class Opener:
    """An encrypted object in, its plain bytes out, chunk by authentic chunk.

    Attributes:
        plain_size: Bytes before the codec, or None if the object does not record it. Authentic as soon as
            anything was returned.
    """

    __slots__ = (
        "_chunks",
        "_cipher",
        "_data",
        "_exact",
        "_full",
        "_index",
        "_left",
        "_skip",
        "_to_end",
        "plain_size",
    )

    def __init__(self, header: Header, key: DataKey, binding: Binding, span: Span | None = None) -> None:
        """Check that this key is the object's.

        Args:
            header: Of the object.
            key: What the key ring unwrapped.
            binding: Where the object was found, and what its metadata says it is.
            span: The part that will be fed, from `span_of`; everything after the header if None.

        Raises:
            StorageDecryptionError: It is not the object's key.
            StorageConfigurationError: The package cryptography is missing.
        """
        self._cipher, self.plain_size = _checked(header, key)
        if header.codec != binding.codec or (
            binding.write_id is not None
            and not hmac.compare_digest(_ascii(binding.write_id), header.write_id)
        ):
            raise undecryptable()
        self._data = binding.associated_data(header.core)
        self._full = header.chunk_size + TAG
        self._chunks = _Chunks(self._full)
        self._exact = self.plain_size if header.codec is None else None
        self._index, self._skip, self._left, self._to_end = 0, 0, None, True
        if span is not None:
            self._index, self._skip, self._left, self._to_end = (
                span.first,
                span.skip,
                span.length,
                span.to_end,
            )

    def feed(self, data: Data) -> bytes:
        """Decrypt more; returns the wanted bytes of the chunks that are complete and not the last.

        Raises:
            StorageDecryptionError: It is not what was encrypted; this call returns nothing.
        """
        plain = BytesIO()
        self._feed_into(plain, data)
        return self._wanted(plain.getvalue())

    def finish(self) -> bytes:
        """The wanted bytes of the last chunk, and the proof that it is the last.

        Raises:
            StorageDecryptionError: It is cut off, or not what was encrypted.
        """
        return self._wanted(self._end(self._chunks.rest))

    def open(self, stored: Data) -> bytes:
        """What was encrypted, from the whole object without its header, instead of `feed` and `finish`.

        Raises:
            StorageDecryptionError: See `feed` and `finish`.
        """
        if len(stored) <= self._full:
            return self._wanted(self._end(stored))
        plain = BytesIO()
        self._feed_into(plain, stored)
        plain.write(self._end(self._chunks.rest))
        return self._wanted(plain.getvalue())

    def _feed_into(self, plain: BytesIO, data: Data) -> None:
        plain.writelines(self._decrypt(chunk, last=False) for chunk in self._chunks.push(data))

    def _end(self, chunk: Data) -> bytes:
        index, size = self._index, self._full - TAG
        plain = self._decrypt(chunk, last=self._to_end)
        if self._to_end and (
            (index and not plain) or (self._exact is not None and index * size + len(plain) != self._exact)
        ):
            raise self._failed()  # No honest writer does this; every object has exactly one form.
        return plain

    def _decrypt(self, chunk: Data, *, last: bool) -> bytes:
        index = self._index
        if not 0 <= index < MAX_CHUNKS:
            raise self._failed()
        self._index = index + 1
        try:
            return self._cipher.decrypt(_nonce(index, last=last), chunk, self._data)
        except _cryptography().invalid:
            pass  # What is raised below has no context that would distinguish causes.
        raise self._failed()

    def _failed(self) -> StorageDecryptionError:
        self._index = -1
        return undecryptable()

    def _wanted(self, plain: bytes) -> bytes:
        if self._left is None:
            return plain
        if self._skip:
            skipped = min(self._skip, len(plain))
            self._skip -= skipped
            plain = plain[skipped:]
        plain = plain[: self._left]
        self._left -= len(plain)
        return plain


def seal_at_once(
    data: Data, key: DataKey, binding: Binding, *, salt: bytes, chunk_size: int, plain_size: int | None
) -> bytes:
    """The whole object for `data`; by a `Sealer`, which has the same arguments, if it has several chunks.

    Raises:
        StorageInvalidRequestError: As from a `Sealer`.
        StorageConfigurationError: The package cryptography is missing.
    """
    if len(data) > chunk_size or (binding.codec is None and plain_size not in {None, len(data)}):
        return Sealer(key, binding, salt=salt, chunk_size=chunk_size, plain_size=plain_size).seal(data)
    cipher, header, bound_to = _begun(key, binding, salt, chunk_size, plain_size)
    return header + cipher.encrypt(_ONLY, data, bound_to)


def open_at_once(
    stored: Data, header: Header, key: DataKey, *, store_id: str, name: str
) -> tuple[bytes, int | None]:
    """What was encrypted, and the plain size, of a whole object; by an `Opener` if it has several chunks.

    Args:
        stored: The whole object.
        header: Of the object.
        key: What the key ring unwrapped.
        store_id: Of the store it was found in.
        name: The object's key in that store.

    Raises:
        StorageDecryptionError: It is not the object's key, or the bytes are not what was encrypted there.
        StorageConfigurationError: The package cryptography is missing.
    """
    start = header.size
    if len(stored) > start + header.chunk_size + TAG:
        opener = Opener(header, key, Binding(store_id, name, None, header.codec))
        return opener.open(memoryview(stored)[start:]), opener.plain_size
    cipher, size = _checked(header, key)
    try:
        plain = cipher.decrypt(_ONLY, memoryview(stored)[start:], bound(header.core, store_id, name))
    except _cryptography().invalid:
        plain = None  # What is raised below has no context that would distinguish causes.
    if plain is None or (size is not None and header.codec is None and len(plain) != size):
        raise undecryptable()
    return plain, size


def check_key(header: Header, key: DataKey) -> None:
    """Check that this is the object's data key, before it is wrapped again or relied on.

    Raises:
        StorageDecryptionError: It is not, or the part of the header that holds keys was changed.
    """
    _checked(header, key)


def _checked(header: Header, key: DataKey) -> tuple[AESGCM, int | None]:
    """The object's cipher and plain size, once its header is known to be made with this key."""
    if header.suite != SUITE:  # Here too, bypassing any cache: policy decides, not the object.
        raise undecryptable()
    cipher, commitment, tag, mask = _derived(key, header.salt, header.slot)
    size = mask ^ header.masked_size
    # Metadata may supersede the slot, but it is what the writer wrote: no bit of it can change unnoticed.
    its = hmac.compare_digest(commitment, header.commitment) and hmac.compare_digest(tag, header.slot_tag)
    del commitment, tag, mask  # Not in a traceback.
    if its and (header.size_known or not size):
        return cipher, size if header.size_known else None
    raise undecryptable()


def _nonce(index: int, *, last: bool) -> bytes:
    """Seven zero bytes, the chunk's number in four, and 1 for the last chunk."""
    return (index << 8 | last).to_bytes(12, "big")


_ONLY = _nonce(0, last=True)


def _ascii(text: str) -> str:
    """For compare_digest, which accepts no other text."""
    return text if text.isascii() else ""
