"""Which environment variable sets which field, as data; `.env.example` is checked against it. Pure.

Each field has levels, strongest first: `CREDSTORE_<FIELD>`; then the original design's names beside
those a cloud's users already have; then what the cloud's own tools read. Within a level all names
must agree, a higher level hides the lower ones. A name that begins with a cloud's own prefix stands
only under that cloud, so no key set for one cloud is read for another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Levels = tuple[tuple[str, ...], ...]

PREFIX = "CREDSTORE_"
URL = "CREDSTORE_URL"
PROVIDER: Levels = (("CREDSTORE_PROVIDER",), ("STORAGE_PROVIDER",))
IGNORE_AWS_ENDPOINTS = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"
"""AWS's own switch: `true` makes `AWS_ENDPOINT_URL` and `AWS_ENDPOINT_URL_S3` unread."""

MILLISECONDS = frozenset({"STORAGE_TIMEOUT"})
"""Variables whose lone number is milliseconds, as in the original design."""

ORIGINAL: Mapping[str, str] = {
    "bucket": "STORAGE_BUCKET",
    "region": "STORAGE_REGION",
    "endpoint": "STORAGE_ENDPOINT",
    "cdn_url": "STORAGE_CDN_URL",
    "max_retries": "STORAGE_MAX_RETRIES",
    "timeout": "STORAGE_TIMEOUT",
    "path": "STORAGE_PATH",
}
"""Names of the original design that serve every provider."""

OWN: Mapping[str, Mapping[str, Levels]] = {
    "s3": {
        "bucket": (("AWS_BUCKET_NAME",),),
        # AWS_REGION is set by Lambda and cannot be unset there, so it never contradicts STORAGE_REGION.
        "region": ((), ("AWS_REGION",), ("AWS_DEFAULT_REGION",)),
        "endpoint": ((), ("AWS_ENDPOINT_URL_S3",), ("AWS_ENDPOINT_URL",)),
        "access_key_id": (("AWS_ACCESS_KEY_ID",),),
        "secret_access_key": (("AWS_SECRET_ACCESS_KEY",),),
        "session_token": (("AWS_SESSION_TOKEN",),),
        "profile": ((), ("AWS_PROFILE",)),
        "ca_file": ((), ("AWS_CA_BUNDLE",)),
    },
    "r2": {
        "account_id": (("R2_ACCOUNT_ID",), ("CLOUDFLARE_ACCOUNT_ID",)),
        "access_key_id": (("R2_ACCESS_KEY_ID",),),
        "secret_access_key": (("R2_SECRET_ACCESS_KEY",),),
        "bucket": (("R2_BUCKET",),),
        "endpoint": (("R2_ENDPOINT", "R2_ENDPOINT_URL"),),
        "jurisdiction": (("R2_JURISDICTION",),),
        "cdn_url": (("R2_CDN_URL",),),
        "public_url": (("R2_PUBLIC_URL",),),
    },
    "spaces": {
        "bucket": (("DO_SPACES_NAME", "DO_SPACES_BUCKET"),),
        "access_key_id": (("DO_SPACES_KEY", "SPACES_KEY", "SPACES_ACCESS_KEY_ID"),),
        "secret_access_key": (("DO_SPACES_SECRET", "SPACES_SECRET", "SPACES_SECRET_ACCESS_KEY"),),
        "region": (("DO_SPACES_REGION",),),
        "endpoint": (("DO_SPACES_ENDPOINT",),),
        "cdn_url": (("DO_SPACES_CDN_URL",),),
    },
    "wasabi": {
        "bucket": (("WASABI_BUCKET",),),
        "access_key_id": (("WASABI_ACCESS_KEY_ID", "WASABI_ACCESS_KEY"),),
        "secret_access_key": (("WASABI_SECRET_ACCESS_KEY", "WASABI_SECRET_KEY"),),
        "region": (("WASABI_REGION",),),
        "endpoint": (("WASABI_ENDPOINT",),),
        "cdn_url": (("WASABI_CDN_URL",),),
    },
    "b2": {
        "bucket": (("B2_BUCKET",),),
        "access_key_id": (("B2_APPLICATION_KEY_ID", "B2_ACCOUNT_ID"),),
        "secret_access_key": (("B2_APPLICATION_KEY", "B2_ACCOUNT_KEY"),),
        "region": (("B2_REGION",),),
        "endpoint": (("B2_ENDPOINT",),),
        "cdn_url": (("B2_CDN_URL",),),
        "download_url": (("B2_DOWNLOAD_URL",),),
    },
    # For the flavor "minio" alone; Ceph and others have the CREDSTORE_ and STORAGE_ names.
    "minio": {
        "bucket": (("MINIO_BUCKET",),),
        "endpoint": (("MINIO_ENDPOINT",),),
        "region": (("MINIO_REGION",),),
        "access_key_id": (("MINIO_ACCESS_KEY",), ("MINIO_ROOT_USER",)),
        "secret_access_key": (("MINIO_SECRET_KEY",), ("MINIO_ROOT_PASSWORD",)),
    },
}
"""Names that only one cloud has: the levels below `CREDSTORE_<FIELD>`, the first beside `ORIGINAL`."""


def levels_of(owner: str, field: str) -> Levels:
    """Variables that set a field, strongest level first.

    Args:
        owner: Canonical name of the provider; "minio" for that flavor of "custom".
        field: Of the provider's config.
    """
    beside, *below = OWN.get(owner, {}).get(field, ((),))
    original = (ORIGINAL[field],) if field in ORIGINAL else ()
    return ((PREFIX + field.upper(),), original + beside, *below)


def variables_of(owner: str, field: str) -> list[str]:
    """All variables that set a field, strongest first."""
    return [name for level in levels_of(owner, field) for name in level]


def spoken(names: Sequence[str]) -> str:
    """Names as the end of a sentence: `A`, `A or B`, `A, B or C`."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last
