"""The checks without pytest: isolated below a prefix, bounded in time, with accepted deviations and a report."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from credstore.config.stores import MemoryConfig
from credstore.driver import READ_ALL, CopyRequest, DeleteOutcome, Page, PutRequest, PutResult
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.errors import StorageAccessDeniedError, StorageUnsupportedError
from credstore.testing import isolation
from credstore.testing.checks import CHECKS
from credstore.testing.conformance import DriverConformance
from credstore.testing.harness import ConformanceError, Deviation, Harness, put
from credstore.testing.isolation import isolated
from credstore.testing.running import Report, run_check, run_checks
from tests.conformance.memory import peek_at, poke_at
from tests.conformance.versioned import VersionedMemory, Versions
from tests.testing.in_parts import LARGE, UPLOADS, InParts, LeavesParts, fetch_all
from tests.testing.test_sabotage import CopiesWhateverIsThere, check_named

OTHERS = ("above", "checks", "checks/theirs", "checkz/theirs")
UNPINNED = Deviation(
    check="copies_the_version_it_was_shown",
    shows="copying a replaced source: is accepted",
    reason="this server, release 1, ignores the condition on a copy's source",
)


class Records(InParts):
    """Notes every key that is asked for."""

    def __init__(self, config: MemoryConfig, *, objects: MemoryObjects) -> None:
        super().__init__(config, objects=objects)
        self.keys = KEYS.setdefault(id(objects), set())

    async def put(self, request: PutRequest) -> PutResult:
        self.keys.add(request.key)
        return await super().put(request)

    async def get(self, key, options=READ_ALL):
        self.keys.add(key)
        return await super().get(key, options)

    async def head(self, key, options=READ_ALL):
        self.keys.add(key)
        return await super().head(key, options)

    async def delete(self, key, **options):
        self.keys.add(key)
        return await super().delete(key, **options)

    async def delete_many(self, keys, **options):
        self.keys.update(keys)
        return await super().delete_many(keys, **options)

    async def list(self, prefix="", cursor=None, **options) -> Page:
        self.keys.add(prefix)
        return await super().list(prefix, cursor, **options)

    async def copy(self, request: CopyRequest) -> PutResult:
        self.keys.update({request.source.key, request.destination})
        return await super().copy(request)

    async def sign(self, request):
        self.keys.add(request.key)
        return await super().sign(request)

    async def get_tags(self, key, **options):
        self.keys.add(key)
        return await super().get_tags(key, **options)

    async def put_tags(self, key, tags, **options):
        self.keys.add(key)
        return await super().put_tags(key, tags, **options)

    def list_uploads(self, prefix=""):
        self.keys.add(prefix)
        return super().list_uploads(prefix)

    async def abort_upload(self, key, upload_id):
        self.keys.add(key)
        await super().abort_upload(key, upload_id)


KEYS: dict[int, set[str]] = {}


def fill(objects: MemoryObjects) -> None:
    """What others keep in the store."""

    async def run() -> None:
        for key in OTHERS:
            await put(MemoryDriver(MemoryConfig(), objects=objects), key, b"theirs")

    asyncio.run(run())


def harness_over(kind, objects: MemoryObjects, **settings) -> Harness:
    async def uploads(prefix: str) -> list[str]:
        return [key for key, _ in UPLOADS.get(id(objects), {}).values() if key.startswith(prefix)]

    given = {"peek": peek_at(objects), "poke": poke_at(objects), "fetch": fetch_all(objects), **settings}
    return Harness(
        open=lambda: kind(MemoryConfig(), objects=objects),
        large=LARGE,
        uploads=uploads,
        prefix="checks",
        **given,
    )


def run(harness: Harness, **limits: float) -> Report:
    return asyncio.run(run_checks(harness, **limits))


def test_all_checks_run_in_a_store_that_has_other_things_in_it_and_touch_none_of_them():
    objects = MemoryObjects()
    fill(objects)
    report = run(harness_over(Records, objects))
    assert report.ok, str(report)
    assert set(report.passed) == {check.__name__ for check in CHECKS}
    assert set(objects.by_key) == set(OTHERS)
    assert not UPLOADS.get(id(objects))
    assert KEYS[id(objects)]
    assert [key for key in KEYS[id(objects)] if not key.startswith("checks/")] == []


def broken_harness(kind, **settings) -> tuple[Harness, MemoryObjects]:
    objects = MemoryObjects()
    fill(objects)
    return harness_over(kind, objects, **settings), objects


def left_by(objects: MemoryObjects) -> set[str]:
    return set(objects.by_key) - set(OTHERS)


def test_a_check_that_fails_is_cleaned_up_after():
    harness, objects = broken_harness(CopiesWhateverIsThere)
    with pytest.raises(ConformanceError, match="copying a replaced source"):
        asyncio.run(run_check(check_named("copies_the_version_it_was_shown"), harness))
    assert left_by(objects) == set()


def test_uploads_that_a_check_finds_unfinished_are_ended():
    harness, objects = broken_harness(LeavesParts)
    with pytest.raises(ConformanceError, match="have not ended"):
        asyncio.run(run_check(check_named("an_upload_cut_off_leaves_no_parts"), harness))
    assert UPLOADS[id(objects)] == {}


def test_a_check_that_is_cancelled_is_cleaned_up_after_also_if_it_is_cancelled_again():
    harness, objects = broken_harness(Slow)
    reached, goes_on = asyncio.Event(), asyncio.Event()
    Slow.reached, Slow.goes_on = reached, goes_on

    async def check(harness: Harness) -> None:
        await put(harness.open(), "key")
        await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(run_check(check, harness))
        while not left_by(objects):
            await asyncio.sleep(0)
        task.cancel()
        await reached.wait()
        task.cancel()
        goes_on.set()
        with suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()

    asyncio.run(main())
    assert left_by(objects) == set()


@pytest.mark.parametrize("every_task", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_a_cancellation_during_the_removal_says_what_stays(fails, every_task):
    """A second Ctrl-C ends every task, also the one that removes."""
    harness, objects = broken_harness(SlowAndRefuses)
    reached, goes_on = asyncio.Event(), asyncio.Event()
    Slow.reached, Slow.goes_on = reached, goes_on

    async def check(harness: Harness) -> None:
        await put(harness.open(), "key")
        if fails:
            raise ConformanceError("wrong")

    async def main() -> asyncio.CancelledError:
        task = asyncio.create_task(run_check(check, harness))
        await reached.wait()
        for each in asyncio.all_tasks() - {asyncio.current_task()} if every_task else {task}:
            each.cancel()
        if not every_task:
            goes_on.set()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        return caught.value

    (told,) = asyncio.run(main()).__notes__
    assert "what it stored below 'checks/" in told
    assert ("was interrupted" if every_task else "could not be removed: StorageAccessDeniedError") in told
    assert len(left_by(objects)) == 1


class Slow(MemoryDriver):
    """Deletes when it is told to."""

    reached: asyncio.Event
    goes_on: asyncio.Event

    async def delete_many(self, keys, *, deadline=None):
        self.reached.set()
        await self.goes_on.wait()
        return await super().delete_many(keys, deadline=deadline)


def test_drivers_that_a_check_leaves_open_are_closed():
    opened = []

    class Noted(MemoryDriver):
        def __init__(self, config, *, objects) -> None:
            super().__init__(config, objects=objects)
            opened.append(self)

    harness, _ = broken_harness(Noted)

    async def check(harness: Harness) -> None:
        harness.open()
        raise ConformanceError("wrong")

    with pytest.raises(ConformanceError, match="wrong"):
        asyncio.run(run_check(check, harness))
    assert [driver._guard.closed for driver in opened] == [True, True]


@pytest.mark.parametrize("state", ["on", "suspended"])
def test_versions_and_delete_markers_are_removed_too(state):
    versions = Versions(state=state)
    harness = Harness(open=lambda: VersionedMemory(versions), prefix="checks/", fetch=None)
    asyncio.run(put(VersionedMemory(versions), "checks", b"theirs"))
    report = run(harness)
    assert report.ok, str(report)
    assert "removes_versions_for_good" in report.passed
    assert versions.names() == ["checks"]


def test_versions_that_may_not_be_listed_are_told():
    versions = Versions(forbidden={"list_versions"})
    harness = Harness(open=lambda: VersionedMemory(versions), prefix="checks/")
    with pytest.raises(ConformanceError, match="could not be removed: StorageAccessDeniedError"):
        asyncio.run(run_check(put_one, harness))


def test_a_store_that_cannot_list_uploads_is_cleaned_up_all_the_same():
    class ListsNone(InParts):
        def list_uploads(self, prefix=""):
            raise StorageUnsupportedError("no such listing")

    harness, objects = broken_harness(ListsNone)
    asyncio.run(run_check(put_one, harness))
    assert left_by(objects) == set()


def test_a_listing_of_what_is_not_asked_for_deletes_nothing_of_others():
    harness, objects = broken_harness(ListsEverything)
    with pytest.raises(ConformanceError, match="has 4 keys that are not"):
        asyncio.run(run_check(put_one, harness))
    assert set(OTHERS) < set(objects.by_key)
    assert len(left_by(objects)) == 1


class ListsEverything(MemoryDriver):
    async def list(self, prefix="", cursor=None, **options) -> Page:
        return await super().list("", cursor, **options)


async def put_one(harness: Harness) -> None:
    await put(harness.open(), "key")


@pytest.mark.parametrize("fails", [False, True])
def test_what_stays_is_told(fails):
    harness, objects = broken_harness(RefusesToDelete)

    async def check(harness: Harness) -> None:
        await put_one(harness)
        if fails:
            raise ConformanceError("wrong")

    with pytest.raises(ConformanceError) as caught:
        asyncio.run(run_check(check, harness))
    told = caught.value.__notes__[0] if fails else str(caught.value)
    assert str(caught.value) == "wrong" or not fails
    assert "what it stored below 'checks/" in told
    assert "could not be removed: StorageAccessDeniedError" in told
    assert len(left_by(objects)) == 1


class RefusesToDelete(MemoryDriver):
    async def delete_many(self, keys, *, deadline=None):
        return dict.fromkeys(keys, StorageAccessDeniedError("not with these credentials"))


class SlowAndRefuses(Slow):
    async def delete_many(self, keys, *, deadline=None):
        self.reached.set()
        await self.goes_on.wait()
        return dict.fromkeys(keys, StorageAccessDeniedError("not with these credentials"))


class KeepsWhatItDeletes(MemoryDriver):
    async def delete_many(self, keys, *, deadline=None):
        return dict.fromkeys(keys, DeleteOutcome(existed=True))


def test_what_comes_again_after_it_was_deleted_is_told():
    harness, _ = broken_harness(KeepsWhatItDeletes)
    with pytest.raises(ConformanceError, match="1 objects are there after they were deleted"):
        asyncio.run(run_check(put_one, harness))


def test_an_accepted_deviation_is_no_failure():
    in_parts = replace(UNPINNED, check="copies_in_parts")
    harness, objects = broken_harness(CopiesWhateverIsThere, deviations=[UNPINNED, in_parts])
    report = run(harness)
    assert report.deviating == dict.fromkeys((UNPINNED.check, in_parts.check), UNPINNED.reason)
    assert report.ok, str(report)
    assert left_by(objects) == set()


def test_an_accepted_deviation_that_does_not_occur_any_more_fails_by_name():
    harness, _ = broken_harness(InParts, deviations=[UNPINNED])
    report = run(harness)
    assert list(report.failed) == [UNPINNED.check]
    assert f"does not occur any more, so strike it: {UNPINNED.check}" in report.failed[UNPINNED.check]
    assert not report.ok


def test_a_check_that_fails_in_another_way_than_was_accepted_has_failed():
    harness, _ = broken_harness(CopiesWhateverIsThere, deviations=[replace(UNPINNED, shows="bytes of a")])
    report = run(harness)
    assert "copying a replaced source: is accepted" in report.failed[UNPINNED.check]
    assert report.deviating == {}


def test_an_accepted_deviation_does_not_hide_what_could_not_be_removed():
    class Both(CopiesWhateverIsThere, RefusesToDelete):
        pass

    harness, _ = broken_harness(Both, deviations=[UNPINNED])
    with pytest.raises(ConformanceError, match="could not be removed"):
        asyncio.run(run_check(check_named(UNPINNED.check), harness))


def test_a_deviation_of_no_check_is_refused():
    harness, _ = broken_harness(InParts, deviations=[replace(UNPINNED, check="copies_anything")])
    with pytest.raises(ConformanceError, match="do not exist: copies_anything"):
        run(harness)
    with pytest.raises(ConformanceError, match="do not exist: copies_anything"):
        asyncio.run(run_check(check_named("copies_everything"), harness))


def test_what_needs_what_the_harness_does_not_give_is_named_as_not_run():
    objects = MemoryObjects()
    report = run(Harness(open=lambda: InParts(MemoryConfig(), objects=objects), fetch=None))
    assert report.failed == {}
    assert {name: why.split(",")[0] for name, why in report.not_run.items()} == {
        "keeps_the_very_bytes": "needs `peek`",
        "notices_changed_bytes": "needs `poke`",
        "deletes_from_the_store": "needs `peek`",
        "makes_links_that_open": "needs `fetch`",
        "sends_bodies_in_parts": "needs `large`",
        "an_upload_cut_off_changes_nothing": "needs `large`",
        "an_upload_cut_off_leaves_no_parts": "needs `uploads`",
        "resumes_an_upload": "needs `large`",
        "copies_in_parts": "needs `large`",
        "keeps_tags_in_parts": "needs `large`",
        "keeps_conditions_in_parts": "needs `large`",
    }
    assert len(report.passed) + len(report.not_run) == len(CHECKS)
    assert objects.by_key == {}


def test_the_report_tells_all_but_what_passed():
    report = Report(
        passed=["one"], failed={"two": "wrong"}, deviating={"three": "known"}, not_run={"four": "why"}
    )
    assert str(report).splitlines() == [
        "FAILED: two: wrong",
        "deviates: three: known",
        "not run: four: why",
        "1 passed, 1 failed, 1 deviating as accepted, 1 not run",
    ]


class Hangs(MemoryDriver):
    async def head(self, key, options=READ_ALL):
        await asyncio.Event().wait()
        raise AssertionError


class HangsOn(MemoryDriver):
    """Cancelled, it goes on hanging."""

    end: asyncio.Event

    async def head(self, key, options=READ_ALL):
        while True:
            with suppress(asyncio.CancelledError):
                await self.end.wait()
                return await super().head(key, options)


@pytest.mark.parametrize("kind", [Hangs, HangsOn])
def test_a_check_that_hangs_has_failed_and_is_cleaned_up_after(kind, monkeypatch):
    monkeypatch.setattr(isolation, "_GRACE", 0)
    harness, objects = broken_harness(kind)

    async def main() -> None:
        HangsOn.end = asyncio.Event()
        with pytest.raises(TimeoutError, match=r"it took longer than 0\.01 seconds"):
            await run_check(check_named("copies_everything"), harness, limit=0.01)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert len(left) == (kind is HangsOn)  # Which nothing can end.
        HangsOn.end.set()

    asyncio.run(main())
    assert left_by(objects) == set()


def test_a_check_that_takes_too_long_is_in_the_report_and_the_others_go_on():
    class HangsOverAnOddEtag(MemoryDriver):
        async def delete(self, key, **options):
            if options.get("if_match") == "x":
                await asyncio.Event().wait()
            return await super().delete(key, **options)

    harness, _ = broken_harness(HangsOverAnOddEtag)
    report = run(harness, check_limit=2)
    told = report.failed["deletes_no_version_of_nothing"]
    assert told == "TimeoutError: it took longer than 2 seconds"
    assert len(report.passed) + len(report.failed) == len(CHECKS)


def test_checks_for_which_no_time_is_left_are_not_run():
    harness, _ = broken_harness(InParts)
    report = run(harness, time_limit=0)
    assert set(report.not_run) == {check.__name__ for check in CHECKS}
    assert "needs more time" in report.not_run["creates_once"]


def test_pytest_skips_what_cannot_be_run_and_expects_what_is_accepted():
    suite = DriverConformance()
    harness, _ = broken_harness(CopiesWhateverIsThere, deviations=[UNPINNED], peek=None)
    with pytest.raises(pytest.skip.Exception, match="not run: keeps_the_very_bytes needs `peek`"):
        suite.test_contract(harness, check_named("keeps_the_very_bytes"))
    with pytest.raises(pytest.xfail.Exception, match="release 1, ignores"):
        suite.test_contract(harness, check_named(UNPINNED.check))
    suite.test_contract(harness, check_named("copies_everything"))
    with pytest.raises(ConformanceError, match="strike it"):
        suite.test_contract(
            replace(harness, open=lambda: MemoryDriver(MemoryConfig(), objects=SHARED)),
            check_named(UNPINNED.check),
        )


SHARED = MemoryObjects()


def test_a_store_for_one_check_is_taken_as_it_is():
    objects = MemoryObjects()
    harness = replace(harness_over(MemoryDriver, objects), prefix=None)
    assert asyncio.run(run_check(put_one, harness)) is None
    assert set(objects.by_key) == {"key"}


def test_two_checks_do_not_see_each_other():
    harness, _ = broken_harness(MemoryDriver)

    async def main() -> None:
        async with isolated(harness) as one, isolated(harness) as two:
            await put(one.open(), "key")
            assert (await two.open().list()).entries == []
            assert await two.peek("key") is None

    asyncio.run(main())
