"""Tiles: paths, widths and bytes of a log's static files, c2sp.org/tlog-tiles; how the tree grows. Pure.

Rules of this file: a partial tile is never hashed upwards, and an empty one does not exist; a path has one
spelling; what was read is of exactly the width that the size of the tree says.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

from credstore.proofs.format.errors import LogEntryError, LogTileError
from credstore.proofs.log.merkle import EMPTY_ROOT, HASH_SIZE, LARGEST_SIZE, hash_leaf, root, subtree_root

FULL = 256
"""Hashes in a full tile, and entries in a full bundle."""
TILE_HEIGHT = 8
HIGHEST_LEVEL = 7
"""2^63 leaves fill no tile above."""
LARGEST_ENTRY = 65_535
LARGEST_TILE = FULL * HASH_SIZE
LARGEST_BUNDLE = FULL * (2 + LARGEST_ENTRY)
ENTRIES = -1
"""The level of entry bundles."""
_GZIP = b"\x1f\x8b"
_PATH = re.compile(
    r"tile/(entries|[0-9]|[1-5][0-9]|6[0-3])/((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?"
)


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """A tile of hashes, or a bundle of entries.

    Attributes:
        level: 0 to 7, or `ENTRIES`.
        index: From the left, 0-based.
        width: Hashes or entries in it, 1 to 256.
    """

    level: int
    index: int
    width: int = FULL

    @property
    def path(self) -> str:
        """Its path below the log's prefix."""
        groups: list[str] = []
        rest = self.index
        while True:
            rest, group = divmod(rest, 1000)
            groups.append(f"x{group:03}" if groups else f"{group:03}")
            if rest == 0:
                break
        level = "entries" if self.level == ENTRIES else str(self.level)
        partial = "" if self.width == FULL else f".p/{self.width}"
        return f"tile/{level}/{'/'.join(reversed(groups))}{partial}"

    @property
    def full(self) -> Tile:
        """The full tile at this place."""
        return Tile(self.level, self.index)

    @property
    def largest(self) -> int:
        """Maximum number of bytes."""
        return LARGEST_BUNDLE if self.level == ENTRIES else self.width * HASH_SIZE


def parse_path(path: str) -> Tile | None:
    """The tile of a path in its one spelling, else None."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    level = ENTRIES if found[1] == "entries" else int(found[1])
    index = int(found[2].replace("x", "").replace("/", ""))
    tile = Tile(level, index, FULL if found[3] is None else int(found[3]))
    return tile if tile.path == path and tile.width <= FULL else None


def width_at(level: int, index: int, size: int) -> int:
    """How many hashes of a tile a tree of this size has, 0 to 256; also for bundles, with `ENTRIES`."""
    count = size >> (TILE_HEIGHT * max(level, 0))
    return max(0, min(FULL, count - index * FULL))


def edge_tiles(size: int) -> list[Tile]:
    """The partial tiles of a tree, with its partial bundle first."""
    found = [Tile(ENTRIES, size // FULL, size % FULL)] if size % FULL else []
    for level in range(HIGHEST_LEVEL + 1):
        count = size >> (TILE_HEIGHT * level)
        if count % FULL:
            found.append(Tile(level, count // FULL, count % FULL))
    return found


def tiles_of(size: int, level: int, first: int = 0) -> Iterator[Tile]:
    """The tiles of one level from an index on, from left to right."""
    count = size >> (TILE_HEIGHT * max(level, 0))
    for index in range(first, count // FULL):
        yield Tile(level, index)
    if count % FULL:
        yield Tile(level, count // FULL, count % FULL)


def levels_of(size: int) -> list[int]:
    """The levels that have tiles, with the bundles first; empty for an empty tree."""
    levels = [level for level in range(HIGHEST_LEVEL + 1) if size >> (TILE_HEIGHT * level)]
    return [ENTRIES, *levels] if levels else []


def tile_of_node(height: int, index: int, size: int) -> Tile:
    """The tile from which the hash of a perfect subtree is made, as wide as the size of the tree says."""
    level = height // TILE_HEIGHT
    place = (index << (height % TILE_HEIGHT)) // FULL
    return Tile(level, place, width_at(level, place, size))


def node_in(hashes: Sequence[bytes], height: int, index: int) -> bytes:
    """The hash of a perfect subtree from the hashes of its tile."""
    rest = height % TILE_HEIGHT
    first = (index << rest) % FULL
    return root(hashes[first : first + (1 << rest)])


def read_tile(data: bytes, tile: Tile) -> list[bytes]:
    """The hashes of a tile; of a full tile where a partial one was looked for, the first of them.

    Raises:
        LogTileError: Not as many hashes as the tile has.
    """
    if len(data) not in {tile.width * HASH_SIZE, LARGEST_TILE}:
        raise LogTileError(
            f"a tile has {len(data)} bytes where {tile.width} hashes are {tile.width * HASH_SIZE}",
            key=tile.path,
        )
    return [data[at : at + HASH_SIZE] for at in range(0, tile.width * HASH_SIZE, HASH_SIZE)]


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Entries, each behind its length as a big-endian number of two bytes.

    Raises:
        LogEntryError: An entry is larger than its length can say.
    """
    parts: list[bytes] = []
    for entry in entries:
        if len(entry) > LARGEST_ENTRY:
            raise LogEntryError(f"an entry has {len(entry)} bytes, but at most {LARGEST_ENTRY} fit")
        parts += (len(entry).to_bytes(2, "big"), entry)
    return b"".join(parts)


def read_bundle(data: bytes, tile: Tile) -> list[bytes]:
    """The entries of a bundle, plain or gzip; of a full one where a partial one was looked for, the first.

    Raises:
        LogTileError: Not as many whole entries as the bundle has.
    """
    found = _entries(data, tile)
    if found is None and data.startswith(_GZIP):  # As the length of a first entry it would mean 8,075.
        unpacked = _gunzip(data)
        found = None if unpacked is None else _entries(unpacked, tile)
    if found is None:
        raise LogTileError(f"not a bundle of {tile.width} entries", key=tile.path)
    return found


def _entries(data: bytes, tile: Tile) -> list[bytes] | None:
    found: list[bytes] = []
    at, end = 0, len(data)
    while at < end:
        size = int.from_bytes(data[at : at + 2], "big")
        entry = data[at + 2 : at + 2 + size]
        at += 2 + size
        if at > end or len(found) == FULL:
            return None
        found.append(entry)
    return found[: tile.width] if len(found) in {tile.width, FULL} else None


def _gunzip(data: bytes) -> bytes | None:
    reader = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        plain = reader.decompress(data, LARGEST_BUNDLE)
    except zlib.error:
        return None
    return plain if reader.eof and not reader.unused_data else None


@dataclass(frozen=True, slots=True)
class Edge:
    """The right edge of a tree: all that is needed to let it grow, and its root.

    Attributes:
        size: Of the tree.
        levels: For each level, the hashes of its partial tile; empty where it has none.
        entries: Those of the partial bundle.
    """

    size: int = 0
    levels: tuple[tuple[bytes, ...], ...] = ((),) * (HIGHEST_LEVEL + 1)
    entries: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def root(self) -> bytes:
        """Of the tree."""
        if self.size == 0:
            return EMPTY_ROOT

        def node(height: int, index: int) -> bytes:
            return node_in(self.levels[height // TILE_HEIGHT], height, index)

        return subtree_root(0, self.size, node)

    def tiles(self) -> dict[str, bytes]:
        """The partial tiles and the partial bundle, by path."""
        found: dict[str, bytes] = {}
        for tile in edge_tiles(self.size):
            if tile.level == ENTRIES:
                found[tile.path] = encode_bundle(self.entries)
            else:
                found[tile.path] = b"".join(self.levels[tile.level])
        return found


def hash_edge(size: int, tiles: Mapping[Tile, bytes]) -> Edge:
    """The edge of a tree from its partial tiles, without the entries of the partial bundle.

    Args:
        size: Of the tree.
        tiles: At least those of `edge_tiles` that have hashes.

    Raises:
        LogTileError: One has the wrong width.
    """
    levels: list[tuple[bytes, ...]] = [()] * (HIGHEST_LEVEL + 1)
    for tile in edge_tiles(size):
        if tile.level != ENTRIES:
            levels[tile.level] = tuple(read_tile(tiles[tile], tile))
    return Edge(size, tuple(levels))


def edge_of(size: int, tiles: Mapping[Tile, bytes]) -> Edge:
    """The edge of a tree from its partial tiles and its partial bundle.

    Raises:
        LogTileError: One has the wrong width, or an entry is not the one that was hashed.
    """
    found = hash_edge(size, tiles)
    if size % FULL == 0:
        return found
    bundle = edge_tiles(size)[0]
    entries = tuple(read_bundle(tiles[bundle], bundle))
    check_entries(entries, found.levels[0], bundle)
    return replace(found, entries=entries)


def check_entries(entries: Sequence[bytes], hashes: Sequence[bytes], tile: Tile) -> None:
    """Compare entries with the hashes of their tile.

    Raises:
        LogTileError: An entry is not the one that was hashed; the message has its index in the log.
    """
    for number, (entry, leaf) in enumerate(zip(entries, hashes, strict=True)):
        if sha256(b"\x00" + entry).digest() != leaf:
            raise LogTileError(
                f"entry {tile.index * FULL + number} is not the one that the log has hashed", key=tile.path
            )


@dataclass(frozen=True, slots=True)
class Growth:
    """What appending makes.

    Attributes:
        edge: The new edge.
        tiles: The bytes of every tile and bundle that is new or wider than before, by path.
    """

    edge: Edge
    tiles: Mapping[str, bytes] = field(repr=False)


def grow(edge: Edge, entries: Sequence[bytes]) -> Growth:
    """Append entries: about one hash for each, and one for each inner node.

    Raises:
        LogEntryError: An entry is larger than a bundle takes, or the tree would be.
    """
    size = edge.size + len(entries)
    if size > LARGEST_SIZE:
        raise LogEntryError("the log is full")
    tiles: dict[str, bytes] = {}
    bundle = [*edge.entries, *entries]
    first = edge.size // FULL
    while len(bundle) >= FULL:
        tiles[Tile(ENTRIES, first).path] = encode_bundle(bundle[:FULL])
        del bundle[:FULL]
        first += 1
    rising = [hash_leaf(entry) for entry in entries]
    levels: list[tuple[bytes, ...]] = []
    for level, hashes in enumerate(edge.levels):
        row = [*hashes, *rising]
        place = (edge.size >> (TILE_HEIGHT * level)) // FULL
        risen: list[bytes] = []
        for at in range(0, len(row) - FULL + 1, FULL):
            full = row[at : at + FULL]
            tiles[Tile(level, place).path] = b"".join(full)
            risen.append(root(full))
            place += 1
        rising = risen
        levels.append(tuple(row[len(row) - len(row) % FULL :]))
    made = Edge(size, tuple(levels), tuple(bundle))
    before = {tile.path for tile in edge_tiles(edge.size)}
    # A partial tile that is as wide as before has the same bytes.
    tiles |= {path: data for path, data in made.tiles().items() if path not in before}
    return Growth(made, tiles)
