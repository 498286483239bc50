"""Timestamps and further signatures of a proof in its store: read, judged, added and renewed.

Rules of this file: what is judged is judged in a thread, since each timestamp takes a millisecond; what is
added was judged before, as readers will judge it; adding never changes what is there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from credstore.concurrency import map_in_order
from credstore.errors import StorageConfigurationError, StorageError, StorageIntegrityError
from credstore.proofs.format.dsse import Envelope
from credstore.proofs.format.errors import ProofFormatError, ProofTimestampError
from credstore.proofs.format.trust import TrustStore
from credstore.proofs.store.model import Proof
from credstore.proofs.store.repository import ProofObjects
from credstore.threads import in_pool

if TYPE_CHECKING:
    from credstore.proofs.format.bundle import Bundle
    from credstore.proofs.format.evidence import Evidence
    from credstore.proofs.format.logged import LogPart
    from credstore.proofs.format.timestamp import TimestampAuthorities

AT_ONCE = 32


class Timestamper(Protocol):
    """Whoever obtains timestamps, such as a `TimestampClient`."""

    @property
    def name(self) -> str:
        """What its errors are reported by, such as its address."""
        ...

    async def stamp(self, message: bytes) -> bytes:
        """A DER TimeStampResp over a message (RFC 3161), as the authority made it.

        Raises:
            StorageError: There is none.
        """
        ...


@dataclass(frozen=True, slots=True)
class TimestampReport:
    """What came of asking for timestamps.

    Attributes:
        times: What was attested and stored, by authority; the earliest where there are several signatures.
        failed: The error of each other authority, by its name; nothing of it was stored.
        ends: When the certificate of the timestamp that lasts longest ends: renew before. None where there is
            no timestamp that counts.
    """

    times: Mapping[str, datetime] = field(default_factory=dict[str, datetime])
    failed: Mapping[str, StorageError] = field(default_factory=dict[str, StorageError])
    ends: datetime | None = None


@dataclass(frozen=True, slots=True)
class ProofEvidence:
    """The pieces of proofs in one store.

    Attributes:
        objects: The store's objects.
        authorities: Whose timestamps count, or None.
        trust: Whose further signatures may count.
    """

    objects: ProofObjects
    authorities: TimestampAuthorities | None
    trust: TrustStore

    async def read(self, proof_id: str, envelope: Envelope) -> Evidence | None:
        """What is there for a proof and what it comes to; None where there is nothing."""
        from credstore.proofs.format.evidence import weigh_evidence

        pieces = await self.pieces(proof_id)
        if not pieces:
            return None
        return await in_pool(weigh_evidence, envelope, pieces, self.authorities, self.trust)

    async def pieces(self, proof_id: str) -> list[bytes]:
        """What is stored for a proof, at most 256 pieces, under the names that their bytes have."""
        from credstore.proofs.format.evidence import LARGEST_PIECE, MOST_PIECES

        async def fetch(key: str) -> bytes | None:
            try:
                data = await self.objects.fetch(key, LARGEST_PIECE)
            except (ProofFormatError, StorageIntegrityError):
                return None  # Too large to be one, or damaged: it adds nothing.
            return data if data is not None and self.objects.layout.piece(proof_id, data) == key else None

        keys = (await self.objects.evidence(proof_id))[:MOST_PIECES]
        async with aclosing(map_in_order(keys, fetch, at_once=AT_ONCE)) as found:
            return [each async for each in found if each is not None]

    async def stamp(
        self, proof_id: str, envelope: Envelope, clients: Sequence[Timestamper]
    ) -> TimestampReport:
        """Have all signatures stamped by each authority; see `ProofStore.timestamp`."""
        messages = [each.sig for each in envelope.signatures]
        return await self._gather(proof_id, envelope, clients, messages, lambda response: response)

    async def renew(
        self, proof_id: str, envelope: Envelope, clients: Sequence[Timestamper], within: timedelta
    ) -> TimestampReport:
        """Have what counts now stamped again if it ends soon; see `ProofStore.renew_timestamps`."""
        from credstore.proofs.format.evidence import MOST_COVERED, Renewal, encode_renewal, renewal_message

        evidence = await self.read(proof_id, envelope)
        stamps = () if evidence is None else evidence.stamps
        if not stamps:
            raise ProofTimestampError(
                f"proof {proof_id} has no timestamp that counts, so there is nothing to renew"
            )
        ends = max(each.ends for each in stamps)
        if ends - self.objects.clock() > within:
            return TimestampReport(ends=ends)
        # The newest: they cover the others.
        covers = tuple(sorted(hashlib.sha256(each.piece).digest() for each in stamps[-MOST_COVERED:]))
        message = renewal_message(envelope, covers)
        return await self._gather(
            proof_id, envelope, clients, [message], lambda response: encode_renewal(Renewal(covers, response))
        )

    async def _gather(
        self,
        proof_id: str,
        envelope: Envelope,
        clients: Sequence[Timestamper],
        messages: Sequence[bytes],
        wrap: Callable[[bytes], bytes],
    ) -> TimestampReport:
        authorities = self.authorities
        if authorities is None:
            raise StorageConfigurationError(
                "open the store with timestamps=TimestampAuthorities(…): only their timestamps count"
            )
        if not clients:
            raise StorageConfigurationError("name at least one authority to ask")
        times: dict[str, datetime] = {}
        failed: dict[str, StorageError] = {}

        async def ask(client: Timestamper) -> None:
            try:
                responses = [await client.stamp(message) for message in messages]
                found = [
                    await in_pool(authorities.check, response, message)
                    for response, message in zip(responses, messages, strict=True)
                ]
                for response in responses:
                    await self.objects.put_piece(proof_id, wrap(response))
            except StorageError as error:
                failed[client.name] = error
            else:
                times[client.name] = min(found)

        async with aclosing(map_in_order(clients, ask, at_once=AT_ONCE)) as done:
            async for _ in done:
                pass
        if not times:
            raise next(iter(failed.values()))
        evidence = await self.read(proof_id, envelope)
        stamps = () if evidence is None else evidence.stamps
        return TimestampReport(times, failed, max((each.ends for each in stamps), default=None))


def bundled(
    proof: Proof,
    notices: tuple[Envelope, ...],
    evidence: Evidence | None,
    timestamps: Iterable[bytes],
    log: LogPart | None,
) -> Bundle:
    """A proof with what is known about it and fits into a bundle: early timestamps, late renewals.

    Args:
        proof: The proof.
        notices: What is said about it.
        evidence: What was added to it, or None.
        timestamps: More timestamps over its first signature.
        log: Where it is in a log, or None.
    """
    from credstore.proofs.format.bundle import MOST_TIMESTAMPS, Bundle
    from credstore.proofs.format.evidence import parse_renewal

    made_at = proof.status.as_of
    if evidence is None:
        return Bundle(proof.envelope, made_at, notices, tuple(timestamps), log=log)
    envelope = evidence.envelope
    first = envelope.signatures[0].sig
    tokens = [*timestamps, *(each.piece for each in evidence.stamps if each.sig == first)]
    renewals = [parse_renewal(each.piece) for each in evidence.stamps if each.sig is None]
    return Bundle(
        envelope,
        made_at,
        notices,
        tuple(dict.fromkeys(tokens))[:MOST_TIMESTAMPS],
        renewals=tuple(renewals[-MOST_TIMESTAMPS:]),
        log=log,
    )
