"""The named providers: a configuration and a driver each, and nothing else.

Drivers are chosen here and in `factory.py`; the cloud's row says which class it is. A test makes sure that
the named classes override nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack, cast

from credstore.arguments import typed_class
from credstore.config.field_types import fields_with
from credstore.config.local import LocalConfig, MemoryConfig
from credstore.config.registry import CLOUDS, Cloud, Registry, loaded
from credstore.config.settings import CommonConfig
from credstore.driver.contract import Driver
from credstore.errors import StorageConfigurationError
from credstore.provider.layering import layered
from credstore.provider.provider import StorageProvider
from credstore.provider.session import ProviderOptions

if TYPE_CHECKING:  # A local store needs no settings of clouds.
    from credstore.config.azure import AzureConfig  # noqa: F401 - named below, as text
    from credstore.config.gcs import GcsConfig  # noqa: F401
    from credstore.config.stores import (  # noqa: F401
        BackblazeConfig,
        R2Config,
        S3CompatibleConfig,
        S3Config,
        SpacesConfig,
        WasabiConfig,
    )
    from credstore.drivers.s3.options import S3PutOptions as S3PutOptions  # noqa: PLC0414 - re-exported
else:

    def __getattr__(name: str) -> object:
        """The options of S3's driver, when they are asked for."""
        if name != "S3PutOptions":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from credstore.drivers.s3.options import S3PutOptions

        return S3PutOptions


C = TypeVar("C", bound=CommonConfig)


@typed_class
class NamedProvider(StorageProvider, Generic[C]):
    """A provider that is made from its configuration alone."""

    def __init__(self, config: C | str | os.PathLike[str], **options: Unpack[ProviderOptions]) -> None:
        """Choose the driver; nothing is sent or touched yet.

        Args:
            config: The cloud's configuration. Where everything else may keep its default, the name of the
                bucket or the path of the folder is enough.
            options: See `ProviderOptions`.

        Raises:
            StorageConfigurationError: It is not a configuration, it is that of another cloud, something is
                missing in it, or credstore has no driver for it.
        """
        if isinstance(config, str | os.PathLike):
            config = cast("C", _config_of(type(self).__name__, config))
        row = _row_of(config, type(self).__name__)
        if row.provider and not isinstance(self, loaded(row.provider)):
            raise StorageConfigurationError(
                f"{type(self).__name__} is not made from a {type(config).__name__}; that is for "
                f"{_class_of(row.provider)}, or for credstore.connect(...)"
            )
        super().__init__(_driver_of(row, config), config, **options)


class S3StorageProvider(NamedProvider["S3Config"]):
    """AWS S3. Without keys in the configuration, AWS's own credential chain is used (extra `aws`)."""


class R2StorageProvider(NamedProvider["R2Config"]):
    """Cloudflare R2, at the account's own endpoint."""


class SpacesStorageProvider(NamedProvider["SpacesConfig"]):
    """DigitalOcean Spaces."""


class WasabiStorageProvider(NamedProvider["WasabiConfig"]):
    """Wasabi."""


class BackblazeStorageProvider(NamedProvider["BackblazeConfig"]):
    """Backblaze B2, through its S3 interface."""


class S3CompatibleStorageProvider(NamedProvider["S3CompatibleConfig"]):
    """MinIO, Ceph, or another server that speaks S3, at a given endpoint."""


class AzureStorageProvider(NamedProvider["AzureConfig"]):
    """Azure Blob Storage. Without a key or token in the configuration, Entra ID is used (extra `azure`)."""


class GoogleCloudStorageProvider(NamedProvider["GcsConfig"]):
    """Google Cloud Storage. Credentials are those of google-auth's chain unless given (extra `gcs`)."""


class LocalStorageProvider(NamedProvider[LocalConfig]):
    """Files below a directory of this machine, durable and atomic with their attributes."""


@typed_class
class MemoryStorageProvider(NamedProvider[MemoryConfig]):
    """The memory of this process, for tests."""

    def __init__(self, config: MemoryConfig | None = None, **options: Unpack[ProviderOptions]) -> None:
        """Like every named provider; without a configuration, a store with the defaults."""
        super().__init__(MemoryConfig() if config is None else config, **options)


def build_driver(
    config: CommonConfig,
    registry: Registry | None = None,
    *,
    around: Callable[[Driver], Driver] | None = None,
) -> Driver:
    """The driver that a configuration names, below its prefix; nothing is sent or touched yet.

    Args:
        config: One of the configuration dataclasses.
        registry: The known clouds; the built-in ones unless given.
        around: Goes directly around the cloud's own driver.

    Raises:
        StorageConfigurationError: There is no driver for this configuration.
    """
    return _driver_of(_row_of(config, registry=registry), config, around)


def provider_for(
    config: CommonConfig, registry: Registry | None = None, **options: Unpack[ProviderOptions]
) -> StorageProvider:
    """The provider for a configuration; for a built-in cloud, the one named after it.

    Args:
        config: One of the configuration dataclasses.
        registry: The known clouds; the built-in ones unless given.
        options: See `ProviderOptions`.

    Raises:
        StorageConfigurationError: There is no driver for this configuration.
    """
    row = _row_of(config, registry=registry)
    if row.provider:
        return cast("type[NamedProvider[CommonConfig]]", loaded(row.provider))(config, **options)
    return StorageProvider(_driver_of(row, config), config, **options)


def _driver_of(row: Cloud, config: CommonConfig, around: Callable[[Driver], Driver] | None = None) -> Driver:
    # A driver is imported when it is first used: a local store needs no HTTP client.
    build = loaded(row.driver) if row.build is None else row.build
    driver = cast("Driver", build(config))
    return layered(driver if around is None else around(driver), config)


def _config_of(provider: str, place: str | os.PathLike[str]) -> CommonConfig:
    """The configuration of a named provider of which only the place is said."""
    row = next((each for each in CLOUDS if _class_of(each.provider) == provider), None)
    kind: type[Any] = CommonConfig if row is None else row.config_class
    first = next((each.name for each in fields(kind) if each.init and not each.kw_only), None)
    if first is None or (isinstance(place, os.PathLike) and first != "path"):
        raise StorageConfigurationError(
            f"a provider is made from its config, not from a {type(place).__name__}: {_example(provider)}"
        )
    return cast("CommonConfig", kind(place))


def _row_of(config: object, provider: str = "", *, registry: Registry | None = None) -> Cloud:
    if not isinstance(config, CommonConfig):
        raise StorageConfigurationError(
            f"a provider is made from its config, not from a {type(config).__name__}: {_example(provider)}"
        )
    row = (registry or Registry()).row_of(type(config), config.cloud)
    if row is None:
        raise StorageConfigurationError(f"credstore has no driver for a {type(config).__name__}")
    return row


def _example(provider: str) -> str:
    """The right call for a named provider."""
    row = next((each for each in CLOUDS if _class_of(each.provider) == provider), CLOUDS[0])
    secrets = fields_with(row.config_class, "key") - {"access_key_id"}
    settings = ", ".join(
        f"{name}=Secret({value!r})" if name in secrets else f"{name}={value!r}"
        for name, value in row.needed.items()
    )
    called = f"{_class_of(row.provider)}({_class_of(str(row.config))}({settings}))"
    return f'{called}, or credstore.connect("{row.url.partition("[")[0]}")'


def _class_of(reference: str) -> str:
    return reference.partition(":")[2]
