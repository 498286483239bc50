"""One frozen dataclass per cloud: every setting with its unit, default and check.

Rules of this file: no environment, no clock, no I/O. A dataclass checks itself when it is made, so
a config that exists is usable; what is missing is found here, not at the first request. Secrets are
`Secret`, so a config can be logged.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from credstore.config import checks
from credstore.config.holds import describe, fits, held_by
from credstore.config.names import spoken, variables_of
from credstore.model import Codec, CustomerKey, KmsKey, Secret
from credstore.wire.proxy import FROM_ENVIRONMENT, has_password, is_word, parse_proxy

MIB = 1024 * 1024
GIB = 1024 * MIB
# S3 API, "Multipart upload limits"; kept by every cloud of the family.
_LEAST_PART = 5 * MIB
_MOST_PART = 5 * GIB
_R2_HOST = ".r2.cloudflarestorage.com"
_ACCOUNT_ID = re.compile(r"[0-9a-f]{32}")
_DICTIONARY = re.compile("[0-9a-f]{64}")
Addressing = Literal["virtual", "path"]


@dataclass(frozen=True, kw_only=True)
class CommonConfig:
    """Settings that every store has.

    Attributes:
        cdn_url: Base of public URLs, `https://cdn.example.com/path`; None for the provider's form.
        timeout: Seconds for one small operation, retries included. Bodies add their own time.
        max_retries: Further attempts after the first of each wire request.
        compress: Default of the `compress` option.
        dictionary: Name of the `Dictionary` in the store that zstd is used with unless a call says
            otherwise; it does nothing where another codec or none is used.
        encryption: Default of the `encryption` option; None means AES256 where the provider has
            the header, and nothing elsewhere.
        content_type: Default of the option.
        cache_control: Default of the option.
        max_retrieve_size: Most plain bytes `retrieve` returns at once; larger objects are streamed.
    """

    provider: ClassVar[str] = ""
    cdn_url: str | None = None
    timeout: float = 30.0
    max_retries: int = 3
    compress: bool | Codec = False
    dictionary: str | None = None
    encryption: bool | Literal["AES256"] | KmsKey | CustomerKey | None = None
    content_type: str = "application/json"
    cache_control: str = "public, max-age=31536000, immutable"
    max_retrieve_size: int = GIB

    def __post_init__(self) -> None:
        held = held_by(type(self))
        for name, alternatives in held.items():
            if not fits(alternatives, getattr(self, name)):
                raise checks.wrong(self._owner, name, f"must be {describe(name, alternatives)}")
        checks.check_range(self._owner, "timeout", self.timeout, 0.001)
        checks.check_range(self._owner, "max_retries", self.max_retries, 0)
        checks.check_range(self._owner, "max_retrieve_size", self.max_retrieve_size, 1)
        if self.dictionary is not None and not _DICTIONARY.fullmatch(self.dictionary):
            raise checks.wrong(self._owner, "dictionary", "must be 64 lower-case hex digits")
        checks.check_header(self._owner, "content_type", self.content_type)
        checks.check_header(self._owner, "cache_control", self.cache_control)
        for name in ("cdn_url", "public_url", "download_url", "link_url"):
            if name in held:
                self._check_base(name, getattr(self, name))

    def _check_base(self, name: str, url: str | None) -> None:
        if url is not None:
            allow_http: bool | None = getattr(self, "allow_http", None)
            checks.check_url(self._owner, name, url, allow_http=allow_http, path=True)

    @property
    def _owner(self) -> str:
        """Whose environment variables set these fields."""
        return self.provider


@dataclass(frozen=True, kw_only=True)
class S3FamilyConfig(CommonConfig):
    """Settings of every store that speaks S3.

    Attributes:
        bucket: Name of the bucket.
        region: Region to sign for; None for the cloud's own rule.
        endpoint: `https://host[:port]`; None for the cloud's own.
        access_key_id: With `secret_access_key`; both or neither.
        secret_access_key: The secret half.
        session_token: Of temporary credentials.
        addressing: "virtual" (bucket in the host) or "path"; None for the cloud's preference.
        multipart_threshold: Bytes from which a body is sent in parts.
        part_size: Bytes of one part; grows by itself so that 10,000 parts suffice.
        max_concurrency: Parts in flight for one body.
        single_copy_limit: Bytes up to which a copy is one request.
        copy_part_size: Bytes of one part of a larger copy.
        max_connections: Open connections to the endpoint.
        hedge_reads: Ask a second time for reads that take longer than 95 of 100 do, for at most one
            read in twenty; the first good answer counts.
        bandwidth_limit: Bytes of bodies per second in each direction, for all transfers together.
        ca_file: PEM file of further certificate authorities to trust.
        proxy: "env" for what HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY of this process say when the
            store is made; "off" or None for none; or the URL of the proxy for all requests,
            `http://[user:password@]host:port`. One with a password is kept as a `Secret`; given as one
            it is in no traceback either.
        allow_http: Permit `http://` to a host that is not loopback.
    """

    bucket: str = ""
    region: str | None = None
    endpoint: str | None = None
    access_key_id: str | None = None
    secret_access_key: Secret | None = None
    session_token: Secret | None = None
    addressing: Addressing | None = None
    multipart_threshold: int = 8 * MIB
    part_size: int = 8 * MIB
    max_concurrency: int = 4
    single_copy_limit: int = 5 * GIB
    copy_part_size: int = 512 * MIB
    max_connections: int = 64
    hedge_reads: bool = False
    bandwidth_limit: int | None = None
    ca_file: str | None = None
    proxy: str | Secret | None = FROM_ENVIRONMENT
    allow_http: bool = False

    endpoint_template: ClassVar[str] = ""
    default_region: ClassVar[str | None] = None
    default_addressing: ClassVar[Addressing] = "path"
    dns_buckets: ClassVar[bool] = True
    """Whether every bucket's name can stand in a host; if not, only those that do are checked so."""
    own_chain: ClassVar[bool] = False
    """Whether there is somewhere else to find keys."""

    def __post_init__(self) -> None:
        super().__post_init__()
        dns = self.dns_buckets or self.resolved_addressing == "virtual"
        checks.check_bucket(self._owner, self.bucket, dns=dns)
        checks.check_region(self._owner, self.resolved_region, required=True)
        self._check_endpoint()
        self._check_keys()
        self._check_sizes()
        checks.check_word(self._owner, "ca_file", self.ca_file)
        if self.proxy is not None:
            self._check_proxy(self.proxy if isinstance(self.proxy, Secret) else Secret(self.proxy))

    def _check_endpoint(self) -> None:
        if self.endpoint is None:
            if not self.endpoint_template:
                raise checks.wrong(self._owner, "endpoint", "is missing")
            return
        parts = checks.check_url(
            self._owner, "endpoint", self.endpoint, allow_http=self.allow_http, path=False
        )
        checks.check_own_cloud(self._owner, self.provider, "endpoint", (parts.hostname or "").rstrip("."))

    def _check_proxy(self, proxy: Secret) -> None:
        """Keep a word or URL as text, so that equal proxies are equal configs; one with a password hidden."""
        word = is_word(proxy)
        if not word:
            parse_proxy(proxy, f"`proxy` of {self._owner} ({spoken(variables_of(self._owner, 'proxy'))})")
        object.__setattr__(self, "proxy", word or (proxy if has_password(proxy) else proxy.reveal()))

    def _check_keys(self) -> None:
        for name in ("access_key_id", "secret_access_key", "session_token"):
            value: str | Secret | None = getattr(self, name)
            checks.check_word(self._owner, name, value.reveal() if isinstance(value, Secret) else value)
        if (self.access_key_id is None) != (self.secret_access_key is None):
            missing = "access_key_id" if self.access_key_id is None else "secret_access_key"
            raise checks.wrong(self._owner, missing, "is missing; a key and its secret go together")
        if self.session_token is not None and self.access_key_id is None:
            raise checks.wrong(self._owner, "access_key_id", "is missing beside `session_token`")
        if self.access_key_id is None and not self.own_chain:
            secrets = spoken(variables_of(self._owner, "secret_access_key"))
            raise checks.wrong(
                self._owner, "access_key_id", f"is missing, and so is `secret_access_key` ({secrets})"
            )

    def _check_sizes(self) -> None:
        # A server on this machine is a test's; it takes what it takes.
        least = 1 if checks.is_loopback(self.endpoint) else _LEAST_PART
        checks.check_range(self._owner, "part_size", self.part_size, least, _MOST_PART)
        checks.check_range(self._owner, "copy_part_size", self.copy_part_size, least, _MOST_PART)
        checks.check_range(self._owner, "multipart_threshold", self.multipart_threshold, 1, _MOST_PART)
        checks.check_range(self._owner, "single_copy_limit", self.single_copy_limit, 1, _MOST_PART)
        checks.check_range(self._owner, "max_concurrency", self.max_concurrency, 1)
        checks.check_range(self._owner, "max_connections", self.max_connections, 1)
        if self.bandwidth_limit is not None:
            checks.check_range(self._owner, "bandwidth_limit", self.bandwidth_limit, 1024)

    @property
    def resolved_region(self) -> str:
        """Region to sign for."""
        return self.region or self.default_region or ""

    @property
    def resolved_endpoint(self) -> str:
        """Scheme and host, without bucket, path or trailing slash."""
        return (self.endpoint or self.endpoint_template.format(region=self.resolved_region)).rstrip("/")

    @property
    def resolved_addressing(self) -> Addressing:
        """Where the bucket's name goes: into the host or into the path."""
        if self.addressing is not None:
            return self.addressing
        # A wildcard certificate covers one label, and an IP address has no hosts below it.
        in_path = "." in self.bucket or checks.is_bare(self.endpoint)
        return "path" if in_path else self.default_addressing


@dataclass(frozen=True, kw_only=True)
class S3Config(S3FamilyConfig):
    """AWS S3, or a server that behaves exactly like it (moto, LocalStack) at `endpoint`.

    Attributes:
        profile: Named profile of the AWS configuration files. Without keys and profile, AWS's own
            chain decides: environment, web identity, SSO, shared files, container, instance.
    """

    provider: ClassVar[str] = "s3"
    endpoint_template: ClassVar[str] = "https://s3.{region}.amazonaws.com"
    default_region: ClassVar[str | None] = "us-east-1"
    default_addressing: ClassVar[Addressing] = "virtual"
    dns_buckets: ClassVar[bool] = False
    own_chain: ClassVar[bool] = True
    profile: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.check_word(self._owner, "profile", self.profile)
        if self.profile is not None and self.access_key_id is not None:
            raise checks.wrong(self._owner, "profile", "is set beside `access_key_id`; keep one of them")

    @property
    def resolved_endpoint(self) -> str:
        """AWS's own host of the region, in China's partition for a region there."""
        own = super().resolved_endpoint
        return f"{own}.cn" if self.endpoint is None and self.resolved_region.startswith("cn-") else own


@dataclass(frozen=True, kw_only=True)
class R2Config(S3FamilyConfig):
    """Cloudflare R2.

    Attributes:
        account_id: 32 hex digits; the endpoint is made of it.
        jurisdiction: "eu" or "fedramp" for buckets that live in one.
        public_url: Base of public links where no `cdn_url` is set: `https://pub-<hash>.r2.dev`.
    """

    provider: ClassVar[str] = "r2"
    default_region: ClassVar[str | None] = "auto"
    account_id: str | None = None
    jurisdiction: Literal["eu", "fedramp"] | None = None
    public_url: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.account_id is not None and not _ACCOUNT_ID.fullmatch(self.account_id):
            raise checks.wrong(self._owner, "account_id", "must be 32 lower-case hex digits")

    def _check_endpoint(self) -> None:
        if self.endpoint is None:
            if not self.account_id:
                raise checks.wrong(self._owner, "account_id", "is missing, and so is `endpoint`")
            return
        super()._check_endpoint()
        host = urlsplit(self.endpoint).hostname or ""
        if not host.endswith(_R2_HOST):
            return
        account, _, inside = host.removesuffix(_R2_HOST).partition(".")
        if self.account_id is not None and self.account_id != account:
            raise checks.wrong(self._owner, "endpoint", "is not that of `account_id`; keep one of them")
        if self.jurisdiction is not None and self.jurisdiction != inside:
            raise checks.wrong(self._owner, "endpoint", "is not that of `jurisdiction`; keep one of them")

    @property
    def resolved_endpoint(self) -> str:
        """The account's endpoint, never AWS's."""
        inside = f".{self.jurisdiction}" if self.jurisdiction else ""
        return (self.endpoint or f"https://{self.account_id}{inside}{_R2_HOST}").rstrip("/")


@dataclass(frozen=True, kw_only=True)
class SpacesConfig(S3FamilyConfig):
    """DigitalOcean Spaces.

    Attributes:
        cdn: Public URLs go to the Space's own CDN host.
    """

    provider: ClassVar[str] = "spaces"
    endpoint_template: ClassVar[str] = "https://{region}.digitaloceanspaces.com"
    default_addressing: ClassVar[Addressing] = "virtual"
    cdn: bool = False


@dataclass(frozen=True, kw_only=True)
class WasabiConfig(S3FamilyConfig):
    """Wasabi."""

    provider: ClassVar[str] = "wasabi"
    endpoint_template: ClassVar[str] = "https://s3.{region}.wasabisys.com"
    default_region: ClassVar[str | None] = "us-east-1"


@dataclass(frozen=True, kw_only=True)
class BackblazeConfig(S3FamilyConfig):
    """Backblaze B2 through its S3 API.

    Attributes:
        download_url: The account's download host, `https://f004.backblazeb2.com`; with it public
            URLs have the friendly form `/file/<bucket>/<key>`.
    """

    provider: ClassVar[str] = "b2"
    endpoint_template: ClassVar[str] = "https://s3.{region}.backblazeb2.com"
    dns_buckets: ClassVar[bool] = False
    download_url: str | None = None


@dataclass(frozen=True, kw_only=True)
class S3CompatibleConfig(S3FamilyConfig):
    """Any other server that speaks S3: MinIO, Ceph RGW, Garage, SeaweedFS.

    Attributes:
        flavor: Whose behaviour to expect; "generic" trusts it with the least.
    """

    provider: ClassVar[str] = "custom"
    default_region: ClassVar[str | None] = "us-east-1"
    dns_buckets: ClassVar[bool] = False
    flavor: Literal["minio", "ceph", "generic"] = "generic"

    @property
    def _owner(self) -> str:
        """Whose environment variables set these fields: MinIO has names of its own."""
        return "minio" if self.flavor == "minio" else self.provider


@dataclass(frozen=True, kw_only=True)
class LocalConfig(CommonConfig):
    """Files below one directory of this machine.

    Attributes:
        path: The root directory, as text or a path object; kept as text.
        create: Make the root if it is missing.
        link_url: Base of temporary links: where `credstore serve` or `serve_links` answers for this root.
        fsync: Keep acknowledged objects through a power cut; False only for throw-away data.
    """

    provider: ClassVar[str] = "local"
    path: str | os.PathLike[str] = ""
    create: bool = True
    link_url: str = "http://127.0.0.1:8765"
    fsync: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "path", self.root)  # So that equal roots are equal configs.
        if not self.root:
            raise checks.wrong(self._owner, "path", "is missing")
        if "\0" in self.root:
            raise checks.wrong(self._owner, "path", "has a NUL in it")

    @property
    def root(self) -> str:
        """The root directory as text."""
        return os.fspath(self.path)


@dataclass(frozen=True, kw_only=True)
class MemoryConfig(CommonConfig):
    """This process's memory: for tests, and the executable specification of a driver.

    Attributes:
        name: A label; two stores of one name share nothing, but a factory gives the same one again.
        link_url: Base of temporary links: where `serve_links` answers for this store.
    """

    provider: ClassVar[str] = "memory"
    name: str = "memory"
    link_url: str = "http://127.0.0.1:8765"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.check_word(self._owner, "name", self.name)
