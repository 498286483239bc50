"""Pure: what is on both ends, name by name, and what is to be done about it.

Three sequences that ascend by name (source, destination, what the journal knows) are merged, and each name is
judged on its own, so nothing is held of what was judged. Text compares by code points, which is the order of
its UTF-8 bytes, and that of listings and of SQLite.

An entity tag says only whether an object is the version that was seen before, never what is in it: on S3
alone it is an MD5, a hash of hashes, or neither.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Literal, NamedTuple, Protocol, TypeAlias, TypeVar

from credstore.errors import ErrorCode, StorageIntegrityError

Overwrite: TypeAlias = Literal["never", "newer", "different", "always"]
Basis: TypeAlias = Literal["journal", "digest", "size and time", "size", "name"]
"""What a comparison was made by."""
N = TypeVar("N", bound="Named")


class Named(Protocol):
    """What has a name."""

    @property
    def name(self) -> str:
        """Below the place that is transferred, with "/" between its parts."""
        ...


class Entry(NamedTuple):
    """One object or file of a listing.

    Attributes:
        name: Below the place that is transferred, with "/" between its parts.
        size: Bytes, as stored.
        modified: Unix seconds, or None where the store does not say.
        tag: Differs for each state of it: time and inode of a file, etag and time of an object.
        version: Its etag where it is an object that has one, else as `tag`; what a write reports.
        refused: Why it cannot be transferred, or None.
        fault: It should be transferred and cannot be, as a file that cannot be read; a link or a pipe is
            refused without a fault.
    """

    name: str
    size: int
    modified: float | None
    tag: str
    version: str
    refused: str | None = None
    fault: bool = False


class State(Enum):
    """What the journal says about a name."""

    EQUAL = 0
    """Both ends were equal."""
    UNSURE = 1
    """A run ended while it was at this name, so what is at the destination was perhaps never verified."""
    KEPT = 2
    """They were not, and it was not to be changed."""
    MOVED = 3
    """They were, and the source was deleted then, as it should be."""


class Known(NamedTuple):
    """What the journal knows of a name.

    Attributes:
        name: As in `Entry`.
        size: Of the source then.
        tag: Of the source then.
        version: Of the destination then; empty where it has none.
        digest: SHA-256 that both ends were verified to have, or None where they were compared otherwise.
        state: What that means.
    """

    name: str
    size: int
    tag: str
    version: str
    digest: bytes | None = None
    state: State = State.EQUAL

    def fits(self, source: Entry, destination: Entry) -> bool:
        """Whether both ends are as they were when they were equal."""
        return (
            self.state is State.EQUAL
            and self.size == source.size
            and self.tag == source.tag
            and self.version == destination.version
            and bool(self.version)
        )


class Pair(NamedTuple):
    """A name with what each of the three has of it; at least one has it."""

    name: str
    source: Entry | None
    destination: Entry | None
    known: Known | None

    @property
    def is_moved(self) -> bool:
        """Whether an earlier run has moved it here, even if it was cut off then, and it is as it was."""
        known, there = self.known, self.destination
        return (
            self.source is None
            and known is not None
            and known.state in {State.MOVED, State.UNSURE}
            and known.digest is not None
            and there is not None
            and there.version == known.version
        )


@dataclass(frozen=True, slots=True)
class Facts:
    """What looking at one end, beyond its listing, has shown.

    Attributes:
        size: Plain bytes, or None where that is not recorded.
        modified: Unix seconds: when the content was made, where that is recorded.
        digest: SHA-256 of the plain bytes, or None where it is not recorded.
        stored: SHA-256 of the stored bytes, or None.
    """

    size: int | None
    modified: float | None
    digest: bytes | None = None
    stored: bytes | None = None


class Verdict(Enum):
    """What is to be done about a name."""

    SAME = "same"
    MISSING = "missing"
    """The destination lacks it."""
    DIFFERING = "differing"
    EXTRA = "extra"
    """The source lacks it."""
    KEPT = "kept"
    """It may differ, and is not to be overwritten."""
    LOOK = "look"
    """The listings do not say."""
    READ = "read"
    """Only the content shows it."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How to compare.

    Attributes:
        overwrite: What may be replaced at the destination.
        checksum: By content only, not by time.
        plain: Both listings have the sizes of the plain bytes, so that different ones decide.
        sealed: One of them has sizes of encrypted bytes, so that equal ones decide nothing.
    """

    overwrite: Overwrite = "different"
    checksum: bool = False
    plain: bool = False
    sealed: bool = False


Judged: TypeAlias = tuple[Verdict, Basis]


UNCHANGED: Judged = Verdict.SAME, "journal"
"""Of a name that is at both ends as the journal knows it."""


def judge(pair: Pair, rules: Rules) -> Judged:
    """What is to be done about a name, and what says so; by the listings and the journal alone."""
    source, destination, known = pair.source, pair.destination, pair.known
    if source is None:
        return Verdict.EXTRA, "name"
    if destination is None:
        return Verdict.MISSING, "name"
    if rules.overwrite == "never":
        return Verdict.KEPT, "name"
    if rules.overwrite == "always":
        return Verdict.DIFFERING, "name"
    if pair.name.endswith("/") and source.size == destination.size == 0:
        return Verdict.SAME, "name"  # A folder: there is no more to it.
    if known is not None and known.fits(source, destination) and not (rules.checksum and not known.digest):
        return UNCHANGED
    if rules.checksum or (known is not None and known.state is State.UNSURE):
        return Verdict.READ, "digest"
    if rules.overwrite == "newer" and _not_older(destination.modified, source.modified):
        return Verdict.KEPT, "size and time"
    if rules.sealed:
        return Verdict.LOOK, "size"
    if source.size != destination.size:
        return (Verdict.DIFFERING, "size") if rules.plain else (Verdict.LOOK, "size")
    if _not_older(destination.modified, source.modified):
        return Verdict.SAME, "size and time"
    return (Verdict.DIFFERING if rules.plain else Verdict.LOOK), "size and time"


def judge_looked(source: Facts, destination: Facts) -> Judged:
    """The same, once both ends were looked at."""
    for one, other in ((source.digest, destination.digest), (source.stored, destination.stored)):
        if one is not None and one == other:
            return Verdict.SAME, "digest"
    if source.digest is not None and destination.digest is not None:
        return Verdict.DIFFERING, "digest"
    if source.size is None or source.size != destination.size:
        return Verdict.DIFFERING, "size"
    if _not_older(destination.modified, source.modified):
        return Verdict.SAME, "size and time"
    return Verdict.DIFFERING, "size and time"


def _not_older(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and one >= other


async def merged(
    source: AsyncIterator[Entry], destination: AsyncIterator[Entry], known: AsyncIterator[Known]
) -> AsyncGenerator[Pair, None]:
    """All names that any of the three has, once each, ascending.

    Raises:
        StorageIntegrityError: One of them does not ascend, or repeats itself (code "LISTING").
    """
    async with _closing(source) as sources, _closing(destination) as destinations, _closing(known) as knowns:
        one = await anext(sources, None)
        two = await anext(destinations, None)
        three = await anext(knowns, None)
        while one is not None or two is not None or three is not None:
            if one and two and three and one.name == two.name == three.name:  # As most names are.
                pair = Pair(one.name, one, two, three)
                one = _next(one, await anext(sources, None), "source")
                two = _next(two, await anext(destinations, None), "destination")
                three = _next(three, await anext(knowns, None), "journal")
                yield pair
                continue
            name = min(each.name for each in (one, two, three) if each is not None)
            mine = theirs = noted = None
            if one is not None and one.name == name:
                mine = one
                one = _next(mine, await anext(sources, None), "source")
            if two is not None and two.name == name:
                theirs = two
                two = _next(theirs, await anext(destinations, None), "destination")
            if three is not None and three.name == name:
                noted = three
                three = _next(noted, await anext(knowns, None), "journal")
            yield Pair(name, mine, theirs, noted)


def _next(last: N, found: N | None, what: str) -> N | None:
    if found is not None and found.name <= last.name:
        raise StorageIntegrityError(
            f"the listing of the {what} has {found.name!r} after {last.name!r}, so it cannot be compared",
            code=ErrorCode.LISTING,
        )
    return found


@asynccontextmanager
async def _closing(items: AsyncIterator[N]) -> AsyncGenerator[AsyncIterator[N]]:
    try:
        yield items
    finally:
        if isinstance(items, AsyncGenerator):
            await items.aclose()


class Branches:
    """Finds names that a file system cannot hold together: `a` and `a/b`; names come ascending."""

    def __init__(self) -> None:
        """See no name yet."""
        self._open: list[str] = []

    def above(self, name: str) -> str | None:
        """The earlier name that would have to be a directory for this one, or None."""
        while self._open and not name.startswith(self._open[-1]):
            self._open.pop()
        blocking = next((each for each in self._open if name[len(each)] == "/"), None)
        self._open.append(name)
        return blocking
