"""What it is called when no answer came, or none of the origin's. Pure.

Rules of this file: one row per kind of `WireError`; messages are ours, and a proxy is named without its
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
    "timeout": (StorageTimeoutError, ErrorCode.TIMEOUT, "there was no answer in time"),
    "broken": (
        StorageConnectionError,
        ErrorCode.CONNECTION_BROKEN,
        "the connection broke before the answer was complete",
    ),
    "protocol": (
        StorageConnectionError,
        ErrorCode.BAD_ANSWER,
        "the answer is not HTTP as it should be, or is too large",
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
        "the proxy wants a user and password, or other ones, in its URL (http://user:password@host:port)",
    ),
    "proxy-refused": (
        StorageConfigurationError,
        ErrorCode.PROXY_REFUSED,
        "the proxy lets nothing pass to the endpoint; ask whoever runs it, or go around it by NO_PROXY",
    ),
    "proxy-failed": (
        StorageConnectionError,
        ErrorCode.PROXY_FAILED,
        "the proxy could not make the connection to the endpoint, or does not speak HTTP as it should",
    ),
}


def connection_error(failure: WireError) -> StorageError:
    """The error a `WireError` is told as."""
    kind, code, message = _MEANINGS[failure.kind]
    return kind(f"{message} ({failure.detail})" if failure.detail else message, code=code)


def proxy_failure(status: int) -> WireKind:
    """What an answer means that a proxy gave in the origin's place.

    Args:
        status: HTTP status, not of a success.

    Source: RFC 9110 section 15.5.8: 407 is a proxy's, before it forwards anything.
    """
    if status in _PASSWORDS:
        return "proxy-password"
    if status in _TOO_LATE:
        return "proxy-timeout"
    return "proxy-failed" if status in _MAY_PASS else "proxy-refused"


PASSWORD_WANTED = 407
_PASSWORDS = frozenset({401, PASSWORD_WANTED})  # tinyproxy says 401 to a wrong one.
_TOO_LATE = frozenset({408, 504})
_MAY_PASS = frozenset({429, *range(500, 600)})
