"""Keys at rest: which one a request names, and whether the service says that it used it. Pure.

Rules of this file: a customer-provided key goes only into headers, which nothing shows; what was asked for
and is not confirmed was not done. A `KmsKey` is here an encryption scope, whose key is the account's matter.

Source: "Provide an encryption key on a request to Blob storage" and "Encryption scopes for Blob storage" of
learn.microsoft.com/azure/storage; response headers of Put Blob, Put Block List and Put Blob From URL.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

from credstore.driver.refusals import NAMELESS_KEY
from credstore.driver.values import ObjectInfo
from credstore.drivers.azure.capabilities import NAME
from credstore.encryption import CustomerKey, KmsKey, ServerEncryption

PREFIX = "x-ms-encryption-"
SOURCE_PREFIX = "x-ms-source-encryption-"
SOURCE_VERSION = "2026-10-06"
"""Version of the service in which azure-storage-blob 12.31 sends such a key."""
SCOPE = f"{PREFIX}scope"
FINGERPRINT = f"{PREFIX}key-sha256"


def key_headers(encryption: ServerEncryption | None) -> dict[str, str]:
    """The customer-provided key of a blob, for every request about it; empty for anything else."""
    if not isinstance(encryption, CustomerKey):
        return {}
    return {
        f"{PREFIX}algorithm": "AES256",
        f"{PREFIX}key": base64.b64encode(encryption.key).decode("ascii"),
        FINGERPRINT: fingerprint(encryption),
    }


def source_headers(key: ServerEncryption | None) -> dict[str, str]:
    """The customer-provided key of the source of a copy, which only a newer version of the service reads."""
    named = {name.replace(PREFIX, SOURCE_PREFIX): value for name, value in key_headers(key).items()}
    return {**named, "x-ms-version": SOURCE_VERSION} if named else {}


def write_headers(encryption: ServerEncryption | None) -> dict[str, str]:
    """What a blob is to be encrypted with: a customer-provided key, or a scope.

    Raises:
        StorageUnsupportedError: The scope has no name.
    """
    if not isinstance(encryption, KmsKey):
        return key_headers(encryption)
    if not encryption.key_id:
        raise NAMELESS_KEY.of(NAME)
    return {SCOPE: encryption.key_id}


def fingerprint(key: CustomerKey) -> str:
    """What the service shows of a key: its SHA-256, in base64."""
    return base64.b64encode(hashlib.sha256(key.key).digest()).decode("ascii")


def read_encryption(headers: Mapping[str, str]) -> str | None:
    """The kind of encryption at rest that a response reports."""
    if FINGERPRINT in headers:
        return "SSE-C"
    if SCOPE in headers:
        return "aws:kms"
    for name in ("x-ms-server-encrypted", "x-ms-request-server-encrypted"):
        if headers.get(name, "").lower() == "true":
            return "AES256"
    return None


def unconfirmed(asked: ServerEncryption | None, said: Mapping[str, str] | ObjectInfo) -> str | None:
    """What is wrong with how a blob is encrypted; None if it is as requested.

    Args:
        asked: The encryption that was requested.
        said: Headers of the response to the write, or what HEAD says.
    """
    if isinstance(asked, CustomerKey):
        right = said.encryption == "SSE-C" if isinstance(said, ObjectInfo) else _is_of(said, asked)
        return None if right else "the provider does not confirm the customer-provided key that was sent"
    if isinstance(asked, KmsKey):
        scope = said.kms_key_id if isinstance(said, ObjectInfo) else said.get(SCOPE)
        return None if scope == asked.key_id else "the provider does not confirm the encryption scope"
    return None


def _is_of(headers: Mapping[str, str], key: CustomerKey) -> bool:
    return headers.get(FINGERPRINT) == fingerprint(key)
