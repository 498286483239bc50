"""Trust stores that are published next to the proofs: signed by a pinned root key, one for each version.

Rules of this file: what is found counts only if `verify_trust_store` accepts it; a version is written once.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from credstore.errors import StorageAlreadyExistsError
from credstore.proofs.format.dsse import (
    ENVELOPE_TYPE,
    Envelope,
    encode_envelope,
    parse_envelope,
    seal_payload,
)
from credstore.proofs.format.errors import ProofConflictError, ProofError
from credstore.proofs.format.signing import Signer
from credstore.proofs.format.trust import TrustStore
from credstore.proofs.format.trust_publication import encode_trust_statement, verify_trust_store
from credstore.proofs.store.repository import IMMUTABLE, ProofObjects
from credstore.provider.call import Call

MOST_VERSIONS = 64
"""Published versions that are looked at, the newest ones."""


@dataclass(frozen=True, slots=True)
class PublishedTrust:
    """The published trust stores of one proof store.

    Attributes:
        objects: The store's objects.
        pinned: The trust store that the client has.
    """

    objects: ProofObjects
    pinned: TrustStore

    async def publish(self, trust: TrustStore, signer: Signer, call: Call) -> Envelope:
        """Sign a trust store and write it; see `ProofStore.publish_trust`."""
        payload = encode_trust_statement(trust)
        with call.outside():
            envelope = await seal_payload(payload, (signer,))
        # What readers who pin the present one would refuse is not written.
        verify_trust_store(envelope, self.pinned, now=self.objects.clock())
        key, data = self.objects.layout.trust_store(trust.version), encode_envelope(envelope)
        try:
            await self.objects.provider.store(
                key,
                data,
                content_type=ENVELOPE_TYPE,
                cache_control=IMMUTABLE,
                compress=False,
                if_absent=self.objects.conditional,
            )
        except StorageAlreadyExistsError:
            stored = await self.objects.fetch(key)
            # Signatures of some schemes are another each time.
            if stored is None or parse_envelope(stored).payload != payload:
                raise ProofConflictError(
                    f"version {trust.version} of the trust store was published before and says something else"
                ) from None
        return envelope

    async def newest(self) -> TrustStore:
        """The newest trust store that a pinned root key has signed; the pinned one where there is none."""
        prefix = self.objects.layout.trust_stores
        names = [item.key async for item in self.objects.scan(prefix)]
        for key in sorted(names, reverse=True)[:MOST_VERSIONS]:
            data = await self.objects.fetch(key)
            if data is None:
                continue
            with suppress(ProofError):  # Anyone who may write here may plant one.
                return verify_trust_store(data, self.pinned, now=self.objects.clock())
        return self.pinned
