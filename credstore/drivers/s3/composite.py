"""The checksum of an upload in parts: the SHA-256 of the SHA-256 of its parts, as the store computes it.

Rules of this file: it proves an object that is exactly these parts in this order. A value of another kind, as
some servers report it, proves nothing and is passed over.

Source: "Checking object integrity in Amazon S3", composite checksums; S3 API CompleteMultipartUpload. S3
refuses a part without its checksum and a completion that does not list them, and writes the number of parts
behind the value, with a hyphen between.
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from hashlib import sha256

from credstore.driver.parts import Part, source_changed
from credstore.drivers.s3.headers import SHA256, format_sha256
from credstore.errors import ErrorCode, StorageIntegrityError

STARTED = {"x-amz-checksum-algorithm": "SHA256"}
"""What CreateMultipartUpload carries, of an upload whose parts have this checksum."""


class Composite:
    """The digests of the parts that were sent.

    Attributes:
        digests: SHA-256 by the number of the part.
    """

    def __init__(self) -> None:
        """Have none."""
        self.digests: dict[int, bytes] = {}

    def part(self, number: int, digest: bytes) -> dict[str, str]:
        """Take note of a part; the header that it is sent with."""
        self.digests[number] = digest
        return {SHA256: format_sha256(digest)}

    def proves(self, reported: str | None) -> bool:
        """Compare with what the store says of the object that the parts have become.

        Args:
            reported: Its checksum as it is written; None where it says nothing.

        Returns:
            Whether it is that of these parts.

        Raises:
            StorageIntegrityError: It is that of other parts (code "CHECKSUM_MISMATCH").
        """
        if reported is None:
            return False
        value, _, count = reported.strip().partition("-")
        ordered = b"".join(self.digests[number] for number in sorted(self.digests))
        if hmac.compare_digest(value.encode(), format_sha256(sha256(ordered).digest()).encode()):
            return True
        if count == str(len(self.digests)):
            raise StorageIntegrityError(
                "the provider's checksum is not that of the parts that were sent; do not use the object",
                code=ErrorCode.CHECKSUM_MISMATCH,
                applied="yes",
            )
        return False


class Whole:
    """Parts on their way, and whether together they are what was hashed before."""

    def __init__(self, parts: AsyncGenerator[Part, None], digest: bytes) -> None:
        """Read nothing yet.

        Args:
            parts: In order; closed with what `parts` returns.
            digest: SHA-256 that all bytes together should have.
        """
        self._parts = parts
        self._digest = digest
        self._seen = sha256()

    async def parts(self) -> AsyncGenerator[Part, None]:
        """The parts."""
        async with aclosing(self._parts):
            async for part in self._parts:
                await part.hashed(self._seen)
                yield part

    async def verify(self, etags: Sequence[str]) -> None:
        """Called when all of them were sent.

        Raises:
            StorageInvalidRequestError: They are not what was hashed (code "SOURCE_CHANGED").
        """
        del etags
        if self._seen.digest() != self._digest:
            raise source_changed()
