"""The objects of proofs on a provider: reads that are bounded, writes with the headers each kind has.

Rules of this file: what is stored here is stored as it is, never compressed, so that links and independent
readers see exactly these bytes; whatever is read has a limit; "absent" is said only where the store said so.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from credstore.concurrency import both
from credstore.driver.refusals import check_retention_mode
from credstore.errors import (
    ErrorCode,
    StorageCodecError,
    StorageError,
    StorageInvalidRequestError,
    StorageRetainedError,
    StorageUnsupportedError,
    StorageVersionsRemainError,
)
from credstore.model import CommonPrefix, LockOptions, StorageItem
from credstore.proofs.format.bundle import BUNDLE_TYPE
from credstore.proofs.format.dsse import ENVELOPE_TYPE, LARGEST_ENVELOPE
from credstore.proofs.format.errors import ProofFormatError, ProofNotFoundError
from credstore.proofs.format.record import ProofRecord
from credstore.proofs.store.layout import (
    CLAIMED,
    CLEANED,
    ERASED,
    INDEX_BODY,
    LARGEST_MANIFEST,
    REVOKED,
    Layout,
    Marker,
    encode_marker,
)
from credstore.proofs.store.model import ProofRetention
from credstore.provider.prepared import PreparedWrites
from credstore.provider.provider import StorageProvider
from credstore.provider.remaining import merged, remain, remaining_of

IMMUTABLE = "public, max-age=31536000, immutable"
SHORT = "public, max-age=60"
LEFTOVER_AGE = timedelta(days=1)
"""How long a name without a record may belong to an issue under way."""
LEASE = timedelta(minutes=30)
"""How long an issue may take from its signature to its commit, and a cleaner from its claim to its end."""
PAGE = 1000


@dataclass(frozen=True, slots=True)
class Belongings:
    """What is removed with a record.

    Attributes:
        keys: At most 2,000.
        restore: Whether `restore_erasure` has to be called afterwards: the revocation is among the keys, or
            a tombstone has none.
    """

    keys: tuple[str, ...]
    restore: bool


NOTHING_ELSE = Belongings((), restore=False)


@dataclass(frozen=True, slots=True)
class ProofObjects:
    """Reads and writes of single objects, by what they are.

    Attributes:
        provider: Where they are; not owned.
        layout: Their keys.
        clock: Returns the current time.
        retention: Of records, or None for the store's default.
    """

    provider: StorageProvider
    layout: Layout
    clock: Callable[[], datetime]
    retention: ProofRetention | None = None
    _small: PreparedWrites = field(init=False, repr=False, compare=False)
    _commits: PreparedWrites = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        small = PreparedWrites(
            self.provider, content_type="application/json", cache_control=SHORT, compress=False
        )
        commits = PreparedWrites(
            self.provider,
            content_type=ENVELOPE_TYPE,
            cache_control=IMMUTABLE,
            compress=False,
            if_absent=True,
        )
        object.__setattr__(self, "_small", small)
        object.__setattr__(self, "_commits", commits)

    @property
    def conditional(self) -> bool:
        """Whether the store can create an object only where there is none."""
        return self.provider.capabilities.conditional_create

    async def fetch(self, key: str, limit: int = LARGEST_ENVELOPE) -> bytes | None:
        """At most `limit` bytes, or None where there is no object.

        Raises:
            ProofFormatError: More bytes, or stored with a codec unknown here.
            StorageError: The store failed; it did not say that there is nothing.
        """
        try:
            return await self.provider.retrieve(key, max_size=limit)
        except StorageInvalidRequestError as error:
            if error.code != ErrorCode.TOO_LARGE:
                raise
            raise ProofFormatError(f"an object of more than {limit} bytes", key=key) from None
        except StorageCodecError as error:
            raise ProofFormatError("an object that does not decompress", key=key) from error

    async def record(self, proof_id: str) -> bytes | None:
        """The bytes of a record, or None, also where leftovers are being removed."""
        data = await self.fetch(self.layout.record(proof_id))
        return None if data in (CLAIMED, CLEANED) else data

    async def has(self, key: str) -> bool:
        """Whether there is an object, whatever it is."""
        return await self.provider.exists(key)

    async def put_record(self, proof_id: str, data: bytes) -> None:
        """Commit a record; refused where there is one, if the store can refuse.

        Raises:
            StorageAlreadyExistsError: There is one.
        """
        if self.retention is None and self.conditional:
            await self._commits.store(self.layout.record(proof_id), data)
            return
        lock: LockOptions = {} if self.retention is None else self.retention.from_now(self.clock())
        await self.provider.store(
            self.layout.record(proof_id),
            data,
            content_type=ENVELOPE_TYPE,
            cache_control=IMMUTABLE,
            compress=False,
            if_absent=self.conditional,
            **lock,
        )

    async def put_manifest(self, proof_id: str, data: bytes, media_type: str) -> None:
        """Keep a manifest; refused where there is one, if the store can refuse.

        Raises:
            StorageAlreadyExistsError: There is one.
        """
        await self.provider.store(
            self.layout.manifest(proof_id),
            data,
            content_type=media_type,
            cache_control=IMMUTABLE,
            compress=False,
            if_absent=self.conditional,
        )

    async def manifest(self, proof_id: str) -> bytes | None:
        """The bytes of a manifest, or None."""
        return await self.fetch(self.layout.manifest(proof_id), LARGEST_MANIFEST)

    async def put_bundle(self, key: str, data: bytes, *, replace: bool = False) -> None:
        """Keep what a log has shown; refused where there is something, if the store can refuse.

        Args:
            key: Where.
            data: The bundle.
            replace: Whether it replaces what is there.

        Raises:
            StorageAlreadyExistsError: There is something.
        """
        await self.provider.store(
            key,
            data,
            content_type=BUNDLE_TYPE,
            cache_control=IMMUTABLE,
            compress=False,
            if_absent=self.conditional and not replace,
        )

    async def put_index(self, sha256: bytes, proof_id: str) -> None:
        """Make an asset lead to a proof; writing it again is harmless."""
        await self._small.store(self.layout.index(sha256, proof_id), INDEX_BODY)

    async def put_marker(self, day: datetime, proof_id: str, marker: Marker) -> None:
        """Let the sweep of a day find a proof; writing it again is harmless."""
        await self._small.store(self.layout.marker(day, proof_id), encode_marker(marker))

    async def put_hint(self, proof_id: str, new_id: str) -> None:
        """Say that `new_id` may supersede a proof; readers ask the new proof."""
        await self._small.store(self.layout.successor(proof_id, new_id), INDEX_BODY)

    async def put_legacy(self, key: str, data: bytes) -> None:
        """Remember where a record of the original service is."""
        await self._small.store(key, data)

    async def put_piece(self, proof_id: str, data: bytes) -> None:
        """Keep a timestamp or further signature; writing it again is harmless."""
        kind = "application/json" if data.startswith(b"{") else "application/timestamp-reply"
        await self.provider.store(
            self.layout.piece(proof_id, data),
            data,
            content_type=kind,
            cache_control=IMMUTABLE,
            compress=False,
        )

    async def put_notice(self, key: str, data: bytes) -> None:
        """Keep a revocation or a tombstone; the last of two valid ones is still one."""
        await self.provider.store(key, data, content_type=ENVELOPE_TYPE, cache_control=SHORT, compress=False)

    async def revocation(self, proof_id: str) -> bytes | None:
        """The bytes of a revocation, or None. What was erased has one, too."""
        return await self.fetch(self.layout.revocation(proof_id))

    async def erasure(self, proof_id: str) -> bytes | None:
        """The bytes of a tombstone, or None."""
        return await self.fetch(self.layout.erasure(proof_id))

    async def put_erasure(self, proof_id: str, tombstone: bytes, *, revoked: bool = False) -> None:
        """Erase a proof for readers, who look for a tombstone where they find a revocation or no record.

        The tombstone comes first, so whoever sees the revocation sees both.

        Args:
            proof_id: Which one.
            tombstone: The signed notice.
            revoked: Whether there is a revocation that verifies; it stays, as a log may still lack it.
        """
        await self.put_notice(self.layout.erasure(proof_id), tombstone)
        if not revoked:
            await self.put_notice(self.layout.revocation(proof_id), tombstone)

    async def evidence(self, proof_id: str) -> list[str]:
        """The first 1,000 keys of a proof's timestamps and further signatures: one request."""
        return [item.key for item in await self.first(self.layout.evidence(proof_id))]

    async def belongings(self, proof_id: str) -> Belongings:
        """What goes with a record: hints, timestamps, signatures, a revocation; not what erased it."""
        status = self.layout.status(proof_id)
        names, evidence = await both(self.names(status), lambda: self.evidence(proof_id))
        kept = {ERASED, REVOKED} if ERASED in names else {ERASED}
        keys = (*(status + name for name in names if name not in kept), *evidence)
        return Belongings(keys, restore=(REVOKED in names) != (ERASED in names))

    async def remove_belongings(self, proof_id: str, *others: str) -> None:
        """Remove what goes with a record, and other keys with it.

        Raises:
            StorageVersionsRemainError: Versions stay, or may.
            StorageError: Some may still be there.
        """
        found = await self.belongings(proof_id)
        try:
            await self.remove_all([*found.keys, *others])
        finally:
            if found.restore:
                await self.restore_erasure(proof_id)

    async def restore_erasure(self, proof_id: str) -> None:
        """Where there is a tombstone, let a revocation lead readers to it."""
        tombstone = await self.erasure(proof_id)
        if tombstone is not None:
            await self.put_notice(self.layout.revocation(proof_id), tombstone)

    async def names(self, prefix: str) -> list[str]:
        """The first 1,000 names under a prefix, without it: one request."""
        return [item.key[len(prefix) :] for item in await self.first(prefix)]

    async def first(self, prefix: str, most: int = PAGE) -> list[StorageItem]:
        """The first objects under a prefix: one request for each 1,000."""
        return await self.provider.list(prefix, most)

    def scan(self, prefix: str) -> AsyncIterator[StorageItem]:
        """All objects under a prefix, in bounded memory; ascending where the store promises that."""
        return self.provider.scan(prefix)

    def ascending(self, prefix: str) -> AsyncIterator[StorageItem]:
        """As `scan`, ascending on every store; a folder at a time is sorted, and the layout makes 256."""
        return self.scan(prefix) if self.provider.capabilities.ordered else self._sorted(prefix)

    async def _sorted(self, prefix: str) -> AsyncGenerator[StorageItem, None]:
        found = [each async for each in self.provider.scan(prefix, delimiter="/")]
        for each in sorted(found, key=_name):
            if isinstance(each, CommonPrefix):
                for item in sorted([item async for item in self.scan(each.prefix)], key=_name):
                    yield item
            else:
                yield each

    async def remove(self, keys: Iterable[str]) -> dict[str, StorageError]:
        """Delete objects in every version; returns the error of each that is not, or may not be, gone."""
        result = await self.provider.batch_delete(keys, all_versions=True)
        return {key: _as_remaining(key, error) for key, error in result.failed.items()}

    async def remove_all(self, keys: Iterable[str]) -> None:
        """Delete objects in every version, or raise.

        Raises:
            StorageVersionsRemainError: Readers no longer find any of them, but versions stay, or may.
            StorageError: Some may still be there.
        """
        remain: list[StorageVersionsRemainError] = []
        for error in (await self.remove(keys)).values():
            if not isinstance(error, StorageVersionsRemainError):
                raise error
            remain.append(error)
        if remain:
            raise merged(remain)

    async def old_records(self, proof_id: str) -> AsyncGenerator[bytes, None]:
        """Records of an id that are left only in versions, newest first; empty where there are none.

        Raises:
            StorageAccessDeniedError: The credentials may not list or read versions.
            StorageError: The store failed.
        """
        place = self.layout.record(proof_id)
        try:
            versions = await self.provider.list_versions(place, exact=True, max_versions=PAGE)
        except StorageUnsupportedError:
            return
        for version in versions:
            if version.is_delete_marker or version.size > LARGEST_ENVELOPE:
                continue
            data = await self.provider.retrieve(
                place, version_id=version.version_id, max_size=LARGEST_ENVELOPE
            )
            if data is not None and data not in (CLAIMED, CLEANED):
                yield data

    def linked(self, record: ProofRecord, of: Literal["record", "manifest"]) -> str:
        """The key that a link to a proof leads to.

        Raises:
            ProofNotFoundError: The proof has no manifest.
        """
        if of == "manifest":
            if record.manifest is None:
                raise ProofNotFoundError("this proof has no manifest")
            return self.layout.manifest(record.proof_id)
        self.check_erasable("link to a record")
        return self.layout.record(record.proof_id)

    def check_erasable(self, what: str) -> None:
        """Return where records are objects; `BundledObjects` refuses."""

    def is_old(self, written: datetime | None, age: timedelta = LEFTOVER_AGE) -> bool:
        """Whether something was written longer ago than `age`; False if it is not known when."""
        return written is not None and self.clock() - written >= age


def proof_objects(
    provider: StorageProvider, layout: Layout, clock: Callable[[], datetime], retention: ProofRetention | None
) -> ProofObjects:
    """The objects of a store, if the provider can keep its records as asked.

    Raises:
        StorageUnsupportedError: It has no retention of this mode.
    """
    if retention is not None:
        check_retention_mode(retention.mode, provider.capabilities, provider.get_provider_name())
    return ProofObjects(provider, layout, clock, retention)


def _name(found: StorageItem | CommonPrefix) -> str:
    return found.prefix if isinstance(found, CommonPrefix) else found.key


def _as_remaining(key: str, error: Exception) -> StorageError:
    """The error of a deletion; what a retention keeps remains, as a version does, and readers refuse it."""
    if isinstance(error, StorageRetainedError):
        return remain([remaining_of(key, None, error)], 1, key)
    if isinstance(error, StorageError):
        return error
    return StorageError(f"an unexpected {type(error).__name__} ended a deletion", applied="maybe")
