"""From what two ends list to the names that can be transferred, ascending."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass

from credstore.transfer.filters import Filter
from credstore.transfer.journal import Journal
from credstore.transfer.mapping import CALLED, Names, called_for
from credstore.transfer.plan import Branches, Entry
from credstore.transfer.sides import Side
from credstore.transfer.values import EventKind, TransferEvent

Refuse = Callable[[TransferEvent], None]
"""Called with what is left out, and why."""


@dataclass(frozen=True, slots=True)
class Sieve:
    """The listings of both ends, without what cannot be transferred.

    Attributes:
        source: One end.
        end: The other one.
        wanted: Names that are wanted.
        journal: Puts a listing in order that is not.
    """

    source: Side
    end: Side
    wanted: Filter
    journal: Journal

    def destination(self) -> AsyncGenerator[Entry, None]:
        """What is at the destination."""
        return self._sifted(self.end, destination=True)

    async def fit(self, report: Refuse | None = None) -> AsyncGenerator[Entry, None]:
        """What is at the source and can be at the destination.

        Args:
            report: Called with the others; None where they are known.
        """
        end, branches = self.end, Branches()
        folds = await end.folds()
        if folds:
            await self.journal.forget_spellings()
        async with aclosing(self._sifted(self.source, report)) as found:
            held: Entry | None = None  # A folder that is empty, unless what comes next is in it.
            async for entry in found:
                if held is not None and not entry.name.startswith(held.name):
                    yield held
                held, marker = None, entry.name[-1:] == "/" and is_marker(entry)
                if not marker:
                    why = end.unfit(entry.name)
                else:
                    why = "it only marks a folder" if self._omits(entry) else self._unfit(entry)
                if why is None and not end.branches and entry.name not in end.held.names:
                    above = branches.above(entry.name)
                    why = None if above is None else f"{above!r} would have to be a file and a folder at once"
                if why is None and folds and not await self._is_new(entry.name):
                    why = "another name differs from it only in case or accents, which this disk confuses"
                if why is None and marker and not end.branches:
                    held = entry
                elif why is None:
                    yield entry
                elif report is not None:
                    kind: EventKind = "skipped" if marker else "refused"
                    report(TransferEvent(kind=kind, name=entry.name, size=entry.size, detail=why))
            if held is not None:
                yield held

    async def _is_new(self, name: str) -> bool:
        """Whether a disk that ignores case has no other name for this one."""
        return await self.journal.is_new_spelling(self.end.held.called(name).removesuffix("/"))

    def _unfit(self, entry: Entry) -> str | None:
        """Why the destination cannot hold it; a folder is made without the slash at its end."""
        folder = is_marker(entry) and not self.end.branches
        return self.end.unfit(entry.name.removesuffix("/") if folder else entry.name)

    def _omits(self, entry: Entry) -> bool:
        """Whether it stands for a folder that the destination does not keep."""
        return is_marker(entry) and not self.end.branches and not self.end.empty_folders

    async def rename(self, names: Names, report: Refuse) -> None:
        """Find what to call the names that the destination cannot hold; one listing of the source.

        Args:
            names: Added to.
            report: Called with each name that is added.
        """
        end, branches, taken, odd = self.end, Branches(), set[str](), dict[str, str]()
        folds = await end.folds()
        if folds:
            await self.journal.forget_spellings()
        async with aclosing(self._sifted(self.source)) as found:
            async for entry in found:
                name = entry.name
                if CALLED.search(name):
                    taken.add(name)
                if name in names or self._omits(entry):
                    continue
                above = None if end.branches else branches.above(name)
                same = folds and not await self._is_new(name)
                if same or above is not None or self._unfit(entry) is not None:
                    odd[name] = called_for(name, end.unfit, above)
        folders = {parent for name in taken for parent in _parents(name)}
        for name, called in odd.items():  # Only now: what is listed is taken for what the names say.
            free = called not in folders and taken.isdisjoint({called, *_parents(called)})
            if free and names.add(name, called):
                report(TransferEvent(kind="renamed", name=name, detail=called))

    def _sifted(
        self, side: Side, report: Refuse | None = None, *, destination: bool = False
    ) -> AsyncGenerator[Entry, None]:
        taken = _only(side.entries(self.wanted, destination=destination), report)
        return taken if side.ordered else self.journal.in_order(taken)


def _parents(name: str) -> Iterator[str]:
    """The folders that a name is in, without slashes at their ends."""
    while (end := name.rfind("/")) > 0:
        name = name[:end]
        yield name


def is_marker(entry: Entry) -> bool:
    """Whether an object only stands for a folder."""
    return entry.name.endswith("/") and not entry.size


async def _only(entries: AsyncGenerator[Entry, None], report: Refuse | None) -> AsyncGenerator[Entry, None]:
    async with aclosing(entries) as found:
        async for entry in found:
            if entry.refused is None:
                yield entry
            elif report is not None:
                kind: EventKind = "refused" if entry.fault else "skipped"
                report(TransferEvent(kind=kind, name=entry.name, detail=entry.refused))
