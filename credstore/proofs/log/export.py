"""A verified copy of a log as files: what a mirror is, and what any web server or CDN can serve."""

from __future__ import annotations

from pathlib import Path

from credstore.arguments import typed
from credstore.concurrency import in_thread
from credstore.errors import ErrorCode, StorageError
from credstore.files import write_file
from credstore.proofs.log.client import LogClient
from credstore.proofs.log.objects import CHECKPOINT
from credstore.proofs.log.tiles import ENTRIES, encode_bundle, levels_of, tiles_of


@typed
async def export_log(client: LogClient, folder: str | Path) -> int:
    """Copy a log into a folder; the checkpoint comes last, so that it never names what is not there.

    What an earlier copy has left is kept and continued; full tiles that are there are read again from the
    log, and written only where they differ.

    Args:
        client: Of the log.
        folder: Made if needed.

    Returns:
        The number of entries.

    Raises:
        LogError: The log cannot be verified; the copy's checkpoint is still the earlier one.
        StorageError: The log cannot be read, or the disk failed (code "IO_ERROR").
    """
    found = await client.checkpoint()
    tiles = await client.tiles()
    root = Path(folder)
    for level in levels_of(tiles.size):
        for tile in tiles_of(tiles.size, level):
            if level == ENTRIES:
                data = encode_bundle(await tiles.entries(tile.index))
            else:
                data = b"".join(await tiles.hashes(level, tile.index))
            await in_thread(_write, root / tile.path, data)
    await in_thread(_write, root / CHECKPOINT, found.signed.data)
    return tiles.size


def _write(path: Path, data: bytes) -> None:
    try:
        if path.is_file() and path.read_bytes() == data:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, data, replace=True)
    except OSError as error:
        raise StorageError(
            f"the copy of the log cannot be written: {error.strerror}", code=ErrorCode.IO_ERROR, key=str(path)
        ) from None
