"""Who may remove what an issue left behind: one cleaner at a time, and the next only after a settled time."""

import asyncio
import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest

from credstore.proofs.format.errors import ProofConflictError
from credstore.proofs.format.trust import TrustStore
from credstore.proofs.store.layout import CLAIMED, CLEANED, SMALLEST_RECORD
from credstore.proofs.store.orphans import SETTLED, Leftovers
from credstore.proofs.store.repository import LEASE
from tests.proofs.shelves import DAY, HOUR, LAYOUT, TRUST, Killed, Shelf, dying, invariant
from tests.proofs.test_store_edges import sealed

ASSET = b"hello"
SECOND = timedelta(seconds=1)


async def issue(store, **options):
    return await store.issue(ASSET, idempotency_key="k", expires_in=HOUR, manifest=b"m", **options)


def stopping(store, operation, part, *, after=True):
    """End the process at (or right after) its first such request."""
    hit = False

    async def hook(each, key):
        nonlocal hit
        if hit or (not after and each == operation and part in key):
            raise Killed
        hit = each == operation and part in key

    store.driver.hook = hook
    return store


async def left_behind(shelf):
    """The key of the record that an issue died before writing; all else of it is there, three days old."""
    with dying():
        await issue(stopping(shelf.open(), "put", "/r/", after=False))
    assert (len(shelf.held("a/")), len(shelf.held("m/")), shelf.held("r/")) == (1, 1, [])
    shelf.clock.pass_(3 * DAY)
    return LAYOUT.record(LAYOUT.parse_index(shelf.held("a/")[0])[1])


@pytest.mark.parametrize("waited", [timedelta(0), LEASE + SECOND, SETTLED - SECOND])
def test_the_claim_of_a_cleaner_stands_until_its_time_is_over(waited):
    async def run():
        shelf = Shelf()
        place = await left_behind(shelf)
        with dying():
            await stopping(shelf.open(), "put", "/r/").sweep_expired()
        assert shelf.body(place) == CLAIMED
        shelf.clock.pass_(waited)
        before = shelf.held()
        report = await shelf.open().sweep_expired()
        assert (report.kept, report.cleaned, report.failed) == (1, 0, {})
        assert shelf.body(place) == CLAIMED
        assert shelf.held("a/") + shelf.held("m/") == [key for key in before if "/a/" in key or "/m/" in key]

    asyncio.run(run())


def test_the_claim_of_a_cleaner_that_died_is_taken_over_when_its_time_is_over():
    async def run():
        shelf = Shelf()
        place = await left_behind(shelf)
        with dying():
            await stopping(shelf.open(), "put", "/r/").sweep_expired()
        shelf.clock.pass_(SETTLED)
        await shelf.open().sweep_expired()
        assert shelf.body(place) == CLEANED
        assert shelf.held("a/") + shelf.held("m/") == []

    asyncio.run(run())


@pytest.mark.parametrize("waited", [timedelta(0), LEASE + SECOND, SETTLED - SECOND])
def test_a_place_that_was_cleaned_is_free_only_after_its_time(waited):
    async def run():
        shelf = Shelf()
        place = await left_behind(shelf)
        await shelf.open().sweep_expired()
        assert shelf.body(place) == CLEANED
        shelf.clock.pass_(waited)
        for _ in range(2):
            with pytest.raises(ProofConflictError, match="try again later"):
                await issue(shelf.open())
        await shelf.open().sweep_expired()
        assert shelf.body(place) == CLEANED
        shelf.clock.pass_(SETTLED - waited)
        with pytest.raises(ProofConflictError):
            await issue(shelf.open())
        proof = await issue(shelf.open())
        assert await invariant(shelf.open(), shelf) == {proof.proof_id}

    asyncio.run(run())


def test_a_record_in_its_place_is_nobodys_leftover():
    async def run():
        shelf = Shelf()
        store = shelf.open()
        proof = await issue(store)
        cleaner = shelf.open()
        before = {key: shelf.body(key) for key in shelf.held()}
        digest = hashlib.sha256(ASSET).digest()
        shelf.clock.pass_(9 * DAY)
        assert await Leftovers(cleaner._objects).remove(proof.proof_id, digest) == "kept"
        assert {key: shelf.body(key) for key in before} == before

    asyncio.run(run())


@pytest.mark.parametrize("encrypted", [False, True])
def test_what_takes_the_place_of_a_record_is_not_counted_as_one(encrypted):
    async def run():
        shelf = Shelf()
        store = sealed(shelf) if encrypted else shelf.open()
        await issue(store)
        lasting = await store.issue(b"another", manifest=b"m")
        kept = shelf.objects.by_key[LAYOUT.record(lasting.proof_id)]
        shelf.clock.pass_(5 * DAY)
        seen = []

        async def hook(operation, key):
            if operation == "delete_many":
                seen.append((await totals()).proofs)

        totals = (sealed(shelf) if encrypted else shelf.open()).stats
        store.driver.hook = hook
        assert (await store.sweep_expired()).swept == 1
        stats = await store.stats()
        assert (stats.proofs, (await store.fsck()).records, len(await store.list())) == (1, 1, 1)
        assert stats.total_size == sum(len(shelf.body(key)) for key in shelf.held())
        assert len(shelf.held("r/")) == 2
        assert set(seen) == {1}
        # A damaged one is still one, which `fsck` reports; so is one that has been cut off.
        for data in (b"{}", b"", kept.data[:100]):
            shelf.objects.put(replace(kept, data=data, info=replace(kept.info, digest=None, size=len(data))))
            assert (await store.stats()).proofs == 1

    asyncio.run(run())


def test_no_record_is_as_small_as_what_is_looked_at():
    async def run():
        shelf = Shelf()
        store = shelf.open(trust=TrustStore(1, (replace(TRUST.keys[0], issuers=frozenset({"a:b"})),)))
        await store.issue(b"")
        (key,) = shelf.held("r/")
        assert max(len(CLAIMED), len(CLEANED)) < SMALLEST_RECORD <= len(shelf.body(key))
        store.driver.counts.clear()
        assert (await store.stats()).proofs == 1
        assert store.driver.counts["get"] == 0

    asyncio.run(run())
