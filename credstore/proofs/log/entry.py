"""Entries of the log: which statement was made, by digests only, so erasing leaves no personal data. Pure.

Rules of this file: only what verifies becomes an entry; an entry is canonical JSON (RFC 8785). `pae` and
`sig` are the two that a Rekor v2 `hashedrekord` has.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, Protocol, cast, get_args, runtime_checkable

from credstore.arguments import typed, typed_class
from credstore.proofs.format.canonical import Json, encode_json, parse_canonical
from credstore.proofs.format.dsse import Envelope, encode_envelope, parse_envelope, verify_signatures
from credstore.proofs.format.errors import LogEntryError, ProofFormatError
from credstore.proofs.format.fields import format_base64, read_base64, read_id, read_list, read_object
from credstore.proofs.format.record import PROOF_TYPE, parse_payload, parse_record, read_statement
from credstore.proofs.format.status import ERASURE_TYPE, REVOCATION_TYPE, parse_notice, verify_notice
from credstore.proofs.format.trust import TrustStore
from credstore.proofs.format.trust_publication import TRUST_STORE_TYPE, open_trust_store
from credstore.proofs.format.verify import VerifiedProof, verify_signed

EntryKind = Literal["issue", "revoke", "erase", "keyring"]
LARGEST_LOGGED = 16 * 1024
"""Bytes of an entry that the sequencer takes; a bundle could hold more."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LARGEST_SIG = 1024
_WHOLE = b'{"payload":'
_ISSUED = f'"predicateType":"{PROOF_TYPE}"'.encode()
_PUBLISHED = f'"predicateType":"{TRUST_STORE_TYPE}"'.encode()


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What the log says about a statement.

    Attributes:
        kind: What was stated: "issue", "revoke", "erase" or "keyring".
        pae: SHA-256 of the statement's PAE, 32 bytes: its identity.
        keyid: Of the key whose signature is `sig`.
        sig: The first signature that verified.
        proof_id: The proof it is about; None for a key ring.
        subject: SHA-256 of the asset, 32 bytes; None where it is not logged.
    """

    kind: EntryKind
    pae: bytes
    keyid: str
    sig: bytes = field(repr=False)
    proof_id: str | None = None
    subject: bytes | None = None

    @property
    def data(self) -> bytes:
        """The bytes that are logged."""
        members: dict[str, Json] = {
            "keyid": self.keyid,
            "kind": self.kind,
            "pae": f"sha256:{self.pae.hex()}",
            "sig": format_base64(self.sig),
            "v": 1,
        }
        if self.proof_id is not None:
            members["proofId"] = self.proof_id
        if self.subject is not None:
            members["subject"] = [f"sha256:{self.subject.hex()}"]
        return encode_json(members)


@typed
def parse_entry(data: bytes) -> LogEntry:
    """Read an entry; whether a proof belongs to it is shown by `pae` and `sig`.

    Raises:
        LogEntryError: Not an entry of this version.
    """
    try:
        members = read_object(
            parse_canonical(data, limit=LARGEST_LOGGED),
            "the entry",
            needs=("kind", "pae", "keyid", "sig", "v"),
        )
        kind, keyid = members["kind"], members["keyid"]
        if (
            type(members["v"]) is not int
            or members["v"] != 1
            or kind not in get_args(EntryKind)
            or not isinstance(keyid, str)
        ):
            raise ProofFormatError("its version or kind is unknown")
        subject = members.get("subject")
        return LogEntry(
            cast("EntryKind", kind),
            _read_digest(members["pae"]),
            keyid,
            read_base64(members["sig"], "sig", most=_LARGEST_SIG),
            read_id(members["proofId"], "proofId") if "proofId" in members else None,
            None if subject is None else _read_digest(read_list(subject, "subject", least=1, most=1)[0]),
        )
    except ProofFormatError as error:
        raise LogEntryError(f"not an entry of this version: {error.message}") from None


def read_entry(data: bytes) -> LogEntry:
    """What an entry says, be it digests or a whole statement; of that the signature is not verified here.

    Raises:
        LogEntryError: Not an entry of this version.
    """
    if not is_whole(data):
        return parse_entry(data)
    try:
        return entry_of(parse_envelope(data))
    except ProofFormatError as error:
        raise LogEntryError(f"not an entry of this version: {error.message}") from None


def entry_of(envelope: Envelope) -> LogEntry:
    """What the entry of a statement says, of whose signatures none is verified here.

    Raises:
        LogEntryError: Not a statement that is logged.
    """
    first = envelope.signatures[0]
    try:
        if _PUBLISHED in envelope.payload:
            read_statement(parse_payload(envelope.payload), TRUST_STORE_TYPE)
            return LogEntry("keyring", envelope.digest, first.keyid, first.sig)
        if _ISSUED in envelope.payload:
            record = parse_record(envelope.payload)
            return LogEntry(
                "issue", envelope.digest, first.keyid, first.sig, record.proof_id, record.asset.sha256
            )
        notice = parse_notice(envelope.payload)
    except ProofFormatError as error:
        raise LogEntryError(f"not an entry of this version: {error.message}") from None
    kind: EntryKind = "erase" if notice.kind == "erasure" else "revoke"
    return LogEntry(kind, envelope.digest, first.keyid, first.sig, notice.proof_id)


def is_whole(data: bytes) -> bool:
    """Whether an entry is a whole envelope, and not digests of one."""
    return data.startswith(_WHOLE)


def _read_digest(value: Json) -> bytes:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise ProofFormatError("a digest is not sha256:<64 hex digits>")
    return bytes.fromhex(value.removeprefix("sha256:"))


@runtime_checkable
class Admission(Protocol):
    """What decides whether something becomes an entry."""

    def __call__(self, data: bytes) -> tuple[bytes, bytes]:
        """The identity of what was submitted, by which repetitions are found, and the entry's bytes.

        Raises:
            StorageError: It does not become an entry.
        """
        ...


@typed_class
class StatementAdmission(Admission):
    """Takes signed statements that verify: proofs, revocations, tombstones and key rings."""

    def __init__(
        self,
        trust: TrustStore,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        log_subjects: bool = True,
    ) -> None:
        """Trust these keys.

        Args:
            trust: The trusted keys.
            clock: Returns the current time, with a time zone.
            log_subjects: Log the digest of the asset: monitors can then watch it, and whoever knows an image
                can find out that a proof about it was issued.
        """
        self._trust = trust
        self._clock = clock
        self._subjects = log_subjects

    def __call__(self, data: bytes) -> tuple[bytes, bytes]:
        """See `Admission`.

        Raises:
            ProofError: The statement does not verify.
        """
        found = self.entry(data)
        return found.pae, found.data

    def entry(self, data: bytes | Envelope) -> LogEntry:
        """The entry of a signed statement.

        Raises:
            ProofError: It does not verify, or is of a type that is not logged.
        """
        envelope = data if isinstance(data, Envelope) else parse_envelope(data)
        now = self._clock()
        if _ISSUED in envelope.payload:  # A hint only: what it leads to checks the type.
            return self._issued(verify_signed(envelope, self._trust, now=now))
        first = verify_signatures(envelope, self._trust)[0]
        statement = read_object(parse_payload(envelope.payload), "the statement", needs=("predicateType",))
        match statement["predicateType"]:
            case kind if kind in {ERASURE_TYPE, REVOCATION_TYPE}:
                notice = parse_notice(envelope.payload)
                verify_notice(envelope, self._trust, now=now, proof_id=notice.proof_id)
                made: EntryKind = "erase" if notice.kind == "erasure" else "revoke"
                return LogEntry(made, envelope.digest, first.key.keyid, first.sig, notice.proof_id)
            case kind if kind == TRUST_STORE_TYPE:
                open_trust_store(envelope, self._trust, now=now)  # Of any version: each was published.
                return LogEntry("keyring", envelope.digest, first.key.keyid, first.sig)
            case _:
                raise LogEntryError("a statement of this type is not logged")

    def _issued(self, proof: VerifiedProof) -> LogEntry:
        keyid, signatures = proof.keyids[0], proof.envelope.signatures
        sig = signatures[0].sig
        if len(signatures) > 1:  # Then an earlier one may be another's, or not fit.
            signed = verify_signatures(proof.envelope, self._trust)
            sig = next(each.sig for each in signed if each.key.keyid == keyid)
        subject = proof.record.asset.sha256 if self._subjects else None
        return LogEntry("issue", proof.envelope.digest, keyid, sig, proof.record.proof_id, subject)


@typed_class
class WholeAdmission(Admission):
    """Takes signed statements that verify, and logs them whole, so that the log needs no other objects.

    Of one that is larger than an entry may be, its digests are logged, and it is kept as an object.
    """

    def __init__(
        self, trust: TrustStore, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Trust these keys.

        Args:
            trust: The trusted keys.
            clock: Returns the current time, with a time zone.
        """
        self._digests = StatementAdmission(trust, clock=clock)

    def __call__(self, data: bytes) -> tuple[bytes, bytes]:
        """See `Admission`.

        Raises:
            ProofError: The statement does not verify.
        """
        envelope = parse_envelope(data)
        found = self._digests.entry(envelope)
        whole = encode_envelope(envelope)
        return found.pae, whole if len(whole) <= LARGEST_LOGGED else found.data
