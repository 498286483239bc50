"""The redundant strategy, one promise after the other."""

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import sha256

import pytest

from credstore.config.stores import MemoryConfig
from credstore.driver import READ_ALL, CopyRequest, Precondition, ReadOptions, SignRequest
from credstore.driver.reader import ObjectReader
from credstore.drivers.memory import MemoryDriver
from credstore.errors import (
    ErrorCode,
    StorageConfigurationError,
    StorageConflictError,
    StorageConnectionError,
    StorageIntegrityError,
    StorageInvalidKeyError,
    StorageInvalidRequestError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
    StorageQuorumError,
    StorageUnavailableError,
    StorageUnsupportedError,
)
from credstore.strategies.fastest.driver import FastestDriver
from credstore.strategies.health import Member
from credstore.strategies.redundant.driver import RedundantDriver
from credstore.strategies.redundant.plan import JOURNAL, OWN, TOMBS, able_together, quorums_of
from credstore.strategies.redundant.scrubbing import share_of
from credstore.strategies.redundant.stamps import STAMP, HybridClock, Stamp, stamped
from credstore.strategies.redundant.writing import Change, repeatable
from credstore.testing.harness import Stream, fetched, keys, names, put, request
from tests.strategies.weather import Weather, Weathered

BIG = bytes(range(256)) * 4000


class Held(MemoryDriver):
    """Makes a write of a user's object only when it is let go."""

    def __init__(self, config: MemoryConfig) -> None:
        super().__init__(config)
        self.let_go = asyncio.Event()

    async def put(self, request):
        if not request.key.startswith(OWN):
            await self.let_go.wait()
        return await super().put(request)


class Three:
    """A redundant driver over three members, and a clock to move."""

    def __init__(self, **settings) -> None:
        self.now = 1_700_000_000.0
        self.members = [Weathered(f"m{number}") for number in range(3)]
        self.settings = {"patience": 60.0, **settings}
        self.driver = self.another()

    def another(self, wall=None) -> RedundantDriver:
        """A driver of another process over the same members."""
        return RedundantDriver(
            self.members, wall=wall or (lambda: self.now), clock=lambda: self.now, **self.settings
        )

    def weather(self, *each: Weather) -> None:
        for member, weather in zip(self.members, each, strict=True):
            member.weather = weather

    def held(self, prefix: str = "") -> list[list[str]]:
        """What each member has, without what the strategy keeps."""
        return [
            [
                key
                for key in sorted(member._objects.by_key)
                if key.startswith(prefix) and not key.startswith(OWN)
            ]
            for member in self.members
        ]

    def own(self, prefix: str) -> list[list[str]]:
        """What the strategy keeps at each member."""
        return [
            [key[len(prefix) :] for key in sorted(member._objects.by_key) if key.startswith(prefix)]
            for member in self.members
        ]


@asynccontextmanager
async def three(**settings):
    store = Three(**settings)
    try:
        yield store
    finally:
        store.weather(*[Weather.WELL] * 3)
        await store.driver.aclose()


WELL, DOWN, LOST, LAGGING = Weather.WELL, Weather.DOWN, Weather.LOST, Weather.LAGGING


def check(work):
    """Run one test's coroutine."""

    async def bounded():
        async with asyncio.timeout(60):
            await work()

    asyncio.run(bounded())


def test_every_member_has_the_same_bytes_under_one_write_id():
    async def main():
        async with three() as store:
            order = request("key", b"1", system={"x-compression": "none"})
            result = await store.driver.put(order)
            await store.driver.settled()
            held = [member._objects.by_key["key"] for member in store.members]
            assert {each.data for each in held} == {b"1"}
            assert {each.info.write_id for each in held} == {order.write_id}
            assert len({each.info.system[STAMP] for each in held}) == 1
            assert (result.served_by, result.degraded) == ("m0", False)
            info = await store.driver.head("key")
            assert dict(info.system) == {"x-compression": "none"}

    check(main)


def test_two_of_three_are_enough_and_the_result_says_so():
    async def main():
        async with three() as store:
            store.weather(DOWN, WELL, WELL)
            result = await put(store.driver, "key", b"1")
            assert (result.replicas, result.degraded) == (("m1", "m2"), True)
            found = await store.driver.head("key")
            assert (found.served_by, found.degraded) == ("m1", True)
            assert await fetched(store.driver, "key") == b"1"

    check(main)


def test_fewer_than_the_quorum_is_an_error_with_a_list():
    async def main():
        async with three() as store:
            await put(store.driver, "key", b"1")
            await store.driver.settled()
            store.weather(WELL, DOWN, LOST)
            with pytest.raises(StorageQuorumError) as caught:
                await put(store.driver, "key", b"2")
            error = caught.value
            assert (error.code, error.applied, error.retryable) == (ErrorCode.QUORUM_NOT_MET, "maybe", True)
            assert [(each.replica, each.applied) for each in error.outcomes] == [
                ("m0", "yes"),
                ("m1", "no"),
                ("m2", "maybe"),
            ]
            assert "m1 is down" in error.message
            store.now += 60
            store.weather(WELL, WELL, WELL)
            assert await fetched(store.driver, "key") == b"2", "it may surface later"

    check(main)


def test_what_no_member_applied_was_not_applied():
    async def main():
        async with three() as store:
            store.weather(DOWN, DOWN, DOWN)
            with pytest.raises(StorageQuorumError) as caught:
                await put(store.driver, "key", b"1")
            assert caught.value.applied == "no"

    check(main)


def test_not_found_needs_r_definite_absences():
    async def main():
        async with three() as store:
            with pytest.raises(StorageObjectNotFoundError):
                await store.driver.head("key")
            store.weather(WELL, DOWN, DOWN)
            with pytest.raises(StorageQuorumError):
                await store.driver.head("key")
            with pytest.raises(StorageQuorumError):
                await store.driver.list()

    check(main)


def test_a_member_that_missed_a_write_is_outvoted_and_mended():
    async def main():
        async with three() as store:
            await put(store.driver, "key", b"old")
            await store.driver.settled()
            store.weather(DOWN, WELL, WELL)
            await put(store.driver, "key", b"new")
            await store.driver.settled()
            store.weather(WELL, WELL, WELL)
            store.now += 60
            other = store.another()
            async with await other.get("key") as reader:
                assert await reader.read() == b"new"
                assert reader.info.degraded
            await other.settled()
            assert store.members[0]._objects.by_key["key"].data == b"new"
            assert not (await other.head("key")).degraded

    check(main)


def test_a_member_that_missed_a_delete_brings_nothing_back():
    async def main():
        async with three() as store:
            await put(store.driver, "key", b"1")
            await store.driver.settled()
            store.weather(WELL, WELL, DOWN)
            assert (await store.driver.delete("key")).existed
            await store.driver.settled()
            assert store.held() == [[], [], ["key"]]
            store.weather(DOWN, WELL, WELL)
            store.now += 60
            other = store.another()
            assert await fetched(other, "key") is None
            assert await keys(other) == []
            assert await names(other, delimiter="/") == []
            store.weather(WELL, WELL, WELL)
            store.now += 60
            report = await other.scrubber.scrub()
            assert report.equal
            assert store.held() == [[], [], []]
            assert store.own(TOMBS) == [["key"]] * 3
            store.now += 3601
            await other.scrubber.scrub()
            assert store.own(TOMBS) == [[], [], []]

    check(main)


def test_a_tombstone_stays_while_a_member_is_away():
    async def main():
        async with three() as store:
            await put(store.driver, "key", b"1")
            await store.driver.settled()
            store.weather(WELL, WELL, DOWN)
            await store.driver.delete("key")
            store.now += 100_000
            report = await store.driver.scrubber.scrub()
            assert not report.equal
            assert store.own(TOMBS)[:2] == [["key"], ["key"]]

    check(main)


def test_a_write_that_was_under_way_when_the_object_was_deleted_stays_hidden():
    async def main():
        async with three() as store:
            store.weather(LAGGING, LAGGING, LAGGING)
            with pytest.raises(StorageQuorumError):
                await put(store.driver, "key", b"late")
            late = [member._late for member in store.members]
            for member in store.members:
                member._late = []
            store.weather(WELL, WELL, WELL)
            store.now += 60
            await store.driver.delete("key")
            for member, calls in zip(store.members, late, strict=True):
                member._late = calls
                await member.land()
            assert store.held() == [["key"]] * 3
            assert await fetched(store.driver, "key") is None
            assert await keys(store.driver) == []
            await store.driver.scrubber.scrub()
            assert store.held() == [[], [], []]

    check(main)


def test_writing_again_after_a_delete_is_seen_at_once():
    async def main():
        async with three() as store:
            await put(store.driver, "key", b"1")
            await store.driver.delete("key")
            await put(store.driver, "key", b"2")
            assert await fetched(store.driver, "key") == b"2"
            assert await keys(store.driver) == ["key"]

    check(main)


def test_a_clock_that_goes_back_does_not_hide_what_this_process_writes():
    async def main():
        async with three() as store:
            other = store.another(wall=lambda: store.now - 500)
            await put(store.driver, "key", b"1")
            assert await fetched(other, "key") == b"1"
            await put(other, "key", b"2")
            assert await fetched(store.driver, "key") == b"2"
            assert (await other.delete("key")).existed
            assert await fetched(store.driver, "key") is None

    check(main)


def test_stamps_ascend_whatever_the_clock_does():
    now = [5.0]
    clock = HybridClock(lambda: now[0])
    first = clock.next()
    now[0] = 1.0
    assert clock.next() > first
    clock.saw(Stamp(10**18, "x"))
    assert clock.next() > 10**18 + 1  # Between them is a copy of an object onto itself.


@pytest.mark.parametrize("size", [100, len(BIG)])
def test_a_bad_replica_is_passed_over_and_mended(size):
    async def main():
        async with three() as store:
            data = BIG[:size]
            await put(store.driver, "key", data)
            await store.driver.settled()
            store.members[0].rot("key")
            if size < 1000:
                async with await store.driver.get("key") as reader:
                    assert await reader.read() == data
                    assert (reader.info.served_by, reader.info.degraded) == ("m1", True)
            else:
                with pytest.raises(StorageIntegrityError) as caught:
                    await fetched(store.driver, "key")
                assert caught.value.retryable
                assert await fetched(store.driver, "key") == data, "another member is asked first now"
            report = await store.driver.scrubber.scrub()
            (found,) = report.findings
            assert (found.key, found.replica, found.kind, found.mended) == ("key", "m0", "corrupt", True)
            assert not store.members[0].is_rotten("key")

    check(main)


def test_a_corrupt_replica_is_never_a_source():
    async def main():
        async with three() as store:
            store.weather(WELL, WELL, DOWN)
            await put(store.driver, "key", b"good")
            await store.driver.settled()
            store.members[0].rot("key")
            store.weather(WELL, WELL, WELL)
            store.now += 60
            report = await store.driver.scrubber.scrub(deep=False)
            assert report.equal
            assert store.members[2]._objects.by_key["key"].data == b"good"

    check(main)


@pytest.mark.parametrize("bad", [1, 2, 3])
def test_a_read_serves_the_last_good_copy_or_says_that_all_are_damaged(bad):
    async def main():
        async with three() as store:
            await put(store.driver, "key", b"good")
            await store.driver.settled()
            for member in store.members[:bad]:
                member.rot("key")
            if bad < len(store.members):
                assert await fetched(store.driver, "key") == b"good"
            else:
                with pytest.raises(StorageIntegrityError):
                    await fetched(store.driver, "key")

    check(main)


def test_with_every_copy_bad_nothing_is_mended_and_the_report_says_so():
    async def main():
        async with three() as store:
            await put(store.driver, "key", b"good")
            await store.driver.settled()
            for member in store.members:
                member.rot("key")
            report = await store.driver.scrubber.scrub()
            assert not report.equal
            assert [each.kind for each in report.findings] == ["corrupt"] * 3
            with pytest.raises(StorageIntegrityError):
                await fetched(store.driver, "key")

    check(main)


def test_three_different_versions_end_as_the_newest():
    async def main():
        async with three() as store:
            for number, member in enumerate(store.members):
                store.weather(DOWN, DOWN, DOWN)
                member.weather = WELL
                store.now += 60
                with pytest.raises(StorageQuorumError):
                    await put(store.another(), "key", b"%d" % number)
            store.weather(WELL, WELL, WELL)
            store.now += 60
            report = await store.driver.scrubber.scrub()
            assert {each.kind for each in report.findings} == {"outdated"}
            assert await fetched(store.driver, "key") == b"2"
            assert len({member.version("key") for member in store.members}) == 1

    check(main)


class Dying(Weathered):
    """Its bodies end in the middle with a broken connection."""

    at = 300_000

    async def get(self, key, options=READ_ALL):
        reader = await super().get(key, options)
        if reader.length is None or reader.length <= self.at:
            return reader

        async def some():
            done = 0
            async for chunk in reader:
                yield chunk[: self.at - done]
                done += len(chunk)
                if done >= self.at:
                    raise StorageConnectionError("the connection broke")

        return ObjectReader(reader.info, some(), length=reader.length)


@pytest.mark.parametrize(("start", "end"), [(0, None), (1000, None), (1000, len(BIG) - 5)])
def test_a_body_whose_member_dies_midway_continues_at_another(start, end):
    async def main():
        store = Three()
        store.members[0] = Dying("m0")
        store.driver = store.another()
        await put(store.driver, "key", BIG)
        await store.driver.settled()
        options = ReadOptions(start=start, end=end)
        assert await fetched(store.driver, "key", options) == BIG[start:end]
        gets = [member.calls.count("get") for member in store.members]
        assert gets == [1, 1, 0]
        await store.driver.aclose()

    check(main)


@pytest.mark.parametrize("dies", ["when it is asked for the bytes", "while it sends them"])
def test_a_version_that_only_a_dying_member_has_gives_way_to_what_the_others_have(dies):
    class Alone(Weathered):
        """Gets a write that the others do not have yet while it is looked at, and dies."""

        async def head(self, key, options=READ_ALL):
            if key == "key" and not self.has_it:
                self.has_it = True
                newer = stamped({}, 2**62)
                await MemoryDriver.put(self, request("key", b"2", system=newer))
            return await super().head(key, options)

        async def get(self, key, options=READ_ALL):
            if not self.has_it:
                raise StorageObjectNotFoundError("there is no such object")
            self.weather = DOWN
            if dies == "while it sends them":

                async def none():
                    raise StorageConnectionError("the connection broke")
                    yield b""

                return ObjectReader(await MemoryDriver.head(self, key), none(), length=1)
            return await super().get(key, options)

    async def main():
        store = Three()
        store.members[0] = alone = Alone("m0")
        store.driver = store.another()
        alone.has_it = True
        store.weather(DOWN, WELL, WELL)
        await put(store.driver, "key", b"1")
        await store.driver.settled()
        store.weather(WELL, WELL, WELL)
        store.driver = store.another()
        alone.has_it = False
        assert await fetched(store.driver, "key") == b"1"
        assert alone.has_it
        assert alone.weather is DOWN
        await store.driver.aclose()

    check(main)


def test_a_body_is_not_continued_with_another_version():
    async def main():
        store = Three()
        store.members[0] = Dying("m0")
        store.driver = store.another()
        await put(store.driver, "key", BIG)
        await store.driver.settled()
        async with await store.driver.get("key") as reader:
            await anext(reader)
            for member in store.members[1:]:
                await MemoryDriver.put(member, request("key", BIG[::-1]))
            with pytest.raises((StorageConnectionError, StoragePreconditionFailedError)):
                async for _ in reader:
                    pass
        await store.driver.aclose()

    check(main)


def test_a_dead_member_costs_one_call_not_one_each():
    async def main():
        async with three() as store:
            store.weather(DOWN, WELL, WELL)
            for number in range(10):
                await put(store.driver, f"{number}")
                await fetched(store.driver, f"{number}")
            await store.driver.settled()
            assert len(store.members[0].calls) == 1
            store.now += 1.5
            await fetched(store.driver, "0")
            assert len(store.members[0].calls) <= 3, "one trial"

    check(main)


def test_a_member_that_comes_back_catches_up_by_itself():
    async def main():
        async with three() as store:
            await put(store.driver, "gone")
            await store.driver.settled()
            store.weather(WELL, WELL, DOWN)
            await put(store.driver, "key", b"1")
            await store.driver.delete("gone")
            await store.driver.settled()
            assert store.own(JOURNAL)[:2] == [["gone", "key"]] * 2
            store.weather(WELL, WELL, WELL)
            store.now += 60
            await put(store.driver, "other")
            await store.driver.settled()
            assert store.held() == [["key", "other"]] * 3
            assert store.own(JOURNAL) == [[], [], []]

    check(main)


class Unconditional(Weathered):
    """Deletes whatever is there."""

    @property
    def capabilities(self):
        return replace(super().capabilities, conditional_delete=False)


@pytest.mark.parametrize("kind", [Weathered, Unconditional])
@pytest.mark.parametrize("way", ["catch_up", "scrub"])
def test_a_change_missed_while_an_earlier_one_is_made_up_for_stays_noted(kind, way):
    async def main():
        async with three() as store:
            store.members = [kind(f"m{number}") for number in range(3)]
            store.driver = store.another()
            store.weather(WELL, WELL, DOWN)
            await put(store.driver, "key", b"1")
            await store.driver.settled()
            store.weather(WELL, WELL, WELL)
            store.now += 60
            mender = store.driver.scrubber._mender
            reconcile = mender.reconcile

            async def compared(key, **how):
                outcome = await reconcile(key, **how)
                if store.members[2].weather is WELL:
                    store.weather(WELL, WELL, DOWN)
                    await put(store.driver, "key", b"2")
                    while store.driver._writes.busy:  # `settled` would wait for this, too.
                        await asyncio.sleep(0)
                return outcome

            mender.reconcile = compared
            await getattr(store.driver.scrubber, way)()
            assert store.own(JOURNAL)[:2] == [["key"]] * 2
            store.weather(WELL, WELL, WELL)
            store.now += 60
            mender.reconcile = reconcile
            assert await store.driver.scrubber.catch_up() == 1
            assert store.own(JOURNAL) == [[], [], []]
            assert {member._objects.by_key["key"].data for member in store.members} == {b"2"}

    check(main)


@pytest.mark.parametrize("turns", range(4))
def test_whoever_has_ended_when_enough_have_counts(turns):
    """In whichever turn of the loop; a deletion leaves the object where it is at a member that does not count."""

    async def main():
        gate = asyncio.Event()

        async def work(later):
            await gate.wait()
            for _ in range(later):
                await asyncio.sleep(0)

        change = Change(2)
        for number, later in enumerate((0, 0, turns)):
            change.start(asyncio.get_running_loop(), work(later), Member(Weathered("m"), "m", number))

        asyncio.get_running_loop().call_soon(gate.set)
        await change.wait()
        assert len(change.done) >= 2
        assert not any(task.done() for task in change.running)
        await change.cancel()

    check(main)


class Meddled(Weathered):
    """Something else happens just before an object, or its tombstone, is put here."""

    when = ""
    first = None

    async def put(self, request):
        first, key = self.first, request.key
        if first is not None and key == self.when:
            self.first = None
            await first()
        return await super().put(request)


@pytest.mark.parametrize("kind", [RedundantDriver, FastestDriver])
@pytest.mark.parametrize("when", ["key", TOMBS + "key"])
def test_a_repair_leaves_nothing_of_what_is_deleted_meanwhile(when, kind):
    """Neither where all of the deletion comes before the put of the repair, nor where only its look does."""

    async def main():
        async with three() as store:
            store.members[0] = meddled = Meddled("m0")
            store.driver = kind(store.members, wall=lambda: store.now, clock=lambda: store.now)
            await put(store.driver, "key", b"1")
            await store.driver.settled()
            del meddled._objects.by_key["key"]
            mender = store.driver.scrubber._mender
            seen = (await mender._looking.look_at_all("key", None)).found

            async def repair():
                """As one that has looked before the deletion began."""
                without, *good = seen
                if when == "key":
                    with pytest.raises(StorageConflictError):
                        await mender.replicate("key", good, good[0].info, without, exclusive=False)
                else:
                    await mender.replicate("key", good, good[0].info, without, exclusive=False)

            async def delete():
                await store.driver.delete("key")

            begin, meddled.first = (repair, delete) if when == "key" else (delete, repair)
            meddled.when = when
            await begin()
            assert meddled.first is None
            await store.driver.settled()
            assert store.held() == [[], [], []]
            assert await fetched(store.driver, "key") is None

    check(main)


@pytest.mark.parametrize("prompt", [True, False])
def test_a_member_that_takes_longer_than_the_lifetime_has_missed_the_write(prompt):
    async def main():
        class Hanging(Held):
            async def put(self, request):
                self.began = True
                return await super().put(request)

        hanging = Hanging(MemoryConfig())
        members = [*(Weathered(f"m{number}") for number in range(2)), hanging]
        driver = (RedundantDriver if prompt else FastestDriver)(members, lifetime=0.05)
        writing = asyncio.ensure_future(put(driver, "key", b"1"))
        if prompt:
            await writing
            await driver.settled()
            assert [key async for key in driver.journal.missed()] == ["key"]
            assert driver.members[2].down
        else:
            await asyncio.wait([writing], timeout=0)
            hanging.let_go.set()
            await writing
        assert not driver._writes.busy
        await driver.aclose()

    check(main)


def test_a_slow_member_is_joined_by_the_next():
    async def main():
        async with three(patience=0.0) as store:
            await put(store.driver, "key", b"1")
            await store.driver.settled()
            store.weather(Weather.SLOW, WELL, WELL)
            assert await fetched(store.driver, "key") == b"1"

    check(main)


def test_a_slow_member_does_not_hold_up_a_write():
    async def main():
        gate = asyncio.Event()

        class Slow(Weathered):
            async def put(self, request):
                await gate.wait()
                return await super().put(request)

        store = Three()
        store.members[1] = Slow("m1")
        store.driver = store.another()
        result = await put(store.driver, "key", b"1")
        assert (result.replicas, result.degraded) == (("m0", "m2"), False)
        gate.set()
        await store.driver.aclose()
        assert store.held() == [["key"]] * 3

    check(main)


def test_there_are_no_conditions_and_nothing_a_member_lacks():
    async def main():
        async with three() as store:
            able = store.driver.capabilities
            able_to = (able.conditional_create, able.conditional_replace, able.conditional_delete)
            assert able_to == (False, False, False)
            with pytest.raises(StorageUnsupportedError):
                await store.driver.put(request("key", precondition=Precondition("create")))
            with pytest.raises(StorageUnsupportedError):
                await store.driver.sign(SignRequest(key="key", method="PUT"))
            plain = MemoryDriver(MemoryConfig())
            less = replace(plain.capabilities, durable=False, response_overrides=False, max_object_size=10)
            assert not able_together([plain.capabilities, less]).response_overrides
            assert able_together([plain.capabilities, less]).max_object_size == 10

    check(main)


def test_a_link_leads_to_a_member_that_has_the_object():
    async def main():
        async with three() as store:
            store.weather(DOWN, WELL, WELL)
            await put(store.driver, "key")
            await store.driver.settled()
            store.weather(WELL, WELL, WELL)
            store.now += 60
            link = await store.another().sign(SignRequest(key="key"))
            assert link.served_by == "m1"
            with pytest.raises(StorageObjectNotFoundError):
                await store.driver.sign(SignRequest(key="absent"))

    check(main)


def test_an_etag_is_still_known_when_the_member_that_gave_it_is_gone():
    async def main():
        async with three() as store:
            await put(store.driver, "key", b"1")
            await store.driver.settled()
            etag = (await store.driver.head("key")).etag
            store.weather(DOWN, WELL, WELL)
            assert await fetched(store.driver, "key", ReadOptions(if_match=etag)) == b"1"
            await put(store.driver, "key", b"2")
            with pytest.raises(StoragePreconditionFailedError):
                await fetched(store.driver, "key", ReadOptions(if_match=etag))

    check(main)


def test_a_copy_reaches_members_without_the_source():
    async def main():
        async with three() as store:
            store.weather(DOWN, WELL, WELL)
            await put(store.driver, "key", b"1")
            await store.driver.settled()
            store.weather(WELL, WELL, DOWN)
            store.now += 60
            source = await store.driver.head("key")
            copy = CopyRequest(source=source, destination="copy", write_id="0" * 32)
            result = await store.driver.copy(copy)
            assert result.replicas == ("m0", "m1")
            assert await fetched(store.driver, "copy") == b"1"

    check(main)


def test_members_without_conditions_are_mended_only_alone():
    async def main():
        store = Three()
        for member in store.members:
            member._capabilities = replace(
                member._capabilities,
                conditional_create=False,
                conditional_replace=False,
                conditional_delete=False,
            )
        store.driver = store.another()
        store.weather(DOWN, WELL, WELL)
        await put(store.driver, "key", b"1")
        await store.driver.settled()
        store.weather(WELL, WELL, WELL)
        store.now += 60
        report = await store.driver.scrubber.scrub()
        assert [(each.replica, each.kind, each.mended) for each in report.findings] == [
            ("m0", "missing", False)
        ]
        assert "exclusive" in report.findings[0].reason
        report = await store.driver.scrubber.scrub(exclusive=True)
        assert report.equal
        assert store.held() == [["key"]] * 3
        await store.driver.aclose()

    check(main)


def test_seven_shares_are_the_whole():
    async def main():
        async with three() as store:
            for number in range(40):
                await put(store.driver, f"{number}")
            await store.driver.settled()
            found = [(await store.driver.scrubber.scrub(share=f"{each}/7")).objects for each in range(1, 8)]
            assert sum(found) == 40
            assert max(found) < 20

    check(main)


@pytest.mark.parametrize("text", ["", "1", "0/7", "8/7", "1/0", "a/7", "1/7/2", "-1/7", "1/²"])
def test_a_share_is_a_part_of_a_whole(text):
    with pytest.raises(StorageInvalidRequestError, match="share"):
        share_of(text)


@pytest.mark.parametrize(("write", "read"), [(0, None), (4, None), (1, 2), (2, 1), (None, 0)])
def test_quorums_have_to_overlap(write, read):
    with pytest.raises(StorageConfigurationError, match=r"write_quorum|read_quorum"):
        quorums_of(3, write, read)


def test_the_strategys_own_keys_are_refused():
    async def main():
        async with three() as store:
            for own in OWN:
                with pytest.raises(StorageInvalidKeyError) as caught:
                    await put(store.driver, f"{own}x")
                assert caught.value.code == ErrorCode.RESERVED_KEY

    check(main)


def test_own_folders_do_not_show_but_what_else_is_there_does():
    async def main():
        async with three() as store:
            await put(store.driver, "a/b")
            await store.driver.delete("a/b")
            assert await names(store.driver, delimiter="/") == []
            await put(store.driver, ".credstore/keys/1")
            assert await names(store.driver, delimiter="/") == [".credstore/"]
            assert await names(store.driver, ".credstore/", delimiter="/") == [".credstore/keys/"]
            assert await keys(store.driver, limit=1) == [".credstore/keys/1"]

    check(main)


def test_what_others_put_there_is_spread():
    async def main():
        async with three() as store:
            for member in store.members[:2]:
                await MemoryDriver.put(member, request("key", b"mirrored"))
            assert await fetched(store.driver, "key") == b"mirrored"
            report = await store.driver.scrubber.scrub()
            assert report.equal
            assert [member._objects.by_key["key"].data for member in store.members] == [b"mirrored"] * 3
            assert await fetched(store.driver, "key") == b"mirrored"
            assert not (await store.driver.scrubber.scrub()).findings

    check(main)


def test_a_stream_that_can_be_read_once_reaches_all(monkeypatch):
    monkeypatch.setattr("credstore.strategies.redundant.writing.IN_MEMORY", 10)

    async def main():
        async with three() as store:
            parts = [b"12345678", b"9", b"0" * 50]
            await store.driver.put(request("key", body=Stream(*parts), digest=None))
            assert await fetched(store.driver, "key") == b"".join(parts)
            await store.driver.settled()
            with pytest.raises(StorageInvalidRequestError, match="read once"):
                await repeatable(Stream(*parts), 20)
            assert sha256(b"".join(parts)).digest() == (await store.driver.head("key")).digest

    check(main)


def test_a_cancelled_write_leaves_no_task_behind():
    async def main():
        class Hanging(Weathered):
            reached = asyncio.Event()

            async def put(self, request):
                self.reached.set()
                await asyncio.Event().wait()

        store = Three()
        store.members = [Hanging(f"m{number}") for number in range(3)]
        store.driver = store.another()
        task = asyncio.ensure_future(put(store.driver, "key"))
        await Hanging.reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await store.driver.aclose()

    check(main)


def test_a_ping_names_who_is_down():
    async def main():
        async with three() as store:
            await store.driver.ping()
            store.weather(DOWN, WELL, WELL)
            with pytest.raises(StorageUnavailableError, match=r"this is m0; m1, m2 work"):
                await store.driver.ping()
            store.weather(DOWN, DOWN, WELL)
            with pytest.raises(StorageQuorumError):
                await store.driver.ping(deadline=time.monotonic() + 60)

    check(main)


def test_a_repair_never_replaces_what_was_written_meanwhile():
    async def main():
        class Late(Weathered):
            newer = None

            async def put(self, request):
                if self.newer is not None and request.key == "key":
                    newer, self.newer = self.newer, None
                    await MemoryDriver.put(self, newer)
                return await super().put(request)

        store = Three()
        store.members[0] = Late("m0")
        store.driver = store.another()
        store.weather(DOWN, WELL, WELL)
        await put(store.driver, "key", b"old")
        await store.driver.settled()
        store.weather(WELL, WELL, WELL)
        store.now += 60
        store.members[0].newer = request("key", b"newer", system={STAMP: f"{2 * 10**18:016x}"})
        await store.driver.scrubber.scrub()
        assert [member._objects.by_key["key"].data for member in store.members] == [b"newer"] * 3
        assert await fetched(store.driver, "key") == b"newer"
        await store.driver.aclose()

    check(main)


@pytest.mark.parametrize("change", ["delete", "delete_many", "write"])
def test_a_write_that_reaches_a_member_after_what_came_later_is_undone_there(change):
    async def main():
        late = Held(MemoryConfig())
        others = [MemoryDriver(MemoryConfig()) for _ in range(2)]
        driver = RedundantDriver([*others, late])
        await put(driver, "k", b"first")
        if change == "delete":
            await driver.delete("k")
        elif change == "delete_many":
            await driver.delete_many(["k"])
        else:
            await put(driver, "k", b"second")
        late.let_go.set()
        await driver.settled()
        wanted = b"second" if change == "write" else None
        for member in (*others, late):
            assert (await fetched(member, "k") if "k" in await keys(member) else None) == wanted
        await driver.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("deleting", [False, True])
def test_a_scrub_looks_again_at_what_is_written_meanwhile(deleting):
    async def main():
        class Busy(Weathered):
            meanwhile = None

            async def get(self, key, options=READ_ALL):
                if self.meanwhile is not None and key == "key":
                    meanwhile, self.meanwhile = self.meanwhile, None
                    await meanwhile()
                return await super().get(key, options)

        store = Three()
        store.members[2] = Busy("m2")
        store.driver = store.another()
        await put(store.driver, "key", b"old")
        await store.driver.settled()

        async def change():
            store.now += 1
            user = store.another()
            await (user.delete("key") if deleting else put(user, "key", b"new"))
            await user.settled()

        store.members[2].meanwhile = change
        report = await store.driver.scrubber.scrub()
        assert report.equal
        assert report.findings == ()
        assert report.objects == (not deleting)
        await store.driver.aclose()

    check(main)


def test_a_scrub_forgets_what_is_noted_of_a_key_that_is_gone():
    async def main():
        async with three() as store:
            await store.driver.journal.note("gone", store.driver.members)
            assert store.own(JOURNAL) == [["gone"]] * 3
            assert (await store.driver.scrubber.scrub("other")).equal
            assert store.own(JOURNAL) == [["gone"]] * 3
            assert (await store.driver.scrubber.scrub("go")).equal
            assert store.own(JOURNAL) == [[]] * 3

    asyncio.run(main())
