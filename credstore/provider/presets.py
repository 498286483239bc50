"""The named providers: a configuration and a driver each, nothing else.

Here and in `factory.py` drivers are chosen: which class it is, the cloud's row says. A test holds the
named classes to overriding nothing.
"""

from __future__ import annotations

from typing import Generic, TypeVar, Unpack, cast

from credstore.config.registry import Cloud, cloud_named, loaded
from credstore.config.stores import (
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
from credstore.driver.contract import Driver
from credstore.drivers.s3.options import S3PutOptions as S3PutOptions  # noqa: PLC0414 - re-exported
from credstore.errors import StorageConfigurationError
from credstore.provider.provider import StorageProvider
from credstore.provider.session import ProviderOptions
from credstore.strategies.prefixed import prefixed

C = TypeVar("C", bound=CommonConfig)


class NamedProvider(StorageProvider, Generic[C]):
    """A provider that is made of its configuration alone."""

    def __init__(self, config: C, **options: Unpack[ProviderOptions]) -> None:
        """Choose the driver; nothing is sent or touched yet.

        Args:
            config: The cloud's configuration.
            options: See `ProviderOptions`.

        Raises:
            StorageConfigurationError: It is not a configuration, that of another cloud, or none that
                credstore has a driver for.
        """
        named = _row_of(config).provider
        if named and not isinstance(self, loaded(named)):
            raise StorageConfigurationError(
                f"{type(self).__name__} is not made of a {type(config).__name__}; that is for "
                f"{named.partition(':')[2]}, or for StorageFactory().create(...)"
            )
        super().__init__(build_driver(config), config, **options)


class S3StorageProvider(NamedProvider[S3Config]):
    """AWS S3. Without keys in the configuration, AWS's own credential chain is used (extra `aws`)."""


class R2StorageProvider(NamedProvider[R2Config]):
    """Cloudflare R2, at the account's own endpoint."""


class SpacesStorageProvider(NamedProvider[SpacesConfig]):
    """DigitalOcean Spaces."""


class WasabiStorageProvider(NamedProvider[WasabiConfig]):
    """Wasabi."""


class BackblazeStorageProvider(NamedProvider[BackblazeConfig]):
    """Backblaze B2, through its S3 interface."""


class S3CompatibleStorageProvider(NamedProvider[S3CompatibleConfig]):
    """MinIO, Ceph, or another server that speaks S3, at a given endpoint."""


class LocalStorageProvider(NamedProvider[LocalConfig]):
    """Files below a directory of this machine, durable and atomic with their attributes."""


class MemoryStorageProvider(NamedProvider[MemoryConfig]):
    """This process's memory: for tests."""

    def __init__(self, config: MemoryConfig | None = None, **options: Unpack[ProviderOptions]) -> None:
        """As every named provider; without a configuration a store with the defaults."""
        super().__init__(MemoryConfig() if config is None else config, **options)


def build_driver(config: CommonConfig) -> Driver:
    """The driver that a configuration names, below its prefix; nothing is sent or touched yet.

    Raises:
        StorageConfigurationError: No driver of credstore takes this configuration.
    """
    # A driver is imported when it is first used: a local store needs no HTTP client.
    return prefixed(cast("Driver", loaded(_row_of(config).driver)(config)), config.prefix)


def provider_for(config: CommonConfig, **options: Unpack[ProviderOptions]) -> StorageProvider:
    """The named provider of a configuration.

    Args:
        config: One of the configuration dataclasses.
        options: See `ProviderOptions`.

    Raises:
        StorageConfigurationError: No driver of credstore takes this configuration.
    """
    named = _row_of(config).provider
    if named:
        return cast("type[NamedProvider[CommonConfig]]", loaded(named))(config, **options)
    return StorageProvider(build_driver(config), config, **options)


def _row_of(config: CommonConfig) -> Cloud:
    if not isinstance(config, CommonConfig):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
        raise StorageConfigurationError(
            f"a provider is made of its config, not of a {type(config).__name__}: "
            'LocalStorageProvider(LocalConfig(path="proofs")), or StorageFactory().create("file:///path")'
        )
    row = cloud_named(config.cloud)
    if row is None or not isinstance(config, row.config_class):
        raise StorageConfigurationError(f"credstore has no driver for a {type(config).__name__}")
    return row
