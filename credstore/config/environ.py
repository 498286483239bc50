"""Stores from the environment. Pure: the environment is an argument.

The names are in `names.py`; who a name belongs to is in `filling.py`.
"""

from __future__ import annotations

import difflib

from credstore.config.clouds import CommonConfig
from credstore.config.filling import Environ, family_of, fill, parse_setting
from credstore.config.holds import held_by
from credstore.config.kinds import Kind, Kinds
from credstore.config.names import PREFIX, PROVIDER, URL, levels_of, spoken
from credstore.config.url import parse_url
from credstore.errors import StorageConfigurationError

_TYPO = 0.8
"""Likeness (difflib's ratio) from which an unknown `CREDSTORE_` name is taken for a slip."""


def from_env(environ: Environ, provider: str | None = None, *, kinds: Kinds | None = None) -> CommonConfig:
    """The config that the environment describes.

    `CREDSTORE_URL` says all at once; else `CREDSTORE_PROVIDER` or `STORAGE_PROVIDER` names the
    store, and `CREDSTORE_<FIELD>` (or the names in `.env.example`) its settings.

    Args:
        environ: Variables by name, such as `os.environ`; empty ones count as unset.
        provider: Name or alias that decides in place of the environment.
        kinds: Known kinds; the built-in ones unless given.

    Raises:
        StorageConfigurationError: No provider is named, or a setting is missing, unknown or
            contradictory; the message names the variables.
    """
    kinds = kinds or Kinds()
    _check_typos(environ, kinds)
    from_url = parse_url(environ[URL], URL, kinds) if environ.get(URL) else None
    family = family_of(environ, kinds, from_url[0].name if from_url else None)
    if provider is not None:
        kind = kinds.find(provider, where="the given provider")
    elif from_url is not None:
        kind = from_url[0]
    else:
        kind = _named(environ, kinds)
    given: dict[str, object] = {}
    if from_url is not None and from_url[0].name == kind.name:
        kind, given = from_url
    if family.ours in {None, kind.name}:
        _check_agreement(kind, given, environ)
    return fill(kind, given, environ, family)


def _named(environ: Environ, kinds: Kinds) -> Kind:
    """The kind the environment names."""
    for level in PROVIDER:
        for name in level:
            if environ.get(name):
                return kinds.find(environ[name], where=name)
    paths = [name for level in levels_of("local", "path") for name in level]
    if any(environ.get(name) for name in paths):
        return kinds.find("local", where=spoken(paths))
    raise StorageConfigurationError(
        f"the environment names no store; set {URL}, or CREDSTORE_PROVIDER to one of"
        f" {', '.join(kinds.words())}, or {spoken(paths)} for files of this machine"
    )


def _check_agreement(kind: Kind, given: dict[str, object], environ: Environ) -> None:
    """What the URL and the provider's name say, the `CREDSTORE_<FIELD>`s beside them do not deny."""
    for source, fields in (("the provider's name", kind.preset), (URL, given)):
        for field, value in fields.items():
            name = PREFIX + field.upper()
            if environ.get(name) and parse_setting(kind, field, environ[name], name) != value:
                raise StorageConfigurationError(f"{source} and {name} say different things; unset one")


def _check_typos(environ: Environ, kinds: Kinds) -> None:
    """No `CREDSTORE_` name is almost a known one.

    Others are left alone: Kubernetes sets `CREDSTORE_PORT` and the like for a service named credstore.
    """
    known = {field.upper() for config in kinds.configs() for field in held_by(config)} | {"URL", "PROVIDER"}
    for name in environ:
        word = name.removeprefix(PREFIX)
        if name.startswith(PREFIX) and word not in known:
            near = difflib.get_close_matches(word, known, n=1, cutoff=_TYPO)
            if near:
                raise StorageConfigurationError(
                    f"{name} is no variable of credstore; did you mean {PREFIX}{near[0]}?"
                )
