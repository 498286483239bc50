"""Every verb that uses HEAD ends as GET does: a refusal without a body is asked for its reason (faults C0, C1)."""

import asyncio
from dataclasses import replace

import pytest

from credstore.drivers.s3.driver import S3Driver
from credstore.encryption import Secret
from credstore.errors import (
    StorageAuthenticationError,
    StorageBucketNotFoundError,
    StorageConfigurationError,
    StorageError,
    StorageInvalidKeyError,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StorageObjectNotFoundError,
)
from credstore.provider.provider import StorageProvider
from credstore.testing import ScriptedTransport
from credstore.wire.aws.credentials import Credentials, CredentialSource
from tests.drivers.s3.fake import Answer, FakeS3, Stored, error
from tests.drivers.s3.support import make_driver, minio_config

HTML = {"Content-Type": "text/html"}


async def whole(store):
    async with store.open("k") as reader:
        return await reader.read()


VERBS = {
    "retrieve": lambda store: store.retrieve("k"),
    "open": whole,
    "exists": lambda store: store.exists("k"),
    "get_metadata": lambda store: store.get_metadata("k"),
    "get_signed_url": lambda store: store.get_signed_url("k"),
    "copy": lambda store: store.copy("k", "other"),
    "move": lambda store: store.move("k", "other"),
}


class Server(FakeS3):
    """Refuses everything in one way; a HEAD without a body, as HTTP has it."""

    def __init__(self, refusal: Answer) -> None:
        super().__init__()
        self.refusal = refusal

    def apply(self, seen):
        return replace(self.refusal, body=b"") if seen.method == "HEAD" else self.refusal


def over(server: FakeS3, **settings) -> StorageProvider:
    driver = make_driver(server.url, transport=ScriptedTransport(server.respond), max_retries=0, **settings)
    return StorageProvider(driver, driver._bucket.config)


def outcome(server: FakeS3, verb, **settings) -> StorageError | object:
    async def main():
        async with over(server, **settings) as store:
            try:
                return await verb(store)
            except StorageError as raised:
                return raised

    return asyncio.run(main())


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
@pytest.mark.parametrize(
    ("refusal", "kind", "code"),
    [
        (error(400, "ExpiredToken"), StorageAuthenticationError, "CREDENTIALS_EXPIRED"),
        (error(403, "RequestTimeTooSkewed"), StorageAuthenticationError, "CLOCK_SKEW"),
        (error(403, "InvalidAccessKeyId"), StorageAuthenticationError, "AUTHENTICATION_FAILED"),
        (error(403, "SignatureDoesNotMatch"), StorageAuthenticationError, "AUTHENTICATION_FAILED"),
        (error(404, "NoSuchBucket"), StorageBucketNotFoundError, "BUCKET_NOT_FOUND"),
        (error(301, "PermanentRedirect"), StorageConfigurationError, "WRONG_REGION"),
        (
            error(400, "AuthorizationHeaderMalformed", Region="eu-west-9"),
            StorageConfigurationError,
            "WRONG_REGION",
        ),
        (Answer(404, b"<html>not here</html>", HTML), StorageConfigurationError, "NOT_S3"),
        (Answer(404, b"404 page not found"), StorageConfigurationError, "NOT_S3"),
        (Answer(404, b"404 page not found", {"x-amz-request-id": "1"}), StorageConfigurationError, "NOT_S3"),
        (Answer(404), StorageConfigurationError, "NOT_S3"),
        (Answer(302, headers={"Location": "/login"}), StorageConfigurationError, "NOT_S3"),
        (
            Answer(303, b"<html>see</html>", HTML | {"x-amz-request-id": "1"}),
            StorageConfigurationError,
            "NOT_S3",
        ),
        (Answer(511, b"log in first"), StorageConfigurationError, "NOT_S3"),
        (Answer(400), StorageInvalidRequestError, "INVALID_REQUEST"),
        (Answer(400, b'{"message": "Bad Request"}'), StorageInvalidRequestError, "INVALID_REQUEST"),
        (Answer(301, b"<html>moved</html>", HTML), StorageConfigurationError, "NOT_S3"),
        (Answer(403, b"<html>a firewall</html>", HTML), StorageConfigurationError, "NOT_S3"),
        (Answer(404, headers={"x-amz-request-id": "1"}), StorageBucketNotFoundError, "BUCKET_NOT_FOUND"),
    ],
)
def test_a_refusal_ends_the_same_whichever_verb_comes_first(verb, refusal, kind, code):
    raised = outcome(Server(refusal), verb)
    assert isinstance(raised, kind), raised
    assert (raised.code, raised.applied) == (code, "no")


@pytest.mark.parametrize("name", ["exists", "get_metadata", "retrieve"])
def test_an_object_that_is_absent_is_no_error(name):
    for refusal in (error(404, "NoSuchKey"), error(404, "NotFound")):
        assert not outcome(Server(refusal), VERBS[name])


@pytest.mark.parametrize("name", ["get_signed_url", "copy", "move", "open"])
def test_an_absent_object_is_named_where_one_is_needed(name):
    assert isinstance(outcome(Server(error(404, "NoSuchKey")), VERBS[name]), StorageObjectNotFoundError)


def test_absent_is_not_asked_twice_of_a_server_that_is_known():
    async def main():
        server = FakeS3()
        async with over(server) as store:
            assert not await store.exists("k")  # This server's 404 of a HEAD shows that it is S3.
            assert [seen.method for seen in server.log] == ["HEAD", "GET"]
            assert not await store.exists("k")
            assert [seen.method for seen in server.log] == ["HEAD", "GET", "HEAD"]

    asyncio.run(main())


def test_a_page_that_stands_in_for_a_known_server_is_not_absent():
    async def main():
        server = FakeS3()
        async with over(server) as store:
            await store.store("k", b"1")
            for method in ("HEAD", "GET"):
                server.plan(method, Answer(404, b"" if method == "HEAD" else b"default backend - 404"))
            with pytest.raises(StorageConfigurationError) as caught:
                await store.exists("k")
            assert caught.value.code == "NOT_S3"
            assert await store.exists("k")

    asyncio.run(main())


@pytest.mark.parametrize("refusal", [Answer(504), error(503, "SlowDown"), error(403, "ExpiredToken")])
def test_what_keeps_the_reason_away_is_told_in_its_place(refusal):
    server = Server(Answer(404))
    server.plan("GET", refusal, times=2)
    raised = outcome(server, VERBS["exists"])
    assert isinstance(raised, StorageError)
    assert raised.code != "NOT_FOUND"
    assert raised.status_code == refusal.status


def test_a_bucket_that_may_not_be_listed_may_be_there():
    server = Server(Answer(404, headers={"x-amz-request-id": "1"}))
    server.plan("GET", error(403, "AccessDenied"), query="list-type")
    assert outcome(server, VERBS["exists"]) is False


def test_a_head_refused_once_is_sent_again_when_the_reason_is_gone():
    async def main():
        server = FakeS3()
        async with over(server) as store:
            await store.store("k", b"1")
            server.plan("HEAD", Answer(403, headers={"x-amz-request-id": "1"}))
            assert await store.exists("k")
            assert [seen.method for seen in server.log] == ["PUT", "HEAD", "GET", "HEAD"]
            assert server.log[2].headers["range"] == "bytes=0-0"

    asyncio.run(main())


def test_an_empty_object_is_there_though_no_byte_of_it_can_be_asked_for():
    async def main():
        server = FakeS3()
        async with over(server) as store:
            await store.store("k", b"")
            server.plan("HEAD", Answer(400, headers={"x-amz-request-id": "1"}))
            assert await store.exists("k")

    asyncio.run(main())


def test_a_session_that_ended_is_renewed_when_a_head_is_refused():
    class Source(CredentialSource):
        renewed = 0

        async def get(self):
            return Credentials("AKID", Secret("secret"), Secret(f"token-{self.renewed}"))

        async def refresh(self):
            self.renewed += 1
            return await self.get()

        async def aclose(self):
            return

    class Session(FakeS3):
        def answer(self, seen):
            if seen.headers["x-amz-security-token"] == "token-0":
                return Answer(400) if seen.method == "HEAD" else error(400, "ExpiredToken")
            return super().answer(seen)

    async def main():
        server, source = Session(), Source()
        server.objects["k"] = Stored({}, b"1")
        async with over(server, credentials=source) as store:
            assert await store.exists("k")
            assert source.renewed == 1

    asyncio.run(main())


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_version_that_is_a_delete_marker_is_absent(method):
    refusal = replace(error(405, "MethodNotAllowed"), headers={"x-amz-delete-marker": "true"})
    verb = {"HEAD": "get_metadata", "GET": "retrieve"}[method]
    raised = outcome(Server(refusal), lambda store: getattr(store, verb)("k", version_id="v"))
    assert isinstance(raised, StorageNotFoundError)
    assert raised.code == "VERSION_NOT_FOUND"


@pytest.mark.parametrize(
    ("status", "kind", "code", "word"),
    [
        (413, StorageInvalidRequestError, "TOO_LARGE", "client_max_body_size"),
        (414, StorageInvalidKeyError, "INVALID_KEY", "gateway"),
        (431, StorageInvalidRequestError, "METADATA_TOO_LARGE", "gateway"),
    ],
)
@pytest.mark.parametrize("page", [b"<html><h1>Too Large</h1></html>", b""])
def test_a_limit_on_the_way_is_named_with_its_owner(status, kind, code, word, page):
    raised = outcome(Server(Answer(status, page, HTML)), lambda store: store.store("k", b"1"))
    assert isinstance(raised, kind)
    assert (raised.code, raised.applied, raised.retryable) == (code, "no", False)
    assert word in raised.message


def test_a_limit_of_the_cloud_is_the_clouds():
    raised = outcome(Server(error(413, "EntityTooLarge")), lambda store: store.store("k", b"1"))
    assert raised.code == "TOO_LARGE"
    assert "proxy" not in raised.message


# What other servers, gateways and pages say


@pytest.mark.parametrize("headers", [{"x-amz-request-id": "1"}, {}])
def test_a_write_that_is_acknowledged_and_not_there_did_not_succeed(headers):
    server = Server(error(404, "NoSuchKey"))
    server.plan("PUT", Answer(200, b"", headers))
    raised = outcome(server, lambda store: store.store("k", b"1"))
    assert isinstance(raised, StorageError)
    assert (raised.code, raised.applied) == ("NO_OUTCOME" if headers else "NOT_S3", "maybe")


@pytest.mark.parametrize("code", ["NoSuchTenant", "NoSuchAccount", "ResourceNotFound", "ContainerNotFound"])
@pytest.mark.parametrize("name", ["exists", "get_metadata", "retrieve"])
def test_a_404_about_something_unknown_is_not_an_absent_object(code, name):
    raised = outcome(Server(error(404, code)), VERBS[name])
    assert isinstance(raised, StorageNotFoundError)
    assert not isinstance(raised, StorageObjectNotFoundError)
    assert raised.provider_code == code


def test_what_a_get_gives_is_not_absent_because_a_head_says_so():
    absent = Answer(404, headers={"x-amz-request-id": "1"})

    class Disagreeing(FakeS3):
        def apply(self, seen):
            return absent if seen.method == "HEAD" else super().apply(seen)

    server = Disagreeing()
    server.objects["k"] = Stored({}, b"12345")
    raised = outcome(server, VERBS["exists"])
    assert isinstance(raised, StorageError)
    assert (raised.code, raised.retryable) == ("NOT_S3", True)


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf<?xml version="1.0"?><Error><Code>InternalError</Code></Error>',
        b'<s:Error xmlns:s="urn:s"><s:Code>AccessDenied</s:Code></s:Error>',
        b"<!-- a --><!-- b --> <Error><Code>AccessDenied</Code></Error>",
        b"<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>",
    ],
)
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_an_error_inside_a_success_is_one_however_it_begins(body, method):
    server = FakeS3()
    server.plan(method, Answer(200, body, {"ETag": '"e"', "x-amz-request-id": "1"}))
    verb = {"PUT": lambda store: store.store("k", b"1"), "DELETE": lambda store: store.delete("k")}[method]
    assert isinstance(outcome(server, verb), StorageError)


@pytest.mark.parametrize("body", [b'{"error":"login"}', b"Please log in", b"<html>log in</html>"])
def test_a_page_is_not_the_success_of_a_deletion(body):
    server = FakeS3()
    server.plan("DELETE", Answer(200, body))
    raised = outcome(server, lambda store: store.delete("k"))
    assert isinstance(raised, StorageConfigurationError)
    assert raised.code == "NOT_S3"


def test_headers_of_an_edge_are_not_those_of_s3():
    page = Answer(404, headers={"x-amz-cf-id": "abc", "x-amz-apigw-id": "1"})
    raised = outcome(Server(page), VERBS["exists"])
    assert isinstance(raised, StorageConfigurationError)
    assert raised.code == "NOT_S3"


@pytest.mark.parametrize("status", [409, 412])
def test_a_conflict_that_a_page_announces_is_looked_into(status):
    class Twice(FakeS3):
        def answer(self, seen):
            given = super().answer(seen)
            return Answer(status, b"<html>conflict</html>", HTML) if seen.method == "PUT" else given

    server = Twice()
    result = outcome(server, lambda store: store.store("k", b"1", if_absent=True))
    assert not isinstance(result, Exception)
    assert server.objects["k"].body == b"1"


def test_a_bucket_that_was_there_is_asked_for_again_after_a_while(monkeypatch):
    monkeypatch.setattr("credstore.drivers.s3.bucket._FRESH", 0.0)
    server = Server(error(404, "NoSuchBucket"))
    server.plan("GET", Answer(200, b"<R><IsTruncated>false</IsTruncated></R>", {"x-amz-request-id": "1"}))

    async def listed_before(store):
        await store.list()
        return await store.exists("k")

    assert isinstance(outcome(server, listed_before), StorageBucketNotFoundError)


def test_objects_where_versions_were_asked_for_are_not_a_listing_of_versions():
    listing = (
        b"<ListBucketResult><IsTruncated>false</IsTruncated>"
        b"<Contents><Key>k</Key><Size>1</Size></Contents></ListBucketResult>"
    )
    server = FakeS3()
    server.plan("GET", Answer(200, listing), query="versions", times=9)
    assert isinstance(outcome(server, lambda store: store.list_versions("k")), StorageError)


def test_an_object_without_tags_has_none_whatever_the_server_calls_it():
    async def main():
        server = FakeS3()
        server.objects["k"] = Stored({}, b"1")
        driver = minio_driver(server)
        server.plan("GET", error(404, "NoSuchTagSet"), query="tagging")
        assert await driver.get_tags("k") == {}
        server.plan("GET", error(404, "NoSuchKey"), query="tagging")
        with pytest.raises(StorageObjectNotFoundError):
            await driver.get_tags("k")
        await driver.aclose()

    asyncio.run(main())


def minio_driver(server):
    return S3Driver(minio_config(server.url), transport=ScriptedTransport(server.respond))
