"""Sizes and durations as people write them: `5MB`, `30s`, `7d`. Pure.

A message about bad text never repeats the text, since it may be a secret set in the wrong place.
"""

from __future__ import annotations

import re
from decimal import Decimal

from credstore.arguments import typed
from credstore.errors import StorageInvalidRequestError

_MAX_LENGTH = 40
_DECIMAL = r"[0-9]+(?:\.[0-9]+)?"
_SIZE = re.compile(rf"({_DECIMAL}) ?([a-z]*)", re.IGNORECASE | re.ASCII)
_DURATION = re.compile(rf"(?:{_DECIMAL} ?(?:ms|s|m|h|d|w) ?)+", re.IGNORECASE | re.ASCII)
_TERM = re.compile(rf"({_DECIMAL}) ?(ms|s|m|h|d|w)", re.IGNORECASE | re.ASCII)

# "5MB" is a power of ten and "5MiB" of two (IEC 80000-13); a bare "5M" means one or the other to different
# programs, so it is refused.
_SIZES = {"": 1, "b": 1} | {
    f"{letter}{infix}b": base**power
    for power, letter in enumerate("kmgt", start=1)
    for infix, base in (("", 1000), ("i", 1024))
}
_DURATIONS = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86_400),
    "w": Decimal(604_800),
}


@typed
def parse_size(text: str) -> int:
    """Bytes from `512`, `64KB`, `5MB` (powers of 1,000) or `8MiB`, `1.5GiB` (powers of 1,024).

    Args:
        text: A decimal number and a unit, in either case; without a unit, bytes.

    Returns:
        A whole number of bytes, 0 or more.

    Raises:
        StorageInvalidRequestError: It is not a size, or not a whole number of bytes.
    """
    match = _SIZE.fullmatch(text.strip()) if len(text) <= _MAX_LENGTH else None
    factor = _SIZES.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise StorageInvalidRequestError(
            "a size is a number and a unit, such as 512, 64KB, 5MB, 8MiB or 1GiB"
        )
    size = Decimal(match[1]) * factor
    if size != size.to_integral_value():
        raise StorageInvalidRequestError("a size is a whole number of bytes")
    return int(size)


@typed
def parse_duration(text: str) -> float:
    """Seconds from `90`, `500ms`, `30s`, `15m`, `12h`, `7d`, `2w`, or several together: `1h30m`.

    Args:
        text: Decimal numbers, each with a unit, in either case; a lone number is seconds.

    Returns:
        Seconds, 0 or more.

    Raises:
        StorageInvalidRequestError: It is not a duration.
    """
    text = text.strip()
    if len(text) <= _MAX_LENGTH:
        if re.fullmatch(_DECIMAL, text, re.ASCII):
            return float(text)
        if _DURATION.fullmatch(text):
            terms = (Decimal(number) * _DURATIONS[unit.lower()] for number, unit in _TERM.findall(text))
            return float(sum(terms, Decimal(0)))
    raise StorageInvalidRequestError(
        "a duration is a number and a unit, such as 30s, 15m, 12h, 7d or 500ms; a lone number is seconds"
    )
