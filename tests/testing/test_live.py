"""The live check: each probe finds its lie, and what is found says nothing of what could not be tried."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from credstore import CapabilityReport, MemoryConfig, S3CompatibleConfig, Secret, StorageFactory
from credstore.config.gcs import GcsConfig
from credstore.config.registry import Registry
from credstore.config.reports import place_of
from credstore.driver.capability_report import CapabilityFact, encode_report, parse_report
from credstore.driver.location import BucketLocation
from credstore.drivers.memory import MemoryDriver
from credstore.drivers.s3.responses import location_of
from credstore.errors import StorageAccessDeniedError, StorageError, StorageUnavailableError
from credstore.testing.live import CheckOptions, LiveCheck, look_at
from credstore.testing.live.latency import ORIGINAL, percentile, steps
from credstore.testing.live.probes import EVERYWHERE, PROBES, probes_of
from tests.faults.messages import error
from tests.faults.origin import Origin
from tests.faults.script import Respond
from tests.servers.gcs_emulator import running_emulator

QUICK = CheckOptions(samples=1, conformance=False)
KEYS = {"CREDSTORE_ACCESS_KEY_ID": "AKIDEXAMPLE", "CREDSTORE_SECRET_ACCESS_KEY": "canary-secret-value"}


def config_of(origin: Origin, **settings: object) -> S3CompatibleConfig:
    return S3CompatibleConfig(
        endpoint=origin.url,
        bucket="proofs",
        access_key_id="AKIDEXAMPLE",
        secret_access_key=Secret("canary-secret-value"),
        part_size=64 * 1024,
        max_retries=0,
        **settings,
    )


async def checked(config, progress=lambda _done, _total: None):
    check = LiveCheck(await look_at(config), QUICK, progress)
    await check.reach()
    return await check.run()


def at_origin(prepare=lambda _: None, **settings):
    """The report of the fault origin, and that nothing is left there."""

    async def main():
        async with Origin(least_part=1024) as origin:
            origin.store.buckets["proofs"] = {}
            prepare(origin)
            report = await checked(config_of(origin, **settings))
            assert origin.store.buckets["proofs"] == {}
            assert origin.open_uploads == 0
            return report

    return asyncio.run(main())


def honoured(report):
    return {fact.name: fact.honoured for fact in report.facts}


def test_an_honest_server_honours_everything_tried():
    found = honoured(at_origin())
    # S3 does not say on a delete whether there was an object; and the origin computes no digests, and takes no
    # forms, which nothing grants to it.
    lacking = {"delete_tells_existence", "copy_digests", "upload_forms"}
    assert {name for name, does in found.items() if does == "no"} == lacking
    untried = {name for name, does in found.items() if does == "not tried"}
    assert untried == {"versions", "sse_kms", "acl", "object_lock"}


CONDITIONS = {
    "conditional_create", "conditional_replace", "conditional_delete", "create_by_multipart",
    "replace_by_multipart", "create_by_copy", "replace_by_copy", "pinned_copy",
}  # fmt: skip


@pytest.mark.parametrize(
    ("lie", "broken"),
    [
        ("ignores conditions", CONDITIONS),
        ("ignores copy conditions", {"pinned_copy"}),
        ("no encryption", {"sse_s3", "sse_c"}),
        ("no customer keys", {"sse_c"}),
    ],
)
def test_each_lie_is_found_and_no_other_thing(lie, broken):
    honest = honoured(at_origin())
    lying = honoured(at_origin(lambda origin: origin.store.lies.add(lie)))
    assert {name for name in honest if honest[name] != lying[name]} == broken


@pytest.mark.parametrize(
    ("operation", "fact"),
    [("GetObjectTagging", "tags"), ("CreateMultipartUpload", "multipart"), ("DeleteObjects", None)],
)
def test_what_is_refused_is_not_done_and_what_is_down_is_not_known(operation, fact):
    def plan(status, code):
        def prepare(origin):
            answer = error(status, code)
            origin.plan("before-apply", Respond(lambda _: answer), times=None, operation=operation)

        return prepare

    if fact is None:  # Nothing can be removed, which is an error of its own.
        with pytest.raises(StorageError):
            at_origin(plan(501, "NotImplemented"))
        return
    assert honoured(at_origin(plan(501, "NotImplemented")))[fact] == "no"
    for status, code in ((503, "ServiceUnavailable"), (403, "AccessDenied")):
        assert honoured(at_origin(plan(status, code)))[fact] == "not tried"


def test_who_may_not_write_learns_nothing_and_leaves_nothing():
    def prepare(origin):
        refused = error(403, "AccessDenied")
        origin.plan("before-apply", Respond(lambda _: refused), times=None, operation="PutObject")

    with pytest.raises(StorageAccessDeniedError):
        at_origin(prepare)


def test_a_statement_that_is_not_true_is_granted_but_not_honoured():
    def prepare(origin):
        origin.store.lies.add("ignores conditions")

    report = at_origin(prepare, capabilities="conditional_create,-response_overrides")
    verdicts = {fact.name: fact.verdict for fact in report.facts}
    assert verdicts["conditional_create"] == "granted but not honoured"
    assert verdicts["response_overrides"] == "honoured but not granted"
    assert report.broken == ("conditional_create",)


def test_an_earlier_report_is_not_what_is_granted():
    first = at_origin()
    assert first.found()["conditional_create"]

    async def again():
        async with Origin(least_part=1024) as origin:
            origin.store.buckets["proofs"] = {}
            config = config_of(origin)
            report = await checked(config)
            return report, await checked(replace(config, capabilities=report))

    one, two = asyncio.run(again())
    assert [fact.granted for fact in one.facts] == [fact.granted for fact in two.facts]


def test_progress_reaches_its_end():
    told = []
    asyncio.run(checked(MemoryConfig(), lambda done, total: told.append((done, total))))
    assert [done for done, _ in told] == list(range(1, len(told) + 1))
    assert {total for _, total in told} == {told[-1][0]}
    assert steps(1) == 8


def test_what_stays_is_an_error_and_a_note_of_another(monkeypatch):
    async def ignored(self, keys, *, deadline=None):
        del self, deadline
        return dict.fromkeys(keys)

    monkeypatch.setattr(MemoryDriver, "delete_many", ignored)
    with pytest.raises(
        StorageUnavailableError, match=r"could not be removed.*credstore rm --prefix removes it"
    ):
        asyncio.run(checked(MemoryConfig()))


def test_an_emulator_that_ignores_generations_is_found_out():
    with running_emulator() as server:
        name = server.make_bucket()
        config = GcsConfig(
            bucket=name, emulator_host=server.url, part_size=256 * 1024, multipart_threshold=256 * 1024
        )
        report = asyncio.run(checked(config))
        with server.client() as client:
            assert list(client.bucket(name).list_blobs()) == []
    found = honoured(report)
    assert {
        name: found[name] for name in ("conditional_create", "conditional_replace", "tags", "ranges")
    } == {
        "conditional_create": "no",
        "conditional_replace": "no",
        "tags": "no",
        "ranges": "no",
    }
    assert (report.region, report.location_type) == ("US", "multi-region")


def test_every_probe_is_of_a_name_that_a_row_grants_or_of_all_stores():
    from credstore.driver.stated import FLAGS
    from credstore.drivers.s3.stated import NAMES

    names = [probe.name for probe in PROBES]
    assert len(set(names)) == len(names)
    known = set(NAMES) | set(FLAGS)
    assert {name for name in names if name not in known} == EVERYWHERE - {"object_lock"}
    # How etags are quoted and that copies keep tags is not tried: the driver does without.
    assert known - set(names) == {"quoted_if_match", "copy_keeps_tags"}


@pytest.mark.parametrize("row", Registry().rows(), ids=lambda row: row.name)
def test_every_fact_of_every_cloud_can_be_written_and_read(row, tmp_path):
    """Storage classes have names of their own, such as `storage_class:Hot`."""
    needed = {**row.needed, "path": tmp_path} if row.name == "local" else row.needed
    config = StorageFactory(environ=KEYS).configure({"provider": row.name, **needed})
    store = asyncio.run(look_at(config))
    probes = (*PROBES, *probes_of(store.capabilities))
    classes = {f"storage_class:{name}" for name in store.capabilities.storage_classes}
    assert classes <= {probe.name for probe in probes}
    provider, place = place_of(config)
    report = CapabilityReport(
        provider=provider,
        place=place,
        tested_at=datetime(2026, 11, 1, tzinfo=UTC),
        facts=tuple(CapabilityFact(name=probe.name, granted=True, honoured="yes") for probe in probes),
    )
    assert parse_report(encode_report(report)) == report


@pytest.mark.parametrize(
    ("headers", "location"),
    [
        ({}, BucketLocation()),
        ({"x-amz-bucket-region": "eu-west-1"}, BucketLocation(region="eu-west-1")),
        (
            {
                "x-amz-bucket-region": "us-west-2",
                "x-amz-bucket-location-type": "AvailabilityZone",
                "x-amz-bucket-location-name": "usw2-az1",
            },
            BucketLocation(region="usw2-az1", type="AvailabilityZone"),
        ),
        ({"x-amz-bucket-region": "EU west\x1b", "x-amz-bucket-location-type": "<b>"}, BucketLocation()),
    ],
)
def test_where_a_directory_bucket_is(headers, location):
    assert location_of(headers) == location


def test_percentiles_are_by_nearest_rank():
    hundred = list(range(1, 101))
    assert [percentile(hundred, percent) for percent in (50, 95, 99)] == [50, 95, 99]
    assert [percentile([7], percent) for percent in (50, 95, 99)] == [7, 7, 7]
    assert sorted(ORIGINAL.values()) == [10, 50, 100, 150, 200, 500]
