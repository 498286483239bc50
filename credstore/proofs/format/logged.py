"""What a transparency log shows about a proof, apart from how logs work. Pure.

Rules of this file: what a log shows is opened before the proof is parsed, since it may give the proof its
trusted time, and counts only once it was compared with the proof that verified.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, runtime_checkable

from credstore.arguments import typed_request
from credstore.proofs.format.dsse import Envelope
from credstore.proofs.format.errors import LogInclusionError
from credstore.proofs.format.trust import TrustStore
from credstore.proofs.format.verify import TrustedTime, VerifiedProof

LONGEST_LOG_PROOF = 384 * 1024
LARGEST_LOG_ENTRY = 65_535


@typed_request
@dataclass(frozen=True, slots=True)
class LogPart:
    """A log's entry and its C2SP tlog-proof, as received; not verified here.

    Attributes:
        entry: The bytes of the entry.
        proof: The tlog-proof, verbatim.
    """

    entry: bytes
    proof: str


@dataclass(frozen=True, slots=True)
class Logged:
    """That a statement is in a log, as far as the log's proof shows it.

    Attributes:
        origin: The name of the log.
        index: Of the entry, 0-based.
        size: Number of entries of the log, when the proof was made.
        time: Since when enough witnesses had seen it, UTC; None without witnesses.
        witnesses: When each known witness cosigned that state, by name; None where it does not say.
        sigs: The signatures that were logged, raw.
        keyid: Of the key whose signature was logged; None where the whole statement was.
        proof_id: As logged; None where the whole statement was.
        subject: SHA-256 of the asset, 32 bytes, as logged; None where it was not logged by itself.
    """

    origin: str
    index: int
    size: int
    time: datetime | None
    witnesses: Mapping[str, datetime | None]
    sigs: tuple[bytes, ...] = field(repr=False)
    keyid: str | None = None
    proof_id: str | None = None
    subject: bytes | None = None

    @property
    def times(self) -> tuple[TrustedTime, ...]:
        """What the witnesses state about the logged signatures."""
        if self.time is None:
            return ()
        return tuple(TrustedTime(self.time, "witness", sig) for sig in self.sigs)


CheckLog = Callable[[LogPart, Envelope], Logged | None]
"""Verifies that a log has the statement of an envelope, such as `credstore.proofs.log.LogCheck`; None where
it is a log about which nothing is known, else raises `LogError`."""


@runtime_checkable
class StatementLog(Protocol):
    """Where a proof store logs what it signs, and whom it believes about logs."""

    @property
    def writes(self) -> bool:
        """Whether `record` works; without it, logged proofs are only checked."""
        ...

    def check(self, part: LogPart, envelope: Envelope, /) -> Logged | None:
        """As `CheckLog`.

        Raises:
            LogError: It does not show that a log has the statement.
        """
        ...

    async def ready(self) -> None:
        """Look whether the log may be written, before anything is signed for it; once it may, that is kept.

        Raises:
            LogError: It is another log, or it forked or was restored; retrying does not help.
            StorageError: It cannot be read now.
        """
        ...

    async def record(self, statement: bytes, /) -> LogPart:
        """Log a signed statement; returns its entry and proof once its index is final.

        Raises:
            StorageError: It may or may not be in the log.
        """
        ...


def bind_logged(logged: Logged, proof: VerifiedProof, trust: TrustStore) -> None:
    """Compare what was logged with the proof that verified.

    Raises:
        LogInclusionError: The entry is about another proof, asset or key, or its signature is not one of the
            proof's.
    """
    record = proof.record
    if logged.proof_id is not None and logged.proof_id != record.proof_id:
        raise LogInclusionError(f"the log's entry is about proof {logged.proof_id}")
    if logged.subject is not None and logged.subject != record.asset.sha256:
        raise LogInclusionError("the log's entry is about another asset")
    signers = proof.keyids if logged.keyid is None else tuple({logged.keyid} & {*proof.keyids})
    keys = [key for key in map(trust.find, signers) if key is not None]
    message = proof.envelope.pae
    if not any(key.public_key.is_signature(sig, message) for key in keys for sig in logged.sigs):
        raise LogInclusionError("the log's entry has a signature that is not one of the proof's")
