"""Whether a request was signed by who it says, from its received bytes alone (SigV4, header and query).

Source: AWS General Reference, "Signature Version 4"; S3 API, "Authenticating Requests".
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, unquote

from tests.faults.messages import Request, S3Error

SKEW = 15 * 60
LONGEST = 7 * 24 * 3600
_HEADER = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^,\s]+), ?SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})"
)


@dataclass
class Account:
    """One set of keys; `expired` makes every request with it fail as S3 does."""

    access_key_id: str
    secret: str
    token: str | None = None
    expired: bool = False


@dataclass(frozen=True)
class _Claim:
    scope: list[str]
    signed_headers: list[str]
    signature: str
    date: str
    payload_hash: str
    token: str | None
    expires: int | None


def verify(request: Request, accounts: Mapping[str, Account], region: str, now: float) -> None:
    """Raise the error S3 answers with unless the request may pass."""
    claim = _claim(request)
    key_id, day, claimed_region, service, end = claim.scope
    account = accounts.get(key_id)
    if account is None:
        raise S3Error(403, "InvalidAccessKeyId")
    if account.expired:
        raise S3Error(400, "ExpiredToken")
    if claim.token != account.token:
        raise S3Error(400, "InvalidToken")
    if claimed_region != region:
        raise S3Error(400, "AuthorizationHeaderMalformed", Region=region)
    if (service, end, day) != ("s3", "aws4_request", claim.date[:8]):
        raise S3Error(400, "AuthorizationHeaderMalformed")
    _check_time(claim, now)
    unsigned = [
        name for name in request.headers if name.startswith("x-amz-") and name not in claim.signed_headers
    ]
    if "host" not in claim.signed_headers or unsigned:
        raise S3Error(403, "AccessDenied", "There were headers present in the request which were not signed")
    if not hmac.compare_digest(_signature(request, claim, account.secret), claim.signature):
        raise S3Error(403, "SignatureDoesNotMatch")


def _claim(request: Request) -> _Claim:
    query = request.query
    if "X-Amz-Signature" in query:
        expires = query.get("X-Amz-Expires", "")
        if not expires.isdigit() or not 1 <= int(expires) <= LONGEST:
            raise S3Error(400, "AuthorizationQueryParametersError")
        return _Claim(
            _scope(query.get("X-Amz-Credential", "")),
            query.get("X-Amz-SignedHeaders", "").split(";"),
            query["X-Amz-Signature"],
            query.get("X-Amz-Date", ""),
            "UNSIGNED-PAYLOAD",
            query.get("X-Amz-Security-Token"),
            int(expires),
        )
    header = request.headers.get("authorization")
    if header is None:
        raise S3Error(403, "AccessDenied")
    found = _HEADER.fullmatch(header)
    if found is None or "x-amz-content-sha256" not in request.headers:
        raise S3Error(400, "AuthorizationHeaderMalformed")
    return _Claim(
        _scope(found[1]),
        found[2].split(";"),
        found[3],
        request.headers.get("x-amz-date", ""),
        request.headers["x-amz-content-sha256"],
        request.headers.get("x-amz-security-token"),
        None,
    )


def _scope(credential: str) -> list[str]:
    scope = credential.rsplit("/", 4)
    if len(scope) != 5:
        raise S3Error(400, "AuthorizationHeaderMalformed")
    return scope


def _check_time(claim: _Claim, now: float) -> None:
    try:
        signed = datetime.strptime(claim.date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise S3Error(403, "AccessDenied", "a valid x-amz-date is needed") from None
    if claim.expires is None:
        if abs(now - signed) > SKEW:
            raise S3Error(403, "RequestTimeTooSkewed")
    elif now > signed + claim.expires:
        raise S3Error(403, "AccessDenied", "Request has expired")
    elif signed > now + SKEW:
        raise S3Error(403, "AccessDenied", "Request is not yet valid")


def _signature(request: Request, claim: _Claim, secret: str) -> str:
    path, _, query = request.target.partition("?")
    pairs = [piece.partition("=")[::2] for piece in query.split("&") if piece]
    canonical_query = sorted(
        f"{_encode(name)}={_encode(value)}" for name, value in pairs if name != "X-Amz-Signature"
    )
    headers = "".join(
        f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in claim.signed_headers
    )
    canonical = "\n".join(
        [
            request.method,
            _encode(path, safe="/"),
            "&".join(canonical_query),
            headers,
            ";".join(claim.signed_headers),
            claim.payload_hash,
        ]
    )
    scope = "/".join(claim.scope[1:])
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    key = b"AWS4" + secret.encode()
    for part in claim.scope[1:]:
        key = hmac.digest(key, part.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{claim.date}\n{scope}\n{hashed}"
    return hmac.digest(key, text.encode(), "sha256").hex()


def _encode(text: str, safe: str = "") -> str:
    return quote(unquote(text), safe=safe + "-_.~")
