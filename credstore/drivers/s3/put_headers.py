"""The headers of a write: what is the same for all writes with the same options is made once.

Rules of this file: what is kept holds no secret and nothing that its owner could change; a few are kept.
"""

from __future__ import annotations

from typing import NamedTuple

from credstore.driver.values import DIGEST, WRITE_ID, ContentHeaders, Precondition, PutRequest
from credstore.drivers.s3.dialect import S3Dialect
from credstore.drivers.s3.headers import (
    META,
    condition_headers,
    content_headers,
    encryption_headers,
    metadata_headers,
    storage_headers,
)
from credstore.drivers.s3.requests import object_headers
from credstore.encryption import CustomerKey, ServerEncryption
from credstore.model import NOTHING

_MOST = 64


class _Kept(NamedTuple):
    """Options, and the headers they make."""

    content: ContentHeaders
    precondition: Precondition
    encryption: ServerEncryption | None
    storage_class: str | None
    headers: dict[str, str]


class PutHeaders:
    """Makes the headers of one bucket's writes."""

    def __init__(self, dialect: S3Dialect) -> None:
        """Keep none yet."""
        self._dialect = dialect
        self._kept: dict[int, _Kept] = {}

    def of(self, request: PutRequest, digest: bytes | None) -> dict[str, str]:
        """All headers that describe a new object, and the condition it is written under.

        Args:
            request: The write.
            digest: SHA-256 of the body to record, or None.

        Raises:
            StorageUnsupportedError: The cloud cannot do what is requested.
            StorageInvalidRequestError: A header cannot be sent over HTTP.
        """
        # An identity costs less than asking a mapping whether it is empty.
        rare = not (request.tags is request.extras is request.driver_options is NOTHING)
        if rare or request.retention is not None or isinstance(request.encryption, CustomerKey):
            return object_headers(request, self._dialect, digest) | condition_headers(
                request.precondition, self._dialect
            )
        headers = self._same(request).copy()
        if not (request.metadata is request.system is NOTHING):
            headers.update(metadata_headers({**request.metadata, **request.system}))
        headers[META + WRITE_ID] = request.write_id
        if digest is not None:
            headers[META + DIGEST] = digest.hex()
        return headers

    def _same(self, request: PutRequest) -> dict[str, str]:
        """What does not depend on the object."""
        # By identity: hashing and comparing values would cost as much as what is saved.
        kept = self._kept.get(id(request.headers))
        if (
            kept is not None
            and kept.content is request.headers
            and kept.precondition is request.precondition
            and kept.encryption is request.encryption
            and kept.storage_class is request.storage_class
        ):
            return kept.headers
        headers = {
            **content_headers(request.headers),
            **encryption_headers(request.encryption, self._dialect),
            **storage_headers(request.storage_class, NOTHING, self._dialect),
            **condition_headers(request.precondition, self._dialect),
        }
        if len(self._kept) >= _MOST:
            self._kept.clear()
        self._kept[id(request.headers)] = _Kept(
            request.headers, request.precondition, request.encryption, request.storage_class, headers
        )
        return headers
