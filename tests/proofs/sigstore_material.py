"""A public-good instance of one's own: a Fulcio root, a CT log, a Rekor log and an authority, and their bundles.

Everything is made here, so `sigstore` can verify it without a network, against the trusted root made here too.
"""

import base64
import hashlib
import json
import struct
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from credstore.proofs.format.dsse import PAYLOAD_TYPE, encode_pae
from credstore.proofs.format.timestamp import make_timestamp_request
from credstore.proofs.log.merkle import hash_leaf
from tests.proofs.authorities import Authority

IDENTITY, OIDC = "https://ci.example/workflow@main", "https://oidc.example"
SCTS = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
OIDC_ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
DAY = timedelta(days=1)


def b64(data):
    return base64.b64encode(data).decode()


def spki(key):
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def der(certificate):
    return certificate.public_bytes(serialization.Encoding.DER)


def sign(key, data):
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


class Instance:
    """Signs statements as Sigstore's public instance does."""

    def __init__(self, place):
        self.root_key, self.ct_key, self.log_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
        self.authority = Authority(place, "Instance")
        name = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "instance.example"),
                x509.NameAttribute(NameOID.COMMON_NAME, "fulcio"),
            ]
        )
        now = datetime.now(UTC)
        self.root = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.root_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + 1000 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(sign=False), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self.root_key.public_key()), critical=False
            )
            .sign(self.root_key, hashes.SHA256())
        )

    def trusted_root(self):
        start = {"start": (datetime.now(UTC) - DAY).strftime("%Y-%m-%dT%H:%M:%SZ")}
        pem = self.authority.certificates + self.authority.roots
        chain = [der(each) for each in x509.load_pem_x509_certificates(pem)]

        def log(key):
            return {
                "baseUrl": "https://log.example",
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": b64(spki(key)),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": start,
                },
                "logId": {"keyId": b64(hashlib.sha256(spki(key)).digest())},
            }

        def authority(certificates):
            return {
                "subject": {"organization": "instance.example", "commonName": "instance"},
                "uri": "https://instance.example",
                "certChain": {"certificates": [{"rawBytes": b64(each)} for each in certificates]},
                "validFor": start,
            }

        return json.dumps(
            {
                "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
                "tlogs": [log(self.log_key)],
                "certificateAuthorities": [authority([der(self.root)])],
                "ctlogs": [log(self.ct_key)],
                "timestampAuthorities": [authority(chain)],
            }
        ).encode()

    def _certificate(self, key, identity):
        """A signing certificate with the promise of a CT log in it (RFC 6962 section 3.3)."""
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.root.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + timedelta(minutes=10))
            .add_extension(_usage(sign=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.root_key.public_key()), critical=False
            )
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]), critical=True
            )
            .add_extension(x509.UnrecognizedExtension(OIDC_ISSUER, OIDC.encode()), critical=False)
        )
        before = builder.sign(self.root_key, hashes.SHA256()).tbs_certificate_bytes
        milliseconds = int(now.timestamp() * 1000)
        issuer = hashlib.sha256(spki(self.root_key)).digest()
        entry = issuer + len(before).to_bytes(3, "big") + before
        signed = struct.pack(">BBQH", 0, 0, milliseconds, 1) + entry + b"\0\0"
        sig = sign(self.ct_key, signed)
        head = struct.pack(">B32sQH", 0, hashlib.sha256(spki(self.ct_key)).digest(), milliseconds, 0)
        sct = head + bytes([4, 3]) + struct.pack(">H", len(sig)) + sig
        listed = struct.pack(">HH", len(sct) + 2, len(sct)) + sct
        octets = b"\x04%c" % len(listed) + listed
        return builder.add_extension(x509.UnrecognizedExtension(SCTS, octets), critical=False).sign(
            self.root_key, hashes.SHA256()
        )

    def bundle(self, payload, identity=IDENTITY, kind=PAYLOAD_TYPE):
        """A Sigstore bundle v0.3 around a payload, in JSON with spaces that nothing needs."""
        key = ec.generate_private_key(ec.SECP256R1())
        sig = sign(key, encode_pae(kind, payload))
        envelope = {"payload": b64(payload), "payloadType": kind, "signatures": [{"sig": b64(sig)}]}
        certificate = self._certificate(key, identity)
        entry = {
            "envelopeHash": {"algorithm": "sha256", "value": "0" * 64},
            "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
            "signatures": [{"signature": b64(sig), "verifier": b64(_pem(certificate))}],
        }
        return self._bundle("dsse", entry, certificate, sig, {"dsseEnvelope": envelope})

    def signed(self, data, identity=IDENTITY):
        """A Sigstore bundle v0.3 with a signature of a file."""
        key = ec.generate_private_key(ec.SECP256R1())
        sig, digest = sign(key, data), hashlib.sha256(data)
        certificate = self._certificate(key, identity)
        entry = {
            "data": {"hash": {"algorithm": "sha256", "value": digest.hexdigest()}},
            "signature": {"content": b64(sig), "publicKey": {"content": b64(_pem(certificate))}},
        }
        about = {"algorithm": "SHA2_256", "digest": b64(digest.digest())}
        message = {"messageDigest": about, "signature": b64(sig)}
        return self._bundle("hashedrekord", entry, certificate, sig, {"messageSignature": message})

    def _bundle(self, kind, entry, certificate, sig, content):
        body = json.dumps({"apiVersion": "0.0.1", "kind": kind, "spec": entry}).encode()
        leaf = hash_leaf(body)
        text = f"log.example\n1\n{b64(leaf)}\n"
        keyid = hashlib.sha256(spki(self.log_key)).digest()
        note = f"{text}\n\u2014 log.example {b64(keyid[:4] + sign(self.log_key, text.encode()))}\n"
        stamp = self.authority.stamp(make_timestamp_request(sig)[0], chain=False)
        material = {
            "certificate": {"rawBytes": b64(der(certificate))},
            "tlogEntries": [
                {
                    "logIndex": "0",
                    "logId": {"keyId": b64(keyid)},
                    "kindVersion": {"kind": kind, "version": "0.0.1"},
                    "inclusionProof": {
                        "logIndex": "0",
                        "rootHash": b64(leaf),
                        "treeSize": "1",
                        "hashes": [],
                        "checkpoint": {"envelope": note},
                    },
                    "canonicalizedBody": b64(body),
                }
            ],
            "timestampVerificationData": {"rfc3161Timestamps": [{"signedTimestamp": b64(stamp)}]},
        }
        members = {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": material,
            **content,
        }
        return json.dumps(members, indent=3).encode() + b"\n"


def _pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


def _usage(*, sign):
    return x509.KeyUsage(
        digital_signature=sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=not sign,
        crl_sign=not sign,
        encipher_only=False,
        decipher_only=False,
    )
