"""Composite stores one of whose members lists in an order of its own."""

import asyncio

import pytest

from credstore import MemoryConfig
from credstore.provider.provider import StorageProvider
from credstore.strategies.fallback.driver import FallbackDriver
from credstore.testing.harness import keys
from tests.conformance.versioned import VersionedMemory, Versions
from tests.drivers.s3.support import put_request
from tests.orders import ORDERS, odd_order


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("odd", [0, 1])
def test_every_version_of_one_key_is_removed_at_a_member_without_versions(odd, order):
    async def run():
        members = [VersionedMemory(Versions()), odd_order(order)(MemoryConfig())]
        for member in members:
            for key in ("k", "k/1", "k/2", "ka", "kb", "j", "l"):
                await member.put(put_request(key, b"1"))
        driver = FallbackDriver(*(members if odd else reversed(members)))
        listed = (await driver.list_versions("k", exact=True)).entries
        assert {each.key for each in listed} == {"k"}
        async with StorageProvider(driver, MemoryConfig()) as provider:
            assert (await provider.delete_versions("k", exact=True)).complete
            for member in members:
                assert await keys(member) == ["j", "k/1", "k/2", "ka", "kb", "l"]

    asyncio.run(run())
