"""Links that Google itself checks: an object's URL with a V4 signature of a service account.

Rules of this file: local computation where there is a private key; else IAM signs, one request a link.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from credstore.driver.refusals import FORM_KEYS, FORM_MD5, UPLOAD_FORMS, check_sign
from credstore.driver.upload_forms import FormParts, FormRequest, form_parts
from credstore.driver.values import SignedRequest, SignRequest
from credstore.drivers.gcs.bucket import Bucket
from credstore.drivers.gcs.capabilities import NAME
from credstore.errors import StorageInvalidRequestError
from credstore.model import UploadForm
from credstore.wire.exchange import CREDENTIALS
from credstore.wire.google.tokens import GoogleSource
from credstore.wire.google.v4 import Unsigned, form_fields, signable, signed_url
from credstore.wire.waiting import within

MAX_EXPIRES = 604_800
"""Seconds (7 days) that a V4 signature lasts at most."""
OVERRIDES = {
    "content-disposition": "response-content-disposition",
    "content-type": "response-content-type",
}
"""Response headers that a link can impose, to its parameters: the XML API has no others."""
_DOTS = frozenset({".", ".."})


async def sign(
    bucket: Bucket, source: GoogleSource, request: SignRequest, clock: Callable[[], float]
) -> SignedRequest:
    """Make a link; see `Driver.sign`.

    Args:
        bucket: Of the object.
        source: Whose account signs.
        request: The link.
        clock: Unix seconds.

    Raises:
        StorageUnsupportedError: Google makes no such link.
        StorageInvalidRequestError: A header that no link can impose, or a time outside 1 s to 7 days.
        StorageError: The credentials are of no use.
    """
    bucket.check_usable(request.deadline)
    bucket.check_key(request.key)
    check_sign(request, bucket.able, NAME)
    if not 1 <= request.expires_in <= MAX_EXPIRES:
        raise StorageInvalidRequestError(
            f"expires_in is 1 to {MAX_EXPIRES} seconds (7 days), not {request.expires_in:g}"
        )
    unknown = request.overrides.keys() - OVERRIDES.keys()
    if unknown:
        raise StorageInvalidRequestError(
            f"a link cannot impose {', '.join(sorted(unknown))}; it can {', '.join(sorted(OVERRIDES))}"
        )
    now = datetime.fromtimestamp(int(clock() + bucket.clock_offset), UTC)
    query = {OVERRIDES[name]: value for name, value in request.overrides.items()}
    if request.version_id is not None:
        query["generation"] = request.version_id
    link = Unsigned(
        method=request.method,
        origin=bucket.origin,
        path=_path(bucket, request.key),
        signed_at=now,
        expires_in=int(request.expires_in),
        query=query,
        headers=request.headers,
    )
    url = await within(request.deadline, _signed(source, link), CREDENTIALS)
    return SignedRequest(
        url=url,
        method=request.method,
        expires_at=now + timedelta(seconds=link.expires_in),
        headers=dict(request.headers),
        served_by=bucket.label,
    )


async def _signed(source: GoogleSource, link: Unsigned) -> str:
    account = await source.account()
    url, text = signable(link, account)
    return signed_url(url, await source.sign(text))


async def upload_form(
    bucket: Bucket, source: GoogleSource, request: FormRequest, clock: Callable[[], float]
) -> UploadForm:
    """Make a form with a V4 policy; see `MakesUploadForms.upload_form`.

    Args:
        bucket: Of the object.
        source: Whose account signs.
        request: The form.
        clock: Unix seconds.

    Raises:
        StorageUnsupportedError: The server has no such forms, or none with this encryption.
        StorageInvalidRequestError: A time outside 1 s to 7 days, or a key that Google would change.
        StorageError: The credentials are of no use.
    """
    bucket.check_usable(request.deadline)
    bucket.check_key(request.key)
    if not bucket.able.upload_forms:
        raise UPLOAD_FORMS.of(NAME)
    if request.encryption is not None:
        raise FORM_KEYS.of(NAME)
    if request.content_md5 is not None:
        raise FORM_MD5.of(NAME)
    parts = form_parts(request, bucket.name)
    now = datetime.fromtimestamp(int(clock() + bucket.clock_offset), UTC)
    expires_at = now + timedelta(seconds=int(request.expires_in))
    fields = await within(request.deadline, _form(source, parts, expires_at, now), CREDENTIALS)
    return UploadForm(
        url=f"{bucket.origin}/{quote(bucket.name, safe='')}/", fields=fields, expires_at=expires_at
    )


async def _form(
    source: GoogleSource, parts: FormParts, expires_at: datetime, now: datetime
) -> dict[str, str]:
    added = form_fields(parts.conditions, await source.account(), expires_at=expires_at, now=now)
    signature = await source.sign(added["policy"].encode())
    return {**parts.fields, **added, "x-goog-signature": signature.hex()}


def _path(bucket: Bucket, key: str) -> str:
    """Path of an object at the XML API; slashes are encoded where clients would resolve a segment."""
    dotted = not _DOTS.isdisjoint(key.split("/"))
    return f"/{quote(bucket.name, safe='')}/{quote(key, safe='' if dotted else '/')}"
