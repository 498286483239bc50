"""JSON with one meaning: strict reading, and writing according to RFC 8785 (JCS). Pure.

Reading refuses whatever two parsers may read differently: duplicate names, NaN and Infinity, integers
beyond what a double holds, lone surrogates, a byte order mark, anything but UTF-8. Writing is the standard
library's C encoder where its output is JCS (no floats, names of ASCII), else the `rfc8785` package.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn, TypeAlias, cast

from credstore.proofs.format.errors import ProofFormatError

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

LARGEST_INTEGER = 2**53 - 1
"""RFC 7493 section 2.2: what every reader of JSON represents exactly."""
DEEPEST = 32
_TEXT = {str}
_LONGEST_NUMBER = 25
"""Characters of the longest number that JCS writes: -0.0000012345678901234567, and one digit more."""


def _refuse_constant(name: str) -> NoReturn:
    raise ProofFormatError(f"{name} is not JSON")


def _integer(text: str) -> int:
    # Bounded before int(), whose cost grows with the square of the length.
    if len(text) > _LONGEST_NUMBER or abs(number := int(text)) > LARGEST_INTEGER:
        raise ProofFormatError("an integer is beyond 2^53-1")
    return number


def _float(text: str) -> float:
    if len(text) > _LONGEST_NUMBER:
        raise ProofFormatError("a number has more digits than a double")
    return float(text)


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ProofFormatError("a name appears twice in one object")
    return members


_DECODER = json.JSONDecoder(
    parse_constant=_refuse_constant, parse_int=_integer, parse_float=_float, object_pairs_hook=_object
)


class _FloatError(Exception):
    """There is a float, which the C encoder does not write as JCS does."""


def _no_float(_: str) -> NoReturn:
    raise _FloatError


# It accepts a name that appears twice, one of which is missing when the value is written again.
_PLAIN_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_integer, parse_float=_no_float)
_ENCODER = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"), check_circular=False
)


def parse_json(data: bytes, *, limit: int, deepest: int = DEEPEST) -> Json:
    """Read one JSON value strictly; it need not be canonical.

    Args:
        data: UTF-8, without byte order mark.
        limit: Maximum number of bytes.
        deepest: Maximum depth of objects and arrays within each other.

    Raises:
        ProofFormatError: Anything else; the message says what, never the bytes.
    """
    value = _decode(data, limit, deepest)
    _walk(value, deepest)
    return value


def parse_canonical(data: bytes, *, limit: int) -> Json:
    """Read one JSON value from the only bytes that RFC 8785 has for it.

    Raises:
        ProofFormatError: Anything else, including other bytes for the same value.
    """
    # Canonical ASCII has no escapes of other characters, so no name or text needs checking; and what has
    # this few brackets is not too deep. Such bytes, the usual case, are canonical if the C encoder writes
    # them.
    if data.isascii() and len(data) <= limit and data.count(b"{") + data.count(b"[") <= DEEPEST:
        text = data.decode("ascii")
        try:
            value = cast("Json", _PLAIN_DECODER.raw_decode(text)[0])
        except (_FloatError, json.JSONDecodeError):
            pass  # Read below, where errors are explained.
        else:
            if _ENCODER.encode(value) == text:
                return value
    value = _decode(data, limit, DEEPEST)
    if encode_json(value) != data:
        raise ProofFormatError("not in its canonical form (RFC 8785)")
    return value


def _decode(data: bytes, limit: int, deepest: int) -> Json:
    if len(data) > limit:
        raise ProofFormatError(f"{len(data)} bytes, but at most {limit} are read")
    try:
        return cast("Json", _DECODER.decode(data.decode()))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ProofFormatError(f"not JSON in UTF-8, near byte {_place(error)}") from None
    except RecursionError:  # The C scanner stops at the interpreter's limit, far beyond this one.
        raise ProofFormatError(f"nested deeper than {deepest}") from None


def _place(error: UnicodeDecodeError | json.JSONDecodeError) -> int:
    return error.start if isinstance(error, UnicodeDecodeError) else error.pos


def encode_json(value: Json | Mapping[str, Any], *, deepest: int = DEEPEST) -> bytes:
    """Write one JSON value as RFC 8785 requires: the one byte string for this value.

    Raises:
        ProofFormatError: A value that JSON does not have (another type, NaN, an integer beyond 2^53-1, a lone
            surrogate, a name that is not a string), or nesting beyond `deepest`.
    """
    if _walk(value, deepest):
        return _ENCODER.encode(value).encode()
    return _encode_elsewhere(value)


def encode_around(value: Json, part: object, *, depth: int) -> bytes:
    """The same for a value that is known to be text in ASCII and whole numbers, but for one part.

    Args:
        value: All of it.
        part: What may be anything; None where it is left out.
        depth: How many objects and arrays it is in.

    Raises:
        ProofFormatError: As `encode_json`.
    """
    if part is None or _walk(part, DEEPEST - depth):
        return _ENCODER.encode(value).encode()
    return _encode_elsewhere(value)


def _encode_elsewhere(value: object) -> bytes:
    import rfc8785

    try:
        return rfc8785.dumps(cast("Any", value))
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        raise ProofFormatError("a value that JSON does not have") from None


def _walk(value: object, deepest: int) -> bool:
    """Check every value; returns whether the C encoder's output is JCS, too."""
    kind = type(value)
    if kind is str:
        _check_text(cast("str", value))
        return True
    if kind is int:
        if abs(cast("int", value)) > LARGEST_INTEGER:
            raise ProofFormatError("an integer is beyond 2^53-1")
        return True
    if value is None or kind is bool:
        return True
    if kind is float:
        _check_float(cast("float", value))
        return False
    if deepest == 0:
        raise ProofFormatError("objects and arrays are nested too deeply")
    plain = True
    if kind is dict:
        members = cast("dict[object, object]", value)
        if not {*map(type, members)} <= _TEXT:
            raise ProofFormatError("a name that is not a string")
        # JCS sorts names by UTF-16 code units, Python by code points: the same for ASCII.
        plain = _is_ascii(cast("dict[str, object]", members))
        # Most members are strings; a call for each would cost as much as the rest.
        if {*map(type, members.values())} == _TEXT:
            _is_ascii(cast("dict[str, str]", members).values())
            return plain
        for member in members.values():
            if type(member) is not str:
                plain = _walk(member, deepest - 1) and plain
            elif not member.isascii():
                _check_text(member)
        return plain
    if kind is list:
        for member in cast("list[object]", value):
            plain = _walk(member, deepest - 1) and plain
        return plain
    raise ProofFormatError(f"JSON has no {kind.__name__}")


def _is_ascii(texts: Iterable[str]) -> bool:
    """Whether all of them are; others are checked."""
    if "".join(texts).isascii():
        return True
    for text in texts:
        _check_text(text)
    return False


def _check_text(text: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ProofFormatError("a lone surrogate in a string") from None


def _check_float(number: float) -> None:
    # 1e21 is where JCS starts to write an exponent; below that, an integral float prints as an integer.
    if number != number or abs(number) == float("inf"):  # noqa: PLR0124 - NaN
        raise ProofFormatError("a number that is not finite")
    if number.is_integer() and LARGEST_INTEGER < abs(number) < 1e21:  # noqa: PLR2004
        raise ProofFormatError("an integer is beyond 2^53-1")
