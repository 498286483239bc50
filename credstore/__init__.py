"""credstore: signed content-provenance proofs on any object store, and temporary links to them.

Names are imported when they are first used (PEP 562): `import credstore` loads no HTTP client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str
    from credstore.config.azure import AzureConfig
    from credstore.config.gcs import GcsConfig
    from credstore.config.local import LocalConfig, MemoryConfig
    from credstore.config.reports import load_report
    from credstore.config.settings import CommonConfig
    from credstore.config.stores import (
        BackblazeConfig,
        R2Config,
        S3CompatibleConfig,
        S3Config,
        S3FamilyConfig,
        SpacesConfig,
        WasabiConfig,
    )
    from credstore.config.units import (
        parse_duration,
        parse_size,
    )
    from credstore.container import Container
    from credstore.driver.capability_report import CapabilityReport
    from credstore.driver.reader import ObjectReader
    from credstore.driver.values import Capabilities, Collected
    from credstore.edge.server import serve_links
    from credstore.encryption import ClientSide, CustomerKey, KmsKey, Secret
    from credstore.errors import (
        ErrorCode,
        RemainingVersion,
        ReplicaOutcome,
        StorageAccessDeniedError,
        StorageAlreadyExistsError,
        StorageAuthenticationError,
        StorageBucketNotFoundError,
        StorageCodecError,
        StorageConfigurationError,
        StorageConflictError,
        StorageConnectionError,
        StorageDecryptionError,
        StorageError,
        StorageIntegrityError,
        StorageInvalidKeyError,
        StorageInvalidRequestError,
        StorageNotFoundError,
        StorageObjectNotFoundError,
        StoragePreconditionFailedError,
        StorageQuorumError,
        StorageQuotaExceededError,
        StorageRateLimitedError,
        StorageReadOnlyError,
        StorageRetainedError,
        StorageTimeoutError,
        StorageUnavailableError,
        StorageUnsupportedError,
        StorageVersionsRemainError,
    )
    from credstore.factory import StorageFactory, connect
    from credstore.keyring.aws_kms import AwsKmsKey
    from credstore.keyring.local import LocalKey, PassphraseKey
    from credstore.keyring.ring import KeyCache, KeyRing
    from credstore.keyring.wrapping import CallableKey
    from credstore.links.akamai import AkamaiSigner
    from credstore.links.bunny import BunnySigner
    from credstore.links.cloudflare import CloudflareSigner
    from credstore.links.cloudfront import CloudFrontSigner
    from credstore.links.fastly import FastlySigner
    from credstore.links.google import CloudCdnSigner, MediaCdnSigner, MediaCdnTokenSigner
    from credstore.links.keycdn import KeyCdnSigner
    from credstore.links.nginx import NginxSigner
    from credstore.links.signer import CallableSigner, LinkSigner
    from credstore.links.spaces import SpacesCdnSigner
    from credstore.metrics import ProviderMetrics, VerbMetrics
    from credstore.model import (
        BatchDeleteResult,
        CommonPrefix,
        Dictionary,
        HealthCheckResult,
        LinkGrant,
        Listing,
        LockOptions,
        Retention,
        RotationReport,
        SignedUrl,
        StorageItem,
        StorageResult,
        StorageStats,
        StorageVersion,
        StoredDictionary,
        StoreOptions,
        UploadForm,
        VersionsDeletedResult,
    )
    from credstore.observe import (
        Event,
        LoggingObserver,
        Observer,
        OpenTelemetryMetrics,
        OpenTelemetryObserver,
        StructlogObserver,
    )
    from credstore.pipeline.training import train_dictionary
    from credstore.provider.layering import cached, collect
    from credstore.provider.links import LinkOptions
    from credstore.provider.presets import (
        AzureStorageProvider,
        BackblazeStorageProvider,
        GoogleCloudStorageProvider,
        LocalStorageProvider,
        MemoryStorageProvider,
        R2StorageProvider,
        S3CompatibleStorageProvider,
        S3PutOptions,
        S3StorageProvider,
        SpacesStorageProvider,
        WasabiStorageProvider,
    )
    from credstore.provider.provider import StorageProvider
    from credstore.provider.session import ProviderOptions
    from credstore.provider.upload_forms import UploadFormOptions
    from credstore.verification.verifying import verify

_HOMES = {
    "config.azure": ("AzureConfig",),
    "config.gcs": ("GcsConfig",),
    "config.local": ("LocalConfig", "MemoryConfig"),
    "config.settings": ("CommonConfig",),
    "config.stores": (
        "BackblazeConfig",
        "R2Config",
        "S3CompatibleConfig",
        "S3Config",
        "S3FamilyConfig",
        "SpacesConfig",
        "WasabiConfig",
    ),
    "config.units": (
        "parse_duration",
        "parse_size",
    ),
    "container": ("Container",),
    "driver.values": ("Capabilities", "Collected"),
    "edge.server": ("serve_links",),
    "errors": (
        "ErrorCode",
        "RemainingVersion",
        "ReplicaOutcome",
        "StorageAccessDeniedError",
        "StorageAlreadyExistsError",
        "StorageAuthenticationError",
        "StorageBucketNotFoundError",
        "StorageCodecError",
        "StorageConfigurationError",
        "StorageConflictError",
        "StorageConnectionError",
        "StorageDecryptionError",
        "StorageError",
        "StorageIntegrityError",
        "StorageInvalidKeyError",
        "StorageInvalidRequestError",
        "StorageNotFoundError",
        "StorageObjectNotFoundError",
        "StoragePreconditionFailedError",
        "StorageQuorumError",
        "StorageQuotaExceededError",
        "StorageRateLimitedError",
        "StorageReadOnlyError",
        "StorageRetainedError",
        "StorageTimeoutError",
        "StorageUnavailableError",
        "StorageUnsupportedError",
        "StorageVersionsRemainError",
    ),
    "factory": ("StorageFactory", "connect"),
    "keyring.aws_kms": ("AwsKmsKey",),
    "keyring.local": ("LocalKey", "PassphraseKey"),
    "keyring.ring": ("KeyCache", "KeyRing"),
    "keyring.wrapping": ("CallableKey",),
    "links.akamai": ("AkamaiSigner",),
    "links.bunny": ("BunnySigner",),
    "links.cloudflare": ("CloudflareSigner",),
    "links.cloudfront": ("CloudFrontSigner",),
    "links.fastly": ("FastlySigner",),
    "links.google": (
        "CloudCdnSigner",
        "MediaCdnSigner",
        "MediaCdnTokenSigner",
    ),
    "links.keycdn": ("KeyCdnSigner",),
    "links.nginx": ("NginxSigner",),
    "links.signer": (
        "CallableSigner",
        "LinkSigner",
    ),
    "links.spaces": ("SpacesCdnSigner",),
    "encryption": ("ClientSide", "CustomerKey", "KmsKey", "Secret"),
    "metrics": ("ProviderMetrics", "VerbMetrics"),
    "model": (
        "BatchDeleteResult",
        "CommonPrefix",
        "Dictionary",
        "HealthCheckResult",
        "LinkGrant",
        "Listing",
        "LockOptions",
        "Retention",
        "RotationReport",
        "SignedUrl",
        "StorageItem",
        "StorageResult",
        "StorageStats",
        "StorageVersion",
        "StoredDictionary",
        "StoreOptions",
        "UploadForm",
        "VersionsDeletedResult",
    ),
    "observe": (
        "Event",
        "LoggingObserver",
        "Observer",
        "OpenTelemetryMetrics",
        "OpenTelemetryObserver",
        "StructlogObserver",
    ),
    "pipeline.training": ("train_dictionary",),
    "provider.links": ("LinkOptions",),
    "provider.presets": (
        "AzureStorageProvider",
        "BackblazeStorageProvider",
        "GoogleCloudStorageProvider",
        "LocalStorageProvider",
        "MemoryStorageProvider",
        "R2StorageProvider",
        "S3CompatibleStorageProvider",
        "S3PutOptions",
        "S3StorageProvider",
        "SpacesStorageProvider",
        "WasabiStorageProvider",
    ),
    "provider.session": ("ProviderOptions",),
    "provider.layering": ("cached", "collect"),
    "provider.upload_forms": ("UploadFormOptions",),
    "provider.provider": ("StorageProvider",),
    "driver.reader": ("ObjectReader",),
    "driver.capability_report": ("CapabilityReport",),
    "config.reports": ("load_report",),
    "verification.verifying": ("verify",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AkamaiSigner",
    "AwsKmsKey",
    "AzureConfig",
    "AzureStorageProvider",
    "BackblazeConfig",
    "BackblazeStorageProvider",
    "BatchDeleteResult",
    "BunnySigner",
    "CallableKey",
    "CallableSigner",
    "Capabilities",
    "CapabilityReport",
    "ClientSide",
    "CloudCdnSigner",
    "CloudFrontSigner",
    "CloudflareSigner",
    "Collected",
    "CommonConfig",
    "CommonPrefix",
    "Container",
    "CustomerKey",
    "Dictionary",
    "ErrorCode",
    "Event",
    "FastlySigner",
    "GcsConfig",
    "GoogleCloudStorageProvider",
    "HealthCheckResult",
    "KeyCache",
    "KeyCdnSigner",
    "KeyRing",
    "KmsKey",
    "LinkGrant",
    "LinkOptions",
    "LinkSigner",
    "Listing",
    "LocalConfig",
    "LocalKey",
    "LocalStorageProvider",
    "LockOptions",
    "LoggingObserver",
    "MediaCdnSigner",
    "MediaCdnTokenSigner",
    "MemoryConfig",
    "MemoryStorageProvider",
    "NginxSigner",
    "ObjectReader",
    "Observer",
    "OpenTelemetryMetrics",
    "OpenTelemetryObserver",
    "PassphraseKey",
    "ProviderMetrics",
    "ProviderOptions",
    "R2Config",
    "R2StorageProvider",
    "RemainingVersion",
    "ReplicaOutcome",
    "Retention",
    "RotationReport",
    "S3CompatibleConfig",
    "S3CompatibleStorageProvider",
    "S3Config",
    "S3FamilyConfig",
    "S3PutOptions",
    "S3StorageProvider",
    "Secret",
    "SignedUrl",
    "SpacesCdnSigner",
    "SpacesConfig",
    "SpacesStorageProvider",
    "StorageAccessDeniedError",
    "StorageAlreadyExistsError",
    "StorageAuthenticationError",
    "StorageBucketNotFoundError",
    "StorageCodecError",
    "StorageConfigurationError",
    "StorageConflictError",
    "StorageConnectionError",
    "StorageDecryptionError",
    "StorageError",
    "StorageFactory",
    "StorageIntegrityError",
    "StorageInvalidKeyError",
    "StorageInvalidRequestError",
    "StorageItem",
    "StorageNotFoundError",
    "StorageObjectNotFoundError",
    "StoragePreconditionFailedError",
    "StorageProvider",
    "StorageQuorumError",
    "StorageQuotaExceededError",
    "StorageRateLimitedError",
    "StorageReadOnlyError",
    "StorageResult",
    "StorageRetainedError",
    "StorageStats",
    "StorageTimeoutError",
    "StorageUnavailableError",
    "StorageUnsupportedError",
    "StorageVersion",
    "StorageVersionsRemainError",
    "StoreOptions",
    "StoredDictionary",
    "StructlogObserver",
    "UploadForm",
    "UploadFormOptions",
    "VerbMetrics",
    "VersionsDeletedResult",
    "WasabiConfig",
    "WasabiStorageProvider",
    "cached",
    "collect",
    "connect",
    "load_report",
    "parse_duration",
    "parse_size",
    "serve_links",
    "train_dictionary",
    "verify",
]


if not TYPE_CHECKING:  # a wrong name is an error for type checkers too

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from importlib import metadata

            return metadata.version("credstore")
        if name == "sync":
            return import_module("credstore.sync")
        home = _HOME_OF.get(name)
        if home is None:
            raise AttributeError(f"module 'credstore' has no attribute {name!r}")
        value: object = getattr(import_module(f"credstore.{home}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
