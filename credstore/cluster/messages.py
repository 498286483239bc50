"""What travels between the coordinator and the workers: frozen values, without credentials.

Rules of this file: everything here is pickled into a graph that the scheduler and any worker may keep, show
and log. So there are names of stores, keys and versions of objects, digests and errors; never a setting of a
store beyond its URL, and never an object's bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Literal, TypeAlias

from credstore.cluster.places import Named
from credstore.errors import StorageError
from credstore.model import StoreOptions
from credstore.transfer.plan import Entry
from credstore.transfer.sides import Depth

Kind: TypeAlias = Literal["transfer", "rotate", "recompress", "issue", "audit"]
"""What a job is."""
Step: TypeAlias = Literal[
    "look", "copy", "check", "reread", "delete_source", "delete_copy",
    "rotate", "wrapped", "recompress", "issue", "audit",
]  # fmt: skip
"""What is to be done with one object."""
Facts: TypeAlias = Mapping[str, str]
"""What must be the same at all workers, by what it is called in a message."""
VERSION = version("credstore")
"""Of this process; both sides must have the same, since these values have no form of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What all ranges of one run have in common.

    Attributes:
        run: Names the run: 32 hex digits.
        kind: What it is.
        places: Where it works.
        reading: How many of the first places are only read.
        concurrency: Objects at once in one worker, at most.
        bandwidth: Bytes per second in one worker; None for no limit.
        verify: Whether copies are read back.
        if_absent: Whether nothing is replaced.
        keep_retention: Whether copies are put under what keeps their sources.
        store_options: How to store, instead of as it was.
        dictionary: Name of the one to compress with.
        issuer: URI of whoever issues proofs; None for the one that the key is trusted for.
        expires_in: Seconds that proofs are valid; None for ever.
        claims: Signed with each proof.
        repair: Whether what an audit finds is mended.
        anchors: Directories of this machine that must be the same for all, since places are below them.
        facts: What must be the same for all who work on it; empty while that is being found out.
        version: Of whoever made it.
    """

    run: str
    kind: Kind
    places: tuple[Named, ...]
    reading: int
    concurrency: int = 64
    bandwidth: int | None = None
    verify: bool = True
    if_absent: bool = False
    keep_retention: bool = False
    store_options: StoreOptions = field(default_factory=StoreOptions)
    dictionary: str = ""
    issuer: str | None = None
    expires_in: float | None = None
    claims: Mapping[str, object] | None = None
    repair: bool = False
    anchors: tuple[str, ...] = ()
    facts: Facts = field(default_factory=dict[str, str])
    version: str = VERSION


@dataclass(frozen=True, slots=True)
class Request:
    """One object, and what is to be done with it.

    Attributes:
        step: What.
        entry: The object; its size weighs.
        there: The same name at the destination, to look at.
        depth: How closely to look.
    """

    step: Step
    entry: Entry
    there: Entry | None = None
    depth: Depth = "facts"


@dataclass(frozen=True, slots=True)
class Failed:
    """An object with which it was not done.

    Attributes:
        error: Why.
    """

    error: StorageError


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a range.

    Attributes:
        worker: Address of the worker that did it.
        results: One for each request, in their order: a `Failed`, or what the step results in.
        moved: Bytes of content that were read for them.
    """

    worker: str
    results: tuple[object, ...]
    moved: int = 0


def topic_of(run: str) -> str:
    """Where workers say how far they are: `range` is its number, `moved` the bytes since the last time."""
    return f"credstore-{run}"
