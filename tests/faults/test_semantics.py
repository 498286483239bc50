"""The origin is S3: a foreign client finds S3's semantics, conditions, errors and signatures there."""

import asyncio
import base64
import hashlib
import time
from contextlib import asynccontextmanager

import pytest
from aiobotocore.session import get_session
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.faults.client import Raw, signed
from tests.faults.origin import Origin
from tests.faults.signatures import Account

KEY_ID, SECRET = "AKIDEXAMPLE", "a-secret"
PART = 1024


@asynccontextmanager
async def foreign(origin, **options):
    """aiobotocore with a bucket at the origin, which checks its signatures."""
    origin.allow(Account(KEY_ID, SECRET))
    config = Config(
        s3={"addressing_style": "path"},
        signature_version="s3v4",
        retries={"total_max_attempts": 1},
        region_name="us-east-1",
    )
    async with get_session().create_client(
        "s3",
        endpoint_url=origin.url,
        aws_access_key_id=KEY_ID,
        aws_secret_access_key=SECRET,
        config=config,
        **options,
    ) as client:
        await client.create_bucket(Bucket="b")
        yield client


def with_client(test, **options):
    async def main():
        async with Origin(least_part=PART, **options) as origin, foreign(origin) as client:
            await test(origin, client)

    asyncio.run(main())


async def fails(call, status, code):
    with pytest.raises(ClientError) as caught:
        await call
    answer = caught.value.response
    assert (answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]) == (status, code)


def test_an_object_comes_back_with_all_that_was_said_of_it():
    async def test(origin, client):
        put = await client.put_object(
            Bucket="b",
            Key="a b/ü+%2F~'(*)",
            Body=b"abc",
            ContentType="text/plain",
            CacheControl="no-cache",
            Metadata={"who": "me"},
            Tagging="one=1&two=%2B",
        )
        got = await client.get_object(Bucket="b", Key="a b/ü+%2F~'(*)")
        assert await got["Body"].read() == b"abc"
        assert put["ETag"] == got["ETag"] == f'"{hashlib.md5(b"abc").hexdigest()}"'
        assert (got["ContentType"], got["CacheControl"], got["Metadata"]) == (
            "text/plain",
            "no-cache",
            {"who": "me"},
        )
        tags = await client.get_object_tagging(Bucket="b", Key="a b/ü+%2F~'(*)")
        assert tags["TagSet"] == [{"Key": "one", "Value": "1"}, {"Key": "two", "Value": "+"}]
        head = await client.head_object(Bucket="b", Key="a b/ü+%2F~'(*)")
        assert head["ContentLength"] == 3
        await client.head_bucket(Bucket="b")

    with_client(test)


def test_ranges_and_conditions_of_a_read():
    async def test(origin, client):
        etag = (await client.put_object(Bucket="b", Key="k", Body=b"0123456789"))["ETag"]

        async def get(**options):
            got = await client.get_object(Bucket="b", Key="k", **options)
            return await got["Body"].read(), got.get("ContentRange")

        assert await get(Range="bytes=2-4") == (b"234", "bytes 2-4/10")
        assert await get(Range="bytes=7-") == (b"789", "bytes 7-9/10")
        assert await get(Range="bytes=-3") == (b"789", "bytes 7-9/10")
        assert await get(Range="bytes=5-99") == (b"56789", "bytes 5-9/10")
        assert await get(IfMatch=etag) == (b"0123456789", None)
        await fails(get(Range="bytes=10-"), 416, "InvalidRange")
        await fails(get(IfMatch='"other"'), 412, "PreconditionFailed")
        await fails(get(IfNoneMatch=etag), 304, "304")
        await fails(client.get_object(Bucket="b", Key="none"), 404, "NoSuchKey")
        await fails(client.head_object(Bucket="b", Key="none"), 404, "404")
        await fails(client.get_object(Bucket="none", Key="k"), 404, "NoSuchBucket")

    with_client(test)


def test_conditions_of_a_write():
    async def test(origin, client):
        def put(body, **options):
            return client.put_object(Bucket="b", Key="k", Body=body, **options)

        await fails(put(b"0", IfMatch='"any"'), 404, "NoSuchKey")
        first = (await put(b"1", IfNoneMatch="*"))["ETag"]
        await fails(put(b"2", IfNoneMatch="*"), 412, "PreconditionFailed")
        second = (await put(b"3", IfMatch=first))["ETag"]
        await fails(put(b"4", IfMatch=first), 412, "PreconditionFailed")
        await fails(client.delete_object(Bucket="b", Key="k", IfMatch=first), 412, "PreconditionFailed")
        assert origin.store.buckets["b"]["k"].body == b"3"
        await client.delete_object(Bucket="b", Key="k", IfMatch=second)
        await client.delete_object(Bucket="b", Key="k")
        assert origin.store.buckets["b"] == {}

    with_client(test)


def test_one_of_many_creations_wins():
    async def test(origin, client):
        outcomes = await asyncio.gather(
            *(
                client.put_object(Bucket="b", Key="k", Body=str(n).encode(), IfNoneMatch="*")
                for n in range(16)
            ),
            return_exceptions=True,
        )
        won = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, dict)]
        assert [origin.store.buckets["b"]["k"].body] == [str(n).encode() for n in won]

    with_client(test)


def test_what_was_changed_on_the_way_is_not_stored():
    async def test(origin, client):
        async with Raw(origin) as raw:
            for name, value, code in (
                ("Content-MD5", base64.b64encode(hashlib.md5(b"other").digest()).decode(), "BadDigest"),
                ("Content-MD5", "rubbish", "InvalidDigest"),
                ("x-amz-content-sha256", hashlib.sha256(b"other").hexdigest(), "XAmzContentSHA256Mismatch"),
                ("x-amz-checksum-sha256", "AAAA", "BadDigest"),
                ("x-amz-checksum-crc32", "AAAA", "BadDigest"),
            ):
                origin.store.accounts.clear()
                got = await raw.ask("PUT", "/b/k", b"data", {name: value})
                assert got.status == 400
                assert f"<Code>{code}</Code>".encode() in got.body
        assert origin.store.buckets["b"] == {}

    with_client(test)


def test_a_customers_key_is_asked_for_and_its_etag_is_no_md5():
    async def test(origin, client):
        key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"k" * 32}
        other = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"o" * 32}
        put = await client.put_object(Bucket="b", Key="k", Body=b"abc", **key)
        assert put["ETag"] != f'"{hashlib.md5(b"abc").hexdigest()}"'
        got = await client.get_object(Bucket="b", Key="k", **key)
        assert await got["Body"].read() == b"abc"
        assert got["SSECustomerAlgorithm"] == "AES256"
        await fails(client.get_object(Bucket="b", Key="k"), 400, "InvalidRequest")
        await fails(client.get_object(Bucket="b", Key="k", **other), 403, "AccessDenied")
        await fails(client.head_object(Bucket="b", Key="k", **other), 403, "403")

    with_client(test)


def test_listings_are_ordered_paged_grouped_and_encoded():
    async def test(origin, client):
        keys = ["a", "b/1", "b/2", "c d", "c+d", "é", "\U0001f600"]
        for key in keys:
            await client.put_object(Bucket="b", Key=key, Body=b"x")

        async def listed(**options):
            found, groups = [], []
            pages = client.get_paginator("list_objects_v2").paginate(Bucket="b", **options)
            async for page in pages:
                found += [each["Key"] for each in page.get("Contents", [])]
                groups += [each["Prefix"] for each in page.get("CommonPrefixes", [])]
            return found, groups

        ordered = sorted(keys, key=str.encode)
        assert await listed() == (ordered, [])
        assert await listed(PaginationConfig={"PageSize": 2}) == (ordered, [])
        assert await listed(Prefix="c") == (["c d", "c+d"], [])
        assert await listed(StartAfter="b/1", Prefix="b") == (["b/2"], [])
        without = [key for key in ordered if "/" not in key]
        assert await listed(Delimiter="/") == (without, ["b/"])
        assert await listed(Delimiter="/", PaginationConfig={"PageSize": 1}) == (without, ["b/"])

    with_client(test)


def test_many_keys_are_deleted_at_once():
    async def test(origin, client):
        for key in "abc":
            await client.put_object(Bucket="b", Key=key, Body=b"x")
        objects = [{"Key": "a"}, {"Key": "c"}, {"Key": "none"}]
        gone = await client.delete_objects(Bucket="b", Delete={"Objects": objects})
        assert [each["Key"] for each in gone["Deleted"]] == ["a", "c", "none"]
        assert list(origin.store.buckets["b"]) == ["b"]

    with_client(test)


def test_copies_keep_or_replace_what_is_said_of_an_object():
    async def test(origin, client):
        await client.put_object(
            Bucket="b", Key="s", Body=b"abc", Metadata={"a": "1"}, Tagging="t=1", ContentType="text/plain"
        )
        source = {"Bucket": "b", "Key": "s"}
        await client.copy_object(Bucket="b", Key="kept", CopySource=source)
        await client.copy_object(
            Bucket="b", Key="new", CopySource=source, MetadataDirective="REPLACE", Metadata={"b": "2"}
        )
        kept, new = origin.store.buckets["b"]["kept"], origin.store.buckets["b"]["new"]
        assert (kept.attributes["x-amz-meta-a"], kept.tags) == ("1", {"t": "1"})
        assert "x-amz-meta-a" not in new.attributes
        assert (new.attributes["x-amz-meta-b"], new.tags) == ("2", {"t": "1"})
        stale = client.copy_object(Bucket="b", Key="x", CopySource=source, CopySourceIfMatch='"other"')
        await fails(stale, 412, "PreconditionFailed")
        await fails(
            client.copy_object(Bucket="b", Key="x", CopySource={"Bucket": "b", "Key": "none"}),
            404,
            "NoSuchKey",
        )
        await fails(client.copy_object(Bucket="b", Key="s", CopySource=source), 400, "InvalidRequest")

    with_client(test)


def test_a_multipart_upload_becomes_an_object_when_it_is_completed():
    async def test(origin, client):
        begun = await client.create_multipart_upload(Bucket="b", Key="k", Metadata={"a": "1"})
        name = {"Bucket": "b", "Key": "k", "UploadId": begun["UploadId"]}
        await client.put_object(Bucket="b", Key="source", Body=b"0123456789" * PART)
        one = await client.upload_part(**name, PartNumber=1, Body=b"1" * PART)
        two = await client.upload_part_copy(
            **name, PartNumber=2, CopySource={"Bucket": "b", "Key": "source"}, CopySourceRange="bytes=2-1025"
        )
        three = await client.upload_part(**name, PartNumber=3, Body=b"3")
        assert [each["Size"] for each in (await client.list_parts(**name))["Parts"]] == [PART, PART, 1]
        listed = await client.list_multipart_uploads(Bucket="b")
        assert [each["UploadId"] for each in listed["Uploads"]] == [begun["UploadId"]]
        etags = [one["ETag"], two["CopyPartResult"]["ETag"], three["ETag"]]
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]
        assert "k" not in origin.store.buckets["b"]
        await fails(
            client.complete_multipart_upload(**name, MultipartUpload={"Parts": parts[::-1]}),
            400,
            "InvalidPartOrder",
        )
        wrong = [{**parts[0], "ETag": '"0"'}]
        await fails(
            client.complete_multipart_upload(**name, MultipartUpload={"Parts": wrong}), 400, "InvalidPart"
        )
        done = await client.complete_multipart_upload(**name, MultipartUpload={"Parts": parts})
        got = await client.get_object(Bucket="b", Key="k")
        assert await got["Body"].read() == b"1" * PART + (b"0123456789" * PART)[2:1026] + b"3"
        assert (done["ETag"], got["ETag"], got["Metadata"]) == (got["ETag"], done["ETag"], {"a": "1"})
        assert done["ETag"].endswith('-3"')
        assert origin.open_uploads == 0
        await fails(
            client.complete_multipart_upload(**name, MultipartUpload={"Parts": parts}), 404, "NoSuchUpload"
        )

    with_client(test)


def test_an_upload_has_conditions_a_least_part_and_an_end():
    async def test(origin, client):
        await client.put_object(Bucket="b", Key="k", Body=b"there")

        async def begin(*sizes):
            begun = await client.create_multipart_upload(Bucket="b", Key="k")
            name = {"Bucket": "b", "Key": "k", "UploadId": begun["UploadId"]}
            parts = []
            for number, size in enumerate(sizes, 1):
                part = await client.upload_part(**name, PartNumber=number, Body=b"x" * size)
                parts.append({"PartNumber": number, "ETag": part["ETag"]})
            return name, {"Parts": parts}

        name, parts = await begin(10, 10)
        small = client.complete_multipart_upload(**name, MultipartUpload=parts)
        await fails(small, 400, "EntityTooSmall")
        await client.abort_multipart_upload(**name)
        await fails(client.abort_multipart_upload(**name), 404, "NoSuchUpload")
        name, parts = await begin(10)
        taken = client.complete_multipart_upload(**name, MultipartUpload=parts, IfNoneMatch="*")
        await fails(taken, 412, "PreconditionFailed")
        stale = client.complete_multipart_upload(**name, MultipartUpload=parts, IfMatch='"other"')
        await fails(stale, 412, "PreconditionFailed")
        assert origin.open_uploads == 1
        assert origin.store.buckets["b"]["k"].body == b"there"

    with_client(test)


def ask_signed(change=lambda headers: headers, *, accounts=None, clock=time.time, **how):
    """The status and error code of one request that botocore signed and `change` spoilt."""

    async def main():
        async with Origin(clock=clock) as origin, Raw(origin) as raw:
            origin.allow(*(accounts or [Account(KEY_ID, SECRET)]))
            origin.store.buckets["b"] = {}
            target = "/b/a%20b?x=1&list-type=2"
            headers = signed(
                "PUT", origin.url + target, **{"key_id": KEY_ID, "secret": SECRET, "body": b"data", **how}
            )
            got = await raw.ask("PUT", target, b"data", change(headers))
            return got.status, got.body.partition(b"<Code>")[2].partition(b"</Code>")[0].decode()

    return asyncio.run(main())


def test_a_request_signed_by_botocore_passes():
    assert ask_signed() == (200, "")


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [
        ({"secret": "wrong"}, 403, "SignatureDoesNotMatch"),
        ({"key_id": "UNKNOWN"}, 403, "InvalidAccessKeyId"),
        ({"region": "eu-west-1"}, 400, "AuthorizationHeaderMalformed"),
        ({"accounts": [Account(KEY_ID, SECRET, expired=True)]}, 400, "ExpiredToken"),
        ({"accounts": [Account(KEY_ID, SECRET, token="t")]}, 400, "InvalidToken"),
        ({"clock": lambda: time.time() + 16 * 60}, 403, "RequestTimeTooSkewed"),
        ({"clock": lambda: time.time() - 16 * 60}, 403, "RequestTimeTooSkewed"),
        ({"change": lambda headers: {}}, 403, "AccessDenied"),
        (
            {"change": lambda headers: {**headers, "Authorization": "Bearer x"}},
            400,
            "AuthorizationHeaderMalformed",
        ),
        ({"change": lambda headers: {**headers, "x-amz-acl": "public-read"}}, 403, "AccessDenied"),
        ({"change": lambda headers: {**headers, "Host": "other"}}, 403, "SignatureDoesNotMatch"),
    ],
)
def test_a_request_that_was_signed_wrongly_is_refused(how, status, code):
    assert ask_signed(**how) == (status, code)


def test_a_clock_within_a_quarter_of_an_hour_passes():
    assert ask_signed(clock=lambda: time.time() + 14 * 60) == (200, "")


def test_presigned_links_work_until_they_expire_and_only_as_they_were_made():
    async def main():
        now = [time.time()]
        async with Origin(clock=lambda: now[0]) as origin, foreign(origin) as client, Raw(origin) as raw:
            await client.put_object(Bucket="b", Key="a b", Body=b"abc")
            url = await client.generate_presigned_url(
                "get_object",
                Params={"Bucket": "b", "Key": "a b", "ResponseContentType": "text/x"},
                ExpiresIn=60,
            )
            host = {"Host": url.split("/")[2]}
            target = url[url.index("/b/") :]
            got = await raw.ask("GET", target, headers=host)
            assert (got.status, got.body, got.headers["content-type"]) == (200, b"abc", "text/x")
            assert (await raw.ask("DELETE", target, headers=host)).status == 403
            assert (await raw.ask("GET", target.replace("text", "html"), headers=host)).status == 403
            now[0] += 600  # The clock of the signer may be seconds ahead by now.
            expired = await raw.ask("GET", target, headers=host)
            assert expired.status == 403
            assert b"Request has expired" in expired.body

    asyncio.run(main())


def test_a_bucket_may_be_in_the_host():
    async def main():
        async with Origin(domain="s3.test") as origin, Raw(origin) as raw:
            origin.store.buckets["b.c"] = {}
            await raw.ask("PUT", "/k/1", b"abc", {"Host": "b.c.s3.test:443"})
            got = await raw.ask("GET", "/b.c/k/1", headers={"Host": "s3.test"})
            assert got.body == b"abc"

    asyncio.run(main())
