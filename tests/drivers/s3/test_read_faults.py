"""Reads and listings against a server that misbehaves; ids are those of the fault matrix."""

import pytest

from credstore.driver import ReadOptions
from credstore.errors import (
    StorageConnectionError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidRequestError,
)
from tests.drivers.s3.fake import Answer, Fault
from tests.drivers.s3.running import run
from tests.drivers.s3.support import put_request


def test_n04_a_broken_body_is_continued_from_the_same_version():
    async def check(fake, driver):
        data = bytes(range(256)) * 40
        stored = await driver.put(put_request("k", data))
        etag = fake.objects["k"].etag
        kept = {**fake.objects["k"].headers, "ETag": etag}
        fake.plan("GET", Answer(200, data[:5000], kept, declared=len(data)))
        part = {**kept, "Content-Range": f"bytes 5000-{len(data) - 1}/{len(data)}"}
        fake.plan("GET", Answer(206, data[5000:6000], part, declared=len(data) - 5000))
        assert await (await driver.get("k")).read() == data
        ranges = [seen.headers.get("range") for seen in fake.sent("GET")]
        assert ranges == [None, "bytes=5000-10239", "bytes=6000-10239"]
        assert {seen.headers.get("if-match") for seen in fake.sent("GET")[1:]} == {f'"{stored.etag}"'}

    run(check)


def test_n04_bytes_of_two_versions_are_never_mixed():
    async def check(fake, driver):
        data = b"a" * 5000
        await driver.put(put_request("k", data))
        kept = {**fake.objects["k"].headers, "ETag": fake.objects["k"].etag}
        fake.plan("GET", Answer(200, data[:2000], kept, declared=len(data)))
        reader = await driver.get("k")
        await driver.put(put_request("k", b"b" * 5000))
        with pytest.raises(StorageIntegrityError) as caught:
            await reader.read()
        assert caught.value.code == "REPLACED"

    run(check)


def test_n05_a_body_that_stays_short_is_an_error():
    async def check(fake, driver):
        await driver.put(put_request("k", b"a" * 100))
        kept = {**fake.objects["k"].headers, "ETag": fake.objects["k"].etag}
        fake.plan("GET", Answer(200, b"a" * 10, kept, declared=100))
        empty = {**kept, "Content-Range": "bytes 10-99/100"}
        fake.plan("GET", Answer(206, b"", empty, declared=90), times=9)
        with pytest.raises(StorageConnectionError, match="10 of 100"):
            await (await driver.get("k")).read()

    run(check)


def test_l01_a_flipped_bit_is_an_error():
    async def check(fake, driver):
        await driver.put(put_request("k", b"abc"))
        stored = fake.objects["k"]
        fake.objects["k"] = type(stored)(stored.headers, b"abd")
        with pytest.raises(StorageIntegrityError) as caught:
            await (await driver.get("k")).read()
        assert caught.value.code == "DIGEST_MISMATCH"

    run(check)


def test_l04_an_ignored_range_is_cut_and_a_wrong_one_refused():
    async def check(fake, driver):
        data = bytes(range(200))
        await driver.put(put_request("k", data))
        kept = {**fake.objects["k"].headers, "ETag": fake.objects["k"].etag}
        fake.plan("GET", Answer(200, data, kept))
        reader = await driver.get("k", ReadOptions(start=50, end=60))
        assert (await reader.read(), reader.info.size) == (data[50:60], 200)
        fake.plan("GET", Answer(200, data, kept))
        with pytest.raises(StorageInvalidRequestError) as caught:
            await driver.get("k", ReadOptions(start=200, end=201))
        assert caught.value.code == "INVALID_RANGE"
        for content_range in (
            "bytes 49-58/200",
            "bytes 49-59/200",
            "bytes 50-58/200",
            "bytes */200",
            "bytes 50-59/55",
            "nonsense",
            None,
        ):
            headers = {**kept, **({"Content-Range": content_range} if content_range else {})}
            fake.plan("GET", Answer(206, data[50:60], headers))
            with pytest.raises(StorageIntegrityError) as wrong:
                await driver.get("k", ReadOptions(start=50, end=60))
            assert wrong.value.code == "WRONG_RANGE"
        fake.plan("GET", Answer(206, data[50:61], {**kept, "Content-Range": "bytes 50-59/200"}))
        with pytest.raises(StorageIntegrityError):
            await driver.get("k", ReadOptions(start=50, end=60))
        assert {seen.headers["accept-encoding"] for seen in fake.sent("GET")} == {"identity"}

    run(check)


@pytest.mark.parametrize(
    ("given", "declared"),
    [
        ((50, 59), "bytes 50-58/200"),
        ((50, 61), "bytes 50-60/200"),
        ((51, 60), "bytes 51-59/200"),
        ((49, 60), "bytes 49-59/200"),
        ((150, 160), "bytes 150-159/200"),
        ((50, 50), "bytes 50-49/200"),
    ],
)
def test_l04_a_range_that_is_sound_but_another_than_was_asked_for_is_refused(given, declared):
    async def check(fake, driver):
        data = bytes(range(200))
        await driver.put(put_request("k", data))
        kept = {**fake.objects["k"].headers, "ETag": fake.objects["k"].etag}
        # Its length and its bytes fit: nothing is wrong with it but that nobody asked for it.
        fake.plan("GET", Answer(206, data[slice(*given)], {**kept, "Content-Range": declared}))
        with pytest.raises(StorageIntegrityError) as caught:
            await (await driver.get("k", ReadOptions(start=50, end=60))).read()
        assert (caught.value.code, caught.value.applied) == ("WRONG_RANGE", "no")
        assert await (await driver.get("k", ReadOptions(start=50, end=60))).read() == data[50:60]

    run(check)


@pytest.mark.parametrize("end", [29, 28, 31, 40])
def test_l04_a_part_must_end_where_it_was_asked_to(end):
    async def check(fake, driver):
        data = bytes(range(60))
        await driver.put(put_request("k", data))
        kept = {**fake.objects["k"].headers, "ETag": fake.objects["k"].etag}
        answer = Answer(206, data[20:end], {**kept, "Content-Range": f"bytes 20-{end - 1}/60"})
        fake.faults.append(
            Fault(lambda seen: seen.headers.get("range") == "bytes=20-29", answer, applied=False, times=1)
        )
        with pytest.raises(StorageIntegrityError) as caught:
            await (await driver.get("k", ReadOptions(start=10))).read()
        assert (caught.value.code, caught.value.applied) == ("WRONG_RANGE", "no")
        assert await (await driver.get("k", ReadOptions(start=10))).read() == data[10:]

    run(check, part_size=10, multipart_threshold=100)


def test_l03_missing_headers_are_none_or_a_typed_error():
    async def check(fake, driver):
        fake.plan("HEAD", Answer(200, b"abc", {"x-amz-request-id": "1"}))
        info = await driver.head("k")
        assert (info.etag, info.last_modified, info.version_id, info.digest) == (None, None, None, None)
        fake.plan("HEAD", Answer(200, b"", {"ETag": '"1"', "Last-Modified": "yesterday"}))
        assert (await driver.head("k")).last_modified is None
        fake.plan("PUT", Answer(200, b"", {"x-amz-request-id": "1"}), applied=True)
        assert (await driver.put(put_request("k", b"x"))).etag == fake.objects["k"].etag.strip('"')

    run(check)


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaaaaaaaa">'
    + "".join(
        f'<!ENTITY {name} "{f"&{last};" * 10}">' for last, name in zip("abcdefg", "bcdefgh", strict=True)
    )
    + "]><ListBucketResult>&h;</ListBucketResult>"
)


@pytest.mark.parametrize(
    "body",
    [
        BOMB.encode(),
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><ListBucketResult/>',
        b"<ListBucketResult>" + b"x" * (17 * 1024 * 1024) + b"</ListBucketResult>",
        b"<a>" * 200_000,
        b"<ListBucketResult>",
        b'<?xml version="1.0" encoding="klingon"?><ListBucketResult/>',
        b"\x00\xff\xfe",
        b"{}",
        b"",
        b"<CopyObjectResult/>",
        b"<ListBucketResult><Contents><Key>k</Key></Contents></ListBucketResult>",
        b"<ListBucketResult><Contents><Key>k</Key><Size>-1</Size></Contents></ListBucketResult>",
        b"<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>",
        b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
    ],
    ids=range(14),
)
def test_l18_a_hostile_listing_is_a_typed_error(body):
    async def check(fake, driver):
        fake.plan("GET", Answer(200, body, {"Content-Type": "application/xml"}), times=9)
        with pytest.raises(StorageError) as caught:
            await driver.list()
        assert caught.value.applied == "no"

    run(check)
