"""Success, too, is said only by a response that can say so: not by a web server that accepts everything."""

import asyncio
from datetime import UTC, datetime

import pytest

from credstore.driver import CopyRequest
from credstore.driver.values import ObjectInfo
from credstore.drivers.s3.driver import S3Driver
from credstore.errors import (
    StorageAccessDeniedError,
    StorageBucketNotFoundError,
    StorageConfigurationError,
    StorageError,
    StorageTimeoutError,
    StorageUnsupportedError,
)
from credstore.testing import ScriptedTransport, count_requests
from tests.drivers.s3.fake import Answer, FakeS3, Stored, error, xml
from tests.drivers.s3.support import make_driver, minio_config, put_request
from tests.drivers.s3.test_reasons import VERBS, outcome, over

PAGE = b"<!doctype html><title>Welcome</title>"
TAGGED = {"ETag": 'W/"25-abc"', "Content-Type": "text/html"}
LISTED = xml("<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")


class Anything(FakeS3):
    """A web server that gives everybody the same."""

    def __init__(self, given: Answer) -> None:
        super().__init__()
        self.given = given

    def apply(self, seen):
        return self.given


class Bare(FakeS3):
    """A store whose successes have no header of S3's, and which keeps no metadata."""

    def apply(self, seen):
        given = super().apply(seen)
        if "list-type" in seen.query:
            return LISTED
        kept = {name: value for name, value in given.headers.items() if not name.startswith("x-amz-")}
        return Answer(given.status, given.body, kept)


ANYTHING = [
    Answer(200, PAGE, TAGGED),
    Answer(200, PAGE, {"ETag": '"25-abc"'}),
    Answer(200, b'{"error":"log in"}', {"ETag": '"abc"', "Content-Type": "application/json"}),
    Answer(200, b"", TAGGED),
    Answer(200),
    Answer(204),
    Answer(200, b"<feed/>", {"ETag": '"abc"', "Content-Type": "application/xml"}),
    Answer(200, b"", {"ETag": '"abc"', "x-amz-cf-id": "1"}),
    Answer(202, PAGE, {"Content-Type": "text/html"}),
    Answer(202, b"accepted"),
    Answer(202),
]
FAR = datetime(2037, 1, 2, tzinfo=UTC)
SOURCE = ObjectInfo(key="k", size=5, etag="e", write_id="1" * 32)


async def listed_uploads(driver) -> list:
    return [each async for each in driver.list_uploads()]


DRIVER_VERBS = {
    "put": lambda driver: driver.put(put_request("k", b"1")),
    "put in parts": lambda driver: driver.put(put_request("k", b"1" * 40)),
    "delete": lambda driver: driver.delete("k"),
    "delete one version": lambda driver: driver.delete("k", version_id="v"),
    "delete_many": lambda driver: driver.delete_many(["k"]),
    "delete_versions": lambda driver: driver.delete_versions([("k", "v")]),
    "list": lambda driver: driver.list(),
    "list_versions": lambda driver: driver.list_versions("k"),
    "keeps_versions": lambda driver: driver.keeps_versions(),
    "get_tags": lambda driver: driver.get_tags("k"),
    "put_tags": lambda driver: driver.put_tags("k", {"a": "b"}),
    "delete_tags": lambda driver: driver.put_tags("k", {}),
    "retain": lambda driver: driver.set_retention("k", FAR, "compliance"),
    "remove retention": lambda driver: driver.set_retention("k", None, "governance"),
    "hold": lambda driver: driver.set_legal_hold("k", held=True),
    "release": lambda driver: driver.set_legal_hold("k", held=False),
    "get_retention": lambda driver: driver.get_retention("k"),
    "copy": lambda driver: driver.copy(CopyRequest(source=SOURCE, destination="c", write_id="0" * 32)),
    "list_uploads": listed_uploads,
    "locate": lambda driver: driver.locate(),
    "abort_upload": lambda driver: driver.abort_upload("k", "U1"),
    "ping": lambda driver: driver.ping(),
    "head": lambda driver: driver.head("k"),
    "get": lambda driver: driver.get("k"),
}
LOCKS = {"retain", "remove retention", "hold", "release"}
CHANGES = {"put", "delete", "put_tags", "delete_tags", "abort_upload", "copy", *LOCKS}
BARE = ["delete", "put_tags", "delete_tags", "abort_upload", *sorted(LOCKS)]
"""Changes whose success has no body."""


def driver_of(server, **settings) -> S3Driver:
    small = {} if "endpoint" in settings else {"multipart_threshold": 10, "part_size": 10}
    settings = {"max_retries": 0, **small, **settings}
    return make_driver(
        settings.pop("endpoint", server.url), transport=ScriptedTransport(server.respond), **settings
    )


def ending(server, verb, **settings):
    async def main():
        driver = driver_of(server, **settings)
        try:
            return await verb(driver)
        except StorageError as raised:
            return raised
        finally:
            await driver.aclose()

    return asyncio.run(main())


@pytest.mark.parametrize("given", ANYTHING)
@pytest.mark.parametrize("name", DRIVER_VERBS)
def test_a_web_server_that_accepts_everything_does_nothing_that_a_store_does(name, given):
    raised = ending(Anything(given), DRIVER_VERBS[name])
    if isinstance(raised, dict):  # What became of each key.
        (raised,) = raised.values()
    assert isinstance(raised, StorageError), raised
    assert raised.code in {"NOT_S3", "NO_OUTCOME"}
    if name in CHANGES:
        assert raised.applied == "maybe"


@pytest.mark.parametrize(
    "given",
    [
        Answer(200, PAGE, TAGGED),
        Answer(200, b'{"error":"log in"}', {"ETag": '"abc"'}),
        Answer(200, b"<feed/>"),
        Answer(202),
        Answer(202, b"accepted"),
    ],
)
@pytest.mark.parametrize("name", BARE)
def test_what_is_not_s3s_is_not_believed_at_the_clouds_own_host_either(name, given):
    raised = ending(Anything(given), DRIVER_VERBS[name], endpoint=None, region="us-east-1")
    assert isinstance(raised, StorageConfigurationError), raised
    assert (raised.code, raised.applied) == ("NOT_S3", "maybe")


@pytest.mark.parametrize("status", [405, 501])
@pytest.mark.parametrize("name", [*BARE, "put", "get_tags", "get_retention", "head", "get", "copy"])
def test_a_bare_refusal_is_one_for_every_verb(name, status):
    raised = ending(Anything(Answer(status)), DRIVER_VERBS[name])
    assert isinstance(raised, StorageUnsupportedError), raised
    assert (raised.applied, raised.retryable) == ("no", False)


@pytest.mark.parametrize("given", ANYTHING)
@pytest.mark.parametrize("name", VERBS)
def test_no_page_is_an_object(name, given):
    raised = outcome(Anything(given), VERBS[name])
    assert isinstance(raised, StorageConfigurationError), raised
    assert (raised.code, raised.applied) == ("NOT_S3", "no")


def test_a_bare_store_is_asked_once_whether_it_is_one():
    async def main():
        server = Bare()
        server.objects["k"] = Stored({"content-type": "text/html"}, PAGE)
        driver = driver_of(server)
        with count_requests() as wire:
            async with await driver.get("k") as reader:
                assert await reader.read() == PAGE
        assert wire.by_operation == {"GetObject": 2, "ListObjectsV2": 1}
        for verb, count in ((driver.head, 1), (driver.get, 2), (driver.delete, 3)):
            with count_requests() as wire:
                await verb("k")
            assert wire.total == 1, count
        await driver.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("verb", ["head", "get", "delete"])
def test_whoever_may_not_list_may_read_and_delete(verb):
    class Unlisted(Bare):
        def apply(self, seen):
            return error(403, "AccessDenied") if "list-type" in seen.query else super().apply(seen)

    server = Unlisted()
    server.objects["k"] = Stored({}, b"1")
    assert not isinstance(ending(server, DRIVER_VERBS[verb]), StorageError)


@pytest.mark.parametrize(
    ("refusal", "kind", "code"),
    [
        (Answer(504), StorageError, "UNAVAILABLE"),
        (Answer(408), StorageTimeoutError, "TIMEOUT"),
        (Answer(403, b"<html>a firewall</html>", {"Content-Type": "text/html"}), StorageError, "NOT_S3"),
        (Answer(404), StorageError, "NOT_S3"),
    ],
)
@pytest.mark.parametrize(("verb", "applied"), [("head", "no"), ("delete", "maybe")])
def test_what_keeps_a_server_from_showing_what_it_is_is_told(verb, applied, refusal, kind, code):
    server = Anything(Answer(200, b"", {"ETag": '"abc"'}))
    server.plan("GET", refusal, query="list-type")
    raised = ending(server, DRIVER_VERBS[verb])
    assert isinstance(raised, kind)
    assert (raised.code, raised.applied) == (code, applied)


@pytest.mark.parametrize("name", ["put", "head", "get", "delete"])
def test_a_server_that_names_its_requests_is_not_asked(name):
    async def main():
        server = FakeS3()
        server.objects["k"] = Stored({}, b"1")
        driver = driver_of(server)
        with count_requests() as wire:
            await DRIVER_VERBS[name](driver)
        assert wire.total == 1
        await driver.aclose()

    asyncio.run(main())


def test_a_put_whose_etag_is_the_hash_of_its_bytes_is_believed():
    async def main():
        server = Bare()
        driver = driver_of(server)
        for _ in range(2):
            with count_requests() as wire:
                await driver.put(put_request("k", b"1"))
            assert wire.total == 1
        await driver.aclose()

    asyncio.run(main())


def test_a_put_of_a_bare_store_with_etags_of_its_own_is_looked_up_once():
    class Own(Bare):
        def apply(self, seen):
            given = super().apply(seen)
            return Answer(given.status, given.body, {**given.headers, "ETag": '"1"'})

    async def main():
        driver = driver_of(Own())
        for count in (3, 1):  # The look, and whether it is a store that was looked at.
            with count_requests() as wire:
                assert (await driver.put(put_request("k", b"1"))).etag == "1"
            assert wire.total == count
        await driver.aclose()

    asyncio.run(main())


def test_a_put_that_comes_back_with_its_write_id_needs_no_listing():
    class Keeping(FakeS3):
        def apply(self, seen):
            given = super().apply(seen)
            if "list-type" in seen.query:
                return Answer(200, PAGE, TAGGED)
            return Answer(201) if seen.method == "PUT" else given

    assert not isinstance(ending(Keeping(), DRIVER_VERBS["put"]), StorageError)


def test_an_upload_in_a_bucket_that_is_not_there_was_not_aborted():
    server = Anything(error(404, "NoSuchBucket"))
    assert isinstance(ending(server, DRIVER_VERBS["abort_upload"]), StorageBucketNotFoundError)
    assert ending(Anything(error(404, "NoSuchUpload")), DRIVER_VERBS["abort_upload"]) is None


# A HEAD that is refused where a GET gives


class NoHead(FakeS3):
    """Refuses every HEAD."""

    def __init__(self, refusal: Answer, *, ranges: bool = True) -> None:
        super().__init__()
        self.refusal = refusal
        self.ranges = ranges

    def apply(self, seen):
        if seen.method == "HEAD":
            return self.refusal
        if not self.ranges:
            seen.headers.pop("range", None)
        return super().apply(seen)


NAMED = {"x-amz-request-id": "1"}


@pytest.mark.parametrize("data", [b"", b"1", b"12345"])
@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("headers", [NAMED, {}])
@pytest.mark.parametrize("status", [400, 401, 403, 405, 501])
def test_what_a_get_gives_is_there_whatever_refuses_a_head(status, headers, ranges, data):
    async def main():
        server = NoHead(Answer(status, headers=headers), ranges=ranges)
        async with over(server) as store:
            await store.store("k", data, metadata={"a": "b"})
            assert await store.exists("k")
            item = await store.get_metadata("k")
            assert (item.size, item.metadata, item.digest is not None) == (len(data), {"a": "b"}, True)
            assert await store.retrieve("k") == data
            assert await store.exists("other") is False
            await store.copy("k", "other")
            assert await store.retrieve("other") == data

    asyncio.run(main())


def test_a_head_refused_for_a_reason_ends_with_it_where_the_get_has_the_same():
    server = NoHead(Answer(400, headers=NAMED))
    server.plan("GET", error(403, "AccessDenied"), times=9)
    assert isinstance(outcome(server, VERBS["exists"]), StorageAccessDeniedError)


def test_a_server_without_head_and_without_get_has_neither():
    server = NoHead(Answer(405, headers=NAMED))
    server.plan("GET", error(405, "MethodNotAllowed"), times=9)
    assert isinstance(outcome(server, VERBS["exists"]), StorageUnsupportedError)


def test_what_a_get_says_of_a_page_is_no_object():
    class Site(Anything):
        def apply(self, seen):
            return Answer(405) if seen.method == "HEAD" else super().apply(seen)

    raised = outcome(Site(Answer(200, PAGE, TAGGED)), VERBS["exists"])
    assert isinstance(raised, StorageConfigurationError)
    assert raised.code == "NOT_S3"


def test_tags_of_a_server_that_is_not_asked_for_them_are_its_own():
    server = FakeS3()
    server.objects["k"] = Stored({}, b"1")

    async def main():
        driver = S3Driver(minio_config(server.url), transport=server.transport())
        server.plan("PUT", Answer(200, headers=NAMED), query="tagging")
        with count_requests() as wire:
            await driver.put_tags("k", {"a": "b"})
        assert wire.total == 1
        await driver.aclose()

    asyncio.run(main())
