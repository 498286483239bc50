"""Sorted runs: where the proofs of an asset or an id are in a log of whole statements. Pure.

Rules of this file: a row is 16 bytes of a hash and 8 of an index, and the rows of a run are sorted, so that a
search can guess a row's place from its hash; a run is determined by the entries it covers. Rows are hints:
what they lead to is verified, and compared with what was asked for.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import isqrt
from uuid import UUID

from credstore.proofs.format.errors import LogEntryError
from credstore.proofs.log.entry import read_entry

INDEX = "index/"
ROW = 24
KEY = 16
PER_ENTRY = 2
"""Rows that an entry has at most: of its id, and of its asset."""
BLOCK = 4096
"""Entries of the smallest final run."""
FACTOR = 16
"""Runs that are merged into one."""
LARGEST_SPAN = 1 << 24
WHOLE = 256 * 1024
"""Bytes of a run that is read at once, and of a part of one that is searched."""
_NAME = re.compile(r"index/([0-9]{15})-([0-9]{15})")
_LAST = b"\xff" * (ROW - KEY)


@dataclass(frozen=True, slots=True, order=True)
class Run:
    """The rows of the entries [start, end).

    Attributes:
        start: First entry.
        end: One past the last.
        size: Stored bytes.
    """

    start: int
    end: int
    size: int = 0

    @property
    def path(self) -> str:
        """Its path below the log's prefix."""
        return f"{INDEX}{self.start:015}-{self.end:015}"

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return self.size // ROW

    @property
    def is_possible(self) -> bool:
        """Whether its entries can have as many rows."""
        return self.size <= PER_ENTRY * ROW * (self.end - self.start)


def parse_run(path: str, size: int, block: int = BLOCK) -> Run | None:
    """The run of a path, or None for any other path: final ones are aligned, the last one starts a block."""
    found = _NAME.fullmatch(path)
    if found is None:
        return None
    run = Run(int(found[1]), int(found[2]), size)
    span, final = run.end - run.start, block
    while final < span:
        final *= FACTOR
    aligned = run.start % final == 0 if span == final else 0 < span < block and run.start % block == 0
    return run if aligned and size % ROW == 0 else None


def cover(runs: Iterable[Run], size: int) -> tuple[list[Run], list[tuple[int, int]]]:
    """The fewest runs that cover a log from its first entry on, and the ranges that none of them covers.

    A run that ends beyond the log is of a later state, or was planted, and covers nothing.
    """
    widest: dict[int, Run] = {}
    for run in sorted(sound(within(runs, size))):
        widest[run.start] = run
    chosen: list[Run] = []
    gaps: list[tuple[int, int]] = []
    at = 0
    while at < size:
        if at in widest:
            chosen.append(widest[at])
            at = widest[at].end
            continue
        end = min([start for start in widest if start > at] + [size])
        gaps.append((at, min(end, size)))
        at = end
    return chosen, gaps


def within(runs: Iterable[Run], size: int) -> list[Run]:
    """Those that end within a log of this size."""
    return [run for run in runs if run.end <= size]


def is_within(run: Run, other: Run) -> bool:
    """Whether another run covers all that this one does."""
    return (
        (run.start, run.end) != (other.start, other.end) and other.start <= run.start and run.end <= other.end
    )


def enclosing(runs: Iterable[Run], outer: Iterable[Run]) -> dict[Run, Run]:
    """For each run the smallest of the outer ones that covers more than it does, where there is one.

    Runs overlap only where one is within another, so that one pass over thousands of planted names will do.
    """
    candidates = set(outer)
    found: dict[Run, Run] = {}
    around: list[Run] = []
    for run in sorted({*runs, *candidates}, key=_outer_first):
        while around and not is_within(run, around[-1]):
            around.pop()
        if around:
            found[run] = around[-1]
        if run in candidates:
            around.append(run)
    return found


def sound(runs: Iterable[Run]) -> list[Run]:
    """Those that have at least the rows of the runs within them, since merging loses none.

    Runs with more rows than their entries can have were planted, and count for nothing.
    """
    possible = [run for run in runs if run.is_possible]
    parents = enclosing(possible, possible)
    within_it = dict.fromkeys(possible, 0)
    found: list[Run] = []
    for run in sorted(possible, key=_outer_first, reverse=True):  # The inner first.
        if run.size >= within_it[run]:
            found.append(run)
        if run in parents:
            within_it[parents[run]] += max(run.size, within_it[run])
    return found


def _outer_first(run: Run) -> tuple[int, int]:
    return run.start, -run.end


def key_of_asset(digest: bytes) -> bytes:
    """What the rows of an asset start with."""
    return sha256(b"asset\x00" + digest).digest()[:KEY]


def key_of_proof(proof_id: str) -> bytes:
    """What the rows of a proof's id start with."""
    return sha256(b"proof\x00" + UUID(proof_id).bytes).digest()[:KEY]


def rows_of(entries: Iterable[tuple[int, bytes]]) -> list[bytes]:
    """The rows of entries with their indices: two for each issued proof, and none for anything else."""
    found: list[bytes] = []
    for index, data in entries:
        try:
            entry = read_entry(data)
        except LogEntryError:
            continue
        if entry.kind == "issue" and entry.proof_id is not None:
            place = index.to_bytes(ROW - KEY, "big")
            found.append(key_of_proof(entry.proof_id) + place)
            if entry.subject is not None:
                found.append(key_of_asset(entry.subject) + place)
    return found


def split_rows(data: bytes) -> list[bytes]:
    """The rows in the bytes of a run, or of a part of one."""
    return [data[at : at + ROW] for at in range(0, len(data) - ROW + 1, ROW)]


def matching(rows: Sequence[bytes], key: bytes) -> list[int]:
    """The indices of the rows with a key."""
    first, last = bisect_left(rows, key), bisect_right(rows, key + _LAST)
    return [int.from_bytes(row[KEY:], "big") for row in rows[first:last]]


def guess(key: bytes, rows: int) -> tuple[int, int]:
    """The rows [first, last) among which a key is, nearly always: hashes are spread evenly."""
    place = int.from_bytes(key, "big") * rows >> (8 * KEY)
    spread = 3 * isqrt(rows) // 2 + 64
    return max(0, place - spread), min(rows, place + spread)


def merge_parts(buffers: list[list[bytes]], ended: Sequence[bool]) -> bytes:
    """Take from sorted buffers what is smaller than anything that is not read yet, and merge it.

    Args:
        buffers: Of each run, its next rows; what is taken is removed. None is empty unless its run has ended.
        ended: Whether a run has no more rows than those in its buffer.
    """
    open_ends = [buffer[-1] for buffer, done in zip(buffers, ended, strict=True) if not done]
    bound = min(open_ends) if open_ends else None
    taken: list[bytes] = []
    for number, buffer in enumerate(buffers):
        cut = len(buffer) if bound is None else bisect_right(buffer, bound)
        taken += buffer[:cut]
        buffers[number] = buffer[cut:]
    taken.sort()
    return b"".join(taken)
