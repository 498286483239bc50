"""The last bytes of an object, and servers that answer in ways of their own; a delete of what is not there."""

from dataclasses import replace
from hashlib import sha256

import pytest

from credstore.driver import ReadOptions
from credstore.errors import (
    StorageBucketNotFoundError,
    StorageIntegrityError,
    StoragePreconditionFailedError,
)
from credstore.testing.harness import fetched, put
from tests.faults.messages import error
from tests.faults.rig import BROKEN, run
from tests.faults.script import Close, Reset, Respond

DATA = bytes(range(256)) * 40


def answering(rig, change):
    """The origin answers a GET with its own answer, changed."""

    def answer(request):
        return change(rig.origin.store._apply(request))

    rig.origin.plan("before-apply", Respond(answer), operation="GetObject")


def whole(rig):
    """As a server that knows no ranges."""

    def answer(request):
        headers = {name: value for name, value in request.headers.items() if name != "range"}
        return rig.origin.store._apply(replace(request, headers=headers))

    rig.origin.plan("before-apply", Respond(answer), operation="GetObject", times=None)


def test_the_last_bytes_are_one_request_for_them_alone():
    async def test(rig):
        await put(rig.store._session.driver, "k", DATA)
        before = rig.requests()
        assert await fetched(rig.store._session.driver, "k", ReadOptions(suffix=100)) == DATA[-100:]
        assert rig.requests() - before == 1
        assert rig.origin.log[-1].headers["range"] == "bytes=-100"

    run(test)


@pytest.mark.parametrize("count", [1, 100, 10_240, 20_000])
def test_a_server_that_sends_the_whole_object_is_cut(count):
    async def test(rig):
        await put(rig.store._session.driver, "k", DATA)
        whole(rig)
        assert await fetched(rig.store._session.driver, "k", ReadOptions(suffix=count)) == DATA[-count:]

    run(test)


@pytest.mark.parametrize("count", [100, 10_240, 20_000])
def test_a_range_with_the_status_of_the_whole_is_still_a_range(count):
    """rclone answers so: 200 with Content-Range."""

    async def test(rig):
        await put(rig.store._session.driver, "k", DATA)
        answering(rig, lambda found: replace(found, status=200))
        async with await rig.store._session.driver.get("k", ReadOptions(suffix=count)) as reader:
            assert reader.info.size == len(DATA)
            assert await reader.read() == DATA[-count:]

    run(test)


def test_such_a_range_is_one_for_a_beginning_and_end_too():
    async def test(rig):
        await put(rig.store._session.driver, "k", DATA)
        answering(rig, lambda found: replace(found, status=200))
        assert (
            await fetched(rig.store._session.driver, "k", ReadOptions(start=9000, end=9100))
            == DATA[9000:9100]
        )

    run(test)


@pytest.mark.parametrize(
    "told", ["bytes 0-99/10240", "bytes 10141-10239/10240", "bytes 10140-10238/10240", "x"]
)
def test_other_bytes_than_the_last_are_refused(told):
    async def test(rig):
        await put(rig.store._session.driver, "k", DATA)
        answering(rig, lambda found: found.with_headers(content_range=told))
        with pytest.raises(StorageIntegrityError) as caught:
            await fetched(rig.store._session.driver, "k", ReadOptions(suffix=100))
        assert caught.value.code == "WRONG_RANGE"

    run(test)


@pytest.mark.parametrize("status", [416, 200])
def test_the_last_bytes_of_an_empty_object_are_none(status):
    async def test(rig):
        await put(rig.store._session.driver, "k", b"")
        if status == 200:
            whole(rig)
        assert await fetched(rig.store._session.driver, "k", ReadOptions(suffix=100)) == b""
        assert rig.requests("GetObject") == (2 if status == 416 else 1)

    run(test)


def test_a_server_that_refuses_such_ranges_is_asked_for_the_whole():
    async def test(rig):
        await put(rig.store._session.driver, "k", DATA)
        refused = Respond(error(416, "InvalidRange"))
        rig.origin.plan("before-apply", refused, operation="GetObject")
        assert await fetched(rig.store._session.driver, "k", ReadOptions(suffix=100)) == DATA[-100:]

    run(test)


def test_what_is_refused_as_a_range_never_gives_more_than_was_asked_for():
    """The object was empty for the first request, and is not for the second."""

    async def test(rig):
        await put(rig.store._session.driver, "k", DATA)
        rig.origin.plan("before-apply", Respond(error(416, "InvalidRange")), operation="GetObject")
        assert await fetched(rig.store._session.driver, "k", ReadOptions(start=0, end=10)) == DATA[:10]

    run(test)


def test_the_last_bytes_go_on_after_a_broken_connection_from_the_same_version():
    async def test(rig):
        await put(rig.store._session.driver, "k", DATA)
        rig.origin.plan("response-body", Close(), operation="GetObject", offset=1000)
        assert await fetched(rig.store._session.driver, "k", ReadOptions(suffix=5000)) == DATA[-5000:]
        asked = [entry.headers for entry in rig.origin.sent("GetObject")]
        assert [each["range"] for each in asked] == ["bytes=-5000", "bytes=6240-10239"]
        assert "if-match" in asked[1]

    run(test)


def test_many_last_bytes_come_over_several_connections():
    data = DATA * 3000

    async def test(rig):
        store = rig.open(part_size=5 * 1024 * 1024, multipart_threshold=64 * 1024 * 1024)
        await put(store._session.driver, "k", data)
        found = await fetched(store._session.driver, "k", ReadOptions(suffix=25 * 1024 * 1024))
        assert sha256(found).digest() == sha256(data[-25 * 1024 * 1024 :]).digest()
        assert rig.requests("GetObject") == 5

    run(test)


def test_a_suffix_that_is_all_of_the_object_is_checked_by_its_digest():
    async def test(rig):
        await put(rig.store._session.driver, "k", DATA)
        answering(rig, lambda found: replace(found, body=found.body[:-1] + b"!"))
        with pytest.raises(StorageIntegrityError) as caught:
            await fetched(rig.store._session.driver, "k", ReadOptions(suffix=len(DATA)))
        assert caught.value.code == "DIGEST_MISMATCH"

    run(test)


@pytest.mark.parametrize("answer", [None, error(412, "PreconditionFailed")], ids=["404", "412"])
def test_a_delete_of_a_version_of_nothing_fails_whatever_the_server_calls_it(answer):
    """AWS says 404 NoSuchKey; RFC 9110 has 412."""

    async def test(rig):
        store = rig.open(aws=True)
        if answer is not None:
            rig.origin.plan("before-apply", Respond(answer), operation="DeleteObject")
        with pytest.raises(StoragePreconditionFailedError) as caught:
            await store.delete("nothing", if_match="x")
        assert (caught.value.applied, caught.value.code) == ("no", "PRECONDITION_FAILED")
        assert caught.value.status_code == (404 if answer is None else 412)
        assert not await store.delete("nothing")

    run(test)


@pytest.mark.parametrize("fault", [("after-apply", Reset()), ("after-apply", BROKEN)], ids=["reset", "500"])
def test_a_delete_of_a_version_whose_answer_was_lost_has_happened(fault):
    async def test(rig):
        store = rig.open(aws=True)
        etag = (await store.store("k", b"data")).etag
        rig.origin.plan(*fault, operation="DeleteObject")
        assert await store.delete("k", if_match=etag) is None
        assert rig.body() is None

    run(test)


def test_a_missing_bucket_is_none_of_an_absent_object():
    async def test(rig):
        store = rig.open(aws=True, bucket="missing")
        with pytest.raises(StorageBucketNotFoundError):
            await store.delete("nothing", if_match="x")
        with pytest.raises(StorageBucketNotFoundError):
            await store.list(delimiter="/")
        with pytest.raises(StorageBucketNotFoundError):
            async with store.open("nothing", suffix=5):
                pass

    run(test)
