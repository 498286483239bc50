"""Other people's attestations as they come: DSSE envelopes, and Sigstore bundles around one. Pure.

Rules of this file: the bytes are kept as they are, and nothing is written again; what is read from them is
what a signature covers, and nothing of it is believed before one fits. Identity is the SHA-256 of the PAE.

Source: DSSE 1.0.2; in-toto Attestation Framework v1 (and Statement v0.1); Sigstore bundle format 0.1 to 0.3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

from credstore.proofs.format.canonical import Json, encode_json, parse_json
from credstore.proofs.format.dsse import MOST_SIGNATURES, PAYLOAD_TYPE, Envelope, Signature, encode_pae
from credstore.proofs.format.errors import ProofFormatError
from credstore.proofs.format.fields import (
    format_base64,
    read_base64,
    read_hex,
    read_list,
    read_object,
    read_text,
    refuse,
)
from credstore.proofs.format.signing import PublicKey

LARGEST_ATTESTATION = 16 * 1024 * 1024
MOST_SUBJECTS = 1000
BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_BUNDLES = "application/vnd.dev.sigstore.bundle"
_STATEMENTS = frozenset({"https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"})
_LARGEST_SIG = 16 * 1024
_LONGEST = 2048
_SHA256 = 32

Form = Literal["dsse", "sigstore"]


@dataclass(frozen=True, slots=True)
class Subject:
    """What a statement is about.

    Attributes:
        name: As the statement has it; may be empty.
        sha256: 32 bytes, or None where it has other digests only.
    """

    name: str
    sha256: bytes | None


@dataclass(frozen=True, slots=True)
class ForeignBundle:
    """An attestation as received; nothing about it is verified.

    Attributes:
        data: All of it, byte for byte.
        form: A bare envelope, or a Sigstore bundle.
        payload_type: Of the payload.
        payload: The bytes that were signed.
        signatures: 1 to 8.
        predicate_type: Of an in-toto statement, else None.
        subjects: Of an in-toto statement, else empty.
    """

    data: bytes = field(repr=False)
    form: Form
    payload_type: str
    payload: bytes = field(repr=False)
    signatures: tuple[Signature, ...]
    predicate_type: str | None
    subjects: tuple[Subject, ...]

    @property
    def pae(self) -> bytes:
        """The message of the signatures."""
        return encode_pae(self.payload_type, self.payload)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the PAE: the identity of the statement."""
        return hashlib.sha256(self.pae).digest()

    @property
    def statement(self) -> Mapping[str, Json]:
        """The statement, parsed strictly; empty for another payload."""
        if self.predicate_type is None:
            return {}
        return cast("Mapping[str, Json]", parse_json(self.payload, limit=LARGEST_ATTESTATION))


def parse_attestation(data: bytes) -> ForeignBundle:
    """Read an attestation without verifying anything.

    Raises:
        ProofFormatError: Neither an envelope nor a bundle with one, over 16 MiB, or about more than 1,000
            subjects.
    """
    members = read_object(parse_json(data, limit=LARGEST_ATTESTATION), "the attestation", needs=())
    form: Form = "dsse"
    if "mediaType" in members or "dsseEnvelope" in members:
        form = "sigstore"
        kind = members.get("mediaType")
        if not isinstance(kind, str) or not kind.startswith(_BUNDLES):
            refuse("mediaType", "is not that of a Sigstore bundle")
        if "dsseEnvelope" not in members:
            raise ProofFormatError("a Sigstore bundle without a statement: it signs a digest of bytes alone")
        members = read_object(members["dsseEnvelope"], "dsseEnvelope")
    read_object(members, "the envelope", needs=("payload", "payloadType", "signatures"))
    payload_type = read_text(members["payloadType"], "payloadType", longest=_LONGEST)
    payload = read_base64(members["payload"], "payload", most=LARGEST_ATTESTATION, url_safe=True)
    entries = read_list(members["signatures"], "signatures", least=1, most=MOST_SIGNATURES)
    predicate_type, subjects = _read_statement(payload) if payload_type == PAYLOAD_TYPE else (None, ())
    return ForeignBundle(
        data,
        form,
        payload_type,
        payload,
        tuple(_read_signature(each) for each in entries),
        predicate_type,
        subjects,
    )


def _read_signature(value: Json) -> Signature:
    members = read_object(value, "a signature", needs=("sig",))
    keyid = members.get("keyid", "")
    if not isinstance(keyid, str) or len(keyid) > _LONGEST:
        refuse("keyid", f"is not a string of at most {_LONGEST} characters")
    return Signature(keyid, read_base64(members["sig"], "sig", most=_LARGEST_SIG, url_safe=True))


def _read_statement(payload: bytes) -> tuple[str, tuple[Subject, ...]]:
    members = read_object(
        parse_json(payload, limit=LARGEST_ATTESTATION),
        "the statement",
        needs=("_type", "subject", "predicateType"),
    )
    if members["_type"] not in _STATEMENTS:
        refuse("_type", "is not an in-toto Statement of v1 or v0.1")
    subjects = read_list(members["subject"], "subject", least=1, most=MOST_SUBJECTS)
    return (
        read_text(members["predicateType"], "predicateType", longest=_LONGEST),
        tuple(_read_subject(each) for each in subjects),
    )


def _read_subject(value: Json) -> Subject:
    members = read_object(value, "subject", needs=("digest",))
    digests = read_object(members["digest"], "subject.digest")
    name = members.get("name", "")
    if not isinstance(name, str) or len(name) > _LONGEST:
        refuse("subject.name", f"is not a string of at most {_LONGEST} characters")
    sha256 = digests.get("sha256")
    return Subject(name, None if sha256 is None else read_hex(sha256, "subject.digest.sha256", size=_SHA256))


def encode_sigstore_bundle(envelope: Envelope, key: PublicKey) -> bytes:
    """A proof or another statement of credstore as a Sigstore bundle v0.3 with the hint of its key.

    For tools that take a bundle with a public key; sigstore-python takes those with a certificate only.

    Args:
        envelope: The statement; of its signatures, that of `key` goes in, since a bundle has one.
        key: Whose signature.

    Raises:
        ProofFormatError: The key has not signed it.
    """
    sig = next((each.sig for each in envelope.signatures if each.keyid == key.keyid), None)
    if sig is None or not key.is_signature(sig, envelope.pae):
        raise ProofFormatError("the key has not signed this envelope, so no bundle can be made with it")
    members: dict[str, Json] = {
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": {"publicKey": {"hint": key.keyid}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": format_base64(envelope.payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": format_base64(sig)}],
        },
    }
    return encode_json(members)
