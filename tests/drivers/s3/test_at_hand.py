"""Objects whose whole response is there at once, and what is unusual about some of them."""

import asyncio
import hashlib

import pytest

from credstore.driver import READ_ALL, ReadOptions
from credstore.drivers.s3.responses import parse_info
from credstore.errors import StorageConfigurationError, StorageError, StorageIntegrityError
from credstore.testing import ScriptedAnswer, ScriptedTransport
from tests.drivers.s3.support import make_driver

DATA = b"hello"
USUAL = {"Content-Length": "5", "ETag": '"abc"', "x-amz-request-id": "r"}
DIGEST = "x-amz-meta-credstore-sha256"
WRITE_ID = "x-amz-meta-credstore-write-id"


def read(*answers, options=READ_ALL, seen=()):
    """What a read of "k" gives, or the error it ends with, and the requests it took; `seen` was read before."""

    async def main():
        transport = ScriptedTransport(*seen, *answers)
        driver = make_driver("http://127.0.0.1:1", transport=transport, max_retries=0)
        for _ in seen:
            async with await driver.get("k") as reader:
                await reader.read()
        transport.requests.clear()
        try:
            async with await driver.get("k", options) as reader:
                found = reader.info, await reader.read()
        except StorageError as error:
            found = error
        await driver.aclose()
        assert transport.unread == 0
        return found, transport.requests

    return asyncio.run(main())


def test_an_object_is_read_with_one_request():
    headers = {**USUAL, DIGEST: hashlib.sha256(DATA).hexdigest(), WRITE_ID: "w", "x-amz-meta-a": "1"}
    (info, data), requests = read(ScriptedAnswer(200, DATA, headers))
    assert (data, len(requests), "range" in requests[0].headers) == (DATA, 1, False)
    assert (info.key, info.size, info.etag, info.write_id, info.metadata) == ("k", 5, "abc", "w", {"a": "1"})


def test_an_empty_object_is_read_with_one_request():
    (info, data), requests = read(ScriptedAnswer(200, b"", {**USUAL, "Content-Length": "0"}))
    assert (info.size, data, len(requests)) == (0, b"", 1)


def test_its_bytes_are_compared_with_its_digest():
    found, _ = read(ScriptedAnswer(200, b"other", {**USUAL, DIGEST: hashlib.sha256(DATA).hexdigest()}))
    assert (type(found), found.code) == (StorageIntegrityError, "DIGEST_MISMATCH")


@pytest.mark.parametrize("seen", [(), (ScriptedAnswer(200, DATA, USUAL),)])
def test_a_page_is_no_object(seen):
    page = ScriptedAnswer(200, DATA, {"Content-Length": "5", "Content-Type": "text/html"})
    found, requests = read(page, seen=seen)
    assert (type(found), found.code, len(requests)) == (StorageConfigurationError, "NOT_S3", 1)


def test_an_object_without_an_etag_is_one_where_s3_answers():
    (info, data), _ = read(ScriptedAnswer(200, DATA, {"Content-Length": "5", "x-amz-request-id": "r"}))
    assert (info.etag, data) == (None, DATA)


@pytest.mark.parametrize(
    ("status", "told"), [(200, "bytes 0-4/100"), (206, "bytes 0-4/100"), (206, "rubbish"), (206, None)]
)
def test_a_range_is_never_taken_for_the_whole(status, told):
    headers = USUAL if told is None else {**USUAL, "Content-Range": told}
    found, _ = read(ScriptedAnswer(status, DATA, headers))
    assert (type(found), found.code) == (StorageIntegrityError, "WRONG_RANGE")


def test_a_range_that_is_the_whole_is_read():
    (info, data), _ = read(ScriptedAnswer(206, DATA, {**USUAL, "Content-Range": "bytes 0-4/5"}))
    assert (info.size, data) == (5, DATA)


def test_a_body_of_which_nothing_says_how_long_it_is_is_refused():
    found, _ = read(ScriptedAnswer(200, DATA, {"ETag": '"abc"', "x-amz-request-id": "r"}))
    assert (type(found), found.code) == (StorageIntegrityError, "NO_LENGTH")


def test_bytes_that_are_missing_are_asked_for():
    rest = {**USUAL, "Content-Length": "2", "Content-Range": "bytes 3-4/5"}
    (_, data), requests = read(ScriptedAnswer(200, DATA[:3], USUAL), ScriptedAnswer(206, DATA[3:], rest))
    assert (data, [seen.headers.get("range") for seen in requests]) == (DATA, [None, "bytes=3-4"])


def test_a_version_is_the_one_that_was_asked_for():
    options = ReadOptions(version_id="v1")
    found, _ = read(ScriptedAnswer(200, DATA, {**USUAL, "x-amz-version-id": "v2"}), options=options)
    assert isinstance(found, StorageError)
    assert found.code == "VERSION_NOT_FOUND"


# Responses of one server mostly have the same headers, so where each of them is, is found out once.


def test_responses_with_the_same_headers_say_each_their_own():
    def info(number):
        headers = {
            "etag": f'"{number}"',
            "x-amz-meta-a": f"a{number}",
            "x-amz-meta-x-compression": f"c{number}",
            WRITE_ID: f"w{number}",
            DIGEST: f"{number:064x}",
        }
        return parse_info("k", headers, size=number, served_by="s3")

    for number in (1, 2):
        found = info(number)
        assert (found.etag, found.metadata, found.write_id) == (
            f"{number}",
            {"a": f"a{number}"},
            f"w{number}",
        )
        assert (found.system, found.digest) == (
            {"x-compression": f"c{number}"},
            number.to_bytes(32, "big"),
        )
    assert info(1) == info(1)
    info(1).metadata["a"] = "changed"
    assert info(1).metadata == {"a": "a1"}


@pytest.mark.parametrize(
    ("name", "value", "field", "wanted"),
    [
        ("x-amz-version-id", "v", "version_id", "v"),
        ("x-amz-tagging-count", "2", "tag_count", 2),
        ("x-amz-server-side-encryption", "AES256", "encryption", "AES256"),
        ("x-amz-server-side-encryption-customer-algorithm", "AES256", "encryption", "SSE-C"),
        ("expires", "never", "extras", {"expires": "never"}),
        ("x-amz-missing-meta", "1", "extras", {"x-amz-missing-meta": "1"}),
        ("x-amz-website-redirect-location", "/", "extras", {"x-amz-website-redirect-location": "/"}),
        ("x-amz-storage-class", "GLACIER", "storage_class", "GLACIER"),
    ],
)
def test_what_few_responses_say_is_seen_with_and_without_it(name, value, field, wanted):
    plain = {"etag": '"e"', "content-length": "1"}
    without = parse_info("k", plain, size=1, served_by="s3")
    with_it = parse_info("k", {**plain, name: value}, size=1, served_by="s3")
    assert (getattr(with_it, field), with_it.etag) == (wanted, "e")
    assert getattr(without, field) != wanted


@pytest.mark.parametrize("text", ["", "00", "z" * 64, "0" * 65])
def test_a_damaged_digest_matches_nothing(text):
    assert parse_info("k", {DIGEST: text}, size=1, served_by="s3").digest == b""
