"""`LogSequencer`: appends to a log that lives in one bucket, several at a time.

Rules of this file: whoever appends waits until the checkpoint that contains the entry is published; an index
that was returned is final. Any number of sequencers may run, one is fastest.
"""

from __future__ import annotations

import asyncio
import copy
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from credstore.arguments import typed, typed_class
from credstore.concurrency import until_done
from credstore.errors import (
    ErrorCode,
    StorageConfigurationError,
    StorageConflictError,
    StorageError,
    StorageInvalidRequestError,
)
from credstore.proofs.format.errors import LogBusyError, LogEntryError, ProofError, WitnessQuorumError
from credstore.proofs.format.ids import new_proof_id
from credstore.proofs.log.entry import LARGEST_LOGGED, Admission, WholeAdmission
from credstore.proofs.log.indexing import LogIndex
from credstore.proofs.log.memory import LogMemory
from credstore.proofs.log.merkle import hash_leaf
from credstore.proofs.log.note import ED25519, NoteSigner, VerifierKey
from credstore.proofs.log.objects import INBOX, LOG_PREFIX, LogObjects
from credstore.proofs.log.reading import Fetch
from credstore.proofs.log.sequencing import TRIES, Cosign, Sequencing, State
from credstore.proofs.log.tiles import FULL
from credstore.provider.provider import StorageProvider

MAX_BATCH = 1024
MAX_WAIT = 0.2
LARGEST_SUBMISSION = 2 * 1024 * 1024
"""Bytes of a signed statement in the inbox."""
REMEMBERED = 65_536
"""Entries whose index is remembered, so that repeating one does not log it twice."""
_IN_A_ROW = 4
"""Statements that are verified without a pause, so that nothing waits for the loop over a millisecond."""
_ASK_AGAIN = 30.0
"""Seconds until witnesses that did not respond are asked again before something is signed."""
_LOOKED_BACK = 4096
"""Maximum number of entries whose hashes are looked at, to find those that are waiting here."""


@dataclass(eq=False, slots=True)
class _Waiting:
    """An entry on its way."""

    identity: bytes
    entry: bytes = field(repr=False)
    index: asyncio.Future[int] = field(repr=False)


@typed_class
class LogSequencer:
    """The writer of one log; use it with `async with`, or close it.

    Attributes:
        origin: The name of the log.
    """

    def __init__(
        self,
        provider: StorageProvider,
        *,
        signer: NoteSigner,
        admission: Admission,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        randomness: Callable[[int], bytes] = os.urandom,
        prefix: str = LOG_PREFIX,
        cosigners: Sequence[NoteSigner] = (),
        memory: LogMemory | None = None,
        cosign: Cosign | None = None,
        index: LogIndex | None = None,
        max_batch: int = MAX_BATCH,
        max_wait: float = MAX_WAIT,
    ) -> None:
        """Prepare to sequence; nothing is sent.

        Args:
            provider: A single store whose conditions are proved; not closed here.
            signer: The log's Ed25519 key, whose name is the origin.
            admission: What may become an entry.
            clock: Returns the current time, with a time zone.
            randomness: Returns that many random bytes, for names in the inbox.
            prefix: What the keys of the log start with.
            cosigners: Further keys of the log for its checkpoints, such as ML-DSA-44, with the same name.
            memory: What this machine remembers, so that a restored bucket is found.
            cosign: Collects cosignatures before a checkpoint is published; see `WitnessGroup.cosign`.
            index: Finds the statements of a log that has them whole; written before an append returns, and
                closed with this.
            max_batch: Maximum number of entries that are committed together, 1 to 4,096.
            max_wait: Seconds to wait for more entries before a commit.

        Raises:
            StorageUnsupportedError: A composite store, or one whose conditions are not proved.
            StorageConfigurationError: A key of another kind or name, a batch of another size, or a prefix
                that does not end with a slash.
        """
        if signer.key.kind != ED25519 or any(each.key.name != signer.key.name for each in cosigners):
            raise StorageConfigurationError("a log signs with an Ed25519 key, and all its keys have its name")
        if not 1 <= max_batch <= 4 * MAX_BATCH or max_wait < 0:
            raise StorageConfigurationError(
                f"a batch has 1 to {4 * MAX_BATCH} entries, and waits 0 s or more"
            )
        self._objects = LogObjects(provider, prefix)
        self._objects.check()
        self.origin = signer.key.name
        self._clock = clock
        self._randomness = randomness
        self._admit = admission
        self._max_batch = max_batch
        self._max_wait = max_wait
        self._steps = Sequencing(
            self._objects,
            signer,
            tuple(cosigners),
            lambda: int(clock().timestamp()),
            memory,
            cosign,
            index,
        )
        self._state: State | None = None
        self._unclear: tuple[State, list[_Waiting]] | None = None
        self._indices: OrderedDict[bytes, int] = OrderedDict()
        self._waiting: list[_Waiting] = []
        self._full = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._asked = False
        self._looked = False
        self._unanswered: tuple[float, WitnessQuorumError] | None = None
        self._sound = False
        self._closed = False

    @property
    def whole(self) -> bool:
        """Whether it logs whole statements, with an index that finds them."""
        return self._steps.index is not None and isinstance(self._admit, WholeAdmission)

    @property
    def keys(self) -> tuple[VerifierKey, ...]:
        """The keys that sign its checkpoints, the Ed25519 key first."""
        return (self._steps.signer.key, *(each.key for each in self._steps.cosigners))

    @property
    def fetch(self) -> Fetch:
        """Reads a file of the log, for a `LogClient`."""
        return self._objects.fetch

    async def create(self) -> None:
        """Make the log, empty; once, ever.

        Raises:
            StorageAlreadyExistsError: There is a log at this prefix.
            LogRollbackError: This machine remembers a log of this name.
            StorageError: The store failed.
        """
        async with self._turn:
            await self._steps.create()
            await self._ready()

    async def check(self) -> None:
        """Look whether this may write the log that is in the store; nothing is written there.

        Once it may, that is not looked at again until appending fails. Witnesses are asked until they have
        cosigned the log's state once: from then on this process itself remembers what it has to continue. If
        they do not respond, that is raised for 30 s before they are asked again.

        Raises:
            CheckpointError: The log has another key or name.
            LogRollbackError: There is no log, or one that is older than what is known here or to a witness:
                a restored backup.
            LogForkError: The log contradicts itself, or what a witness has cosigned.
            WitnessQuorumError: Too few witnesses have cosigned its state.
            StorageError: The store failed.
        """
        if self._sound:
            return
        async with self._turn:
            if self._sound:
                return
            now = asyncio.get_running_loop().time()
            if self._unanswered is not None and now < self._unanswered[0]:
                raise copy.copy(self._unanswered[1])
            try:
                state = await self._checked()
            except WitnessQuorumError as error:
                if error.retryable:
                    self._unanswered = asyncio.get_running_loop().time() + _ASK_AGAIN, error
                raise
            if self._state is None and self._unclear is None:
                self._state = state  # So that appending need not read it again.
            self._sound = True

    async def _checked(self) -> State:
        """The committed state, which witnesses have cosigned."""
        for _ in range(TRIES):
            state = await self._steps.load()
            if await self._witnessed(state):
                return state
        raise LogBusyError("others change the log all the time")

    async def _witnessed(self, state: State) -> bool:
        """Whether witnesses have cosigned a state, or one before it; False where it is to be loaded again."""
        self._asked = self._asked or await self._steps.ask_witnesses(state)
        return self._asked

    async def recover(self) -> int:
        """Finish what another process may have left, and return the size of the log.

        Raises:
            LogRollbackError: The store has no log, or one that is older than what is known: a restored
                backup. Nothing is signed.
            LogError: The log in the store contradicts itself.
            StorageError: The store failed.
        """
        async with self._turn:
            state = await self._ready()
            await self._steps.sweep(state)
            return state.lock.size

    @typed
    async def append(self, statements: Sequence[bytes]) -> list[int]:
        """Log signed statements; returns their indices once the checkpoint with them is published.

        One that was logged recently gets the index it has.

        Raises:
            ProofError: A statement does not verify; nothing of this call was logged.
            LogEntryError: An entry would be too large; nothing of this call was logged.
            LogRollbackError: The store was restored from a backup; nothing was signed.
            LogBusyError: Others were faster again and again.
            StorageError: The store failed. `applied` "maybe": the statements may be in the log; appending
                them again gives their indices.
        """
        if self._closed:
            raise StorageInvalidRequestError("the sequencer is closed", code=ErrorCode.CLOSED)
        loop = asyncio.get_running_loop()
        admitted: list[tuple[bytes, bytes]] = []
        for number, statement in enumerate(statements, 1):
            admitted.append(self._admitted(statement))
            if number % _IN_A_ROW == 0:
                await asyncio.sleep(0)  # Whoever writes the batch before continues meanwhile.
        waiting = [_Waiting(identity, entry, loop.create_future()) for identity, entry in admitted]
        self._waiting += waiting
        if len(self._waiting) >= self._max_batch:
            self._full.set()
        if waiting and (self._worker is None or self._worker.done()):
            self._worker = asyncio.create_task(self._work())
        try:
            return [await each.index for each in waiting]
        finally:
            for each in waiting:
                if not each.index.done():
                    each.index.cancel()
                elif not each.index.cancelled():
                    each.index.exception()  # Looked at: the first one is raised.

    def _admitted(self, statement: bytes) -> tuple[bytes, bytes]:
        identity, entry = self._admit(statement)
        if len(entry) > LARGEST_LOGGED:
            raise LogEntryError(f"an entry has {len(entry)} bytes, but at most {LARGEST_LOGGED} are logged")
        return identity, entry

    @typed
    async def submit(self, statement: bytes) -> str:
        """Leave a statement for whoever sequences; returns the name it has in the inbox.

        Raises:
            ProofError: It does not verify.
            StorageError: The store failed.
        """
        self._admitted(statement)
        now = self._clock()
        name = f"{INBOX}{now:%Y%m%d%H}/{new_proof_id(now, self._randomness(10))}"
        await self._objects.put(name, statement)
        return name

    async def drain(self) -> tuple[int, int]:
        """Log what others have left in the inbox, at most 1,000; returns how many were logged and refused.

        Raises:
            StorageError: As `append`; what was not logged stays.
        """
        good: list[bytes] = []
        names: list[str] = []
        refused: list[str] = []
        for name in await self._objects.names(INBOX):
            try:
                data = await self._objects.fetch(name, LARGEST_SUBMISSION)
                if data is None:
                    continue  # Another sequencer was faster.
                self._admitted(data)
            except ProofError:  # Also where it is too large to be read, or damaged.
                refused.append(name)
            else:
                good.append(data)
                names.append(name)
        if good:
            await self.append(good)
        await self._objects.remove(names + refused)
        return len(good), len(refused)

    async def _work(self) -> None:
        """Commit what waits, until nothing does."""
        while self._waiting:
            if len(self._waiting) < self._max_batch and self._max_wait:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._full.wait(), self._max_wait)
            self._full.clear()
            batch, self._waiting = self._waiting[: self._max_batch], self._waiting[self._max_batch :]
            try:
                async with self._turn:
                    await self._sequence(batch)
            except Exception as error:  # noqa: BLE001 - each caller gets it
                self._fail(batch, error)
            except BaseException:
                for each in (*batch, *self._waiting):
                    each.index.cancel()
                self._waiting.clear()
                raise

    def _fail(self, batch: list[_Waiting], error: Exception) -> None:
        failure = error
        self._sound = False
        if isinstance(error, StorageError):
            failure = copy.copy(error)
            failure.__cause__ = error
            # Whatever the last request says of itself, this is about the entries.
            tried = self._unclear is not None or any(each.identity in self._indices for each in batch)
            failure.applied = "maybe" if tried else "no"
        for each in batch:
            if not each.index.done():
                each.index.set_exception(failure)

    async def _sequence(self, batch: list[_Waiting]) -> None:
        """Log a batch, and set its indices once they are published."""
        for _ in range(TRIES):
            state = await self._ready()
            fresh = self._fresh(batch)
            if not fresh:
                for each in batch:
                    if not each.index.done():
                        each.index.set_result(self._indices[each.identity])
                return
            entries = [each.entry for each in fresh]
            self._state, self._unclear = None, (state, fresh)
            try:
                self._state = await self._steps.commit(state, entries)
            except StorageConflictError:
                continue
            except StorageError as error:
                if not error.retryable:
                    raise
                continue
            self._unclear = None
            self._note(fresh, state.lock.size)
        raise LogBusyError("others were faster again and again", applied="maybe")

    def _fresh(self, batch: list[_Waiting]) -> list[_Waiting]:
        """Those of a batch that are not in the log yet, as far as is known, each identity once."""
        found: dict[bytes, _Waiting] = {}
        for each in batch:
            index = self._indices.get(each.identity, self._indices.get(hash_leaf(each.entry)))
            if index is None:
                found.setdefault(each.identity, each)
            else:
                self._index(each.identity, index)
        return list(found.values())

    def _note(self, logged: list[_Waiting], first: int) -> None:
        for index, each in enumerate(logged, first):
            self._index(each.identity, index)

    def _index(self, identity: bytes, index: int) -> None:
        self._indices[identity] = index
        self._indices.move_to_end(identity)
        while len(self._indices) > REMEMBERED:
            self._indices.popitem(last=False)

    async def _ready(self) -> State:
        """The committed state, finished and published."""
        for _ in range(TRIES):
            if self._state is None:
                self._state = await self._loaded()
            state, self._state = self._state, None
            finished = state if state.published else await self._steps.finish(state)
            if finished is None or not await self._witnessed(finished):
                continue  # Another sequencer was faster, and its state continues this one.
            if not self._looked:
                await self._look_back(0, finished)
                self._looked = True
            self._state = finished
            return finished
        raise LogBusyError("others were faster again and again", applied="maybe")

    async def _loaded(self) -> State:
        """The committed state, with what is known of the last commit if that was unclear."""
        state = await self._steps.load()
        if self._unclear is not None:
            before, tried = self._unclear
            if await self._steps.settled(state, before, [each.entry for each in tried]):
                self._note(tried, before.lock.size)
            else:
                await self._look_back(before.lock.size, state)
            self._unclear = None
        return state

    async def _look_back(self, size: int, state: State) -> None:
        """Learn the leaves that were logged since, of which some may wait here, too."""
        tiles = self._steps.tiles(state)
        first = max(size, state.lock.size - _LOOKED_BACK)
        for tile in range(first // FULL, -(-state.lock.size // FULL)):
            for index, leaf in enumerate(await tiles.hashes(0, tile), tile * FULL):
                if index >= first:
                    self._index(leaf, index)

    async def aclose(self) -> None:
        """Wait until what waits is logged or has failed; safe to call again."""
        self._closed = True
        self._full.set()
        if self._worker is not None:
            cancelled = await until_done([self._worker])
            if cancelled is not None:
                raise cancelled
        if self._steps.index is not None:
            await self._steps.index.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
