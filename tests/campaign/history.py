"""What was written to each key and when, and so which values a truthful store may answer with. Pure.

A write that ended before an acknowledged one began can never be read again. All others that may have
happened can: those under way, and those whose outcome is unclear.
"""

from collections import defaultdict
from dataclasses import dataclass
from itertools import count
from math import inf


@dataclass(eq=False)
class Write:
    """One write; the value is None for a deletion."""

    value: bytes | None
    began: float
    ended: float = inf


class History:
    """Of all keys of one store; instants are just numbers that ascend."""

    def __init__(self) -> None:
        self._now = count(1)
        self._open: dict[str, list[Write]] = defaultdict(lambda: [Write(None, 0, 0)])
        self._all: dict[str, dict[bytes | None, Write]] = defaultdict(dict)

    def instant(self) -> int:
        """Now."""
        return next(self._now)

    def begin(self, key: str, value: bytes | None) -> Write:
        """A write is about to be sent; its value is one of its own."""
        write = Write(value, self.instant())
        self._open[key].append(write)
        self._all[key][value] = write
        return write

    def end(self, key: str, write: Write, applied: str) -> None:
        """It ended: "yes", "no" or "maybe"."""
        write.ended = self.instant()
        if applied == "no":
            self._open[key].remove(write)
        elif applied == "yes":
            self._open[key] = [each for each in self._open[key] if each.ended > write.began]

    def before(self, key: str) -> frozenset[bytes | None]:
        """What a read that begins now may find, besides what is written meanwhile."""
        return frozenset(write.value for write in self._open[key])

    def problem(
        self, key: str, found: bytes | None, since: int, before: frozenset[bytes | None]
    ) -> str | None:
        """What is wrong with what a read found, or None.

        Args:
            key: That was read.
            found: Its value.
            since: When it began.
            before: What was possible then.
        """
        write = self._all[key].get(found)
        if found in before or (write is not None and write.began > since):
            return None
        why = "is not the newest" if write is not None or found is None else "was never written"
        return f"{key} reads as {_short(found)}, which {why}; possible: {sorted(map(_short, before))}"

    def ever(self, key: str, found: bytes | None) -> str | None:
        """What is wrong with what was read where old values are permitted, or None."""
        if found is None or found in self._all[key]:
            return None
        return f"{key} reads as {_short(found)}, which was never written"

    def written(self) -> list[str]:
        """All keys that were written to."""
        return sorted(self._all)


def _short(value: bytes | None) -> str:
    return "nothing" if value is None else value[:24].decode()
