"""What a log says about one asset: every statement, found by reading all entries.

Rules of this file: only whoever has read every entry can say that there is nothing else, and it says up to
which size; what could not be read, or does not name its asset, is counted, and then nothing is complete.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime

from credstore.arguments import typed
from credstore.concurrency import in_thread
from credstore.errors import StorageInvalidRequestError
from credstore.proofs.format.errors import LogEntryError
from credstore.proofs.log.client import LogClient
from credstore.proofs.log.entry import LogEntry, read_entry

SHA256 = 32
_AT_ONCE = 256
# An entry with these members alone; anything else is parsed, so that no member more hides what it says.
_PLAIN = re.compile(
    rb'\{"keyid":"[^"\\]*","kind":"(issue|revoke|erase|keyring)","pae":"sha256:[0-9a-f]{64}"'
    rb'(?:,"proofId":"([0-9a-f-]{36})")?,"sig":"[A-Za-z0-9+/=]*"'
    rb'(?:,"subject":\["sha256:([0-9a-f]{64})"\])?,"v":1\}'
)
_Look = Callable[[Collection[tuple[int, bytes]]], None]


@dataclass(frozen=True, slots=True)
class LoggedStatement:
    """A statement about an asset.

    Attributes:
        index: In the log, 0-based.
        entry: What was logged.
    """

    index: int
    entry: LogEntry


@dataclass(frozen=True, slots=True)
class History:
    """What a log says about an asset.

    Attributes:
        origin: The name of the log.
        size: How many of its entries were read: all up to a checkpoint that satisfies the policy.
        time: Since when enough witnesses had seen that size, UTC; None without witnesses.
        statements: Issues of proofs about the asset, and what became of these, in the log's order.
        unnamed: Issues whose asset or id was not logged; any of them, or of their notices, may be about it.
        unread: Entries of another kind or version, and notices about no proof by its id.
    """

    origin: str
    size: int
    time: datetime | None
    statements: tuple[LoggedStatement, ...]
    unnamed: int
    unread: int

    @property
    def complete(self) -> bool:
        """Whether the log has no other statement about the asset up to this size."""
        return not (self.unnamed or self.unread)


@typed
async def read_history(client: LogClient, sha256: bytes) -> History:
    """Read every entry of a log, and return what is about an asset.

    Args:
        client: Of the log; over a local copy of it that is fast, see `export_log`.
        sha256: Of the asset, 32 bytes.

    Raises:
        LogForkError: The log contradicts what the client has seen before.
        LogError: The log cannot be verified.
        StorageInvalidRequestError: Not a digest.
        StorageError: The log cannot be read.
    """
    if len(sha256) != SHA256:
        raise StorageInvalidRequestError("a digest is 32 bytes of SHA-256")
    found = await client.checkpoint()
    size = found.signed.checkpoint.size
    search = _Search(sha256)
    await _each(client, size, search.issues)
    if search.ids:  # A notice does not name the asset, and may come before the proof that it is about.
        await _each(client, size, search.notices)
    search.statements.sort(key=lambda each: each.index)
    return History(
        found.signed.checkpoint.origin,
        size,
        found.time,
        tuple(search.statements),
        search.unnamed,
        search.unread,
    )


async def _each(client: LogClient, size: int, look: _Look) -> None:
    part: list[tuple[int, bytes]] = []
    async with aclosing(client.entries(0, size)) as entries:
        async for each in entries:
            part.append(each)
            if len(part) == _AT_ONCE:
                await in_thread(look, part)
                part = []
    if part:
        await in_thread(look, part)


class _Search:
    """What has been found so far."""

    def __init__(self, sha256: bytes) -> None:
        self.statements: list[LoggedStatement] = []
        self.ids: set[str] = set()
        self.unnamed = 0
        self.unread = 0
        self._sha256 = sha256
        self._digest = sha256.hex().encode()

    def issues(self, entries: Collection[tuple[int, bytes]]) -> None:
        """Find the proofs of the asset."""
        for index, data in entries:
            plain = _PLAIN.fullmatch(data)
            if plain is not None:
                kind, proof_id, subject = plain.groups()
                if kind == b"keyring" or (
                    proof_id is not None and (kind != b"issue" or subject not in {None, self._digest})
                ):
                    continue
            self._issue(index, data)

    def _issue(self, index: int, data: bytes) -> None:
        try:
            entry = read_entry(data)
        except LogEntryError:
            self.unread += 1
            return
        if entry.kind != "issue":
            # A notice that says of no proof that it is about it may be about any.
            self.unread += entry.kind != "keyring" and entry.proof_id is None
            return
        self.unnamed += entry.subject is None or (entry.subject == self._sha256 and entry.proof_id is None)
        if entry.subject == self._sha256:
            self.statements.append(LoggedStatement(index, entry))
            if entry.proof_id is not None:
                self.ids.add(entry.proof_id)

    def notices(self, entries: Collection[tuple[int, bytes]]) -> None:
        """Find what became of these proofs."""
        for index, data in entries:
            plain = _PLAIN.fullmatch(data)
            if plain is not None and (
                plain[1] in {b"issue", b"keyring"} or (plain[2] or b"").decode() not in self.ids
            ):
                continue
            try:
                entry = read_entry(data)
            except LogEntryError:
                continue  # Counted before, where it is not an entry at all.
            if entry.kind in {"revoke", "erase"} and entry.proof_id in self.ids:
                self.statements.append(LoggedStatement(index, entry))
