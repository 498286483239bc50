"""Sources that change, stall, lie or are left half read: refused, closed, never stored in part."""

import asyncio
import io
import mmap
import os
import threading
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from credstore import (
    MemoryStorageProvider,
    StorageError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageUnavailableError,
)
from credstore.provider import sources
from credstore.threads import in_daemon
from tests.provider.support import Spy, over, run

SPOOLED, LARGER = 1000, 9_000_000


class Leaving(Spy):
    """Fails, or is left, after the first chunk of a body."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    async def put(self, request):
        self.kept = request.body.open()  # So that no garbage collection closes it.
        await anext(self.kept)
        raise self.error


def tracked(closed, size):
    async def source():
        try:
            for _ in range(3):
                yield bytes(size)
        finally:
            closed.append(True)

    return source()


@pytest.mark.parametrize("compress", [False, "gzip", "zstd"])
@pytest.mark.parametrize("error", [StorageUnavailableError("down"), asyncio.CancelledError()], ids=type)
def test_a_stream_is_closed_when_the_driver_leaves_it(compress, error):
    closed = []

    async def main(provider):
        with pytest.raises(type(error)):
            await provider.store("key", tracked(closed, LARGER), compress=compress)
        assert closed == [True]

    run(main, Leaving(error))


@pytest.mark.parametrize("error", [StorageUnavailableError("down"), asyncio.CancelledError()], ids=type)
def test_a_plain_generator_is_closed_in_a_thread_when_the_driver_leaves_it(error):
    threads = []

    def source():
        try:
            for _ in range(3):
                threads.append(threading.current_thread())
                yield bytes(LARGER)
        finally:
            threads.append(threading.current_thread())
            threads.append("closed")

    async def main(provider):
        with pytest.raises(type(error)):
            await provider.store("key", source())
        assert threads[-1] == "closed"
        assert threading.current_thread() not in threads

    run(main, Leaving(error))


def test_a_call_that_is_cancelled_does_not_wait_for_a_source_that_is_at_work():
    begun, go, closed = threading.Event(), threading.Event(), threading.Event()

    def source():
        try:
            yield b"1"
            begun.set()
            assert go.wait(600)
            yield b"2"
        finally:
            closed.set()

    async def main(provider):
        task = asyncio.ensure_future(provider.store("key", source()))
        await asyncio.to_thread(begun.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not closed.is_set()
        go.set()
        assert await asyncio.to_thread(closed.wait, 60)
        assert await provider.retrieve("key") is None

    run(main)


def test_a_reader_at_its_end_is_refused():
    async def main(provider):
        await provider.store("from", b"1")
        await provider.store("to", b"precious")
        async with provider.open("from") as reader:
            await reader.read()
            with pytest.raises(StorageInvalidRequestError, match="at its end"):
                await provider.store("to", reader)
        assert await provider.retrieve("to") == b"precious"

    run(main)


@pytest.mark.parametrize("options", [{"compres": True}, {"encryption": True}, {"if_match": ""}])
def test_a_stream_is_as_it_was_when_the_call_is_refused(options):
    async def main(provider):
        source = tracked([], 1)
        with pytest.raises(StorageError):
            await provider.store("key", source, **options)
        assert (await provider.store("key", source)).size == 3

    run(main)


def test_the_file_of_a_path_is_closed_when_the_driver_leaves_it(tmp_path, monkeypatch):
    path = tmp_path / "large"
    path.write_bytes(bytes(LARGER))
    opened = []

    def noted(*arguments):
        opened.append(Path(arguments[0]).open(*arguments[1:]))  # noqa: SIM115 - closed by whom we test
        return opened[-1]

    monkeypatch.setattr("credstore.provider.sources.open", noted, raising=False)

    async def main(provider):
        with pytest.raises(StorageUnavailableError):
            await provider.store("key", path)
        assert opened
        assert all(file.closed for file in opened)

    run(main, Leaving(StorageUnavailableError("down")))


@pytest.mark.parametrize("size", [SPOOLED, LARGER])
def test_an_object_streams_from_one_provider_into_another(size):
    async def main(provider):
        await provider.store("from", os.urandom(size), compress="gzip")
        async with provider.open("from") as reader:
            result = await provider.store("to", reader, compress="zstd")
        assert result.plain_size == size
        assert await provider.retrieve("to") == await provider.retrieve("from")

    run(main)


def test_an_error_of_the_source_provider_keeps_its_own_facts():
    source = Spy()

    async def main(target):
        async with over(source) as provider:
            await provider.store("from", b"precious" * 100)
            found = source.objects.by_key["from"]
            object.__setattr__(found, "data", b"precious" * 99 + b"spoiled!")
            with pytest.raises(StorageIntegrityError) as caught:
                async with provider.open("from") as reader:
                    await target.store("to", reader)
        assert (caught.value.operation, caught.value.key) == ("open", "from")
        assert await target.retrieve("to") is None

    run(main)


class AsyncFile:
    """As aiofiles and Starlette's uploads have it: `read` is a coroutine."""

    async def read(self, size=-1):
        return b""


def closed_file():
    file = io.BytesIO(b"1")
    file.close()
    return file


def written_only(tmp_path):
    return (tmp_path / "out").open("wb")


class Stalling(io.RawIOBase):
    """A file without blocking: nothing there now is None, not the end."""

    def __init__(self):
        super().__init__()
        self.given = [b"", b"some", None, b"more"]

    def readable(self):
        return True

    def read(self, size=-1):
        return self.given.pop(0) if self.given else b""


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda _: AsyncFile(), "async"),
        (lambda _: closed_file(), "cannot be read"),
        (written_only, "cannot be read"),
        (lambda _: Stalling(), "NoneType"),
        (lambda _: [b"a", None, b"b"], "NoneType"),
        (lambda _: {"claim": "x"}, "json.dumps"),
    ],
    ids=["async file", "closed", "written only", "not blocking", "None among chunks", "mapping"],
)
def test_a_source_that_gives_no_bytes_is_refused(tmp_path, make, words):
    driver = Spy()

    async def main(provider):
        data = make(tmp_path)
        with pytest.raises(StorageInvalidRequestError, match=words) as caught:
            await provider.store("key", data)
        assert (caught.value.provider, caught.value.operation, caught.value.key) == ("memory", "store", "key")
        assert caught.value.applied == "no"
        if hasattr(data, "close"):
            data.close()

    run(main, driver)
    assert driver.objects.by_key == {}


def test_files_whose_seek_answers_nothing():
    """`mmap.seek` returns None before Python 3.13."""

    async def main(provider):
        with mmap.mmap(-1, 10) as memory:
            memory.write(b"0123456789")
            memory.seek(4)
            await provider.store("key", memory)
        assert await provider.retrieve("key") == b"456789"

    run(main)


@asynccontextmanager
async def changing(path, change):
    """A driver that changes the file once it has begun to read it."""

    class Late(Spy):
        async def put(self, request):
            change(path)
            return await super().put(request)

    driver = Late()
    async with over(driver) as provider:
        yield provider


def grow(path):
    with path.open("ab") as file:
        file.write(b"more")


def shrink(path):
    os.truncate(path, 10)


def rewrite(path):
    with path.open("r+b") as file:
        file.write(b"other")
    os.utime(path, ns=(1, 1))


def rewrite_in_secret(path):
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"other")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def substitute(path):
    path.rename(path.with_name("old"))
    path.write_bytes(bytes(LARGER))


@pytest.mark.parametrize("compress", [False, "gzip", "zstd"])
@pytest.mark.parametrize("change", [grow, shrink, rewrite, rewrite_in_secret])
@pytest.mark.parametrize("by", ["path", "file"])
def test_a_file_that_changes_meanwhile_is_refused(tmp_path, compress, change, by):
    path = tmp_path / "log"
    path.write_bytes(bytes(LARGER))

    async def main():
        async with changing(path, change) as provider:
            with (
                path.open("rb") as file,
                pytest.raises(StorageInvalidRequestError, match="changed") as caught,
            ):
                await provider.store("key", path if by == "path" else file, compress=compress)
            assert (caught.value.code, caught.value.key) == ("SOURCE_CHANGED", "key")
            assert await provider.retrieve("key") is None

    asyncio.run(main())


def test_a_file_put_in_anothers_place_is_refused(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(bytes(LARGER))

    async def main():
        async with changing(path, substitute) as provider:
            with pytest.raises(StorageInvalidRequestError, match="changed"):
                await provider.store("key", path)
            assert await provider.retrieve("key") is None

    asyncio.run(main())


@pytest.mark.parametrize("size", [SPOOLED, LARGER])
def test_a_file_without_a_descriptor_that_changes_length_is_refused(size):
    class Growing(io.BytesIO):
        def read(self, asked=-1):
            chunk = super().read(asked)
            return chunk if chunk or not asked else self._more()

        def _more(self):
            self._more = bytes
            return b"more"

    async def main(provider):
        with pytest.raises(StorageInvalidRequestError, match="changed"):
            await provider.store("key", Growing(bytes(size)))
        assert await provider.retrieve("key") is None

    run(main)


def test_a_plain_generator_runs_in_threads_and_its_error_is_kept():
    threads = set()

    def source():
        threads.add(threading.current_thread())
        yield b"1"
        raise LookupError("theirs")

    async def main(provider):
        with pytest.raises(LookupError, match="theirs"):
            await provider.store("key", source())
        assert await provider.retrieve("key") is None

    run(main)
    assert threading.main_thread() not in threads


def test_bytes_that_change_after_the_call_began_do_not_matter():
    class Late(Spy):
        async def put(self, request):
            given[:] = b"spoiled!"
            return await super().put(request)

    given = bytearray(b"precious")

    async def main(provider):
        await provider.store("key", given)
        assert await provider.retrieve("key") == b"precious"

    run(main, Late())


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_users_error_keeps_its_cause_and_is_named_in_the_event(wrapped):
    class Wrapping(Spy):
        async def put(self, request):
            try:
                return await super().put(request)
            except Exception as error:
                if wrapped:
                    raise StorageUnavailableError("the connection broke", applied="maybe") from error
                raise

    async def source():
        yield bytes(LARGER)
        try:
            raise KeyError("first")
        except KeyError as error:
            raise LookupError("theirs") from error

    events = []

    async def main(provider):
        with pytest.raises(LookupError, match="theirs") as caught:
            await provider.store("key", source())
        assert isinstance(caught.value.__cause__, KeyError)
        assert isinstance(caught.value.__context__, KeyError)

    run(main, Wrapping(), observers=[events.append])
    assert [event.error for event in events] == ["LookupError"]


def test_a_file_that_is_opened_after_its_loop_has_ended_is_closed(tmp_path, monkeypatch):
    """The pool is not the loop's, which ends without waiting for what was cancelled."""
    (tmp_path / "file").write_bytes(b"data")
    begun, go, closed = threading.Event(), threading.Event(), threading.Event()
    held = []

    class Watched(io.FileIO):
        def close(self):
            super().close()
            closed.set()

    def late(path, _mode):
        begun.set()
        assert go.wait(600)
        held.append(Watched(path))  # So that nothing else closes it.
        return held[0]

    async def main():
        async with MemoryStorageProvider() as store:
            task = asyncio.ensure_future(store.store("k", tmp_path / "file"))
            await in_daemon(begun.wait)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    monkeypatch.setattr(sources, "open", late, raising=False)
    asyncio.run(main())
    go.set()
    assert closed.wait(30)
