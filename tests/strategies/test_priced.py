"""Each object is where it costs least, is found wherever it is, and is nowhere twice."""

import asyncio

import pytest

from credstore.driver import ReadOptions
from credstore.errors import (
    StorageConfigurationError,
    StorageReadOnlyError,
    StorageUnavailableError,
)
from credstore.prices.plan import Facts
from credstore.strategies.priced import plan
from credstore.strategies.priced.driver import PricedDriver
from credstore.strategies.read_only import only_read
from credstore.testing.conformance import DriverConformance
from credstore.testing.harness import Harness, fetched, keys, put
from tests.conformance.memory import fetch_from, peek_at, poke_at
from tests.strategies.faulty import Faulty

S3, R2, B2, WASABI = (Facts(cloud=each, label=each) for each in ("s3", "r2", "b2", "wasabi"))
AZURE = Facts(cloud="azure", label="azure")
LOCAL = Facts(cloud="local", label="local")


def test_small_objects_go_where_requests_are_cheap_and_large_ones_where_storage_is():
    assert plan.write_order([S3, R2], 1, None, 30)[0] == 1
    assert plan.write_order([S3, B2, R2], 10**9, None, 30)[0] == 1
    # 90 days are due at Wasabi in any case.
    assert plan.write_order([B2, WASABI], 10**9, None, 1)[0] == 0
    assert plan.write_order([S3, LOCAL], 10**9, None, 30)[0] == 1
    assert plan.write_order([AZURE, S3], 10**9, None, 30)[0] == 1
    assert plan.write_order([S3, R2], 10**9, "STANDARD_IA", 30)[0] == 1


def test_members_are_asked_in_the_order_of_what_reading_costs():
    assert plan.read_order([S3, B2, R2]) == [2, 1, 0]
    assert plan.read_order([AZURE, S3, LOCAL]) == [2, 1, 0]


def three(*frozen):
    stores = [Faulty("s3"), Faulty("r2"), Faulty("b2")]
    members = [only_read(each) if each.label in frozen else each for each in stores]
    return stores, PricedDriver(members, [S3, R2, B2])


def test_a_new_object_goes_to_the_cheapest_and_stays_there():
    async def main():
        (s3, r2, b2), driver = three()
        assert driver.labels == ("s3", "r2", "b2")
        first = await put(driver, "k", bytes(10))
        assert (first.served_by, first.replicas) == ("b2", ("b2",))
        assert [len(each._objects.by_key) for each in (s3, r2, b2)] == [0, 0, 1]
        await put(s3, "old", b"1")
        assert (await put(driver, "old", b"2")).served_by == "s3"
        assert await fetched(driver, "old") == b"2"
        assert await keys(driver) == ["k", "old"]
        assert (await driver.head("old")).served_by == "s3"
        assert (await driver.delete("old")).existed
        assert not (await driver.delete("old")).existed
        assert await fetched(driver, "old") is None

    asyncio.run(main())


def test_an_object_at_two_members_becomes_one():
    async def main():
        (s3, r2, _), driver = three()
        await put(s3, "k", b"1")
        await put(r2, "k", b"2")
        assert await fetched(driver, "k") == b"2"
        assert (await put(driver, "k", b"3")).served_by == "r2"
        assert s3._objects.by_key == {}
        assert await fetched(driver, "k") == b"3"

    asyncio.run(main())


def test_a_member_that_is_down_hides_nothing_and_makes_nothing_up():
    async def main():
        (s3, r2, b2), driver = three()
        await put(s3, "k", b"1")
        r2.mode = "down"
        info = await driver.head("k")
        assert (info.served_by, info.degraded) == ("s3", True)
        for call in (
            lambda: driver.head("absent"),
            lambda: put(driver, "new"),
            lambda: driver.delete("k"),
            driver.list,
        ):
            with pytest.raises(StorageUnavailableError):
                await call()
        with pytest.raises(StorageUnavailableError):
            await driver.ping()
        assert b2._objects.by_key == {}

    asyncio.run(main())


def test_read_only_members_are_read_and_never_written():
    async def main():
        (s3, _, b2), driver = three("b2", "s3")
        await put(b2, "k", b"1")
        assert (await put(driver, "new")).served_by == "r2"
        for call in (lambda: put(driver, "k"), lambda: driver.delete("k")):
            with pytest.raises(StorageReadOnlyError, match="b2"):
                await call()
        assert await fetched(driver, "k", ReadOptions()) == b"1"
        assert "put" not in s3.calls
        assert not three("s3", "r2", "b2")[1].capabilities.writable

    asyncio.run(main())


def test_members_are_two_or_more_with_labels_of_their_own():
    for members, facts in (([Faulty("a")], [S3]), ([Faulty("a"), Faulty("b")], [S3, S3])):
        with pytest.raises(StorageConfigurationError):
            PricedDriver(members, facts)


class TestPriced(DriverConformance):
    @pytest.fixture
    def harness(self) -> Harness:
        stores = [each._objects for each in three()[0]]
        names = ("s3", "r2", "b2")

        def open_driver() -> PricedDriver:
            members = [Faulty(name, objects) for name, objects in zip(names, stores, strict=True)]
            return PricedDriver(members, [S3, R2, B2])

        return Harness(
            open=open_driver, peek=peek_at(*stores), poke=poke_at(*stores), fetch=fetch_from(*stores)
        )
