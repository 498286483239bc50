"""CRC32C and MD5 of bodies: sent where they are known before, compared with what the service reports after.

Rules of this file: CRC32C is google-crc32c's, which has it in C; where that is not installed, MD5 serves,
which the service has for every object that was not composed.

Source: "Hashes and ETags", cloud.google.com/storage/docs: base64 of the big-endian bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from functools import cache
from typing import Any, cast

from credstore.drivers.gcs.resources import CRC32C, MD5, Resource, text
from credstore.errors import Applied, ErrorCode, StorageIntegrityError
from credstore.hashing import LOOP_BUDGET, Hash
from credstore.threads import in_pool


@cache
def _crc32c() -> Any:
    """google-crc32c's class of a checksum, or None where there is only its slow form or none at all."""
    try:
        import google_crc32c
    except ImportError:
        return None
    return google_crc32c.Checksum if google_crc32c.implementation == "c" else None


class Checksum:
    """The checksum of a body as it passes.

    Attributes:
        name: Of the object's property that has it.
    """

    def __init__(self, name: str | None = None) -> None:
        """Begin with no bytes.

        Args:
            name: Which one; None for the fastest.
        """
        self.name = name or (MD5 if _crc32c() is None else CRC32C)
        made = hashlib.md5(usedforsecurity=False) if self.name == MD5 else _crc32c()()
        self._hash = cast("Hash", made)
        self._value: str | None = None

    def take(self, chunk: bytes | memoryview) -> None:
        """Take in more bytes, at once."""
        self._value = None
        # The C code of google-crc32c takes no views.
        self._hash.update(bytes(chunk) if self.name == CRC32C else chunk)

    async def add(self, chunk: bytes | memoryview) -> None:
        """Take in more bytes, off the event loop where they are many."""
        if len(chunk) > LOOP_BUDGET:
            await in_pool(self.take, chunk)
        else:
            self.take(chunk)

    @property
    def value(self) -> str:
        """As the property has it."""
        if self._value is None:
            self._value = base64.b64encode(self._hash.digest()).decode("ascii")
        return self._value

    def check(self, resource: Resource) -> bool:
        """Compare with what the service says that it stored; whether it has said so (L02).

        Raises:
            StorageIntegrityError: It stored other bytes (code "CHECKSUM_MISMATCH", `applied` "maybe").
        """
        told = text(resource.get(self.name))
        if told is not None and told != self.value:
            raise _differs("the bytes that were sent; the object should not be used", "maybe")
        return told is not None


def _differs(what: str, applied: Applied) -> StorageIntegrityError:
    return StorageIntegrityError(
        f"the provider's checksum is not that of {what}", code=ErrorCode.CHECKSUM_MISMATCH, applied=applied
    )


def checkable(told: Mapping[str, str]) -> str | None:
    """Which of an object's checksums can be compared here, or None."""
    if CRC32C in told and _crc32c() is not None:
        return CRC32C
    return MD5 if MD5 in told else None


async def checked(
    chunks: AsyncIterator[bytes], told: Mapping[str, str], size: int
) -> AsyncGenerator[bytes, None]:
    """All bytes of an object, of which the last ones are withheld unless they have the checksum.

    Raises:
        StorageIntegrityError: They do not (code "CHECKSUM_MISMATCH").
    """
    name = checkable(told)
    checksum, done = Checksum(name), 0
    source = cast("AsyncGenerator[bytes, None]", chunks)
    async with aclosing(source):
        async for chunk in source:
            await checksum.add(chunk)
            done += len(chunk)
            if done == size and name is not None and checksum.value != told[name]:
                raise _differs("the bytes that arrived; read the object again", "no")
            yield chunk
