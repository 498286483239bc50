"""A certificate authority, credentials and two small images for the tests of C2PA."""

import http.server
import io
import json
import struct
import threading
import zlib
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import c2pa as library
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from credstore.encryption import Secret
from credstore.proofs.c2pa import ManifestCredential
from credstore.proofs.format.manifest_links import manifest_headers

CREATION = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCreation"
DEFINITION = {
    "title": "a small picture",
    "assertions": [
        {
            "label": "c2pa.actions",
            "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": CREATION}]},
        },
        {"label": "example.claim", "data": {"camera": "none"}},
    ],
}
C2PA_CLAIM_SIGNING = x509.ObjectIdentifier("1.3.6.1.4.1.62558.2.1")
DAY = timedelta(days=1)


def make_png() -> bytes:
    """Four by four pixels in three colours (RFC 2083)."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(
        b"\0" + bytes(60 * (x + y + c) % 256 for x in range(4) for c in range(3)) for y in range(4)
    )
    header = struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def make_jpeg() -> bytes:
    """Eight by eight grey pixels, baseline (ITU-T T.81): both Huffman tables have one code, "0" for 0."""

    def segment(marker: int, data: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data

    one_code = bytes([1]) + bytes(15) + b"\0"
    return (
        b"\xff\xd8"
        + segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
        + segment(0xDB, b"\0" + b"\x10" * 64)
        + segment(0xC0, struct.pack(">BHHB", 8, 8, 8, 1) + b"\1\x11\0")
        + segment(0xC4, b"\x00" + one_code)
        + segment(0xC4, b"\x10" + one_code)
        + segment(0xDA, b"\1\1\0\0\x3f\0")
        # No difference in brightness, end of block, six bits of filling.
        + b"\x3f\xff\xd9"
    )


def to_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


class Authority:
    """A root certificate that certifies keys for signing manifests."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test root")])
        usage = self._usage(key_cert_sign=True, crl_sign=True)
        self.root = to_pem(
            self._builder(self._name, self._key.public_key(), -30 * DAY, 3650 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def certify(
        self,
        key,
        *,
        purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.EMAIL_PROTECTION,
        until: timedelta = 365 * DAY,
        ocsp: str | None = None,
    ) -> bytes:
        """A certificate in PEM, then the root."""
        name = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, "Test signer"),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test organization"),
            ]
        )
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            self._builder(name, key.public_key(), -20 * DAY, until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(self._usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(authority, critical=False)
        )
        if ocsp is not None:
            place = x509.AccessDescription(
                AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(ocsp)
            )
            builder = builder.add_extension(x509.AuthorityInformationAccess([place]), critical=False)
        return to_pem(builder.sign(self._key, hashes.SHA256())) + self.root

    def credential(self, key=None, **certificate: object) -> ManifestCredential:
        key = key or ec.generate_private_key(ec.SECP256R1())
        return ManifestCredential.from_pem(self.certify(key, **certificate), private_pem(key))

    def _builder(self, subject, key, start, end) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + start)
            .not_valid_after(now + end)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )

    def _usage(self, **granted: bool) -> x509.KeyUsage:
        names = (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        )
        return x509.KeyUsage(**{name: granted.get(name, False) for name in names})


def private_pem(key) -> Secret:
    return Secret(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
    )


def embed_with_identity(asset: bytes, media_type: str, claim: Authority, identity: Authority) -> bytes:
    """Signed by c2pa-rs alone, with a CAWG identity assertion (X.509): it makes these from settings only."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in "ab"]
    signer, actor = (
        {"alg": "es256", "sign_cert": by.certify(key).decode(), "private_key": private_pem(key).reveal()}
        for by, key in zip((claim, identity), keys, strict=True)
    )
    settings = {
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
        "builder": {"thumbnail": {"enabled": False}},
        "signer": {"local": signer},
        "cawg_x509_signer": {"local": {**actor, "referenced_assertions": ["c2pa.hash.data"]}},
    }
    output = io.BytesIO()
    with (
        library.Context.from_dict(settings) as context,
        library.Builder(json.dumps(DEFINITION), context) as builder,
    ):
        builder._has_context_signer = True  # c2pa-python does not notice a signer that is in the settings.
        builder.sign(media_type, io.BytesIO(asset), output)
    return output.getvalue()


AUTHORITY = Authority()
KEYS = {"ES256": ec.generate_private_key(ec.SECP256R1()), "Ed25519": Ed25519PrivateKey.generate()}
CREDENTIALS = {name: AUTHORITY.credential(key) for name, key in KEYS.items()}
IMAGES = {"image/png": make_png(), "image/jpeg": make_jpeg()}


@contextmanager
def host(content: bytes | bytearray):
    """A server on loopback that gives `content` for every path, and the paths it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            for name, value in manifest_headers().items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()
