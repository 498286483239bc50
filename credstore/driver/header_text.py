"""Text as header values and back: plain ASCII as it is, all else as RFC 2047 encoded words. Pure.

Rules of this file: `decode_text(encode_text(x)) == x`, and nothing can escape from its header.
"""

from __future__ import annotations

import base64
import quopri
import re
from collections.abc import Mapping

_WORD = re.compile(r"=\?([A-Za-z0-9_.:-]+)(?:\*[A-Za-z0-9-]+)?\?([BbQq])\?([^?\s]*)\?=")
_WORDS = re.compile(rf"{_WORD.pattern}(?:[ \t]+{_WORD.pattern})*")
PLAIN = re.compile(r"[\x20-\x7e]*")
_ETAG = re.compile(r'(?P<weak>[Ww]/)?(?:"(?P<quoted>[!\x23-\x7e]+)"|(?P<bare>[!\x23-\x2b\x2d-\x7e]+))')
_WORD_BYTES = 45
"""Bytes in one encoded word: 60 of base64, under the 75 characters RFC 2047 section 2 allows."""


def encode_text(value: str) -> str:
    """Text as a header value: itself where it is plain ASCII, else RFC 2047 encoded words.

    Text that looks like an encoded word, or that HTTP would trim, is encoded too, so that decoding
    is exact.

    Source: RFC 2047 sections 2 and 4.1; S3 API "User-defined object metadata".
    """
    if value.isascii() and value.isalnum():
        return value
    if PLAIN.fullmatch(value) and value == value.strip(" ") and not _WORD.search(value):
        return value
    words: list[str] = []
    chunk = b""
    for character in value:
        encoded = character.encode()
        if len(chunk) + len(encoded) > _WORD_BYTES:
            words.append(_encode_word(chunk))
            chunk = b""
        chunk += encoded
    words.append(_encode_word(chunk))
    return " ".join(words)


def _encode_word(chunk: bytes) -> str:
    return f"=?UTF-8?B?{base64.b64encode(chunk).decode('ascii')}?="


def decode_text(value: str) -> str:
    """The inverse of `encode_text`; a value that is not made only of encoded words is returned unchanged."""
    if "=?" not in value or not _WORDS.fullmatch(value):
        return value
    try:
        text = "".join(_decode_word(*found) for found in _WORD.findall(value))
        text.encode()  # Some charsets give lone surrogates, which can be neither sent nor printed.
    except (LookupError, ValueError):
        return value
    return text


def readable(headers: Mapping[str, str]) -> Mapping[str, str]:
    """A response's headers as text that can be printed and sent: what is not UTF-8 is read as ISO 8859-1.

    Source: RFC 9110 section 5.5: field values were ISO 8859-1 once, and others still store them so.
    """
    if "".join(headers.values()).isascii():
        return headers  # As nearly always.
    return {name: value if value.isascii() else _as_text(value) for name, value in headers.items()}


def _as_text(value: str) -> str:
    octets = value.encode("utf-8", "surrogateescape")
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def _decode_word(charset: str, encoding: str, text: str) -> str:
    raw = text.encode("ascii")
    octets = (
        base64.b64decode(raw, validate=True) if encoding in "Bb" else quopri.decodestring(raw, header=True)
    )
    return octets.decode(charset)


def read_etag(text: str | None) -> str | None:
    """An entity tag as `ObjectInfo.etag` has it: without quotes, or `W/"..."` for a weak one.

    None where there is none, an empty one, or something else, such as the tags of two answers in one.

    Source: RFC 9110 section 8.8.3; some servers leave the quotes out.
    """
    if text and text[0] == text[-1] == '"' and (inner := text[1:-1]).isalnum() and inner.isascii():
        return inner  # As most servers write it; a listing has a thousand.
    found = _ETAG.fullmatch(text.strip()) if text else None
    if found is None:
        return None
    opaque = found["quoted"] or found["bare"]
    return f'W/"{opaque}"' if found["weak"] else opaque
