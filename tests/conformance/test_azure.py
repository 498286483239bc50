"""The Azure driver keeps the contract on a fake that has what Azurite lacks: versions, copies from URLs."""

from functools import partial

import pytest

from credstore.testing.conformance import DriverConformance
from credstore.testing.harness import Harness
from tests.drivers.azure.fake import FakeAzure
from tests.drivers.azure.opening import open_link

PART = 50_000
IN_PARTS = {
    "multipart_threshold": PART, "part_size": PART, "single_copy_limit": PART, "copy_part_size": PART,
    "max_retries": 1,
}  # fmt: skip


def harness_of(fake: FakeAzure, *, counted: bool = True, **settings: object) -> Harness:
    async def peek(key: str) -> bytes | None:
        found = fake.now(key)
        return None if found is None else found.data

    async def poke(key: str, data: bytes) -> None:
        found = fake.now(key)
        fake.put(key, data, headers=found.headers, meta=found.meta)

    return Harness(
        open=lambda: fake.driver(**IN_PARTS, **settings),
        peek=peek,
        poke=poke,
        requests=(lambda: len(fake.sent)) if counted else None,
        large=PART + 1,
        fetch=partial(open_link, fake),
    )


class TestAzure(DriverConformance):
    @pytest.fixture
    def harness(self) -> Harness:
        return harness_of(FakeAzure())


class TestAzureWithVersions(DriverConformance):
    @pytest.fixture
    def harness(self) -> Harness:
        return harness_of(FakeAzure(versions=True), counted=False)


class TestAzureWithImmutability(DriverConformance):
    """Version-level immutability, where policies and legal holds keep versions."""

    @pytest.fixture
    def harness(self) -> Harness:
        return harness_of(FakeAzure(immutable=True), counted=False)
