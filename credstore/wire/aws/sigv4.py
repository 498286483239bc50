"""AWS Signature Version 4 for S3, as headers, as a query string and as fields of a form. Pure.

Rules of this file: time and keys are arguments; a path is signed exactly as it is sent, since S3
neither merges slashes nor resolves dots; everything that is given is signed. The oracle of its
property test is botocore's signer.

Source: AWS "Authenticating Requests (Signature Version 4)" of the S3 API, header and query form.
"""

from __future__ import annotations

import hmac
import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from operator import itemgetter
from typing import TYPE_CHECKING

from credstore.wire.urls import encode, encode_query, join_query

if TYPE_CHECKING:
    from credstore.wire.aws.credentials import Credentials

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
"""Replaces a body's hash where it is not signed; the only form links use."""
_BLANKS = re.compile(r"[ \t]+")


def sign_headers(
    *,
    method: str,
    host: str,
    path: str,
    query: Sequence[tuple[str, str]],
    headers: Mapping[str, str],
    payload_hash: str,
    credentials: Credentials,
    region: str,
    service: str,
    now: datetime,
) -> dict[str, str]:
    """Sign a request with headers.

    Args:
        method: HTTP method, upper case.
        host: Value of the Host header.
        path: Percent-encoded, exactly as sent.
        query: Decoded pairs, sent as `encode_query` returns them.
        headers: Every header to sign, besides the host and those returned; values must be sent with the same
            text, apart from repeated blanks.
        payload_hash: Hex SHA-256 of the body, or `UNSIGNED_PAYLOAD`.
        credentials: Who signs.
        region: Of the bucket.
        service: For example "s3".
        now: Time of the signature, timezone-aware.

    Returns:
        The headers to add, by lower-case name.
    """
    stamp = stamp_of(int(now.timestamp()))
    return added_headers(
        method, host, path, query, headers, payload_hash, credentials, region, service, stamp
    )


def added_headers(  # noqa: PLR0917 - matching names by keyword would cost more than signing
    method: str,
    host: str,
    path: str,
    query: Sequence[tuple[str, str]],
    headers: Mapping[str, str],
    payload_hash: str,
    credentials: Credentials,
    region: str,
    service: str,
    stamp: str,
) -> dict[str, str]:
    """The same as `sign_headers`, for a time as `stamp_of` writes it."""
    added = {"x-amz-content-sha256": payload_hash, "x-amz-date": stamp}
    if credentials.session_token is not None:
        added["x-amz-security-token"] = credentials.session_token.reveal()
    names, lines = _canonical_headers({**headers, **added, "host": host})
    request = f"{method}\n{path}\n{encode_query(query) if query else ''}\n{lines}\n{names}\n{payload_hash}"
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    added["authorization"] = (
        f"{ALGORITHM} Credential={credentials.access_key_id}/{scope}, "
        f"SignedHeaders={names}, Signature={_signature(request, stamp, scope, credentials)}"
    )
    return added


def presign_query(
    *,
    method: str,
    host: str,
    path: str,
    query: Sequence[tuple[str, str]],
    headers: Mapping[str, str],
    expires_in: int,
    credentials: Credentials,
    region: str,
    service: str,
    now: datetime,
) -> str:
    """Sign a request in its query string, so that the URL alone grants access.

    Args:
        method: HTTP method, upper case.
        host: Value of the Host header the holder will send.
        path: Percent-encoded, exactly as in the URL.
        query: Decoded pairs besides those of the signature.
        headers: What the holder must send, verbatim.
        expires_in: Seconds from `now`, 1 to 604,800.
        credentials: Who signs.
        region: Of the bucket.
        service: For example "s3".
        now: Time of the signature, timezone-aware.

    Returns:
        The complete query string, without "?".
    """
    stamp = stamp_of(int(now.timestamp()))
    names, lines = _canonical_headers({**headers, "host": host})
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    pairs = [
        *((encode(name), encode(value)) for name, value in query),
        ("X-Amz-Algorithm", ALGORITHM),
        ("X-Amz-Credential", encode(f"{credentials.access_key_id}/{scope}")),
        ("X-Amz-Date", stamp),
        ("X-Amz-Expires", str(expires_in)),
        ("X-Amz-SignedHeaders", encode(names)),
    ]
    if credentials.session_token is not None:
        pairs.append(("X-Amz-Security-Token", encode(credentials.session_token.reveal())))
    encoded = join_query(pairs)
    request = f"{method}\n{path}\n{encoded}\n{lines}\n{names}\n{UNSIGNED_PAYLOAD}"
    return f"{encoded}&X-Amz-Signature={_signature(request, stamp, scope, credentials)}"


def form_fields(
    *,
    conditions: Sequence[object],
    expires_at: datetime,
    credentials: Credentials,
    region: str,
    service: str,
    now: datetime,
) -> dict[str, str]:
    """Sign the policy of an upload form, so that the form alone grants access.

    Args:
        conditions: What an upload has to be, in the form of the policy document.
        expires_at: When the form expires, timezone-aware.
        credentials: Who signs.
        region: Of the bucket.
        service: For example "s3".
        now: Time of the signature, timezone-aware.

    Returns:
        The fields that the policy adds to those of its conditions.

    Source: "POST policy" and "Calculating a signature" of "Browser-based uploads using POST (AWS Signature
        Version 4)".
    """
    stamp = stamp_of(int(now.timestamp()))
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    fields = {
        "x-amz-algorithm": ALGORITHM,
        "x-amz-credential": f"{credentials.access_key_id}/{scope}",
        "x-amz-date": stamp,
    }
    if credentials.session_token is not None:
        fields["x-amz-security-token"] = credentials.session_token.reveal()
    policy = {
        "expiration": expires_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "conditions": [*conditions, *({name: value} for name, value in fields.items())],
    }
    encoded = b64encode(json.dumps(policy).encode()).decode()
    return {**fields, "policy": encoded, "x-amz-signature": _mac(encoded, scope, credentials)}


@lru_cache(maxsize=4)
def stamp_of(seconds: int) -> str:
    """The time of a signature, from Unix seconds; the same for all that are made in one second.

    >>> stamp_of(1369353600)
    '20130524T000000Z'
    """
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%SZ")


def _canonical_headers(headers: Mapping[str, str]) -> tuple[str, str]:
    """The signed names joined by ";" and one line for each, both in the order of the names."""
    names, lines, in_order = _form(tuple(headers))
    text = lines % in_order(headers)
    # Most values have no blank at all.
    if (" " in text or "\t" in text) and _may_need_folding(text):
        text = lines % tuple([_folded(value) for value in in_order(headers)])
    return names, text


@lru_cache(maxsize=256)
def _form(
    names: tuple[str, ...],
) -> tuple[str, str, Callable[[Mapping[str, str]], tuple[str, ...]]]:
    """What is the same for all requests with these headers: what is signed, and the lines with their gaps."""
    ordered = sorted([(name.lower(), name) for name in names])
    lines = "".join([f"{lower.replace('%', '%%')}:%s\n" for lower, _ in ordered])
    sent = [name for _, name in ordered]

    def in_order(headers: Mapping[str, str]) -> tuple[str, ...]:
        return tuple([headers[name] for name in sent])

    # Of one name, itemgetter would return no tuple.
    several: Callable[[Mapping[str, str]], tuple[str, ...]] = itemgetter(*sent) if len(sent) > 1 else in_order
    return ";".join([lower for lower, _ in ordered]), lines, several


def _may_need_folding(lines: str) -> bool:
    return "  " in lines or "\t" in lines or ": " in lines or " \n" in lines


def _folded(value: str) -> str:
    """Repeated blanks become one; those at the ends are removed."""
    if "  " in value or "\t" in value:
        value = _BLANKS.sub(" ", value)
    return value.strip(" ")


def _signature(request: str, stamp: str, scope: str, credentials: Credentials) -> str:
    hashed = sha256(request.encode()).hexdigest()
    return _mac(f"{ALGORITHM}\n{stamp}\n{scope}\n{hashed}", scope, credentials)


def _mac(text: str, scope: str, credentials: Credentials) -> str:
    signing = _keyed(credentials.secret_access_key.reveal(), scope).copy()
    signing.update(text.encode())
    return signing.hexdigest()


@lru_cache(maxsize=64)
def _keyed(secret: str, scope: str) -> hmac.HMAC:
    """HMAC with the key derived from a secret for one scope: a day, a region and a service."""
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, digestmod="sha256")
