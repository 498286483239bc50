"""Tiles: the published vectors, growth by any steps, and files that are not what they should be."""

import gzip
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore.proofs import LogEntryError, LogTileError
from credstore.proofs.log.merkle import hash_leaf, root
from credstore.proofs.log.tiles import (
    ENTRIES,
    LARGEST_ENTRY,
    Edge,
    Tile,
    edge_of,
    edge_tiles,
    encode_bundle,
    grow,
    levels_of,
    node_in,
    parse_path,
    read_bundle,
    read_tile,
    tile_of_node,
    tiles_of,
    width_at,
)

ROOTS = {
    255: "32f85bcaa87d7bcd05728f09e9aeba350ba6a2f733830087f0597682848be5cb",
    256: "828515d033c19d8c901f37eccb8aed919667703486f8d2fff1cf7040321c5db1",
    257: "1eda049a4351d86f76252bd7ec0b7746ad75b7fa0316ad5f541dbda458a312c4",
    70_000: "1a4cdfcb66374a0c0dcbef49acbd4976d13ee864fb3cb241fc943cad04f02f7e",
}
DIGESTS = {
    "tile/1/000": "ea7b038bc73489c89c31a27ac355aaca65a4ed73f0dd7484e68deb29d30f10a2",
    "tile/0/273.p/112": "4d21244557c976993a9a89bf928a46b5a876585228df279878239fd84489e5a5",
    "tile/entries/000": "94693d5c6d6a0355ec07bac8214516c1ce6a5100b0588f226fd95f26571157d7",
}


def entries(start, end):
    return [b"%d" % number for number in range(start, end)]


def built(size):
    made = grow(Edge(), entries(0, size))
    return made.edge, dict(made.tiles)


@pytest.mark.parametrize("size", ROOTS)
def test_the_roots_of_counted_entries(size):
    edge, _ = built(size)
    assert edge.root.hex() == ROOTS[size]


def test_the_tiles_of_70_000_entries():
    edge, tiles = built(70_000)
    assert {path: sha256(tiles[path]).hexdigest() for path in DIGESTS} == DIGESTS
    assert len(tiles["tile/entries/000"]) == 1170
    levels = [list(tiles_of(edge.size, level)) for level in range(3)]
    assert [len(level) for level in levels] == [274, 2, 1]
    assert [level[-1].width for level in levels] == [112, 17, 1]
    assert levels_of(70_000) == [ENTRIES, 0, 1, 2]
    assert set(tiles) == {tile.path for level in levels_of(edge.size) for tile in tiles_of(edge.size, level)}


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 1_234_067), "tile/0/x001/x234/067"),
        (Tile(7, 999, 1), "tile/7/999.p/1"),
        (Tile(ENTRIES, 1000, 255), "tile/entries/x001/000.p/255"),
    ],
)
def test_paths(tile, path):
    assert tile.path == path
    assert parse_path(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "", "checkpoint", "tile/0/0", "tile/0/x000/000", "tile/00/000", "tile/64/000", "tile/0/000.p/0",
        "tile/0/000.p/256", "tile/0/000.p/999", "tile/0/000.p/01", "tile/0/000/", "tile/0/001/000",
        "tile/entries/x1/000", "tile/0/x001", "tile/0/000\n", "/tile/0/000",
    ],
)  # fmt: skip
def test_what_is_not_a_path(path):
    assert parse_path(path) is None


@given(st.integers(0, 2**40), st.integers(-1, 7), st.integers(1, 256))
def test_every_tile_has_one_path(index, level, width):
    tile = Tile(level, index, width)
    assert parse_path(tile.path) == tile


@given(st.lists(st.integers(0, 600), max_size=6))
def test_growing_by_any_steps_makes_the_same_tree(steps):
    edge, tiles = Edge(), {}
    for step in steps:
        before = set(tiles)
        made = grow(edge, entries(edge.size, edge.size + step))
        assert not before & set(made.tiles), "a path was given other bytes"
        edge = made.edge
        tiles |= made.tiles
        assert edge == edge_of(edge.size, {tile: tiles[tile.path] for tile in edge_tiles(edge.size)})
    assert edge.root == root([hash_leaf(each) for each in entries(0, sum(steps))])
    for level in levels_of(edge.size):
        for tile in tiles_of(edge.size, level):
            assert tile.path in tiles
            assert width_at(level, tile.index, edge.size) == tile.width


@given(st.data())
def test_nodes_come_from_the_tiles_of_the_size(data):
    size = data.draw(st.integers(1, 3000))
    height = data.draw(st.integers(0, size.bit_length() - 1))
    index = data.draw(st.integers(0, (size >> height) - 1))
    tile = tile_of_node(height, index, size)
    leaves = [hash_leaf(each) for each in entries(0, size)]
    span = 256**tile.level
    first = tile.index * 256
    hashes = [root(leaves[(first + at) * span : (first + at + 1) * span]) for at in range(tile.width)]
    assert node_in(hashes, height, index) == root(leaves[index << height : (index + 1) << height])


def test_a_full_tile_stands_in_for_a_partial_one():
    full = [hash_leaf(each) for each in entries(0, 256)]
    assert read_tile(b"".join(full), Tile(0, 0, 5)) == full[:5]
    assert read_bundle(encode_bundle(entries(0, 256)), Tile(ENTRIES, 0, 5)) == entries(0, 5)


@pytest.mark.parametrize("size", [0, 31, 32 * 4, 32 * 6, 32 * 257])
def test_a_tile_has_the_width_that_the_size_says(size):
    with pytest.raises(LogTileError, match="5 hashes") as caught:
        read_tile(bytes(size), Tile(0, 3, 5))
    assert caught.value.key == "tile/0/003.p/5"


BUNDLE = encode_bundle(entries(0, 5))


@pytest.mark.parametrize(
    "data",
    [b"", BUNDLE[:-1], BUNDLE + b"\0", BUNDLE + b"\0\1a", b"\xff\xff", gzip.compress(BUNDLE, mtime=0)[:-1],
     gzip.compress(BUNDLE, mtime=0) + b"x", gzip.compress(BUNDLE[:-1], mtime=0), encode_bundle([b""] * 257)],
)  # fmt: skip
def test_what_is_not_a_bundle(data):
    with pytest.raises(LogTileError, match="not a bundle of 5 entries"):
        read_bundle(data, Tile(ENTRIES, 0, 5))


def test_bundles_may_be_gzip():
    assert read_bundle(gzip.compress(BUNDLE, mtime=0), Tile(ENTRIES, 0, 5)) == entries(0, 5)


def test_an_entry_whose_length_looks_like_gzip_is_read_as_it_is():
    bundle = encode_bundle([bytes(0x1F8B)])
    assert read_bundle(bundle, Tile(ENTRIES, 0, 1)) == [bytes(0x1F8B)]


def test_a_bundle_that_unpacks_to_more_than_any_bundle_is_refused_in_bounded_memory():
    bomb = gzip.compress(bytes(40 * 1024 * 1024), mtime=0)
    with pytest.raises(LogTileError):
        read_bundle(bomb, Tile(ENTRIES, 0, 5))


def test_the_largest_entry_fits_and_no_larger_one():
    largest = bytes(LARGEST_ENTRY)
    assert read_bundle(encode_bundle([largest]), Tile(ENTRIES, 0, 1)) == [largest]
    with pytest.raises(LogEntryError, match="65536 bytes"):
        encode_bundle([bytes(LARGEST_ENTRY + 1)])


def test_an_entry_that_was_not_hashed_is_found():
    edge, _ = built(300)
    tiles = {parse_path(path): data for path, data in edge.tiles().items()}
    path = "tile/entries/001.p/44"
    tiles[parse_path(path)] = tiles[parse_path(path)].replace(b"270", b"271")
    with pytest.raises(LogTileError, match="entry 270 ") as caught:
        edge_of(300, tiles)
    assert caught.value.key == path


def test_appending_nothing_makes_nothing():
    edge, _ = built(300)
    assert grow(edge, []).tiles == {}
