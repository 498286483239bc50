"""Links that S3 itself checks: presigned URLs with their real expiry time.

Rules of this file: local computation only, apart from refreshing credentials; a link never claims to
outlive the credentials it was signed with; what it imposes or demands is part of the signature.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from credstore.driver.refusals import FORM_PAYS, UPLOAD_FORMS, check_sign
from credstore.driver.upload_forms import FormParts, FormRequest, form_parts
from credstore.driver.values import SignedRequest, SignRequest
from credstore.drivers.s3.address import Place
from credstore.drivers.s3.bucket import Bucket
from credstore.drivers.s3.headers import encryption_headers, format_md5
from credstore.errors import (
    ErrorCode,
    StorageAuthenticationError,
    StorageInvalidRequestError,
)
from credstore.model import UploadForm
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
    # In the query, which whoever opens the link sends without knowing.
    query = [*link_query(request), *bucket.config.request_headers.items()]
    place = await bucket.located(request.deadline)
    return await within(request.deadline, _signed(bucket, request, query, place, clock), CREDENTIALS)


async def _signed(
    bucket: Bucket,
    request: SignRequest,
    query: Sequence[tuple[str, str]],
    place: Place,
    clock: Callable[[], float],
) -> SignedRequest:
    now = datetime.fromtimestamp(int(clock() + bucket.clock_offset), UTC)
    expires_in = await _lasting(bucket, request.expires_in, now)
    path = place.path(request.key)
    signed = await bucket.signer.presign(
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


async def _lasting(bucket: Bucket, expires_in: float, now: datetime) -> int:
    """Seconds that what is signed now can last: as long as asked for, or as the credentials do."""
    lasting = int(expires_in)
    ends = await bucket.signer.expires_at()
    if ends is not None:
        lasting = min(lasting, int((ends - now).total_seconds()))
        if lasting < 1:
            raise StorageAuthenticationError(
                "the credentials have expired, so no link can be signed; renew the session",
                code=ErrorCode.CREDENTIALS_EXPIRED,
            )
    return lasting


async def upload_form(bucket: Bucket, request: FormRequest, clock: Callable[[], float]) -> UploadForm:
    """Make a form with a POST policy; see `MakesUploadForms.upload_form`.

    Args:
        bucket: Of the object.
        request: The form.
        clock: Unix seconds.

    Raises:
        StorageUnsupportedError: The cloud has no such forms, or not this encryption.
        StorageInvalidRequestError: A time outside 1 s to 7 days, or a key that the cloud would change.
        StorageAuthenticationError: The credentials expire within the second.
        StorageTimeoutError: The credentials were not available in time.
    """
    bucket.check_key(request.key)
    bucket.check_usable(request.deadline)
    dialect = bucket.dialect
    if not dialect.capabilities.upload_forms:
        raise UPLOAD_FORMS.of(dialect.name)
    if bucket.config.request_headers:
        raise FORM_PAYS.of(dialect.name)
    headers = encryption_headers(request.encryption, dialect)
    if request.content_md5 is not None:
        headers["Content-MD5"] = format_md5(request.content_md5)
    parts = form_parts(request, bucket.config.bucket, headers)
    place = await bucket.located(request.deadline)
    return await within(request.deadline, _form(bucket, request, parts, place, clock), CREDENTIALS)


async def _form(
    bucket: Bucket, request: FormRequest, parts: FormParts, place: Place, clock: Callable[[], float]
) -> UploadForm:
    now = datetime.fromtimestamp(int(clock() + bucket.clock_offset), UTC)
    expires_at = now + timedelta(seconds=await _lasting(bucket, request.expires_in, now))
    signed = await bucket.signer.sign_form(
        conditions=parts.conditions, expires_at=expires_at, region=place.region, now=now
    )
    return UploadForm(
        url=f"{place.origin}{place.path(None)}", fields={**parts.fields, **signed}, expires_at=expires_at
    )
