"""credstore and azure-storage-blob on one Azurite, each reading what the other wrote."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from hashlib import md5
from typing import TypeVar

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobType, ContainerClient, ContentSettings

from credstore import (
    AzureConfig,
    AzureStorageProvider,
    ClientSide,
    KeyRing,
    LocalKey,
    Secret,
    StorageProvider,
)
from credstore.drivers.azure.driver import AzureDriver
from credstore.errors import (
    StorageAlreadyExistsError,
    StorageAuthenticationError,
    StorageBucketNotFoundError,
    StorageConflictError,
    StorageError,
    StorageIntegrityError,
    StorageUnavailableError,
    StorageUnsupportedError,
)
from tests.servers.azurite import KEY, AzuriteServer, running_azurite

pytestmark = pytest.mark.system

T = TypeVar("T")
PROOF = b'{"claim": "the original, \xc3\xa9", "hashes": [1, 2, 3]}' * 40
KEYS = [
    "plain.json", "with space and+plus", "100%/?query#fragment&amp'quote\"~*", "unicode/é/日本語/😀",
    "double//slash", "dots.in/a..b/.hidden", "trailing/",
]  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[AzuriteServer]:
    with running_azurite() as server:
        yield server


@pytest.fixture
def container(server: AzuriteServer) -> str:
    return server.make_container()


@pytest.fixture
def theirs(server: AzuriteServer, container: str) -> Iterator[ContainerClient]:
    with server.client() as client, client.get_container_client(container) as blobs:
        yield blobs


def config_of(server: AzuriteServer, container: str, **settings: object) -> AzureConfig:
    small = {"part_size": 64 * 1024, "multipart_threshold": 64 * 1024, "capabilities": "-versions"}
    given = {"endpoint": server.url, "bucket": container, "account_key": Secret(KEY), **small, **settings}
    return AzureConfig(**given)


@pytest.fixture
def use(server: AzuriteServer, container: str) -> Callable[[Callable[[StorageProvider], Awaitable[T]]], T]:
    """Run a coroutine function over an open provider."""

    def run(action: Callable[[StorageProvider], Awaitable[T]], **settings: object) -> T:
        async def opened() -> T:
            async with AzureStorageProvider(config_of(server, container, **settings)) as provider:
                return await action(provider)

        return asyncio.run(opened())

    return run


def test_azures_client_reads_what_credstore_wrote(use, theirs):
    async def write(store):
        for key in KEYS:
            await store.store(
                key, PROOF, metadata={"author": "Me", "my_name": "x", "x-thing": "y"}, tags={"a": "1"}
            )
        await store.store("large", PROOF * 500)
        await store.store("packed", PROOF, compress="gzip")

    use(write)
    for key in KEYS:
        blob = theirs.get_blob_client(key)
        assert blob.download_blob().readall() == PROOF
        found = blob.get_blob_properties()
        assert found.blob_type == BlobType.BLOCKBLOB
        assert found.content_settings.content_type == "application/json"
        assert found.content_settings.cache_control == "public, max-age=31536000, immutable"
        assert bytes(found.content_settings.content_md5) == md5(PROOF).digest()
        kept = {name: value for name, value in found.metadata.items() if not name.startswith("credstore")}
        assert kept == {"author": "Me", "my_name": "x", "x_2dthing": "y"}
        assert blob.get_blob_tags() == {"a": "1"}
    assert theirs.download_blob("large").readall() == PROOF * 500
    packed = theirs.download_blob("packed")
    assert packed.properties.content_settings.content_encoding == "gzip"
    assert packed.readall() == PROOF  # Decompressed, as the header says.
    assert sorted(each.name for each in theirs.list_blobs()) == sorted([*KEYS, "large", "packed"])


def test_credstore_reads_what_azures_client_wrote(use, theirs):
    settings = ContentSettings(content_type="text/plain", content_disposition="inline", content_language="de")
    for key in KEYS:
        theirs.upload_blob(
            key,
            PROOF,
            metadata={"Author": "Them", "my_name": "x"},
            content_settings=settings,
            tags={"b": "2"},
        )
    big = bytes(range(256)) * 40_000
    blocks = theirs.get_blob_client("blocks")
    for number, start in enumerate(range(0, len(big), 4_000_000)):
        blocks.stage_block(f"{number:08}", big[start : start + 4_000_000])
    blocks.commit_block_list([f"{number:08}" for number in range(number + 1)])
    theirs.upload_blob(
        "packed", gzip.compress(PROOF), content_settings=ContentSettings(content_encoding="gzip")
    )
    theirs.upload_blob("appended", b"one line", blob_type=BlobType.APPENDBLOB)
    theirs.upload_blob("page", bytes(512), blob_type=BlobType.PAGEBLOB)

    async def read(store):
        for key in KEYS:
            assert await store.retrieve(key) == PROOF
            item = await store.get_metadata(key)
            assert dict(item.metadata) == {"author": "Them", "my_name": "x"}
            assert (item.content_type, item.size) == ("text/plain", len(PROOF))
        assert await store.retrieve("blocks") == big
        async with store.open("blocks", start=70_000, end=200_001) as reader:
            assert b"".join([chunk async for chunk in reader]) == big[70_000:200_001]
        assert await store.retrieve("packed") == PROOF
        assert await store.retrieve("appended") == b"one line"
        assert await store.retrieve("page") == bytes(512)
        with pytest.raises(StorageConflictError):
            await store.store("page", b"in blocks" * 20_000)
        await store.move("plain.json", "moved.json")
        assert await store.retrieve("plain.json") is None

    use(read)
    moved = theirs.get_blob_client("moved.json")
    found = moved.get_blob_properties()
    assert {name: found.metadata.get(name) for name in ("author", "my_name")} == {
        "author": "Them",
        "my_name": "x",
    }
    assert (found.content_settings.content_disposition, found.content_settings.content_language) == (
        "inline",
        "de",
    )
    assert moved.get_blob_tags() == {"b": "2"}


def test_conditions_hold_between_the_two(use, theirs):
    etag = theirs.upload_blob("key", b"theirs").get_blob_properties().etag.strip('"')

    async def write(store):
        with pytest.raises(StorageAlreadyExistsError):
            await store.store("key", b"ours", if_absent=True)
        await store.store("key", b"ours", if_match=etag)
        with pytest.raises(StorageConflictError):
            await store.store("key", b"ours again", if_match=etag)
        await store.store("key" * 2, b"large" * 50_000, if_absent=True)

    use(write)
    assert theirs.download_blob("key").readall() == b"ours"


def test_an_encrypted_object_is_opaque_to_azures_client(use, theirs):
    policy = ClientSide(KeyRing(LocalKey(bytes(32))), store_id="tests")

    async def write(store):
        await store.store("sealed", PROOF, encryption=policy)
        assert await store.retrieve("sealed", encryption=policy) == PROOF

    use(write)
    blob = theirs.download_blob("sealed")
    assert b"claim" not in blob.readall()
    assert blob.properties.content_settings.content_type == "application/octet-stream"


def test_tiers_and_the_archive(use, theirs):
    async def write(store):
        await store.store("cool", PROOF, storage_class="Cool")
        await store.store("old", PROOF, storage_class="Archive")
        assert (await store.get_metadata("old")).storage_class == "Archive"
        await store.copy("cool", "copy")
        with pytest.raises(StorageUnavailableError, match="archived") as raised:
            await store.retrieve("old")
        assert raised.value.code == "ARCHIVED"

    use(write)
    assert theirs.get_blob_client("cool").get_blob_properties().blob_tier == "Cool"
    assert theirs.get_blob_client("copy").get_blob_properties().blob_tier == "Cool"

    async def restore(store):
        with pytest.raises(StorageUnavailableError, match="is being restored"):
            await store.retrieve("old")

    use(restore, rehydrate="high")
    assert theirs.get_blob_client("old").get_blob_properties().blob_tier == "Hot"


def test_what_is_wrong_with_the_place_or_the_key(server, use):
    wrong = Secret("A" * 86 + "==")

    async def look(store):
        health = await store.health_check()
        assert not health.healthy
        with pytest.raises(StorageError) as raised:
            await store.get_metadata("key")
        return raised.value

    async def ping(store):
        with pytest.raises(StorageError) as raised:
            await store.list()
        return raised.value

    absent = use(look, bucket="no-such-container")
    assert isinstance(absent, StorageBucketNotFoundError)
    assert (absent.provider_code, bool(absent.request_id)) == ("ContainerNotFound", True)
    refused = use(look, account_key=wrong)
    assert isinstance(refused, (StorageAuthenticationError, PermissionError))
    assert refused.status_code == 403
    assert refused.request_id
    # Azurite has no such account; on Azure there is no such host.
    other = use(ping, endpoint=server.url.replace("devstoreaccount1", "otheraccount"))
    assert isinstance(other, StorageBucketNotFoundError)


def test_blocks_of_uploads_that_were_given_up_are_dropped(
    server: AzuriteServer, container: str, theirs: ContainerClient
) -> None:
    theirs.upload_blob("a/empty", b"")
    for name in ("a/cut off", "b/other"):
        theirs.get_blob_client(name).stage_block("AAAA", b"data")

    async def drop() -> None:
        driver = AzureDriver(config_of(server, container))
        async for each in driver.list_uploads("a/"):
            await driver.abort_upload(each.key)
        await driver.aclose()

    asyncio.run(drop())
    left = {each.name for each in theirs.list_blobs(include=["uncommittedblobs"])}
    assert left == {"a/empty", "b/other"}


def test_everything_that_a_batch_deletes_is_gone(use, theirs):
    async def write(store):
        keys = [f"many/{number:03}" for number in range(300)]
        await asyncio.gather(*(store.store(key, b"x") for key in keys[:40]))
        for key in keys[40:]:
            theirs.upload_blob(key, b"x")
        result = await store.batch_delete([*keys, "many/absent"])
        assert not result.failed
        assert await store.list("many/") == []
        with pytest.raises(ResourceNotFoundError):
            theirs.download_blob("many/000")

    use(write)


def test_a_lock_that_the_server_ignores_is_seen_and_what_it_lacks_is_named(use):
    """Azurite stores what has the headers of a policy or hold, and does not know them."""
    until = datetime(2037, 1, 1, tzinfo=UTC)

    async def check(store):
        await store.store("k", PROOF)
        for call in (
            store.store("new", PROOF, retain_until=until),
            store.store("new", PROOF * 500, legal_hold=True),
            store.copy("k", "new", legal_hold=True),
        ):
            with pytest.raises(StorageIntegrityError, match="removed again") as caught:
                await call
            assert (caught.value.code, caught.value.applied) == ("NOT_HONOURED", "yes")
        for call in (store.retain("k", until=until), store.hold("k"), store.release("k")):
            with pytest.raises(StorageUnsupportedError, match="version-level immutability") as caught:
                await call
            assert (caught.value.code, caught.value.applied) == ("RETENTION_DISABLED", "no")
        assert [each.key for each in await store.list()] == ["k"]

    use(check, capabilities="")
