"""Saves, prunes and tags at once, a death at every request: no version is ever lost or broken."""

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest

from credstore import StorageConflictError, StorageError, StorageInvalidRequestError, StorageNotFoundError
from credstore.artifacts.leases import take_lease
from tests.artifacts.stores import Died, Store, noise, run, write

MOST_STEPS = 200
NOW = timedelta(0)


async def check(store):
    """All versions that are visible can be read, and so can their tags."""
    manager = store.manager()
    versions = await manager.versions("set")
    for each in versions:
        await manager.verify("set", each.version)
    return [each.version for each in versions]


def needed(store):
    return {name for name in store.names() if "/leases/" not in name}


async def with_versions(*folders):
    store = Store()
    for folder in folders:
        await store.manager().save_dataset("set", folder)
    return store


@pytest.fixture
def folders(tmp_path):
    common = noise(400_000)
    return [write(tmp_path / f"v{number}", {"common": common, "own": noise(150_000)}) for number in range(4)]


def at_step(step, work):
    """A hook that does `work` before one request, and whether it did."""
    done = []

    async def before(number):
        if number == step:
            done.append(await work())

    return before, done


def test_a_prune_at_any_moment_of_a_save(folders):
    async def main():
        for step in range(1, MOST_STEPS):
            store = await with_versions(folders[0], folders[1])
            before, done = at_step(step, lambda store=store: store.manager().prune("set", 1))
            saved = await store.manager(before).save_dataset("set", folders[2])
            assert saved.version in await check(store)
            report = await store.manager().prune("set", 1)
            assert not report.deferred
            assert await check(store) == [saved.version]
            if not done:
                return step
        raise AssertionError("the save does not end")

    assert run(main()) > 8


def test_a_save_at_any_moment_of_a_prune(folders):
    async def main():
        for step in range(1, MOST_STEPS):
            store = await with_versions(folders[0], folders[1])
            before, done = at_step(step, lambda store=store: store.manager().save_dataset("set", folders[0]))
            await store.manager(before).prune("set", 1)
            versions = await check(store)
            assert versions
            assert not done or done[0].version in versions
            if not done:
                return step
        raise AssertionError("the prune does not end")

    assert run(main()) > 8


def test_a_save_and_a_prune_that_both_run_during_a_save(folders):
    """What the outer save reuses goes away as a version while it runs."""

    async def main():
        for step in range(1, MOST_STEPS):
            store = await with_versions(folders[0])

            async def both(store=store):
                await store.manager().save_dataset("set", folders[3])
                return await store.manager().prune("set", 1)

            before, done = at_step(step, both)
            saved = await store.manager(before).save_dataset("set", folders[1])
            versions = await check(store)
            assert versions
            # The inner prune keeps the last version of its time.
            assert saved.version in versions or saved.version < versions[-1]
            if not done:
                return

    run(main())


def test_two_saves_at_once_lose_nothing(folders):
    async def main():
        for step in range(1, MOST_STEPS):
            store = await with_versions(folders[0])
            before, done = at_step(step, lambda store=store: store.manager().save_dataset("set", folders[1]))
            outer = await store.manager(before).save_dataset("set", folders[2])
            versions = await check(store)
            assert versions == ([1, 2, 3] if done else [1, 2])
            assert outer.version in versions
            if not done:
                return
            assert {outer.version, done[0].version} == {2, 3}

    run(main())


def test_many_saves_at_once(folders):
    async def main():
        store = Store()
        saves = [store.manager().save_dataset("set", folders[number % 4]) for number in range(12)]
        saved = await asyncio.gather(*saves)
        assert sorted(each.version for each in saved) == list(range(1, 13)) == await check(store)

    run(main())


def test_a_death_at_any_moment_of_a_save_leaves_nothing_that_a_prune_does_not_remove(folders):
    async def main():
        ended = False
        for step in range(1, MOST_STEPS):
            store = await with_versions(folders[0])
            first = needed(store)

            async def die(number, step=step):
                if number >= step:
                    raise Died

            try:
                await store.manager(die).save_dataset("set", folders[1])
            except Died:
                pass
            else:
                ended = True
            versions = await check(store)
            assert versions in ([1], [1, 2])
            report = await store.manager().prune("set", 5, abandoned_after=NOW)
            assert not report.deferred
            assert await check(store) == versions
            assert not any("/leases/" in name for name in store.names())
            if versions == [1]:
                assert needed(store) == first
            assert (await store.manager().save_dataset("set", folders[2])).version == versions[-1] + 1
            await check(store)
            if ended:
                assert versions == [1, 2]
                return
        raise AssertionError("the save does not end")

    run(main())


def test_an_error_or_a_cancellation_at_any_moment_of_a_save_leaves_nothing(folders):
    async def main(failure):
        for step in range(1, MOST_STEPS):
            store = await with_versions(folders[0])
            first = store.names()

            async def fail(number, step=step):
                if number == step:
                    raise failure

            saved = True
            try:
                await store.manager(fail).save_dataset("set", folders[1])
            except type(failure):
                saved = False
            versions = await check(store)
            left = store.names() - first
            if versions == [1] and left:
                # Nobody knows if the version will still appear: the lease tells the next prune.
                assert isinstance(failure, asyncio.CancelledError) or len(left) == 1
                assert any("/leases/" in name for name in left)
                await store.manager().prune("set", 5, abandoned_after=NOW)
                assert store.names() == first
            if saved:
                return
        raise AssertionError("the save does not end")

    run(main(StorageError("the store is on fire")))
    run(main(asyncio.CancelledError()))


def test_a_death_at_any_moment_of_a_prune(folders):
    async def main():
        for step in range(1, MOST_STEPS):
            store = await with_versions(*folders)

            async def die(number, step=step):
                if number >= step:
                    raise Died

            ended = False
            try:
                await store.manager(die).prune("set", 2)
                ended = True
            except Died:
                pass
            assert set(await check(store)) >= {3, 4}
            await store.manager().prune("set", 2, abandoned_after=NOW)
            assert await check(store) == [3, 4]
            fresh = await with_versions(*folders)
            await fresh.manager().prune("set", 2)
            assert len(needed(store)) == len(needed(fresh))
            if ended:
                return
        raise AssertionError("the prune does not end")

    run(main())


def test_two_prunes_do_not_run_at_once(folders):
    async def main():
        store = await with_versions(*folders)
        refused = []

        async def other(number):
            if number == 4:
                with pytest.raises(StorageConflictError) as caught:
                    await store.manager().prune("set", 1)
                refused.append(caught.value.retryable)

        await store.manager(other).prune("set", 3)
        assert refused == [True]
        assert await check(store) == [2, 3, 4]

    run(main())


def test_a_tag_keeps_its_version_at_any_moment_of_a_prune(folders):
    async def main():
        for step in range(1, MOST_STEPS):
            store = await with_versions(folders[0], folders[1])

            async def tag(store=store):
                try:
                    await store.manager().tag("set", "prod", 1)
                except (StorageConflictError, StorageNotFoundError):
                    return False
                return True

            before, done = at_step(step, tag)
            await store.manager(before).prune("set", 1)
            if done and done[0]:
                assert (await store.manager().verify("set", "prod")).version == 1
            if not done:
                return
        raise AssertionError("the prune does not end")

    run(main())


def test_a_prune_at_any_moment_of_a_tag(folders):
    async def main():
        for step in range(1, MOST_STEPS):
            store = await with_versions(folders[0], folders[1])
            before, done = at_step(step, lambda store=store: store.manager().prune("set", 1))
            try:
                await store.manager(before).tag("set", "prod", 1)
            except StorageNotFoundError:
                assert done
            else:
                assert (await store.manager().verify("set", "prod")).version == 1
            if not done:
                return
        raise AssertionError("the tag does not end")

    run(main())


def test_a_save_that_a_prune_took_for_dead_does_not_become_a_version(folders):
    async def main():
        for step in range(2, MOST_STEPS):
            store = await with_versions(folders[0], folders[1])

            async def prune(store=store):
                return await store.manager().prune("set", 1, abandoned_after=NOW)

            before, done = at_step(step, prune)
            saved = None
            with suppress(StorageConflictError):
                saved = await store.manager(before).save_dataset("set", folders[2])
            versions = await check(store)
            if done:
                assert versions == [2] if saved is None else versions[-1] == 3
            if not done:
                return
        raise AssertionError("the save does not end")

    run(main())


def test_space_is_left_while_a_save_runs(folders):
    async def main():
        store = await with_versions(folders[0], folders[1])
        manager = store.manager()
        await take_lease(manager._catalog("dataset", "set"), "ab" * 16)
        report = await manager.prune("set", 1)
        assert (report.kept, report.removed, report.objects, report.deferred) == ((2,), (1,), 0, True)
        report = await manager.prune("set", 1, abandoned_after=NOW)
        assert (report.removed, report.deferred) == ((), False)
        assert report.objects == 1  # The index of version 1; its pack has chunks of version 2.
        assert report.freed > 0
        assert await check(store) == [2]

    run(main())


async def interleaved(first, stop, second, pause):
    """Run `first` up to its request `stop`, `second` up to `pause`, `first` to its end, then `second`.

    Returns their results or errors, and whether each came so far.
    """
    reached, ended = asyncio.Event(), asyncio.Event()
    came = [False, False]
    other = []

    async def before_second(number):
        if number == pause and not ended.is_set():
            came[1] = True
            reached.set()
            await ended.wait()

    async def whole():
        try:
            return await second(before_second)
        finally:
            reached.set()

    async def before_first(number):
        if number == stop:
            came[0] = True
            other.append(asyncio.ensure_future(whole()))
            await reached.wait()

    try:
        (result,) = await asyncio.gather(first(before_first), return_exceptions=True)
    finally:
        ended.set()
    (second_result,) = await asyncio.gather(*other, return_exceptions=True) if other else (None,)
    return result, second_result, came


async def every_interleaving(store_of, first, second, check_results):
    for stop in range(1, MOST_STEPS):
        for pause in range(1, MOST_STEPS):
            store = await store_of()
            found = await interleaved(
                lambda before, store=store: first(store.manager(before)),
                stop,
                lambda before, store=store: second(store.manager(before)),
                pause,
            )
            await check_results(store, *found[:2])
            if not found[2][0]:
                return
            if not found[2][1]:
                break


def save(manager):
    return manager.save_dataset("set", save.folder)


def prune(manager):
    return manager.prune("set", 1)


def tag(manager):
    return manager.tag("set", "prod", 1)


async def nothing_is_lost(store, *results):
    versions = await check(store)
    for result in results:
        if isinstance(result, BaseException):
            raise result
        if hasattr(result, "version"):
            assert result.version in versions
    await store.manager().prune("set", 1)
    assert await check(store) == versions[-1:]


async def the_tag_leads_somewhere(store, *results):
    for result in results:
        if hasattr(result, "version"):
            await store.manager().verify("set", "prod")
        elif isinstance(result, BaseException):
            assert isinstance(result, StorageConflictError | StorageNotFoundError)
    await check(store)


@pytest.mark.parametrize(("first", "second"), [(save, prune), (prune, save)])
def test_every_interleaving_of_a_save_and_a_prune(folders, first, second):
    save.folder = folders[2]

    async def store_of():
        return await with_versions(folders[0], folders[1])

    run(every_interleaving(store_of, first, second, nothing_is_lost))


def remove(manager):
    return manager.remove_version("set", 1)


async def the_tag_keeps_its_version(store, *results):
    for result in results:
        if hasattr(result, "version"):
            await store.manager().verify("set", "prod")
        elif isinstance(result, BaseException):
            assert isinstance(
                result, StorageConflictError | StorageNotFoundError | StorageInvalidRequestError
            )
    assert await check(store) in ([1, 2], [2])
    assert not any("/leases/" in name for name in store.names())


@pytest.mark.parametrize(("first", "second"), [(tag, remove), (remove, tag)])
def test_every_interleaving_of_a_tag_and_a_removal(folders, first, second):
    async def store_of():
        return await with_versions(folders[0], folders[1])

    run(every_interleaving(store_of, first, second, the_tag_keeps_its_version))


@pytest.mark.parametrize(("first", "second"), [(save, remove), (remove, save)])
def test_every_interleaving_of_a_save_and_a_removal(folders, first, second):
    save.folder = folders[2]

    async def store_of():
        return await with_versions(folders[0], folders[1])

    run(every_interleaving(store_of, first, second, nothing_is_lost))


@pytest.mark.parametrize(("first", "second"), [(tag, prune), (prune, tag)])
def test_every_interleaving_of_a_tag_and_a_prune(folders, first, second):
    async def store_of():
        return await with_versions(folders[0], folders[1])

    run(every_interleaving(store_of, first, second, the_tag_leads_somewhere))


def test_a_save_without_its_lease_never_sends_its_version(folders):
    async def main():
        store = await with_versions(folders[0])

        async def end_lease(number):
            if number == 4:
                for name in [name for name in store.names() if "/leases/" in name]:
                    store.objects.remove(name)

        before = len(store.puts)
        with pytest.raises(StorageConflictError, match="abandoned") as caught:
            await store.manager(end_lease).save_dataset("set", folders[1])
        assert caught.value.retryable
        assert not [key for key in store.puts[before:] if "/versions/" in key]

    run(main())
