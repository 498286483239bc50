"""Models signed as OpenSSF Model Signing does: `bundle` is the format, `folders` looks at files."""

from credstore.artifacts.signing.bundle import SIGNATURE, SignedModel
from credstore.artifacts.signing.folders import sign_model, verify_model
from credstore.artifacts.signing.keys import ModelKey, ModelSigner

__all__ = ["SIGNATURE", "ModelKey", "ModelSigner", "SignedModel", "sign_model", "verify_model"]
