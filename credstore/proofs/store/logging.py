"""What a proof store does about its log: logs what was signed, keeps the proof of it, and reads it again.

Rules of this file: a statement takes effect before it is logged, so a log that fails undoes nothing: its
error says that the statement is there, and `reconcile` logs it later. A proof of the log that is stored here
is believed only after it was verified.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace

from credstore.errors import (
    StorageAlreadyExistsError,
    StorageConfigurationError,
    StorageError,
)
from credstore.model import StorageItem
from credstore.proofs.format.bundle import LARGEST_BUNDLE, Bundle, encode_bundle, parse_bundle
from credstore.proofs.format.dsse import Envelope, encode_envelope, parse_envelope
from credstore.proofs.format.errors import LogError, LogInclusionError, LogPendingError, ProofError
from credstore.proofs.format.logged import Logged, LogPart, StatementLog, bind_logged
from credstore.proofs.format.trust import TrustStore
from credstore.proofs.format.verify import VerifiedProof
from credstore.proofs.store.layout import ERASED, REVOKED
from credstore.proofs.store.model import Proof, ReconcileReport
from credstore.proofs.store.repository import ProofObjects


@dataclass(frozen=True, slots=True)
class StoreLogger:
    """Logs what one proof store signs.

    Attributes:
        objects: The store's objects.
        trust: The trusted keys.
        log: Where to, or whom to believe about logs.
    """

    objects: ProofObjects
    trust: TrustStore
    log: StatementLog

    async def ready(self) -> None:
        """Refuse to sign for a log that takes nothing until someone mends it: of another key, or damaged.

        One that only cannot be reached now refuses nothing: what is signed meanwhile is logged later.

        Raises:
            LogError: It has a different key or name, forked, was restored, is not there, or cannot be read.
        """
        if not self.log.writes:
            return
        try:
            await self.log.ready()
        except LogError as error:
            if not error.retryable:
                error.applied = "no"
                raise
        except StorageError as error:
            if not error.retryable:
                place = "" if error.key is None else f" ({error.key})"
                raise LogError(
                    f"nothing was signed, as its log{place} cannot be used: {error.message}",
                    key=error.key,
                    applied="no",
                ) from error

    async def issued(self, proof: Proof, *, repeated: bool) -> Proof:
        """Log a proof that is stored; returns it with where it is in the log.

        Args:
            proof: As it was issued.
            repeated: Whether it may have been issued, and logged, before.

        Raises:
            LogPendingError: It was issued, and not logged.
        """
        if not self.log.writes:
            return proof
        try:
            logged = await self.evidence(proof.verified) if repeated else None
            if logged is None:
                logged = await self._log_proof(proof.verified)
        except StorageError as error:
            raise _pending(f"proof {proof.proof_id} was issued", error) from error
        return replace(proof, logged=logged)

    async def _log_proof(self, proof: VerifiedProof) -> Logged:
        part = await self.log.record(encode_envelope(proof.envelope))
        logged = self._checked(part, proof)
        if logged is None:
            raise LogInclusionError("the log that was written is not one of those that count")
        await self._keep(self.objects.layout.bundle(proof.record.proof_id), proof.envelope, part)
        return logged

    async def noticed(self, proof_id: str, name: str, envelope: Envelope, *, repeated: bool = False) -> None:
        """Log a revocation or tombstone that is stored.

        Args:
            proof_id: It is about.
            name: Of the object it is in.
            envelope: The signed notice.
            repeated: Whether it may have been logged before.

        Raises:
            LogPendingError: It took effect, and was not logged.
        """
        if not self.log.writes:
            return
        place = self.objects.layout.logged(proof_id, name)
        try:
            if not (repeated and await self._is_about(place, envelope)):
                await self._keep(place, envelope, await self.log.record(encode_envelope(envelope)))
        except StorageError as error:
            raise _pending(f"the notice {name} of proof {proof_id} took effect", error) from error

    async def published(self, version: int, envelope: Envelope) -> None:
        """Log a trust store that is published.

        Raises:
            LogPendingError: It is published, and not logged.
        """
        if not self.log.writes:
            return
        try:
            part = await self.log.record(encode_envelope(envelope))
            await self._keep(self.objects.layout.logged_trust(version), envelope, part)
        except StorageError as error:
            raise _pending(f"the trust store of version {version} was published", error) from error

    async def _keep(self, key: str, envelope: Envelope, part: LogPart) -> None:
        """Keep the proof of the log; an earlier one stays, as its witnesses' time is the earlier one."""
        data = encode_bundle(Bundle(envelope, self.objects.clock(), log=part))
        try:
            await self.objects.put_bundle(key, data)
        except StorageAlreadyExistsError:
            if not await self._is_about(key, envelope):  # Planted or damaged, and in the way.
                await self.objects.put_bundle(key, data, replace=True)

    async def _is_about(self, key: str, envelope: Envelope) -> bool:
        """Whether what is kept is the log's proof of an envelope."""
        try:
            kept = parse_bundle(await self.objects.fetch(key, LARGEST_BUNDLE) or b"")
            if kept.log is None or kept.envelope.digest != envelope.digest:
                return False
            return self.log.check(kept.log, envelope) is not None
        except ProofError:
            return False

    async def part(self, proof: VerifiedProof) -> LogPart | None:
        """What is kept of the log about a proof, verified; None where there is nothing.

        Raises:
            ProofError: What is kept does not show it.
            StorageError: The store failed.
        """
        found = await self._kept(proof.record.proof_id)
        if found is not None:
            self._checked(found, proof)
        return found

    def _checked(self, part: LogPart, proof: VerifiedProof) -> Logged | None:
        logged = self.log.check(part, proof.envelope)
        if logged is not None:
            bind_logged(logged, proof, self.trust)
        return logged

    async def evidence(self, proof: VerifiedProof) -> Logged | None:
        """Where a proof is in the log, by what is kept; None where nothing is, or of an unknown log.

        Raises:
            ProofError: As `part`.
            StorageError: As `part`.
        """
        found = await self._kept(proof.record.proof_id)
        return None if found is None else self._checked(found, proof)

    async def opened(self, proof_id: str, envelope: Envelope) -> Logged | None:
        """What is kept about an envelope that has not been verified: only its times may be used.

        Raises:
            ProofError: What is kept does not verify.
            StorageError: The store failed.
        """
        found = await self._kept(proof_id)
        return None if found is None else self.log.check(found, envelope)

    async def _kept(self, proof_id: str) -> LogPart | None:
        return await self._kept_at(self.objects.layout.bundle(proof_id))

    async def _kept_at(self, key: str) -> LogPart | None:
        data = await self.objects.fetch(key, LARGEST_BUNDLE)
        if data is None:
            return None
        try:
            return parse_bundle(data).log
        except ProofError as error:
            error.key = error.key or key
            raise

    async def reconcile(self, *, deep: bool) -> AsyncGenerator[tuple[str, StorageError | None], None]:
        """Log whatever is not logged yet; yields the key of each with the error where that failed.

        Args:
            deep: Verify what is kept of the log, too, and not its name alone.

        Raises:
            StorageError: The store cannot be listed.
        """
        for prefix in self._kinds():
            async with aclosing(self._unlogged(prefix, deep=deep)) as keys:
                async for key, place in keys:
                    try:
                        logged = await self._log_again(key, place, deep=deep)
                    except StorageError as error:
                        error.key = error.key or key
                        yield key, error
                    else:
                        if logged:
                            yield key, None

    def _kinds(self) -> tuple[str, ...]:
        """The prefixes of what has to be in the log."""
        layout = self.objects.layout
        return layout.records, layout.statuses, layout.trust_stores

    async def _unlogged(self, prefix: str, *, deep: bool) -> AsyncGenerator[tuple[str, str], None]:
        """The keys of statements below a prefix, each with where the proof of the log is, or is missing."""
        layout = self.objects.layout
        shown = layout.shown_trust if prefix == layout.trust_stores else layout.bundles
        async with (
            aclosing(self._statements(prefix)) as needed,
            aclosing(_names(self.objects.ascending(shown), shown)) as there,
        ):
            at: str | None = await anext(there, None)
            async for name in needed:  # Both ascend.
                while at is not None and at < name:
                    at = await anext(there, None)
                if deep or at != name:
                    yield prefix + name, shown + name

    async def _statements(self, prefix: str) -> AsyncGenerator[str, None]:
        layout = self.objects.layout
        async with aclosing(_names(self.objects.ascending(prefix), prefix)) as names:
            async for name in names:
                key = prefix + name
                if (
                    layout.parse_record(key) is not None
                    or key.endswith((f"/{REVOKED}", f"/{ERASED}"))
                    or prefix == layout.trust_stores
                ):
                    yield name

    async def _log_again(self, key: str, place: str, *, deep: bool) -> bool:
        """Log one statement by its key, and return whether that was done.

        What is wrong with it, the log's admission says. What erased a proof lies where its revocation does
        too, and is one statement.
        """
        proof_id = self.objects.layout.parse_record(key)
        data = await (self.objects.fetch(key) if proof_id is None else self.objects.record(proof_id))
        if data is None:  # Removed since it was listed, or not a record yet.
            return False
        envelope = parse_envelope(data)
        if deep and await self._is_about(place, envelope):
            return False
        twin = key.removesuffix(REVOKED) + ERASED
        if key.endswith(f"/{REVOKED}") and await self.objects.fetch(twin) == data:
            shown = place.removesuffix(REVOKED) + ERASED
            part = await self._kept_at(shown) if await self._is_about(shown, envelope) else None
            if part is not None:
                await self._keep(place, envelope, part)
            return False
        await self._keep(place, envelope, await self.log.record(data))
        return True


async def _names(items: AsyncIterator[StorageItem], prefix: str) -> AsyncGenerator[str, None]:
    async for item in items:
        yield item.key.removeprefix(prefix)


def _pending(what: str, error: StorageError) -> LogPendingError:
    then = "reconcile() logs it" if error.retryable else "once that is mended, reconcile() logs it"
    return LogPendingError(
        f"{what}, but is not in the log yet: {error.message}; {then}",
        key=error.key,
        applied="yes",
        retryable=error.retryable,
    )


async def reconciled(logger: StoreLogger | None, *, deep: bool) -> ReconcileReport:
    """All of `reconcile` as a report.

    Raises:
        StorageConfigurationError: There is no log that may be written.
        StorageError: The store cannot be listed.
    """
    if logger is None or not logger.log.writes:
        raise StorageConfigurationError("open the store with log=ProofLog(…, sequencer=…) to log proofs")
    logged = 0
    failed: dict[str, StorageError] = {}
    async with aclosing(logger.reconcile(deep=deep)) as outcomes:
        async for key, error in outcomes:
            if error is None:
                logged += 1
            else:
                failed[key] = error
    return ReconcileReport(logged, failed)
