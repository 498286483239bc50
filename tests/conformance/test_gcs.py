"""The Google driver keeps the contract on a fake that has what the emulator lacks: generations, conditions."""

from functools import partial

import pytest

from credstore.testing.conformance import DriverConformance
from credstore.testing.harness import Harness
from tests.drivers.gcs.fake import QUANTUM, FakeGcs
from tests.drivers.gcs.opening import open_link

IN_PARTS = {"multipart_threshold": QUANTUM, "part_size": QUANTUM, "max_retries": 1}


def harness_of(fake: FakeGcs, **settings: object) -> Harness:
    fake.rewrites = 100_000

    async def peek(key: str) -> bytes | None:
        found = fake.now(key)
        return None if found is None else found.data

    async def poke(key: str, data: bytes) -> None:
        fake.put(key, data, fake.now(key).said)

    async def uploads(prefix: str) -> list[str]:
        left = [each.name for each in fake.uploads.values() if each.done is None]
        return [name for name in left if name.startswith(prefix)]

    return Harness(
        open=lambda: fake.driver(**IN_PARTS, **settings),
        peek=peek,
        poke=poke,
        requests=lambda: len(fake.sent),
        uploads=uploads,
        large=QUANTUM + 1,
        fetch=partial(open_link, fake),
    )


class TestGcs(DriverConformance):
    @pytest.fixture
    def harness(self) -> Harness:
        return harness_of(FakeGcs())


class TestGcsWithVersions(DriverConformance):
    @pytest.fixture
    def harness(self) -> Harness:
        return harness_of(FakeGcs(versions=True), versioning=True)


class TestGcsThatKeepsLittle(DriverConformance):
    """A service that keeps only a part of each chunk."""

    @pytest.fixture
    def harness(self) -> Harness:
        fake = FakeGcs()
        fake.keeps = QUANTUM
        return harness_of(fake)


@pytest.mark.parametrize("versions", [False, True])
class TestGcsWithRetention(DriverConformance):
    @pytest.fixture
    def harness(self, versions: bool) -> Harness:
        return harness_of(FakeGcs(versions=versions, object_retention=True), versioning=versions)
