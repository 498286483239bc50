"""`BundledLog`: a log that has whole statements as its entries, so that proofs need no objects of their own.

Rules of this file: an entry counts once it was verified up to a checkpoint of the policy; of several proofs
with one id the first in the log is the proof.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from hashlib import sha256

from credstore.arguments import typed_class
from credstore.errors import StorageConfigurationError
from credstore.proofs.format.errors import LogEntryError
from credstore.proofs.format.logged import LogPart
from credstore.proofs.log.client import LogClient
from credstore.proofs.log.entry import LogEntry, is_whole, read_entry
from credstore.proofs.log.index_runs import key_of_asset, key_of_proof
from credstore.proofs.log.indexing import MOST_FOUND, LogIndex
from credstore.proofs.log.memory import LogMemory
from credstore.proofs.log.objects import LogObjects
from credstore.proofs.log.policy import LogPolicy
from credstore.proofs.log.proof_log import ProofLog
from credstore.proofs.log.reading import LogTiles
from credstore.proofs.log.sequencer import LogSequencer


@dataclass(frozen=True, slots=True)
class Statement:
    """A proof as the log has it.

    Attributes:
        index: In the log, 0-based.
        entry: What it says.
        data: Its bytes, or None where the log has only digests of them.
        first: Whether it is known to be the first with its id; where it is not, look that up.
    """

    index: int
    entry: LogEntry
    data: bytes | None = field(repr=False)
    first: bool = False


@typed_class
class BundledLog(ProofLog):
    """A log whose entries are the proofs; what `ProofStore(log=..., erasable=False)` takes."""

    def __init__(
        self,
        policy: LogPolicy,
        *,
        objects: LogObjects,
        index: LogIndex | None = None,
        sequencer: LogSequencer | None = None,
        memory: LogMemory | None = None,
    ) -> None:
        """Read such a log, and write it.

        Args:
            policy: Which logs count, and how many witnesses it takes.
            objects: Where the log is.
            index: Its index; the one that the sequencer writes, or a new one to read.
            sequencer: To write, with a `WholeAdmission` and `index`; not closed here. Without one, it is only
                read.
            memory: Keeps the last state that was read, so that a fork is found.

        Raises:
            StorageConfigurationError: The sequencer's log is not one of the policy, or does not write whole
                statements with an index.
        """
        super().__init__(policy, sequencer=sequencer, memory=memory)
        if sequencer is not None and not sequencer.whole:
            raise StorageConfigurationError(
                "a log of whole statements is written with a WholeAdmission and a LogIndex"
            )
        self._reading = LogClient(objects.fetch, policy=policy, memory=memory)
        self._index = LogIndex(objects) if index is None else index

    async def add(self, statement: bytes, /) -> int:
        """Log a statement; returns its index, which is final, once it can be found.

        Raises:
            StorageError: As `LogSequencer.append`.
        """
        sequencer, _ = self._writer()
        return (await sequencer.append([statement]))[0]

    async def proof(self, proof_id: str, /) -> Statement | None:
        """The proof of an id: the first that was logged; None where there is none.

        Raises:
            LogError: The log or its index cannot be used.
            StorageError: The log cannot be read.
        """
        for each in await self._found(key_of_proof(proof_id)):
            if each.entry.proof_id == proof_id:
                return each
        return None

    async def about(self, sha256: bytes, /) -> list[Statement]:
        """The proofs about an asset, at most 1,000, in the log's order.

        Raises:
            LogError: The log or its index cannot be used.
            StorageError: The log cannot be read.
        """
        return [each for each in await self._found(key_of_asset(sha256)) if each.entry.subject == sha256]

    async def _found(self, key: bytes) -> list[Statement]:
        indices = await self._index.find(key, await self._now(), self._now)
        tiles = await self._reading.tiles()
        found = [_statement(index, await tiles.entry(index)) for index in indices]
        return [each for each in found if each is not None][:MOST_FOUND]

    async def _now(self) -> LogTiles:
        await self._reading.checkpoint()
        return await self._reading.tiles()

    async def prove(self, index: int, /) -> LogPart:
        """The entry of an index, with the proof that the log has it.

        Raises:
            LogError: The log cannot be used.
            StorageError: The log cannot be read.
        """
        await self._reading.checkpoint()
        proof = await self._reading.prove(index)
        return LogPart(await self._reading.entry(index), proof.decode())

    async def proofs(self) -> AsyncGenerator[Statement, None]:
        """All proofs, in the log's order; the index is not needed.

        Raises:
            LogError: The log cannot be used.
            StorageError: The log cannot be read.
        """
        size = (await self._now()).size
        seen = _Seen(size)
        async with aclosing(self._reading.entries(0, size)) as entries:
            async for index, data in entries:
                found = _statement(index, data)
                if found is not None:
                    yield replace(found, first=not seen.add(found.entry.proof_id or ""))


class _Seen:
    """The ids so far, in two bytes for each entry of the log: it may call a new one known, never the reverse.

    Few new ones are, about 3 of 1,000, so that looking these up costs little.
    """

    def __init__(self, most: int) -> None:
        self._bits = bytearray(2 * max(most, 512))

    def add(self, proof_id: str) -> bool:
        """Note an id; returns whether it may have been there already."""
        digest = sha256(proof_id.encode()).digest()
        there = True
        for at in range(0, len(digest), 8):
            place, bit = divmod(int.from_bytes(digest[at : at + 8], "big") % (8 * len(self._bits)), 8)
            there = there and bool(self._bits[place] & 1 << bit)
            self._bits[place] |= 1 << bit
        return there


def _statement(index: int, data: bytes) -> Statement | None:
    try:
        entry = read_entry(data)
    except LogEntryError:
        return None
    if entry.kind != "issue" or entry.proof_id is None:
        return None
    return Statement(index, entry, data if is_whole(data) else None)
