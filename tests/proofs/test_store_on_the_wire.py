"""The proof store over S3's wire: requests counted, and every answer of every verb lost once."""

import asyncio
import hashlib

import pytest

from credstore.errors import StorageError
from credstore.proofs.format.errors import ProofErasedError, ProofNotFoundError, ProofRevokedError
from credstore.proofs.store.layout import Layout
from credstore.proofs.store.proof_store import ProofStore
from credstore.testing import count_requests
from tests.faults.script import Reset
from tests.faults.stores import objects_of, open_store, serving
from tests.proofs.material import SIGNER
from tests.proofs.shelves import DAY, HOUR, TRUST, Clock, tombstone

ASSET = b"hello"
DIGEST = hashlib.sha256(ASSET).digest()
LAYOUT = Layout()


def over_the_wire(test):
    async def main():
        async with serving() as origin:
            clock = Clock()
            async with ProofStore(open_store(origin), trust=TRUST, signer=SIGNER, clock=clock) as store:
                await test(origin, store, clock)

    asyncio.run(main())


def test_requests_are_as_few_as_promised():
    async def test(origin, store, clock):
        with count_requests() as wire:
            proof = await store.issue(ASSET, expires_in=HOUR)
        assert wire.by_operation == {"PutObject": 3}, wire
        with count_requests() as wire:
            await store.get(proof.proof_id)
        assert wire.by_operation == {"GetObject": 2}, wire
        with count_requests() as wire:
            assert await store.find_by_hash(DIGEST)
        assert wire.by_operation == {"GetObject": 2, "ListObjectsV2": 1}, wire
        with count_requests() as wire:
            link = await store.link(proof.proof_id, 60)
        assert wire.total == 3
        assert "X-Amz-Signature" in link
        stored = objects_of(origin)[LAYOUT.record(proof.proof_id)]
        assert stored.attributes["content-type"] == "application/vnd.dsse.envelope.v1+json"
        assert "content-encoding" not in stored.attributes

    over_the_wire(test)


VERBS = {
    "issue": lambda store, _: store.issue(ASSET, idempotency_key="key", expires_in=HOUR, manifest=b"m"),
    "revoke": lambda store, proof_id: store.revoke(proof_id),
    "delete": lambda store, proof_id: store.delete(proof_id),
    "sweep": lambda store, _: store.sweep_expired(),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("times", [1, 9], ids=["once", "for good"])
def test_an_answer_lost_at_any_request_loses_nothing(verb, times):
    async def main():
        nth = 1
        while True:
            fired = []
            async with serving() as origin:
                clock = Clock()
                async with ProofStore(open_store(origin), trust=TRUST, signer=SIGNER, clock=clock) as store:
                    await lost_once(origin, store, clock, nth, fired)
            if not fired[0]:
                return nth
            nth += 1

    async def lost_once(origin, store, clock, nth, fired):
        proof_id = None
        if verb != "issue":
            proof_id = (await store.issue(ASSET, expires_in=HOUR, manifest=b"m")).proof_id
        if verb == "sweep":
            clock.pass_(3 * DAY)
        rule = origin.plan("after-apply", Reset(), nth=nth, times=times)
        outcome = None
        try:
            await VERBS[verb](store, proof_id)
        except StorageError as refused:
            outcome = refused
        fired.append(rule.fired)
        origin.script.rules.clear()
        if times == 1:
            assert outcome is None, outcome
        try:
            await VERBS[verb](store, proof_id)
        except (ProofErasedError, ProofNotFoundError):
            assert verb == "delete"
        await check(origin, store, clock, proof_id)

    async def check(origin, store, clock, proof_id):
        if verb == "issue":
            (found,) = await store.find_by_hash(DIGEST)
            assert await store.get_manifest(found.proof_id) == b"m"
            assert len(objects_of(origin)) == 4
        elif verb == "revoke":
            with pytest.raises(ProofRevokedError):
                await store.get(proof_id)
        elif verb == "delete":
            with pytest.raises(ProofErasedError):
                await store.get(proof_id)
            clock.pass_(3 * DAY)
            await store.sweep_expired()
            assert list(objects_of(origin)) == tombstone(proof_id)
        else:
            for _ in range(3):  # What lost its record is removed in steps.
                await store.sweep_expired()
                clock.pass_(3 * DAY)
            assert list(objects_of(origin)) == []

    assert asyncio.run(main()) > 3
