"""C2PA manifests of real files: sign, embed, read and verify them. Needs extra `c2pa`.

`signing` makes manifests, `verifying` reads and judges them, `trust` holds the lists of a verifier, `native`
alone calls the library. Source: C2PA 2.x.
"""

from __future__ import annotations

from credstore.proofs.c2pa.credentials import ManifestCredential, ManifestSigner
from credstore.proofs.c2pa.signing import SignedAsset, attach_manifest, sign_manifest
from credstore.proofs.c2pa.trust import C2paTrust, ListUse, TrustList
from credstore.proofs.c2pa.verdict import (
    C2paVerdict,
    Finding,
    Identity,
    ManifestFacts,
    StampedTime,
    Unchecked,
)
from credstore.proofs.c2pa.verifying import examine_manifests, verify_bound_manifest, verify_manifest

__all__ = [
    "C2paTrust",
    "C2paVerdict",
    "Finding",
    "Identity",
    "ListUse",
    "ManifestCredential",
    "ManifestFacts",
    "ManifestSigner",
    "SignedAsset",
    "StampedTime",
    "TrustList",
    "Unchecked",
    "attach_manifest",
    "examine_manifests",
    "sign_manifest",
    "verify_bound_manifest",
    "verify_manifest",
]
