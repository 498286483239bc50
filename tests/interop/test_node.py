"""credstore and the AWS SDK for JavaScript v3 on one S3 server, each reading what the other wrote."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import pytest
import zstandard

from credstore import S3CompatibleConfig, S3CompatibleStorageProvider, Secret, StorageProvider
from tests.conftest import S3Server
from tests.interop.node import Node, running_node

pytestmark = pytest.mark.system

T = TypeVar("T")
PROOF = b'{"claim": "the original, \xc3\xa9", "hashes": [1, 2, 3]}' * 40
KEYS = [
    "plain.json",
    "with space and+plus",
    "100%/?query#fragment&amp'quote\"~*",
    "unicode/é/日本語/😀",
    "double//slash",
    "dots.in/a..b/.hidden",
    "/leading",
    "trailing/",
]


@pytest.fixture
def bucket(s3_server: S3Server) -> str:
    return s3_server.bucket


@pytest.fixture
def node(s3_server: S3Server) -> Iterator[Node]:
    with running_node(s3_server.url, "AKIDEXAMPLE", "example-secret") as node:
        yield node


@pytest.fixture
def use(s3_server: S3Server, bucket: str) -> Callable[[Callable[[StorageProvider], Awaitable[T]]], T]:
    """Run a coroutine function over an open provider."""
    config = S3CompatibleConfig(
        bucket=bucket,
        endpoint=s3_server.url,
        access_key_id="AKIDEXAMPLE",
        secret_access_key=Secret("example-secret"),
        flavor="minio",
        part_size=5 * 1024 * 1024,
        multipart_threshold=6 * 1024 * 1024,
    )

    def run(action: Callable[[StorageProvider], Awaitable[T]]) -> T:
        async def opened() -> T:
            async with S3CompatibleStorageProvider(config) as provider:
                return await action(provider)

        return asyncio.run(opened())

    return run


@pytest.mark.parametrize("key", KEYS)
def test_what_node_writes_credstore_reads(node, use, bucket, key):
    node("put", input={"Bucket": bucket, "Key": key, "Metadata": {"author": "node"}}, body=PROOF)

    async def read(provider):
        item = await provider.get_metadata(key)
        assert [each.key for each in await provider.list()] == [key]
        return await provider.retrieve(key), item

    data, item = use(read)
    assert data == PROOF
    assert item.metadata == {"author": "node"}


@pytest.mark.parametrize("key", KEYS)
def test_what_credstore_writes_node_reads(node, use, bucket, key):
    use(lambda provider: provider.store(key, PROOF, metadata={"author": "python"}, tags={"kind": "proof"}))
    got = node("get", input={"Bucket": bucket, "Key": key})
    assert got["body"] == PROOF
    assert got["ContentType"] == "application/json"
    assert got["CacheControl"] == "public, max-age=31536000, immutable"
    assert got["Metadata"]["author"] == "python"
    assert node("list", input={"Bucket": bucket})["keys"] == [key]
    assert node("tags", input={"Bucket": bucket, "Key": key})["tags"] == [{"Key": "kind", "Value": "proof"}]


def test_the_original_codes_gzip_objects_are_read(node, use, bucket):
    """Gzip bytes that only `x-compression` tells of, as the TypeScript code stores them."""
    node(
        "put",
        input={
            "Bucket": bucket,
            "Key": "legacy",
            "ContentType": "application/json",
            "Metadata": {"x-compression": "gzip", "x-original-size": str(len(PROOF))},
        },
        body=gzip.compress(PROOF),
    )
    node(
        "put",
        input={"Bucket": bucket, "Key": "foreign", "ContentEncoding": "gzip"},
        body=gzip.compress(PROOF),
    )

    async def read(provider):
        item = await provider.get_metadata("legacy")
        assert (item.compression, item.plain_size) == ("gzip", len(PROOF))
        link = await provider.get_signed_url("legacy")
        return await provider.retrieve("legacy"), await provider.retrieve("foreign"), str(link)

    legacy, foreign, link = use(read)
    assert legacy == foreign == PROOF
    # fetch() decodes, since the link imposes the Content-Encoding that the object lacks.
    assert node("fetch", url=link, method="GET")["body"] == PROOF


def test_what_credstore_compresses_node_can_undo(node, use, bucket):
    async def write(provider):
        await provider.store("gz", PROOF, compress="gzip")
        await provider.store("zst", PROOF, compress="zstd")

    use(write)
    compressed = node("get", input={"Bucket": bucket, "Key": "gz"})
    assert compressed["ContentEncoding"] == "gzip"
    assert compressed["Metadata"]["x-compression"] == "gzip"
    assert compressed["Metadata"]["x-original-size"] == str(len(PROOF))
    assert gzip.decompress(compressed["body"]) == PROOF
    opaque = node("get", input={"Bucket": bucket, "Key": "zst"})
    assert opaque["ContentType"] == "application/zstd"
    assert "ContentEncoding" not in opaque
    assert zstandard.decompress(opaque["body"]) == PROOF


@pytest.mark.parametrize("key", KEYS)
def test_node_uses_credstores_links(node, use, key):
    async def links(provider):
        await provider.store(key, PROOF, compress="gzip")
        get = await provider.get_signed_url(key, 60, download_name='Übersicht "1".json')
        head = await provider.get_signed_url(key, 60, "HEAD")
        return str(get), str(head), str(await provider.get_signed_url(key, 60, "DELETE"))

    get, head, delete = use(links)
    fetched = node("fetch", url=get, method="GET")
    assert (fetched["status"], fetched["body"]) == (200, PROOF)
    assert "filename*=UTF-8''%C3%9Cbersicht" in fetched["headers"]["content-disposition"]
    assert node("fetch", url=head, method="HEAD")["status"] == 200
    assert node("fetch", url=delete, method="DELETE")["status"] == 204
    assert use(lambda provider: provider.exists(key)) is False


def test_node_puts_through_a_link(node, use):
    async def link(provider):
        url = await provider.get_signed_url("uploaded", 60, "PUT", content_type="text/plain")
        return str(url), dict(url.headers)

    url, headers = use(link)
    assert node("fetch", url=url, method="PUT", headers=headers, body=b"from fetch")["status"] == 200

    async def read(provider):
        return await provider.retrieve("uploaded"), (await provider.get_metadata("uploaded")).content_type

    assert use(read) == (b"from fetch", "text/plain")


def test_multipart_both_ways(node, use, bucket):
    size = 12 * 1024 * 1024 + 7
    node("upload", input={"Bucket": bucket, "Key": "node"}, size=size, partSize=5 * 1024 * 1024)
    body = (b"multipart" * (size // 9 + 1))[:size]

    async def both(provider):
        assert await provider.retrieve("node") == body

        async def chunks():
            for start in range(0, size, 1_000_000):
                yield body[start : start + 1_000_000]

        result = await provider.store("python", chunks())
        assert result.etag.endswith("-3")

    use(both)
    assert node("get", input={"Bucket": bucket, "Key": "python"})["body"] == body


def test_a_copy_keeps_what_node_wrote(node, use, bucket):
    node(
        "put",
        input={
            "Bucket": bucket,
            "Key": "quelle/é +%",
            "Metadata": {"author": "node"},
            "ContentType": "image/jpeg",
            "CacheControl": "no-store",
            "Tagging": "kind=proof",
        },
        body=PROOF,
    )
    use(lambda provider: provider.move("quelle/é +%", "ziel/日本 語"))
    got = node("get", input={"Bucket": bucket, "Key": "ziel/日本 語"})
    assert got["body"] == PROOF
    assert (got["ContentType"], got["CacheControl"]) == ("image/jpeg", "no-store")
    assert got["Metadata"]["author"] == "node"
    assert node("tags", input={"Bucket": bucket, "Key": "ziel/日本 語"})["tags"]
    assert node("list", input={"Bucket": bucket})["keys"] == ["ziel/日本 語"]


def test_metadata_in_unicode_survives_between_credstore_and_itself_past_node(node, use, bucket):
    """Node copies an object; credstore's metadata with non-ASCII values stays readable."""
    use(
        lambda provider: provider.store(
            "from", PROOF, metadata={"title": "Über alles: 日本"}, compress="zstd"
        )
    )
    node("copy", input={"Bucket": bucket, "Key": "to", "CopySource": f"{bucket}/from"})

    async def read(provider):
        return await provider.retrieve("to"), (await provider.get_metadata("to")).metadata

    assert use(read) == (PROOF, {"title": "Über alles: 日本"})
