"""A memory store that keeps versions, as S3 does with versions on, suspended or never on; with retention."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from uuid import uuid4

from credstore.config.stores import MemoryConfig
from credstore.driver import (
    READ_ALL,
    Capabilities,
    DeleteOutcome,
    Precondition,
    PutResult,
    ReadOptions,
    VersionPage,
)
from credstore.driver.refusals import check_copy
from credstore.driver.retention import changed, in_force, keeps
from credstore.drivers.memory import MemoryDriver, MemoryObject, MemoryObjects
from credstore.errors import (
    ErrorCode,
    StorageAccessDeniedError,
    StorageError,
    StorageNotFoundError,
    StoragePreconditionFailedError,
    StorageUnsupportedError,
)
from credstore.model import Retention, StorageVersion


@dataclass
class Kept:
    """One version; no object is a delete marker."""

    version_id: str
    stored: MemoryObject | None
    at: datetime


@dataclass
class Versions:
    """The store behind drivers.

    Attributes:
        objects: What readers find.
        history: All versions of each key, the newest first.
        state: "on", "suspended" or "off".
        locks: What keeps versions, by key and version id.
        forbidden: Names of operations that the credentials may not use.
        tells_markers: Whether a delete tells of its delete marker.
    """

    objects: MemoryObjects = field(default_factory=MemoryObjects)
    history: dict[str, list[Kept]] = field(default_factory=dict)
    state: str = "on"
    locks: dict[tuple[str, str], Retention] = field(default_factory=dict)
    forbidden: set[str] = field(default_factory=set)
    tells_markers: bool = True
    asked: Counter[str] = field(default_factory=Counter)
    numbers: count[int] = field(default_factory=count)

    def names(self) -> list[str]:
        """Every key that a listing of versions shows."""
        return sorted(self.history)

    def ids(self, key: str) -> list[str]:
        """The versions of a key that have content."""
        return [each.version_id for each in self.history.get(key, []) if each.stored is not None]

    def add(self, key: str, stored: MemoryObject | None) -> str:
        """Put a version on top; without versions on it replaces the one called "null"."""
        version_id = f"v{next(self.numbers)}" if self.state == "on" else "null"
        mine = self.history.setdefault(key, [])
        if version_id == "null":
            mine[:] = [each for each in mine if each.version_id != "null"]
        mine.insert(0, Kept(version_id, stored, datetime.now(UTC)))
        self.show(key)
        return version_id

    def show(self, key: str) -> None:
        """Let readers find what is on top."""
        mine = self.history.get(key, [])
        top = mine[0] if mine else None
        if top is not None and top.stored is not None:
            self.objects.put(
                replace(top.stored, info=replace(top.stored.info, version_id=_shown(top.version_id)))
            )
        else:
            self.objects.remove(key)
        if not mine:
            self.history.pop(key, None)

    def is_kept(self, key: str, version_id: str) -> bool:
        return keeps(in_force(self.locks.get((key, version_id), Retention()), datetime.now(UTC)))


def _shown(version_id: str) -> str | None:
    return None if version_id == "null" else version_id


class VersionedMemory(MemoryDriver):
    """A driver of such a store."""

    def __init__(self, versions: Versions) -> None:
        super().__init__(MemoryConfig(), objects=versions.objects)
        self.versions = versions

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, versions=True)

    def _publish(self, stored: MemoryObject, precondition: Precondition) -> PutResult:
        if keeps(stored.retention):
            self._check_locks()
        result = super()._publish(stored, precondition)
        version_id = self.versions.add(stored.info.key, replace(stored, retention=Retention()))
        if keeps(stored.retention):
            self.versions.locks[stored.info.key, version_id] = stored.retention
        return replace(result, version_id=_shown(version_id))

    def _check_removable(self, found: MemoryObject | None) -> None:
        """What is kept is a version, and a write puts another one above it."""

    def _check_locks(self) -> None:
        if self.versions.state != "on":
            raise StorageUnsupportedError("without versions", code=ErrorCode.RETENTION_DISABLED)

    def _find(self, key: str, options: ReadOptions) -> MemoryObject:
        if options.version_id is None:
            return super()._find(key, options)
        self._guard.check(options.deadline)
        for each in self.versions.history.get(key, []):
            if each.version_id == options.version_id and each.stored is not None:
                return replace(each.stored, info=replace(each.stored.info, version_id=each.version_id))
        raise StorageNotFoundError("there is no such version", code=ErrorCode.VERSION_NOT_FOUND)

    async def head(self, key: str, options: ReadOptions = READ_ALL):
        return self._find(key, options).info

    async def delete(self, key, *, if_match=None, version_id=None, deadline=None) -> DeleteOutcome:
        self._guard.check(deadline)
        if version_id is not None:
            outcome = (await self.delete_versions([(key, version_id)]))[key, version_id]
            if isinstance(outcome, StorageError):
                raise outcome
            return outcome
        found = self.versions.objects.by_key.get(key)
        if if_match is not None and (found is None or found.info.etag != if_match):
            raise StoragePreconditionFailedError("another version")
        return self._hide(key)

    async def copy(self, request):
        self._guard.check(request.deadline)
        check_copy(request, self.capabilities, self.name)
        if request.source.version_id is None:
            return await super().copy(request)
        source = self._find(request.source.key, ReadOptions(version_id=request.source.version_id))
        info = replace(
            source.info,
            key=request.destination,
            etag=uuid4().hex,
            last_modified=datetime.now(UTC),
            write_id=request.write_id,
            system=source.info.system if request.system is None else dict(request.system),
            version_id=None,
        )
        copied = replace(source, info=info, retention=request.retention or Retention())
        return self._publish(copied, request.precondition)

    def _hide(self, key: str) -> DeleteOutcome:
        self.versions.asked["hide"] += 1
        existed = key in self.versions.objects.by_key
        if self.versions.state == "off":
            self.versions.history.pop(key, None)
            self.versions.show(key)
            return DeleteOutcome(existed=existed)
        marker = self.versions.add(key, None)
        return DeleteOutcome(existed=existed, version_id=marker if self.versions.tells_markers else None)

    async def delete_many(self, keys, *, deadline=None):
        self._guard.check(deadline)
        return {key: self._hide(key) for key in keys}

    async def keeps_versions(self, *, deadline=None) -> bool:
        self._guard.check(deadline)
        self.versions.asked["keeps_versions"] += 1
        return "keeps_versions" in self.versions.forbidden or self.versions.state != "off"

    async def list_versions(
        self, prefix="", cursor=None, *, exact=False, limit=1000, deadline=None
    ) -> VersionPage:
        self._guard.check(deadline)
        self._check("list_versions")
        found = [
            StorageVersion(
                key=key,
                version_id=each.version_id,
                is_latest=place == 0,
                is_delete_marker=each.stored is None,
                size=0 if each.stored is None else each.stored.info.size,
                last_modified=each.at,
                etag=None if each.stored is None else each.stored.info.etag,
                served_by=self.name,
            )
            for key in sorted(self.versions.history, key=str.encode)
            if (key == prefix if exact else key.startswith(prefix))
            for place, each in enumerate(self.versions.history[key])
        ]
        # Like some real stores: it goes on after a version only while that is there.
        names = [f"{each.key}\n{each.version_id}" for each in found]
        start = 0 if cursor is None else (names.index(cursor) + 1 if cursor in names else len(found))
        page = found[start : start + limit]
        more = start + limit < len(found)
        return VersionPage(entries=page, cursor=names[start + limit - 1] if more else None)

    def _check(self, operation: str) -> None:
        self.versions.asked[operation] += 1
        if operation in self.versions.forbidden:
            raise StorageAccessDeniedError("the credentials may not do this")

    async def delete_versions(
        self, versions: Sequence[tuple[str, str]], *, deadline=None
    ) -> Mapping[tuple[str, str], DeleteOutcome | StorageError]:
        self._guard.check(deadline)
        self._check("delete_versions")
        return {(key, version_id): self._remove(key, version_id) for key, version_id in versions}

    def _remove(self, key: str, version_id: str) -> DeleteOutcome | StorageError:
        if self.versions.is_kept(key, version_id):
            return StorageAccessDeniedError("kept", key=key)
        mine = self.versions.history.get(key, [])
        mine[:] = [each for each in mine if each.version_id != version_id]
        self.versions.show(key)
        return DeleteOutcome(existed=None)

    def _locked(self, key: str, version_id: str | None, deadline: float | None) -> str:
        """The id of a version that is there."""
        self._guard.check(deadline)
        if version_id is None:
            self._find(key, ReadOptions(deadline=deadline))
            return self.versions.history[key][0].version_id
        if not any(each.version_id == version_id for each in self.versions.history.get(key, [])):
            raise StorageNotFoundError("there is no such version", code=ErrorCode.VERSION_NOT_FOUND)
        return version_id

    async def get_retention(self, key: str, version_id: str | None = None, *, deadline=None) -> Retention:
        version = self._locked(key, version_id, deadline)
        self._check("get_retention")
        return self.versions.locks.get((key, version), Retention())

    async def set_retention(
        self, key, retain_until, mode, *, version_id=None, bypass_governance=False, deadline=None
    ):
        version = self._locked(key, version_id, deadline)
        self._check_locks()
        now = self.versions.locks.get((key, version), Retention())
        self.versions.locks[key, version] = changed(
            now, retain_until, mode, now=datetime.now(UTC), bypass_governance=bypass_governance
        )

    async def set_legal_hold(self, key, *, held, version_id=None, deadline=None):
        version = self._locked(key, version_id, deadline)
        self._check_locks()
        now = self.versions.locks.get((key, version), Retention())
        self.versions.locks[key, version] = replace(now, legal_hold=held)
