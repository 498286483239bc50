"""Which wrapped key counts: the one that the object's body commits to, whatever stands beside it."""

import asyncio
import secrets
from dataclasses import replace

import pytest

from credstore import ClientSide, KeyRing, LocalKey
from credstore.errors import StorageDecryptionError, StorageError
from credstore.pipeline.header import parse_header, undecryptable, wrapped_text
from credstore.pipeline.pipeline import WRAPPED_KEY
from tests.provider.support import Spy, over

OLD, NEW = LocalKey(secrets.token_bytes(32)), LocalKey(secrets.token_bytes(32))
RING = KeyRing(NEW, older=[OLD])
POLICY = ClientSide(RING, store_id="s")
DATA = b"what was stored under this key" * 9


def run(test):
    async def main():
        driver = Spy()
        async with over(driver, encryption=POLICY) as store:
            await test(store, driver.objects)

    asyncio.run(main())


def mark(objects, key, text):
    """Put a wrapped key beside an object, as whoever may write its metadata can."""
    found = objects.by_key[key]
    info = replace(found.info, system={**found.info.system, WRAPPED_KEY: text})
    objects.by_key[key] = replace(found, info=info)


async def wrapped_of(objects, key):
    """The object's own data key, wrapped once more by the same ring: valid in every respect."""
    header = parse_header(objects.by_key[key].data)
    found = await RING.unwrap(
        header.key_id, header.wrapped, store_id="s", suite=header.suite, salt=header.salt
    )
    return wrapped_text(await RING.wrap(found, store_id="s"))


async def reads(store, key):
    """What each way of reading gives."""
    async with store.open(key) as reader:
        streamed = await reader.read()
    async with store.open(key, start=5, end=9) as reader:
        part = await reader.read()
    return await store.retrieve(key), streamed, part


def test_a_valid_key_of_another_object_beside_an_object_changes_nothing():
    async def test(store, objects):
        await store.store("a", DATA)
        await store.store("b", b"another" * 9)
        mark(objects, "a", await wrapped_of(objects, "b"))
        assert await reads(store, "a") == (DATA, DATA, DATA[5:9])
        await store.copy("a", "c")
        assert await store.retrieve("c") == DATA

    run(test)


def test_a_fresh_key_of_the_same_ring_beside_an_object_changes_nothing():
    async def test(store, objects):
        await store.store("a", DATA)
        mark(objects, "a", wrapped_text(await RING.generate(store_id="s")))
        assert await reads(store, "a") == (DATA, DATA, DATA[5:9])

    run(test)


def test_a_rotation_does_not_believe_the_key_beside_an_object():
    async def test(store, objects):
        older = ClientSide(KeyRing(OLD), store_id="s")
        await store.store("a", DATA, encryption=older)
        await store.store("b", b"another")
        mark(objects, "a", await wrapped_of(objects, "b"))
        report = await store.rotate_keys()
        assert (report.rotated, dict(report.keys), report.failed) == (1, {NEW.key_id: 2}, {})
        assert await store.retrieve("a", encryption=ClientSide(KeyRing(NEW), store_id="s")) == DATA

    run(test)


@pytest.mark.parametrize("compress", [False, "zstd"])
def test_the_objects_own_key_beside_it_opens_it_when_the_one_inside_is_forgotten(compress):
    async def test(store, objects):
        await store.store("a", DATA, encryption=ClientSide(KeyRing(OLD), store_id="s"), compress=compress)
        newer = ClientSide(KeyRing(NEW), store_id="s")
        with pytest.raises(StorageDecryptionError):
            await store.retrieve("a", encryption=newer)
        mark(objects, "a", await wrapped_of(objects, "a"))
        assert await store.retrieve("a", encryption=newer) == DATA

    run(test)


def test_a_ring_of_the_users_own_is_asked_for_each_object():
    asked, made = [], []

    class Noting(KeyRing):
        async def generate(self, **more):
            made.append(await super().generate(**more))
            return made[-1]

        async def unwrap(self, key_id, wrapped, **more):
            asked.append(key_id)
            return await super().unwrap(key_id, wrapped, **more)

    async def main():
        async with over(Spy(), encryption=ClientSide(Noting(NEW), store_id="s")) as store:
            await store.store("a", DATA)
            assert await reads(store, "a") == (DATA, DATA, DATA[5:9])

    asyncio.run(main())
    assert len(made) == 1
    assert asked == [NEW.key_id] * 3


def test_what_does_not_match_its_recorded_digest_is_the_one_error():
    async def test(store, objects):
        await store.store("a", DATA)
        found = objects.by_key["a"]
        for changed in (found.data[:-1], found.data + b"\0", bytes([*found.data[:-1], found.data[-1] ^ 1])):
            objects.by_key["a"] = replace(found, data=changed)
            with pytest.raises(StorageDecryptionError) as caught:
                await store.retrieve("a")
            assert caught.value.message == str(undecryptable().message)
            assert "SHA-256" not in str(caught.value)

    run(test)


@pytest.mark.parametrize("compress", [False, "gzip"])
def test_no_more_is_returned_than_asked_for(compress):
    async def test(store, objects):
        await store.store("a", DATA, compress=compress)
        assert await store.retrieve("a", max_size=len(DATA)) == DATA
        with pytest.raises(StorageError) as caught:
            await store.retrieve("a", max_size=len(DATA) - 1)
        assert caught.value.code == "TOO_LARGE"

    run(test)


def test_a_key_may_be_named_like_what_is_kept_beside_objects():
    async def main():
        ring = KeyRing(LocalKey(bytes(32), key_id="0" * 32))
        async with over(Spy(), encryption=ClientSide(ring, store_id="s")) as store:
            await store.store("a", DATA)
            assert await reads(store, "a") == (DATA, DATA, DATA[5:9])

    asyncio.run(main())


class Waiting(LocalKey):
    """A key that takes its time, as a key service does."""

    async def generate(self, random, store_id):
        for _ in range(5):
            await asyncio.sleep(0)
        return await super().generate(random, store_id)


@pytest.mark.parametrize("made", [LocalKey, Waiting])
@pytest.mark.parametrize("shreddable", [False, True])
def test_metadata_is_what_it_was_when_the_call_was_made(made, shreddable):
    """One dict for all calls, which the caller changes while a key is asked for."""

    async def main():
        policy = ClientSide(KeyRing(made(secrets.token_bytes(32))), store_id="s", shreddable=shreddable)
        provider = over(Spy(), encryption=policy)
        metadata, calls = {}, []
        for who in ("alice", "bob"):
            metadata["owner"] = who
            calls.append(asyncio.ensure_future(provider.store(who, b"x", metadata=metadata)))
            await asyncio.sleep(0)
        metadata["owner"] = "nobody\n"
        await asyncio.gather(*calls)
        return [(await provider.get_metadata(who)).metadata["owner"] for who in ("alice", "bob")]

    assert asyncio.run(main()) == ["alice", "bob"]
