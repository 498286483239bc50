"""One version is never taken for another, whatever clock the file system keeps."""

import asyncio
import os
import shutil
import time
from functools import partial

import pytest

from credstore import LocalConfig, LocalStorageProvider
from credstore.driver import CopyRequest, Precondition, ReadOptions
from credstore.drivers.local import atomic, attributes
from credstore.errors import StorageIntegrityError, StorageObjectNotFoundError, StoragePreconditionFailedError

from .support import make_driver, put_request, read_pair

SECOND = 1_000_000_000


@pytest.fixture(params=["frozen clock", "times of one second", "frozen clock, times of two seconds"])
def coarse(request, monkeypatch):
    """Times that do not tell versions apart."""
    if "frozen" in request.param:
        monkeypatch.setattr(time, "time_ns", lambda: 1_800_000_000_123_456_789)
    step = {"one second": SECOND, "two seconds": 2 * SECOND}.get(request.param.partition("times of ")[2], 1)
    real = os.utime

    def utime(fd, *, ns):
        real(fd, ns=(ns[0] // step * step, ns[1] // step * step))

    monkeypatch.setattr(atomic.os, "utime", utime)


def test_no_condition_takes_a_later_version_for_an_earlier_one(tmp_path, coarse):
    async def run():
        driver = make_driver(tmp_path, fsync=False)
        seen = set()
        for number in range(20):
            first = await driver.put(put_request("k", b"100"))
            for data in (b"200", b"300"):
                await driver.put(put_request("k", data))
                for attempt in (
                    driver.put(put_request("k", b"400", Precondition("replace", first.etag))),
                    driver.delete("k", if_match=first.etag),
                    driver.get("k", ReadOptions(if_match=first.etag)),
                    driver.head("k", ReadOptions(if_match=first.etag)),
                ):
                    with pytest.raises(StoragePreconditionFailedError):
                        await attempt
            assert await read_pair(driver, "k") == b"300"
            seen.add(first.etag)
            if number % 2:
                await driver.delete("k")
        assert len(seen) == 20
        await driver.aclose()

    asyncio.run(run())


def test_no_copy_is_of_another_version_than_the_one_shown(tmp_path, coarse):
    async def run():
        driver = make_driver(tmp_path, fsync=False)
        for number in range(20):
            await driver.put(put_request("k", b"100"))
            shown = await driver.head("k")
            for data in (b"200", b"300"):
                await driver.put(put_request("k", data))
            with pytest.raises(StoragePreconditionFailedError):
                await driver.copy(CopyRequest(source=shown, destination=f"c{number}", write_id="0" * 32))
            with pytest.raises(StorageObjectNotFoundError):
                await driver.head(f"c{number}")
        await driver.aclose()

    asyncio.run(run())


def test_a_listing_tells_the_entity_tag_that_reading_tells(tmp_path):
    root = tmp_path / "root"

    async def same(driver):
        listed = {entry.key: entry.etag for entry in (await driver.list()).entries}
        assert listed == {key: (await driver.head(key)).etag for key in listed}
        assert None not in listed.values()
        return listed

    async def run():
        driver = make_driver(root)
        for key in ("kept", "touched", "a", "a/b"):
            result = await driver.put(put_request(key, key.encode()))
            assert result.etag == (await driver.head(key)).etag
            assert result.etag.endswith((await driver.head(key)).write_id)
        (root / "foreign").write_bytes(b"theirs")
        before = await same(driver)
        os.utime(root / "touched", ns=(1, 1))
        after = await same(driver)
        assert {key for key in before if before[key] != after[key]} == {"touched"}
        await driver.aclose()
        # A restored store keeps its versions, though every file has another inode.
        shutil.copytree(root, tmp_path / "restored", symlinks=True)
        restored = make_driver(tmp_path / "restored")
        again = await same(restored)
        assert {key for key in after if after[key] != again[key]} <= {"touched", "foreign"}
        assert await read_pair(restored, "kept") == b"kept"
        await restored.aclose()

    asyncio.run(run())


def test_a_reader_gets_no_attributes_of_a_version_that_came_meanwhile(tmp_path, coarse, monkeypatch):
    """Between opening the file and reading its attributes, its successors take their name."""

    async def run():
        driver, other = make_driver(tmp_path, fsync=False), make_driver(tmp_path, fsync=False)
        await driver.put(put_request("k", b"100"))
        real, left = attributes.Shelf.read, [1]

        def read(self, token):
            if left:
                left.pop()
                for data in (b"200", b"300"):
                    other._put_bytes(put_request("k", data), data)
            return real(self, token)

        monkeypatch.setattr(attributes.Shelf, "read", read)
        assert await read_pair(driver, "k") == b"300"
        assert not left
        await driver.aclose()
        await other.aclose()

    asyncio.run(run())


def test_a_file_of_another_tool_has_another_tag_when_only_its_time_was_restored(tmp_path):
    path = tmp_path / "k"
    path.write_bytes(b"one")

    async def run():
        driver = make_driver(tmp_path)
        first = await driver.head("k")
        before = path.stat()
        while path.stat().st_ctime_ns == before.st_ctime_ns:
            path.write_bytes(b"two")
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        with pytest.raises(StoragePreconditionFailedError):
            await driver.put(put_request("k", b"3", Precondition("replace", first.etag)))
        assert await (await driver.get("k")).read() == b"two"
        await driver.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("size", [100, 3_000_000])
def test_a_file_that_is_written_to_while_it_is_read_is_no_mixture(tmp_path, size, monkeypatch):
    """No digest tells it of another tool's file, or of a part."""
    path = tmp_path / "k"
    path.write_bytes(b"a" * size)

    async def run():
        driver = make_driver(tmp_path)
        if size > 100:
            reader = await driver.get("k")
            await anext(reader)
            path.write_bytes(b"b" * size)
            os.utime(path, ns=(1, 1))
            with pytest.raises(StorageIntegrityError) as caught:
                await reader.read()
        else:
            from credstore.drivers.local import streams

            real = streams.read_all

            def read_all(fd, offset, length):
                found = real(fd, offset, length)
                path.write_bytes(b"b" * size)
                os.utime(path, ns=(1, 1))
                return found

            monkeypatch.setattr(streams, "read_all", read_all)
            with pytest.raises(StorageIntegrityError) as caught:
                await driver.get("k")
        assert (caught.value.code, caught.value.retryable) == ("CHANGED_OUTSIDE", True)
        await driver.aclose()

    asyncio.run(run())


def test_reading_on_is_not_disturbed_by_a_store_of_the_same_key(tmp_path):
    (tmp_path / "k").write_bytes(b"a" * 3_000_000)

    async def run():
        driver = make_driver(tmp_path)
        reader = await driver.get("k")
        first = await anext(reader)
        await driver.put(put_request("k", b"new"))
        assert first + await reader.read() == b"a" * 3_000_000
        await driver.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("in_place", [False, True], ids=["replaced", "changed in place"])
@pytest.mark.parametrize("verb", ["store", "delete"])
def test_what_another_program_made_of_a_version_is_not_that_version(tmp_path, verb, in_place):
    """Size and modification time are those of the stored version; readers see it by the digest."""

    async def main():
        async with LocalStorageProvider(LocalConfig(path=str(tmp_path))) as provider:
            stored = await provider.store("key", b"stored", content_type="text/plain")
            path = tmp_path / "key"
            status = path.stat()
            other = path if in_place else tmp_path / "other"
            other.write_bytes(b"theirs")
            os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
            other.replace(path)
            with pytest.raises(StorageIntegrityError):
                await provider.retrieve("key")
            change = provider.delete if verb == "delete" else partial(provider.store, data=b"newer")
            with pytest.raises(StoragePreconditionFailedError):
                await change("key", if_match=stored.etag)
            assert path.read_bytes() == b"theirs"

    asyncio.run(main())
