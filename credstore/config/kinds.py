"""The kinds of store by name and alias: which config class a word stands for."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from credstore.config.clouds import (
    BackblazeConfig,
    CommonConfig,
    LocalConfig,
    MemoryConfig,
    R2Config,
    S3CompatibleConfig,
    S3Config,
    SpacesConfig,
    WasabiConfig,
)
from credstore.errors import StorageConfigurationError
from credstore.model import NOTHING

BUILT_IN: tuple[type[CommonConfig], ...] = (
    LocalConfig,
    MemoryConfig,
    S3Config,
    R2Config,
    SpacesConfig,
    WasabiConfig,
    BackblazeConfig,
    S3CompatibleConfig,
)

ALIASES: Mapping[str, str] = {
    "file": "local",
    "aws": "s3",
    "cloudflare": "r2",
    "cloudflare_r2": "r2",
    "do": "spaces",
    "digitalocean": "spaces",
    "backblaze": "b2",
}
FLAVORS = ("minio", "ceph")
"""Words for "custom" with that flavor."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a word stands for.

    Attributes:
        name: Canonical name of the provider.
        config: Its config class.
        preset: Fields that the word itself sets.
    """

    name: str
    config: type[CommonConfig]
    preset: Mapping[str, object] = NOTHING

    def owner(self, given: Mapping[str, object]) -> str:
        """Whose environment variables serve it, as the config's own messages say it."""
        flavor = {**self.preset, **given}.get("flavor")
        return "minio" if flavor == "minio" else self.name


class Kinds:
    """Names and aliases to kinds; the built-in ones, and what is registered."""

    def __init__(self, load: Callable[[str], None] | None = None) -> None:
        """Start with the built-in kinds.

        Args:
            load: Called with a word that is unknown; it may register it.
        """
        self._load = load
        self._kinds = {config.provider: Kind(config.provider, config) for config in BUILT_IN}
        self._kinds |= {alias: self._kinds[name] for alias, name in ALIASES.items()}
        self._kinds |= {flavor: Kind("custom", S3CompatibleConfig, {"flavor": flavor}) for flavor in FLAVORS}

    def register(self, name: str, config: type[CommonConfig], aliases: Iterable[str] = ()) -> None:
        """Add a kind.

        Raises:
            StorageConfigurationError: A word is taken, or no plain lower-case word.
        """
        words = [name, *aliases]
        for word in words:
            if not word.isidentifier() or word != word.lower():
                raise StorageConfigurationError(f"{word!r} is no lower-case word, so no name of a provider")
            if word in self._kinds:
                raise StorageConfigurationError(f"the provider name {word!r} is taken; choose another")
        self._kinds |= dict.fromkeys(words, Kind(name, config))

    def find(self, word: str, *, where: str) -> Kind:
        """The kind a word stands for, in either case; `-` counts as `_`.

        Args:
            word: A name or alias.
            where: What the word was read from; the message begins with it and never has the word.

        Raises:
            StorageConfigurationError: Unknown; the message tells the choices.
        """
        word = word.strip().lower().replace("-", "_")
        if word not in self._kinds and self._load is not None:
            self._load(word)
        kind = self._kinds.get(word)
        if kind is None:
            choices = f"choose one of {', '.join(sorted(self._kinds))}"
            near = difflib.get_close_matches(word, self._kinds, n=1)
            hint = f"did you mean {near[0]!r}? Else {choices}" if near else choices
            raise StorageConfigurationError(f"{where} names no provider known here; {hint}")
        return kind

    def configs(self) -> set[type[CommonConfig]]:
        """All config classes."""
        return {kind.config for kind in self._kinds.values()}

    def names(self) -> list[str]:
        """Canonical names, sorted."""
        return sorted({kind.name for kind in self._kinds.values()})

    def words(self) -> list[str]:
        """All names and aliases, sorted."""
        return sorted(self._kinds)
