"""C2PA: manifests of real images, signed, hosted, read back and bound to a proof; and what is refused.

`vectors/c2pa_expired.json` has a manifest (zlib, base64) over `asset` whose certificate was valid for four
seconds, and the root that vouched for it. Its keys are gone.
"""

import asyncio
import base64
import http.client
import http.server
import io
import json
import pickle
import zlib
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import c2pa as library
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID

from credstore.cli.commands.serve import listen
from credstore.config.stores import LocalConfig
from credstore.edge.server import serve_links
from credstore.encryption import Secret
from credstore.errors import StorageConfigurationError, StorageInvalidRequestError
from credstore.factory import StorageFactory
from credstore.proofs.c2pa import (
    ManifestCredential,
    SignedAsset,
    attach_manifest,
    sign_manifest,
    verify_bound_manifest,
    verify_manifest,
)
from credstore.proofs.format import errors
from credstore.proofs.format import manifest_links as hosting
from credstore.proofs.format.dsse import encode_envelope, parse_envelope
from credstore.proofs.format.manifest_links import LARGEST_MANIFEST, MANIFEST_TYPE, manifest_options
from credstore.proofs.format.record import AssetDigest, ManifestLink, parse_record
from credstore.proofs.format.signing import LocalSigner
from tests.proofs.c2pa_material import (
    AUTHORITY,
    C2PA_CLAIM_SIGNING,
    CREDENTIALS,
    DAY,
    DEFINITION,
    IMAGES,
    KEYS,
    Authority,
    host,
    private_pem,
)
from tests.proofs.material import ID, RECORD, issue

URL = "https://proofs.example/m/ff/x.c2pa?a=1"
PNG = IMAGES["image/png"]
OTHER = Authority()
EXPIRED = json.loads((Path(__file__).parent / "vectors" / "c2pa_expired.json").read_text())


def sign(asset: bytes = PNG, media_type: str = "image/png", **options: object) -> SignedAsset:
    chosen = {"definition": DEFINITION, "credential": CREDENTIALS["ES256"], **options}
    return asyncio.run(sign_manifest(asset, media_type, **chosen))


def verify(asset: bytes, manifest: bytes, media_type: str = "image/png", anchors: bytes = AUTHORITY.root):
    return asyncio.run(verify_manifest(asset, manifest, media_type=media_type, trust_anchors=anchors))


def flip(data: bytes, position: int) -> bytes:
    changed = bytearray(data)
    changed[position] ^= 1
    return bytes(changed)


SIDECAR = sign()
REMOTE = sign(remote_url=URL)


@pytest.mark.parametrize("remote_url", [None, URL])
@pytest.mark.parametrize("algorithm", CREDENTIALS)
@pytest.mark.parametrize("media_type", IMAGES)
def test_a_manifest_verifies_with_its_asset(media_type, algorithm, remote_url):
    asset = IMAGES[media_type]
    signed = sign(asset, media_type, credential=CREDENTIALS[algorithm], remote_url=remote_url)
    report = verify(signed.asset, signed.manifest, media_type)
    assert (report.state, report.active.algorithm.lower()) == ("trusted", algorithm.lower())
    assert (report.active.signer, report.active.organization) == ("Test signer", "Test organization")
    assert report.active.title == "a small picture"
    assert {"label": "example.claim", "data": {"camera": "none"}} in [
        {"label": each["label"], "data": each["data"]} for each in report.active.report["assertions"]
    ]
    assert "camera" not in repr(report)
    if remote_url is None:
        assert signed.asset == asset
    else:
        assert b"https://proofs.example/m/ff/x.c2pa" in signed.asset
        # The input is another asset: a proof of its digest would be about bytes that no manifest covers.
        with pytest.raises(errors.ProofAssetMismatchError):
            verify(asset, signed.manifest, media_type)
    assert signed.digest == AssetDigest.of(signed.asset)
    assert signed.link == ManifestLink(
        AssetDigest.of(signed.manifest).sha256, len(signed.manifest), MANIFEST_TYPE, remote_url
    )


def test_thumbnails_are_off_unless_asked_for():
    assert len(SIDECAR.manifest) < 14_000 < len(sign(thumbnail=True).manifest)


@pytest.mark.parametrize("media_type", ["image/png", "image/jpeg", "application/c2pa"])
def test_the_bytes_tell_their_type_themselves(media_type):
    assert verify(PNG, SIDECAR.manifest, media_type).state == "trusted"


def test_every_byte_of_the_asset_is_covered():
    for position in range(len(PNG)):
        with pytest.raises((errors.ProofAssetMismatchError, errors.ProofManifestError)):
            verify(flip(PNG, position), SIDECAR.manifest)
    for other in (PNG + b"x", b"", IMAGES["image/jpeg"], REMOTE.asset, SIDECAR.manifest):
        with pytest.raises(errors.ProofAssetMismatchError):
            verify(other, SIDECAR.manifest)


def test_a_changed_manifest_is_refused():
    """Padding apart, which is why a proof fixes the manifest's digest."""
    manifest = SIDECAR.manifest
    for part in (b"a small picture", b"camera", b"c2pa.created", b"Test signer"):
        with pytest.raises(errors.ProofError):
            verify(PNG, flip(manifest, manifest.index(part)))
    for other in (b"", b"junk", manifest[:-100], manifest[:600], b"\0" * 600):
        with pytest.raises(errors.ProofManifestError):
            verify(PNG, other)
    padded = flip(manifest, manifest.index(bytes(1000)) + 500)
    assert verify(PNG, padded).state == "trusted"
    record = SIDECAR.bind(RECORD)
    with pytest.raises(errors.ProofManifestError):
        asyncio.run(verify_bound_manifest(record, PNG, padded, trust_anchors=AUTHORITY.root))


def test_a_manifest_too_large_is_not_looked_at(monkeypatch):
    with pytest.raises(errors.ProofManifestError, match=str(LARGEST_MANIFEST)):
        verify(PNG, bytes(LARGEST_MANIFEST + 1))
    monkeypatch.setattr(hosting, "LARGEST_MANIFEST", 1000)
    with pytest.raises(StorageInvalidRequestError, match="1 to 1000 bytes"):
        sign()


def test_only_a_trusted_signer_counts():
    stranger = sign(credential=OTHER.credential())
    assert verify(PNG, stranger.manifest, anchors=OTHER.root + AUTHORITY.root).state == "trusted"
    with pytest.raises(errors.ProofUntrustedKeyError):
        verify(PNG, stranger.manifest)
    with pytest.raises(errors.ProofUntrustedKeyError):
        verify(flip(PNG, len(PNG) - 20), stranger.manifest)


def test_an_expired_certificate_is_told():
    asset = base64.b64decode(EXPIRED["asset"])
    manifest = zlib.decompress(base64.b64decode(EXPIRED["manifest"]))
    with pytest.raises(errors.ProofKeyExpiredError):
        verify(asset, manifest, anchors=EXPIRED["root"].encode())


def test_a_certificate_for_claim_signing_will_do():
    credential = AUTHORITY.credential(purpose=C2PA_CLAIM_SIGNING)
    assert verify(PNG, sign(credential=credential).manifest).state == "trusted"


@pytest.mark.parametrize(
    ("asset", "options"),
    [
        (b"no image", {}),
        (IMAGES["image/jpeg"], {}),
        (PNG, {"media_type": ""}),
        (PNG, {"definition": {"assertions": 3}}),
        (PNG, {"definition": {**DEFINITION, "title": b"bytes"}}),
        (PNG, {"definition": {**DEFINITION, "x": float("nan")}}),
        (PNG, {"remote_url": "proofs.example/x"}),
        (PNG, {"remote_url": "file:///etc/x"}),
        (PNG, {"remote_url": "https://proofs.example/x?a=1&b=2"}),
        (PNG, {"remote_url": "https://proofs.example/'x'"}),
        (PNG, {"remote_url": "https://proofs.example/ x"}),
        (PNG, {"credential": AUTHORITY.credential(until=-10 * DAY)}),
        (PNG, {"credential": AUTHORITY.credential(purpose=ExtendedKeyUsageOID.SERVER_AUTH)}),
    ],
)
def test_what_cannot_be_signed_is_told(asset, options):
    with pytest.raises(StorageInvalidRequestError):
        sign(asset, **options)


def test_an_asset_with_a_manifest_inside_is_never_changed_unasked():
    context = library.Context.from_dict({"builder": {"thumbnail": {"enabled": False}}})
    embedded = io.BytesIO()
    key = KEYS["Ed25519"]
    chain = CREDENTIALS["Ed25519"].chain.decode()
    with (
        library.Signer.from_callback(key.sign, library.C2paSigningAlg.ED25519, chain) as signer,
        library.Builder(DEFINITION, context) as builder,
    ):
        builder.sign(signer, "image/png", io.BytesIO(PNG), embedded)
    asset = embedded.getvalue()
    with pytest.raises(StorageInvalidRequestError, match="contains a manifest"):
        sign(asset)
    with pytest.raises(StorageInvalidRequestError, match="contains a manifest"):
        sign(asset, remote_url=URL)
    # What is in the asset is not a verdict about the manifest given.
    with pytest.raises(errors.ProofAssetMismatchError):
        verify(asset, SIDECAR.manifest)


class RemoteSigner:
    """A key elsewhere: it answers later, and not always right."""

    def __init__(self, signer: LocalSigner, answer=None) -> None:
        self._signer = signer
        self._answer = answer
        self.asked = asyncio.Event()
        self.cancelled = asyncio.Event()

    @property
    def public_key(self):
        return self._signer.public_key

    async def sign(self, pae: bytes) -> bytes:
        self.asked.set()
        try:
            await asyncio.sleep(0)
            if isinstance(self._answer, BaseException):
                raise self._answer
            if self._answer == "never":
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return await self._signer.sign(pae) if self._answer is None else self._answer


def remote(algorithm: str, answer=None) -> ManifestCredential:
    signer = RemoteSigner(LocalSigner(KEYS[algorithm]), answer)
    return ManifestCredential(CREDENTIALS[algorithm].chain, signer)


@pytest.mark.parametrize("algorithm", KEYS)
def test_keys_may_be_elsewhere(algorithm):
    assert verify(PNG, sign(credential=remote(algorithm)).manifest).state == "trusted"
    for answer in (b"", b"x", bytes(64)):
        with pytest.raises(errors.ProofSignatureError):
            sign(credential=remote(algorithm, answer))
    with pytest.raises(ConnectionError, match="the service is away"):
        sign(credential=remote(algorithm, ConnectionError("the service is away")))


def test_many_are_signed_at_a_time_though_each_waits_for_a_key():
    async def scene() -> None:
        async with asyncio.timeout(120):  # Else each would hold a thread that the keys need.
            await asyncio.gather(
                *(
                    sign_manifest(PNG, "image/png", definition=DEFINITION, credential=CREDENTIALS["ES256"])
                    for _ in range(40)
                )
            )

    asyncio.run(scene())


def test_a_cancelled_call_leaves_no_signer_at_work():
    async def scene() -> None:
        credential = remote("ES256", "never")
        call = asyncio.create_task(
            sign_manifest(PNG, "image/png", definition=DEFINITION, credential=credential)
        )
        await credential.signer.asked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(credential.signer.cancelled.wait(), 30)

    asyncio.run(scene())


def test_credentials_are_checked_when_made():
    key = KEYS["Ed25519"]
    chain = CREDENTIALS["Ed25519"].chain
    for wrong in (b"", b"no certificate", "\u00e9".encode(), CREDENTIALS["ES256"].chain):
        with pytest.raises(StorageConfigurationError):
            ManifestCredential.from_pem(wrong, private_pem(key))
    with pytest.raises(StorageConfigurationError):
        ManifestCredential.from_pem(chain, Secret("no key"))
    with pytest.raises(errors.ProofAlgorithmError):
        ManifestCredential.from_pem(chain, private_pem(ec.generate_private_key(ec.SECP521R1())))
    with pytest.raises(StorageConfigurationError):
        ManifestCredential.from_pem(chain, private_pem(Ed25519PrivateKey.generate()))
    credential = CREDENTIALS["Ed25519"]
    assert repr(credential).startswith("ManifestCredential(Ed25519, certificate sha256:")
    with pytest.raises(TypeError):
        pickle.dumps(credential)
    for anchors in (b"", b"junk"):
        with pytest.raises(StorageConfigurationError):
            verify(PNG, SIDECAR.manifest, anchors=anchors)


def read_alone(asset: bytes, media_type: str = "image/png", manifest: bytes | None = None) -> dict:
    """With c2pa-python alone; without a manifest it asks for the one at the URL in the asset."""
    context = library.Context.from_dict({"trust": {"trust_anchors": AUTHORITY.root.decode()}})
    with library.Reader(media_type, io.BytesIO(asset), manifest, context=context) as reader:
        return json.loads(reader.json())


def test_no_network_is_reached():
    """The asset names a URL and the certificate an OCSP responder; the library alone would ask both."""
    with host(b"nothing of use") as (base, asked):
        credential = AUTHORITY.credential(ocsp=f"{base}/ocsp")
        signed = sign(credential=credential, remote_url=f"{base}/manifest")
        assert verify(signed.asset, signed.manifest).state == "trusted"
        with pytest.raises(StorageInvalidRequestError, match="has a manifest at"):
            sign(signed.asset, credential=credential, remote_url=f"{base}/manifest")
        for wrong in (b"junk", SIDECAR.manifest):
            with pytest.raises(errors.ProofError):
                verify(signed.asset, wrong)
        assert asked == []
        with pytest.raises(library.C2paError):
            read_alone(signed.asset)
        assert asked == ["/manifest"]


@pytest.mark.parametrize("media_type", IMAGES)
def test_other_readers_find_the_manifest_by_the_url_in_the_asset(media_type):
    content = bytearray()
    with host(content) as (base, asked):
        signed = sign(IMAGES[media_type], media_type, remote_url=f"{base}/m/ff/x.c2pa?v=1")
        content += signed.manifest
        assert read_alone(signed.asset, media_type)["validation_state"] == "Trusted"
        assert asked == ["/m/ff/x.c2pa?v=1"]


def test_a_record_is_bound_in_order():
    """Signed, stored, then bound: what `put` refuses is never named by a proof."""
    stored: list[bytes] = []

    async def put(manifest: bytes) -> None:
        stored.append(manifest)

    async def refuse(manifest: bytes) -> None:
        raise ConnectionError

    picture = replace(RECORD, media_type="image/png")

    def attach(put, record=picture, **options: object):
        return asyncio.run(
            attach_manifest(
                record, PNG, definition=DEFINITION, credential=CREDENTIALS["ES256"], put=put, **options
            )
        )

    record, signed = attach(put, remote_url=URL)
    assert stored == [signed.manifest]
    assert record.proof_id == ID
    assert record.asset == AssetDigest.of(signed.asset) != AssetDigest.of(PNG)
    assert record.manifest.uri == URL

    read = parse_record(parse_envelope(issue_bytes(record)).payload)
    assert read == record
    for_proof = {"trust_anchors": AUTHORITY.root}
    report = asyncio.run(verify_bound_manifest(read, signed.asset, stored[0], **for_proof))
    assert report.state == "trusted"
    wrong = [
        (record, PNG, stored[0], errors.ProofAssetMismatchError),
        (record, signed.asset, sign(remote_url=URL).manifest, errors.ProofManifestError),
        (record, signed.asset, stored[0] + b"x", errors.ProofManifestError),
        (record, signed.asset, b"", errors.ProofManifestError),
        (replace(record, manifest=None), signed.asset, stored[0], errors.ProofManifestError),
        # A proof that binds the input to a manifest of the output.
        (replace(record, asset=AssetDigest.of(PNG)), PNG, stored[0], errors.ProofAssetMismatchError),
    ]
    for bound, asset, manifest, kind in wrong:
        with pytest.raises(kind):
            asyncio.run(verify_bound_manifest(bound, asset, manifest, **for_proof))

    with pytest.raises(ConnectionError):
        attach(refuse)
    with pytest.raises(StorageInvalidRequestError):
        attach(put, record=replace(RECORD, media_type=None))
    assert len(stored) == 1


def issue_bytes(record) -> bytes:
    return encode_envelope(issue(asset=record.asset, media_type=record.media_type, manifest=record.manifest))


@pytest.mark.parametrize("media_type", IMAGES)
def test_a_manifest_is_stored_served_and_read_from_its_link(tmp_path, media_type):
    """The link is what `credstore serve` answers; the bytes are read by us and by c2pa-python alone."""

    async def scene() -> None:
        listener = listen("127.0.0.1", 0)
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = LocalConfig(path=str(tmp_path / "store"), link_url=base)
        key = f"proofs/v1/m/{ID[-2:]}/{ID}.c2pa"
        async with StorageFactory().create(config) as store, serve_links(store, listener=listener):

            async def put(manifest: bytes) -> None:
                await store.store(key, manifest, if_absent=True, **manifest_options())

            record, signed = await attach_manifest(
                replace(RECORD, media_type=media_type),
                IMAGES[media_type],
                definition=DEFINITION,
                credential=CREDENTIALS["ES256"],
                put=put,
                remote_url=URL,
            )
            item = await store.get_metadata(key)
            assert (item.content_type, item.size) == (MANIFEST_TYPE, len(signed.manifest))
            assert item.cache_control == manifest_options()["cache_control"]

            link = await store.get_signed_url(key)
            status, headers, manifest = await asyncio.to_thread(fetch, link)
            assert (status, headers["content-type"]) == (200, MANIFEST_TYPE)
            report = await verify_bound_manifest(record, signed.asset, manifest, trust_anchors=AUTHORITY.root)
            told = await asyncio.to_thread(read_alone, signed.asset, media_type, manifest)
            assert told["validation_state"] == "Trusted"
            assert told["active_manifest"] == report.active.label

            with pytest.raises(StorageInvalidRequestError, match="temporary"):
                await sign_manifest(
                    PNG, "image/png", definition=DEFINITION, credential=CREDENTIALS["ES256"], remote_url=link
                )

    asyncio.run(scene())


def fetch(url: str) -> tuple[int, dict[str, str], bytes]:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc, timeout=600)
    try:
        connection.request("GET", f"{address.path}?{address.query}")
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()
