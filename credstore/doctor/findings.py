"""What a doctor finds: one line for each thing that was looked at, with what to do where it does not work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from credstore.errors import ErrorCode, StorageError

State: TypeAlias = Literal["ok", "warning", "failed", "not tried"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: What it is: "settings", "name", "connection", "clock", "credentials", "bucket", "may store".
        state: How it is.
        detail: What was found, without a secret.
        cure: What to do; "" where nothing has to be done.
        code: Of the error, where there was one.
    """

    check: str
    state: State
    detail: str
    cure: str = ""
    code: str | None = None


_ENDPOINT = "check the endpoint and the region for a typing error"
_PROXY = "check `proxy` (CREDSTORE_PROXY, HTTPS_PROXY); CREDSTORE_PROXY=off goes without one"
_KEYS = "make a new key at the provider, and set both halves of it"
CURES: Mapping[str, str] = MappingProxyType(
    {
        ErrorCode.NAME_NOT_FOUND: f"{_ENDPOINT}, and whether this machine has a network",
        ErrorCode.CONNECTION_FAILED: f"{_ENDPOINT}, whether the server runs, and no firewall is in between",
        ErrorCode.CONNECTION_BROKEN: "try again; if it stays so, look for a proxy or firewall in between",
        ErrorCode.TIMEOUT: "look for a firewall that drops packets, or give more time with --timeout",
        ErrorCode.TLS: "set `ca_file` (CREDSTORE_CA_FILE) for authorities of your own, and look at this "
        "machine's clock; a server without TLS is http://",
        ErrorCode.PROXY_UNREACHABLE: _PROXY,
        ErrorCode.PROXY_FAILED: _PROXY,
        ErrorCode.PROXY_TIMEOUT: _PROXY,
        ErrorCode.PROXY_AUTHENTICATION: f"give the proxy's user and password; {_PROXY}",
        ErrorCode.PROXY_REFUSED: _PROXY,
        ErrorCode.PROXY_UNUSABLE: _PROXY,
        ErrorCode.BAD_ANSWER: f"what responds there is not an object store: {_ENDPOINT}",
        ErrorCode.NOT_S3: f"what responds there is not an object store: {_ENDPOINT}",
        ErrorCode.CLOCK_SKEW: "set this machine's clock, such as by `timedatectl set-ntp true`",
        ErrorCode.AUTHENTICATION_FAILED: f"the key is unknown or its secret is wrong: {_KEYS}",
        ErrorCode.CREDENTIALS_EXPIRED: "renew the session, and set the new token with its keys",
        ErrorCode.NO_CREDENTIALS: "set keys, or sign in with the provider's own tool",
        ErrorCode.ACCESS_DENIED: "permit it to these credentials",
        ErrorCode.BUCKET_NOT_FOUND: "check the bucket's name, or make it at the provider",
        ErrorCode.WRONG_REGION: "set the region that the bucket is in",
        ErrorCode.FOREIGN_ENDPOINT: "name the endpoint where the store is named, or in the profile",
        ErrorCode.READ_ONLY: "take away `read_only` where something has to be stored",
        ErrorCode.EXTRA_MISSING: "install it",
        ErrorCode.LOCKED: "the bucket keeps for a time what is stored; that is its rule, and no fault",
        ErrorCode.QUOTA_EXCEEDED: "make room, or raise the quota",
        ErrorCode.RATE_LIMITED: "try again later",
        ErrorCode.UNAVAILABLE: "try again later, and look at the provider's status page",
        ErrorCode.CHECKSUM_REQUIRED: "bind the upload's checksum; links to read are not affected",
    }
)
"""What to do about an error that does not say so itself."""


def failed(check: str, error: StorageError, cure: str = "") -> Finding:
    """The finding that an error is.

    Args:
        check: As of `Finding`.
        error: Its message says what is wrong.
        cure: What to do; by its code unless given.
    """
    return Finding(check, "failed", error.message, cure or CURES.get(error.code, ""), str(error.code))
