"""What the redundant strategy decides, without carrying it out. Pure.

- A write counts when W members have it, a read when R members gave a definite response: the object, or that
  there is none. R + W > N, so they have a member in common.
- Of several versions the one with the greatest stamp counts. A tombstone is a version that says "deleted".
- A member that has the newest version is a holder. Bytes come from holders alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from credstore.driver.internal import MISSED, TOMBSTONES, internal_key
from credstore.driver.values import Capabilities, ObjectInfo
from credstore.encryption import KmsKey, ServerEncryption
from credstore.errors import (
    Applied,
    ErrorCode,
    ReplicaOutcome,
    RetentionMode,
    StorageConfigurationError,
    StorageConflictError,
    StorageError,
    StorageInvalidKeyError,
    StorageQuorumError,
)
from credstore.model import Method
from credstore.strategies.health import Member, is_absence, is_outage, is_wrong_request
from credstore.strategies.redundant.stamps import Stamp, same_version, stamp_of

TOMBS = internal_key(TOMBSTONES)
"""What the keys of tombstones start with; the key that was deleted follows."""
JOURNAL = internal_key(MISSED)
"""What the keys of the journal start with; the key that a member has missed follows."""
OWN = (TOMBS, JOURNAL)
_LINKS: frozenset[Method] = frozenset({"GET", "HEAD"})
"""A link for a write would bypass the strategy."""


def able_together(capabilities: Sequence[Capabilities]) -> Capabilities:
    """What all members can do as one store.

    There are no conditions (P31). Retention and versions would be of one member alone, tags change without a
    stamp, and what is under a customer's key cannot be looked at or mended without it.
    """
    met = capabilities[0]
    for each in capabilities[1:]:
        met = met.meet(each)
    return replace(
        met,
        conditional_create=False,
        conditional_replace=False,
        conditional_delete=False,
        delete_tells_existence=True,  # A delete looks first.
        versions=False,
        retention_modes=frozenset[RetentionMode](),
        legal_holds=False,
        tags=False,
        sse_c=False,
        resumable=False,
        upload_forms=False,  # What a form stores would bypass the strategy.
        content_etags=False,  # They are made of stamps, which a listing does not show.
        listed_etags=False,
        ordered=True,  # A member that has an order of its own is sorted.
        presign=met.presign & _LINKS,
        max_key_size=met.max_key_size - len(TOMBS),
    )


@dataclass(frozen=True, slots=True)
class Quorums:
    """How many members a write and a read need.

    Attributes:
        members: N.
        write: W.
        read: R.

    Raises:
        StorageConfigurationError: A read could miss an acknowledged write.
    """

    members: int
    write: int
    read: int

    def __post_init__(self) -> None:
        if not (0 < self.write <= self.members and 0 < self.read <= self.members):
            raise StorageConfigurationError(
                f"write_quorum and read_quorum are between 1 and the number of stores, {self.members}; they"
                f" are {self.write} and {self.read}"
            )
        if self.write + self.read <= self.members:
            raise StorageConfigurationError(
                f"with {self.members} stores, write_quorum {self.write} and read_quorum {self.read} a read"
                " could miss what was written; together they must be more than the number of stores"
            )


def quorums_of(members: int, write: int | None, read: int | None) -> Quorums:
    """The quorums that were asked for; a majority, or as few as the other one permits, unless given.

    >>> quorums_of(3, None, None), quorums_of(3, 3, None)
    (Quorums(members=3, write=2, read=2), Quorums(members=3, write=3, read=1))

    Raises:
        StorageConfigurationError: They are out of range, or do not overlap.
    """
    if write is None:
        write = members // 2 + 1 if read is None else members - read + 1
    return Quorums(members, write, members - write + 1 if read is None else read)


def check_key(key: str) -> None:
    """Refuse a key that the strategy keeps for itself.

    Raises:
        StorageInvalidKeyError: It is one.
    """
    if key.startswith(OWN):
        own = next(own for own in OWN if key.startswith(own))
        raise StorageInvalidKeyError(
            f"a redundant store keeps {own!r} for itself; choose another key",
            code=ErrorCode.RESERVED_KEY,
            key=key,
        )


class View(NamedTuple):
    """A member's definite response about one key.

    Attributes:
        member: Who gave it.
        info: The object it has, or None.
        grave: The tombstone it has, or None.
    """

    member: Member
    info: ObjectInfo | None
    grave: ObjectInfo | None

    @property
    def tomb(self) -> Stamp | None:
        """Of the tombstone it has."""
        return None if self.grave is None else stamp_of(self.grave)

    @property
    def stamp(self) -> Stamp | None:
        """Of the object it has."""
        return None if self.info is None else stamp_of(self.info)


class Verdict(NamedTuple):
    """What the members say together.

    Attributes:
        newest: The object that readers get, as the first holder knows it; None where there is none.
        holders: Members that have this version, in their order.
        behind: Members that do not: they have nothing, or an older version.
        tomb: The newest tombstone.
        stamp: Of `newest`; None where there is none.
    """

    newest: ObjectInfo | None
    holders: tuple[View, ...]
    behind: tuple[View, ...]
    tomb: Stamp | None
    stamp: Stamp | None = None


def alone(view: View) -> Verdict:
    """The same as `verdict` says of one member."""
    stamp, tomb = view.stamp, view.tomb
    if stamp is None or (tomb is not None and tomb > stamp):
        return verdict((view,))
    return Verdict(view.info, (view,), (), tomb, stamp)


def verdict(views: Iterable[View]) -> Verdict:
    """Which version counts, and who has it."""
    ordered = sorted(views, key=lambda view: view.member.index)
    tomb = max((view.tomb for view in ordered if view.tomb is not None), default=None)
    found = [(stamp_of(view.info), view.info) for view in ordered if view.info is not None]
    newest = max(found, key=lambda each: each[0], default=None)
    if newest is None or (tomb is not None and tomb > newest[0]):
        having = tuple(view for view in ordered if view.info is not None)
        return Verdict(None, (), having, tomb)
    holders = tuple(view for view in ordered if view.info is not None and same_version(view.info, newest[1]))
    return Verdict(
        holders[0].info, holders, tuple(view for view in ordered if view not in holders), tomb, newest[0]
    )


def at_rest(info: ObjectInfo | None, able: Capabilities) -> ServerEncryption | None:
    """How a replica of this object, or a tombstone above it, is encrypted at rest by another member."""
    if info is None or info.encryption is None:
        return None
    if info.encryption == "aws:kms" and able.sse_kms:
        return KmsKey(info.kms_key_id)
    return "AES256" if able.sse_s3 else None


def not_met(
    what: str,
    needed: int,
    members: Sequence[Member],
    done: Iterable[Member],
    failed: dict[Member, StorageError],
    *,
    mutation: bool,
) -> StorageError:
    """The error of a call that too few members took part in.

    Args:
        what: Continues "n of m members ...".
        needed: The quorum.
        members: All of them.
        done: Those that did it.
        failed: Those that did not, with the reason; for those that are in neither, it is not known yet.
        mutation: Whether the call changes anything.
    """
    having = set(done)
    outcomes: list[ReplicaOutcome] = []
    for member in members:
        error = failed.get(member)
        applied: Applied = "no"
        if mutation:
            applied = "yes" if member in having else "maybe" if error is None else error.applied
        outcomes.append(ReplicaOutcome(replica=member.label, applied=applied, error=error))
    refused = _refusal(list(failed.values())) if not having and len(failed) == len(members) else None
    if refused is not None:
        return refused
    reasons = "; ".join(f"{member.label}: {error.message}" for member, error in failed.items())
    unclear = any(each.applied != "no" for each in outcomes)
    return StorageQuorumError(
        f"{len(having)} of {len(members)} members {what}, and {needed} have to"
        f" ({reasons or 'no response yet'})"
        + ("; nothing was rolled back, so it may surface later" if unclear else ""),
        outcomes=tuple(outcomes),
        retryable=any(error.retryable for error in failed.values()) or len(failed) < len(members),
        applied="maybe" if unclear else "no",
    )


def _refusal(errors: Sequence[StorageError]) -> StorageError | None:
    """What all members say about the request, where that is the same, and not that they are out of order."""
    wrong = next((error for error in errors if is_wrong_request(error)), None)
    if any(error.applied != "no" for error in errors):
        if wrong is None:
            return None
        facts = wrong.facts()
        facts["applied"] = "maybe"  # At a member that was stopped for this.
        return type(wrong)(wrong.message, **facts)
    alike = len({type(error) for error in errors}) == 1
    return wrong or (errors[0] if alike and not is_outage(errors[0]) else None)


def is_overtaken(error: StorageError) -> bool:
    """Whether a member says that what was seen there is not there any more: deleted, or another version."""
    return is_absence(error) or isinstance(error, StorageConflictError)


def of_source(error: StorageQuorumError) -> StorageError:
    """The error of a copy that too few members have made: its source's, where that is all they say.

    Members that refuse because the source was deleted or replaced meanwhile are well, and the next call says
    what became of the source.
    """
    failed = [each.error for each in error.outcomes if each.error is not None]
    if not failed or not all(map(is_overtaken, failed)):
        return error
    return StorageConflictError(
        f"the source was replaced or deleted while it was being copied: {error.message}",
        retryable=True,
        applied=error.applied,
    )
