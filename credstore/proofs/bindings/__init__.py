"""Soft bindings: find the proof and manifest of an asset again after its metadata was stripped.

`names` is where what is written, `fingerprints` what pictures look like, `finding` the index on a bucket.
"""

from __future__ import annotations

from credstore.proofs.bindings.finding import BindingIndex, BindingMatch
from credstore.proofs.bindings.fingerprints import fingerprint_of
from credstore.proofs.bindings.names import ISCC

__all__ = ["ISCC", "BindingIndex", "BindingMatch", "fingerprint_of"]
