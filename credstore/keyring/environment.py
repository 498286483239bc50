"""Encryption on the client as the environment of a process describes it, where no code of the user does.

Variables hold paths and names, never a key: `CREDSTORE_WRAPPING_KEY` is the file of a `LocalKey` or the ARN
of a KMS key, `CREDSTORE_OLDER_WRAPPING_KEYS` such ones that objects may still have, separated by commas, and
`CREDSTORE_STORE_ID` the store id that objects are bound to.
"""

from __future__ import annotations

from collections.abc import Mapping

from credstore.encryption import ClientSide
from credstore.errors import StorageConfigurationError
from credstore.keyring.aws_kms import AwsKmsKey
from credstore.keyring.local import LocalKey
from credstore.keyring.ring import KeyRing
from credstore.keyring.wrapping import WrappingKey

WRAPPING_KEY = "CREDSTORE_WRAPPING_KEY"
OLDER_KEYS = "CREDSTORE_OLDER_WRAPPING_KEYS"
STORE_ID = "CREDSTORE_STORE_ID"
VARIABLES = (WRAPPING_KEY, OLDER_KEYS, STORE_ID)


def client_side_from(environ: Mapping[str, str]) -> ClientSide:
    """The encryption that variables describe; what is not encrypted that way stays readable.

    Raises:
        StorageConfigurationError: A variable is not set, as the message says, or names no key.
    """
    for name in (WRAPPING_KEY, STORE_ID):
        if not environ.get(name):
            raise StorageConfigurationError(
                f"{name} is not set; {WRAPPING_KEY} is the path of a key file or the ARN of a KMS key, and "
                f"{STORE_ID} the store id of the encryption"
            )
    older = [name for each in environ.get(OLDER_KEYS, "").split(",") if (name := each.strip())]
    ring = KeyRing(_key(environ[WRAPPING_KEY]), older=[_key(name) for name in older])
    return ClientSide(ring, store_id=environ[STORE_ID], required=False)


def _key(name: str) -> WrappingKey:
    return AwsKmsKey(name) if name.startswith("arn:") else LocalKey.from_file(name)
