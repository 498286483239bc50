"""One verdict on a file or folder, from everything that it carries and everything that is kept with it.

`policy` is whom the verifier trusts, `lists` where public lists come from, `evidence` one finding of any
kind, `manifests` and `attestations` find them, `checking` puts them together, `page` shows the verdict to
people. Names are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from credstore.verification.evidence import AssetVerdict, Evidence
    from credstore.verification.policy import VerificationPolicy
    from credstore.verification.verifying import verify

_HOMES = {
    "AssetVerdict": "evidence",
    "Evidence": "evidence",
    "VerificationPolicy": "policy",
    "verify": "verifying",
}
__all__ = ["AssetVerdict", "Evidence", "VerificationPolicy", "verify"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'credstore.verification' has no attribute {name!r}")
    return getattr(import_module(f"credstore.verification.{_HOMES[name]}"), name)
