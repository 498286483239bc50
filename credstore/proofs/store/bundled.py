"""Proofs whose records are the entries of a log, with no object of their own.

Rules of this file: only where records are kept differs from other proof stores: whatever is read is verified
in the same way. Entries stay for ever, so nothing here can be erased; a proof is what the log has first under
its id.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from credstore.errors import (
    ErrorCode,
    StorageAlreadyExistsError,
    StorageInvalidRequestError,
    StorageUnsupportedError,
)
from credstore.model import StorageItem
from credstore.proofs.format.dsse import LARGEST_ENVELOPE, parse_envelope
from credstore.proofs.format.errors import LogEntryError, ProofConflictError, ProofError
from credstore.proofs.format.logged import LogPart, StatementLog
from credstore.proofs.format.trust import TrustStore
from credstore.proofs.store.layout import Marker
from credstore.proofs.store.logging import StoreLogger
from credstore.proofs.store.model import Proof
from credstore.proofs.store.repository import PAGE, ProofObjects

LARGEST_ENTRY = 16 * 1024
"""Bytes of a record that is an entry; a larger one is an object, of which the log has the digests."""
_KEPT = 1024


class LoggedStatement(Protocol):
    """A proof as a log has it; see `credstore.proofs.log.Statement`."""

    @property
    def index(self) -> int:
        """In the log."""
        ...

    @property
    def data(self) -> bytes | None:
        """Its bytes, or None where the log has only digests of them."""
        ...

    @property
    def entry(self) -> Any:
        """What it says: its `proof_id`, `pae` and `subject`."""
        ...

    @property
    def first(self) -> bool:
        """Whether it is known to be the first with its id."""
        ...


@runtime_checkable
class WholeLog(StatementLog, Protocol):
    """A log that has whole statements, such as `credstore.proofs.log.BundledLog`."""

    async def add(self, statement: bytes, /) -> int:
        """Log a statement; returns its index once it can be found."""
        ...

    async def proof(self, proof_id: str, /) -> LoggedStatement | None:
        """The proof of an id."""
        ...

    async def about(self, sha256: bytes, /) -> list[LoggedStatement]:
        """The proofs about an asset, at most 1,000."""
        ...

    async def prove(self, index: int, /) -> LogPart:
        """The entry of an index, with the proof that the log has it."""
        ...

    def proofs(self) -> AsyncGenerator[LoggedStatement, None]:
        """All proofs."""
        ...


@dataclass(frozen=True, slots=True)
class BundledObjects(ProofObjects):
    """The objects of a proof store, with the entries of a log in place of records and index names.

    Attributes:
        log: Has the records.
        found: Statements that a search by asset or a listing has just read, by id, so that they need not be
            found again.
    """

    log: WholeLog = field(kw_only=True)
    found: OrderedDict[str, LoggedStatement] = field(
        default_factory=OrderedDict[str, LoggedStatement], kw_only=True
    )

    async def fetch(self, key: str, limit: int = LARGEST_ENVELOPE) -> bytes | None:
        """At most `limit` bytes, or None; a record comes from the log."""
        proof_id = self.layout.parse_record(key)
        return await (ProofObjects.fetch(self, key, limit) if proof_id is None else self.record(proof_id))

    async def record(self, proof_id: str) -> bytes | None:
        """The bytes of a record, or None.

        Raises:
            LogEntryError: The log has digests of it, and the object is missing or another one.
        """
        statement = self.found.pop(proof_id, None)
        if statement is None:
            statement = await self.log.proof(proof_id)
        return None if statement is None else await self._data(statement)

    async def _data(self, statement: LoggedStatement) -> bytes:
        if statement.data is not None:
            return statement.data
        proof_id: str = statement.entry.proof_id
        data = await ProofObjects.fetch(self, self.layout.record(proof_id))
        try:
            same = data is not None and parse_envelope(data).digest == statement.entry.pae
        except ProofError:
            same = False
        if data is None or not same:
            raise LogEntryError(
                f"the log has digests of proof {proof_id}, but what is stored is missing or something else",
                key=self.layout.record(proof_id),
            )
        return data

    async def put_record(self, proof_id: str, data: bytes) -> None:
        """Commit a record: log it, after storing what is too large for an entry.

        Raises:
            StorageAlreadyExistsError: There is such an object, which is logged now.
        """
        if len(data) > LARGEST_ENTRY:
            try:
                await ProofObjects.put_record(self, proof_id, data)
            except StorageAlreadyExistsError:
                # Of an attempt that stopped before it was logged, or is about to be logged: that one counts.
                stored = await ProofObjects.fetch(self, self.layout.record(proof_id))
                if stored is not None:
                    await self.log.add(stored)
                raise
        await self.log.add(data)

    async def put_index(self, sha256: bytes, proof_id: str) -> None:
        """The log's own index leads to it."""

    async def put_marker(self, day: datetime, proof_id: str, marker: Marker) -> None:
        """Entries stay, so no sweep needs to find them."""

    async def first(self, prefix: str, most: int = PAGE) -> list[StorageItem]:
        """The first names under a prefix; those of an asset are made from the log, at most 1,000."""
        if not prefix.startswith(self.layout.assets):
            return await ProofObjects.first(self, prefix, most)
        sha256 = bytes.fromhex(prefix.rstrip("/").rpartition("/")[2])
        items: list[StorageItem] = []
        about = await self.log.about(sha256)
        if len(about) >= PAGE:
            raise StorageInvalidRequestError(
                f"the log has {PAGE} or more proofs about this asset; read all proofs with scan()",
                code=ErrorCode.TOO_MANY_PROOFS,
            )
        for statement in about:
            proof_id: str = statement.entry.proof_id
            if statement.data is not None and proof_id not in self.found:  # The first under its id.
                self._note(statement)
            items.append(_item(self.layout.index(sha256, proof_id)))
        return list({item.key: item for item in items}.values())[:most]

    def _note(self, statement: LoggedStatement) -> None:
        self.found[statement.entry.proof_id] = statement
        while len(self.found) > _KEPT:
            self.found.popitem(last=False)

    def scan(self, prefix: str) -> AsyncIterator[StorageItem]:
        """All names under a prefix; those of records and assets are made from the log."""
        if prefix == self.layout.records:
            return self._records()
        if prefix.startswith(self.layout.assets):
            return self._names_of(prefix)
        return ProofObjects.scan(self, prefix)

    async def _records(self) -> AsyncGenerator[StorageItem, None]:
        async with aclosing(self.log.proofs()) as statements:
            async for statement in statements:
                if statement.first:
                    self._note(statement)
                yield _item(self.layout.record(statement.entry.proof_id))

    async def _names_of(self, prefix: str) -> AsyncGenerator[StorageItem, None]:
        for item in await self.first(prefix):
            yield item

    def check_erasable(self, what: str) -> None:
        """Refuse what entries of a log do not have.

        Raises:
            StorageUnsupportedError: In any case.
        """
        raise StorageUnsupportedError(
            f"these proofs are entries of a log, which stay for ever and are not objects: there is no {what}",
            applied="no",
        )


def _item(key: str) -> StorageItem:
    return StorageItem(key=key, size=0, last_modified=None, etag=None)


@dataclass(frozen=True, slots=True)
class BundledLogger(StoreLogger):
    """Shows what the log has, which is the record itself.

    Attributes:
        whole: The log.
    """

    whole: WholeLog = field(kw_only=True)

    async def issued(self, proof: Proof, *, repeated: bool) -> Proof:
        """It is logged already; where the id may have been used before, the first in the log counts.

        Raises:
            ProofConflictError: Another issue with this id was faster.
        """
        if repeated:
            first = await self.whole.proof(proof.proof_id)
            if first is not None and first.entry.pae != proof.envelope.digest:
                raise ProofConflictError(f"proof {proof.proof_id} was issued before by another, faster call")
        return proof

    async def _kept(self, proof_id: str) -> LogPart | None:
        statement = await self.whole.proof(proof_id)
        return None if statement is None else await self.whole.prove(statement.index)

    def _kinds(self) -> tuple[str, ...]:
        return (self.objects.layout.statuses, self.objects.layout.trust_stores)


def open_objects(
    objects: ProofObjects, trust: TrustStore, log: StatementLog | None, *, erasable: bool
) -> tuple[ProofObjects, StoreLogger | None]:
    """The objects of a proof store, and what it does about its log.

    Raises:
        StorageUnsupportedError: The proofs are to be entries of a log,
            and it was not said that they need not be erased.
    """
    if not isinstance(log, WholeLog):
        return objects, None if log is None else StoreLogger(objects, trust, log)
    if erasable:
        raise StorageUnsupportedError(
            "entries of a log, and so these proofs, can never be erased; accept that with erasable=False"
        )
    bundled = BundledObjects(objects.provider, objects.layout, objects.clock, objects.retention, log=log)
    return bundled, BundledLogger(bundled, trust, log, whole=log)
