"""Versions at the S3 driver: listed and removed one by one, on moto; and replies that cannot be believed."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import pytest

from credstore.config.stores import R2Config, S3CompatibleConfig
from credstore.driver import DeleteOutcome, RetainingDriver, VersionedDriver
from credstore.drivers.s3.versions import _read_cursor
from credstore.errors import (
    ErrorCode,
    StorageAccessDeniedError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StorageRetainedError,
    StorageUnsupportedError,
)
from credstore.model import Retention
from credstore.testing import count_requests
from tests.conformance.raw_s3 import RawS3
from tests.conftest import S3Server
from tests.drivers.s3.fake import Answer, error, xml
from tests.drivers.s3.running import run
from tests.drivers.s3.support import make_driver, put_request
from tests.servers.moto import MotoServer

FAR = datetime(2037, 1, 2, 3, 4, 5, tzinfo=UTC)
ODD = ["a b", "a+b", "a%20b", "ü/日本", "a&b<c>"]


@pytest.fixture
def locked(moto_server: MotoServer) -> S3Server:
    """A bucket with Object Lock, which keeps versions."""
    return S3Server(moto_server.url, moto_server.make_bucket(object_lock=True))


def on(server: S3Server, test):
    async def main():
        driver = make_driver(server.url, server.bucket)
        try:
            return await test(driver, RawS3(server))
        finally:
            await driver.aclose()

    return asyncio.run(main())


async def listed(driver, prefix="", **options):
    found, cursor = [], None
    while True:
        page = await driver.list_versions(prefix, cursor, **options)
        found += page.entries
        if (cursor := page.cursor) is None:
            return found


def test_the_driver_is_one_with_versions_and_retention():
    driver = make_driver("http://127.0.0.1:1")
    assert isinstance(driver, VersionedDriver)
    assert isinstance(driver, RetainingDriver)
    asyncio.run(driver.aclose())


def test_a_bucket_says_whether_it_keeps_versions(moto_server):
    async def check(driver, raw):
        assert not await driver.keeps_versions()
        raw.switch_versions("Enabled")
        assert await driver.keeps_versions()
        raw.switch_versions("Suspended")
        assert await driver.keeps_versions()

    on(S3Server(moto_server.url, moto_server.make_bucket()), check)


def test_versions_are_those_a_foreign_client_sees(locked):
    async def check(driver, raw):
        for key in [*ODD, "a", "ab"]:
            for data in (b"1", b"22"):
                await driver.put(put_request(key, data))
        await driver.delete("a")
        found = await listed(driver, limit=3)
        assert {(each.key, each.version_id) for each in found if not each.is_delete_marker} == set(
            raw.versions()
        )
        assert [(each.key, each.version_id) for each in found if each.is_delete_marker] == raw.markers()
        assert [each.key for each in found] == sorted((each.key for each in found), key=str.encode)
        assert all(
            each.last_modified.utcoffset() == timedelta(0) and each.served_by == "s3" for each in found
        )
        only = await listed(driver, "a", exact=True, limit=1)
        assert [each.key for each in only] == ["a"] * 3
        assert only[0].is_delete_marker
        assert [each.size for each in only[1:]] == [2, 1]
        with count_requests() as wire:
            await driver.list_versions("a", exact=True, limit=3)
        assert wire.total == 1, wire

    on(locked, check)


def test_versions_are_removed_for_good_each_with_an_outcome(locked):
    async def check(driver, raw):
        for key in ODD:
            for data in (b"1", b"22"):
                await driver.put(put_request(key, data))
            await driver.delete(key)
        asked = [(each.key, each.version_id) for each in await listed(driver)]
        assert len(asked) == 3 * len(ODD)
        with count_requests() as wire:
            outcomes = await driver.delete_versions(
                [*asked, ("never", "00000000-0000-0000-0000-000000000000")]
            )
        assert wire.by_operation == {"DeleteObjects": 1}
        assert all(isinstance(each, DeleteOutcome) for each in outcomes.values()), outcomes
        assert raw.names() == set()
        assert await driver.delete_versions([]) == {}
        with pytest.raises(StorageInvalidRequestError):
            await driver.delete_versions([("k", str(number)) for number in range(1001)])

    on(locked, check)


def test_what_keeps_a_version_is_told(locked):
    async def check(driver, raw):
        ids = [(await driver.put(put_request("k", data))).version_id for data in (b"1", b"2", b"3")]
        raw.retain("k", ids[0], FAR)
        raw.retain("k", ids[1], FAR, "GOVERNANCE")
        raw.hold("k", ids[1])
        found = [await driver.get_retention("k", each) for each in ids]
        assert found == [
            Retention(mode="compliance", retain_until=FAR),
            Retention(mode="governance", retain_until=FAR, legal_hold=True),
            Retention(),
        ]
        with pytest.raises(StorageNotFoundError):
            await driver.get_retention("k", "00000000-0000-0000-0000-000000000000")
        outcomes = await driver.delete_versions([("k", each) for each in ids])
        assert [type(outcomes["k", each]) for each in ids[:2]] == [StorageRetainedError] * 2
        assert {outcomes["k", each].code for each in ids[:2]} == {ErrorCode.LOCKED}
        assert {outcomes["k", each].applied for each in ids[:2]} == {"no"}
        assert isinstance(outcomes["k", ids[2]], DeleteOutcome)
        assert set(raw.versions()) == {("k", ids[0]), ("k", ids[1])}

    on(locked, check)


def test_a_cloud_without_versions_is_asked_for_none():
    async def main():
        driver = make_driver(None, kind=R2Config, account_id="0" * 32)
        with count_requests() as wire:
            assert not await driver.keeps_versions()
            for call in (
                driver.list_versions("k"),
                driver.delete_versions([("k", "v")]),
                driver.get_retention("k", "v"),
            ):
                with pytest.raises(StorageUnsupportedError):
                    await call
        assert wire.total == 0, wire
        await driver.aclose()

    asyncio.run(main())


def faked(test, **settings):
    run(lambda fake, driver: test(driver, fake), max_retries=0, **settings)


def versions_page(*inner: str, **fields: str) -> Answer:
    given = {"IsTruncated": "false", **fields}
    head = "".join(f"<{name}>{value}</{name}>" for name, value in given.items())
    return xml(f"<ListVersionsResult>{head}{''.join(inner)}</ListVersionsResult>")


def version(key: str, version_id: str, kind: str = "Version", latest: str = "false") -> str:
    size = "<Size>1</Size>" if kind == "Version" else ""
    return f"<{kind}><Key>{key}</Key><VersionId>{version_id}</VersionId><IsLatest>{latest}</IsLatest>{size}</{kind}>"


def test_a_page_is_asked_for_with_both_markers_as_they_came():
    async def check(driver, fake):
        more = {"IsTruncated": "true", "NextKeyMarker": "a%2Bb%20c", "NextVersionIdMarker": "v+1"}
        fake.plan("GET", versions_page(version("a%2Bb%20c", "v+1"), EncodingType="url", **more))
        page = await driver.list_versions("a+")
        assert [(each.key, each.version_id) for each in page.entries] == [("a+b c", "v+1")]
        fake.plan("GET", versions_page())
        await driver.list_versions("a+", page.cursor)
        query = fake.sent("GET")[-1].query
        assert (query["key-marker"], query["version-id-marker"]) == ("a+b c", "v+1")
        assert query["encoding-type"] == "url"
        with pytest.raises(StorageInvalidRequestError):
            await driver.list_versions("a+", "no cursor")

    faked(check)


@pytest.mark.parametrize(
    "answer",
    [
        versions_page(IsTruncated="true"),
        xml("<ListVersionsResult></ListVersionsResult>"),
        xml("<html></html>"),
    ],
    ids=["truncated without a marker", "nothing said", "a web page"],
)
def test_a_page_that_says_too_little_is_an_error(answer):
    async def check(driver, fake):
        fake.plan("GET", answer)
        with pytest.raises(StorageError):
            await driver.list_versions()

    faked(check)


def test_a_version_of_which_little_is_told_ends_no_listing():
    rows = (
        "<Version><Key>a</Key><VersionId>v</VersionId><Size>-1</Size><LastModified>x</LastModified></Version>"
        "<Version><Key>b</Key><Size>1</Size></Version>"
    )

    async def check(driver, fake):
        fake.plan("GET", versions_page(rows))
        found = (await driver.list_versions()).entries
        assert [(each.key, each.version_id, each.size) for each in found] == [("a", "v", 0), ("b", "null", 1)]

    faked(check)


def deleted_reply(*inner: str) -> Answer:
    return xml(f"<DeleteResult>{''.join(inner)}</DeleteResult>")


ASKED = [("k", "1"), ("k", "2"), ("l", "3")]


@pytest.mark.parametrize(
    ("inner", "codes"),
    [
        # Silence about a version is no success.
        (["<Deleted><Key>k</Key><VersionId>1</VersionId></Deleted>"], [None, "NO_OUTCOME", "NO_OUTCOME"]),
        # An error without a version is about those of its key that were not removed.
        (
            [
                "<Deleted><Key>k</Key><VersionId>2</VersionId></Deleted>",
                "<Error><Key>k</Key><Code>AccessDenied</Code></Error>",
                "<Deleted><Key>l</Key></Deleted>",
            ],
            ["ACCESS_DENIED", None, None],
        ),
        # A success without a version may be about any of two.
        (["<Deleted><Key>k</Key></Deleted>"], ["NO_OUTCOME", "NO_OUTCOME", "NO_OUTCOME"]),
        # The version was ignored: a delete marker was put.
        (
            [
                (
                    "<Deleted><Key>l</Key><DeleteMarker>true</DeleteMarker>"
                    "<DeleteMarkerVersionId>9</DeleteMarkerVersionId></Deleted>"
                )
            ],
            ["NO_OUTCOME", "NO_OUTCOME", "NO_OUTCOME"],
        ),
        # Contradictions are failures.
        (
            [
                "<Deleted><Key>k</Key><VersionId>1</VersionId></Deleted>",
                "<Error><Key>k</Key><VersionId>1</VersionId><Code>InternalError</Code></Error>",
            ],
            ["UNAVAILABLE", "NO_OUTCOME", "NO_OUTCOME"],
        ),
        # One that is not there is removed already; MinIO's and AWS's words for a lock are one.
        (
            [
                "<Error><Key>k</Key><VersionId>1</VersionId><Code>NoSuchVersion</Code></Error>",
                (
                    "<Error><Key>k</Key><VersionId>2</VersionId><Code>InvalidRequest</Code>"
                    "<Message>Object is WORM protected</Message></Error>"
                ),
                (
                    "<Error><Key>l</Key><VersionId>3</VersionId><Code>AccessDenied</Code>"
                    "<Message>Access Denied because object protected by object lock.</Message></Error>"
                ),
            ],
            [None, "LOCKED", "LOCKED"],
        ),
    ],
)
def test_each_version_has_the_outcome_the_reply_proves(inner, codes):
    async def check(driver, fake):
        fake.plan("POST", deleted_reply(*inner))
        outcomes = await driver.delete_versions(ASKED)
        assert [getattr(outcomes[each], "code", None) for each in ASKED] == codes
        sent = ET.fromstring(fake.sent("POST")[0].body)
        pairs = [tuple(field.text for field in each) for each in sent if each.tag.endswith("Object")]
        assert pairs == ASKED

    faked(check)


@pytest.mark.parametrize(
    "inner",
    [
        "<Deleted><Key>k</Key><VersionId>9</VersionId></Deleted>",
        "<Deleted><Key>x</Key></Deleted>",
        "<Error><Key>x</Key><Code>AccessDenied</Code></Error>",
    ],
)
def test_a_reply_about_other_versions_is_not_believed(inner):
    async def check(driver, fake):
        fake.plan("POST", deleted_reply(inner))
        with pytest.raises(StorageIntegrityError) as raised:
            await driver.delete_versions(ASKED)
        assert (raised.value.code, raised.value.applied) == (ErrorCode.FOREIGN_KEY, "maybe")

    faked(check)


@pytest.mark.parametrize(
    ("answer", "keeps"),
    [
        (xml("<VersioningConfiguration/>"), False),
        (xml("<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>"), True),
        (xml("<GetBucketVersioningResponse><Status>Enabled</Status></GetBucketVersioningResponse>"), True),
        (xml("<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"), False),
        (error(501, "NotImplemented"), False),
        (error(403, "AccessDenied"), True),
        (Answer(status=405), True),
        (Answer(status=501), True),
    ],
    ids=[
        "never on",
        "suspended",
        "other root",
        "question ignored",
        "no such operation",
        "not allowed to ask",
        "a bare 405",
        "a bare 501",
    ],
)
def test_only_a_clear_answer_says_that_nothing_is_kept(answer, keeps):
    async def check(driver, fake):
        fake.plan("GET", answer, query="versioning")
        assert await driver.keeps_versions() is keeps

    faked(check)


def lock_documents(fake, retention, hold):
    fake.plan("GET", retention, query="retention")
    fake.plan("GET", hold, query="legal-hold")


@pytest.mark.parametrize(
    "head",
    [
        Answer(headers={"x-amz-request-id": "1"}),
        error(403, "AccessDenied"),
        error(400, "InvalidRequest"),
    ],
)
def test_locks_are_asked_for_where_a_head_does_not_tell(head):
    async def check(driver, fake):
        fake.plan("HEAD", head)
        if head.status != 200:
            fake.plan("GET", head)
        lock_documents(
            fake,
            xml(
                "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2037-01-02T03:04:05Z</RetainUntilDate>"
                "</Retention>"
            ),
            xml("<LegalHold><Status>ON</Status></LegalHold>"),
        )
        found = await driver.get_retention("k", "v")
        assert found == Retention(mode="governance", retain_until=FAR, legal_hold=True)
        assert {each.query.get("versionId") for each in fake.log} == {"v"}

    faked(check)


@pytest.mark.parametrize(
    "answer",
    [
        error(404, "NoSuchObjectLockConfiguration"),
        error(404, "ObjectLockConfigurationNotFoundError"),
        error(400, "InvalidRequest"),
        error(501, "NotImplemented"),
        Answer(body=b"the object itself", headers={"ETag": '"1"'}),
    ],
)
def test_the_absence_of_locks_has_many_words(answer):
    async def check(driver, fake):
        fake.plan("HEAD", Answer(headers={"x-amz-version-id": "v"}))
        lock_documents(fake, answer, answer)
        assert await driver.get_retention("k", "v") == Retention()

    faked(check)


def test_locks_that_may_not_be_read_are_an_error():
    async def check(driver, fake):
        fake.plan("HEAD", Answer(headers={"x-amz-version-id": "v"}))
        lock_documents(fake, error(403, "AccessDenied"), error(403, "AccessDenied"))
        with pytest.raises(StorageAccessDeniedError):
            await driver.get_retention("k", "v")

    faked(check)


@pytest.mark.parametrize("headers", [{}, {"x-amz-delete-marker": "true"}])
def test_nothing_keeps_a_delete_marker(headers):
    async def check(driver, fake):
        for method in ("HEAD", "GET"):
            fake.plan(method, replace(error(405, "MethodNotAllowed"), headers=headers))
        assert await driver.get_retention("k", "v") == Retention()

    faked(check)


@pytest.mark.parametrize(
    ("headers", "marker"),
    [
        ({"x-amz-delete-marker": "true", "x-amz-version-id": "v1"}, "v1"),
        ({"x-amz-delete-marker": "true", "x-amz-version-id": "null"}, "null"),
        ({"x-amz-delete-marker": "true"}, "null"),
        ({"x-amz-version-id": "of-something"}, None),
        ({}, None),
    ],
)
def test_a_delete_that_only_hides_says_so(headers, marker):
    async def check(driver, fake):
        fake.plan("DELETE", Answer(204, headers=headers))
        assert (await driver.delete("k")).version_id == marker

    faked(check)


def test_a_flavor_nobody_knows_is_asked_but_not_trusted_with_versions():
    async def check(driver, fake):
        fake.plan("GET", xml("<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"))
        assert await driver.keeps_versions()
        with pytest.raises(StorageUnsupportedError, match="flavor"):
            await driver.list_versions("k")

    faked(check, kind=S3CompatibleConfig, flavor="generic")


def test_a_cursor_names_key_and_version():
    async def check(driver, fake):
        fake.plan("GET", versions_page(version("k", "v"), IsTruncated="true", NextKeyMarker="k"))
        page = await driver.list_versions("k", exact=True)
        assert json.loads(page.cursor) == ["k", None]
        beyond = {"IsTruncated": "true", "NextKeyMarker": "k2", "NextVersionIdMarker": "v"}
        fake.plan("GET", versions_page(version("k", "v"), version("k2", "v"), **beyond))
        page = await driver.list_versions("k", exact=True)
        assert ([each.key for each in page.entries], page.cursor) == (["k"], None)
        fake.plan("GET", versions_page(version("k2", "v")))
        last = await driver.list_versions("k", '["k", null]', exact=True)
        assert (last.entries, last.cursor) == ([], None)

    faked(check, capabilities="ordered")


@pytest.mark.parametrize("cursor", ["", "nonsense", "7", "[1]", '["a", 5]', "[" * 100_000])
def test_a_cursor_of_something_else_is_refused(cursor):
    with pytest.raises(StorageInvalidRequestError, match="cursor"):
        _read_cursor(cursor)
