"""What Google Cloud Storage can do, as facts, and what an emulator or a server of the user's lacks. Pure.

Source: "JSON API", "Request preconditions", "Quotas & limits" of cloud.google.com/storage/docs.
"""

from __future__ import annotations

from dataclasses import replace

from credstore.config.gcs import GcsConfig
from credstore.config.reports import said_of
from credstore.driver.stated import restated
from credstore.driver.values import Capabilities
from credstore.model import Method

NAME = "gcs"
MAX_BATCH = 100
CLASSES = ("STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE")
_ALL: frozenset[Method] = frozenset({"GET", "HEAD", "PUT", "DELETE"})
CONDITIONS = ("conditional_create", "conditional_replace", "conditional_delete")
_OWN_METADATA = 512
"""Bytes kept free for credstore's own names, in addition to the user's."""
GOOGLE = Capabilities(
    conditional_create=True,
    conditional_replace=True,
    conditional_delete=True,
    delete_tells_existence=True,
    durable=True,
    multipart=True,
    resumable=True,
    presign=_ALL,
    response_overrides=True,
    tags=False,
    versions=True,
    retention_modes=frozenset({"governance", "compliance"}),
    legal_holds=True,
    storage_classes=frozenset(CLASSES),
    sse_s3=False,
    sse_s3_implied=True,
    sse_kms=True,
    sse_c=True,
    upload_forms=True,
    max_metadata_size=8192 - _OWN_METADATA,
    max_object_size=5 * 1024**4,
    max_delete_batch=MAX_BATCH,
)
_MAY_LACK = ("response_overrides", "sse_c", "sse_kms", "upload_forms", "versions", *CONDITIONS)


def capabilities_of(config: GcsConfig) -> Capabilities:
    """What a store can do: links need credentials, and an emulator keeps no promises of conditions.

    gcp-storage-emulator ignores `ifGenerationMatch` and keeps no generations but the last; others differ.

    Raises:
        StorageConfigurationError: `capabilities` has an unknown name, grants something without a report, or
            names a report that does not count.
    """
    able = most = GOOGLE
    if config.emulator_host is not None:
        able = replace(
            without_conditions(able),
            versions=False,
            sse_kms=False,
            sse_c=False,
            retention_modes=frozenset(),
            legal_holds=False,
        )
    if config.is_anonymous:
        able = replace(able, presign=frozenset(), response_overrides=False, upload_forms=False)
        most = replace(most, response_overrides=False, upload_forms=False)
    return restated(able, said_of(config), _MAY_LACK, most=most)


def without_conditions(able: Capabilities) -> Capabilities:
    """The same for a server that ignores conditions."""
    return replace(able, conditional_create=False, conditional_replace=False, conditional_delete=False)
