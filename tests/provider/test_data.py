"""What `store` takes, and that it comes back: bytes, files, pipes, streams, compressed or not."""

import asyncio
import io
import os
import threading
from pathlib import Path

import pytest

from credstore import StorageInvalidRequestError
from tests.provider.support import Spy, over, run

BIG = os.urandom(1000) * 9000  # 9 MB, past the spool


async def chunks(*parts):
    for part in parts:
        yield part


@pytest.mark.parametrize("compress", [False, True, "gzip", "zstd"])
@pytest.mark.parametrize("data", [b"", b"x", b"proof" * 5000, BIG], ids=["empty", "one", "small", "big"])
def test_bytes_come_back(data, compress):
    async def main(provider):
        result = await provider.store("key", data, compress=compress)
        assert result.plain_size == len(data)
        assert result.compression == {False: None, True: "gzip"}.get(compress, compress)
        assert await provider.retrieve("key") == data
        item = await provider.get_metadata("key")
        assert (item.plain_size, item.size) == (len(data), result.size)
        assert item.content_type == "application/json"

    run(main)


@pytest.mark.parametrize("compress", [False, "gzip", "zstd"])
def test_streams_come_back(compress):
    async def main(provider):
        for parts in ((), (b"",), (b"a", b"", b"b"), (BIG, BIG[:5])):
            whole = b"".join(parts)
            for source in (chunks(*parts), iter(parts), list(parts)):
                result = await provider.store("key", source, compress=compress)
                assert result.plain_size == len(whole)
                assert await provider.retrieve("key", max_size=2**30) == whole

    run(main)


def test_bytes_like_and_files(tmp_path):
    path = tmp_path / "proof.json"
    path.write_bytes(b"0123456789")
    big = tmp_path / "big"
    big.write_bytes(BIG)

    async def main(provider):
        for data in (bytearray(b"0123456789"), memoryview(b"0123456789"), path, io.BytesIO(b"0123456789")):
            await provider.store("key", data)
            assert await provider.retrieve("key") == b"0123456789"
        with path.open("rb") as file:
            file.seek(4)
            await provider.store("key", file)
            assert not file.closed
            assert await provider.retrieve("key") == b"456789"
        for data in (big, big.open("rb")):
            await provider.store("key", data, compress="zstd")
            assert await provider.retrieve("key") == BIG
            if not isinstance(data, Path):
                data.close()

    run(main)


def test_a_pipe():
    read, write = os.pipe()
    threading.Thread(target=lambda: (os.write(write, b"through a pipe"), os.close(write))).start()

    async def main(provider):
        with os.fdopen(read, "rb") as file:
            await provider.store("key", file)
        assert await provider.retrieve("key") == b"through a pipe"

    run(main)


def test_a_named_pipe_by_its_path(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    threading.Thread(target=lambda: path.write_bytes(b"through a fifo")).start()

    async def main(provider):
        await provider.store("key", path)
        assert await provider.retrieve("key") == b"through a fifo"

    run(main)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("text", "pass text.encode"),
        (7, "not int"),
        (None, "not NoneType"),
        (io.StringIO("text"), "opened as text"),
        (Path("/nowhere/at/all"), "cannot read the file"),
        (Path("/"), "is a directory"),
        (["text"], "yielded str where bytes"),
        ([1], "yielded int where bytes"),
    ],
)
def test_what_is_no_data_is_refused(data, words):
    driver = Spy()

    async def main(provider):
        with pytest.raises(StorageInvalidRequestError, match=words) as caught:
            await provider.store("key", data)
        assert caught.value.key == "key"
        assert await provider.retrieve("key") is None

    run(main, driver)
    assert "put" not in driver.calls or driver.objects.by_key == {}


class TheirError(Exception):
    """Of a user's own stream."""


@pytest.mark.parametrize("size", [10, 9_000_000])
@pytest.mark.parametrize("compress", [False, "zstd"])
def test_a_users_own_error_reaches_the_user(size, compress):
    closed = []

    async def broken():
        try:
            yield bytes(size)
            raise TheirError("theirs")
        finally:
            closed.append(True)

    async def main(provider):
        await provider.store("key", b"before")
        with pytest.raises(TheirError, match="theirs"):
            await provider.store("key", broken(), compress=compress)
        assert await provider.retrieve("key") == b"before"
        assert closed == [True]

    run(main)


def test_a_cancelled_store_leaves_nothing():
    async def main():
        driver = Spy()
        reached, closed = asyncio.Event(), []

        async def endless():
            try:
                while True:
                    yield bytes(2**20)
                    reached.set()
                    await asyncio.sleep(0)
            finally:
                closed.append(True)

        async with over(driver) as provider:
            task = asyncio.create_task(provider.store("key", endless()))
            await reached.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await provider.retrieve("key") is None
            assert closed == [True]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_large_work_runs_in_other_threads(monkeypatch):
    from credstore.pipeline import codec as codecs

    seen = []
    real_encode, real_decode = codecs.encode, codecs.decode

    def encode(codec, data, dictionary=None):
        seen.append((len(data), threading.current_thread() is threading.main_thread()))
        return real_encode(codec, data)

    def decode(codec, data, *, max_size, dictionary=None, several=False):
        seen.append((max_size, threading.current_thread() is threading.main_thread()))
        return real_decode(codec, data, max_size=max_size)

    monkeypatch.setattr("credstore.provider.write.encode", encode)
    monkeypatch.setattr("credstore.pipeline.codec.decode", decode)

    async def main(provider):
        for size in (1000, 2_000_000):
            await provider.store("key", bytes(size), compress="gzip")
            await provider.retrieve("key")

    run(main)
    assert seen == [(1000, True), (1000, True), (2_000_000, False), (2_000_000, False)]


def test_progress_is_told():
    told = []

    async def main(provider):
        await provider.store("key", b"12345", progress=lambda done, total: told.append((done, total)))

    run(main)
    assert told[-1] == (5, 5)
