"""Listings of all members as one, without what was deleted.

Rules of this file: R members have to list a page, objects and tombstones; a name is shown if one of them has
it. Listings carry no stamps, so where a tombstone has the name of an object, or members list different sizes,
the key itself is looked at. Everything else is taken from the first member that lists it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import replace

from credstore.concurrency import map_all
from credstore.driver.repeats import PAGES, Recent
from credstore.driver.values import ObjectInfo, Page, ReadOptions
from credstore.errors import ErrorCode, StorageError, StorageIntegrityError
from credstore.strategies.health import Member, is_absence, is_wrong_request
from credstore.strategies.merging import Place, Position, merge, position_of, read_page
from credstore.strategies.redundant.plan import OWN, TOMBS, not_met
from credstore.strategies.redundant.reading import Reads

_AT_ONCE = 16
_PAGE = 1000


class Pages:
    """What the members list together."""

    def __init__(self, members: Sequence[Member], read: int, reads: Reads) -> None:
        """List nothing yet.

        Args:
            members: All of them.
            read: R.
            reads: Looks at single keys.
        """
        self._members = members
        self.read = read
        self.reads = reads

    async def page(
        self,
        prefix: str,
        cursor: str | None,
        *,
        delimiter: str | None,
        start_after: str | None,
        limit: int,
        deadline: float | None,
    ) -> Page:
        """One page; see `Driver.list`.

        Raises:
            StorageQuorumError: Fewer than R members listed it.
        """
        position = position_of(cursor, len(self._members), start_after)
        begin = position.after or start_after
        # Before the objects: of those that are listed and go then, the tombstones may go too.
        tombs, until = await self._tombs(prefix, delimiter, begin, None, deadline)
        while True:
            pages, failed = await self._all(position, prefix, deadline, delimiter=delimiter, limit=limit)
            differing: set[str] = set()

            def first(one: ObjectInfo, other: ObjectInfo, differing: set[str] = differing) -> ObjectInfo:
                if one.size != other.size:
                    differing.add(one.key)
                return one

            merged = merge(position, pages, limit, first)
            entries = [entry for entry in merged.entries if not entry.key.startswith(OWN)]
            prefixes = [each for each in merged.prefixes if not each.startswith(OWN)]
            last = _last(merged) if entries or prefixes else ""
            if until is None or last.encode() <= until.encode():
                break
            tombs, until = await self._tombs(prefix, delimiter, begin, last, deadline)
        entries = await self._sure(entries, differing | tombs, deadline)
        prefixes = [
            each
            for each in prefixes
            if not (each in tombs or any(own.startswith(each) for own in OWN))
            or await self._alive(each, deadline)
        ]
        if failed:
            entries = [replace(entry, degraded=True) for entry in entries]
        return Page(
            entries=entries,
            prefixes=prefixes,
            cursor=_beyond_own(merged, len(self._members)),
            degraded=bool(failed),
            refused=merged.refused,
        )

    async def _each(
        self, call: Callable[[Member], Awaitable[Page]], skip: Callable[[Member], bool]
    ) -> tuple[list[Page | None], dict[Member, StorageError]]:
        """The pages of all members, and who failed.

        Raises:
            StorageQuorumError: Fewer than R answered.
        """

        async def one(member: Member) -> Page | StorageError | None:
            if skip(member):
                return None
            if not member.admits():
                return member.left_alone()
            try:
                found = await member.ask(call, member)
            except StorageError as error:
                return error
            entries = [
                ObjectInfo.listed(
                    key=each.key,
                    size=each.size,
                    etag=None,  # A version has one etag, made of what a listing does not show.
                    last_modified=each.last_modified,
                    storage_class=each.storage_class,
                    served_by=member.label,
                )
                for each in found.entries
            ]
            return replace(found, entries=entries)

        answers = await map_all(self._members, one, at_once=len(self._members))
        failed = {
            member: answer
            for member, answer in zip(self._members, answers, strict=True)
            if isinstance(answer, StorageError)
        }
        for error in failed.values():
            if is_wrong_request(error):
                raise error
        if len(self._members) - len(failed) < self.read:
            done = [member for member in self._members if member not in failed]
            raise not_met("listed it", self.read, self._members, done, failed, mutation=False)
        return [None if isinstance(answer, StorageError) else answer for answer in answers], failed

    async def _tombs(
        self, prefix: str, delimiter: str | None, after: str | None, last: str | None, deadline: float | None
    ) -> tuple[set[str], str | None]:
        """Names that there are tombstones of, or below, and up to which one these are all.

        That is at least `last`, and None for the end of the store; without `last`, as far as one page goes.
        """
        found: set[str] = set()
        ends: list[str] = []

        async def collect(member: Member) -> Page:
            place = Place(began=None if after is None else TOMBS + after)
            seen = Recent(PAGES)
            while True:
                page = await read_page(
                    member.driver,
                    place,
                    TOMBS + prefix,
                    delimiter=delimiter,
                    limit=_PAGE,
                    deadline=deadline,
                )
                names = [entry.key[len(TOMBS) :] for entry in page.entries]
                names += [each[len(TOMBS) :] for each in page.prefixes]
                found.update(names)
                if page.cursor is None:
                    return page
                end = max(names, key=str.encode, default="")
                if last is None or end.encode() > last.encode():
                    ends.append(end)
                    return page
                if seen.again(page.cursor.encode()):
                    raise StorageIntegrityError(
                        f"the listing of {member.label} goes round in circles", code=ErrorCode.LISTING
                    )
                place = replace(place, cursor=page.cursor)

        await self._each(collect, skip=lambda _: False)
        return found, min(ends, key=str.encode, default=None)

    async def _sure(
        self, entries: Sequence[ObjectInfo], doubtful: set[str], deadline: float | None
    ) -> list[ObjectInfo]:
        """The entries, those that are in doubt as a look at them shows."""

        async def sure(entry: ObjectInfo) -> ObjectInfo | None:
            if entry.key not in doubtful:
                return entry
            try:
                found = (await self.reads.head(entry.key, ReadOptions(deadline=deadline))).info
            except StorageError as error:
                if is_absence(error):
                    return None
                raise
            return ObjectInfo(
                key=found.key,
                size=found.size,
                etag=found.etag,
                last_modified=found.last_modified,
                storage_class=found.storage_class,
                served_by=found.served_by,
                degraded=found.degraded,
            )

        if not doubtful:
            return list(entries)
        return [each for each in await map_all(entries, sure, at_once=_AT_ONCE) if each is not None]

    async def _alive(self, prefix: str, deadline: float | None) -> bool:
        """Whether readers find anything below a prefix under which there are tombstones."""
        cursor: str | None = None
        while True:
            page = await self.page(
                prefix, cursor, delimiter=None, start_after=None, limit=_PAGE, deadline=deadline
            )
            if page.entries:
                return True
            if page.cursor is None:
                return False
            cursor = page.cursor

    async def any(self, prefix: str) -> bool:
        """Whether one of R members has any key under a prefix.

        Raises:
            StorageQuorumError: Fewer than R members listed it.
        """
        pages, _ = await self._each(lambda member: member.driver.list(prefix, limit=1), skip=lambda _: False)
        return any(page is not None and page.entries for page in pages)

    async def keys(self, prefix: str, deadline: Callable[[], float]) -> AsyncGenerator[str, None]:
        """Every key that any member has under a prefix, once and ascending, credstore's own included."""
        position: Position | None = position_of(None, len(self._members))
        while position is not None:
            pages, _ = await self._all(position, prefix, deadline())
            merged = merge(position, pages, _PAGE, lambda one, _: one)
            for entry in merged.entries:
                yield entry.key
            position = None if merged.cursor is None else position_of(merged.cursor, len(self._members))

    async def _all(
        self,
        position: Position,
        prefix: str,
        deadline: float | None,
        *,
        delimiter: str | None = None,
        limit: int = _PAGE,
    ) -> tuple[list[Page | None], dict[Member, StorageError]]:
        """The next page of every member that has one, and who failed; see `_each`."""
        return await self._each(
            lambda member: read_page(
                member.driver,
                position.places[member.index],
                prefix,
                delimiter=delimiter,
                limit=limit,
                deadline=deadline,
            ),
            skip=lambda member: position.places[member.index].ended,
        )


def _last(page: Page) -> str:
    names = [page.entries[-1].key] if page.entries else []
    names += page.prefixes[-1:]
    return max(names, key=str.encode)


def _beyond_own(page: Page, members: int) -> str | None:
    """The cursor of a page, past what the strategy keeps for itself."""
    last = page.entries[-1].key if page.entries else ""
    own = next((each for each in OWN if last.startswith(each)), None)
    if page.cursor is None or own is None:
        return page.cursor
    behind = f"{own[:-1]}0"  # The character after the slash: all that is kept there sorts before.
    places = position_of(page.cursor, members).places
    return Position(behind, tuple(place if place.ended else Place(began=behind) for place in places)).text()
