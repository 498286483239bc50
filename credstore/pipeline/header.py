"""The layout of an encrypted object: its header, what binds it to its place, where its chunks are.

Rules of this file: it holds no key and decrypts nothing, so everything it says is a claim until `envelope.py`
has checked it. Reading a header is bounded. Whatever is wrong, the error and its text are the same (P22),
made by `undecryptable`, so that no response shows an attacker how far a forgery got.

Source: docs/envelope.md, which is precise enough to implement the format elsewhere.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from collections.abc import Collection
from functools import lru_cache
from typing import NamedTuple

from credstore.encryption import CHUNK_SIZES, DataKey
from credstore.errors import StorageDecryptionError, StorageInvalidRequestError
from credstore.model import Codec

TEXT = (
    "the object cannot be decrypted: it is not what was stored under this key, or its encryption key is wrong"
)
MAGIC = b"\x89CSE\r\n\x1a\n"
"""Not text, and damaged by anything that converts line endings, like PNG's."""
VERSION = 1
SUITE = 1
"""AES-256-GCM in chunks (STREAM), HKDF-SHA256, committing."""
SUITES = frozenset({SUITE})
"""What this version reads; an object's own claim never adds to it (CVE-2020-8912)."""
TAG = 16
SALT = 32
SLOT_TAG = 16
MAX_CHUNKS = 2**32
MAX_KEY_ID = 255
"""Characters."""
MAX_WRAPPED = 6144
"""Bytes; the maximum that AWS KMS makes (API Decrypt, CiphertextBlob)."""

CORE = 100
"""Bytes of the part that every chunk authenticates; the slot of the wrapped key follows it."""
MAX_HEADER = CORE + 1 + MAX_KEY_ID + 2 + MAX_WRAPPED + SLOT_TAG
"""Bytes of the largest header, 6,518."""
USUAL_HEADER = 1024
"""Bytes that contain nearly every header, a good first range to request."""

_FIRST = struct.Struct(">8s4B16x32s32sQB")
"""Magic, version, suite, flags, chunk exponent, write-id (left out), salt, commitment, masked size: the core.
Then the length of the key id."""
_WRITE_ID_AT = 12
_WRITE_ID = 16
_SIZE_KNOWN = 0b100
_CODES: tuple[Codec | None, ...] = (None, "gzip", "zstd")
_FLAGS: dict[int, tuple[Codec | None, bool]] = {
    code | known: (codec, bool(known)) for code, codec in enumerate(_CODES) for known in (0, _SIZE_KNOWN)
}
"""Codec, and whether the plain size is known."""
_EXPONENTS = {size.bit_length() - 1: size for size in CHUNK_SIZES}


def undecryptable() -> StorageDecryptionError:
    """The one error for an object that does not decrypt, whatever the cause."""
    return StorageDecryptionError(TEXT)


class Binding(NamedTuple):
    """What an object is bound to besides its key; it does not decrypt anywhere else.

    Attributes:
        store_id: Permanent name of the store, the same on all replicas.
        key: The object's logical key.
        write_id: Of the write that encrypted it, 32 hex digits. The header carries it; with None, a read does
            not compare it, as for an object that was copied onto itself since.
        codec: What the encrypted bytes are encoded with.
        dictionary: Name of its zstd dictionary.
    """

    store_id: str
    key: str
    write_id: str | None
    codec: Codec | None = None
    dictionary: str | None = None

    def associated_data(self, core: bytes) -> bytes:
        """SHA-256 (32 bytes) of the header's core and of everything here, each with its length."""
        return bound(core, self.store_id, self.key, self.dictionary or "")


def bound(core: bytes, store_id: str, key: str, dictionary: str = "") -> bytes:
    """See `Binding.associated_data`."""
    raw = key.encode()
    parts = (core, _counted(store_id), len(raw).to_bytes(4, "big"), raw, _counted(dictionary))
    return hashlib.sha256(b"".join(parts)).digest()


@lru_cache(64)
def _counted(text: str) -> bytes:
    """UTF-8 after its length; for names that many objects have in common."""
    raw = text.encode()
    return len(raw).to_bytes(4, "big") + raw


class Header(NamedTuple):
    """A header as read: claims, until an `Opener` accepts it.

    Attributes:
        core: Its first 100 bytes, which every chunk authenticates.
        slot: Key id and wrapped key with their lengths, which the slot's tag authenticates.
        slot_tag: 16 bytes.
        key_id: Of the wrapping key, unless the object's metadata has a newer wrapped key.
        wrapped: The wrapped data key, with the same exception.
        size: Bytes of the header: the offset of the first chunk.
        suite: Number of the suite.
        codec: What the encrypted bytes are encoded with.
        size_known: Whether the plain size was known before the first byte.
        chunk_size: Bytes of a chunk before encryption; the last may have fewer.
        salt: 32 bytes.
        commitment: 32 bytes that only the right data key produces.
        masked_size: The plain size, encrypted: a number of 64 bits.
    """

    core: bytes
    slot: bytes
    slot_tag: bytes
    key_id: str
    wrapped: bytes
    size: int
    suite: int
    codec: Codec | None
    size_known: bool
    chunk_size: int
    salt: bytes
    commitment: bytes
    masked_size: int

    @property
    def write_id(self) -> str:
        """Of the write that encrypted it."""
        return self.core[_WRITE_ID_AT : _WRITE_ID_AT + _WRITE_ID].hex()


def make_core(
    binding: Binding, *, chunk_size: int, size_known: bool, salt: bytes, commitment: bytes, masked_size: bytes
) -> bytes:
    """The first 100 bytes of a header.

    Raises:
        StorageInvalidRequestError: A size is not valid in the format.
    """
    try:
        write_id = bytes.fromhex(binding.write_id or "")
    except ValueError:
        write_id = b""
    if chunk_size not in CHUNK_SIZES or len(salt) != SALT or len(write_id) != _WRITE_ID:
        raise StorageInvalidRequestError(
            f"an encrypted object has chunks of a power of two from {CHUNK_SIZES[0]} to {CHUNK_SIZES[-1]} "
            f"bytes, a salt of {SALT} bytes and a write-id of 32 hex digits"
        )
    flags = _CODES.index(binding.codec) | (_SIZE_KNOWN if size_known else 0)
    facts = bytes((VERSION, SUITE, flags, chunk_size.bit_length() - 1))
    return b"".join((MAGIC, facts, write_id, salt, commitment, masked_size))


def make_slot(key: DataKey) -> bytes:
    """Key id and wrapped key in the form of the header, without the tag.

    Raises:
        StorageInvalidRequestError: The key ring returned something that does not fit.
    """
    wrapped = key.wrapped
    named = _named(key.key_id)
    if named is None or not 0 < len(wrapped) <= MAX_WRAPPED:
        raise StorageInvalidRequestError(
            f"a key id has 1 to {MAX_KEY_ID} printable ASCII characters without blanks, "
            f"a wrapped key 1 to {MAX_WRAPPED} bytes"
        )
    return named + len(wrapped).to_bytes(2, "big") + wrapped


@lru_cache(64)
def _named(key_id: str) -> bytes | None:
    """The id of a wrapping key after its length, the same for many objects; None if it is not one."""
    return bytes((len(key_id),)) + key_id.encode() if is_key_id(key_id) else None


def is_key_id(text: str) -> bool:
    """Whether this can name a wrapping key."""
    return 0 < len(text) <= MAX_KEY_ID and text.isascii() and text.isprintable() and " " not in text


def parse_header(
    data: bytes | bytearray | memoryview, *, complete: bool = False, suites: Collection[int] = SUITES
) -> Header | None:
    """Read the header at the start of an object.

    Args:
        data: The object's first bytes, or all of it.
        complete: Whether there are no more bytes than these.
        suites: Numbers of the suites to accept.

    Returns:
        The header; None if more bytes are needed, which never happens with `MAX_HEADER` bytes or more.

    Raises:
        StorageDecryptionError: This is not an envelope, or not one of an accepted suite.
    """
    head = data if isinstance(data, bytes) else bytes(data[:MAX_HEADER])
    header = _parse(head, suites) if len(head) > CORE else None
    if header is None and (complete or head[: len(MAGIC)] != MAGIC[: len(head)]):
        raise undecryptable()
    return header


def _parse(head: bytes, suites: Collection[int]) -> Header | None:
    """See `parse_header`; for more bytes than those of the core."""
    first: tuple[bytes, int, int, int, int, bytes, bytes, int, int] = _FIRST.unpack_from(head)
    magic, version, suite, flags, exponent, salt, commitment, masked, id_size = first
    marked, chunk_size = _FLAGS.get(flags), _EXPONENTS.get(exponent)
    if magic != MAGIC or version != VERSION or suite not in suites or marked is None or chunk_size is None:
        raise undecryptable()
    id_end = CORE + 1 + id_size
    wrapped_at = id_end + 2
    if len(head) < wrapped_at:
        return None
    wrapped_size = head[id_end] << 8 | head[id_end + 1]
    slot_end = wrapped_at + wrapped_size
    size = slot_end + SLOT_TAG
    key_id = _key_id(head[CORE + 1 : id_end])
    if not 0 < wrapped_size <= MAX_WRAPPED or key_id is None:
        raise undecryptable()
    if len(head) < size:
        return None
    codec, size_known = marked
    return Header(
        head[:CORE],
        head[CORE:slot_end],
        head[slot_end:size],
        key_id,
        head[wrapped_at:slot_end],
        size,
        suite,
        codec,
        size_known,
        chunk_size,
        salt,
        commitment,
        masked,
    )


@lru_cache(64)
def _key_id(raw: bytes) -> str | None:
    """The id of a wrapping key, which many objects have in common; None if it is not one."""
    text = raw.decode("latin-1")
    return text if is_key_id(text) else None


def wrapped_text(key: DataKey) -> str:
    """A wrapped key in the form used in the metadata of an object whose wrapping key was changed."""
    make_slot(key)  # The same limits as in the body.
    return f"{key.key_id} {base64.b64encode(key.wrapped).decode()}"


def parse_wrapped(text: str) -> tuple[str, bytes]:
    """Key id and wrapped key from the text in an object's metadata.

    Raises:
        StorageDecryptionError: It was not made by `wrapped_text`.
    """
    key_id, _, encoded = text.partition(" ")
    try:
        wrapped = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise undecryptable() from None
    if not is_key_id(key_id) or not 0 < len(wrapped) <= MAX_WRAPPED:
        raise undecryptable()
    return key_id, wrapped


def header_size(key: DataKey) -> int:
    """Bytes of the header of an object with this key."""
    return CORE + len(make_slot(key)) + SLOT_TAG


def sealed_size(size: int, *, chunk_size: int, header_size: int) -> int:
    """Stored bytes of an object.

    Args:
        size: Bytes to encrypt, after the codec.
        chunk_size: Of its envelope.
        header_size: Of its envelope.
    """
    return header_size + size + TAG * max(1, -(-size // chunk_size))


class Span(NamedTuple):
    """Where a range of an object is stored: whole chunks.

    Attributes:
        stored_start: First stored byte to read.
        stored_end: The byte after the last.
        first: Index of the first chunk.
        skip: Number of plain bytes of the first chunks that are not wanted.
        length: Number of plain bytes that are; 0 if the range starts at or after the end. Then the last chunk
            is read anyway, since only that proves where the end is.
        to_end: Whether the last of these chunks is the object's last.
    """

    stored_start: int
    stored_end: int
    first: int
    skip: int
    length: int
    to_end: bool


def sealed_plain_size(header: Header, stored_size: int) -> int:
    """How many bytes were encrypted, computed from the size of the stored object.

    Args:
        header: Of the object.
        stored_size: Bytes of the whole stored object, as reported by its store.

    Raises:
        StorageDecryptionError: No envelope can have this size.
    """
    full = header.chunk_size + TAG
    payload = stored_size - header.size
    count = -(-payload // full)
    if not 0 < count <= MAX_CHUNKS or payload - (count - 1) * full < TAG:
        raise undecryptable()
    return payload - count * TAG


def span_of(header: Header, stored_size: int, start: int, end: int | None) -> Span:
    """The chunks that hold the plain bytes from `start` to `end` (exclusive; None is the end).

    Only for what was encrypted without a codec: the positions are those of the encrypted bytes.

    Args:
        header: Of the object.
        stored_size: Bytes of the whole stored object, as reported by its store.
        start: 0 or more.
        end: More than `start`, or None.

    Raises:
        StorageDecryptionError: No envelope can have this size.
    """
    size, full = header.chunk_size, header.chunk_size + TAG
    plain = sealed_plain_size(header, stored_size)
    count = (stored_size - header.size - plain) // TAG
    stop = plain if end is None else min(end, plain)
    first = min(start // size, count - 1)
    after = count if stop >= plain or start >= plain else max(first + 1, -(-stop // size))
    stored_end = stored_size if after == count else header.size + after * full
    skip = min(start, plain) - first * size
    return Span(header.size + first * full, stored_end, first, skip, max(0, stop - start), after == count)
