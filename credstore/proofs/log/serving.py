"""Which files of a log are for everybody, and with which headers."""

from __future__ import annotations

from credstore.arguments import typed, typed_class
from credstore.proofs.log.checkpoint import CHECKPOINT_TYPE
from credstore.proofs.log.note import LARGEST_NOTE
from credstore.proofs.log.objects import BINARY, CHECKPOINT, FRESH, IMMUTABLE, LOG_PREFIX, LogObjects
from credstore.proofs.log.tiles import parse_path
from credstore.provider.provider import StorageProvider


@typed_class
class LogFiles:
    """The public files of a log in a store."""

    def __init__(self, provider: StorageProvider, prefix: str = LOG_PREFIX) -> None:
        """Serve this log.

        Args:
            provider: Where it is; not closed here.
            prefix: What its keys start with.
        """
        self._objects = LogObjects(provider, prefix)

    @typed
    async def get(self, path: str) -> tuple[bytes, str, str] | None:
        """Bytes, content type and cache control of a file, or None where there is none.

        Raises:
            StorageError: The store failed.
        """
        tile = parse_path(path)
        if tile is None and path != CHECKPOINT:
            return None
        data = await self._objects.fetch(path, LARGEST_NOTE if tile is None else tile.largest)
        if data is None:
            return None
        return (data, CHECKPOINT_TYPE, FRESH) if tile is None else (data, BINARY, IMMUTABLE)
