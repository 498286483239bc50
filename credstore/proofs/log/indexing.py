"""`LogIndex`: finds entries of a log of whole statements by asset or id, in few requests.

Rules of this file: whatever it writes is determined by the log's entries, so that any number of processes
may write it, again and again, without conditions; it is written before an index is acknowledged, and what it
lacks is read from the log itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress

from credstore.arguments import typed_class
from credstore.concurrency import in_thread, map_all, until_done
from credstore.errors import StorageConfigurationError, StorageError, StorageObjectNotFoundError
from credstore.proofs.format.errors import LogTileError
from credstore.proofs.log.index_runs import (
    BLOCK,
    FACTOR,
    INDEX,
    LARGEST_SPAN,
    ROW,
    WHOLE,
    Run,
    cover,
    enclosing,
    guess,
    matching,
    merge_parts,
    parse_run,
    rows_of,
    sound,
    split_rows,
    within,
)
from credstore.proofs.log.objects import LogObjects
from credstore.proofs.log.reading import LogTiles
from credstore.proofs.log.tiles import FULL

_AT_ONCE = 16
_PARTS = 64
"""Parts of one run that are read at most, until its row is found."""
LARGEST_GAP = 4 * BLOCK
"""Entries that are read from the log where its index lacks them."""
_MOST_BESIDE = 64
"""Runs within others that are searched or compared at once: hardly any, unless someone plants them."""
_TRIES = 4
MENDING = "credstore log check --repair-index, or check_index(…, repair=True), writes it again"
MOST_FOUND = 1000
"""Entries that are returned for one key."""


@typed_class
class LogIndex:
    """The sorted runs of one log, next to its tiles.

    Attributes:
        merges: How many runs were merged from others by this object.
    """

    def __init__(self, objects: LogObjects, *, block: int = BLOCK, largest_span: int = LARGEST_SPAN) -> None:
        """Read and write nothing yet.

        Args:
            objects: Of the log.
            block: Entries of the smallest final run; the same for all who write and read a log.
            largest_span: Entries of the largest run.

        Raises:
            StorageConfigurationError: `block` is less than 1, or `largest_span` is not `block` times a power
                of 16.
        """
        span = block
        while 0 < span < largest_span:
            span *= FACTOR
        if span != largest_span:
            raise StorageConfigurationError("the largest run is a block times a power of 16")
        self.merges = 0
        self._objects = objects
        self._block = block
        self._largest = largest_span
        self._covered: int | None = None
        self._rows: list[bytes] = []
        self._merging: asyncio.Task[None] | None = None

    async def runs(self) -> list[Run]:
        """All runs there are: one request for each 1,000."""
        items = await self._objects.items(INDEX)
        found = [parse_run(path, size, self._block) for path, size in items]
        return [run for run in found if run is not None]

    async def extend(self, tiles: LogTiles) -> None:
        """Cover a published state: one write, one more where a block is full, and a removal.

        Raises:
            LogError: An entry cannot be read.
            StorageError: The store failed; a later call continues.
        """
        at = (
            await self._start(tiles) if self._covered is None or self._covered > tiles.size else self._covered
        )
        rows, old = self._rows, Run(at - at % self._block, at)
        self._covered, self._rows = None, []  # Until all is written.
        due = False
        while at < tiles.size:
            end = min(tiles.size, at - at % self._block + self._block)
            rows = await in_thread(sorted, rows + await self._rows_between(tiles, at, end))
            if end % self._block == 0:
                await self._objects.put(Run(end - self._block, end).path, b"".join(rows))
                rows, due = [], due or end % (self._block * FACTOR) == 0
            at = end
        last = Run(at - at % self._block, at)
        if rows:
            await self._objects.put(last.path, b"".join(rows))
        if old.start < old.end and old.path != last.path:
            await self._objects.remove([old.path])
        self._covered, self._rows = at, rows
        if due and (self._merging is None or self._merging.done()):
            self._merging = asyncio.create_task(self._merge_quietly(tiles.size))

    async def _start(self, tiles: LogTiles) -> int:
        """Up to where the index is whole, with the rows of the block that it ends in."""
        _, gaps = cover(await self.runs(), tiles.size)
        at = gaps[0][0] if gaps else tiles.size
        first = at - at % self._block
        self._rows = await in_thread(sorted, await self._rows_between(tiles, first, at))
        return at

    async def _rows_between(self, tiles: LogTiles, start: int, end: int) -> list[bytes]:
        found: list[bytes] = []
        for bundle in range(start // FULL, -(-end // FULL) if end > start else 0):
            entries = list(enumerate(await tiles.entries(bundle), bundle * FULL))
            found += await in_thread(rows_of, [each for each in entries if start <= each[0] < end])
        return found

    async def _merge_quietly(self, size: int) -> None:
        with suppress(StorageError):  # The runs stay as they are, and a later call merges them.
            await self.merge(size)

    async def merge(self, size: int) -> int:
        """Merge each 16 final runs into one, as far as they are there; returns how many were made.

        A run that is there already is never written again, and nothing within it is removed unless it has all
        of these rows: whoever plants one could have others lost otherwise.

        Args:
            size: Of the log, verified: runs that end beyond it are left as they are.

        Raises:
            StorageError: The store failed; a later call continues.
        """
        made = 0
        await self._remove_merged(sound(within(await self.runs(), size)))
        span = self._block
        while span < self._largest:
            there = within(await self.runs(), size)
            made_already = {run.start for run in there if run.end - run.start == span * FACTOR}
            runs = {run.start: run for run in sound(there) if run.end - run.start == span}
            for start in sorted(runs):
                group = [runs.get(start + number * span) for number in range(FACTOR)]
                if start % (span * FACTOR) == 0 and None not in group and start not in made_already:
                    await self._merge([run for run in group if run is not None])
                    made += 1
            span *= FACTOR
        self.merges += made
        return made

    async def _remove_merged(self, runs: Sequence[Run]) -> None:
        """Remove the runs within others that have all their rows."""
        final = [run for run in runs if run.end - run.start >= self._block]
        inner: dict[Run, list[Run]] = {}
        for run, other in enclosing(runs, final).items():
            inner.setdefault(other, []).append(run)
        for run, there in reversed(inner.items()):  # What is in the smallest first, before that is removed.
            parts = sorted(there, key=lambda each: each.start - each.end)[:_MOST_BESIDE]
            if await self._has_all(run, parts):
                await self._objects.remove([part.path for part in parts])

    async def _has_all(self, run: Run, parts: Sequence[Run]) -> bool:
        """Whether a run has all rows of others; otherwise some of them are not what they should be."""
        at, step, rows = 0, WHOLE // ROW, list[bytes]()
        try:
            async with aclosing(self._merged(parts)) as merged:
                async for data in merged:
                    wanted = await in_thread(split_rows, data)
                    missing = set(wanted) - set(rows)
                    while missing and at < run.rows and (not rows or rows[-1] <= wanted[-1]):
                        rows = await self._read(run, at, min(run.rows, at + step))
                        at += step
                        missing.difference_update(rows)
                    if missing:
                        return False
        except LogTileError:  # One is not sorted, or cut short.
            return False
        return True

    async def _merge(self, runs: Sequence[Run]) -> None:
        target = Run(runs[0].start, runs[-1].end)
        async with aclosing(self._merged(runs)) as parts:
            await self._objects.put_stream(target.path, parts)
        await self._objects.remove([run.path for run in runs])

    async def _merged(self, runs: Sequence[Run]) -> AsyncGenerator[bytes, None]:
        step = WHOLE // ROW
        places = [0] * len(runs)
        buffers: list[list[bytes]] = [[] for _ in runs]
        while True:
            for number, run in enumerate(runs):
                if not buffers[number] and places[number] < run.rows:
                    end = min(run.rows, places[number] + step)
                    buffers[number] = await self._read(run, places[number], end)
                    places[number] = end
            if not any(buffers):
                return
            ended = [place == run.rows for place, run in zip(places, runs, strict=True)]
            yield await in_thread(merge_parts, buffers, ended)

    async def find(
        self, key: bytes, tiles: LogTiles, newer: Callable[[], Awaitable[LogTiles]] | None = None
    ) -> list[int]:
        """The entries of a key, in the log's order: one request for the names, and about one for each run.

        Args:
            key: As `key_of_asset` and `key_of_proof` make it.
            tiles: Of the log's state.
            newer: Reads its state again, which is asked where a run is of a later one than `tiles`; the
                entries are then those of that state. Without it, such a run counts for nothing.

        Raises:
            LogTileError: More of the index is missing than can be read from the log.
            StorageError: The store failed.
        """
        for _ in range(_TRIES):
            runs = await self.runs()
            if newer is not None and len(within(runs, tiles.size)) < len(runs):
                # Runs are written after the checkpoint, so whatever still ends beyond it was planted.
                tiles = await newer()
            try:
                return await self._found(key, runs, tiles)
            except StorageObjectNotFoundError:
                continue  # Merged meanwhile, so that another run has its rows.
        raise LogTileError("the index of the log changes all the time", key=INDEX)

    async def _found(self, key: bytes, runs: Sequence[Run], tiles: LogTiles) -> list[int]:
        chosen, gaps = cover(runs, tiles.size)
        missing = sum(end - start for start, end in gaps)
        if missing > LARGEST_GAP:
            raise LogTileError(
                f"the index of the log lacks {missing} entries; {MENDING}",
                key=INDEX,
            )

        async def search(run: Run) -> list[int]:
            return await self._search(run, key)

        async def glance(run: Run) -> list[int]:
            with suppress(LogTileError, StorageObjectNotFoundError):  # What covers it is searched anyway.
                return await self._search(run, key)
            return []

        # Rows are hints, so that more of them do no harm; whatever covers these may have been planted.
        beside = [run for run in set(within(runs, tiles.size)) - set(chosen) if run.rows and run.is_possible]
        beside = sorted(beside, key=lambda each: (each.start - each.end, each.start))[:_MOST_BESIDE]
        parts = await map_all(chosen, search, at_once=_AT_ONCE)
        parts += await map_all(beside, glance, at_once=_AT_ONCE)
        found = [index for part in parts for index in part]
        for start, end in gaps:
            found += matching(sorted(await self._rows_between(tiles, start, end)), key)
        return sorted({index for index in found if index < tiles.size})[:MOST_FOUND]

    async def _search(self, run: Run, key: bytes) -> list[int]:
        if run.size <= WHOLE:
            return matching(await self._read(run, 0, run.rows), key)
        low, high = 0, run.rows  # The first row of the key, or what follows it, is within [low, high].
        first, last = guess(key, run.rows)
        for _ in range(_PARTS):
            rows = await self._read(run, first, last)
            if first and rows[0] >= key:
                high = first
            elif rows[-1][: len(key)] > key or last == run.rows:
                return matching(rows, key)
            elif rows[-1][: len(key)] == key:
                return await self._gather(run, key, last, matching(rows, key))
            else:
                low = last
            middle, width = (low + high) // 2, WHOLE // ROW // 2
            first, last = max(0, middle - width), min(run.rows, middle + width)
        raise LogTileError("a run of the index is not sorted", key=run.path)

    async def _gather(self, run: Run, key: bytes, at: int, found: list[int]) -> list[int]:
        """The rows of a key that has more of them than one part holds, up to what is returned."""
        while len(found) < MOST_FOUND and at < run.rows:
            end = min(run.rows, at + WHOLE // ROW)
            part = matching(await self._read(run, at, end), key)
            found += part
            if len(part) < end - at:
                break
            at = end
        return found

    async def _read(self, run: Run, first: int, last: int) -> list[bytes]:
        data = await self._objects.part(run.path, first * ROW, last * ROW)
        if len(data) != (last - first) * ROW:
            raise LogTileError("a run of the index is shorter than it was", key=run.path)
        rows = await in_thread(split_rows, data)
        if rows != sorted(rows):  # A search would miss some. Sorting what is sorted is one comparison each.
            raise LogTileError("a run of the index is not sorted", key=run.path)
        return rows

    async def aclose(self) -> None:
        """Wait for a merge that is under way; safe to call again."""
        if self._merging is not None:
            cancelled = await until_done([self._merging])
            if cancelled is not None:
                raise cancelled
