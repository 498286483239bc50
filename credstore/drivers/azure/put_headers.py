"""The headers of Put Blob: what is the same for all writes with the same options is made once."""

from __future__ import annotations

from credstore.driver.same_options import SameOptions
from credstore.driver.values import DIGEST, WRITE_ID, Capabilities, PutRequest
from credstore.drivers.azure.capabilities import NAME
from credstore.drivers.azure.encryption import write_headers
from credstore.drivers.azure.headers import META, condition_headers, encode_name, metadata_headers
from credstore.drivers.azure.requests import object_headers
from credstore.model import NOTHING

_WRITE_ID, _DIGEST = META + encode_name(WRITE_ID), META + encode_name(DIGEST)


class PutHeaders:
    """Makes the headers of one container's writes."""

    def __init__(self) -> None:
        """Keep none yet."""
        self._same = SameOptions(_same)

    def of(self, request: PutRequest, able: Capabilities, digest: bytes | None) -> dict[str, str]:
        """All headers that describe a new blob, and the condition it is written under.

        Args:
            request: The write.
            able: Of the account.
            digest: SHA-256 of the body to record, or None.

        Raises:
            StorageUnsupportedError: Azure cannot do what is requested.
            StorageInvalidRequestError: A header cannot be sent over HTTP.
        """
        same = self._same.of(request, able)
        if same is None:
            return object_headers(request, able, digest) | _alone(request, able)
        headers = same.copy()
        if not (request.metadata is request.system is NOTHING):
            headers.update(metadata_headers({**request.metadata, **request.system}))
        headers[_WRITE_ID] = request.write_id
        if digest is not None:
            headers[_DIGEST] = digest.hex()
        return headers


def _same(request: PutRequest, able: Capabilities) -> dict[str, str]:
    """What does not depend on the object."""
    found = object_headers(request, able, None, metadata=False)
    return found | _alone(request, able)


def _alone(request: PutRequest, able: Capabilities) -> dict[str, str]:
    """What only a blob that is put whole has."""
    return {
        **condition_headers(request.precondition, able, NAME),
        **write_headers(request.encryption),
        "x-ms-blob-type": "BlockBlob",
    }
