"""What finding, reading and sweeping proofs costs in a local store of so many, counted and not timed."""

import os
import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from unittest import mock

from credstore import LocalConfig, LocalStorageProvider
from credstore.proofs import ProofStore
from credstore.proofs.format.record import AssetDigest
from credstore.proofs.store.model import IssueRequest
from tests.proofs.material import ISSUED, SIGNER, TRUST

FUNCTIONS = (
    "open", "close", "fstat", "stat", "unlink", "listdir", "scandir", "fsync", "rename", "link", "pread", "pwrite", "write",
    "ftruncate", "fchmod", "utime", "mkdir", "rmdir", "dup", "lseek",
)  # fmt: skip
"""What the local driver asks the system for."""
ROUNDS = 20
"""Proofs that are found, read and swept, for each figure."""
SHELVES = 4096
"""Directories of attributes in a local store; a removal reads the names of one."""


class Work(Counter):
    """Calls of the system by name, and what they returned.

    Keys are the functions, "names" for names of directories that were read, and "bytes" for bytes of files.
    """

    @property
    def calls(self) -> int:
        """Of the system, all together."""
        return sum(count for name, count in self.items() if name in FUNCTIONS)


class _Entries:
    """An open directory whose entries are counted."""

    def __init__(self, entries, note) -> None:
        self._entries = entries
        self._note = note

    def __enter__(self):
        return self

    def __exit__(self, *given) -> None:
        self._entries.close()

    def __iter__(self) -> Iterator[os.DirEntry]:
        for entry in self._entries:
            self._note("names", 1)
            yield entry


@contextmanager
def counted() -> Iterator[Work]:
    """Count what is asked of the system by this thread and those of the store; others may look at anything."""
    work, lock, mine = Work(), threading.Lock(), threading.current_thread()

    def note(name: str, count: int) -> None:
        thread = threading.current_thread()
        if thread is mine or thread.name.startswith("credstore-"):
            with lock:
                work[name] += count

    def noted(name: str):
        function = getattr(os, name)

        def call(*given, **options):
            result = function(*given, **options)
            note(name, 1)
            if name == "listdir":
                note("names", len(result))
            elif name == "pread":
                note("bytes", len(result))
            return _Entries(result, note) if name == "scandir" else result

        return call

    with ExitStack() as stack:
        for name in FUNCTIONS:
            stack.enter_context(mock.patch.object(os, name, noted(name)))
        yield work


class Growing:
    """A local store whose proofs become more and more; open it with `async with`."""

    def __init__(self, folder: Path, *, expires_in: float | None) -> None:
        """Start empty.

        Args:
            folder: Where to put it.
            expires_in: Of the proofs that stay; seconds, far beyond any sweep, or None.
        """
        self._now = ISSUED
        self._expires_in = expires_in
        provider = LocalStorageProvider(LocalConfig(path=str(folder), fsync=False))
        self.store = ProofStore(
            provider,
            trust=TRUST,
            signer=SIGNER,
            clock=lambda: self._now,
            randomness=random.Random(7).randbytes,
        )
        self.size = 0

    async def __aenter__(self):
        return self

    async def __aexit__(self, *given) -> None:
        await self.store.aclose()

    async def grow(self, size: int) -> None:
        """Issue proofs until there are so many."""
        requests = (
            IssueRequest(asset=AssetDigest.of(b"%d" % number), expires_in=self._expires_in)
            for number in range(self.size, size)
        )
        async for outcome in self.store.issue_many(requests, at_once=16):
            assert outcome.error is None, outcome.error
        self.size = size

    async def costs(self) -> dict[str, Work]:
        """What 20 searches, 20 reads and a sweep of 20 proofs take now."""
        found: dict[str, Work] = {}
        assets = [AssetDigest.of(b"%d" % (number * self.size // ROUNDS)).sha256 for number in range(ROUNDS)]
        proofs = [proof for asset in assets for proof in await self.store.find_by_hash(asset)]
        assert len(proofs) == ROUNDS
        with counted() as found["find"]:
            for asset in assets:
                await self.store.find_by_hash(asset)
        with counted() as found["get"]:
            for proof in proofs:
                await self.store.get(proof.proof_id)
        for number in range(ROUNDS):
            await self.store.issue(AssetDigest.of(b"due %d %d" % (self.size, number)), expires_in=60)
        self._now += timedelta(minutes=2)
        with counted() as found["sweep"]:
            report = await self.store.sweep_expired(grace=0)
        assert report.swept == ROUNDS
        return found


def growth(few: dict[str, Work], many: dict[str, Work], size: int) -> list[str]:
    """In which way the larger store of `size` proofs costs more than the smaller one."""
    problems: list[str] = []
    for verb, before in few.items():
        after = many[verb]
        # Ids are random, so two of the proofs may share a directory in the one store and not in the other.
        shared = ROUNDS if verb == "sweep" else 0
        # A removal reads the names on one shelf of attributes, of which there is a fixed number.
        shelf = after["unlink"] * (2 + 2 * 3 * size // SHELVES)
        for what, one, other, more in (
            ("calls of the system", before.calls, after.calls, 8 * shared),
            (
                "directories",
                before["listdir"] + before["scandir"],
                after["listdir"] + after["scandir"],
                shared,
            ),
            ("names", before["names"], after["names"], shared + shelf),
            # Records of attributes have numbers of files in them, which become longer.
            ("bytes", before["bytes"], after["bytes"], before["bytes"] // 100),
        ):
            if other > one + more:
                problems.append(f"{verb} takes {other:,} {what} instead of {one:,}")
    return problems
