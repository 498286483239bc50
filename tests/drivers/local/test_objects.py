"""An object and what is kept beside it, while other tools and other keys come in between."""

import asyncio
import contextlib
import errno
import json
import os
import threading
from hashlib import sha256
from types import SimpleNamespace

import pytest

from credstore.driver import CREATE, OVERWRITE, Precondition
from credstore.drivers.local import attributes as attributes_module
from credstore.drivers.local.atomic import Temporary, opened
from credstore.drivers.local.attributes import Record, foreign
from credstore.drivers.local.belonging import Mark
from credstore.drivers.local.flushing import Syncer
from credstore.drivers.local.locks import KeyLocks
from credstore.errors import (
    StorageAccessDeniedError,
    StorageAlreadyExistsError,
    StorageIntegrityError,
    StorageNotFoundError,
    StoragePreconditionFailedError,
)

from .support import make_driver, put_request, read_pair

TWO = sha256(b"2").hexdigest()


async def seen_by_others(root, key):
    """What a reader that has just opened the store is given: bytes, None, or the code of a refusal."""
    driver = make_driver(root)
    try:
        return await (await driver.get(key)).read()
    except StorageNotFoundError:
        return None
    except StorageIntegrityError as error:
        return error.code
    finally:
        await driver.aclose()


def test_a_deletion_never_brings_an_older_object_of_its_name_back(tmp_path, monkeypatch):
    async def run():
        driver = make_driver(tmp_path)
        await driver.put(put_request("a", b"older"))
        await driver.put(
            put_request("a/b", b"below")
        )  # Now `a` is beside the directory of its name, for good.
        await driver.delete("a/b")
        (tmp_path / "a").write_bytes(b"newer, of another tool")
        found, real = [], os.unlink

        def unlink(*args, **options):
            real(*args, **options)
            if threading.current_thread().name.startswith("credstore-local"):
                found.append(asyncio.run(seen_by_others(tmp_path, "a")))

        monkeypatch.setattr(os, "unlink", unlink)
        assert (await driver.delete("a")).existed
        monkeypatch.undo()
        assert len(found) >= 2
        assert b"older" not in found
        assert found[-1] is None
        assert await seen_by_others(tmp_path, "a") is None
        await driver.aclose()

    asyncio.run(run())


def kept(root):
    """Names of the files of attributes."""
    return {path.name for path in (root / ".credstore/attributes").glob("*/*")}


@pytest.mark.parametrize("theirs", [b"theirs", b"longer than ours", b""])
def test_an_object_that_was_not_published_leaves_nothing_to_the_file_that_came_first(
    tmp_path, monkeypatch, theirs
):
    async def run():
        driver = make_driver(tmp_path)
        planted, real = [], os.link

        def link(source, name, **options):
            if name == "k":
                (tmp_path / "k").write_bytes(theirs)  # Another tool takes the name at the last moment.
                planted.append(len(kept(tmp_path)))
            real(source, name, **options)

        monkeypatch.setattr(os, "link", link)
        with pytest.raises(StorageAlreadyExistsError) as caught:
            await driver.put(put_request("k", b"oursss", CREATE))
        assert caught.value.applied == "no"
        monkeypatch.undo()
        assert planted == [1]
        assert kept(tmp_path) == set()
        await driver.aclose()
        again = make_driver(tmp_path)
        await again.put(put_request("other", b"x"))  # Whoever writes first cleans up.
        reader = await again.get("k")
        assert (await reader.read(), reader.info.write_id) == (theirs, None)
        await again.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("call", ["link", "rename"])
def test_a_write_that_the_system_refused_leaves_no_attributes(tmp_path, monkeypatch, call):
    async def run():
        driver = make_driver(tmp_path)
        if call == "rename":
            await driver.put(put_request("k", b"older"))
        before = kept(tmp_path)
        real, seen = getattr(os, call), []

        def refuse(source, name, **options):
            if name != "k":
                return real(source, name, **options)
            seen.append(len(kept(tmp_path) - before))
            raise OSError(errno.EACCES, "refused")

        monkeypatch.setattr(os, call, refuse)
        with pytest.raises(StorageAccessDeniedError) as caught:
            await driver.put(put_request("k", b"newer", CREATE if call == "link" else OVERWRITE))
        assert (caught.value.applied, seen) == ("no", [1])
        assert kept(tmp_path) == before, "what was kept for it is still there"
        await driver.aclose()

    asyncio.run(run())


def test_attributes_of_another_key_are_never_those_of_an_object(tmp_path):
    async def run():
        driver = make_driver(tmp_path)
        for key in ("a", "b"):
            await driver.put(put_request(key, b"same bytes", metadata={"of": key}, tags={"of": key}))
        one, other = sorted((tmp_path / ".credstore/attributes").glob("*/*"))
        text = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(text)
        for key in ("a", "b"):
            try:
                seen = [(await driver.head(key)).metadata, await driver.get_tags(key)]
            except StorageIntegrityError:
                continue
            assert seen == [{}, {}], "it has what was kept for another"
        await driver.put(put_request("a", b"stored again"))
        assert await read_pair(driver, "a") == b"stored again"
        await driver.aclose()

    asyncio.run(run())


RECORD = Record(foreign("k"), size=4, inode=7, replaced=None)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 0},
        {"format": None},
        {"later": 1},
        {"headers": {"later": 1}},
        {"headers": None},
        {"key": 5},
        {"size": "5"},
        {"inode": True},
        {"replaced": []},
        {"write_id": 1},
        {"digest": "no digest"},
        {"digest": "00"},
        {"digest": {}},
        {"metadata": []},
        {"metadata": {"a": 1}},
        {"system": None},
        {"tags": {"a": None}},
        {"headers": {"content_type": 5}},
        *({name: ...} for name in json.loads(RECORD.encode())),
    ],
    ids=str,
)
def test_attributes_with_a_field_more_less_or_of_another_kind_are_damaged_or_of_another_version(change):
    assert Record.decode(RECORD.encode()) == RECORD
    changed = {**json.loads(RECORD.encode()), **change}
    data = json.dumps({name: value for name, value in changed.items() if value is not ...})
    with pytest.raises(StorageIntegrityError) as caught:
        Record.decode(data.encode())
    assert caught.value.code == "ATTRIBUTES_DAMAGED"


@pytest.mark.parametrize("data", [b"{}", b"[]", b"null", b"7", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_record_is_damaged(data):
    with pytest.raises(StorageIntegrityError) as caught:
        Record.decode(data)
    assert caught.value.code == "ATTRIBUTES_DAMAGED"


def test_a_condition_on_a_version_of_nothing_is_not_met(tmp_path):
    async def run():
        driver = make_driver(tmp_path)
        for act in (
            driver.put(put_request("k", b"x", Precondition("replace", "etag"))),
            driver.delete("k", if_match="etag"),
        ):
            with pytest.raises(StoragePreconditionFailedError, match="absent") as caught:
                await act
            assert caught.value.applied == "no"
        await driver.aclose()

    asyncio.run(run())


def test_deleting_nothing_writes_nothing(tmp_path):
    async def run():
        driver = make_driver(tmp_path)
        assert (await driver.delete("k")).existed is False
        assert list(tmp_path.iterdir()) == []
        await driver.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("theirs", ["removed", "a directory"])
def test_an_object_that_goes_while_its_name_is_awaited_is_not_moved_aside(tmp_path, monkeypatch, theirs):
    async def run():
        driver = make_driver(tmp_path)
        await driver.put(put_request("a", b"older"))
        holding, seen = KeyLocks.hold, []

        def hold(locks, key, deadline):
            if key == "a" and not seen:
                seen.append(key)
                (tmp_path / "a").unlink()  # Another tool, between our look and our lock.
                if theirs == "a directory":
                    (tmp_path / "a").mkdir()
                    (tmp_path / "a/theirs").write_bytes(b"theirs")
            return holding(locks, key, deadline)

        monkeypatch.setattr(KeyLocks, "hold", hold)
        await driver.put(put_request("a/b", b"below"))
        assert seen
        assert await read_pair(driver, "a/b") == b"below"
        assert sorted(path.name for path in (tmp_path / "a").iterdir()) == (
            ["b"] if theirs == "removed" else ["b", "theirs"]
        )
        await driver.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("attributes", ["none", "a directory", "damaged"])
def test_what_a_killed_writer_left_is_removed_whatever_is_where_its_attributes_would_be(tmp_path, attributes):
    async def run():
        left = tmp_path / ".credstore/tmp/0123456789abcdef-left"
        left.parent.mkdir(parents=True)
        left.write_bytes(b"left")
        kept = tmp_path / ".credstore/attributes/012/0123456789abcdef.7-7"
        if attributes != "none":
            kept.parent.mkdir(parents=True)
        if attributes == "a directory":
            kept.mkdir()
        elif attributes == "damaged":
            kept.write_bytes(b"damaged")
        driver = make_driver(tmp_path)
        await driver.put(put_request("k", b"data"))
        assert (left.exists(), kept.exists()) == (False, attributes != "none")
        assert await read_pair(driver, "k") == b"data"
        await driver.aclose()

    asyncio.run(run())


def test_letting_go_of_a_temporary_file_twice_leaves_the_store_writable(tmp_path):
    syncer = Syncer(enabled=True)
    with opened(os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)) as directory:
        file = Temporary(directory, syncer)
        file.discard()
        file.discard()
    syncer.check()
    assert list(tmp_path.iterdir()) == []


def test_without_hard_links_a_name_that_is_taken_is_not_taken_again(tmp_path, monkeypatch):
    def refuse(*_args, **_options):
        raise OSError(errno.EPERM, "no hard links")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "taken").write_bytes(b"theirs")
    with opened(os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)) as directory:
        file = Temporary(directory, Syncer(enabled=False))
        with pytest.raises(FileExistsError):
            file.link(directory, "taken")
        assert (tmp_path / "taken").read_bytes() == b"theirs"
        file.link(directory, "free")
        file.discard()
    assert {path.name for path in tmp_path.iterdir()} == {"taken", "free"}


def test_a_mark_is_written_over_and_its_file_never_cut(tmp_path, monkeypatch):
    """Cutting it would wait for the flushes of others; what a shorter mark leaves of a longer one is none."""
    cut = []
    monkeypatch.setattr(os, "ftruncate", lambda *call: cut.append(call))
    found = []
    locks = KeyLocks(os.open(tmp_path, os.O_RDONLY), found.append)
    long, short = Mark("k", removed="f" * 500), Mark("k", write_id="1")
    for mark in (long, short):
        with locks.hold("k", None) as hold:
            hold.mark(mark)
            assert read(tmp_path) == mark
        assert read(tmp_path) is None
    assert found == cut == []
    with contextlib.suppress(ZeroDivisionError), locks.hold("k", None) as hold:
        hold.mark(short)
        raise ZeroDivisionError
    with locks.hold("k", None):
        assert found == [short]
    assert len(cut) == 1


def read(directory):
    (lock,) = directory.iterdir()
    return Mark.decode(lock.read_bytes())


@pytest.mark.parametrize("condition", [OVERWRITE, CREATE])
def test_what_is_published_while_a_store_is_opened_keeps_its_attributes(tmp_path, monkeypatch, condition):
    """The writer ends between the other's open of its temporary file and the lock that shows it has ended."""
    published = []
    real = attributes_module.fcntl.flock

    async def main():
        driver = make_driver(tmp_path)
        await driver.put(put_request("other", b"1"))
        file = driver._objects().temporary("k")
        file.write(b"2")

        def lock(fd, how):
            if not published and os.path.samestat(os.fstat(fd), os.fstat(file.fd)):
                published.append(driver._publish(put_request("k", b"2", precondition=condition), file, TWO))
                file.discard()
            real(fd, how)

        monkeypatch.setattr(attributes_module, "fcntl", SimpleNamespace(**vars(attributes_module.fcntl)))
        monkeypatch.setattr(attributes_module.fcntl, "flock", lock)
        other = make_driver(tmp_path)
        await other.put(put_request("third", b"3"))
        assert published
        assert (await other.head("k")).digest == bytes.fromhex(TWO)
        await driver.aclose()
        await other.aclose()

    asyncio.run(main())
