"""A cloud is one row: everything that is known about it besides its config class and its driver.

Rules of this file: a row is data, and whoever needs a fact about a cloud reads it here. Classes are given as
"module:Class" and loaded when they are first used, so that a config can ask for its own row, and no setting
costs the import of a driver. No other module may know which clouds there are.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from credstore.errors import StorageConfigurationError
from credstore.model import NOTHING

Levels = tuple[tuple[str, ...], ...]
"""Environment variables of one field, strongest level first; see `variables.levels_of`."""

_CONFIGS = "credstore.config.stores"
_LOCAL = "credstore.config.local"
_PROVIDERS = "credstore.provider.presets"
_S3 = "credstore.drivers.s3.driver:S3Driver"
_KEYS = {"access_key_id": "example", "secret_access_key": "example"}
_BUCKET = {"bucket": "example", **_KEYS}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cloud:
    """One cloud, or a server with a name of its own.

    Attributes:
        name: The name users give it, and the scheme of its URLs.
        config: Its config class: "module:Class", or the class itself.
        driver: Its driver class, "module:Class", which takes only the config; empty for a plug-in, which has
            `build` instead.
        build: Makes the driver of a plug-in's config, instead of `driver`.
        provider: The provider class named after it, "module:Class"; empty where users get `StorageProvider`.
        label: The config class's `provider`; the name unless given.
        aliases: Other names.
        hosts: Domains of its endpoints, so that no other cloud's keys are sent there.
        url: How its store URLs look.
        needed: What a config needs, with values that pass its checks; keys too, where users usually have
            some.
        variables: Its own environment variables, by field: the levels below `CREDSTORE_<FIELD>`, the first
            one together with the original design's names.
        silencers: Variables that, set to "true", make others unread.
        below_profile: Variables that count for less than a profile of the cloud's own configuration.
        own_keys: Variables of keys that the cloud's own configuration has a say about: where they are used.
        beside_own_keys: Variables that this configuration reads then, besides those of a field.
        named_by: A field whose variable is enough to name this store.
        preset: Fields that the name itself sets; such a row refines the one named `label`.
        dialect: Row of `drivers/s3/dialect.py`, for stores that speak S3.
        synonyms: Words of its users for fields, besides their names.
        schemes: Schemes of URLs that its other tools use for a store.
        respell: Makes a store URL of such a URL, or None of another one: "module:function".
    """

    name: str
    config: str | type[Any]
    driver: str = ""
    build: Callable[[Any], Any] | None = None
    provider: str = ""
    label: str = ""
    aliases: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    url: str = ""
    needed: Mapping[str, object] = NOTHING
    variables: Mapping[str, Levels] = NOTHING
    silencers: Mapping[str, frozenset[str]] = NOTHING
    below_profile: frozenset[str] = frozenset()
    own_keys: frozenset[str] = frozenset()
    beside_own_keys: tuple[str, ...] = ()
    named_by: str | None = None
    preset: Mapping[str, object] = NOTHING
    dialect: str = ""
    synonyms: Mapping[str, str] = NOTHING
    schemes: frozenset[str] = frozenset()
    respell: str = ""

    def __post_init__(self) -> None:
        if not self.label:
            object.__setattr__(self, "label", self.name)

    @property
    def config_class(self) -> type[Any]:
        """Its config class."""
        return loaded(self.config) if isinstance(self.config, str) else self.config

    def refined(self, values: Mapping[str, object]) -> Cloud:
        """The row that these settings amount to: `flavor="minio"` of "custom" is "minio"."""
        told = {**self.preset, **values}
        for row in CLOUDS:
            agrees = all(told.get(field) == value for field, value in row.preset.items())
            if row.preset and agrees and row.label == self.label:
                return row
        return self

    def refining(self) -> frozenset[str]:
        """Fields that decide which row it is."""
        return frozenset(field for row in CLOUDS if row.label == self.label for field in row.preset)


CLOUDS: tuple[Cloud, ...] = (
    Cloud(
        name="local",
        aliases=("file",),
        config=f"{_LOCAL}:LocalConfig",
        driver="credstore.drivers.local.driver:LocalDriver",
        provider=f"{_PROVIDERS}:LocalStorageProvider",
        url="file:///path",
        needed={"path": "example"},
        named_by="path",
    ),
    Cloud(
        name="memory",
        config=f"{_LOCAL}:MemoryConfig",
        driver="credstore.drivers.memory:MemoryDriver",
        provider=f"{_PROVIDERS}:MemoryStorageProvider",
        url="memory://name[/prefix]",
    ),
    Cloud(
        name="s3",
        aliases=("aws",),
        config=f"{_CONFIGS}:S3Config",
        driver=_S3,
        provider=f"{_PROVIDERS}:S3StorageProvider",
        hosts=("amazonaws.com", "amazonaws.com.cn"),
        url="s3://bucket[/prefix]",
        needed=_BUCKET,
        dialect="s3",
        variables={
            "bucket": (("AWS_BUCKET_NAME",),),
            # AWS_REGION is set by Lambda and cannot be unset there, so it never contradicts STORAGE_REGION.
            "region": ((), ("AWS_REGION",), ("AWS_DEFAULT_REGION",)),
            "endpoint": ((), ("AWS_ENDPOINT_URL_S3",), ("AWS_ENDPOINT_URL",)),
            "access_key_id": (("AWS_ACCESS_KEY_ID",),),
            "secret_access_key": (("AWS_SECRET_ACCESS_KEY",),),
            "session_token": (("AWS_SESSION_TOKEN",),),
            "session_expires_at": (("AWS_CREDENTIAL_EXPIRATION",),),
            # In this order botocore reads them too.
            "profile": ((), ("AWS_DEFAULT_PROFILE",), ("AWS_PROFILE",)),
            "ca_file": ((), ("AWS_CA_BUNDLE",)),
        },
        below_profile=frozenset({"AWS_REGION"}),  # botocore does not read it.
        own_keys=frozenset({"AWS_ACCESS_KEY_ID"}),
        beside_own_keys=(
            "AWS_CONFIG_FILE",
            "AWS_SHARED_CREDENTIALS_FILE",
            "AWS_DEFAULT_PROFILE",
            "AWS_PROFILE",
            "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
            "AWS_USE_FIPS_ENDPOINT",
            "AWS_USE_DUALSTACK_ENDPOINT",
        ),
        silencers={
            "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": frozenset({"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"})
        },
    ),
    Cloud(
        name="r2",
        aliases=("cloudflare", "cloudflare_r2"),
        config=f"{_CONFIGS}:R2Config",
        driver=_S3,
        provider=f"{_PROVIDERS}:R2StorageProvider",
        hosts=("r2.cloudflarestorage.com",),
        url="r2://bucket[/prefix]",
        needed={"account_id": "0" * 32, **_BUCKET},
        dialect="r2",
        variables={
            "account_id": (("R2_ACCOUNT_ID",), ("CLOUDFLARE_ACCOUNT_ID",)),
            "access_key_id": (("R2_ACCESS_KEY_ID",),),
            "secret_access_key": (("R2_SECRET_ACCESS_KEY",),),
            "bucket": (("R2_BUCKET",),),
            "endpoint": (("R2_ENDPOINT", "R2_ENDPOINT_URL"),),
            "jurisdiction": (("R2_JURISDICTION",),),
            "cdn_url": (("R2_CDN_URL",),),
            "public_url": (("R2_PUBLIC_URL",),),
        },
    ),
    Cloud(
        name="spaces",
        aliases=("do", "digitalocean"),
        config=f"{_CONFIGS}:SpacesConfig",
        driver=_S3,
        provider=f"{_PROVIDERS}:SpacesStorageProvider",
        hosts=("digitaloceanspaces.com",),
        url="spaces://bucket[/prefix]",
        needed={"region": "ams3", **_BUCKET},
        dialect="spaces",
        variables={
            "bucket": (("DO_SPACES_NAME", "DO_SPACES_BUCKET"),),
            "access_key_id": (("DO_SPACES_KEY", "SPACES_KEY", "SPACES_ACCESS_KEY_ID"),),
            "secret_access_key": (("DO_SPACES_SECRET", "SPACES_SECRET", "SPACES_SECRET_ACCESS_KEY"),),
            "region": (("DO_SPACES_REGION",),),
            "endpoint": (("DO_SPACES_ENDPOINT",),),
            "cdn_url": (("DO_SPACES_CDN_URL",),),
        },
    ),
    Cloud(
        name="wasabi",
        config=f"{_CONFIGS}:WasabiConfig",
        driver=_S3,
        provider=f"{_PROVIDERS}:WasabiStorageProvider",
        hosts=("wasabisys.com",),
        url="wasabi://bucket[/prefix]",
        needed=_BUCKET,
        dialect="wasabi",
        variables={
            "bucket": (("WASABI_BUCKET",),),
            "access_key_id": (("WASABI_ACCESS_KEY_ID", "WASABI_ACCESS_KEY"),),
            "secret_access_key": (("WASABI_SECRET_ACCESS_KEY", "WASABI_SECRET_KEY"),),
            "region": (("WASABI_REGION",),),
            "endpoint": (("WASABI_ENDPOINT",),),
            "cdn_url": (("WASABI_CDN_URL",),),
        },
    ),
    Cloud(
        name="b2",
        aliases=("backblaze",),
        config=f"{_CONFIGS}:BackblazeConfig",
        driver=_S3,
        provider=f"{_PROVIDERS}:BackblazeStorageProvider",
        hosts=("backblazeb2.com",),
        url="b2://bucket[/prefix]",
        needed={"region": "eu-central-003", **_BUCKET},
        dialect="b2",
        variables={
            "bucket": (("B2_BUCKET",),),
            "access_key_id": (("B2_APPLICATION_KEY_ID", "B2_ACCOUNT_ID"),),
            "secret_access_key": (("B2_APPLICATION_KEY", "B2_ACCOUNT_KEY"),),
            "region": (("B2_REGION",),),
            "endpoint": (("B2_ENDPOINT",),),
            "cdn_url": (("B2_CDN_URL",),),
            "download_url": (("B2_DOWNLOAD_URL",),),
        },
    ),
    Cloud(
        name="custom",
        config=f"{_CONFIGS}:S3CompatibleConfig",
        driver=_S3,
        provider=f"{_PROVIDERS}:S3CompatibleStorageProvider",
        url="custom://host/bucket[/prefix]",
        needed={"endpoint": "https://s3.example.com", **_BUCKET},
        dialect="generic",
    ),
    Cloud(
        name="minio",
        label="custom",
        preset={"flavor": "minio"},
        config=f"{_CONFIGS}:S3CompatibleConfig",
        driver=_S3,
        provider=f"{_PROVIDERS}:S3CompatibleStorageProvider",
        url="minio://host/bucket[/prefix]",
        needed={"endpoint": "https://s3.example.com", **_BUCKET},
        dialect="minio",
        variables={
            "bucket": (("MINIO_BUCKET",),),
            "endpoint": (("MINIO_ENDPOINT",),),
            "region": (("MINIO_REGION",),),
            "access_key_id": (("MINIO_ACCESS_KEY",), ("MINIO_ROOT_USER",)),
            "secret_access_key": (("MINIO_SECRET_KEY",), ("MINIO_ROOT_PASSWORD",)),
        },
    ),
    Cloud(
        name="ceph",
        label="custom",
        preset={"flavor": "ceph"},
        config=f"{_CONFIGS}:S3CompatibleConfig",
        driver=_S3,
        provider=f"{_PROVIDERS}:S3CompatibleStorageProvider",
        url="ceph://host/bucket[/prefix]",
        needed={"endpoint": "https://s3.example.com", **_BUCKET},
        dialect="ceph",
    ),
    Cloud(
        name="azure",
        aliases=("azure_blob", "az"),
        config="credstore.config.azure:AzureConfig",
        driver="credstore.drivers.azure.driver:AzureDriver",
        provider=f"{_PROVIDERS}:AzureStorageProvider",
        hosts=(
            "blob.core.windows.net",
            "blob.core.chinacloudapi.cn",
            "blob.core.usgovcloudapi.net",
            "blob.storage.azure.net",
        ),
        url="az://account/container[/prefix]",
        needed={"account": "example", "bucket": "example", "account_key": "ZXhhbXBsZQ=="},
        synonyms={"container": "bucket", "container_name": "bucket", "account_name": "account"},
        schemes=frozenset({"abfs", "abfss", "wasb", "wasbs", "https"}),
        respell="credstore.config.azure:respelled",
        variables={
            "account": (("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"),),
            "bucket": (("AZURE_STORAGE_CONTAINER", "AZURE_STORAGE_CONTAINER_NAME"),),
            "endpoint": (("AZURE_STORAGE_SERVICE_ENDPOINT", "AZURE_STORAGE_BLOB_ENDPOINT"),),
            # All on one level, as they are together what Azure's own tools sign in with.
            "account_key": (("AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY"),),
            "sas_token": (("AZURE_STORAGE_SAS_TOKEN",),),
            "connection_string": (("AZURE_STORAGE_CONNECTION_STRING",),),
            "auth_mode": (("AZURE_STORAGE_AUTH_MODE",),),
        },
    ),
    Cloud(
        name="gcs",
        aliases=("gs", "google", "google_cloud"),
        config="credstore.config.gcs:GcsConfig",
        driver="credstore.drivers.gcs.driver:GcsDriver",
        provider=f"{_PROVIDERS}:GoogleCloudStorageProvider",
        url="gs://bucket[/prefix]",
        needed={"bucket": "example"},
        synonyms={"credentials": "credentials_file", "key_file": "credentials_file"},
        variables={
            "bucket": (("GCS_BUCKET", "GOOGLE_BUCKET"),),
            "emulator_host": (("STORAGE_EMULATOR_HOST",),),
            # All on one level, as they are together what Google's own tools sign in with.
            "credentials_file": (("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT"),),
            "credentials_json": (("GOOGLE_SERVICE_ACCOUNT_KEY",),),
            "impersonate": (("CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT",),),
        },
    ),
)
"""Every cloud that is built in. Hosts: providers.md §1.1."""


def option_names(drivers: Iterable[str]) -> frozenset[str]:
    """Names that options may stand under in `driver_options` of a store.

    Args:
        drivers: Labels of the store's driver, or of the members of a composite one: the driver's name, and
            which member it is after it where two have the same.

    Returns:
        Those of the built-in drivers, whichever of them the store has, since one call may serve several
        stores; and those of plug-ins that the store does have.
    """
    built_in = {row.label for row in CLOUDS}
    named = {label.partition(" ")[0] for label in drivers}
    return frozenset({"s3" if row.dialect else row.label for row in CLOUDS} | (named - built_in))


def cloud_named(name: str) -> Cloud | None:
    """The built-in row of a name; None for a plug-in's."""
    return next((row for row in CLOUDS if row.name == name), None)


def loaded(reference: str) -> Any:
    """The class that "module:Class" names."""
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)


class Registry:
    """Maps names to rows: the built-in ones, and what is registered."""

    def __init__(self, load: Callable[[str], None] | None = None) -> None:
        """Start with the built-in rows.

        Args:
            load: Called with an unknown name, which it may register.
        """
        self._load = load
        self._rows = {word: row for row in CLOUDS for word in (row.name, *row.aliases)}

    def register(self, row: Cloud) -> None:
        """Add a row.

        Raises:
            StorageConfigurationError: A name is taken, or is not a plain lower-case word.
        """
        words = (row.name, *row.aliases)
        for word in words:
            if not word.isidentifier() or word != word.lower():
                raise StorageConfigurationError(
                    f"{word!r} is not a lower-case word, so it cannot name a provider"
                )
            if word in self._rows:
                raise StorageConfigurationError(f"the provider name {word!r} is taken; choose another")
        self._rows |= dict.fromkeys(words, row)

    def find(self, word: str, *, where: str) -> Cloud:
        """The row a name stands for, in either case; `-` counts as `_`.

        Args:
            word: A name or alias.
            where: What the word was read from; the message starts with it and never contains the name.

        Raises:
            StorageConfigurationError: It is unknown; the message lists the choices.
        """
        word = word.strip().lower().replace("-", "_")
        if word not in self._rows and self._load is not None:
            self._load(word)
        row = self._rows.get(word)
        if row is None:
            choices = f"choose one of {', '.join(sorted(self._rows))}"
            # Of two letters, one that is right is half of them.
            cutoff = 0.5 if len(word) <= len("gcs") else 0.6
            near = difflib.get_close_matches(word, self._rows, n=1, cutoff=cutoff)
            hint = f"did you mean {near[0]!r}?" if near else choices
            raise StorageConfigurationError(f"{where} does not name a known provider; {hint}")
        return row

    def respelled(self, url: str) -> str:
        """The same store as a store URL, where a cloud's other tools name it in another way."""
        scheme = url.partition(":")[0].lower()
        for row in self.rows():
            if scheme in row.schemes:
                found: str | None = loaded(row.respell)(url)
                if found is not None:
                    return found
        return url

    def row_of(self, config: type[Any], cloud: str) -> Cloud | None:
        """The row of a config with this class and this label; None if there is none."""
        own = (row for row in self._rows.values() if row.build is not None and row.config is config)
        row = next(own, None) or cloud_named(cloud)
        return row if row is not None and issubclass(config, row.config_class) else None

    def rows(self) -> list[Cloud]:
        """All rows, each once, by name."""
        return [row for word, row in sorted(self._rows.items()) if word == row.name]

    def words(self) -> list[str]:
        """All names and aliases, sorted."""
        return sorted(self._rows)
