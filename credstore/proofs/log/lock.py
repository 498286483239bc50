"""The lock of a log: the one object whose conditional replacement decides which tree is the log's. Pure.

Rules of this file: a lock is a signed note in a domain of its own. Its second line is not a number, so no
reader of checkpoints takes it for one, and no checkpoint signature ever exists over a tree that lost.
"""

from __future__ import annotations

from dataclasses import dataclass

from credstore.proofs.format.errors import CheckpointError
from credstore.proofs.log.merkle import HASH_SIZE
from credstore.proofs.log.note import (
    NoteError,
    VerifierKey,
    decode_base64,
    encode_base64,
    parse_note,
    read_decimal,
    verify_note,
)

HEAD = "credstore.dev/log-lock/v1"
NO_STAGING = "-"


@dataclass(frozen=True, slots=True)
class Lock:
    """What the lock says.

    Attributes:
        origin: The name of the log.
        size: Number of entries that are committed.
        root: Over them, 32 bytes.
        before: Size and root of the state before it; its own where it is the first.
        staging: Name of the object with the tiles that are new since then; "-" for the first.
    """

    origin: str
    size: int
    root: bytes
    before: tuple[int, bytes]
    staging: str

    @property
    def text(self) -> str:
        """What is signed."""
        return (
            f"{HEAD}\norigin {self.origin}\nsize {self.size}\nroot {encode_base64(self.root)}\n"
            f"prev {self.before[0]} {encode_base64(self.before[1])}\nstaging {self.staging}\n"
        )


def staging_name(size: int, root_hash: bytes) -> str:
    """Where a state is staged: two racing sequencers make different bytes for the same tile."""
    return f"staging/{size}-{root_hash.hex()}"


def open_lock(data: bytes, key: VerifierKey) -> Lock:
    """Verify a lock.

    Raises:
        CheckpointError: Not a lock, of another log, or not signed by this key.
    """
    try:
        note = parse_note(data)
        verify_note(note, [key])
        found = _read(note.text)
    except (NoteError, ValueError) as error:
        raise CheckpointError(f"the lock of the log cannot be used: {error}") from None
    if found.origin != key.name or found.text != note.text:
        raise CheckpointError(f"the lock is not of the log {key.name!r}")
    return found


def _read(text: str) -> Lock:
    lines = text.split("\n")
    names = ("origin", "size", "root", "prev", "staging")
    if lines.pop() or lines[0] != HEAD or [line.partition(" ")[0] for line in lines[1:]] != list(names):
        raise NoteError("it is not written as a lock is")
    origin, size, root_hash, before, staging = (line.partition(" ")[2] for line in lines[1:])
    old_size, _, old_root = before.partition(" ")
    found = Lock(
        origin,
        read_decimal(size),
        decode_base64(root_hash),
        (read_decimal(old_size), decode_base64(old_root)),
        staging,
    )
    if len(found.root) != HASH_SIZE or len(found.before[1]) != HASH_SIZE or found.before[0] > found.size:
        raise NoteError("a root is not of 32 bytes, or the log shrank")
    if found.staging not in {NO_STAGING, staging_name(found.size, found.root)}:
        raise NoteError("it names the tiles of another state")
    return found
