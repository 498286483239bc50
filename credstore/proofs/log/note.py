"""Signed notes: text with signatures under it, c2sp.org/signed-note and c2sp.org/tlog-cosignature. Pure.

Rules of this file: it imports nothing from credstore. A key is what its verifier holds, never what a note
says: a line counts only if name and id are those of a known key, and then it has to verify. Kinds of
signature are Ed25519 (01), and the timestamped cosignatures with Ed25519 (04) and ML-DSA-44 (06), which
are made over a checkpoint.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ED25519 = 0x01
COSIGNATURE = 0x04
MLDSA_COSIGNATURE = 0x06
LARGEST_NOTE = 256 * 1024
MOST_SIGNATURES = 64
MOST_LINES = 64
"""Maximum number of lines of text; a checkpoint has three."""
LATEST_TIME = 2**63 - 1
_KEY_SIZES = {ED25519: 32, COSIGNATURE: 32, MLDSA_COSIGNATURE: 1312}
_SIGNATURE_SIZES = {ED25519: 64, COSIGNATURE: 72, MLDSA_COSIGNATURE: 2428}
_ID_SIZE = 4
_SEED_SIZE = 32
_TIME_SIZE = 8
_DASH = "— "
_LONGEST_NAME = 255
_LABEL = b"subtree/v1\n\x00"
_CHECKPOINT_LINES = 3


class NoteError(ValueError):
    """Not a signed note, not a key, or not signed as it has to be."""


class NoteKindError(NoteError):
    """A kind of signature that cannot be made or verified here."""


def decode_base64(text: str) -> bytes:
    """Standard base64 in its one encoding.

    Raises:
        NoteError: Anything else, such as white space or stray bits at the end.
    """
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise NoteError("not base64") from None
    if base64.b64encode(data).decode() != text:
        raise NoteError("not the one base64 encoding of its bytes")
    return data


def encode_base64(data: bytes) -> str:
    """Standard base64."""
    return base64.b64encode(data).decode()


def read_decimal(text: str) -> int:
    """A number below 2^63 without sign or leading zeros.

    Raises:
        NoteError: Anything else.
    """
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(LATEST_TIME)):
        raise NoteError("not a decimal number")
    number = int(text)
    if str(number) != text or number > LATEST_TIME:
        raise NoteError("a decimal number with leading zeros, or of 2^63 or more")
    return number


def check_name(name: str) -> str:
    """A name of a key, or of a log: 1 to 255 bytes without spaces, plus signs and control characters.

    Raises:
        NoteError: Not a name.
    """
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        size = 0
    if not 1 <= size <= _LONGEST_NAME or "+" in name or any(each.isspace() or each < " " for each in name):
        raise NoteError("a name has 1 to 255 bytes without spaces, plus signs and control characters")
    return name


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with its name and the kind of signatures it verifies.

    Attributes:
        name: The origin of a log, or the name of a witness.
        kind: 1, 4 or 6, see the constants of this module.
        public: 32 bytes, or 1,312 for ML-DSA-44.
    """

    name: str
    kind: int
    public: bytes = field(repr=False)

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.kind not in _KEY_SIZES:
            raise NoteKindError(f"keys of kind {self.kind} cannot be used here")
        if len(self.public) != _KEY_SIZES[self.kind]:
            raise NoteError(f"a key of kind {self.kind} has {_KEY_SIZES[self.kind]} bytes")

    @property
    def key_id(self) -> bytes:
        """4 bytes; a hint, which proves nothing."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    @property
    def timestamped(self) -> bool:
        """Whether its signatures have a time."""
        return self.kind != ED25519

    def encode(self) -> str:
        """As a vkey: name, id in hex, base64 of kind and key, joined by plus signs."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(bytes([self.kind]) + self.public)}"


def parse_vkey(text: str) -> VerifierKey:
    """Read a vkey.

    Raises:
        NoteKindError: A kind of key that cannot be used here.
        NoteError: Not a vkey, or its id does not belong to its key.
    """
    name, _, rest = text.partition("+")
    key_id, found, encoded = rest.partition("+")
    if not found:
        raise NoteError("not a vkey: NAME+ID+KEY")
    raw = decode_base64(encoded)
    if not raw:
        raise NoteError("a vkey without a key")
    key = VerifierKey(name, raw[0], raw[1:])
    if key.key_id.hex() != key_id:
        raise NoteError("the id of the vkey is not that of its key")
    return key


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One line under a note; nothing about it is verified.

    Attributes:
        name: Who it says has signed.
        key_id: 4 bytes.
        raw: What follows the id: with a timestamp in front where the kind has one.
    """

    name: str
    key_id: bytes
    raw: bytes = field(repr=False)

    def encode(self) -> str:
        """The line, with its end."""
        return f"{_DASH}{self.name} {encode_base64(self.key_id + self.raw)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """Text with signatures; nothing about it is verified.

    Attributes:
        text: With its final newline.
        signatures: 1 to 64.
    """

    text: str
    signatures: tuple[NoteSignature, ...]

    def encode(self) -> bytes:
        """The note as bytes."""
        return (self.text + "\n" + "".join(each.encode() for each in self.signatures)).encode()

    def extended(self, lines: Iterable[NoteSignature]) -> Note:
        """The same text with further signatures; what is there already is not repeated."""
        found = dict.fromkeys((*self.signatures, *lines))
        return Note(self.text, tuple(found))


@dataclass(frozen=True, slots=True)
class Verified:
    """A signature that fits.

    Attributes:
        key: Whose it is.
        line: The line.
        time: POSIX seconds, or None for a kind without.
    """

    key: VerifierKey
    line: NoteSignature
    time: int | None


def parse_note(data: bytes) -> Note:
    """Split a note into text and signatures, without verifying anything.

    Raises:
        NoteError: Not a note, or a larger one than is read; the message names the line.
    """
    if len(data) > LARGEST_NOTE:
        raise NoteError(f"a note of more than {LARGEST_NOTE} bytes")
    try:
        whole = data.decode()
    except UnicodeDecodeError:
        raise NoteError("a note that is not UTF-8") from None
    if any(each < " " and each != "\n" for each in whole):
        raise NoteError("a note with control characters, such as CR")
    text, found, rest = whole.rpartition("\n\n")
    if not found or not rest.endswith("\n"):
        raise NoteError("a note without signatures, or that ends within a line")
    if text.count("\n") >= MOST_LINES:
        raise NoteError(f"a note of more than {MOST_LINES} lines")
    first = text.count("\n") + 3
    return Note(text + "\n", parse_signatures(rest, first))


def parse_signatures(text: str, first: int = 1) -> tuple[NoteSignature, ...]:
    """Read lines of signatures.

    Args:
        text: 1 to 64 lines, each with its end.
        first: The number of the first line, for messages.

    Raises:
        NoteError: Not such lines; the message names the line.
    """
    lines = text.split("\n")
    if lines.pop():
        raise NoteError("the last line of signatures has no end")
    if not 1 <= len(lines) <= MOST_SIGNATURES:
        raise NoteError(f"a note has 1 to {MOST_SIGNATURES} signatures, not {len(lines)}")
    return tuple(_read_signature(line, number) for number, line in enumerate(lines, first))


def _read_signature(line: str, number: int) -> NoteSignature:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    try:
        if not line.startswith(_DASH):
            raise NoteError("a signature starts with an em dash and a space")
        raw = decode_base64(encoded)
        if len(raw) <= _ID_SIZE:
            raise NoteError("no signature after its id")
        return NoteSignature(check_name(name), raw[:_ID_SIZE], raw[_ID_SIZE:])
    except NoteError as error:
        raise NoteError(f"line {number}: {error}") from None


def verify_note(note: Note, keys: Iterable[VerifierKey]) -> tuple[Verified, ...]:
    """The signatures of known keys, at most one for each key; others are ignored.

    Where the installed `cryptography` has no ML-DSA its lines are carried along, and do not count.

    Raises:
        NoteError: A known key's signature does not fit, or none is by a known key.
    """
    known = {(key.name, key.key_id): key for key in keys}
    found: dict[VerifierKey, Verified] = {}
    for line in note.signatures:
        key = known.get((line.name, line.key_id))
        if key is not None and (key.kind != MLDSA_COSIGNATURE or has_mldsa()):
            time = verify_line(line, key, note.text)
            found.setdefault(key, Verified(key, line, time))
    if not found:
        raise NoteError("no known key has signed the note")
    return tuple(found.values())


def verify_line(line: NoteSignature, key: VerifierKey, text: str) -> int | None:
    """Check one signature of a key; returns its time, or None for a kind without.

    Raises:
        NoteError: It does not fit.
    """
    if len(line.raw) != _SIGNATURE_SIZES[key.kind]:
        raise NoteError(f"the signature of {key.name} has the wrong length")
    time = int.from_bytes(line.raw[:_TIME_SIZE], "big") if key.timestamped else None
    if time is not None and time > LATEST_TIME:
        raise NoteError(f"the time of the signature of {key.name} is beyond 2^63")
    signature = line.raw[_TIME_SIZE:] if key.timestamped else line.raw
    if not is_signature(key, signature, message_of(key, text, time)):
        raise NoteError(f"the signature of {key.name} does not fit the note")
    return time


def is_signature(key: VerifierKey, signature: bytes, message: bytes) -> bool:
    """Whether a key has made this signature.

    Raises:
        NoteKindError: The installed `cryptography` has no ML-DSA.
    """
    try:
        if key.kind == MLDSA_COSIGNATURE:
            _mldsa().MLDSA44PublicKey.from_public_bytes(key.public).verify(signature, message)
        else:
            Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def message_of(key: VerifierKey, text: str, time: int | None) -> bytes:
    """What a key signs of a note.

    Args:
        key: Whose kind decides.
        text: Of the note; a checkpoint for a cosignature.
        time: POSIX seconds; None for a kind without.

    Raises:
        NoteError: The text is not a checkpoint, where it has to be.
    """
    if key.kind == ED25519:
        return text.encode()
    time = 0 if time is None else time
    if key.kind == COSIGNATURE:
        return f"cosignature/v1\ntime {time}\n{text}".encode()
    lines = text.split("\n")
    if len(lines) <= _CHECKPOINT_LINES:
        raise NoteError("only a checkpoint can be cosigned")
    origin, size, root_hash = lines[0].encode(), read_decimal(lines[1]), decode_base64(lines[2])
    if not 1 <= len(origin) <= _LONGEST_NAME:
        raise NoteError("the origin of a cosigned checkpoint has 1 to 255 bytes")
    name = key.name.encode()
    return b"".join(
        (
            _LABEL,
            bytes([len(name)]) + name,
            time.to_bytes(8, "big"),
            bytes([len(origin)]) + origin,
            bytes(8),  # The first leaf: a checkpoint is about all of them.
            size.to_bytes(8, "big"),
            root_hash,
        )
    )


@runtime_checkable
class NoteSigner(Protocol):
    """Whoever can sign notes with a private key: a local one, a KMS, an HSM."""

    @property
    def key(self) -> VerifierKey:
        """The key that verifies what `sign` returns."""
        ...

    async def sign(self, message: bytes) -> bytes:
        """Sign a message: 64 bytes for Ed25519, 2,420 for ML-DSA-44."""
        ...


class LocalNoteSigner:
    """A private key in this process; never shown, pickled or copied."""

    __slots__ = ("_key", "_verifier")

    def __init__(self, name: str, seed: bytes, kind: int = ED25519) -> None:
        """Take the 32-byte seed of a key.

        Raises:
            NoteKindError: An unknown kind, or `cryptography` has no ML-DSA.
            NoteError: Not a name, or not a seed.
        """
        size = len(seed)
        if size != _SEED_SIZE:
            raise NoteError(f"a seed has {_SEED_SIZE} bytes, not {size}")
        if kind == MLDSA_COSIGNATURE:
            self._key: Any = _mldsa().MLDSA44PrivateKey.from_seed_bytes(seed)
        else:
            self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._verifier = VerifierKey(name, kind, self._key.public_key().public_bytes_raw())

    @property
    def key(self) -> VerifierKey:
        """The key that verifies what `sign` returns."""
        return self._verifier

    async def sign(self, message: bytes) -> bytes:
        """Sign immediately; nothing is awaited."""
        signature: bytes = self._key.sign(message)
        return signature

    def __repr__(self) -> str:
        return f"LocalNoteSigner({self._verifier.name!r}, kind={self._verifier.kind})"

    def __reduce__(self) -> tuple[object, ...]:
        message = "a private key is never pickled or copied"
        raise TypeError(message)


async def sign_line(text: str, signer: NoteSigner, time: int | None = None) -> NoteSignature:
    """The line of a signer under a text; checked with the signer's key before it is returned.

    Args:
        text: Of the note.
        signer: Who signs.
        time: POSIX seconds, for a kind that has a time.

    Raises:
        NoteError: What the signer returned does not fit, or the text is not a checkpoint where it has to be.
        Exception: What the signer raised.
    """
    key = signer.key
    time = time if key.timestamped else None
    if key.timestamped and time is None:
        raise NoteError("a cosignature needs a time")
    signature = await signer.sign(message_of(key, text, time))
    line = NoteSignature(
        key.name, key.key_id, (b"" if time is None else time.to_bytes(8, "big")) + bytes(signature)
    )
    # A broken HSM or flipped memory is found here, not by the first reader.
    verify_line(line, key, text)
    return line


def has_mldsa() -> bool:
    """Whether the installed `cryptography` has ML-DSA."""
    try:
        _mldsa()
    except NoteKindError:
        return False
    return True


def make_mldsa() -> Any:
    """A new ML-DSA-44 private key of `cryptography`.

    Raises:
        NoteKindError: The installed one has no ML-DSA.
    """
    return _mldsa().MLDSA44PrivateKey.generate()


def _mldsa() -> Any:
    with suppress(ImportError, AttributeError):
        from cryptography.hazmat.backends.openssl.backend import backend
        from cryptography.hazmat.primitives.asymmetric import mldsa

        if backend.mldsa_supported():
            return mldsa
    raise NoteKindError("ML-DSA-44 needs a newer version of the package cryptography")
