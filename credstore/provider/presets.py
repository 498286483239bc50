"""The named providers: a configuration and a driver each, nothing else.

Here and in `factory.py` drivers are chosen; a test holds the classes to overriding nothing.
"""

from __future__ import annotations

from typing import Unpack

from credstore.config.clouds import (
    BackblazeConfig,
    CommonConfig,
    LocalConfig,
    MemoryConfig,
    R2Config,
    S3CompatibleConfig,
    S3Config,
    S3FamilyConfig,
    SpacesConfig,
    WasabiConfig,
)
from credstore.driver import Driver
from credstore.drivers.s3.options import S3PutOptions as S3PutOptions  # noqa: PLC0414 - re-exported
from credstore.errors import StorageConfigurationError
from credstore.links.public import public_url
from credstore.provider.foundation import ProviderOptions
from credstore.provider.provider import StorageProvider


class S3StorageProvider(StorageProvider):
    """AWS S3. Without keys in the configuration, AWS's own credential chain is used (extra `aws`)."""

    def __init__(self, config: S3Config, **options: Unpack[ProviderOptions]) -> None:
        super().__init__(build_driver(config), config, public_url=public_url(config), **options)


class R2StorageProvider(StorageProvider):
    """Cloudflare R2, at the account's own endpoint."""

    def __init__(self, config: R2Config, **options: Unpack[ProviderOptions]) -> None:
        super().__init__(build_driver(config), config, public_url=public_url(config), **options)


class SpacesStorageProvider(StorageProvider):
    """DigitalOcean Spaces."""

    def __init__(self, config: SpacesConfig, **options: Unpack[ProviderOptions]) -> None:
        super().__init__(build_driver(config), config, public_url=public_url(config), **options)


class WasabiStorageProvider(StorageProvider):
    """Wasabi."""

    def __init__(self, config: WasabiConfig, **options: Unpack[ProviderOptions]) -> None:
        super().__init__(build_driver(config), config, public_url=public_url(config), **options)


class BackblazeStorageProvider(StorageProvider):
    """Backblaze B2, through its S3 interface."""

    def __init__(self, config: BackblazeConfig, **options: Unpack[ProviderOptions]) -> None:
        super().__init__(build_driver(config), config, public_url=public_url(config), **options)


class S3CompatibleStorageProvider(StorageProvider):
    """MinIO, Ceph, or another server that speaks S3, at a given endpoint."""

    def __init__(self, config: S3CompatibleConfig, **options: Unpack[ProviderOptions]) -> None:
        super().__init__(build_driver(config), config, public_url=public_url(config), **options)


class LocalStorageProvider(StorageProvider):
    """Files below a directory of this machine, durable and atomic with their attributes."""

    def __init__(self, config: LocalConfig, **options: Unpack[ProviderOptions]) -> None:
        super().__init__(build_driver(config), config, public_url=public_url(config), **options)


class MemoryStorageProvider(StorageProvider):
    """This process's memory: for tests."""

    def __init__(self, config: MemoryConfig | None = None, **options: Unpack[ProviderOptions]) -> None:
        config = MemoryConfig() if config is None else config
        super().__init__(build_driver(config), config, public_url=public_url(config), **options)


def build_driver(config: CommonConfig) -> Driver:
    """The driver that a configuration names; nothing is sent or touched yet.

    Raises:
        StorageConfigurationError: No driver of credstore takes this configuration.
    """
    # A driver is imported when it is first used: a local store needs no HTTP client.
    locate = public_url(config)
    if isinstance(config, S3FamilyConfig):
        from credstore.drivers.s3.driver import S3Driver

        return S3Driver(config, public_url=locate)
    if isinstance(config, LocalConfig):
        from credstore.drivers.local.driver import LocalDriver

        return LocalDriver(config, public_url=locate)
    if isinstance(config, MemoryConfig):
        from credstore.drivers.memory import MemoryDriver

        return MemoryDriver(config, public_url=locate)
    raise StorageConfigurationError(f"credstore has no driver for a {type(config).__name__}")


def provider_for(config: CommonConfig, **options: Unpack[ProviderOptions]) -> StorageProvider:
    """The named provider of a configuration.

    Args:
        config: One of the configuration dataclasses.
        options: See `ProviderOptions`.

    Raises:
        StorageConfigurationError: No driver of credstore takes this configuration.
    """
    if isinstance(config, S3Config):
        return S3StorageProvider(config, **options)
    if isinstance(config, R2Config):
        return R2StorageProvider(config, **options)
    if isinstance(config, SpacesConfig):
        return SpacesStorageProvider(config, **options)
    if isinstance(config, WasabiConfig):
        return WasabiStorageProvider(config, **options)
    if isinstance(config, BackblazeConfig):
        return BackblazeStorageProvider(config, **options)
    if isinstance(config, S3CompatibleConfig):
        return S3CompatibleStorageProvider(config, **options)
    if isinstance(config, LocalConfig):
        return LocalStorageProvider(config, **options)
    if isinstance(config, MemoryConfig):
        return MemoryStorageProvider(config, **options)
    raise StorageConfigurationError(f"credstore has no driver for a {type(config).__name__}")
