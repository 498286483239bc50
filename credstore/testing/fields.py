"""The fields of a `PutRequest` as keyword arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from credstore.driver.values import Body, ContentHeaders, Precondition
from credstore.encryption import ServerEncryption
from credstore.model import Retention


class PutFields(TypedDict, total=False):
    """See `PutRequest`, without key and write-id."""

    body: Body
    digest: bytes | None
    headers: ContentHeaders
    metadata: Mapping[str, str]
    system: Mapping[str, str]
    precondition: Precondition
    encryption: ServerEncryption | None
    storage_class: str | None
    tags: Mapping[str, str]
    retention: Retention | None
    deadline: float | None
