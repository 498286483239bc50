"""Forms by which browsers upload straight to a bucket, and what their policies say at every cloud. Pure.

Rules of this file: a policy binds everything that the form says, since a cloud refuses the fields that its
policy does not mention; what differs between clouds (dates, credentials, signatures) is theirs to add.

Source: "POST policy" of the S3 API and "Policy document" of Google's XML API, which agree on all of this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from credstore.encryption import ServerEncryption
from credstore.errors import StorageInvalidRequestError
from credstore.model import NOTHING

FILENAME = "${filename}"
"""Stands for the name of the chosen file where it ends the field `key`; clouds put it in its place."""
MAX_EXPIRES = 604_800
"""Seconds (7 days) that the key of a V4 signature lasts at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormRequest:
    """A form to make.

    Attributes:
        key: Of the object; with `below`, what its key has to start with.
        below: Whoever has the form chooses the rest of the key; the name of the file, unless they change it.
        max_size: Bytes, 1 or more.
        min_size: Bytes, 0 to `max_size`.
        content_type: That the object is stored with; None for the store's default.
        content_md5: MD5 of the only body that may be uploaded, or None; S3's stores check it.
        success_status: Status of the response to an upload: 200, 201 or 204.
        encryption: At rest, by the provider; None for its default.
        expires_in: Seconds, 1 to 604,800.
        deadline: Instant of `time.monotonic()`, or None.
    """

    key: str
    below: bool = False
    max_size: int
    min_size: int = 0
    content_type: str | None = None
    content_md5: bytes | None = None
    success_status: int = 204
    encryption: ServerEncryption | None = None
    expires_in: float = 3600.0
    deadline: float | None = None


class FormParts(NamedTuple):
    """What a form says before it is signed.

    Attributes:
        fields: By name.
        conditions: Of the policy.
    """

    fields: dict[str, str]
    conditions: list[object]


def form_parts(request: FormRequest, bucket: str, headers: Mapping[str, str] = NOTHING) -> FormParts:
    """The fields and conditions that do not depend on who signs, and when.

    Args:
        request: The form.
        bucket: Its name.
        headers: Further headers that the object is stored with, as fields.

    Raises:
        StorageInvalidRequestError: A time outside 1 s to 7 days, or a field that the cloud would change.
    """
    if not 1 <= request.expires_in <= MAX_EXPIRES:
        raise StorageInvalidRequestError(
            f"expires_in is 1 to {MAX_EXPIRES} seconds (7 days), not {request.expires_in:g}"
        )
    stated = {"the key": request.key, "content_type": request.content_type or "", **headers}
    for what, text in stated.items():
        if FILENAME in text:
            raise StorageInvalidRequestError(
                f"{what} of a form has no {FILENAME} in it, which the store would replace by the name of the "
                "file, in any field; give a prefix for keys with that"
            )
    stored = {"success_action_status": str(request.success_status), **headers}
    if request.content_type is not None:
        stored = {"Content-Type": request.content_type, **stored}
    key: Sequence[str] | Mapping[str, str]
    key = ["starts-with", "$key", request.key] if request.below else {"key": request.key}
    conditions: list[object] = [["content-length-range", request.min_size, request.max_size]]
    conditions += [{name: value} for name, value in stored.items()]
    conditions += [{"bucket": bucket}, key]
    return FormParts({"key": request.key + FILENAME * request.below, **stored}, conditions)
