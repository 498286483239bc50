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
from collections.abc import Callable, Sequence
from dataclasses import replace

from credstore.concurrency import Joint, both, until_done
from credstore.driver.contract import Driver
from credstore.driver.values import READ_ALL, ObjectInfo, ReadOptions, StoredReader
from credstore.errors import StorageError, StorageIntegrityError
from credstore.strategies.fastest.watch import Watch
from credstore.strategies.health import Member, is_wrong_request
from credstore.strategies.latencies import Latencies
from credstore.strategies.redundant.driver import LIFETIME, PATIENCE, RedundantDriver
from credstore.strategies.redundant.plan import JOURNAL, TOMBS, View, alone
from credstore.strategies.redundant.reading import VERIFIED, Found, Opened, without_condition
from credstore.wire.hedge import Hedging

FRESH = 10.0
"""Seconds for which what was seen of journal and tombstones counts."""
EXPLORE = 32
"""Reads of which one goes to another member, so that what is known of it stays true."""
HOLDS = 8
"""Reads for which the order of the members holds."""
_FAR = math.inf


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
        if not self._missed if self._is_fresh() else await self._one_is_enough():
            options.check_range()
            opened = await self._fastest(key, options)
            if opened is not None:
                found = self._found(opened.view, options)
                if found is not None:
                    return await self._served(key, options, found, opened)
                await opened.aclose()
        return await super().get(key, options)

    async def head(self, key: str, options: ReadOptions = READ_ALL) -> ObjectInfo:
        """What `get` would serve; see `Driver.head`."""
        self._begin_read(key, options)
        if not self._missed if self._is_fresh() else await self._one_is_enough():
            options.check_range()
            member = self._order()[0]
            try:
                view = await member.ask(
                    self._looking.view, member, key, ReadOptions(deadline=options.deadline)
                )
            except StorageError as error:
                if is_wrong_request(error):
                    raise
            else:
                found = self._found(view, options)
                if found is not None:
                    return found.info
        return await super().head(key, options)

    async def _served(self, key: str, options: ReadOptions, found: Found, opened: Opened) -> StoredReader:
        """The bytes of the member that opened the object; of what is small in the shortest way."""
        reader = opened.reader
        if reader is None or reader.length is None or reader.length > VERIFIED:
            return await self._reads.served(key, options, found, opened)
        try:
            await reader.hold()
        except StorageError as error:
            if isinstance(error, StorageIntegrityError):
                self._reads.suspect(opened.view, found.info)
            reader = await super().get(key, options)
            reader.info = replace(reader.info, degraded=True)
            return reader
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

    async def _fastest(self, key: str, options: ReadOptions) -> Opened | None:
        """The object, opened at the fastest member, or at the next if that is slow; None if neither."""
        order = self._order()
        delay = self._hedging.delay()
        began = self._clock()
        try:
            if delay is None or len(order) == 1 or not self._hedging.tokens >= 1.0:
                opened = await order[0].ask(self._open, order[0], key, options)
            else:
                opened = await self._hedged(order, key, options, delay)
        except StorageError as error:
            if is_wrong_request(error):
                raise
            return None
        took = self._clock() - began
        self._hedging.seen(took)
        self._latencies[opened.view.member.index].seen(took, self._clock())
        if opened.reader is None:
            return None
        return opened

    async def _hedged(self, order: Sequence[Member], key: str, options: ReadOptions, delay: float) -> Opened:
        """Open at the first member, and at the second too if that takes longer than `delay` seconds.

        The first runs in this task, since another one would cost as much as a fast read; where the second
        wins, this task is interrupted as `asyncio.timeout` does it.
        """
        me = asyncio.current_task()
        assert me is not None  # noqa: S101 - this is a coroutine
        cancelling = me.cancelling()
        second: asyncio.Future[Opened] | None = None
        won = ended = False

        def join() -> None:
            nonlocal second
            if self._hedging.spend():
                second = asyncio.ensure_future(order[1].ask(self._open, order[1], key, options))
                second.add_done_callback(interrupt)

        def interrupt(task: asyncio.Future[Opened]) -> None:
            nonlocal won
            if not ended and not task.cancelled() and task.exception() is None:
                won = True
                me.cancel()

        self._slow.watch(join, delay)
        try:
            return await order[0].ask(self._open, order[0], key, options)
        except asyncio.CancelledError:
            if not won or me.uncancel() > cancelling or second is None:
                raise
            # How slow the first one is is not known, but it is at least this.
            self._latencies[order[0].index].seen(2 * delay, self._clock())
            found, second = second.result(), None
            return found
        finally:
            ended = True
            self._slow.forget(join)
            if second is not None:
                await self._give_up(second)

    @staticmethod
    async def _give_up(task: asyncio.Future[Opened]) -> None:
        """Cancel a read and release what came of it."""
        task.cancel()
        await until_done((task,))
        if not task.cancelled() and task.exception() is None:
            await task.result().aclose()

    async def _open(self, member: Member, key: str, options: ReadOptions) -> Opened:
        if self._buried:
            return await self._reads.open(member, key, options)
        reader = await member.driver.get(key, without_condition(options))
        return Opened(View(member, reader.info, None), reader)

    def _order(self) -> list[Member]:
        """Members that are up, the fastest first; now and then another one, so as not to lose sight of it."""
        self._reads_done += 1
        if self._order_holds > 0 and not self._ordered[0].down and self._reads_done % EXPLORE:
            self._order_holds -= 1
            return self._ordered
        now = self._clock()
        up = [member for member in self.members if not member.down] or self.members
        order = sorted(up, key=lambda member: self._latencies[member.index].typical(now) or 0.0)
        # Until every member is known, each read finds out about another one.
        known = all(self._latencies[member.index].typical(now) is not None for member in up)
        self._ordered, self._order_holds = list(order), HOLDS if known else 0
        if self._reads_done % EXPLORE == 0 and len(order) > 1:
            at = 1 + self._reads_done // EXPLORE % (len(order) - 1)
            order.insert(0, order.pop(at))
        return order

    def _is_fresh(self) -> bool:
        """Whether the journal and the tombstones were looked at lately."""
        return self._clock() - self._looked_at < FRESH

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
