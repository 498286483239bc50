"""What redundant members do in another order than they were asked, or while they are asked."""

import asyncio
import time

import pytest

from credstore.config.stores import MemoryConfig
from credstore.driver import READ_ALL, CopyRequest
from credstore.drivers.memory import MemoryDriver
from credstore.errors import StorageObjectNotFoundError, StorageQuorumError
from credstore.strategies.fastest.driver import FastestDriver
from credstore.strategies.redundant.driver import RedundantDriver
from credstore.testing.harness import fetched, put, request
from tests.strategies.weather import Weather, Weathered

LIFETIME = 600.0


class FirstHeld(MemoryDriver):
    """Makes its first write when it is let go, and later ones at once."""

    def __init__(self) -> None:
        super().__init__(MemoryConfig())
        self.let_go = asyncio.Event()
        self.puts = 0

    async def put(self, request):
        self.puts += 1
        if self.puts == 1:
            await self.let_go.wait()
        return await super().put(request)


@pytest.mark.parametrize("change", ["put", "delete", "copy"])
def test_a_slow_change_never_undoes_the_next_one_at_its_member(change):
    async def main():
        steady, lost, slow = Weathered("steady"), Weathered("lost"), FirstHeld()
        now = 0.0
        driver = RedundantDriver([steady, lost, slow], patience=60.0, clock=lambda: now)
        await put(driver, "k", b"first")
        assert slow.puts == 1
        lost.weather = Weather.DOWN
        if change == "put":
            later = put(driver, "k", b"second")
        elif change == "delete":
            later = driver.delete("k")
        else:
            for member in (steady, slow):
                await put(member, "from", b"second")
            source = await driver.head("from")
            later = driver.copy(CopyRequest(source=source, destination="k", write_id="c" * 32))
        task = asyncio.ensure_future(later)
        for _ in range(50):
            await asyncio.sleep(0)
        slow.let_go.set()
        await task
        lost.weather, steady.weather = Weather.WELL, Weather.DOWN
        now += 600  # Both are asked again.
        assert await fetched(driver, "k") == (None if change == "delete" else b"second")
        await driver.settled()
        await driver.aclose()

    asyncio.run(main())


def test_a_change_waits_for_the_one_before_until_its_deadline():
    async def main():
        slow = FirstHeld()
        driver = RedundantDriver([Weathered("steady"), Weathered("lost"), slow])
        await put(driver, "k", b"first")
        driver.members[1].driver.weather = Weather.DOWN
        with pytest.raises(StorageQuorumError) as caught:
            await driver.put(request("k", b"second", deadline=time.monotonic() + 0.05))
        assert slow.puts == 1
        assert "an earlier change of this key was still under way there" in str(caught.value)
        assert not driver.members[2].down  # It was not asked, so nothing is known of it.
        slow.let_go.set()
        await driver.aclose()

    asyncio.run(main())


def test_a_change_that_was_given_up_does_not_let_the_next_one_pass():
    async def main():
        slow = FirstHeld()
        driver = RedundantDriver([Weathered("steady"), Weathered("lost"), slow])
        await put(driver, "k", b"first")
        driver.members[1].driver.weather = Weather.DOWN
        second = asyncio.ensure_future(put(driver, "k", b"second"))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        third = asyncio.ensure_future(put(driver, "k", b"third"))
        for _ in range(50):
            await asyncio.sleep(0)
        assert slow.puts == 1
        slow.let_go.set()
        await third
        assert slow._objects.by_key["k"].data == b"third"
        await driver.settled()
        assert not driver._writes.busy
        await driver.aclose()

    asyncio.run(main())


class Interrupted(Weathered):
    """Something else happens just before its first answer."""

    def __init__(self, behind: Weathered) -> None:
        super().__init__(behind.label)
        self._objects = behind._objects
        self.meanwhile = None
        self.running: asyncio.Future[None] | None = None

    async def _interrupt(self) -> None:
        if self.meanwhile is not None:
            self.running = self.running or asyncio.ensure_future(self.meanwhile())
            await self.running

    async def get(self, key, options=READ_ALL):
        await self._interrupt()
        return await super().get(key, options)

    async def head(self, key, options=READ_ALL):
        await self._interrupt()
        return await super().head(key, options)

    async def list(self, prefix="", cursor=None, **options):
        await self._interrupt()
        return await super().list(prefix, cursor, **options)


@pytest.mark.parametrize("kind", [RedundantDriver, FastestDriver])
@pytest.mark.parametrize("late", [0, 1])
@pytest.mark.parametrize("verb", ["list", "delimited", "get", "head", "delete", "copy", "repair"])
def test_what_was_deleted_never_shows_while_its_tombstones_are_given_up(verb, late, kind):
    """One member missed the deletion until now: it is mended, and the tombstones go, while others are asked."""
    key = "folder/object" if verb == "delimited" else "object"

    async def main():
        now = 1_700_000_000.0
        behind = [Weathered(f"m{number}") for number in range(3)]
        members = [Interrupted(each) for each in behind]
        settings = {"lifetime": LIFETIME, "patience": 60.0, "wall": lambda: now, "clock": lambda: now}
        driver, other = kind(members, **settings), kind(behind, **settings)
        await put(other, key, b"1")
        source = await other.head(key)
        await other.settled()
        behind[0].weather = Weather.DOWN
        await other.delete(key)
        await other.settled()
        behind[0].weather = Weather.WELL
        now += LIFETIME + 100

        async def scrub():
            report = await other.scrubber.scrub()
            assert report.equal
            assert not any(member._objects.by_key for member in behind)

        members[late].meanwhile = scrub
        if verb in {"list", "delimited"}:
            page = await driver.list(delimiter="/" if verb == "delimited" else None)
            assert (page.entries, page.prefixes) == ([], [])
        elif verb == "get":
            assert await fetched(driver, key) is None
        elif verb == "head":
            with pytest.raises(StorageObjectNotFoundError):
                await driver.head(key)
        elif verb == "repair":
            await driver.scrubber._mender.repair(key)
            assert not any(member._objects.by_key for member in behind), "it is back"
        elif verb == "delete":
            assert (await driver.delete(key)).existed is False
        else:
            with pytest.raises(StorageObjectNotFoundError):
                await driver.copy(CopyRequest(source=source, destination="new", write_id="c" * 32))
        assert members[late].running is not None, "not reached"
        await driver.aclose()
        await other.aclose()

    asyncio.run(main())
