"""What a witness is known to have cosigned, so that one that forgets it is found.

Rules of this file: a state counts only with the signatures of its log and of the witness, wherever it was
kept; what anyone plants or removes can make a witness known for less, never for more than it has signed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from credstore.proofs.format.errors import CheckpointError
from credstore.proofs.log.checkpoint import SignedCheckpoint, open_checkpoint
from credstore.proofs.log.memory import LogMemory
from credstore.proofs.log.note import LARGEST_NOTE, NoteError, VerifierKey, verify_note
from credstore.proofs.log.objects import WITNESSES, LogObjects

OLDEST_SHOWN = timedelta(hours=1)
"""How old what a witness shows may be, c2sp.org/tlog-witness."""


class CosignedStates:
    """The largest state of each log that one witness is known to have cosigned.

    It comes from the log's checkpoints, from what this machine remembers, and from what was kept next to the
    log when a checkpoint without the witness replaced one that it had cosigned.
    """

    def __init__(self, key: VerifierKey, memory: LogMemory | None, objects: LogObjects | None) -> None:
        """Know nothing yet.

        Args:
            key: Of the witness.
            memory: Remembers each state that it cosigned, or None.
            objects: Of the log, next to which the last state is kept, or None.
        """
        self._key = key
        self._memory = memory
        self._objects = objects
        self._known: dict[str, SignedCheckpoint | None] = {}
        self._kept: set[str] = set()

    async def known(self, origin: str, keys: Sequence[VerifierKey]) -> SignedCheckpoint | None:
        """The largest state of a log that the witness is known to have cosigned, or None.

        Raises:
            CheckpointError: What this machine remembers is not such a state.
            StorageError: Disk or store failed.
        """
        if origin not in self._known:
            found = [await self._remembered(origin, keys), await self._beside(origin, keys)]
            self._known.setdefault(origin, max(filter(None, found), key=_size_of, default=None))
        return self._known[origin]

    async def _remembered(self, origin: str, keys: Sequence[VerifierKey]) -> SignedCheckpoint | None:
        if self._memory is None:
            return None
        data = await self._memory.load(self._name(origin), "witness")
        if data is None:
            return None
        found = self._opened(data, origin, keys)
        if found is None:
            raise CheckpointError(
                f"what is kept of the witness {self._key.name!r} is not a checkpoint that it has cosigned",
                key=str(self._memory.path(self._name(origin), "witness")),
            )
        return found

    async def _beside(self, origin: str, keys: Sequence[VerifierKey]) -> SignedCheckpoint | None:
        if self._objects is None:
            return None
        data = await self._objects.fetch(self._path(origin), LARGEST_NOTE)
        # Whoever may write there may plant anything, which then says nothing.
        return None if data is None else self._opened(data, origin, keys)

    def _opened(self, data: bytes, origin: str, keys: Sequence[VerifierKey]) -> SignedCheckpoint | None:
        try:
            found = open_checkpoint(data, keys)
        except CheckpointError:
            return None
        return found if found.checkpoint.origin == origin and self._has_cosigned(found) else None

    def _has_cosigned(self, signed: SignedCheckpoint) -> bool:
        try:
            return bool(verify_note(signed.note, [self._key]))
        except NoteError:
            return False

    async def learn(self, signed: SignedCheckpoint) -> None:
        """Take note of a state, if the witness has cosigned it and it is larger than what is known.

        Raises:
            CheckpointError: As `known`.
            StorageError: As `known`; or it cannot be remembered.
        """
        origin = signed.checkpoint.origin
        known = await self.known(origin, [each.key for each in signed.signatures])
        if known is not None and signed.checkpoint.size <= known.checkpoint.size:
            return
        if self._has_cosigned(signed):
            if self._memory is not None:
                await self._memory.save(self._name(origin), signed.data, "witness")
            self._known[origin] = signed

    async def expose(self, known: SignedCheckpoint, said: bytes) -> None:
        """Keep the evidence that the witness went back.

        Args:
            known: What it has cosigned.
            said: What it says or shows now.

        Raises:
            StorageError: The disk failed.
        """
        if self._memory is not None:
            await self._memory.save_fork(known.data, said)

    async def keep(self, origin: str) -> None:
        """Keep what the witness has cosigned next to the log, for others; once, as it costs a write.

        Raises:
            StorageError: The store failed.
        """
        known = self._known.get(origin)
        if self._objects is not None and known is not None and origin not in self._kept:
            await self._objects.put(self._path(origin), known.data)
            self._kept.add(origin)

    def time_of(self, signed: SignedCheckpoint) -> datetime | None:
        """When the witness cosigned a state that it has cosigned, UTC; None where it does not say."""
        seconds = [each.time for each in verify_note(signed.note, [self._key]) if each.time]
        try:
            return datetime.fromtimestamp(min(seconds), UTC) if seconds else None
        except (ValueError, OverflowError, OSError):  # Beyond the calendar.
            return None

    def went_back(self, known: SignedCheckpoint, shown: SignedCheckpoint | None, now: datetime) -> str | None:
        """Why what the witness shows means that it has forgotten what it cosigned, or None.

        What it shows may be older than what it has cosigned, by up to an hour.

        Args:
            known: What it has cosigned.
            shown: What it shows as its latest state; None where that is nothing.
            now: The time, with a time zone.
        """
        had = f"has cosigned size {known.checkpoint.size}"
        if shown is None:
            return f"{had}, and now knows nothing"
        if shown.checkpoint.size >= known.checkpoint.size:
            return None
        less, then, later = f"size {shown.checkpoint.size}", self.time_of(known), self.time_of(shown)
        if then is not None and later is not None and later > then:
            return f"{had} at {then.isoformat()}, and {less} later, at {later.isoformat()}"
        if then is None or now - then > OLDEST_SHOWN:
            since = "" if then is None else f" at {then.isoformat()}"
            return f"{had}{since}, and still shows {less}"
        return None

    def _name(self, origin: str) -> str:
        return f"{origin}\n{self._key.encode()}"

    def _path(self, origin: str) -> str:
        return WITNESSES + hashlib.sha256(self._name(origin).encode()).hexdigest()


def _size_of(signed: SignedCheckpoint) -> int:
    return signed.checkpoint.size
