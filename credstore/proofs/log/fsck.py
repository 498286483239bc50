"""Checking a whole log: every tile and every entry, against the root that is signed."""

from __future__ import annotations

from dataclasses import dataclass, field

from credstore.arguments import typed
from credstore.proofs.format.errors import LogTileError
from credstore.proofs.log.checkpoint import Checkpoint
from credstore.proofs.log.client import LogClient
from credstore.proofs.log.entry import is_whole
from credstore.proofs.log.tiles import ENTRIES, FULL, Edge, grow, levels_of, tiles_of


@dataclass(frozen=True, slots=True)
class LogReport:
    """What a check found.

    Attributes:
        checkpoint: That was checked.
        entries: How many were read and hashed.
        tiles: How many tiles and bundles were read.
        whole: How many entries are whole statements: a log that has any has an index, see `check_index`.
        problems: What is wrong, by path; empty for a sound log.
    """

    checkpoint: Checkpoint
    entries: int = 0
    tiles: int = 0
    whole: int = 0
    problems: dict[str, str] = field(default_factory=dict[str, str])


@typed
async def check_log(client: LogClient) -> LogReport:
    """Read every tile and entry of a log, and compute its root from the entries again.

    Args:
        client: Of the log.

    Raises:
        LogForkError: The log contradicts what the client has seen before.
        CheckpointError: There is no checkpoint that counts.
        StorageError: The log cannot be read.
    """
    found = await client.checkpoint()
    tiles = await client.tiles()
    problems: dict[str, str] = {}
    count = whole = 0
    edge = Edge()
    for level in reversed(levels_of(tiles.size)):
        for tile in tiles_of(tiles.size, level):
            try:
                if level == ENTRIES:
                    entries = await tiles.entries(tile.index)
                    count += len(entries)
                    whole += sum(map(is_whole, entries))
                    if edge.size == tile.index * FULL:
                        edge = grow(edge, entries).edge
                else:
                    await tiles.hashes(level, tile.index)
            except LogTileError as error:
                problems[error.key or tile.path] = error.message
    if not problems and edge.root != found.signed.checkpoint.root:
        problems["checkpoint"] = "the entries do not have the root of the checkpoint"
    return LogReport(found.signed.checkpoint, count, tiles.reads, whole, problems)
