"""A stop at every request of every verb: no proof that its hash does not find, no name that leads nowhere for good."""

import asyncio
import hashlib

import pytest

from credstore.errors import StorageError
from credstore.proofs.format.errors import ProofErasedError, ProofNotFoundError
from credstore.proofs.format.policy import unsafe_allow_expired
from tests.proofs.shelves import DAY, HOUR, LAYOUT, Killed, Shelf, dying, heal, invariant, tombstone

ASSET, OTHER = b"hello", b"other"
DIGESTS = [hashlib.sha256(each).digest() for each in (ASSET, OTHER)]


async def _nothing(store):
    return None


async def _one(store):
    return (await store.issue(ASSET, expires_in=HOUR, manifest=b"manifest")).proof_id


async def _for_ever(store):
    return (await store.issue(ASSET, manifest=b"manifest")).proof_id


async def _revoked(store):
    proof_id = await _one(store)
    await store.revoke(proof_id)
    return proof_id


async def _expired(store):
    proof_id = await _revoked(store)
    await store.issue(ASSET, expires_in=HOUR)
    store._clock.pass_(3 * DAY)
    return proof_id


async def _issue(store, _):
    await store.issue(ASSET, expires_in=HOUR, manifest=b"manifest")


async def _issue_for_ever(store, _):
    await store.issue(ASSET)


async def _issue_once(store, _):
    await store.issue(ASSET, idempotency_key="key", expires_in=30 * HOUR, manifest=b"manifest")


async def _revoke(store, proof_id):
    await store.revoke(proof_id)


async def _supersede(store, proof_id):
    await store.supersede(proof_id, OTHER, expires_in=HOUR)


async def _delete(store, proof_id):
    await store.delete(proof_id)


async def _sweep(store, _):
    await store.sweep_expired()


VERBS = {
    "issue": (_nothing, _issue),
    "issue for ever": (_nothing, _issue_for_ever),
    "issue once": (_nothing, _issue_once),
    "revoke": (_one, _revoke),
    "supersede": (_one, _supersede),
    "delete": (_one, _delete),
    "delete what is for ever": (_for_ever, _delete),
    "delete what is revoked": (_revoked, _delete),
    "sweep": (_expired, _sweep),
}


@pytest.mark.parametrize("how", ["before", "after", "half", "lost", "unsent"])
@pytest.mark.parametrize("name", VERBS)
def test_it_may_stop_anywhere(name, how):
    asyncio.run(_stops_anywhere(*VERBS[name], how))


async def _stops_anywhere(prepare, verb, how):
    nth = 1
    while await _stopped(prepare, verb, how, nth):
        nth += 1
    assert nth > 2


async def _stopped(prepare, verb, how, nth):
    """Whether there was an nth request to stop at."""
    shelf = Shelf()
    first = shelf.open()
    proof_id = await prepare(first)
    driver = first.driver
    driver.fail(nth, how)
    error = None
    try:
        with dying():
            await verb(first, proof_id)
    except StorageError as raised:
        error = raised
    if driver.dead:
        error = Killed()
    struck = driver.nth is None
    if not struck:
        assert error is None
        return False
    second = shelf.open()
    before = await invariant(second, shelf)
    if isinstance(error, StorageError) and error.applied == "no" and proof_id is None:
        assert not before, "an issue that did not happen has made a proof"
    if error is None and proof_id is None:
        assert before, "an acknowledged proof is lost"
    # The same again ends what was begun.
    try:
        await verb(second, proof_id)
    except (ProofNotFoundError, ProofErasedError):
        assert verb in {_delete, _revoke}
    await invariant(second, shelf)
    if verb is _delete:
        with pytest.raises((ProofErasedError, ProofNotFoundError)):
            await second.get(proof_id, policy=unsafe_allow_expired())
        assert not shelf.held("r/")
        assert not shelf.held("m/")
    await heal(second, shelf, DIGESTS)
    await invariant(second, shelf)
    if verb is _sweep:
        assert shelf.held() == []
    assert not any(body.startswith(b'{"abandoned"') for body in map(shelf.body, shelf.held("r/")))
    return True


@pytest.mark.parametrize("how", ["before", "after", "half"])
def test_leftovers_may_be_cleaned_by_many_that_stop(how):
    async def run():
        for cut in range(1, 6):  # After each request of the issue, so with each kind of leftover,
            for nth in range(1, 12):  # a cleaner stops at each of its own.
                shelf = Shelf()
                store = shelf.open()
                store.driver.fail(cut, "after")
                with dying():
                    await store.issue(ASSET, idempotency_key="key", expires_in=HOUR, manifest=b"m")
                shelf.clock.pass_(3 * DAY)
                sweeper = shelf.open()
                sweeper.driver.fail(nth, how)
                with dying():
                    await sweeper.sweep_expired()
                last = shelf.open()
                for _ in range(5):
                    await last.sweep_expired()
                    shelf.clock.pass_(DAY)
                assert shelf.held() == []
                await last.issue(ASSET, idempotency_key="key", expires_in=HOUR, manifest=b"another")
                assert len(await invariant(last, shelf)) == 1

    asyncio.run(run())


@pytest.mark.parametrize("how", ["before", "after", "half"])
@pytest.mark.parametrize("life", [None, HOUR])
def test_a_sweep_alone_ends_a_deletion(how, life):
    async def run():
        for nth in range(1, 20):
            shelf = Shelf()
            store = shelf.open()
            proof_id = (await store.issue(ASSET, manifest=b"m", expires_in=life)).proof_id
            store.driver.fail(nth, how)
            with dying():
                await store.delete(proof_id)
            begun = LAYOUT.erasure(proof_id) in shelf.held()
            sweeper = shelf.open()
            for _ in range(4):
                shelf.clock.pass_(2 * DAY)
                await sweeper.sweep_expired()
            if begun:
                assert shelf.held() == tombstone(proof_id)
            elif life is None:
                assert await invariant(sweeper, shelf) == {proof_id}
                assert len(shelf.held()) == 3
            else:
                assert shelf.held() == []
        assert store.driver.nth is not None

    asyncio.run(run())
