"""Names that one side cannot hold: called otherwise on request, the same each time, and brought back."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore import MemoryStorageProvider, StorageInvalidRequestError
from credstore.transfer import Under, compare, copy_tree, migrate, sync
from credstore.transfer.disks import ignores_case
from credstore.transfer.mapping import Held, Names, called_for
from credstore.transfer.places import side_of
from tests.transfer.ends import content, tree_of

ODD = {
    "a//b": b"1",
    "a/b\\c/": b"2",
    "plain": b"3",
    "plain/below": b"4",
    "plain/deep/er": b"5",
    "x" * 300: b"6",
    "fits/well": b"7",
    "/first": b"8",
}


async def filled(store, tree):
    for name, data in tree.items():
        await store.store(name, data)


def test_odd_names_go_to_a_folder_and_come_back(tmp_path):
    async def run():
        mapping, folder = tmp_path / "mapping", tmp_path / "f"
        async with MemoryStorageProvider() as one, MemoryStorageProvider() as two:
            await filled(one, ODD)
            refused = await copy_tree(one, tmp_path / "other")
            assert refused.counts["refused"] == 6
            events = []
            report = await migrate(one, folder, mapping=mapping, on_event=events.append)
            assert report.complete
            renamed = {event.name: event.detail for event in events if event.kind == "renamed"}
            assert len(renamed) == 6
            kinds = [event.kind for event in events]
            assert max(i for i, kind in enumerate(kinds) if kind == "renamed") < kinds.index("copied")
            assert tree_of(folder) == {renamed.get(name, name): data for name, data in ODD.items()}
            lines = [json.loads(line) for line in mapping.read_text().splitlines()]
            assert {line["name"]: line["as"] for line in lines} == renamed
            again = await sync(one, folder, mapping=mapping, delete=True)
            assert again.counts == {"same": len(ODD)}
            assert (await compare(one, folder, mapping=mapping, checksum=True)).equal
            assert (await migrate(folder, two, mapping=mapping, delete_source=True)).complete
            assert await content(two) == ODD
            assert tree_of(folder) == {}

    asyncio.run(run())


def test_names_that_no_key_can_have_go_to_a_store_and_come_back(tmp_path):
    async def run():
        tree = {"tab\there": b"1", "y" * 200 + "/" + "z" * 200: b"2", "good": b"3"}
        for name, data in tree.items():
            (tmp_path / "a" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "a" / name).write_bytes(data)
        mapping = tmp_path / "mapping"
        async with MemoryStorageProvider() as store:
            deep = Under(store, "p" * 700 + "/")
            assert (await sync(tmp_path / "a", deep, mapping=mapping)).complete
            assert "good" in await content(deep)
            assert (await sync(deep, tmp_path / "b", mapping=mapping)).complete
            assert tree_of(tmp_path / "b") == tree
            with_new = {"counts": (await sync(tmp_path / "a", deep, mapping=mapping)).counts}
            assert with_new == {"counts": {"same": 3}}

    asyncio.run(run())


def test_what_is_taken_is_refused_and_nothing_is_overwritten(tmp_path):
    async def run():
        called = called_for("a//b", side_of(tmp_path).unfit)
        async with MemoryStorageProvider() as one:
            await filled(one, {"a//b": b"odd", called: b"natural"})
            report = await copy_tree(one, tmp_path / "f", mapping=tmp_path / "m")
            assert [event.kind for event in report.events] == ["refused"]
            assert tree_of(tmp_path / "f") == {called: b"natural"}
            assert not (tmp_path / "m").exists()
            await one.delete(called)
            report = await copy_tree(one, tmp_path / "f", mapping=tmp_path / "m")
            assert "already" in report.events[0].detail
            assert tree_of(tmp_path / "f") == {called: b"natural"}

    asyncio.run(run())


def test_a_dry_run_writes_no_mapping(tmp_path):
    async def run():
        async with MemoryStorageProvider() as one:
            await filled(one, ODD)
            report = await copy_tree(one, tmp_path / "f", mapping=tmp_path / "m", dry_run=True)
            assert report.counts["renamed"] == 6
        assert not (tmp_path / "m").exists()

    asyncio.run(run())


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"name": "a"}', '{"name": "a", "as": "b", "x": 1}', '{"name": 1, "as": "b"}', "\u00e4",
     '{"name": "a", "as": "c"}\n{"name": "b", "as": "c"}', '{"name": "a", "as": "b"}\n{"name": "b", "as": "c"}',
     '{"name": "a", "as": "b"}\n{"name": "a", "as": "c"}'],
)  # fmt: skip
def test_what_is_no_mapping_is_refused(text, tmp_path):
    (tmp_path / "m").write_text(text)
    (tmp_path / "a").mkdir()
    with pytest.raises(StorageInvalidRequestError):
        asyncio.run(copy_tree(tmp_path / "a", tmp_path / "b", mapping=tmp_path / "m"))


@given(st.lists(st.text(st.sampled_from("a/.~\n\\") | st.characters(codec="utf-8"), max_size=9), unique=True))
def test_every_name_comes_back(names):
    def unfit(name):
        parts = name.split("/")
        return "odd" if not name or {"", ".", ".."} & set(parts) or not name.isprintable() else None

    mapping, held = Names(), Held(unfit, branches=True)
    held.names = mapping
    for name in names:
        if unfit(name) is not None:
            mapping.add(name, called_for(name, unfit))
    for name in names:
        called = held.called(name)
        if unfit(name) is None or name in mapping:
            assert unfit(called) is None
            assert held.name_of(called) == name


SPELLED = {
    "A.txt": b"1",
    "Dir/x": b"2",
    "a.txt": b"3",
    "b": b"4",
    "caf\u00e9": b"5",
    "cafe\u0301": b"6",
    "dir/X": b"7",
    "dir/y": b"8",
}


def test_names_that_a_disk_confuses_are_refused_or_called_otherwise(tmp_path, monkeypatch):
    monkeypatch.setattr("credstore.transfer.folder.ignores_case", lambda path: True)

    async def run():
        mapping, folder = tmp_path / "mapping", tmp_path / "f"
        async with MemoryStorageProvider() as one, MemoryStorageProvider() as two:
            await filled(one, SPELLED)
            events = []
            report = await migrate(one, tmp_path / "g", on_event=events.append)
            refused = [event.name for event in events if event.kind == "refused"]
            assert refused == ["a.txt", "caf\u00e9", "dir/X"]
            assert [event.name for event in report.events] == refused
            kinds = [event.kind for event in events]
            assert max(i for i, kind in enumerate(kinds) if kind == "refused") < kinds.index("copied")
            assert tree_of(tmp_path / "g").keys() == SPELLED.keys() - set(refused)
            assert (await migrate(one, folder, mapping=mapping)).counts["renamed"] == 3
            names = [name.casefold() for name in tree_of(folder)]
            assert len(set(names)) == len(SPELLED)
            assert (await sync(one, folder, mapping=mapping, delete=True)).counts == {"same": len(SPELLED)}
            assert (await migrate(folder, two, mapping=mapping)).complete
            assert await content(two) == SPELLED

    asyncio.run(run())


def test_whether_a_disk_ignores_case_is_seen_by_what_is_there(tmp_path, monkeypatch):
    (tmp_path / "1").mkdir()
    assert not ignores_case(tmp_path / "1/not/there")
    (tmp_path / "2").mkdir()
    (tmp_path / "2/a").write_bytes(b"")
    (tmp_path / "2/A").hardlink_to(tmp_path / "2/a")
    assert not ignores_case(tmp_path / "2")
    before = sorted(tmp_path.rglob("*"))
    lstat = type(tmp_path).lstat
    monkeypatch.setattr(type(tmp_path), "lstat", lambda path: lstat(tmp_path))
    assert ignores_case(tmp_path / "1/not/there")
    assert sorted(tmp_path.rglob("*")) == before
