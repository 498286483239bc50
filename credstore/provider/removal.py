"""Removing what a listing of versions returns, page by page: older versions first, the latest last.

Rules of this file: a listing is never trusted, and a response only for what it says about each version (P10).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from credstore.concurrency import map_all
from credstore.driver.contract import VersionedDriver
from credstore.driver.values import DeleteOutcome
from credstore.errors import (
    ErrorCode,
    RemainingVersion,
    StorageAccessDeniedError,
    StorageError,
    StorageIntegrityError,
)
from credstore.model import StorageVersion
from credstore.provider.bulk import delete_outcomes, for_key
from credstore.provider.remaining import MAX_REPORTED, is_listing_refused, may_remain, remaining_of
from credstore.provider.retaining import what_keeps
from credstore.provider.scanning import EMPTY_PAGES, PAGE
from credstore.provider.session import Session

_AT_ONCE = 8
"""Number of requests in flight."""
_FEW = 100
"""Number of versions to list for one key: a longer page may be full of other keys with that prefix."""
_MOST_MARKERS = 1000
"""Delete markers of one key that wait until it has no version any more; older ones hide nothing."""


@dataclass(slots=True)
class Erased:
    """What was removed, and what could not be.

    Attributes:
        deleted: Versions with content; where the store keeps no versions, objects.
        remaining: What remains, at most `MAX_REPORTED`.
        remaining_count: How much remains.
    """

    deleted: int = 0
    remaining: list[RemainingVersion] = field(default_factory=list[RemainingVersion])
    remaining_count: int = 0


async def version_pages(
    session: Session, versioned: VersionedDriver, prefix: str, *, exact: bool = False
) -> AsyncGenerator[tuple[list[StorageVersion], bool], None]:
    """The pages of a listing of versions, each with whether it is the last.

    A page is yielded after the next one was read, so removing its versions does not remove the place where a
    provider continues.

    Raises:
        StorageIntegrityError: The listing leaves the prefix, is out of order, or does not end.
    """
    limit = _FEW if exact else PAGE
    page = await versioned.list_versions(prefix, exact=exact, limit=limit, deadline=session.deadline())
    seen: set[str] = set()
    before: set[tuple[str, str, str]] = set()
    while True:
        cursor = page.cursor
        if cursor is not None and (cursor in seen or len(seen) >= EMPTY_PAGES):
            raise _broken("goes round in circles without an end")
        ahead = None
        if cursor is not None:
            ahead = await versioned.list_versions(
                prefix, cursor, exact=exact, limit=PAGE, deadline=session.deadline()
            )
        _check_page(page.entries, prefix, exact=exact)
        names = {(each.served_by, each.key, each.version_id) for each in page.entries}
        if names - before:
            seen.clear()
        if cursor is not None:
            seen.add(cursor)
        yield (
            [each for each in page.entries if (each.served_by, each.key, each.version_id) not in before],
            ahead is None,
        )
        if ahead is None:
            return
        page, before = ahead, names


def _check_page(entries: Iterable[StorageVersion], prefix: str, *, exact: bool) -> None:
    last: StorageVersion | None = None
    for each in entries:
        if each.key != prefix if exact else not each.key.startswith(prefix):
            raise _broken(f"has {each.key!r}, which was not asked for with {prefix!r}")
        if last is not None and last.served_by == each.served_by and each.key.encode() < last.key.encode():
            raise _broken(f"lists {each.key!r} out of order")
        last = each


def _broken(how: str) -> StorageIntegrityError:
    return StorageIntegrityError(
        f"the provider's listing of versions {how}; some may be left", code=ErrorCode.LISTING, applied="maybe"
    )


async def plainly_deleted(session: Session, keys: Sequence[str]) -> dict[str, DeleteOutcome | StorageError]:
    """What the store's own delete says about each key; for one key, the smaller request is used."""
    if len(keys) != 1:
        return await delete_outcomes(session, keys)
    try:
        return {keys[0]: await session.driver.delete(keys[0], deadline=session.deadline())}
    except StorageError as error:
        return {keys[0]: for_key(error, keys[0])}


def _place(version: StorageVersion) -> tuple[str, str]:
    """Where versions hide each other: the member that holds them, and their key."""
    return version.served_by, version.key


@dataclass(slots=True)
class _Run:
    """What is removed last of versions that hide each other.

    Attributes:
        latest: What the key names now, if it has content.
        markers: Its delete markers; the newest hides what is below, wherever a server lists it.
        held: A version of it remains.
    """

    latest: StorageVersion | None = None
    markers: list[StorageVersion] = field(default_factory=list[StorageVersion])
    held: bool = False


class Removal:
    """Removes versions page by page, and records what remains.

    Attributes:
        counts: How much remains of each key, if requested.
        unhidden: Why a key with a remaining version could not be hidden from readers.
    """

    def __init__(
        self,
        session: Session,
        versioned: VersionedDriver,
        *,
        keep_latest: bool = False,
        counts: Counter[str] | None = None,
    ) -> None:
        """Start with nothing removed.

        Args:
            session: Of the store.
            versioned: Its driver.
            keep_latest: Keep the current versions.
            counts: Counts what remains by key; None where there may be any number of keys.
        """
        self._session = session
        self._versioned = versioned
        self._keep_latest = keep_latest
        self._by_key = counts is not None
        self.counts: Counter[str] = Counter() if counts is None else counts
        self.unhidden: dict[str, StorageError] = {}
        self._deleted = 0
        self._stay: list[tuple[StorageVersion, StorageError]] = []
        self._stay_count = 0
        self._runs: dict[tuple[str, str], _Run] = {}
        self._members: set[str] = set()

    async def keys(self, keys: Sequence[str]) -> dict[str, StorageError]:
        """Remove all versions of keys; return an error for each where that failed or was not possible."""
        self._runs.clear()

        async def look(key: str) -> list[StorageVersion] | StorageError | None:
            """All versions, or None if there is more than one page."""
            try:
                page = await self._versioned.list_versions(
                    key, exact=True, limit=_FEW, deadline=self._session.deadline()
                )
                _check_page(page.entries, key, exact=True)
            except StorageError as error:
                return error
            return list(page.entries) if page.cursor is None else None

        looked = dict(zip(keys, await map_all(keys, look, at_once=_AT_ONCE), strict=True))
        failed = {key: each for key, each in looked.items() if isinstance(each, StorageError)}
        short = {key: each for key, each in looked.items() if isinstance(each, list) and each}
        try:
            await self._take([version for each in short.values() for version in each], last=True)
        except StorageError as error:
            failed |= dict.fromkeys(short, error)
        for key in [key for key, each in looked.items() if each is None]:
            try:
                await self.pages(version_pages(self._session, self._versioned, key, exact=True))
            except StorageError as error:
                failed[key] = error
        await self._hide([key for key, error in failed.items() if is_listing_refused(error)])
        return {key: may_remain(error, key) for key, error in failed.items()}

    async def pages(
        self,
        pages: AsyncGenerator[tuple[list[StorageVersion], bool], None],
        *,
        hidden: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """Remove what a listing returns, except for the keys to skip."""
        self._runs.clear()
        async with aclosing(pages):
            async for entries, last in pages:
                await self._take([each for each in entries if not hidden(each.key)], last=last)

    async def _take(self, entries: Sequence[StorageVersion], *, last: bool) -> None:
        """Remove the older versions on a page, then the rest of each key that has no more older ones.

        Args:
            entries: Everything of each key, except for the last one if more pages follow.
            last: Whether no page follows.
        """
        if not entries and not last:
            return
        older: list[StorageVersion] = []
        for each in entries:
            self._members.add(each.served_by)
            run = self._runs.setdefault(_place(each), _Run())
            if each.is_latest and self._keep_latest:
                continue
            if each.is_delete_marker:
                (run.markers if len(run.markers) < _MOST_MARKERS else older).append(each)
            elif each.is_latest:
                run.latest = each
            else:
                older.append(each)
        await self._remove(older)
        unended = None if last else _place(entries[-1])
        await self._end([run for place, run in self._runs.items() if place != unended])
        self._runs = {place: run for place, run in self._runs.items() if place == unended}

    async def _end(self, runs: Sequence[_Run]) -> None:
        """Remove what has to be last; where something remains, hide it."""
        above = [run.latest.key for run in runs if run.held and run.latest is not None]
        await self._hide(above)
        going = [run.latest for run in runs if run.latest is not None]
        await self._remove([*going, *(each for run in runs if not run.held for each in run.markers)])
        hidden = set(above)
        await self._hide([each.key for each in going if self._held(each) and each.key not in hidden])

    def _held(self, version: StorageVersion) -> bool:
        return self._runs[_place(version)].held

    async def _hide(self, keys: Sequence[str]) -> None:
        """Hide a key from readers, though a version remains."""
        if not keys:
            return
        for key, outcome in (await plainly_deleted(self._session, keys)).items():
            if isinstance(outcome, StorageError):
                self.unhidden[key] = outcome
            elif len(self._members) > 1:
                await self._tidy(key)

    async def _tidy(self, key: str) -> None:
        """Remove the delete markers on members without a version of a key: hiding it reached them too."""
        found: dict[str, list[StorageVersion]] = {}
        async with aclosing(version_pages(self._session, self._versioned, key, exact=True)) as pages:
            async for entries, _ in pages:
                for each in entries:
                    found.setdefault(each.served_by, []).append(each)
        for versions in found.values():
            if all(each.is_delete_marker for each in versions):
                await self._remove(versions)

    async def _remove(self, versions: Sequence[StorageVersion]) -> None:
        size = self._session.capabilities.max_delete_batch
        for start in range(0, len(versions), size):
            batch = versions[start : start + size]
            asked = list(dict.fromkeys((each.key, each.version_id) for each in batch))
            try:
                outcomes = await self._versioned.delete_versions(asked, deadline=self._session.deadline())
            except StorageAccessDeniedError as error:
                outcomes = {(key, version_id): for_key(error, key) for key, version_id in asked}
            for each in batch:
                self._note(each, outcomes.get((each.key, each.version_id)))

    def _note(self, version: StorageVersion, outcome: DeleteOutcome | StorageError | None) -> None:
        if isinstance(outcome, DeleteOutcome):
            self._deleted += not version.is_delete_marker
            return
        error = outcome or StorageIntegrityError(
            "the provider did not say what became of this version",
            code=ErrorCode.NO_OUTCOME,
            key=version.key,
            applied="maybe",
            retryable=True,
        )
        self._runs.setdefault(_place(version), _Run()).held = True
        self._stay_count += 1
        if self._by_key:
            self.counts[version.key] += 1
        if len(self._stay) < MAX_REPORTED:
            self._stay.append((version, error))

    async def report(self) -> Erased:
        """What was removed, and what keeps each version that stays."""
        remaining = await map_all(self._stay, self._explained, at_once=_AT_ONCE)
        return Erased(self._deleted, remaining, self._stay_count)

    async def _explained(self, stays: tuple[StorageVersion, StorageError]) -> RemainingVersion:
        version, error = stays
        if not version.is_delete_marker:
            error = (await what_keeps(self._session, error, version.key, version.version_id))[1]
        return remaining_of(version.key, version.version_id, error)
