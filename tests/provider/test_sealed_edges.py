"""Large reads and copies that share few connections, marks that were taken away, keys that were forgotten."""

import asyncio
import secrets
from dataclasses import replace

import pytest

from credstore import ClientSide, KeyRing, LocalKey
from credstore.driver import parts as cutting
from credstore.drivers.s3 import multipart
from credstore.errors import StorageDecryptionError
from tests.faults.stores import objects_of, open_store, serving

OLD, NEW = LocalKey(secrets.token_bytes(32)), LocalKey(secrets.token_bytes(32))
MIB = 1 << 20


def policy(current=OLD, older=(), **more):
    return {"encryption": ClientSide(KeyRing(current, older=older), store_id="s", **more)}


def unmark(origin, key, **more):
    stored = objects_of(origin)[key]
    kept = {name: value for name, value in stored.attributes.items() if "envelope" not in name}
    objects_of(origin)[key] = replace(stored, attributes={**kept, **more})


def with_origin(test):
    async def main():
        async with serving() as origin:
            await asyncio.wait_for(test(origin), 20)

    asyncio.run(main())


@pytest.mark.parametrize("connections", [1, 2, 8])
def test_as_many_reads_in_parts_as_connections_end(connections):
    async def test(origin):
        many = {"multipart_threshold": MIB, "part_size": MIB, "timeout": 5.0}
        async with open_store(origin, max_connections=connections, **many) as store:
            await store.store("k", b"z" * 4 * MIB)
            found = await asyncio.gather(*(store.retrieve("k") for _ in range(connections)))
            assert found == [b"z" * 4 * MIB] * connections

    with_origin(test)


@pytest.mark.parametrize("connections", [1, 2])
def test_as_many_encrypted_copies_as_connections_end(connections):
    async def test(origin):
        many = {"multipart_threshold": MIB, "part_size": MIB, "timeout": 2.0}
        async with open_store(origin, max_connections=connections, options=policy(), **many) as store:
            data = secrets.token_bytes(12 * MIB)
            await store.store("k", data)
            await asyncio.wait_for(
                asyncio.gather(*(store.copy("k", f"c{number}") for number in range(connections))), 8
            )
            assert await store.retrieve("c0") == data

    with_origin(test)


@pytest.mark.parametrize("compress", [False, "gzip"])
def test_a_copy_has_as_large_parts_as_it_needs(monkeypatch, compress):
    monkeypatch.setattr(multipart, "MAX_PARTS", 10)

    async def test(origin):
        async with open_store(origin, options=policy()) as store:
            data = secrets.token_bytes(60_000)
            await store.store("k", data, compress=compress)
            await store.copy("k", "c")
            assert await store.retrieve("c") == data

    with_origin(test)


def test_a_rotation_finds_what_lost_its_mark():
    async def test(origin):
        async with open_store(origin, options=policy()) as store:
            await store.store("k", b"data")
        unmark(origin, "k")
        async with open_store(origin, options=policy(NEW, [OLD])) as store:
            report = await store.rotate_keys()
            assert (report.rotated, report.unencrypted, report.complete) == (1, 0, True)
        async with open_store(origin, options=policy(NEW)) as store:
            assert await store.retrieve("k") == b"data"

    with_origin(test)


def test_a_rotation_does_not_bring_a_forgotten_key_back(monkeypatch):
    async def test(origin):
        async with (
            open_store(origin, options=policy(shreddable=True)) as store,
            open_store(origin, options=policy(NEW, [OLD], shreddable=True)) as rotating,
        ):
            await store.store("k", b"data")
            wrap = KeyRing.wrap

            async def forgotten_meanwhile(self, key, *, store_id):
                assert await store.forget_key("k")
                return await wrap(self, key, store_id=store_id)

            monkeypatch.setattr(KeyRing, "wrap", forgotten_meanwhile)
            await rotating.rotate_keys()
            with pytest.raises(StorageDecryptionError):
                await rotating.retrieve("k")

    with_origin(test)


def test_a_codec_in_metadata_changes_nothing_of_what_decrypts():
    async def test(origin):
        async with open_store(origin, options=policy()) as store:
            await store.store("k", b"data")
            unmark(origin, "k", **{"x-amz-meta-x-compression": "unknown"})
            assert await store.retrieve("k") == b"data"
            await store.move("k", "c")
            assert await store.retrieve("c") == b"data"

    with_origin(test)


def test_a_policy_that_does_not_require_it_opens_what_lost_its_mark():
    async def test(origin):
        async with open_store(origin, options=policy(required=False)) as store:
            data = secrets.token_bytes(100_000)
            await store.store("k", data)
            unmark(origin, "k")
            async with store.open("k") as reader:
                assert await reader.read() == data
            async with store.open("k", start=70_000, end=70_010) as reader:
                assert await reader.read() == data[70_000:70_010]

    with_origin(test)


@pytest.mark.parametrize("at", [0, 65_536, 131_072])
def test_an_empty_range_where_a_chunk_begins(at):
    async def test(origin):
        async with open_store(origin, options=policy()) as store:
            await store.store("k", bytes(200_000))
            async with store.open("k", start=at, end=at) as reader:
                assert await reader.read() == b""

    with_origin(test)


def test_parts_of_many_small_chunks_are_few_views():
    async def main():
        async def lines():
            for _ in range(10_000):
                yield b"twenty bytes of text"

        parts = [part async for part in cutting.cut(lines(), 130_000)]
        assert [part.size for part in parts] == [130_000, 70_000]
        assert max(len(part.views) for part in parts) <= 3
        assert b"".join(b"".join(part.views) for part in parts) == b"twenty bytes of text" * 10_000

    asyncio.run(main())
