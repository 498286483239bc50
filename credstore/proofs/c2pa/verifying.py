"""Verify what an asset carries: an embedded manifest, one that is kept with it, or one that it names.

Rules of this file: nothing is fetched unless the caller gives a function that fetches, and then only the URL
in the asset, once, up to 16 MiB. A verdict is always about a manifest with its asset. Only "trusted" counts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import IO, TypeAlias

from credstore.concurrency import in_thread
from credstore.errors import StorageInvalidRequestError
from credstore.model import Storable
from credstore.proofs.c2pa.files import HeldAsset, hold
from credstore.proofs.c2pa.judging import Readings, judge, needs_both
from credstore.proofs.c2pa.native import Reading, read, require_library
from credstore.proofs.c2pa.trust import C2paTrust, TrustList, merge
from credstore.proofs.c2pa.verdict import C2paVerdict, Ingredients, Place
from credstore.proofs.format.errors import ProofManifestError
from credstore.proofs.format.manifest_links import LARGEST_MANIFEST, link_manifest
from credstore.proofs.format.record import ProofRecord
from credstore.proofs.format.verify import check_asset

Fetch: TypeAlias = Callable[[str], Awaitable[bytes | None]]
"""Fetches a manifest from a URL that an asset names; None where there is none."""


async def examine_manifests(
    asset: Storable,
    *,
    trust: C2paTrust,
    manifest: bytes | None = None,
    media_type: str = "",
    ingredients: Ingredients = "any",
    fetch: Fetch | None = None,
    now: datetime | None = None,
) -> C2paVerdict:
    """Find out what an asset's manifests prove; whatever is in the files, the verdict says it.

    Args:
        asset: Bytes, a path object, a binary file or an (async) iterable of bytes, of any length.
        trust: The verifier's lists.
        manifest: A manifest store that is kept with the asset, up to 16 MiB; what is in the asset is then
            ignored. None looks into the asset.
        media_type: Only a hint where the first bytes show the type, which SVG's do not.
        ingredients: "any" accepts ingredients of any signer, as long as they did not change since; "trusted"
            requires of each a manifest that verifies, by a signer on the list.
        fetch: Fetches a manifest from the URL in the asset; its host learns that the file is being checked.
            None fetches nothing.
        now: The verifier's clock, with a time zone; by default the time now.

    Returns:
        See `C2paVerdict`; `require()` raises for every state but "trusted".

    Raises:
        StorageInvalidRequestError: The asset cannot be read, or changed while it was read.
        StorageConfigurationError: The extra `c2pa` is missing.
        Exception: What `fetch` or the asset's own stream raised.

    Cost: the asset is read twice for each kind of list, in threads; memory does not grow with it.
    """
    async with hold(asset) as held:
        return await _examine(
            held,
            trust=trust,
            manifest=manifest,
            media_type=media_type,
            ingredients=ingredients,
            fetch=fetch,
            now=now,
        )


async def _examine(
    held: HeldAsset,
    *,
    trust: C2paTrust,
    manifest: bytes | None,
    media_type: str,
    ingredients: Ingredients = "any",
    fetch: Fetch | None = None,
    now: datetime | None = None,
) -> C2paVerdict:
    require_library()
    clock = datetime.now(UTC) if now is None else now
    if clock.tzinfo is None:
        raise StorageInvalidRequestError("`now` has a time zone")
    if manifest is not None and not 0 < len(manifest) <= LARGEST_MANIFEST:
        raise ProofManifestError(
            f"a manifest has 1 to {LARGEST_MANIFEST} bytes, but this one has {len(manifest)}"
        )
    place: Place | None = None if manifest is None else "sidecar"
    signers = merge(trust.signers)
    first = await in_thread(read, held.file, media_type, manifest, signers, "manifest")
    url = first.remote_url
    if first.found == "remote" and not first.report and url is not None and fetch is not None:
        manifest = await fetch(url)
        if manifest is None or not 0 < len(manifest) <= LARGEST_MANIFEST:
            first = replace(first, words="there is no manifest of 1 byte to 16 MiB at that address")
        else:
            place = "remote"
            first = await in_thread(read, held.file, media_type, manifest, signers, "manifest")
    if place is None and first.report:
        place = "embedded" if first.found == "embedded" else "remote"
    readings = await in_thread(_read_rest, held.file, media_type, manifest, first, trust)
    return judge(
        readings,
        trust=trust,
        ingredients=ingredients,
        digest=held.digest,
        now=clock,
        place=place,
        remote_url=url,
    )


async def verify_manifest(
    asset: Storable,
    manifest: bytes | None = None,
    *,
    media_type: str = "",
    trust_anchors: bytes | None = None,
    trust: C2paTrust | None = None,
    ingredients: Ingredients = "any",
) -> C2paVerdict:
    """Verify an asset's manifest and raise unless it is trusted; nothing is fetched.

    Args:
        asset: See `examine_manifests`.
        manifest: The manifest store, if it is not in the asset; a manifest or URL in the asset is then
            ignored.
        media_type: See `examine_manifests`.
        trust_anchors: Certificates of the authorities trusted for claim signers, in PEM. This or `trust`.
        trust: The verifier's lists.
        ingredients: See `examine_manifests`.

    Returns:
        A verdict with the state "trusted".

    Raises:
        ProofUntrustedKeyError: Signed, but by no one the lists vouch for.
        ProofKeyExpiredError: The certificate is not valid now and no trusted stamp attests an earlier time.
        ProofKeyRevokedError: The manifest itself carries the response that its certificate was revoked.
        ProofAssetMismatchError: Another asset, or a changed one.
        ProofManifestError: Not a manifest, a changed one, too large, or one that does not bind the asset.
        StorageInvalidRequestError: The asset cannot be read, or neither or both of the anchors are given.
        StorageConfigurationError: The anchors do not load, or the extra `c2pa` is missing.

    Cost: about 2 ms, and 50 ms more for the first call. No network.
    Cancellation: when the native code has returned.
    """
    lists = _lists(trust_anchors, trust)
    verdict = await examine_manifests(
        asset, trust=lists, manifest=manifest, media_type=media_type, ingredients=ingredients
    )
    return verdict.require()


async def verify_bound_manifest(
    record: ProofRecord,
    asset: Storable,
    manifest: bytes,
    *,
    trust_anchors: bytes | None = None,
    trust: C2paTrust | None = None,
) -> C2paVerdict:
    """Verify that asset and manifest are those of a verified record, then the manifest itself.

    Raises:
        ProofAssetMismatchError: An asset other than the proof's.
        ProofManifestError: The proof names no manifest or a different one; or see `verify_manifest`.
        ProofError: See `verify_manifest`.
        StorageConfigurationError: See `verify_manifest`.
    """
    lists = _lists(trust_anchors, trust)
    async with hold(asset) as held:
        check_asset(record, held.digest)
        check_named(record, manifest)
        verdict = await _examine(held, trust=lists, manifest=manifest, media_type=record.media_type or "")
    return verdict.require()


def check_named(record: ProofRecord, manifest: bytes) -> None:
    """Refuse a manifest other than the one that a proof names.

    Raises:
        ProofManifestError: The proof names none, or another.
    """
    named = record.manifest
    if named is None:
        raise ProofManifestError("the proof does not name a manifest")
    if not manifest or len(manifest) > LARGEST_MANIFEST or len(manifest) != named.size:
        raise ProofManifestError(
            f"the manifest has {len(manifest)} bytes, but the one proved has {named.size}"
        )
    if link_manifest(manifest).sha256 != named.sha256:
        raise ProofManifestError("the manifest is not the one that the proof names")


def _lists(anchors: bytes | None, trust: C2paTrust | None) -> C2paTrust:
    if (trust is None) == (anchors is None):
        raise StorageInvalidRequestError("give either trust_anchors or trust")
    if trust is not None:
        return trust
    return C2paTrust(signers=(TrustList.from_pem(anchors or b"", name="trust_anchors"),))


def _read_rest(
    file: IO[bytes], media_type: str, manifest: bytes | None, first: Reading, trust: C2paTrust
) -> Readings:
    """The readings with the other lists; blocks."""
    if not first.report:
        return Readings(first)
    times = merge(trust.timestamps)
    identities = merge(trust.identities)
    by_times = None if times is None else read(file, media_type, manifest, times, "tsa")
    by_identities = None if identities is None else read(file, media_type, manifest, identities, "cawg")
    both = alone = None
    signers = merge(trust.signers)
    if times is not None and signers is not None and needs_both(first, by_times):
        union = merge((*trust.signers, *trust.timestamps))
        both = read(file, media_type, manifest, union, "manifest")
        only = times.without(signers)
        alone = None if only is None else read(file, media_type, manifest, only, "manifest")
    return Readings(first, by_times, by_identities, both, alone)
