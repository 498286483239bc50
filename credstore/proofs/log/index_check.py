"""Checking the index of a log of whole statements: every run, against the entries that it covers.

Rules of this file: a run has the rows of its entries, no others, and sorted; which rows there have to be is
computed from verified entries alone. Runs of any size are compared in bounded memory, by a sum of keyed
hashes that whoever wrote the runs cannot aim at, as the key is new each time.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b

from credstore.arguments import typed
from credstore.concurrency import in_thread
from credstore.errors import StorageObjectNotFoundError
from credstore.proofs.format.errors import LogTileError
from credstore.proofs.log.client import LogClient
from credstore.proofs.log.entry import is_whole
from credstore.proofs.log.index_runs import (
    BLOCK,
    INDEX,
    LARGEST_SPAN,
    ROW,
    WHOLE,
    Run,
    cover,
    rows_of,
    split_rows,
    within,
)
from credstore.proofs.log.indexing import LARGEST_GAP, LogIndex
from credstore.proofs.log.objects import LogObjects
from credstore.proofs.log.reading import LogTiles
from credstore.proofs.log.tiles import FULL

_DIGEST = 32
_MODULUS = 1 << (8 * _DIGEST)


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What a check of an index found.

    Attributes:
        runs: How many there are.
        rows: How many rows they should have together.
        problems: What is wrong, by path; empty for a sound index.
        repaired: Whether it was written again from the entries.
    """

    runs: int = 0
    rows: int = 0
    problems: dict[str, str] = field(default_factory=dict[str, str])
    repaired: bool = False


@dataclass(frozen=True, slots=True)
class _Sum:
    """A number of rows, and the sum of their hashes."""

    rows: int = 0
    value: int = 0


@typed
async def check_index(
    client: LogClient,
    objects: LogObjects,
    *,
    repair: bool = False,
    whole: bool | None = None,
    block: int = BLOCK,
    largest_span: int = LARGEST_SPAN,
) -> IndexReport:
    """Compare every run of an index with the entries of its log, which are read and verified for it.

    An index only leads to proofs: what it leads to is verified by whoever follows it. But a run that someone
    has replaced can lack what it should lead to, and no reader of single rows can see that; this does.

    Args:
        client: Of the log.
        objects: Of the log, in its store.
        repair: Remove wrong runs, and write them again from the entries; no key is needed.
        whole: Whether the log has whole statements, as a `LogReport` says, and so needs an index; None looks,
            where there is none.
        block: As that of the `LogIndex` that writes it.
        largest_span: As that of the `LogIndex` that writes it.

    Raises:
        LogError: The log cannot be verified.
        StorageError: It cannot be read; or the index cannot be written.

    Cost: every bundle of the log, every run, and with `repair` a write for each block after a wrong run.
    """
    index = LogIndex(objects, block=block, largest_span=largest_span)
    runs = await index.runs()
    await client.checkpoint()  # Afterwards, so that no run may be ahead of it.
    tiles = await client.tiles()
    key = os.urandom(_DIGEST)
    problems: dict[str, str] = {}
    for run in runs:
        if run.end > tiles.size:
            problems[run.path] = f"it covers entries up to {run.end}, and the log has {tiles.size}"
    inside = within(runs, tiles.size)
    sums = await _sums(tiles, {at for run in inside for at in (run.start, run.end)}, key)
    rows = 0
    for run in inside:
        start, end = sums[run.start], sums[run.end]
        expected = _Sum(end.rows - start.rows, (end.value - start.value) % _MODULUS)
        why = await _wrong(objects, run, expected, key)
        if why is not None:
            problems[run.path] = why
        rows += expected.rows
    _, gaps = cover([run for run in inside if run.path not in problems], tiles.size)
    missing = sum(end - start for start, end in gaps)
    if not runs and missing:  # It has no index, or none any more.
        expects = whole if whole is not None else await _has_whole(tiles)
    else:
        expects = missing > LARGEST_GAP
    if expects and not problems:
        problems[INDEX] = f"no run covers {missing} of its entries"
    if problems and repair:
        await objects.remove([path for path in problems if path != INDEX])
        await index.extend(tiles)
        await index.aclose()  # Its own merge ends before another one starts.
        with suppress(StorageObjectNotFoundError):  # Another process merges, too.
            await index.merge(tiles.size)
    return IndexReport(len(runs), rows, problems, repaired=bool(problems) and repair)


async def _has_whole(tiles: LogTiles) -> bool:
    for bundle in range(-(-tiles.size // FULL)):
        if any(is_whole(each) for each in await tiles.entries(bundle)):
            return True
    return False


async def _sums(tiles: LogTiles, bounds: set[int], key: bytes) -> dict[int, _Sum]:
    """The rows of the entries before each bound."""
    found: dict[int, _Sum] = {}
    now, last = _Sum(), max(bounds, default=0)
    inner: dict[int, list[int]] = {}
    for at in sorted(bounds):
        inner.setdefault(at // FULL, []).append(at)
    for bundle in range(-(-last // FULL)):
        entries = list(enumerate(await tiles.entries(bundle), bundle * FULL))
        cuts = inner.get(bundle, [])
        for start, end in zip([entries[0][0], *cuts], [*cuts, entries[0][0] + FULL], strict=True):
            part = [each for each in entries if start <= each[0] < end]
            now = await in_thread(_added, now, part, key)
            if end in cuts:
                found[end] = now
    found.setdefault(last, now)
    return found


def _added(now: _Sum, entries: list[tuple[int, bytes]], key: bytes) -> _Sum:
    return _with(now, rows_of(entries), key)


def _with(now: _Sum, rows: list[bytes], key: bytes) -> _Sum:
    value = now.value
    for row in rows:
        value += int.from_bytes(blake2b(row, key=key, digest_size=_DIGEST).digest(), "big")
    return _Sum(now.rows + len(rows), value % _MODULUS)


async def _wrong(objects: LogObjects, run: Run, expected: _Sum, key: bytes) -> str | None:
    """What is wrong with a run, or None; nothing is, where another run has replaced it meanwhile."""
    if run.rows != expected.rows:
        return f"it has {run.rows} rows instead of {expected.rows}"
    found, before, step = _Sum(), b"", WHOLE - WHOLE % ROW
    for at in range(0, run.size, step):
        try:
            data = await objects.part(run.path, at, min(run.size, at + step))
        except StorageObjectNotFoundError:
            return None
        except LogTileError as error:
            return error.message
        rows = await in_thread(split_rows, data)
        if rows != sorted(rows) or rows[:1] < [before]:
            return "its rows are not sorted, so that a search misses some"
        before = rows[-1] if rows else before
        found = await in_thread(_with, found, rows, key)
    return None if found == expected else "its rows are not those of the entries that it covers"
