"""The fixed order between the caller's bytes and the stored bytes, and the marks that undo it.

Rules of this file: pure. What an object was made with is recorded in credstore's own metadata, never in a
response header, which a CDN may rewrite; the one exception is an object that credstore did not write, whose
stored Content-Encoding is all there is.

Formats (providers.md §6): gzip keeps the content type and carries `Content-Encoding: gzip`, so any
browser can open a link; zstd is opaque: no Content-Encoding, type `application/zstd`, the plain
type in `credstore-content-type`. Both carry `x-compression` and, where it is known before the first
byte, `x-original-size`, as the original design does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import get_args

from credstore.errors import ErrorCode, StorageCodecError, StorageIntegrityError
from credstore.model import NOTHING, Codec, Dictionary
from credstore.pipeline import codec as codecs
from credstore.quick import made

COMPRESSION = "x-compression"
ORIGINAL_SIZE = "x-original-size"
CONTENT_TYPE = "credstore-content-type"
DICTIONARY = "credstore-dictionary"
ENVELOPE = "credstore-envelope"
"""Says that the object is encrypted; only a hint, since only the encrypted bytes prove it."""
WRAPPED_KEY = "credstore-wrapped-key"
"""The data key under a newer wrapping key than the one in the body (docs/envelope.md)."""
CODECS: tuple[Codec, ...] = get_args(Codec)
_CODINGS: Mapping[str, Codec] = {"gzip": "gzip", "x-gzip": "gzip", "zstd": "zstd"}
_NO_CODINGS = frozenset({"", "identity", "aws-chunked"})


@dataclass(frozen=True, slots=True)
class Marks:
    """What is stored with the bytes so that a reader can undo the pipeline.

    Attributes:
        content_type: For the stored object.
        content_encoding: For the stored object, or None.
        system: credstore's own metadata.
    """

    content_type: str
    content_encoding: str | None = None
    system: Mapping[str, str] = NOTHING


@dataclass(frozen=True)
class Recipe:
    """How the stored bytes of one object become plain.

    Attributes:
        codec: What to decode with, or None.
        plain_size: Number of bytes to expect, or None if the object does not record it.
        content_type: Of the plain bytes, or None.
        opaque: Whether clients that fetch the stored bytes through a link cannot show them.
        dictionary: Name of the zstd dictionary to decode with, or None.
        sealed: Whether the stored bytes are marked as encrypted; their content says the rest.
        several: Whether others made it, so that it may have several members or frames.
    """

    codec: Codec | None
    plain_size: int | None
    content_type: str | None
    opaque: bool
    dictionary: str | None = None
    sealed: bool = False
    several: bool = False


def sealed_marks(content_type: str) -> Marks:
    """What to store with an encrypted object: codec and size are inside it, where they cannot be changed.

    Args:
        content_type: Of the plain bytes.
    """
    return Marks("application/octet-stream", None, {ENVELOPE: "1", CONTENT_TYPE: content_type})


def marks(
    codec: Codec | None, content_type: str, plain_size: int | None, dictionary: Dictionary | None = None
) -> Marks:
    """What to store with bytes encoded with `codec`.

    Args:
        codec: Or None for bytes as given.
        content_type: Of the plain bytes.
        plain_size: In bytes, or None if it is not known before the first byte is stored.
        dictionary: What zstd used, or None.
    """
    if codec is None:
        return Marks(content_type)
    system: dict[str, str] = {COMPRESSION: codec}
    if plain_size is not None:
        system[ORIGINAL_SIZE] = str(plain_size)
    if codec == "gzip":
        return Marks(content_type, "gzip", system)
    if dictionary is not None:
        system[DICTIONARY] = dictionary.name
    return Marks("application/zstd", None, {**system, CONTENT_TYPE: content_type})


def recipe(
    system: Mapping[str, str],
    *,
    content_type: str | None,
    content_encoding: str | None,
    stored_size: int,
    foreign: bool,
) -> Recipe:
    """Read the marks of a stored object.

    Args:
        system: credstore's own metadata of the object.
        content_type: As stored.
        content_encoding: As stored.
        stored_size: In bytes.
        foreign: Whether credstore did not write it (it has no write-id).

    Raises:
        StorageCodecError: It was made with a codec this version does not know; `decode=False` on a read
            returns the stored bytes.
    """
    if ENVELOPE in system:
        return Recipe(None, None, system.get(CONTENT_TYPE), opaque=True, sealed=True)
    name = system.get(COMPRESSION)
    if name is None and foreign and stored_size:
        told = coding_of(content_encoding)
        if told is not None:
            return Recipe(told, None, content_type, opaque=False, several=True)
    if name is None or name == "none":
        plain = {"codec": None, "plain_size": stored_size, "content_type": content_type, "opaque": False}
        return made(Recipe, plain)
    for codec in CODECS:
        if name == codec:
            plain_type = system.get(CONTENT_TYPE, content_type)
            size, opaque = _size(system.get(ORIGINAL_SIZE)), codec != "gzip"
            return Recipe(codec, size, plain_type, opaque, system.get(DICTIONARY) if opaque else None)
    raise StorageCodecError(
        f"the object is compressed with {name!r}, which this version cannot decode; "
        "read it with decode=False to get the stored bytes",
        code=ErrorCode.UNKNOWN_CODEC,
    )


def coding_of(content_encoding: str | None) -> Codec | None:
    """The one codec that a Content-Encoding names, in any of its spellings; None for another or several.

    >>> [coding_of(text) for text in ("GZIP", "x-gzip", "identity, zstd", "br", "gzip, gzip", None)]
    ['gzip', 'gzip', 'zstd', None, None, None]

    Source: RFC 9110 sections 8.4.1 and 8.4.1.3; S3 API, "aws-chunked".
    """
    if content_encoding is None:
        return None
    tokens = [token.strip().lower() for token in content_encoding.split(",")]
    named = [token for token in tokens if token not in _NO_CODINGS]
    return _CODINGS.get(named[0]) if len(named) == 1 else None


def _size(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= 15 else None  # noqa: PLR2004 - below 2**53


class Decoding:
    """The stored bytes of one object, decoded piece by piece, never more than declared or allowed."""

    def __init__(
        self,
        codec: Codec,
        plain_size: int | None,
        max_size: int | None,
        dictionary: Dictionary | None = None,
        *,
        several: bool = False,
    ) -> None:
        """Start.

        Args:
            codec: From the object's recipe.
            plain_size: From the object's recipe; checked.
            max_size: Maximum number of plain bytes to yield, or None.
            dictionary: The dictionary that the recipe names.
            several: From the object's recipe.
        """
        self._decoder = codecs.decoder(codec, dictionary, several=several)
        self._plain_size = plain_size
        limits = [limit for limit in (plain_size, max_size) if limit is not None]
        self._limit = min(limits) if limits else None
        self._done = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decode more, piece by piece.

        Raises:
            StorageCodecError: It is damaged, has trailing bytes, or is larger than permitted.
        """
        for piece in self._decoder.feed(data):
            self._done += len(piece)
            if self._limit is not None and self._done > self._limit:
                raise codecs.too_large(self._limit)
            yield piece

    def finish(self) -> None:
        """Check the end.

        Raises:
            StorageCodecError: It is cut off.
            StorageIntegrityError: There are fewer bytes than the object declares.
        """
        self._decoder.finish()
        _check_size(self._done, self._plain_size)


def decode(found: Recipe, stored: bytes, *, max_size: int, dictionary: Dictionary | None = None) -> bytes:
    """The plain bytes of a whole stored object.

    Args:
        found: From `recipe`.
        stored: All stored bytes, already verified.
        max_size: Maximum number of plain bytes to produce.
        dictionary: The dictionary that the recipe names.

    Raises:
        StorageCodecError: It is damaged, cut off, has trailing bytes, or is larger than permitted.
        StorageIntegrityError: The number of bytes is not the one the object declares.
    """
    if found.codec is None:
        return stored
    limit = max_size if found.plain_size is None else min(max_size, found.plain_size)
    plain = codecs.decode(found.codec, stored, max_size=limit, dictionary=dictionary, several=found.several)
    _check_size(len(plain), found.plain_size)
    return plain


def _check_size(size: int, declared: int | None) -> None:
    if declared is not None and size != declared:
        message = f"the object decompresses to {size} bytes but declares {declared}"
        raise StorageIntegrityError(message, code=ErrorCode.SIZE_MISMATCH)
