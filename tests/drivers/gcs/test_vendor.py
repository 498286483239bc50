"""google-cloud-storage and our driver meet in one bucket: each reads the other's, and the fake refuses both alike."""

import asyncio
import gzip
import json
import os
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import pytest
from google.api_core import exceptions

from credstore.driver.values import (
    BytesBody,
    ContentHeaders,
    CopyRequest,
    Precondition,
    PutRequest,
    ReadOptions,
)
from credstore.drivers.gcs import checksums
from credstore.errors import (
    ErrorCode,
    StorageAlreadyExistsError,
    StorageError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
)
from tests.drivers.gcs.fake import QUANTUM, FakeGcs
from tests.drivers.gcs.vendor import vendor

ID = "0123456789abcdef" * 2
KEYS = ["a", "a/b c+d", "größe/日本", "x/../y", "dir/", "a//b", "100%25", "?q#f"]


def put_of(key: str, data: bytes, **fields: object) -> PutRequest:
    return PutRequest(key=key, body=BytesBody(data), write_id=ID, **fields)


async def read(driver, key: str, options: ReadOptions = ReadOptions()) -> bytes:  # noqa: B008 - it is frozen
    async with await driver.get(key, options) as reader:
        return await reader.read()


@pytest.mark.parametrize("key", KEYS)
def test_the_vendor_reads_what_we_wrote_and_we_what_it_wrote(key):
    fake = FakeGcs()
    driver = fake.driver()
    headers = ContentHeaders(content_type="image/png", cache_control="no-store", content_language="de")
    asyncio.run(driver.put(put_of(key, b"ours", headers=headers, metadata={"author": "me"})))
    with vendor(fake) as bucket:
        blob = bucket.get_blob(key)
        assert (blob.download_as_bytes(), blob.content_type, blob.content_language) == (
            b"ours",
            "image/png",
            "de",
        )
        assert (blob.metadata["author"], blob.metadata["credstore-write-id"]) == ("me", ID)
        theirs = bucket.blob(key)
        theirs.metadata = {"Author": "you"}
        theirs.upload_from_string(b"theirs", content_type="text/plain")
    info = asyncio.run(driver.head(key))
    assert (info.metadata, info.headers.content_type, info.write_id, info.digest) == (
        {"author": "you"},
        "text/plain",
        None,
        None,
    )
    assert asyncio.run(read(driver, key)) == b"theirs"


@pytest.mark.parametrize("size", [0, 1, QUANTUM, 3 * QUANTUM + 17])
def test_large_uploads_of_both_are_the_same_to_the_service(size):
    fake = FakeGcs()
    data = os.urandom(size)
    driver = fake.driver(multipart_threshold=1, part_size=QUANTUM)
    asyncio.run(driver.put(put_of("ours", data)))
    ours = [(each.method, each.headers.get("content-range")) for each in fake.sent if "upload_id" in each.url]
    fake.sent.clear()
    with vendor(fake) as bucket:
        blob = bucket.blob("theirs", chunk_size=QUANTUM)
        with blob.open("wb", ignore_flush=True) as file:
            file.write(data)
        assert bucket.blob("ours").download_as_bytes() == data
    assert asyncio.run(read(driver, "theirs")) == data
    if size > QUANTUM:
        totals = {each[1].rpartition("/")[2] for each in ours}
        assert totals == {str(size)}  # The vendor's file does not know its length; ours does.
        theirs = [
            each.headers["content-range"].partition("/")[0] for each in fake.sent if each.method == "PUT"
        ]
        assert theirs == [each[1].partition("/")[0] for each in ours]


def shape(url: str) -> tuple[str, dict[str, str]]:
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    for name in ("fields", "projection", "prettyPrint", "maxResults"):
        query.pop(name, None)
    return parts.path, query


def about_objects(fake: FakeGcs) -> list[tuple[str, str, dict[str, str]]]:
    """The requests, but for those about the bucket: the vendor's client looks at it in a thread of its own."""
    return [
        (each.method, *shape(each.url))
        for each in fake.sent
        if not urlsplit(each.url).path.endswith("/b/proofs")
    ]


def test_the_requests_of_both_have_the_same_form():
    fake = FakeGcs()
    driver = fake.driver()
    with vendor(fake) as bucket:
        bucket.blob("a/b").upload_from_string(b"1", if_generation_match=0)
        generation = bucket.get_blob("a/b").generation
        bucket.blob("a/b").rewrite(bucket.blob("a/b"), if_source_generation_match=generation)
        list(bucket.list_blobs(prefix="a", delimiter="/", start_offset="a"))
        bucket.blob("a/b").delete(if_generation_match=fake.now("a/b").generation, if_metageneration_match=1)
    theirs = about_objects(fake)
    fake.sent.clear()

    async def ours() -> None:
        await driver.put(put_of("a/b", b"1", precondition=Precondition("create")))
        source = await driver.head("a/b")
        await driver.copy(CopyRequest(source=source, destination="a/b", write_id=ID))
        await driver.list("a", delimiter="/", start_after="a")
        await driver.delete("a/b", if_match=(await driver.head("a/b")).etag)

    asyncio.run(ours())
    found = about_objects(fake)
    del found[-2]  # Only our test looks at the object again.
    assert [each[:2] for each in found] == [each[:2] for each in theirs]
    for (_, _, mine), (_, _, other) in zip(found, theirs, strict=True):
        assert mine.keys() - {"ifSourceMetagenerationMatch"} == other.keys()


def refused_by(act) -> int:
    with pytest.raises(exceptions.GoogleAPICallError) as caught:
        act()
    return caught.value.code


def test_the_fake_refuses_the_vendor_and_us_alike():
    fake = FakeGcs()
    driver = fake.driver()
    fake.put("there", b"1", {})
    old = fake.now("there")
    fake.put("there", b"2", {})
    stale = f"{old.generation}-1"
    with vendor(fake) as bucket:
        blob = bucket.blob("there")
        assert refused_by(lambda: bucket.blob("there").upload_from_string(b"x", if_generation_match=0)) == 412
        assert refused_by(lambda: blob.upload_from_string(b"x", if_generation_match=old.generation)) == 412
        assert refused_by(lambda: blob.delete(if_generation_match=old.generation)) == 412
        assert (
            refused_by(lambda: bucket.blob("to").rewrite(blob, if_source_generation_match=old.generation))
            == 412
        )
        assert refused_by(lambda: bucket.blob("there").rewrite(blob, if_generation_match=0)) == 412
        assert refused_by(lambda: bucket.blob("absent").delete()) == 404
        assert refused_by(lambda: bucket.blob("absent").download_as_bytes()) == 404
        assert bucket.get_blob("there", generation=old.generation) is None

    async def failure(act) -> type[StorageError]:
        with pytest.raises(StorageError) as caught:
            await act
        assert caught.value.applied == "no"
        return type(caught.value)

    async def ours() -> list[type[StorageError]]:
        now = await driver.head("there")
        gone = CopyRequest(source=await driver.head("there"), destination="to", write_id=ID)
        fake.put("there", b"3", {})
        create, replace_ = Precondition("create"), Precondition("replace", stale)
        return [
            await failure(driver.put(put_of("there", b"x", precondition=create))),
            await failure(driver.put(put_of("there", b"x", precondition=replace_))),
            await failure(driver.delete("there", if_match=stale)),
            await failure(driver.copy(gone)),
            await failure(
                driver.copy(
                    CopyRequest(
                        source=await driver.head("there"),
                        destination="there",
                        write_id=ID,
                        precondition=create,
                    )
                )
            ),
            await failure(driver.head("absent")),
            await failure(driver.get("absent")),
            await failure(driver.get("there", ReadOptions(if_match=now.etag))),
        ]

    conflict, absent = StoragePreconditionFailedError, StorageObjectNotFoundError
    exists = StorageAlreadyExistsError
    assert asyncio.run(ours()) == [exists, conflict, conflict, conflict, exists, absent, absent, conflict]
    assert fake.now("there").data == b"3"
    assert fake.now("to") is None


def test_gzip_of_others_arrives_as_it_is_stored():
    fake = FakeGcs()
    packed = gzip.compress(b"plain " * 1000)
    with vendor(fake) as bucket:
        blob = bucket.blob("page")
        blob.content_encoding = "gzip"
        blob.upload_from_string(packed, content_type="text/html")
    driver = fake.driver()
    assert asyncio.run(read(driver, "page")) == packed
    assert asyncio.run(read(driver, "page", ReadOptions(start=3, end=9))) == packed[3:9]
    assert asyncio.run(driver.head("page")).headers.content_encoding == "gzip"

    def decompress(request, serve):
        request.headers.pop("accept-encoding", None)
        return serve(request)

    fake.faults.append(decompress)  # As a proxy that takes the header away.
    with pytest.raises(StorageError) as caught:
        asyncio.run(read(driver, "page"))
    assert caught.value.code == ErrorCode.NO_LENGTH


def test_the_vendors_batch_and_ours_delete_the_same():
    fake = FakeGcs()
    for name in ("a", "b", "c/ö", "d"):
        fake.put(name, b"1", {})
    with vendor(fake) as bucket, bucket.client.batch(raise_exception=False):
        bucket.delete_blobs([bucket.blob("a"), bucket.blob("absent")])
    assert sorted(fake.objects) == ["b", "c/ö", "d"]
    outcomes = asyncio.run(fake.driver().delete_many(["b", "c/ö", "absent"]))
    assert {key: each.existed for key, each in outcomes.items()} == {"b": True, "c/ö": True, "absent": False}
    assert sorted(fake.objects) == ["d"]


def test_what_others_stored_without_a_digest_is_compared_with_the_services_checksum():
    fake = FakeGcs()
    fake.put("theirs", b"as stored", {})
    driver = fake.driver()
    assert asyncio.run(read(driver, "theirs")) == b"as stored"

    def damaged(request, serve):
        answer = serve(request)
        return type(answer)(answer.status, b"as damage", answer.headers)

    fake.faults.append(damaged)
    with pytest.raises(StorageError) as caught:
        asyncio.run(read(driver, "theirs"))
    assert caught.value.code == ErrorCode.CHECKSUM_MISMATCH


def test_what_we_send_is_compared_by_the_service_and_what_it_says_by_us():
    fake = FakeGcs()
    driver = fake.driver()
    asyncio.run(driver.put(put_of("key", b"data")))
    said = json.loads(fake.sent[0].body.split(b"\r\n\r\n")[1].split(b"\r\n--")[0])
    assert said["crc32c"] == "rth90Q=="

    def other(request, serve):
        answer = serve(request)
        told = {**json.loads(answer.body), "crc32c": "AAAAAA=="}
        return type(answer)(
            answer.status, json.dumps(told).encode(), {**answer.headers, "content-length": "0"}
        )

    fake.faults.append(other)
    with pytest.raises(StorageError) as caught:
        asyncio.run(driver.put(put_of("key", b"data")))
    assert (caught.value.code, caught.value.applied) == (ErrorCode.CHECKSUM_MISMATCH, "maybe")


def test_without_the_fast_checksum_another_one_is_compared(monkeypatch):
    monkeypatch.setattr(checksums, "_crc32c", lambda: None)
    fake = FakeGcs()
    driver = fake.driver(multipart_threshold=QUANTUM, part_size=QUANTUM)
    data = os.urandom(2 * QUANTUM)
    asyncio.run(driver.put(put_of("key", b"data")))
    assert b'"md5Hash":"jXd/OF09/siBXSD3SWAm3A=="' in fake.sent[0].body
    asyncio.run(driver.put(put_of("large", data)))
    fake.put("theirs", b"as stored", {})
    assert asyncio.run(read(driver, "theirs")) == b"as stored"
    fake.faults.append(lambda request, serve: replace(serve(request), body=b"as damage"))
    with pytest.raises(StorageError) as caught:
        asyncio.run(read(driver, "theirs"))
    assert caught.value.code == ErrorCode.CHECKSUM_MISMATCH
