"""Transfers end to end, between every two kinds of place."""

import asyncio
import os
import sqlite3
import stat
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from credstore import (
    ClientSide,
    KeyRing,
    LocalConfig,
    LocalKey,
    LocalStorageProvider,
    MemoryStorageProvider,
    StorageError,
    StorageInvalidRequestError,
    train_dictionary,
)
from credstore.errors import (
    StorageAccessDeniedError,
    StorageAuthenticationError,
    StorageConfigurationError,
    StorageConflictError,
    StorageIntegrityError,
    StorageQuotaExceededError,
    StorageUnavailableError,
)
from credstore.provider.presets import provider_for
from credstore.transfer import Alone, Under, compare, copy_tree, journal_name, migrate, sync
from credstore.transfer.folder import Folder
from credstore.transfer.planning import Goal
from credstore.transfer.store import Store
from tests.drivers.s3.support import minio_config
from tests.transfer.ends import TREE, content, end_of, make_tree, run_of, tree_of

KINDS = ["folder", "memory", "local", "part", "s3"]


def lines(report, kind):
    return [(event.name, event.detail) for event in report.events if event.kind == kind]


async def _matrix(source, destination, tmp_path, s3_server):
    async with (
        end_of(source, tmp_path, s3_server, "one") as one,
        end_of(destination, tmp_path, s3_server, "two") as two,
    ):
        make_tree(tmp_path / "seed")
        await copy_tree(tmp_path / "seed", one)
        journal = tmp_path / "journal"
        report = await migrate(one, two, journal=journal)
        assert report.complete
        assert report.counts["copied"] == len(TREE)
        assert await content(two) == TREE
        again = await sync(one, two, journal=journal)
        assert again.counts == {"same": len(TREE)}
        assert again.compared_by == {"journal": len(TREE)}
        for checksum in (False, True):
            assert (await compare(one, two, checksum=checksum)).equal
        await _change(one)
        seen = await compare(one, two)
        assert (seen.counts["differing"], seen.counts["missing"], seen.counts["extra"]) == (1, 1, 1)
        report = await sync(one, two, delete=True, journal=journal)
        assert report.complete
        assert report.counts["deleted"] == 1
        assert await content(two) == await content(one)
        assert "a" not in await content(two)


async def _change(place):
    if isinstance(place, Path):
        (place / "a").unlink()
        (place / "z").write_bytes(b"other")
        (place / "new").write_bytes(b"new")
        return
    under = place if isinstance(place, Under) else Under(place)
    await under.provider.delete(under.prefix + "a")
    await under.provider.store(under.prefix + "z", b"other")
    await under.provider.store(under.prefix + "new", b"new")


@pytest.mark.parametrize("destination", KINDS)
@pytest.mark.parametrize("source", KINDS)
def test_from_every_kind_of_place_to_every_other(source, destination, tmp_path, s3_server):
    asyncio.run(_matrix(source, destination, tmp_path, s3_server))


def test_times_survive_a_store(tmp_path):
    async def run():
        make_tree(tmp_path / "a")
        os.utime(tmp_path / "a/z", ns=(0, 1_234_567_890_123_456_789))
        async with MemoryStorageProvider() as one, MemoryStorageProvider() as two:
            await copy_tree(tmp_path / "a", one)
            await copy_tree(one, two)
            await copy_tree(two, tmp_path / "b")
        for name in TREE:
            assert (tmp_path / "a" / name).stat().st_mtime_ns == (tmp_path / "b" / name).stat().st_mtime_ns
        assert tree_of(tmp_path / "b") == TREE

    asyncio.run(run())


def test_what_is_kept_with_an_object_travels_or_is_named(tmp_path, s3_server):
    async def run():
        options = {
            "content_type": "text/x", "cache_control": "no-store", "content_disposition": "inline",
            "content_language": "de", "metadata": {"who": "me"}, "tags": {"t": "1"}, "compress": "zstd",
        }  # fmt: skip
        async with MemoryStorageProvider() as one, end_of("s3", tmp_path, s3_server) as two:
            await one.store("k", b"plain" * 100, **options)
            report = await copy_tree(one, two)
            assert not report.lost
            mine, theirs = await one.get_metadata("k"), await two.get_metadata("k")
            for name in ("content_type", "cache_control", "content_disposition", "content_language"):
                assert getattr(mine, name) == getattr(theirs, name)
            assert (mine.compression, mine.size, mine.digest) == (
                theirs.compression,
                theirs.size,
                theirs.digest,
            )
            assert theirs.metadata["who"] == "me"
            assert await two._session.driver.get_tags("k") == {"t": "1"}
            back = await copy_tree(two, tmp_path / "out")
            assert set(back.lost) == {
                "metadata", "tags", "cache_control", "content_disposition", "content_language",
            }  # fmt: skip
            assert (tmp_path / "out/k").read_bytes() == b"plain" * 100

    asyncio.run(run())


def test_a_dictionary_goes_with_the_objects_that_need_it():
    async def run():
        samples = [b'{"claim": "%d", "issuer": "news.example", "kind": "photo"}' % n for n in range(400)]
        dictionary = train_dictionary(samples, size=2_000)
        async with MemoryStorageProvider() as one, MemoryStorageProvider() as two:
            await one.store("k", samples[0], dictionary=dictionary)
            assert (await copy_tree(one, two)).complete
            assert await two.retrieve("k") == samples[0]
            assert (await two.get_metadata("k")).dictionary == dictionary.name

    asyncio.run(run())


def test_a_copy_inside_a_store_needs_the_dictionary_there(tmp_path):
    async def main():
        samples = [f'{{"claim": "original", "number": {number}}}'.encode() * 3 for number in range(200)]
        dictionary = train_dictionary(samples, size=2_000)
        config = LocalConfig(path=str(tmp_path / "root"))
        async with (
            LocalStorageProvider(config) as whole,
            LocalStorageProvider(replace(config, prefix="a")) as part,
        ):
            await part.store("k", samples[0], dictionary=dictionary)
            report = await copy_tree(Under(whole, "a/"), Under(whole, "b/"))
            [failed] = [event for event in report.events if event.kind == "failed"]
            assert (failed.name, failed.error.code) == ("k", "DICTIONARY_MISSING")
            assert not await whole.exists("b/k")
            await whole.store("a/l", samples[1], dictionary=dictionary)
            report = await copy_tree(Under(whole, "a/"), Under(whole, "b/"))
            assert report.complete
            assert await whole.retrieve("b/k") == samples[0]

    asyncio.run(main())


@pytest.mark.parametrize("sealed", ["source", "destination", "both"])
def test_encrypted_objects_are_decrypted_and_encrypted_for_their_new_place(sealed):
    def policy(store_id):
        return ClientSide(KeyRing(LocalKey(bytes(32))), store_id=store_id)

    async def run():
        first = {"encryption": policy("one")} if sealed != "destination" else {}
        second = {"encryption": policy("two")} if sealed != "source" else {}
        async with MemoryStorageProvider(**first) as one, MemoryStorageProvider(**second) as two:
            await one.store("k", b"secret" * 20_000, compress="gzip", metadata={"a": "b"})
            assert (await migrate(one, two)).complete
            assert await two.retrieve("k") == b"secret" * 20_000
            item = await two.get_metadata("k")
            assert item.client_side == (sealed != "source")
            assert item.metadata["a"] == "b"
            assert (await compare(one, two, checksum=True)).equal

    asyncio.run(run())


def test_another_programs_gzip_can_still_be_read(tmp_path, s3_server):
    import gzip

    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=s3_server.url,
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="s",
    )
    client.put_object(
        Bucket=s3_server.bucket, Key="end/k", Body=gzip.compress(b"plain"), ContentEncoding="gzip"
    )

    async def run():
        async with end_of("s3", tmp_path, s3_server) as one, MemoryStorageProvider() as two:
            assert await one.retrieve("k") == b"plain"
            assert (await copy_tree(one, two)).complete
            assert await two.retrieve("k") == b"plain"

    asyncio.run(run())


@pytest.mark.parametrize("overwrite", ["never", "newer", "different", "always"])
def test_overwrite(overwrite, tmp_path):
    async def run():
        make_tree(tmp_path / "a", {"newer": b"A", "older": b"A", "same": b"S", "none": b"N"})
        make_tree(tmp_path / "b", {"newer": b"BB", "older": b"BB", "same": b"S"})
        for name, one, two in (("newer", 2, 1), ("older", 1, 2), ("same", 1, 1)):
            os.utime(tmp_path / "a" / name, (one, one))
            os.utime(tmp_path / "b" / name, (two, two))
        report = await copy_tree(tmp_path / "a", tmp_path / "b", overwrite=overwrite)
        wanted = {
            "never": {"newer": b"BB", "older": b"BB"},
            "newer": {"newer": b"A", "older": b"BB"},
            "different": {"newer": b"A", "older": b"A"},
            "always": {"newer": b"A", "older": b"A"},
        }[overwrite]
        assert tree_of(tmp_path / "b") == {**wanted, "same": b"S", "none": b"N"}
        assert report.counts["copied"] == {"never": 1, "newer": 2, "different": 3, "always": 4}[overwrite]

    asyncio.run(run())


def test_a_dry_run_and_a_plan_that_is_not_approved_change_nothing(tmp_path):
    async def run():
        make_tree(tmp_path / "a")
        make_tree(tmp_path / "b", {"extra": b"1"})
        plans = []
        for options in ({"dry_run": True}, {"approve": plans.append}):
            report = await sync(tmp_path / "a", tmp_path / "b", delete=True, **options)
            assert report.dry_run
            assert report.counts == {"missing": len(TREE), "extra": 1}
            assert (report.plan.copies, report.plan.deletions) == (len(TREE), 1)
            assert tree_of(tmp_path / "b") == {"extra": b"1"}
        assert len(plans) == 1

    asyncio.run(run())


def test_belts(tmp_path):
    async def run():
        make_tree(tmp_path / "a", {"one": b"1" * 10, "two": b"2" * 10})
        make_tree(tmp_path / "b", {"x": b"", "y": b"", "one": b"1" * 10})
        with pytest.raises(StorageInvalidRequestError, match="max_delete"):
            await sync(tmp_path / "a", tmp_path / "b", delete=True, max_delete=1)
        assert set(tree_of(tmp_path / "b")) == {"one", "x", "y"}
        (tmp_path / "none").mkdir()
        with pytest.raises(StorageInvalidRequestError, match="empty"):
            await sync(tmp_path / "none", tmp_path / "b", delete=True)
        report = await sync(tmp_path / "a", tmp_path / "c", max_transfer=15)
        assert report.counts["left"] == 1
        assert not report.complete
        assert len(tree_of(tmp_path / "c")) == 1
        await sync(tmp_path / "none", tmp_path / "b", delete=True, max_delete=10)
        assert tree_of(tmp_path / "b") == {}

    asyncio.run(run())


def test_filters_hold_at_both_ends(tmp_path):
    async def run():
        make_tree(tmp_path / "a", {"k.jpg": b"1", "k.txt": b"2", "tmp/x.jpg": b"3"})
        make_tree(tmp_path / "b", {"old.jpg": b"", "old.txt": b""})
        report = await sync(tmp_path / "a", tmp_path / "b", delete=True, include=["*.jpg"], exclude=["tmp/"])
        assert report.complete
        assert tree_of(tmp_path / "b") == {"k.jpg": b"1", "old.txt": b""}
        report = await copy_tree(tmp_path / "a", tmp_path / "c", files_from=["k.txt", "missing"])
        assert tree_of(tmp_path / "c") == {"k.txt": b"2"}
        assert lines(report, "failed") == [("missing", "the source has no such object")]

    asyncio.run(run())


def test_names_one_side_cannot_hold_are_named_before_anything_moves(tmp_path):
    async def run():
        async with MemoryStorageProvider() as store:
            for key in ("a", "a/b", "fine", "x" * 300, "marker/", "b//c"):
                await store.store(key, b"" if key.endswith("/") else b"1")
            seen = []
            report = await copy_tree(store, tmp_path / "b", on_event=lambda event: seen.append(event.kind))
            assert [name for name, _ in lines(report, "refused")] == ["a/b", "b//c", "x" * 300]
            assert set(tree_of(tmp_path / "b")) == {"a", "fine"}
            assert report.counts["skipped"] == 1
            assert max(i for i, kind in enumerate(seen) if kind == "refused") < seen.index("copied")
            # The other way: names of files that no key can be.
            odd = tmp_path / "odd"
            make_tree(odd, {"fine": b"1", ".credstore-x/.credstore": b""})
            (odd / "line\nbreak").write_bytes(b"")
            Path(os.fsdecode(os.fsencode(odd) + b"/\xff")).write_bytes(b"")
            report = await copy_tree(odd, Under(store, "odd/"))
            assert len(lines(report, "refused")) == 3
            assert report.counts["copied"] == 1

    asyncio.run(run())


def test_links_pipes_and_loops(tmp_path):
    async def run():
        make_tree(tmp_path / "a", {"d/f": b"1"})
        (tmp_path / "a/loop").symlink_to(tmp_path / "a")
        (tmp_path / "a/d/to").symlink_to("f")
        (tmp_path / "a/dangling").symlink_to("nowhere")
        os.mkfifo(tmp_path / "a/pipe")
        report = await copy_tree(tmp_path / "a", tmp_path / "b")
        assert report.complete
        assert report.counts["skipped"] == 4
        assert tree_of(tmp_path / "b") == {"d/f": b"1"}
        report = await copy_tree(tmp_path / "a", tmp_path / "c", links="follow")
        assert tree_of(tmp_path / "c") == {"d/f": b"1", "d/to": b"1"}
        assert {name for name, _ in lines(report, "refused")} == {"loop/", "dangling"}

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["memory", "local", "folder"])
def test_what_keeps_an_object_keeps_its_copy_on_request(kind, tmp_path):
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)

    async def run():
        async with MemoryStorageProvider() as one, end_of(kind, tmp_path) as two:
            await one.store("timed", b"1", retain_until=until)
            await one.store("held", b"2", legal_hold=True)
            await one.store("free", b"3")
            report = await copy_tree(one, two, keep_retention=True)
            assert report.complete
            if kind == "folder":
                assert report.lost["retention"] == 2
                return
            assert "retention" not in report.lost
            found = [await two.get_retention(name) for name in ("timed", "held", "free")]
            assert [(each.retain_until, each.legal_hold) for each in found] == [
                (until, False),
                (None, True),
                (None, False),
            ]

    asyncio.run(run())


def test_links_are_refused_on_request(tmp_path):
    async def run():
        make_tree(tmp_path / "a", {"f": b"1"})
        (tmp_path / "a/to").symlink_to("f")
        report = await copy_tree(tmp_path / "a", tmp_path / "b", links="error")
        assert [name for name, _ in lines(report, "refused")] == ["to"]
        assert tree_of(tmp_path / "b") == {"f": b"1"}

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["folder", "memory", "local", "s3"])
def test_empty_folders_are_kept_on_request(kind, tmp_path, s3_server):
    def folders(path):
        return {each.relative_to(path).as_posix() for each in path.rglob("*") if each.is_dir()}

    async def run():
        make_tree(tmp_path / "a", {"full/f": b"1"})
        (tmp_path / "a/none/below").mkdir(parents=True)
        (tmp_path / "a/bare").mkdir()
        async with end_of(kind, tmp_path, s3_server) as place:
            report = await copy_tree(tmp_path / "a", place)
            assert (report.counts["skipped"], report.counts["copied"]) == (2, 1)
            report = await copy_tree(tmp_path / "a", place, empty_folders=True)
            assert (report.complete, report.counts["copied"]) == (True, 2)
            assert (await sync(tmp_path / "a", place, empty_folders=True)).counts == {"same": 3}
            assert (await sync(place, tmp_path / "c", empty_folders=True)).complete
            assert folders(tmp_path / "c") == folders(tmp_path / "a")
            (tmp_path / "a/bare").rmdir()
            report = await sync(tmp_path / "a", place, delete=True, empty_folders=True)
            assert report.counts["deleted"] == 1
            await sync(place, tmp_path / "c", delete=True, empty_folders=True)
            assert folders(tmp_path / "c") == folders(tmp_path / "a")

    asyncio.run(run())


def test_nothing_is_written_through_a_link_that_leads_out(tmp_path):
    async def run():
        make_tree(tmp_path / "a", {"d/f": b"1"})
        (tmp_path / "out").mkdir()
        (tmp_path / "b").mkdir()
        (tmp_path / "b/d").symlink_to(tmp_path / "out")
        report = await copy_tree(tmp_path / "a", tmp_path / "b")
        assert [type(event.error) for event in report.events] == [StorageAccessDeniedError]
        assert tree_of(tmp_path / "out") == {}

    asyncio.run(run())


def test_a_missing_folder_and_the_root_of_a_store_are_refused(tmp_path):
    async def run():
        with pytest.raises(StorageInvalidRequestError, match="there is no folder"):
            await copy_tree(tmp_path / "none", tmp_path / "b")
        assert not (tmp_path / "b").exists()
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(StorageInvalidRequestError, match="not a folder"):
            await copy_tree(tmp_path / "file", tmp_path / "b")
        async with end_of("local", tmp_path, name="store") as store:
            await store.store("k", b"1")
            for pair in ((tmp_path / "store", tmp_path / "b"), (tmp_path, tmp_path / "store")):
                with pytest.raises(StorageInvalidRequestError, match=r"file:///|inside the other"):
                    await copy_tree(*pair)
            with pytest.raises(StorageInvalidRequestError, match="inside the other"):
                await copy_tree(tmp_path, store)

    asyncio.run(run())


def test_one_place_inside_the_other_is_refused(tmp_path):
    async def run():
        make_tree(tmp_path / "a")
        (tmp_path / "link").symlink_to(tmp_path / "a")
        async with MemoryStorageProvider() as store, MemoryStorageProvider() as other:
            for one, two in (
                (tmp_path / "a", tmp_path / "a/b"),
                (tmp_path / "a/deep", tmp_path / "a"),
                (tmp_path / "link", tmp_path / "a"),
                (store, Under(store, "x/")),
                (Under(store, "x/"), Under(store, "x/y/")),
            ):
                with pytest.raises(StorageInvalidRequestError, match="inside the other"):
                    await copy_tree(one, two)
            assert (await copy_tree(store, other)).complete
            assert (await copy_tree(Under(store, "x/"), Under(store, "y/"))).complete

    asyncio.run(run())


def test_a_file_that_grows_shrinks_or_vanishes_is_named_and_not_half_written(tmp_path, monkeypatch):
    async def run():
        names = ["grow", "large", "shrink", "stays", "vanish"]
        make_tree(tmp_path / "a", dict.fromkeys(names, b"x" * 100))
        make_tree(tmp_path / "a", {"large": b"x" * 2_000_000})
        hashed = Folder._hashed

        def change(side, name, *, keep):
            path = side.path / name
            if name == "vanish":
                path.unlink(missing_ok=True)
            found = hashed(side, name, keep=keep)
            if name == "large":
                os.truncate(path, 10)
            return found

        real = os.fstat

        def fstat(fd):
            found = real(fd)
            where = str(Path(f"/proc/self/fd/{fd}").readlink())
            if where.endswith("/grow") and found.st_size == 100:
                with (tmp_path / "a/grow").open("ab") as file:
                    file.write(b"more")
            if where.endswith("/shrink") and found.st_size == 100:
                os.truncate(where, 1)
            return found

        monkeypatch.setattr(Folder, "_hashed", change)
        monkeypatch.setattr(os, "fstat", fstat)
        async with MemoryStorageProvider() as store:
            run = run_of(tmp_path / "a", store)
            run._sleep = lambda seconds: asyncio.sleep(0)
            report = await run.report()
            failed = {event.name for event in report.events if event.kind == "failed"}
            # What grows and shrinks once is read whole when it is read again.
            assert "vanish" in failed
            have = await content(store)
            assert have["stays"] == b"x" * 100
            for name in ("grow", "shrink"):
                assert have.get(name) == (tmp_path / "a" / name).read_bytes()
            assert have.get("large", b"x" * 10) == b"x" * 10

    asyncio.run(run())


def test_a_folder_that_cannot_be_read_is_named_and_nothing_is_deleted(tmp_path, monkeypatch):
    async def run():
        make_tree(tmp_path / "a", {"closed/x": b"1", "open": b"1"})
        make_tree(tmp_path / "b", {"closed/x": b"1", "old": b"1"})
        real = os.scandir

        def scandir(path):
            if str(path) == str(tmp_path / "a/closed"):
                raise PermissionError(13, "Permission denied")
            return real(path)

        monkeypatch.setattr(os, "scandir", scandir)
        report = await sync(tmp_path / "a", tmp_path / "b", delete=True)
        assert [name for name, _ in lines(report, "refused")] == ["closed/"]
        assert report.counts["left"] == 1
        assert set(tree_of(tmp_path / "b")) == {"closed/x", "old", "open"}

    asyncio.run(run())


def test_a_full_disk_ends_the_run_and_leaves_nothing_half_written(tmp_path, monkeypatch):
    async def run():
        make_tree(tmp_path / "a", {f"f{n}": b"x" * n for n in range(20)})
        import credstore.files

        real = credstore.files.write_all

        def write_all(fd, data):
            if len(data) == 7:
                raise OSError(28, "No space left on device")
            real(fd, data)

        monkeypatch.setattr(credstore.files, "write_all", write_all)
        with pytest.raises(StorageQuotaExceededError):
            await copy_tree(tmp_path / "a", tmp_path / "b", journal=tmp_path / "j")
        for name, data in tree_of(tmp_path / "b").items():
            assert data == (tmp_path / "a" / name).read_bytes()
        monkeypatch.undo()
        report = await copy_tree(tmp_path / "a", tmp_path / "b", journal=tmp_path / "j")
        assert report.resumed
        assert report.complete
        assert tree_of(tmp_path / "b") == tree_of(tmp_path / "a")

    asyncio.run(run())


def failing(monkeypatch, store, verb, error, times):
    """Let a verb of a provider fail so often."""
    real = getattr(type(store), verb)
    left = [times]

    async def fail(self, *args, **kwargs):
        if self is store and left[0]:
            left[0] -= 1
            raise error
        return await real(self, *args, **kwargs)

    monkeypatch.setattr(type(store), verb, fail)


def test_what_fails_for_a_while_is_done_again_and_more_slowly(tmp_path, monkeypatch):
    async def run():
        make_tree(tmp_path / "a")
        waits = []

        async def sleep(seconds):
            waits.append(seconds)

        async with MemoryStorageProvider() as store:
            failing(monkeypatch, store, "store", StorageUnavailableError("busy", retry_after=7.0), 2)
            run = run_of(tmp_path / "a", store)
            run._sleep = sleep
            report = await run.report()
            assert report.complete
            assert waits == [7.0, 7.0]
            assert run._pace.width < 8

    asyncio.run(run())


def test_wrong_credentials_at_one_end_are_one_error(tmp_path, monkeypatch):
    async def run():
        make_tree(tmp_path / "a", {f"f{n:03}": b"x" for n in range(100)})
        async with MemoryStorageProvider() as store:
            failing(monkeypatch, store, "store", StorageAuthenticationError("wrong"), 1000)
            seen = []
            with pytest.raises(StorageAuthenticationError):
                await copy_tree(tmp_path / "a", store, on_event=lambda event: seen.append(event.kind))
            assert set(seen) == {"missing"}

    asyncio.run(run())


@pytest.mark.parametrize("destination", ["folder", "memory", "s3"])
def test_a_copy_that_is_not_what_was_read_is_found(destination, tmp_path, s3_server, monkeypatch):
    """The destination acknowledges, and has something else."""

    async def run():
        make_tree(tmp_path / "a", {"good": b"1", "bad": b"x" * 50})
        async with end_of(destination, tmp_path, s3_server) as two:
            if destination == "folder":
                real = os.pread
                monkeypatch.setattr(os, "pread", lambda fd, n, at: real(fd, n, at).replace(b"x", b"y"))
            else:
                real_store = type(two).store

                async def store(self, key, data, **options):
                    return await real_store(self, key, data.replace(b"x", b"y"), **options)

                monkeypatch.setattr(type(two), "store", store)
            report = await migrate(tmp_path / "a", two, delete_source=True)
            (event,) = [event for event in report.events if event.kind == "failed"]
            assert isinstance(event.error, StorageIntegrityError)
            assert event.error.code == "COPY_DIFFERS"
            assert set(tree_of(tmp_path / "a")) == {"bad"}

    asyncio.run(run())


@pytest.mark.parametrize(("there", "code"), [(b"x" * 50, None), (b"theirs", "PRECONDITION_FAILED")])
def test_another_etag_is_that_of_another_replica_unless_the_bytes_differ(there, code, tmp_path, monkeypatch):
    """Several stores as one return an etag of one of them, and may be read from another."""

    async def run():
        make_tree(tmp_path / "a", {"k": b"x" * 50})
        async with MemoryStorageProvider() as two:
            real = type(two).store

            async def store(self, key, data, **options):
                result = await real(self, key, data, **options)
                await real(self, key, there)
                return replace(result, etag='"of another"', proved=False)

            monkeypatch.setattr(type(two), "store", store)
            report = await migrate(tmp_path / "a", two, delete_source=True)
            failed = [event.error.code for event in report.events if event.kind == "failed"]
            assert failed == ([] if code is None else [code])
            assert set(tree_of(tmp_path / "a")) == (set() if code is None else {"k"})
            assert await two.retrieve("k") == there

    asyncio.run(run())


def test_a_stored_copy_that_was_changed_on_its_way_is_found(monkeypatch):
    async def run():
        async with MemoryStorageProvider() as one, MemoryStorageProvider() as two:
            await one.store("k", b"x" * 50)
            real = type(two._session.driver).put

            async def put(self, request):
                if self is two._session.driver:
                    body = type(request.body)(request.body.data.replace(b"x", b"y"))
                    request = replace(request, body=body, digest=None)
                return await real(self, request)

            monkeypatch.setattr(type(two._session.driver), "put", put)
            report = await migrate(one, two, delete_source=True)
            assert [event.error.code for event in report.events] == ["COPY_DIFFERS"]
            assert await one.exists("k")

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["folder", "memory", "local", "s3"])
def test_a_move_deletes_exactly_what_was_copied(kind, tmp_path, s3_server, monkeypatch):
    """A source that is written between its copy and its deletion stays."""

    async def run():
        async with end_of(kind, tmp_path, s3_server) as one, MemoryStorageProvider() as two:
            make_tree(tmp_path / "seed", {"a": b"1", "b": b"2"})
            await copy_tree(tmp_path / "seed", one)
            side = Folder if kind == "folder" else Store
            real = side.delete

            async def delete(self, entry):
                if entry.name == "a":
                    if kind == "folder":
                        (one / "a").write_bytes(b"newer")
                        os.utime(one / "a", (1, 1))
                    else:
                        await one.store("a", b"newer")
                await real(self, entry)

            monkeypatch.setattr(side, "delete", delete)
            report = await migrate(one, two, delete_source=True)
            assert await content(one) == {"a": b"newer"}
            assert report.counts["moved"] == 1
            assert isinstance(next(event.error for event in report.events), StorageConflictError)
            assert await content(two) == {"a": b"1", "b": b"2"}

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_a_move_that_ended_between_copy_and_deletion_is_finished(kind, tmp_path):
    """Both have it: the source goes once both were read and are equal, and stays where they are not."""

    async def run():
        async with end_of(kind, tmp_path) as one, MemoryStorageProvider() as two:
            make_tree(tmp_path / "seed", {"a": b"1", "b": b"2"})
            await copy_tree(tmp_path / "seed", one)
            await copy_tree(one, two, journal=tmp_path / "j")
            report = await migrate(one, two, delete_source=True, journal=tmp_path / "j")
            assert report.complete
            assert report.counts["moved"] == 2
            assert await content(one) == {}

    asyncio.run(run())


def test_what_changes_meanwhile_is_named_by_the_second_pass(tmp_path):
    async def run():
        async with MemoryStorageProvider() as one, MemoryStorageProvider() as two:
            for name in ("changed", "deleted", "stays"):
                await one.store(name, b"1")
            begun = []

            def approve(plan):
                begun.append(plan)
                return True

            run = run_of(one, two, Goal(always_again=True), approve=approve)
            work = run._work

            async def working():
                await work()
                await one.store("changed", b"2")
                await one.delete("deleted")
                await one.store("new", b"1")

            run._work = working
            report = await run.report()
            assert [name for name, _ in lines(report, "changed")] == ["changed", "deleted", "new"]
            assert not report.complete
            assert (await migrate(one, two)).complete
            assert (await content(two))["changed"] == b"2"

    asyncio.run(run())


def test_an_object_replaced_between_listing_and_copy_is_copied_as_it_is_and_named(tmp_path):
    async def run():
        async with MemoryStorageProvider() as one, MemoryStorageProvider() as two:
            await one.store("k", b"old")
            run = run_of(one, two, journal=tmp_path / "j")
            work = run._work

            async def working():
                await one.store("k", b"newer")
                await work()

            run._work = working
            report = await run.report()
            assert await two.retrieve("k") == b"newer"
            assert [name for name, _ in lines(report, "changed")] == ["k"]

    asyncio.run(run())


def test_copies_inside_one_store_are_made_by_the_store(monkeypatch, tmp_path, s3_server):
    async def run():
        async with end_of("s3", tmp_path, s3_server) as store:
            await store.store("a/k", b"1" * 1000, metadata={"m": "1"})
            driver = type(store._session.driver)
            puts = []
            monkeypatch.setattr(driver, "put", lambda self, request: puts.append(request))
            report = await copy_tree(Under(store, "a/"), Under(store, "b/"))
            assert report.complete
            assert not puts
            assert (await store.get_metadata("b/k")).metadata == {"m": "1"}
            assert report.lost == {"mtime": 1}

    asyncio.run(run())


def test_a_store_that_lists_in_an_order_of_its_own(tmp_path):
    async def run():
        async with MemoryStorageProvider() as one, MemoryStorageProvider() as two:
            make_tree(tmp_path / "a")
            await copy_tree(tmp_path / "a", one)
            run = run_of(one, two)
            entries = run._source.entries

            async def shuffled(wanted, *, destination):
                found = [each async for each in entries(wanted, destination=destination)]
                for each in reversed(found):
                    yield each

            run._source.entries, run._source.ordered = shuffled, False
            assert (await run.report()).counts["copied"] == len(TREE)
            assert await content(two) == TREE

    asyncio.run(run())


def test_progress_and_events_count_to_the_end(tmp_path):
    async def run():
        make_tree(tmp_path / "a")
        seen = []
        async with MemoryStorageProvider() as store:
            await copy_tree(tmp_path / "a", store, progress=seen.append)
        last = seen[-1]
        assert (last.objects, last.total_objects) == (len(TREE), len(TREE))
        assert last.bytes == last.total_bytes == sum(map(len, TREE.values()))
        assert last.remaining == 0
        assert [each.bytes for each in seen] == sorted(each.bytes for each in seen)

    asyncio.run(run())


def test_bandwidth_is_kept_by_waiting(tmp_path):
    async def run():
        make_tree(tmp_path / "a", {f"f{n}": b"x" * 1000 for n in range(10)})
        now, waits = [0.0], []

        async def sleep(seconds):
            waits.append(seconds)
            now[0] += seconds

        async with MemoryStorageProvider() as store:
            run = run_of(tmp_path / "a", store, bandwidth=1000, concurrency=1)
            run._clock, run._sleep = lambda: now[0], sleep
            await run.report()
        assert 9 <= now[0] <= 10

    asyncio.run(run())


def test_two_runs_of_one_pair_do_not_meet(tmp_path):
    async def run():
        make_tree(tmp_path / "a")
        async with MemoryStorageProvider() as store:
            first = run_of(tmp_path / "a", store, journal=tmp_path / "j")
            async with first._journal:
                with pytest.raises(StorageConflictError, match="under way"):
                    await copy_tree(tmp_path / "a", store, journal=tmp_path / "j")
            assert (await copy_tree(tmp_path / "a", store, journal=tmp_path / "j")).complete
            with pytest.raises(StorageError, match="another pair"):
                await copy_tree(tmp_path / "a", Under(store, "x/"), journal=tmp_path / "j")
            (tmp_path / "no").write_bytes(b"not a journal" * 1000)
            with pytest.raises(StorageError, match="is not a journal"):
                await copy_tree(tmp_path / "a", store, journal=tmp_path / "no")

    asyncio.run(run())


def test_a_cancelled_run_continues(tmp_path):
    async def run():
        make_tree(tmp_path / "a", {f"f{n:03}": os.urandom(100) for n in range(200)})
        done = []
        task = None

        def on_event(event):
            done.append(event.kind)
            if done.count("copied") == 50:
                task.cancel()

        task = asyncio.ensure_future(
            copy_tree(tmp_path / "a", tmp_path / "b", journal=tmp_path / "j", on_event=on_event)
        )
        with pytest.raises(asyncio.CancelledError):
            await task
        left = {path.name for path in (tmp_path / "b").iterdir()}
        assert all(not name.startswith(".") for name in left)
        report = await copy_tree(tmp_path / "a", tmp_path / "b", journal=tmp_path / "j")
        assert report.resumed
        assert report.complete
        assert report.counts["copied"] <= 150
        assert tree_of(tmp_path / "b") == tree_of(tmp_path / "a")

    asyncio.run(run())


def test_the_mode_of_a_replaced_file_stays(tmp_path):
    async def run():
        make_tree(tmp_path / "a", {"k": b"1"})
        make_tree(tmp_path / "b", {"k": b"old"})
        (tmp_path / "b/k").chmod(0o640)
        await copy_tree(tmp_path / "a", tmp_path / "b")
        assert stat.S_IMODE((tmp_path / "b/k").stat().st_mode) == 0o640

    asyncio.run(run())


@pytest.mark.parametrize(
    "options",
    [
        {"concurrency": 0}, {"bandwidth": 0}, {"max_delete": -1}, {"overwrite": "yes"}, {"verify": "no"},
        {"include": "*.jpg"}, {"files_from": "a"}, {"what": 1}, {"concurrency": "x"}, {"progress": 1},
    ],
)  # fmt: skip
def test_wrong_options_are_refused(options, tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(StorageInvalidRequestError):
        asyncio.run(copy_tree(tmp_path / "a", tmp_path / "b", **options))
    with pytest.raises(StorageInvalidRequestError, match="source"):
        asyncio.run(copy_tree("a", tmp_path / "b"))


def test_a_journal_is_the_same_for_the_same_places_however_they_are_tuned(tmp_path, s3_server):
    async def run():
        def at(timeout, bucket="one", **more):
            config = minio_config(s3_server.url, bucket=bucket, timeout=timeout, **more)
            return provider_for(config)

        async with at(1) as one, at(2) as same, at(1, "two") as other, at(1, prefix="p/") as below:
            first = journal_name(tmp_path / "a", one)
            assert first == journal_name(tmp_path / "a", same)
            assert journal_name(tmp_path / "a", Under(one, "p/")) == journal_name(tmp_path / "a", below)
            different = {first, journal_name(tmp_path, one), journal_name(tmp_path / "a", other)}
            different |= {journal_name(one, tmp_path / "a"), journal_name(tmp_path / "a", below)}
            assert len(different) == 5

    asyncio.run(run())


def test_one_object_is_copied_without_a_listing(tmp_path, monkeypatch):
    async def run():
        make_tree(tmp_path / "a", {"x": b"1", "other": b"2"})
        make_tree(tmp_path / "b", {"other": b"3"})
        async with MemoryStorageProvider() as store:
            await store.store("in/other", b"4")

            def scan(*_args, **_options):
                raise AssertionError("nothing is to be listed")

            monkeypatch.setattr(type(store), "scan", scan)
            monkeypatch.setattr(Folder, "_walk", scan)
            there = Under(store, "in/")
            report = await sync(Alone(tmp_path / "a", "x", "y"), there, delete=True)
            assert report.counts == {"missing": 1, "copied": 1}
            assert (await sync(Alone(tmp_path / "a", "x", "y"), there, delete=True)).counts == {"same": 1}
            await copy_tree(Alone(there, "y", "deep/z"), tmp_path / "b")
            await migrate(Alone(there, "y"), Under(store, "out/"), delete_source=True)
            assert await store.retrieve("out/y") == b"1"
            assert not await store.exists("in/y")
            assert await store.exists("in/other")
            report = await copy_tree(Alone(there, "none"), tmp_path / "b")
            assert lines(report, "failed") == [("none", "the source has no such object")]
            assert tree_of(tmp_path / "b") == {"other": b"3", "deep/z": b"1"}
            with pytest.raises(StorageInvalidRequestError, match="same place"):
                await copy_tree(Alone(there, "other"), there)

    asyncio.run(run())


def test_nothing_is_made_beyond_a_link_that_leads_out(tmp_path):
    async def run():
        make_tree(tmp_path / "a", {"d/new/f": b"1", "e/new/f": b"2"})
        (tmp_path / "a/d/none").mkdir()
        (tmp_path / "out").mkdir()
        (tmp_path / "b").mkdir()
        (tmp_path / "b/d").symlink_to(tmp_path / "out")
        (tmp_path / "b/e").symlink_to(tmp_path / "missing")
        report = await copy_tree(tmp_path / "a", tmp_path / "b", empty_folders=True)
        assert {type(event.error) for event in report.events} == {StorageAccessDeniedError}
        assert report.counts == {"missing": 3, "failed": 3}
        assert list((tmp_path / "out").iterdir()) == []
        assert not (tmp_path / "missing").exists()

    asyncio.run(run())


def test_an_empty_folder_outlives_what_was_in_it(tmp_path):
    async def run():
        (tmp_path / "a/d/e").mkdir(parents=True)
        make_tree(tmp_path / "a", {"f": b"1"})
        make_tree(tmp_path / "b", {"f": b"1", "d/e/old/x": b"", "gone/y": b""})
        report = await sync(tmp_path / "a", tmp_path / "b", delete=True, empty_folders=True)
        assert (report.complete, report.counts["deleted"]) == (True, 2)
        assert sorted(each.relative_to(tmp_path / "b").as_posix() for each in (tmp_path / "b").rglob("*")) == [
            "d", "d/e", "f",
        ]  # fmt: skip
        assert (await compare(tmp_path / "a", tmp_path / "b", empty_folders=True)).equal

    asyncio.run(run())


def test_a_part_of_a_local_store_is_no_folder_of_plain_files(tmp_path):
    async def run():
        make_tree(tmp_path / "a", {"f": b"1"})
        async with end_of("local", tmp_path, name="store") as store:
            await store.store("sub/k", b"text " * 1000, compress="zstd")
            for one, two in (
                (tmp_path / "store/sub", tmp_path / "b"),
                (Alone(tmp_path / "store/sub", "k"), tmp_path / "b"),
                (tmp_path / "a", tmp_path / "store/sub/new"),
            ):
                with pytest.raises(StorageInvalidRequestError, match="in the local store"):
                    await copy_tree(one, two)
            assert not (tmp_path / "b").exists()
            await copy_tree(Under(store, "sub/"), tmp_path / "b")
            assert tree_of(tmp_path / "b") == {"k": b"text " * 1000}

    asyncio.run(run())


def test_a_database_of_another_program_is_left_alone(tmp_path):
    make_tree(tmp_path / "a", {"f": b"1"})
    for table in ("mine", "known"):
        path = tmp_path / table
        with closing(sqlite3.connect(path)) as other:
            other.execute(f"create table {table} (x)")
        before = path.read_bytes()
        with pytest.raises(StorageConfigurationError, match="another program"):
            asyncio.run(copy_tree(tmp_path / "a", tmp_path / "b", journal=path))
        assert path.read_bytes() == before
    assert not (tmp_path / "b").exists()


def test_a_damaged_journal_says_how_to_go_on(tmp_path):
    make_tree(tmp_path / "a", {f"f{n}": b"1" for n in range(50)})
    path = tmp_path / "j"
    asyncio.run(copy_tree(tmp_path / "a", tmp_path / "b", journal=path))
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"Z" * (len(whole) - 4096))
    with pytest.raises(StorageConfigurationError, match="is damaged; remove it"):
        asyncio.run(copy_tree(tmp_path / "a", tmp_path / "b", journal=path))
    path.write_bytes(whole)
    with closing(sqlite3.connect(path)) as other:
        other.execute("update known set state = 9 where name = 'f7'")
        other.commit()
    report = asyncio.run(copy_tree(tmp_path / "a", tmp_path / "b", journal=path))
    assert report.compared_by == {"journal": 49, "digest": 1}


@pytest.mark.parametrize("how", ["plain", "gzip", "stream"])
def test_encrypted_objects_are_compared_without_reading_them(how, tmp_path):
    """By the size that their header records, whichever way they were stored."""
    sealed = {"encryption": ClientSide(KeyRing(LocalKey(bytes(32))), store_id="s")}
    make_tree(tmp_path / "data", {"k": b"text" * 30_000})

    async def body():
        yield b"text" * 30_000

    async def run():
        async with MemoryStorageProvider(**sealed) as store:
            if how == "stream":
                await store.store("k", body())
            else:
                await store.store("k", b"text" * 30_000, compress="gzip" if how == "gzip" else False)
            alike = await compare(tmp_path / "data", store)
            (tmp_path / "data/k").write_bytes(b"text" * 30_001)
            return alike, await compare(tmp_path / "data", store)

    os.utime(tmp_path / "data/k", (1, 1))
    alike, other = asyncio.run(run())
    assert (alike.equal, alike.compared_by) == (True, {"size and time": 1})
    assert (other.equal, other.compared_by) == (False, {"size": 1})


def test_an_object_in_plain_text_is_replaced_where_everything_is_to_be_encrypted(tmp_path):
    make_tree(tmp_path / "data", {"k": b"text"})

    async def run(required):
        sealed = ClientSide(KeyRing(LocalKey(bytes(32))), store_id="s", required=required)
        async with LocalStorageProvider(LocalConfig(path=tmp_path / "store")) as store:
            await copy_tree(tmp_path / "data", store)
        async with LocalStorageProvider(LocalConfig(path=tmp_path / "store"), encryption=sealed) as store:
            compared = [await compare(tmp_path / "data", store, checksum=deep) for deep in (False, True)]
            report = await copy_tree(tmp_path / "data", store)
            return [each.equal for each in compared], report.counts, await store.get_metadata("k")

    same, counts, item = asyncio.run(run(required=False))
    assert (same, counts, item.client_side) == ([True, True], {"same": 1}, False)
    same, counts, item = asyncio.run(run(required=True))
    assert (same, counts, item.client_side) == ([False, False], {"differing": 1, "copied": 1}, True)


def test_a_dictionary_stays_where_its_objects_are_readable():
    """What is compressed with one goes to an encrypted store without it, which has pieces of plain text."""
    records = [b'{"by": "the same author", "number": %d}' % number * 9 for number in range(60)]
    trained = train_dictionary(records, size=1024)

    async def run():
        sealed = ClientSide(KeyRing(LocalKey(bytes(32))), store_id="s")
        async with MemoryStorageProvider() as one, MemoryStorageProvider(encryption=sealed) as two:
            await one.store("k", records[7], dictionary=trained)
            report = await migrate(one, two)
            item = await two.get_metadata("k")
            refused = await migrate(one, two, overwrite="always", store_options={"dictionary": trained})
            return report, await two.retrieve("k"), item.client_side, await two.list_dictionaries(), refused

    report, data, client_side, dictionaries, refused = asyncio.run(run())
    assert (report.complete, report.lost) == (True, {"dictionary": 1})
    assert (data, client_side, dictionaries) == (records[7], True, [])
    assert refused.counts == {"differing": 1, "failed": 1}
