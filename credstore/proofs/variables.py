"""Environment variables that name the files of keys; they never hold a key. Imports nothing."""

KEY = "CREDSTORE_PROOF_KEY"
"""Path of the private key that signs."""
TRUST = "CREDSTORE_PROOF_TRUST"
"""Path of the trust store."""
TIMESTAMP_ROOTS = "CREDSTORE_PROOF_TIMESTAMP_ROOTS"
"""Paths of the roots of timestamping authorities, with the path separator of the system between them."""
PASSPHRASE = "CREDSTORE_PROOF_PASSPHRASE"  # noqa: S105 - the name of a variable
"""Passphrase of an encrypted private key."""
