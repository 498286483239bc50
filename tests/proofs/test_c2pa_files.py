"""Manifests of small files of every type: embedded, next to the file, elsewhere; verified, tampered with, stripped.

The second oracle is encypher-c2pa, which shares no code with c2pa-rs: both agree on every file here, or
`DIFFERENCES` says where not.
"""

import asyncio
import base64
import io
import json
import random
import socket
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import encypher_c2pa
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from credstore.errors import StorageError, StorageInvalidRequestError
from credstore.proofs.c2pa import (
    C2paTrust,
    ManifestCredential,
    TrustList,
    examine_manifests,
    sign_manifest,
)
from credstore.proofs.format import errors
from credstore.proofs.format.record import AssetDigest
from tests.proofs.c2pa_material import (
    AUTHORITY,
    CREDENTIALS,
    DAY,
    DEFINITION,
    Authority,
    embed_with_identity,
    host,
    private_pem,
)
from tests.proofs.c2pa_media import MEDIA
from tests.proofs.timestamp_authority import TimestampAuthority

URL = "https://proofs.example/m/ff/x.c2pa"
PNG = MEDIA["image/png"]
WAYS = {"embedded": {"embed": True}, "sidecar": {}, "remote": {"remote_url": URL}}
REWRITTEN = {"audio/mpeg", "audio/flac", "application/pdf"}
"""Containers that the library writes again even where no manifest goes into them."""
OTHER, IDENTITIES = Authority(), Authority()
EDITED = {"title": "edited", "assertions": [{"label": "example.claim", "data": {"step": 2}}]}
DIFFERENCES: dict[tuple[str, str, str], str] = {}
"""Where the second oracle says something else: (type, way, what) to what it says."""


def lists(**by_purpose: Authority | TimestampAuthority) -> C2paTrust:
    return C2paTrust(
        **{
            purpose: (TrustList.from_pem(authority.root, name=f"test {purpose}", date="2026-11-29"),)
            for purpose, authority in by_purpose.items()
        }
    )


TRUST = lists(signers=AUTHORITY)


def sign(asset=PNG, media_type="image/png", **options):
    chosen = {"definition": DEFINITION, "credential": CREDENTIALS["ES256"], **options}
    return asyncio.run(sign_manifest(asset, media_type, **chosen))


def examine(asset, manifest=None, media_type="image/png", trust=TRUST, **options):
    return asyncio.run(
        examine_manifests(asset, trust=trust, manifest=manifest, media_type=media_type, **options)
    )


def flip(data: bytes, position: int) -> bytes:
    changed = bytearray(data)
    changed[position] ^= 1
    return bytes(changed)


def second_opinion(asset: bytes, media_type: str, manifest: bytes | None) -> str:
    """What encypher-c2pa says, in the words of a verdict."""
    report = encypher_c2pa.verify(
        asset,
        media_type,
        manifest_store=manifest,
        no_default_trust=True,
        trust_pem=AUTHORITY.root.decode(),
        telemetry=False,
        online=False,
    )
    return "absent" if not report["present"] else str(report["validation_state"]).lower()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("media_type", MEDIA)
def test_every_type_is_signed_verified_and_tampered_with(media_type, way):
    asset = MEDIA[media_type]
    signed = sign(asset, media_type, rewrite=media_type in REWRITTEN, **WAYS[way])
    manifest = None if way == "embedded" else signed.manifest
    verdict = examine(signed.asset, manifest, media_type)
    assert (verdict.state, verdict.findings) == ("trusted", ())
    assert verdict.place == ("embedded" if way == "embedded" else "sidecar")
    assert verdict.digest == signed.digest == AssetDigest.of(signed.asset)
    assert verdict.active.signer == "Test signer"
    assert verdict.active.actions == ("c2pa.created",)
    assert (signed.asset == asset) is (way == "sidecar" and media_type not in REWRITTEN)
    assert signed.rewritten is (way == "sidecar" and media_type in REWRITTEN)
    assert second_opinion(signed.asset, media_type, manifest) == expected(
        media_type, way, "signed", "trusted"
    )

    # The first byte of the content that is not the manifest's, as far as one byte can be found that is free.
    position = tampered_at(media_type, signed.asset)
    changed = flip(signed.asset, position)
    verdict = examine(changed, manifest, media_type)
    assert verdict.state == "invalid"
    with pytest.raises(errors.ProofAssetMismatchError):
        verdict.require()
    assert second_opinion(changed, media_type, manifest) == expected(media_type, way, "tampered", "invalid")


def expected(media_type: str, way: str, what: str, usual: str) -> str:
    return DIFFERENCES.get((media_type, way, what), usual)


def tampered_at(media_type: str, asset: bytes) -> int:
    """A byte of pixels, sound or text, whose change leaves the container whole."""
    marks = {
        "image/png": (b"IDAT", 8),
        "image/jpeg": (b"\xff\xda", 11),
        "image/webp": (b"VP8L", 10),
        "image/avif": (b"mdat", 6),
        "image/heic": (b"mdat", 6),
        "image/tiff": (b"\x10\x20\x30\x40", 1),
        "image/x-adobe-dng": (b"\x10\x20\x30\x40", 1),
        "image/svg+xml": (b'width="4"', 7),
        "image/gif": (b"\x2c\0\0\0\0", 12),
        "video/mp4": (b"mdat", 6),
        "video/quicktime": (b"mdat", 6),
        "audio/wav": (b"data\x20\0\0\0", 12),
        "audio/mpeg": (b"\xff\xfb\x90\x00", 100),
        "audio/flac": (b"fLaC", 30),
        "application/pdf": (b"72 72]", 1),
    }
    mark, offset = marks[media_type]
    return asset.rindex(mark) + offset


@pytest.mark.parametrize("media_type", MEDIA)
def test_without_its_manifest_nothing_is_said_about_a_file(media_type):
    verdict = examine(MEDIA[media_type], None, media_type)
    assert (verdict.state, verdict.active, verdict.place) == ("absent", None, None)
    with pytest.raises(errors.ProofManifestError, match="has no manifest"):
        verdict.require()
    assert second_opinion(MEDIA[media_type], media_type, None) == "absent"


@pytest.mark.parametrize("media_type", MEDIA)
def test_what_is_appended_or_cut_off_never_stays_trusted(media_type):
    signed = sign(MEDIA[media_type], media_type, embed=True)
    for other in (
        signed.asset + b"more data",
        signed.asset[: len(signed.asset) // 2],
        signed.asset[:-9],
        b"",
    ):
        verdict = examine(other, None, media_type)
        assert verdict.state in {"invalid", "unreadable", "unsupported", "absent"}
        assert verdict.digest == AssetDigest.of(other)


def test_a_verdict_and_the_digest_of_the_whole_file_are_two_things():
    """A manifest does not bind a box that is free, which C2PA leaves out: another file, the same verdict."""
    signed = sign(MEDIA["video/mp4"], "video/mp4", embed=True)
    appended = signed.asset + b"\0\0\0\x10free\0\0\0\0\0\0\0\0"
    verdict = examine(appended, None, "video/mp4")
    assert verdict.state == "trusted"
    assert verdict.digest == AssetDigest.of(appended) != signed.digest
    assert verdict.as_json()["asset"]["sha256"] == AssetDigest.of(appended).sha256.hex()


@pytest.mark.parametrize("media_type", sorted(REWRITTEN))
def test_a_container_that_would_be_rewritten_is_said_so(media_type):
    with pytest.raises(StorageInvalidRequestError, match=r"writes .* again .*rewrite=True") as caught:
        sign(MEDIA[media_type], media_type)
    assert "has a manifest" not in caught.value.message
    signed = sign(MEDIA[media_type], media_type, rewrite=True)
    assert signed.asset != MEDIA[media_type]
    assert examine(signed.asset, signed.manifest, media_type).state == "trusted"


KEYS = {
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "PS256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "Ed25519": Ed25519PrivateKey.generate,
}


@pytest.mark.parametrize("algorithm", KEYS)
def test_every_algorithm_signs(algorithm):
    credential = AUTHORITY.credential(KEYS[algorithm]())
    assert credential.algorithm == algorithm
    signed = sign(credential=credential, embed=True)
    verdict = examine(signed.asset)
    assert (verdict.state, verdict.active.algorithm.lower()) == ("trusted", algorithm.lower())
    assert second_opinion(signed.asset, "image/png", None) == "trusted"


def test_small_keys_and_other_curves_sign_nothing():
    for key in (
        rsa.generate_private_key(public_exponent=65537, key_size=1024),
        ec.generate_private_key(ec.SECP521R1()),
    ):
        with pytest.raises((errors.ProofAlgorithmError, StorageInvalidRequestError)):
            ManifestCredential.from_pem(AUTHORITY.certify(key), private_pem(key))


def test_earlier_provenance_is_kept_or_the_call_refused():
    first = sign(embed=True, credential=OTHER.credential())
    for options in ({"embed": True}, {"remote_url": URL}, {}, {"rewrite": True}):
        with pytest.raises(StorageInvalidRequestError, match="parent=True"):
            sign(first.asset, definition=EDITED, **options)
    with pytest.raises(StorageInvalidRequestError, match="taken out"):
        sign(first.asset, definition=EDITED, parent=True)
    with pytest.raises(StorageInvalidRequestError, match=r"c2pa\.created"):
        sign(first.asset, parent=True, embed=True)
    for options in ({"embed": True}, {"remote_url": URL}, {"rewrite": True}):
        second = sign(first.asset, definition=EDITED, parent=True, **options)
        assert second.parent
        manifest = None if "embed" in options else second.manifest
        verdict = examine(second.asset, manifest)
        assert verdict.state == "trusted"
        assert [(each.role, each.title) for each in verdict.ingredients] == [("parentOf", "a small picture")]
        assert verdict.active.actions == ("c2pa.opened",)
        # Its signer is not on the list: said, and refused where that was asked for.
        assert any("ingredients" in each.what for each in verdict.unchecked)
        strict = examine(second.asset, manifest, ingredients="trusted")
        assert strict.state == "valid"
        with pytest.raises(errors.ProofUntrustedKeyError, match="an ingredient's manifest urn:c2pa:"):
            strict.require()
        both = C2paTrust(signers=(*TRUST.signers, *lists(signers=OTHER).signers))
        assert examine(second.asset, manifest, trust=both, ingredients="trusted").state == "trusted"
    with pytest.raises(StorageInvalidRequestError, match="no manifest that could be the parent"):
        sign(definition=EDITED, parent=True)


@pytest.mark.parametrize("media_type", MEDIA)
def test_parents_of_every_type(media_type):
    first = sign(MEDIA[media_type], media_type, embed=True)
    second = sign(first.asset, media_type, definition=EDITED, parent=True, embed=True)
    verdict = examine(second.asset, None, media_type, ingredients="trusted")
    assert (verdict.state, len(verdict.ingredients)) == ("trusted", 1)
    assert verdict.ingredients[0].label != verdict.active.label


def test_a_parent_that_is_elsewhere_is_given():
    first = sign(remote_url=URL, credential=OTHER.credential())
    with pytest.raises(StorageInvalidRequestError, match="has a manifest at"):
        sign(first.asset, definition=EDITED, embed=True)
    with pytest.raises(StorageInvalidRequestError, match="parent_manifest"):
        sign(first.asset, definition=EDITED, embed=True, parent=True)
    for wrong in (sign().manifest, b"junk"):
        with pytest.raises(StorageInvalidRequestError):
            sign(first.asset, definition=EDITED, embed=True, parent=True, parent_manifest=wrong)
    second = sign(first.asset, definition=EDITED, embed=True, parent=True, parent_manifest=first.manifest)
    both = C2paTrust(signers=(*TRUST.signers, *lists(signers=OTHER).signers))
    verdict = examine(second.asset, trust=both, ingredients="trusted")
    assert (verdict.state, len(verdict.ingredients)) == ("trusted", 1)


def test_a_changed_parent_is_found_and_named():
    first = sign(embed=True)
    second = sign(first.asset, definition=EDITED, parent=True, embed=True)
    (parent,) = examine(second.asset).ingredients
    changed = flip(second.asset, second.asset.index(b"a small picture"))
    for ingredients in ("any", "trusted"):
        verdict = examine(changed, ingredients=ingredients)
        assert verdict.state == "invalid"
        assert {each.role for each in verdict.findings} == {"ingredient"}
        assert parent.label in {each.manifest for each in verdict.findings}
        with pytest.raises(errors.ProofManifestError, match="an ingredient's manifest"):
            verdict.require()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return TimestampAuthority(tmp_path_factory.mktemp("authority"))


def test_each_list_is_for_its_own_purpose(authority):
    with authority.serve() as (url, asked):
        signed = sign(embed=True, timestamp_url=url)
        assert asked == ["/tsa"]
    every = lists(signers=AUTHORITY, timestamps=authority)
    verdict = examine(signed.asset, trust=every)
    assert verdict.state == "trusted"
    assert verdict.active.time.trusted
    assert verdict.active.time.authority == "Time authority"
    assert [each.purpose for each in verdict.lists] == ["signers", "timestamps"]
    assert {each.date for each in verdict.lists} == {"2026-11-29"}
    # No list of authorities: the time is there, and is the signer's word.
    verdict = examine(signed.asset)
    assert verdict.state == "trusted"
    assert not verdict.active.time.trusted
    assert any("time stamp" in each.what for each in verdict.unchecked)
    # A list given for the other purpose vouches for nothing.
    swapped = lists(signers=authority, timestamps=AUTHORITY)
    verdict = examine(signed.asset, trust=swapped)
    assert verdict.state == "valid"
    assert not verdict.active.time.trusted
    for trust in (lists(timestamps=AUTHORITY), lists(identities=AUTHORITY), C2paTrust()):
        assert examine(signed.asset, trust=trust).state == "valid"


def vector(name: str) -> tuple[dict[str, str], bytes, bytes]:
    """Signed with a certificate that was valid for some seconds; all keys are gone."""
    case = json.loads((Path(__file__).parent / "vectors" / f"{name}.json").read_text())
    asset, manifest = (base64.b64decode(case[part]) for part in ("asset", "manifest"))
    return case, asset, zlib.decompress(manifest)


def test_a_trusted_stamp_outlives_the_certificate():
    case, asset, manifest = vector("c2pa_stamped")
    signer, authority = (TrustList.from_pem(case[name].encode(), name=name) for name in ("root", "authority"))
    stranger = TrustList.from_pem(OTHER.root)
    both = C2paTrust(signers=(signer,), timestamps=(authority,))
    verdict = examine(asset, manifest, trust=both)
    assert verdict.state == "trusted"
    assert verdict.active.time.at < verdict.active.valid_until < verdict.checked_at
    shared = C2paTrust(signers=(signer, authority), timestamps=(authority,))
    assert examine(asset, manifest, trust=shared).state == "trusted"
    for trust in (
        C2paTrust(signers=(signer,)),
        C2paTrust(signers=(signer,), timestamps=(stranger,)),
        C2paTrust(signers=(signer,), timestamps=(signer,)),
        # An authority for time that is an anchor of signers only makes no certificate younger.
        C2paTrust(signers=(signer, authority)),
        C2paTrust(signers=(signer, authority), timestamps=(stranger,)),
    ):
        with pytest.raises(errors.ProofKeyExpiredError):
            examine(asset, manifest, trust=trust).require()
    for trust in (
        C2paTrust(timestamps=(authority,)),
        C2paTrust(signers=(stranger,), timestamps=(authority,)),
        C2paTrust(signers=(authority,), timestamps=(authority,)),
        # Nor does an anchor for time vouch for a signer.
        C2paTrust(signers=(stranger,), timestamps=(authority, signer)),
        C2paTrust(signers=(authority,), timestamps=(authority, signer)),
    ):
        with pytest.raises(errors.ProofUntrustedKeyError):
            examine(asset, manifest, trust=trust).require()


def test_without_a_stamp_a_certificate_that_ended_counts_no_longer():
    case, asset, manifest = vector("c2pa_expired")
    trust = C2paTrust(signers=(TrustList.from_pem(case["root"].encode()),))
    with pytest.raises(errors.ProofKeyExpiredError):
        examine(asset, manifest, trust=trust).require()
    # The verifier's clock is an argument: this certificate is good today, and will have ended.
    signed = sign()
    end = examine(signed.asset, signed.manifest).active.valid_until
    assert examine(signed.asset, signed.manifest, now=end).state == "trusted"
    for now in (end + timedelta(seconds=1), datetime(2020, 1, 1, tzinfo=UTC)):
        with pytest.raises(errors.ProofKeyExpiredError):
            examine(signed.asset, signed.manifest, now=now).require()
    with pytest.raises(StorageInvalidRequestError, match="time zone"):
        examine(signed.asset, signed.manifest, now=datetime(2020, 1, 1))  # noqa: DTZ001 - that is the case


def test_identities_have_a_list_of_their_own():
    asset = embed_with_identity(PNG, "image/png", AUTHORITY, IDENTITIES)
    verdict = examine(asset, trust=lists(signers=AUTHORITY, identities=IDENTITIES))
    assert verdict.state == "trusted"
    assert [each.state for each in verdict.active.identities] == ["trusted"]
    for trust in (
        lists(signers=AUTHORITY),
        lists(signers=AUTHORITY, identities=OTHER),
        lists(signers=AUTHORITY, timestamps=IDENTITIES),
        C2paTrust(signers=(*TRUST.signers, *lists(signers=IDENTITIES).signers)),
    ):
        verdict = examine(asset, trust=trust)
        assert verdict.state == "trusted"
        assert [each.state for each in verdict.active.identities] == ["untrusted"]
        assert any("identity" in each.what for each in verdict.unchecked)


def test_no_socket_is_opened_unless_asked(monkeypatch):
    """Neither by Python nor by the native code: the address in the asset has a listener that hears nothing."""
    with host(b"nothing of use") as (base, asked):
        credential = AUTHORITY.credential(ocsp=f"{base}/ocsp")
        remote = sign(remote_url=f"{base}/m.c2pa", credential=credential)
        embedded = sign(embed=True, credential=credential)
        with monkeypatch.context() as guard:
            guard.setattr(socket.socket, "connect", refuse)
            guard.setattr(socket, "create_connection", refuse)
            assert examine(remote.asset, remote.manifest).state == "trusted"
            assert examine(embedded.asset).state == "trusted"
            verdict = examine(remote.asset)
        assert asked == []
    assert (verdict.state, verdict.remote_url) == ("inaccessible", f"{base}/m.c2pa")
    assert any("127.0.0.1" in (each.settled_by or "") for each in verdict.unchecked)
    with pytest.raises(errors.ProofManifestError, match="was not fetched"):
        verdict.require()


def refuse(*_, **__):
    raise AssertionError("something was to be fetched")


def test_a_manifest_elsewhere_is_fetched_when_asked():
    signed = sign(remote_url=URL)
    asked: list[str] = []

    async def fetch(url: str, content=signed.manifest) -> bytes | None:
        asked.append(url)
        return content

    verdict = examine(signed.asset, fetch=fetch)
    assert (verdict.state, verdict.place, verdict.remote_url) == ("trusted", "remote", URL)
    assert asked == [URL]
    for content in (None, b"", bytes(16 * 1024 * 1024 + 1)):

        async def fetch_nothing(url: str, content=content) -> bytes | None:
            return content

        verdict = examine(signed.asset, fetch=fetch_nothing)
        assert verdict.state == "inaccessible"
        assert "no manifest" in verdict.words

    another = sign().manifest

    async def fetch_other(url: str) -> bytes | None:
        return another

    assert examine(signed.asset, fetch=fetch_other).state == "invalid"
    # What is not asked for is not fetched.
    assert examine(PNG, fetch=fetch).state == "absent"
    assert asked == [URL]


def test_files_and_streams_are_as_good_as_bytes(tmp_path):
    source, output = tmp_path / "in.png", tmp_path / "out.png"
    source.write_bytes(PNG)
    signed = sign(source, embed=True, output=output)
    assert signed.asset == output
    assert examine(output).digest == signed.digest == AssetDigest.of(output.read_bytes())
    assert examine(output).state == "trusted"
    assert source.read_bytes() == PNG
    with output.open("rb") as file:
        assert examine(file).state == "trusted"
    assert examine(io.BytesIO(output.read_bytes())).state == "trusted"

    async def chunks():
        for byte in output.read_bytes():
            yield bytes([byte])

    assert examine(chunks()).state == "trusted"
    assert examine(tmp_path / "out.png", media_type="application/pdf").state == "trusted"
    for wrong in (tmp_path, tmp_path / "nothing", "out.png", 7, {"a": 1}):
        with pytest.raises(StorageInvalidRequestError):
            examine(wrong)
    # In place: the file is its own source.
    again = sign(output, definition=EDITED, embed=True, parent=True, output=output)
    assert examine(output).digest == again.digest
    assert [each.name for each in tmp_path.iterdir() if each.name not in {"in.png", "out.png"}] == []


def test_a_file_that_changes_meanwhile_gets_no_verdict(tmp_path):
    path = tmp_path / "x.png"
    signed = sign(remote_url=URL)
    path.write_bytes(signed.asset)

    async def fetch(url: str) -> bytes | None:
        path.write_bytes(flip(signed.asset, 50) + b"x")
        return signed.manifest

    with pytest.raises(StorageInvalidRequestError, match="changed"):
        examine(path, fetch=fetch)


def test_a_failed_signing_leaves_the_output_alone(tmp_path):
    output = tmp_path / "out.png"
    output.write_bytes(b"before")
    for options in (
        {"credential": AUTHORITY.credential(until=-10 * DAY)},
        {"definition": {"assertions": 3}},
        {"timestamp_url": "ftp://authority.example"},
    ):
        with pytest.raises(StorageInvalidRequestError):
            sign(embed=True, output=output, **options)
    with pytest.raises(StorageInvalidRequestError, match="cannot write"):
        sign(embed=True, output=tmp_path / "no folder" / "out.png")
    assert [each.name for each in tmp_path.iterdir()] == ["out.png"]
    assert output.read_bytes() == b"before"


@pytest.mark.parametrize("media_type", MEDIA)
def test_no_broken_file_is_trusted_or_crashes(media_type):
    rng = random.Random(f"broken {media_type}")
    good = sign(MEDIA[media_type], media_type, embed=True).asset
    for _ in range(40):
        broken = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            start = rng.randrange(len(broken))
            broken[start : start + rng.randint(0, 8)] = rng.randbytes(rng.randint(0, 8))
        verdict = examine(bytes(broken), None, media_type)
        if verdict.state == "trusted":
            # Padding in the manifest, which no signature covers, and boxes that are free.
            assert verdict.active.title == "a small picture"
            assert verdict.digest != AssetDigest.of(good) or bytes(broken) == good
        verdict.as_json()


def test_what_is_no_asset_gets_a_verdict_too():
    for data in (b"", b"hello", b"%PDF-", b"\x89PNG\r\n\x1a\n", b"RIFF\xff\xff\xff\xffWEBP", bytes(4096)):
        for media_type in ("", "image/png", "text/plain", "nonsense", "image/png; charset=x"):
            verdict = examine(data, None, media_type)
            assert verdict.state in {"absent", "unreadable", "unsupported"}, (data, media_type)
            with pytest.raises(StorageError):
                verdict.require()
