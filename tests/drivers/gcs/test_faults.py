"""What becomes of writes, reads and uploads when responses are lost, late, wrong or negative."""

import asyncio
import json
import os
import re
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from credstore.driver.values import (
    BytesBody,
    CopyRequest,
    ObjectInfo,
    Precondition,
    PutRequest,
    PutResult,
    ReadOptions,
    ResumeToken,
)
from credstore.errors import (
    ErrorCode,
    StorageAccessDeniedError,
    StorageAlreadyExistsError,
    StorageAuthenticationError,
    StorageBucketNotFoundError,
    StorageConfigurationError,
    StorageConflictError,
    StorageConnectionError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidKeyError,
    StorageInvalidRequestError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
    StorageQuotaExceededError,
    StorageRateLimitedError,
    StorageRetainedError,
    StorageUnavailableError,
    StorageUnsupportedError,
)
from credstore.model import Retention
from credstore.testing.harness import Stream
from credstore.testing.scripted import ScriptedAnswer, SentRequest
from tests.drivers.gcs.fake import LOST, QUANTUM, FakeGcs, Tokens

ID = "0123456789abcdef" * 2
SMALL = {"multipart_threshold": QUANTUM, "part_size": QUANTUM, "max_retries": 0}
CREATE = Precondition("create")
FAR = datetime(2037, 1, 2, tzinfo=UTC)


def put_of(key: str, data: bytes, **fields: object) -> PutRequest:
    body = fields.pop("body", BytesBody(data))
    return PutRequest(key=key, body=body, write_id=ID, **fields)


def failed(act) -> StorageError:
    with pytest.raises(StorageError) as caught:
        asyncio.run(act)
    return caught.value


async def read(driver, key: str, options: ReadOptions = ReadOptions()) -> bytes:  # noqa: B008 - it is frozen
    async with await driver.get(key, options) as reader:
        return await reader.read()


def once(matches, outcome):
    """A fault for the first request that matches: before it arrives, or (`after`) instead of its response."""
    state = {"left": 1}

    def fault(request: SentRequest, serve):
        if not state["left"] or not matches(request):
            return None
        state["left"] -= 1
        return outcome(request, serve)

    return fault


def lose(request, serve):
    serve(request)
    return LOST


def cut(request, serve):
    return LOST


def is_put(request: SentRequest) -> bool:
    return "uploadType=multipart" in request.url


def is_chunk(request: SentRequest) -> bool:
    return bool(re.match(r"bytes \d", request.headers.get("content-range", "")))


def is_last(request: SentRequest) -> bool:
    found = re.fullmatch(r"bytes \d+-(\d+)/(\d+)", request.headers.get("content-range", ""))
    return found is not None and int(found[1]) + 1 == int(found[2])


# Writes in one request.


@pytest.mark.parametrize("condition", [Precondition(), CREATE])
def test_a_write_whose_response_was_lost_is_found_by_its_id(condition):
    fake = FakeGcs()
    fake.faults.append(once(is_put, lose))
    found = asyncio.run(fake.driver(max_retries=0).put(put_of("key", b"data", precondition=condition)))
    assert isinstance(found, PutResult)
    assert found.etag == f"{fake.now('key').generation}-1"


def test_a_write_that_was_sent_again_is_no_conflict_with_itself():
    fake = FakeGcs()
    fake.faults.append(once(is_put, lose))
    asyncio.run(fake.driver(max_retries=2).put(put_of("key", b"data", precondition=CREATE)))
    assert [each.method for each in fake.sent] == ["POST", "POST", "GET"]
    assert len(fake.objects["key"]) == 1


def test_a_write_that_never_arrived_may_have():
    fake = FakeGcs()
    fake.faults.append(once(is_put, cut))
    error = failed(fake.driver(max_retries=0).put(put_of("key", b"data")))
    assert (type(error), error.applied) == (StorageConnectionError, "maybe")


def test_a_create_that_lost_its_response_to_anothers_object_is_refused():
    fake = FakeGcs()

    def overtaken(request, serve):
        fake.put("key", b"theirs", {})
        return LOST

    fake.faults.append(once(is_put, overtaken))
    error = failed(fake.driver(max_retries=0).put(put_of("key", b"data", precondition=CREATE)))
    assert (type(error), error.applied) == (StorageAlreadyExistsError, "maybe")


def test_a_body_of_a_stream_is_compared_too():
    fake = FakeGcs()
    body = Stream(b"one ", b"two", length=7, replayable=True)
    driver = fake.driver(multipart_threshold=2 * QUANTUM, part_size=QUANTUM)
    asyncio.run(driver.put(put_of("small", b"", body=body)))
    large = os.urandom(2 * QUANTUM)
    asyncio.run(driver.put(put_of("large", b"", body=Stream(large, length=len(large), replayable=True))))
    assert (fake.now("small").data, fake.now("large").data) == (b"one two", large)
    assert [is_put(each) for each in fake.sent] == [True, True]

    def damaged(request, serve):
        return serve(
            SentRequest(
                request.method, request.url, request.headers, request.body.replace(large[:9], b"x" * 9)
            )
        )

    fake.faults.append(once(is_put, damaged))
    error = failed(driver.put(put_of("large", b"", body=Stream(large, length=len(large), replayable=True))))
    assert (error.code, error.applied) == (ErrorCode.CHECKSUM_MISMATCH, "maybe")


def test_a_body_that_is_damaged_on_its_way_is_refused_by_the_service():
    fake = FakeGcs()

    def damaged(request, serve):
        return serve(
            SentRequest(request.method, request.url, request.headers, request.body.replace(b"data", b"daten"))
        )

    fake.faults.append(once(is_put, damaged))
    error = failed(fake.driver(max_retries=0).put(put_of("key", b"data")))
    assert (error.code, error.applied) == (ErrorCode.CHECKSUM_MISMATCH, "no")
    assert "key" not in fake.objects


# Resumable uploads.


def upload(fake: FakeGcs, size: int = 3 * QUANTUM + 5, **fields: object):
    data = os.urandom(size)
    return data, fake.driver(**SMALL).put(put_of("big", data, **fields))


@pytest.mark.parametrize("matches", [is_chunk, is_last], ids=["first", "last"])
@pytest.mark.parametrize("how", [lose, cut], ids=["arrived", "vanished"])
def test_an_upload_goes_on_from_what_the_service_has(matches, how):
    fake = FakeGcs()
    fake.faults.append(once(matches, how))
    data, act = upload(fake)
    asyncio.run(act)
    assert fake.now("big").data == data
    assert any(each.headers.get("content-range", "").startswith("bytes */") for each in fake.sent)


@pytest.mark.parametrize("condition", [Precondition(), CREATE])
def test_an_upload_whose_final_response_and_session_were_lost_is_found_by_its_id(condition):
    fake = FakeGcs()

    def ended(request, serve):
        serve(request)
        fake.uploads.clear()
        return LOST

    fake.faults.append(once(is_last, ended))
    data, act = upload(fake, precondition=condition)
    assert asyncio.run(act).etag == f"{fake.now('big').generation}-1"
    assert fake.now("big").data == data


def forgets(fake: FakeGcs):
    def forgotten(request, serve):
        fake.uploads.clear()

    return forgotten


@pytest.mark.parametrize("replayable", [True, False])
def test_an_upload_that_the_service_has_lost_is_started_again_where_the_body_can_be(replayable):
    fake = FakeGcs()
    second = once(lambda request: "bytes 262144-" in request.headers.get("content-range", ""), forgets(fake))
    fake.faults.append(second)
    data = os.urandom(3 * QUANTUM)
    act = fake.driver(**SMALL).put(
        put_of("big", b"", body=Stream(data, length=len(data), replayable=replayable))
    )
    if replayable:
        asyncio.run(act)
        assert fake.now("big").data == data
    else:
        error = failed(act)
        assert (error.code, error.applied) == (ErrorCode.UPLOAD_NOT_FOUND, "no")


def test_an_upload_that_was_lost_at_its_end_may_be_the_object():
    fake = FakeGcs()
    fake.faults.append(once(is_last, forgets(fake)))
    _, act = upload(fake)
    error = failed(act)
    assert (error.code, error.applied) == (ErrorCode.UPLOAD_NOT_FOUND, "maybe")


def test_an_upload_is_sent_from_the_reported_offset_and_never_from_another():
    fake = FakeGcs()
    fake.keeps = QUANTUM
    data = os.urandom(5 * QUANTUM + 1)
    driver = fake.driver(multipart_threshold=QUANTUM, part_size=2 * QUANTUM, max_retries=0)
    asyncio.run(driver.put(put_of("big", data)))
    assert fake.now("big").data == data
    starts = [
        int(re.match(r"bytes (\d+)", each.headers["content-range"])[1])
        for each in fake.sent
        if is_chunk(each)
    ]
    assert starts == [each * QUANTUM for each in range(6)]


@pytest.mark.parametrize(
    ("told", "applied"),
    [
        ({"range": "bytes=0-5"}, "no"),
        ({"range": f"bytes=0-{9 * QUANTUM}"}, "no"),
        ({"range": "bytes 0-9"}, "no"),
    ],
    ids=["less than before", "more than was sent", "unreadable"],
)
def test_an_offset_that_cannot_be_is_refused(told, applied):
    fake = FakeGcs()

    def lies(request, serve):
        serve(request)
        return ScriptedAnswer(308, b"", told)

    second = {"seen": 0}

    def is_second(request):
        second["seen"] += is_chunk(request)
        return second["seen"] == 2

    fake.faults.append(once(is_second, lies))
    _, act = upload(fake)
    error = failed(act)
    assert (type(error), error.applied) == (StorageIntegrityError, applied)
    assert "big" not in fake.objects
    assert not fake.uploads  # It was cancelled.


def test_an_upload_that_gets_nowhere_ends():
    fake = FakeGcs()
    fake.faults.append(lambda request, serve: ScriptedAnswer(308) if is_chunk(request) else None)
    _, act = upload(fake)
    error = failed(act)
    assert (error.code, error.applied, error.retryable) == (ErrorCode.TRUNCATED, "no", True)
    assert not fake.uploads


def test_an_upload_that_ends_too_early_is_not_taken_for_the_object():
    fake = FakeGcs()
    said = {"name": "big", "size": "5", "generation": "1", "metageneration": "1"}

    def early(request, serve):
        return ScriptedAnswer(200, json.dumps(said).encode())

    fake.faults.append(once(is_chunk, early))
    _, act = upload(fake)
    error = failed(act)
    assert (error.code, error.applied) == (ErrorCode.TRUNCATED, "maybe")


def test_an_upload_under_a_condition_is_refused_at_its_beginning_or_its_end():
    fake = FakeGcs()
    fake.put("big", b"theirs", {})
    _, act = upload(fake, precondition=CREATE)
    assert type(failed(act)) is StorageAlreadyExistsError
    fake = FakeGcs()

    def overtaken(request, serve):
        fake.put("big", b"theirs", {})
        return serve(request)

    fake.faults.append(once(is_last, overtaken))
    _, act = upload(fake, precondition=CREATE)
    error = failed(act)
    assert (type(error), error.applied) == (StorageAlreadyExistsError, "no")
    assert fake.now("big").data == b"theirs"


def test_a_cancelled_upload_is_cancelled_at_the_service_too():
    fake = FakeGcs()

    async def use() -> None:
        class Stuck:
            length, replayable, data = 3 * QUANTUM, True, None

            async def open(self, offset: int = 0):
                yield bytes(2 * QUANTUM)
                await asyncio.Event().wait()

        writing = asyncio.ensure_future(fake.driver(**SMALL).put(put_of("big", b"", body=Stuck())))
        while not any(is_chunk(each) for each in fake.sent):
            await asyncio.sleep(0)
        writing.cancel()
        with suppress(asyncio.CancelledError):
            await writing

    asyncio.run(use())
    assert fake.sent[-1].method == "DELETE"
    assert not fake.uploads
    assert not fake.objects


class Notes:
    """A journal in memory."""

    def __init__(self) -> None:
        self.token: ResumeToken | None = None

    async def load(self):
        return self.token

    async def save(self, token):
        self.token = token

    async def clear(self):
        self.token = None


def resumable(data: bytes, journal: Notes, **fields: object) -> PutRequest:
    from hashlib import sha256

    body = Stream(data, length=len(data), replayable=True)
    return put_of("big", b"", body=body, digest=sha256(data).digest(), journal=journal, **fields)


def test_an_interrupted_upload_is_continued_by_another_process():
    fake, journal, data = FakeGcs(), Notes(), os.urandom(4 * QUANTUM)
    gone = {"after": 2}

    def down(request, serve):
        gone["after"] -= is_chunk(request)
        return LOST if gone["after"] < 0 else None

    fake.faults.append(down)
    error = failed(fake.driver(**SMALL).put(resumable(data, journal)))
    assert error.applied == "no"
    assert journal.token is not None
    assert ID not in journal.token.upload_id
    fake.faults.clear()
    fake.sent.clear()
    asyncio.run(fake.driver(**SMALL).put(resumable(data, journal)))
    assert fake.now("big").data == data
    assert [each.headers["content-range"] for each in fake.sent] == [
        f"bytes */{4 * QUANTUM}",
        f"bytes {2 * QUANTUM}-{3 * QUANTUM - 1}/{4 * QUANTUM}",
        f"bytes {3 * QUANTUM}-{4 * QUANTUM - 1}/{4 * QUANTUM}",
    ]
    assert journal.token is None


def test_a_finished_upload_is_not_sent_again():
    fake, journal, data = FakeGcs(), Notes(), os.urandom(2 * QUANTUM)
    asyncio.run(fake.driver(**SMALL).put(resumable(data, journal)))
    kept = Notes()

    fake.faults.append(once(is_last, lose))
    asyncio.run(fake.driver(**SMALL).put(resumable(data, kept)))
    assert kept.token is None
    generation = fake.now("big").generation
    fake.faults.clear()
    # The journal of an upload whose end was never heard of, and whose session is gone.
    place = "https://storage.googleapis.com/proofs"
    first = resumable(data, Notes())
    from credstore.drivers.gcs.requests import Described
    from credstore.drivers.gcs.resuming import _options

    said = Described().of(first, fake.driver(**SMALL).capabilities, first.digest)
    left = Notes()
    left.token = ResumeToken(
        place=place, key="big", size=len(data), digest=first.digest.hex(), part_size=QUANTUM,
        upload_id="/upload/storage/v1/b/proofs/o?uploadType=resumable&upload_id=gone", write_id=ID,
        options=_options(said, first),
    )  # fmt: skip
    fake.sent.clear()
    asyncio.run(fake.driver(**SMALL).put(resumable(data, left)))
    assert fake.now("big").generation == generation
    assert not any(is_chunk(each) for each in fake.sent)


def test_an_upload_is_not_continued_for_other_bytes():
    fake, journal, data = FakeGcs(), Notes(), os.urandom(4 * QUANTUM)
    fake.faults.append(lambda request, serve: LOST if is_chunk(request) else None)
    failed(fake.driver(**SMALL).put(resumable(data, journal)))
    fake.faults.clear()
    error = failed(fake.driver(**SMALL).put(resumable(os.urandom(4 * QUANTUM), journal)))
    assert error.code == ErrorCode.SOURCE_CHANGED
    error = failed(fake.driver(**SMALL).put(resumable(data, journal, metadata={"other": "1"})))
    assert error.code == ErrorCode.RESUME_MISMATCH


# Reads.


def is_media(request: SentRequest) -> bool:
    return request.method == "GET" and "/storage/v1/" not in request.url


def test_a_read_that_breaks_off_continues_with_the_same_generation():
    fake = FakeGcs()
    data = os.urandom(3000)
    fake.put("key", data, {})

    def broken(request, serve):
        answer = serve(request)
        return ScriptedAnswer(answer.status, answer.body[:1000], answer.headers, cut=LOST)

    fake.faults.append(once(is_media, broken))
    assert asyncio.run(read(fake.driver(), "key")) == data
    again = fake.sent[-1].headers
    assert again["range"] == "bytes=1000-2999"
    assert again["x-goog-if-generation-match"] == str(fake.now("key").generation)


def test_a_read_that_breaks_off_ends_where_the_object_was_replaced():
    fake = FakeGcs()
    fake.put("key", bytes(3000), {})

    def broken(request, serve):
        answer = serve(request)
        fake.put("key", b"x" * 3000, {})
        return ScriptedAnswer(answer.status, answer.body[:1000], answer.headers, cut=LOST)

    fake.faults.append(once(is_media, broken))
    assert failed(read(fake.driver(), "key")).code == ErrorCode.REPLACED


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"content-range": "bytes 0-9/100"}, ErrorCode.WRONG_RANGE),
        ({"content-range": "bytes 10-19/*"}, ErrorCode.WRONG_RANGE),
        ({"content-length": "9"}, ErrorCode.WRONG_RANGE),
        ({"content-encoding": "gzip"}, ErrorCode.WRONG_RANGE),
    ],
)
def test_a_range_is_taken_only_as_it_was_asked_for(change, code):
    fake = FakeGcs()
    fake.put("key", bytes(100), {})

    def lies(request, serve):
        answer = serve(request)
        return ScriptedAnswer(answer.status, answer.body, {**answer.headers, **change})

    fake.faults.append(once(is_media, lies))
    assert failed(read(fake.driver(), "key", ReadOptions(start=10, end=20))).code == code


# Copies and deletions.


def test_a_copy_whose_response_was_lost_is_found_by_its_id():
    fake = FakeGcs()
    fake.put("key", b"data", {})
    driver = fake.driver(max_retries=0)
    source = asyncio.run(driver.head("key"))
    fake.faults.append(once(lambda request: "/rewriteTo/" in request.url, lose))
    result = asyncio.run(
        driver.copy(CopyRequest(source=source, destination="to", write_id=ID, precondition=CREATE))
    )
    assert result.etag == f"{fake.now('to').generation}-1"


def test_a_copy_that_does_not_get_on_ends():
    fake = FakeGcs()
    fake.put("key", bytes(100), {})
    fake.rewrites = 0
    driver = fake.driver(max_retries=0)
    source: ObjectInfo = asyncio.run(driver.head("key"))
    error = failed(driver.copy(CopyRequest(source=source, destination="to", write_id=ID)))
    assert (error.code, error.retryable) == (ErrorCode.TRUNCATED, True)


def test_a_deletion_whose_response_was_lost_happened():
    fake = FakeGcs()
    fake.put("key", b"data", {})
    fake.faults.append(once(lambda request: request.method == "DELETE", lose))
    outcome = asyncio.run(fake.driver(max_retries=2).delete("key"))
    assert outcome.existed is None


def test_a_deletion_under_a_condition_whose_response_was_lost_happened():
    fake = FakeGcs()
    fake.put("key", b"data", {})
    driver = fake.driver(max_retries=2)
    etag = asyncio.run(driver.head("key")).etag
    fake.faults.append(once(lambda request: request.method == "DELETE", lose))
    assert asyncio.run(driver.delete("key", if_match=etag)).existed is None
    assert type(failed(driver.delete("key", if_match=etag))) is StoragePreconditionFailedError


def test_a_batch_that_leaves_a_key_out_is_no_success():
    fake = FakeGcs()
    for name in ("a", "b"):
        fake.put(name, b"1", {})

    def silent(request, serve):
        answer = serve(request)
        first, _, end = answer.body.split(b"--answers")[1:]
        body = b"--answers" + first + b"--answers" + end
        return ScriptedAnswer(answer.status, body, {**answer.headers, "content-length": str(len(body))})

    fake.faults.append(once(lambda request: "/batch/" in request.url, silent))
    outcomes = asyncio.run(fake.driver().delete_many(["a", "b", "."]))
    assert outcomes["a"].existed is True
    assert (outcomes["b"].code, outcomes["b"].applied) == (ErrorCode.NO_OUTCOME, "maybe")
    assert isinstance(outcomes["."], StorageInvalidKeyError)


def test_what_a_hold_keeps_says_so_and_is_not_removed():
    fake = FakeGcs(versions=True)
    until = "2099-01-01T00:00:00+00:00"
    fake.put("held", b"1", {"temporaryHold": True})
    fake.put("kept", b"1", {"retention": {"mode": "Locked", "retainUntilTime": until}})
    driver = fake.driver()
    page = asyncio.run(driver.list_versions())
    named = [(each.key, each.version_id) for each in page.entries]
    outcomes = asyncio.run(driver.delete_versions(named))
    assert {each.code for each in outcomes.values()} == {ErrorCode.LOCKED}
    held, kept = (asyncio.run(driver.get_retention(*each)) for each in named)
    assert held == Retention(legal_hold=True)
    assert (kept.mode, kept.retain_until.isoformat(), kept.legal_hold) == ("compliance", until, False)


# Refusals.


def said(status: int, reason: str, message: str = "what Google says", **headers: str) -> ScriptedAnswer:
    one = {"error": {"code": status, "message": message, "errors": [{"reason": reason, "domain": "global"}]}}
    told = {"content-type": "application/json", "x-guploader-uploadid": "ABC-1", **headers}
    return ScriptedAnswer(status, json.dumps(one).encode(), told)


@pytest.mark.parametrize(
    ("answer", "kind", "code", "retryable"),
    [
        (said(400, "invalid"), StorageInvalidRequestError, None, False),
        (said(400, "required", "User project specified in the request is invalid"), StorageInvalidRequestError, None, False),
        (said(401, "required", "Anonymous caller does not have access"), StorageAuthenticationError, None, False),
        (said(401, "authError", "Invalid Credentials"), StorageAuthenticationError, ErrorCode.CREDENTIALS_EXPIRED, False),
        (said(403, "forbidden"), StorageAccessDeniedError, None, False),
        (said(403, "accountDisabled"), StorageAccessDeniedError, None, False),
        (said(403, "retentionPolicyNotMet"), StorageRetainedError, ErrorCode.LOCKED, False),
        (said(403, "objectUnderActiveHold"), StorageRetainedError, ErrorCode.LOCKED, False),
        (said(403, "forbidden", "Object 'proofs/key' is subject to bucket's retention policy and cannot be deleted, overwritten or archived until 2099-01-01"), StorageRetainedError, ErrorCode.LOCKED, False),
        (said(400, "invalid", "Object retention is not enabled on the bucket."), StorageUnsupportedError, ErrorCode.RETENTION_DISABLED, False),
        (said(403, "quotaExceeded"), StorageQuotaExceededError, None, False),
        (said(403, "rateLimitExceeded"), StorageRateLimitedError, None, True),
        (said(404, "notFound", "No such object: proofs/key"), StorageObjectNotFoundError, None, False),
        (said(404, "notFound", "The specified bucket does not exist."), StorageBucketNotFoundError, ErrorCode.BUCKET_NOT_FOUND, False),
        (said(409, "conflict"), StorageConflictError, ErrorCode.CONCURRENT_WRITE, True),
        (said(412, "conditionNotMet"), StoragePreconditionFailedError, None, False),
        (said(429, "rateLimitExceeded"), StorageRateLimitedError, None, True),
        (said(500, "backendError"), StorageUnavailableError, None, True),
        (said(501, "notImplemented"), StorageUnsupportedError, None, False),
        (said(503, "backendError"), StorageUnavailableError, None, True),
    ],
    ids=lambda each: f"{each.status}" if isinstance(each, ScriptedAnswer) else "",
)  # fmt: skip
def test_what_the_service_refuses(answer, kind, code, retryable):
    fake = FakeGcs()
    fake.faults.append(lambda request, serve: answer)
    error = failed(fake.driver(max_retries=0).head("key"))
    assert type(error) is kind
    assert (error.code == code or code is None, error.retryable) == (True, retryable)
    assert (error.status_code, error.request_id, error.bucket) == (answer.status, "ABC-1", "proofs")
    assert error.provider_code == json.loads(answer.body)["error"]["errors"][0]["reason"]
    assert json.loads(answer.body)["error"]["message"] not in error.message


def test_an_absent_bucket_is_one_for_every_operation():
    fake = FakeGcs()
    fake.exists = False
    driver = fake.driver(**SMALL)
    data = bytes(2 * QUANTUM)
    for act in (
        driver.head("key"), driver.get("key"), driver.list(), driver.put(put_of("key", b"1")),
        driver.put(put_of("key", data)), driver.delete("key"), driver.ping(),
    ):  # fmt: skip
        assert type(failed(act)) is StorageBucketNotFoundError


@pytest.mark.parametrize("status", [200, 302, 403, 404])
def test_a_login_page_is_not_the_service(status):
    fake = FakeGcs()
    page = ScriptedAnswer(
        status, b"<html>sign in</html>", {"content-type": "text/html", "content-length": "20"}
    )
    fake.faults.append(lambda request, serve: page)
    error = failed(fake.driver(max_retries=0).head("key"))
    assert (type(error), error.code) == (StorageConfigurationError, ErrorCode.NOT_S3)


PAGE = b"<html>sign in</html>"
SAID_BY_OTHERS = (
    (b"", {"content-length": "0"}),
    (PAGE, {"content-type": "text/html", "content-length": str(len(PAGE))}),
    (b'{"detail":"Not Found"}', {"content-type": "application/json", "content-length": "22"}),
    (b"not found", {"content-type": "text/plain", "content-length": "9"}),
)


@pytest.mark.parametrize(("body", "headers"), SAID_BY_OTHERS, ids=["empty", "page", "json", "text"])
@pytest.mark.parametrize("status", [301, 401, 403, 404, 409, 410, 412])
def test_only_google_says_that_something_is_absent_or_refused(status, body, headers):
    fake = FakeGcs()
    asyncio.run(fake.driver().put(put_of("key", b"data")))
    fake.faults.append(lambda request, serve: ScriptedAnswer(status, body, headers))
    driver = fake.driver(max_retries=0)
    for act in (
        driver.head("key"), driver.get("key"), driver.list(), driver.put(put_of("key", b"1")),
        driver.delete("key"), driver.get_retention("key"), driver.list_versions("key"),
    ):  # fmt: skip
        error = failed(act)
        assert (type(error), error.code) == (StorageConfigurationError, ErrorCode.NOT_S3)


@pytest.mark.parametrize(("body", "headers"), SAID_BY_OTHERS, ids=["empty", "page", "json", "text"])
@pytest.mark.parametrize("status", [200, 201, 202])
def test_a_deletion_is_not_believed_to_whoever_is_not_google(status, body, headers):
    fake = FakeGcs()
    asyncio.run(fake.driver().put(put_of("key", b"data")))
    fake.faults.append(lambda request, serve: ScriptedAnswer(status, body, headers))
    error = failed(fake.driver(max_retries=0).delete("key"))
    assert (type(error), error.code) == (StorageConfigurationError, ErrorCode.NOT_S3)
    assert error.applied == "maybe"


async def copied(driver):
    source = await driver.head("key")
    return await driver.copy(CopyRequest(source=source, destination="copy", write_id=ID))


CHANGES = {
    "put": lambda driver: driver.put(put_of("other", b"1")),
    "put in chunks": lambda driver: driver.put(put_of("other", bytes(QUANTUM + 1))),
    "retain": lambda driver: driver.set_retention("key", FAR, "governance"),
    "hold": lambda driver: driver.set_legal_hold("key", held=True),
    "copy": copied,
}


@pytest.mark.parametrize(("body", "headers"), SAID_BY_OTHERS, ids=["empty", "page", "json", "text"])
@pytest.mark.parametrize("status", [200, 202, 204])
@pytest.mark.parametrize("made", [True, False])
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_not_believed_to_whoever_is_not_google(name, made, status, body, headers):
    """It may have been made behind whatever answered, which is looked for."""
    fake = FakeGcs(object_retention=True)
    asyncio.run(fake.driver().put(put_of("key", b"data")))

    def instead(request, serve):
        if request.method == "GET" or ("uploadType=resumable" in request.url and not is_last(request)):
            return None
        if made:
            serve(request)
        return ScriptedAnswer(status, body, headers)

    fake.faults.append(instead)
    driver = fake.driver(**SMALL)
    if made:
        asyncio.run(CHANGES[name](driver))
        return
    error = failed(CHANGES[name](driver))
    assert (error.code, error.applied, error.retryable) == (ErrorCode.NOT_S3, "maybe", False)


@pytest.mark.parametrize(
    "body", [b"No such object: proofs/key", b'{"error": {"code": 404, "message": "Not Found", "errors": []}}']
)
def test_what_google_says_without_a_reason_counts(body):
    fake = FakeGcs()
    headers = {} if body.startswith(b"{") else {"x-guploader-uploadid": "ABC"}
    fake.faults.append(lambda request, serve: ScriptedAnswer(404, body, headers))
    assert type(failed(fake.driver(max_retries=0).head("key"))) is StorageObjectNotFoundError
    fake.faults[:] = [lambda request, serve: ScriptedAnswer(204, b"", {"content-length": "0"})]
    assert asyncio.run(fake.driver().delete("key")).existed is True


def test_an_expired_token_is_renewed_once_and_the_request_sent_again():
    fake = FakeGcs()
    tokens = Tokens("old", "token")
    asyncio.run(fake.driver(tokens).put(put_of("key", b"data")))
    assert tokens.refreshed == 1
    assert len(fake.sent) == 2
    tokens = Tokens("old")
    error = failed(fake.driver(tokens, max_retries=3).head("key"))
    assert (error.code, tokens.refreshed) == (ErrorCode.CREDENTIALS_EXPIRED, 1)


@pytest.mark.parametrize("lasts", ["token", "older"])
def test_an_expired_token_is_renewed_for_reads_and_batches_too(lasts):
    """The XML API refuses it by a code of its own, and a batch part by part."""
    fake = FakeGcs()
    for name in ("a", "b", "c"):
        asyncio.run(fake.driver().put(put_of(name, b"data")))
    tokens = Tokens("old", lasts)
    if lasts == "token":
        assert asyncio.run(read(fake.driver(tokens), "a")) == b"data"
    else:
        assert failed(fake.driver(tokens).get("a")).code == ErrorCode.CREDENTIALS_EXPIRED
    assert tokens.refreshed == 1
    tokens = Tokens("old", lasts)
    found = asyncio.run(fake.driver(tokens).delete_many(["a", "b", "none"]))
    if lasts == "token":
        assert {key: each.existed for key, each in found.items()} == {"a": True, "b": True, "none": False}
        assert set(fake.objects) == {"c"}
    else:
        assert {each.code for each in found.values()} == {ErrorCode.CREDENTIALS_EXPIRED}
    assert tokens.refreshed == 1


def test_a_batch_whose_token_cannot_be_renewed_says_why_of_each_key():
    class Ended(Tokens):
        async def refresh(self):
            raise StorageAuthenticationError("no way in")

    found = asyncio.run(FakeGcs().driver(Ended("old")).delete_many(["a", "b"]))
    assert {each.code for each in found.values()} == {ErrorCode.CREDENTIALS_EXPIRED}


def test_without_a_token_none_has_expired():
    fake = FakeGcs()
    required = b"<?xml version='1.0'?><Error><Code>AuthenticationRequired</Code></Error>"
    for answer in (
        ScriptedAnswer(401, required, {}),
        said(401, "authError"),
        said(401, "required", "Login Required"),
    ):
        fake.faults[:] = [lambda request, serve, answer=answer: answer]
        fake.sent.clear()
        error = failed(fake.driver(auth_mode="anonymous").get("key"))
        assert type(error) is StorageAuthenticationError
        assert "the request had no credentials" in error.message
        assert len(fake.sent) == 1
    fake.faults.clear()
    fake.sent.clear()
    fake.token = "another"
    found = asyncio.run(fake.driver(auth_mode="anonymous").delete_many(["a", "b"]))
    assert {"the request had no credentials" in each.message for each in found.values()} == {True}
    assert len(fake.sent) == 1


@pytest.mark.parametrize("headers", [{}, {"x-guploader-uploadid": "ABC"}])
def test_an_error_is_read_behind_the_mark_of_its_encoding(headers):
    fake = FakeGcs()
    body = b"\xef\xbb\xbf" + said(401, "authError").body
    fake.faults.append(lambda request, serve: ScriptedAnswer(401, body, headers))
    assert failed(fake.driver().head("key")).code == ErrorCode.CREDENTIALS_EXPIRED


@pytest.mark.parametrize("status", [200, 400, 404])
@pytest.mark.parametrize("start", [b'{"a":', b"[", b'{"error":{"errors":['])
def test_a_document_that_is_nested_deeply_is_only_refused(status, start):
    fake = FakeGcs()
    asyncio.run(fake.driver().put(put_of("key", b"data")))
    body = start * 20_000
    told = {"x-guploader-uploadid": "ABC", "content-length": str(len(body))}
    fake.faults.append(lambda request, serve: ScriptedAnswer(status, body, told))
    driver = fake.driver(max_retries=0)
    for act in (driver.head("key"), driver.list(), driver.put(put_of("key", b"1")), copied(driver)):
        assert failed(act).code != ErrorCode.UNFORESEEN


@pytest.mark.parametrize("cursor", ["", "[", "[" * 20_000, "1", "[1]", "{}", '["a", "b"]'])
def test_a_cursor_of_anything_else_is_refused(cursor):
    error = failed(FakeGcs(versions=True).driver().list_versions(cursor=cursor))
    assert type(error) is StorageInvalidRequestError


@pytest.mark.parametrize("headers", [{}, {"x-guploader-uploadid": "ABC"}])
def test_nothing_but_an_upload_is_incomplete(headers):
    """Status 308 means that more has to come only there; elsewhere it says that nothing was done."""
    fake = FakeGcs(object_retention=True)
    asyncio.run(fake.driver().put(put_of("key", b"data")))
    told = {"content-length": "0", "range": "bytes=0-3", **headers}
    fake.faults.append(lambda request, serve: ScriptedAnswer(308, b"", told))
    driver = fake.driver(max_retries=0)
    for act in (
        driver.head("key"), driver.get("key"), driver.list(), driver.delete("key"), driver.delete_many(["key"]),
        driver.put(put_of("key", b"1")), driver.ping(), driver.list_versions("key"),
    ):  # fmt: skip
        error = failed(act)
        assert (type(error), error.code, error.bucket) == (
            StorageConfigurationError,
            ErrorCode.NOT_S3,
            "proofs",
        )


@pytest.mark.parametrize("key", [".", "..", ".well-known/acme-challenge/x"])
def test_a_key_that_google_keeps_for_itself_is_refused_before_anything_is_sent(key):
    fake = FakeGcs()
    driver = fake.driver()
    for act in (driver.put(put_of(key, b"1")), driver.get(key), driver.head(key), driver.delete(key)):
        assert isinstance(failed(act), StorageInvalidKeyError)
    assert not fake.sent


def shown_by(error: BaseException) -> list[str]:
    """All that an error and our frames on its way show."""
    shown = []
    each: BaseException | None = error
    while each is not None:
        shown += [repr(each), str(each), *getattr(each, "__notes__", ())]
        trace = each.__traceback__
        while trace is not None:
            file = trace.tb_frame.f_code.co_filename
            if "credstore" in file and "/tests/" not in file:
                shown += [repr(value) for value in trace.tb_frame.f_locals.values()]
            trace = trace.tb_next
        each = each.__cause__ or each.__context__
    return shown


@pytest.mark.parametrize("continued", [False, True])
@pytest.mark.parametrize("all_fail", [False, True])
def test_no_token_or_session_is_in_an_error_or_its_frames(all_fail, continued):
    fake = FakeGcs()
    fake.token = "hidden-token"
    fake.uploads["hidden"] = None
    fake.faults.append(
        lambda request, serve: (
            LOST if is_chunk(request) or (all_fail and "upload_id" in request.url) else None
        )
    )
    data, journal = os.urandom(2 * QUANTUM), Notes()
    error = failed(fake.driver(Tokens("hidden-token"), **SMALL).put(resumable(data, journal)))
    if continued:
        assert "upload-1" in journal.token.upload_id
        error = failed(fake.driver(Tokens("hidden-token"), **SMALL).put(resumable(data, journal)))
    found = shown_by(error)
    assert len(found) > 20
    assert not any("hidden" in text or "upload-1" in text for text in found)
