"""Issuers, sweepers, revokers and readers at once, in every order that chance gives."""

import asyncio
import hashlib
import random

import pytest

from credstore.errors import StorageError, StorageTimeoutError
from credstore.proofs.format.errors import ProofConflictError, ProofErasedError, ProofError, ProofRevokedError
from credstore.proofs.store.repository import LEASE
from tests.proofs.shelves import DAY, HOUR, Shelf, dying, heal, invariant

ASSET = b"hello"
DIGEST = hashlib.sha256(ASSET).digest()


def shuffled(store, rng):
    """Let others go on before each request of a store, for a while that chance chooses."""

    async def hook(_operation, _key):
        for _ in range(rng.randrange(6)):
            await asyncio.sleep(0)

    store.driver.hook = hook
    return store


@pytest.mark.parametrize("seed", range(20))
def test_one_key_is_one_proof(seed):
    async def run():
        rng, shelf = random.Random(seed), Shelf()
        stores = [shuffled(shelf.open(), rng) for _ in range(6)]
        proofs = await asyncio.gather(
            *(store.issue(ASSET, idempotency_key="k", expires_in=HOUR, manifest=b"m") for store in stores)
        )
        assert len({proof.envelope for proof in proofs}) == 1
        assert len(shelf.held("r/")) == 1
        assert len(await invariant(stores[0], shelf)) == 1

    asyncio.run(run())


@pytest.mark.parametrize("seed", range(20))
def test_one_key_for_several_things_is_one_of_them(seed):
    async def run():
        rng, shelf = random.Random(seed), Shelf()
        stores = [shuffled(shelf.open(), rng) for _ in range(4)]
        outcomes = await asyncio.gather(
            *(
                store.issue(ASSET, idempotency_key="k", claims={"n": number}, manifest=b"%d" % (number % 2))
                for number, store in enumerate(stores)
            ),
            return_exceptions=True,
        )
        won = [each for each in outcomes if not isinstance(each, Exception)]
        assert all(isinstance(each, ProofConflictError) for each in outcomes if each not in won)
        assert len(won) <= 1
        assert len(await invariant(stores[0], shelf)) == len(won)

    asyncio.run(run())


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("cut", [1, 3, 4, 5])
def test_a_retry_and_sweepers_of_its_leftovers(seed, cut):
    """A sweeper that removes leftovers while the same id is issued again never takes what leads to the proof."""

    async def run():
        rng, shelf = random.Random(seed * 10 + cut), Shelf()
        dead = shelf.open()
        dead.driver.fail(cut, "after")
        with dying():
            await dead.issue(ASSET, idempotency_key="k", expires_in=HOUR, manifest=b"m")
        shelf.clock.pass_(3 * DAY)
        issuers = [shuffled(shelf.open(), rng) for _ in range(2)]
        sweepers = [shuffled(shelf.open(), rng) for _ in range(3)]
        outcomes = await asyncio.gather(
            *(each.issue(ASSET, idempotency_key="k", expires_in=HOUR, manifest=b"m") for each in issuers),
            *(each.sweep_expired() for each in sweepers),
            *(each.find_by_hash(DIGEST) for each in sweepers),
            return_exceptions=True,
        )
        for outcome in outcomes[:2]:
            assert isinstance(outcome, ProofConflictError) or not isinstance(outcome, BaseException), outcome
        for outcome in outcomes[2:]:
            assert not isinstance(outcome, BaseException), outcome
        valid = await invariant(issuers[0], shelf)
        assert bool(valid) == any(not isinstance(each, BaseException) for each in outcomes[:2])

    asyncio.run(run())


@pytest.mark.parametrize("seed", range(10))
def test_sweepers_at_once(seed):
    async def run():
        rng, shelf = random.Random(seed), Shelf()
        store = shelf.open()
        for number in range(12):
            await store.issue(b"%d" % (number % 5), expires_in=HOUR, manifest=b"m" if number % 2 else None)
        kept = await store.issue(ASSET, expires_in=1000 * HOUR)
        shelf.clock.pass_(3 * DAY)
        sweepers = [shuffled(shelf.open(), rng) for _ in range(4)]
        reports = await asyncio.gather(*(each.sweep_expired() for each in sweepers))
        assert not any(report.failed for report in reports)
        for _ in range(3):
            shelf.clock.pass_(DAY)
            await store.sweep_expired()
        assert await invariant(store, shelf) == {kept.proof_id}
        assert len(shelf.held()) == 3

    asyncio.run(run())


@pytest.mark.parametrize("seed", range(20))
def test_once_revoked_every_later_read_refuses(seed):
    async def run():
        rng, shelf = random.Random(seed), Shelf()
        store = shelf.open()
        proof = await store.issue(ASSET, expires_in=HOUR)
        revoker, reader = shuffled(shelf.open(), rng), shuffled(shelf.open(), rng)
        revoked = False

        async def revoke():
            nonlocal revoked
            await revoker.revoke(proof.proof_id)
            revoked = True

        async def read():
            for _ in range(10):
                before = revoked
                try:
                    await reader.get(proof.proof_id)
                except ProofRevokedError:
                    continue
                assert not before, "a proof was valid after it was revoked"

        await asyncio.gather(revoke(), read(), read())
        with pytest.raises(ProofRevokedError):
            await reader.get(proof.proof_id)

    asyncio.run(run())


@pytest.mark.parametrize("seed", range(20))
def test_deleting_while_others_read_issue_and_sweep(seed):
    async def run():
        rng, shelf = random.Random(seed), Shelf()
        store = shelf.open()
        proof = await store.issue(ASSET, idempotency_key="k", expires_in=1000 * HOUR, manifest=b"m")
        workers = [shuffled(shelf.open(), rng) for _ in range(5)]
        outcomes = await asyncio.gather(
            workers[0].delete(proof.proof_id),
            workers[1].delete(proof.proof_id),
            workers[2].issue(ASSET, idempotency_key="k", expires_in=1000 * HOUR, manifest=b"m"),
            workers[3].find_by_hash(DIGEST),
            workers[4].get_manifest(proof.proof_id),
            return_exceptions=True,
        )
        for outcome in outcomes:
            assert not isinstance(outcome, BaseException) or isinstance(
                outcome, (ProofError, StorageError)
            ), outcome
        with pytest.raises(ProofErasedError):
            await store.get(proof.proof_id)
        assert await store.find_by_hash(DIGEST) == []
        await heal(store, shelf, [DIGEST])
        assert await invariant(store, shelf) == set()

    asyncio.run(run())


def test_a_cleaner_that_was_held_up_takes_nothing():
    async def run():
        shelf = Shelf()
        dead = shelf.open()
        dead.driver.fail(6, "after")
        with dying():
            await dead.issue(ASSET, idempotency_key="k", expires_in=HOUR, manifest=b"m")
        shelf.clock.pass_(3 * DAY)
        sweeper = shelf.open()

        async def hook(operation, key):
            if operation == "put" and "/r/" in key:
                shelf.clock.pass_(LEASE + DAY / 24 / 60)

        sweeper.driver.hook = hook
        report = await sweeper.sweep_expired()
        (error,) = report.failed.values()
        assert isinstance(error, StorageTimeoutError)
        assert len(shelf.held("a/")) == len(shelf.held("m/")) == 1
        await heal(shelf.open(), shelf, [DIGEST])
        assert shelf.held() == []

    asyncio.run(run())
