"""Several stores as one URL or mapping: `multi://redundant?store=s3://a&store=r2://b`. Pure.

A message never repeats a URL, since it may have a secret where it does not belong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast
from urllib.parse import parse_qsl

from credstore.config.settings import CommonConfig
from credstore.errors import StorageConfigurationError

WORD = "multi"
"""Scheme of such a URL, and `provider` of such a mapping."""
_STORE = "store"
_WEIGHTS = "weights"
_DAYS = "days"
_COUNTS = frozenset({"write_quorum", "read_quorum"})


@dataclass(frozen=True, slots=True)
class MultiSpec:
    """Several stores as one.

    Attributes:
        strategy: Its word.
        stores: What each of them is: a config, a URL or a mapping.
        options: Of the strategy, by name.
    """

    strategy: str
    stores: tuple[CommonConfig | str | Mapping[str, object], ...]
    options: Mapping[str, object]


def multi_of(store: object) -> MultiSpec | None:
    """The stores that a URL or mapping names together; None where it names one.

    `multi://STRATEGY?store=URL&store=URL&write_quorum=2`; `&` within a URL is written `%26`. As a mapping
    `{"provider": "multi", "strategy": "REDUNDANT", "stores": [...], "write_quorum": 2}`.

    Raises:
        StorageConfigurationError: It is not written like that.
    """
    if isinstance(store, str):
        scheme, _, rest = store.partition(":")
        return _of_url(rest) if scheme.lower() == WORD else None
    if isinstance(store, Mapping):
        settings = cast("Mapping[object, object]", store)
        named = settings.get("provider", settings.get("provider_type"))
        return _of_mapping(settings) if isinstance(named, str) and named.lower() == WORD else None
    return None


def _of_url(rest: str) -> MultiSpec:
    authority, question, query = rest.removeprefix("//").partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), errors="strict")
    except ValueError:
        raise StorageConfigurationError("the store URL must have parameters of the form name=value") from None
    if not question or "@" in authority or not rest.startswith("//"):
        raise StorageConfigurationError(
            "several stores are written as multi://redundant?store=URL&store=URL, with the strategy's name"
        )
    stores = tuple(text for name, text in pairs if name == _STORE)
    options: dict[str, object] = {}
    for name, text in pairs:
        if name == _STORE:
            continue
        if name in options:
            raise StorageConfigurationError(f"the store URL gives `{name}` twice")
        options[name] = _value(name, text)
    return MultiSpec(authority.rstrip("/"), stores, options)


def _of_mapping(settings: Mapping[object, object]) -> MultiSpec:
    stores = settings.get("stores")
    if not isinstance(stores, Sequence) or isinstance(stores, str | bytes):
        raise StorageConfigurationError("the settings of several stores have a list `stores`")
    strategy = settings.get("strategy", "REDUNDANT")
    if not isinstance(strategy, str):
        raise StorageConfigurationError("`strategy` of the settings is a word such as REDUNDANT")
    taken = {"provider", "provider_type", "strategy", "stores"}
    options: dict[str, object] = {}
    for name, value in settings.items():
        if not isinstance(name, str):
            raise StorageConfigurationError("the settings have a name that is not text")
        if name not in taken and value is not None:
            options[name] = _value(name, value) if isinstance(value, str) else value
    members = cast("Sequence[CommonConfig | str | Mapping[str, object]]", stores)
    return MultiSpec(strategy, tuple(members), options)


def _value(name: str, text: str) -> object:
    if name in _COUNTS:
        if not (text.isascii() and text.isdigit()):
            raise StorageConfigurationError(f"`{name}` must be a whole number")
        return int(text)
    if name == _WEIGHTS:
        try:
            return tuple(float(each) for each in text.split(","))
        except ValueError:
            raise StorageConfigurationError("`weights` must be numbers, separated by commas") from None
    if name == _DAYS:
        try:
            return float(text)
        except ValueError:
            raise StorageConfigurationError("`days` must be a number") from None
    return text
