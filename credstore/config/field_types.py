"""What a field of a config may hold, read from its type: one rule for text and one for values. Pure.

Texts come from the environment and from URLs. A message about a bad one never repeats it, since it may be a
secret set in the wrong place.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import fields
from datetime import datetime
from functools import cache
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from credstore.config.units import parse_duration, parse_size
from credstore.encryption import KmsKey, Secret
from credstore.errors import StorageInvalidRequestError

_COUNTS = frozenset({"max_retries", "max_concurrency", "max_connections"})
_WORDS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
_KMS = "kms"
Role = Literal["name", "place", "origin", "key", "identity", "tuning"]
"""What a field is to its store, when the environment fills in the rest (see `precedence`).

- "name": says which bucket or directory it is; giving one names the place.
- "place": belongs only to that place, such as its public address.
- "origin": leads to the cloud or account; given together.
- "key": a key or its secret; they come together, and never appear in a URL.
- "identity": comes with the keys, but is not a secret.
- "tuning": the same for every store, whichever variable sets it.

A field without a role belongs to its cloud: variables that serve all clouds set it only where they are meant
for this one.
"""


TOLD: Mapping[str, object] = types.MappingProxyType({"credstore.told": True})
"""Metadata of a dataclass field that is not a setting: what fills a config keeps it there."""


def held_by(config: type) -> Mapping[str, tuple[object, ...]]:
    """Fields of a config class, each with the alternatives of its type: classes and literal values."""
    return _held_by(cast("Hashable", config))


def fields_with(config: type, *roles: Role) -> frozenset[str]:
    """Fields of a config class that have one of these roles; see `Role`."""
    return _fields_with(cast("Hashable", config), frozenset(roles))


def same_account(one: object, other: object) -> bool:
    """Whether two configs lead to one endpoint with the same credentials, whatever bucket they name."""
    kind = type(one)
    apart = fields_with(kind, "name", "place", "tuning")
    return type(other) is kind and all(
        getattr(one, field) == getattr(other, field) for field in held_by(kind) if field not in apart
    )


@cache
def _fields_with(config: type, roles: frozenset[Role]) -> frozenset[str]:
    told: Mapping[str, Role] = getattr(config, "roles", {})
    return frozenset(field for field in held_by(config) if told.get(field) in roles)


@cache
def _held_by(config: type) -> Mapping[str, tuple[object, ...]]:
    hints = get_type_hints(config)
    return {
        field.name: tuple(_alternatives(hints[field.name]))
        for field in fields(config)
        if field.init and not TOLD.items() <= field.metadata.items()
    }


def _alternatives(hint: Any) -> Iterator[object]:
    origin = get_origin(hint)
    if origin in {Union, types.UnionType}:
        for each in get_args(hint):
            yield from _alternatives(each)
    elif origin is Literal:
        yield from cast("tuple[object, ...]", get_args(hint))
    else:
        yield origin or hint


def fits(held: tuple[object, ...], value: object) -> bool:
    """Whether a field may hold a value; a whole number counts as a fraction, a bool not as a number."""
    for each in held:
        if isinstance(each, type):
            number = (int, float) if each is float else each
            if isinstance(value, number) and (each is bool or not isinstance(value, bool)):
                return True
        elif type(value) is type(each) and value == each:
            return True
    return False


def parse_text(field: str, held: tuple[object, ...], text: str) -> object:
    """What a text means for a field.

    Args:
        field: Its name.
        held: From `held_by`.
        text: Not empty.

    Raises:
        StorageInvalidRequestError: The field cannot hold this; the message says what it can.
    """
    literals = {str(each).lower(): each for each in held if not isinstance(each, type)}
    if text.lower() in literals:
        return literals[text.lower()]
    if bool in held and text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if KmsKey in held and text.lower().partition(":")[0] == _KMS:
        return KmsKey(text.partition(":")[2] or None)
    parse = _parser(field, held)
    if parse is None:
        words = "AES256, true, false, kms or kms:<key id>" if KmsKey in held else describe(field, held)
        raise StorageInvalidRequestError(f"it is {words}")
    return parse(text)


def _parser(field: str, held: tuple[object, ...]) -> Callable[[str], object] | None:
    if Secret in held:
        return Secret
    if str in held:
        return str
    if int in held:
        return _parse_count if field in _COUNTS else parse_size
    if datetime in held:
        return _parse_instant
    return parse_duration if float in held else None


def _parse_instant(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise StorageInvalidRequestError("it is a time with its zone, such as 2026-01-31T12:00:00Z")
    return found


def _parse_count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > len(str(2**63)):
        raise StorageInvalidRequestError("it is a whole number")
    return int(text)


def describe(field: str, held: tuple[object, ...]) -> str:
    """What a field may hold, in words."""
    words = [repr(each) for each in held if not isinstance(each, type)]
    named: dict[object, str] = {
        bool: "true or false",
        str: "text",
        Secret: "a Secret",
        int: "a whole number" if field in _COUNTS else "a whole number of bytes",
        float: "a number of seconds",
        datetime: "a datetime with its time zone",
    }
    classes = [each for each in held if isinstance(each, type) and each is not type(None)]
    words += [named.get(each, f"a {each.__name__}") for each in classes]
    return " or ".join(words)
