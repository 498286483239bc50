"""`FastestDriver`: replicas as in `redundant`, and each read from the member that has been the fastest.

What it promises besides: a write returns when every member that responds has it, and those that did not are
in the journal before it returns. So while the journal is empty, any one member has what was acknowledged, and
one is read. While it is not, or what was read may be wrong, R members are asked as in `redundant`; another
process may be unaware of a member's outage for `FRESH` seconds. A slow read is repeated at the second fastest
for at most one read in twenty (P13); writes never are. "Not found" always needs R definite absences.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeAlias

from credstore.concurrency import Done, Joint, begin, both, until_done
from credstore.driver.contract import Driver
from credstore.driver.values import READ_ALL, ReadOptions, StoredReader
from credstore.errors import StorageError, StorageIntegrityError
from credstore.quick import changed
from credstore.strategies.health import Member, is_wrong_request
from credstore.strategies.latencies import Latencies
from credstore.strategies.redundant.driver import LIFETIME, PATIENCE, RedundantDriver
from credstore.strategies.redundant.plan import JOURNAL, TOMBS, View, alone
from credstore.strategies.redundant.reading import VERIFIED, Found, Opened, without_condition
from credstore.strategies.redundant.stamps import as_shown, etag_at_once, stamp_of
from credstore.strategies.watch import Watch
from credstore.wire.hedge import Hedging

FRESH = 10.0
"""Seconds for which what was seen of journal and tombstones counts."""
EXPLORE = 32
"""Reads of which one goes to another member, so that what is known of it stays true."""
HOLDS = 8
"""Reads for which the order of the members holds."""
NOTED = 8
"""Reads of which one is timed, among those that did not have to wait."""
_FAR = math.inf
_Held: TypeAlias = StoredReader | Opened
"""What a member opened: the object, and its tombstone where that was looked for."""
_Read: TypeAlias = tuple[Member, _Held]


class FastestDriver(RedundantDriver):
    """The same objects at several members, read from the fastest."""

    def __init__(
        self,
        members: Sequence[Driver],
        write_quorum: int | None = None,
        read_quorum: int | None = None,
        *,
        lifetime: float = LIFETIME,
        patience: float = PATIENCE,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Own the members; see `RedundantDriver`.

        Args:
            members: Two or more, always in the same order.
            write_quorum: W; a majority unless given.
            read_quorum: R; as few as W permits unless given.
            lifetime: As in `RedundantDriver`.
            patience: As in `RedundantDriver`.
            wall: Unix seconds, for stamps.
            clock: Seconds, for latencies and outages.

        Raises:
            StorageConfigurationError: A read could miss a write, or a quorum is out of range.
        """
        super().__init__(
            members,
            write_quorum,
            read_quorum,
            lifetime=lifetime,
            patience=patience,
            prompt=False,
            wall=wall,
            clock=clock,
        )
        self._name = "fastest"
        self._latencies = [Latencies() for _ in members]
        self._hedging = Hedging()
        self._slow = Watch()
        self._reads_done = 0
        self._newest = ""
        self._ordered: list[Member] = []
        self._order_holds = 0
        self._looked_at = -_FAR
        self._missed = True
        self._buried = True
        self._doubts = 0
        self._joint: Joint[str, None] = Joint()
        self.journal.on_note = self._unsure

    def add(self, driver: Driver) -> str:
        """Take in one more member; see `RedundantDriver.add`."""
        label = super().add(driver)
        self._latencies.append(Latencies())
        self._unsure()
        return label

    def _unsure(self) -> None:
        """Something is noted in the journal: look at it again before one member is trusted."""
        self._missed, self._looked_at = True, -_FAR
        self._doubts += 1

    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        """Open the object at the fastest member; see `RedundantDriver.get`."""
        self._begin_read(key, options)
        began = self._clock()
        if not self._missed if began - self._looked_at < FRESH else await self._one_is_enough():
            if options.suffix is not None:
                options.check_range()
            read = await self._fastest(key, options, began)
            if read is not None:
                member, opened = read
                if isinstance(opened, Opened):
                    served = await self._served(key, options, opened)
                else:
                    info, length = opened.info, opened.length
                    etag = None if self._reads.suspecting else etag_at_once(info)
                    if (
                        etag is not None
                        and (options.if_match is None or options.if_match == etag)
                        and length is not None
                        and length <= VERIFIED
                    ):
                        # Nothing speaks against it, and there is nothing to decide: most reads end here.
                        if etag > self._newest:
                            self._newest = etag
                            self._stamps.saw(stamp_of(info))
                        try:
                            if not opened.hold_at_once():
                                await opened.hold()
                        except StorageError as error:
                            return await self._instead(key, options, View(member, info, None), error)
                        opened.info = as_shown(info, etag, member.label)
                        return opened
                    self._stamps.saw(stamp_of(info))
                    served = await self._served(key, options, Opened(View(member, info, None), opened))
                if served is not None:
                    return served
        return await super().get(key, options)

    async def _instead(self, key: str, options: ReadOptions, view: View, error: StorageError) -> StoredReader:
        """What R members have, after one of them has failed while it was read."""
        if isinstance(error, StorageIntegrityError) and view.info is not None:
            self._reads.suspect(view, view.info)
        reader = await super().get(key, options)
        reader.info = changed(reader.info, {"degraded": True})
        return reader

    async def _served(self, key: str, options: ReadOptions, opened: Opened) -> StoredReader | None:
        """The bytes of the member that opened the object; None, and it is closed, where it proves nothing."""
        reader, found = opened.reader, self._found(opened.view, options)
        if found is None or reader is None:
            await opened.aclose()
            return None
        if reader.length is None or reader.length > VERIFIED:
            return await self._reads.served(key, options, found, opened)
        try:
            await reader.hold()
        except StorageError as error:
            return await self._instead(key, options, opened.view, error)
        reader.info = found.info
        return reader

    def _found(self, view: View, options: ReadOptions) -> Found | None:
        """What one member shows; None where that proves nothing, or it is not the version asked for."""
        decided = alone(view)
        if decided.stamp is None or not decided.stamp.time:
            return None
        found = self._reads.found_at(view, decided)
        if found is not None and options.if_match is not None and options.if_match != found.info.etag:
            return None
        return found

    async def _fastest(self, key: str, options: ReadOptions, began: float) -> _Read | None:
        """The object, opened at the fastest member, or at the next if that is slow; None if neither."""
        self._reads_done = count = self._reads_done + 1
        order, noted = self._ordered, True
        if self._order_holds > 0 and count % EXPLORE and not order[0].down:
            self._order_holds -= 1
            noted = not count % NOTED
        else:
            order = self._order(began)
        member, hedging = order[0], self._hedging
        try:
            started = begin(self._open(member, key, options))
            if isinstance(started, Done):
                opened = started.value
                if not noted:
                    return member, opened
                if member.down:
                    member.saw(None)
            else:
                delay = hedging.delay()
                if delay is None or len(order) == 1 or not hedging.tokens >= 1.0:
                    opened = await started
                    if member.down:
                        member.saw(None)
                else:
                    member, opened = await self._hedged(started, order, key, options, delay)
        except StorageError as error:
            member.saw(error)
            if is_wrong_request(error):
                raise
            return None
        now = self._clock()
        hedging.seen(now - began)
        self._latencies[member.index].seen(now - began, now)
        return member, opened

    async def _hedged(
        self,
        started: Awaitable[_Held],
        order: Sequence[Member],
        key: str,
        options: ReadOptions,
        delay: float,
    ) -> _Read:
        """Open at the first member, and at the other too if that takes longer than `delay` seconds.

        The first was started in this task, since another one would cost as much as a fast read;
        where the other wins, this task is interrupted as `asyncio.timeout` does it.
        """
        first, other = order[:2]
        me = asyncio.current_task(self._slow.loop)
        assert me is not None  # noqa: S101 - this is a coroutine
        cancelling = me.cancelling()
        second: asyncio.Future[_Held] | None = None
        won = ended = False

        def join() -> None:
            nonlocal second
            if self._hedging.spend():
                second = asyncio.ensure_future(other.ask(self._open, other, key, options))
                second.add_done_callback(interrupt)

        def interrupt(task: asyncio.Future[_Held]) -> None:
            nonlocal won
            if not ended and not task.cancelled() and task.exception() is None:
                won = True
                me.cancel()

        self._slow.watch(join, delay)
        try:
            opened = await started
            if first.down:
                first.saw(None)
            return first, opened
        except asyncio.CancelledError:
            if not won or me.uncancel() > cancelling or second is None:
                raise
            # How slow the first one is is not known, but it is at least this.
            self._latencies[first.index].seen(2 * delay, self._clock())
            found, second = second.result(), None
            return other, found
        finally:
            ended = True
            self._slow.forget(join)
            if second is not None:
                await self._give_up(second)

    @staticmethod
    async def _give_up(task: asyncio.Future[_Held]) -> None:
        """Cancel a read and release what came of it."""
        task.cancel()
        await until_done((task,))
        if not task.cancelled() and task.exception() is None:
            await task.result().aclose()

    def _open(self, member: Member, key: str, options: ReadOptions) -> Coroutine[Any, Any, _Held]:
        """The object at a member, with its tombstone where there are any."""
        if self._buried:
            return self._reads.open(member, key, options)
        return member.driver.get(key, without_condition(options))

    def _order(self, now: float) -> list[Member]:
        """Members that are up, the fastest first; now and then another one, so as not to lose sight of it."""
        up = [member for member in self.members if not member.down] or self.members
        order = sorted(up, key=lambda member: self._latencies[member.index].typical(now) or 0.0)
        # Until every member is known, each read finds out about another one.
        known = all(self._latencies[member.index].typical(now) is not None for member in up)
        self._ordered, self._order_holds = list(order), HOLDS if known else 0
        if self._reads_done % EXPLORE == 0 and len(order) > 1:
            at = 1 + self._reads_done // EXPLORE % (len(order) - 1)
            order.insert(0, order.pop(at))
        return order

    async def _one_is_enough(self) -> bool:
        """Whether nothing is known to be missed by any member; looks at it again."""
        await self._joint.result("", self._look)
        return not self._missed

    async def _look(self) -> None:
        now, doubts = self._clock(), self._doubts
        try:
            missed, buried = await both(self._pages.any(JOURNAL), lambda: self._pages.any(TOMBS))
        except StorageError:
            missed = buried = True
        if doubts == self._doubts:
            self._missed, self._buried, self._looked_at = missed, buried, now
