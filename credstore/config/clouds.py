"""One frozen dataclass per cloud: every setting with its unit, default and check.

Rules of this file: no environment, no clock, no I/O. A dataclass checks itself when it is made, so
a config that exists is usable; what is missing is found here, not at the first request. Secrets are
`Secret`, so a config can be logged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from credstore.model import Codec, CustomerKey, KmsKey, Secret

MIB = 1024 * 1024
GIB = 1024 * MIB
Addressing = Literal["virtual", "path"]


@dataclass(frozen=True, kw_only=True)
class CommonConfig:
    """Settings that every store has.

    Attributes:
        cdn_url: Base of public URLs, `https://cdn.example.com/path`; None for the provider's form.
        timeout: Seconds for one small operation, retries included. Bodies add their own time.
        max_retries: Further attempts after the first of each wire request.
        compress: Default of the `compress` option.
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
    encryption: bool | Literal["AES256"] | KmsKey | CustomerKey | None = None
    content_type: str = "application/json"
    cache_control: str = "public, max-age=31536000, immutable"
    max_retrieve_size: int = GIB


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
        ca_file: PEM file of further certificate authorities to trust.
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
    ca_file: str | None = None
    allow_http: bool = False

    endpoint_template: ClassVar[str] = ""
    default_region: ClassVar[str | None] = None
    default_addressing: ClassVar[Addressing] = "path"

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
        return self.addressing or ("path" if "." in self.bucket else self.default_addressing)


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
    profile: str | None = None


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

    @property
    def resolved_endpoint(self) -> str:
        """The account's endpoint, never AWS's."""
        inside = f"{self.jurisdiction}." if self.jurisdiction else ""
        return (self.endpoint or f"https://{self.account_id}.{inside}r2.cloudflarestorage.com").rstrip("/")


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
    download_url: str | None = None


@dataclass(frozen=True, kw_only=True)
class S3CompatibleConfig(S3FamilyConfig):
    """Any other server that speaks S3: MinIO, Ceph RGW, Garage, SeaweedFS.

    Attributes:
        flavor: Whose behaviour to expect; "generic" trusts it with the least.
    """

    provider: ClassVar[str] = "custom"
    default_region: ClassVar[str | None] = "us-east-1"
    flavor: Literal["minio", "ceph", "generic"] = "generic"


@dataclass(frozen=True, kw_only=True)
class LocalConfig(CommonConfig):
    """Files below one directory of this machine.

    Attributes:
        path: The root directory.
        create: Make the root if it is missing.
        link_url: Base of temporary links: where `credstore serve` answers for this root.
        fsync: Keep acknowledged objects through a power cut; False only for throw-away data.
    """

    provider: ClassVar[str] = "local"
    path: str = ""
    create: bool = True
    link_url: str = "http://127.0.0.1:8765"
    fsync: bool = True


@dataclass(frozen=True, kw_only=True)
class MemoryConfig(CommonConfig):
    """This process's memory: for tests, and the executable specification of a driver.

    Attributes:
        name: Two memory stores of one name in one factory share nothing; the name only labels.
    """

    provider: ClassVar[str] = "memory"
    name: str = "memory"
