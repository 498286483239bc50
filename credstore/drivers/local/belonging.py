"""Which of the attributes kept for a key belong to the file that is there. Pure.

Rules of this file: it knows, or says that it does not; no bytes are recognised by size or time alone.
What can be known: a version's attributes name the inode that its file has, the SHA-256 of its bytes, and
the file that was there when they were written, which that version was to replace. The mark of a writer
that is at work, or was killed in the middle, names the version that may not be there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from credstore.drivers.local.atomic import Token
from credstore.drivers.local.attributes import Record

Records = Mapping[str, Record | None]
"""By label; None for one that cannot be read."""


_END = "."
"""At the end of a mark that was written whole."""


class Verdict(Enum):
    """What a file is when none of the attributes belong to it."""

    FOREIGN = "written by another tool"
    CHANGED = "an object of credstore's whose bytes are not those that were stored"
    DAMAGED = "an object of credstore's whose attributes cannot be read"


@dataclass(frozen=True, slots=True)
class Mark:
    """What a writer is about to do to a key.

    Attributes:
        key: The object's key.
        write_id: Of the version that it publishes, or None if it removes one.
        removed: Identity of the file that it removes, or None.
    """

    key: str
    write_id: str | None = None
    removed: str | None = None

    def encode(self) -> bytes:
        """As the bytes of a lock file; a key has no NUL."""
        return "\0".join((self.key, self.write_id or "", self.removed or "", _END)).encode()

    @classmethod
    def decode(cls, data: bytes) -> Mark | None:
        """The inverse of `encode`, whatever NULs follow; None where nothing, or only a part, was written."""
        try:
            key, write_id, removed, end = data.decode().split("\0", 3)
        except ValueError:
            return None
        # Without the sign it is by an earlier version, which cut the file, if nothing at all follows.
        return None if end and end.rstrip("\0") != _END else cls(key, write_id or None, removed or None)

    def doubts(self, write_id: str | None, token: Token) -> bool:
        """Whether the version of this write may not be there, the file there being `token`."""
        if self.write_id is not None:
            return write_id == self.write_id
        return self.removed is not None and self.removed != token.identity


def belonging(
    records: Records, token: Token, digest: Callable[[], str], mark: Mark | None
) -> tuple[str, Record] | Verdict:
    """The attributes of the file `token`, with their label, or what the file is without any.

    Args:
        records: All that is kept for the key.
        token: Of the file.
        digest: Returns the SHA-256 of its bytes in hex; called only where nothing cheaper decides.
        mark: Of a writer that is at work on this key, or was killed.
    """
    known = {label: record for label, record in records.items() if record is not None}
    # A version that was to replace the very file that is there was never published, or not here.
    known = {label: record for label, record in known.items() if record.replaced != token.identity}
    sure = {
        label: record
        for label, record in known.items()
        if mark is None or not mark.doubts(record.attributes.write_id, token)
    }
    exact = sure.get(token.label)
    if exact is not None:  # The inode may differ: stores are restored, and not all systems keep numbers.
        return token.label, exact
    for label, record in [*sure.items(), *known.items()]:
        if record.size == token.size and record.attributes.digest == digest():
            return label, record
    if token.label in records and records[token.label] is None:
        return Verdict.DAMAGED
    if mark is not None and mark.write_id is not None:
        sure = {**sure, **{label: record for label, record in known.items() if record.inode == token.inode}}
    return Verdict.CHANGED if sure else Verdict.FOREIGN
