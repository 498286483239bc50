"""A cloud is a row: how each S3-speaking store differs from AWS S3. Pure data.

Rules of this file: a row grants only what is known to be enforced there (allow-list); what a cloud
would silently ignore is not granted, so it is refused before anything is sent. What a row grants was
tried on a real server, or is in the document it names; another server that speaks S3 is equal to none of
them, and its user may state what it does (`stated.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from credstore.config.registry import cloud_named
from credstore.config.settings import GIB
from credstore.config.stores import S3FamilyConfig
from credstore.driver.values import Capabilities
from credstore.drivers.s3.address import is_elsewhere
from credstore.errors import RetentionMode
from credstore.model import Method

TIB = 1024 * GIB
LINKS: frozenset[Method] = frozenset({"GET", "HEAD", "PUT", "DELETE"})
OWN_METADATA = 256
"""Bytes kept free for credstore's own names (write-id, digest, codec) in addition to the user's metadata."""
MAX_PARTS = 10_000
MODES: frozenset[RetentionMode] = frozenset({"governance", "compliance"})
"""Of Object Lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Dialect:
    """One cloud's S3.

    Attributes:
        name: Label of the row.
        grounds: What it stands on: the server that was run, or the document and live test of others.
        capabilities: What users may ask for.
        quoted_if_match: `If-Match` carries the etag in quotes, as HTTP says; Spaces responds 412 to it.
        create_by_multipart: Completing an upload honours `If-None-Match: *`.
        replace_by_multipart: Completing an upload honours `If-Match`.
        create_by_copy: Name of the header that makes CopyObject only create, or None.
        replace_by_copy: CopyObject honours `If-Match` on the destination.
        pinned_copy: CopyObject and UploadPartCopy honour `x-amz-copy-source-if-match`. Where they do not,
            nothing is rewritten in place before what was copied is proved, and since some servers decode keys
            twice, a copy from a key that decodes to another is read back if its entity tag proves nothing.
        copy_keeps_tags: CopyObject keeps the source's tags although the metadata is replaced; where it does
            not, or at an endpoint that is not the cloud's own, they are read before and written afterwards.
        checks_sha256: PutObject and CopyObject compute the SHA-256 of the whole object where they are asked
            to, and report it; what only repeats the header that was sent is not meant.
        unversioned: The cloud has no versions at all, so a delete leaves nothing behind.
        acl: Canned ACLs are accepted.
        url_encoded_list: ListObjectsV2 is asked for percent-encoded keys.
        forbidden_may_be_missing: 403 is also the response for a bucket that does not exist.
        nfc_keys: The cloud rewrites keys to Unicode NFC, so others are refused.
        max_single_put: Bytes of one PutObject or part.
    """

    name: str
    grounds: str
    capabilities: Capabilities
    quoted_if_match: bool = True
    create_by_multipart: bool = False
    replace_by_multipart: bool = False
    create_by_copy: str | None = None
    replace_by_copy: bool = False
    pinned_copy: bool = False
    copy_keeps_tags: bool = False
    checks_sha256: bool = False
    unversioned: bool = False
    acl: bool = False
    url_encoded_list: bool = True
    forbidden_may_be_missing: bool = False
    nfc_keys: bool = False
    max_single_put: int = 5 * GIB

    @property
    def object_lock(self) -> bool:
        """Whether retention and legal hold are accepted (Object Lock)."""
        return bool(self.capabilities.retention_modes)

    def format_if_match(self, etag: str) -> str:
        """An entity tag as this cloud expects it in `If-Match`."""
        return f'"{etag}"' if self.quoted_if_match else etag


LEAST = Capabilities(
    conditional_create=False,
    conditional_replace=False,
    conditional_delete=False,
    delete_tells_existence=False,
    durable=True,
    multipart=True,
    resumable=True,
    presign=LINKS,
    response_overrides=True,
    tags=False,
    versions=False,
    storage_classes=frozenset(),
    sse_s3=False,
    sse_s3_implied=False,
    sse_kms=False,
    sse_c=False,
    ordered=False,
    max_metadata_size=2048 - OWN_METADATA,
    max_object_size=5 * TIB,
)
"""What every store that speaks S3 can be relied on for."""
KNOWN = replace(LEAST, content_etags=True, ordered=True)
"""The same for those that list in the order of names, and whose entity tags are known: the MD5 of the bytes,
or derived from the parts' MD5s.

Source: S3 API ListObjectsV2, "returned sorted in an ascending order of the respective key names".
"""

S3 = S3Dialect(
    name="s3",
    grounds="docs.aws.amazon.com/AmazonS3/latest/API; live runs of others on AWS, October 2026",
    capabilities=replace(
        KNOWN,
        conditional_create=True,
        conditional_replace=True,
        conditional_delete=True,
        tags=True,
        versions=True,
        retention_modes=MODES,
        legal_holds=True,
        storage_classes=frozenset(
            {
                "STANDARD",
                "REDUCED_REDUNDANCY",
                "STANDARD_IA",
                "ONEZONE_IA",
                "INTELLIGENT_TIERING",
                "GLACIER_IR",
                "GLACIER",
                "DEEP_ARCHIVE",
            }
        ),
        sse_s3=True,
        sse_kms=True,
        sse_c=True,
        upload_forms=True,
        copy_digests=True,
        max_object_size=MAX_PARTS * 5 * GIB,
    ),
    create_by_multipart=True,
    replace_by_multipart=True,
    create_by_copy="if-none-match",
    replace_by_copy=True,
    pinned_copy=True,
    copy_keeps_tags=True,
    checks_sha256=True,
    acl=True,
)

R2 = S3Dialect(
    name="r2",
    grounds="developers.cloudflare.com/r2/api/s3; live runs of others on R2, October 2026",
    capabilities=replace(
        KNOWN,
        conditional_create=True,
        conditional_replace=True,
        storage_classes=frozenset({"STANDARD", "STANDARD_IA"}),
        sse_s3_implied=True,
        sse_c=True,
        max_metadata_size=8192 - OWN_METADATA,
        max_object_size=int(4.995 * TIB),
    ),
    create_by_multipart=True,
    create_by_copy="cf-copy-destination-if-none-match",
    pinned_copy=True,
    unversioned=True,
    forbidden_may_be_missing=True,
    nfc_keys=True,
    max_single_put=int(4.995 * GIB),
)

SPACES = S3Dialect(
    name="spaces",
    grounds="docs.digitalocean.com/products/spaces, S3 compatibility; live runs of others, October 2026",
    capabilities=replace(KNOWN, conditional_create=True, conditional_replace=True, versions=True, sse_c=True),
    quoted_if_match=False,
    acl=True,
    url_encoded_list=False,
)

WASABI = S3Dialect(
    name="wasabi",
    grounds="docs.wasabi.com, S3 API reference and Object Lock; live runs of others, October 2026",
    capabilities=replace(KNOWN, versions=True, retention_modes=MODES, legal_holds=True),
    acl=True,
)

B2 = S3Dialect(
    name="b2",
    grounds="backblaze.com/docs/cloud-storage-s3-compatible-api; live runs of others, October 2026",
    capabilities=replace(
        KNOWN,
        versions=True,
        retention_modes=MODES,
        legal_holds=True,
        sse_s3=True,
        sse_c=True,
        max_object_size=10 * 1000**4,
    ),
    pinned_copy=True,
    max_single_put=5 * 1000**3,
)

MINIO = S3Dialect(
    name="minio",
    grounds="github.com/minio/minio, docs and source of the releases of 2025",
    capabilities=replace(
        KNOWN,
        conditional_create=True,
        conditional_replace=True,
        tags=True,
        versions=True,
        retention_modes=MODES,
        legal_holds=True,
        sse_c=True,
        upload_forms=True,
    ),
    create_by_multipart=True,
    checks_sha256=True,
    acl=True,
)

CEPH = S3Dialect(
    name="ceph",
    grounds="what Ceph RGW 16.2.15 did when it was tried by hand, November 2026",
    capabilities=replace(
        KNOWN,
        conditional_create=True,
        conditional_replace=True,
        tags=True,
        versions=True,
        retention_modes=MODES,
        legal_holds=True,
        storage_classes=frozenset({"STANDARD", "STANDARD_IA"}),
        sse_kms=True,
        sse_c=True,
        upload_forms=True,
    ),
    quoted_if_match=False,
    acl=True,
    url_encoded_list=False,
)

GENERIC = S3Dialect(name="generic", grounds="trusted with the least of all rows", capabilities=LEAST)

DIALECTS = {row.name: row for row in (S3, R2, SPACES, WASABI, B2, MINIO, CEPH, GENERIC)}


def row_for(config: S3FamilyConfig) -> S3Dialect:
    """The row of the cloud a configuration is for; an unknown class is trusted with the least."""
    row = cloud_named(config.cloud)
    if row is None:
        return GENERIC
    dialect = DIALECTS[row.dialect]
    if row.hosts and is_elsewhere(config):
        # What answers there is another server, with an order of its own, and digests from wherever.
        able = replace(dialect.capabilities, ordered=False, copy_digests=False)
        return replace(dialect, capabilities=able, checks_sha256=False)
    return dialect
