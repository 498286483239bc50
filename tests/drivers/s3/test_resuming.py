"""What an upload that can be continued leaves behind, and what is believed of one that was begun before."""

import asyncio
import hashlib
from dataclasses import replace

import pytest

from credstore.encryption import CustomerKey
from credstore.errors import (
    StorageBucketNotFoundError,
    StorageConflictError,
    StorageError,
    StorageIntegrityError,
    StorageNotFoundError,
    StorageUnavailableError,
)
from tests.drivers.s3.fake import RESET, Answer, error, xml
from tests.drivers.s3.running import run
from tests.drivers.s3.support import Stream, put_request

BEGUN = xml("<InitiateMultipartUploadResult><UploadId>U1</UploadId></InitiateMultipartUploadResult>")
PART = Answer(200, b"", {"ETag": '"p"'})
DONE = xml("<CompleteMultipartUploadResult><ETag>&quot;e-2&quot;</ETag></CompleteMultipartUploadResult>")
DATA = b"x" * 20
SETTINGS = {"multipart_threshold": 10, "part_size": 10, "max_retries": 0}
WRITE = "a" * 32


class Kept:
    """A journal in memory that counts."""

    def __init__(self):
        self.token = None
        self.saved = 0

    async def load(self):
        return self.token

    async def save(self, token):
        self.token = token
        self.saved += 1

    async def clear(self):
        self.token = None


def request(journal, write_id=WRITE, **fields):
    body = Stream(DATA, length=len(DATA), replayable=True)
    return put_request(
        "k", body=body, digest=hashlib.sha256(DATA).digest(), journal=journal, write_id=write_id, **fields
    )


def listing(*parts, after=None):
    """A page of ListParts: (number, size) of each."""
    found = "".join(
        f"<Part><PartNumber>{number}</PartNumber><Size>{size}</Size><ETag>&quot;had{number}&quot;</ETag></Part>"
        for number, size in parts
    )
    more = (
        ""
        if after is None
        else f"<IsTruncated>true</IsTruncated><NextPartNumberMarker>{after}</NextPartNumberMarker>"
    )
    return xml(f"<ListPartsResult><UploadId>U</UploadId>{found}{more}</ListPartsResult>")


async def cut_off(fake, driver, journal):
    """An upload with its first part, that was cut off at the second."""
    fake.plan("POST", BEGUN, query="uploads")
    fake.plan("PUT", PART, query="partNumber")
    fake.plan("PUT", error(500, "InternalError"), query="partNumber")
    with pytest.raises(StorageUnavailableError):
        await driver.put(request(journal))
    assert (journal.token.upload_id, journal.saved, fake.sent("DELETE")) == ("U1", 1, [])
    fake.log.clear()


def numbers(fake):
    return [seen.query["partNumber"] for seen in fake.log if "partNumber" in seen.query]


def test_what_is_missing_is_sent_under_the_id_of_the_beginning_and_the_journal_is_not_written_again():
    async def check(fake, driver):
        journal = Kept()
        await cut_off(fake, driver, journal)
        fake.plan("GET", listing((1, 10)), query="uploadId")
        fake.plan("PUT", PART, query="partNumber")
        fake.plan("POST", DONE, query="uploadId")
        result = await driver.put(request(journal, write_id="b" * 32))
        assert (result.etag, numbers(fake)) == ("e-2", ["2"])
        assert b"had1" in fake.sent("POST")[0].body
        assert (journal.saved, journal.token) == (1, None)

    run(check, **SETTINGS)


@pytest.mark.parametrize(
    ("parts", "sent"),
    [
        ([(1, 9), (2, 10)], ["1"]),
        ([(1, 11), (2, 10)], ["1"]),
        ([(1, 10), (2, 9)], ["2"]),
        ([(1, 10), (2, 10), (3, 0), (4, 10)], []),
        ([], ["1", "2"]),
    ],
)
def test_only_parts_of_the_right_length_are_kept(parts, sent):
    async def check(fake, driver):
        journal = Kept()
        await cut_off(fake, driver, journal)
        fake.plan("GET", listing(*parts), query="uploadId")
        fake.plan("PUT", PART, times=2, query="partNumber")
        fake.plan("POST", DONE, query="uploadId")
        await driver.put(request(journal))
        assert numbers(fake) == sent
        assert fake.sent("POST")[0].body.count(b"<Part>") == 2

    run(check, **SETTINGS)


def test_all_pages_of_parts_are_read_and_a_listing_that_does_not_advance_is_refused():
    async def check(fake, driver):
        journal = Kept()
        await cut_off(fake, driver, journal)
        fake.plan("GET", listing((1, 10), after=1), query="uploadId")
        fake.plan("GET", listing((2, 10), after=1), query="uploadId")
        with pytest.raises(StorageIntegrityError) as caught:
            await driver.put(request(journal))
        assert (caught.value.code, caught.value.applied) == ("LISTING", "no")
        assert [seen.query.get("part-number-marker") for seen in fake.log] == [None, "1"]
        fake.plan("GET", listing((1, 10), after=1), query="uploadId")
        fake.plan("GET", listing((2, 10)), query="uploadId")
        fake.plan("POST", DONE, query="uploadId")
        await driver.put(request(journal))
        assert numbers(fake) == []

    run(check, **SETTINGS)


@pytest.mark.parametrize(
    ("answer", "kind", "aborted"),
    [
        (error(409, "ConditionalRequestConflict"), StorageConflictError, ["U1"]),
        (error(404, "NoSuchUpload"), StorageNotFoundError, []),
    ],
)
def test_an_upload_that_cannot_be_completed_any_more_is_ended_and_forgotten(answer, kind, aborted):
    async def check(fake, driver):
        journal = Kept()
        fake.plan("POST", BEGUN, query="uploads")
        fake.plan("PUT", PART, times=2, query="partNumber")
        fake.plan("POST", answer, query="uploadId")
        fake.plan("DELETE", Answer(204), query="uploadId")
        with pytest.raises(kind):
            await driver.put(request(journal))
        assert journal.token is None
        assert [seen.query["uploadId"] for seen in fake.sent("DELETE")] == aborted

    run(check, **SETTINGS)


def test_an_upload_that_is_gone_is_the_object_only_if_this_write_made_it():
    async def check(fake, driver):
        journal = Kept()
        await cut_off(fake, driver, journal)
        token = journal.token
        await driver.put(put_request("k", b"y" * 10, write_id="c" * 32))
        fake.log.clear()
        fake.plan("GET", error(404, "NoSuchUpload"), query="uploadId")
        fake.plan("POST", BEGUN, query="uploads")
        fake.plan("PUT", PART, times=2, query="partNumber")
        fake.plan("POST", DONE, query="uploadId")
        await driver.put(request(journal, write_id="d" * 32))
        begun = next(seen for seen in fake.sent("POST") if "uploads" in seen.query)
        assert begun.headers["x-amz-meta-credstore-write-id"] == "d" * 32
        assert (journal.saved, numbers(fake)) == (2, ["1", "2"])
        await driver.put(put_request("other", DATA[:10], write_id=WRITE))
        fake.objects["k"] = replace(fake.objects["other"], body=DATA)
        fake.log.clear()
        journal.token = token
        fake.plan("GET", error(404, "NoSuchUpload"), query="uploadId")
        result = await driver.put(request(journal, write_id="d" * 32))
        assert (result.size, [seen.method for seen in fake.log]) == (20, ["GET", "HEAD"])
        assert journal.token is None

    run(check, **SETTINGS)


@pytest.mark.parametrize("code", ["NoSuchBucket", "AccessDenied"])
def test_a_listing_of_parts_that_fails_otherwise_leaves_the_journal(code):
    async def check(fake, driver):
        journal = Kept()
        await cut_off(fake, driver, journal)
        fake.plan("GET", error(404 if code == "NoSuchBucket" else 403, code), query="uploadId")
        with pytest.raises(StorageError) as caught:
            await driver.put(request(journal))
        assert isinstance(caught.value, StorageBucketNotFoundError) or code == "AccessDenied"
        assert (caught.value.applied, len(fake.log), journal.token.upload_id) == ("no", 1, "U1")

    run(check, **SETTINGS)


@pytest.mark.parametrize("kind", ["key", "place", "size", "digest", "options"])
def test_a_token_of_another_write_is_refused_before_anything_is_sent(kind):
    async def check(fake, driver):
        journal = Kept()
        await cut_off(fake, driver, journal)
        journal.token = replace(journal.token, **{kind: 21 if kind == "size" else "0" * 64})
        with pytest.raises(StorageError) as caught:
            await driver.put(request(journal))
        changed = kind in {"size", "digest"}
        assert caught.value.code == ("SOURCE_CHANGED" if changed else "RESUME_MISMATCH")
        assert (fake.log, caught.value.applied) == ([], "no")

    run(check, **SETTINGS)


def test_another_customer_key_of_the_same_write_is_no_other_option():
    """Its digest would tell about the key."""

    async def check(fake, driver):
        journal = Kept()
        sealed = {"x-amz-server-side-encryption-customer-algorithm": "AES256"}
        fake.plan("POST", Answer(200, BEGUN.body, sealed), query="uploads")
        fake.plan("PUT", error(500, "InternalError"), times=2, query="partNumber")
        with pytest.raises(StorageUnavailableError):
            await driver.put(request(journal, encryption=CustomerKey(bytes(32))))
        plain = Kept()
        await cut_off(fake, driver, plain)
        assert journal.token.options == plain.token.options

    run(check, **SETTINGS)


@pytest.mark.parametrize(
    ("answer", "aborted"),
    [(error(403, "AccessDenied"), 0), (RESET, 0), (BEGUN, 1)],
    ids=["refused", "lost", "begun"],
)
def test_a_cancel_while_an_upload_begins_stays_a_cancel_whatever_becomes_of_it(answer, aborted):
    async def check(fake, driver):
        def cancel(_seen):
            task.cancel()
            return answer

        fake.plan("POST", cancel, query="uploads")
        fake.plan("DELETE", Answer(204), query="uploadId")
        task = asyncio.ensure_future(driver.put(put_request("k", DATA)))
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(fake.sent("DELETE")) == aborted

    run(check, **SETTINGS)
