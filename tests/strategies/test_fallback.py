"""The fallback strategy, one promise after the other."""

import asyncio
import time

import pytest

from credstore import StorageProvider
from credstore.config.stores import LocalConfig, MemoryConfig
from credstore.driver import Precondition, ReadOptions, SignRequest
from credstore.driver.internal import FAILOVER, internal_key
from credstore.drivers.local.driver import LocalDriver
from credstore.errors import (
    StorageAccessDeniedError,
    StorageAuthenticationError,
    StorageConnectionError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidKeyError,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
    StorageQuotaExceededError,
    StorageRateLimitedError,
    StorageTimeoutError,
    StorageUnavailableError,
    StorageUnsupportedError,
)
from credstore.strategies.fallback.detours import FRESH
from credstore.strategies.fallback.driver import FallbackDriver
from credstore.strategies.fallback.plan import write_moves_on
from credstore.strategies.health import LONGEST
from credstore.strategies.merging import position_of
from credstore.testing.harness import Stream, fetched, keys, names, put, request
from tests.strategies.faulty import Faulty

NOTE = internal_key(FAILOVER)


class Members:
    """A fallback driver over two faulty memories, and a clock to move."""

    def __init__(self) -> None:
        self.primary, self.fallback = Faulty("first"), Faulty("second")
        self.now = time.time()
        self.seconds = 0.0
        self.driver = self.another()

    def another(self) -> FallbackDriver:
        """A driver of another process on the same stores."""
        return FallbackDriver(
            self.primary, self.fallback, clock=lambda: self.now, monotonic=lambda: self.seconds
        )

    def primary_is_back(self) -> None:
        """The primary works, and the time for which it is left alone has passed."""
        self.primary.mode = "well"
        self.seconds += LONGEST

    def of_fallback(self) -> list[str]:
        """Keys that users have at the fallback."""
        return sorted(set(self.fallback._objects.by_key) - {NOTE})


@pytest.fixture
def members() -> Members:
    return Members()


@pytest.mark.parametrize(
    ("kind", "moves"),
    [
        (StorageConnectionError, True),
        (StorageUnavailableError, True),
        (StorageTimeoutError, True),
        (StorageRateLimitedError, True),
        (StorageQuotaExceededError, True),
        (StorageAuthenticationError, True),
        (StorageAccessDeniedError, False),
        (StorageInvalidRequestError, False),
        (StorageIntegrityError, False),
        (StorageObjectNotFoundError, False),
        (StorageUnsupportedError, False),
    ],
)
def test_a_write_moves_on_only_from_a_primary_that_is_out_of_order(kind, moves):
    assert write_moves_on(kind("", applied="no"), repeatable=True) is moves
    assert not write_moves_on(kind("", applied="maybe"), repeatable=True)
    assert not write_moves_on(kind("", applied="no"), repeatable=False)


def test_a_healthy_primary_does_it_all(members):
    async def main():
        result = await put(members.driver, "key", b"1")
        assert (result.served_by, result.replicas, result.degraded) == ("first", ("first",), False)
        assert await fetched(members.driver, "key") == b"1"
        assert "put" not in members.fallback.calls

    asyncio.run(main())


def test_an_unclear_write_is_never_repeated(members):
    async def main():
        members.primary.mode = "lost"
        with pytest.raises(StorageConnectionError) as caught:
            await put(members.driver, "key", b"1")
        assert caught.value.applied == "maybe"
        assert "put" not in members.fallback.calls

    asyncio.run(main())


def test_a_write_that_moved_on_says_so(members):
    async def main():
        members.primary.mode = "down"
        result = await put(members.driver, "key", b"1")
        assert (result.served_by, result.replicas, result.degraded) == ("second", ("second",), True)
        assert members.primary._objects.by_key == {}

    asyncio.run(main())


def test_a_stream_that_was_touched_is_not_sent_twice(members):
    class Touching(Faulty):
        async def put(self, request):
            if request.body.data is None:
                async for _ in request.body.open():
                    break
            raise StorageUnavailableError("down", applied="no")

    async def main():
        members.primary = Touching("first")
        driver = members.another()
        once = Stream(b"a", b"b")
        with pytest.raises(StorageUnavailableError):
            await driver.put(request("once", body=once, digest=None))
        await driver.put(request("again", body=Stream(b"a", b"b", replayable=True), digest=None))
        assert members.of_fallback() == ["again"]
        members.primary = Faulty("first")
        members.primary.mode = "down"
        await members.another().put(request("untouched", body=Stream(b"a", b"b"), digest=None))
        assert await fetched(members.fallback, "untouched") == b"ab"

    asyncio.run(main())


def test_when_both_fail_the_error_tells_of_both(members):
    async def main():
        members.primary.mode, members.fallback.mode = "down", "lost"
        members.driver._detours._until = 9e9  # The note is there already.
        with pytest.raises(StorageUnavailableError, match="second failed too") as caught:
            await put(members.driver, "key", b"1")
        assert caught.value.applied == "maybe"

    asyncio.run(main())


def test_reads_fall_through_on_failure_and_on_absence(members):
    async def main():
        await put(members.fallback, "there", b"2")
        info = await members.driver.head("there")
        assert (info.served_by, info.degraded) == ("second", False)
        members.primary.mode = "down"
        assert await fetched(members.driver, "there") == b"2"
        info = await members.driver.head("there")
        assert (info.served_by, info.degraded) == ("second", True)

    asyncio.run(main())


def test_not_found_needs_both_to_say_so(members):
    async def main():
        with pytest.raises(StorageNotFoundError):
            await members.driver.head("nowhere")
        members.primary.mode = "down"
        with pytest.raises(StorageUnavailableError):
            await members.driver.head("nowhere")
        members.primary_is_back()
        members.fallback.mode = "down"
        with pytest.raises(StorageUnavailableError, match="second could not be asked"):
            await members.driver.get("nowhere")

    asyncio.run(main())


def test_a_diverted_overwrite_is_not_hidden_by_the_older_object(members):
    async def main():
        await put(members.driver, "key", b"old")
        other = members.another()
        assert await fetched(other, "key") == b"old"
        members.primary.mode = "down"
        await put(members.driver, "key", b"new")
        members.primary_is_back()
        assert await fetched(members.driver, "key") == b"new"
        assert await fetched(members.another(), "key") == b"new"
        members.now += FRESH
        assert await fetched(other, "key") == b"new"
        await put(members.driver, "key", b"newest")
        assert members.of_fallback() == []
        assert await fetched(other, "key") == b"newest"

    asyncio.run(main())


def test_a_write_is_not_diverted_unless_that_can_be_noted(members):
    async def main():
        members.primary.mode = "down"
        members.fallback.mode = "down"
        with pytest.raises(StorageUnavailableError):
            await put(members.driver, "key", b"1")
        members.fallback.mode = "well"
        assert members.of_fallback() == []

    asyncio.run(main())


def test_objects_stay_readable_when_the_note_cannot_be_read(members):
    async def main():
        await put(members.primary, "key", b"1")
        members.fallback.mode = "down"
        info = await members.driver.head("key")
        assert (info.served_by, info.degraded) == ("first", True)

    asyncio.run(main())


def test_listing_is_the_union_with_each_object_once(members):
    async def main():
        for number in range(0, 60, 2):
            await put(members.primary, f"{number:02d}", b"x")
        for number in range(0, 60, 3):
            await put(members.fallback, f"{number:02d}", b"y")
        wanted = [f"{number:02d}" for number in range(60) if number % 2 == 0 or number % 3 == 0]
        for limit in (1000, 7, 1):
            assert await keys(members.driver, limit=limit) == wanted
        provider = StorageProvider(members.driver, MemoryConfig())
        assert (await provider.get_stats()).total_objects == len(wanted)

    asyncio.run(main())


def test_a_listing_without_one_member_is_marked_and_totals_refuse(members):
    async def main():
        provider = StorageProvider(members.driver, MemoryConfig())
        await put(members.fallback, "a", b"x")
        members.primary.mode = "down"
        (item,) = await provider.list()
        assert item.degraded
        with pytest.raises(StorageUnavailableError, match="totals"):
            await provider.get_stats()
        with pytest.raises(StorageUnavailableError):
            await provider.list("nothing/")

    asyncio.run(main())


def test_a_delete_reaches_both_or_says_which_not(members):
    async def main():
        for member in (members.primary, members.fallback):
            await put(member, "key", b"1")
            await put(member, "other", b"1")
        assert (await members.driver.delete("key")).existed
        assert (await members.driver.delete("key")).existed is False
        members.fallback.mode = "down"
        driver = members.another()
        with pytest.raises(StorageUnavailableError):
            await driver.delete("other")
        members.driver._detours._read_at = members.now  # It has read before that nothing was diverted.
        with pytest.raises(StorageUnavailableError, match="deleted at first, but not at second") as caught:
            await members.driver.delete("other")
        assert caught.value.applied == "maybe"

    asyncio.run(main())


def test_a_batch_has_an_outcome_for_each_key(members):
    async def main():
        await members.driver.delete_many(["warm"])
        for key in ("a", "b"):
            await put(members.primary, key, b"1")
        members.fallback.mode = "down"
        outcomes = await members.driver.delete_many(["a", "b"])
        assert [type(each) for each in outcomes.values()] == [StorageUnavailableError] * 2
        assert "deleted at first, but not at second" in str(outcomes["a"])

    asyncio.run(main())


def test_no_older_version_comes_up_when_a_delete_is_cut_short(members):
    async def main():
        await put(members.driver, "key", b"old")
        members.primary.mode = "down"
        await put(members.driver, "key", b"new")
        with pytest.raises(StorageError):
            await members.driver.delete("key")
        members.primary_is_back()
        assert await fetched(members.driver, "key") == b"new"
        await members.driver.delete("key")
        assert await fetched(members.driver, "key") is None

    asyncio.run(main())


def test_a_delete_takes_the_newest_version_last(members):
    async def main():
        members.primary.mode = "down"
        await put(members.driver, "key", b"older, at the fallback")
        members.primary_is_back()
        members.fallback.mode = "down"
        assert (await put(members.driver, "key", b"newer, at the primary")).degraded
        with pytest.raises(StorageUnavailableError):
            await members.driver.delete("key")
        members.fallback.mode = "well"
        assert await fetched(members.driver, "key") == b"newer, at the primary"

    asyncio.run(main())


def test_there_are_no_conditions(members):
    async def main():
        able = members.driver.capabilities
        assert {able.conditional_create, able.conditional_replace, able.conditional_delete} == {False}
        provider = StorageProvider(members.driver, MemoryConfig())
        with pytest.raises(StorageUnsupportedError):
            await provider.store("key", b"1", if_absent=True)
        for condition in (Precondition("create"), Precondition("replace", "etag")):
            with pytest.raises(StorageUnsupportedError):
                await members.driver.put(request("key", precondition=condition))
        assert members.primary.calls == []

    asyncio.run(main())


def test_its_own_key_is_closed_to_users(members):
    async def main():
        with pytest.raises(StorageInvalidKeyError):
            await put(members.driver, NOTE, b"1")
        members.primary.mode = "down"
        await put(members.driver, "key", b"1")
        assert await keys(members.driver) == ["key"]

    asyncio.run(main())


def test_a_link_leads_to_the_member_that_has_the_object(tmp_path):
    async def main():
        members = []
        for name, port in (("one", 1001), ("two", 1002)):
            config = LocalConfig(path=str(tmp_path / name), link_url=f"http://127.0.0.1:{port}")
            members.append(LocalDriver(config))
        driver = FallbackDriver(*members)
        await put(members[0], "first", b"1")
        await put(members[1], "second", b"2")
        for key, port, label in (("first", 1001, "local (primary)"), ("second", 1002, "local (fallback)")):
            signed = await driver.sign(SignRequest(key=key))
            assert signed.url.startswith(f"http://127.0.0.1:{port}/{key}?")
            assert signed.served_by == label
        with pytest.raises(StorageUnsupportedError):
            await driver.sign(SignRequest(key="first", method="PUT"))
        await driver.aclose()

    asyncio.run(main())


def test_health_names_the_member_that_fails(members):
    async def main():
        await members.driver.ping()
        members.fallback.mode = "down"
        with pytest.raises(StorageUnavailableError, match="this is second; first works"):
            await members.driver.ping()
        members.primary.mode = "down"
        with pytest.raises(StorageUnavailableError, match="second failed too"):
            await members.driver.ping()

    asyncio.run(main())


def test_prefixes_of_both_members_are_merged_page_by_page():
    async def main():
        first, second = Faulty("first"), Faulty("second")
        driver = FallbackDriver(first, second)
        for member, keys_there in ((first, ("a/1", "b", "c/1", "e/1")), (second, ("a/2", "b", "d/1", "f"))):
            for key in keys_there:
                await put(member, key)
        for limit in (1, 2, 3, 1000):
            found = await names(driver, delimiter="/", limit=limit)
            assert found == ["a/", "b", "c/", "d/", "e/", "f"]
            found = await names(driver, delimiter="/", start_after="b", limit=limit)
            assert found == ["c/", "d/", "e/", "f"]
        await driver.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("others", [(), (".credstore/keys/x",), (".credstore/a", ".credstore/z")])
def test_the_note_makes_no_prefix_by_itself(others):
    async def main():
        first, second = Faulty("first"), Faulty("second")
        driver = FallbackDriver(first, second)
        first.mode = "down"
        await put(driver, "k/1")
        first.mode = "well"
        assert NOTE in second._objects.by_key
        for key in others:
            await put(second, key)
        assert await names(driver, delimiter="/") == [*([".credstore/"] if others else []), "k/"]
        assert await names(driver, ".credstore/", delimiter="f") == [
            key for key in others if key != NOTE and "f" not in key
        ]
        await driver.aclose()

    asyncio.run(main())


def test_prefixes_without_one_member_are_marked_and_none_at_all_are_an_error():
    async def main():
        first, second = Faulty("first"), Faulty("second")
        driver = FallbackDriver(first, second)
        await put(first, "a/1")
        second.mode = "down"
        page = await driver.list(delimiter="/")
        assert (list(page.entries), list(page.prefixes), page.degraded) == ([], ["a/"], True)
        with pytest.raises(StorageUnavailableError):
            await driver.list("b", delimiter="/")
        await driver.aclose()

    asyncio.run(main())


def test_the_last_bytes_come_from_the_member_that_has_the_newest():
    async def main():
        members = Members()
        await put(members.driver, "k", b"older, at the primary")
        members.primary.mode = "down"
        await put(members.driver, "k", b"newer, at the fallback")
        assert await fetched(members.driver, "k", ReadOptions(suffix=8)) == b"fallback"
        members.primary_is_back()
        members.now += 2 * FRESH
        assert await fetched(members.driver, "k", ReadOptions(suffix=8)) == b"fallback"

    asyncio.run(main())


def test_a_passed_deadline_notes_nothing_at_the_fallback():
    async def main():
        first, second = Faulty("first"), Faulty("second")
        driver = FallbackDriver(first, second)
        with pytest.raises(StorageTimeoutError) as caught:
            await driver.put(request("k", deadline=time.monotonic() - 1))
        assert caught.value.applied == "no"
        assert first.calls == second.calls == []
        await driver.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("cursor", ["", "nonsense", "7", "[1]", '["a", 5, 5]', "[" * 100_000])
def test_a_cursor_of_something_else_is_refused(cursor):
    with pytest.raises(StorageInvalidRequestError, match="not a cursor"):
        position_of(cursor, 2)


def test_a_dead_primary_costs_one_call_not_one_each(members):
    async def main():
        members.primary.mode = "down"
        for number in range(5):
            await put(members.driver, f"{number}")
            assert await fetched(members.driver, f"{number}") == b"data"
        assert len(members.primary.calls) == 1
        members.primary_is_back()
        assert not (await put(members.driver, "key")).degraded

    asyncio.run(main())


@pytest.mark.parametrize("diverted", [False, True])
@pytest.mark.parametrize("verb", ["get", "head"])
def test_a_named_version_is_read_where_it_is_current_though_the_primary_was_left_alone(
    members, verb, diverted
):
    """The fallback's copy has an entity tag of its own, which says nothing about the primary's."""

    async def main():
        first = await put(members.primary, "key", b"one")
        if not diverted:
            await put(members.fallback, "key", b"a copy made by others")
        members.primary.mode = "down"
        if diverted:
            await put(members.driver, "key", b"two")
        else:
            with pytest.raises(StorageUnavailableError):
                await fetched(members.driver, "other")
        members.primary.mode = "well"
        options = ReadOptions(if_match=first.etag)

        async def read():
            if verb == "head":
                return (await members.driver.head("key", options)).etag
            async with await members.driver.get("key", options) as reader:
                return reader.info.etag

        if diverted:
            with pytest.raises(StoragePreconditionFailedError):
                await read()
        else:
            assert await read() == first.etag

    asyncio.run(main())
