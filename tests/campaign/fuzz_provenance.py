"""Parsers of provenance for the campaign `fuzz`: logs, lists, policies, attestations, manifests, soft bindings."""

import asyncio
import base64
import hashlib
import json
import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from credstore.artifacts.index import Chunk, FileEntry, encode_index, parse_index
from credstore.artifacts.names import stays_inside
from credstore.artifacts.signing import bundle as models
from credstore.artifacts.signing.keys import ModelKey, ModelSigner
from credstore.driver.capability_report import CapabilityReport, encode_report, parse_report
from credstore.encryption import Secret
from credstore.errors import (
    StorageConfigurationError,
    StorageIntegrityError,
    StorageInvalidRequestError,
)
from credstore.proofs import ProofStore, SoftBinding
from credstore.proofs.attestations.bundles import encode_sigstore_bundle, parse_attestation
from credstore.proofs.attestations.verifiers import TrustedKeys
from credstore.proofs.bindings import ISCC, BindingIndex, fingerprint_of
from credstore.proofs.bindings.finding import label_of
from credstore.proofs.bindings.names import (
    BindingNames,
    check_alg,
    decode_value,
    encode_value,
    is_fingerprint,
)
from credstore.proofs.c2pa.boxes import active_manifest
from credstore.proofs.c2pa.credentials import read_certificates
from credstore.proofs.c2pa.trust import TrustList
from credstore.proofs.format.canonical import encode_json
from credstore.proofs.format.dsse import encode_envelope
from credstore.proofs.format.errors import (
    CheckpointError,
    LogEntryError,
    LogInclusionError,
    LogTileError,
    ProofAlgorithmError,
    ProofFormatError,
    ProofManifestError,
    ProofTimestampError,
)
from credstore.proofs.format.evidence import Renewal, encode_renewal, parse_renewal
from credstore.proofs.format.manifest_links import find_manifest_url, link_header
from credstore.proofs.format.original import looks_like_legacy, parse_legacy
from credstore.proofs.format.record import AssetDigest
from credstore.proofs.format.signing import LocalSigner
from credstore.proofs.format.timestamp import parse_token
from credstore.proofs.log import add_checkpoint, tiles
from credstore.proofs.log.checkpoint import parse_checkpoint
from credstore.proofs.log.entry import LogEntry, parse_entry, read_entry
from credstore.proofs.log.index_runs import parse_run
from credstore.proofs.log.note import NoteError, parse_note, parse_vkey, read_decimal
from credstore.proofs.log.policy import parse_log_policy
from credstore.proofs.log.proof_file import encode_log_proof, parse_log_proof
from credstore.proofs.store.layout import Layout, Marker, encode_marker, parse_marker_body
from credstore.provider.presets import MemoryStorageProvider
from credstore.verification import VerificationPolicy
from credstore.verification.attestations import judge_file
from credstore.verification.policy import NamedKey, SigstoreIdentity
from credstore.web.soft_binding_api import PICTURES, document
from credstore.web.soft_bindings import SoftBindingApp
from tests.proofs.c2pa_material import AUTHORITY
from tests.proofs.log.test_checkpoint import sign as signed_note
from tests.proofs.log.test_note import LOG, ORIGIN, PQ, TEXT, WITNESS
from tests.proofs.material import ASSET, ID, ISSUED, NOW, P256, SIGNER, TRUST, bundle, issue
from tests.proofs.pictures import encoded, picture
from tests.proofs.sigstore_material import IDENTITY, OIDC, Instance
from tests.proofs.test_c2pa_files import EDITED, sign

Target = Callable[[random.Random], None]
Altered = Callable[[random.Random, Sequence[bytes], Sequence[bytes]], bytes]
VECTORS = Path(__file__).parents[1] / "proofs" / "vectors"
SHA = hashlib.sha256(b"x").digest()


def _pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def log_texts(altered: Altered) -> Target:
    """Notes, keys, checkpoints, policies, proofs and requests of logs: what is read says what was written."""
    note, request = signed_note(LOG, WITNESS, PQ), b""
    request = add_checkpoint.encode_request(3, (SHA, SHA), note)
    policy = (
        f"log {LOG.key.encode()} https://log.example/\n# a comment\nwitness one {WITNESS.key.encode()} https://w.example/\n"
        f"witness two {PQ.key.encode()}\ngroup one-of 1 one two\ngroup all any one-of\nquorum all\n"
    ).encode()
    documents = [
        note, TEXT.encode(), LOG.key.encode().encode(), PQ.key.encode().encode(), policy, request, b"17\n",
        encode_log_proof(5, (SHA, SHA), note),
    ]  # fmt: skip
    tokens = [
        b"\n", b"\n\n", "— ".encode(), b"+", b"quorum none\n", b"group a any\n", b"group a 9 one\n", b"old 0\n", b"0",
        str(2**63).encode(), b"9" * 40, b"\t", b"\r", b"\xff", b"=", ORIGIN.encode(), b"extra AAAA\n", b"index ",
    ]  # fmt: skip
    documents.append(b"9007199254740993")

    def target(chance: random.Random) -> None:
        data = altered(chance, documents, tokens)
        with suppress(NoteError):
            assert parse_note(data).encode() == data, "a note that is not its own text"
        with suppress(NoteError):
            found = add_checkpoint.parse_request(data)
            assert add_checkpoint.encode_request(found.old_size, found.proof, found.checkpoint) == data
        with suppress(NoteError):
            assert data == b"%d\n" % add_checkpoint.read_size(data)
        with suppress(LogInclusionError):
            proof = parse_log_proof(data)
            assert proof.checkpoint == data.partition(b"\n\n")[2]
        with suppress(StorageConfigurationError):
            parse_log_policy(data)
        text = data.decode(errors=chance.choice(("replace", "surrogateescape")))
        with suppress(NoteError):
            assert parse_vkey(text).encode() == text, "a key with two spellings"
        with suppress(NoteError):
            assert str(read_decimal(text)) == text
        with suppress(CheckpointError):
            assert parse_checkpoint(text).text == text, "a checkpoint that is not its own text"

    return target


def log_tiles(altered: Altered) -> Target:
    """Entries, tiles and bundles of logs, and their paths."""
    entry = LogEntry("issue", SHA, SIGNER.public_key.keyid, bytes(64), ID, SHA).data
    statement = encode_envelope(issue())
    bundled = tiles.encode_bundle([entry, statement, b"", bytes(300)])
    documents = [
        entry,
        statement,
        bundled,
        bytes(32) * 5,
        b"tile/entries/x001/234.p/4",
        b"tile/2/x012/x345/678",
        b"index/000000000000000-000000000000256",
    ]
    tokens = [
        b".p/",
        b"x",
        b"/",
        b"entries",
        b"\x1f\x8b\x08",
        b"\xff\xff",
        b"index/000000000000256-000000000000512",
        b"000",
    ]

    def target(chance: random.Random) -> None:
        data = altered(chance, documents, tokens)
        for reader in (parse_entry, read_entry):
            with suppress(LogEntryError):
                reader(data)
        tile = tiles.Tile(chance.choice((-1, 0, 3)), chance.randrange(999), chance.choice((4, 5, 256)))
        with suppress(LogTileError):
            assert len(tiles.read_bundle(data, tile)) == tile.width
        with suppress(LogTileError):
            assert b"".join(tiles.read_tile(data, tile)) == data[: 32 * tile.width]
        text = data.decode(errors="surrogateescape")
        found = tiles.parse_path(text)
        assert found is None or found.path == text, "a tile with two paths"
        run = parse_run(text, chance.choice((0, 40, 4096)))
        assert run is None or run.start < run.end, "an empty run"

    return target


def attestations(altered: Altered) -> Target:
    """Other people's statements and bundles, signed models, indexes of versions, reports."""
    model = models.encode_model("model", {"a/b.bin": SHA, "c": SHA}, ["skip"])
    sig, hint = asyncio.run(_signed(model))
    packed = FileEntry("a/b", 7, SHA, 0o644, 5, (Chunk(SHA, "0" * 32 + "-0", 0, 5, 7),))
    report = CapabilityReport(provider="s3", place=("bucket",), tested_at=NOW, facts=())
    documents = [
        encode_sigstore_bundle(issue(P256), P256.public_key), encode_envelope(issue()), encode_envelope(issue(SIGNER, P256)),
        models.encode_bundle(model, sig, hint), model, encode_report(report),
        encode_index([packed, FileEntry("l", 0, hashlib.sha256(b"").digest(), 0o777, 0, (), "link", "a")]),
        json.dumps({"payloadType": "text/plain", "payload": "", "signatures": [{"sig": "AA=="}]}).encode(),
    ]  # fmt: skip
    tokens = [
        b'"mediaType":', b'"dsseEnvelope":', b'"serialization":', b'"shards"', b'"shard_size":1e300,', b'"subject":[]', b"null",
        b'"name":"../x"', b'"name":7', b'{"name":null}', b"\n[", b"\n", b'"packs":[7]', b'"format":', b'"sha256":"', b'"facts":',
        b'"type":"link",', b'"hash_type":"blake2b",',
    ]  # fmt: skip
    keys = TrustedKeys([_pem_of(ec.generate_private_key(ec.SECP256R1()))])

    def target(chance: random.Random) -> None:
        data = altered(chance, documents, tokens)
        with suppress(ProofFormatError):
            found = parse_attestation(data)
            assert found.data == data
            with suppress(StorageIntegrityError):
                keys.verify(found)
                raise AssertionError("nobody has signed it")
        with suppress(ProofFormatError):
            models.parse_bundle(data)
        with suppress(ProofFormatError):
            assert all(stays_inside(name) for name in models.read_model(data).resources), "a file elsewhere"
        with suppress(StorageIntegrityError):
            assert all(stays_inside(each.name) for each in parse_index(data)), "a file elsewhere"
        with suppress(StorageConfigurationError):
            parse_report(data)

    return target


async def _signed(payload: bytes) -> tuple[bytes, str]:
    signer = ModelSigner.generate()
    return await signer.sign(payload), "hint"


def next_to_files(folder: Path, altered: Altered) -> Target:
    """What is kept next to a file: never trusted but by who has signed it, and never an error."""
    key = ec.generate_private_key(ec.SECP256R1())
    digest = AssetDigest.of(ASSET)
    instance = Instance(folder)
    statement = json.dumps(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": "x", "digest": {"sha256": digest.sha256.hex()}}],
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {},
        }
    ).encode()
    certified = instance.bundle(statement), instance.signed(ASSET)
    message = {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": ""}},
        "messageSignature": {
            "messageDigest": {"algorithm": "SHA2_256", "digest": base64.b64encode(digest.sha256).decode()},
            "signature": base64.b64encode(key.sign(ASSET, ec.ECDSA(hashes.SHA256()))).decode(),
        },
    }
    documents = [*certified, json.dumps(message).encode(), encode_envelope(issue()), bundle(issue())]
    identity = SigstoreIdentity(IDENTITY, OIDC, instance.trusted_root())
    policy = VerificationPolicy(
        proofs=TRUST, keys=(NamedKey("Key", ModelKey(_pem_of(key))),), identities=(identity,)
    )
    names = ("a.sigstore.json", "a.intoto.jsonl", "a.intoto.json", "a.credproof.json")
    tokens = [
        b'"certificate":{}',
        b'"publicKey":{},',
        b'"tlogEntries":[],',
        b'"messageSignature":',
        b"\n",
        b'"rawBytes":"',
    ]

    def target(chance: random.Random) -> None:
        data = altered(chance, documents, tokens)
        about = digest if chance.random() < 0.9 else AssetDigest.of(b"another")
        for each in judge_file(data, chance.choice(names), about, policy, NOW):
            assert each.state in {"trusted", "untrusted", "failed", "unchecked"}
            assert each.state != "trusted" or about is digest, "trusted for another file"
            assert each.state == "trusted" or each.reasons

    return target


def lists(altered: Altered) -> Target:
    """Lists of certificates and keys in PEM, and what they may be used for."""
    key = ec.generate_private_key(ec.SECP256R1())
    secret = LocalSigner.generate().to_pem()
    documents = [
        AUTHORITY.root, AUTHORITY.root + b"text between\n" + AUTHORITY.root, _pem_of(key), secret,
        b"// a comment\n1.3.6.1.5.5.7.3.4\n1.3.6.1.5.5.7.3.36\n",
    ]  # fmt: skip
    tokens = [
        b"-----BEGIN CERTIFICATE-----\n", b"-----END CERTIFICATE-----\n", b"-----BEGIN X509 CRL-----\n", b"\r\n", b"=", b"\x00",
        b"-----BEGIN PUBLIC KEY-----\n", b"MII", b"1.2.3\n", b"//", b"\xff",
    ]  # fmt: skip

    def target(chance: random.Random) -> None:
        data, other = altered(chance, documents, tokens), altered(chance, documents, tokens)
        with suppress(StorageConfigurationError):
            found = TrustList.from_pem(data, allowed=other)
            assert found.certificates() or found.allowed, "a list without a certificate"
            assert TrustList.from_pem(found.anchors, allowed=found.allowed).anchors == found.anchors
        with suppress(StorageConfigurationError):
            TrustList.from_pem(AUTHORITY.root, purposes=data.decode(errors="replace"))
        with suppress(StorageConfigurationError):
            assert read_certificates(data)
        with suppress(ProofAlgorithmError):
            TrustedKeys([data])
        with suppress(StorageConfigurationError, ProofAlgorithmError):
            ModelKey(data)
        with suppress(StorageConfigurationError, ProofAlgorithmError):
            LocalSigner.from_pem(data, Secret("x") if chance.random() < 0.2 else None)

    return target


def policies(folder: Path, altered: Altered) -> Target:
    """The file in TOML that says whom to trust, with the files that it names."""
    place = folder / "policy"
    place.mkdir()
    (place / "root.pem").write_bytes(AUTHORITY.root)
    (place / "key.pem").write_bytes(_pem_of(ec.generate_private_key(ec.SECP256R1())))
    good = (
        b'[c2pa]\ningredients = "trusted"\nsnapshot = true\n[[c2pa.signers]]\nname = "News"\nfile = "root.pem"\n'
        b'date = 2026-11-01\n[proofs]\nthreshold = 2\n[[keys]]\nname = "Release"\nfile = "key.pem"\n[[sigstore]]\n'
        b'identity = "a@example.org"\nissuer = "https://accounts.example"\n'
    )
    tokens = [
        b"[[", b"]]", b"[c2pa", b"[keys]\n", b"[[c2pa.timestamps]]\n", b'file = "nothing"\n', b"file = 7\n", b"= []\n",
        b'trust = "root.pem"\n', b'file = "/"\n', b'file = "\\u0000"\n', b"date = 7\n", b"threshold = 9\n", b'trusted_root = "key.pem"\n',
        b"sigstore = 7\n", b"\xff", b"'''", b"1e999", b"{a = {", b'allowed = "root.pem"\n', b'purposes = "root.pem"\n', b"saved = 1\n",
    ]  # fmt: skip
    file = place / "policy.toml"

    def target(chance: random.Random) -> None:
        file.write_bytes(altered(chance, [good], tokens))
        with suppress(StorageConfigurationError):
            VerificationPolicy.from_toml(file)

    return target


def evidence(altered: Altered) -> Target:
    """What is stored beside records: time stamps, renewals, markers, names, records of the original service."""
    stamps = json.loads((VECTORS / "timestamps.json").read_bytes())
    tokens_found = [
        base64.b64decode(value)
        for value in _texts(stamps)
        if isinstance(value, str) and value.startswith("MI")
    ]
    originals = [each.read_bytes() for each in sorted((VECTORS / "credlink").glob("*.json"))]
    layout = Layout()
    names = [
        layout.record(ID), layout.index(SHA, ID), layout.marker(ISSUED, ID), layout.revocation(ID), layout.piece(ID, b"x"),
        layout.manifest(ID),
    ]  # fmt: skip
    documents = [
        encode_renewal(Renewal((SHA, SHA), b"response")), encode_marker(Marker(SHA, manifest=True)), *tokens_found,
        *originals, *(each.encode() for each in names), link_header("https://a.example/m.c2pa").encode(),
    ]  # fmt: skip
    tokens = [
        b"/",
        b"..",
        b'"covers":',
        b'"v":true',
        b'"ciphertext":7',
        b'"iv":',
        b'rel="c2pa-manifest"',
        b";",
        b"<",
        b"\\",
    ]
    key = Secret("ab" * 32)

    def target(chance: random.Random) -> None:
        data = altered(chance, documents, tokens)
        with suppress(ProofTimestampError):
            parse_token(data)
        with suppress(ProofFormatError):
            renewal = parse_renewal(data)
            assert parse_renewal(encode_renewal(renewal)) == Renewal(
                tuple(sorted(renewal.covers)), renewal.response
            )
        with suppress(ProofFormatError):
            parse_marker_body(data)
        looks_like_legacy(data)
        with suppress(ProofFormatError, StorageConfigurationError):
            parse_legacy(data, chance.choice((None, key)))
        text = data.decode(errors="surrogateescape")
        find_manifest_url(text)
        for reader in (layout.parse_record, layout.parse_manifest):
            assert (found := reader(text)) is None or found in text
        for reader in (layout.parse_index, layout.parse_notice, layout.parse_piece, layout.parse_marker):
            assert (parts := reader(text)) is None or text.startswith(layout.prefix), parts

    return target


def _texts(value: object) -> list[object]:
    if isinstance(value, dict):
        return [each for inner in value.values() for each in _texts(inner)]
    if isinstance(value, list):
        return [each for inner in value for each in _texts(inner)]
    return [value]


def manifests(altered: Altered, stack: ExitStack) -> Target:
    """Manifest stores, cut and read by the library; pictures, from which a fingerprint is made."""
    first = sign(embed=True)
    second = sign(first.asset, definition=EDITED, parent=True, embed=True)
    image = picture(1, (64, 48))
    pictures = [encoded(image, kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP")]
    tokens = [
        b"jumb",
        b"jumd",
        b"\0\0\0\0",
        b"\0\0\0\x01",
        b"\xff\xff\xff\xff",
        b"c2pa",
        b"IDAT",
        b"\xff\xd9",
        b"\0" * 40,
    ]
    runner = stack.enter_context(asyncio.Runner())

    def target(chance: random.Random) -> None:
        data = altered(chance, [first.manifest, second.manifest], tokens)
        with suppress(ProofManifestError):
            alone = active_manifest(data)
            assert len(alone) <= len(data) + 8
        if chance.random() < 0.1:  # These take a millisecond or more.
            label = runner.run(label_of(data))
            assert label is None or isinstance(label, str)
            with suppress(StorageInvalidRequestError):
                binding = runner.run(fingerprint_of(altered(chance, pictures, tokens)))
                assert is_fingerprint(binding.alg, decode_value(binding.value))

    return target


def soft_bindings(altered: Altered, stack: ExitStack) -> Target:
    """Requests to the soft binding API: each gets a status of its description, and never a 503."""
    runner = stack.enter_context(asyncio.Runner())
    mark = SoftBinding("com.example.watermark.1", encode_value(b"id 4711"))
    store = ProofStore(MemoryStorageProvider(), trust=TRUST, signer=SIGNER)
    stack.callback(lambda: runner.run(store.aclose()))
    index = BindingIndex(store)
    signed = sign(embed=True)
    image = encoded(picture(1, (64, 48)))
    runner.run(index.issue(image, bindings=[mark], manifest=signed.manifest))
    label = runner.run(label_of(signed.manifest)) or ""
    app = SoftBindingApp(index, watermarks=[mark.alg], rate=1e9, burst=10**9)
    own = runner.run(fingerprint_of(image)).value
    paths = [
        *document()["paths"],
        f"/manifests/{quote(label)}",
        "/openapi.json",
        "/",
        "//",
        "/manifests/\x00",
    ]
    values = [
        mark.value,
        own,
        "AA==",
        "_-8",
        "*",
        "",
        "A" * 5000,
        mark.alg,
        ISCC,
        "a/b",
        "true",
        "false",
        "7",
        "-1",
        "\ud800",
    ]
    fields = ["alg", "value", "maxResults", "hintAlg", "hintValue", "returnActiveManifest", "other"]
    bodies = [
        json.dumps({"alg": mark.alg, "value": mark.value}).encode(),
        image,
        b"",
        encode_json({"alg": ISCC, "value": own}),
    ]
    tokens = [b'"alg":', b'"value":null', b"[" * 50, b"\xff"]
    types = [
        *PICTURES,
        "application/json",
        "application/octet-stream",
        "text/plain",
        "",
        "application/json; charset=x",
    ]
    known = {204, 404, 405} | {
        int(code) for path in document()["paths"].values() for each in path.values() for code in each["responses"]
    } - {503}  # fmt: skip

    async def body(data: bytes):
        for start in range(0, len(data), 1000):
            yield data[start : start + 1000]

    def target(chance: random.Random) -> None:
        pairs = [
            (chance.choice(fields), chance.choice(values)) for _ in range(chance.choice((0, 0, 1, 2, 5)))
        ]
        if chance.random() < 0.5:
            pairs += [("alg", chance.choice((mark.alg, ISCC))), ("value", chance.choice((mark.value, own)))]
        query = urlencode(pairs, errors="replace")
        if chance.random() < 0.2:
            query = altered(chance, [query.encode()], [b"%", b"&", b"=", b"+", b"%ff", b";"]).decode(
                "latin-1"
            )
        data = altered(chance, bodies, tokens)
        headers = {"content-type": chance.choice(types)}
        if chance.random() < 0.3:
            headers["content-length"] = chance.choice((str(len(data)), "-1", "x", "9" * 30, "\u0661"))
        answer = runner.run(
            app.respond(
                chance.choice(("GET", "GET", "GET", "POST", "POST", "HEAD", "OPTIONS", "PUT", "\x00")), chance.choice(paths), query,
                headers=headers, body=body(data), address="a",
            )
        )  # fmt: skip
        assert answer.status in known, f"status {answer.status}"
        if answer.status >= 400:
            assert set(json.loads(answer.body)) == {"error"}
        text = data.decode(errors="surrogateescape") if chance.random() < 0.5 else chance.choice(values)
        with suppress(StorageInvalidRequestError):
            value = decode_value(text)
            assert len(BindingNames("p/").bands(ISCC, value)) in {0, 16}
            assert decode_value(encode_value(value)) == value
        with suppress(StorageInvalidRequestError):
            assert "/" not in check_alg(text)

    return target


def builders(folder: Path, stack: ExitStack, altered: Altered) -> dict[str, Callable[[], Target]]:
    """What makes each of them, by name."""
    return {
        "notes, checkpoints, log policies": lambda: log_texts(altered),
        "log entries and tiles": lambda: log_tiles(altered),
        "attestations, models, indexes": lambda: attestations(altered),
        "bundles next to files": lambda: next_to_files(folder, altered),
        "lists and keys (PEM)": lambda: lists(altered),
        "trust policies (TOML)": lambda: policies(folder, altered),
        "time stamps, markers, old records": lambda: evidence(altered),
        "manifests and pictures": lambda: manifests(altered, stack),
        "soft binding requests": lambda: soft_bindings(altered, stack),
    }
