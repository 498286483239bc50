"""The headers of a write: what is the same for all writes with the same options is made once."""

from __future__ import annotations

from collections.abc import Mapping

from credstore.driver.same_options import SameOptions
from credstore.driver.values import DIGEST, WRITE_ID, PutRequest
from credstore.drivers.s3.dialect import S3Dialect
from credstore.drivers.s3.headers import (
    META,
    SHA256,
    condition_headers,
    content_headers,
    encryption_headers,
    format_sha256,
    metadata_headers,
    storage_headers,
)
from credstore.drivers.s3.requests import object_headers
from credstore.model import NOTHING


class PutHeaders:
    """Makes the headers of one bucket's writes."""

    def __init__(self, dialect: S3Dialect) -> None:
        """Keep none yet."""
        self._dialect = dialect
        self._same = SameOptions(_same)

    def of(self, request: PutRequest, digest: bytes | None) -> dict[str, str]:
        """All headers that describe a new object, and the condition it is written under.

        Args:
            request: The write.
            digest: SHA-256 of the body to record, or None.

        Raises:
            StorageUnsupportedError: The cloud cannot do what is requested.
            StorageInvalidRequestError: A header cannot be sent over HTTP.
        """
        same = self._same.of(request, self._dialect)
        if same is None:
            headers = object_headers(request, self._dialect, digest)
            headers.update(condition_headers(request.precondition, self._dialect))
            return self._checked(headers, digest)
        headers = same.copy()
        if request.metadata is not NOTHING:
            headers.update(metadata_headers({**request.metadata, **request.system}))
        elif request.system is not NOTHING:
            headers.update(_system.of(request.system))
        headers[META + WRITE_ID] = request.write_id
        if digest is not None:
            headers[META + DIGEST] = digest.hex()
        return self._checked(headers, digest)

    def _checked(self, headers: dict[str, str], digest: bytes | None) -> dict[str, str]:
        """With the checksum that the cloud compares, keeps and reports, where it is one that does."""
        if digest is not None and self._dialect.checks_sha256:
            headers[SHA256] = format_sha256(digest)
        return headers


class _Latest:
    """The headers of one mapping: a write to several members has the same one for all."""

    def __init__(self) -> None:
        # One value, replaced whole: loops of other threads share it.
        self._kept: tuple[Mapping[str, str], dict[str, str]] = NOTHING, {}

    def of(self, mapping: Mapping[str, str]) -> dict[str, str]:
        kept = self._kept
        if kept[0] is not mapping:
            kept = self._kept = mapping, metadata_headers(mapping)
        return kept[1]


_system = _Latest()


def _same(request: PutRequest, dialect: S3Dialect) -> dict[str, str]:
    """What does not depend on the object."""
    return {
        **content_headers(request.headers),
        **encryption_headers(request.encryption, dialect),
        **storage_headers(request.storage_class, NOTHING, dialect),
        **condition_headers(request.precondition, dialect),
    }
