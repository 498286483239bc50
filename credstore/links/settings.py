"""The settings of a signer: keys are decoded strictly, and every mistake is named. Pure.

A message names the field and never repeats its value, which may be a secret in the wrong place.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from typing import Literal, cast, get_args

from credstore.encryption import Secret
from credstore.errors import StorageConfigurationError

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


def wrong(cdn: str, field: str, why: str) -> StorageConfigurationError:
    """The error of one setting; `why` ends the sentence that the field starts."""
    return StorageConfigurationError(f"`{field}` of the {cdn} signer {why}")


def reveal(cdn: str, field: str, secret: object, *, lines: bool = False) -> str:
    """The text of a secret setting.

    Args:
        cdn: For the message.
        field: For the message.
        secret: A `Secret`.
        lines: Whether it may have several lines, and an empty last one, as a PEM file.

    Raises:
        StorageConfigurationError: It is not a `Secret`, is empty, or has spaces around it or control
            characters.
    """
    if not isinstance(secret, Secret):
        raise wrong(cdn, field, f"must be a credstore.Secret, not {type(secret).__name__}")
    text = secret.reveal()
    if lines:
        text = text.replace("\r\n", "\n").strip("\n")
    if not text or text != text.strip() or not (text.replace("\n", "") if lines else text).isprintable():
        raise wrong(cdn, field, "is empty, or has spaces around it or control characters; paste it again")
    return text


def decode_base64(cdn: str, field: str, secret: object, *, url_safe: bool, sizes: range) -> bytes:
    """The bytes of a secret in base64, padded or not; any other character is refused.

    Args:
        cdn: For the message.
        field: For the message.
        secret: A `Secret`.
        url_safe: Whether with `-` and `_`, RFC 4648 section 5, or with `+` and `/`.
        sizes: Numbers of bytes it may have.

    Raises:
        StorageConfigurationError: It is not valid.
    """
    text = reveal(cdn, field, secret)
    bare = text.rstrip("=")
    written = bare.translate(str.maketrans("-_", "+/")) if url_safe else bare
    strange = set(bare) & set("+/" if url_safe else "-_")
    try:
        decoded = base64.b64decode(written + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    canonical = base64.b64encode(decoded).decode().rstrip("=") == written
    if strange or not canonical or len(text) - len(bare) not in {0, -len(bare) % 4}:
        alphabet = "URL-safe base64" if url_safe else "base64"
        raise wrong(cdn, field, f"is not {alphabet}; paste it again as the CDN shows it")
    return _check_size(cdn, field, decoded, sizes)


def decode_hex(cdn: str, field: str, secret: object, *, sizes: range) -> bytes:
    """The bytes of a secret in hexadecimal digits.

    Raises:
        StorageConfigurationError: It has other characters, an odd number of digits, or the wrong size.
    """
    text = reveal(cdn, field, secret)
    if not re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", text):
        raise wrong(cdn, field, "is not an even number of hexadecimal digits; paste it again")
    return _check_size(cdn, field, bytes.fromhex(text), sizes)


def _check_size(cdn: str, field: str, decoded: bytes, sizes: range) -> bytes:
    if len(decoded) not in sizes:
        allowed = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        raise wrong(cdn, field, f"must have {allowed} bytes, not {len(decoded)}")
    return decoded


def check_choice(cdn: str, field: str, value: object, choices: object) -> None:
    """Check that a value is one of a `Literal`'s."""
    allowed = get_args(choices)
    if value not in allowed:
        raise wrong(cdn, field, f"must be one of {', '.join(map(repr, allowed))}")


def check_word(
    cdn: str, field: str, value: object, *, pattern: re.Pattern[str] = _WORD, why: str | None = None
) -> None:
    """Check a text that goes into a URL or a policy unchanged; `why` explains it better than the pattern."""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise wrong(cdn, field, why or f"must match {pattern.pattern}")


def check_words(
    cdn: str, field: str, value: object, *, pattern: re.Pattern[str], why: str, most: int = 100
) -> None:
    """Check a tuple of such texts, possibly empty."""
    if not isinstance(value, tuple):
        raise wrong(cdn, field, why)
    words = cast("tuple[object, ...]", value)
    for word in words:
        check_word(cdn, field, word, pattern=pattern, why=why)
    if len(words) > most:
        raise wrong(cdn, field, f"has at most {most} entries")


def check_flag(cdn: str, field: str, value: object) -> None:
    """Check that a setting is True or False; anything else would silently count as one of them."""
    if not isinstance(value, bool):
        raise wrong(cdn, field, "must be True or False")


def check_count(cdn: str, field: str, value: object, *, optional: bool = True, unit: str = "seconds") -> None:
    """Check for a whole number, at least 1; or None if `optional`."""
    if value is None and optional:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise wrong(cdn, field, f"must be a whole number of {unit}, at least 1")


def check_ip(cdn: str, field: str, value: object, *, version: Literal[4] | None = None) -> None:
    """Check for one IP address in its usual form, or None."""
    if value is None:
        return
    try:
        address = ipaddress.ip_address(value) if isinstance(value, str) else None
    except ValueError:
        address = None
    if address is None or "%" in str(value) or (version and address.version != version):
        raise wrong(cdn, field, f"must be one IP{f'v{version}' if version else ''} address")
