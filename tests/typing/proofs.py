"""Users' code of the proof store, read by mypy and pyright and never run."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import assert_type

from credstore import SignedUrl, StorageProvider
from credstore.proofs.format.bundle import BundleReport, verify_bundle
from credstore.proofs.format.errors import ProofPolicyError
from credstore.proofs.format.original import LegacyHomes, LegacyProof
from credstore.proofs.format.policy import (
    AllOf,
    AnyOf,
    Candidate,
    IssuedBy,
    Policy,
    UnsafeUnsigned,
    unsafe_allow_expired,
    unsafe_allow_revoked,
    unsafe_allow_unsigned,
    verify_proof,
)
from credstore.proofs.format.record import AssetDigest
from credstore.proofs.format.signing import Signer
from credstore.proofs.format.status import ProofStatus
from credstore.proofs.format.trust import TrustStore
from credstore.proofs.format.verify import VerifiedProof
from credstore.proofs.store.model import IssueRequest, Proof, ProofOutcome, ProofStats, SweepReport
from credstore.proofs.store.proof_store import ProofStore


class Claimed:
    """A user's own policy."""

    def verify(self, candidate: Candidate, /) -> None:
        if candidate.proof.record.claims is None:
            raise ProofPolicyError("the proof claims nothing")


async def policies(
    store: ProofStore, proof_id: str, trust: TrustStore, either: Policy | UnsafeUnsigned
) -> None:
    policy: Policy = AnyOf([AllOf([IssuedBy("https://a.example"), Claimed()]), IssuedBy("https://b.example")])
    assert_type(unsafe_allow_expired(unsafe_allow_revoked(policy)), Policy)
    assert_type(unsafe_allow_unsigned(policy), UnsafeUnsigned)
    assert_type(await store.get(proof_id, policy=policy), Proof)
    assert_type(await store.get(proof_id, policy=None), Proof)
    assert_type(await store.get(proof_id, policy=unsafe_allow_expired()), Proof)
    assert_type(await store.get(proof_id, policy=unsafe_allow_unsigned()), Proof | LegacyProof)
    assert_type(await store.get(proof_id, policy=either), Proof | LegacyProof)
    assert_type(await store.find_by_hash("00", policy=Claimed()), list[Proof])
    assert_type(await store.get_manifest(proof_id, policy=policy), bytes)
    assert_type(verify_proof(b"", trust, now=datetime.now(UTC), policy=policy), VerifiedProof)
    assert_type(verify_bundle(b"", trust, now=datetime.now(UTC), policy=policy), BundleReport)
    # What is unsigned is in no composition, so that a `Proof` is never a `LegacyProof` in disguise.
    await store.find_by_hash("00", policy=unsafe_allow_unsigned())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    AnyOf([unsafe_allow_unsigned()])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    AllOf([None])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    await store.get(proof_id, policy=True)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await store.get(proof_id, allow_expired=True)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


async def verbs(provider: StorageProvider, trust: TrustStore, signer: Signer) -> None:
    async with ProofStore(provider, trust=trust, signer=signer, legacy=LegacyHomes()) as store:
        proof = await store.issue(Path("photo.jpg"), claims={"a": [1]}, expires_in=3600)
        assert_type(proof, Proof)
        assert_type(await store.issue(AssetDigest(b"", 0), idempotency_key="key"), Proof)
        assert_type(await store.get(proof.proof_id), Proof)
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
