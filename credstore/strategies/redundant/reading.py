"""Reads: the newest version that R members know of, its bytes from members that hold it.

Rules of this file: the first member asked opens the object while the others look, so a read costs one turn.
Up to `VERIFIED` bytes are read and checked before they are handed on, so one bad replica is never noticed
above; of larger objects a member that dies midway is followed by another one at the byte that was reached,
and the digest is that of the whole. Pieces of those from `striping.LEAST` bytes come from several members at
once. A member whose bytes do not match is a suspect: the last to be asked for
that version, in this process.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from credstore.concurrency import both
from credstore.driver.reader import ObjectReader
from credstore.driver.values import ObjectInfo, ReadOptions, StoredReader
from credstore.errors import (
    ErrorCode,
    StorageConflictError,
    StorageError,
    StorageIntegrityError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
)
from credstore.strategies.health import Member, is_absence, is_outage
from credstore.strategies.redundant.asking import ATTEMPTS, Answers, Looking, ask_members
from credstore.strategies.redundant.plan import Verdict, View, verdict
from credstore.strategies.redundant.stamps import Stamp, as_shown, etag_shown, same_version, stamp_of
from credstore.strategies.redundant.striping import LEAST, striped

VERIFIED = 256 * 1024
"""Bytes up to which an object is checked before any of it is handed on."""
AGAIN = 30.0
"""Seconds to open an object at another member after one died midway."""
_KEPT = 4096


class Opened(NamedTuple):
    """A member's answer to a read, perhaps with its bytes.

    Attributes:
        view: What it has.
        reader: Of it, where this member was to open it and could.
    """

    view: View
    reader: StoredReader | None = None

    async def aclose(self) -> None:
        """Close what it opened."""
        if self.reader is not None:
            await self.reader.aclose()


class Found(NamedTuple):
    """What a read found.

    Attributes:
        info: As readers see it.
        holders: Members to get the bytes from, those that were asked.
        verdict: Of those that were asked.
    """

    info: ObjectInfo
    holders: tuple[View, ...]
    verdict: Verdict


def without_condition(options: ReadOptions) -> ReadOptions:
    """Options for a member, which knows nothing of the strategy's etags."""
    return options if options.if_match is None else replace(options, if_match=None)


class Reads:
    """Looks for objects and opens them."""

    def __init__(self, looking: Looking) -> None:
        """Know of no bad replica.

        Args:
            looking: Asks the members.
        """
        self._looking = looking
        self._suspects: OrderedDict[tuple[int, str, Stamp], None] = OrderedDict()
        self._mixed: OrderedDict[tuple[str, Stamp | None], None] = OrderedDict()

    async def head(self, key: str, options: ReadOptions) -> Found:
        """What is known about the newest version.

        Raises:
            StorageObjectNotFoundError: R members have none, or it was deleted.
            StoragePreconditionFailedError: It is not the one with `options.if_match`.
            StorageError: As `Looking.look`.
        """
        return self._found(options, await self._looking.look(key, options.deadline))

    async def get(self, key: str, options: ReadOptions) -> tuple[StoredReader, Found]:
        """Open the newest version.

        Raises:
            StorageInvalidRequestError: It does not have the range.
            StorageError: As `head`; or no holder can be read.
        """
        options.check_range()
        for attempt in range(ATTEMPTS):
            answers = await self._ask(key, options)
            opened = next((each for each in answers.found if each.reader is not None), None)
            try:
                views = Answers(tuple(each.view for each in answers.found), answers.failed)
                there = await self._looking.is_there(key, views.found, options.deadline)
                if not there and attempt < ATTEMPTS - 1:
                    if opened is not None:
                        await opened.aclose()
                    continue
                found = self._found(options, views)
            except BaseException:
                if opened is not None:
                    await opened.aclose()
                raise
            if opened is not None and not self._fits(opened, found):
                await opened.aclose()
                opened = None
            try:
                return await self.served(key, options, found, opened), found
            except StorageError as error:
                if attempt == ATTEMPTS - 1 or not _may_differ(error):
                    raise
        raise AssertionError

    async def _ask(self, key: str, options: ReadOptions) -> Answers[Opened]:
        leading = True

        async def ask(member: Member) -> Opened:
            nonlocal leading
            if leading:
                leading = False
                return await self.open(member, key, options)
            return Opened(await self._looking.view(member, key, ReadOptions(deadline=options.deadline)))

        looking = self._looking
        return await ask_members(
            looking.members, ask, looking.read, patience=looking.patience, drop=Opened.aclose
        )

    async def open(self, member: Member, key: str, options: ReadOptions) -> Opened:
        """The object at a member and its tombstone, both at once."""
        held: list[StoredReader] = []

        # Whether it is the version asked for is decided when the members' answers are known.
        options = without_condition(options)

        async def begin() -> None:
            try:
                held.append(await member.driver.get(key, options))
            except StorageError as error:
                if not (is_absence(error) or error.code == ErrorCode.INVALID_RANGE):
                    raise

        try:
            _, grave = await both(begin(), lambda: self._looking.grave(member, key, options.deadline))
        except BaseException:
            for reader in held:
                await reader.aclose()
            raise
        if not held:  # Absent, or shorter than what is wanted, and perhaps not the newest.
            info = await self._looking.head(member, key, ReadOptions(deadline=options.deadline))
            return Opened(View(member, info, grave))
        self._looking.clock.saw(stamp_of(held[0].info))
        return Opened(View(member, held[0].info, grave), held[0])

    def _found(self, options: ReadOptions, answers: Answers[View]) -> Found:
        decided = verdict(answers.found)
        newest, stamp = decided.newest, decided.stamp
        if newest is None or stamp is None:
            raise StorageObjectNotFoundError("there is no such object")
        degraded = bool(answers.failed or decided.behind)
        info = as_shown(newest, etag_shown(newest, stamp), decided.holders[0].member.label, degraded=degraded)
        if options.if_match is not None and options.if_match != info.etag:
            raise StoragePreconditionFailedError("the object is not the version asked for")
        return Found(info, decided.holders, decided)

    def found_at(self, view: View, decided: Verdict) -> Found | None:
        """What one member alone shows; None where its bytes of it were seen not to match."""
        newest, stamp = decided.newest, decided.stamp
        if newest is None or stamp is None or self.is_suspect(view, newest):
            return None
        info = as_shown(newest, etag_shown(newest, stamp), view.member.label)
        return Found(info, decided.holders, decided)

    def _fits(self, opened: Opened, found: Found) -> bool:
        """Whether the bytes of the member that opened the object are wanted."""
        info = opened.view.info
        return (
            info is not None
            and any(view.member is opened.view.member for view in found.holders)
            and not self.is_suspect(opened.view, found.info)
        )

    @property
    def suspecting(self) -> bool:
        """Whether any member's bytes of anything were seen not to match."""
        return bool(self._suspects)

    def is_suspect(self, view: View, info: ObjectInfo) -> bool:
        """Whether a member's bytes of this version were seen not to match."""
        return bool(self._suspects) and self._name(view, info) in self._suspects

    def suspect(self, view: View, info: ObjectInfo) -> None:
        """Ask this member last for this version."""
        self._suspects[self._name(view, info)] = None
        if len(self._suspects) > _KEPT:
            self._suspects.popitem(last=False)

    @staticmethod
    def _name(view: View, info: ObjectInfo) -> tuple[int, str, Stamp]:
        return view.member.index, info.key, stamp_of(view.info or info)

    async def served(
        self, key: str, options: ReadOptions, found: Found, opened: Opened | None
    ) -> StoredReader:
        """The bytes, from the member that opened the object or from another holder."""
        start, end = options.span(found.info.size)
        whole = (start, end) == (0, found.info.size)
        source = _Source(self, key, found, (start, end), options.deadline)
        if opened is not None and opened.reader is not None:
            source.begin(opened.view, opened.reader)
        else:
            await source.move_on(None)
        assert source.view is not None  # noqa: S101 - `move_on` raises where there is none
        info, label = found.info, source.view.member.label
        if info.served_by != label:
            info = replace(info, served_by=label)
        digest = found.info.digest if whole else None
        if end - start >= LEAST and (key, found.verdict.stamp) not in self._mixed:
            views = await self._several(key, found, source.view, options.deadline)
            if len(views) > 1:
                chunks = striped(views, start, end, source.piece)
                explain = partial(self._was_mixed, key, found.verdict.stamp)
                return ObjectReader(
                    info, chunks, length=end - start, digest=digest, close=source.aclose, explain=explain
                )
        if end - start > VERIFIED:
            return ObjectReader(info, source.chunks(), length=end - start, digest=digest, close=source.aclose)
        reader = await source.held()
        reader.info = (
            replace(info, served_by=source.view.member.label, degraded=True) if source.moved else info
        )
        return reader

    async def _several(self, key: str, found: Found, first: View, deadline: float | None) -> list[View]:
        """Members to read a large object from at once, two or more where that many can be found at once."""
        views, looking, newest = list(found.holders), self._looking, found.verdict.newest
        options = ReadOptions(deadline=deadline)
        if len(views) == 1 and len(looking.members) > 1 and newest is not None:
            try:
                answers = await ask_members(
                    looking.members,
                    lambda member: looking.view(member, key, options),
                    max(2, looking.read),
                    patience=looking.patience,
                )
            except StorageError:
                return [first]  # One is enough to read it.
            views += [each for each in answers.found if each.info and same_version(each.info, newest)]
        usable = {each.member: each for each in views if not self.is_suspect(each, found.info)}
        return [first, *(each for member, each in usable.items() if member is not first.member)]

    def _was_mixed(self, key: str, stamp: Stamp | None, error: StorageError) -> None:
        """Bytes of several members were wrong together: next time one member is read, which shows whose."""
        if error.code == ErrorCode.DIGEST_MISMATCH:
            error.retryable = True
            self._mixed[key, stamp] = None
            if len(self._mixed) > _KEPT:
                self._mixed.popitem(last=False)

    async def holders_besides(self, key: str, found: Found, deadline: float | None) -> Sequence[View]:
        """Members that have this version, too, and were not asked for it yet."""
        asked = {view.member for view in found.holders}
        answers = await self._looking.look_at_all(key, deadline)
        newest = found.verdict.newest
        return [
            view
            for view in answers.found
            if view.member not in asked
            and view.info is not None
            and newest is not None
            and same_version(view.info, newest)
        ]


def _may_differ(error: StorageError) -> bool:
    """Whether another look may find what can be read: a version that replaced the one seen, or was before it.

    The one seen may be at a single member, from a write under way, and that member may have died since.
    """
    return isinstance(error, StorageConflictError) or is_absence(error) or is_outage(error)


class _Source:
    """The bytes of one version, from one holder after the other.

    Attributes:
        view: The holder that is read now.
        moved: Whether a holder failed.
    """

    def __init__(
        self, reads: Reads, key: str, found: Found, span: tuple[int, int], deadline: float | None
    ) -> None:
        self._reads = reads
        self._key = key
        self._found = found
        self._start, self._end = span
        self._deadline = deadline
        self._left = list(found.holders)
        if len(self._left) > 1:
            self._left.sort(key=lambda view: reads.is_suspect(view, found.info))
        self._searched = False
        self._reader: StoredReader | None = None
        self.view: View | None = None
        self.moved = False

    def begin(self, view: View, reader: StoredReader) -> None:
        """Read on with what a member opened already."""
        self.view, self._reader = view, reader
        self._left = [each for each in self._left if each.member is not view.member]

    async def move_on(self, error: StorageError | None) -> None:
        """Open the rest at the next holder.

        Args:
            error: Of the one before, or None at first.

        Raises:
            StorageError: There is no other; the first holder's error.
        """
        await self.aclose()
        self.moved = self.moved or error is not None
        if isinstance(error, StorageIntegrityError) and self.view is not None:
            self._reads.suspect(self.view, self._found.info)
        now = time.monotonic()
        if error is not None or self._deadline is None or self._deadline < now:
            self._deadline = now + AGAIN
        while True:
            if not self._left and not self._searched:
                self._searched = True
                self._left = list(await self._reads.holders_besides(self._key, self._found, self._deadline))
            if not self._left:
                raise error or StorageObjectNotFoundError("there is no such object")
            view = self._left.pop(0)
            options = ReadOptions(
                start=self._start,
                end=self._end if (self._start, self._end) != (0, self._found.info.size) else None,
                if_match=None if view.info is None else view.info.etag,
                deadline=self._deadline,
            )
            try:
                self._reader = await view.member.ask(view.member.driver.get, self._key, options)
            except StorageError as failure:
                error = error or failure
                continue
            self.view = view
            return

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes, whoever dies meanwhile.

        Raises:
            StorageError: No holder is left; or the bytes that were handed on already are wrong.
        """
        while True:
            assert self._reader is not None  # noqa: S101 - opened before
            try:
                async for chunk in self._reader:
                    self._start += len(chunk)
                    yield chunk
                return
            except StorageError as error:
                if error.code == ErrorCode.DIGEST_MISMATCH and self.view is not None:
                    self._reads.suspect(self.view, self._found.info)
                    error.retryable = True  # Another member is asked first then.
                    raise
                if self._start >= self._end:
                    raise
                await self.move_on(error)

    async def piece(self, view: View, start: int, end: int) -> list[bytes]:
        """Some of the bytes from one holder: the first ones are those of what is open already.

        Raises:
            StorageError: As `Driver.get`.
        """
        reader: StoredReader | None = None
        if start == self._start:
            reader, self._reader = self._reader, None
        if reader is None:
            etag = None if view.info is None else view.info.etag
            options = ReadOptions(start=start, end=end, if_match=etag, deadline=time.monotonic() + AGAIN)
            reader = await view.member.ask(view.member.driver.get, self._key, options)
        chunks: list[bytes] = []
        left = end - start
        async with reader:
            async for chunk in reader:
                chunks.append(chunk[:left] if len(chunk) > left else chunk)
                left -= len(chunks[-1])
                if not left:
                    break
        return chunks

    async def held(self) -> StoredReader:
        """A reader of all bytes, checked before any of them is handed on."""
        while True:
            assert self._reader is not None  # noqa: S101 - opened before
            try:
                await self._reader.hold()
            except StorageError as error:
                await self.move_on(error)
            else:
                return self._reader

    async def aclose(self) -> None:
        """Close what is open."""
        if self._reader is not None:
            await self._reader.aclose()
