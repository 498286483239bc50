"""The index of a version: read back as written, and refused where it is not one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore.artifacts.index import Chunk, FileEntry, encode_index, parse_index
from credstore.artifacts.names import is_file_name
from credstore.artifacts.reads import grouped, runs
from credstore.errors import StorageIntegrityError

SESSION = "0123456789abcdef" * 2
DIGESTS = st.binary(min_size=32, max_size=32)
CHUNKS = st.builds(
    lambda digest, pack, offset, size, saved: Chunk(digest, f"{SESSION}-{pack}", offset, max(1, size - saved), size),
    DIGESTS, st.integers(0, 3), st.integers(0, 2**40), st.integers(1, 2**18), st.integers(0, 99),
)  # fmt: skip
FILES = st.lists(
    st.builds(
        lambda name, digest, mode, modified, chunks: FileEntry(
            name, sum(each.size for each in chunks), digest, mode, modified, tuple(chunks)
        ),
        st.text(min_size=1, max_size=20).filter(is_file_name),
        DIGESTS, st.integers(0, 0o777), st.integers(0, 2**62), st.lists(CHUNKS, max_size=6),
    ),
    max_size=6, unique_by=lambda file: file.name,
).filter(
    lambda files: not any(one.name.startswith(f"{other.name}/") for one in files for other in files)
)  # fmt: skip


@given(FILES)
def test_an_index_reads_back_as_written(files):
    assert parse_index(encode_index(files)) == tuple(files)


@given(FILES)
def test_the_runs_bring_every_byte_of_every_file_in_order(files):
    for group in grouped(files):
        read = {place: [] for place in range(len(group))}
        for run in runs(group):
            at = run.start
            for piece in run.pieces:
                assert (piece.chunk.pack, piece.chunk.offset) == (run.pack, at)
                at += piece.chunk.stored
                read[piece.file] += [piece.chunk.digest] * piece.times
            assert at == run.end
        for place, file in enumerate(group):
            assert read[place] == [chunk.digest for chunk in file.chunks]


def test_neighbours_are_one_request_and_repeats_are_read_once():
    chunks = [Chunk(bytes([at] * 32), f"{SESSION}-0", at * 10, 10, 10) for at in range(4)]
    zeros = FileEntry("zeros", 50, bytes(32), 0o644, 0, (chunks[0],) * 5)
    rest = FileEntry("rest", 30, bytes(32), 0o644, 0, tuple(chunks[1:]))
    (run,) = runs([zeros, rest])
    assert (run.start, run.end, run.pieces[0].times) == (0, 40, 5)


HEAD = '{"format":"credstore.index/1","packs":["%s-0"]}' % SESSION  # noqa: UP031
FILE = '{"name":"%s","size":%d,"sha256":"' + "00" * 32 + '","mode":420,"modified":0}'
CHUNK = '["' + "00" * 32 + '",%s]'


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["[]"],
        ['{"format":"credstore.index/2","packs":[]}'],
        ['{"format":"credstore.index/1","packs":["../../secret"]}'],
        [HEAD, FILE % ("../a", 0)],
        [HEAD, FILE % ("/a", 0)],
        [HEAD, FILE % ("a", 0), FILE % ("a", 0)],
        [HEAD, FILE % ("a", 0), FILE % ("a/b/c", 0)],
        [HEAD, FILE % ("a/b/c", 0), FILE % ("a/b", 0)],
        [HEAD, FILE % ("a", 1)],
        [HEAD, FILE % ("a", 1), CHUNK % "1,0,1,1"],
        [HEAD, FILE % ("a", 1), CHUNK % "-1,0,1,1"],
        [HEAD, FILE % ("a", 1), CHUNK % "0,-1,1,1"],
        [HEAD, FILE % ("a", 1), CHUNK % "0,0,2,1"],
        [HEAD, FILE % ("a", 1), CHUNK % "0,0,1"],
        [HEAD, FILE % ("a", 2**21), CHUNK % f"0,0,1,{2**21}"],
        [HEAD, FILE % ("a", 1), CHUNK % "0,0,1,1.0"],
        [HEAD, CHUNK % "0,0,1,1"],
        [HEAD, '"a"'],
        [HEAD, "{"],
    ],
)
def test_what_is_no_index_is_refused(lines):
    with pytest.raises(StorageIntegrityError, match="cannot be read"):
        parse_index("\n".join([*lines, ""]).encode())


def test_an_index_without_its_end_is_refused():
    with pytest.raises(StorageIntegrityError, match="cut"):
        parse_index("\n".join([HEAD, FILE % ("a", 0)]).encode())


def _bare(name, kind):
    return FileEntry(name, 0, bytes(32), 0o755, 0, (), kind, "/tmp" if kind == "link" else "")


@pytest.mark.parametrize("kind", ["link", "folder", "file"])
@pytest.mark.parametrize("below", ["link", "folder", "file"])
def test_nothing_is_below_a_link_a_file_or_an_empty_folder(kind, below):
    entries = [_bare("d/a", kind), _bare("d/a/b/c", below)]
    assert len(parse_index(encode_index([entries[0], _bare("d/b", below)]))) == 2
    for files in (entries, entries[::-1]):
        with pytest.raises(StorageIntegrityError, match="below"):
            parse_index(encode_index(files))
