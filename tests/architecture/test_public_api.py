"""The public names: these and no others, each with a docstring, its errors all real."""

import inspect
import re

import pytest

import credstore
from credstore import errors
from credstore.driver import Driver
from credstore.drivers.local.driver import LocalDriver
from credstore.drivers.memory import MemoryDriver
from credstore.drivers.s3.driver import S3Driver
from credstore.provider import presets
from credstore.provider.provider import StorageProvider
from credstore.strategies.fallback.driver import FallbackDriver

NAMES = [
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
VERBS = [
    "store",
    "retrieve",
    "open",
    "delete",
    "exists",
    "get_metadata",
    "list",
    "scan",
    "get_signed_url",
    "get_url",
    "get_stats",
    "health_check",
    "copy",
    "move",
    "batch_delete",
    "get_provider_name",
    "aclose",
    "verify_link",
    "rotate_keys",
    "list_versions",
    "delete_versions",
]


def test_the_names_are_these():
    assert sorted(credstore.__all__) == NAMES
    assert set(NAMES) <= set(dir(credstore))
    with pytest.raises(AttributeError, match="no_such_name"):
        credstore.no_such_name  # noqa: B018
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", credstore.__version__)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there_and_documented(name):
    value = getattr(credstore, name)
    if inspect.isclass(value):
        assert value.__doc__
        assert value.__module__.startswith("credstore.")


def test_every_error_is_public():
    declared = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.StorageError)
    }
    assert declared <= set(NAMES)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verbs_docstring_names_real_errors(verb):
    text = inspect.getdoc(getattr(StorageProvider, verb)) or ""
    assert text
    for name in re.findall(r"\b(Storage\w*Error)\b", text):
        assert hasattr(errors, name), name
    if verb not in {"get_provider_name", "aclose", "health_check"}:
        assert "Raises:" in text


def test_named_providers_are_a_config_and_a_driver():
    kinds = [
        kind
        for kind in vars(presets).values()
        if inspect.isclass(kind)
        and issubclass(kind, presets.NamedProvider)
        and kind is not presets.NamedProvider
    ]
    assert len(kinds) == 10
    for kind in kinds:
        own = {name for name in vars(kind) if not name.startswith("__") or name == "__init__"}
        assert own <= {"__init__"}, kind


@pytest.mark.parametrize("kind", [MemoryDriver, LocalDriver, S3Driver, FallbackDriver])
def test_a_driver_defines_every_member_itself(kind):
    members = {name for name in vars(Driver) if not name.startswith("_")}
    assert members <= set(vars(kind))
