"""The verbs of a proof store on stores that list in an order of their own: their tests once more, and some more."""

import asyncio

import pytest

from credstore.drivers.memory import MemoryDriver
from tests.orders import ORDERS, odd_members
from tests.proofs import (
    test_attestations,
    test_leftovers,
    test_legacy,
    test_retained_records,
    test_status,
    test_store,
    test_store_edges,
)
from tests.proofs.log import test_proof_log
from tests.proofs.shelves import DAY, HOUR, Shelf

EACH = pytest.mark.parametrize("order", ORDERS, indirect=True)
instance = test_attestations.instance
for _module in (
    test_attestations,
    test_leftovers,
    test_legacy,
    test_proof_log,
    test_retained_records,
    test_status,
    test_store,
    test_store_edges,
):
    _short = _module.__name__.rpartition(".test_")[2]
    globals().update(
        {
            f"test_{_short}_{name[5:]}": each
            for name, each in vars(_module).items()
            if name.startswith("test_")
        }
    )


@pytest.fixture(autouse=True, params=["reverse", "shuffled"])
def order(request, monkeypatch):
    """Every memory store lists in such an order."""
    for name, member in odd_members(request.param).items():
        monkeypatch.setattr(MemoryDriver, name, member)
    return request.param


async def filled(shelf, *lives, **options):
    """A store with proofs that expire after so many days, and their ids."""
    store = shelf.open()
    return store, [
        (await store.issue(b"%d" % number, expires_in=days * 24 * HOUR, **options)).proof_id
        for number, days in enumerate(lives)
    ]


@EACH
def test_a_sweep_finds_what_is_due_among_the_markers_of_later_days(order):
    async def run():
        shelf = Shelf()
        store, ids = await filled(shelf, *[1, 100, 2, 200, 1, 300] * 4)
        shelf.clock.pass_(5 * DAY)
        assert [(await store.sweep_expired(limit=5)).swept for _ in range(4)] == [5, 5, 2, 0]
        assert {each.proof_id for each in await store.list()} == {
            proof_id for number, proof_id in enumerate(ids) if number % 2
        }
        shelf.clock.pass_(300 * DAY)
        assert (await store.sweep_expired()).swept == 12
        assert shelf.held() == []

    asyncio.run(run())


@EACH
def test_what_is_erased_is_not_counted_as_revoked(order):
    async def run():
        store, ids = await filled(Shelf(), *[100] * 12)
        for proof_id in ids[:8]:
            await store.revoke(proof_id)
        for proof_id in ids[5:10]:
            await store.delete(proof_id)
        stats = await store.stats()
        assert (stats.proofs, stats.revoked, stats.erased, stats.expiring) == (7, 5, 5, 7)

    asyncio.run(run())


@EACH
def test_only_what_is_not_logged_is_logged_again(order):
    async def test(stand, store):
        logged = [await store.issue(b"%d" % number) for number in range(12)]
        await store.revoke(logged[0].proof_id)
        async with stand.open(writes=False) as unlogged:
            missed = [await unlogged.issue(b"later %d" % number) for number in range(5)]
            await unlogged.revoke(logged[1].proof_id)
            await unlogged.delete(logged[2].proof_id)
        looked = []
        again = store._logger.__class__._log_again

        async def look(self, key, place, *, deep):
            looked.append(key)
            return await again(self, key, place, deep=deep)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store._logger.__class__, "_log_again", look)
            assert (await store.reconcile()).logged == 7
            # What erased a proof lies at two places.
            assert len(looked) == len(set(looked)) == 8
            looked.clear()
            assert (await store.reconcile()).logged == 0
        assert looked == []
        assert len(await stand.kinds()) == 20
        for proof in missed:
            assert (await store.get(proof.proof_id, policy=test_proof_log.InLog())).logged is not None

    test_proof_log.run(test)
