"""A store whose objects share their bodies keeps the contract of any driver."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from credstore.config.stores import LocalConfig, MemoryConfig
from credstore.driver import Driver
from credstore.drivers.local.driver import LocalDriver
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.strategies.abilities import able_as
from credstore.strategies.dedup import plan
from credstore.strategies.dedup.driver import ABILITIES, DedupDriver
from credstore.testing.conformance import DriverConformance
from credstore.testing.harness import Harness
from tests.conformance.memory import fetch_at, peek_at, poke_at
from tests.conformance.test_prefixed import files_of


def shared(inner: Driver, *, smallest: int = 1) -> Driver:
    return able_as(inner, DedupDriver, ABILITIES)(inner, smallest=smallest)


def harness_over(
    open_inner: Callable[[], Driver],
    peek: Callable[[str], Awaitable[bytes | None]],
    poke: Callable[[str, bytes], Awaitable[None]],
    smallest: int,
) -> Harness:
    """The same store, past whose driver the body of a reference is seen."""

    async def place(key: str) -> str:
        inner = open_inner()
        try:
            found = plan.target_of(await inner.head(key))
        finally:
            await inner.aclose()
        return key if found is None else found[0].key

    async def peek_body(key: str) -> bytes | None:
        return None if await peek(key) is None else await peek(await place(key))

    async def poke_body(key: str, data: bytes) -> None:
        await poke(await place(key), data)

    def open_shared() -> Driver:
        return shared(open_inner(), smallest=smallest)

    return Harness(open=open_shared, peek=peek_body, poke=poke_body, fetch=fetch_at(open_shared))


@pytest.mark.parametrize("smallest", [1, 100])
class TestDedupMemory(DriverConformance):
    @pytest.fixture
    def harness(self, smallest: int) -> Harness:
        objects = MemoryObjects()
        return harness_over(
            lambda: MemoryDriver(MemoryConfig(), objects=objects),
            peek_at(objects),
            poke_at(objects),
            smallest,
        )


class TestDedupLocal(DriverConformance):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> Harness:
        peek, poke = files_of(tmp_path)

        def place(key: str) -> str:
            """Where a key is on the disk, on which the driver has a `.credstore` of its own."""
            if not key.startswith(plan.BODIES):
                return key
            digest, number = key.removeprefix(plan.BODIES).split("/")
            (found,) = (each for each in tmp_path.rglob(number) if each.parent.name == digest)
            return str(found.relative_to(tmp_path))

        return harness_over(
            lambda: LocalDriver(LocalConfig(path=tmp_path, fsync=False)),
            lambda key: peek(place(key)),
            lambda key, data: poke(place(key), data),
            1,
        )
