"""What a copy and a move leave behind: no copy without its metadata, no source without a word (A4, B)."""

import asyncio
from dataclasses import replace

import pytest

from credstore.driver import CopyRequest
from credstore.errors import (
    StorageAccessDeniedError,
    StorageConflictError,
    StorageError,
    StorageIntegrityError,
    StorageUnavailableError,
)
from credstore.testing import count_requests
from tests.drivers.s3.fake import RESET, Answer, FakeS3, Seen, Stored, error, xml
from tests.drivers.s3.support import make_driver, put_request
from tests.drivers.s3.test_reasons import over


def none(_source, _sent):
    return {}


def the_sources(source, _sent):
    return dict(source.headers)


def without_digest(_source, sent):
    return {name: value for name, value in sent.items() if "digest" not in name and "sha" not in name}


class Losing(FakeS3):
    """What a copy has is not what was sent with it."""

    def __init__(self, what, version: str | None = None) -> None:
        super().__init__()
        self.what = what
        self.version = version

    def copy(self, seen):
        source = self.objects[seen.headers["x-amz-copy-source"].split("/", 2)[2]]
        given = super().copy(seen)
        copied = self.objects[seen.key]
        self.objects[seen.key] = replace(copied, headers=self.what(source, copied.headers))
        told = {"x-amz-version-id": self.version} if self.version else {}
        return Answer(given.status, given.body, {**given.headers, **told})


def made(server, verb, **settings):
    async def main():
        async with over(server, **settings) as store:
            await store.store("a", b"data", metadata={"x": "y"})
            try:
                return await getattr(store, verb)("a", "b")
            except StorageError as raised:
                return raised

    return asyncio.run(main())


@pytest.mark.parametrize("what", [none, the_sources, without_digest])
@pytest.mark.parametrize("verb", ["copy", "move"])
def test_a_copy_that_lost_its_write_id_or_digest_is_an_error(verb, what):
    server = Losing(what)
    raised = made(server, verb)
    assert isinstance(raised, StorageIntegrityError), raised
    assert (raised.code, raised.applied) == ("COPY_INCOMPLETE", "yes" if verb == "copy" else "maybe")
    assert server.objects["a"].body == b"data"
    assert server.sent("DELETE") == []


def test_what_was_copied_so_is_removed_where_its_version_is_known():
    server = Losing(none, "v2")
    raised = made(server, "copy")
    assert isinstance(raised, StorageIntegrityError)
    assert "removed" in raised.message
    assert [(seen.key, seen.query) for seen in server.sent("DELETE")] == [("b", {"versionId": "v2"})]


def copy_of(source, to="b", **fields):
    return CopyRequest(source=source, destination=to, write_id="f" * 32, **fields)


def with_source(check, server=None, **settings):
    async def main():
        fake = server or FakeS3()
        driver = make_driver(settings.pop("url", fake.url), transport=fake.transport(), **settings)
        await driver.put(put_request("a", b"data"))
        await check(fake, driver, await driver.head("a"))
        await driver.aclose()

    asyncio.run(main())


def test_a_server_that_keeps_it_is_looked_at_once():
    async def check(_fake, driver, source):
        for count in (2, 1, 1):
            with count_requests() as wire:
                await driver.copy(copy_of(source))
            assert wire.total == count

    with_source(check)


def test_a_cloud_is_not_looked_at():
    async def check(_fake, driver, source):
        with count_requests() as wire:
            await driver.copy(copy_of(source))
        assert wire.total == 1

    class Hosted(FakeS3):  # The bucket is in the host.
        def answer(self, seen):
            return super().answer(replace(seen, path="/bucket" + seen.path))

    with_source(check, Hosted(), url=None)


def test_a_copy_that_was_settled_by_its_write_id_has_it():
    async def check(fake, driver, source):
        fake.plan("PUT", RESET, applied=True)
        fake.plan("PUT", error(412, "PreconditionFailed"))
        await driver.copy(copy_of(source))
        with count_requests() as wire:
            await driver.copy(copy_of(source))
        assert wire.total == 1

    with_source(check)


def test_another_writers_object_says_nothing_of_ours():
    class Overwritten(FakeS3):
        def copy(self, seen):
            given = super().copy(seen)
            self.objects[seen.key] = self.theirs
            return given

    async def check(fake, driver, source):
        for headers, body in (({}, b"theirs"), ({"x-amz-meta-credstore-write-id": "0" * 32}, b"data")):
            fake.theirs = Stored(headers, body)
            with count_requests() as wire:
                await driver.copy(copy_of(source))
            assert wire.total == 2

    with_source(check, Overwritten())


def test_a_copy_that_somebody_deleted_was_made():
    async def check(fake, driver, source):
        fake.plan("HEAD", error(404, "NoSuchKey"))
        fake.plan("GET", error(404, "NoSuchKey"))
        assert (await driver.copy(copy_of(source))).size == 4

    with_source(check)


def test_a_copy_that_cannot_be_looked_at_was_made():
    async def check(fake, driver, source):
        for method in ("HEAD", "GET"):
            fake.plan(method, error(403, "AccessDenied"), times=9)
        with pytest.raises(StorageAccessDeniedError, match="metadata") as caught:
            await driver.copy(copy_of(source))
        assert caught.value.applied == "yes"

    with_source(check)


@pytest.mark.parametrize("keeps", [True, False])
def test_a_copy_in_parts_is_looked_at_too(keeps):
    def joined(fake):
        def apply(_seen: Seen) -> Answer:
            begun = next(seen for seen in reversed(fake.log) if "uploads" in seen.query)
            fake.apply(Seen("PUT", "/bucket/b", {}, begun.headers if keeps else {}, b"data"))
            return xml(f"<R><ETag>{fake.objects['b'].etag}</ETag></R>")

        return apply

    async def check(fake, driver, source):
        begun = xml("<InitiateMultipartUploadResult><UploadId>U</UploadId></InitiateMultipartUploadResult>")
        fake.plan("POST", begun, query="uploads", times=9)
        fake.plan("GET", error(404, "NoSuchTagSet"), query="tagging", times=9)
        fake.plan("POST", joined(fake), query="uploadId", times=9)
        if not keeps:
            with pytest.raises(StorageIntegrityError) as caught:
                await driver.copy(copy_of(source))
            assert (caught.value.code, caught.value.applied) == ("COPY_INCOMPLETE", "yes")
            return
        await driver.copy(copy_of(source))
        looked = len(fake.sent("HEAD"))
        await driver.copy(copy_of(source))
        assert len(fake.sent("HEAD")) == looked

    with_source(check, single_copy_limit=3)


# The only copy of an object, in place


@pytest.mark.parametrize("key", ["a", "x/y/" + "z" * 1018], ids=["short", "long"])
@pytest.mark.parametrize("what", [none, the_sources, without_digest])
@pytest.mark.parametrize("version", [None, "v2"])
def test_nothing_is_rewritten_in_place_where_metadata_is_lost(what, key, version):
    async def check(fake, driver, _source):
        await driver.put(put_request(key, b"data", system={"credstore-wrapped-key": "old"}))
        before = dict(fake.objects)
        fake.what = what
        source = await driver.head(key)
        with pytest.raises(StorageIntegrityError) as caught:
            await driver.copy(copy_of(source, key, system={"credstore-wrapped-key": "new"}))
        assert (caught.value.code, caught.value.applied) == ("COPY_INCOMPLETE", "no")
        assert fake.objects == before

    with_source(check, Losing(none, version))


def test_a_server_that_keeps_it_rewrites_in_place_after_one_trial():
    async def check(fake, driver, source):
        for operations in (["PUT", "HEAD", "DELETE", "PUT"], ["PUT"]):
            seen = len(fake.log)
            await driver.copy(copy_of(source, "a", system={"credstore-wrapped-key": "new"}))
            assert [request.method for request in fake.log[seen:]] == operations
            source = await driver.head("a")
            assert (dict(source.system), source.digest is not None) == (
                {"credstore-wrapped-key": "new"},
                True,
            )
        assert list(fake.objects) == ["a"]

    with_source(check)


def test_a_trial_that_is_cancelled_leaves_nothing():
    async def check(fake, driver, source):
        task = asyncio.ensure_future(
            driver.copy(copy_of(source, "a", system={"credstore-wrapped-key": "new"}))
        )
        for _ in range(200):
            await asyncio.sleep(0)
            if any(".credstore/" in key for key in fake.objects):
                break
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert list(fake.objects) == ["a"]

    with_source(check)


# The source of a move that its provider does not delete

GONE = [
    Answer(404, headers={"x-amz-request-id": "1"}),
    error(404, "NoSuchKey"),
    error(412, "PreconditionFailed"),
]


@pytest.mark.parametrize(
    ("refusal", "conditional"), [*((each, True) for each in GONE), (GONE[0], False), (GONE[1], False)]
)
def test_a_source_that_is_unchanged_was_neither_replaced_nor_deleted(refusal, conditional):
    server = FakeS3()
    server.plan("DELETE", refusal)
    raised = made(server, "move", capabilities="" if conditional else "-conditional_delete")
    assert isinstance(raised, StorageUnavailableError), raised
    assert (raised.code, raised.applied, raised.retryable) == ("NOT_DELETED", "maybe", True)
    assert {key: each.body for key, each in server.objects.items()} == {"a": b"data", "b": b"data"}


@pytest.mark.parametrize("refusal", GONE)
@pytest.mark.parametrize("newer", [None, b"newer"])
def test_a_source_that_was_replaced_or_removed_is_told_apart(refusal, newer):
    class Meanwhile(FakeS3):
        def answer(self, seen):
            if seen.method != "DELETE":
                return super().answer(seen)
            self.objects.pop("a")
            if newer is not None:
                self.objects["a"] = Stored({}, newer)
            return refusal

    server = Meanwhile()
    result = made(server, "move")
    if newer is None:
        assert not isinstance(result, StorageError)
    else:
        assert isinstance(result, StorageConflictError)
        assert "new version is kept" in result.message


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [*((each, StorageAccessDeniedError) for each in GONE[:2]), (GONE[2], StorageConflictError)],
)
def test_a_source_that_cannot_be_looked_at_is_not_said_to_be_replaced(refusal, kind):
    class Closed(FakeS3):
        def answer(self, seen):
            if self.sent("DELETE"):
                return error(403, "AccessDenied")
            given = super().answer(seen)
            return refusal if seen.method == "DELETE" else given

    assert isinstance(made(Closed(), "move"), kind)  # A 412 is an answer about the version.
