"""Links that S3 itself checks: presigned URLs with their real expiry time.

Rules of this file: local computation only, apart from refreshing credentials; a link never claims to
outlive the credentials it was signed with; what it imposes or demands is part of the signature.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from credstore.driver.refusals import check_sign
from credstore.driver.values import SignedRequest, SignRequest
from credstore.drivers.s3.address import Place
from credstore.drivers.s3.bucket import Bucket
from credstore.errors import (
    ErrorCode,
    StorageAuthenticationError,
    StorageInvalidRequestError,
)
from credstore.wire.exchange import CREDENTIALS
from credstore.wire.waiting import within

MAX_EXPIRES = 604_800
"""Seconds (7 days) that SigV4 allows; S3 API "Authenticating requests: query parameters"."""
OVERRIDES = frozenset(
    {
        "content-type",
        "content-disposition",
        "content-encoding",
        "content-language",
        "cache-control",
        "expires",
    }
)


def link_query(request: SignRequest) -> list[tuple[str, str]]:
    """The parameters of a link besides its signature.

    Args:
        request: The link, which the cloud can make.

    Raises:
        StorageInvalidRequestError: A header that no link can impose, or a time outside 1 s to 7 days.
    """
    if not 1 <= request.expires_in <= MAX_EXPIRES:
        raise StorageInvalidRequestError(
            f"expires_in is 1 to {MAX_EXPIRES} seconds (7 days), not {request.expires_in:g}"
        )
    unknown = request.overrides.keys() - OVERRIDES
    if unknown:
        raise StorageInvalidRequestError(
            f"a link cannot impose {', '.join(sorted(unknown))}; it can {', '.join(sorted(OVERRIDES))}"
        )
    query = [(f"response-{name}", value) for name, value in request.overrides.items()]
    if request.version_id is not None:
        query.append(("versionId", request.version_id))
    return query


async def sign(bucket: Bucket, request: SignRequest, clock: Callable[[], float]) -> SignedRequest:
    """Make a link; see `Driver.sign`.

    Args:
        bucket: Of the object.
        request: The link.
        clock: Unix seconds.

    Raises:
        StorageUnsupportedError: The cloud does not support such a link.
        StorageAuthenticationError: The credentials expire within the second.
        StorageTimeoutError: The credentials were not available in time.
    """
    bucket.check_key(request.key)
    bucket.check_usable(request.deadline)
    check_sign(request, bucket.dialect.capabilities, bucket.dialect.name)
    query = link_query(request)
    place = await bucket.located(request.deadline)
    return await within(request.deadline, _signed(bucket, request, query, place, clock), CREDENTIALS)


async def _signed(
    bucket: Bucket,
    request: SignRequest,
    query: Sequence[tuple[str, str]],
    place: Place,
    clock: Callable[[], float],
) -> SignedRequest:
    signer = bucket.signer
    now = datetime.fromtimestamp(int(clock() + bucket.clock_offset), UTC)
    expires_in = int(request.expires_in)
    ends = await signer.expires_at()
    if ends is not None:
        expires_in = min(expires_in, int((ends - now).total_seconds()))
        if expires_in < 1:
            raise StorageAuthenticationError(
                "the credentials have expired, so no link can be signed; renew the session",
                code=ErrorCode.CREDENTIALS_EXPIRED,
            )
    path = place.path(request.key)
    signed = await signer.presign(
        method=request.method,
        origin=place.origin,
        path=path,
        query=query,
        headers=request.headers,
        expires_in=expires_in,
        region=place.region,
        now=now,
    )
    return SignedRequest(
        url=f"{place.origin}{path}?{signed}",
        method=request.method,
        expires_at=now + timedelta(seconds=expires_in),
        headers=dict(request.headers),
        served_by=bucket.label,
    )
