"""The verbs of a `ProofStore` about its log and its published trust stores."""

from __future__ import annotations

from credstore.arguments import typed
from credstore.proofs.format.signing import Signer
from credstore.proofs.format.trust import TrustStore
from credstore.proofs.store.logging import StoreLogger, reconciled
from credstore.proofs.store.model import ReconcileReport
from credstore.proofs.store.trust_stores import PublishedTrust
from credstore.provider.call import Call, Lifetime
from credstore.provider.validation import check_flag


class LogVerbs:
    """The verbs of a `ProofStore` about what it signs for others to see."""

    _lifetime: Lifetime
    _logger: StoreLogger | None
    _published: PublishedTrust

    async def reconcile(self, *, deep: bool = False) -> ReconcileReport:
        """Log whatever was issued, revoked or erased and is not logged yet, as after a crash.

        Args:
            deep: Also verify what is kept of the log, and replace what is damaged or was planted.

        Raises:
            StorageConfigurationError: The store was opened without a log that it may write.
            StorageError: The store cannot be listed; errors of single statements are in the report.

        Cost: 1 request per 1,000 objects, 3 for each statement that is logged, and those of the log;
            with `deep` 2 for each statement there is.
        """
        check_flag("deep", deep)
        with Call(self._lifetime, "proof.reconcile", None, mutation=True) as call:
            report = await reconciled(self._logger, deep=deep)
            call.attributes.update(logged=report.logged, failed=len(report.failed))
            return report

    @typed
    async def publish_trust(self, trust: TrustStore, *, signer: Signer) -> None:
        """Publish a trust store next to the proofs, and log it; clients that pin its root key find it.

        Args:
            trust: With a larger version than the one of this store.
            signer: A key of usage `root` in the trust store that clients have.

        Raises:
            ProofUntrustedKeyError: The signer is not such a key; nothing was written.
            ProofConflictError: Not a larger version, or this version says something else already.
            LogError: The log is another one than the store's settings say, forked, or was restored; nothing
                was signed, and retrying does not help.
            LogPendingError: It is published, and not logged.
            StorageError: The store failed.

        Cost: 1 request, and those of the log.
        """
        with Call(self._lifetime, "proof.publish_trust", None, mutation=True) as call:
            if self._logger is not None:
                await self._logger.ready()
            envelope = await self._published.publish(trust, signer, call)
            if self._logger is not None:
                await self._logger.published(trust.version, envelope)

    async def newest_trust(self) -> TrustStore:
        """The newest published trust store that a `root` key of this store's has signed, else this store's.

        Keep it where the present one is kept, and open the store with it: then older ones are refused.

        Raises:
            StorageError: The store failed.

        Cost: 2 requests.
        """
        with Call(self._lifetime, "proof.newest_trust", None):
            return await self._published.newest()
