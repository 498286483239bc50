"""The benchmarks' server returns what was stored, so that verified reads do verify there."""

import asyncio
import hashlib
import os
import ssl
from urllib.request import Request, urlopen

import pytest

from benchmarks.null_s3 import BUCKET, running_null_s3
from benchmarks.null_server import unchunked
from credstore import (
    S3CompatibleConfig,
    S3CompatibleStorageProvider,
    Secret,
    StorageIntegrityError,
)

PART = 5 * 1024 * 1024
SINGLE, SEVERAL = os.urandom(4096), os.urandom(2 * PART + 7)


@pytest.fixture(scope="module", params=[False, True], ids=["http", "https"])
def server(request):
    with running_null_s3(tls=request.param) as running:
        yield running


def opened(server):
    return S3CompatibleStorageProvider(
        S3CompatibleConfig(
            bucket=BUCKET,
            endpoint=server.url,
            access_key_id="a",
            secret_access_key=Secret("s"),
            ca_file=server.ca_file,
            multipart_threshold=PART,
            part_size=PART,
        )
    )


def raw(server, method, key, data=None, headers=None):
    """A request past credstore."""
    context = ssl.create_default_context(cafile=server.ca_file) if server.ca_file else None
    request = Request(f"{server.url}/{BUCKET}/{key}", method=method, data=data, headers=headers or {})
    with urlopen(request, context=context) as response:
        return dict(response.headers.items()), response.read()


@pytest.mark.parametrize("data", [SINGLE, SEVERAL], ids=["single", "multipart"])
def test_what_is_stored_is_returned_with_its_digest(server, data):
    async def use():
        async with opened(server) as store:
            stored = await store.store("k", data, metadata={"title": "a photograph"})
            found = await store.get_metadata("k")
            assert found.digest == hashlib.sha256(data).digest()
            assert found.etag == stored.etag
            assert found.size == len(data)
            assert found.metadata == {"title": "a photograph"}
            assert await store.retrieve("k", max_size=len(data)) == data
            async with store.open("k") as reader:
                assert b"".join([bytes(piece) async for piece in reader]) == data

    asyncio.run(use())


@pytest.mark.parametrize("data", [SINGLE, SEVERAL], ids=["single", "multipart"])
def test_a_byte_changed_behind_the_back_is_refused(server, data):
    async def use():
        async with opened(server) as store:
            await store.store("k", data)
            headers, body = await asyncio.to_thread(raw, server, "GET", "k")
            assert body == data
            changed = bytes([data[0] ^ 1]) + data[1:]
            kept = {name: value for name, value in headers.items() if name.startswith("x-amz-meta-")}
            await asyncio.to_thread(raw, server, "PUT", "k", changed, kept)
            with pytest.raises(StorageIntegrityError):
                await store.retrieve("k", max_size=len(data))

    asyncio.run(use())


def test_a_stream_comes_back_whole(server):
    async def pieces():
        for start in range(0, len(SEVERAL), 1_000_000):
            yield SEVERAL[start : start + 1_000_000]

    async def use():
        async with opened(server) as store:
            await store.store("k", pieces())
            assert await store.retrieve("k", max_size=len(SEVERAL)) == SEVERAL
            async with store.open("k", start=PART - 3, end=PART + 4) as reader:
                assert await reader.read() == SEVERAL[PART - 3 : PART + 4]

    asyncio.run(use())


def test_parts_that_were_not_sent_complete_nothing(server):
    _, body = raw(server, "POST", "k?uploads")
    upload = body.partition(b"<UploadId>")[2].partition(b"<")[0].decode()
    raw(server, "PUT", f"k?partNumber=1&uploadId={upload}", b"one")
    wrong = b'<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"x"</ETag></Part></CompleteMultipartUpload>'
    with pytest.raises(OSError, match="400"):
        raw(server, "POST", f"k?uploadId={upload}", wrong)
    raw(server, "DELETE", f"k?uploadId={upload}")
    with pytest.raises(OSError, match="404"):
        raw(server, "POST", f"k?uploadId={upload}", wrong)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"3\r\nabc\r\n0\r\n\r\nrest", (b"abc", 13)),
        (b"3;chunk-signature=x\r\na\r\n\r\n2\r\nde\r\n0\r\nx-amz-checksum-crc32:q\r\n\r\n", (b"a\r\nde", 62)),
        (b"3\r\nabc\r\n0\r\n", None),
        (b"3\r\nab", None),
    ],
)
def test_chunked_bodies_end_where_they_say(data, found):
    assert unchunked(data) == found
