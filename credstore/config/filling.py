"""From what a URL, a mapping or nothing gives to a whole config: the environment fills the rest. Pure.

Rules of this file, each there so that no key and no address reaches a store it is not meant for:

- Keys come as one: from the strongest level that has any of them, never mixed from two.
- Names that serve every provider (`CREDSTORE_*`, `STORAGE_*`) belong to the provider that the
  environment itself names. For another one only their tuning (timeouts, sizes) is read.
- Whoever names the bucket or path names the place: its public addresses are not read then. Whoever
  gives the endpoint or the account gives both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from credstore.config.clouds import CommonConfig
from credstore.config.holds import held_by, parse_text
from credstore.config.kinds import Kind, Kinds
from credstore.config.names import (
    IGNORE_AWS_ENDPOINTS,
    MILLISECONDS,
    ORIGINAL,
    PREFIX,
    PROVIDER,
    URL,
    Levels,
    levels_of,
    spoken,
)
from credstore.errors import StorageConfigurationError, StorageInvalidRequestError

Environ = Mapping[str, str]
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")

PLACE = frozenset({"bucket", "path", "name", "cdn_url", "public_url", "link_url"})
ORIGIN = frozenset({"endpoint", "account_id", "jurisdiction", "download_url"})
KEYS = frozenset({"access_key_id", "secret_access_key", "session_token", "profile"})
# A region or a flavor goes with a place too, but may stand alone in the environment.
_BOUND = (
    PLACE | ORIGIN | KEYS | {"region", "flavor", "ca_file", "allow_http", "addressing", "encryption", "cdn"}
)
_NAMING = {"bucket", "path", "name"}


@dataclass(frozen=True, slots=True)
class Family:
    """Which provider the names that serve all belong to.

    Attributes:
        ours: Canonical provider of `CREDSTORE_*`, or None for any.
        original: Canonical provider of `STORAGE_*`, or None for any.
    """

    ours: str | None
    original: str | None


def fill(kind: Kind, given: Mapping[str, object], environ: Environ, family: Family) -> CommonConfig:
    """A config of `given` fields and, for the others, the environment and the defaults.

    Args:
        kind: What store it is.
        given: Fields with typed values; they win.
        environ: Variables by name; empty ones count as unset.
        family: From `family_of`.

    Raises:
        StorageConfigurationError: A variable contradicts another or does not parse, or the config
            refuses itself; the message names the variables.
    """
    values = {**kind.preset, **given}
    skipped = _skipped(given)
    owner = kind.owner(values)
    if "flavor" not in values and (flavor := _read(kind, "flavor", owner, environ, family)) is not None:
        values["flavor"] = flavor
        owner = kind.owner(values)
    for field in held_by(kind.config):
        if field in values or field in skipped or field in KEYS:
            continue
        value = _read(kind, field, owner, environ, family)
        if value is not None:
            values[field] = value
    if not KEYS & given.keys():
        values |= _read_keys(kind, owner, environ, family)
    # Their types are checked by the config itself.
    make = cast("Callable[..., CommonConfig]", kind.config)
    return make(**values)


def family_of(environ: Environ, kinds: Kinds, url_kind: str | None) -> Family:
    """Who the names for all belong to.

    Args:
        environ: Variables by name.
        kinds: Known kinds.
        url_kind: Canonical provider of `CREDSTORE_URL`, if set.

    Raises:
        StorageConfigurationError: A named provider is unknown, or two variables disagree.
    """
    (ours_name,), (original_name,) = PROVIDER
    named = [
        kinds.find(environ[name], where=name).name if environ.get(name) else None
        for name in (ours_name, original_name)
    ]
    if url_kind is not None and named[0] is not None and named[0] != url_kind:
        raise StorageConfigurationError(f"{ours_name} and {URL} name two different providers; unset one")
    ours = named[0] or url_kind
    return Family(ours or named[1], named[1] or ours)


def parse_setting(kind: Kind, field: str, text: str, source: str) -> object:
    """A field's value from text.

    Raises:
        StorageConfigurationError: It does not parse; the message begins with `source`.
    """
    if source in MILLISECONDS and _NUMBER.fullmatch(text.strip()):
        text = f"{text.strip()}ms"
    try:
        return parse_text(field, held_by(kind.config)[field], text)
    except StorageInvalidRequestError as error:
        raise StorageConfigurationError(f"{source} is not a good `{field}`: {error.message}") from None


def _skipped(given: Mapping[str, object]) -> frozenset[str]:
    nothing = frozenset[str]()
    place = PLACE if _NAMING & given.keys() else nothing
    return place | (ORIGIN if ORIGIN & given.keys() else nothing)


def _readable(kind: Kind, field: str, owner: str, environ: Environ, family: Family) -> Levels:
    """The levels of a field that belong to this provider here."""
    others: set[str] = set()
    if field in _BOUND:
        if family.ours not in {None, kind.name}:
            others.add(PREFIX + field.upper())
        if family.original not in {None, kind.name} and field in ORIGINAL:
            others.add(ORIGINAL[field])
    if environ.get(IGNORE_AWS_ENDPOINTS, "").lower() == "true":
        others |= {"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"}
    return tuple(tuple(name for name in level if name not in others) for level in levels_of(owner, field))


def _read(kind: Kind, field: str, owner: str, environ: Environ, family: Family) -> object | None:
    if field not in held_by(kind.config):
        return None
    for level in _readable(kind, field, owner, environ, family):
        if found := _agreed(kind, field, level, environ):
            return found[1]
    return None


def _agreed(kind: Kind, field: str, level: tuple[str, ...], environ: Environ) -> tuple[str, object] | None:
    """The one value of a level and the variable it is from, or None."""
    found = [(name, parse_setting(kind, field, environ[name], name)) for name in level if environ.get(name)]
    if any(value != found[0][1] for _, value in found):
        names = spoken([name for name, _ in found]).replace(" or ", " and ")
        raise StorageConfigurationError(f"{names} have different values for `{field}`; unset all but one")
    return found[0] if found else None


def _read_keys(kind: Kind, owner: str, environ: Environ, family: Family) -> Iterator[tuple[str, object]]:
    """The keys of the strongest level that has any."""
    held = [field for field in sorted(KEYS) if field in held_by(kind.config)]
    levels = {field: _readable(kind, field, owner, environ, family) for field in held}
    for depth in range(max(map(len, levels.values()), default=0)):
        found = {
            field: agreed
            for field in held
            if depth < len(levels[field])
            and (agreed := _agreed(kind, field, levels[field][depth], environ)) is not None
        }
        if found:
            _check_pair(found, levels, depth)
            return ((field, value) for field, (_, value) in found.items())
    return iter(())


def _check_pair(found: Mapping[str, tuple[str, object]], levels: Mapping[str, Levels], depth: int) -> None:
    for have, lack in (("access_key_id", "secret_access_key"), ("secret_access_key", "access_key_id")):
        if have in found and lack not in found:
            missing = spoken(levels[lack][depth])
            raise StorageConfigurationError(f"{found[have][0]} is set without {missing}; set both or neither")
    if "session_token" in found and "access_key_id" not in found:
        missing = spoken(levels["access_key_id"][depth])
        raise StorageConfigurationError(f"{found['session_token'][0]} is set without {missing}")
