"""One frozen dataclass per cloud: every setting with its unit, default and check.

Rules of this file: no environment, no clock, no I/O. A dataclass checks itself when it is made, so a config
that exists is usable; what is missing is found here, not at the first request. What differs between clouds is
a property here or a fact in the cloud's row (`registry.py`), so that no code asks which class a config is.
Secrets are `Secret`, so a config can be logged.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import ClassVar, Literal
from urllib.parse import quote, urlsplit

from credstore.config import validation as checks
from credstore.config.field_types import TOLD, Role
from credstore.config.keys import check_keys
from credstore.config.local import LocalConfig as LocalConfig  # noqa: PLC0414 - every config is here
from credstore.config.local import MemoryConfig as MemoryConfig  # noqa: PLC0414 - every config is here
from credstore.config.settings import GIB, MIB, CommonConfig, StatedConfig, with_prefix
from credstore.encryption import Secret
from credstore.model import NOTHING
from credstore.wire.proxy import FROM_ENVIRONMENT

# S3 API, "Multipart upload limits"; the same on every cloud of the family.
_LEAST_PART = 5 * MIB
_MOST_PART = 5 * GIB
_R2_HOST = ".r2.cloudflarestorage.com"
_CHINA = "cn-"
_GOV = "us-gov-"
_REQUESTER_PAYS = MappingProxyType({"x-amz-request-payer": "requester"})
_AWS_REGION = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-[0-9]{1,2}")
_ACCOUNT_ID = re.compile(r"[0-9a-f]{32}")
Addressing = Literal["virtual", "path"]


@dataclass(frozen=True, kw_only=True)
class S3FamilyConfig(StatedConfig):
    """Settings of every store that speaks S3.

    Attributes:
        bucket: Name of the bucket.
        region: Region to sign for; None for the cloud's own rule.
        endpoint: `https://host[:port]`; None for the cloud's own.
        access_key_id: With `secret_access_key`; both or neither.
        secret_access_key: The secret half.
        session_token: Session token of temporary credentials.
        session_expires_at: When the session token ends, with its time zone. None counts as 36 hours after
            the store was made, the longest that AWS gives one for. After it nothing is sent, and no link
            claims to work longer.
        addressing: "virtual" (bucket in the host) or "path"; None for the cloud's preference.
        multipart_threshold: Number of bytes from which a body is sent in parts.
        part_size: Bytes of one part; grows automatically so that 10,000 parts suffice.
        max_concurrency: Parts in flight for one body.
        single_copy_limit: Bytes up to which a copy is one request.
        copy_part_size: Bytes of one part of a larger copy.
        max_connections: Open connections to the endpoint.
        idle_timeout: Seconds that a request, or the body of a response, may stand still, in either direction,
            before its connection is given up; what was read so far is kept, and the rest requested again.
        hedge_reads: Request reads that take longer than 95 of 100 a second time, for at most one read in
            twenty; the first good response counts.
        bandwidth_limit: Bytes of bodies per second in each direction, for all transfers together.
        ca_file: PEM file of additional certificate authorities to trust. For AWS S3 with keys of AWS's chain
            or variables, None means what AWS_CA_BUNDLE or the profile's `ca_bundle` names.
        proxy: "env" for what HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY of this process say when the
            store is made; "off" or None for none; or the URL of the proxy for all requests,
            `http://[user:password@]host:port`. One with a password is kept as a `Secret`; if it is given as
            one, it does not appear in tracebacks either.
        allow_http: Permit `http://` to a host that is not loopback.
    """

    bucket: str = field(default="", kw_only=False)
    region: str | None = None
    endpoint: str | None = None
    access_key_id: str | None = None
    secret_access_key: Secret | None = None
    session_token: Secret | None = None
    session_expires_at: datetime | None = None
    addressing: Addressing | None = None
    multipart_threshold: int = 8 * MIB
    part_size: int = 8 * MIB
    max_concurrency: int = 4
    single_copy_limit: int = 5 * GIB
    copy_part_size: int = 512 * MIB
    max_connections: int = 64
    idle_timeout: float = 30.0
    hedge_reads: bool = False
    bandwidth_limit: int | None = None
    ca_file: str | None = None
    proxy: str | Secret | None = FROM_ENVIRONMENT
    allow_http: bool = False

    roles: ClassVar[Mapping[str, Role]] = {
        **CommonConfig.roles,
        "proxy": "tuning",
        "access_key_id": "key",
        "secret_access_key": "key",
        "session_token": "key",
        "session_expires_at": "key",
        "multipart_threshold": "tuning",
        "part_size": "tuning",
        "max_concurrency": "tuning",
        "single_copy_limit": "tuning",
        "copy_part_size": "tuning",
        "max_connections": "tuning",
        "idle_timeout": "tuning",
        "hedge_reads": "tuning",
        "bandwidth_limit": "tuning",
    }
    needed_beside: ClassVar[Mapping[str, str]] = {
        "access_key_id": "secret_access_key",
        "secret_access_key": "access_key_id",
        "session_token": "access_key_id",
        "session_expires_at": "session_token",
    }
    endpoint_template: ClassVar[str] = ""
    default_region: ClassVar[str | None] = None
    default_addressing: ClassVar[Addressing] = "path"
    dns_buckets: ClassVar[bool] = True
    """Whether every bucket's name must be usable in a host name; if not, only those used that way are
    checked."""
    own_chain: ClassVar[bool] = False
    """Whether there is another place to find keys."""

    def __post_init__(self) -> None:
        super().__post_init__()
        # Where a profile says how to address a bucket, that is only known at the first use.
        addressing = self.addressing if self.place_is_open else self.resolved_addressing
        dns = self.dns_buckets or addressing == "virtual"
        checks.check_bucket(self.cloud, self.bucket, dns=dns)
        checks.check_region(self.cloud, self.resolved_region)
        self._check_endpoint()
        check_keys(self)
        self._check_sizes()
        checks.check_word(self.cloud, "ca_file", self.ca_file)
        object.__setattr__(self, "proxy", checks.checked_proxy(self.cloud, self.proxy))

    def _check_endpoint(self) -> None:
        if self.endpoint is None:
            if not self.endpoint_template:
                raise checks.wrong(self.cloud, "endpoint", "is missing")
            return
        endpoint = checks.checked_url(
            self.cloud, "endpoint", self.endpoint, allow_http=self.allow_http, path=False
        )
        object.__setattr__(self, "endpoint", endpoint)
        checks.check_own_cloud(self.cloud, self.provider, "endpoint", urlsplit(endpoint).hostname or "")

    def _check_sizes(self) -> None:
        # A server on this machine is for tests; it decides what it accepts.
        least = 1 if checks.is_loopback(self.endpoint) else _LEAST_PART
        checks.check_range(self.cloud, "part_size", self.part_size, least, _MOST_PART)
        checks.check_range(self.cloud, "copy_part_size", self.copy_part_size, least, _MOST_PART)
        checks.check_range(self.cloud, "multipart_threshold", self.multipart_threshold, 1, _MOST_PART)
        checks.check_range(self.cloud, "single_copy_limit", self.single_copy_limit, 1, _MOST_PART)
        checks.check_range(self.cloud, "max_concurrency", self.max_concurrency, 1)
        checks.check_range(self.cloud, "max_connections", self.max_connections, 1)
        checks.check_range(self.cloud, "idle_timeout", self.idle_timeout, 0.001)
        if self.bandwidth_limit is not None:
            checks.check_range(self.cloud, "bandwidth_limit", self.bandwidth_limit, 1024)

    @property
    def resolved_region(self) -> str:
        """Region to sign for."""
        return self.region or self.default_region or ""

    @property
    def resolved_endpoint(self) -> str:
        """Scheme and host as clients write them, without bucket, path or trailing slash."""
        return self.endpoint or self.endpoint_template.format(region=self.resolved_region.lower())

    @property
    def resolved_addressing(self) -> Addressing:
        """Where the bucket's name goes: into the host or the path."""
        # A wildcard certificate covers only one label, and an IP address has no hosts below it.
        in_path = "." in self.bucket or checks.is_bare(self.endpoint)
        return self.addressing or ("path" if in_path else self.default_addressing)

    @property
    def trust_is_open(self) -> bool:
        """Whether a profile of the AWS configuration has a say in the authorities to trust."""
        return False

    @property
    def place(self) -> object:
        """Endpoint and bucket."""
        return self.resolved_endpoint, self.bucket

    @property
    def public_base(self) -> str:
        """The bucket at the S3 endpoint, in the host or in the path."""
        endpoint = self.resolved_endpoint
        if self.resolved_addressing == "path":
            return f"{endpoint}/{quote(self.bucket, safe='')}"
        scheme, _, host = endpoint.partition("://")
        return f"{scheme}://{self.bucket}.{host}"

    @property
    def request_headers(self) -> Mapping[str, str]:
        """What every request and link says besides, by lower-case name."""
        return NOTHING

    @property
    def spool_size(self) -> int:
        """Number of bytes from which a body is sent in parts."""
        return self.multipart_threshold

    @property
    def is_paced(self) -> bool:
        """Whether there is a limit for all transfers together."""
        return self.bandwidth_limit is not None


@dataclass(frozen=True, kw_only=True)
class S3Config(S3FamilyConfig):
    """AWS S3, or a server that behaves exactly like it (moto, LocalStack) at `endpoint`.

    Attributes:
        profile: Named profile of the AWS configuration files. Without keys and profile, AWS's own
            chain decides: environment, web identity, SSO, shared files, container, instance. Where the
            keys come from there, so do endpoint, region and addressing unless they are given.
        accelerate: Use AWS's edge locations (S3 Transfer Acceleration), which costs extra and has to be on
            for the bucket; its name has no dots.
        dual_stack: Use the endpoints that IPv6 reaches too.
        fips: Use the endpoints with FIPS 140 cryptography, which not every region has.
        requester_pays: Pay for requests to a bucket of someone else's who does not (`x-amz-request-payer`).
            Links say so too, so whoever opens one causes costs here.
        environ_settings: Where the keys are the environment's AWS_ACCESS_KEY_ID: its variables, with their
            values, that choose a profile and say how to read it. No setting; it makes that profile have the
            say about endpoint, region and addressing that it has for every program made on botocore.
        environ_endpoint: Variable and value of an endpoint of the environment. No setting. With keys of the
            chain, nothing is sent unless the profile leads there too; with keys of the environment, the
            profile may have such variables ignored.
        environ_region: Region of the environment that, with keys of the chain, counts where the profile
            names none. No setting.
    """

    provider: ClassVar[str] = "s3"
    endpoint_template: ClassVar[str] = "https://s3.{region}.amazonaws.com"
    default_region: ClassVar[str | None] = "us-east-1"
    default_addressing: ClassVar[Addressing] = "virtual"
    dns_buckets: ClassVar[bool] = False
    own_chain: ClassVar[bool] = True
    roles: ClassVar[Mapping[str, Role]] = {**S3FamilyConfig.roles, "profile": "identity"}
    profile: str | None = None
    accelerate: bool = False
    dual_stack: bool = False
    fips: bool = False
    requester_pays: bool = False
    environ_settings: tuple[tuple[str, str], ...] | None = field(default=None, metadata=TOLD)
    environ_endpoint: tuple[str, str] | None = field(default=None, metadata=TOLD)
    environ_region: str | None = field(default=None, metadata=TOLD)

    def __post_init__(self) -> None:
        given = self.endpoint
        super().__post_init__()
        told = self.environ_endpoint
        if told is not None and self.endpoint is not None and told[1] == given:
            # The same ever after, however the address was written.
            object.__setattr__(self, "environ_endpoint", (told[0], self.endpoint))
        checks.check_word(self.cloud, "profile", self.profile)
        if self.profile is not None and self.access_key_id is not None:
            raise checks.wrong(
                self.cloud, "profile", "is set together with `access_key_id`; keep one of them"
            )
        self._check_variants()

    def _check_variants(self) -> None:
        """Refuse what no endpoint of AWS's is for, a region of another form included.

        Source: "Requirements for using Amazon S3 Transfer Acceleration", "Using Amazon S3 dual-stack
            endpoints" of the S3 user guide, and botocore's rules for endpoints.
        """
        if self.endpoint is None and not _AWS_REGION.fullmatch(self.resolved_region.lower()):
            raise checks.wrong(self.cloud, "region", "must be one of AWS's, such as eu-west-1")
        chosen = [name for name in ("accelerate", "dual_stack", "fips") if getattr(self, name)]
        if chosen and self.given_endpoint is not None:
            raise checks.wrong(
                self.cloud, chosen[0], "chooses among AWS's own endpoints; leave out `endpoint`, or this"
            )
        if self.fips and self.resolved_region.startswith(_CHINA):
            raise checks.wrong(
                self.cloud, "fips", "is not for regions in China, which have no such endpoints"
            )
        if not self.accelerate:
            return
        if self.fips:
            raise checks.wrong(self.cloud, "accelerate", "has no FIPS endpoints; leave out `fips`, or this")
        if self.addressing == "path" or not checks.is_label(self.bucket):
            raise checks.wrong(
                self.cloud,
                "accelerate",
                "needs the bucket in the host: a name without dots, capitals and underscores, and not "
                '`addressing` "path"',
            )
        if self.resolved_region.startswith((_CHINA, _GOV)):
            raise checks.wrong(self.cloud, "accelerate", "is not for regions in China or of AWS GovCloud")

    @property
    def is_configured_by_aws(self) -> bool:
        """Whether AWS's own configuration has a say: where the keys come from its chain or its variables."""
        return self.access_key_id is None or self.environ_settings is not None

    @property
    def place_is_open(self) -> bool:
        """Whether AWS's own configuration has a say, and not all of the place is given."""
        place = {self.given_endpoint, self.region, self.addressing}
        return self.is_configured_by_aws and None in place

    @property
    def trust_is_open(self) -> bool:
        """Whether AWS's own configuration has a say, and no authorities are given."""
        return self.is_configured_by_aws and self.ca_file is None

    @property
    def given_endpoint(self) -> str | None:
        """The endpoint, unless it is one of the environment that a profile may have ignored."""
        told = self.environ_endpoint
        weak = self.environ_settings is not None and told is not None and told[1] == self.endpoint
        return None if weak else self.endpoint

    @property
    def environ_profile(self) -> str | None:
        """Profile that the environment names next to its keys."""
        named = dict(self.environ_settings or ())
        return named.get("AWS_DEFAULT_PROFILE") or named.get("AWS_PROFILE")

    @property
    def place(self) -> object:
        """Endpoint and bucket; a profile in place of the endpoint that it leads to."""
        if self.place_is_open and self.endpoint is None:
            profile = self.profile or self.environ_profile
            if profile is not None or self.access_key_id is None:
                return ("profile", profile), self.bucket
        return self.endpoint or self._of_service(
            "s3"
        ), self.bucket  # By any of AWS's endpoints it is the same.

    @property
    def resolved_endpoint(self) -> str:
        """AWS's own host of the region, in the China partition for a region there."""
        if self.endpoint is not None:
            return self.endpoint
        dual = ".dualstack" if self.dual_stack else ""
        if self.accelerate:
            return f"https://s3-accelerate{dual}.amazonaws.com"
        return self._of_service(f"s3{'-fips' if self.fips else ''}{dual}")

    @property
    def request_headers(self) -> Mapping[str, str]:
        """Who pays, if it is not the bucket's owner."""
        return _REQUESTER_PAYS if self.requester_pays else NOTHING

    def _of_service(self, name: str) -> str:
        region = self.resolved_region.lower()
        china = ".cn" if region.startswith(_CHINA) else ""
        return f"https://{name}.{region}.amazonaws.com{china}"


@dataclass(frozen=True, kw_only=True)
class R2Config(S3FamilyConfig):
    """Cloudflare R2.

    Attributes:
        account_id: 32 hex digits; the endpoint is derived from it.
        jurisdiction: "eu" or "fedramp" for buckets that live in one.
        public_url: Base of public links where no `cdn_url` is set: `https://pub-<hash>.r2.dev`.
    """

    provider: ClassVar[str] = "r2"
    default_region: ClassVar[str | None] = "auto"
    roles: ClassVar[Mapping[str, Role]] = {
        **S3FamilyConfig.roles,
        "account_id": "origin",
        "jurisdiction": "origin",
    }
    account_id: str | None = None
    jurisdiction: Literal["eu", "fedramp"] | None = None
    public_url: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.account_id is not None and not _ACCOUNT_ID.fullmatch(self.account_id):
            raise checks.wrong(self.cloud, "account_id", "must be 32 lower-case hex digits")
        if not unicodedata.is_normalized("NFC", self.prefix):
            raise checks.wrong(
                self.cloud, "prefix", "must be in Unicode normal form C, the form in which R2 keeps keys"
            )

    def _check_endpoint(self) -> None:
        if self.endpoint is None:
            if not self.account_id:
                raise checks.wrong(self.cloud, "account_id", "is missing, and so is `endpoint`")
            return
        super()._check_endpoint()
        host = urlsplit(self.endpoint).hostname or ""
        if not host.endswith(_R2_HOST):
            return
        account, _, inside = host.removesuffix(_R2_HOST).partition(".")
        if self.account_id is not None and self.account_id != account:
            raise checks.wrong(self.cloud, "endpoint", "does not belong to `account_id`; keep one of them")
        if self.jurisdiction is not None and self.jurisdiction != inside:
            raise checks.wrong(self.cloud, "endpoint", "does not belong to `jurisdiction`; keep one of them")

    @property
    def resolved_endpoint(self) -> str:
        """The account's endpoint, never AWS's."""
        inside = f".{self.jurisdiction}" if self.jurisdiction else ""
        return self.endpoint or f"https://{self.account_id}{inside}{_R2_HOST}"

    @property
    def public_base(self) -> str:
        """The bucket's public address, if it has one; the API refuses requests without credentials."""
        return self.public_url or super().public_base

    @property
    def has_public_address(self) -> bool:
        """Whether there is a custom domain or an `r2.dev` address."""
        return bool(self.public_url) or super().has_public_address


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

    @property
    def public_base(self) -> str:
        """The Space's CDN host, if requested."""
        if self.cdn:
            return f"https://{self.bucket}.{self.resolved_region.lower()}.cdn.digitaloceanspaces.com"
        return super().public_base

    @property
    def has_public_address(self) -> bool:
        """Whether there is a CDN, the Space's own or another one."""
        return self.cdn or super().has_public_address


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
        download_url: The account's download host, `https://f004.backblazeb2.com`; with it, public URLs have
            the friendly form `/file/<bucket>/<key>`.
    """

    provider: ClassVar[str] = "b2"
    endpoint_template: ClassVar[str] = "https://s3.{region}.backblazeb2.com"
    dns_buckets: ClassVar[bool] = False
    roles: ClassVar[Mapping[str, Role]] = {**S3FamilyConfig.roles, "download_url": "origin"}
    download_url: str | None = None

    @property
    def public_base(self) -> str:
        """The friendly form, if the download host is known."""
        if self.download_url:
            return f"{self.download_url.rstrip('/')}/file/{quote(self.bucket, safe='')}"
        return super().public_base


@dataclass(frozen=True, kw_only=True)
class S3CompatibleConfig(S3FamilyConfig):
    """Any other server that speaks S3: MinIO, Ceph RGW, Garage, SeaweedFS.

    Attributes:
        flavor: Whose behaviour to expect; "generic" assumes the least.
    """

    provider: ClassVar[str] = "custom"
    default_region: ClassVar[str | None] = "us-east-1"
    dns_buckets: ClassVar[bool] = False
    server_in_url: ClassVar[bool] = True
    flavor: Literal["minio", "ceph", "generic"] = "generic"

    @property
    def cloud(self) -> str:
        """The flavor's row, or the one for all others."""
        return self.provider if self.flavor == "generic" else self.flavor

    @classmethod
    def placed(cls, authority: str, path: str) -> dict[str, object] | None:
        """Host and port, the bucket, and the prefix; see `CommonConfig.placed`."""
        if not authority:
            return None
        bucket, _, prefix = path.removeprefix("/").partition("/")
        server: dict[str, object] = {"endpoint": f"https://{authority}"}
        if not bucket:
            return None if prefix else server
        return with_prefix(server | {"bucket": bucket}, f"/{prefix}")
