"""A move deletes no source before its copy is proved, whatever the driver says of its own copy."""

import asyncio
import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from credstore import LocalConfig, LocalStorageProvider, MemoryConfig
from credstore.drivers.local.driver import LocalDriver
from credstore.drivers.memory import MemoryDriver
from credstore.errors import StorageConflictError, StorageError, StorageIntegrityError
from credstore.provider.provider import StorageProvider
from credstore.strategies.fallback.driver import FallbackDriver
from tests.drivers.s3.support import put_request

RIGHT, WRONG = b"right", b"wrong"


class Swapping(MemoryDriver):
    """Copies another object of the same size; `what` it does with what it recorded of the source."""

    what = "keeps"

    async def copy(self, request):
        result = await super().copy(request)
        copy = self._objects.by_key[request.destination]
        info = copy.info if self.what == "keeps" else replace(copy.info, digest=None)
        self._objects.put(replace(copy, data=WRONG, info=info))
        return result


class Claiming(Swapping):
    """As it, and calls its entity tags those of the content, which are not."""

    @property
    def capabilities(self):
        return replace(super().capabilities, content_etags=True)


def over(driver):
    return StorageProvider(driver, MemoryConfig())


async def bodies(store, *keys):
    return [await store.retrieve(key) for key in keys]


@pytest.mark.parametrize("what", ["keeps", "forgets"])
@pytest.mark.parametrize("kind", [Swapping, Claiming])
def test_a_copy_of_other_bytes_goes_and_the_source_stays(kind, what):
    driver = kind(MemoryConfig())
    driver.what = what

    async def main():
        async with over(driver) as store:
            await store.store("from", RIGHT)
            with pytest.raises(StorageIntegrityError) as caught:
                await store.move("from", "to")
            assert (caught.value.code, caught.value.applied) == ("COPY_DIFFERS", "maybe")
            assert "removed" in caught.value.message
            assert await bodies(store, "from", "to") == [RIGHT, None]

    asyncio.run(main())


def test_a_source_without_a_digest_is_read_and_compared():
    async def main():
        for kind, left in ((MemoryDriver, [None, RIGHT]), (Swapping, [RIGHT, None])):
            driver = kind(MemoryConfig())
            await driver.put(put_request("from", RIGHT))
            stored = driver._objects.by_key["from"]
            driver._objects.put(replace(stored, info=replace(stored.info, digest=None)))
            async with over(driver) as store:
                with nullcontext() if kind is MemoryDriver else pytest.raises(StorageIntegrityError):
                    await store.move("from", "to")
                assert await bodies(store, "from", "to") == left

    asyncio.run(main())


def test_a_wrong_copy_that_another_writer_replaced_is_left_alone():
    class Replaced(Swapping):
        async def get(self, key, options):
            if key == "to":
                await self.put(put_request("to", b"other"))
            return await super().get(key, options)

    async def main():
        async with over(Replaced(MemoryConfig())) as store:
            await store.store("from", RIGHT)
            with pytest.raises(StorageConflictError, match="another writer"):
                await store.move("from", "to")
            assert await bodies(store, "from", "to") == [RIGHT, b"other"]

    asyncio.run(main())


@pytest.mark.parametrize(
    "field", ["headers", "metadata", "tag_count", "storage_class", "encryption", "extras"]
)
def test_a_copy_that_lacks_what_is_beside_the_bytes_keeps_the_source(field):
    told = {
        "tag_count": 2,
        "storage_class": "COLD",
        "encryption": "AES256",
        "extras": {"expires": "never"},
        "metadata": {"a": "b"},
    }

    class Losing(MemoryDriver):
        async def copy(self, request):
            result = await super().copy(request)
            copy = self._objects.by_key[request.destination]
            self._objects.put(replace(copy, info=replace(copy.info, **{field: lost})))
            return result

    driver = Losing(MemoryConfig())

    async def main():
        nonlocal lost
        async with over(driver) as store:
            await store.store("from", RIGHT)
            stored = driver._objects.by_key["from"]
            lost = getattr(replace(stored.info, **dict.fromkeys(told)), field)
            lost = None if field == "headers" else {} if field in {"extras", "metadata"} else lost
            driver._objects.put(replace(stored, info=replace(stored.info, **told)))
            with pytest.raises(StorageIntegrityError) as caught:
                await store.move("from", "to")
            assert caught.value.code == "COPY_INCOMPLETE"
            assert await store.retrieve("from") == RIGHT

    lost = None
    asyncio.run(main())


def test_a_byte_that_changed_on_disk_stops_a_move(tmp_path):
    """Size and time are as they were, so nothing but the bytes tells."""

    async def main():
        async with LocalStorageProvider(LocalConfig(path=str(tmp_path))) as store:
            await store.store("from", RIGHT * 100)
            found = [
                each
                for each in Path(tmp_path).rglob("*")
                if each.is_file() and each.read_bytes() == RIGHT * 100
            ]
            times = found[0].stat()
            with found[0].open("r+b") as file:
                file.write(b"x")
            os.utime(found[0], ns=(times.st_atime_ns, times.st_mtime_ns))
            with pytest.raises(StorageError):
                await store.move("from", "to")
            assert found[0].exists()
            assert await store.retrieve("to") is None

    asyncio.run(main())


def test_a_move_over_two_members_is_proved_too(tmp_path):
    async def main():
        bad = Swapping(MemoryConfig())
        good = LocalDriver(LocalConfig(path=str(tmp_path)))
        async with over(FallbackDriver(bad, good)) as store:
            await store.store("from", RIGHT)
            with pytest.raises(StorageIntegrityError):
                await store.move("from", "to")
            assert await bodies(store, "from", "to") == [RIGHT, None]

    asyncio.run(main())


def test_a_source_that_somebody_else_removes_meanwhile_is_moved():
    class Removed(MemoryDriver):
        async def delete(self, key, **options):
            await super().delete(key)
            return await super().delete(key, **options)

    async def main():
        async with over(Removed(MemoryConfig())) as store:
            await store.store("from", RIGHT)
            await store.move("from", "to")
            assert await bodies(store, "from", "to") == [None, RIGHT]

    asyncio.run(main())
