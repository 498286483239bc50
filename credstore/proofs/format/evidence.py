"""What may be added to a proof later: timestamps, renewals of them, and further signatures. Pure.

A timestamp is over one signature. A renewal is a timestamp over the proof and over earlier timestamps, made
while those still count (the idea of RFC 4998): it shows that they existed then, so they count even after
others have the keys of their authority. A further signature is an envelope with the proof's own payload.
Rules of this file: each piece is what its bytes say, and none is believed: whatever does not verify adds
nothing. So nothing that is added by someone else makes a proof invalid.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from credstore.proofs.format.canonical import Json, encode_json, parse_json
from credstore.proofs.format.dsse import (
    MOST_SIGNATURES,
    Envelope,
    Signature,
    parse_envelope,
    verify_signatures,
)
from credstore.proofs.format.errors import ProofError, ProofFormatError, ProofTimestampError
from credstore.proofs.format.fields import format_base64, read_base64, read_hex, read_list, read_object
from credstore.proofs.format.timestamp import (
    LARGEST_RESPONSE,
    Attested,
    TimestampAuthorities,
    Token,
    parse_token,
)
from credstore.proofs.format.trust import TrustStore
from credstore.proofs.format.verify import TrustedTime

LARGEST_PIECE = 2 * 1024 * 1024
MOST_PIECES = 256
"""How many of a proof's pieces are looked at."""
MOST_COVERED = 64
_DOMAIN = b"credstore/timestamp-renewal/v1\0"
_SHA256 = 32


@dataclass(frozen=True, slots=True)
class Renewal:
    """A timestamp over a proof and earlier timestamps.

    Attributes:
        covers: SHA-256 of each earlier one as it is stored, ascending.
        response: DER TimeStampResp over `renewal_message`.
    """

    covers: tuple[bytes, ...]
    response: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Stamp:
    """A timestamp that counts.

    Attributes:
        piece: Its bytes as stored.
        time: When.
        ends: When the certificate of its signer ends.
        sig: The signature that it is over, or None for a renewal.
    """

    piece: bytes = field(repr=False)
    time: datetime
    ends: datetime
    sig: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the pieces of a proof come to.

    Attributes:
        envelope: The proof with its further signatures, at most 8 together.
        times: Trusted times of its signatures.
        stamps: The timestamps that count.
        unchecked: How many pieces were not judged: timestamps of authorities that are not pinned, and what
            is of a kind unknown here.
        refused: Why a timestamp of a pinned authority does not verify, for the first one; or None.
        outdated: Why one that verifies does not count any more, for the first one; or None.
    """

    envelope: Envelope
    times: tuple[TrustedTime, ...] = ()
    stamps: tuple[Stamp, ...] = ()
    unchecked: int = 0
    refused: ProofTimestampError | None = None
    outdated: ProofTimestampError | None = None

    @property
    def doubt(self) -> ProofTimestampError | None:
        """Why a timestamp did not help, or None."""
        return self.refused or self.outdated


def renewal_message(envelope: Envelope, covers: Iterable[bytes]) -> bytes:
    """What a renewal's timestamp is over.

    Args:
        envelope: The proof.
        covers: SHA-256 of each earlier piece.
    """
    return _DOMAIN + envelope.digest + b"".join(sorted(covers))


def renewal_members(renewal: Renewal) -> dict[str, Json]:
    """What it covers and its response, as JSON."""
    return {
        "covers": [each.hex() for each in sorted(renewal.covers)],
        "response": format_base64(renewal.response),
    }


def read_renewal(members: Mapping[str, Json]) -> Renewal:
    """Read the members of `renewal_members`.

    Raises:
        ProofFormatError: One of them breaks its rule, or is missing.
    """
    covers = read_list(members.get("covers"), "covers", least=1, most=MOST_COVERED)
    return Renewal(
        tuple(read_hex(each, "covers", size=_SHA256) for each in covers),
        read_base64(members.get("response"), "response", most=LARGEST_RESPONSE),
    )


def encode_renewal(renewal: Renewal) -> bytes:
    """The canonical bytes of a renewal, as stored."""
    return encode_json({**renewal_members(renewal), "v": 1})


def parse_renewal(data: bytes) -> Renewal:
    """Read a renewal without verifying anything.

    Raises:
        ProofFormatError: Not a renewal of this version.
    """
    members = read_object(
        parse_json(data, limit=LARGEST_PIECE), "the renewal", needs=("covers", "response", "v"), may=()
    )
    if members["v"] != 1:
        raise ProofFormatError("a renewal of another version")
    return read_renewal(members)


@dataclass(slots=True)
class _Pieces:
    """Pieces by kind, with the SHA-256 of each."""

    tokens: dict[bytes, tuple[bytes, Token]] = field(default_factory=dict[bytes, tuple[bytes, Token]])
    renewals: dict[bytes, tuple[bytes, Renewal, Token]] = field(
        default_factory=dict[bytes, tuple[bytes, Renewal, Token]]
    )
    signatures: list[Signature] = field(default_factory=list[Signature])
    unknown: int = 0


def _sort(envelope: Envelope, pieces: Sequence[bytes], trust: TrustStore, *, tokens: bool) -> _Pieces:
    """Read pieces; without `tokens` only further signatures, for which no extra is needed."""
    found = _Pieces(signatures=list(envelope.signatures))
    for piece in pieces:
        digest = hashlib.sha256(piece).digest()
        try:
            if not piece.startswith(b"{"):
                if not tokens:
                    found.unknown += 1
                    continue
                found.tokens[digest] = piece, parse_token(piece)
                continue
            members = cast("Mapping[str, Json]", parse_json(piece, limit=LARGEST_PIECE))
            if "payload" not in members:
                if not tokens:
                    found.unknown += 1
                    continue
                renewal = parse_renewal(piece)
                found.renewals[digest] = piece, renewal, parse_token(renewal.response)
                continue
            further = parse_envelope(piece)
            if further.payload != envelope.payload:
                raise ProofFormatError("signatures of something else")
            # Only those that fit and name their key: junk must not take the place of what counts.
            named = tuple(each for each in further.signatures if trust.find(each.keyid) is not None)
            if not named:
                raise ProofFormatError("signatures of unknown keys")
            fitting = verify_signatures(Envelope(envelope.payload, named), trust)
            found.signatures += [Signature(each.key.keyid, each.sig) for each in fitting]
        except ProofError:
            found.unknown += 1
    return found


def weigh_evidence(
    envelope: Envelope,
    pieces: Sequence[bytes],
    authorities: TimestampAuthorities | None,
    trust: TrustStore,
) -> Evidence:
    """Find out what pieces come to; of more than 256, the first.

    Args:
        envelope: The proof.
        pieces: As stored, in any order.
        authorities: Whose timestamps count, or None, which leaves timestamps unchecked.
        trust: Whose further signatures may count.
    """
    found = _sort(envelope, pieces[:MOST_PIECES], trust, tokens=authorities is not None)
    distinct = {each.sig: each for each in reversed(found.signatures)}
    signatures = [each for each in found.signatures if distinct[each.sig] is each][:MOST_SIGNATURES]
    whole = Envelope(envelope.payload, tuple(signatures))
    if authorities is None:
        return Evidence(whole, unchecked=found.unknown)
    weighing = _Weighing(authorities, whole, found)
    stamps = weighing.stamps()
    times = tuple(TrustedTime(each.time, "rfc3161", each.sig) for each in stamps if each.sig is not None)
    return Evidence(
        whole,
        times,
        tuple(stamps),
        weighing.unchecked + found.unknown,
        weighing.refused,
        weighing.outdated,
    )


class _Weighing:
    """Judges tokens, and then which of them still count."""

    def __init__(self, authorities: TimestampAuthorities, envelope: Envelope, found: _Pieces) -> None:
        self._authorities = authorities
        self._found = found
        self.unchecked = 0
        self.refused: ProofTimestampError | None = None
        self.outdated: ProofTimestampError | None = None
        self._attested: dict[bytes, tuple[Attested, bytes | None, bytes]] = {}
        for digest, (piece, token) in found.tokens.items():
            sig = next((each.sig for each in envelope.signatures if token.is_over(each.sig)), None)
            attested = self._judge(token, sig)
            if attested is not None:
                self._attested[digest] = attested, sig, piece
        for digest, (piece, renewal, token) in found.renewals.items():
            attested = self._judge(token, renewal_message(envelope, renewal.covers))
            if attested is not None:
                self._attested[digest] = attested, None, piece

    def _judge(self, token: Token, message: bytes | None) -> Attested | None:
        try:
            # Over nothing that is here: refused if it is of a pinned authority.
            attested = self._authorities.attest(token, b"" if message is None else message)
        except ProofTimestampError as error:
            self.refused = self.refused or error
            return None
        self.unchecked += attested is None
        return attested

    def stamps(self) -> list[Stamp]:
        """Those that count, by time."""
        counted = self._counted()
        for digest, (attested, _, _) in self._attested.items():
            if digest not in counted and self.outdated is None:
                self.outdated = ProofTimestampError(
                    "others may have the keys of the timestamp's authority since "
                    f"{attested.authority.invalid_since}, and no other authority has stamped it before"
                )
        stamps = [
            Stamp(piece, attested.time, attested.ends, sig)
            for digest, (attested, sig, piece) in self._attested.items()
            if digest in counted
        ]
        return sorted(stamps, key=lambda each: (each.time, each.piece))

    def _counted(self) -> set[bytes]:
        """Tokens of sound authorities, and whatever these have stamped in time, and so on."""
        counted = {
            digest
            for digest, (attested, _, _) in self._attested.items()
            if attested.authority.invalid_since is None
        }
        waiting = list(counted)
        while waiting:
            renewal = self._found.renewals.get(digest := waiting.pop())
            if renewal is None:
                continue
            shown = self._attested[digest][0].time
            for covered in renewal[1].covers:
                if covered in counted or covered not in self._attested:
                    continue
                since = self._attested[covered][0].authority.invalid_since
                if since is not None and shown < since:
                    counted.add(covered)
                    waiting.append(covered)
        return counted
