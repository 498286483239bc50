"""From the settings of a URL or mapping to a complete config: the environment fills in the rest. Pure.

Rules of this file, so that no key and no address reaches a store it is not meant for:

- Keys come together, from the strongest level that has any of them, never mixed from two.
- Names that serve every provider (`CREDSTORE_*`, `STORAGE_*`) belong to the provider that the
  environment itself names. For any other, only their tuning (timeouts, sizes) is read.
- Giving the bucket or path names the place: its prefix and public addresses are then not read. Giving the
  endpoint or the account counts as giving both.
- If the keys come from AWS's chain, an endpoint of the environment is only kept to be compared with the one
  that the profile leads to (`S3Config.environ_endpoint`).
- If the keys are AWS's own variables, the profile next to them has a say about the place, as for every
  program that reads these variables; what it may overrule is noted (`S3Config.environ_settings`).

The config class says which field is what (`field_types.Role`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from credstore.config.field_types import fields_with, held_by, parse_text
from credstore.config.registry import Cloud, Levels, Registry
from credstore.config.settings import CommonConfig
from credstore.config.variables import (
    MILLISECONDS,
    ORIGINAL,
    PREFIX,
    PROVIDER,
    URL,
    levels_of,
    spoken,
)
from credstore.errors import StorageConfigurationError, StorageInvalidRequestError

Environ = Mapping[str, str]
_OF_PROFILE = frozenset({"endpoint", "region"})
"""Fields that a profile of the AWS configuration sets too."""
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Family:
    """Which provider the names that serve all providers belong to.

    Attributes:
        ours: Canonical provider of `CREDSTORE_*`, or None for any.
        original: Canonical provider of `STORAGE_*`, or None for any.
    """

    ours: str | None
    original: str | None


def fill(kind: Cloud, given: Mapping[str, object], environ: Environ, family: Family) -> CommonConfig:
    """A config of the `given` fields and, for all others, the environment and the defaults.

    Args:
        kind: What kind of store it is.
        given: Fields with typed values; they take precedence.
        environ: Variables by name; empty ones count as unset.
        family: From `family_of`.

    Raises:
        StorageConfigurationError: A variable contradicts another or does not parse, or the config is invalid;
            the message names the variables.
    """
    values = {**kind.preset, **given}
    keys = fields_with(kind.config_class, "key", "identity")
    skipped = _skipped(kind, given)
    for field in kind.refining() - values.keys():
        if found := _read(kind.refined(values), field, environ, family):
            values[field] = found[1]
    row = kind.refined(values)
    found_keys = {} if keys & given.keys() else _read_keys(row, environ, family)
    values |= {field: value for field, (_, value) in found_keys.items()}
    own_keys = any(variable in row.own_keys for variable, _ in found_keys.values())
    if own_keys:
        values["environ_settings"] = tuple(
            (name, environ[name]) for name in row.beside_own_keys if environ.get(name)
        )
    chained = getattr(kind.config_class, "own_chain", False) and "access_key_id" not in values
    for field in held_by(kind.config_class):
        if field in values or field in skipped or field in keys:
            continue
        if chained and field in _OF_PROFILE:
            values |= _beside_profile(row, field, environ, family)
            continue
        if found := _read(row, field, environ, family):
            values[field] = found[1]
            if own_keys and field == "endpoint" and any(found[0] in each for each in row.silencers.values()):
                values["environ_endpoint"] = found
    # Their types are checked by the config itself.
    make = cast("Callable[..., CommonConfig]", kind.config_class)
    return make(**values)


def family_of(environ: Environ, registry: Registry, url_kind: str | None) -> Family:
    """Which provider the names for all providers belong to.

    Args:
        environ: Variables by name.
        registry: The clouds that are known.
        url_kind: Label of the provider of `CREDSTORE_URL`, if that is set.

    Raises:
        StorageConfigurationError: A named provider is unknown, or two variables disagree.
    """
    (ours_name,), (original_name,) = PROVIDER
    named = [
        registry.find(environ[name], where=name).label if environ.get(name) else None
        for name in (ours_name, original_name)
    ]
    if url_kind is not None and named[0] is not None and named[0] != url_kind:
        raise StorageConfigurationError(f"{ours_name} and {URL} name two different providers; unset one")
    ours = named[0] or url_kind
    return Family(ours or named[1], named[1] or ours)


def parse_setting(kind: Cloud, field: str, text: str, source: str) -> object:
    """A field's value from text.

    Raises:
        StorageConfigurationError: It does not parse; the message starts with `source`.
    """
    if source in MILLISECONDS and _NUMBER.fullmatch(text.strip()):
        text = f"{text.strip()}ms"
    try:
        return parse_text(field, held_by(kind.config_class)[field], text)
    except StorageInvalidRequestError as error:
        raise StorageConfigurationError(f"{source} is not a valid `{field}`: {error.message}") from None


def _skipped(kind: Cloud, given: Mapping[str, object]) -> frozenset[str]:
    """Fields that belong to a place other than the one given."""
    config, skipped = kind.config_class, frozenset[str]()
    if fields_with(config, "name") & given.keys():
        skipped |= fields_with(config, "name", "place")
    origin = fields_with(config, "origin")
    return skipped | origin if origin & given.keys() else skipped


def _readable(kind: Cloud, field: str, environ: Environ, family: Family) -> Levels:
    """The levels of a field that belong to this provider."""
    others: set[str] = set()
    if field not in fields_with(kind.config_class, "tuning"):
        if family.ours not in {None, kind.label}:
            others.add(PREFIX + field.upper())
        if family.original not in {None, kind.label} and field in ORIGINAL:
            others.add(ORIGINAL[field])
    for switch, names in kind.silencers.items():
        if environ.get(switch, "").lower() == "true":
            others |= names
    return tuple(tuple(name for name in level if name not in others) for level in levels_of(kind.name, field))


def _read(kind: Cloud, field: str, environ: Environ, family: Family) -> tuple[str, object] | None:
    """The value of the strongest level that has one, and the variable it is from, or None."""
    levels = _readable(kind, field, environ, family)
    return next((found for level in levels if (found := _agreed(kind, field, level, environ))), None)


def _beside_profile(kind: Cloud, field: str, environ: Environ, family: Family) -> dict[str, object]:
    """What the environment says of a place that a profile leads to."""
    found = _read(kind, field, {**environ, **dict.fromkeys(kind.below_profile, "")}, family)
    if found is None:
        weaker = _read(kind, field, environ, family)
        return {} if weaker is None else {f"environ_{field}": weaker[1]}
    return {"environ_endpoint": found} if field == "endpoint" else {field: found[1]}


def _agreed(kind: Cloud, field: str, level: tuple[str, ...], environ: Environ) -> tuple[str, object] | None:
    """The one value of a level and the variable it comes from, or None."""
    found = [(name, parse_setting(kind, field, environ[name], name)) for name in level if environ.get(name)]
    if any(value != found[0][1] for _, value in found):
        names = spoken([name for name, _ in found]).replace(" or ", " and ")
        raise StorageConfigurationError(f"{names} have different values for `{field}`; unset all but one")
    return found[0] if found else None


def _read_keys(kind: Cloud, environ: Environ, family: Family) -> dict[str, tuple[str, object]]:
    """The keys of the strongest level that has any, each with its variable."""
    held = sorted(fields_with(kind.config_class, "key", "identity"))
    levels = {field: _readable(kind, field, environ, family) for field in held}
    for depth in range(max(map(len, levels.values()), default=0)):
        found = {
            field: agreed
            for field in held
            if depth < len(levels[field])
            and (agreed := _agreed(kind, field, levels[field][depth], environ)) is not None
        }
        if found:
            _check_beside(kind.config_class.needed_beside, found, levels, depth)
            return found
    return {}


def _check_beside(
    needed: Mapping[str, str],
    found: Mapping[str, tuple[str, object]],
    levels: Mapping[str, Levels],
    depth: int,
) -> None:
    for have, lack in needed.items():
        if have in found and lack not in found:
            missing = spoken(levels[lack][depth])
            raise StorageConfigurationError(f"{found[have][0]} is set without {missing}; set both or neither")
