"""What users of transfers give and get: places, options, events, progress, the report. Frozen; no I/O."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import Literal, TypeAlias, TypedDict

from credstore.errors import StorageError, StorageInvalidRequestError
from credstore.model import StoreOptions
from credstore.transfer.ends import Alone as Alone  # noqa: PLC0414 - re-exported
from credstore.transfer.ends import Links as Links  # noqa: PLC0414 - re-exported
from credstore.transfer.ends import Place as Place  # noqa: PLC0414 - re-exported
from credstore.transfer.ends import Under as Under  # noqa: PLC0414 - re-exported
from credstore.transfer.plan import Basis, Overwrite

SHOWN = 1000
"""Events of each kind that a report holds; all of them go to `on_event`."""
EventKind: TypeAlias = Literal[
    "same", "missing", "differing", "extra", "kept", "copied", "deleted", "moved",
    "refused", "skipped", "failed", "changed", "left", "lost", "renamed",
]  # fmt: skip
TROUBLE: frozenset[EventKind] = frozenset({"refused", "failed", "changed", "left"})
"""Kinds of event after which a transfer is not complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferEvent:
    """What became of one name.

    Attributes:
        kind: `same`, `missing` (at the destination), `differing`, `extra` (only at the destination), `kept`
            (not to be overwritten) from the comparison; `copied`, `deleted`, `moved` (the source was deleted
            too) from the work; `refused` (one side cannot hold it), `skipped` (no object: a link, a pipe, a
            folder marker), `failed`, `changed` (the source changed meanwhile), `left` (a limit was reached),
            `lost` (something besides the bytes could not be carried), `renamed` (one side cannot hold the
            name; `detail` is what it is called there).
        name: Below the place.
        size: Bytes, where that is known.
        basis: What it was compared by, where it was.
        detail: Why, in words.
        error: Of what failed.
    """

    kind: EventKind
    name: str
    size: int = 0
    basis: Basis | None = None
    detail: str = ""
    error: StorageError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferProgress:
    """How far a transfer is.

    Attributes:
        objects: Done so far, failures included.
        bytes: Of content, moved so far.
        total_objects: To be moved; None while it is being planned.
        total_bytes: To be moved, as stored at the source; None while it is being planned.
        elapsed: Seconds since the first was started.
        rate: Bytes per second.
        remaining: Seconds until the end at this rate, or None.
        at_once: Objects under way at most now.
    """

    objects: int
    bytes: int
    total_objects: int | None
    total_bytes: int | None
    elapsed: float = 0.0
    rate: float = 0.0
    remaining: float | None = None
    at_once: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferPlan:
    """What is about to be done, before anything is.

    Attributes:
        copies: Objects to copy.
        copy_bytes: Their bytes, as stored at the source.
        deletions: Objects to delete at the destination.
        drops: Objects to delete at the source that are at the destination already.
        refused: Names that one side cannot hold, and things that cannot be read.
    """

    copies: int = 0
    copy_bytes: int = 0
    deletions: int = 0
    drops: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferReport:
    """What a transfer or comparison did and found.

    Attributes:
        counts: Events by their kind.
        bytes: Of content, that were copied.
        compared_by: Names found the same or differing, by what said so.
        lost: Objects by what could not be carried with them: `tags`, `storage_class`, ...
        events: The first 1,000 of each kind that says that something is not as wanted.
        plan: What was to be done.
        dry_run: Whether nothing was done.
        seconds: From beginning to end.
        resumed: An earlier run that was cut off was continued.
    """

    counts: Mapping[EventKind, int]
    bytes: int
    compared_by: Mapping[Basis, int]
    lost: Mapping[str, int]
    events: tuple[TransferEvent, ...]
    plan: TransferPlan
    dry_run: bool
    seconds: float
    resumed: bool = False

    @property
    def complete(self) -> bool:
        """Whether everything that was asked for was done, and nothing changed meanwhile."""
        return not any(self.counts.get(kind) for kind in TROUBLE)

    @property
    def equal(self) -> bool:
        """Of a comparison: whether both places have the same names with the same content."""
        return self.complete and not any(self.counts.get(kind) for kind in ("missing", "differing", "extra"))


class TransferOptions(TypedDict, total=False):
    """Options of every transfer.

    Keys:
        include: Globs of names to transfer; all, unless given. See `Filter`.
        exclude: Globs of names to leave out; they have the last word.
        within: Globs of which a name has to match one as well, as those that a place was named by.
        files_from: Only these names.
        checksum: Compare by content, reading what has no recorded digest, instead of by size and time.
        overwrite: What may be replaced: "never", only what is older ("newer"), what differs ("different",
            the default), or "always".
        mapping: A file that says what the names are called that one side cannot hold. Names of the source
            that the destination cannot hold are added to it before anything is moved; without it, they are
            refused. What such a file says holds in both directions, so it brings them back as well.
        keep_retention: Put each copy under the retention and legal hold that its source is under, once it is
            verified; what the destination has not, or cannot keep, is counted as lost ("retention"). Without
            it nothing is looked up, and no copy is kept by anything but the destination's own rules. A copy
            that is found equal already is left as it is.
        journal: A file that remembers what was transferred between the two places; without one, a second
            run compares everything again.
        dry_run: Only compare and report.
        concurrency: Objects at once, at most (64); fewer while a store is slow or asks to slow down.
        bandwidth: Bytes of content per second, or None for no limit.
        max_delete: Refuse to begin if more would be deleted.
        max_transfer: Start no object that would exceed this many bytes; the others are `left`.
        links: What becomes of symbolic links in a folder: "skip" leaves them out and names them, unless
            given; "follow" takes what they lead to, and refuses a loop; "error" refuses them.
        empty_folders: Keep folders in which there is nothing: in a store as an object of no bytes whose name
            ends with a slash, as consoles and other tools make it. Unless set, they are left out and named,
            in both directions.
        store_options: How to store, instead of as it was: `compress`, `storage_class`, `metadata` (added).
        verify: "read" reads every object back from the destination and compares its SHA-256; "write" relies
            on the checks of the write itself.
        approve: Called with the plan before anything is done; False ends the transfer.
        progress: Called with a `TransferProgress` after each piece.
        on_event: Called with a `TransferEvent` for every name.
    """

    include: Collection[str]
    exclude: Collection[str]
    within: Collection[str]
    files_from: Iterable[str] | None
    checksum: bool
    overwrite: Overwrite
    keep_retention: bool
    mapping: str | PathLike[str] | None
    journal: str | PathLike[str] | None
    dry_run: bool
    concurrency: int
    bandwidth: int | None
    max_delete: int | None
    max_transfer: int | None
    links: Links
    empty_folders: bool
    store_options: StoreOptions
    verify: Literal["read", "write"]
    approve: Callable[[TransferPlan], bool] | None
    progress: Callable[[TransferProgress], None] | None
    on_event: Callable[[TransferEvent], None] | None


@dataclass(slots=True)
class Tally:
    """What a report is made of, as it is counted."""

    counts: dict[EventKind, int] = field(default_factory=dict[EventKind, int])
    compared_by: dict[Basis, int] = field(default_factory=dict[Basis, int])
    lost: dict[str, int] = field(default_factory=dict[str, int])
    events: list[TransferEvent] = field(default_factory=list[TransferEvent])
    bytes: int = 0

    def count(self, kind: EventKind, basis: Basis | None, more: int = 1) -> int:
        """Count one of a kind, or more, and return how many there are."""
        count = self.counts[kind] = self.counts.get(kind, 0) + more
        if basis is not None:
            self.compared_by[basis] = self.compared_by.get(basis, 0) + more
        return count

    def add(self, event: TransferEvent) -> None:
        """Count one event."""
        count = self.count(event.kind, event.basis)
        if event.kind in TROUBLE and count <= SHOWN:
            self.events.append(event)


def check_options(options: TransferOptions) -> None:
    """Refuse what no transfer can have.

    Raises:
        StorageInvalidRequestError: An option is out of range.
    """
    for name, least in (("concurrency", 1), ("bandwidth", 1), ("max_delete", 0), ("max_transfer", 0)):
        value = options.get(name)
        if isinstance(value, int) and value < least:
            raise StorageInvalidRequestError(f"{name} is a whole number, {least} or more, not {value!r}")
