"""`GcsConfig`: one bucket of Google Cloud Storage, or of an emulator.

Rules of this file: those of `stores.py`. Whose credentials are used is said here; they are looked for when
the first request is made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal
from urllib.parse import quote, urlsplit

from credstore.config import validation as checks
from credstore.config.field_types import Role
from credstore.config.settings import GIB, MIB, CommonConfig, StatedConfig
from credstore.encryption import Secret
from credstore.wire.proxy import FROM_ENVIRONMENT

ENDPOINT = "https://storage.googleapis.com"
QUANTUM = 256 * 1024
"""Bytes that every chunk of a resumable upload but the last is a multiple of.

Source: "Resumable uploads", cloud.google.com/storage/docs.
"""
_MOST = 5 * 1024 * GIB
_BUCKET = re.compile(r"(?!goog)(?!.*(?:google|g00gle))(?!.*\.\.)[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_ADDRESS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_LABEL = 63
_ACCOUNT = re.compile(r"[a-z0-9][a-z0-9._-]*@[a-z0-9.-]+")
_PROJECT = re.compile(r"[a-z0-9][a-z0-9.:-]{3,62}")


@dataclass(frozen=True, kw_only=True)
class GcsConfig(StatedConfig):
    """Google Cloud Storage through its JSON API, or a server that speaks it.

    Attributes:
        bucket: Name of the bucket; no project is needed for what is in it.
        endpoint: `https://host[:port]`; None for Google's own. For private and regional endpoints.
        emulator_host: `http://host:port` of an emulator, as Google's own clients have it: no credentials
            unless `auth_mode` says so, and no promises that an emulator does not keep (conditions, versions).
        credentials_file: File in JSON: a service account's key, workload identity federation, or a user's.
            Without it and `credentials_json`, google-auth's chain decides (extra `gcs`).
        credentials_json: What such a file holds.
        impersonate: E-mail address of a service account to act as, by way of these credentials.
        auth_mode: "login" for credentials, "anonymous" for none. None for credentials, except on an emulator.
        versioning: The bucket keeps versions, so results name theirs. It is not looked up for each store, as
            that takes a request and a permission of its own.
        user_project: Project that is billed for requests, for buckets whose requester pays.
        multipart_threshold: Number of bytes from which a body is sent as a resumable upload.
        part_size: Bytes of one request of such an upload, in whole 256 KiB; and of one span of a long read.
        max_concurrency: Spans of one read at a time; an upload is sent in order.
        max_connections: Open connections to the endpoint.
        idle_timeout: As for S3.
        hedge_reads: As for S3.
        bandwidth_limit: As for S3.
        ca_file: PEM file of additional certificate authorities to trust.
        proxy: As for S3.
        allow_http: Permit `http://` to a host that is not loopback.
    """

    provider: ClassVar[str] = "gcs"
    roles: ClassVar[Mapping[str, Role]] = {
        **CommonConfig.roles,
        "emulator_host": "origin",
        "credentials_file": "identity",
        "credentials_json": "key",
        "impersonate": "identity",
        "auth_mode": "identity",
        "proxy": "tuning",
        "multipart_threshold": "tuning",
        "part_size": "tuning",
        "max_concurrency": "tuning",
        "max_connections": "tuning",
        "idle_timeout": "tuning",
        "hedge_reads": "tuning",
        "bandwidth_limit": "tuning",
    }
    bucket: str = field(default="", kw_only=False)
    endpoint: str | None = None
    emulator_host: str | None = None
    credentials_file: str | None = None
    credentials_json: Secret | None = None
    impersonate: str | None = None
    auth_mode: Literal["login", "anonymous"] | None = None
    versioning: bool = False
    user_project: str | None = None
    multipart_threshold: int = 8 * MIB
    part_size: int = 8 * MIB
    max_concurrency: int = 4
    max_connections: int = 64
    idle_timeout: float = 30.0
    hedge_reads: bool = False
    bandwidth_limit: int | None = None
    ca_file: str | None = None
    proxy: str | Secret | None = FROM_ENVIRONMENT
    allow_http: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_bucket()
        self._check_place()
        self._check_identity()
        self._check_sizes()
        checks.check_word(self.cloud, "ca_file", self.ca_file)
        object.__setattr__(self, "proxy", checks.checked_proxy(self.cloud, self.proxy))

    def _check_bucket(self) -> None:
        if not self.bucket:
            raise checks.wrong(self.cloud, "bucket", "is missing")
        name, labels = self.bucket, self.bucket.split(".")
        longest = _LABEL if len(labels) == 1 else 222
        sound = len(name) <= longest and all(len(each) <= _LABEL for each in labels)
        if not (sound and _BUCKET.fullmatch(name)) or _ADDRESS.fullmatch(name):
            raise checks.wrong(
                self.cloud,
                "bucket",
                "must be a bucket's name: 3 to 63 lower-case letters, digits, hyphens, underscores and dots "
                "(up to 222 with dots), with a letter or digit at both ends, without `google`",
            )

    def _check_place(self) -> None:
        for name in ("endpoint", "emulator_host"):
            given: str | None = getattr(self, name)
            if given is None:
                continue
            if name == "emulator_host" and "://" not in given:
                given = f"http://{given}"  # Some of Google's clients have it without.
            url = checks.checked_url(self.cloud, name, given, allow_http=self.allow_http, path=False)
            checks.check_own_cloud(self.cloud, self.provider, name, urlsplit(url).hostname or "")
            object.__setattr__(self, name, url)
        if self.endpoint is not None and self.emulator_host is not None:
            raise checks.wrong(
                self.cloud, "emulator_host", "is set together with `endpoint`; keep one of them"
            )

    def _check_identity(self) -> None:
        checks.check_word(self.cloud, "credentials_file", self.credentials_file)
        if self.credentials_file is not None and self.credentials_json is not None:
            raise checks.wrong(
                self.cloud, "credentials_json", "is set together with `credentials_file`; keep one of them"
            )
        if self.impersonate is not None and not _ACCOUNT.fullmatch(self.impersonate):
            raise checks.wrong(self.cloud, "impersonate", "must be the e-mail address of a service account")
        if self.user_project is not None and not _PROJECT.fullmatch(self.user_project):
            raise checks.wrong(self.cloud, "user_project", "must be the id of a project")

    def _check_sizes(self) -> None:
        checks.check_range(self.cloud, "part_size", self.part_size, QUANTUM, 5 * GIB)
        if self.part_size % QUANTUM:
            raise checks.wrong(self.cloud, "part_size", "must be a multiple of 256 KiB")
        checks.check_range(self.cloud, "multipart_threshold", self.multipart_threshold, 1, _MOST)
        checks.check_range(self.cloud, "max_concurrency", self.max_concurrency, 1)
        checks.check_range(self.cloud, "max_connections", self.max_connections, 1)
        checks.check_range(self.cloud, "idle_timeout", self.idle_timeout, 0.001)
        if self.bandwidth_limit is not None:
            checks.check_range(self.cloud, "bandwidth_limit", self.bandwidth_limit, 1024)

    @property
    def is_anonymous(self) -> bool:
        """Whether requests have no credentials."""
        return self.auth_mode == "anonymous" or (self.auth_mode is None and self.emulator_host is not None)

    @property
    def resolved_endpoint(self) -> str:
        """Scheme and host, without bucket, path or trailing slash."""
        return self.emulator_host or self.endpoint or ENDPOINT

    @property
    def is_elsewhere(self) -> bool:
        """Whether the host is not Google's own, so that something else may respond there."""
        host = urlsplit(self.resolved_endpoint).hostname or ""
        return not host.endswith(".googleapis.com")

    @property
    def place(self) -> object:
        """Endpoint and bucket."""
        return self.resolved_endpoint, self.bucket

    @property
    def public_base(self) -> str:
        """The bucket in the path of the endpoint."""
        return f"{self.resolved_endpoint}/{quote(self.bucket, safe='')}"

    @property
    def spool_size(self) -> int:
        """Number of bytes from which a body is sent as a resumable upload."""
        return self.multipart_threshold

    @property
    def is_paced(self) -> bool:
        """Whether there is a limit for all transfers together."""
        return self.bandwidth_limit is not None
