"""Proofs and manifests by soft binding and by manifest label, on any bucket and without a database.

Rules of this file: a name in the bucket is a hint that anyone with access may have planted. What it leads to
counts only if the record verifies and itself names the binding, or if the manifest has the label. Numbers of
names looked at are bounded. Names are written after the proof they lead to; `add` and `add_all` may be
repeated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass
from io import BytesIO
from typing import Unpack

from credstore.concurrency import in_thread, map_all
from credstore.errors import StorageInvalidRequestError, StorageNotFoundError
from credstore.model import Storable
from credstore.proofs.bindings.fingerprints import fingerprint_of
from credstore.proofs.bindings.names import (
    BODY,
    BindingNames,
    check_alg,
    decode_value,
    distance,
    is_fingerprint,
)
from credstore.proofs.c2pa.boxes import active_manifest
from credstore.proofs.c2pa.native import read
from credstore.proofs.format.errors import ProofError, ProofManifestError
from credstore.proofs.format.ids import is_proof_id
from credstore.proofs.format.manifest_links import MANIFEST_TYPE, manifest_options
from credstore.proofs.format.record import SoftBinding
from credstore.proofs.store.model import IssueOptions, Proof
from credstore.proofs.store.proof_store import ProofStore
from credstore.provider.provider import StorageProvider

NEAR = 40
"""Bits of 256 in which a copy may differ. Of unrelated pictures, one in many thousands is as near."""
_MOST_CANDIDATES = 200
_MOST_RESULTS = 100
_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class BindingMatch:
    """A proof that was found.

    Attributes:
        proof: It.
        label: Of its manifest, `urn:c2pa:...`; None if it has none.
        score: 0 to 100, 100 for the same value.
    """

    proof: Proof
    label: str | None
    score: int


class BindingIndex:
    """Finds proofs of a store by soft bindings; open and close the store yourself."""

    def __init__(self, store: ProofStore, *, prefix: str | None = None) -> None:
        """Look into a store.

        Args:
            store: Where the proofs are; its trust store decides which count.
            prefix: Leading part of the names; by default the store's own.
        """
        self.store = store
        self._provider: StorageProvider = store.provider
        self._names = BindingNames(store.prefix if prefix is None else prefix)

    async def issue(
        self, asset: Storable, *, bindings: Iterable[SoftBinding] = (), **options: Unpack[IssueOptions]
    ) -> Proof:
        """Issue a proof that is found again by what the picture looks like, and by further bindings.

        Args:
            asset: A picture of a type that `fingerprint_of` reads, given so that it can be read twice:
                bytes or a path object.
            bindings: Others, such as a watermark's id; values in base64.
            options: As `ProofStore.issue`.

        Raises:
            StorageInvalidRequestError: As `fingerprint_of` and `ProofStore.issue`.
            StorageError: As `ProofStore.issue`; or the proof was issued but not every name written: `add` it.
        """
        own = await fingerprint_of(asset)
        options["soft_bindings"] = (own, *bindings, *options.get("soft_bindings", ()))
        proof = await self.store.issue(asset, **options)
        await self.add(proof)
        return proof

    async def add(self, proof: Proof) -> None:
        """Write the names that lead to a proof; harmless to repeat.

        Args:
            proof: Issued, with soft bindings, a manifest, or both.

        Raises:
            StorageInvalidRequestError: A binding's value is not base64.
            StorageError: The store failed.

        Cost: 1 request for each binding, 16 more for a fingerprint, and 2 for a manifest.
        """
        prefixes: list[str] = []
        for binding in proof.record.soft_bindings:
            value = decode_value(binding.value)
            prefixes.append(self._names.exact(check_alg(binding.alg), value))
            prefixes += self._names.bands(binding.alg, value)
        if proof.record.manifest is not None:
            label = await self._label(proof)
            if label is not None:
                prefixes.append(self._names.manifest(label))

        async def write(prefix: str) -> None:
            key = f"{prefix}{proof.proof_id}"
            await self._provider.store(key, BODY, content_type="application/json", compress=False)

        await map_all(prefixes, write, at_once=_AT_ONCE)

    async def add_all(self) -> int:
        """Write the names of all valid proofs, for a store from before, or after a crash.

        Returns:
            The number of proofs.
        """
        count = 0
        async with aclosing(self.store.scan()) as outcomes:
            async for outcome in outcomes:
                if outcome.proof is not None and (
                    outcome.proof.record.soft_bindings or outcome.proof.record.manifest
                ):
                    await self.add(outcome.proof)
                    count += 1
        return count

    async def find(self, alg: str, value: str, *, most: int = 10) -> list[BindingMatch]:
        """Proofs with a binding, the most similar first.

        Args:
            alg: Name of the algorithm.
            value: In base64.
            most: Maximum number of matches, 1 to 100.

        Raises:
            StorageInvalidRequestError: Not a name or a value, or `most` out of range.
            StorageError: The store failed.

        Cost: 1 listing, 16 more for a fingerprint, and 2 requests for each candidate, up to 200.
        """
        wanted = decode_value(value)
        prefixes = [self._names.exact(check_alg(alg), wanted), *self._names.bands(alg, wanted)]
        if not 1 <= most <= _MOST_RESULTS:
            raise StorageInvalidRequestError(f"the number of matches is 1 to {_MOST_RESULTS}")

        async def judge(proof_id: str) -> BindingMatch | None:
            return await self._judge(proof_id, alg, wanted)

        judged = await map_all(await self._candidates(prefixes), judge, at_once=_AT_ONCE)
        found = [match for match in judged if match is not None]
        found.sort(key=lambda each: (-each.score, each.proof.proof_id))
        return found[:most]

    async def find_similar(self, asset: Storable, *, most: int = 10) -> list[BindingMatch]:
        """Proofs of pictures that look like this one.

        Raises:
            StorageInvalidRequestError: As `fingerprint_of` and `find`.
            StorageError: The store failed.
        """
        binding = await fingerprint_of(asset)
        return await self.find(binding.alg, binding.value, most=most)

    async def manifest(self, label: str, *, active_only: bool = False) -> bytes:
        """The manifest store whose active manifest has this label, of a valid proof.

        Args:
            label: Such as `urn:c2pa:...`.
            active_only: Leave out all other manifests, such as those of its ingredients, which are signed by
                others.

        Raises:
            StorageNotFoundError: There is none.
            ProofManifestError: The active manifest cannot be taken out.
            StorageError: The store failed.
        """
        for proof_id in await self._candidates([self._names.manifest(label)]):
            try:
                data = await self.store.get_manifest(proof_id)
            except ProofError:
                continue
            if await label_of(data) == label:
                return await _active(data, label) if active_only else data
        raise StorageNotFoundError("there is no manifest with this label")

    async def publish(self, proof: Proof, site: StorageProvider, *, prefix: str = "") -> str | None:
        """Put a proof's manifest where a CDN alone can serve it: at `manifests/<label>`.

        Args:
            proof: With a manifest.
            site: The bucket behind the CDN.
            prefix: Leading part of the keys there, "" or ending in a slash.

        Returns:
            The key, or None for a proof without a manifest that can be read.
        """
        if proof.record.manifest is None:
            return None
        data = await self.store.get_manifest(proof.proof_id)
        label = await label_of(data)
        if label is None:
            return None
        key = f"{prefix}manifests/{label}"
        await site.store(key, data, **manifest_options())
        return key

    async def _candidates(self, prefixes: list[str]) -> list[str]:
        """Ids behind these names: those behind most of them first, up to 200."""

        async def ids(prefix: str) -> list[str]:
            items = await self._provider.list(prefix, _MOST_CANDIDATES)
            return [item.key.removeprefix(prefix) for item in items]

        counts = Counter(each for found in await map_all(prefixes, ids, at_once=_AT_ONCE) for each in found)
        likeliest = sorted(counts, key=lambda each: (-counts[each], each))
        return [each for each in likeliest if is_proof_id(each)][:_MOST_CANDIDATES]

    async def _judge(self, proof_id: str, alg: str, wanted: bytes) -> BindingMatch | None:
        """What a name leads to, if its record verifies and says so itself."""
        try:
            proof = await self.store.get(proof_id)
        except ProofError:
            return None
        scores = [
            _score(alg, wanted, decode_value(each.value))
            for each in proof.record.soft_bindings
            if each.alg == alg
        ]
        best = max((score for score in scores if score is not None), default=None)
        return None if best is None else BindingMatch(proof, await self._label(proof), best)

    async def _label(self, proof: Proof) -> str | None:
        if proof.record.manifest is None or proof.record.manifest.media_type != MANIFEST_TYPE:
            return None
        try:
            return await label_of(await self.store.get_manifest(proof.proof_id))
        except ProofError:
            return None


async def _active(store: bytes, label: str) -> bytes:
    alone = active_manifest(store)
    if alone is not store and await label_of(alone) != label:
        raise ProofManifestError("the last manifest of this manifest store is not the active one")
    return alone


async def label_of(manifest: bytes) -> str | None:
    """The label of the active manifest in a manifest store, or None; nothing is verified."""
    reading = await in_thread(read, BytesIO(manifest), MANIFEST_TYPE, None, None, "manifest")
    return str(reading.report["active_manifest"]) if reading.report else None


def _score(alg: str, wanted: bytes, value: bytes) -> int | None:
    if wanted == value:
        return 100
    if not is_fingerprint(alg, wanted) or not is_fingerprint(alg, value):
        return None
    bits = distance(wanted, value)
    return None if bits > NEAR else round(100 * (1 - bits / 256))
