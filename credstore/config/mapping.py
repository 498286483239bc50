"""Stores as mappings, in the original design's words or the config's own. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from credstore.config.field_types import held_by
from credstore.config.precedence import Environ, family_of, fill, parse_setting
from credstore.config.registry import Cloud, Registry
from credstore.config.settings import CommonConfig
from credstore.config.traceless import traceless
from credstore.config.url import nearest, shown, url_kind
from credstore.errors import StorageConfigurationError

SYNONYMS = {
    "provider_type": "provider",
    "bucket_name": "bucket",
    "local_path": "path",
}
"""Words of the original design whose fields have different names here; a cloud's row may have more."""


@traceless
def from_mapping(
    settings: Mapping[str, object], environ: Environ, *, registry: Registry | None = None
) -> CommonConfig:
    """The config that words describe: `{"provider": "r2", "bucket": "proofs", ...}`.

    Args:
        settings: `provider` (or `provider_type`), and any field of that provider's config;
            `bucket_name` and `local_path` stand for `bucket` and `path`, and a cloud may have words of its
            own. Values are the field's own, or text as in the environment; secrets may be plain text. None
            counts as unset.
        environ: Where keys and everything not given come from; see `precedence`.
        registry: The clouds that are known; the built-in ones unless given.

    Raises:
        StorageConfigurationError: An unknown word, two spellings that disagree, or the config is invalid.
    """
    registry = registry or Registry()
    words = _merged(settings, SYNONYMS)
    named = words.pop("provider", None)
    if not isinstance(named, str) or not named:
        raise StorageConfigurationError(
            f"the settings name no `provider`; choose one of {', '.join(registry.words())}"
        )
    kind = registry.find(named, where="`provider` of the settings")
    words = _merged(words, kind.synonyms)
    given = {word: _value(kind, word, value) for word, value in words.items()}
    return fill(kind, given, environ, family_of(environ, registry, url_kind(environ, registry)))


def _merged(settings: Mapping[str, object], synonyms: Mapping[str, str]) -> dict[str, object]:
    words: dict[str, object] = {}
    for written, value in settings.items():
        if not isinstance(written, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
            raise StorageConfigurationError("the settings have a name that is not text")
        word = synonyms.get(written, written)
        if value is None:
            continue
        if word in words and words[word] != value:
            raise StorageConfigurationError(f"`{word}` is given in two spellings with different values")
        words[word] = value
    return words


def _value(kind: Cloud, word: str, value: object) -> object:
    held = held_by(kind.config_class)
    if word not in held:
        synonyms = {**SYNONYMS, **kind.synonyms}
        known = {*held, *(synonym for synonym, field in synonyms.items() if field in held), "provider"}
        raise StorageConfigurationError(
            f"{shown(word)} is not a setting of {kind.name}{nearest(word, known)}"
        )
    if word in kind.preset and kind.preset[word] != value:
        raise StorageConfigurationError(f"`{word}` contradicts the provider's name")
    if not isinstance(value, str) or str in held[word]:
        return value
    return parse_setting(kind, word, value, f"`{word}` of the settings")
