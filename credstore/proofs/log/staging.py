"""What is staged before a commit: every new tile and bundle in one object. Pure.

Rules of this file: staged bytes are believed only after the tree was grown from their entries again and had
the committed root.
"""

from __future__ import annotations

from collections.abc import Mapping

from credstore.proofs.format.errors import LogTileError
from credstore.proofs.log.tiles import (
    ENTRIES,
    FULL,
    Edge,
    Growth,
    Tile,
    grow,
    parse_path,
    read_bundle,
    width_at,
)

LARGEST_STAGING = 256 * 1024 * 1024
_LARGEST_HEAD = 64 * 1024
"""Of hundreds of lines; a batch has some dozens of tiles."""


def encode_staging(tiles: Mapping[str, bytes]) -> bytes:
    """A line for each tile with its path and length, an empty line, and their bytes in the same order."""
    head = "".join(f"{path} {len(data)}\n" for path, data in tiles.items())
    return b"".join((head.encode(), b"\n", *tiles.values()))


def open_staging(data: bytes, edge: Edge, size: int, root_hash: bytes) -> Growth:
    """Grow a tree by what is staged.

    Args:
        data: The staged object.
        edge: Of the state before, with its entries.
        size: That was committed.
        root_hash: That was committed.

    Raises:
        LogTileError: What is staged does not make this tree.
    """
    tiles = _read(data)
    entries: list[bytes] = []
    for index in range(edge.size // FULL, -(-size // FULL)):
        tile = Tile(ENTRIES, index, width_at(ENTRIES, index, size))
        if tile.path not in tiles:
            raise LogTileError("the tile is not staged", key=tile.path)
        entries += read_bundle(tiles[tile.path], tile)
    made = grow(edge, entries[edge.size % FULL :])
    if (made.edge.size, made.edge.root) != (size, root_hash) or made.tiles != tiles:
        raise LogTileError("what is staged does not make the tree that was committed")
    return made


def _read(data: bytes) -> dict[str, bytes]:
    end = data.find(b"\n\n", 0, _LARGEST_HEAD)
    if end < 0:
        raise LogTileError("what is staged cannot be read")
    head, body = data[:end], data[end + 2 :]
    found: dict[str, bytes] = {}
    at = 0
    for line in head.split(b"\n"):
        path, _, length = line.partition(b" ")
        name = path.decode("ascii", errors="replace")
        if parse_path(name) is None or not length.isdigit() or len(length) > len(str(LARGEST_STAGING)):
            raise LogTileError("what is staged cannot be read")
        found[name] = body[at : at + int(length)]
        at += int(length)
    if at != len(body):
        raise LogTileError("what is staged is cut short, or has more bytes than it says")
    return found
