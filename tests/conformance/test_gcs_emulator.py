"""The Google driver on gcp-storage-emulator: the plain paths of the contract, and no promises that it breaks."""

import asyncio
from collections.abc import Iterator
from secrets import token_hex

import pytest

from credstore.config.gcs import GcsConfig
from credstore.driver.values import BytesBody, Precondition, PutRequest
from credstore.drivers.gcs.driver import GcsDriver
from credstore.errors import StorageUnsupportedError
from credstore.factory import StorageFactory
from credstore.testing.checks import CHECKS
from credstore.testing.harness import Harness
from credstore.testing.running import run_check
from tests.servers.gcs_emulator import GcsEmulator, running_emulator

PART = 256 * 1024
UNFIT = {
    "keeps_odd_keys": "a key that ends with a slash has no route",
    "keeps_similar_keys_apart": "a key that ends with a slash has no route",
    "replaces_whole_versions": "bytes and properties are two requests, and no generation ties them together",
    "reads_ranges": "a range beyond the end is 206",
    "reads_the_last_bytes": "a range of the last bytes is ignored",
    "costs_one_request_each": "a read is two requests, as no generation is named",
    "copies_in_parts": "conditions on the source of a copy are ignored",
    "copies_the_version_it_was_shown": "conditions on the source of a copy are ignored",
    "lists_all_objects_once": "maxResults is ignored",
    "lists_up_to_a_delimiter": "maxResults is ignored",
    "lists_up_to_any_delimiter": "maxResults is ignored",
    "lists_from_a_name_on": "maxResults is ignored",
    "lists_prefixes_without_what_is_below": "one object after another takes a minute",
    "deletes_many_with_an_outcome_each": "one object after another takes half a minute",
    "lists_on_while_objects_go": "one object after another takes its time",
    "an_upload_cut_off_leaves_no_parts": "uploads cannot be cancelled or listed",
}
"""Checks that are not for version 2026.7.19, and why; the fake in `test_gcs.py` passes them all."""
PLAIN = [each for each in CHECKS if each.__name__ not in UNFIT]


@pytest.fixture(scope="module")
def emulator() -> Iterator[GcsEmulator]:
    with running_emulator() as server:
        yield server


def harness_of(server: GcsEmulator) -> Harness:
    name = server.make_bucket()
    config = GcsConfig(
        bucket=name, emulator_host=server.url, part_size=PART, multipart_threshold=PART, max_retries=1
    )

    async def peek(key: str) -> bytes | None:
        with server.client() as client:
            blob = client.bucket(name).get_blob(key)
            return None if blob is None else blob.download_as_bytes(raw_download=True)

    async def poke(key: str, data: bytes) -> None:
        with server.client() as client:
            blob = client.bucket(name).get_blob(key)
            new = client.bucket(name).blob(key)
            new.metadata, new.content_encoding = blob.metadata, blob.content_encoding
            new.upload_from_string(data, content_type=blob.content_type)

    return Harness(
        open=lambda: GcsDriver(config),
        peek=peek,
        poke=poke,
        large=PART + 1,
        fetch=None,
    )


@pytest.mark.parametrize("check", PLAIN, ids=lambda each: each.__name__)
def test_plain_paths(check, emulator):
    asyncio.run(run_check(check, harness_of(emulator)))


def test_every_unfit_check_is_one():
    assert UNFIT.keys() <= {each.__name__ for each in CHECKS}


def test_batches_and_listings_of_several_keys(emulator):
    async def use() -> None:
        driver = harness_of(emulator).open()
        for key in ("a/1", "a/2", "b/ö"):
            await driver.put(put_of(key, b"data"))
        page = await driver.list("", delimiter="/", start_after="a/")
        assert ([each.key for each in page.entries], page.prefixes) == ([], ["b/"])
        outcomes = await driver.delete_many(["a/1", "b/ö", "absent"])
        assert {key: each.existed for key, each in outcomes.items()} == {
            "a/1": True,
            "b/ö": True,
            "absent": False,
        }
        assert [each.key for each in (await driver.list()).entries] == ["a/2"]
        await driver.aclose()

    asyncio.run(use())


def put_of(key: str, data: bytes, condition: Precondition = Precondition()) -> PutRequest:  # noqa: B008
    return PutRequest(key=key, body=BytesBody(data), write_id=token_hex(16), precondition=condition)


def test_it_ignores_conditions_as_the_vendors_client_sees(emulator):
    name = emulator.make_bucket()
    with emulator.client() as client:
        for data in (b"1", b"2"):
            client.bucket(name).blob("key").upload_from_string(data, if_generation_match=0)
        assert client.bucket(name).blob("key").download_as_bytes() == b"2"


@pytest.mark.parametrize("stated", [True, False])
def test_no_condition_is_promised_where_it_would_be_ignored(emulator, stated):
    """Whether it is said that it is an emulator, or it is only an endpoint that is not Google's."""
    name = emulator.make_bucket()
    place = (
        {"emulator_host": emulator.url} if stated else {"endpoint": emulator.url, "auth_mode": "anonymous"}
    )
    driver = GcsDriver(GcsConfig(bucket=name, **place))

    async def use() -> None:
        await driver.put(put_of("key", b"there"))
        etag = (await driver.head("key")).etag
        for condition in (Precondition("create"), Precondition("replace", etag)):
            with pytest.raises(StorageUnsupportedError):
                await driver.put(put_of("key", b"lost", condition))
        with pytest.raises(StorageUnsupportedError):
            await driver.delete("key", if_match=etag)
        able = driver.capabilities
        assert (able.conditional_create, able.conditional_replace, able.conditional_delete) == (False,) * 3
        assert [each.key for each in (await driver.list()).entries] == ["key"]  # The probe is gone again.
        async with await driver.get("key") as reader:
            assert await reader.read() == b"there"
        await driver.aclose()

    asyncio.run(use())


def test_a_store_of_the_environment_works_on_it(emulator, monkeypatch):
    """As in any program: named by a URL, the place by Google's own variable."""
    name = emulator.make_bucket()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.url)
    monkeypatch.setenv("CREDSTORE_URL", f"gs://{name}/team/a")

    async def use() -> None:
        async with StorageFactory().from_env() as store:
            await store.store("proof", b'{"a": 1}' * 100, compress="gzip", metadata={"author": "größe"})
            assert await store.retrieve("proof") == b'{"a": 1}' * 100
            found = await store.get_metadata("proof")
            assert (found.metadata, found.compression, found.plain_size) == ({"author": "größe"}, "gzip", 800)
            await store.move("proof", "moved")
            assert [each.key for each in await store.list()] == ["moved"]
            assert (await store.health_check()).healthy
            assert (await store.batch_delete(["moved", "absent"])).failed == {}

    asyncio.run(use())
