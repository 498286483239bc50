"""One state of a log and the steps from it to the next, on conditional writes alone.

Rules of this file: the replacement of the lock is the commit. Before it nothing that is public has changed;
after it every step is determined by the lock, so that anyone may do it, again and again. Whatever the
replacement ends with but success, the lock is read again. A checkpoint replaces only a smaller one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from credstore.concurrency import map_all
from credstore.errors import StorageConflictError, StorageError
from credstore.model import NOTHING
from credstore.proofs.format.errors import (
    CheckpointError,
    LogBusyError,
    LogError,
    LogForkError,
    LogRollbackError,
    LogTileError,
    WitnessQuorumError,
)
from credstore.proofs.log.checkpoint import Checkpoint, SignedCheckpoint, open_checkpoint, sign_text
from credstore.proofs.log.indexing import LogIndex
from credstore.proofs.log.lock import NO_STAGING, Lock, open_lock, staging_name
from credstore.proofs.log.memory import LogMemory
from credstore.proofs.log.merkle import EMPTY_ROOT
from credstore.proofs.log.note import (
    LARGEST_NOTE,
    Note,
    NoteError,
    NoteSigner,
    VerifierKey,
    read_decimal,
)
from credstore.proofs.log.objects import CHECKPOINT, LOCK, STAGING, Found, LogObjects
from credstore.proofs.log.reading import LogTiles
from credstore.proofs.log.staging import LARGEST_STAGING, encode_staging, open_staging
from credstore.proofs.log.tiles import LARGEST_BUNDLE, Edge, Growth, grow

AT_ONCE = 16
"""Tiles that are written at once."""
TRIES = 16
"""How often a state that others change meanwhile is read again."""

Cosign = Callable[[SignedCheckpoint, LogTiles, SignedCheckpoint | None], Awaitable[Note]]
"""Collects cosignatures: given the log's own checkpoint, its tiles, and the checkpoint that is published,
returns the note with them."""


@dataclass(frozen=True, slots=True)
class State:
    """A committed state of the log.

    Attributes:
        lock: What was committed.
        etag: The version of the lock.
        edge: Of its tree, with entries.
        pending: Tiles that may not be at their paths yet.
        published: Whether the checkpoint in the store is of this state or a later one.
    """

    lock: Lock
    etag: str
    edge: Edge
    pending: Mapping[str, bytes]
    published: bool


@dataclass(slots=True)
class Sequencing:
    """The steps of sequencing one log; the state is the caller's.

    Attributes:
        objects: The log's objects.
        signer: Of the log: Ed25519, type 01.
        cosigners: Further keys of the log, which sign checkpoints only.
        clock: Returns POSIX seconds.
        memory: What this machine remembers, or None.
        cosign: Collects cosignatures before a checkpoint is published, or None.
        index: Makes entries found, before they are acknowledged, or None.
        last: The largest state this process has seen, as size and root.
        read: The state that this machine remembers as a reader, or None.
        recalled: Whether what this machine remembers was looked at.
    """

    objects: LogObjects
    signer: NoteSigner
    cosigners: Sequence[NoteSigner]
    clock: Callable[[], int]
    memory: LogMemory | None = None
    cosign: Cosign | None = None
    index: LogIndex | None = None
    last: Lock | None = None
    read: Checkpoint | None = None
    recalled: bool = False

    @property
    def origin(self) -> str:
        """The name of the log."""
        return self.signer.key.name

    async def create(self) -> None:
        """Make an empty log; its first checkpoint is published when it is first opened.

        Raises:
            StorageAlreadyExistsError: There is a log already.
            LogRollbackError: This machine remembers a log of this name, or the store has a checkpoint of it.
            CheckpointError: The store has another log's checkpoint.
            StorageError: The store failed.
        """
        self.objects.check()
        await self._recall()
        known = max((each.size for each in (self.last, self.read) if each is not None), default=0)
        if known:
            raise LogRollbackError(
                f"this machine remembers the log {self.origin!r} at size {known}; a log of the same "
                "name that starts again would contradict it"
            )
        published = await self.published()
        if published is not None and await self.objects.find(LOCK) is None:
            raise LogRollbackError(
                f"the log {self.origin!r} is published at size {published.checkpoint.size}, but its lock is "
                "not there; a log that starts again would contradict what was published",
                key=self.objects.prefix + CHECKPOINT,
            )
        lock = Lock(self.origin, 0, EMPTY_ROOT, (0, EMPTY_ROOT), NO_STAGING)
        note = await sign_text(lock.text, [self.signer], self.clock())
        await self.objects.swap(LOCK, note.encode(), None)

    async def load(self) -> State:
        """The state that is committed now.

        Raises:
            LogRollbackError: There is no log, or not the one, or an older state of the one, that is known.
            LogForkError: The checkpoint contradicts the lock.
            LogTileError: A tile of the committed state is damaged or was replaced.
            CheckpointError: Lock or checkpoint are not signed by this log.
            StorageError: The store failed.
        """
        await self._recall()  # Before the store, which others may move on meanwhile.
        for _ in range(TRIES):
            # In this order, as a checkpoint is never ahead of its lock.
            published = await self.published()
            found = await self._lock()
            lock = self._opened_lock(found.data)
            if published is not None:
                self._check_published(published, lock, found.data)
            done = published is not None and published.checkpoint.size == lock.size
            try:
                made = await self._growth(lock, done=done)
            except LogTileError as error:
                if (await self._lock()).data != found.data:
                    continue  # Another one is at work: what was staged is at its paths meanwhile.
                if await self._is_there(error.key):
                    error.message = (
                        f"{error.message}; the tile is damaged or was replaced, and a verified copy of the "
                        "log, as credstore log export makes it, has the right one"
                    )
                    raise
                raise LogRollbackError(
                    f"the lock of the log is at size {lock.size}, but the tiles of that state are neither "
                    f"complete nor staged, as after restoring a backup: {error.message}",
                    key=error.key,
                ) from error
            state = State(lock, found.etag, made.edge, made.tiles, done)
            await self._check_known(state)
            if published is not None and not await self._has(
                state, published.checkpoint.size, published.checkpoint.root
            ):
                raise LogForkError(
                    f"the published checkpoint of size {published.checkpoint.size} is not continued by the "
                    f"lock of size {lock.size}",
                    published.data,
                    found.data,
                )
            return state
        raise LogBusyError("others change the log all the time")

    async def _is_there(self, path: str | None) -> bool:
        """Whether a tile that cannot be used is not just missing."""
        if path is None or not path.startswith("tile/"):
            return False
        try:
            return await self.objects.fetch(path, LARGEST_BUNDLE) is not None
        except LogError:
            return True

    def _opened_lock(self, data: bytes) -> Lock:
        try:
            return open_lock(data, self.signer.key)
        except CheckpointError as error:
            raise self._not_ours(error, LOCK) from error

    def _not_ours(self, error: CheckpointError, path: str) -> CheckpointError:
        return CheckpointError(
            f"the log in the store was made with another key or name (origin) than this one of "
            f"{self.origin!r}, or is damaged: {error.message}",
            key=self.objects.prefix + path,
        )

    async def _lock(self) -> Found:
        found = await self.objects.find(LOCK)
        if found is None:
            raise LogRollbackError(
                "there is no log here, or its lock was removed; a log is created once, explicitly, and is "
                "never started again",
                key=self.objects.prefix + LOCK,
            )
        return found

    async def published(self) -> SignedCheckpoint | None:
        """The checkpoint in the store, or None where none was published.

        Raises:
            CheckpointError: It is not this log's.
            StorageError: The store failed.
        """
        data = await self.objects.fetch(CHECKPOINT, LARGEST_NOTE)
        return None if data is None else self._opened(data)

    def _keys(self) -> list[VerifierKey]:
        return [self.signer.key, *(each.key for each in self.cosigners)]

    def _opened(self, data: bytes) -> SignedCheckpoint:
        try:
            return open_checkpoint(data, self._keys())
        except CheckpointError as error:
            raise self._not_ours(error, CHECKPOINT) from error

    def _check_published(self, published: SignedCheckpoint, lock: Lock, note: bytes) -> None:
        known = published.checkpoint
        if known.size > lock.size:
            raise LogRollbackError(
                f"a checkpoint of size {known.size} was published, but the lock is at size {lock.size}, as "
                "after restoring a backup"
            )
        if known.size == lock.size and known.root != lock.root:
            raise LogForkError(
                f"the checkpoint and the lock of size {lock.size} have different roots", published.data, note
            )

    async def _growth(self, lock: Lock, *, done: bool) -> Growth:
        """The edge of a committed state, with the tiles that may not be at their paths yet."""
        tiles = LogTiles(self.objects.fetch, lock.size, lock.root)
        if not done and lock.staging != NO_STAGING:
            staged = await self.objects.fetch(lock.staging, LARGEST_STAGING)
            if staged is not None:
                before = LogTiles(self.objects.fetch, *lock.before)
                return open_staging(staged, await before.edge_with_entries(), lock.size, lock.root)
        return Growth(await tiles.edge_with_entries(), NOTHING)

    async def _recall(self) -> None:
        if self.memory is None or self.recalled:
            return
        data = await self.memory.load(self.origin, "sequencer")
        if data is not None and self.last is None:
            try:
                self.last = open_lock(data, self.signer.key)
            except CheckpointError as error:
                error.key = str(self.memory.path(self.origin, "sequencer"))
                raise
        data = await self.memory.load(self.origin, "client")
        if data is not None:
            what = str(self.memory.path(self.origin))
            self.read = open_checkpoint(data, self._keys(), what=what).checkpoint
        self.recalled = True

    async def _check_known(self, state: State) -> None:
        """Refuse a state that does not continue what is known, and remember it otherwise."""
        lock = state.lock
        for known in (self.last, self.read):
            if known is not None and not await self._has(state, known.size, known.root):
                raise LogRollbackError(
                    f"the log is known at size {known.size}, but the store has it at size {lock.size}, which "
                    "does not continue that, as after restoring a backup"
                )
        self.read = None  # This state continues it, and is known from now on.
        await self._remember(lock)

    async def _remember(self, lock: Lock) -> None:
        if self.memory is not None and lock != self.last:
            note = await sign_text(lock.text, [self.signer], self.clock())
            await self.memory.save(self.origin, note.encode(), "sequencer")
        self.last = lock

    async def _has(self, state: State, size: int, root_hash: bytes) -> bool:
        return await self.tiles(state).continues(size, root_hash)

    def tiles(self, state: State) -> LogTiles:
        """The tiles of a state, from the store or from what may not be there yet."""

        async def fetch(path: str, most: int) -> bytes | None:
            return state.pending.get(path) or await self.objects.fetch(path, most)

        return LogTiles(fetch, state.lock.size, state.lock.root, state.edge)

    async def commit(self, state: State, entries: Sequence[bytes]) -> State:
        """Append entries: stage, then replace the lock.

        Args:
            state: Published, so that its tiles are at their paths.
            entries: One or more.

        Raises:
            LogEntryError: The log cannot take them.
            StorageError: They were not appended, or (`applied` "maybe") may have been; load the state and ask
                `settled`.
        """
        made = grow(state.edge, entries)
        name = staging_name(made.edge.size, made.edge.root)
        lock = Lock(self.origin, made.edge.size, made.edge.root, (state.lock.size, state.lock.root), name)
        await self.objects.put(name, encode_staging(made.tiles))
        note = await sign_text(lock.text, [self.signer], self.clock())
        etag = await self.objects.swap(LOCK, note.encode(), state.etag)
        await self._remember(lock)
        return State(lock, etag, made.edge, made.tiles, published=False)

    async def settled(self, state: State, before: State, entries: Sequence[bytes]) -> bool:
        """Whether an unclear commit happened: whether the state now continues what it would have made.

        Args:
            state: As loaded after it.
            before: What `commit` was given.
            entries: What `commit` was given.
        """
        tried = grow(before.edge, entries).edge
        return await self._has(state, tried.size, tried.root)

    async def finish(self, state: State) -> State | None:
        """Put the tiles of a committed state at their paths, and publish its checkpoint.

        Returns:
            The state; None where no witness cosigns it any more, since another sequencer has committed a
            later one meanwhile, which is to be loaded and finished in its place.

        Raises:
            LogForkError: Another root was published for this size.
            WitnessQuorumError: Too few witnesses have cosigned.
            StorageError: The store failed; the state stays committed.
        """

        async def put(item: tuple[str, bytes]) -> None:
            await self.objects.put(*item)

        await map_all(list(state.pending.items()), put, at_once=AT_ONCE)
        if not await self._publish(state):
            return None
        if self.index is not None:
            await self.index.extend(self.tiles(state))
        with suppress(StorageError):  # What stays is removed by `sweep`.
            if state.lock.staging != NO_STAGING:
                await self.objects.remove([state.lock.staging])
        return replace(state, pending=NOTHING, published=True)

    async def _publish(self, state: State) -> bool:
        """Publish the checkpoint of a state, and return True; False where `finish` returns None."""
        checkpoint = Checkpoint(self.origin, state.lock.size, state.lock.root)
        note: Note | None = None
        failure: StorageError | None = None
        for _ in range(TRIES):
            found = await self.objects.find(CHECKPOINT)
            published = None if found is None else self._opened(found.data)
            if published is not None:
                if published.checkpoint.size > checkpoint.size:
                    return True  # A later state was published, so this process was slow.
                if published.checkpoint.size == checkpoint.size:
                    if published.checkpoint.root == checkpoint.root:
                        return True
                    lock = await sign_text(state.lock.text, [self.signer], self.clock())
                    raise LogForkError(f"two roots for size {checkpoint.size}", published.data, lock.encode())
            if note is None:
                try:
                    note = await self._signed(checkpoint, state, published)
                except (LogRollbackError, WitnessQuorumError):
                    if await self._is_overtaken(checkpoint.size):
                        return False
                    raise
            try:
                await self.objects.swap(CHECKPOINT, note.encode(), None if found is None else found.etag)
            except StorageConflictError as error:
                failure = error
            except StorageError as error:
                if error.applied == "no":
                    raise
                failure = error  # Reading it again shows whether it was written.
            else:
                return True
        raise LogBusyError("the checkpoint could not be published", applied="maybe") from failure

    async def _signed(self, checkpoint: Checkpoint, state: State, published: SignedCheckpoint | None) -> Note:
        note = await self._note(checkpoint)
        if self.cosign is None:
            return note
        return await self.cosign(self._opened(note.encode()), self.tiles(state), published)

    async def _note(self, checkpoint: Checkpoint) -> Note:
        return await sign_text(checkpoint.text, [self.signer, *self.cosigners], self.clock())

    async def ask_witnesses(self, state: State) -> bool:
        """Show the witnesses what is committed, before anything is built on it.

        A bucket that was restored as a whole looks sound; only those who remember can say that it is old.

        Returns:
            Whether they have cosigned it; False where another sequencer has committed more meanwhile, so that
            the state has to be loaded again.

        Raises:
            LogRollbackError: A witness has seen a larger state.
            LogForkError: A witness has seen another root of this size.
            WitnessQuorumError: Too few witnesses have cosigned it.
            StorageError: The store failed.
        """
        if self.cosign is None:
            return True
        published = await self.published()
        at = -1 if published is None else published.checkpoint.size
        if at > state.lock.size:
            return False
        try:
            if published is not None and at == state.lock.size:
                await self.cosign(published, self.tiles(state), None)
            else:
                # Committed, so that whoever finishes it signs the same.
                await self._signed(
                    Checkpoint(self.origin, state.lock.size, state.lock.root), state, published
                )
        except (LogRollbackError, WitnessQuorumError):
            if not await self._is_overtaken(state.lock.size):
                raise
            return False
        return True

    async def _is_overtaken(self, size: int) -> bool:
        """Whether a witness may have seen more because another sequencer has committed more.

        Witnesses cosign what is committed before it is published, so the checkpoint says too little.
        """
        return self._opened_lock((await self._lock()).data).size > size

    async def sweep(self, state: State) -> int:
        """Remove what was staged for states that can no longer be committed; returns how many.

        A lock at a later size has another version, so no delayed write can commit a smaller one any more.

        Args:
            state: Published.

        Raises:
            StorageError: The store failed.
        """
        old: list[str] = []
        for path in await self.objects.names(STAGING):
            size, found, _ = path.removeprefix(STAGING).partition("-")
            with suppress(NoteError):  # Anyone may have left another name there.
                if found and read_decimal(size) <= state.lock.size:
                    old.append(path)
        await self.objects.remove(old)
        return len(old)
