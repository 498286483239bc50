"""Encryption on the client through every verb, on memory, disk and S3; nothing unencrypted is ever given."""

import asyncio
import json
import os
import random
import secrets
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from credstore import (
    CallableKey,
    ClientSide,
    KeyRing,
    LocalConfig,
    LocalKey,
    LocalStorageProvider,
    MemoryConfig,
    MemoryStorageProvider,
    S3Config,
    S3StorageProvider,
    Secret,
    StorageAlreadyExistsError,
    StorageConfigurationError,
    StorageDecryptionError,
    StorageError,
    StorageInvalidRequestError,
    StoragePreconditionFailedError,
    StorageUnsupportedError,
)
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.provider.provider import StorageProvider
from credstore.testing.harness import put
from tests.faults.stores import serving
from tests.pipeline.mutants import changed

OLD, NEW = LocalKey(secrets.token_bytes(32)), LocalKey(secrets.token_bytes(32))
LONG = CallableKey("long", lambda plain: plain + bytes(3000), lambda wrapped: wrapped[:32])
"""Wraps nothing, at length: a header beyond the first bytes that are asked for."""
POLICY = ClientSide(KeyRing(OLD), store_id="tests")
DATA = b'{"claim": "' + b"signed " * 700 + b'"}'
LARGE = random.Random(1).randbytes(300_000)
MUTATIONS = int(os.environ.get("CREDSTORE_TEST_MUTATIONS", "3000"))


def ring(current=NEW, older=(OLD,)):
    return KeyRing(current, older=older)


@asynccontextmanager
async def on_memory(**options):
    objects = MemoryObjects()

    def opened(**more):
        config = MemoryConfig()
        driver = MemoryDriver(config, objects=objects)
        return StorageProvider(driver, config, **{**options, **more})

    yield opened


@asynccontextmanager
async def on_disk(tmp_path, **options):
    yield lambda **more: LocalStorageProvider(LocalConfig(path=str(tmp_path)), **{**options, **more})


@asynccontextmanager
async def on_s3(**options):
    async with serving() as origin:

        def opened(**more):
            config = S3Config(
                bucket="bucket",
                endpoint=origin.url,
                addressing="path",
                access_key_id="AKIDEXAMPLE",
                secret_access_key=Secret("canary"),
                multipart_threshold=65536,
                part_size=65536,
            )
            return S3StorageProvider(config, **{**options, **more})

        yield opened


@pytest.fixture(params=["memory", "disk", "s3"])
def run(request, tmp_path):
    """Runs a test with a function that opens providers of one store."""

    def start(action, **options):
        options.setdefault("encryption", POLICY)
        opens = {
            "memory": lambda: on_memory(**options),
            "disk": lambda: on_disk(tmp_path, **options),
            "s3": lambda: on_s3(**options),
        }

        async def main():
            async with opens[request.param]() as opened, opened() as store:
                await action(store, opened)

        asyncio.run(main())

    return start


async def stored_bytes(store, key):
    async with await store._session.driver.get(key) as reader:
        return await reader.read()


async def chunks(data, size=10_000):
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.mark.parametrize("codec", [False, "gzip", "zstd"])
@pytest.mark.parametrize("data", [b"", b"x", DATA, LARGE], ids=["none", "one", "small", "large"])
@pytest.mark.parametrize("given", ["bytes", "stream", "path"])
def test_what_is_stored_is_read_and_nothing_of_it_is_seen(run, tmp_path, codec, data, given):
    async def test(store, opened):
        source = {"bytes": data, "stream": chunks(data), "path": tmp_path.parent / "source"}[given]
        if given == "path":
            source.write_bytes(data)
        result = await store.store("k", source, compress=codec, content_type="text/x")
        assert (result.plain_size, result.client_side, result.content_type) == (len(data), True, "text/x")
        raw = await stored_bytes(store, "k")
        assert len(raw) == result.size
        assert DATA[:20] not in raw
        assert len(data) < 2 or data not in raw
        assert await store.retrieve("k") == data
        async with store.open("k") as reader:
            assert await reader.read() == data
            assert (reader.info.content_type, reader.info.client_side) == ("text/x", True)
        item = await store.get_metadata("k")
        assert item.client_side
        assert (item.plain_size, item.compression, item.content_type) == (None, None, "text/x")

    run(test)


@pytest.mark.parametrize("codec", [False, "zstd"])
def test_ranges(run, codec):
    async def test(store, _):
        await store.store("k", LARGE, compress=codec)
        for start, end in (
            (0, 1),
            (0, None),
            (65_535, 65_537),
            (200_000, None),
            (299_999, 300_000),
            (10, 10),
        ):
            async with store.open("k", start=start, end=end) as reader:
                assert await reader.read() == LARGE[start:end]
        with pytest.raises(StorageInvalidRequestError) as caught:
            async with store.open("k", start=300_000) as reader:
                await reader.read()
        assert caught.value.code == "INVALID_RANGE"

    run(test)


def test_what_is_not_encrypted_is_never_given(run):
    async def test(store, opened):
        async with opened(encryption=None) as plain:
            for size in (0, 5, 100_000):
                await plain.store("k", b"p" * size)
                for read in (store.retrieve("k"), whole(store), part(store)):
                    with pytest.raises((StorageDecryptionError, StorageInvalidRequestError)) as caught:
                        await read
                    assert (
                        b"p" not in str(caught.value).encode() or size == 0 or "ppp" not in str(caught.value)
                    )
            with pytest.raises(StorageDecryptionError):
                await store.copy("k", "copy")
            with pytest.raises(StorageInvalidRequestError, match="requires"):
                await store.retrieve("k", decode=False)
            lenient = replace(POLICY, required=False)
            assert await store.retrieve("k", encryption=lenient) == b"p" * 100_000
            async with store.open("k", start=1, end=3, encryption=lenient) as reader:
                assert await reader.read() == b"pp"

    run(test)


async def whole(store, key="k"):
    async with store.open(key) as reader:
        return await reader.read()


async def part(store, key="k"):
    async with store.open(key, start=1, end=3) as reader:
        return await reader.read()


def test_without_the_key_ring_it_is_an_error_that_says_so(run):
    async def test(store, opened):
        await store.store("k", DATA)
        async with opened(encryption=None) as plain:
            for read in (plain.retrieve("k"), whole(plain), part(plain), plain.copy("k", "copy")):
                with pytest.raises(StorageInvalidRequestError) as caught:
                    await read
                assert caught.value.code == "ENCRYPTED"
            assert await plain.retrieve("k", decode=False) == await stored_bytes(store, "k")
            assert await plain.retrieve("k", encryption=POLICY) == DATA

    run(test)


def test_another_key_ring_store_or_object_does_not_decrypt(run):
    async def test(store, opened):
        await store.store("k", DATA)
        await store.store("other", DATA)
        texts = set()
        for policy in (
            ClientSide(KeyRing(NEW), store_id="tests"),
            ClientSide(KeyRing(LocalKey(secrets.token_bytes(32), key_id=OLD.key_id)), store_id="tests"),
            ClientSide(KeyRing(OLD), store_id="another"),
        ):
            for read in (store.retrieve("k", encryption=policy), whole(opened(encryption=policy))):
                with pytest.raises(StorageDecryptionError) as caught:
                    await read
                texts.add(caught.value.message)
        await served_under_another_key(store)
        with pytest.raises(StorageDecryptionError) as caught:
            await store.retrieve("other")
        texts.add(caught.value.message)
        assert len(texts) == 1

    run(test)


async def served_under_another_key(store):
    """The bytes and metadata of "k" at "other", as its store can do."""
    from credstore.driver import CopyRequest

    info = await store._session.driver.head("k")
    await store._session.driver.copy(CopyRequest(source=info, destination="other", write_id="0" * 32))


def test_metadata_that_are_changed_or_taken_away_change_nothing(run):
    async def test(store, opened):
        from credstore.driver import CopyRequest

        await store.store("k", DATA, compress="zstd")
        info = await store._session.driver.head("k")
        wrong = (
            {},
            {"x-compression": "gzip", "x-original-size": "3"},
            {"credstore-envelope": "1", "credstore-wrapped-key": "nonsense"},
            {"credstore-envelope": "1", "credstore-wrapped-key": f"{OLD.key_id} {'A' * 56}"},
            {"credstore-envelope": "1", "credstore-dictionary": "0" * 64},
        )
        for system in wrong:
            order = CopyRequest(
                source=await store._session.driver.head("k"),
                destination="k",
                write_id=secrets.token_hex(16),
                system=system,
            )
            await store._session.driver.copy(order)
            assert await store.retrieve("k") == DATA
            assert await whole(store) == DATA
            assert await part(store) == DATA[1:3]
        assert info.system["credstore-envelope"] == "1"
        lenient = replace(POLICY, required=False)
        await store._session.driver.copy(
            CopyRequest(
                source=await store._session.driver.head("k"), destination="k", write_id="1" * 32, system={}
            )
        )
        assert await store.retrieve("k", encryption=lenient) == DATA

    run(test)


def test_mutated_objects_are_all_refused_with_one_text():
    async def main():
        objects = MemoryObjects()
        config = MemoryConfig()
        driver = MemoryDriver(config, objects=objects)
        store = StorageProvider(driver, config, encryption=replace(POLICY, chunk_size=4096))
        data = DATA * 3
        await store.store("k", data)
        good = objects.by_key["k"]
        chance, texts, given = random.Random(3), set(), 0
        for number in range(MUTATIONS):
            mutated = changed(good.data, chance)
            objects.by_key["k"] = replace(
                good, data=mutated, info=replace(good.info, size=len(mutated), digest=None)
            )
            try:
                if number % 2:
                    await store.retrieve("k")
                else:
                    async with store.open("k") as reader:
                        async for chunk in reader:
                            assert data.startswith(chunk) or chunk in data
                given += 1
            except StorageDecryptionError as error:
                texts.add((error.message, error.code, error.retryable))
        assert not given
        assert len(texts) == 1

    asyncio.run(main())


def test_copy_and_move_keep_everything_and_encrypt_anew(run):
    async def test(store, opened):
        for data in (DATA, LARGE):
            await store.store(
                "k", data, compress="zstd", metadata={"a": "ü"}, tags={"t": "1"}, cache_control="no-store"
            )
            await store.copy("k", "copy")
            assert await store.retrieve("copy") == data
            assert await stored_bytes(store, "copy") != await stored_bytes(store, "k")
            await store.move("copy", "moved")
            assert await store.retrieve("copy") is None
            async with store.open("moved") as reader:
                assert await reader.read() == data
                assert reader.info.metadata == {"a": "ü"}
                assert (reader.info.cache_control, reader.info.compression) == ("no-store", "zstd")
            assert await store._session.driver.get_tags("moved") == {"t": "1"}
            with pytest.raises(StorageAlreadyExistsError):
                await store.copy("k", "moved", if_absent=True)
        for refused in (store.copy("k", "x", server_side=True), store.move("k", "x", server_side=True)):
            with pytest.raises(StorageUnsupportedError, match="server_side"):
                await refused
        await store.copy("k", "k")
        assert await store.retrieve("k") == LARGE

    run(test)


def test_rotation_moves_every_object_to_the_new_key(run):
    async def test(store, opened):
        for number in range(12):
            await store.store(
                f"p/{number}", DATA + b"%d" % number, metadata={"n": str(number)}, tags={"t": "1"}
            )
        await store.store("q/large", LARGE)
        before = {key: await stored_bytes(store, key) for key in ("p/1", "q/large")}
        async with opened(encryption=ClientSide(ring(), store_id="tests")) as rotating:
            seen = []
            report = await rotating.rotate_keys("p/", progress=lambda *at: seen.append(at))
            assert (report.rotated, report.keys, report.complete) == (12, {NEW.key_id: 12}, True)
            assert len(seen) == 24
            report = await rotating.rotate_keys()
            assert (report.rotated, report.keys) == (1, {NEW.key_id: 13})
            assert (await rotating.rotate_keys()).rotated == 0
        only_new = ClientSide(KeyRing(NEW), store_id="tests")
        for number in range(12):
            assert await store.retrieve(f"p/{number}", encryption=only_new) == DATA + b"%d" % number
        assert await store.retrieve("q/large", encryption=only_new) == LARGE
        assert {key: await stored_bytes(store, key) for key in before} == before
        async with opened(encryption=only_new) as rotated:
            assert (await rotated.get_metadata("p/3")).metadata == {"n": "3"}
            await rotated.copy("p/3", "p/copy")
            assert await rotated.retrieve("p/copy") == DATA + b"3"
        # Rotated once more, and back.
        third = LocalKey(secrets.token_bytes(32))
        async with opened(encryption=ClientSide(ring(third, (NEW, OLD)), store_id="tests")) as again:
            report = await again.rotate_keys()
            assert report.complete
            assert report.keys == {third.key_id: 14}

    run(test)


def test_rotation_tells_what_it_could_not_do(run):
    async def test(store, opened):
        await store.store("a", DATA)
        async with opened(encryption=ClientSide(KeyRing(NEW), store_id="tests")) as other:
            await other.store("b", DATA)
        async with opened(encryption=None) as plain:
            await plain.store("c", DATA)
        report = await store.rotate_keys()
        assert (report.rotated, dict(report.keys), report.unencrypted) == (0, {OLD.key_id: 1}, 1)
        assert set(report.failed) == {"b"}
        assert isinstance(report.failed["b"], StorageDecryptionError)
        assert not report.complete
        async with opened(encryption=None) as plain:
            with pytest.raises(StorageConfigurationError):
                await plain.rotate_keys()

    run(test)


def test_an_object_that_is_replaced_while_it_is_rotated_is_not_lost(run):
    async def test(store, opened):
        await store.store("k", DATA)
        async with opened(encryption=ClientSide(ring(), store_id="tests")) as rotating:
            copy, turns = rotating._session.driver.copy, []

            async def slow(request):
                if not turns:
                    turns.append(1)
                    await store.store("k", b"newer")
                return await copy(request)

            rotating._session.driver.copy = slow
            report = await rotating.rotate_keys()
            assert report.complete
            assert await rotating.retrieve("k") == b"newer"

    run(test)


def test_options_that_cannot_be_honoured_are_refused(run, tmp_path):
    async def test(store, opened):
        from credstore import train_dictionary

        trained = train_dictionary([json.dumps({"n": n, "text": "abc" * 30}).encode() for n in range(200)])
        with pytest.raises(StorageUnsupportedError, match="dictionary"):
            await store.store("k", DATA, dictionary=trained)
        with pytest.raises(StorageUnsupportedError, match="kept unencrypted"):
            await store.add_dictionary(trained)
        assert await store.list_dictionaries() == []
        with pytest.raises(StorageError):
            await store.store("k", DATA, resume=str(tmp_path / "resume"))
        await store.store("k", DATA)
        for method in ("GET", "HEAD", "PUT"):
            for check in (True, False):
                with pytest.raises(StorageUnsupportedError, match="encrypt"):
                    await store.get_signed_url("k", method=method, check=check)
        with pytest.raises(StoragePreconditionFailedError):
            await store.store("k", b"x", if_match="0" * 32)
        assert await store.retrieve("k") == DATA

    run(test)


def test_a_policy_for_one_call(run):
    async def test(store, _):
        await store.store("k", DATA, encryption=POLICY)
        assert await store.retrieve("k", encryption=POLICY) == DATA
        with pytest.raises(StorageInvalidRequestError):
            await store.retrieve("k")

    run(test, encryption=None)


def test_a_memory_store_needs_nothing_else():
    async def main():
        async with MemoryStorageProvider(encryption=POLICY) as store:
            await store.store("k", DATA)
            assert [item.key async for item in store.scan()] == ["k"]
            assert (await store.get_stats()).total_objects == 1

    asyncio.run(main())


def test_a_forgotten_key_makes_its_object_unreadable_and_no_other(run):
    async def test(store, opened):
        for number in range(3):
            await store.store(f"k{number}", DATA, compress="zstd")
        await store.store("kept", DATA, encryption=POLICY)
        assert await store.retrieve("k0") == DATA
        await store.copy("k0", "copy")
        raw = await stored_bytes(store, "k0")
        assert await store.forget_key("k0") is True
        assert await store.forget_key("k0") is False
        for read in (store.retrieve("k0"), whole(store, "k0"), store.copy("k0", "x")):
            with pytest.raises(StorageDecryptionError):
                await read
        assert await stored_bytes(store, "k0") == raw
        for key in ("k1", "k2", "copy", "kept"):
            assert await store.retrieve(key) == DATA
        with pytest.raises(StorageUnsupportedError, match="shreddable"):
            await store.forget_key("kept")
        async with opened(encryption=None) as plain:
            with pytest.raises(StorageUnsupportedError, match="no key to forget"):
                await plain.forget_key("k0")
        async with opened(encryption=ClientSide(ring(), store_id="tests", shreddable=True)) as rotating:
            report = await rotating.rotate_keys()
            assert (report.rotated, dict(report.keys), set(report.failed)) == (4, {NEW.key_id: 4}, {"k0"})
        only_new = ClientSide(KeyRing(NEW), store_id="tests")
        assert await store.retrieve("k1", encryption=only_new) == DATA
        async with opened(encryption=only_new) as rotated:
            assert await rotated.forget_key("k1")
            with pytest.raises(StorageDecryptionError):
                await rotated.retrieve("k1")

    run(test, encryption=replace(POLICY, shreddable=True))


def test_a_key_that_is_put_beside_an_object_by_others_is_no_key(run):
    async def test(store, opened):
        await store.store("a", DATA)
        await store.store("b", DATA)
        async with opened(encryption=None) as plain:
            kept = [entry.key for entry in (await plain._session.driver.list(".credstore/keys/")).entries]
            assert len(kept) == 2
            first = await stored_bytes(plain, kept[0])
            for text in (first, b"", b"nonsense", b"\xff", b"x" * 20_000):
                await put(plain._session.driver, kept[1], text)
                refused = 0
                for key in ("a", "b"):
                    try:
                        assert await store.retrieve(key) == DATA
                    except StorageError:
                        refused += 1
                assert refused == 1

    run(test, encryption=replace(POLICY, shreddable=True))


def test_l14_an_older_object_of_the_same_key_is_taken_for_the_object():
    """Freshness of one object is not promised; the proof layer's own records tell (provenance.md)."""

    async def main():
        objects = MemoryObjects()
        driver = MemoryDriver(MemoryConfig(), objects=objects)
        store = StorageProvider(driver, MemoryConfig(), encryption=POLICY)
        await store.store("k", b"older")
        kept = objects.by_key["k"]
        await store.store("k", b"newer")
        objects.put(kept)
        assert await store.retrieve("k") == b"older"

    asyncio.run(main())


def test_a_header_that_is_longer_than_most(run):
    async def test(store, opened):
        await store.store("k", LARGE)
        await store.store("small", b"x")
        assert await part(store) == LARGE[1:3]
        async with store.open("small", start=0, end=1) as reader:
            assert await reader.read() == b"x"
        async with opened(encryption=ClientSide(ring(NEW, (LONG,)), store_id="tests")) as rotating:
            assert (await rotating.rotate_keys()).complete
            assert await part(rotating) == LARGE[1:3]
        with pytest.raises(StorageUnsupportedError, match="shreddable"):
            await store.forget_key("k")

    run(test, encryption=ClientSide(KeyRing(LONG), store_id="tests"))
