"""Rows N of the fault table: what the network does to one request, and what must come of it."""

import asyncio

import pytest

from credstore.errors import (
    StorageAccessDeniedError,
    StorageAlreadyExistsError,
    StorageConnectionError,
    StorageTimeoutError,
    StorageUnavailableError,
)
from tests.faults.messages import Answer, error
from tests.faults.rig import BROKEN, Rows, raised, sign_by
from tests.faults.script import (
    Close,
    Hold,
    Reset,
    Respond,
    Rewrite,
    Slice,
    Stall,
    Trickle,
    Twice,
)

DATA = bytes(range(256)) * 2000
PARTS = {"multipart_threshold": 100_000, "part_size": 100_000}
LARGE = 8 * 1024 * 1024
rows = Rows()


@pytest.mark.parametrize("row", rows, ids=lambda row: row.name)
def test_row(row):
    row.run()


@rows("N01")
async def a_put_broken_off_within_its_body_is_sent_again(rig):
    rig.origin.plan("body", Reset(), offset=1000)
    await rig.store.store("k", DATA, if_absent=True)
    assert rig.body() == DATA
    assert [entry.applied for entry in rig.origin.sent("PutObject")] == [0, 1]


@rows("N01", **PARTS)
async def a_part_broken_off_within_its_body_is_sent_again(rig):
    rig.origin.plan("body", Reset(), operation="UploadPart", nth=2, offset=50_000)

    async def chunks():
        for start in range(0, len(DATA), 7000):
            yield DATA[start : start + 7000]

    await rig.store.store("k", chunks())
    assert rig.body() == DATA
    assert rig.requests("UploadPart") == 7
    assert rig.origin.open_uploads == 0


WRITES = {
    "put": ("PutObject", lambda store: store.store("k", DATA)),
    "create": ("PutObject", lambda store: store.store("k", DATA, if_absent=True)),
    "copy": ("CopyObject", lambda store: store.copy("source", "k")),
    "move": ("CopyObject", lambda store: store.move("source", "k")),
    "delete": ("DeleteObject", lambda store: store.delete("source")),
    "batch-delete": ("DeleteObjects", lambda store: store.batch_delete(["source"])),
}


def every_write(number, prefix, phase, action):
    """One row for each kind of write, on a fresh connection and on one that was used before."""
    for kind, (operation, write) in WRITES.items():
        for reused in (False, True):

            async def test(rig, operation=operation, write=write, kind=kind, reused=reused):
                if not reused:
                    rig.store = rig.open()
                    await rig.stores[0].store("source", DATA)
                else:
                    await rig.store.store("source", DATA)
                before = rig.origin.connections
                rig.origin.plan(phase, action, operation=operation)
                sent = len(rig.origin.log)
                await write(rig.store)
                assert (rig.origin.log[sent].connection > before) is not reused
                deleted = kind in {"move", "delete", "batch-delete"}
                assert ("source" in rig.objects) is not deleted
                if kind not in {"delete", "batch-delete"}:
                    assert rig.body() == DATA
                assert rig.requests(operation) <= 4 + (operation == "PutObject")
                if kind == "batch-delete":
                    assert (await rig.store.batch_delete(["source"])).failed == {}

            test.__name__ = f"{prefix}_{kind}" + ("_on_a_used_connection" if reused else "")
            rows(number)(test)


every_write("N02", "an_applied_write_whose_answer_was_lost_succeeds", "after-apply", Reset())
every_write("N11", "an_applied_write_that_was_answered_500_succeeds", "after-apply", BROKEN)


@rows("N02", aws=True)
async def a_replace_whose_answer_was_lost_succeeds(rig):
    first = await rig.store.store("k", b"first")
    rig.origin.plan("after-apply", Reset(), operation="PutObject")
    await rig.store.store("k", DATA, if_match=first.etag)
    assert rig.body() == DATA


@rows("N04")
async def a_body_that_was_reset_is_continued_from_the_same_version(rig):
    await rig.store.store("k", DATA)
    rig.origin.plan("response-body", Reset(), offset=100_000)
    rig.origin.plan("response-body", Close(), nth=2, offset=200_000)
    assert await rig.store.retrieve("k") == DATA
    _, *more = rig.origin.sent("GetObject")
    assert len(more) == 2
    assert {entry.headers["if-match"] for entry in more} == {rig.objects["k"].quoted}
    assert all(entry.headers["range"].startswith("bytes=") for entry in more)


@rows("N04")
async def a_body_continued_after_its_object_was_replaced_is_an_error(rig):
    await rig.store.store("k", DATA)
    gate = asyncio.Event()
    rig.origin.plan("response-body", Reset(), offset=100_000)
    second = rig.origin.plan("head", Hold(gate), operation="GetObject", nth=2)
    reading = asyncio.ensure_future(raised(rig.store.retrieve("k")))
    await second.reached.wait()
    await rig.open().store("k", DATA[::-1])
    gate.set()
    assert (await reading).code == "REPLACED"


@rows("N04", **PARTS)
async def parts_read_over_several_connections_are_of_one_version(rig):
    await rig.store.store("k", DATA)
    gate = asyncio.Event()
    part = rig.origin.plan("head", Hold(gate), operation="GetObject", nth=2)
    reading = asyncio.ensure_future(raised(rig.store.retrieve("k")))
    await part.reached.wait()
    await rig.open().store("k", DATA[::-1])
    gate.set()
    assert (await reading).code == "REPLACED"


@rows("N05")
async def a_body_that_stays_short_is_an_error(rig):
    await rig.store.store("k", DATA)
    rig.origin.plan("response-body", Close(), offset=100_000)
    rig.origin.plan("response-body", Close(), nth=2, times=None)
    failed = await raised(rig.store.retrieve("k"))
    assert isinstance(failed, StorageConnectionError)
    assert rig.requests("GetObject") <= 5


@rows("N05")
async def a_body_without_framing_that_is_cut_is_never_taken_for_all(rig):
    await rig.store.store("k", DATA)
    rig.origin.plan("response-head", Rewrite(lambda answer: answer.with_headers(content_length=None)))
    rig.origin.plan("response-body", Close(), offset=100_000, operation="GetObject")
    assert (await raised(rig.store.retrieve("k"))).code == "DIGEST_MISMATCH"


@rows("N08", idle=0.15, max_connections=1)
async def a_body_that_trickles_in_is_given_up(rig):
    await rig.store.store("k", DATA)
    rig.origin.plan("response-body", Trickle(0.01), times=None)
    failed = await raised(rig.store.retrieve("k"))
    assert isinstance(failed, StorageTimeoutError)
    assert await rig.store.exists("k")


@rows("N08", idle=0.15, max_connections=1, timeout=0.5, max_retries=0)
async def a_listing_that_trickles_in_is_given_up(rig):
    await rig.store.store("k", DATA)
    rig.origin.plan("response-body", Trickle(0.01), times=None, operation="ListObjectsV2")
    failed = await raised(rig.store.list())
    assert (type(failed), failed.applied) == (StorageTimeoutError, "no")
    assert await rig.store.exists("k")


@rows("N08", idle=0.15, max_connections=1, max_retries=0)
async def a_body_that_is_not_taken_is_given_up(rig):
    rig.origin.plan("body", Stall(), offset=1)
    failed = await raised(rig.store.store("k", bytes(LARGE)))
    assert (type(failed), failed.applied) == (StorageTimeoutError, "maybe")
    assert not await rig.store.exists("k")


@rows("N09", idle=0.1, max_connections=1, max_retries=0)
async def a_write_that_is_never_answered_may_have_happened(rig):
    rig.origin.plan("before-apply", Stall())
    failed = await raised(rig.store.store("k", DATA))
    assert (type(failed), failed.applied, failed.retryable) == (StorageTimeoutError, "maybe", True)
    rig.origin.plan("after-apply", Stall())
    await rig.store.store("k", DATA)
    rig.origin.plan("before-apply", Stall(), operation="GetObject")
    failed = await raised(rig.store.retrieve("k"))
    assert (type(failed), failed.applied) == (StorageTimeoutError, "no")


@rows("N09", idle=0.1, max_connections=1)
async def a_connection_that_is_accepted_and_forgotten_is_given_up(rig):
    rig.origin.plan("accept", Stall())
    await rig.store.store("k", DATA)
    assert rig.requests("PutObject") == 1
    assert rig.body() == DATA


@rows("N14")
async def a_request_delivered_twice_leaves_what_one_leaves(rig):
    rig.origin.plan("before-apply", Twice(), times=None)
    await rig.store.store("k", DATA)
    await rig.store.store("other", DATA)
    await rig.store.copy("k", "copy")
    await rig.store.delete("other")
    await rig.store.batch_delete(["other", "copy"])
    assert {key: stored.body for key, stored in rig.objects.items()} == {"k": DATA}


@rows("N14", **PARTS)
async def an_upload_completed_twice_succeeds(rig):
    rig.origin.plan("before-apply", Twice(), operation="UploadPart", nth=2)
    rig.origin.plan("before-apply", Twice(), operation="CompleteMultipartUpload")
    await rig.store.store("k", DATA)
    assert rig.body() == DATA
    assert rig.origin.open_uploads == 0


@rows("N14")
async def a_creation_or_replacement_delivered_twice_succeeds(rig):
    rig.origin.plan("before-apply", Twice(), method="PUT", times=2)
    stored = await rig.store.store("k", DATA, if_absent=True)
    assert rig.body() == DATA
    await rig.store.store("k", DATA + b"!", if_match=stored.etag)
    assert rig.body() == DATA + b"!"
    failed = await raised(rig.store.store("k", DATA, if_absent=True))
    assert (type(failed), failed.applied) == (StorageAlreadyExistsError, "no")


ERROR_IN_SUCCESS = Respond(Answer(200, error(500, "InternalError").body, {"content-type": "application/xml"}))


@rows("N15")
async def an_error_inside_the_success_of_a_copy_is_retried(rig):
    await rig.store.store("source", DATA)
    rig.origin.plan("before-apply", ERROR_IN_SUCCESS, operation="CopyObject")
    rig.origin.plan("after-apply", ERROR_IN_SUCCESS, operation="CopyObject", nth=1)
    await rig.store.copy("source", "k")
    assert rig.body() == DATA
    assert rig.requests("CopyObject") == 3


@rows("N15", **PARTS)
async def an_error_inside_the_success_of_a_completion_is_retried(rig):
    rig.origin.plan("before-apply", ERROR_IN_SUCCESS, operation="CompleteMultipartUpload", times=2)
    await rig.store.store("k", DATA)
    assert rig.body() == DATA
    assert rig.requests("CompleteMultipartUpload") == 3


@rows("N15", **PARTS)
async def an_error_inside_every_success_of_a_completion_is_unclear(rig):
    rig.origin.plan("before-apply", ERROR_IN_SUCCESS, operation="CompleteMultipartUpload", times=None)
    failed = await raised(rig.store.store("k", DATA))
    assert (type(failed), failed.applied) == (StorageUnavailableError, "maybe")
    assert rig.requests("CompleteMultipartUpload") == 4


@rows("N15", **PARTS)
async def blanks_that_keep_an_answer_alive_are_read_over(rig):
    def padded(answer):
        body = b" \n" * 300 + answer.body
        return Answer(answer.status, body, {**answer.headers, "content-length": str(len(body))})

    rig.origin.plan("response-head", Rewrite(padded), operation="CompleteMultipartUpload")
    rig.origin.plan("response-body", Slice(50), operation="CompleteMultipartUpload")
    rig.origin.plan("response-head", Rewrite(padded), operation="CopyObject")
    await rig.store.store("k", DATA)
    await rig.store.copy("k", "copy")
    assert rig.body("copy") == DATA


@rows("N17", **PARTS)
async def a_completion_whose_answer_was_lost_succeeds(rig):
    rig.origin.plan("after-apply", Reset(), operation="CompleteMultipartUpload")
    await rig.store.store("k", DATA)
    assert rig.body() == DATA
    assert [entry.status for entry in rig.origin.sent("CompleteMultipartUpload")] == [None, 404]
    assert rig.requests("HeadObject") == 1
    assert rig.requests("CreateMultipartUpload") == 1


@rows("N17", aws=True, **PARTS)
async def a_completion_that_created_and_lost_its_answer_succeeds(rig):
    rig.origin.plan("after-apply", BROKEN, operation="CompleteMultipartUpload")
    await rig.store.store("k", DATA, if_absent=True)
    assert rig.body() == DATA


@rows("N12")
async def a_creation_answered_500_is_no_conflict_with_itself(rig):
    rig.origin.plan("after-apply", BROKEN, times=2)
    await rig.store.store("k", DATA, if_absent=True)
    assert rig.body() == DATA
    assert [entry.applied for entry in rig.origin.sent("PutObject")] == [1, 0, 0][: rig.requests("PutObject")]


@rows("N12")
async def a_creation_answered_500_that_another_writer_won_is_one(rig):
    gate = asyncio.Event()
    rig.origin.plan("before-apply", BROKEN)
    second = rig.origin.plan("head", Hold(gate), operation="PutObject", nth=2)
    losing = asyncio.ensure_future(raised(rig.store.store("k", DATA, if_absent=True)))
    await second.reached.wait()
    second.times = 1
    await rig.open().store("k", b"theirs", if_absent=True)
    gate.set()
    failed = await losing
    assert (type(failed), failed.applied) == (StorageAlreadyExistsError, "maybe")
    assert rig.body() == b"theirs"


@rows("N12")
async def a_creation_that_was_replaced_before_it_was_looked_up_may_have_been_there(rig):
    rig.origin.plan("after-apply", BROKEN)
    gate = asyncio.Event()
    second = rig.origin.plan("head", Hold(gate), operation="PutObject", nth=2)
    losing = asyncio.ensure_future(raised(rig.store.store("k", DATA, if_absent=True)))
    await second.reached.wait()
    assert rig.body() == DATA
    second.times = 1
    await rig.open().store("k", b"theirs")
    gate.set()
    failed = await losing
    assert (type(failed), failed.applied) == (StorageAlreadyExistsError, "maybe")
    assert rig.body() == b"theirs"


@rows("N23")
async def no_leave_is_asked_before_a_body_is_sent(rig):
    await rig.store.store("k", bytes(LARGE))
    assert not any("expect" in entry.headers for entry in rig.origin.log)


@rows("N23")
async def an_answer_before_the_body_was_read_is_heard(rig):
    rig.origin.plan("head", Respond(error(403, "AccessDenied")), times=2)
    for size in (1000, LARGE):
        failed = await raised(rig.store.store("k", bytes(size)))
        assert (type(failed), failed.applied) == (StorageAccessDeniedError, "no")
    assert rig.requests() == 2


@rows("N25", aws=True, **PARTS)
async def credentials_that_expire_within_an_upload_are_renewed_once(rig):
    await renew_within_an_upload(rig)


async def renew_within_an_upload(rig):
    from tests.faults.renewal import Renewing

    source = Renewing(rig.origin)
    sign_by(rig.store, source)
    gate = asyncio.Event()
    parts = [rig.origin.plan("after-apply", Hold(gate), operation="UploadPart", nth=n) for n in (1, 2, 3, 4)]
    storing = asyncio.ensure_future(rig.store.store("k", DATA))
    for part in parts:
        await part.reached.wait()
    source.expire()
    gate.set()
    await storing
    assert rig.body() == DATA
    assert source.renewals == 1
    assert rig.origin.open_uploads == 0


@rows("N27")
async def a_conditional_conflict_is_tried_again(rig):
    rig.origin.plan("before-apply", Respond(error(409, "ConditionalRequestConflict")), times=2)
    await rig.store.store("k", DATA, if_absent=True)
    assert rig.body() == DATA
    assert rig.requests() == 3


@rows("N27", aws=True, **PARTS)
async def a_conflict_at_completion_begins_the_upload_anew(rig):
    conflict = Respond(error(409, "ConditionalRequestConflict"))
    rig.origin.plan("before-apply", conflict, operation="CompleteMultipartUpload", times=4)
    await rig.store.store("k", DATA, if_absent=True)
    assert rig.body() == DATA
    assert rig.requests("CreateMultipartUpload") == 2
    assert rig.origin.open_uploads == 0


@rows("N27")
async def a_replace_of_what_is_absent_fails_as_its_condition_does(rig):
    failed = await raised(rig.store.store("k", DATA, if_match="0" * 32))
    assert (failed.code, failed.status_code, failed.applied) == ("PRECONDITION_FAILED", 404, "no")
