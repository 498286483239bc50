"""Prices are data with a date and a source, plans are what drivers do, and nothing unknown is made up."""

import asyncio
import re
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore import MemoryStorageProvider, StorageFactory, StorageInvalidRequestError, cached
from credstore.config.registry import Registry
from credstore.metrics import Metrics
from credstore.prices import TABLE, price_of
from credstore.prices.plan import VERBS, Facts, billed, explained, kind_of
from credstore.prices.table import NOT_FREE
from credstore.provider.stored_form import session_of
from credstore.replicas import scrub
from credstore.testing.counting import count_requests
from tests.conftest import S3Server
from tests.drivers.s3.support import minio_config, s3_config

ROOT = Path(__file__).parents[2]


def test_every_row_is_of_a_cloud_and_has_a_date_and_a_source():
    clouds = {row.name for row in Registry().rows()}
    assert {row.cloud for row in TABLE} <= NOT_FREE <= clouds
    assert len({(row.cloud, row.storage_class) for row in TABLE}) == len(TABLE)
    for row in TABLE:
        assert date(2026, 1, 1) <= row.found <= datetime.now(UTC).date()
        assert row.source
        assert min(row.storage, row.egress, row.writes, row.reads) >= 0
    assert price_of("azure") is None
    assert price_of("s3", "GLACIER") is None


def test_the_pages_prices_are_the_tables():
    told = (
        (ROOT / "docs" / "clouds" / "index.md").read_text().partition("## Prices")[2].partition("\n<!--")[0]
    )
    lines = [line for line in told.splitlines() if line.startswith("|")][2:]
    assert len(lines) == len(TABLE)
    for line, row in zip(lines, TABLE, strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        numbers = [set(map(float, re.findall(r"\d+(?:\.\d+)?", cell))) for cell in cells[1:5]]
        assert cells[0] == row.title, line
        for found, wanted in zip(numbers, (row.storage, row.egress, row.writes, row.reads), strict=True):
            assert wanted in found, line
        assert cells[5:] == [row.found.isoformat(), row.source], line


def test_every_request_of_the_drivers_has_a_kind():
    named = set()
    for path in (ROOT / "credstore" / "drivers").rglob("*.py"):
        named |= set(re.findall(r'"([A-Z][a-z]+[A-Z][A-Za-z0-9]+)"', path.read_text()))
    kinds = {name: kind_of(name) for name in named}
    for name in (
        "PutObject",
        "ListObjectsV2",
        "ListBlobs",
        "PutBlock",
        "InsertObject",
        "SendChunk",
        "RewriteObject",
    ):
        assert name in kinds, name
        assert kinds[name] == "write", name
    assert {"GetObject", "HeadObject", "GetBlob"} <= {name for name, kind in kinds.items() if kind == "read"}
    assert {"DeleteObject", "DeleteObjects", "DeleteBlob", "AbortMultipartUpload"} <= {
        name for name, kind in kinds.items() if kind == "free"
    }


@pytest.mark.parametrize("verb", ["store", "retrieve", "get_metadata", "exists", "copy", "delete", "list"])
def test_a_plan_has_the_requests_that_the_driver_makes(s3_server: S3Server, verb):
    async def main():
        async with StorageFactory(environ={}) as factory:
            provider = factory.create(minio_config(s3_server.url, bucket=s3_server.bucket, prefix=verb))
            await provider.store("k", b"12345")
            with count_requests() as wire:
                await {
                    "store": lambda: provider.store("k", b"12345"),
                    "retrieve": lambda: provider.retrieve("k"),
                    "get_metadata": lambda: provider.get_metadata("k"),
                    "exists": lambda: provider.exists("k"),
                    "copy": lambda: provider.copy("k", "l"),
                    "delete": lambda: provider.delete("k"),
                    "list": provider.list,
                }[verb]()
            made = {
                kind: sum(n for name, n in wire.by_operation.items() if kind_of(name) == kind)
                for kind in ("write", "read", "free")
            }
            plan = provider.explain(verb, 1 if verb == "list" else 5)
            planned = {kind: sum(step.count for step in plan.steps if step.kind == kind) for kind in made}
            assert planned == made, wire

    asyncio.run(main())


def test_an_upload_in_parts_is_planned_in_parts():
    facts = Facts(cloud="s3", label="s3", part_from=8 * 2**20, part_size=8 * 2**20)
    plan = explained(facts, "store", 100 * 2**20)
    assert [step.count for step in plan.steps] == [1, 13, 1]
    assert plan.requests == pytest.approx(15 * 0.005 / 1000)


def test_minimum_sizes_and_durations_are_billed():
    facts = Facts(cloud="wasabi", label="wasabi")
    small = explained(facts, "store", 1, days=1)
    assert small.storage == pytest.approx(4096 / 2**30 * 0.0078 * 3)
    assert any("90 days" in note for note in small.notes)
    assert explained(facts, "retrieve", 10**9).transfer == 0
    assert explained(Facts(cloud="s3", label="s3"), "retrieve", 10**9).total == pytest.approx(
        0.09 + 0.0004 / 1000
    )
    cold = explained(Facts(cloud="r2", label="r2"), "retrieve", 10**9)
    assert cold.transfer == 0


def test_what_is_not_known_is_not_made_up_and_what_is_free_is_free():
    unknown = explained(Facts(cloud="azure", label="azure"), "store", 5)
    assert (unknown.requests, unknown.storage, unknown.total, unknown.price) == (None, None, None, None)
    assert "not known" in unknown.notes[0]
    free = explained(Facts(cloud="local", label="local"), "store", 10**9)
    assert (free.total, free.price) == (0.0, None)
    for wrong in (
        lambda: explained(Facts(cloud="s3", label="s"), "steal", 1),
        lambda: explained(Facts(cloud="s3", label="s"), "store", -1),
    ):
        with pytest.raises(StorageInvalidRequestError):
            wrong()


@given(
    st.sampled_from(sorted(NOT_FREE)), st.sampled_from(VERBS), st.integers(0, 10**12), st.integers(0, 10**12)
)
def test_more_never_costs_less(cloud, verb, one, two):
    less, more = sorted((one, two))
    facts = Facts(cloud=cloud, label=cloud, part_from=8 * 2**20)
    first, second = explained(facts, verb, less).total, explained(facts, verb, more).total
    if first is None or second is None:
        assert price_of(cloud) is None
    else:
        assert 0 <= first <= second


def test_a_bill_is_of_what_was_counted(s3_server: S3Server, tmp_path):
    bill = billed(
        Facts(cloud="s3", label="s3"), {"PutObject": 2000, "GetObject": 1000, "DeleteObjects": 7}, 10**9
    )
    assert bill.requests == {"write": 2000, "read": 1000, "free": 7}
    assert bill.total == pytest.approx(0.01 + 0.0004 + 0.09)
    assert billed(Facts(cloud="azure", label="azure"), {"PutBlob": 1}, 0).total is None

    async def main():
        async with MemoryStorageProvider() as provider:
            await provider.store("k", b"1")
            assert (provider.bill().total, provider.bill().provider) == (0.0, "memory")
        async with StorageFactory(environ={}) as factory:
            provider = factory.create(minio_config(s3_server.url, bucket=s3_server.bucket))
            await provider.store("k", b"12345")
            await provider.retrieve("k")
            bill = provider.bill()
            assert (bill.requests["write"], bill.requests["read"], bill.egress) == (1, 1, 5)
            async with cached(provider, tmp_path) as near:
                for _ in range(3):
                    await near.retrieve("k")
                assert near.bill().egress == 5

    asyncio.run(main())
    assert Metrics("m").snapshot().requests == {}


def test_several_stores_are_billed_each_at_its_own_prices(s3_server: S3Server):
    async def main():
        dear = s3_config(s3_server.url, bucket=s3_server.bucket, prefix="dear")
        free = minio_config(s3_server.url, bucket=s3_server.bucket, prefix="free")
        async with StorageFactory(environ={}) as factory:
            with count_requests() as wire:
                store = factory.create_multi([dear, free])
                await store.store("k", b"12345")
                await session_of(store).driver.settled()
                assert await store.retrieve("k") == b"12345"
                async with store.open("k") as reader:
                    await reader.read()
                report = await scrub(store)
            bill = store.bill()
            assert (bill.provider, bill.price) == ("redundant", None)
            one, two = bill.members
            assert sum(bill.requests.values()) == wire.total
            assert one.price is price_of("s3")
            assert (one.total, two.total) == (bill.total, 0.0)
            assert bill.total == pytest.approx(
                (one.requests["write"] * 0.005 + one.requests["read"] * 0.0004) / 1000
                + one.egress / one.price.unit * 0.09
            )
            assert one.requests["write"] > two.requests["write"] / 2 > 0
            assert bill.egress == one.egress + two.egress == 10 + report.bytes_read
        async with StorageFactory(environ={}) as factory:
            assert factory.create_with_fallback(free, dear).bill().members[1].price is price_of("s3")

    asyncio.run(main())
