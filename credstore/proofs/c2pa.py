"""C2PA manifests: sign one over an asset, verify one with its asset. Needs extra `c2pa`; its only importer.

Rules of this file: nothing here reaches a network, since an asset may name any URL and the library's defaults
would fetch it; the settings forbid that on every call. The library ignores names of settings that it does not
know, so a test changes each one and checks that it matters (`tests/proofs/test_c2pa_settings.py`). A verdict
is always about a manifest with its asset, and only `Trusted` counts: `Valid` may be signed by anyone. Most of
a manifest is padding that no signature covers, so bytes of it can change and it still verifies: the digest in
the proof is what fixes its bytes. The native code is called in threads. Source: C2PA 2.x, sections on
validation and on hard bindings.
"""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any, Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from credstore.encryption import Secret
from credstore.errors import StorageConfigurationError, StorageInvalidRequestError
from credstore.extras import missing_extra
from credstore.proofs.format.errors import (
    ProofAssetMismatchError,
    ProofError,
    ProofKeyExpiredError,
    ProofKeyRevokedError,
    ProofManifestError,
    ProofSignatureError,
    ProofUntrustedKeyError,
)
from credstore.proofs.format.manifest_links import LARGEST_MANIFEST, check_manifest_url, link_manifest
from credstore.proofs.format.record import AssetDigest, ManifestLink, ProofRecord
from credstore.proofs.format.signing import LocalSigner, Signer
from credstore.proofs.format.verify import check_asset

# What a signing certificate must be for: emailProtection (RFC 5280), or C2PA's own claim signing.
_PURPOSES = "1.3.6.1.5.5.7.3.4\n1.3.6.1.4.1.62558.2.1"
_OFFLINE = {"remote_manifest_fetch": False, "ocsp_fetch": False}
_ALGORITHMS = {"ed25519": "ED25519", "ecdsa-p256-sha256": "ES256"}
_COORDINATE = 32
_GENERATOR = {"name": "credstore"}
_HARD_BINDINGS = ("dataHash", "bmffHash", "boxesHash", "collectionHash")
_BOUND = frozenset(f"assertion.{each}.match" for each in _HARD_BINDINGS)
# The order in which causes are reported. An expired certificate is also reported as untrusted; and whoever is
# not trusted is not believed about the asset.
_CAUSES: tuple[tuple[frozenset[str], type[ProofError], str], ...] = (
    (
        frozenset({"signingCredential.expired", "claimSignature.outsideValidity"}),
        ProofKeyExpiredError,
        "the certificate that signed the manifest is not valid at this time, and no timestamp is older",
    ),
    (
        frozenset({"signingCredential.untrusted"}),
        ProofUntrustedKeyError,
        "the certificate that signed the manifest does not lead to a trust anchor",
    ),
    (
        frozenset({"signingCredential.revoked", "signingCredential.ocsp.revoked"}),
        ProofKeyRevokedError,
        "the certificate that signed the manifest is revoked",
    ),
    (
        frozenset(f"assertion.{each}.mismatch" for each in _HARD_BINDINGS),
        ProofAssetMismatchError,
        "the manifest belongs to another asset, or the asset was changed",
    ),
)
_KNOWN = frozenset[str]().union(*(codes for codes, _, _ in _CAUSES))


class ManifestCredential:
    """Who signs manifests: a certificate chain, and the signer for the key in its first certificate.

    The key is Ed25519 or on P-256. Its certificate has key usage digitalSignature, extended key usage
    emailProtection or C2PA's claim signing, key identifiers of subject and authority, and is not a CA's.
    """

    __slots__ = ("chain", "signer")

    def __init__(self, chain: bytes, signer: Signer) -> None:
        """Take certificates in PEM, that of the key first, and whoever signs.

        Args:
            chain: The key's certificate, then those that lead towards a trust anchor.
            signer: Local, or asynchronous for a key in a KMS; it gets COSE's `Sig_structure` where it gets
                a PAE otherwise, and returns the same form.

        Raises:
            StorageConfigurationError: No certificate, or the first is not for the signer's key.
            StorageInvalidRequestError: A scheme that manifests are not signed with.
        """
        if signer.public_key.scheme not in _ALGORITHMS:
            raise StorageInvalidRequestError(
                f"manifests are signed with {' or '.join(_ALGORITHMS)}, not {signer.public_key.scheme}"
            )
        try:
            key = _read_certificates(chain)[0].public_key()
            spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        except (ValueError, UnsupportedAlgorithm):
            raise StorageConfigurationError("the first certificate has no key that can be read") from None
        if spki != signer.public_key.spki:
            raise StorageConfigurationError("the first certificate is not that of the signer's key")
        self.chain = bytes(chain)
        self.signer = signer

    @classmethod
    def from_pem(
        cls, chain: bytes, private_key: Secret, *, password: Secret | None = None
    ) -> ManifestCredential:
        """Take certificates and a private key (PKCS #8), all in PEM.

        Raises:
            StorageConfigurationError: One of them does not load, or they do not belong together.
            ProofAlgorithmError: The key is neither Ed25519 nor on P-256.
        """
        return cls(chain, LocalSigner.from_pem(private_key.reveal().encode(), password))

    def __repr__(self) -> str:
        return f"ManifestCredential(keyid={self.signer.public_key.keyid!r})"


@dataclass(frozen=True, slots=True)
class SignedAsset:
    """An asset and the manifest that binds it: publish, hash and prove THESE bytes, not those that came in.

    Attributes:
        asset: The bytes that the manifest covers. With `remote_url` they are not the input: the URL is
            written into the asset, and a proof of the input's digest would be about other bytes.
        manifest: The manifest store, to be kept with the asset.
        media_type: Of the asset.
        remote_url: The URL in the asset, where readers will look for the manifest; or None.
    """

    asset: bytes = field(repr=False)
    manifest: bytes = field(repr=False)
    media_type: str
    remote_url: str | None = None

    @property
    def digest(self) -> AssetDigest:
        """Digest and size of `asset`, for a proof."""
        return AssetDigest.of(self.asset)

    @property
    def link(self) -> ManifestLink:
        """What a proof says about `manifest`."""
        return link_manifest(self.manifest, self.remote_url)

    def bind(self, record: ProofRecord) -> ProofRecord:
        """The record about this asset with this manifest, whatever asset it was about before."""
        return replace(record, asset=self.digest, media_type=self.media_type, manifest=self.link)


@dataclass(frozen=True, slots=True)
class C2paReport:
    """A manifest that verified with its asset.

    Attributes:
        state: Always "Trusted"; anything less is raised.
        signer: Common name in the signing certificate, or None.
        organization: Organization in it, or None.
        serial_number: Of the certificate, decimal, or None.
        algorithm: Such as "Es256" or "Ed25519", in C2PA's words.
        label: Label of the active manifest, `urn:c2pa:...`.
        title: What the manifest calls the asset, or None.
        manifest: The active manifest as c2pa-rs reports it. Not to be changed.
    """

    state: Literal["Trusted"]
    signer: str | None
    organization: str | None
    serial_number: str | None
    algorithm: str | None
    label: str
    title: str | None
    manifest: Mapping[str, Any] = field(repr=False, hash=False)


async def sign_manifest(
    asset: bytes,
    media_type: str,
    *,
    definition: Mapping[str, Any],
    credential: ManifestCredential,
    remote_url: str | None = None,
    thumbnail: bool = False,
) -> SignedAsset:
    """Make a manifest for an asset and sign it; it is verified once before this returns.

    Args:
        asset: All its bytes.
        media_type: Such as `image/jpeg`.
        definition: C2PA's manifest definition: `title`, `assertions` and so on. Its first action must be
            `c2pa.created` (with a `digitalSourceType`) or `c2pa.opened`.
        credential: Who signs.
        remote_url: Where the manifest will be for good; it is written into the asset. None leaves the asset
            as it is, and its manifest is found by the proof or by a `Link` header.
        thumbnail: Put a small picture of the asset into the manifest, about 30 kB.

    Returns:
        The bytes that are bound, and the manifest: about 12 kB, most of it padding.

    Raises:
        StorageInvalidRequestError: No manifest can be made: the asset does not parse or, without
            `remote_url`, already contains a manifest; the definition or URL breaks a rule; a certificate is
            expired or not for this use; the result has over 16 MiB.
        ProofSignatureError: The signer's signature does not verify with its own key.
        StorageConfigurationError: The extra `c2pa` is missing.
        Exception: What the signer raised.

    Cost: about 1.5 ms, and 50 ms more for the first call; memory for the asset twice. No network.
    Cancellation: immediate; a call under way in the native code ends by itself.
    """
    if remote_url is not None and set(check_manifest_url(remote_url)) & set("&'"):
        # c2pa-rs 0.91 escapes them for XMP and requests the URL as escaped: no reader would find it.
        raise StorageInvalidRequestError("a URL that is written into an asset has no & and no apostrophe")
    try:
        text = json.dumps({"claim_generator_info": [_GENERATOR], **definition}, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise StorageInvalidRequestError("the definition of a manifest is a JSON object") from None
    asking = _Asking(credential.signer, asyncio.get_running_loop())
    try:
        signed = await asyncio.to_thread(
            _sign,
            asset,
            media_type,
            text,
            settings=_signing_settings(thumbnail=thumbnail),
            credential=credential,
            remote_url=remote_url,
            asking=asking,
        )
    except StorageInvalidRequestError:
        if asking.failure is not None:
            raise asking.failure from None
        raise
    finally:
        asking.stop()
    if remote_url is None and signed.asset != asset:
        # c2pa-rs removes a manifest from the asset even when it is not to embed one.
        raise StorageInvalidRequestError(
            "the asset contains a manifest, which signing would remove; strip it first or give a remote_url"
        )
    link_manifest(signed.manifest)
    return signed


async def attach_manifest(
    record: ProofRecord,
    asset: bytes,
    *,
    definition: Mapping[str, Any],
    credential: ManifestCredential,
    put: Callable[[bytes], Awaitable[object]],
    remote_url: str | None = None,
    thumbnail: bool = False,
) -> tuple[ProofRecord, SignedAsset]:
    """Sign a manifest, store it, and bind the record to both: what is left is to issue the record.

    In this order no URL in an asset and no proof ever leads to a manifest that was not stored.

    Args:
        record: With its id, from which the URL was made, and a media type; its asset is replaced.
        asset: All bytes of the asset.
        definition: See `sign_manifest`.
        credential: See `sign_manifest`.
        put: Stores the manifest where `remote_url` leads, such as `StorageProvider.store` with
            `hosting.manifest_options()`; what it raises, this raises.
        remote_url: See `sign_manifest`.
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
        remote_url=remote_url,
        thumbnail=thumbnail,
    )
    bound = signed.bind(record)
    await put(signed.manifest)
    return bound, signed


async def verify_manifest(
    asset: bytes, manifest: bytes, *, media_type: str, trust_anchors: bytes
) -> C2paReport:
    """Verify a manifest with the asset it is about; a manifest or URL inside the asset is ignored.

    Args:
        asset: All bytes of the asset.
        manifest: The manifest store, up to 16 MiB.
        media_type: Of the asset; only a hint where its first bytes show it. c2pa-python before 0.38 needs it.
        trust_anchors: Certificates of the authorities trusted, in PEM, from the verifier's own settings.

    Raises:
        ProofUntrustedKeyError: Signed, but by no one the anchors vouch for.
        ProofKeyExpiredError: The certificate is not valid now and no timestamp attests an earlier time.
        ProofKeyRevokedError: The manifest itself carries the response that its certificate was revoked.
        ProofAssetMismatchError: Another asset, or a changed one.
        ProofManifestError: Not a manifest, a changed one, too large, or one that does not bind the asset.
        StorageConfigurationError: The anchors do not load, or the extra `c2pa` is missing.

    Cost: about 1.5 ms, and 50 ms more for the first call. No network.
    Cancellation: immediate; a call under way in the native code ends by itself.
    """
    if not 0 < len(manifest) <= LARGEST_MANIFEST:
        raise ProofManifestError(
            f"a manifest has 1 to {LARGEST_MANIFEST} bytes, but this one has {len(manifest)}"
        )
    _read_certificates(trust_anchors)
    return await asyncio.to_thread(_verify, asset, bytes(manifest), media_type, trust_anchors)


async def verify_bound_manifest(
    record: ProofRecord, asset: bytes, manifest: bytes, *, trust_anchors: bytes
) -> C2paReport:
    """Verify that asset and manifest are those of a verified record, then the manifest itself.

    Raises:
        ProofAssetMismatchError: An asset other than the proof's.
        ProofManifestError: The proof names no manifest or a different one; or see `verify_manifest`.
        ProofError: See `verify_manifest`.
        StorageConfigurationError: See `verify_manifest`.
    """
    check_asset(record, AssetDigest.of(asset))
    named = record.manifest
    if named is None:
        raise ProofManifestError("the proof does not name a manifest")
    if not manifest or len(manifest) > LARGEST_MANIFEST or len(manifest) != named.size:
        raise ProofManifestError(
            f"the manifest has {len(manifest)} bytes, but the one proved has {named.size}"
        )
    if link_manifest(manifest).sha256 != named.sha256:
        raise ProofManifestError("the manifest is not the one that the proof names")
    return await verify_manifest(
        asset, manifest, media_type=record.media_type or "", trust_anchors=trust_anchors
    )


class _Asking:
    """Asks the signer, on its event loop, from the thread of the native code; keeps what goes wrong."""

    def __init__(self, signer: Signer, loop: asyncio.AbstractEventLoop) -> None:
        self._signer = signer
        self._loop = loop
        self._pending: Future[bytes] | None = None
        self._stopped = False
        self.failure: Exception | None = None

    def __call__(self, message: bytes) -> bytes:
        """The raw signature; empty, which the native code refuses, when there is none."""
        if self._stopped:
            return b""
        try:
            pending = self._pending = asyncio.run_coroutine_threadsafe(self._sign(message), self._loop)
            # `stop` sets one and reads the other, this does it the other way round: one of the two sees both.
            if self._stopped:
                pending.cancel()
            return pending.result()
        except Exception as error:  # noqa: BLE001 - the library would log it and forget it; `sign_manifest` raises it
            self.failure = error
            return b""

    async def _sign(self, message: bytes) -> bytes:
        key = self._signer.public_key
        sig = bytes(await self._signer.sign(message))
        if not key.is_signature(sig, message):
            raise ProofSignatureError(f"the signer's signature does not verify with its own key {key.keyid}")
        if key.scheme == "ed25519":
            return sig
        # COSE (RFC 9053 section 2.1) wants raw r and s, but a signer returns DER.
        return b"".join(number.to_bytes(_COORDINATE, "big") for number in utils.decode_dss_signature(sig))

    def stop(self) -> None:
        """Leave nothing under way when the caller was cancelled."""
        self._stopped = True
        if self._pending is not None:
            self._pending.cancel()


def _signing_settings(*, thumbnail: bool) -> dict[str, Any]:
    return {
        "verify": _OFFLINE,
        "trust": {"trust_config": _PURPOSES},
        "builder": {"thumbnail": {"enabled": thumbnail}},
    }


def _verifying_settings(anchors: bytes) -> dict[str, Any]:
    return {
        "verify": {**_OFFLINE, "verify_trust": True},
        "trust": {"trust_anchors": anchors.decode(), "trust_config": _PURPOSES},
    }


def _require_library() -> None:
    try:
        importlib.import_module("c2pa")
    except (ImportError, OSError, RuntimeError) as error:
        # The last two: the package is there but its native library does not load.
        raise missing_extra("c2pa", "C2PA manifests need") from error


def _sign(
    asset: bytes,
    media_type: str,
    definition: str,
    *,
    settings: dict[str, Any],
    credential: ManifestCredential,
    remote_url: str | None,
    asking: _Asking,
) -> SignedAsset:
    _require_library()
    import c2pa

    algorithm = c2pa.C2paSigningAlg[_ALGORITHMS[credential.signer.public_key.scheme]]
    output = BytesIO()
    try:
        with (
            c2pa.Context.from_dict(settings) as context,
            c2pa.Builder(definition, context) as builder,
            c2pa.Signer.from_callback(asking, algorithm, credential.chain.decode(), None) as signer,
        ):
            builder.set_no_embed()
            if remote_url is not None:
                builder.set_remote_url(remote_url)
            manifest = builder.sign(signer, media_type, BytesIO(asset), output)
    except Exception as error:
        # The library's message is about the caller's own asset, definition and certificates.
        words = " ".join(str(error).split())[:300]
        raise StorageInvalidRequestError(f"no manifest can be made for this: {words}") from error
    return SignedAsset(output.getvalue(), manifest, media_type, remote_url)


def _verify(asset: bytes, manifest: bytes, media_type: str, anchors: bytes) -> C2paReport:
    _require_library()
    import c2pa

    try:
        with (
            c2pa.Context.from_dict(_verifying_settings(anchors)) as context,
            c2pa.Reader(media_type, BytesIO(asset), manifest, context) as reader,
        ):
            document = json.loads(reader.json())
        results = document["validation_results"]["activeManifest"]
        failures = frozenset(each["code"] for each in results["failure"])
        successes = frozenset(each["code"] for each in results["success"])
        report = _report(document)
    except Exception as error:
        # The parser raises many kinds; none of them may become a verdict.
        raise ProofManifestError(f"the manifest cannot be read: {type(error).__name__}") from error
    _refuse(document.get("validation_state"), failures, successes)
    return report


def _report(document: dict[str, Any]) -> C2paReport:
    label = document["active_manifest"]
    manifest = document["manifests"][label]
    info = manifest["signature_info"]
    return C2paReport(
        state="Trusted",
        signer=info.get("common_name"),
        organization=info.get("issuer"),
        serial_number=info.get("cert_serial_number"),
        algorithm=info.get("alg"),
        label=label,
        title=manifest.get("title"),
        manifest=manifest,
    )


def _refuse(state: object, failures: frozenset[str], successes: frozenset[str]) -> None:
    """Raise for every verdict but one."""
    if state == "Trusted" and not failures and successes & _BOUND:
        return
    if failures <= _KNOWN:
        for codes, kind, text in _CAUSES:
            if failures & codes:
                raise kind(text)
    # Codes are terms of the specification; anything else that a manifest could put there is not repeated.
    named = ", ".join(sorted(each for each in failures if each.isascii() and each.replace(".", "").isalnum()))
    raise ProofManifestError(f"the manifest does not verify: {named or 'it does not bind the asset'}")


def _read_certificates(pem: bytes) -> list[x509.Certificate]:
    try:
        pem.decode("ascii")
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise StorageConfigurationError("these are not certificates in PEM") from None
