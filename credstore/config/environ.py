"""Stores from the environment. Pure: the environment is an argument.

The names are in `variables.py`; which provider a name belongs to is in `precedence.py`.
"""

from __future__ import annotations

import difflib
import re

from credstore.config.field_types import fields_with, held_by
from credstore.config.precedence import Environ, family_of, fill, parse_setting
from credstore.config.registry import Cloud, Registry
from credstore.config.settings import CommonConfig
from credstore.config.traceless import traceless
from credstore.config.url import parse_url
from credstore.config.variables import PREFIX, PROVIDER, URL, spoken, variables_of
from credstore.errors import StorageConfigurationError

_TYPO = 0.8
"""Similarity (difflib's ratio) from which an unknown `CREDSTORE_` name counts as a typo."""
_SHORT, _TYPO_OF_SHORT = 4, 0.66
"""One wrong letter of three or four makes more of a difference."""
_OF_SERVICE = re.compile(r"PORT(_.*)?|(.*_)?SERVICE_(HOST|PORT)(_.*)?|.*_(PORT|TCP|UDP)(_[A-Z]+)?")
"""What Kubernetes sets for services named credstore or credstore-something."""


@traceless
def from_env(
    environ: Environ, provider: str | None = None, *, registry: Registry | None = None
) -> CommonConfig:
    """The config that the environment describes.

    `CREDSTORE_URL` says everything at once; otherwise `CREDSTORE_PROVIDER` or `STORAGE_PROVIDER` names the
    store, and `CREDSTORE_<FIELD>` (or the names in `.env.example`) its settings.

    Args:
        environ: Variables by name, such as `os.environ`; empty ones count as unset.
        provider: Name or alias to use instead of the environment's.
        registry: The known clouds; the built-in ones unless given.

    Raises:
        StorageConfigurationError: No provider is named, or a setting is missing, unknown or
            contradictory; the message names the variables.
    """
    registry = registry or Registry()
    _check_typos(environ, registry)
    from_url = parse_url(environ[URL], URL, registry) if environ.get(URL) else None
    family = family_of(environ, registry, from_url[0].label if from_url else None)
    if provider is not None:
        kind = registry.find(provider, where="the given provider")
    elif from_url is not None:
        kind = from_url[0]
    else:
        kind = _named(environ, registry)
    given: dict[str, object] = {}
    if from_url is not None and from_url[0].label == kind.label:
        kind, given = from_url
    if family.ours in {None, kind.label}:
        _check_agreement(kind, given, environ)
        if from_url is not None:
            given = {**_beside(kind, environ), **given}
    return fill(kind, given, environ, family)


def _named(environ: Environ, registry: Registry) -> Cloud:
    """The cloud the environment names."""
    for level in PROVIDER:
        for name in level:
            if environ.get(name):
                return registry.find(environ[name], where=name)
    alone: list[str] = []
    for row in registry.rows():
        if row.named_by is not None:
            names = variables_of(row.name, row.named_by)
            if any(environ.get(name) for name in names):
                return row
            alone.append(f"{spoken(names)} for {row.name}")
    raise StorageConfigurationError(
        f"the environment names no store; set {URL}, or CREDSTORE_PROVIDER to one of"
        f" {', '.join(registry.words())}, or {', or '.join(alone)}"
    )


def names_a_store(environ: Environ, *, registry: Registry | None = None) -> bool:
    """Whether a variable names a store or a place in one; then `from_env` finds it or says what is wrong.

    Args:
        environ: As for `from_env`.
        registry: As for `from_env`.
    """
    registry = registry or Registry()
    telling = {URL, *(name for level in PROVIDER for name in level)}
    for row in registry.rows():
        for field in fields_with(row.config_class, "name", "place"):
            telling.update(variables_of(row.name, field))
    return any(environ.get(name) for name in telling)


def _beside(kind: Cloud, environ: Environ) -> dict[str, object]:
    """What `CREDSTORE_<FIELD>` says about the place that `CREDSTORE_URL` names; both mean one store."""
    names = {field: PREFIX + field.upper() for field in fields_with(kind.config_class, "place")}
    return {
        field: parse_setting(kind, field, environ[name], name)
        for field, name in names.items()
        if environ.get(name)
    }


def _check_agreement(kind: Cloud, given: dict[str, object], environ: Environ) -> None:
    """Check that the `CREDSTORE_<FIELD>`s do not contradict the URL and the provider's name."""
    for source, fields in (("the provider's name", kind.preset), (URL, given)):
        for field, value in fields.items():
            name = PREFIX + field.upper()
            if environ.get(name) and _bare(parse_setting(kind, field, environ[name], name)) != _bare(value):
                raise StorageConfigurationError(f"{source} and {name} say different things; unset one")


def _bare(value: object) -> object:
    """A value without its last slash, which makes no difference to a prefix or an address."""
    return value.removesuffix("/") if isinstance(value, str) else value


def _check_typos(environ: Environ, registry: Registry) -> None:
    """Check that no `CREDSTORE_` name is almost a known one.

    Others are ignored, as what other programs and Kubernetes set.
    """
    known = {"URL", "PROVIDER", "STORES"}
    if all(name.removeprefix(PREFIX) in known for name in environ if name.startswith(PREFIX)):
        return  # As usual; the settings of all clouds need not be loaded.
    known |= {field.upper() for row in registry.rows() for field in held_by(row.config_class)}
    for name in environ:
        word = name.removeprefix(PREFIX)
        if name.startswith(PREFIX) and word not in known and not _OF_SERVICE.fullmatch(word):
            cutoff = _TYPO_OF_SHORT if len(word) <= _SHORT else _TYPO
            near = difflib.get_close_matches(word, known, n=1, cutoff=cutoff)
            if near:
                raise StorageConfigurationError(
                    f"{name} is not a variable of credstore; did you mean {PREFIX}{near[0]}?"
                )
