"""The probes of locks, keys, storage classes, digests and forms: each sees what a server does and what it does not.

None leaves anything behind, also when it is cancelled.
"""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from credstore.drivers.s3.driver import S3Driver
from credstore.errors import StorageAccessDeniedError
from credstore.testing import live
from credstore.testing.harness import ConformanceError, NotRunError
from credstore.testing.isolation import isolated
from credstore.testing.links import Fetched
from credstore.testing.live import CheckOptions, LiveCheck, extras, look_at
from credstore.testing.live.probes import PROBES
from tests.conformance.raw_s3 import RawS3
from tests.conftest import S3Server
from tests.drivers.s3.support import SECRET, minio_config, s3_config
from tests.faults.origin import Origin
from tests.servers.post_policy import FormServer, signed_by_aws

BY_NAME = {probe.name: probe.tries for probe in PROBES}


@pytest.fixture
def locking(moto_server):
    """A bucket with Object Lock, which has nothing left in it at the end."""
    server = S3Server(moto_server.url, moto_server.make_bucket(object_lock=True))
    yield server
    assert RawS3(server).names() == set()


@asynccontextmanager
async def opened(config, *granted):
    """The harness of one probe, as a live check has it."""
    store = await look_at(config)
    async with isolated(replace(store.harness("team/", *granted), requests=None)) as below:
        yield below


def tried(config, tries, *granted):
    async def main():
        async with opened(config, *granted) as harness:
            await tries(harness)

    asyncio.run(main())


def at(server, **settings):
    return minio_config(server.url, bucket=server.bucket, **settings)


def at_origin(tries, lies, *granted):
    async def main():
        async with Origin() as origin:
            origin.store.buckets["proofs"] = {}
            origin.store.lies |= lies
            config = s3_config(origin.url, bucket="proofs", max_retries=0)
            async with opened(config, *granted) as harness:
                await tries(harness)
            assert origin.store.buckets["proofs"] == {}

    asyncio.run(main())


async def keeps_glacier(harness):
    await extras.keeps_class(harness, "GLACIER_IR")


# Locks


def test_locks_that_forbid_are_seen_and_ended(locking):
    tried(at(locking), extras.locks)


def test_a_bucket_without_locks_is_not_tried(s3_server):
    with pytest.raises(NotRunError, match="Object Lock"):
        tried(at(s3_server), extras.locks)
    assert RawS3(s3_server).names() == set()


def test_a_lock_that_forbids_nothing_is_found_out():
    with pytest.raises(ConformanceError, match="what is under a legal hold was deleted"):
        at_origin(extras.locks, set())


def test_a_retention_that_may_not_be_ended_is_waited_for(locking, monkeypatch):
    ends = S3Driver.set_retention

    async def may_not(self, key, until, mode, **options):
        if options.get("bypass_governance"):
            raise StorageAccessDeniedError("may not bypass")
        await ends(self, key, until, mode, **options)

    monkeypatch.setattr(S3Driver, "set_retention", may_not)
    tried(at(locking), extras.locks)


@pytest.mark.parametrize("verb", ["set_legal_hold", "set_retention", "_is_kept"])
def test_a_check_that_is_cancelled_leaves_no_lock(locking, monkeypatch, verb):
    """Cancelled as soon as the lock is set, or while its effect is looked at."""
    monkeypatch.setattr(live, "PROBES", [probe for probe in PROBES if probe.name == "object_lock"])
    reached = asyncio.Event()
    owner = extras if verb == "_is_kept" else S3Driver
    original = getattr(owner, verb)

    async def noted(*arguments, **options):
        if not reached.is_set() and verb == "_is_kept":
            reached.set()
            await asyncio.Event().wait()
        await original(*arguments, **options)
        reached.set()

    monkeypatch.setattr(owner, verb, noted)

    async def main():
        check = LiveCheck(
            await look_at(at(locking)), CheckOptions(samples=1, conformance=False), lambda *_: None
        )
        await check.reach()
        task = asyncio.ensure_future(check.run())
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as ended:
            await task
        assert getattr(ended.value, "__notes__", []) == []

    asyncio.run(main())


# Keys, classes and digests


@pytest.mark.parametrize(
    ("tries", "granted"),
    [(BY_NAME["sse_kms"], "sse_kms"), (BY_NAME["copy_digests"], "copy_digests"), (keeps_glacier, None)],
    ids=["sse_kms", "copy_digests", "storage_class"],
)
def test_what_moto_does_is_seen(s3_server, tries, granted):
    config = s3_config(s3_server.url, bucket=s3_server.bucket)
    tried(config, tries, *([] if granted is None else [granted]))
    assert RawS3(s3_server).names() == set()


@pytest.mark.parametrize(
    ("tries", "lie"), [(BY_NAME["sse_kms"], "no encryption"), (keeps_glacier, "no storage classes")]
)
def test_what_a_server_drops_is_found_out(tries, lie):
    at_origin(tries, set())
    with pytest.raises(Exception, match=r"storage class|encryption"):
        at_origin(tries, {lie})


# Forms


@pytest.mark.parametrize("broken", [None, "content-length-range", "$key", "$Content-Type"])
def test_forms_are_tried_as_a_browser_sends_them(s3_server, monkeypatch, broken):
    """Judged by a server that checks signature and conditions, but for the one that it overlooks."""
    from tests.servers import post_policy

    checked = post_policy.check_upload

    def overlooks(given, filename, data, **options):
        try:
            return checked(given, filename, data, **options)
        except post_policy.Refused as refused:
            lacks = {"content-length-range": "EntityTooLarge"}.get(broken or "", f"failed: {broken}")
            if broken is None or lacks not in refused.args[1]:
                raise
            return given["key"]

    monkeypatch.setattr(post_policy, "check_upload", overlooks)

    async def main():
        async with opened(at(s3_server)) as harness:
            real = harness.fetch

            async def fetch(link, body):
                if link.method != "POST":
                    return await real(link, body)
                forms = FormServer(s3_server.bucket, signed_by_aws(SECRET), link.expires_at.timestamp() - 1)
                path = urlsplit(link.url).path
                status, answer = forms.take(path, link.headers["content-type"], body)
                for key, (kind, data) in forms.objects.items():
                    RawS3(s3_server).put(key, data, kind)
                return Fetched(status, {}, answer)

            await extras.takes_forms(replace(harness, fetch=fetch))

    if broken is None:
        asyncio.run(main())
    else:
        with pytest.raises(ConformanceError, match="than a form allows: answered 204"):
            asyncio.run(main())
    assert RawS3(s3_server).names() == set()


def test_forms_that_are_not_judged_are_found_out(s3_server):
    with pytest.raises(ConformanceError, match="more bytes than a form allows: answered 204"):
        tried(at(s3_server), extras.takes_forms)
    assert RawS3(s3_server).names() == set()
