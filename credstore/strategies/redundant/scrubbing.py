"""`scrub`: every replica of every key compared, and mended where it can be."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256

from credstore.concurrency import for_each
from credstore.driver.values import ObjectInfo
from credstore.errors import StorageInvalidRequestError
from credstore.model import ReplicaFinding, ScrubReport
from credstore.strategies.health import Member
from credstore.strategies.redundant.journal import Journal
from credstore.strategies.redundant.mending import Mender, Outcome
from credstore.strategies.redundant.pages import Pages
from credstore.strategies.redundant.plan import OWN, TOMBS

AT_ONCE = 8
"""Keys that are compared at the same time."""


@dataclass(frozen=True, slots=True)
class Share:
    """A part of all keys, picked by their hashes.

    Attributes:
        number: Which one, 1 to `of`.
        of: Number of parts.
    """

    number: int = 1
    of: int = 1

    def has(self, key: str) -> bool:
        """Whether a key is in this part."""
        return int.from_bytes(sha256(key.encode()).digest()[:8]) % self.of == self.number - 1


def share_of(text: str | None) -> Share:
    """The part that a text such as "1/7" names; None for all.

    >>> share_of("2/7")
    Share(number=2, of=7)

    Raises:
        StorageInvalidRequestError: It is not such a text.
    """
    if text is None:
        return Share()
    number, slash, of = text.partition("/")
    if slash and number.isascii() and of.isascii() and number.isdigit() and of.isdigit():
        share = Share(int(number), int(of))
        if 1 <= share.number <= share.of:
            return share
    raise StorageInvalidRequestError('share is a text such as "1/7": which part, and of how many')


@dataclass(slots=True)
class _Tally:
    """What was found so far."""

    objects: int = 0
    bytes_read: int = 0
    findings: list[ReplicaFinding] = field(default_factory=list[ReplicaFinding])

    def add(self, key: str, outcome: Outcome) -> None:
        self.objects += outcome.exists
        self.bytes_read += outcome.bytes_read
        self.findings += [
            ReplicaFinding(
                key=key,
                replica=mark.member.label,
                kind=mark.kind,
                mended=mark.mended,
                reason=mark.reason,
            )
            for mark in outcome.marks
        ]


class Scrubber:
    """Compares the members."""

    def __init__(
        self,
        members: Sequence[Member],
        pages: Pages,
        mender: Mender,
        journal: Journal,
        deadline: Callable[[], float],
    ) -> None:
        """Compare nothing yet.

        Args:
            members: All of them.
            pages: Lists all keys.
            mender: Compares one.
            journal: What was missed.
            deadline: Of a request that starts now.
        """
        self._members = members
        self._pages = pages
        self._mender = mender
        self._journal = journal
        self._deadline = deadline

    async def scrub(
        self, prefix: str = "", *, share: str | None = None, deep: bool = True, exclusive: bool = False
    ) -> ScrubReport:
        """Compare all replicas under a prefix, and make them equal.

        Args:
            prefix: What the keys start with.
            share: Only a part of them, such as "1/7".
            deep: Read all bytes of all replicas; False compares what members say about them.
            exclusive: No one else writes meanwhile, so that members without conditional writes are mended.

        Raises:
            StorageInvalidRequestError: `share` is not such a text.
            StorageError: Fewer than R members list what they have.
        """
        part = share_of(share)
        started = datetime.now(UTC)
        tally = _Tally()
        missed = {key async for key in self._journal.missed()}
        noted = {key for key in missed if key.startswith(prefix) and part.has(key)}

        async def compare(key: str) -> None:
            noted.discard(key)
            notes: Mapping[Member, ObjectInfo] = {}
            if key in missed:
                notes = await self._journal.notes(key)
            outcome = await self._mender.reconcile(key, deep=deep, exclusive=exclusive)
            tally.add(key, outcome)
            if outcome.equal and notes:
                await self._journal.clear(key, notes)

        await for_each(self._keys(prefix, part), compare, at_once=lambda: AT_ONCE)
        for key in sorted(noted):  # Neither an object nor a tombstone is left of it.
            await compare(key)
        return ScrubReport(
            prefix=prefix,
            share=f"{part.number}/{part.of}",
            replicas=tuple(member.label for member in self._members),
            objects=tally.objects,
            bytes_read=tally.bytes_read,
            findings=tuple(sorted(tally.findings, key=lambda each: (each.key.encode(), each.replica))),
            deep=deep,
            started_at=started,
            finished_at=datetime.now(UTC),
        )

    async def _keys(self, prefix: str, part: Share) -> AsyncIterator[str]:
        """Keys of objects and of tombstones, each once."""
        async with (
            aclosing(self._pages.keys(prefix, self._deadline)) as objects,
            aclosing(self._pages.keys(TOMBS + prefix, self._deadline)) as graves,
        ):
            key, name = await anext(objects, None), await anext(graves, None)
            while key is not None or name is not None:
                buried = None if name is None else name[len(TOMBS) :]
                first = min((each for each in (key, buried) if each is not None), key=str.encode)
                if not first.startswith(OWN) and part.has(first):
                    yield first
                if key == first:
                    key = await anext(objects, None)
                if buried == first:
                    name = await anext(graves, None)

    async def catch_up(self) -> int:
        """Make equal what the journal says that members have missed; how many keys are equal now.

        Raises:
            StorageError: Fewer than R members list the journal.
        """
        caught = 0
        async for key in self._journal.missed():
            notes = await self._journal.notes(key)
            outcome = await self._mender.reconcile(key, deep=False, exclusive=False)
            if outcome.equal:
                await self._journal.clear(key, notes)
                caught += 1
        return caught
