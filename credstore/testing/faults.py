"""A store in memory that fails where a test wants it to: the faults behind the pytest plugin.

Rules of this file: a fault is what a caller sees once retries are used up. What it leaves behind is what the
error says: nothing where `applied` is "no", the effect where the response was lost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal, TypeVar, get_args

from credstore.config.local import MemoryConfig
from credstore.driver.reader import ObjectReader
from credstore.driver.values import (
    READ_ALL,
    CopyRequest,
    DeleteOutcome,
    ObjectInfo,
    Page,
    PutRequest,
    PutResult,
    ReadOptions,
    StoredReader,
)
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.errors import (
    ErrorFacts,
    StorageAccessDeniedError,
    StorageConnectionError,
    StorageError,
    StorageInvalidRequestError,
    StorageQuotaExceededError,
    StorageRateLimitedError,
    StorageTimeoutError,
    StorageUnavailableError,
)

T = TypeVar("T")
FaultVerb = Literal["store", "read", "look", "delete", "list", "copy", "health_check"]
FaultKind = Literal["unavailable", "rate_limited", "denied", "quota", "timeout", "lost", "damaged"]
VERBS: tuple[FaultVerb, ...] = get_args(FaultVerb)
KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
_ERRORS: Mapping[str, tuple[type[StorageError], str, ErrorFacts]] = {
    "unavailable": (StorageUnavailableError, "the store is unavailable", {"status_code": 503}),
    "rate_limited": (StorageRateLimitedError, "there were too many requests", {"status_code": 429}),
    "denied": (StorageAccessDeniedError, "access is denied", {"status_code": 403}),
    "quota": (StorageQuotaExceededError, "the store is full", {"status_code": 507}),
    "timeout": (StorageTimeoutError, "the store did not respond in time", {"applied": "maybe"}),
    "lost": (StorageConnectionError, "the response was lost", {"applied": "maybe"}),
}


@dataclass(slots=True)
class Fault:
    """What goes wrong, where, and how often.

    Attributes:
        verb: "store"; "read" for retrieve and open; "look" for exists and get_metadata; "delete" for delete
            and batch_delete; "list" for list and scan; "copy", also that of a move; "health_check".
        kind: "unavailable", "rate_limited", "denied" and "quota" leave nothing behind. "timeout" says that
            the effect may have happened, and it has not; "lost" says the same, and it has. "damaged" changes
            a byte of what is read.
        key: Only at keys that fit this pattern (`*`, `?`, `[a-z]`); of a listing, its prefix.
        times: How many calls fail; None for all.
        after: How many calls succeed first.
        happened: How many calls have failed.
    """

    verb: FaultVerb
    kind: FaultKind
    key: str = "*"
    times: int | None = 1
    after: int = 0
    happened: int = field(default=0, init=False)
    _passed: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.verb not in VERBS:
            raise StorageInvalidRequestError(f"a fault is at one of {', '.join(VERBS)}, not at {self.verb!r}")
        if self.kind not in KINDS:
            raise StorageInvalidRequestError(f"a fault is one of {', '.join(KINDS)}, not {self.kind!r}")
        if (self.kind == "damaged") and self.verb != "read":
            raise StorageInvalidRequestError('only "read" can be damaged')
        if self.after < 0 or (self.times is not None and self.times < 1):
            raise StorageInvalidRequestError("`after` is 0 or more, and `times` 1 or more, or None")

    def is_due(self, verb: FaultVerb, keys: Sequence[str]) -> bool:
        """Whether a call fails by this fault; counts it."""
        if verb != self.verb or not any(fnmatchcase(key, self.key) for key in keys):
            return False
        if self._passed < self.after:
            self._passed += 1
            return False
        if self.times is not None and self.happened >= self.times:
            return False
        self.happened += 1
        return True


class FaultyDriver(MemoryDriver):
    """Objects in memory, and calls that fail by a list of faults."""

    def __init__(
        self, config: MemoryConfig, *, objects: MemoryObjects | None = None, faults: Sequence[Fault] = ()
    ) -> None:
        """Start empty, or with the objects of another driver.

        Args:
            config: The store's settings.
            objects: Shared with other drivers.
            faults: The first one that is due counts.
        """
        super().__init__(config, objects=objects)
        self._faults = faults

    def _due(self, verb: FaultVerb, *keys: str) -> Fault | None:
        return next((each for each in self._faults if each.is_due(verb, keys)), None)

    async def _failing(self, verb: FaultVerb, keys: Sequence[str], work: Callable[[], Awaitable[T]]) -> T:
        fault = self._due(verb, *keys)
        if fault is None:
            return await work()
        if fault.kind == "lost":
            await work()
        raise _error(fault)

    async def put(self, request: PutRequest) -> PutResult:
        """See `Driver.put`."""
        return await self._failing("store", [request.key], lambda: super(FaultyDriver, self).put(request))

    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        """See `Driver.get`."""
        fault = self._due("read", key)
        if fault is None:
            return await super().get(key, options)
        if fault.kind != "damaged":
            raise _error(fault)
        found = self._find(key, options)
        start, end = options.span(len(found.data))
        data = bytearray(found.data[start:end])
        if data:
            data[len(data) // 2] ^= 1
        whole = (start, end) == (0, len(found.data))
        digest = found.info.digest if whole else None
        return ObjectReader(found.info, bytes(data), length=end - start, digest=digest)

    async def head(self, key: str, options: ReadOptions = READ_ALL) -> ObjectInfo:
        """See `Driver.head`."""
        return await self._failing("look", [key], lambda: super(FaultyDriver, self).head(key, options))

    async def delete(
        self,
        key: str,
        *,
        if_match: str | None = None,
        version_id: str | None = None,
        deadline: float | None = None,
    ) -> DeleteOutcome:
        """See `Driver.delete`."""

        def work() -> Awaitable[DeleteOutcome]:
            return super(FaultyDriver, self).delete(
                key, if_match=if_match, version_id=version_id, deadline=deadline
            )

        return await self._failing("delete", [key], work)

    async def delete_many(
        self, keys: Sequence[str], *, deadline: float | None = None
    ) -> Mapping[str, DeleteOutcome | StorageError]:
        """See `Driver.delete_many`."""
        return await self._failing(
            "delete", keys, lambda: super(FaultyDriver, self).delete_many(keys, deadline=deadline)
        )

    async def list(
        self,
        prefix: str = "",
        cursor: str | None = None,
        *,
        delimiter: str | None = None,
        start_after: str | None = None,
        limit: int = 1000,
        deadline: float | None = None,
    ) -> Page:
        """See `Driver.list`."""

        def work() -> Awaitable[Page]:
            return super(FaultyDriver, self).list(
                prefix, cursor, delimiter=delimiter, start_after=start_after, limit=limit, deadline=deadline
            )

        return await self._failing("list", [prefix], work)

    async def copy(self, request: CopyRequest) -> PutResult:
        """See `Driver.copy`."""
        return await self._failing(
            "copy", [request.destination], lambda: super(FaultyDriver, self).copy(request)
        )

    async def ping(self, *, deadline: float | None = None) -> None:
        """See `Driver.ping`."""
        await self._failing("health_check", [""], lambda: super(FaultyDriver, self).ping(deadline=deadline))


def _error(fault: Fault) -> StorageError:
    """What a call raises."""
    kind, message, facts = _ERRORS[fault.kind]
    return kind(f"{message} (a fault of this test)", **facts)
