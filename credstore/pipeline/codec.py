"""gzip and zstd, bounded in both directions and exact at the end.

Rules of this file: no I/O and no threads. Decoding never trusts a declared size (P19), accepts exactly one
gzip member or one zstd frame, and is complete only when that frame has ended and nothing follows (0.5, K08,
K09); in what others made, several may follow each other. Contexts are reused through a free list; taking one
out is a single `list.pop`, so callers in different threads never share one.

Sources: RFC 1952 (gzip, section 2.2 for several members), RFC 8878 (zstd, section 3.1 for several and
skippable frames).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple, NoReturn, Protocol

import zstandard

from credstore.errors import ErrorCode, StorageCodecError
from credstore.model import Codec, Dictionary

ZSTD_LEVEL = 3
GZIP_WINDOW = 31
"""zlib's wbits for a 32 KiB window in a gzip wrapper."""
ZSTD_WINDOW = 8 * 1024 * 1024
"""Largest window to accept; RFC 8878 §3.1.1.1.2 recommends that decoders support exactly this."""
ZSTD_SLICE = 1024
"""Input bytes for one decoder step: a block of 4 bytes can expand to 128 KiB, so a step stays below 32
MiB."""
GZIP_SLICE = 64 * 1024
"""Input bytes for one decoder step: what is left over is copied for the next step."""
NEXT_SLICE = 1024
"""The same right after the start of a further member: the end of each copies what is left of a step."""
_GZIP_BEGINS = 0x1F
PIECE = 256 * 1024
"""Maximum number of bytes in one decoded piece of gzip."""
FREE = 8
"""Number of contexts kept for reuse."""

DICTIONARIES = 16
"""Number of dictionaries kept ready for use."""


class Encoder(Protocol):
    """Plain bytes in, encoded bytes out."""

    def feed(self, data: bytes) -> bytes:
        """Encode more; may return nothing yet."""
        ...

    def finish(self) -> bytes:
        """The rest, with the end mark."""
        ...


class Decoder(Protocol):
    """Encoded bytes in, plain bytes out, in pieces of bounded size."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decode more, piece by piece.

        Raises:
            StorageCodecError: The bytes are not of this codec, or there are trailing bytes.
        """
        ...

    def finish(self) -> None:
        """Check that the encoded form is complete.

        Raises:
            StorageCodecError: It is cut off.
        """
        ...


class _Stream(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class _Inflater(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    @property
    def unconsumed_tail(self) -> bytes: ...

    def decompress(self, data: bytes | memoryview, max_length: int, /) -> bytes: ...


class _Deflate(NamedTuple):
    """Functions to make and read gzip, at once and in pieces, and the level to use."""

    compress: Callable[[bytes, int, int], bytes]
    compressobj: Callable[[int, int, int], _Stream]
    decompressobj: Callable[[int], _Inflater]
    error: type[Exception]
    level: int


def _fastest() -> _Deflate:
    try:  # Takes half to a fifth of zlib's time for the same size, where there is a wheel for the processor.
        from isal import isal_zlib as isal
    except ImportError:
        return _Deflate(zlib.compress, zlib.compressobj, zlib.decompressobj, zlib.error, 6)
    return _Deflate(isal.compress, isal.compressobj, isal.decompressobj, isal.error, 3)


_gzip = _fastest()
GZIP_LEVEL = _gzip.level


class _GzipEncoder:
    def __init__(self) -> None:
        self._stream = _gzip.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_WINDOW)

    def feed(self, data: bytes) -> bytes:
        return self._stream.compress(data)

    def finish(self) -> bytes:
        return self._stream.flush()


class _Contexts:
    """The zstd contexts for one dictionary, or for none."""

    def __init__(self, dictionary: Dictionary | None) -> None:
        self.compressors: list[zstandard.ZstdCompressor] = []
        self.decompressors: list[zstandard.ZstdDecompressor] = []
        self._dictionary: zstandard.ZstdCompressionDict | None = None
        if dictionary is not None:
            try:
                self._dictionary = zstandard.ZstdCompressionDict(
                    dictionary.data, dict_type=zstandard.DICT_TYPE_FULLDICT
                )
                self._dictionary.precompute_compress(level=ZSTD_LEVEL)  # pyright: ignore[reportUnknownMemberType] - their stub
            except zstandard.ZstdError:
                raise StorageCodecError(
                    f"the dictionary {dictionary.name} is damaged and cannot be used", code=ErrorCode.CORRUPT
                ) from None

    def compressor(self) -> zstandard.ZstdCompressor:
        return zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True, dict_data=self._dictionary)

    def decompressor(self) -> zstandard.ZstdDecompressor:
        return zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW, dict_data=self._dictionary)


_plain = _Contexts(None)
_with_dictionary = lru_cache(DICTIONARIES)(_Contexts)


def _contexts(dictionary: Dictionary | None) -> _Contexts:
    return _plain if dictionary is None else _with_dictionary(dictionary)


class _ZstdEncoder:
    def __init__(self, dictionary: Dictionary | None) -> None:
        # A separate context, since one in the free list could be taken by a one-shot call in the meantime.
        self._stream = _contexts(dictionary).compressor().compressobj()

    def feed(self, data: bytes) -> bytes:
        return self._stream.compress(data)

    def finish(self) -> bytes:
        return self._stream.flush()


class _GzipDecoder:
    def __init__(self, *, several: bool) -> None:
        self._stream = _gzip.decompressobj(GZIP_WINDOW)
        self._several = several
        self._step = GZIP_SLICE
        self._padding = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        view = memoryview(data)
        at = 0
        while at < len(view):
            if self._stream.eof and not self._goes_on(view[at:]):
                return
            taken = view[at : at + self._step]
            rest: bytes | memoryview = taken
            while rest and not self._stream.eof:
                try:
                    piece = self._stream.decompress(rest, PIECE)
                except _gzip.error:
                    _corrupt("gzip")
                if piece:
                    yield piece
                rest = self._stream.unconsumed_tail
            at += len(taken) - (len(self._stream.unused_data) if self._stream.eof else 0)
            self._step = min(2 * self._step, GZIP_SLICE)

    def _goes_on(self, rest: memoryview) -> bool:
        """Whether a further member begins; what follows the last may only be zeros, as gzip(1) has it."""
        if not self._several:
            _trailing("gzip")
        self._padding = self._padding or rest[0] == 0
        if self._padding:
            if bytes(rest).strip(b"\0"):
                _trailing("gzip")
            return False
        if rest[0] != _GZIP_BEGINS:
            _trailing("gzip")
        self._stream = _gzip.decompressobj(GZIP_WINDOW)
        self._step = NEXT_SLICE
        return True

    def finish(self) -> None:
        if not self._stream.eof:
            _truncated("gzip")


class _ZstdDecoder:
    def __init__(self, dictionary: Dictionary | None, *, several: bool) -> None:
        self._context = _contexts(dictionary).decompressor()
        self._stream = self._context.decompressobj()
        self._several = several

    def feed(self, data: bytes) -> Iterator[bytes]:
        view = memoryview(data)
        at = 0
        while at < len(view):
            if self._stream.eof:
                if not self._several:
                    _trailing("zstd")
                self._stream = self._context.decompressobj()
            taken = view[at : at + ZSTD_SLICE]
            try:
                piece = self._stream.decompress(taken)
            except (zstandard.ZstdError, MemoryError):
                _corrupt("zstd")
            if piece:
                yield piece
            at += len(taken) - len(self._stream.unused_data)

    def finish(self) -> None:
        if not self._stream.eof:
            _truncated("zstd")


def encoder(codec: Codec, dictionary: Dictionary | None = None) -> Encoder:
    """An incremental encoder; its output depends only on the bytes fed and zstd's dictionary."""
    return _GzipEncoder() if codec == "gzip" else _ZstdEncoder(dictionary)


def decoder(codec: Codec, dictionary: Dictionary | None = None, *, several: bool = False) -> Decoder:
    """An incremental decoder of exactly one member or frame, or of `several` that follow each other."""
    if codec == "gzip":
        return _GzipDecoder(several=several)
    return _ZstdDecoder(dictionary, several=several)


def encode(codec: Codec, data: bytes, dictionary: Dictionary | None = None) -> bytes:
    """Encode all of `data`; the same input always yields the same bytes.

    Args:
        codec: What to encode with.
        data: All of it.
        dictionary: For zstd.
    """
    if codec == "gzip":
        return _gzip.compress(data, GZIP_LEVEL, GZIP_WINDOW)
    contexts = _contexts(dictionary)
    try:
        context = contexts.compressors.pop()
    except IndexError:
        context = contexts.compressor()
    encoded = context.compress(data)
    if len(contexts.compressors) < FREE:
        contexts.compressors.append(context)
    return encoded


def decode(
    codec: Codec,
    data: bytes,
    *,
    max_size: int,
    dictionary: Dictionary | None = None,
    several: bool = False,
) -> bytes:
    """Decode all of `data` at once.

    Args:
        codec: What it was encoded with.
        data: One complete member or frame.
        max_size: Maximum number of plain bytes to produce, of all members together.
        dictionary: What zstd used, or None.
        several: Whether more members or frames may follow.

    Raises:
        StorageCodecError: The data is not of this codec, is cut off, has trailing bytes, or is larger than
            `max_size`.
    """
    if codec == "zstd" and not several:
        declared = _declared_size(data)
        if declared is not None:
            return _decode_sized_zstd(data, declared, max_size, _contexts(dictionary))
    stream = decoder(codec, dictionary, several=several)
    pieces: list[bytes] = []
    size = 0
    for piece in stream.feed(data):
        size += len(piece)
        if size > max_size:
            raise too_large(max_size)
        pieces.append(piece)
    stream.finish()
    return b"".join(pieces)


def too_large(max_size: int) -> StorageCodecError:
    """The error for an object that decodes to more than it may."""
    return StorageCodecError(
        f"the object decompresses to more than the {max_size} bytes that it declares or you allow; nothing "
        f"was kept",
        code=ErrorCode.TOO_LARGE,
    )


def _decode_sized_zstd(data: bytes, declared: int, max_size: int, contexts: _Contexts) -> bytes:
    if declared > max_size:
        raise too_large(max_size)
    try:
        context = contexts.decompressors.pop()
    except IndexError:
        context = contexts.decompressor()
    try:
        # The frame's own size was checked, so this allocates no more than max_size.
        plain = context.decompress(data, max_output_size=max_size, allow_extra_data=False)
    except (zstandard.ZstdError, MemoryError):
        _corrupt("zstd", "cut off, followed by trailing bytes or damaged")
    if len(plain) != declared:
        _truncated("zstd")
    if len(contexts.decompressors) < FREE:
        contexts.decompressors.append(context)
    return plain


def _declared_size(data: bytes) -> int | None:
    try:
        size = zstandard.frame_content_size(data)
    except zstandard.ZstdError:
        _corrupt("zstd")
    return size if size > 0 else None


def _corrupt(codec: Codec, how: str = "damaged, or of another codec") -> NoReturn:
    raise StorageCodecError(
        f"the object is marked {codec} but its bytes are {how}", code=ErrorCode.CORRUPT
    ) from None


def _truncated(codec: Codec) -> NoReturn:
    raise StorageCodecError(f"the object's {codec} data is cut off before its end", code=ErrorCode.TRUNCATED)


def _trailing(codec: Codec) -> NoReturn:
    raise StorageCodecError(
        f"the object has trailing bytes after its {codec} data", code=ErrorCode.TRAILING_DATA
    )
