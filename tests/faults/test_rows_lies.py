"""Rows L of the fault table: what a server says that is not so, and what must come of it."""

import base64
import random
from dataclasses import replace

import pytest

from credstore.errors import (
    StorageBucketNotFoundError,
    StorageCodecError,
    StorageIntegrityError,
)
from tests.faults.messages import Answer
from tests.faults.objects import Stored
from tests.faults.rig import Rows, raised, run
from tests.faults.script import Flip, Respond, set_headers

DATA = bytes(random.Random(5).randbytes(300_000))
TEXT = b'{"claim": "proof"}' * 500
PARTS = {"multipart_threshold": 100_000, "part_size": 100_000}
rows = Rows()


@pytest.mark.parametrize("row", rows, ids=lambda row: row.name)
def test_row(row):
    row.run()


# L01


@pytest.mark.parametrize("settings", [{}, PARTS], ids=["one request", "parts"])
@pytest.mark.parametrize("offset", [0, 1, 150_000, 299_999])
def test_l01_a_flipped_bit_of_a_body_is_an_error(settings, offset):
    async def test(rig):
        result = await rig.store.store("k", DATA)
        assert result.digest is not None
        rig.origin.plan("response-body", Flip(), times=None, operation="GetObject", offset=offset % 100_000)
        failed = await raised(rig.store.retrieve("k"))
        assert (type(failed), failed.code, failed.retryable) == (
            StorageIntegrityError,
            "DIGEST_MISMATCH",
            False,
        )

    run(test, **settings)


@pytest.mark.parametrize("compress", ["gzip", "zstd"])
def test_l01_a_flipped_bit_of_what_was_compressed_is_an_error(compress):
    async def test(rig):
        await rig.store.store("k", TEXT, compress=compress)
        size = len(rig.body())
        for offset in range(size):
            rule = rig.origin.plan("response-body", Flip(), operation="GetObject", offset=offset)
            failed = await raised(rig.store.retrieve("k"))
            assert isinstance(failed, StorageIntegrityError)
            assert rule.fired

    run(test)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("credstore-sha256", "0" * 64),
        ("credstore-sha256", base64.b64encode(bytes(32)).decode()),
        ("x-compression", "zstd"),
        ("x-compression", "brotli"),
        ("x-compression", None),
        ("x-original-size", "5"),
        ("x-original-size", "99999999999"),
    ],
)
def test_l01_changed_metadata_never_gives_other_bytes(name, value):
    async def test(rig):
        await rig.store.store("k", TEXT, compress="gzip")
        stored = rig.objects["k"]
        kept = {**stored.attributes, f"x-amz-meta-{name}": value}
        kept = {each: text for each, text in kept.items() if text is not None}
        rig.objects["k"] = replace(stored, attributes=kept)
        if value is None:  # Without a codec named, it is what is stored.
            assert await rig.store.retrieve("k") == stored.body
            return
        failed = await raised(rig.store.retrieve("k"))
        assert isinstance(failed, StorageIntegrityError) or failed.code == "TOO_LARGE"

    run(test)


# L02


@rows("L02")
async def a_checksum_of_other_bytes_is_told(rig):
    other = base64.b64encode(bytes(32)).decode()
    rig.origin.plan("response-head", set_headers(x_amz_checksum_sha256=other), operation="PutObject")
    failed = await raised(rig.store.store("k", DATA))
    assert (type(failed), failed.code, failed.applied) == (
        StorageIntegrityError,
        "CHECKSUM_MISMATCH",
        "maybe",
    )


@rows("L02")
async def entity_tags_and_checksums_of_other_kinds_are_no_digests(rig):
    for told in ({"etag": '"not-an-md5"'}, {"x_amz_checksum_sha256": f"{base64.b64encode(b'1' * 32)}-3"}):
        rig.origin.plan("response-head", set_headers(**told), operation="PutObject")
        await rig.store.store("k", DATA)
    assert await rig.store.retrieve("k") == DATA


# L03

EVERY_HEADER = ["etag", "last-modified", "content-type", "accept-ranges", "x-amz-request-id", "date"]


@pytest.mark.parametrize("name", EVERY_HEADER)
def test_l03_what_a_server_leaves_out_is_none_or_a_typed_error(name):
    async def test(rig):
        without = set_headers(**{name.replace("-", "_"): None})
        rig.origin.plan("response-head", without, times=None)
        result = await rig.store.store("k", DATA)
        assert await rig.store.retrieve("k") == DATA
        item = await rig.store.get_metadata("k")
        if name == "etag":
            assert (result.etag, item.etag) == (None, None)
        await rig.store.copy("k", "copy")  # Proved by its bytes where nothing pins it.
        assert await rig.store.retrieve("copy") == DATA
        assert (item.last_modified is None) is (name == "last-modified")
        assert next(each.key for each in await rig.store.list()) in {"k", "copy"}
        await rig.store.delete("k")

    run(test)


@rows("L03")
async def an_object_without_a_length_is_read_if_its_digest_proves_the_whole(rig):
    await rig.store.store("k", DATA)
    rig.objects["foreign"] = Stored(b"x", "e" * 32, 0.0, {})
    unsized = set_headers(content_length=None)
    rig.origin.plan("response-head", unsized, operation="HeadObject", times=None)
    rig.origin.plan("response-head", unsized, operation="GetObject", times=None)
    assert (await rig.store.get_metadata("k")).size == len(DATA)
    assert await rig.store.retrieve("k") == DATA
    assert (await rig.store.get_metadata("foreign")).size == 1  # A range tells it.
    failed = await raised(rig.store.retrieve("foreign"))
    assert (isinstance(failed, StorageIntegrityError), failed.code) == (True, "NO_LENGTH")


# L04


def partial(found):
    """A Content-Range (or None), and the bytes that come with it."""

    def answer(range_, body):
        headers = {"etag": '"e"', "content-type": "application/json"}
        if range_ is not None:
            headers["content-range"] = range_
        return Respond(Answer(200 if range_ is None else 206, body, headers))

    return answer(*found)


@pytest.mark.parametrize(
    "found",
    [
        ("bytes 0-9/300000", DATA[:10]),
        ("bytes 11-20/300000", DATA[11:21]),
        ("bytes 10-29/300000", DATA[10:30]),
        ("bytes 10-18/300000", DATA[10:19]),
        ("bytes 10-19/5", DATA[10:20]),
        ("bytes 10-19/*", DATA[10:20]),
        ("bytes */300000", b""),
        ("bytes 10-19/300000", DATA[10:25]),
        ("bytes 10-19/300000", DATA[10:15]),
        ("pages 10-19/300000", DATA[10:20]),
        ("", DATA[10:20]),
    ],
)
def test_l04_another_range_than_the_one_asked_for_is_refused(found):
    async def test(rig):
        await rig.store.store("k", DATA)
        rig.origin.plan("before-apply", partial(found), operation="GetObject", times=None)
        with pytest.raises(StorageIntegrityError):
            async with rig.store.open("k", start=10, end=20) as reader:
                await reader.read()

    run(test)


@rows("L04")
async def a_range_that_was_ignored_is_cut_out(rig):
    await rig.store.store("k", DATA)
    rig.origin.plan("head", rig.without("range"), operation="GetObject", times=None)
    for start, end in ((10, 20), (0, 1), (299_999, None), (100_000, 250_000)):
        async with rig.store.open("k", start=start, end=end) as reader:
            assert await reader.read() == DATA[start:end]


# L05 and P11


def listing(*pages):
    """Answers to the listing: (keys, token) each."""

    def document(keys, token):
        inner = "".join(
            f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;e&quot;</ETag><Size>1</Size></Contents>"
            for key in keys
        )
        more = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
        return (
            f"<ListBucketResult><IsTruncated>{'true' if token is not None else 'false'}</IsTruncated>"
            f"{inner}{more}</ListBucketResult>"
        ).encode()

    left = [Answer(200, document(*page), {"content-type": "application/xml"}) for page in pages]
    return Respond(lambda _request: left.pop(0) if len(left) > 1 else left[0])


@pytest.mark.parametrize(
    "pages",
    [
        [(["a", "b"], "1"), (["b", "c"], None)],
        [(["a", "a"], None)],
        [(["b", "a"], None)],
        [(["b"], "1"), (["a"], None)],
        [(["a", "z"], None), (["a"], None)],
        [(["a"], "1"), (["b"], "1")],
        [(["a"], "1"), (["b"], "2"), (["c"], "1")],
        [(["a"], "")],
        [([], "1"), ([], "1")],
    ],
    ids=[
        "twice",
        "twice-in-one",
        "unsorted",
        "unsorted-pages",
        "outside",
        "loop",
        "loop-of-2",
        "no-token",
        "empty",
    ],
)
def test_l05_a_listing_that_cannot_be_true_is_an_error(pages):
    async def test(rig):
        prefix = "a" if pages[0] == (["a", "z"], None) else ""
        rig.origin.plan("before-apply", listing(*pages), operation="ListObjectsV2", times=None)
        failed = await raised(rig.store.list(prefix))
        assert isinstance(failed, StorageIntegrityError)
        assert rig.requests() <= len(pages) + 1

    run(test)


@rows("L05")
async def a_thousand_empty_pages_are_read_over(rig):
    pages = [([], str(number)) for number in range(1, 1001)]
    rig.origin.plan("before-apply", listing(*pages, (["k"], None)), operation="ListObjectsV2", times=None)
    assert [item.key for item in await rig.store.list()] == ["k"]


@rows("L05", aws=True)
async def a_listing_that_says_it_is_of_a_missing_bucket_is_not_empty(rig):
    del rig.origin.store.buckets["bucket"]
    failed = await raised(rig.store.list())
    assert type(failed) is StorageBucketNotFoundError


# L07 and P10


def deleted(*keys, failed=()):
    inner = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
    inner += "".join(f"<Error><Key>{key}</Key><Code>{code}</Code></Error>" for key, code in failed)
    body = f"<DeleteResult>{inner}</DeleteResult>".encode()
    return Respond(Answer(200, body, {"content-type": "application/xml"}))


@rows("L07")
async def each_key_of_a_batch_has_one_outcome(rig):
    for key in "abc":
        await rig.store.store(key, DATA)
    rig.origin.plan(
        "before-apply", deleted("a", failed=[("b", "AccessDenied")]), operation="DeleteObjects", times=None
    )
    result = await rig.store.batch_delete(["a", "b", "c"])
    assert (result.deleted, set(result.failed)) == (("a",), {"b", "c"})
    assert (result.failed["b"].applied, result.failed["c"].applied) == ("no", "maybe")


@rows("L07")
async def a_key_nobody_asked_for_spoils_the_batch(rig):
    rig.origin.plan("before-apply", deleted("a", "other"), operation="DeleteObjects", times=None)
    result = await rig.store.batch_delete(["a"])
    assert isinstance(result.failed["a"], StorageIntegrityError)


# L09: an ignored condition cannot be seen from one answer; what may be asked of whom is the dialects' list.


@rows("L09")
async def a_server_whose_conditions_are_ignored_does_not_lose_the_bytes_it_took(rig):
    rig.origin.plan("before-apply", rig.without("if-none-match"), operation="PutObject", times=None)
    await rig.store.store("k", DATA, if_absent=True)
    await rig.store.store("k", TEXT, if_absent=True)
    assert await rig.store.retrieve("k") == TEXT


# L11


@rows("L11")
async def a_listing_that_lags_does_not_make_an_object_absent(rig):
    await rig.store.store("k", DATA)
    empty = listing(([], None))
    rig.origin.plan("before-apply", empty, operation="ListObjectsV2", times=None)
    assert await rig.store.list() == []
    assert await rig.store.exists("k")
    assert await rig.store.retrieve("k") == DATA


# L18

NESTED = b"<ListBucketResult>" + b"<a>" * 50_000 + b"</a>" * 50_000 + b"</ListBucketResult>"
BOMB = (
    b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
    + b"]><ListBucketResult><Name>&j;</Name></ListBucketResult>"
)


@pytest.mark.parametrize(
    "body",
    [
        BOMB,
        NESTED,
        b'<?xml version="1.0" encoding="utf-7"?><ListBucketResult/>',
        b'<?xml version="1.0" encoding="utf-16"?><ListBucketResult/>',
        b"<ListBucketResult>" + b"\xff\xfe" * 10,
        b"<ListBucketResult><Contents>",
        b"<Other/>",
        b"{}",
        b"",
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><ListBucketResult/>',
    ],
    ids=["bomb", "nested", "utf-7", "utf-16", "rubbish", "cut", "other", "json", "empty", "external"],
)
def test_l18_a_hostile_document_is_a_typed_error(body):
    async def test(rig):
        answer = Answer(200, body, {"content-type": "application/xml"})
        rig.origin.plan("before-apply", Respond(answer), operation="ListObjectsV2", times=None)
        failed = await raised(rig.store.list())
        assert isinstance(failed, StorageIntegrityError)
        assert (await rig.store.health_check()).healthy is False

    run(test)


@rows("L18")
async def a_hostile_error_is_the_error_its_status_says(rig):
    for body in (BOMB, NESTED, b"\xff" * 70_000):  # Of S3 it has nothing, so it cannot say "absent" either.
        rig.origin.plan("before-apply", Respond(Answer(404, body, {"content-type": "application/xml"})))
        assert (await raised(rig.store.retrieve("k"))).code == "NOT_S3"
    long = b"<Error><Code>" + b"x" * 100_000
    rig.origin.plan("before-apply", Respond(Answer(404, long, {"content-type": "application/xml"})))
    assert await rig.store.retrieve("k") is None


@rows("L18")
async def a_gigabyte_of_listing_is_not_taken_in(rig):
    page = Answer(200, b" " * 40_000_000, {"content-type": "application/xml"})
    rig.origin.plan("before-apply", Respond(page), operation="ListObjectsV2", times=None)
    failed = await raised(rig.store.list())
    assert (failed.code, failed.applied) == ("BAD_ANSWER", "no")


@rows("L01")
async def a_codec_nobody_knows_is_named_and_the_bytes_can_be_had(rig):
    await rig.store.store("k", DATA)
    stored = rig.objects["k"]
    rig.objects["k"] = replace(stored, attributes={**stored.attributes, "x-amz-meta-x-compression": "brotli"})
    failed = await raised(rig.store.retrieve("k"))
    assert isinstance(failed, StorageCodecError)
    assert await rig.store.retrieve("k", decode=False) == DATA
