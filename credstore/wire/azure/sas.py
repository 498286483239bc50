"""Shared access signatures: a query string that lets its holder do one thing to one blob for a while. Pure.

Source: "Create a service SAS" (versions from 2020-12-06) and "Create a user delegation SAS" (versions from
2020-12-06 up to 2025-05-05) of the REST API; both string to sign layouts are compared with those of
azure-storage-blob in `tests/wire/test_azure_signatures.py`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from credstore.encryption import Secret
from credstore.model import NOTHING
from credstore.wire.azure.shared_key import sign
from credstore.wire.urls import encode

VERSION = "2023-11-03"
"""Of the REST API, and of signatures: the newest that all of Azure's clouds and Azurite know, and whose
user delegation signatures have the layout below."""
OVERRIDES = {
    "cache-control": "rscc",
    "content-disposition": "rscd",
    "content-encoding": "rsce",
    "content-language": "rscl",
    "content-type": "rsct",
}
"""Response headers that a signature can impose, to its parameters, in the order in which they are signed."""


@dataclass(frozen=True, slots=True)
class DelegationKey:
    """A user delegation key: signs for whoever asked for it, until it or their right ends.

    Attributes:
        oid: Object id of the user in Entra ID.
        tid: Id of their tenant.
        start: As the service wrote it.
        expiry: As the service wrote it.
        service: "b" for blobs.
        version: Of the API that made it.
        value: The key in base64.
        ends: `expiry` as an instant.
    """

    oid: str
    tid: str
    start: str
    expiry: str
    service: str
    version: str
    value: Secret
    ends: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a signature permits.

    Attributes:
        container: Name of the container.
        blob: Name of the blob, decoded.
        permissions: Letters in the order of the documents, such as "r" or "cw".
        expires: When it ends; whole seconds count.
        version_id: Of one version of the blob.
        overrides: Response headers to impose, by lower-case name.
        https_only: Not over http.
    """

    container: str
    blob: str
    permissions: str
    expires: datetime
    version_id: str | None = None
    overrides: Mapping[str, str] = field(default=NOTHING)
    https_only: bool = True


def instant(moment: datetime) -> str:
    """A time as signatures have it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def service_sas(account: str, key: Secret, grant: Grant) -> str:
    """The query string of a signature with the account's key.

    Args:
        account: Name of the storage account.
        key: In base64.
        grant: What it permits.
    """
    said = _said(grant)
    text = [
        said["sp"], "", said["se"], _resource(account, grant), "", "", said["spr"], VERSION, said["sr"],
        grant.version_id or "", "", *_imposed(said),
    ]  # fmt: skip
    return _query(said, sign(base64.b64decode(key.reveal()), "\n".join(text)))


def delegation_sas(account: str, key: DelegationKey, grant: Grant) -> str:
    """The query string of a signature with a user delegation key; arguments as for `service_sas`."""
    said = _said(grant)
    of_key = {
        "skoid": key.oid,
        "sktid": key.tid,
        "skt": key.start,
        "ske": key.expiry,
        "sks": key.service,
        "skv": key.version,
    }
    text = [
        said["sp"], "", said["se"], _resource(account, grant), *of_key.values(), "", "", "", "", said["spr"],
        VERSION, said["sr"], grant.version_id or "", "", *_imposed(said),
    ]  # fmt: skip
    return _query({**said, **of_key}, sign(base64.b64decode(key.value.reveal()), "\n".join(text)))


def _said(grant: Grant) -> dict[str, str]:
    said = {
        "sv": VERSION,
        "sp": grant.permissions,
        "se": instant(grant.expires),
        "sr": "b" if grant.version_id is None else "bv",
        "spr": "https" if grant.https_only else "https,http",
    }
    return said | {OVERRIDES[name]: value for name, value in grant.overrides.items()}


def _imposed(said: Mapping[str, str]) -> list[str]:
    return [said.get(name, "") for name in OVERRIDES.values()]


def _resource(account: str, grant: Grant) -> str:
    return f"/blob/{account}/{grant.container}/{grant.blob}"


def _query(said: Mapping[str, str], signature: str) -> str:
    return "&".join(
        [f"{name}={encode(value)}" for name, value in said.items()] + [f"sig={encode(signature)}"]
    )
