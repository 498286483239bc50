"""Checkpoints: the size and root of a log, signed, c2sp.org/tlog-checkpoint. Pure, but for signers.

Rules of this file: the key decides about the origin, never the text; extension lines are read and never
written; every failure of `note` is a `CheckpointError` from here on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from credstore.arguments import typed, typed_class
from credstore.errors import StorageConfigurationError
from credstore.proofs.format.errors import CheckpointError, ProofAlgorithmError
from credstore.proofs.format.signing import PublicKey, Signer
from credstore.proofs.log.merkle import EMPTY_ROOT, HASH_SIZE
from credstore.proofs.log.note import (
    COSIGNATURE,
    ED25519,
    MLDSA_COSIGNATURE,
    LocalNoteSigner,
    Note,
    NoteError,
    NoteSigner,
    Verified,
    VerifierKey,
    check_name,
    decode_base64,
    encode_base64,
    parse_note,
    parse_vkey,
    read_decimal,
    sign_line,
    verify_note,
)

T = TypeVar("T")
CHECKPOINT_TYPE = "text/plain; charset=utf-8"
_LINES = 3
_ED25519_SPKI = bytes.fromhex("302a300506032b6570032100")
"""What stands before the 32 bytes of a key in its DER SubjectPublicKeyInfo, RFC 8410."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a log.

    Attributes:
        origin: The name of the log.
        size: Number of entries.
        root: The root hash over them, 32 bytes.
        extensions: Further lines of another's log, about which nothing is known.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What is signed."""
        lines = (self.origin, str(self.size), encode_base64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines)


def parse_checkpoint(text: str) -> Checkpoint:
    """Read the text of a checkpoint, about which nothing is verified.

    Raises:
        CheckpointError: Not a checkpoint; the message names the line.
    """
    lines = text.split("\n")
    if lines.pop() or len(lines) < _LINES or not all(lines):
        raise CheckpointError("a checkpoint has three lines or more, none of them empty")
    origin, size, root_hash, *extensions = lines
    found = Checkpoint(
        origin,
        _of_line(2, lambda: read_decimal(size)),
        _of_line(3, lambda: decode_base64(root_hash)),
        tuple(extensions),
    )
    if len(found.root) != HASH_SIZE:
        raise CheckpointError(f"line 3: the root has {len(found.root)} bytes instead of {HASH_SIZE}")
    if found.size == 0 and found.root != EMPTY_ROOT:
        raise CheckpointError("line 3: not the root of an empty log")
    return found


def _of_line(number: int, read: Callable[[], T]) -> T:
    try:
        return read()
    except NoteError as error:
        raise CheckpointError(f"line {number}: {error}") from None


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint that its log has signed.

    Attributes:
        checkpoint: What it says.
        note: With all lines, known or not.
        signatures: Those of the log's keys.
    """

    checkpoint: Checkpoint
    note: Note = field(repr=False)
    signatures: tuple[Verified, ...] = field(repr=False)

    @property
    def data(self) -> bytes:
        """As received."""
        return self.note.encode()


def open_checkpoint(data: bytes, keys: Sequence[VerifierKey], *, what: str | None = None) -> SignedCheckpoint:
    """Verify a checkpoint with the keys of its log.

    Args:
        data: The note.
        keys: Of the logs that count; a signature counts for the origin that is the key's name.
        what: Where it comes from, for the error.

    Raises:
        CheckpointError: Not a checkpoint, not signed by its log, or a known key's signature does not fit.
    """
    try:
        note = parse_note(data)
        signatures = verify_note(note, keys)
    except NoteError as error:
        raise CheckpointError(f"the checkpoint cannot be used: {error}", key=what) from None
    checkpoint = parse_checkpoint(note.text)
    own = tuple(each for each in signatures if each.key.name == checkpoint.origin)
    if not own:
        raise CheckpointError(
            f"the checkpoint is of the log {checkpoint.origin!r}, which has not signed it", key=what
        )
    return SignedCheckpoint(checkpoint, note, own)


async def sign_text(text: str, signers: Sequence[NoteSigner], time: int) -> Note:
    """A note over a text, each signature verified with its key.

    Args:
        text: A checkpoint, or the lock of a log.
        signers: One or more.
        time: POSIX seconds, for signatures that have a time.

    Raises:
        CheckpointError: What a signer returned does not fit.
        Exception: What a signer raised.
    """
    try:
        return Note(text, tuple([await sign_line(text, signer, time) for signer in signers]))
    except NoteError as error:
        raise CheckpointError(f"cannot sign for the log: {error}") from None


@typed
def read_key(vkey: str, kinds: Sequence[int] = (ED25519, COSIGNATURE, MLDSA_COSIGNATURE)) -> VerifierKey:
    """Read a vkey from a setting.

    Args:
        vkey: `NAME+ID+KEY`.
        kinds: Those that are accepted.

    Raises:
        StorageConfigurationError: Not a vkey, of another kind, or a key that must not be used.
    """
    try:
        key = parse_vkey(vkey)
    except NoteError as error:
        raise StorageConfigurationError(f"this is not the vkey of a log or witness: {error}") from None
    if key.kind not in kinds:
        raise StorageConfigurationError(
            f"the vkey of {key.name} is of kind {key.kind}, which is not for this"
        )
    return checked_key(key)


def checked_key(key: VerifierKey) -> VerifierKey:
    """A key, if one may rely on its signatures.

    Raises:
        StorageConfigurationError: An Ed25519 key of small order, or not in its one encoding.
    """
    if key.kind != MLDSA_COSIGNATURE:
        try:
            PublicKey("ed25519", _ED25519_SPKI + key.public)
        except ProofAlgorithmError as error:
            raise StorageConfigurationError(
                f"the key of {key.name} must not be used: {error.message}"
            ) from None
    return key


@typed
def seed_signer(name: str, seed: bytes, kind: int = ED25519) -> NoteSigner:
    """A signer of notes from the 32-byte seed of its key; ML-DSA-44 keys come only this way.

    Args:
        name: The origin of a log, or the name of a witness.
        seed: 32 secret bytes.
        kind: 1 for a log, 4 for a witness, 6 for a cosignature with ML-DSA-44.

    Raises:
        StorageConfigurationError: Not a name, not a seed, an unknown kind, or the installed `cryptography`
            has no ML-DSA.
    """
    try:
        return LocalNoteSigner(name, seed, kind)
    except NoteError as error:
        failure = StorageConfigurationError(f"this is not a signer: {error}")
    del seed
    raise failure


@typed_class
class NamedSigner(NoteSigner):
    """A signer of proofs as the key of a log or witness."""

    __slots__ = ("_key", "_signer")

    def __init__(self, name: str, signer: Signer, kind: int = ED25519) -> None:
        """Give a signer its name.

        Args:
            name: The origin of a log, or the name of a witness.
            signer: With an Ed25519 key; a KMS, say. It must sign nothing else.
            kind: 1 for a log, 4 for a witness.

        Raises:
            StorageConfigurationError: Not a name, or another kind of key.
        """
        public = signer.public_key
        if public.scheme != "ed25519" or kind not in {ED25519, COSIGNATURE}:
            raise StorageConfigurationError("logs and witnesses sign with Ed25519 keys")
        try:
            self._key = VerifierKey(check_name(name), kind, public.spki[len(_ED25519_SPKI) :])
        except NoteError as error:
            raise StorageConfigurationError(f"{name[:300]!r} is not a name: {error}") from None
        self._signer = signer

    @property
    def key(self) -> VerifierKey:
        """The key that verifies what `sign` returns."""
        return self._key

    async def sign(self, message: bytes) -> bytes:
        """As the signer does."""
        return await self._signer.sign(message)

    def __repr__(self) -> str:
        return f"NamedSigner({self._key.encode()!r})"
