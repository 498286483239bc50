"""Environment variables that name the files of keys; they never hold a key. Imports nothing."""

KEY = "CREDSTORE_PROOF_KEY"
"""Path of the private key that signs."""
TRUST = "CREDSTORE_PROOF_TRUST"
"""Path of the trust store."""
PASSPHRASE = "CREDSTORE_PROOF_PASSPHRASE"  # noqa: S105 - the name of a variable
"""Passphrase of an encrypted private key."""
