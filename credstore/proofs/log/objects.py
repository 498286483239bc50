"""The objects of a log in a store: bounded reads, and writes that are conditional where that decides.

Rules of this file: what is stored is stored as it is, so that any mirror or CDN can copy it; a condition is
used only where the store's is proved, and by no composite store.
"""

from __future__ import annotations

from collections.abc import AsyncIterable
from dataclasses import dataclass
from typing import Final

from credstore.arguments import typed_class
from credstore.driver.refusals import IF_ABSENT, IF_MATCH
from credstore.errors import (
    ErrorCode,
    StorageConfigurationError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageObjectNotFoundError,
    StorageUnsupportedError,
)
from credstore.model import StorageResult, strong_etag
from credstore.proofs.format.errors import CheckpointError, LogError, LogTileError
from credstore.proofs.log.checkpoint import CHECKPOINT_TYPE
from credstore.proofs.log.note import LARGEST_NOTE
from credstore.provider.provider import StorageProvider

LOG_PREFIX: Final = "log/v1/"
CHECKPOINT: Final = "checkpoint"
LOCK: Final = "lock"
INBOX: Final = "in/"
STAGING: Final = "staging/"
WITNESSES: Final = "witnesses/"
BINARY = "application/octet-stream"
IMMUTABLE = "public, max-age=31536000, immutable, no-transform"
FRESH = "public, max-age=5, no-transform"
UNCACHED = "no-store"


@dataclass(frozen=True, slots=True)
class Found:
    """An object as it is now.

    Attributes:
        data: Its bytes.
        etag: Names this version, for a condition.
    """

    data: bytes
    etag: str


@typed_class
@dataclass(frozen=True, slots=True)
class LogObjects:
    """Reads and writes below the prefix of one log.

    Attributes:
        provider: Where it is; not owned.
        prefix: What all its keys start with, empty or with a slash at its end.
    """

    provider: StorageProvider
    prefix: str = LOG_PREFIX

    def __post_init__(self) -> None:
        """Refuse a prefix that would run into the names.

        Raises:
            StorageConfigurationError: It does not end with a slash.
        """
        if self.prefix and not self.prefix.endswith("/"):
            raise StorageConfigurationError("the prefix of a log ends with a slash")

    def check(self) -> None:
        """Refuse a store whose conditions are not proved.

        Raises:
            StorageUnsupportedError: It is a composite, or nothing proves that it honours conditions.
        """
        able, name = self.provider.capabilities, self.provider.get_provider_name()
        if not able.conditional_create:
            raise IF_ABSENT.of(name)
        if not able.conditional_replace:
            raise IF_MATCH.of(name)

    async def fetch(self, path: str, most: int) -> bytes | None:
        """The bytes of an object, or None where there is none.

        Raises:
            LogError: It has more than `most` bytes, or the store says that it is damaged.
            StorageError: The store failed; it did not say that there is nothing.
        """
        try:
            return await self.provider.retrieve(self.prefix + path, max_size=most)
        except StorageInvalidRequestError as error:
            raise self._unreadable(error, path, most) from error
        except StorageIntegrityError as error:
            raise self._damaged(error, path) from error

    async def find(self, path: str, most: int = LARGEST_NOTE) -> Found | None:
        """The bytes of an object with what names this version of it, or None where there is none.

        Raises:
            LogError: It has more than `most` bytes, or the store says that it is damaged.
            StorageUnsupportedError: The store does not name versions so that a condition could use it.
            StorageError: The store failed.
        """
        try:
            async with self.provider.open(self.prefix + path) as reader:
                data = await reader.read(most)
                return Found(data, self._version(reader.info.etag, path))
        except StorageObjectNotFoundError:
            return None
        except StorageInvalidRequestError as error:
            raise self._unreadable(error, path, most) from error
        except StorageIntegrityError as error:
            raise self._damaged(error, path) from error

    def _damaged(self, error: StorageIntegrityError, path: str) -> StorageIntegrityError:
        """What the store's own checks have found, as an error about this path of the log."""
        if error.retryable or isinstance(error, LogError):
            return error
        why = f"the store says that it was changed or damaged: {error.message}"
        if path in {CHECKPOINT, LOCK}:
            return CheckpointError(why, key=self.prefix + path)
        return LogTileError(why, key=path)

    def _unreadable(
        self, error: StorageInvalidRequestError, path: str, most: int
    ) -> LogError | StorageInvalidRequestError:
        if error.code == ErrorCode.TOO_LARGE:
            return LogError(f"an object of the log has more than {most} bytes", key=self.prefix + path)
        return error

    def _version(self, etag: str | None, path: str) -> str:
        strong = strong_etag(etag)
        if strong is None:
            raise StorageUnsupportedError(
                "the store names no versions that a condition could use", key=self.prefix + path
            )
        return strong

    async def put(self, path: str, data: bytes) -> None:
        """Write an object that has these bytes or none: a tile, a bundle, what is staged or submitted."""
        is_public = path.startswith("tile/")
        self._checked(
            await self.provider.store(
                self.prefix + path,
                data,
                content_type=BINARY,
                cache_control=IMMUTABLE if is_public else UNCACHED,
                compress=False,
            )
        )

    async def swap(self, path: str, data: bytes, etag: str | None) -> str:
        """Write a note if it is still the version that was read; returns what names the new version.

        Args:
            path: "lock" or "checkpoint".
            data: The note.
            etag: The version that was read; None if there was none.

        Raises:
            StorageConflictError: It is another version.
            StorageError: `applied` says whether it may have been written.
        """
        place = self.prefix + path
        cached = FRESH if path == CHECKPOINT else UNCACHED
        if etag is None:
            result = await self.provider.store(
                place,
                data,
                content_type=CHECKPOINT_TYPE,
                cache_control=cached,
                compress=False,
                if_absent=True,
            )
        else:
            result = await self.provider.store(
                place,
                data,
                content_type=CHECKPOINT_TYPE,
                cache_control=cached,
                compress=False,
                if_match=etag,
            )
        return self._version(self._checked(result).etag, path)

    def _checked(self, result: StorageResult) -> StorageResult:
        if result.client_side:
            raise StorageConfigurationError(
                "the store encrypts what is stored in it, so no one else could read the log; open it without "
                "client-side encryption",
                key=result.key,
                applied="yes",
            )
        return result

    async def put_stream(self, path: str, parts: AsyncIterable[bytes]) -> None:
        """Write an object of any size that has these bytes or none: a run of an index."""
        self._checked(
            await self.provider.store(
                self.prefix + path, parts, content_type=BINARY, cache_control=UNCACHED, compress=False
            )
        )

    async def part(self, path: str, start: int, end: int) -> bytes:
        """The bytes [start, end) of an object, or as many of them as it has.

        Raises:
            LogTileError: The store says that it is damaged.
            StorageObjectNotFoundError: It is not there.
            StorageError: The store failed.
        """
        if start == end:
            return b""
        try:
            async with self.provider.open(self.prefix + path, start=start, end=end) as reader:
                return await reader.read(end - start)
        except StorageInvalidRequestError as error:
            if error.code != ErrorCode.INVALID_RANGE:
                raise
            return b""
        except StorageIntegrityError as error:
            raise self._damaged(error, path) from error

    async def items(self, prefix: str) -> list[tuple[str, int]]:
        """All names below a prefix, without the log's own prefix, with their sizes in bytes."""
        cut = len(self.prefix)
        return [(item.key[cut:], item.size) async for item in self.provider.scan(self.prefix + prefix)]

    async def names(self, prefix: str, most: int = 1000) -> list[str]:
        """The first names below a prefix, without the log's own prefix: one request for 1,000."""
        place = self.prefix + prefix
        return [item.key[len(self.prefix) :] for item in await self.provider.list(place, most)]

    async def remove(self, paths: list[str]) -> None:
        """Delete objects; those that stay are found again later."""
        await self.provider.batch_delete([self.prefix + path for path in paths])
