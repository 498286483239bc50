"""`retrieve` and `open`: verified, bounded, and right about what others stored."""

import asyncio
import gzip
import os
from contextlib import suppress
from dataclasses import replace

import pytest

from credstore import (
    MemoryConfig,
    StorageBucketNotFoundError,
    StorageCodecError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StoragePreconditionFailedError,
)
from credstore.driver import NO_HEADERS, ContentHeaders, ObjectInfo
from credstore.drivers.memory import MemoryObject
from tests.provider.support import Spy, over, run

PLAIN = b"".join(b"%07d\n" % number for number in range(200_000))


def stored(driver, key, data, *, system=None, encoding=None, write_id=None):
    """Put an object there as somebody else would."""
    info = ObjectInfo(
        key=key,
        size=len(data),
        etag="theirs",
        headers=ContentHeaders(content_type="text/plain", content_encoding=encoding),
        metadata={},
        system=system or {},
        write_id=write_id,
    )
    driver.objects.put(MemoryObject(data, info))


def damage(driver, key, change):
    found = driver.objects.by_key[key]
    data = change(found.data)
    driver.objects.put(replace(found, data=data, info=replace(found.info, size=len(data))))


def test_what_is_absent():
    driver = Spy()

    async def main(provider):
        assert await provider.retrieve("absent") is None
        assert await provider.get_metadata("absent") is None
        assert await provider.exists("absent") is False
        assert await provider.delete("absent") is False
        with pytest.raises(StorageNotFoundError) as caught:
            async with provider.open("absent"):
                pass
        assert (caught.value.key, caught.value.operation) == ("absent", "open")

    run(main, driver)


def test_a_missing_bucket_is_no_absent_object():
    class NoBucket(Spy):
        async def get(self, key, options):
            raise StorageBucketNotFoundError("there is no such bucket")

        head = get

    async def main(provider):
        for call in (provider.retrieve("k"), provider.get_metadata("k"), provider.exists("k")):
            with pytest.raises(StorageNotFoundError):
                await call

    run(main, NoBucket())


def test_a_small_store_and_retrieve_are_one_call_each():
    driver = Spy()

    async def main(provider):
        await provider.store("key", b"1", compress="gzip", if_absent=True)
        await provider.retrieve("key")

    run(main, driver)
    assert driver.calls == ["put", "get"]


@pytest.mark.parametrize("codec", [False, "gzip", "zstd"])
@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data[:40] + b"!" + data[41:]])
def test_damage_is_never_returned(codec, change):
    driver = Spy()

    async def main(provider):
        await provider.store("key", PLAIN[:5000], compress=codec)
        damage(driver, "key", change)
        with pytest.raises(StorageIntegrityError) as caught:
            await provider.retrieve("key")
        assert caught.value.key == "key"
        with pytest.raises(StorageIntegrityError) as caught:
            async with provider.open("key") as reader:
                await reader.read()
        assert (caught.value.key, caught.value.operation) == ("key", "open")

    run(main, driver)


def test_objects_of_the_original_and_of_strangers():
    driver = Spy()
    stored(
        driver,
        "original",
        gzip.compress(PLAIN),
        system={"x-compression": "gzip", "x-original-size": "1600000"},
    )
    stored(driver, "stranger", gzip.compress(PLAIN), encoding="gzip")
    stored(driver, "plain", PLAIN)
    stored(driver, "unknown", b"\x0b\x02\x80hello\x03", system={"x-compression": "brotli"})

    async def main(provider):
        for key in ("original", "stranger", "plain"):
            assert await provider.retrieve(key) == PLAIN
            async with provider.open(key) as reader:
                assert await reader.read() == PLAIN
        with pytest.raises(StorageCodecError, match="decode=False"):
            await provider.retrieve("unknown")
        assert await provider.retrieve("unknown", decode=False) == b"\x0b\x02\x80hello\x03"
        assert gzip.decompress(await provider.retrieve("stranger", decode=False)) == PLAIN

    run(main, driver)


def test_no_more_than_allowed():
    driver = Spy()
    bomb = gzip.compress(bytes(50_000_000))
    stored(driver, "bomb", bomb, encoding="gzip")

    async def main(provider):
        await provider.store("key", PLAIN, compress="gzip")
        for options in ({"max_size": 100}, {"max_size": len(PLAIN) - 1}):
            with pytest.raises(StorageInvalidRequestError, match="open\\(\\)") as caught:
                await provider.retrieve("key", **options)
            assert caught.value.code == "TOO_LARGE"
        assert await provider.retrieve("key", max_size=len(PLAIN)) == PLAIN
        with pytest.raises(StorageCodecError) as caught:
            await provider.retrieve("bomb")
        assert caught.value.code == "TOO_LARGE"

    run(main, driver, MemoryConfig(max_retrieve_size=2_000_000))


@pytest.mark.parametrize("codec", [False, "gzip", "zstd"])
def test_ranges_are_of_plain_bytes(codec):
    async def main(provider):
        await provider.store("key", PLAIN, compress=codec)
        await provider.store("empty", b"", compress=codec)
        for start, end in (
            (0, 1),
            (8, 16),
            (1_000_000, None),
            (1_599_999, 9_999_999),
            (0, 0),
            (5, 5),
            (0, None),
        ):
            async with provider.open("key", start=start, end=end) as reader:
                assert reader.info.plain_size == len(PLAIN)
                assert await reader.read() == PLAIN[start:end]
        async with provider.open("empty") as reader:
            assert await reader.read() == b""
        for start, end in ((-1, None), (5, 4), (len(PLAIN), None)):
            with pytest.raises(StorageInvalidRequestError) as caught:
                async with provider.open("key", start=start, end=end):
                    pass
            assert caught.value.code == "INVALID_RANGE"

    run(main)


@pytest.mark.parametrize("start", [3, 9000])
def test_a_range_is_of_the_version_it_was_planned_for(start):
    """Where the first response shows that more is needed, which for 9000 is that so much is not stored."""

    class Replaced(Spy):
        async def replaced(self, key):
            await over(Spy(self.objects)).store(key, b"another version, of another length")

        async def get(self, key, options):
            stored = await super().get(key, options)
            await self.replaced(key)
            return stored

        async def head(self, key, options):
            info = await super().head(key, options)
            await self.replaced(key)
            return info

    async def main(provider):
        await provider.store("key", bytes(10_000), compress="zstd")
        with pytest.raises(StoragePreconditionFailedError):
            async with provider.open("key", start=start, end=start + 4):
                pass

    run(main, Replaced())


def test_a_range_of_what_is_stored_unchanged_is_one_request():
    class Counted(Spy):
        seen = 0

        async def get(self, key, options):
            self.seen += 1
            return await super().get(key, options)

        async def head(self, key, options):
            self.seen += 1
            return await super().head(key, options)

    async def main(provider):
        await provider.store("key", b"0123456789")
        async with provider.open("key", start=3, end=7) as reader:
            assert await reader.read() == b"3456"
        assert driver.seen == 1

    driver = Counted()
    run(main, driver)


def test_readers_may_be_left_early_and_held_together():
    async def main(provider):
        await provider.store("key", PLAIN, compress="zstd")
        async with provider.open("key") as one, provider.open("key") as two:
            first = await anext(one)
            assert PLAIN.startswith(first)
            assert (await anext(two)) == first
        with pytest.raises(StopAsyncIteration):
            await anext(one)

    run(main)


def test_an_opening_is_for_one_use_at_a_time():
    async def main():
        async with over(Spy()) as provider:
            await provider.store("key", b"1")
            opening = provider.open("key")
            for _ in range(2):
                async with opening as reader:
                    assert await reader.read() == b"1"

    asyncio.run(main())


def test_a_stranger_without_headers_is_read():
    driver = Spy()
    driver.objects.put(MemoryObject(b"1", ObjectInfo(key="k", size=1, etag="e", headers=NO_HEADERS)))

    async def main(provider):
        assert await provider.retrieve("k") == b"1"
        item = await provider.get_metadata("k")
        assert (item.content_type, item.compression, item.digest) == (None, None, None)

    run(main, driver)


def test_a_reader_that_cannot_be_decoded_is_given_back():
    readers = []

    class Kept(Spy):
        async def get(self, key, options):
            readers.append(await super().get(key, options))
            return readers[-1]

    driver = Kept()
    stored(driver, "unknown", b"?", system={"x-compression": "brotli"})

    async def main(provider):
        with pytest.raises(StorageCodecError):
            async with provider.open("unknown"):
                pass
        with pytest.raises(StorageCodecError):
            await provider.retrieve("unknown")
        with pytest.raises(StorageCodecError):
            await provider.get_metadata("unknown")
        assert await provider.exists("unknown")
        async with provider.open("unknown", decode=False) as reader:
            assert await reader.read() == b"?"

    run(main, driver)
    assert len(readers) == 3
    assert all(reader._closed for reader in readers)


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
@pytest.mark.parametrize("size", [0, 1, 200, 2_000_000])
def test_what_does_not_compress_may_be_retrieved_up_to_its_own_size(codec, size):
    data = os.urandom(size)

    async def main(provider):
        result = await provider.store("key", data, compress=codec)
        assert result.size > size
        assert await provider.retrieve("key", max_size=size) == data
        if size:
            with pytest.raises(StorageError) as caught:
                await provider.retrieve("key", max_size=size - 1)
            assert caught.value.code == "TOO_LARGE"

    run(main)


def test_a_range_beyond_the_end_is_an_error_where_the_end_was_not_known():
    driver = Spy()
    stored(driver, "stranger", gzip.compress(PLAIN), encoding="gzip")

    async def main(provider):
        for start in (len(PLAIN), len(PLAIN) + 5):
            with pytest.raises(StorageInvalidRequestError) as caught:
                async with provider.open("stranger", start=start) as reader:
                    await reader.read()
            assert (caught.value.code, caught.value.operation) == ("INVALID_RANGE", "open")
        async with provider.open("stranger", start=len(PLAIN) - 1) as reader:
            assert await reader.read() == PLAIN[-1:]

    run(main, driver)


@pytest.mark.parametrize("codec", [False, "gzip", "zstd"])
def test_a_head_that_lies_about_the_size_gives_no_wrong_bytes(codec):
    class Lying(Spy):
        lie = 0

        async def head(self, key, options):
            info = await super().head(key, options)
            return replace(info, size=info.size + self.lie)

        async def get(self, key, options):
            reader = await super().get(key, options)
            reader.info = replace(reader.info, size=reader.info.size + self.lie)
            return reader

    driver = Lying()

    async def main(provider):
        await provider.store("key", PLAIN[:5000], compress=codec)
        for driver.lie in (-1, 1, 1000):
            with suppress(StorageIntegrityError):
                assert await provider.retrieve("key") == PLAIN[:5000]
            with suppress(StorageIntegrityError):
                async with provider.open("key", start=10, end=20) as reader:
                    assert await reader.read() == PLAIN[10:20]

    run(main, driver)
