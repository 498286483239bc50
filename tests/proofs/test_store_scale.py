"""Cost per proof does not grow with their number, counted in requests; a sweep lists only what is due."""

import asyncio
import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from credstore.errors import StorageInvalidRequestError
from credstore.model import Retention
from credstore.proofs.format.record import AssetDigest
from credstore.proofs.store.layout import INDEX_BODY, Marker
from credstore.proofs.store.model import IssueRequest
from credstore.proofs.store.repository import LEFTOVER_AGE
from tests.proofs.growing import Growing, growth
from tests.proofs.shelves import DAY, HOUR, LAYOUT, Shelf, invariant


async def fill(store, count, start=0):
    requests = (
        IssueRequest(
            asset=AssetDigest.of(b"%d" % number), expires_in=HOUR if number % 4 == 0 else 10_000 * HOUR
        )
        for number in range(start, start + count)
    )
    async for outcome in store.issue_many(requests):
        assert outcome.error is None, outcome.error


async def cost(store, awaitable):
    store.driver.counts.clear()
    await awaitable
    return store.driver.total


def test_the_cost_of_a_proof_does_not_grow():
    async def run():
        shelf = Shelf()
        store = shelf.open()
        costs = []
        for round_, count in enumerate((100, 400, 1200)):
            await fill(store, count, round_ * 10_000)
            issue = await cost(store, store.issue(b"another %d" % round_, expires_in=10_000 * HOUR))
            digest = hashlib.sha256(b"%d" % (round_ * 10_000 + 1)).digest()
            find = await cost(store, store.find_by_hash(digest))
            (proof,) = await store.find_by_hash(digest)
            costs.append((issue, find, await cost(store, store.get(proof.proof_id))))
        assert costs == [(3, 3, 2)] * 3

    asyncio.run(run())


def test_a_local_store_of_ten_times_as_many_proofs_asks_the_system_for_no_more(tmp_path):
    """The campaign `proofs` does it with 100,000."""

    async def run():
        async with Growing(tmp_path / "store", expires_in=None) as growing:
            await growing.grow(100)
            few = await growing.costs()
            await growing.grow(1_000)
            many = await growing.costs()
        assert growth(few, many, 1_000) == []
        for verb in ("find", "get"):
            assert many[verb]["listdir"] == few[verb]["listdir"]
            assert many[verb].calls == few[verb].calls

    asyncio.run(run())


def test_a_sweep_lists_what_is_due_and_no_more():
    async def run():
        counts = []
        for count in (400, 2000):
            shelf = Shelf()
            store = shelf.open()
            await fill(store, count)
            due = count // 4
            store.driver.counts.clear()
            assert (await store.sweep_expired()).swept == 0
            assert store.driver.counts == {"list": 1}
            shelf.clock.pass_(3 * DAY)
            store.driver.counts.clear()
            report = await store.sweep_expired()
            assert report.swept == due
            assert store.driver.counts["put"] == 0
            assert store.driver.counts["get"] == 2 * due
            assert store.driver.counts["list"] <= 2 * due + 2
            assert store.driver.counts["delete_many"] <= 4
            assert len(shelf.held("x/")) == len(shelf.held("r/")) == len(shelf.held("a/")) == count - due
            counts.append(store.driver.total / due)
        assert counts[1] < counts[0]

    asyncio.run(run())


def test_a_sweep_may_be_limited():
    async def run():
        shelf = Shelf()
        store = shelf.open()
        for number in range(10):
            await store.issue(b"%d" % number, expires_in=HOUR)
        shelf.clock.pass_(3 * DAY)
        assert [(await store.sweep_expired(limit=4)).swept for _ in range(4)] == [4, 4, 2, 0]
        for wrong in ({"limit": 0}, {"grace": -1}):
            with pytest.raises(StorageInvalidRequestError):
                await store.sweep_expired(**wrong)

    asyncio.run(run())


def keep(shelf, key, how):
    """Let a record be one that no sweep removes: under retention, or damaged."""
    found = shelf.objects.by_key[key]
    if how == "later":
        until = datetime.now(UTC) + timedelta(days=1000)
        shelf.objects.put(replace(found, retention=Retention(mode="compliance", retain_until=until)))
    else:
        shelf.objects.put(replace(found, data=b"{}", info=replace(found.info, digest=None, size=2)))


@pytest.mark.parametrize("how", ["later", "failed", "kept"])
@pytest.mark.parametrize("limit", [1, 3, 4])
def test_what_stays_keeps_no_limited_sweep_from_what_is_behind_it(limit, how):
    async def run():
        shelf = Shelf()
        store = shelf.open()
        for number in range(3):
            lasts = 10_000 * HOUR if how == "kept" else HOUR
            proof = await store.issue(b"%d" % number, expires_in=lasts)
            if how == "kept":  # A marker of today that no record has, and that may be of an issue under way.
                marker = Marker(proof.record.asset.sha256, manifest=False)
                await store._objects.put_marker(shelf.clock(), proof.proof_id, marker)
            else:
                keep(shelf, LAYOUT.record(proof.proof_id), how)
        shelf.clock.pass_(DAY)
        behind = [(await store.issue(b"behind %d" % number, expires_in=HOUR)).proof_id for number in range(2)]
        shelf.clock.pass_(2 * DAY)
        for key in shelf.held("x/"):
            shelf.date(key)
        swept = [await store.sweep_expired(limit=limit) for _ in range(3)]
        assert [each.swept for each in swept] == ([1, 1, 0] if limit == 1 else [2, 0, 0])
        last = swept[-1]
        assert (last.later, len(last.failed), last.kept) == {
            "later": (3, 0, 0),
            "failed": (0, 3, 0),
            "kept": (0, 0, 3),
        }[how]
        assert not [key for key in shelf.held() if any(proof_id in key for proof_id in behind)]

    asyncio.run(run())


def test_the_grace_of_a_sweep():
    async def run():
        shelf = Shelf()
        store = shelf.open()
        await store.issue(b"asset", expires_in=HOUR)
        shelf.clock.pass_(DAY)
        assert (await store.sweep_expired()).swept == 0
        assert len(shelf.held()) == 3
        shelf.clock.pass_(DAY / 12)
        assert (await store.sweep_expired()).swept == 1
        proof = await store.issue(b"asset", expires_in=HOUR)
        assert (await store.sweep_expired(grace=0)).swept == 0
        await store.get(proof.proof_id)
        shelf.clock.pass_(DAY / 24)
        assert (await store.sweep_expired(grace=0)).swept == 1
        assert shelf.held() == []

    asyncio.run(run())


def test_an_issue_under_way_is_no_leftover():
    async def run():
        shelf = Shelf()
        store, sweeper = shelf.open(), shelf.open()

        async def hook(operation, key):
            if operation == "put" and "/r/" in key:
                report = await sweeper.sweep_expired(grace=0)
                assert report.cleaned == 0
                assert await sweeper.find_by_hash(hashlib.sha256(b"asset").digest()) == []

        store.driver.hook = hook
        await store.issue(b"asset", expires_in=0.001, manifest=b"m")
        assert len(await invariant(sweeper, shelf)) == 1
        assert LEFTOVER_AGE >= DAY

    asyncio.run(run())


def test_fsck_restores_and_removes():
    async def run():
        shelf = Shelf()
        store = shelf.open()
        whole = await store.issue(b"whole", expires_in=10_000 * HOUR, manifest=b"m")
        lost = await store.issue(b"lost", expires_in=10_000 * HOUR)
        bad = await store.issue(b"bad", manifest=b"m")
        await store.issue(b"revoked")
        digest = lost.record.asset.sha256
        for key in (
            LAYOUT.index(digest, lost.proof_id),
            LAYOUT.marker(lost.record.expires_at, lost.proof_id),
        ):
            await store.provider.delete(key)
        await store.provider.delete(LAYOUT.manifest(bad.proof_id))
        gone = store.new_proof_id()
        await store.provider.store(LAYOUT.index(digest, gone), INDEX_BODY, compress=False)
        await store.provider.store(LAYOUT.manifest(gone), b"m", compress=False)
        await store.provider.store(f"{LAYOUT.records}x", b"m", compress=False)
        young = await store.fsck()
        assert (young.records, young.restored, young.removed) == (4, 2, 0)
        shelf.clock.pass_(2 * DAY)
        before = shelf.held()
        seen = await store.fsck()
        assert (seen.records, seen.restored, seen.removed, seen.repaired) == (4, 2, 2, False)
        assert set(seen.problems) == {LAYOUT.record(bad.proof_id), f"{LAYOUT.records}x"}
        assert shelf.held() == before
        assert await store.find_by_hash(digest) == []
        await store.fsck(repair=True)
        (found,) = await store.find_by_hash(digest)
        assert found.proof_id == lost.proof_id
        for _ in range(2):
            shelf.clock.pass_(2 * DAY)
            await store.sweep_expired()
        clean = await store.fsck()
        assert (clean.records, clean.restored, clean.removed) == (4, 0, 0)
        assert LAYOUT.manifest(whole.proof_id) in shelf.held()
        assert gone not in " ".join(shelf.held())

    asyncio.run(run())
