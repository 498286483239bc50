"""Backups by time, and logs that leave their folder only once they are safe."""

import os
from datetime import datetime, timedelta

import pytest

from credstore import StorageError, StorageIntegrityError, StorageInvalidRequestError, StorageNotFoundError
from credstore.artifacts import archiving
from tests.artifacts.stores import Store, read, run, write
from tests.proofs.material import START

DAY = timedelta(days=1)


class Clock:
    """Tells the time that it is set to."""

    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "home", {"notes.txt": b"0", "photos/1.raw": bytes(range(256)) * 2000})


def test_backups_thin_out_and_come_back_as_of_a_time(folder, tmp_path):
    clock, store = Clock(), Store()

    async def main():
        manager = store.manager(clock=clock)
        for day in range(40):
            clock.now = START + day * DAY
            write(folder, {"notes.txt": str(day).encode()})
            await manager.backup(folder, keep="7d,4w,12m")
        days = [(each.created - START).days for each in await manager.versions("home", kind="backup")]
        assert days == [24, 30, 31, 33, 34, 35, 36, 37, 38, 39]
        for number, (at, expected) in enumerate([(39, 39), (36, 36), (32, 31), (29, 24)]):
            into = tmp_path / f"out{number}"
            await manager.restore("home", into, at=START + at * DAY)
            assert read(into)["notes.txt"] == str(expected).encode()
        await manager.restore("home", tmp_path / "last")
        assert read(tmp_path / "last") == read(folder)
        with pytest.raises(StorageNotFoundError, match="or before"):
            await manager.restore("home", tmp_path / "none", at=START)
        with pytest.raises(StorageInvalidRequestError, match="zone"):
            await manager.restore("home", tmp_path / "none", at=datetime(2026, 1, 1))  # noqa: DTZ001
        with pytest.raises(StorageInvalidRequestError, match="not both"):
            await manager.restore("home", tmp_path / "none", at=START, version=1)

    run(main())


def test_a_wrong_rule_is_found_before_the_backup(folder):
    store = Store()
    with pytest.raises(StorageInvalidRequestError, match="keep"):
        run(store.manager().backup(folder, keep="7 days"))
    assert store.names() == set()


def test_a_backup_whose_prune_fails_says_that_it_was_made(folder):
    store = Store()

    async def main():
        await store.manager().backup(folder)

        async def fail(_):
            leases = [name for name in store.names() if name.endswith("leases/prune")]
            if leases:
                raise StorageError("no more")

        with pytest.raises(StorageError, match="no more") as caught:
            await store.manager(fail).backup(folder, keep=1)
        assert caught.value.applied == "yes"
        assert [each.version for each in await store.manager().versions("home", kind="backup")] == [1, 2]

    run(main())


@pytest.fixture
def logs(tmp_path):
    """Logs of 0 to 9 days before the clock."""
    folder = tmp_path / "logs"
    for age in range(10):
        write(folder, {f"day{age}.log": f"line {age}\n".encode() * 5000})
        time = (START - age * DAY).timestamp()
        os.utime(folder / f"day{age}.log", (time, time))
    return folder


def test_old_logs_leave_the_folder_once_they_are_in_the_store(logs, tmp_path):
    store, before = Store(), read(logs)

    async def main():
        manager = store.manager(clock=Clock())
        report = await manager.archive_logs(logs, older_than="7d")
        assert report.removed == ("day8.log", "day9.log")
        assert (report.changed, report.version.files) == ((), 2)
        assert set(read(logs)) == before.keys() - set(report.removed)
        second = await manager.archive_logs(logs, older_than=timedelta(days=6, hours=1))
        assert second.removed == ("day7.log",)
        assert (await manager.archive_logs(logs, older_than="7d")).version is None
        await manager.restore("logs", tmp_path / "a", kind="archive", version=1)
        await manager.restore("logs", tmp_path / "b", kind="archive", version=2)
        assert {**read(tmp_path / "a"), **read(tmp_path / "b"), **read(logs)} == before

    run(main())


def test_no_log_is_removed_unless_all_were_read_back(logs):
    store, before = Store(), read(logs)

    async def lose(_):
        """The store acknowledges a version, and loses its packs."""
        if any("/versions/" in name for name in store.names()):
            for name in [name for name in store.names() if "/packs/" in name]:
                store.objects.remove(name)

    with pytest.raises(StorageError):
        run(store.manager(lose, clock=Clock()).archive_logs(logs, older_than="2d"))
    assert read(logs) == before


def test_a_pack_that_was_damaged_after_it_was_stored_keeps_the_logs(logs):
    store, before, damaged = Store(), read(logs), []

    async def damage(_):
        if any("/versions/" in name for name in store.names()) and not damaged:
            for name in [name for name in store.names() if "/packs/" in name]:
                data = bytearray(store.objects.by_key[name].data)
                data[len(data) // 2] ^= 1
                damaged.append(name)
                await Store.manager(store)._provider.store(name, bytes(data), compress=False)

    with pytest.raises(StorageIntegrityError):
        run(store.manager(damage, clock=Clock()).archive_logs(logs, older_than="2d"))
    assert damaged
    assert read(logs) == before


def test_a_log_that_grew_or_was_touched_meanwhile_stays(logs, monkeypatch):
    verify = archiving.verify_stored
    later = (START - timedelta(hours=1)).timestamp()

    async def written_to(*args):
        found = await verify(*args)
        with (logs / "day9.log").open("ab") as more:
            more.write(b"late line\n")
        os.utime(logs / "day8.log", (later, later))
        return found

    monkeypatch.setattr(archiving, "verify_stored", written_to)
    report = run(Store().manager(clock=Clock()).archive_logs(logs, older_than="7d"))
    assert (report.removed, report.changed) == ((), ("day8.log", "day9.log"))
    assert read(logs)["day9.log"].endswith(b"late line\n")


def test_a_backup_keeps_links_as_links_and_empty_folders(folder, tmp_path):
    outside = write(tmp_path / "outside", {"secret": b"1"})
    (folder / "empty" / "inner").mkdir(parents=True)
    (folder / "latest").symlink_to("photos/1.raw")
    (folder / "album").symlink_to("photos", target_is_directory=True)
    (folder / "away").symlink_to(outside)
    (folder / "nowhere").symlink_to("../../gone")
    (folder / "loop").symlink_to("loop")

    async def main():
        manager = Store().manager()
        saved = await manager.backup(folder)
        assert saved.files == 2
        await manager.verify("home", kind="backup")
        out = tmp_path / "out"
        await manager.restore("home", out)
        links = {path.name: str(path.readlink()) for path in out.iterdir() if path.is_symlink()}
        assert links == {
            "latest": "photos/1.raw", "album": "photos", "away": str(outside), "nowhere": "../../gone",
            "loop": "loop",
        }  # fmt: skip
        assert (out / "empty" / "inner").is_dir()
        assert (out / "latest").read_bytes() == (folder / "photos/1.raw").read_bytes()
        (folder / "latest").unlink()
        (folder / "latest").symlink_to("notes.txt")
        await manager.backup(folder)
        assert (await manager.diff("home", 1, kind="backup")).changed == ("latest",)
        with pytest.raises(StorageInvalidRequestError, match="link"):
            await manager.save_dataset("home", folder)

    run(main())
    assert read(outside) == {"secret": b"1"}


def test_permission_bits_come_back_unless_they_are_not_to(folder, tmp_path):
    (folder / "notes.txt").chmod(0o751)

    async def main():
        manager = Store().manager()
        await manager.backup(folder)
        await manager.restore("home", tmp_path / "with")
        await manager.restore("home", tmp_path / "without", permissions=False)

    run(main())
    assert (tmp_path / "with" / "notes.txt").stat().st_mode & 0o777 == 0o751
    assert (tmp_path / "without" / "notes.txt").stat().st_mode & 0o111 == 0


def test_nothing_is_written_through_a_link_that_a_backup_holds(tmp_path, monkeypatch):
    """An index that names a link and a file below it: the file comes first, and the link cannot be made."""
    from credstore.artifacts import saving

    outside = tmp_path / "outside"
    outside.mkdir()
    folder = write(tmp_path / "home", {"a/b": b"1"})
    store = Store()

    async def main():
        manager = store.manager()
        real = saving.encode_index

        def planted(files):
            link = saving.FileEntry("a", 0, bytes(32), 0o777, 0, (), "link", str(outside))
            return real([link, *files])

        monkeypatch.setattr(saving, "encode_index", planted)
        with pytest.raises(StorageInvalidRequestError, match="cannot be kept"):
            await manager.backup(folder)
        monkeypatch.setattr(saving, "check_index", lambda *_: None)  # As whoever plants it would.
        await manager.backup(folder)
        with pytest.raises(StorageError):
            await manager.restore("home", tmp_path / "out")

    run(main())
    assert list(outside.iterdir()) == []
    assert not (tmp_path / "out").exists()
