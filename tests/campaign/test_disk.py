"""The model of a disk: what was flushed stays, anything else may be lost, and a whole log is what really happened."""

import random
from pathlib import Path

import pytest

from tests.campaign.cuts import history
from tests.campaign.disk import Disk, flushed, kept
from tests.campaign.oplog import ROOT, Data, Entry, Flush, Log, Op
from tests.drivers.local.steps import draw

FILE, FOLDER = 1, 2
CREATED = Entry(ROOT, {}, "temporary", FILE)
WRITTEN = Data(FILE, {}, 0, b"bytes")
FILE_FLUSHED, ROOT_FLUSHED, FOLDER_FLUSHED = Flush(FILE, {}), Flush(ROOT, {}), Flush(FOLDER, {})
MADE = Entry(ROOT, {}, "folder", FOLDER)


def log_of(*ops: Op) -> Log:
    return Log(list(ops), inodes={ROOT: 10, FILE: 11, FOLDER: 12}, folders={ROOT, FOLDER})


def states(log: Log) -> set[tuple[tuple[str, bytes], ...]]:
    """Everything that 500 cuts after the log leave, as names with bytes."""

    def tree(disk: Disk, folder: int, path: str):
        for name, number in sorted(disk.folders[folder].items()):
            if number in disk.folders:
                yield f"{path}{name}/", b""
                yield from tree(disk, number, f"{path}{name}/")
            else:
                yield f"{path}{name}", bytes(disk.files[number].data)

    cuts = (kept(log, len(log.ops), random.Random(number)) for number in range(500))
    return {tuple(tree(Disk.of(log, ops), ROOT, "")) for ops in cuts}


def test_what_was_not_flushed_is_there_in_part_or_not_at_all():
    found = states(log_of(CREATED, WRITTEN))
    assert {(), (("temporary", b""),), (("temporary", b"bytes"),), (("temporary", bytes(5)),)} <= found
    assert (("temporary", b"by"),) in found


def test_a_flush_keeps_what_came_before_of_that_file_alone():
    assert states(log_of(CREATED, WRITTEN, FILE_FLUSHED)) == {(), (("temporary", b"bytes"),)}
    assert states(log_of(CREATED, WRITTEN, FILE_FLUSHED, ROOT_FLUSHED)) == {(("temporary", b"bytes"),)}
    assert flushed(log_of(CREATED, FILE_FLUSHED, WRITTEN, ROOT_FLUSHED), 4) == {0}
    assert flushed(log_of(CREATED, ROOT_FLUSHED), 1) == set()


def test_a_file_in_a_directory_that_is_not_on_the_disk_is_lost():
    inside = Entry(FOLDER, {}, "k", FILE)
    whole = (("folder/", b""), ("folder/k", b"bytes"))
    assert states(log_of(MADE, inside, WRITTEN, FILE_FLUSHED, FOLDER_FLUSHED)) == {(), whole}
    assert states(log_of(MADE, inside, WRITTEN, FILE_FLUSHED, FOLDER_FLUSHED, ROOT_FLUSHED)) == {whole}


def test_a_rename_leaves_the_old_name_the_new_one_or_both():
    start = (CREATED, WRITTEN, FILE_FLUSHED, ROOT_FLUSHED)
    renamed = (Entry(ROOT, {}, "k", FILE), Entry(ROOT, {}, "temporary", None, needs=4))
    old, new = ("temporary", b"bytes"), ("k", b"bytes")
    assert states(log_of(*start, *renamed)) == {(old,), (new, old), (new,)}
    assert states(log_of(*start, *renamed, ROOT_FLUSHED)) == {(new,)}


@pytest.mark.parametrize("seed", range(6))
def test_a_log_without_a_cut_is_the_directory_that_was_worked_on(tmp_path, seed):
    root = tmp_path / "root"
    log = history(root, random.Random(seed))
    Disk.of(log, {at: op for at, op in enumerate(log.ops) if isinstance(op, Op)}).write(
        tmp_path / "disk", log
    )

    def files(top: Path) -> dict[str, tuple[int, int]]:
        paths = (path for path in top.rglob("*") if path.is_file())
        return {
            str(path.relative_to(top)): (path.stat().st_size, path.stat().st_mtime_ns)
            for path in paths
            if ".credstore" not in path.parts
        }

    assert files(tmp_path / "disk") == files(root)
    assert sorted(path.relative_to(root) for path in root.rglob("*")) == sorted(
        path.relative_to(tmp_path / "disk") for path in (tmp_path / "disk").rglob("*")
    )
    assert len(log.ops) > 50


def test_the_steps_are_of_every_kind():
    chance = random.Random(1)
    assert {draw(chance).verb for _ in range(100)} == {"put", "create", "copy", "move", "delete"}
