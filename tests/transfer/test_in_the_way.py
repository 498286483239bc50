"""A file that became a folder, or a folder that became a file, between one sync and the next."""

import asyncio
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from credstore import MemoryStorageProvider
from credstore.errors import ErrorCode, StorageError
from credstore.transfer import copy_tree, sync
from credstore.transfer.folder import Folder
from credstore.transfer.sides import SMALL
from tests.transfer.ends import make_tree, tree_of

NAMES = ["a", "a-b", "a0", "b"]


class StoppedError(Exception):
    """The program ended in the middle."""


@some.composite
def trees(draw):
    """Files in folders of few names, so that one is often a folder in another tree."""
    paths = draw(some.lists(some.lists(some.sampled_from(NAMES), min_size=1, max_size=3), max_size=6))
    tree = {}
    for path in paths:
        name = "/".join(path)
        if not any(other.startswith(f"{name}/") or name.startswith(f"{other}/") for other in tree):
            tree[name] = name.encode() + draw(some.binary(max_size=3))
    return tree


@given(mine=trees(), there=trees(), stops=some.lists(some.integers(1, 12), max_size=2), empty=some.booleans())
def test_the_destination_becomes_what_the_source_is(mine, there, stops, empty):
    async def scenario(tmp_path):
        one, two = make_tree(tmp_path / "one", mine), make_tree(tmp_path / "two", there)
        one.mkdir(exist_ok=True)
        two.mkdir(exist_ok=True)
        options = {"delete": True, "journal": tmp_path / "journal", "empty_folders": empty, "checksum": True}
        options["max_delete"] = 1000
        for stop in stops:
            seen = []

            def note(event, seen=seen, stop=stop):
                seen.append(event)
                if len(seen) == stop:
                    raise StoppedError

            with suppress(StoppedError):
                await sync(one, two, on_event=note, **options)
        report = await sync(one, two, **options)
        assert report.complete
        assert tree_of(two) == mine
        assert (await sync(one, two, **options)).counts.keys() <= {"same"}

    with tempfile.TemporaryDirectory() as place:
        asyncio.run(scenario(Path(place)))


@pytest.mark.parametrize(
    ("mine", "there", "said"),
    [({"a": b"1"}, {"a/b/c": b"2"}, "a folder of that name"), ({"a/b/c": b"1"}, {"a": b"2"}, "a file where")],
)
@pytest.mark.parametrize("size", [1, SMALL + 1])
def test_without_deleting_what_is_in_the_way_is_named(mine, there, said, size, tmp_path):
    one, two = (
        make_tree(tmp_path / "one", {name: data * size for name, data in mine.items()}),
        tmp_path / "two",
    )
    make_tree(two, there)
    report = asyncio.run(sync(one, two))
    (event,) = [event for event in report.events if event.kind == "failed"]
    assert event.error.code == ErrorCode.IN_THE_WAY
    assert said in str(event.error)
    assert tree_of(two) == there
    assert asyncio.run(sync(one, two, delete=True)).complete
    assert tree_of(two) == tree_of(one)


def test_what_a_filter_keeps_out_is_kept_and_named(tmp_path):
    one = make_tree(tmp_path / "one", {"a": b"1", "b": b"2"})
    two = make_tree(tmp_path / "two", {"a/kept.tmp": b"3", "a/gone": b"4", "extra": b"5"})
    report = asyncio.run(sync(one, two, delete=True, exclude=["*.tmp"]))
    assert [event.name for event in report.events if event.kind == "failed"] == ["a"]
    assert tree_of(two) == {"a/kept.tmp": b"3", "a/gone": b"4", "b": b"2", "extra": b"5"}
    assert "2 objects" in next(event.detail for event in report.events if event.kind == "left")


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("x"), os.mkfifo], ids=["link", "pipe"])
def test_nothing_makes_way_in_a_folder_that_stays(make, tmp_path):
    one = make_tree(tmp_path / "one", {"a": b"1"})
    two = make_tree(tmp_path / "two", {"a/x": b"3", "a/d/y": b"4"})
    make(two / "a/d/other")
    for _ in range(2):
        report = asyncio.run(sync(one, two, delete=True))
        assert [event.name for event in report.events if event.kind == "failed"] == ["a"]
        assert (two / "a/x").read_bytes() + (two / "a/d/y").read_bytes() == b"34"
    (two / "a/d/other").unlink()
    assert asyncio.run(sync(one, two, delete=True)).complete
    assert tree_of(two) == {"a": b"1"}


def test_nothing_makes_way_where_something_else_failed(tmp_path, monkeypatch):
    one = make_tree(tmp_path / "one", {"a": b"1", "bad": b"2"})
    two = make_tree(tmp_path / "two", {"a/b": b"3"})
    real = Folder.write

    async def write(self, name, *args, **options):
        if name == "bad":
            raise StorageError("no", key=name)
        return await real(self, name, *args, **options)

    monkeypatch.setattr(Folder, "write", write)
    report = asyncio.run(sync(one, two, delete=True))
    assert {event.name for event in report.events if event.kind == "failed"} == {"a", "bad"}
    assert tree_of(two) == {"a/b": b"3"}


def test_empty_folders_make_way_and_links_do_not(tmp_path):
    one = make_tree(tmp_path / "one", {"a": b"1", "b": b"2"})
    two = make_tree(tmp_path / "two", {"x": b"3"})
    (two / "a/deep/er").mkdir(parents=True)
    (two / "b/c").mkdir(parents=True)
    (two / "b/link").symlink_to(tmp_path)
    report = asyncio.run(sync(one, two, delete=True))
    assert [event.name for event in report.events if event.kind == "failed"] == ["b"]
    assert (two / "a").read_bytes() == b"1"
    assert (two / "b/c").is_dir()
    assert (two / "b/link").is_symlink()
    assert (tmp_path / "one").is_dir()


def test_many_files_in_the_place_of_one_and_one_in_the_place_of_many(tmp_path):
    async def scenario():
        many = {f"many/{number:04}/file": b"%d" % number for number in range(300)}
        one = make_tree(tmp_path / "one", {**many, "one": b"1"})
        two = make_tree(tmp_path / "two", {"many": b"m", **{f"one/{number}": b"" for number in range(300)}})
        report = await sync(one, two, delete=True, journal=tmp_path / "journal")
        assert report.complete
        assert (report.counts["copied"], report.counts["deleted"]) == (301, 301)
        assert tree_of(two) == tree_of(one)

    asyncio.run(scenario())


def test_a_store_as_source(tmp_path):
    async def scenario():
        two = make_tree(tmp_path / "two", {"a/b": b"2", "c": b"3"})
        async with MemoryStorageProvider() as store:
            await copy_tree(make_tree(tmp_path / "one", {"a": b"1", "c/d": b"4"}), store)
            assert (await sync(store, two, delete=True)).complete
        assert tree_of(two) == tree_of(tmp_path / "one")

    asyncio.run(scenario())
