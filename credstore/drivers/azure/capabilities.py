"""What Azure Blob Storage can do, as facts, and what a user says a server of theirs lacks. Pure.

Source: "Blob service REST API", version 2023-11-03, and "Scalability targets for Blob storage"; conditions,
parts, tags and copies also tried on Azurite 3.35.
"""

from __future__ import annotations

from dataclasses import replace

from credstore.config.azure import MAX_BLOCK, AzureConfig
from credstore.config.reports import said_of
from credstore.driver.stated import restated
from credstore.driver.values import Capabilities
from credstore.model import Method

NAME = "azure"
MAX_BLOCKS = 50_000
MAX_SEGMENTS = 254
TIERS = ("Hot", "Cool", "Cold", "Archive")
_ALL: frozenset[Method] = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_OWN_METADATA = 512
"""Bytes kept free for credstore's own names, which are longer here, in addition to the user's."""
AZURE = Capabilities(
    conditional_create=True,
    conditional_replace=True,
    conditional_delete=True,
    delete_tells_existence=True,
    durable=True,
    multipart=True,
    resumable=True,
    # Nothing drops uncommitted blocks before a week has passed.
    drops_parts=False,
    # A range has a start; "Specifying the range header for Blob service operations".
    suffix_at_once=False,
    presign=_ALL,
    response_overrides=True,
    tags=True,
    versions=True,
    retention_modes=frozenset({"governance", "compliance"}),
    legal_holds=True,
    storage_classes=frozenset(TIERS),
    sse_s3=False,
    sse_s3_implied=True,
    sse_kms=True,
    sse_c=True,
    # In which order Azure lists is not documented for all of Unicode; Azurite goes by UTF-16.
    ordered=False,
    max_metadata_size=8192 - _OWN_METADATA,
    max_object_size=MAX_BLOCK * MAX_BLOCKS,
    max_delete_batch=256,
)
_NAMES = ("response_overrides", "sse_c", "sse_kms", "tags", "versions")


def capabilities_of(config: AzureConfig) -> Capabilities:
    """What a store can do: links need a key, or a user to delegate from.

    Raises:
        StorageConfigurationError: `capabilities` has an unknown name, grants something without a report, or
            names a report that does not count.
    """
    able = AZURE if config.auth != "sas" else replace(AZURE, presign=frozenset(), response_overrides=False)
    able = restated(able, said_of(config), _NAMES, most=replace(able, ordered=True))
    if not able.versions:  # What policies and holds keep are versions.
        able = replace(able, retention_modes=frozenset(), legal_holds=False)
    return able
