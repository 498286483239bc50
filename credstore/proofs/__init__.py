"""Proofs: signed records about assets, verified on every read.

`format` is pure: no store, no network, and clock and randomness are arguments. Formats: in-toto Statement v1
in DSSE 1.0.2, canonical by RFC 8785. `verify` checks what no reader may skip, `policy` what a reader asks
in addition. `store` keeps proofs on a provider: `ProofStore` and what its verbs do.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from credstore.proofs.format.bundle import (
        Bundle,
        BundleReport,
        bundle_name,
        encode_bundle,
        parse_bundle,
        verify_bundle,
    )
    from credstore.proofs.format.dsse import (
        Envelope,
    )
    from credstore.proofs.format.errors import (
        CheckpointError,
        LogBusyError,
        LogConsistencyError,
        LogEntryError,
        LogError,
        LogForkError,
        LogInclusionError,
        LogPendingError,
        LogRollbackError,
        LogTileError,
        ProofAlgorithmError,
        ProofAssetMismatchError,
        ProofConflictError,
        ProofErasedError,
        ProofError,
        ProofExpiredError,
        ProofFormatError,
        ProofIdMismatchError,
        ProofKeyExpiredError,
        ProofKeyRevokedError,
        ProofManifestError,
        ProofNotFoundError,
        ProofNotYetValidError,
        ProofPolicyError,
        ProofRevokedError,
        ProofSignatureError,
        ProofTimestampError,
        ProofUnsignedError,
        ProofUntrustedKeyError,
        WitnessError,
        WitnessQuorumError,
    )
    from credstore.proofs.format.logged import (
        Logged,
        LogPart,
    )
    from credstore.proofs.format.original import (
        LegacyHomes,
        LegacyProof,
    )
    from credstore.proofs.format.policy import (
        AllOf,
        AnyOf,
        Candidate,
        InLog,
        IssuedBy,
        Policy,
        Timestamped,
        UnsafeUnsigned,
        unsafe_allow_expired,
        unsafe_allow_revoked,
        unsafe_allow_unsigned,
        verify_proof,
    )
    from credstore.proofs.format.record import (
        AssetDigest,
        ManifestLink,
        ProofRecord,
        SoftBinding,
    )
    from credstore.proofs.format.signing import (
        LocalSigner,
        PublicKey,
        Signer,
    )
    from credstore.proofs.format.status import (
        ProofStatus,
    )
    from credstore.proofs.format.timestamp import (
        TimestampAuthorities,
        TimestampAuthority,
    )
    from credstore.proofs.format.trust import (
        TrustedKey,
        TrustStore,
        encode_trust_store,
        parse_trust_store,
        trust_key,
    )
    from credstore.proofs.format.verify import (
        TrustedTime,
        VerifiedProof,
    )
    from credstore.proofs.store.evidence import Timestamper, TimestampReport
    from credstore.proofs.store.model import (
        FsckReport,
        IssueOptions,
        IssueRequest,
        LegacyImport,
        Proof,
        ProofHistory,
        ProofOutcome,
        ProofRetention,
        ProofStats,
        ReconcileReport,
        SweepReport,
    )
    from credstore.proofs.store.proof_store import (
        ProofStore,
    )
    from credstore.proofs.store.timestamping import TimestampClient
    from credstore.proofs.trust_sources import fetch_trust_store, pinned_root

_HOMES = {
    "format.bundle": (
        "Bundle",
        "BundleReport",
        "bundle_name",
        "encode_bundle",
        "parse_bundle",
        "verify_bundle",
    ),
    "format.dsse": ("Envelope",),
    "format.errors": (
        "CheckpointError",
        "LogBusyError",
        "LogConsistencyError",
        "LogEntryError",
        "LogError",
        "LogForkError",
        "LogInclusionError",
        "LogPendingError",
        "LogRollbackError",
        "LogTileError",
        "WitnessError",
        "WitnessQuorumError",
        "ProofAlgorithmError",
        "ProofAssetMismatchError",
        "ProofConflictError",
        "ProofErasedError",
        "ProofError",
        "ProofExpiredError",
        "ProofFormatError",
        "ProofIdMismatchError",
        "ProofKeyExpiredError",
        "ProofKeyRevokedError",
        "ProofManifestError",
        "ProofNotFoundError",
        "ProofNotYetValidError",
        "ProofPolicyError",
        "ProofRevokedError",
        "ProofSignatureError",
        "ProofTimestampError",
        "ProofUnsignedError",
        "ProofUntrustedKeyError",
    ),
    "format.trust": ("TrustStore", "TrustedKey", "encode_trust_store", "parse_trust_store", "trust_key"),
    "format.logged": ("LogPart", "Logged"),
    "format.original": ("LegacyHomes", "LegacyProof"),
    "format.policy": (
        "AllOf",
        "AnyOf",
        "Candidate",
        "InLog",
        "IssuedBy",
        "Policy",
        "UnsafeUnsigned",
        "unsafe_allow_expired",
        "unsafe_allow_revoked",
        "unsafe_allow_unsigned",
        "verify_proof",
        "Timestamped",
    ),
    "format.record": ("AssetDigest", "ManifestLink", "ProofRecord", "SoftBinding"),
    "store.model": (
        "FsckReport",
        "IssueOptions",
        "IssueRequest",
        "LegacyImport",
        "Proof",
        "ProofOutcome",
        "ProofRetention",
        "ProofStats",
        "ReconcileReport",
        "SweepReport",
        "ProofHistory",
    ),
    "format.signing": ("LocalSigner", "PublicKey", "Signer"),
    "format.status": ("ProofStatus",),
    "store.proof_store": ("ProofStore",),
    "format.timestamp": ("TimestampAuthorities", "TimestampAuthority"),
    "format.verify": ("TrustedTime", "VerifiedProof"),
    "store.timestamping": ("TimestampClient",),
    "store.evidence": ("TimestampReport", "Timestamper"),
    "trust_sources": ("fetch_trust_store", "pinned_root"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AllOf",
    "AnyOf",
    "AssetDigest",
    "Bundle",
    "BundleReport",
    "Candidate",
    "CheckpointError",
    "Envelope",
    "FsckReport",
    "InLog",
    "IssueOptions",
    "IssueRequest",
    "IssuedBy",
    "LegacyHomes",
    "LegacyImport",
    "LegacyProof",
    "LocalSigner",
    "LogBusyError",
    "LogConsistencyError",
    "LogEntryError",
    "LogError",
    "LogForkError",
    "LogInclusionError",
    "LogPart",
    "LogPendingError",
    "LogRollbackError",
    "LogTileError",
    "Logged",
    "ManifestLink",
    "Policy",
    "Proof",
    "ProofAlgorithmError",
    "ProofAssetMismatchError",
    "ProofConflictError",
    "ProofErasedError",
    "ProofError",
    "ProofExpiredError",
    "ProofFormatError",
    "ProofHistory",
    "ProofIdMismatchError",
    "ProofKeyExpiredError",
    "ProofKeyRevokedError",
    "ProofManifestError",
    "ProofNotFoundError",
    "ProofNotYetValidError",
    "ProofOutcome",
    "ProofPolicyError",
    "ProofRecord",
    "ProofRetention",
    "ProofRevokedError",
    "ProofSignatureError",
    "ProofStats",
    "ProofStatus",
    "ProofStore",
    "ProofTimestampError",
    "ProofUnsignedError",
    "ProofUntrustedKeyError",
    "PublicKey",
    "ReconcileReport",
    "Signer",
    "SoftBinding",
    "SweepReport",
    "TimestampAuthorities",
    "TimestampAuthority",
    "TimestampClient",
    "TimestampReport",
    "Timestamped",
    "Timestamper",
    "TrustStore",
    "TrustedKey",
    "TrustedTime",
    "UnsafeUnsigned",
    "VerifiedProof",
    "WitnessError",
    "WitnessQuorumError",
    "bundle_name",
    "encode_bundle",
    "encode_trust_store",
    "fetch_trust_store",
    "parse_bundle",
    "parse_trust_store",
    "pinned_root",
    "trust_key",
    "unsafe_allow_expired",
    "unsafe_allow_revoked",
    "unsafe_allow_unsigned",
    "verify_bundle",
    "verify_proof",
]


if not TYPE_CHECKING:  # So that a wrong name is an error for type checkers too.

    def __getattr__(name: str) -> object:
        home = _HOME_OF.get(name)
        if home is None:
            raise AttributeError(f"module 'credstore.proofs' has no attribute {name!r}")
        value: object = getattr(import_module(f"credstore.proofs.{home}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
