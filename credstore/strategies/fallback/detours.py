"""When writes went to the fallback, shared by all processes: one small object kept there.

The danger: an object is replaced while the primary is down, so its new version goes to the fallback; later
the primary is back, with the old version. So before such a write the fallback notes until when it may have
received writes. A reader that gets an object from the primary looks at the fallback too if the object is
older than that note; a writer whose object reached the primary removes the fallback's version of it. If no
write was ever diverted, all this costs one small read of the fallback every `FRESH` seconds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import datetime

from credstore.driver.contract import Driver
from credstore.driver.internal import FAILOVER, InternalObjects
from credstore.driver.values import ReadOptions
from credstore.encryption import CustomerKey, ServerEncryption
from credstore.errors import StorageError, StorageIntegrityError
from credstore.strategies.health import is_absence

SPAN = 60.0
"""Seconds that one note covers, so that diverting many writes takes one note a minute."""
SKEW = 15 * 60.0
"""Seconds by which clocks may differ; signatures require the same."""
FRESH = 10.0
"""Seconds after which the note is read again: how long another process may not know of a detour."""
PATIENCE = 2.0
"""Seconds to wait for the note."""
_LARGEST = 64
"""Bytes of the note: Unix seconds as text."""


class Detours:
    """The note at the fallback."""

    def __init__(self, fallback: Driver, *, clock: Callable[[], float] = time.time) -> None:
        """Know nothing yet.

        Args:
            fallback: Keeps the note.
            clock: Unix seconds.

        `unknown` means that the note could not be read the last time.
        """
        self._fallback = fallback
        self._clock = clock
        self._until = -math.inf
        self._read_at = -math.inf
        self.unknown = False

    async def note(self, encryption: ServerEncryption | None) -> None:
        """Before a write goes to the fallback, note that there.

        Args:
            encryption: At rest, of that write.

        Raises:
            StorageError: The note could not be written; the write must not go there.
        """
        now = self._clock()
        if self._until >= now:
            return
        until = now + SPAN
        # Readers of the note may not have a customer's key.
        at_rest = None if isinstance(encryption, CustomerKey) else encryption
        await self._objects(at_rest).put(FAILOVER, f"{until:.3f}".encode(), content_type="text/plain")
        self._until = until

    def quiet(self) -> bool:
        """Whether it is known, without asking, that no write was ever diverted."""
        return self._until == -math.inf and not self.unknown and self._clock() - self._read_at < FRESH

    async def happened(self) -> bool:
        """Whether any write was ever diverted; reads the note from time to time."""
        now = self._clock()
        if now - self._read_at >= FRESH:
            self._read_at = now
            await self._read()
        return self._until > -math.inf

    async def may_hide(self, modified: datetime | None) -> bool:
        """Whether the fallback may have a newer version of an object last modified at that time."""
        if not await self.happened():
            return False
        return modified is None or modified.timestamp() < self._until + SKEW

    async def _read(self) -> None:
        try:
            noted = await self._objects(None).get(FAILOVER, max_size=_LARGEST)
            self._until = max(self._until, float(noted))
        except (StorageIntegrityError, ValueError):  # Not one of our notes: assume the worst.
            self._until = self._clock()
        except StorageError as error:
            self.unknown = not is_absence(error)
        else:
            self.unknown = False

    def _objects(self, encryption: ServerEncryption | None) -> InternalObjects:
        return InternalObjects(self._fallback, _Terms(encryption))


class _Terms:
    """How the note is read and written."""

    def __init__(self, encryption: ServerEncryption | None) -> None:
        self._encryption: ServerEncryption | None = encryption

    def reading(self) -> ReadOptions:
        """Soon, or not at all."""
        return ReadOptions(deadline=time.monotonic() + PATIENCE)

    def deadline(self, *, size: int) -> float:  # noqa: ARG002 - it is small
        """Always True: the body is small and in memory."""
        return time.monotonic() + PATIENCE

    def at_rest(self) -> ServerEncryption | None:
        """The same as for the diverted write."""
        return self._encryption
