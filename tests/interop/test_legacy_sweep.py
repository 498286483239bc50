"""What is exported for the original's readers survives the original's sweep, as JavaScript evaluates it."""

import asyncio
import json
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from credstore import MemoryStorageProvider
from credstore.proofs import LocalSigner, ProofStore, TrustStore, trust_key

pytestmark = pytest.mark.system

SWEEP = """
const record = JSON.parse(require("fs").readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify({
  now: record.expiresAt < Date.now(),
  later: record.expiresAt < Date.parse("9000-01-01T00:00:00Z"),
  null: null < Date.now(),
}));
"""


def exported(**options):
    async def main():
        signer = LocalSigner.generate()
        key = trust_key(signer.public_key, issuers=["https://news.example"], valid_from=datetime.now(UTC))
        store = ProofStore(MemoryStorageProvider(), signer=signer, trust=TrustStore(1, (key,)))
        async with store:
            proof = await store.issue(b"asset", **options)
            return await store.export_legacy(proof.proof_id)

    return asyncio.run(main())


def swept(record):
    done = subprocess.run(
        ["node", "-e", SWEEP],
        input=json.dumps(record),
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    return json.loads(done.stdout)


def test_a_record_without_an_end_is_not_swept():
    assert swept(exported()) == {"now": False, "later": False, "null": True}


def test_a_record_with_an_end_is_swept_after_it():
    assert swept(exported(expires_in=timedelta(days=1))) == {"now": False, "later": True, "null": True}
