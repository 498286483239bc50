"""The tiles of one state of a log, each verified up to its root before it is used.

Rules of this file: only tiles that the size implies are asked for, since caches keep what is missing, too; a
partial tile first, then the full one that replaced it; what does not fit is reported as a wrong tile, since
the log may be right.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace

from credstore.concurrency import map_all
from credstore.proofs.format.errors import LogConsistencyError, LogInclusionError, LogTileError
from credstore.proofs.log.merkle import (
    EMPTY_ROOT,
    MerkleError,
    Range,
    consistency_ranges,
    inclusion_ranges,
    pyramid,
    subtree_root,
)
from credstore.proofs.log.tiles import (
    ENTRIES,
    FULL,
    LARGEST_BUNDLE,
    LARGEST_TILE,
    TILE_HEIGHT,
    Edge,
    Tile,
    check_entries,
    edge_tiles,
    hash_edge,
    read_bundle,
    read_tile,
    tile_of_node,
    width_at,
)

Fetch = Callable[[str, int], Awaitable[bytes | None]]
"""Given a path below the log's prefix and a maximum of bytes: the bytes, or None if there is no object."""
AT_ONCE = 8
_KEPT = 512
"""Full tiles that are kept, with all hashes over theirs about 40 KiB each."""
_BUNDLES = 2
"""Bundles that are kept: whoever reads one entry mostly reads its neighbours."""


class LogTiles:
    """What a fetch function has of one state of a log, verified.

    Attributes:
        size: Number of entries.
        root: The root over them.
        reads: Tiles and bundles that were fetched.
    """

    def __init__(self, fetch: Fetch, size: int, root_hash: bytes, edge: Edge | None = None) -> None:
        """Read a state that its log has signed.

        Args:
            fetch: Reads an object.
            size: From the checkpoint.
            root_hash: From the checkpoint.
            edge: The right edge, where it is known already.
        """
        self.size = size
        self.root = root_hash
        self.reads = 0
        self._fetch = fetch
        self._edge = edge
        self._kept: OrderedDict[tuple[int, int], list[list[bytes]]] = OrderedDict()
        self._edges: dict[int, list[list[bytes]]] = {}
        self._bundles: OrderedDict[int, list[bytes]] = OrderedDict()

    async def edge(self) -> Edge:
        """The right edge, without entries unless it was given with them.

        Raises:
            LogTileError: A partial tile is missing, or together they do not have the root.
            StorageError: The fetch function failed.
        """
        if self._edge is None:
            wanted = [tile for tile in edge_tiles(self.size) if tile.level != ENTRIES]
            found = await map_all(wanted, self._read, at_once=AT_ONCE)
            edge = hash_edge(self.size, dict(zip(wanted, found, strict=True)))
            self._edges = {level: pyramid(hashes) for level, hashes in enumerate(edge.levels) if hashes}
            if self._edge_root() != self.root:
                raise LogTileError(
                    f"the partial tiles of size {self.size} do not have the root of the checkpoint: "
                    + ", ".join(tile.path for tile in wanted),
                    key=wanted[-1].path if wanted else None,
                )
            self._edge = edge
        return self._edge

    def _edge_root(self) -> bytes:
        if self.size == 0:
            return EMPTY_ROOT
        return subtree_root(
            0, self.size, lambda height, index: _node(self._edges[height // TILE_HEIGHT], height, index)
        )

    async def edge_with_entries(self) -> Edge:
        """The right edge with the entries of the partial bundle, as appending needs it.

        Raises:
            LogTileError: As `edge`, or the bundle is missing or not what was hashed.
            StorageError: The fetch function failed.
        """
        edge = await self.edge()
        if self.size % FULL and not edge.entries:
            edge = self._edge = replace(edge, entries=tuple(await self.entries(self.size // FULL)))
        return edge

    async def hashes(self, level: int, index: int) -> list[bytes]:
        """The hashes of a tile, as wide as the size says.

        Raises:
            LogTileError: It is missing, or is not what the tile above it says.
            StorageError: The fetch function failed.
        """
        return (await self._nodes(level, index))[0]

    async def _nodes(self, level: int, index: int) -> list[list[bytes]]:
        """All hashes of a tile by height: of the tile itself first."""
        edge = await self.edge()
        if width_at(level, index, self.size) < FULL:
            if level not in self._edges:
                self._edges[level] = pyramid(edge.levels[level])
            return self._edges[level]
        known = self._kept.get((level, index))
        if known is not None:
            self._kept.move_to_end((level, index))
            return known
        tile = Tile(level, index)
        above = await self.hashes(level + 1, index // FULL)
        found = pyramid(read_tile(await self._read(tile), tile))
        if found[-1][0] != above[index % FULL]:
            raise LogTileError("the tile is not the one that the log has hashed", key=tile.path)
        self._kept[level, index] = found
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found

    async def entries(self, index: int) -> list[bytes]:
        """The entries of a bundle.

        Raises:
            LogTileError: It is missing, or an entry is not the one that was hashed.
            StorageError: The fetch function failed.
        """
        known = self._bundles.get(index)
        if known is not None:
            return known
        tile = Tile(ENTRIES, index, width_at(ENTRIES, index, self.size))
        hashes = await self.hashes(0, index)
        found = read_bundle(await self._read(tile), tile)
        check_entries(found, hashes, tile)
        self._bundles[index] = found
        if len(self._bundles) > _BUNDLES:
            self._bundles.popitem(last=False)
        return found

    async def entry(self, index: int) -> bytes:
        """One entry.

        Raises:
            LogInclusionError: The log has no such index.
            LogTileError: As `entries`.
            StorageError: The fetch function failed.
        """
        if not 0 <= index < self.size:
            raise LogInclusionError(f"a log of size {self.size} has no entry {index}")
        return (await self.entries(index // FULL))[index % FULL]

    async def leaf(self, index: int) -> bytes:
        """The hash of one entry; raises what `entry` raises."""
        if not 0 <= index < self.size:
            raise LogInclusionError(f"a log of size {self.size} has no entry {index}")
        return (await self.hashes(0, index // FULL))[index % FULL]

    async def range_root(self, start: int, end: int) -> bytes:
        """The hash over the leaves [start, end), which are a subtree.

        Raises:
            LogTileError: A tile is missing or wrong.
            MerkleError: They are not a subtree.
            StorageError: The fetch function failed.
        """
        asked: list[tuple[int, int]] = []

        def note(height: int, index: int) -> bytes:
            asked.append((height, index))
            return b""

        subtree_root(start, end, note)
        found: dict[tuple[int, int], bytes] = {}
        for height, index in asked:
            tile = tile_of_node(height, index, self.size)
            found[height, index] = _node(await self._nodes(tile.level, tile.index), height, index)
        return subtree_root(start, end, lambda height, index: found[height, index])

    async def inclusion(self, index: int) -> list[bytes]:
        """The proof that an entry is in this state.

        Raises:
            LogInclusionError: The log has no such index.
            LogTileError: A tile is missing or wrong.
            StorageError: The fetch function failed.
        """
        try:
            return await self._path(inclusion_ranges(index, self.size))
        except MerkleError as error:
            raise LogInclusionError(str(error)) from None

    async def consistency(self, old_size: int) -> list[bytes]:
        """The proof that this state continues an older one.

        Raises:
            LogConsistencyError: The other one is larger.
            LogTileError: A tile is missing or wrong.
            StorageError: The fetch function failed.
        """
        try:
            return await self._path(consistency_ranges(old_size, self.size))
        except MerkleError as error:
            raise LogConsistencyError(str(error)) from None

    async def continues(self, old_size: int, old_root: bytes) -> bool:
        """Whether the first `old_size` entries have this root.

        Raises:
            LogTileError: A tile is missing or wrong.
            StorageError: The fetch function failed.
        """
        if old_size > self.size:
            return False
        if old_size in {0, self.size}:
            return old_size == 0 or old_root == self.root
        return await self.range_root(0, old_size) == old_root

    async def _path(self, ranges: list[Range]) -> list[bytes]:
        return [await self.range_root(start, end) for start, end in ranges]

    async def _read(self, tile: Tile) -> bytes:
        most = LARGEST_BUNDLE if tile.level == ENTRIES else LARGEST_TILE
        for candidate in (tile,) if tile.width == FULL else (tile, tile.full):
            self.reads += 1
            data = await self._fetch(candidate.path, most)
            if data is not None:
                return data
        raise LogTileError("the tile is missing", key=tile.path)


def _node(nodes: list[list[bytes]], height: int, index: int) -> bytes:
    """The hash of a perfect subtree from all hashes of its tile."""
    rest = height % TILE_HEIGHT
    return nodes[rest][index - ((index << rest) // FULL * FULL >> rest)]
