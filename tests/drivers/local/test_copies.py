"""A copy has what was stored, or it is not made and its source stays."""

import asyncio
import os

import pytest

from credstore import ClientSide, KeyRing, LocalConfig, LocalKey, LocalStorageProvider
from credstore.driver import CopyRequest
from credstore.drivers.local import streams
from credstore.errors import (
    ErrorCode,
    StorageIntegrityError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
)

from .support import leftovers, list_keys, make_driver, put_request, read_pair


def rot(path, at=0):
    """Change one byte, and nothing that tells of it."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def no_kernel_copies(*args):
    raise OSError(38, "not implemented")


@pytest.mark.parametrize("by_reading", [False, True])
@pytest.mark.parametrize(("size", "at"), [(1, 0), (4096, 4095), (3_000_000, 2_999_999), (3_000_000, 0)])
def test_a_damaged_source_is_neither_copied_nor_moved_and_stays(tmp_path, monkeypatch, by_reading, size, at):
    if by_reading:
        monkeypatch.setattr(os, "copy_file_range", no_kernel_copies)
    data = os.urandom(size)

    async def run():
        async with LocalStorageProvider(LocalConfig(path=str(tmp_path))) as store:
            await store.store("a", data, compress=False)
            await store.store("taken", b"other", compress=False)
            rot(tmp_path / "a", at)
            for call in (store.copy("a", "b"), store.move("a", "b"), store.move("a", "taken")):
                with pytest.raises(StorageIntegrityError) as caught:
                    await call
                assert (caught.value.code, caught.value.applied) == (ErrorCode.DIGEST_MISMATCH, "no")
            assert [item.key for item in await store.list()] == ["a", "taken"]
            assert await store.retrieve("taken") == b"other"
            rot(tmp_path / "a", at)  # The medium gives the right byte again.
            await store.move("a", "b")
            assert await store.retrieve("b") == data

    asyncio.run(run())
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("by_reading", [False, True])
def test_a_copy_in_several_pieces_is_proved_whole(tmp_path, monkeypatch, by_reading):
    monkeypatch.setattr(streams, "COPY_PIECE", 700_000)
    monkeypatch.setattr(streams, "CHUNK", 300_000)
    if by_reading:
        monkeypatch.setattr(os, "copy_file_range", no_kernel_copies)
    data = os.urandom(3_000_001)

    async def run():
        driver = make_driver(tmp_path)
        await driver.put(put_request("a", data))
        for key in ("b", "c"):
            source = await driver.head("a")
            copied = await driver.copy(CopyRequest(source=source, destination=key, write_id=key * 32))
            assert copied.digest == source.digest
            assert await read_pair(driver, key) == data
        rot(tmp_path / "a", 2_500_000)
        with pytest.raises(StorageIntegrityError):
            await driver.copy(CopyRequest(source=source, destination="d", write_id="d" * 32))
        assert await list_keys(driver) == ["a", "b", "c"]
        await driver.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("fault", ["kernel", "disk"])
def test_what_is_damaged_on_the_way_into_the_copy_is_not_shown(tmp_path, monkeypatch, fault):
    """The kernel's copy is read back: that the source is whole says nothing of the copy."""

    async def run():
        driver = make_driver(tmp_path)
        await driver.put(put_request("a", b"whole"))
        source = await driver.head("a")
        if fault == "kernel":

            def copy_file_range(_source, target, count, _from, at):
                return os.pwrite(target, b"wrong"[:count], at)

            monkeypatch.setattr(os, "copy_file_range", copy_file_range)
        else:
            rot(tmp_path / "a")
        with pytest.raises(StorageIntegrityError):
            await driver.copy(CopyRequest(source=source, destination="b", write_id="b" * 32))
        with pytest.raises(StorageObjectNotFoundError):
            await driver.head("b")
        await driver.aclose()

    asyncio.run(run())


def test_a_file_of_another_tool_that_is_written_to_while_it_is_copied_is_not_copied(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"theirs")

    async def run():
        driver = make_driver(tmp_path)
        source = await driver.head("a")

        def copy_file_range(_source, target, count, _from, at):
            path.write_bytes(b"others")
            os.utime(path, ns=(1, 1))
            return os.pwrite(target, b"theirs"[:count], at)

        monkeypatch.setattr(os, "copy_file_range", copy_file_range)
        with pytest.raises(StoragePreconditionFailedError):
            await driver.copy(CopyRequest(source=source, destination="b", write_id="b" * 32))
        assert await list_keys(driver) == ["a"]
        await driver.aclose()

    asyncio.run(run())


def test_a_damaged_encrypted_source_is_neither_copied_nor_moved(tmp_path):
    """Also where the damage is in what encryption would not notice."""
    LocalKey.generate_file(tmp_path / "key")
    policy = ClientSide(KeyRing(LocalKey.from_file(tmp_path / "key")), store_id="s")

    async def run():
        async with LocalStorageProvider(LocalConfig(path=str(tmp_path / "r")), encryption=policy) as store:
            await store.store("a", b"data" * 1000)
            size = (tmp_path / "r/a").stat().st_size
            for at in (0, 5, size // 2, size - 1):
                rot(tmp_path / "r/a", at)
                for call in (store.copy("a", "b"), store.move("a", "b")):
                    with pytest.raises(StorageIntegrityError):
                        await call
                assert [item.key for item in await store.list()] == ["a"]
                rot(tmp_path / "r/a", at)
            await store.move("a", "b")
            assert await store.retrieve("b") == b"data" * 1000

    asyncio.run(run())
