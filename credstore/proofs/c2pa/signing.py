"""Sign a manifest over an asset: into it, next to it, or elsewhere with its URL in it.

Rules of this file: what binds an asset is verified before anything is returned, and what came out is what is
hashed: embedding, a URL and some containers change the file. Provenance that an asset has is never removed
silently: signing over it is refused, or makes it the parent. No network, except a time stamp from the address
that the caller gives. Memory does not grow with an asset that is a file.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from credstore.concurrency import in_thread, until_done
from credstore.errors import StorageInvalidRequestError
from credstore.files import PendingFile
from credstore.model import Storable
from credstore.proofs.c2pa.codes import BOUND, an_object, objects
from credstore.proofs.c2pa.credentials import Asking, ManifestCredential
from credstore.proofs.c2pa.files import HeldAsset, digest_of, hold, temporary
from credstore.proofs.c2pa.native import Parent, Reading, read, require_library, sign, signing_settings
from credstore.proofs.format.manifest_links import LARGEST_MANIFEST, check_manifest_url, link_manifest
from credstore.proofs.format.record import AssetDigest, ManifestLink, ProofRecord
from credstore.threads import in_daemon

_GENERATOR = {"name": "credstore"}
_CREATED = "c2pa.created"


@dataclass(frozen=True, slots=True)
class SignedAsset:
    """An asset and the manifest that binds it: publish and prove THIS file, not the one that came in.

    Attributes:
        asset: The bytes that the manifest covers, or the path they were written to. They are the input's only
            without `embed`, `remote_url` and `rewrite`; else a proof of the input's digest would be about
            other bytes.
        digest: Digest and size of that file, for a proof.
        manifest: The manifest store; to be kept with the asset unless it is embedded.
        media_type: Of the asset.
        remote_url: The URL in the asset, where readers will look for the manifest; or None.
        embedded: Whether the manifest is in the asset.
        rewritten: Whether the file differs from the input in more than the manifest and its URL, because the
            library writes the container again: MP3, FLAC and PDF.
        parent: Whether the input's provenance is in the manifest, as its parent.
    """

    asset: bytes | Path = field(repr=False)
    digest: AssetDigest
    manifest: bytes = field(repr=False)
    media_type: str
    remote_url: str | None = None
    embedded: bool = False
    rewritten: bool = False
    parent: bool = False

    @property
    def link(self) -> ManifestLink:
        """What a proof says about `manifest`."""
        return link_manifest(self.manifest, self.remote_url)

    def bind(self, record: ProofRecord) -> ProofRecord:
        """The record about this asset with this manifest, whatever asset it was about before."""
        return replace(record, asset=self.digest, media_type=self.media_type, manifest=self.link)


async def sign_manifest(
    asset: Storable,
    media_type: str,
    *,
    definition: Mapping[str, Any],
    credential: ManifestCredential,
    embed: bool = False,
    remote_url: str | None = None,
    parent: bool = False,
    parent_manifest: bytes | None = None,
    rewrite: bool = False,
    timestamp_url: str | None = None,
    output: Path | None = None,
    thumbnail: bool = False,
) -> SignedAsset:
    """Make a manifest for an asset and sign it; it is verified once before this returns.

    Args:
        asset: Bytes, a path object, a binary file or an (async) iterable of bytes.
        media_type: Such as `image/jpeg`, without parameters.
        definition: C2PA's manifest definition: `title`, `assertions` and so on. Its first action must be
            `c2pa.created` (with a `digitalSourceType`); with a parent it is `c2pa.opened`, which is added.
        credential: Who signs.
        embed: Put the manifest into the asset. False leaves the asset as it is, and its manifest is found
            by the proof, by a file of the same name with `.c2pa`, or by a `Link` header.
        remote_url: Where the manifest will be for good; it is written into the asset.
        parent: The asset has provenance already, and is its own parent: the earlier manifests are kept in the
            new one as an ingredient `parentOf`. False refuses such an asset.
        parent_manifest: The asset's earlier manifest, where that is not in the asset; with `parent=True`.
        rewrite: Accept that the library writes the container again (MP3, FLAC, PDF), which changes the file
            although no manifest goes into it.
        timestamp_url: Address of an RFC 3161 authority, which learns the digest of the signature. The one
            request that this makes.
        output: Where to write the asset; replaced if it is there. None returns its bytes.
        thumbnail: Put a small picture of the asset into the manifest, about 30 kB.

    Returns:
        The file that is bound, and the manifest: about 12 kB, most of it padding.

    Raises:
        StorageInvalidRequestError: No manifest can be made: the asset does not parse; it has provenance and
            `parent` is not set; its container would be rewritten and `rewrite` is not set; the definition or
            URL breaks a rule; a certificate is expired or not for this use; the result has over 16 MiB.
        ProofSignatureError: The signer's signature does not verify with its own key.
        StorageConfigurationError: The extra `c2pa` is missing.
        Exception: What the signer raised.

    Cost: about 3 ms, and 50 ms more for the first call; for a path, temporary disk space of the asset's size.
    Cancellation: when the native code has returned; `output` is then as it was.
    """
    text = _definition(definition, parent=parent)
    _check_urls(remote_url, timestamp_url)
    if parent_manifest is not None and not parent:
        raise StorageInvalidRequestError("a parent_manifest needs parent=True")
    require_library()
    asking = Asking(credential, asyncio.get_running_loop())
    async with hold(asset) as held:
        before = await in_thread(read, held.file, media_type, None, None, "manifest")
        earlier = _earlier(before, media_type, parent=parent, manifest=parent_manifest)
        if earlier is not None and earlier.manifest is not None:
            await _check_parent(held, media_type, earlier.manifest)
        in_memory = isinstance(asset, (bytes, bytearray, memoryview))
        target: IO[bytes] = BytesIO() if in_memory else await in_thread(temporary)
        try:
            work = partial(
                sign,
                held.file,
                target,
                media_type,
                text,
                settings=signing_settings(thumbnail=thumbnail),
                credential=credential,
                asking=asking,
                embed=embed,
                remote_url=remote_url,
                parent=earlier,
                timestamp_url=timestamp_url,
            )
            manifest = await _answered(work, asking)
            changed = not embed and remote_url is None and await in_thread(digest_of, target) != held.digest
            link_manifest(manifest)
            if changed and not rewrite:
                raise _changed(media_type, earlier)
            await _check_result(target, media_type, None if embed else manifest)
            digest = await in_thread(digest_of, target)
            made: bytes | Path = await in_thread(_deliver, target, output)
        finally:
            await in_thread(target.close)
    return SignedAsset(
        made, digest, manifest, media_type, remote_url, embed, changed, parent=earlier is not None
    )


async def attach_manifest(
    record: ProofRecord,
    asset: Storable,
    *,
    definition: Mapping[str, Any],
    credential: ManifestCredential,
    put: Callable[[bytes], Awaitable[object]],
    remote_url: str | None = None,
    embed: bool = False,
    parent: bool = False,
    rewrite: bool = False,
    timestamp_url: str | None = None,
    output: Path | None = None,
    thumbnail: bool = False,
) -> tuple[ProofRecord, SignedAsset]:
    """Sign a manifest, store it, and bind the record to both: what is left is to issue the record.

    In this order no URL in an asset and no proof ever leads to a manifest that was not stored.

    Args:
        record: With its id, from which the URL was made, and a media type; its asset is replaced.
        asset: See `sign_manifest`.
        definition: See `sign_manifest`.
        credential: See `sign_manifest`.
        put: Stores the manifest where `remote_url` leads, such as `StorageProvider.store` with
            `hosting.manifest_options()`; what it raises, this raises.
        remote_url: See `sign_manifest`.
        embed: See `sign_manifest`.
        parent: See `sign_manifest`.
        rewrite: See `sign_manifest`.
        timestamp_url: See `sign_manifest`.
        output: See `sign_manifest`.
        thumbnail: See `sign_manifest`.

    Returns:
        The record to issue, and the asset to publish.

    Raises:
        StorageInvalidRequestError: The record has no media type; or see `sign_manifest`.
        ProofSignatureError: See `sign_manifest`.
        StorageConfigurationError: The extra `c2pa` is missing.
        Exception: What the signer or `put` raised.
    """
    if record.media_type is None:
        raise StorageInvalidRequestError("a manifest is made for an asset of a known media type")
    signed = await sign_manifest(
        asset,
        record.media_type,
        definition=definition,
        credential=credential,
        embed=embed,
        remote_url=remote_url,
        parent=parent,
        rewrite=rewrite,
        timestamp_url=timestamp_url,
        output=output,
        thumbnail=thumbnail,
    )
    bound = signed.bind(record)
    await put(signed.manifest)
    return bound, signed


def _changed(media_type: str, earlier: Parent | None) -> StorageInvalidRequestError:
    if earlier is None:
        return StorageInvalidRequestError(
            f"the library writes {media_type} again even without a manifest in it, so the file changes; "
            "rewrite=True returns the new file and binds that, embed=True puts the manifest into it"
        )
    return StorageInvalidRequestError(
        "the earlier manifest would be taken out of the file; rewrite=True returns the file without it and "
        "keeps it as the parent, embed=True puts both into the file"
    )


async def _answered(work: Callable[[], bytes], asking: Asking) -> bytes:
    """What the thread returns, or what the signer raised; when cancelled, after the thread has ended."""
    thread = in_daemon(work)  # It waits for the signer, who may need a thread of the pool.
    try:
        return await asyncio.shield(thread)
    except StorageInvalidRequestError:
        if asking.failure is not None:
            raise asking.failure from None
        raise
    except asyncio.CancelledError:
        asking.stop()
        await until_done([thread])
        if not thread.cancelled():
            thread.exception()  # Looked at: the cancellation is what the caller learns.
        raise
    finally:
        asking.stop()


def _definition(definition: Mapping[str, Any], *, parent: bool) -> str:
    try:
        text = json.dumps({"claim_generator_info": [_GENERATOR], **definition}, allow_nan=False)
        made = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        raise StorageInvalidRequestError("the definition of a manifest is a JSON object") from None
    if parent and _CREATED in _actions(made):
        # c2pa-rs 0.91 would write both, and every validator would refuse the manifest.
        raise StorageInvalidRequestError(
            f"an asset with a parent was opened, not created: leave {_CREATED} out of the definition"
        )
    return text


def _actions(definition: object) -> list[object]:
    return [
        action.get("action")
        for assertion in objects(an_object(definition).get("assertions"))
        for action in objects(an_object(assertion.get("data")).get("actions"))
    ]


def _check_urls(remote_url: str | None, timestamp_url: str | None) -> None:
    if remote_url is not None and set(check_manifest_url(remote_url)) & set("&'"):
        # c2pa-rs 0.91 escapes them for XMP and requests the URL as escaped: no reader would find it.
        raise StorageInvalidRequestError("a URL that is written into an asset has no & and no apostrophe")
    if timestamp_url is not None:
        try:
            parts = urlsplit(timestamp_url)
            sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and timestamp_url.isascii()
        except ValueError:
            sound = False
        if not sound:
            raise StorageInvalidRequestError("a time stamp authority has an address such as https://...")


def _earlier(before: Reading, media_type: str, *, parent: bool, manifest: bytes | None) -> Parent | None:
    """The provenance that an asset has, if it is to be the parent.

    Raises:
        StorageInvalidRequestError: It has some and is not to be the parent, or has none and is.
    """
    if before.found in {"absent", "unsupported"} and manifest is None:
        if parent:
            raise StorageInvalidRequestError("the asset has no manifest that could be the parent")
        return None
    if before.found == "unreadable":
        raise StorageInvalidRequestError(f"no manifest can be made for this: {before.words}")
    if not parent:
        where = "contains a manifest" if before.report else f"has a manifest at {before.remote_url}"
        raise StorageInvalidRequestError(
            f"the asset {where}, which signing would cut off; parent=True keeps it as the parent"
        )
    if before.found == "remote" and manifest is None:
        raise StorageInvalidRequestError(
            f"the asset's manifest is at {before.remote_url}; fetch it and give it as parent_manifest"
        )
    if manifest is not None and not 0 < len(manifest) <= LARGEST_MANIFEST:
        raise StorageInvalidRequestError(f"a manifest has 1 to {LARGEST_MANIFEST} bytes")
    return Parent(media_type, None if before.report else manifest)


async def _check_parent(held: HeldAsset, media_type: str, manifest: bytes) -> None:
    reading = await in_thread(read, held.file, media_type, manifest, None, "manifest")
    if not _is_bound(reading):
        raise StorageInvalidRequestError("the parent_manifest is not about this asset, or cannot be read")


async def _check_result(target: IO[bytes], media_type: str, manifest: bytes | None) -> None:
    """Refuse to hand out what does not verify."""
    reading = await in_thread(read, target, media_type, manifest, None, "manifest")
    if not _is_bound(reading):
        raise StorageInvalidRequestError(
            f"what was made does not verify: {reading.words or 'the manifest does not bind the asset'}"
        )


def _is_bound(reading: Reading) -> bool:
    if not reading.report:
        return False
    results = reading.report["validation_results"]["activeManifest"]
    failures = {each["code"] for each in results.get("failure", ())}
    bound = {each["code"] for each in results.get("success", ())} & BOUND
    return bool(bound) and not failures - {"signingCredential.untrusted"}


def _deliver(target: IO[bytes], output: Path | None) -> bytes | Path:
    target.seek(0)
    if output is None:
        return target.read()
    with ExitStack() as stack:
        try:
            file = stack.enter_context(PendingFile(output, replace=True))
            while chunk := target.read(1024 * 1024):
                file.write(chunk)
            file.publish()
        except OSError as error:
            raise StorageInvalidRequestError(
                f"cannot write {os.fspath(output)!r}: {error.strerror or error}"
            ) from None
    return output
