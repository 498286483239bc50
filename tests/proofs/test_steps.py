"""What a proof costs in steps of Python, counted, since a clock tells little on a busy machine."""

import asyncio
import sys
from collections import Counter

from credstore import MemoryConfig, MemoryStorageProvider
from credstore.proofs.format.record import AssetDigest
from credstore.proofs.store.proof_store import ProofStore
from tests.proofs.material import ISSUED, MINUTE, SIGNER, TRUST

CLAIMS = {"title": "a photograph", "text": "x" * 580}
MOST_TO_ISSUE, MOST_TO_GET = 290, 180
"""Calls of Python functions: a tenth more than with Python 3.11, as the standard library's own differ."""


def counted(run):
    """Calls of Python functions by name, in what `run()` does without waiting."""
    calls = Counter()

    def note(frame, event, arg):
        if event == "call":
            calls[frame.f_code.co_qualname] += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        try:
            run().send(None)
        except StopIteration as done:
            return calls, done.value
    finally:
        sys.setprofile(before)
    raise AssertionError("it waited")


def test_issuing_and_reading_a_proof_takes_few_calls():
    async def run():
        async with MemoryStorageProvider(MemoryConfig()) as provider:
            store = ProofStore(provider, trust=TRUST, signer=SIGNER, clock=lambda: ISSUED + MINUTE)
            for number in range(3):
                proof = await store.issue(AssetDigest.of(b"%d" % number), claims=CLAIMS, expires_in=3600)
                await store.get(proof.proof_id)
            asset = AssetDigest.of(b"asset")
            issued, proof = counted(lambda: store.issue(asset, claims=CLAIMS, expires_in=3600))
            read, same = counted(lambda: store.get(proof.proof_id))
            assert (same.record, same.envelope) == (proof.record, proof.envelope)
            return issued, read

    issued, read = asyncio.run(run())
    assert issued.total() <= MOST_TO_ISSUE, issued
    assert read.total() <= MOST_TO_GET, read
    # What is the same for every proof is neither checked nor planned again.
    again = {"check_options", "finish_write", "ProofIssuer.of", "read_record", "StorageProvider.store"}
    assert again.isdisjoint(issued), issued
    assert read["read_object"] <= 1, read
