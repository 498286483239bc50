"""Progress of reads and writes: in order, to the end; what the callback raises reaches the user."""

import asyncio

import pytest

from credstore import S3CompatibleConfig, Secret
from credstore.errors import StorageConfigurationError, StorageInvalidRequestError
from tests.faults.messages import error as refused
from tests.faults.rig import run as on_origin
from tests.faults.script import Respond
from tests.provider.support import Spy, run

DATA = bytes(range(256)) * 4000
PARTS = {"multipart_threshold": 100_000, "part_size": 100_000}


class Stop(Exception):
    pass


def stop(_done, _total):
    raise Stop


@pytest.mark.parametrize("size", [0, 1, len(DATA)])
@pytest.mark.parametrize("settings", [{}, PARTS], ids=["one request", "parts"])
def test_reads_tell_how_far_they_are(size, settings):
    async def test(rig):
        await rig.store.store("k", DATA[:size])
        told = []
        assert await rig.store.retrieve("k", progress=lambda *at: told.append(at)) == DATA[:size]
        opened = []
        async with rig.store.open("k", progress=lambda *at: opened.append(at)) as reader:
            await reader.read()
        for each in (told, opened):
            assert each[-1] == (size, size)
            assert [done for done, _ in each] == sorted({done for done, _ in each})
            assert {total for _, total in each} == {size}

    on_origin(test, **settings)


def test_a_compressed_read_counts_stored_bytes():
    async def main(provider):
        result = await provider.store("k", DATA, compress="zstd")
        told = []
        assert await provider.retrieve("k", progress=lambda *at: told.append(at)) == DATA
        assert told[-1] == (result.size, result.size)

    run(main)


@pytest.mark.parametrize("settings", [{}, PARTS], ids=["one request", "parts"])
def test_what_a_callback_raises_is_the_callers_and_leaves_nothing_open(settings):
    async def test(rig):
        with pytest.raises(Stop):
            await rig.store.store("k", DATA, progress=stop)
        assert rig.origin.open_uploads == 0
        await rig.store.store("k", DATA)
        with pytest.raises(Stop):
            await rig.store.retrieve("k", progress=stop)
        with pytest.raises(Stop):
            await read(rig.store)
        assert await rig.store.retrieve("k") == DATA

    async def read(store):
        async with store.open("k", progress=stop) as reader:
            await reader.read()

    on_origin(test, **settings)


async def opened(provider, progress):
    async with provider.open("k", progress=progress):
        pass


async def endless():
    while True:
        yield b"x" * 1000


WATCHED = {
    "retrieve": lambda p, v: p.retrieve("k", progress=v),
    "open": opened,
    "rotate_keys": lambda p, v: p.rotate_keys(progress=v),
    "store bytes": lambda p, v: p.store("k", b"new", progress=v),
    "store a stream": lambda p, v: p.store("k", endless(), progress=v),
}
NOT_CALLABLE = [0, 5, "x", "", b"x", True, False, [], {}, (), float("nan")]


@pytest.mark.parametrize("value", NOT_CALLABLE, ids=repr)
@pytest.mark.parametrize("name", WATCHED)
def test_what_cannot_be_called_is_refused_before_the_store_is_asked(name, value):
    spy = Spy()

    async def main(provider):
        await provider.store("k", b"old")
        spy.calls.clear()
        with pytest.raises(
            StorageInvalidRequestError, match="progress is a function of two numbers"
        ) as caught:
            await WATCHED[name](provider, value)
        assert (caught.value.applied, caught.value.operation) == ("no", name.split()[0])
        assert not spy.calls
        assert await provider.retrieve("k") == b"old"

    run(main, spy)


@pytest.mark.parametrize(
    "call",
    [
        lambda p: p.retrieve("k", progress=None),
        lambda p: opened(p, None),
        lambda p: p.store("k", b"new", progress=None),
        lambda p: p.store("k", iter([b"new"]), progress=None),
    ],
)
def test_no_callback_is_none_for_every_verb(call):
    async def main(provider):
        await provider.store("k", b"old")
        await call(provider)
        assert await provider.exists("k")

    run(main)


def test_a_bandwidth_limit_holds_for_a_store(monkeypatch):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr("credstore.wire.http._sleep", sleep)

    async def test(rig):
        await rig.store.store("k", DATA)
        up = len(slept)
        assert await rig.store.retrieve("k") == DATA
        assert 0 < up < len(slept)

    on_origin(test, bandwidth_limit=1_000_000, **PARTS)


def test_a_bandwidth_limit_below_a_kilobyte_is_refused():
    with pytest.raises(StorageConfigurationError, match="bandwidth_limit"):
        S3CompatibleConfig(
            bucket="bucket",
            endpoint="http://127.0.0.1:1",
            access_key_id="a",
            secret_access_key=Secret("b"),
            bandwidth_limit=5,
        )


def test_bytes_count_as_they_leave_and_all_of_them_once_they_are_there():
    """Not only once a request is done, which for a large body on a slow line is the end."""

    async def test(rig):
        told = []
        data = bytes(2_000_000)
        await rig.store.store("k", data, progress=lambda *at: told.append(at))
        assert len(told) >= 7
        assert told[-1] == (len(data), len(data))
        assert [done for done, _ in told] == sorted({done for done, _ in told})

    on_origin(test)
    on_origin(test, multipart_threshold=600_000, part_size=600_000)


def test_what_is_sent_again_counts_once():
    async def test(rig):
        rig.origin.plan(
            "before-apply", Respond(lambda _: refused(503, "SlowDown")), operation="UploadPart", times=2
        )
        told = []
        data = bytes(2_000_000)
        await rig.store.store("k", data, progress=lambda *at: told.append(at))
        assert told[-1] == (len(data), len(data))
        assert [done for done, _ in told] == sorted({done for done, _ in told})

    on_origin(test, multipart_threshold=600_000, part_size=600_000)
