"""What code of the user's raises is what the user gets: the first of it, itself, whatever came of it."""

import asyncio
import traceback

import pytest

from credstore import ClientSide, KeyRing, LocalConfig, LocalKey, MemoryConfig
from credstore.drivers.local.driver import LocalDriver
from credstore.drivers.memory import MemoryDriver
from credstore.errors import ErrorCode, StorageConflictError, StorageUnavailableError
from credstore.strategies.fallback.driver import FallbackDriver
from credstore.strategies.prefixed import PrefixedDriver
from tests.faults.rig import run as on_origin
from tests.provider.support import over, run

PART = 50_000
DATA = bytes(range(256)) * 2000
PARTS = {"multipart_threshold": PART, "part_size": PART, "max_concurrency": 8}


class Unforeseen(BaseException):
    """Of the user's own, and no `Exception`."""


def failures():
    cause = KeyError("cause")
    caused = ValueError("mine")
    caused.__cause__ = cause
    taken = StorageConflictError("of another store", code=ErrorCode.CONCURRENT_WRITE, retryable=True)
    return [
        ValueError("mine"),
        caused,
        OSError(5, "mine"),
        ExceptionGroup("mine", [ValueError(), TypeError()]),
        BaseExceptionGroup("mine", [Unforeseen(), ValueError()]),
        Unforeseen("mine"),
        StorageUnavailableError("of another store"),
        taken,
    ]


def chain(error):
    return error.__cause__, error.__context__, error.__suppress_context__


async def ended(awaitable) -> BaseException:
    try:
        await awaitable
    except BaseException as error:
        return error
    raise AssertionError("it succeeded")


class Once:
    """A callback that raises at its nth call, and counts how often it is called."""

    def __init__(self, error, nth=1):
        self.error = error
        self.nth = nth
        self.called = 0

    def __call__(self, _done, _total):
        self.called += 1
        if self.called >= self.nth:
            raise self.error


@pytest.mark.parametrize("number", range(len(failures())))
@pytest.mark.parametrize("nth", [1, 3])
def test_b4_a_callback_that_raises_while_parts_are_sent_is_not_called_again(number, nth):
    async def test(rig):
        error = failures()[number]
        before = chain(error)
        progress = Once(error, nth)
        found = await ended(rig.store.store("k", DATA, progress=progress))
        assert found is error
        assert (progress.called, chain(found)) == (nth, before)
        assert rig.origin.open_uploads == 0
        assert rig.body() is None

    on_origin(test, **PARTS)


def test_b4_each_call_that_is_to_fail_raises_another_exception_and_the_first_counts():
    async def test(rig):
        raised = []

        def progress(_done, _total):
            raised.append(ValueError(len(raised)))
            raise raised[-1]

        for _ in range(10):
            raised.clear()
            found = await ended(rig.store.store("k", DATA, progress=progress))
            assert [found] == raised
            assert "unforeseen" not in "".join(traceback.format_exception(found))

    on_origin(test, **PARTS)


@pytest.mark.parametrize("number", range(len(failures())))
@pytest.mark.parametrize("settings", [{}, PARTS], ids=["one request", "parts"])
def test_what_a_stream_raises_is_the_users_wherever_it_raises(number, settings):
    async def test(rig):
        for at in (0, PART, len(DATA)):
            error = failures()[number]
            before = chain(error)

            async def chunks(at=at, error=error):
                for start in range(0, at, 10_000):
                    yield DATA[start : min(start + 10_000, at)]
                raise error

            found = await ended(rig.store.store("k", chunks()))
            assert found is error
            assert chain(found) == before
            assert (rig.body(), rig.origin.open_uploads) == (None, 0)

    on_origin(test, **settings)


def test_a_stream_and_a_callback_that_both_raise_end_with_the_first():
    async def test(rig):
        first = ValueError("of the stream")

        async def chunks():
            yield DATA[:PART]
            raise first

        progress = Once(TypeError("of the callback"))
        found = await ended(rig.store.store("k", chunks(), progress=progress))
        assert found in {first, progress.error}
        assert (found is progress.error) is (progress.called == 1)

    on_origin(test, **PARTS)


def test_what_is_raised_while_the_first_is_on_its_way_does_not_take_its_place():
    async def test(rig):
        async def chunks():
            yield DATA[: 3 * PART]
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise TypeError("of the stream, which was told to end") from None

        progress = Once(ValueError("of the callback"))
        found = await ended(rig.store.store("k", chunks(), progress=progress))
        assert found is progress.error
        assert found.__context__ is None

    on_origin(test, **PARTS)


def test_a_callback_of_a_read_in_parts_is_not_called_again():
    async def test(rig):
        await rig.store.store("k", DATA)
        progress = Once(ValueError("mine"), 2)
        assert await ended(rig.store.retrieve("k", progress=progress)) is progress.error
        assert progress.called == 2

    on_origin(test, **PARTS)


@pytest.mark.parametrize("kind", ["memory", "local", "prefixed", "fallback"])
def test_so_it_is_in_every_store(kind, tmp_path):
    def local():
        return LocalDriver(LocalConfig(path=str(tmp_path)))

    def memory():
        return MemoryDriver(MemoryConfig())

    drivers = {
        "memory": memory,
        "local": local,
        "prefixed": lambda: PrefixedDriver(memory(), "below/"),
        "fallback": lambda: FallbackDriver(local(), memory()),
    }

    async def main():
        store = over(drivers[kind]())
        async with store:
            for error in failures():

                async def chunks():
                    for _ in range(100):
                        yield DATA

                progress = Once(error, 3)
                assert await ended(store.store("k", chunks(), progress=progress)) is error
                assert progress.called == 3

                async def failing(error=error):
                    yield DATA
                    raise error

                assert await ended(store.store("k", failing())) is error
                assert await store.exists("k") is False

    asyncio.run(main())


def test_opening_an_encrypted_object_tells_the_callbacks_own_exception():
    """Its header is read before the reader is there, and told to the callback too."""

    async def main(provider):
        await provider.store("k", DATA)
        progress = Once(ValueError("mine"))

        async def read():
            async with provider.open("k", progress=progress) as reader:
                await reader.read()

        assert await ended(read()) is progress.error
        assert progress.called == 1

    key = LocalKey(bytes(range(32)), key_id="tests")
    run(main, encryption=ClientSide(KeyRing(key), store_id="tests"))


def test_what_the_keys_of_a_batch_raise_is_the_users():
    error = KeyError("mine")

    def keys():
        yield "a"
        raise error

    async def main(provider):
        assert await ended(provider.batch_delete(keys())) is error

    run(main)
