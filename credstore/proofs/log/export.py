"""A verified copy of a log as files: what a mirror is, and what any web server or CDN can serve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from credstore.arguments import typed
from credstore.concurrency import in_thread
from credstore.errors import ErrorCode, StorageError
from credstore.files import write_file
from credstore.proofs.format.errors import CheckpointError
from credstore.proofs.log.checkpoint import SignedCheckpoint, open_checkpoint
from credstore.proofs.log.client import LogClient
from credstore.proofs.log.memory import LogMemory
from credstore.proofs.log.note import LARGEST_NOTE, NoteError, VerifierKey, parse_note
from credstore.proofs.log.objects import CHECKPOINT
from credstore.proofs.log.reading import Fetch, LogTiles
from credstore.proofs.log.tiles import ENTRIES, FULL, TILE_HEIGHT, encode_bundle, levels_of, tiles_of


@typed
def read_copy(folder: str | Path) -> Fetch:
    """A fetch function for a copy in a folder; nothing of it is believed."""
    root = Path(folder)

    async def fetch(path: str, most: int) -> bytes | None:
        return await in_thread(_read, root / path, most)

    return fetch


@typed
async def export_log(client: LogClient, folder: str | Path, *, only_new: bool = False) -> int:
    """Copy a log into a folder; the checkpoint comes last, so that it never names what is not there.

    What an earlier copy has left is kept and continued: a log that does not continue it never replaces it. A
    checkpoint of the copy that is damaged is written again, with every tile.
    Unless only new tiles are wanted, full tiles that are there are read again from the log, and written only
    where they differ.

    Args:
        client: Of the log.
        folder: Made if needed.
        only_new: Leave the tiles of the copy as they are, if the log continues it.

    Returns:
        The number of entries.

    Raises:
        LogForkError: The log does not continue the copy; both notes are in the client's memory, or below
            "forks" in the folder.
        LogError: The log cannot be verified; the copy's checkpoint is still the earlier one.
        StorageError: The log cannot be read, or the disk failed (code "IO_ERROR").
    """
    found = await client.checkpoint()
    tiles = await client.tiles()
    root = Path(folder)
    copied = await _copied(client, found.signed, tiles, root)
    done = copied if only_new else 0
    for level in levels_of(tiles.size):
        first = (done >> (TILE_HEIGHT * max(level, 0))) // FULL
        for tile in tiles_of(tiles.size, level, first):
            if level == ENTRIES:
                data = encode_bundle(await tiles.entries(tile.index))
            else:
                data = b"".join(await tiles.hashes(level, tile.index))
            await in_thread(_write, root / tile.path, data)
    await in_thread(_write, root / CHECKPOINT, found.signed.data)
    return tiles.size


async def _copied(client: LogClient, found: SignedCheckpoint, tiles: LogTiles, root: Path) -> int:
    """The size of the copy that the log continues; 0 where there is none, or its checkpoint is damaged."""
    data = await in_thread(_read, root / CHECKPOINT, LARGEST_NOTE)
    if data is None:
        return 0
    new = found.checkpoint
    try:
        known = open_checkpoint(data, client.policy.log_keys, what=str(root / CHECKPOINT))
    except CheckpointError:
        if _is_damaged(data, new.origin, client.policy.log_keys):
            return 0
        raise
    copy = known.checkpoint
    if copy.origin != new.origin:
        raise CheckpointError(f"{root} has a copy of the log {copy.origin!r}, and this is {new.origin!r}")
    if not await tiles.continues(copy.size, copy.root):
        raise await client.forked(
            f"the copy is of {copy.origin!r} at size {copy.size}, which the log {new.origin!r} of size "
            f"{new.size} does not continue",
            known,
            found,
            LogMemory(root),
        )
    return copy.size


def _is_damaged(data: bytes, origin: str, keys: Sequence[VerifierKey]) -> bool:
    """Whether a checkpoint that cannot be verified is what is left of one of this log, and not another's."""
    try:
        note = parse_note(data)
    except NoteError:
        return True
    ours = {(key.name, key.key_id) for key in keys}
    signed = any((line.name, line.key_id) in ours for line in note.signatures)
    return signed and note.text.partition("\n")[0] == origin


def _read(path: Path, most: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StorageError(
            f"the copy of the log cannot be read: {error.strerror}", code=ErrorCode.IO_ERROR, key=str(path)
        ) from None


def _write(path: Path, data: bytes) -> None:
    try:
        if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, data, replace=True)
    except OSError as error:
        raise StorageError(
            f"the copy of the log cannot be written: {error.strerror}", code=ErrorCode.IO_ERROR, key=str(path)
        ) from None
