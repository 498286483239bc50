"""Users' code of the proof store, read by mypy and pyright and never run."""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

from credstore import SignedUrl, StorageProvider
from credstore.proofs.format.original import LegacyHomes, LegacyProof
from credstore.proofs.format.record import AssetDigest
from credstore.proofs.format.signing import Signer
from credstore.proofs.format.status import ProofStatus
from credstore.proofs.format.trust import TrustStore
from credstore.proofs.store.model import IssueRequest, Proof, ProofOutcome, ProofStats, SweepReport
from credstore.proofs.store.proof_store import ProofStore


async def verbs(provider: StorageProvider, trust: TrustStore, signer: Signer) -> None:
    async with ProofStore(provider, trust=trust, signer=signer, legacy=LegacyHomes()) as store:
        proof = await store.issue(Path("photo.jpg"), claims={"a": [1]}, expires_in=3600)
        assert_type(proof, Proof)
        assert_type(await store.issue(AssetDigest(b"", 0), idempotency_key="key"), Proof)
        assert_type(await store.get(proof.proof_id), Proof)
        assert_type(await store.get(proof.proof_id, allow_legacy=True), Proof | LegacyProof)
        assert_type(await store.find_by_hash("00"), list[Proof])
        assert_type(await store.revoke(proof.proof_id, "keyCompromise"), ProofStatus)
        assert_type(await store.sweep_expired(grace=0), SweepReport)
        assert_type(await store.link(proof.proof_id, 60, download_name="proof.json"), SignedUrl)
        assert_type(await store.stats(), ProofStats)
        assert_type(await store.list(10), list[ProofOutcome])
        async for outcome in store.issue_many([IssueRequest(asset=b"1")]):
            assert_type(outcome, ProofOutcome)
        await store.issue(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        await store.revoke(proof.proof_id, "because")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        await store.issue(b"", expires=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
