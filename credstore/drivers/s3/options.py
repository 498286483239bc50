"""Options of a put that only S3 knows: `driver_options={"s3": S3PutOptions(...)}`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from credstore.arguments import typed_request
from credstore.driver.refusals import ACLS, OBJECT_LOCK
from credstore.driver.values import PutRequest
from credstore.drivers.s3.dialect import S3Dialect
from credstore.errors import RetentionMode, StorageInvalidRequestError
from credstore.model import Retention
from credstore.times import checked_instant

OPTIONS_NAME = "s3"
"""Name of these options in `driver_options`, for every cloud of the S3 family."""

CannedAcl = Literal[
    "private",
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
]


@typed_request
@dataclass(frozen=True, slots=True, kw_only=True)
class S3PutOptions:
    """What to ask of S3 besides the portable options.

    Attributes:
        acl: Canned ACL of the object.
        object_lock_mode: Retention that the account's root can lift ("GOVERNANCE") or no one can
            ("COMPLIANCE"); together with `object_lock_retain_until`.
        object_lock_retain_until: End of the retention, timezone-aware; kept in UTC.
        legal_hold: Put the object under legal hold.
    """

    acl: CannedAcl | None = None
    object_lock_mode: Literal["GOVERNANCE", "COMPLIANCE"] | None = None
    object_lock_retain_until: datetime | None = None
    legal_hold: bool = False

    def __post_init__(self) -> None:
        if (self.object_lock_mode is None) != (self.object_lock_retain_until is None):
            raise StorageInvalidRequestError(
                "object_lock_mode and object_lock_retain_until belong together; pass both or neither"
            )
        until = self.object_lock_retain_until
        if until is not None:
            object.__setattr__(
                self, "object_lock_retain_until", checked_instant("object_lock_retain_until", until)
            )

    @property
    def retention(self) -> Retention | None:
        """The same in portable words; None where the object is not to be locked."""
        mode = self.object_lock_mode
        if mode is None and not self.legal_hold:
            return None
        until = self.object_lock_retain_until
        return Retention(
            mode=None if mode is None else _MODES[mode], retain_until=until, legal_hold=self.legal_hold
        )


_MODES: Mapping[str, RetentionMode] = {"GOVERNANCE": "governance", "COMPLIANCE": "compliance"}
NO_OPTIONS = S3PutOptions()


def locked_with(request: PutRequest, dialect: S3Dialect) -> Retention | None:
    """What a write locks its object with, by the portable options or by those of S3.

    Args:
        request: The write.
        dialect: Of the cloud.

    Raises:
        StorageInvalidRequestError: Both are given.
        StorageUnsupportedError: The cloud has no such thing.
    """
    options = checked_options(request.driver_options.get(OPTIONS_NAME), dialect)
    if options.retention is None:
        return request.retention
    if request.retention is not None:
        raise StorageInvalidRequestError(
            "a lock is given both as S3PutOptions and as retain_until or legal_hold; give it as the latter"
        )
    return options.retention


def checked_options(given: object, dialect: S3Dialect) -> S3PutOptions:
    """The options of one put, if this cloud has all of them.

    Args:
        given: What is under "s3" in `driver_options`, or None.
        dialect: Of the cloud.

    Raises:
        StorageInvalidRequestError: It is not an `S3PutOptions`.
        StorageUnsupportedError: The cloud has no ACLs or no object lock.
    """
    if given is None:
        return NO_OPTIONS
    if not isinstance(given, S3PutOptions):
        raise StorageInvalidRequestError(
            f'driver_options["{OPTIONS_NAME}"] is an S3PutOptions, not {type(given).__name__}'
        )
    if given.acl is not None and not dialect.acl:
        raise ACLS.of(dialect.name)
    if given.retention is not None and not dialect.object_lock:
        raise OBJECT_LOCK.of(dialect.name)
    return given
