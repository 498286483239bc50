"""A store below a prefix through every verb, with another program looking at what is really there."""

import asyncio
import os
import socket
import urllib.error
import urllib.request
from dataclasses import replace

import pytest

from credstore import (
    ClientSide,
    KeyRing,
    LocalConfig,
    LocalKey,
    MemoryConfig,
    Secret,
    StorageConfigurationError,
    StorageDecryptionError,
    StorageFactory,
    StorageInvalidKeyError,
    StorageInvalidRequestError,
    StorageProvider,
    StorageUnavailableError,
    serve_links,
    train_dictionary,
)
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.provider.presets import provider_for
from credstore.strategies.prefixed import prefixed
from credstore.testing.harness import put
from tests.conformance.raw_s3 import RawS3
from tests.drivers.s3.support import minio_config
from tests.faults.rig import BROKEN
from tests.faults.stores import BUCKET, serving

PREFIX = "team/a/"
RECORDS = [b'{"claim": "original", "issuer": "Example", "asset": "%064x"}' % number for number in range(300)]


async def every_verb(part: StorageProvider, raw) -> None:
    """Each verb once; `raw(key)` are the bytes of a key of the whole store, past credstore."""
    result = await part.store("x", b"one", metadata={"a": "b"})
    assert (result.key, await raw("team/a/x"), await raw("x")) == ("x", b"one", None)
    assert result.url == part.get_url("x")
    assert result.url.endswith("/team/a/x")
    assert await part.retrieve("x") == b"one"
    async with part.open("x", start=1) as reader:
        assert (reader.info.key, await reader.read()) == ("x", b"ne")
    assert (await part.get_metadata("x")).key == "x"
    assert await part.exists("x")
    assert not await part.exists("team/a/x")
    copied = await part.copy("x", "y")
    assert (copied.key, copied.url, await raw("team/a/y")) == ("y", part.get_url("y"), b"one")
    moved = await part.move("y", "z/ä +%")
    assert (moved.key, moved.url, await raw("team/a/z/ä +%")) == (
        "z/ä +%",
        part.get_url("z/ä +%"),
        b"one",
    )
    assert [item.key for item in await part.list()] == ["x", "z/ä +%"]
    assert [item.key async for item in part.scan("z")] == ["z/ä +%"]
    stats = await part.get_stats()
    assert (stats.total_objects, stats.total_size) == (2, 6)
    assert (await part.health_check()).healthy
    link = await part.get_signed_url("x", 60)
    assert "/team/a/x?" in link
    with pytest.raises(StorageInvalidKeyError) as caught:
        await part.store("k" * part.capabilities.max_key_size + "k", b"")
    assert "team" not in str(caught.value)
    outcome = await part.batch_delete(["x", "nothing", "z/ä +%"])
    assert (set(outcome.deleted), dict(outcome.failed)) == ({"x", "nothing", "z/ä +%"}, {})
    assert await part.list() == []


def of_memory(objects: MemoryObjects, prefix: str = PREFIX, **options) -> StorageProvider:
    """A store in memory that shares its objects."""
    config = MemoryConfig(prefix=prefix, cdn_url="https://cdn.example.com/p")
    driver = prefixed(MemoryDriver(config, objects=objects), config.prefix)
    return StorageProvider(driver, config, **options)


async def untouched(whole: StorageProvider) -> None:
    """They are as they were."""
    for key in ("team/ab", "team/a", "other/team/a/x"):
        assert await whole.retrieve(key) == b"of others"


def test_every_verb_in_memory():
    objects = MemoryObjects()

    async def raw(key):
        found = objects.by_key.get(key)
        return None if found is None else found.data

    async def main():
        async with of_memory(objects, "") as whole, of_memory(objects) as part:
            for key in ("team/ab", "team/a", "other/team/a/x"):
                await whole.store(key, b"of others")
            await every_verb(part, raw)
            await untouched(whole)
            assert part.get_url("x") == "https://cdn.example.com/p/team/a/x"

    asyncio.run(main())


def test_every_verb_on_disk(tmp_path):
    async def raw(key):
        path = tmp_path / key
        return path.read_bytes() if path.is_file() else None

    async def main():
        async with (
            provider_for(LocalConfig(path=tmp_path)) as whole,
            provider_for(LocalConfig(path=tmp_path, prefix="team/a")) as part,
        ):
            await whole.store("team/ab", b"of others")
            await every_verb(part, raw)
            assert await whole.retrieve("team/ab") == b"of others"
            assert part.get_url("x") == f"file://{tmp_path}/team/a/x"

    asyncio.run(main())


def test_every_verb_on_s3(s3_server):
    raw = RawS3(s3_server)

    async def main():
        config = minio_config(s3_server.url, bucket=s3_server.bucket)
        async with (
            provider_for(config) as whole,
            provider_for(minio_config(s3_server.url, bucket=s3_server.bucket, prefix=PREFIX)) as part,
        ):
            for key in ("team/ab", "team/a", "other/team/a/x"):
                await whole.store(key, b"of others")
            await every_verb(part, raw.peek)
            await untouched(whole)
            await part.store("linked", b"by link", compress=False)
            link = await part.get_signed_url("linked", 60)
            with await asyncio.to_thread(urllib.request.urlopen, link) as answer:
                assert answer.read() == b"by link"
            assert part.get_url("x") == f"{s3_server.url}/{s3_server.bucket}/team/a/x"

    asyncio.run(main())


def test_what_a_store_keeps_for_itself_lies_below():
    async def main():
        objects = MemoryObjects()
        policy = ClientSide(KeyRing(LocalKey(bytes(32))), store_id="team-a", shreddable=True)
        dictionary = train_dictionary(RECORDS, size=2048)
        async with of_memory(objects) as part, of_memory(objects, encryption=policy) as sealed:
            await part.store("small", RECORDS[0], dictionary=dictionary)
            await sealed.store("sealed", RECORDS[1])
            assert await part.retrieve("small") == RECORDS[0]
            assert await sealed.retrieve("sealed") == RECORDS[1]
            kept = [key for key in objects.by_key if ".credstore" in key]
            assert len(kept) == 2
            assert all(key.startswith("team/a/.credstore/") for key in kept)

    asyncio.run(main())


def test_an_encrypted_object_belongs_to_the_store_it_was_written_through():
    """Its bytes are bound to the key that this store knows, so they may move with the whole prefix."""

    async def main():
        objects, elsewhere = MemoryObjects(), MemoryObjects()
        policy = ClientSide(KeyRing(LocalKey(bytes(32))), store_id="team-a")
        async with (
            of_memory(objects, "", encryption=policy) as whole,
            of_memory(objects, encryption=policy) as part,
            of_memory(objects, "", encryption=None) as raw,
            of_memory(elsewhere, "backup/b/", encryption=policy) as restored,
        ):
            await part.store("x", b"secret")
            assert await part.retrieve("x") == b"secret"
            with pytest.raises(StorageDecryptionError):
                await whole.retrieve("team/a/x")
            await whole.store("team/a/y", b"of the whole")
            with pytest.raises(StorageDecryptionError):
                await part.retrieve("y")
            await raw.delete("team/a/y")
            # The same bytes and metadata under another prefix.
            stored = objects.by_key["team/a/x"]
            elsewhere.put(replace(stored, info=replace(stored.info, key="backup/b/x")))
            assert await restored.retrieve("x") == b"secret"
            report = await part.rotate_keys()
            assert report.complete
            assert set(await _keys(part)) == {"x"}

    asyncio.run(main())


async def _keys(provider):
    return [item.key for item in await provider.list()]


def test_an_upload_goes_on_in_another_process_of_the_same_prefix(tmp_path):
    source = tmp_path / "source"
    source.write_bytes(os.urandom(40_000))
    journal = tmp_path / "journal"
    settings = {
        "bucket": BUCKET,
        "access_key_id": "id",
        "secret_access_key": "canary-secret",
        "multipart_threshold": 10_000,
        "part_size": 10_000,
        "max_retries": 0,
        "addressing": "path",
    }

    async def main():
        async with serving() as origin, StorageFactory(environ={}) as factory:

            def store(prefix):
                given = {"provider": "s3", "endpoint": origin.url, "prefix": prefix, **settings}
                factory.clear_cache()
                return factory.create(given)

            origin.plan("before-apply", BROKEN, operation="UploadPart", nth=3)
            first = store("team/a")
            with pytest.raises(StorageUnavailableError):
                await first.store("x", source, resume=journal)
            assert '"key": "x"' in journal.read_text()
            for other in ("team/b", ""):
                one = store(other)
                with pytest.raises(StorageInvalidRequestError) as caught:
                    await one.store("x", source, resume=journal)
                assert caught.value.code == "RESUME_MISMATCH"
                await one.aclose()
            second = store("team/a")
            result = await second.store("x", source, resume=journal)
            assert (result.key, journal.exists()) == ("x", False)
            assert origin.store.buckets[BUCKET].keys() == {"team/a/x"}
            assert await second.retrieve("x") == source.read_bytes()
            await first.aclose()
            await second.aclose()

    asyncio.run(main())


def test_the_edge_answers_links_of_the_prefix_alone():
    async def main():
        objects = MemoryObjects()
        listener = socket.create_server(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"

        def store(prefix):
            config = MemoryConfig(link_url=base, prefix=prefix)
            driver = prefixed(MemoryDriver(config, objects=objects), config.prefix)
            return StorageProvider(driver, config)

        async with store("team/a") as part, store("") as whole, serve_links(part, listener=listener):
            await part.store("x", b"mine")
            await whole.store("team/ab", b"of others")
            with await asyncio.to_thread(
                urllib.request.urlopen, await part.get_signed_url("x", 60)
            ) as answer:
                assert answer.read() == b"mine"
            link = await whole.get_signed_url("team/ab", 60)
            with pytest.raises(urllib.error.HTTPError, match="403"):
                await asyncio.to_thread(urllib.request.urlopen, link)

    asyncio.run(main())


def test_two_prefixes_of_one_place_are_a_store_and_its_fallback(tmp_path):
    async def main():
        async with StorageFactory(environ={}) as factory:
            both = factory.create_with_fallback(
                f"file://{tmp_path}?prefix=one",
                f"file://{tmp_path}?prefix=two/deep&cdn_url=https://two.example",
            )
            result = await both.store("k", b"1")
            assert (result.key, result.served_by) == ("k", "local (primary)")
            assert result.url == both.get_url("k") == f"file://{tmp_path}/one/k"
            assert (tmp_path / "one" / "k").read_bytes() == b"1"
            (tmp_path / "two" / "deep").mkdir(parents=True)
            (tmp_path / "two" / "deep" / "only").write_bytes(b"2")
            assert await both.retrieve("only") == b"2"
            assert await _keys(both) == ["k", "only"]
            copied = await both.copy("only", "copy")
            assert (copied.served_by, copied.url) == ("local (fallback)", "https://two.example/two/deep/copy")
            assert (tmp_path / "two" / "deep" / "copy").read_bytes() == b"2"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("primary", "fallback"),
    [
        ("s3://proofs/a", "s3://proofs/a/"),
        ("s3://proofs", "s3://proofs/a"),
        ("s3://proofs/a/b", "s3://proofs/a?timeout=3s"),
    ],
)
def test_a_store_is_no_fallback_of_what_is_inside_it(primary, fallback):
    environ = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "canary-secret"}
    with pytest.raises(StorageConfigurationError, match="same store, or one is inside"):
        StorageFactory(environ=environ).create_with_fallback(primary, fallback)


def test_the_same_bucket_with_another_prefix_is_another_store():
    async def main():
        environ = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "canary-secret"}
        async with StorageFactory(environ=environ) as factory:
            one = factory.create("s3://proofs/a")
            assert factory.create("s3://proofs/a/") is one
            assert factory.create("s3://proofs?prefix=a") is one
            assert factory.create({"provider": "aws", "bucket": "proofs", "prefix": "a/"}) is one
            assert factory.create("s3://proofs/ab") is not one
            assert factory.create("s3://proofs") is not one
            factory.create_with_fallback("s3://proofs/a", "s3://proofs/ab")

    asyncio.run(main())


def test_a_member_of_a_fallback_has_the_public_url_of_its_own(tmp_path):
    async def main():
        async with StorageFactory(environ={}) as factory:
            store = factory.create_with_fallback(
                {"provider": "local", "path": f"{tmp_path}/missing", "create": False},
                "memory://two/deep?cdn_url=https://two.example.com",
            )
            (tmp_path / "missing").mkdir()
            assert (await store.store("a", b"1")).url == f"file://{tmp_path}/missing/a"
            second = store._session.driver._fallback
            await put(second, "b", b"2")
            copied = await store.copy("b", "c")
            assert copied.url == "https://two.example.com/deep/c"

    asyncio.run(main())


def test_a_secret_and_a_prefix_in_one_mapping():
    store = StorageFactory(environ={}).create(
        {
            "provider": "r2",
            "bucket": "proofs",
            "prefix": "team/a",
            "account_id": "0" * 32,
            "access_key_id": "id",
            "secret_access_key": Secret("canary-secret"),
        }
    )
    assert store.config.prefix == PREFIX
    assert store.get_url("k").endswith("/proofs/team/a/k")
