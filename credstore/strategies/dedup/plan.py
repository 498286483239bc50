"""What the dedup strategy decides, and the form of its objects. Pure.

    <key>                               a reference: `REFERENCE` bytes, with the headers and metadata of
                                        the object, and its body in the system metadata `BODY`
    .credstore/bodies/<sha256>/<n>      a body; `n` counts from 0
    .credstore/bodies/<sha256>/<n>-out  says that no reference to this body may be made any more
    .credstore/incoming/<write-id>      a body whose digest is not known yet

Why a body that is referred to is never removed, on any store whose reads and listings see earlier writes:
- A writer looks for a body without `-out` at t, and its reference is there by t + `HURRY`, or it looks again.
- A collection puts `-out` next to a body at c; from then on no new writer chooses it. So all references to it
  are there by c + `HURRY`.
- A collection removes a body only if `-out` is older than the grace, which is at least twice `HURRY`, and
  then no reference is found in a listing that began after that. None can appear later.
- A number is used again only long after the body is gone, so that a slow collection removes nothing new.
All ages are differences of the store's own times, and all limits of a writer are durations of its own clock.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from credstore.driver.internal import internal_key
from credstore.driver.values import BODY, Capabilities, ObjectInfo
from credstore.errors import RetentionMode
from credstore.model import NOTHING, Method

BODIES = internal_key("bodies/")
BEHIND = internal_key("bodies/~")
"""Sorts after every body."""
INCOMING = internal_key("incoming/")
CLOCK = internal_key("dedup-clock")
OUT = "-out"
REFERENCE = 211
"""Bytes of a reference: a number that few objects have, so that a listing finds references by their size."""
SMALLEST = 4096
"""Bytes from which a body is worth a reference, which takes a request and an object of its own."""
HURRY = 15 * 60.0
"""Seconds within which a reference follows the look for its body."""
LEAST_GRACE = timedelta(seconds=2 * HURRY)
USED_AGAIN = 30
"""Number of graces after which the mark of a body that is gone is removed."""
_LINKS: frozenset[Method] = frozenset({"GET", "HEAD"})
_TARGET = re.compile(r"([0-9a-f]{64})/([0-9]{1,9}):([0-9]{1,19})")
_NAME = re.compile(r"([0-9a-f]{64})/([0-9]{1,9})(-out)?")


@dataclass(frozen=True, slots=True, order=True)
class Body:
    """One body.

    Attributes:
        digest: SHA-256 in hex.
        number: Of the bodies with this digest.
    """

    digest: str
    number: int

    @property
    def key(self) -> str:
        """Where it is."""
        return f"{BODIES}{self.digest}/{self.number}"

    @property
    def mark(self) -> str:
        """What says that it gets no more references."""
        return self.key + OUT


def able_with(inner: Capabilities) -> Capabilities:
    """What a store can do as one with shared bodies.

    What is kept with a body would hold for everyone who refers to it, so there is no class, no key and no
    retention of an object's own; and a version of a reference does not keep its body.
    """
    return replace(
        inner,
        resumable=False,
        upload_forms=False,
        presign=inner.presign & _LINKS,
        content_etags=False,
        versions=False,
        retention_modes=frozenset[RetentionMode](),
        legal_holds=False,
        storage_classes=frozenset[str](),
        sse_kms=False,
        sse_c=False,
    )


def reference(digest: str, size: int) -> bytes:
    """The bytes of a reference; the same for equal bodies."""
    told = json.dumps({"credstore": "reference", "sha256": digest, "size": size})
    return told.ljust(REFERENCE).encode()


def target(body: Body, size: int) -> str:
    """The value of `BODY` in a reference's metadata."""
    return f"{body.digest}/{body.number}:{size}"


def target_of(info: ObjectInfo) -> tuple[Body, int] | None:
    """The body that an object refers to, and its size; None for an object that has its own bytes."""
    found = _TARGET.fullmatch((info.system or NOTHING).get(BODY, ""))
    if found is None:
        return None
    return Body(found[1], int(found[2])), int(found[3])


def shown(info: ObjectInfo, body: Body, size: int) -> ObjectInfo:
    """A reference as the object that it stands for."""
    system = {name: value for name, value in (info.system or NOTHING).items() if name != BODY}
    return replace(info, size=size, digest=bytes.fromhex(body.digest), system=system)


def body_of(key: str) -> tuple[Body, bool] | None:
    """The body that a key below `BODIES` belongs to, and whether it is its mark; None for anything else."""
    found = _NAME.fullmatch(key.removeprefix(BODIES)) if key.startswith(BODIES) else None
    return None if found is None else (Body(found[1], int(found[2])), found[3] is not None)


@dataclass(frozen=True, slots=True)
class Choice:
    """The body with a digest that a reference is made to.

    Attributes:
        body: Which one.
        there: Whether it is there already.
    """

    body: Body
    there: bool


def choose(digest: str, keys: Iterable[str]) -> Choice:
    """Which body to refer to, of those below its digest: the first that may be, else a new one."""
    bodies: set[int] = set()
    out: set[int] = set()
    for key in keys:
        found = body_of(key)
        if found is not None:
            (out if found[1] else bodies).add(found[0].number)
    usable = bodies - out
    if usable:
        return Choice(Body(digest, min(usable)), there=True)
    return Choice(Body(digest, max(bodies | out, default=-1) + 1), there=False)


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a collection does.

    Attributes:
        mark: Bodies that get no more references.
        remove: Bodies to remove, with their sizes.
        forget: Marks of bodies that have long been gone.
    """

    mark: tuple[Body, ...]
    remove: tuple[tuple[Body, int], ...]
    forget: tuple[Body, ...]


def sweep(bodies: Iterable[ObjectInfo], referred: frozenset[Body], now: datetime, grace: timedelta) -> Sweep:
    """What to do with the bodies and marks of a listing.

    Args:
        bodies: Everything below `BODIES`, listed after the references.
        referred: The bodies that references were found to; their listing began at `now` or later.
        now: The store's time.
        grace: Age from which a mark counts.
    """
    there: dict[Body, ObjectInfo] = {}
    marks: dict[Body, ObjectInfo] = {}
    for info in bodies:
        found = body_of(info.key)
        if found is not None:
            (marks if found[1] else there)[found[0]] = info

    def is_old(info: ObjectInfo, age: timedelta) -> bool:
        return info.last_modified is not None and info.last_modified + age <= now

    free = [body for body in there if body not in referred]
    return Sweep(
        mark=tuple(body for body in free if body not in marks and is_old(there[body], grace)),
        remove=tuple(
            (body, there[body].size) for body in free if body in marks and is_old(marks[body], grace)
        ),
        forget=tuple(
            body for body, info in marks.items() if body not in there and is_old(info, USED_AGAIN * grace)
        ),
    )


def cursor_text(cursor: str | None, *, behind: bool) -> str | None:
    """A cursor of a listing that began behind the bodies, or not; None at its end."""
    return None if cursor is None else f"{'b' if behind else 'a'}{cursor}"


JUMP = "b"
"""The cursor of a listing that continues behind the bodies."""


def cursor_of(text: str | None) -> tuple[str | None, bool]:
    """The inverse of `cursor_text`."""
    if text is None:
        return None, False
    return text[1:] or None, text.startswith("b")
