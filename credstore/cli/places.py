"""Where objects are, as a person writes it: a store URL, a key of the store that is set, or a path.

`s3://bucket/data/` is another store, `store:data/` is in the one that `--store` or the environment names. A
name that ends with a slash is a folder: what is in there, or what goes in there. `*`, `?` and `[...]` in the
last parts of a name select.

What is encrypted on the client is bound to its key in its store, so a URL has to lead to the same store
however long it is: to the one that is set where it is a part of that, else to the whole bucket.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from credstore.cli.options import Invocation
from credstore.cli.runner import opened, opened_together, settings, several_stores
from credstore.errors import StorageConfigurationError

if TYPE_CHECKING:
    from credstore.config.settings import CommonConfig
    from credstore.provider.provider import StorageProvider
    from credstore.transfer import Place, Under

OURS = "store:"
"""What a key of the store that is set begins with, where a path could be meant."""
_URL = re.compile(r"[a-z][a-z0-9_+.-]*://|(?:file|local|memory):", re.IGNORECASE)
_GLOB = re.compile(r"[*?\[]")
_PATH = ("/", "./", "../", "~")
_HERE = frozenset({".", ".."})


@dataclass(frozen=True, slots=True)
class Several:
    """Several stores as one.

    Attributes:
        url: `multi://...`.
    """

    url: str


@dataclass(frozen=True, slots=True)
class Spot:
    """One argument.

    Attributes:
        text: As it was given.
        config: Of the store; None for a path of this machine.
        key: Of the object, or the beginning of keys; or the path.
    """

    text: str
    config: CommonConfig | Several | None
    key: str

    @property
    def is_folder(self) -> bool:
        """Whether it says that it is a folder."""
        if self.config is None:
            return self.key.endswith("/") or Path(self.key).is_dir()
        return self.key.endswith("/") or not (self.key or self.text == "")

    @property
    def is_missing(self) -> bool:
        """Whether it is a path where there is nothing."""
        return self.config is None and not Path(self.key).exists()

    @property
    def as_folder(self) -> Spot:
        """The same, as one that says that it is a folder."""
        if self.config is None or not self.key or self.key.endswith("/") or self.glob is not None:
            return self
        return replace(self, key=f"{self.key}/")

    @property
    def glob(self) -> tuple[str, str] | None:
        """The folder that is searched, and the glob in it; None where there is no glob."""
        found = _GLOB.search(self.key)
        if found is None or (self.config is None and Path(self.key).exists()):
            return None
        cut = self.key.rfind("/", 0, found.start()) + 1
        return self.key[:cut], "/" + self.key[cut:]


def spot(invocation: Invocation, text: str, plain: Literal["key", "path"]) -> Spot:
    """What an argument means.

    Args:
        invocation: Names the store that is set.
        text: The argument.
        plain: What a text is that says nothing about itself.

    Raises:
        StorageConfigurationError: It is not a store URL after all, or no store is set.
    """
    if is_url(text):
        from credstore.config.multi import multi_of

        if multi_of(text) is not None:
            return Spot(text, Several(text), "")
        config = settings(invocation, text)
        given = text.partition("?")[0]
        root = "" if config.wrapping_key is None else _root_set(invocation, config)
        key = config.prefix if given.endswith("/") else config.prefix.removesuffix("/")
        return Spot(text, replace(config, prefix=root), key[len(root) :])
    if text.startswith(OURS) or plain == "key":
        several = several_stores(invocation)
        store = settings(invocation) if several is None else Several(several)
        return Spot(text, store, text.removeprefix(OURS))
    return Spot(
        text, None, str(Path(text).expanduser()) + ("/" if text.endswith("/") and text != "/" else "")
    )


def _root_set(invocation: Invocation, config: CommonConfig) -> str:
    """The prefix of the store that is set, where another is a part of it; else ""."""
    try:
        ours = settings(invocation)
    except StorageConfigurationError:  # None is set, or several as one.
        return ""
    inside = ours.provider == config.provider and ours.place == config.place
    return ours.prefix if inside and config.prefix.startswith(ours.prefix) else ""


def check_apart(names: Iterable[str]) -> None:
    """Refuse single files or objects of which one would take the place of another.

    Args:
        names: Their paths or keys.

    Raises:
        click.UsageError: Two of them have the same last part.
    """
    seen: dict[str, str] = {}
    for name in names:
        last = name.rpartition("/")[2]
        if last in seen:
            raise click.UsageError(f"{seen[last]} and {name} would both be called {last} there")
        seen[last] = name


def is_url(text: str) -> bool:
    """Whether a text is meant as the URL of a store."""
    return _URL.match(text) is not None


def spots(invocation: Invocation, *texts: str) -> list[Spot]:
    """The arguments of `cp` and `mv`: keys of one store unless one of them says otherwise."""
    elsewhere = any(is_url(text) or text.startswith((OURS, *_PATH)) or text in _HERE for text in texts)
    return [spot(invocation, text, "path" if elsewhere else "key") for text in texts]


@asynccontextmanager
async def opened_stores(
    invocation: Invocation, *places: Spot, reading: int
) -> AsyncGenerator[list[Under | Path]]:
    """The places, with their stores open; the same store once, so that it can copy within itself.

    Args:
        invocation: The global options.
        places: In this order.
        reading: How many of the first ones are only read, so that nothing is made where they are missing.
    """
    from credstore.transfer import Under

    configs = [each.config for each in places]
    providers: list[tuple[CommonConfig | Several, StorageProvider]] = []
    async with AsyncExitStack() as stack:
        found: list[Under | Path] = []
        for number, each in enumerate(places):
            if each.config is None:
                found.append(Path(each.key))
                continue
            config, key = each.config, each.key
            if (
                not isinstance(config, Several)
                and configs.count(config) == 1
                and not config.prefix
                and config.wrapping_key is None
                and each.text
                and is_url(each.text)
            ):
                # What credstore keeps for the objects of a folder (dictionaries, keys) is in that folder.
                cut = (each.glob[0] if each.glob else key).rpartition("/")[0]
                config, key = replace(config, prefix=cut), key[len(cut) + 1 :] if cut else key
            if not isinstance(config, Several) and isinstance(config.place, Path):
                _check_root(config.place)
            known = [provider for other, provider in providers if other == config]
            if not known:
                made = (
                    opened_together(invocation, config.url)
                    if isinstance(config, Several)
                    else opened(invocation, config, reading=number < reading)
                )
                known = [await stack.enter_async_context(made)]
                providers.append((config, known[0]))
            found.append(Under(known[0], key))
        yield found


def _check_root(path: Path) -> None:
    """Refuse a part of a local store as a store of its own, which would show what is stored, not what it is.

    Raises:
        click.UsageError: It is one.
    """
    from credstore.driver.internal import SEGMENT, store_above

    path = path.resolve()
    above = None if (path / SEGMENT).is_dir() else store_above(path)
    if above is not None:
        raise click.UsageError(
            f"{path} is in the local store {above}; what is below it is {above.as_uri()}?prefix=..."
        )


async def source_of(
    given: Spot, place: Under | Path, *, tree: bool, recursive: bool
) -> tuple[Place, list[str]]:
    """What to transfer, and the globs that select it.

    Args:
        given: The argument.
        place: The same, with its store open.
        tree: It is a folder in any case.
        recursive: It may be one without saying so.

    Raises:
        click.UsageError: It is a folder, and was not said to be meant.
        StorageObjectNotFoundError: There is no such object.
    """
    from credstore.errors import StorageObjectNotFoundError
    from credstore.transfer import Alone, Under

    glob = given.glob
    if isinstance(place, Path):
        if glob is not None:
            return Path(glob[0] or "."), [glob[1]]
        if given.is_missing:
            raise click.UsageError(f"there is no file or folder {given.text}")
        if tree or given.is_folder:
            if not (tree or recursive or given.key.endswith("/")):
                raise click.UsageError(
                    f"{given.text} is a folder; give it a slash at its end, or --recursive"
                )
            return place, []
        return Alone(place.parent, place.name), []
    if glob is not None:
        cut = place.prefix[: len(place.prefix) - len(given.key[len(glob[0]) :])]
        return Under(place.provider, cut), [glob[1]]
    if given.is_folder or tree:
        return folder_of(place), []
    item = await place.provider.get_metadata(place.prefix)
    if item is None:
        if recursive:
            return folder_of(place), []
        raise StorageObjectNotFoundError(
            "there is no such object; a folder ends with a slash, or needs --recursive", key=place.prefix
        )
    folder, _, name = place.prefix.rpartition("/")
    return Alone(Under(place.provider, f"{folder}/" if folder else ""), name or place.prefix), []


def folder_of(place: Under) -> Under:
    """The same place as a folder."""
    from credstore.transfer import Under

    prefix = place.prefix
    return place if not prefix or prefix.endswith("/") else Under(place.provider, f"{prefix}/")


def destination_of(given: Spot, place: Under | Path, source: Place, *, into: bool) -> tuple[Place, Place]:
    """Source and destination; one object that goes to something other than a folder gets that name.

    Args:
        given: The argument for the destination.
        place: The same, with its store open.
        source: From `source_of`.
        into: It is a folder in any case.
    """
    from credstore.transfer import Alone, Under

    if not isinstance(source, Alone) or into or given.is_folder:
        return source, (place if isinstance(place, Path) else folder_of(place))
    if isinstance(place, Path):
        return Alone(source.place, source.name, place.name), place.parent
    folder, slash, name = place.prefix.rpartition("/")
    return Alone(source.place, source.name, name), Under(place.provider, folder + slash)


def key_in(place: Under | Path) -> tuple[StorageProvider, str]:
    """The store and the key of a place that is one.

    Raises:
        click.UsageError: It is a path.
    """
    if isinstance(place, Path):
        raise click.UsageError(f"{place} is a path of this machine, not a key or the URL of a store")
    return place.provider, place.prefix
