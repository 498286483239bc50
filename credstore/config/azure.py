"""`AzureConfig`: one container of Azure Blob Storage, and the forms in which Azure's own tools name one.

Rules of this file: those of `stores.py`. A connection string is taken apart when the config is made, so that
equal stores have equal configs however they were named.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar, Literal
from urllib.parse import parse_qsl, quote, urlsplit

from credstore.config import validation as checks
from credstore.config.field_types import Role
from credstore.config.settings import MIB, CommonConfig, StatedConfig, with_prefix
from credstore.config.traceless import traceless
from credstore.config.variables import spoken, variables_of
from credstore.encryption import Secret
from credstore.wire.proxy import FROM_ENVIRONMENT

# "Understanding block blobs" and "Put Blob From URL" of the REST API, versions from 2019-12-12 on.
MAX_SINGLE_PUT = 5000 * MIB
MAX_BLOCK = 4000 * MIB
_DEVELOPMENT_ACCOUNT = "devstoreaccount1"
# Public: learn.microsoft.com, "Use the Azurite emulator", "Well-known storage account and key".
_DEVELOPMENT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_DEVELOPMENT_ENDPOINT = f"http://127.0.0.1:10000/{_DEVELOPMENT_ACCOUNT}"
_SUFFIX = "core.windows.net"
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
_CONTAINER = re.compile(r"(?!.*--)[a-z0-9](?:[a-z0-9-]{1,61})[a-z0-9]|\$web")
_HOST = re.compile(r"([a-z0-9]{3,24})(?:-secondary)?\.(?:[a-z0-9]+\.)?(?:blob|privatelink)\..+")
_LAKE = re.compile(
    r"([a-z0-9]{3,24})\.(?:dfs|blob)\.(core\.[a-z.]+)|"
    r"([a-z0-9]{3,24})(\.z[0-9]{1,3})\.(?:dfs|blob)\.(storage\.azure\.net)"
)
"""Hosts of accounts, also of those with a DNS zone of their own ("Azure DNS zone endpoints")."""
_OF_STRING = {
    "accountname": "account",
    "accountkey": "account_key",
    "blobendpoint": "endpoint",
    "sharedaccesssignature": "sas_token",
}
"""Words of a connection string, in lower case, to fields."""
_IS_SIGNED = re.compile(r"[?&]sig=")
Auth = Literal["key", "sas", "login"]


@dataclass(frozen=True, kw_only=True)
class AzureConfig(StatedConfig):
    """Azure Blob Storage, or a server that speaks its REST API (Azurite).

    Attributes:
        account: Name of the storage account; taken from `endpoint` where that has it.
        bucket: Name of the container.
        endpoint: `https://host[:port]`, with `/account` after it where the account is not in the host; None
            for the account's own in the public cloud.
        account_key: One of the two keys of the account (Shared Key), in base64.
        sas_token: A shared access signature, with or without its `?`.
        connection_string: What the portal shows under "Access keys"; it sets the four above.
        auth_mode: "key" for what is given above; "login" for Entra ID through azure-identity (extra
            `azure`), even where a key is given. None for the first that there is.
        multipart_threshold: Number of bytes from which a body is sent in blocks.
        part_size: Bytes of one block; grows automatically so that 50,000 suffice.
        max_concurrency: Blocks in flight for one body.
        single_copy_limit: Bytes up to which a copy is one request.
        copy_part_size: Bytes of one block of a larger copy.
        rehydrate: Start to restore an archived blob when it is read, with this priority; reading it fails
            meanwhile. None only says how.
        max_connections: Open connections to the endpoint.
        idle_timeout: As for S3.
        hedge_reads: As for S3.
        bandwidth_limit: As for S3.
        ca_file: PEM file of additional certificate authorities to trust.
        proxy: As for S3.
        allow_http: Permit `http://` to a host that is not loopback.
    """

    provider: ClassVar[str] = "azure"
    roles: ClassVar[Mapping[str, Role]] = {
        **CommonConfig.roles,
        "account": "origin",
        "account_key": "key",
        "sas_token": "key",
        "connection_string": "key",
        "auth_mode": "identity",
        "proxy": "tuning",
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
    account: str | None = None
    bucket: str = ""
    endpoint: str | None = None
    account_key: Secret | None = None
    sas_token: Secret | None = None
    connection_string: Secret | None = None
    auth_mode: Literal["key", "login"] | None = None
    multipart_threshold: int = 8 * MIB
    part_size: int = 8 * MIB
    max_concurrency: int = 4
    single_copy_limit: int = 256 * MIB
    copy_part_size: int = 256 * MIB
    rehydrate: Literal["standard", "high"] | None = None
    max_connections: int = 64
    idle_timeout: float = 30.0
    hedge_reads: bool = False
    bandwidth_limit: int | None = None
    ca_file: str | None = None
    proxy: str | Secret | None = FROM_ENVIRONMENT
    allow_http: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.connection_string is not None:
            self._take_apart(self.connection_string)
        self._check_place()
        self._check_keys()
        self._check_sizes()
        checks.check_word(self.cloud, "ca_file", self.ca_file)
        object.__setattr__(self, "proxy", checks.checked_proxy(self.cloud, self.proxy))

    def _take_apart(self, connection_string: Secret) -> None:
        for name, value in _parsed(connection_string).items():
            given = getattr(self, name)
            if name == "endpoint" and given is not None:
                given = given.rstrip("/")
            if given is not None and given != value:
                raise checks.wrong(self.cloud, "connection_string", f"contradicts `{name}`; keep one of them")
            object.__setattr__(self, name, value)
        object.__setattr__(self, "connection_string", None)

    def _check_place(self) -> None:
        for name in ("bucket", "account", "endpoint"):
            if _IS_SIGNED.search(getattr(self, name) or ""):
                raise checks.wrong(
                    self.cloud, name, "has a shared access signature; set what follows the `?` as `sas_token`"
                )
        if not self.bucket:
            raise checks.wrong(self.cloud, "bucket", "is missing; it is the container's name")
        if not _CONTAINER.fullmatch(self.bucket):
            raise checks.wrong(
                self.cloud,
                "bucket",
                "must be a container's name: 3 to 63 lower-case letters, digits and single hyphens, with a "
                "letter or digit at both ends",
            )
        if self.account is not None and not _ACCOUNT.fullmatch(self.account):
            raise checks.wrong(self.cloud, "account", "must be 3 to 24 lower-case letters and digits")
        if self.endpoint is not None:
            self._check_endpoint(self.endpoint)
        if self.account is None:
            raise checks.wrong(self.cloud, "account", "is missing")

    def _check_endpoint(self, given: str) -> None:
        endpoint = checks.checked_url(
            self.cloud, "endpoint", given, allow_http=self.allow_http, path=True
        ).rstrip("/")
        host, path = urlsplit(endpoint).hostname or "", urlsplit(endpoint).path
        checks.check_own_cloud(self.cloud, self.provider, "endpoint", host)
        named = _HOST.fullmatch(host)
        if named is None and not path and self.account is not None and checks.is_bare(endpoint):
            path = f"/{self.account}"
            endpoint += path
        if path.count("/") > (named is None):
            raise checks.wrong(self.cloud, "endpoint", "must end with the account, without the container")
        told = named[1] if named is not None else path.removeprefix("/") or None
        if self.account is not None and told is not None and (named or path) and told != self.account:
            raise checks.wrong(self.cloud, "endpoint", "does not belong to `account`; keep one of them")
        object.__setattr__(self, "endpoint", endpoint)
        object.__setattr__(self, "account", self.account or told)

    def _check_keys(self) -> None:
        if self.account_key is not None:
            _check_key(self.cloud, self.account_key)
        if self.sas_token is not None:
            object.__setattr__(self, "sas_token", _checked_sas(self.cloud, self.sas_token))
            if self.account_key is not None:
                raise checks.wrong(
                    self.cloud, "sas_token", "is set together with `account_key`; keep one of them"
                )
        if self.auth_mode == "key" and self.account_key is None and self.sas_token is None:
            raise checks.wrong(
                self.cloud,
                "account_key",
                f"is missing, and so are `sas_token` ({spoken(variables_of(self.cloud, 'sas_token'))}) and "
                "`connection_string`, but `auth_mode` is key",
            )

    def _check_sizes(self) -> None:
        for name, most in (
            ("part_size", MAX_BLOCK),
            ("copy_part_size", MAX_BLOCK),
            ("multipart_threshold", MAX_SINGLE_PUT),
            ("single_copy_limit", MAX_SINGLE_PUT),
        ):
            checks.check_range(self.cloud, name, getattr(self, name), 1, most)
        checks.check_range(self.cloud, "max_concurrency", self.max_concurrency, 1)
        checks.check_range(self.cloud, "max_connections", self.max_connections, 1)
        checks.check_range(self.cloud, "idle_timeout", self.idle_timeout, 0.001)
        if self.bandwidth_limit is not None:
            checks.check_range(self.cloud, "bandwidth_limit", self.bandwidth_limit, 1024)

    @property
    def auth(self) -> Auth:
        """How requests are authenticated."""
        if self.auth_mode == "login":
            return "login"
        if self.account_key is not None:
            return "key"
        return "sas" if self.sas_token is not None else "login"

    @property
    def resolved_endpoint(self) -> str:
        """The account's address, without container and without trailing slash."""
        return self.endpoint or f"https://{self.account}.blob.{_SUFFIX}"

    @property
    def is_elsewhere(self) -> bool:
        """Whether the host is not Azure's own, so that something else may respond there."""
        host = urlsplit(self.resolved_endpoint).hostname or ""
        return _HOST.fullmatch(host) is None

    @property
    def place(self) -> object:
        """Endpoint and container."""
        return self.resolved_endpoint, self.bucket

    @property
    def public_base(self) -> str:
        """The container at the account's address."""
        return f"{self.resolved_endpoint}/{quote(self.bucket, safe='$')}"

    @property
    def spool_size(self) -> int:
        """Number of bytes from which a body is sent in blocks."""
        return self.multipart_threshold

    @property
    def is_paced(self) -> bool:
        """Whether there is a limit for all transfers together."""
        return self.bandwidth_limit is not None

    @classmethod
    def placed(cls, authority: str, path: str) -> dict[str, object] | None:
        """The account, the container, and the prefix; see `CommonConfig.placed`."""
        if not authority:
            return None if path.strip("/") else {}
        bucket, _, prefix = path.removeprefix("/").partition("/")
        if ":" in authority or (prefix and not bucket):
            return None
        named: dict[str, object] = {"account": authority}
        return with_prefix(named | {"bucket": bucket}, f"/{prefix}") if bucket else named


def respelled(url: str) -> str | None:
    """A URL of Azure's other tools as a store URL, or None for any other.

    >>> respelled("abfss://proofs@acme.dfs.core.windows.net/team/a")
    'az://acme/proofs/team/a'
    >>> respelled("https://acme.blob.core.windows.net/proofs")
    'az://acme/proofs'

    Source: "Use the Azure Data Lake Storage URI" and "Naming and referencing containers, blobs" of Azure.
    """
    scheme, _, rest = url.partition("://")
    place, question, query = rest.partition("?")
    authority, _, path = place.partition("/")
    container, at, host = authority.rpartition("@")
    if scheme.lower() == "https":
        container, _, path = path.partition("/")
        at = ""
    elif not (at and container):
        return None
    found = _LAKE.fullmatch(host.lower().removesuffix(":443"))
    if found is None or not container:
        return None
    account, zone, suffix = found[1] or found[3], found[4] or "", found[2] or found[5]
    prefix = f"/{path}" if path.strip("/") else ""
    own = "" if suffix == _SUFFIX else f"endpoint={quote(f'https://{account}{zone}.blob.{suffix}', safe='')}"
    parameters = "&".join(each for each in (own, query if question else "") if each)
    return f"az://{account}/{container}{prefix}" + (f"?{parameters}" if parameters else "")


def sas_ends(token: Secret) -> datetime | None:
    """When a shared access signature ends, UTC; None where it does not say (a stored access policy does)."""
    text = dict(parse_qsl(token.reveal())).get("se")
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return None if found is None else found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)


@traceless
def _parsed(connection_string: Secret) -> dict[str, object]:
    """The fields that a connection string stands for.

    Source: "Configure Azure Storage connection strings", learn.microsoft.com.
    """
    words: dict[str, str] = {}
    for part in connection_string.reveal().split(";"):
        name, equals, value = part.partition("=")
        if not part.strip():
            continue
        if not equals or name.strip().lower() in words:
            raise checks.wrong("azure", "connection_string", "must be name=value pairs with `;` between them")
        words[name.strip().lower()] = value.strip()
    if words.get("usedevelopmentstorage", "").lower() == "true":
        return {
            "account": _DEVELOPMENT_ACCOUNT,
            "account_key": Secret(_DEVELOPMENT_KEY),
            "endpoint": _DEVELOPMENT_ENDPOINT,
        }
    found: dict[str, object] = {}
    for word, field in _OF_STRING.items():
        if words.get(word):
            secret = field in {"account_key", "sas_token"}
            found[field] = Secret(words[word]) if secret else words[word].rstrip("/")
    if _IS_SIGNED.search(connection_string.reveal()) and not found.get("sas_token"):
        raise checks.wrong(
            "azure",
            "connection_string",
            "has a URL with a shared access signature; set what follows the `?` as `sas_token`",
        )
    if not {"account", "endpoint"} & found.keys():
        raise checks.wrong("azure", "connection_string", "names neither AccountName nor BlobEndpoint")
    suffix = words.get("endpointsuffix", _SUFFIX)
    protocol = words.get("defaultendpointsprotocol", "https").lower()
    if "endpoint" not in found and (suffix, protocol) != (_SUFFIX, "https"):
        found["endpoint"] = f"{protocol}://{found['account']}.blob.{suffix}"
    return found


@traceless
def _check_key(cloud: str, key: Secret) -> None:
    text = key.reveal()
    if text.startswith("?") or "sig=" in text:
        raise checks.wrong(cloud, "account_key", "is a shared access signature; that is `sas_token`")
    if "AccountKey=" in text:
        raise checks.wrong(cloud, "account_key", "is a connection string; that is `connection_string`")
    try:
        whole = bool(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        whole = False
    if not whole:
        raise checks.wrong(
            cloud, "account_key", "must be the account's key in base64, 88 characters; paste it again"
        )


@traceless
def _checked_sas(cloud: str, token: Secret) -> Secret:
    """The token without `?`."""
    text = token.reveal().strip().removeprefix("?")
    if "AccountKey=" in text or "SharedAccessSignature=" in text:
        raise checks.wrong(cloud, "sas_token", "is a connection string; that is `connection_string`")
    if text.startswith(("http://", "https://")):
        raise checks.wrong(cloud, "sas_token", "is a URL; give only what follows its `?`")
    if not (text.isascii() and text.isprintable()) or " " in text or "#" in text:
        raise checks.wrong(cloud, "sas_token", "has characters that no URL has; paste it again")
    names = [name for name, _ in parse_qsl(text, keep_blank_values=True)]
    if not {"sig", "sv"} <= set(names) or len(names) != len(set(names)):
        raise checks.wrong(
            cloud, "sas_token", "lacks `sv` or `sig`, which every shared access signature has; paste it again"
        )
    return Secret(text)
