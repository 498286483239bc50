"""Watching a log: whether what it shows here is what its witnesses have seen, and has what it should have."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from credstore.arguments import typed
from credstore.errors import StorageError
from credstore.proofs.format.errors import LogForkError
from credstore.proofs.log.checkpoint import Checkpoint, SignedCheckpoint, open_checkpoint
from credstore.proofs.log.client import LogClient
from credstore.proofs.log.merkle import hash_leaf
from credstore.proofs.log.note import VerifierKey
from credstore.proofs.log.policy import WitnessedCheckpoint
from credstore.proofs.log.reading import LogTiles
from credstore.proofs.log.witnesses import WitnessClient, said_of

PATIENCE = 10.0
_PAUSE = 0.5


@dataclass(frozen=True, slots=True)
class MonitorReport:
    """What a monitor saw.

    Attributes:
        checkpoint: Of the log, verified.
        witnessed: The size that each witness has cosigned last, by its name; None where it shows none.
        unreachable: Why a witness could not be asked, by its name.
        problems: What is wrong: forks, stalls, missing entries, witnesses that forgot what they had cosigned.
        verified: How many entries were read and verified.
        compared: Whether the log was compared with anything that it cannot change: with a witness, or with
            what the client remembers.
    """

    checkpoint: Checkpoint
    witnessed: dict[str, int | None] = field(default_factory=dict[str, "int | None"])
    unreachable: dict[str, str] = field(default_factory=dict[str, str])
    problems: tuple[str, ...] = ()
    verified: int = 0
    compared: bool = False


@typed
async def monitor_log(
    client: LogClient,
    witnesses: Sequence[WitnessClient],
    *,
    now: datetime,
    max_age: timedelta | None = None,
    expected: Iterable[bytes] = (),
    start: int = 0,
    patience: float = PATIENCE,
) -> MonitorReport:
    """Compare a log with what its witnesses show, and read its entries.

    Args:
        client: Of the log; its memory makes forks visible over time.
        witnesses: Those to ask.
        now: The time, with a time zone.
        max_age: The log stalls where the quorum's time is longer ago; None does not look.
        expected: Entries that have to be in the log.
        start: First entry to read, where those before are known; what is expected has to be among the
            others.
        patience: Seconds that the log may take to publish what witnesses have cosigned already.

    Raises:
        LogForkError: The log contradicts what the client has seen before; its evidence is saved, and the
            message says what the witnesses have cosigned.
        LogError: The checkpoint or a tile cannot be used.
        StorageError: The log cannot be read.
    """
    problems: list[str] = []
    keys = list(client.policy.log_keys)
    try:
        first = await client.checkpoint()
    except LogForkError as error:
        origin = open_checkpoint(error.note_b, keys).checkpoint.origin
        error.message += _said(*await _asked(witnesses, origin, keys))
        raise
    states, unreachable = await _asked(witnesses, first.signed.checkpoint.origin, keys)
    # Witnesses cosign before a log publishes, and it may have grown since.
    newest = max([each.checkpoint.size for each in states.values() if each is not None], default=0)
    found = await _grown(client, newest, patience)
    tiles = await client.tiles()
    for witness in witnesses:
        if witness.name not in states:
            continue
        shown = states[witness.name]
        forgotten = await witness.forgotten(first.signed, shown, now)
        if forgotten is not None:
            problems.append(forgotten)
        if shown is not None:
            problems += await _compared(client, found.signed, shown, tiles, witness.name)
    if unreachable and not states:
        problems.append("no witness could be asked, so that a fork or a step back would not be seen")
    witnessed = {name: None if each is None else each.checkpoint.size for name, each in states.items()}
    if max_age is not None and (found.time is None or now - found.time > max_age):
        since = (
            "it is not known since when" if found.time is None else f"witnessed at {found.time.isoformat()}"
        )
        problems.append(f"the log stalls: size {tiles.size}, {since}")
    missing = {hash_leaf(entry) for entry in expected}
    verified = 0
    async for _, entry in client.entries(start):
        missing.discard(hash_leaf(entry))
        verified += 1
    if missing:
        problems.append(
            f"{len(missing)} expected entries are not in the log"
            if len(missing) > 1
            else "1 expected entry is not in the log"
        )
    return MonitorReport(
        found.signed.checkpoint,
        witnessed,
        unreachable,
        tuple(problems),
        verified,
        compared=bool(states) or client.remembers,
    )


async def _asked(
    witnesses: Sequence[WitnessClient], origin: str, keys: list[VerifierKey]
) -> tuple[dict[str, SignedCheckpoint | None], dict[str, str]]:
    """What each witness shows of a log, and why others could not be asked."""
    states: dict[str, SignedCheckpoint | None] = {}
    unreachable: dict[str, str] = {}
    for witness in witnesses:
        try:
            states[witness.name] = await witness.latest(origin, keys)
        except StorageError as error:
            unreachable[witness.name] = said_of(witness.name, error)
    return states, unreachable


def _said(states: Mapping[str, SignedCheckpoint | None], unreachable: Mapping[str, str]) -> str:
    shown = [
        f"the witness {name!r} "
        + ("shows nothing" if each is None else f"has cosigned size {each.checkpoint.size}")
        for name, each in states.items()
    ]
    return "".join(
        f"; {each}"
        for each in (*shown, *(f"the witness {name!r}: {why}" for name, why in unreachable.items()))
    )


async def _grown(client: LogClient, size: int, patience: float) -> WitnessedCheckpoint:
    """The log's state, once it has reached a size or time is up."""
    end = time.monotonic() + patience
    while True:
        found = await client.checkpoint()
        if found.signed.checkpoint.size >= size or time.monotonic() >= end:
            return found
        await asyncio.sleep(min(_PAUSE, patience))


async def _compared(
    client: LogClient, ours: SignedCheckpoint, theirs: SignedCheckpoint, tiles: LogTiles, name: str
) -> list[str]:
    a, b = ours.checkpoint, theirs.checkpoint
    if b.size > a.size:
        why = f"the log shows size {a.size} here, but the witness {name!r} has cosigned size {b.size}"
    elif await tiles.continues(b.size, b.root):
        return []
    else:
        why = f"the witness {name!r} has cosigned size {b.size}, which the log does not continue"
    found: LogForkError = await client.forked(why, theirs, ours)  # Both notes are kept.
    return [found.message]
