"""Rows C of the fault table: many at once on one key, with answers lost on the way."""

import asyncio
import random
from collections import Counter

import pytest

from credstore.errors import (
    StorageAlreadyExistsError,
    StorageConflictError,
    StorageError,
    StorageNotFoundError,
    StoragePreconditionFailedError,
)
from tests.faults.renewal import Renewing
from tests.faults.rig import BROKEN, SLOW_DOWN, Rows, ignoring, run, sign_by
from tests.faults.script import Close, Reset

rows = Rows()


@pytest.mark.parametrize("row", rows, ids=lambda row: row.name)
def test_row(row):
    row.run()


def at_random(rig, seed, share=0.2):
    """Faults for this share of all requests, at every phase, by one seed."""
    chance = random.Random(seed)
    plans = [
        ("head", Reset()),
        ("before-apply", BROKEN),
        ("before-apply", SLOW_DOWN),
        ("after-apply", Reset()),
        ("after-apply", BROKEN),
        ("after-apply", Close()),
    ]
    for phase, action in plans:
        rig.origin.plan(
            phase, action, where=lambda _request: chance.random() < share / len(plans), times=None
        )


@pytest.mark.parametrize("seed", range(12))
def test_c01_one_of_many_creations_wins_and_its_bytes_are_there(seed):
    async def test(rig):
        at_random(rig, seed, share=0.5)
        stores = [rig.store, *(rig.open(chance=seed + n) for n in range(3))]
        outcomes = await asyncio.gather(
            *(stores[n % 4].store("k", b"%d" % n, if_absent=True) for n in range(16)),
            return_exceptions=True,
        )
        won = [n for n, outcome in enumerate(outcomes) if not isinstance(outcome, BaseException)]
        unclear = [n for n, outcome in enumerate(outcomes) if getattr(outcome, "applied", "") == "maybe"]
        lost = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert all(isinstance(each, StorageError) for each in lost)
        assert len(won) <= 1
        there = rig.body()
        if won:
            assert there == b"%d" % won[0]
        elif there is not None:
            assert int(there) in unclear
        assert any(isinstance(each, StorageAlreadyExistsError) for each in lost) == (there is not None)

    run(test, faults_may_wait=True)


@pytest.mark.parametrize("seed", range(6))
def test_c02_counting_by_replacing_loses_nothing_and_counts_nothing_twice(seed):
    writers, each = 6, 12

    async def test(rig):
        await rig.store.store("k", b"0")
        at_random(rig, seed)
        counted = Counter()

        async def count(store):
            done = 0
            while done < each:
                try:
                    item = await store.get_metadata("k")
                    value = await store.retrieve("k")
                    await store.store("k", b"%d" % (int(value) + 1), if_match=item.etag)
                except (StoragePreconditionFailedError, StorageConflictError) as error:
                    counted[error.applied] += error.applied == "maybe"
                except StorageError as error:
                    counted[error.applied] += 1
                    done += error.applied == "maybe"
                else:
                    counted["yes"] += 1
                    done += 1

        stores = [rig.open(aws=True, chance=seed * 10 + n) for n in range(writers)]
        await asyncio.gather(*(count(store) for store in stores))
        final = int(rig.body())
        assert counted["yes"] <= final <= counted["yes"] + counted["maybe"]

    run(test, faults_may_wait=True, aws=True)


@pytest.mark.parametrize("seed", range(10))
def test_c03_a_move_never_takes_a_newer_version_with_it(seed):
    async def test(rig):
        chance = random.Random(seed)
        await rig.store.store("k", b"old")
        at_random(rig, seed, share=0.3)

        async def write():
            for _ in range(chance.randrange(12)):
                await asyncio.sleep(0)
            await ignoring(rig.stores[1].store("k", b"new"))

        rig.open(aws=True)
        await asyncio.gather(write(), ignoring(rig.store.move("k", "moved")))
        held = {rig.body("k"), rig.body("moved")}
        assert b"new" in held or b"old" in held
        if b"new" not in held:  # Then its write did not happen, or not yet.
            assert b"old" in held

    run(test, faults_may_wait=True, aws=True)


@rows("C04")
async def a_listing_while_keys_come_and_go_shows_what_was_there_all_along(rig):
    kept = [f"kept/{n:04}" for n in range(1500)]
    await rig.store.store("kept/0000", b"x")
    one = rig.objects["kept/0000"]
    rig.objects.update(dict.fromkeys(kept, one))

    async def churn():
        for number in range(300):
            rig.objects[f"kept/{number:04}-more"] = one
            await asyncio.sleep(0)
            if number % 2:
                del rig.objects[f"kept/{number:04}-more"]

    churning = asyncio.ensure_future(churn())
    seen = [item.key async for item in rig.store.scan("kept/")]
    await churning
    assert sorted(seen) == seen
    assert set(kept) <= set(seen)
    assert len(set(seen)) == len(seen)


@rows("C04")
async def a_read_while_objects_come_and_go_is_whole_or_nothing(rig):
    bodies = [bytes([n]) * 100_000 for n in range(4)]
    found = Counter()

    async def read():
        for _ in range(60):
            data = await rig.store.retrieve("k")
            assert data is None or data in bodies
            found[data is None] += 1

    async def change():
        for number in range(60):
            await rig.stores[1].store("k", bodies[number % 4])
            await rig.stores[1].delete("k")

    rig.open()
    await asyncio.gather(read(), read(), change())
    assert sum(found.values()) == 120


@rows("C11", aws=True)
async def many_renewals_are_one(rig):
    source = Renewing(rig.origin)
    sign_by(rig.store, source)
    await rig.store.store("k", b"x")
    for number in range(1, 4):
        source.expire()
        assert await asyncio.gather(*(rig.store.retrieve("k") for _ in range(64))) == [b"x"] * 64
        assert source.renewals == number


@rows("C11")
async def many_first_calls_and_closes_are_one(rig):
    store = rig.open()
    outcomes = await asyncio.gather(
        *(store.exists("k") for _ in range(64)), *(store.aclose() for _ in range(64)), return_exceptions=True
    )
    assert set(outcomes) <= {False, None}
    with pytest.raises(StorageError, match="closed"):
        await store.exists("k")


@rows("C11")
async def a_missing_source_of_many_moves_is_told_to_all_but_one(rig):
    await rig.store.store("k", b"x")
    outcomes = await asyncio.gather(
        *(rig.store.move("k", f"to/{n}") for n in range(8)), return_exceptions=True
    )
    assert all(not isinstance(each, BaseException) or isinstance(each, StorageError) for each in outcomes)
    assert any(body.body == b"x" for body in rig.objects.values())
    assert any(isinstance(each, StorageNotFoundError) for each in outcomes) or len(rig.objects) == 8
