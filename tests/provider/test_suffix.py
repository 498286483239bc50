"""`open(key, suffix=...)`: the last plain bytes of an object, however it is stored."""

import gzip
import secrets
from dataclasses import replace

import pytest

from credstore import (
    ClientSide,
    KeyRing,
    LocalKey,
    MemoryConfig,
    StorageInvalidRequestError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
)
from credstore.errors import StorageDecryptionError, StorageIntegrityError
from tests.provider.support import Spy, run
from tests.provider.test_reading import stored

PLAIN = b"".join(b"%07d\n" % number for number in range(60_000))
POLICY = ClientSide(KeyRing(LocalKey(secrets.token_bytes(32))), store_id="tests")
COUNTS = (1, 8, 64 * 1024, 70_000, len(PLAIN) - 1, len(PLAIN), len(PLAIN) + 1, 1 << 40)


class SmallSpool(MemoryConfig):
    """Streams are not kept in memory until their size is known."""

    @property
    def spool_size(self):
        return 1000


async def last(provider, key, count, **options):
    async with provider.open(key, suffix=count, **options) as reader:
        data = await reader.read()
        assert reader.length in {None, len(data)}
        return data


@pytest.mark.parametrize("compress", [False, "gzip", "zstd"])
@pytest.mark.parametrize("policy", [None, POLICY], ids=["open", "sealed"])
def test_the_last_plain_bytes_of_whatever_is_stored(compress, policy):
    async def main(provider):
        await provider.store("k", PLAIN, compress=compress)
        for count in COUNTS:
            assert await last(provider, "k", count) == PLAIN[-count:]

    run(main, encryption=policy)


@pytest.mark.parametrize("compress", [False, "gzip", "zstd"])
@pytest.mark.parametrize("policy", [None, POLICY], ids=["open", "sealed"])
@pytest.mark.parametrize("streamed", [False, True])
def test_nothing_of_an_empty_object(compress, policy, streamed):
    async def main(provider):
        await provider.store("k", [] if streamed else b"", compress=compress)
        assert await last(provider, "k", 10) == b""

    run(main, encryption=policy)


@pytest.mark.parametrize("policy", [None, POLICY], ids=["open", "sealed"])
@pytest.mark.parametrize("compress", ["gzip", "zstd"])
def test_an_object_that_does_not_tell_its_size_is_read_to_its_end(compress, policy):
    async def main(provider):
        pieces = (PLAIN[start : start + 10_000] for start in range(0, len(PLAIN), 10_000))
        await provider.store("k", pieces, compress=compress)
        assert (await provider.get_metadata("k")).plain_size is None
        for count in COUNTS:
            assert await last(provider, "k", count) == PLAIN[-count:]

    run(main, config=SmallSpool(), encryption=policy)


def test_gzip_that_somebody_else_stored():
    driver = Spy()

    async def main(provider):
        stored(driver, "k", gzip.compress(PLAIN), encoding="gzip")
        assert await last(provider, "k", 100) == PLAIN[-100:]

    run(main, driver)


def test_one_request_where_it_is_stored_as_it_is():
    driver = Spy()

    async def main(provider):
        await provider.store("k", PLAIN, compress=False)
        driver.calls.clear()
        assert await last(provider, "k", 64 * 1024) == PLAIN[-64 * 1024 :]
        assert driver.calls == ["get"]

    run(main, driver)


def test_one_request_for_stored_bytes_and_for_all_of_a_small_compressed_object():
    driver = Spy()

    async def main(provider):
        result = await provider.store("k", PLAIN, compress="zstd")
        raw = await provider.retrieve("k", decode=False)
        driver.calls.clear()
        assert await last(provider, "k", 5, decode=False) == raw[-5:]
        assert driver.calls == ["get"]
        driver.calls.clear()
        assert await last(provider, "k", result.size) == PLAIN[-result.size :]
        assert driver.calls == ["get"]

    run(main, driver)


def test_the_item_is_of_the_whole_object():
    async def main(provider):
        await provider.store("k", PLAIN, compress="gzip", metadata={"a": "b"})
        item = await provider.get_metadata("k")
        async with provider.open("k", suffix=10) as reader:
            assert reader.info == item
        await provider.store("p", PLAIN, compress=False)
        async with provider.open("p", suffix=10) as reader:
            assert reader.info == await provider.get_metadata("p")

    run(main)


@pytest.mark.parametrize(
    "wrong",
    [
        {"suffix": 0},
        {"suffix": -1},
        {"suffix": 1.5},
        {"suffix": True},
        {"suffix": "9"},
        {"suffix": 5, "start": 1},
        {"suffix": 5, "end": 9},
        {"suffix": 5, "end": 0},
    ],
)
def test_a_range_that_is_none_is_refused_before_anything_is_asked(wrong):
    driver = Spy()

    async def main(provider):
        with pytest.raises(StorageInvalidRequestError) as caught:
            async with provider.open("k", **wrong):
                pass
        assert (caught.value.code, caught.value.applied) == ("INVALID_RANGE", "no")
        assert driver.calls == []

    run(main, driver)


@pytest.mark.parametrize("policy", [None, POLICY], ids=["open", "sealed"])
def test_nothing_is_there(policy):
    async def main(provider):
        with pytest.raises(StorageObjectNotFoundError):
            await last(provider, "absent", 5)

    run(main, encryption=policy)


def test_more_than_may_be_held_of_an_object_without_a_size_is_refused():
    async def main(provider):
        await provider.store("k", (each for each in [PLAIN] * 10), compress="zstd")
        assert await last(provider, "k", 1_000_000) == (PLAIN * 10)[-1_000_000:]
        with pytest.raises(StorageInvalidRequestError, match="max_retrieve_size") as caught:
            await last(provider, "k", 4_000_000)
        assert caught.value.code == "TOO_LARGE"

    run(main, config=SmallSpool(max_retrieve_size=1_000_000))


def test_a_changed_end_of_an_encrypted_object_never_comes_out():
    driver = Spy()

    async def main(provider):
        await provider.store("k", PLAIN, compress=False)
        found = driver.objects.by_key["k"]
        for changed in (found.data[:-1] + bytes([found.data[-1] ^ 1]), found.data[: -64 * 1024 - 16]):
            damage(driver, found, changed)
            with pytest.raises(StorageDecryptionError):
                await last(provider, "k", 10)

    run(main, driver, encryption=POLICY)


def test_a_changed_end_of_a_compressed_object_never_ends_well():
    driver = Spy()

    async def main(provider):
        await provider.store("k", PLAIN, compress="gzip")
        found = driver.objects.by_key["k"]
        damage(driver, found, found.data[:-20] + bytes([found.data[-20] ^ 1]) + found.data[-19:])
        with pytest.raises(StorageIntegrityError):
            await last(provider, "k", 10)

    run(main, driver)


def damage(driver, found, data):
    driver.objects.by_key["k"] = replace(found, data=data, info=replace(found.info, size=len(data)))


def test_the_second_look_is_at_the_version_of_the_first():
    class Replacing(Spy):
        async def get(self, key, options):
            reader = await super().get(key, options)
            if options.suffix:
                await provider_of[0].store("k", b"another", compress="gzip")
            return reader

    provider_of = []

    async def main(provider):
        provider_of.append(provider)
        await provider.store("k", PLAIN, compress="gzip")
        with pytest.raises(StoragePreconditionFailedError):
            await last(provider, "k", 10)

    run(main, Replacing())


def test_progress_tells_of_stored_bytes():
    told = []

    async def main(provider):
        await provider.store("k", PLAIN, compress=False)
        await last(provider, "k", 100, progress=lambda done, size: told.append((done, size)))
        assert told[-1] == (100, 100)

    run(main)
