"""V4 signatures: a URL that lets whoever has it do one thing to one object for a while, or a form. Pure.

Source: "V4 signing process" and "Canonical requests" of cloud.google.com/storage/docs/authentication;
compared with google-cloud-storage's in `tests/wire/test_google_signatures.py`.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from credstore.model import NOTHING
from credstore.wire.urls import encode_query, host_of

ALGORITHM = "GOOG4-RSA-SHA256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsigned:
    """A link before it is signed.

    Attributes:
        method: The one method that it is for.
        origin: Scheme, host and port.
        path: Percent-encoded.
        signed_at: Whole seconds, UTC.
        expires_in: Seconds after that.
        query: What else the URL says, decoded.
        headers: What its holder has to send, by lower-case name.
    """

    method: str
    origin: str
    path: str
    signed_at: datetime
    expires_in: int
    query: Mapping[str, str] = field(default=NOTHING)
    headers: Mapping[str, str] = field(default=NOTHING)

    @property
    def scope(self) -> str:
        """Day and service that the signature is limited to."""
        return f"{self.signed_at.astimezone(UTC):%Y%m%d}/auto/storage/goog4_request"


def signable(link: Unsigned, account: str) -> tuple[str, bytes]:
    """The URL without its signature, and the text to sign with RSA-SHA256.

    Args:
        link: What to sign.
        account: E-mail address of the service account that signs.
    """
    headers = {"host": host_of(link.origin), **{name: _folded(value) for name, value in link.headers.items()}}
    names = sorted(headers)
    moment = f"{link.signed_at.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    said = {
        **link.query,
        "X-Goog-Algorithm": ALGORITHM,
        "X-Goog-Credential": f"{account}/{link.scope}",
        "X-Goog-Date": moment,
        "X-Goog-Expires": str(link.expires_in),
        "X-Goog-SignedHeaders": ";".join(names),
    }
    query = encode_query(list(said.items()))
    canonical = "".join([f"{name}:{headers[name]}\n" for name in names])
    request = "\n".join(
        (link.method, link.path, query, canonical, said["X-Goog-SignedHeaders"], "UNSIGNED-PAYLOAD")
    )
    text = "\n".join((ALGORITHM, moment, link.scope, hashlib.sha256(request.encode()).hexdigest()))
    return f"{link.origin}{link.path}?{query}", text.encode()


def signed_url(url: str, signature: bytes) -> str:
    """The URL with its signature."""
    return f"{url}&X-Goog-Signature={signature.hex()}"


def form_fields(
    conditions: Sequence[object], account: str, *, expires_at: datetime, now: datetime
) -> dict[str, str]:
    """The fields that the policy of an upload form adds to those of its conditions, but for its signature.

    Args:
        conditions: What an upload has to be, in the form of the policy document.
        account: E-mail address of the service account that signs `policy` as it is, with RSA-SHA256.
        expires_at: When the form expires, timezone-aware.
        now: Time of the signature, timezone-aware.

    Source: "Policy document" and "POST Object" of cloud.google.com/storage/docs/xml-api.
    """
    moment = now.astimezone(UTC)
    fields = {
        "x-goog-date": f"{moment:%Y%m%dT%H%M%SZ}",
        "x-goog-credential": f"{account}/{moment:%Y%m%d}/auto/storage/goog4_request",
        "x-goog-algorithm": ALGORITHM,
    }
    policy = {
        "conditions": [*conditions, *({name: value} for name, value in fields.items())],
        "expiration": f"{expires_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
    }
    return {**fields, "policy": b64encode(json.dumps(policy, separators=(",", ":")).encode()).decode()}


def _folded(value: str) -> str:
    """A header's value with single spaces, as it is signed."""
    return " ".join(value.split())
