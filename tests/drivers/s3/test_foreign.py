"""What others stored, or a proxy in between made of it: read, copied and moved, or refused by name (faults D3 to D6)."""

import asyncio
import gzip
import hashlib
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

import pytest
import zstandard

from credstore.driver import ReadOptions
from credstore.driver.header_text import decode_text
from credstore.drivers.s3.headers import META
from credstore.drivers.s3.xml import parse_list
from credstore.errors import (
    ErrorCode,
    StorageCodecError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageNotFoundError,
)
from credstore.provider.provider import StorageProvider
from credstore.testing import ScriptedAnswer, ScriptedTransport
from credstore.times import parse_time
from tests.drivers.s3.fake import Answer, FakeS3, Stored, error
from tests.drivers.s3.support import make_driver

MIB = 1024 * 1024
WEAK = 'W/"x"'
zipped = partial(gzip.compress, mtime=0)


class Shop(FakeS3):
    """A server that others fill: headers of an object win over the server's, None takes one away."""

    def __init__(self, **objects) -> None:
        super().__init__()
        self.hidden: dict[str, tuple[str, ...]] = {}
        for key, (headers, body) in objects.items():
            self.objects[key] = Stored(headers, body)

    def read(self, seen, there):
        answer = super().read(seen, there)
        return Answer(answer.status, answer.body, {**answer.headers, **there.headers})

    def respond(self, sent):
        answer = super().respond(sent)
        if not isinstance(answer, ScriptedAnswer):
            return answer
        headers = {name: value for name, value in answer.headers.items() if value is not None}
        if "Transfer-Encoding" in headers or "X-Closes" in headers:
            del headers["Content-Length"]
        return ScriptedAnswer(answer.status, answer.body, headers, answer.cut)


@asynccontextmanager
async def opened(shop: FakeS3, **settings):
    driver = make_driver(shop.url, transport=ScriptedTransport(shop.respond), **settings)
    async with StorageProvider(driver, driver._bucket.config) as store:
        yield store


def run(test, shop, **settings):
    async def main():
        async with opened(shop, **settings) as store:
            return await test(store)

    return asyncio.run(main())


# Times and texts.


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "2026-11-28T23:59:60Z",
        "1732795200",
        "1712010100000",
        "17110101112",
        "20261128",
        "yesterday",
        "",
        "Sat, 28 Nov 0000 12:00:00 GMT",
        "Mon, 99999999999999999999 Jan 2020 00:00:00 GMT",
        "Sat, 28 Nov 2026 12:00:60 GMT",
        "Sat, 28 Nov 2026 12:00:00 +9999999999",
    ],
)
def test_a_time_that_is_none_is_none_and_the_rest_goes_on(text):
    assert parse_time(text) is None
    rows = "".join(
        f"<Contents><Key>{key}</Key><Size>1</Size><LastModified>{time}</LastModified></Contents>"
        for key, time in (("a", text), ("b", "2026-11-28T12:00:00.5Z"))
    )
    page = parse_list(f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode())
    assert [(each.key, each.last_modified) for each in page.entries] == [
        ("a", None),
        ("b", datetime(2026, 11, 28, 12, 0, 0, 500_000, UTC)),
    ]

    async def test(store):
        item = await store.get_metadata("k")
        assert (item.last_modified, item.size) == (None, 4)
        assert await store.retrieve("k") == b"data"

    run(test, Shop(k=({"Last-Modified": text}, b"data")))


def test_metadata_of_any_bytes_are_text_that_can_be_printed_and_copied():
    latin = "caf\udce9"  # As the wire gives the ISO 8859-1 bytes.
    odd = {
        META + "latin": latin,
        META + "utf8": "café",
        META + "word": "=?iso-8859-1?Q?caf=E9?=",
        META + "unknown": "=?nonsense?B?YQ==?=",
        META + "broken": "=?utf-8?B?é?=",
        META + "surrogate": "=?utf-7?Q?+2AA-?=",
        META + "empty": "",
        META + "twice": "a, b",
    }

    async def test(store):
        item = await store.get_metadata("k")
        assert item.metadata["latin"] == item.metadata["utf8"] == item.metadata["word"] == "café"
        assert (item.metadata["empty"], item.metadata["twice"]) == ("", "a, b")
        "".join(item.metadata.values()).encode()
        await store.copy("k", "copy")
        assert (await store.get_metadata("copy")).metadata == item.metadata

    run(test, Shop(k=(odd, b"data")))


@pytest.mark.parametrize("text", ["=?utf-8?B?é?=", "=?utf-8?Q?=FF?=", "=?utf-7?Q?+2AA-?=", "=?hex?Q?00?="])
def test_a_word_that_cannot_be_decoded_stays_as_it_is(text):
    assert decode_text(text) == text


# Codings.

PLAIN = b"one" * 1000 + b"two" * 300_000
FIRST, SECOND = zipped(PLAIN[:3000]), zipped(PLAIN[3000:])
ZSTD = zstandard.ZstdCompressor()
SKIPPED = b"\x50\x2a\x4d\x18\x05\x00\x00\x00hello"


@pytest.mark.parametrize(
    ("coding", "stored"),
    [
        ("gzip", FIRST + SECOND),
        ("gzip", FIRST + zipped(b"") + SECOND + bytes(512)),
        ("GZIP", FIRST + SECOND),
        ("x-gzip", zipped(PLAIN)),
        ("aws-chunked, gzip", zipped(PLAIN)),
        ("AWS-Chunked,Identity, gzip", zipped(PLAIN)),
        ("zstd", SKIPPED + ZSTD.compress(PLAIN[:3000]) + SKIPPED + ZSTD.compress(PLAIN[3000:])),
        ("identity", PLAIN),
        ("br", PLAIN),
        ("gzip, gzip", PLAIN),
    ],
)
def test_codings_are_known_in_every_spelling_and_of_several_members(coding, stored):
    async def test(store):
        assert await store.retrieve("k") == PLAIN
        async with store.open("k") as reader:
            assert await reader.read() == PLAIN
        async with store.open("k", start=2990, end=3010) as reader:
            assert await reader.read() == PLAIN[2990:3010]
        async with store.open("k", suffix=5) as reader:
            assert await reader.read() == PLAIN[-5:]
        assert await store.retrieve("k", decode=False) == stored
        with pytest.raises(StorageError) as caught:
            await store.retrieve("k", max_size=len(PLAIN) - 1)
        assert caught.value.code == ErrorCode.TOO_LARGE

    run(test, Shop(k=({"content-encoding": coding}, stored)))


@pytest.mark.parametrize("coding", ["gzip", "zstd", "x-gzip"])
def test_an_empty_body_is_empty_whatever_its_coding(coding):
    async def test(store):
        assert await store.retrieve("k") == b""
        async with store.open("k") as reader:
            assert await reader.read() == b""

    run(test, Shop(k=({"content-encoding": coding}, b"")))


@pytest.mark.parametrize(
    ("stored", "code"),
    [
        (FIRST + SECOND[:-1], "TRUNCATED"),
        (FIRST + b"garbage", "TRAILING_DATA"),
        (FIRST + bytes(9) + SECOND, "TRAILING_DATA"),
    ],
    ids=["cut", "garbage", "after-zeros"],
)
def test_what_follows_a_member_is_a_member_or_zeros(stored, code):
    async def test(store):
        with pytest.raises(StorageCodecError) as caught:
            await store.retrieve("k")
        assert caught.value.code == code

    run(test, Shop(k=({"content-encoding": "gzip"}, stored)))


def test_our_own_objects_have_one_member():
    async def test(store):
        await store.store("k", b"x" * 1000, compress="gzip")
        kept = shop.objects["k"]
        changed = {
            name: value for name, value in kept.headers.items() if "sha256" not in name and "size" not in name
        }
        shop.objects["k"] = Stored(changed, kept.body + zipped(b"more"))
        with pytest.raises(StorageCodecError) as caught:
            await store.retrieve("k")
        assert caught.value.code == "TRAILING_DATA"

    shop = Shop()
    run(test, shop)


# Entity tags.


def conditions(shop):
    return {
        (name, value)
        for seen in shop.log
        for name, value in seen.headers.items()
        if name in {"if-match", "if-range", "x-amz-copy-source-if-match"}
    }


@pytest.mark.parametrize("tag", [WEAK, "w/x", '"a", "b"', '""', "", '"with space "'])
def test_a_tag_that_names_no_version_exactly_never_goes_into_a_condition(tag):
    data = bytes(range(256)) * 10

    async def test(store):
        item = await store.get_metadata("k")
        assert item.etag == (WEAK if tag[:1].lower() == "w" else None)
        async with store.open("k", start=10, end=20) as reader:
            assert await reader.read() == data[10:20]
        async with store.open("k", suffix=5) as reader:
            assert await reader.read() == data[-5:]
        async with store.open("k") as reader:
            assert await reader.read() == data
        await store.copy("k", "copy")
        await store.move("copy", "moved")
        assert await store.retrieve("moved") == data
        assert not await store.exists("copy")
        if item.etag is not None:
            with pytest.raises(StorageInvalidRequestError, match="weak"):
                await store.store("k", b"new", if_match=item.etag)
        strong = shop.objects["moved"].etag
        assert {value for _, value in conditions(shop)} <= {strong}

    shop = Shop(k=({"ETag": tag}, data))
    run(test, shop, part_size=512)


def test_a_weakly_tagged_object_that_breaks_off_is_resumed_by_its_version_or_not_at_all():
    data = b"a" * 5000

    def broken(version):
        headers = {"ETag": WEAK, "x-amz-request-id": "1"}
        headers |= {"x-amz-version-id": version} if version else {}
        shop = Shop(k=(headers, data))
        shop.plan("GET", Answer(200, data[:2000], headers, declared=5000))
        return shop

    shop = broken("v1")
    assert run(lambda store: store.retrieve("k"), shop) == data
    assert [seen.query.get("versionId") for seen in shop.sent("GET")] == [None, "v1"]

    shop = broken(None)
    with pytest.raises(StorageError, match="2000 of 5000"):
        run(lambda store: store.retrieve("k"), shop, max_retries=0)
    assert len(shop.sent("GET")) == 1


def test_a_range_is_of_the_version_that_its_own_response_names():
    """No HEAD comes before it, so there is no other version that it could be mixed with."""
    data = b"a" * 100

    async def test(store):
        async with store.open("k", start=0, end=10) as reader:
            shop.objects["k"] = Stored({"ETag": '"new"'}, b"b" * 100)
            assert (await reader.read(), reader.info.etag) == (b"a" * 10, WEAK)
        assert not shop.sent("HEAD")

    shop = Shop(k=({"ETag": WEAK}, data))
    run(test, shop)


@pytest.mark.parametrize("verb", ["copy", "move"])
def test_a_copy_of_a_weakly_tagged_source_that_is_another_object_is_found_out_by_its_bytes(verb):
    async def test(store):
        with pytest.raises(StorageError) as caught:
            await getattr(store, verb)("k", "copy")
        assert "copy" not in shop.objects
        assert "k" in shop.objects
        assert caught.value.code in {"PRECONDITION_FAILED", "COPY_DIFFERS"}

    class Confused(Shop):
        def copy(self, seen):
            answer = super().copy(seen)
            self.objects[seen.key] = Stored(self.objects[seen.key].headers, b"else")
            return answer

    shop = Confused(k=({"ETag": WEAK}, b"data"))
    run(test, shop)


# Lengths.


@pytest.mark.parametrize("size", [0, 5, 3000])
@pytest.mark.parametrize("head", ["told", "untold"])
def test_a_body_in_chunks_needs_no_length(size, head):
    data = bytes(number % 251 for number in range(size))

    class Chunked(Shop):
        def respond(self, sent):
            answer = super().respond(sent)
            if sent.method == "GET" or head == "untold":
                kept = {name: value for name, value in answer.headers.items() if name != "Content-Length"}
                ranged = "Content-Range" in kept
                if head == "untold" or not ranged:
                    kept["Transfer-Encoding"] = "chunked"
                return ScriptedAnswer(answer.status, answer.body, kept, answer.cut)
            return answer

    async def test(store):
        assert (await store.get_metadata("k")).size == size
        assert await store.retrieve("k") == data
        async with store.open("k") as reader:
            assert (reader.info.size, await reader.read()) == (size, data)
        if size:
            async with store.open("k", start=2, end=4) as reader:
                assert await reader.read() == data[2:4]

    run(test, Chunked(k=({}, data)), part_size=1000)


def ends_with_connection(headers, data):
    return Shop(k=({"X-Closes": "1", **headers}, data))


def test_a_body_that_ends_with_its_connection_counts_only_with_a_digest():
    data = b"data" * 10
    digest = {META + "credstore-sha256": hashlib.sha256(data).hexdigest()}
    assert run(lambda store: store.retrieve("k"), ends_with_connection(digest, data)) == data
    with pytest.raises(StorageIntegrityError) as caught:
        run(lambda store: store.retrieve("k"), ends_with_connection({}, data))
    assert caught.value.code == "NO_LENGTH"
    with pytest.raises(StorageIntegrityError) as caught:
        run(lambda store: store.retrieve("k"), ends_with_connection(digest, data[:-1]))
    assert caught.value.code == "DIGEST_MISMATCH"


def test_a_long_body_in_chunks_that_nothing_tells_the_length_of_is_read_twice():
    data = bytes(5000)

    class Silent(Shop):
        def read(self, seen, there):
            answer = super().read(seen, there)
            return Answer(200, there.body, {"ETag": answer.headers["ETag"], "Transfer-Encoding": "chunked"})

    async def test(store):
        assert await store.retrieve("k") == data
        with pytest.raises(StorageIntegrityError) as caught:
            await store.get_metadata("k")
        assert caught.value.code == "NO_LENGTH"

    run(test, Silent(k=({}, data)), part_size=1000)


def test_a_body_longer_than_its_head_says_is_an_error():
    """As where a proxy decompresses what it passes on."""

    class Decompressing(Shop):
        def respond(self, sent):
            answer = super().respond(sent)
            if sent.method != "GET":
                return answer
            kept = {name: value for name, value in answer.headers.items() if name != "Content-Length"}
            return ScriptedAnswer(200, answer.body * 2, {**kept, "Transfer-Encoding": "chunked"})

    with pytest.raises(StorageIntegrityError) as caught:
        run(lambda store: store.retrieve("k"), Decompressing(k=({}, bytes(5000))), part_size=1000)
    assert caught.value.code == "TOO_LONG"


# Versions that are not there.


@pytest.mark.parametrize(
    "answer",
    [
        error(400, "InvalidArgument", Message="Invalid version id specified"),
        error(404, "NoSuchVersion"),
        Answer(405, b"", {"x-amz-delete-marker": "true", "x-amz-request-id": "1"}),
    ],
)
def test_a_version_that_is_not_there_is_absent(answer):
    shop = Shop(k=({}, b"data"))
    for method in ("GET", "HEAD"):
        headless = Answer(answer.status, b"" if method == "HEAD" else answer.body, answer.headers)
        shop.plan(method, headless, times=9, query="versionId")

    async def test(store):
        for call in (
            store.retrieve("k", version_id="null"),
            store.open("k", version_id="v9").__aenter__(),
        ):
            with pytest.raises(StorageNotFoundError) as caught:
                await call
            assert caught.value.code == "VERSION_NOT_FOUND"

    run(test, shop)


@pytest.mark.parametrize("told", [{}, {"x-amz-version-id": "null"}, {"x-amz-version-id": "v2"}])
@pytest.mark.parametrize(
    "verb",
    [
        lambda store: store.retrieve("k", version_id="v1"),
        lambda store: store.get_metadata("k", version_id="v1"),
        lambda store: store.open("k", start=1, version_id="v1").__aenter__(),
        lambda store: store.open("k", suffix=1, version_id="v1").__aenter__(),
    ],
    ids=["retrieve", "get_metadata", "open", "suffix"],
)
def test_another_version_is_never_taken_for_the_one_that_was_asked_for(told, verb):
    async def test(store):
        with pytest.raises(StorageNotFoundError, match="another version"):
            await verb(store)

    run(test, Shop(k=(told, b"data")))


@pytest.mark.parametrize(("told", "asked"), [({}, "null"), ({"x-amz-version-id": "v1"}, "v1")])
def test_the_version_that_was_asked_for_is_read(told, asked):
    async def test(store):
        assert await store.retrieve("k", version_id=asked) == b"data"
        assert (await store.get_metadata("k", version_id=asked)).size == 4

    run(test, Shop(k=(told, b"data")))


def test_a_server_that_ignores_versions_is_not_sent_the_deletion_of_one():
    async def test(store):
        with pytest.raises(StorageNotFoundError, match="another version") as caught:
            await store.delete("k", version_id="v1")
        assert caught.value.applied == "no"
        assert await store.retrieve("k") == b"data"

    run(test, Shop(k=({}, b"data")))


@pytest.mark.parametrize(
    "looked",
    [
        Answer(200, b"", {"x-amz-version-id": "v1", "ETag": '"e"'}),
        Answer(405, b"", {"x-amz-delete-marker": "true", "x-amz-request-id": "1"}),
        Answer(405, b"", {"x-amz-request-id": "1"}),
        Answer(403, b"", {"x-amz-request-id": "1"}),
    ],
)
def test_a_version_that_is_there_or_cannot_be_looked_at_is_deleted(looked):
    shop = Shop(k=({}, b"data"))
    shop.plan("HEAD", looked, times=9)
    if looked.status > 400:
        code = "AccessDenied" if looked.status == 403 else "MethodNotAllowed"
        shop.plan("GET", error(looked.status, code), times=9)

    async def test(store):
        await store.delete("k", version_id="v1")
        assert [seen.query.get("versionId") for seen in shop.sent("DELETE")] == ["v1"]

    run(test, shop)


def test_an_unforeseen_failure_before_the_first_byte_says_that_nothing_happened(monkeypatch):
    shop = Shop(k=({}, b"data"))

    def broken(*_args, **_options):
        raise OverflowError

    async def outcome(call):
        with pytest.raises(StorageError) as caught:
            await call
        assert caught.value.code == ErrorCode.UNFORESEEN
        return caught.value.applied

    async def test(store):
        with monkeypatch.context() as patch:
            patch.setattr("credstore.drivers.s3.writing.put_object", broken)
            assert await outcome(store.store("new", b"x")) == "no"
        with monkeypatch.context() as patch:
            patch.setattr("credstore.drivers.s3.writing.check_checksum", broken)
            assert await outcome(store.store("new", b"x")) == "maybe"
        with monkeypatch.context() as patch:
            patch.setattr("credstore.drivers.s3.reading.parse_info", broken)
            patch.setattr("credstore.drivers.s3.measuring.parse_info", broken)
            assert await outcome(store.get_metadata("k")) == "no"

    run(test, shop)


def test_a_driver_reads_what_options_pin():
    """`ReadOptions.if_match` of a strong tag still goes out as it is."""
    shop = Shop(k=({}, b"data"))

    async def test(store):
        item = await store.get_metadata("k")
        reader = await store._session.driver.get("k", ReadOptions(if_match=item.etag))
        assert await reader.read() == b"data"
        assert conditions(shop) == {("if-match", f'"{item.etag}"')}

    run(test, shop)
