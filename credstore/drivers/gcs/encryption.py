"""Keys at rest: which one a request names, and whether the service says that it used it. Pure.

Rules of this file: a customer-supplied key goes only into headers, which nothing shows; what was asked for
and is not confirmed was not done.

Source: "Customer-supplied encryption keys" and "Customer-managed encryption keys", cloud.google.com/storage.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, cast

from credstore.driver.refusals import NAMELESS_KEY
from credstore.driver.values import ObjectInfo
from credstore.drivers.gcs.capabilities import NAME
from credstore.drivers.gcs.resources import Query, Resource, text
from credstore.encryption import CustomerKey, KmsKey, ServerEncryption

HEADERS = "x-goog-encryption-"
SOURCE_HEADERS = "x-goog-copy-source-encryption-"
_VERSIONS = "/cryptoKeyVersions/"


def key_headers(key: ServerEncryption | None, prefix: str = HEADERS) -> dict[str, str]:
    """The customer-supplied key of an object, for every request about its bytes.

    Args:
        key: A `CustomerKey`, or anything else for none.
        prefix: `SOURCE_HEADERS` for the source of a copy.
    """
    if not isinstance(key, CustomerKey):
        return {}
    return {
        f"{prefix}algorithm": "AES256",
        f"{prefix}key": base64.b64encode(key.key).decode("ascii"),
        f"{prefix}key-sha256": fingerprint(key),
    }


def fingerprint(key: CustomerKey) -> str:
    """What the service shows of a key: its SHA-256, in base64."""
    return base64.b64encode(hashlib.sha256(key.key).digest()).decode("ascii")


def kms_query(encryption: ServerEncryption | None, name: str = "kmsKeyName") -> Query:
    """The parameter that names a key of Cloud KMS, if it is one.

    Args:
        encryption: At rest.
        name: Of the parameter.

    Raises:
        StorageUnsupportedError: It has no name, and Google knows no default key of an account.
    """
    if not isinstance(encryption, KmsKey):
        return ()
    if not encryption.key_id:
        raise NAMELESS_KEY.of(NAME)
    return ((name, encryption.key_id),)


def told_apart(encryption: ServerEncryption | None) -> str:
    """Whatever distinguishes two encryptions without a secret, for the digest of an upload's options."""
    if isinstance(encryption, CustomerKey):
        return fingerprint(encryption)
    return (encryption.key_id or "") if isinstance(encryption, KmsKey) else ""


def unconfirmed(asked: ServerEncryption | None, said: Resource | ObjectInfo) -> str | None:
    """What is wrong with how an object is encrypted; None if it is as requested.

    Args:
        asked: The encryption that was requested.
        said: What the service says about the object.
    """
    if isinstance(asked, CustomerKey):
        if isinstance(said, ObjectInfo):
            right = said.encryption == "SSE-C"
        else:
            told = said.get("customerEncryption")
            shown = cast("Mapping[str, Any]", told).get("keySha256") if isinstance(told, dict) else None
            right = shown == fingerprint(asked)
        return None if right else "the provider does not confirm the customer-provided key that was sent"
    if isinstance(asked, KmsKey):
        found = said.kms_key_id if isinstance(said, ObjectInfo) else text(said.get("kmsKeyName"))
        right = found is not None and found.partition(_VERSIONS)[0] == asked.key_id
        return None if right else "the provider does not confirm the key of its key service that was named"
    return None
