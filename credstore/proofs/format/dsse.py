"""The signed envelope: DSSE 1.0.2 around one in-toto statement. Pure, but for what a `Signer` does.

Rules of this file: signatures are checked over the bytes received, before anything parses them, and nothing
is serialised again for that. What identifies a statement is the SHA-256 of its PAE: a signature may be
added or encoded differently, and ECDSA signatures can be changed by anyone, without changing what was said.
"""

from __future__ import annotations

import hashlib
import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from credstore.arguments import typed_request
from credstore.errors import StorageInvalidRequestError
from credstore.proofs.format.canonical import Json, encode_json, parse_json
from credstore.proofs.format.errors import ProofFormatError, ProofSignatureError, ProofUntrustedKeyError
from credstore.proofs.format.fields import format_base64, read_base64, read_list, read_object, refuse
from credstore.proofs.format.record import LARGEST_PAYLOAD
from credstore.proofs.format.signing import SIGNING_SCHEMES, Signer
from credstore.proofs.format.trust import TrustedKey, TrustStore
from credstore.quick import made

PAYLOAD_TYPE = "application/vnd.in-toto+json"
ENVELOPE_TYPE = "application/vnd.dsse.envelope.v1+json"
"""Content type of a stored envelope."""
LARGEST_ENVELOPE = 2 * 1024 * 1024
MOST_SIGNATURES = 8
MOST_TRIES: int = 64
_LARGEST_SIGNATURE = 1024
_LONGEST_KEYID = 255
_KEYID = re.compile(r"sha256:[0-9a-f]{64}")
_PAYLOAD_TYPE = PAYLOAD_TYPE.encode()
_HEAD = b'{"payload":"'
_REST = re.compile(
    rb'","payloadType":"%s","signatures":\[\{"keyid":"(sha256:[0-9a-f]{64})","sig":"([A-Za-z0-9+/=]{1,%d})"\}\]\}'
    % (re.escape(_PAYLOAD_TYPE), 4 * ((_LARGEST_SIGNATURE + 2) // 3))
)


@typed_request
@dataclass(frozen=True)
class Signature:
    """One signature as received.

    Attributes:
        keyid: Who it says has signed; a hint, which may be empty.
        sig: The raw bytes.
    """

    keyid: str
    sig: bytes = field(repr=False)


@typed_request
@dataclass(frozen=True)
class Envelope:
    """A statement's bytes with their signatures; nothing about it is verified.

    Attributes:
        payload: The bytes that were signed.
        signatures: 1 to 8.
    """

    payload: bytes = field(repr=False)
    signatures: tuple[Signature, ...]

    @property
    def pae(self) -> bytes:
        """The message of the signatures."""
        return encode_pae(PAYLOAD_TYPE, self.payload)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the PAE: the identity of the statement."""
        return hashlib.sha256(self.pae).digest()


def _envelope(payload: bytes, signatures: tuple[Signature, ...]) -> Envelope:
    """An envelope whose parts are checked."""
    return made(Envelope, {"payload": payload, "signatures": signatures})


def _signature(keyid: str, sig: bytes) -> Signature:
    """A signature whose parts are checked."""
    return made(Signature, {"keyid": keyid, "sig": sig})


class Signed(NamedTuple):
    """A signature that fits, with the trust store's key that made it."""

    key: TrustedKey
    sig: bytes


def encode_pae(payload_type: str, body: bytes) -> bytes:
    """DSSE's pre-authentication encoding: type and body, each behind its length in bytes."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body)


async def seal_payload(payload: bytes, signers: Sequence[Signer]) -> Envelope:
    """Sign canonical bytes; each signature is checked with its public key before this returns.

    Args:
        payload: From `encode_record`, `encode_notice` or `encode_trust_statement`.
        signers: 1 to 8, with different keys; asked one after the other.

    Raises:
        StorageInvalidRequestError: No signer, too many, one key twice, or a scheme only for reading.
        ProofSignatureError: What a signer returned does not verify; nothing of it is kept.
        Exception: What a signer raised.
    """
    if not 1 <= len(signers) <= MOST_SIGNATURES:
        raise StorageInvalidRequestError(
            f"a statement takes 1 to {MOST_SIGNATURES} signers, not {len(signers)}"
        )
    if len(signers) > 1 and len({signer.public_key.spki for signer in signers}) != len(signers):
        raise StorageInvalidRequestError("one key would sign twice")
    message = encode_pae(PAYLOAD_TYPE, payload)
    signatures: list[Signature] = []
    for signer in signers:
        key = signer.public_key
        if key.scheme not in SIGNING_SCHEMES:
            raise StorageInvalidRequestError(f"signatures of scheme {key.scheme} are read, not written")
        sig = await signer.sign(message)
        # A broken HSM, a mixed-up key id or flipped memory is found here, not by the first reader.
        if not key.is_signature(sig, message):
            raise ProofSignatureError(f"the signer's signature does not verify with its own key {key.keyid}")
        signatures.append(_signature(key.keyid, bytes(sig)))
    return _envelope(payload, tuple(signatures))


def encode_envelope(envelope: Envelope) -> bytes:
    """The canonical bytes of an envelope, as stored."""
    if len(envelope.signatures) == 1 and _KEYID.fullmatch(envelope.signatures[0].keyid):
        # The most frequent kind; nothing in it needs an escape.
        (only,) = envelope.signatures
        return _joined(envelope.payload, only.keyid.encode(), only.sig)
    return encode_json(envelope_members(envelope))


def _joined(payload: bytes, keyid: bytes, sig: bytes) -> bytes:
    return b'{"payload":"%s","payloadType":"%s","signatures":[{"keyid":"%s","sig":"%s"}]}' % (
        b2a_base64(payload, newline=False),
        _PAYLOAD_TYPE,
        keyid,
        b2a_base64(sig, newline=False),
    )


def envelope_members(envelope: Envelope) -> dict[str, Json]:
    """An envelope as a JSON object."""
    return {
        "payload": format_base64(envelope.payload),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": each.keyid, "sig": format_base64(each.sig)} for each in envelope.signatures],
    }


def parse_envelope(data: bytes) -> Envelope:
    """Read an envelope without verifying anything.

    Raises:
        ProofFormatError: Not a DSSE envelope of an in-toto statement, or over 2 MiB.
    """
    usual = _read_usual(data)
    return usual or read_envelope(parse_json(data, limit=LARGEST_ENVELOPE), "the envelope")


def _read_usual(data: bytes) -> Envelope | None:
    """An envelope with one signature, exactly as `encode_envelope` writes it; None for any other bytes."""
    if len(data) > LARGEST_ENVELOPE:
        return None
    end = data.find(b'"', len(_HEAD))
    rest = _REST.fullmatch(data, end)
    if rest is None:
        return None
    keyid, sig = rest.groups()
    try:
        payload = a2b_base64(data[len(_HEAD) : end], strict_mode=True)
        raw = a2b_base64(sig, strict_mode=True)
    except ValueError:
        return None
    # Base64 of one value has several forms; one that is not the shortest is refused where others are read.
    if len(payload) > LARGEST_PAYLOAD or _joined(payload, keyid, raw) != data:
        return None
    return _envelope(payload, (_signature(keyid.decode(), raw),))


def read_envelope(value: Json, name: str) -> Envelope:
    """Read a parsed envelope; unknown members are ignored, as DSSE says.

    Raises:
        ProofFormatError: Not a DSSE envelope of an in-toto statement.
    """
    members = read_object(value, name, needs=("payload", "payloadType", "signatures"))
    if members["payloadType"] != PAYLOAD_TYPE:
        refuse("payloadType", f"is not {PAYLOAD_TYPE}")
    entries = read_list(members["signatures"], "signatures", least=1, most=MOST_SIGNATURES)
    payload = _read_payload(members["payload"])
    return _envelope(payload, tuple(_read_signature(entry) for entry in entries))


def _read_signature(value: Json) -> Signature:
    members = read_object(value, "a signature", needs=("sig",))
    keyid = members.get("keyid", "")
    if not isinstance(keyid, str) or len(keyid) > _LONGEST_KEYID:
        raise ProofFormatError(f"keyid is not a string of at most {_LONGEST_KEYID} characters")
    return _signature(keyid, _read_sig(members["sig"]))


def _read_payload(value: Json) -> bytes:
    return read_base64(value, "payload", most=LARGEST_PAYLOAD, url_safe=True)


def _read_sig(value: Json) -> bytes:
    return read_base64(value, "sig", most=_LARGEST_SIGNATURE, url_safe=True)


def verify_signatures(envelope: Envelope, trust: TrustStore) -> tuple[Signed, ...]:
    """The signatures that fit, at most one per key; others decide whether a key may say this.

    An id of a trusted key leads to that key. Without one, or with one that another tool made up, all keys are
    candidates, those of the issuer that the statement seems to name first; at most 64 are tried.

    Raises:
        ProofUntrustedKeyError: No signature is from a key in the trust store, or not all candidates could be
            tried.
        ProofSignatureError: There are such keys, but no signature fits.
    """
    message = envelope.pae
    if len(envelope.signatures) == 1:  # As nearly all have, from a key that is known.
        (only,) = envelope.signatures
        known = trust.find(only.keyid)
        if known is not None and known.public_key.is_signature(only.sig, message):
            return (Signed(known, only.sig),)
    found: dict[bytes, Signed] = {}
    tries = untried = 0
    named = [(each, trust.find(each.keyid) if each.keyid else None) for each in envelope.signatures]
    # Those with an id first: whoever adds signatures without one must not use up what is tried.
    for signature, key in sorted(named, key=_is_unnamed) if len(named) > 1 else named:
        for candidate in (key,) if key is not None else _candidates(signature.keyid, envelope, trust):
            # Keys, not ids, are counted, and the work that a hostile envelope causes is bounded.
            if candidate.public_key.spki in found:
                continue
            if tries >= MOST_TRIES:
                untried += 1
                continue
            tries += 1
            if candidate.public_key.is_signature(signature.sig, message):
                found[candidate.public_key.spki] = Signed(candidate, signature.sig)
                break
    if len(found) == 1:
        return tuple(found.values())
    if found:
        # In the order of the envelope.
        order = {each.sig: place for place, each in reversed(list(enumerate(envelope.signatures)))}
        return tuple(sorted(found.values(), key=lambda each: order[each.sig]))
    if tries == 0:
        raise ProofUntrustedKeyError("the trust store has no key that signed this")
    if untried:
        raise ProofUntrustedKeyError(
            f"no signature fits one of the {tries} keys that were tried, but {untried} were not: the "
            "envelope has to name its keys, or the trust store has to have fewer for its issuer"
        )
    raise ProofSignatureError(
        "no signature fits: the statement or a signature was changed, or another key signed"
    )


def needs_search(envelope: Envelope, trust: TrustStore) -> bool:
    """Whether `verify_signatures` may try many keys, which takes milliseconds."""
    for each in envelope.signatures:
        if trust.find(each.keyid) is None and not _KEYID.fullmatch(each.keyid):
            return True
    return False


def _is_unnamed(named: tuple[Signature, TrustedKey | None]) -> bool:
    return named[1] is None


def _candidates(keyid: str, envelope: Envelope, trust: TrustStore) -> Sequence[TrustedKey]:
    """Keys for a signature whose id leads to none; what the payload says of its issuer only orders them."""
    if _KEYID.fullmatch(keyid):
        return ()  # The id of a key that is not trusted.
    payload = envelope.payload
    issuers = {each for key in trust.keys for each in key.issuers}
    named = {each for each in issuers if b'"issuer":"%s"' % each.encode(errors="replace") in payload}
    return sorted(trust.keys, key=lambda key: named.isdisjoint(key.issuers))
