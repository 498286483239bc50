"""Dictionaries in a store: there before the first object that needs them, fetched once, missed by name."""

import asyncio
from dataclasses import replace

import pytest

from credstore import (
    Dictionary,
    LocalConfig,
    LocalStorageProvider,
    MemoryConfig,
    MemoryStorageProvider,
    S3Config,
    S3StorageProvider,
    Secret,
    StorageCodecError,
    StorageFactory,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageUnsupportedError,
    train_dictionary,
)
from credstore.driver import READ_ALL
from credstore.drivers.memory import MemoryDriver
from credstore.provider.provider import StorageProvider
from credstore.testing.harness import put
from tests.provider.support import over
from tests.servers.records import records

RECORDS = records(300)
DICTIONARY = train_dictionary(RECORDS[:200], size=32 * 1024)
NEWER = train_dictionary(RECORDS[100:], size=16 * 1024)
RECORD = RECORDS[250]
HOME = ".credstore/dictionaries/"


class Counting(MemoryDriver):
    """A memory store, its objects perhaps another's, and the calls it gets."""

    def __init__(self, other=None):
        objects = None if other is None else other._objects
        super().__init__(MemoryConfig(), objects=objects)
        self.calls = []

    async def put(self, request):
        self.calls.append(("put", request.key))
        return await super().put(request)

    async def get(self, key, options):
        self.calls.append(("get", key))
        return await super().get(key, options)

    async def head(self, key, options):
        self.calls.append(("head", key))
        return await super().head(key, options)


def provider_over(driver, **settings) -> StorageProvider:
    return over(driver, MemoryConfig(**settings))


def run(main):
    asyncio.run(main())


def test_it_is_stored_once_before_the_first_object_and_read_once_by_others():
    async def main():
        writing, name = Counting(), DICTIONARY.name
        async with provider_over(writing) as store:
            for number in range(3):
                result = await store.store(f"k{number}", RECORD, dictionary=DICTIONARY)
                assert (result.compression, result.dictionary) == ("zstd", name)
                assert result.size < 1500
            assert writing.calls == [
                ("head", HOME + name),
                ("put", HOME + name),
                ("put", "k0"),
                ("put", "k1"),
                ("put", "k2"),
            ]
            reading = Counting(writing)
            other = provider_over(reading)
            found = await asyncio.gather(*(other.retrieve(f"k{n % 3}") for n in range(30)))
            assert set(found) == {RECORD}
            assert reading.calls.count(("get", HOME + name)) == 1
            assert len(reading.calls) == 31
            item = await other.get_metadata("k0")
            assert (item.dictionary, item.plain_size, item.compression) == (name, len(RECORD), "zstd")

    run(main)


def test_a_store_that_has_it_is_not_given_it_again():
    async def main():
        first = Counting()
        await provider_over(first).add_dictionary(DICTIONARY)
        second = Counting(first)
        assert await provider_over(second).add_dictionary(DICTIONARY) == DICTIONARY.name
        assert second.calls == [("head", HOME + DICTIONARY.name)]

    run(main)


def test_a_setting_names_the_one_for_all_and_a_newer_one_leaves_older_objects_readable():
    async def main():
        driver = Counting()
        old = provider_over(driver, compress="zstd", dictionary=DICTIONARY.name)
        await old.add_dictionary(DICTIONARY)
        await old.store("old", RECORD)
        new = provider_over(Counting(driver), compress="zstd", dictionary=NEWER.name)
        await new.add_dictionary(NEWER)
        assert (await new.store("new", RECORD)).dictionary == NEWER.name
        fresh = provider_over(Counting(driver))
        assert [await fresh.retrieve(key) for key in ("old", "new")] == [RECORD, RECORD]
        assert (await fresh.store("plain", RECORD, compress="zstd")).dictionary is None
        assert (await new.store("gzip", RECORD, compress="gzip")).dictionary is None

    run(main)


def test_streams_ranges_copies_and_raw_reads():
    async def main():
        async with MemoryStorageProvider(MemoryConfig()) as store:
            data = b"".join(RECORDS) * 10

            async def chunks():
                for start in range(0, len(data), 100_000):
                    yield data[start : start + 100_000]

            await store.store("k", chunks(), dictionary=DICTIONARY)
            await store.copy("k", "copy")
            await store.move("copy", "moved")
            for key in ("k", "moved"):
                assert await store.retrieve(key) == data
                async with store.open(key, start=777, end=5_000) as reader:
                    assert await reader.read() == data[777:5_000]
                    assert reader.info.dictionary == DICTIONARY.name
            assert await store.retrieve("k", decode=False) != data

    run(main)


@pytest.mark.parametrize("way", ["retrieve", "open", "store", "get"])
def test_a_missing_one_is_told_by_its_name(way):
    async def main():
        async with MemoryStorageProvider(MemoryConfig()) as store:
            await store.store("k", RECORD, dictionary=DICTIONARY)
            await store._session.driver.delete(HOME + DICTIONARY.name)
            driver = store._session.driver
            other = provider_over(Counting(driver))
            calls = {
                "retrieve": lambda: other.retrieve("k"),
                "open": lambda: other.open("k").__aenter__(),
                "store": lambda: other.store("new", RECORD, dictionary=DICTIONARY.name),
                "get": lambda: other.get_dictionary(DICTIONARY.name),
            }
            with pytest.raises(StorageCodecError, match=DICTIONARY.name) as caught:
                await calls[way]()
            assert (caught.value.code, caught.value.retryable) == ("DICTIONARY_MISSING", False)
            assert not await other.exists("new")
            assert await other.retrieve("k", decode=False) is not None
            await other.add_dictionary(DICTIONARY)
            assert await other.retrieve("k") == RECORD

    run(main)


def test_one_that_was_changed_is_refused():
    async def main():
        async with MemoryStorageProvider(MemoryConfig()) as store:
            await store.store("k", RECORD, dictionary=DICTIONARY)
            await put(store._session.driver, HOME + DICTIONARY.name, NEWER.data)
            with pytest.raises(StorageIntegrityError, match="SHA-256") as caught:
                await provider_over(Counting(store._session.driver)).retrieve("k")
            assert (caught.value.code, caught.value.key) == ("DICTIONARY_CHANGED", "k")

    run(main)


@pytest.mark.parametrize(
    "options",
    [
        {"dictionary": DICTIONARY, "compress": "gzip"},
        {"dictionary": DICTIONARY, "compress": False},
        {"dictionary": "abc"},
        {"dictionary": DICTIONARY.name.upper()},
        {"dictionary": DICTIONARY.data},
        {"dictionary": 5},
    ],
)
def test_a_wrong_one_is_refused_before_anything_is_sent(options):
    async def main():
        driver = Counting()
        with pytest.raises(StorageInvalidRequestError):
            await provider_over(driver).store("k", RECORD, **options)
        assert driver.calls == []

    run(main)


def test_what_is_no_dictionary_is_not_added():
    async def main():
        with pytest.raises(StorageInvalidRequestError):
            await provider_over(Counting()).add_dictionary(DICTIONARY.data)

    run(main)


def test_a_failed_write_of_it_stores_no_object():
    class Refusing(Counting):
        async def put(self, request):
            if request.key.startswith(HOME):
                raise StorageUnsupportedError("no")
            return await super().put(request)

    async def main():
        driver = Refusing()
        with pytest.raises(StorageUnsupportedError):
            await provider_over(driver).store("k", RECORD, dictionary=DICTIONARY)
        assert not await provider_over(driver).exists("k")

    run(main)


def test_metadata_that_names_none_is_a_codec_error():
    async def main():
        driver = Counting()
        store = provider_over(driver)
        await store.store("k", RECORD, dictionary=DICTIONARY)
        info = await driver.head("k", READ_ALL)
        for name in ("", "x", "../../etc/passwd", "é" * 64):
            changed = replace(info, system={**info.system, "credstore-dictionary": name})

            async def get(_key, options, changed=changed):
                reader = await MemoryDriver.get(driver, "k", options)
                reader.info = changed
                return reader

            driver.get = get
            with pytest.raises(StorageCodecError):
                await provider_over(driver).retrieve("k")

    run(main)


def test_on_s3(s3_server):
    async def main():
        config = S3Config(
            bucket=s3_server.bucket,
            endpoint=s3_server.url,
            addressing="path",
            access_key_id="AKIDEXAMPLE",
            secret_access_key=Secret("canary-secret"),
        )
        async with S3StorageProvider(config) as store:
            await store.store("k", RECORD, dictionary=DICTIONARY)
            assert await store.retrieve("k") == RECORD
            assert await store.get_dictionary(DICTIONARY.name) == DICTIONARY

    run(main)


@pytest.mark.parametrize("name", ["zz", "", "A" * 64, "a" * 63, 5, None])
def test_what_cannot_name_a_dictionary_is_refused_as_an_argument(name):
    async def main():
        async with MemoryStorageProvider() as store:
            with pytest.raises(StorageInvalidRequestError, match="64 lower-case hex digits"):
                await store.get_dictionary(name)

    run(main)


def test_on_a_fallback_store(tmp_path):
    async def main():
        configs = [LocalConfig(path=tmp_path / name) for name in ("one", "two")]
        async with StorageFactory().create_with_fallback(*configs) as store:
            await store.store("k", RECORD, dictionary=DICTIONARY)
            assert await store.retrieve("k") == RECORD
        async with LocalStorageProvider(configs[0]) as store:
            assert await store.retrieve("k") == RECORD

    run(main)


def test_dictionaries_are_values():
    assert {DICTIONARY, Dictionary(DICTIONARY.data)} == {DICTIONARY}
