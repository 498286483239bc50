"""`LogClient`: reads a log from static files, and believes nothing that is not verified.

Rules of this file: a state counts when its log has signed it, enough witnesses have seen it, and it continues
the last one that counted; that one is on the disk before this one is used.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from credstore.arguments import typed, typed_class
from credstore.errors import StorageError, StorageInvalidRequestError
from credstore.proofs.format.errors import CheckpointError, LogForkError, LogInclusionError
from credstore.proofs.log.checkpoint import SignedCheckpoint, open_checkpoint
from credstore.proofs.log.memory import LogMemory
from credstore.proofs.log.merkle import EMPTY_ROOT, MerkleError, verify_consistency
from credstore.proofs.log.note import LARGEST_NOTE
from credstore.proofs.log.objects import CHECKPOINT
from credstore.proofs.log.policy import LogPolicy, WitnessedCheckpoint
from credstore.proofs.log.proof_file import encode_log_proof, verify_log_proof
from credstore.proofs.log.reading import Fetch, LogTiles
from credstore.proofs.log.tiles import FULL


@typed_class
class LogClient:
    """A reader of one log.

    Attributes:
        policy: Which logs count, and how many witnesses it takes.
    """

    def __init__(self, fetch: Fetch, *, policy: LogPolicy, memory: LogMemory | None = None) -> None:
        """Read nothing yet.

        Args:
            fetch: Reads a file of the log: `LogHttp.fetch`, or `LogObjects.fetch` for one in a store.
            policy: Which logs count, and how many witnesses it takes.
            memory: Keeps the last state; without it a fork is found only while this object lives.
        """
        self.policy = policy
        self._fetch = fetch
        self._memory = memory
        self._last: SignedCheckpoint | None = None
        self._tiles: LogTiles | None = None

    @property
    def remembers(self) -> bool:
        """Whether the last state outlives this object."""
        return self._memory is not None

    async def checkpoint(self) -> WitnessedCheckpoint:
        """The state of the log now, verified to continue the last one that was seen.

        Raises:
            LogForkError: It is smaller than that, or does not continue it; both notes are in the error, and
                on the disk.
            CheckpointError: There is none, it is not signed by a log that counts, or another log of the
                policy was read here before.
            WitnessQuorumError: Too few witnesses have cosigned it.
            LogTileError: Tiles that show the consistency are missing or wrong.
            StorageError: The fetch function failed.
        """
        known = await self._remembered()  # Before the log, which grows while other processes remember it.
        here = self._last
        data = await self._fetch(CHECKPOINT, LARGEST_NOTE)
        if data is None:
            raise CheckpointError("there is no checkpoint here", key=CHECKPOINT)
        found = self.policy.verify(data, what=CHECKPOINT)
        new = found.signed.checkpoint
        self._check_same(found.signed, here)
        tiles = LogTiles(self._fetch, new.size, new.root)
        kept = known.get(new.origin)
        seen = {each.checkpoint: each for each in (kept, here) if each is not None}
        for each in seen.values():
            await self._check_continues(each, found.signed, tiles)
        if self._memory is not None and (kept is None or kept.checkpoint != new):
            await self._memory.save(new.origin, data)
        await self._take(found.signed, tiles, here)
        return found

    async def _remembered(self) -> dict[str, SignedCheckpoint]:
        """The last state of each log that is on the disk, where another process may have seen more."""
        found: dict[str, SignedCheckpoint] = {}
        if self._memory is not None:
            for origin in dict.fromkeys(key.name for key in self.policy.log_keys):
                data = await self._memory.load(origin)
                if data is not None:
                    what = str(self._memory.path(origin))
                    found[origin] = open_checkpoint(data, self.policy.log_keys, what=what)
        return found

    async def _take(self, found: SignedCheckpoint, tiles: LogTiles, before: SignedCheckpoint | None) -> None:
        """Continue from a state, unless another call has gone further meanwhile, which has to continue it."""
        while self._last is not before and self._last is not None and self._tiles is not None:
            before, larger = self._last, self._tiles
            self._check_same(found, before)
            if found.checkpoint.size > before.checkpoint.size:
                await self._check_continues(before, found, tiles)
            elif await larger.continues(found.checkpoint.size, found.checkpoint.root):
                return
            else:
                raise await self.forked(
                    f"the log {found.checkpoint.origin!r} shows size {found.checkpoint.size}, which its size "
                    f"{before.checkpoint.size} does not continue",
                    found,
                    before,
                )
        self._last = found
        if self._tiles is None or (self._tiles.size, self._tiles.root) != (tiles.size, tiles.root):
            self._tiles = tiles

    def _check_same(self, found: SignedCheckpoint, before: SignedCheckpoint | None) -> None:
        """Refuse another log of the policy where one was read: it cannot continue that."""
        if before is not None and found.checkpoint.origin != before.checkpoint.origin:
            raise CheckpointError(
                f"the log {before.checkpoint.origin!r} was read here, and now {found.checkpoint.origin!r} is "
                "in its place",
                key=CHECKPOINT,
            )

    async def _check_continues(
        self, known: SignedCheckpoint, found: SignedCheckpoint, tiles: LogTiles
    ) -> None:
        old, new = known.checkpoint, found.checkpoint
        why = f"the log {new.origin!r} was at size {old.size}, and now shows size {new.size}, which "
        if new.size < old.size:
            raise await self.forked(why + "is less", known, found)
        try:
            verify_consistency(
                await tiles.consistency(old.size),
                old_size=old.size,
                old_root=old.root if old.size else EMPTY_ROOT,
                new_size=new.size,
                new_root=new.root,
            )
        except MerkleError:
            raise await self.forked(why + "does not continue that", known, found) from None

    async def forked(
        self, why: str, a: SignedCheckpoint, b: SignedCheckpoint, memory: LogMemory | None = None
    ) -> LogForkError:
        """The error for two states that contradict each other, saved as evidence.

        Args:
            why: What contradicts what.
            a: The state that was known.
            b: The state that contradicts it.
            memory: Keeps the evidence where this client has no memory of its own.

        Raises:
            StorageError: The disk failed.
        """
        keeper = self._memory or memory
        where = None if keeper is None else await keeper.save_fork(a.data, b.data)
        kept = "" if where is None else f"; both notes are in {where}"
        return LogForkError(why + kept, a.data, b.data)

    async def tiles(self) -> LogTiles:
        """The tiles of the state that `checkpoint` returned last, or of the one now.

        Raises:
            StorageError: As `checkpoint`.
        """
        if self._tiles is None:
            await self.checkpoint()
        if self._tiles is None:
            raise CheckpointError("there is no checkpoint here", key=CHECKPOINT)
        return self._tiles

    @typed
    async def entry(self, index: int) -> bytes:
        """One entry, verified.

        Raises:
            LogInclusionError: The log has no such index.
            LogTileError: Its tile is missing or wrong.
            StorageError: As `checkpoint`.
        """
        return await (await self.tiles()).entry(index)

    @typed
    async def entries(
        self, start: int = 0, end: int | None = None
    ) -> AsyncGenerator[tuple[int, bytes], None]:
        """Entries with their indices, verified, in their order.

        Args:
            start: First index.
            end: One past the last; the size of the log unless given.

        Raises:
            LogTileError: A tile is missing or wrong.
            StorageInvalidRequestError: The log has no such range.
            StorageError: As `checkpoint`.
        """
        tiles = await self.tiles()
        end = tiles.size if end is None else end
        if not 0 <= start <= end <= tiles.size:
            raise StorageInvalidRequestError(f"a log of size {tiles.size} has no entries {start} to {end}")
        for bundle in range(start // FULL, -(-end // FULL) if end > start else 0):
            for index, entry in enumerate(await tiles.entries(bundle), bundle * FULL):
                if start <= index < end:
                    yield index, entry

    @typed
    async def prove(self, index: int) -> bytes:
        """A proof that an entry is in the log, which verifies offline: c2sp.org/tlog-proof.

        Raises:
            LogInclusionError: The log has no such index.
            LogTileError: A tile is missing or wrong.
            StorageError: As `checkpoint`.
        """
        tiles = await self.tiles()
        last = self._last  # Of these tiles: another call may read a later state meanwhile.
        entry = await tiles.entry(index)
        if last is None:
            raise CheckpointError("there is no checkpoint here", key=CHECKPOINT)
        proof = encode_log_proof(index, await tiles.inclusion(index), last.data)
        try:
            verify_log_proof(proof, entry=entry, policy=self.policy)
        except LogInclusionError as error:
            raise StorageError(f"a proof that was just made does not verify: {error.message}") from error
        return proof
