"""`StorageFactory`: from a config, URL, mapping or environment to an open provider.

Together with `provider/presets.py`, the composition root: here names become drivers, and drivers become
strategies.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial, update_wrapper
from types import TracebackType
from typing import TYPE_CHECKING, Concatenate, Generic, ParamSpec, Self, TypeAlias, TypeVar, Unpack, cast
from weakref import WeakKeyDictionary

from credstore.arguments import given, typed_class
from credstore.config.env_file import with_env_file
from credstore.config.environ import from_env
from credstore.config.local import LocalConfig
from credstore.config.mapping import from_mapping
from credstore.config.multi import multi_of
from credstore.config.named import is_name, named_store
from credstore.config.registry import Cloud, Registry
from credstore.config.settings import CommonConfig
from credstore.config.traceless import traceless
from credstore.config.url import from_url
from credstore.config.variables import URL
from credstore.driver.contract import Driver
from credstore.errors import StorageConfigurationError, StorageError
from credstore.metrics import Meter
from credstore.provider.homes import Home, all_apart, sites_of
from credstore.provider.measured import facts_of
from credstore.provider.presets import build_driver, provider_for
from credstore.provider.provider import StorageProvider
from credstore.provider.session import ProviderOptions
from credstore.strategies.options import MultiOptions

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=CommonConfig)

StoreSpec: TypeAlias = CommonConfig | str | Mapping[str, object]
"""A config dataclass, a store URL, the name of a store, or a mapping in the original design's words."""

PLUGINS = "credstore.drivers"
"""Entry-point group; an entry has the provider's name and loads a function that takes a factory."""


class _OnDefault(Generic[P, R]):
    """A method that, called on the class, acts on the default instance, as in the original."""

    def __init__(self, method: Callable[Concatenate[StorageFactory, P], R]) -> None:
        self._method = method
        update_wrapper(cast("Callable[..., R]", self), method)

    def __get__(self, instance: StorageFactory | None, owner: type[StorageFactory]) -> Callable[P, R]:
        bound = partial(traceless(self._method), owner.default() if instance is None else instance)
        return update_wrapper(bound, self._method)


@typed_class
class StorageFactory:
    """Makes providers, and returns the same one again for the same settings.

    An instance has its own registry and cache. The verbs also work on the class itself
    (`StorageFactory.create(...)`), on one default instance that the library never uses.

    A cached provider is shared by all who create it with the same settings on this event loop: whoever closes
    it closes it for all, and the next `create` makes a new one. Another loop gets its own. For a private
    provider, make `StorageFactory()` or use the named classes.
    """

    _default: StorageFactory | None = None

    def __init__(
        self, *, environ: Mapping[str, str] | None = None, **options: Unpack[ProviderOptions]
    ) -> None:
        """Start with the built-in providers.

        Args:
            environ: Variables by name; `os.environ`, read at each call, unless given.
            options: For every provider made here; see `ProviderOptions`.
        """
        self._environ = environ
        self._options: ProviderOptions = {**options, "observers": tuple(options.get("observers", ()))}
        self._registry = Registry(self._load_plugin)
        self._loaded: set[str] = set()
        self._cache: WeakKeyDictionary[
            asyncio.AbstractEventLoop, dict[tuple[object, ...], StorageProvider]
        ] = WeakKeyDictionary()

    @classmethod
    def default(cls) -> StorageFactory:
        """The instance that the class-level verbs act on."""
        if StorageFactory._default is None:
            StorageFactory._default = StorageFactory()
        return StorageFactory._default

    @_OnDefault
    def create(self, store: StoreSpec, *, read_only: bool = False) -> StorageProvider:
        """The provider of one store.

        Args:
            store: A config, a URL such as `s3://bucket/prefix?region=eu-west-1` or `file:///path`, a name
                such as `photos` (`credstore stores add`), or a mapping such as `{"provider": "r2", "bucket":
                "proofs"}`. Whatever a URL or mapping does not say, above all keys, comes from the
                environment. Several stores as one, as `create_multi` makes them:
                `multi://redundant?store=URL&store=URL`, or `{"provider": "multi", "strategy": "REDUNDANT",
                "stores": [...]}`.
            read_only: Refuse whatever would change the store, also where its settings do not say so.

        Raises:
            StorageConfigurationError: A setting is missing, unknown or contradictory.
        """
        found, environ = self._looked_up(store)
        several = multi_of(found)
        if several is not None:
            return self._multi(several.stores, several.strategy, several.options, read_only=read_only)
        config = _frozen(self._made(found, environ), read_only=read_only)
        return self._cached(lambda: provider_for(config, self._registry, **self._options), config)

    @_OnDefault
    def from_env(
        self,
        environ: Mapping[str, str] | None = None,
        provider: str | None = None,
        *,
        read_only: bool = False,
    ) -> StorageProvider:
        """The provider that the environment describes; `.env.example` has every variable.

        Args:
            environ: Variables by name, instead of the factory's.
            provider: Name or alias, instead of `CREDSTORE_PROVIDER`.
            read_only: As for `create`.

        Raises:
            StorageConfigurationError: A setting is missing, unknown or contradictory; the message
                names the variable.
        """
        variables = self._variables() if environ is None else environ
        url = variables.get(URL)
        if provider is None and url and multi_of(url) is not None:
            return self.create(url, read_only=read_only)
        return self.create(from_env(variables, provider, registry=self._registry), read_only=read_only)

    @_OnDefault
    def configure(self, store: StoreSpec | None = None) -> CommonConfig:
        """The settings of a store, as `create` would make it; nothing is opened.

        Args:
            store: As for `create`; taken from the environment unless given.

        Raises:
            StorageConfigurationError: A setting is missing, unknown or contradictory.
        """
        if store is None:
            return from_env(self._variables(), registry=self._registry)
        return self._config(store)

    @_OnDefault
    def create_with_fallback(
        self, primary: StoreSpec, fallback: StoreSpec, *, read_only: bool = False
    ) -> StorageProvider:
        """One provider over two stores: the second serves what the first cannot.

        Args:
            primary: Serves as long as it can; its defaults (compression, encryption, ...) apply.
            fallback: Takes over; see `FallbackDriver` for what exactly that means. One that is `read_only`
                serves reads only, and keeps what it has from being deleted.
            read_only: As for `create`, of both.

        Raises:
            StorageConfigurationError: A setting is missing, unknown or contradictory, or both are
                the same store, or one is inside the other.
        """
        first = _frozen(self._config(primary), read_only=read_only)
        second = _frozen(self._config(fallback), read_only=read_only)
        if _overlap(first, second):
            raise StorageConfigurationError(
                "primary and fallback are the same store, or one is inside the other, or a cache is; name two"
            )
        _check_encryption((first, second))

        def make() -> StorageProvider:
            from credstore.strategies.fallback.driver import FallbackDriver

            drivers, meters = self._metered((first, second))
            driver = FallbackDriver(*drivers)
            members = dict(zip(driver.labels, (first, second), strict=True))
            return StorageProvider(
                driver,
                first,
                members=members,
                meters=dict(zip(driver.labels, meters, strict=True)),
                **self._options,
            )

        return self._cached(make, first, second)

    @_OnDefault
    def create_multi(
        self,
        stores: Iterable[StoreSpec],
        strategy: str = "REDUNDANT",
        *,
        read_only: bool = False,
        **options: Unpack[MultiOptions],
    ) -> StorageProvider:
        """One provider over several stores.

        Args:
            stores: Each a config, a URL or a mapping, always in the same order. The defaults of the first
                (compression, encryption, ...) apply.
            strategy: What they are together; a row of `strategies/table.py`:
                PRIMARY_ONLY uses the first one, and checks the settings of the others;
                REDUNDANT keeps every object at all of them, see `RedundantDriver`;
                LOAD_BALANCED spreads the objects over them by weight, see `BalancedDriver`;
                COST_OPTIMIZED keeps each object where it costs least, see `PricedDriver`;
                PERFORMANCE_OPTIMIZED keeps replicas and reads the fastest, see `FastestDriver`.
            read_only: As for `create`.
            options: Of the strategy; see `MultiOptions`.

        Raises:
            StorageConfigurationError: A setting is missing, unknown or contradictory, two of them are the
                same store, or one is inside another; or the strategy does not work with these.
        """
        if isinstance(stores, str | bytes | Mapping) or not isinstance(stores, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
            raise StorageConfigurationError("`stores` is a list of stores, each a config, a URL or a mapping")
        return self._multi(tuple(stores), strategy, options, read_only=read_only)

    def _multi(
        self,
        stores: tuple[StoreSpec, ...],
        strategy: str,
        options: Mapping[str, object],
        *,
        read_only: bool,
    ) -> StorageProvider:
        # Here, since most programs use one store, and these are as large as all the rest.
        from credstore.strategies.health import labels_of
        from credstore.strategies.table import strategy_of

        told = {
            name: tuple(cast("list[object]", value)) if isinstance(value, list) else value
            for name, value in options.items()
            if value is not None
        }
        row = strategy_of(strategy, len(stores), told)
        configs = [_frozen(self._config(store), read_only=read_only) for store in stores]
        for at, one in enumerate(configs):
            if any(_overlap(one, other) for other in configs[:at]):
                raise StorageConfigurationError(
                    "two of the stores are the same, or one is inside another, or a cache is; each has to be "
                    "one of its own"
                )
        _check_encryption(configs)

        def make() -> StorageProvider:
            drivers, meters = self._metered(configs[: row.uses])
            labels = labels_of(drivers)
            facts = [facts_of(config, label) for config, label in zip(configs, labels, strict=False)]
            driver = row.build(drivers, facts, cast("MultiOptions", told))
            members = dict(zip(labels, configs, strict=False))
            each = dict(zip(labels, meters, strict=True))
            return StorageProvider(driver, configs[0], members=members, meters=each, **self._options)

        return self._cached(make, row.word, tuple(sorted(told.items())), *configs)

    def _metered(self, configs: Sequence[CommonConfig]) -> tuple[list[Driver], list[Meter]]:
        """The drivers of the members of a store, and what each of them is used for from now on."""
        from credstore.strategies.metered import metered

        meters = [Meter() for _ in configs]
        drivers = [
            build_driver(config, self._registry, around=partial(metered, meter=meter))
            for config, meter in zip(configs, meters, strict=True)
        ]
        return drivers, meters

    @_OnDefault
    def register(
        self, name: str, config: type[C], build: Callable[[C], Driver], *, aliases: Iterable[str] = ()
    ) -> None:
        """Add a provider, for `create`, `from_env` and URLs of this factory.

        Args:
            name: Lower-case word; the scheme of its URLs.
            config: Its config dataclass, with `provider = name`.
            build: Makes a driver of the whole store from a config; nothing is sent yet. The config's `prefix`
                is applied by the factory.
            aliases: Other names.

        Raises:
            StorageConfigurationError: A name is taken, or is not a lower-case word.
        """
        self._registry.register(Cloud(name=name, config=config, build=build, aliases=tuple(aliases)))

    @_OnDefault
    def get_registered_providers(self) -> list[str]:
        """Names and aliases of all providers, installed plug-ins included, sorted.

        A plug-in that has not been used yet is listed by its name; its aliases are known once it is loaded.
        """
        from importlib.metadata import entry_points

        return sorted({*self._registry.words(), *(plugin.name for plugin in entry_points(group=PLUGINS))})

    @_OnDefault
    def clear_cache(self) -> None:
        """Forget the cached providers without closing them; their holders still can."""
        self._cache.clear()

    async def aclose(self) -> None:
        """Close and forget this loop's cached providers; safe to call again.

        Raises:
            ExceptionGroup: Of the errors of those that failed to close; all were closed.
        """
        providers = self._cache.pop(asyncio.get_running_loop(), {})
        failures = [
            result
            for result in await asyncio.gather(
                *(provider.aclose() for provider in providers.values()), return_exceptions=True
            )
            if isinstance(result, Exception)
        ]
        if failures:
            raise ExceptionGroup("some stores did not close cleanly", failures)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _variables(self) -> Mapping[str, str]:
        return os.environ if self._environ is None else self._environ

    def _looked_up(self, store: StoreSpec) -> tuple[StoreSpec, Mapping[str, str]]:
        """What a name stands for, anything else as it is; and the environment that fills in the rest."""
        variables = self._variables()
        return (
            named_store(store, variables) if isinstance(store, str) and is_name(store) else (store, variables)
        )

    def _config(self, store: StoreSpec) -> CommonConfig:
        found, environ = self._looked_up(store)
        if multi_of(found) is not None:
            raise StorageConfigurationError(
                "this names several stores as one; here one store is needed, or use create or create_multi"
            )
        return self._made(found, environ)

    def _made(self, store: StoreSpec, environ: Mapping[str, str]) -> CommonConfig:
        if isinstance(store, CommonConfig):
            return store
        if isinstance(store, str):
            return from_url(store, environ, registry=self._registry)
        if isinstance(store, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
            return from_mapping(store, environ, registry=self._registry)
        raise StorageConfigurationError(
            f"a store is a config, a URL or a mapping, not {type(cast('object', store)).__name__}"
        )

    def _cached(self, make: Callable[[], StorageProvider], *what: Hashable) -> StorageProvider:
        """The open provider of these settings on this loop; without a running loop, a new one each time."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return make()
        # An open connection refers to its loop, so the weak key alone does not release a loop that has ended.
        for ended in [each for each in self._cache if each.is_closed()]:
            del self._cache[ended]
        providers = self._cache.setdefault(loop, {})
        key = (os.getpid(), *what)  # A forked child process makes its own.
        found = providers.get(key)
        if found is None or found.closed:
            found = providers[key] = make()
        return found

    def _load_plugin(self, name: str) -> None:
        """Let an installed plug-in register itself, once."""
        from importlib.metadata import entry_points

        for plugin in entry_points(group=PLUGINS, name=name):
            if plugin.value not in self._loaded:
                self._load(plugin)
                self._loaded.add(plugin.value)

    def _load(self, plugin: EntryPoint) -> None:
        try:
            register: Callable[[StorageFactory], None] = plugin.load()
            register(self)
        except StorageError:
            raise
        except Exception as error:
            raise StorageConfigurationError(
                f"the plug-in {plugin.name!r} ({plugin.value}) fails to load: {type(error).__name__}: {error}"
            ) from error


@traceless
def connect(
    store: StoreSpec | os.PathLike[str] | None = None,
    *,
    env_file: str | os.PathLike[str] | None = None,
    read_only: bool = False,
    **options: Unpack[ProviderOptions],
) -> StorageProvider:
    """A store, to be used with `async with` or closed with `aclose()`; no one else gets the same one.

        async with credstore.connect("s3://bucket/prefix?region=eu-west-1") as store:
            await store.store("photo.json", data)

    Nothing is sent yet. `credstore doctor` tries whether it works, and says what to do where it does not.

    Args:
        store: A URL, a name, a mapping or a config, as for `StorageFactory.create`, or the path of a local
            folder as a `Path`. Unless given, the environment names it, as for `StorageFactory.from_env`.
        env_file: A file of variables (`.env`), for what the environment does not have.
        read_only: Refuse whatever would change the store.
        options: See `ProviderOptions`.

    Raises:
        StorageConfigurationError: A setting is missing, unknown or contradictory.
    """
    if env_file is not None and not isinstance(env_file, str | os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
        raise StorageConfigurationError(f"`env_file` is a path, not {given(env_file)}")
    if not isinstance(read_only, bool):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
        raise StorageConfigurationError(f"`read_only` is True or False, not {given(read_only)}")
    unknown = sorted(options.keys() - ProviderOptions.__annotations__.keys())
    if unknown:
        raise StorageConfigurationError(
            f"connect has no option {unknown[0]!r}; settings of a store are parameters of its URL "
            '("s3://bucket?region=eu-west-1"), or all of them a mapping, and options are '
            f"{', '.join(ProviderOptions.__annotations__)}"
        )
    factory = StorageFactory(environ=with_env_file(os.environ, env_file), **options)
    if store is None:
        return factory.from_env(read_only=read_only)
    if isinstance(store, os.PathLike):
        store = LocalConfig(path=store)
    return factory.create(store, read_only=read_only)


def _frozen(config: CommonConfig, *, read_only: bool) -> CommonConfig:
    return replace(config, read_only=True) if read_only else config


def _check_encryption(configs: Sequence[CommonConfig]) -> None:
    """Refuse a member that is to be encrypted otherwise than the first, whose encryption is that of all."""
    if any(each.wrapping_key is not None and each.wrapped_by != configs[0].wrapped_by for each in configs):
        raise StorageConfigurationError(
            "stores that are one are encrypted as the first of them; give all of them the same "
            "`wrapping_key`, `older_wrapping_keys` and `store_id`, or only the first"
        )


def _overlap(first: CommonConfig, second: CommonConfig) -> bool:
    """Whether an object could belong to both stores, or the cache of one could be in the other."""
    return not all_apart(sites_of([Home(first)], ask=False), sites_of([Home(second)], ask=False))
