"""What to call it when no response arrived, or not one from the origin. Pure.

Rules of this file: one row per kind of `WireError`; messages are our own, and a proxy is named without its
password. `applied` is decided by the exchange, which knows what was sent before.
"""

from __future__ import annotations

from collections.abc import Mapping

from credstore.errors import (
    ErrorCode,
    StorageConfigurationError,
    StorageConnectionError,
    StorageError,
    StorageTimeoutError,
)
from credstore.wire.transport import WireError, WireKind

_MEANINGS: Mapping[WireKind, tuple[type[StorageError], ErrorCode, str]] = {
    "dns": (
        StorageConnectionError,
        ErrorCode.NAME_NOT_FOUND,
        "the host's name could not be resolved; check the endpoint",
    ),
    "connect": (
        StorageConnectionError,
        ErrorCode.CONNECTION_FAILED,
        "no connection could be made; check the endpoint",
    ),
    "tls": (
        StorageConfigurationError,
        ErrorCode.TLS,
        "no trusted TLS connection could be made; check `endpoint` and `ca_file`",
    ),
    "timeout": (StorageTimeoutError, ErrorCode.TIMEOUT, "there was no response in time"),
    "broken": (
        StorageConnectionError,
        ErrorCode.CONNECTION_BROKEN,
        "the connection broke before the response was complete",
    ),
    "protocol": (
        StorageConnectionError,
        ErrorCode.BAD_ANSWER,
        "the response is not valid HTTP, or is too large",
    ),
    "proxy-connect": (
        StorageConnectionError,
        ErrorCode.PROXY_UNREACHABLE,
        "the proxy cannot be reached; check `proxy` and the environment's proxy variables",
    ),
    "proxy-timeout": (
        StorageTimeoutError,
        ErrorCode.PROXY_TIMEOUT,
        "the proxy did not make the connection to the endpoint in time",
    ),
    "proxy-password": (
        StorageConfigurationError,
        ErrorCode.PROXY_AUTHENTICATION,
        "the proxy requires a user and password, or others, in its URL (http://user:password@host:port)",
    ),
    "proxy-refused": (
        StorageConfigurationError,
        ErrorCode.PROXY_REFUSED,
        "the proxy does not permit connections to the endpoint; ask its operator, or bypass it with NO_PROXY",
    ),
    "proxy-failed": (
        StorageConnectionError,
        ErrorCode.PROXY_FAILED,
        "the proxy could not make the connection to the endpoint, or does not speak HTTP correctly",
    ),
}


def connection_error(failure: WireError) -> StorageError:
    """The error that reports a `WireError`."""
    kind, code, message = _MEANINGS[failure.kind]
    return kind(f"{message} ({failure.detail})" if failure.detail else message, code=code)


def proxy_failure(status: int) -> WireKind:
    """What a response means that a proxy sent instead of the origin.

    Args:
        status: HTTP status, not a successful one.

    Source: RFC 9110 section 15.5.8: 407 is a proxy's, before it forwards anything.
    """
    if status in _PASSWORDS:
        return "proxy-password"
    if status in _TOO_LATE:
        return "proxy-timeout"
    return "proxy-failed" if status in _MAY_PASS else "proxy-refused"


PASSWORD_WANTED = 407
_PASSWORDS = frozenset({401, PASSWORD_WANTED})  # tinyproxy responds 401 to a wrong password.
_TOO_LATE = frozenset({408, 504})
_MAY_PASS = frozenset({429, *range(500, 600)})
