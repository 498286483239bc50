"""Other people's attestations: stored byte for byte, verified, found by what they are about."""

from credstore.proofs.attestations.bundles import (
    ForeignBundle,
    Subject,
    encode_sigstore_bundle,
    parse_attestation,
)
from credstore.proofs.attestations.store import Attestation, AttestationStore
from credstore.proofs.attestations.verifiers import (
    AnyVerifier,
    AttestationVerifier,
    FulcioIdentities,
    FulcioIdentity,
    TrustedKeys,
)

__all__ = [
    "AnyVerifier",
    "Attestation",
    "AttestationStore",
    "AttestationVerifier",
    "ForeignBundle",
    "FulcioIdentities",
    "FulcioIdentity",
    "Subject",
    "TrustedKeys",
    "encode_sigstore_bundle",
    "parse_attestation",
]
