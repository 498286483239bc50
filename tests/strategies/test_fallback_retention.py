"""Retention of two stores as one: both have to keep versions, and both lock what they have, or say which did not."""

import asyncio
from datetime import UTC, datetime

import pytest

from credstore.config.stores import MemoryConfig
from credstore.drivers.memory import MemoryDriver
from credstore.errors import (
    StorageError,
    StorageObjectNotFoundError,
    StorageRetainedError,
    StorageUnavailableError,
    StorageUnsupportedError,
)
from credstore.model import Retention
from credstore.strategies.fallback.driver import FallbackDriver
from credstore.strategies.prefixed import prefixed
from tests.conformance.versioned import VersionedMemory, Versions
from tests.drivers.s3.support import put_request

FAR = datetime(2037, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = datetime(2038, 1, 2, 3, 4, 5, tzinfo=UTC)


class Failing(VersionedMemory):
    """Fails the operations that are named."""

    failing: frozenset[str] = frozenset()

    async def head(self, *arguments, **options):
        self._fail("head")
        return await super().head(*arguments, **options)

    async def set_retention(self, *arguments, **options):
        self._fail("set_retention")
        await super().set_retention(*arguments, **options)

    def _fail(self, operation):
        if operation in self.failing:
            raise StorageUnavailableError("down")


def two():
    members = Failing(Versions()), Failing(Versions())
    return FallbackDriver(*members), *members


def test_stores_without_versions_retain_nothing_together():
    async def main():
        one = VersionedMemory(Versions())
        for members in ((one, MemoryDriver(MemoryConfig())), (MemoryDriver(MemoryConfig()), one)):
            driver = FallbackDriver(*members)
            assert not driver.capabilities.retention_modes
            assert not driver.capabilities.legal_holds
            await driver.put(put_request("k", b"1"))
            for call in (
                driver.put(put_request("k", b"1", retention=Retention(legal_hold=True))),
                driver.set_retention("k", FAR, "governance"),
                driver.set_legal_hold("k", held=True),
            ):
                with pytest.raises(StorageUnsupportedError):
                    await call

    asyncio.run(main())


def test_both_lock_what_they_have_and_the_longer_counts():
    async def main():
        driver, first, second = two()
        await first.put(put_request("k", b"1"))
        await second.put(put_request("k", b"1"))
        await second.put(put_request("only", b"1"))
        await driver.set_retention("k", FAR, "compliance")
        for member in (first, second):
            assert await member.get_retention("k") == Retention(mode="compliance", retain_until=FAR)
        await second.set_retention("k", LATER, "compliance")
        await first.set_legal_hold("k", held=True)
        assert await driver.get_retention("k") == Retention(
            mode="compliance", retain_until=LATER, legal_hold=True
        )
        await driver.set_legal_hold("only", held=True)
        assert await second.get_retention("only") == Retention(legal_hold=True)
        with pytest.raises(StorageObjectNotFoundError):
            await driver.set_legal_hold("absent", held=True)
        listed = (await driver.list_versions("k", exact=True)).entries
        outcomes = await driver.delete_versions([(each.key, each.version_id) for each in listed])
        assert all(isinstance(each, StorageError) for each in outcomes.values())

    asyncio.run(main())


def test_a_member_that_cannot_be_asked_means_that_nothing_is_done():
    async def main():
        driver, first, second = two()
        await first.put(put_request("k", b"1"))
        second.failing = frozenset({"head"})
        with pytest.raises(StorageUnavailableError) as caught:
            await driver.set_retention("k", FAR, "governance")
        assert caught.value.applied == "no"
        assert await first.get_retention("k") == Retention()

    asyncio.run(main())


def test_a_member_that_failed_after_the_other_is_named():
    async def main():
        driver, first, second = two()
        for member in (first, second):
            await member.put(put_request("k", b"1"))
        second.failing = frozenset({"set_retention"})
        with pytest.raises(StorageUnavailableError, match="it was done at memory") as caught:
            await driver.set_retention("k", FAR, "governance")
        assert caught.value.applied == "maybe"
        assert (await first.get_retention("k")).retain_until == FAR

    asyncio.run(main())


def test_below_a_prefix_the_right_object_is_locked():
    async def main():
        inner = MemoryDriver(MemoryConfig())
        part = prefixed(inner, "p/")
        await part.put(put_request("k", b"1"))
        await inner.put(put_request("k", b"1"))
        await part.set_retention("k", FAR, "governance")
        await part.set_legal_hold("k", held=True)
        kept = Retention(mode="governance", retain_until=FAR, legal_hold=True)
        assert await part.get_retention("k") == kept == await inner.get_retention("p/k")
        assert await inner.get_retention("k") == Retention()
        with pytest.raises(StorageRetainedError):
            await part.delete("k")
        await part.set_retention("k", None, "governance", bypass_governance=True)
        await part.set_legal_hold("k", held=False)
        assert (await part.delete("k")).existed

    asyncio.run(main())
