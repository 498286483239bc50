"""Whoever adds and removes an attestation at the same time: one that is there is found by its subjects."""

import asyncio
from itertools import combinations

import pytest

from credstore import MemoryConfig
from credstore.drivers.memory import MemoryDriver
from credstore.proofs import ProofConflictError, ProofNotFoundError
from credstore.proofs.attestations import AttestationStore
from credstore.provider.provider import StorageProvider
from tests.proofs.shelves import Scripted, Shelf
from tests.proofs.test_attestations import OURS, SUBJECT, enveloped, statement
from tests.proofs.test_store_orders import Actor

OTHER = "1" * 64
DATA = enveloped(statement("https://slsa.dev/provenance/v1", SUBJECT.hexdigest(), OTHER))


class Attestations(Shelf):
    """One memory store that several stores of attestations may open."""

    def open(self, *, conditional=True):
        self.driver = Scripted(
            self, MemoryDriver(MemoryConfig(), objects=self.objects), conditional=conditional
        )
        store = AttestationStore(StorageProvider(self.driver, MemoryConfig()), verifier=OURS)
        store.driver = self.driver
        return store


class Unconditional(Attestations):
    """The same, without conditions."""

    def open(self):
        return super().open(conditional=False)


async def prepared(kind, *, there):
    shelf = kind()
    store = shelf.open()
    digest = (await store.add(DATA)).digest
    if not there:
        await store.remove(digest)
    return shelf, digest


async def is_there(store, digest):
    try:
        await store.get(digest)
    except ProofNotFoundError:
        return False
    return True


def add(store, digest):
    return store.add(DATA)


def remove(store, digest):
    return store.remove(digest)


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("kind", [Attestations, Unconditional])
@pytest.mark.parametrize("second", [remove, add])
def test_what_is_there_is_found_in_every_order(second, kind, there):
    async def run():
        steps = []
        for verb in (add, second):
            shelf, digest = await prepared(kind, there=there or verb is remove)
            actor, count = Actor(shelf, lambda store, verb=verb, digest=digest: verb(store, digest)), 0
            while await actor.step():
                count += 1
            steps.append(count)
        for taken in combinations(range(sum(steps)), steps[1]):
            shelf, digest = await prepared(kind, there=there)
            actors = [
                Actor(shelf, lambda store, verb=verb, digest=digest: verb(store, digest))
                for verb in (add, second)
            ]
            for place in range(sum(steps)):
                await actors[place in taken].step()
            for actor in actors:
                await actor.end()
                assert actor.task.exception() is None, taken
            store = shelf.open()
            found = [len(await store.find(each)) for each in (SUBJECT.digest(), OTHER)]
            assert found == [int(await is_there(store, digest))] * 2, taken
            assert second is remove or found == [1, 1]

    asyncio.run(run())


def test_one_that_others_remove_again_and_again_is_given_up_some_time():
    async def run():
        shelf, digest = await prepared(Attestations, there=True)
        store, other = shelf.open(), shelf.open()
        kept = shelf.objects.by_key[store._place(digest)]

        async def hook(operation, key):
            if key == store._place(digest):
                if operation == "put":
                    shelf.objects.put(kept)
                else:
                    await other.remove(digest)

        store.driver.hook = hook
        with pytest.raises(ProofConflictError, match="again and again") as caught:
            await store.add(DATA)
        assert caught.value.retryable

    asyncio.run(run())
