"""Writers in every order: once a reader has refused a proof, no later reader accepts it."""

import asyncio
import random
from itertools import combinations

import pytest

from credstore.errors import StorageConnectionError
from credstore.proofs.format.errors import ProofErasedError, ProofError, ProofNotFoundError
from credstore.proofs.format.policy import unsafe_allow_expired, unsafe_allow_revoked
from tests.proofs.shelves import DAY, HOUR, LAYOUT, Shelf, tombstone

ASSET = b"hello"
ANY = unsafe_allow_expired(unsafe_allow_revoked())


class Actor:
    """A verb of a store of its own that makes one request at each step."""

    def __init__(self, shelf, verb):
        self._go, self._waiting = asyncio.Event(), asyncio.Event()
        self.store = shelf.open()
        self.store.driver.hook = self._hook
        self.task = asyncio.ensure_future(verb(self.store))
        self.task.add_done_callback(lambda _: self._waiting.set())

    async def _hook(self, operation, key):
        self._waiting.set()
        await self._go.wait()
        self._go.clear()

    async def step(self):
        """Make one request, and return whether there was one to make."""
        await self._waiting.wait()
        if self.task.done():
            return False
        self._waiting.clear()
        self._go.set()
        await self._waiting.wait()
        return True

    async def end(self):
        while await self.step():
            pass
        return await asyncio.gather(self.task, return_exceptions=True)


async def requests_of(verb, prepare):
    """How many requests a verb makes when it is alone."""
    shelf, proof_id = await prepare()
    actor = Actor(shelf, lambda store: verb(store, proof_id))
    count = 0
    while await actor.step():
        count += 1
    await actor.task
    return count


async def seen(store, proof_id, policy=None):
    try:
        await store.get(proof_id, policy=policy)
    except (ProofErasedError, ProofNotFoundError) as error:
        return type(error)
    except ProofError:
        return ProofError
    return None


async def prepared(**options):
    shelf = Shelf()
    proof = await shelf.open().issue(ASSET, manifest=b"m", **options)
    return shelf, proof.proof_id


def erase(store, proof_id):
    return store.delete(proof_id)


def revoke(store, proof_id):
    return store.revoke(proof_id)


def sweep(store, proof_id):
    return store.sweep_expired(grace=0)


async def play(first, second, order, prepare, policy=None):
    """Both verbs step by step; True in `order` is a step of the second. What readers see never turns back."""
    shelf, proof_id = await prepare()
    reader = shelf.open(heal=False)
    actors = [Actor(shelf, lambda store, verb=verb: verb(store, proof_id)) for verb in (first, second)]
    refused = False
    for which in order:
        await actors[which].step()
        found = await seen(reader, proof_id, policy)
        assert found is not None or not refused, "a proof came back"
        refused = found is not None
    for actor in actors:
        await actor.end()
    return shelf, proof_id, reader


@pytest.mark.parametrize(("second", "life"), [(revoke, None), (revoke, HOUR), (sweep, HOUR)])
def test_an_erased_proof_stays_erased_whoever_writes_at_the_same_time(second, life):
    async def prepare():
        shelf, proof_id = await prepared(expires_in=life)
        if second is sweep:
            shelf.clock.pass_(DAY)
        return shelf, proof_id

    async def run():
        policy = ANY if second is sweep else None
        steps = await requests_of(erase, prepare), await requests_of(second, prepare)
        total = sum(steps)
        places = list(combinations(range(total), steps[1]))
        for taken in random.Random(life).sample(places, min(len(places), 220)):
            order = [place in taken for place in range(total)]
            shelf, proof_id, reader = await play(erase, second, order, prepare, policy)
            found = await seen(reader, proof_id, ANY)
            # A sweep that was faster leaves nothing to erase.
            assert found is ProofErasedError or (second is sweep and found is ProofNotFoundError), taken
            if found is ProofErasedError:
                assert set(tombstone(proof_id)) <= set(shelf.held())

    asyncio.run(run())


def test_a_torn_read_sees_what_was_there_or_a_refusal():
    """The record of one moment and the revocation of a later one, or the other way round."""

    async def run():
        steps = await requests_of(erase, prepared)
        for first in range(steps + 1):
            for later in range(first, steps + 1):
                for revocation_first in (False, True):
                    shelf, proof_id = await prepared()
                    eraser = Actor(shelf, lambda store, proof_id=proof_id: erase(store, proof_id))
                    reads = {"/r/": asyncio.Event(), "/s/": asyncio.Event()}
                    reader = shelf.open(heal=False)

                    async def hook(operation, key, reads=reads):
                        await reads["/r/" if "/r/" in key else "/s/"].wait()

                    reader.driver.hook = hook
                    reading = asyncio.ensure_future(seen(reader, proof_id))
                    order = ["/s/", "/r/"] if revocation_first else ["/r/", "/s/"]
                    for done in range(steps + 1):
                        for which, place in zip(order, (first, later), strict=True):
                            if place == done:
                                reads[which].set()
                                for _ in range(20):
                                    await asyncio.sleep(0)
                        await eraser.step()
                    await eraser.end()
                    found = await reading
                    assert shelf.held("s/") == tombstone(proof_id)
                    if first == later == steps:
                        assert found is ProofErasedError
                    assert found in {None, ProofErasedError}
                    assert await seen(shelf.open(), proof_id, ANY) is ProofErasedError

    asyncio.run(run())


def test_a_record_that_a_replica_brings_back_stays_erased():
    async def run():
        for life in (None, HOUR):
            shelf, proof_id = await prepared(expires_in=life)
            stored = shelf.objects.by_key[LAYOUT.record(proof_id)]
            store = shelf.open()
            await store.delete(proof_id)
            for _ in range(3):
                shelf.objects.put(stored)
                assert await seen(store, proof_id, ANY) is ProofErasedError
                shelf.clock.pass_(2 * DAY)
                await store.sweep_expired()
            assert set(tombstone(proof_id)) <= set(shelf.held())

    asyncio.run(run())


@pytest.mark.parametrize("end", ["sweep", "delete", "fsck"])
def test_an_erasure_that_stopped_half_way_is_ended(end):
    """The tombstone is there, and the revocation that leads readers to it is not."""

    async def run():
        shelf, proof_id = await prepared()
        store = shelf.open()
        store.driver.hook = _stop_at(LAYOUT.revocation(proof_id))
        with pytest.raises(StorageConnectionError):
            await store.delete(proof_id)
        assert LAYOUT.erasure(proof_id) in shelf.held()
        store = shelf.open()
        assert await seen(store, proof_id) is None
        shelf.clock.pass_(2 * DAY)
        if end == "sweep":
            await store.sweep_expired()
        elif end == "delete":
            assert await store.delete(proof_id)
            await store.sweep_expired()  # The marker of the call that stopped is of another day.
        else:
            assert (await store.fsck()).restored == 1
            assert await seen(store, proof_id) is None
            await store.fsck(repair=True)
        assert await seen(store, proof_id, ANY) is ProofErasedError
        if end != "fsck":
            assert shelf.held() == tombstone(proof_id)
        stats = await store.stats()
        assert (stats.erased, stats.revoked) == (1, 0)

    asyncio.run(run())


def _stop_at(key):
    async def hook(operation, at):
        if operation == "put" and at == key:
            raise StorageConnectionError("stopped here", applied="no")

    return hook
