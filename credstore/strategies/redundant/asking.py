"""Questions to as many members as a read needs, and to more where those do not answer.

Rules of this file: members are asked in their order; one that is down is left alone; one that fails, or is
slow for `patience` seconds, is joined by the next. Nothing is decided here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from credstore.concurrency import both, map_all, until_done
from credstore.driver.values import ObjectInfo, ReadOptions
from credstore.errors import StorageError, StorageIntegrityError
from credstore.strategies.health import Member, is_absence, is_wrong_request
from credstore.strategies.redundant.plan import TOMBS, View, not_met, verdict
from credstore.strategies.redundant.stamps import HybridClock, same_version, stamp_of

T = TypeVar("T")
ATTEMPTS = 3
"""Looks at a key that changes meanwhile."""


@dataclass(frozen=True, slots=True)
class Answers(Generic[T]):
    """What the members said.

    Attributes:
        found: Definite responses, in the order of the members.
        failed: Those that gave none, with the reason.
    """

    found: tuple[T, ...]
    failed: dict[Member, StorageError]


async def ask_members(
    members: Sequence[Member],
    ask: Callable[[Member], Coroutine[Any, Any, T]],
    needed: int,
    *,
    patience: float,
    drop: Callable[[T], Awaitable[None]] | None = None,
) -> Answers[T]:
    """Definite responses of at least `needed` members.

    Args:
        members: All that could be asked, in the order of asking.
        ask: Asks one.
        needed: The quorum.
        patience: Seconds after which a slow member is joined by the next.
        drop: Releases what a member returned when it was no longer needed.

    Raises:
        StorageQuorumError: Too few answered.
        StorageError: The request itself is wrong, or all fail in the same way.
    """
    found: dict[Member, T] = {}
    failed: dict[Member, StorageError] = {}
    running: dict[asyncio.Future[T], Member] = {}
    waiting = list(members)

    def start() -> bool:
        while waiting:
            member = waiting.pop(0)
            if member.admits():
                running[asyncio.ensure_future(member.ask(ask, member))] = member
                return True
            failed[member] = member.left_alone()
        return False

    try:
        for _ in range(needed):
            start()
        while len(found) < needed:
            if len(found) + len(running) < needed and not start():
                damaged = all(isinstance(error, StorageIntegrityError) for error in failed.values())
                if found or not damaged:
                    raise not_met("answered", needed, members, found, failed, mutation=False)
                if not running:
                    raise next(iter(failed.values()))  # There is no good copy anywhere.
            if not running:
                continue
            done, _ = await asyncio.wait(
                running, timeout=patience if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                start()
            for task in done:
                member = running.pop(task)
                try:
                    found[member] = task.result()
                except StorageError as error:
                    if is_wrong_request(error):
                        raise
                    failed[member] = error
    except BaseException:
        await _end(running, drop, list(found.values()))
        raise
    await _end(running, drop, [])
    ordered = sorted(found, key=lambda member: member.index)
    return Answers(tuple(found[member] for member in ordered), failed)


async def _end(
    running: dict[asyncio.Future[T], Member],
    drop: Callable[[T], Awaitable[None]] | None,
    unwanted: list[T],
) -> None:
    """Cancel what is under way, wait for it, and release what came of it."""
    for task in running:
        task.cancel()
    cancelled = await until_done(running)
    ended = [task for task in running if not task.cancelled() and task.exception() is None]
    unwanted += [task.result() for task in ended]
    if drop is not None:
        for each in unwanted:
            await drop(each)
    if cancelled is not None:
        raise cancelled


class Looking:
    """Questions about one key."""

    def __init__(self, members: Sequence[Member], read: int, clock: HybridClock, patience: float) -> None:
        """Ask nothing yet.

        Args:
            members: All of them.
            read: R.
            clock: Learns the stamps that are seen.
            patience: Seconds after which a slow member is joined by the next.
        """
        self.members = members
        self.read = read
        self.clock = clock
        self.patience = patience

    async def look(self, key: str, deadline: float | None) -> Answers[View]:
        """What R members have under a key.

        Raises:
            StorageError: As `ask_members`.
        """
        options = ReadOptions(deadline=deadline)
        for attempt in range(ATTEMPTS):
            answers = await ask_members(
                self.members,
                lambda member: self.view(member, key, options),
                self.read,
                patience=self.patience,
            )
            if attempt == ATTEMPTS - 1 or await self.is_there(key, answers.found, deadline):
                return answers
        raise AssertionError

    async def is_there(self, key: str, views: Sequence[View], deadline: float | None) -> bool:
        """Whether a version that some members have nothing of is still there, after all have answered.

        Tombstones are given up once no member has the object. So who is asked before a deleted one is removed
        at the last member shows it, and who is asked after that shows nothing, not even a tombstone.
        """
        if all(view.info is not None or view.grave is not None for view in views):
            return True
        decided = verdict(views)
        newest, options = decided.newest, ReadOptions(deadline=deadline)
        if newest is None:
            return True
        try:
            again = await ask_members(
                [view.member for view in decided.holders],
                lambda member: self.head(member, key, options),
                1,
                patience=self.patience,
            )
        except StorageError:
            return True  # They are gone since, which the next question finds.
        return any(now is not None and same_version(now, newest) for now in again.found)

    async def look_at_all(self, key: str, deadline: float | None) -> Answers[View]:
        """What every member that can be reached has under a key; there may be none."""
        options = ReadOptions(deadline=deadline)

        async def one(member: Member) -> View | StorageError:
            if not member.admits():
                return member.left_alone()
            try:
                return await member.ask(self.view, member, key, options)
            except StorageError as error:
                return error

        answers = await map_all(self.members, one, at_once=len(self.members))
        failed: dict[Member, StorageError] = {}
        found: list[View] = []
        for member, answer in zip(self.members, answers, strict=True):
            if isinstance(answer, StorageError):
                failed[member] = answer
            else:
                found.append(answer)
        return Answers(tuple(found), failed)

    async def view(self, member: Member, key: str, options: ReadOptions) -> View:
        """What one member has under a key.

        Raises:
            StorageError: It did not answer both questions.
        """
        info, grave = await both(
            self.head(member, key, options), lambda: self.grave(member, key, options.deadline)
        )
        return View(member, info, grave)

    async def head(self, member: Member, key: str, options: ReadOptions) -> ObjectInfo | None:
        """What a member knows about an object, or None where it has none.

        Raises:
            StorageError: It did not answer.
        """
        try:
            found = await member.driver.head(key, options)
        except StorageError as error:
            if is_absence(error):
                return None
            raise
        self.clock.saw(stamp_of(found))
        return found

    async def grave(self, member: Member, key: str, deadline: float | None) -> ObjectInfo | None:
        """The tombstone that a member has for a key, or None.

        Raises:
            StorageError: It did not answer.
        """
        return await self.head(member, TOMBS + key, ReadOptions(deadline=deadline))
