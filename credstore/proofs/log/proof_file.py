"""A proof that an entry is in a log, as one text: c2sp.org/tlog-proof. Pure.

Rules of this file: nothing in such a text is a trust anchor; its `extra` line is not authenticated, and not
used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from credstore.arguments import typed
from credstore.proofs.format.errors import LogInclusionError
from credstore.proofs.log.merkle import (
    HASH_SIZE,
    MOST_HASHES,
    MerkleError,
    hash_leaf,
    verify_inclusion,
)
from credstore.proofs.log.note import NoteError, decode_base64, encode_base64, read_decimal
from credstore.proofs.log.policy import LogPolicy, WitnessedCheckpoint

LARGEST_PROOF = 384 * 1024
HEAD = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class LogProof:
    """A proof as received; nothing about it is verified.

    Attributes:
        index: Of the entry, 0-based.
        hashes: Of the inclusion proof, from the leaf upwards, 32 bytes each.
        checkpoint: The note with the checkpoint and its cosignatures.
    """

    index: int
    hashes: tuple[bytes, ...] = field(repr=False)
    checkpoint: bytes = field(repr=False)


def encode_log_proof(index: int, hashes: Sequence[bytes], checkpoint: bytes) -> bytes:
    """Write a proof."""
    lines = (HEAD, f"index {index}", *(encode_base64(each) for each in hashes), "")
    return "".join(f"{line}\n" for line in lines).encode() + checkpoint


def parse_log_proof(data: bytes) -> LogProof:
    """Read a proof, without verifying anything.

    Raises:
        LogInclusionError: Not a proof; the message names the line.
    """
    if len(data) > LARGEST_PROOF:
        raise LogInclusionError(f"a log proof has at most {LARGEST_PROOF} bytes")
    head, found, checkpoint = data.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        lines = []
    if not found or not lines or lines[0] != HEAD:
        raise LogInclusionError(f"not a log proof: it does not start with {HEAD}, or has no checkpoint")
    number = 1
    try:
        if lines[1:] and lines[1].startswith("extra "):
            number = 2
            decode_base64(lines[1].removeprefix("extra "))
        rest = lines[number:]
        number += 1
        if not rest or not rest[0].startswith("index "):
            raise NoteError("it is not: index NUMBER")
        index = read_decimal(rest[0].removeprefix("index "))
        hashes: list[bytes] = []
        for line in rest[1:]:
            number += 1
            hashes.append(decode_base64(line))
            if len(hashes[-1]) != HASH_SIZE or len(hashes) > MOST_HASHES:
                raise NoteError(f"a hash that is not of {HASH_SIZE} bytes, or more than {MOST_HASHES}")
    except NoteError as error:
        raise LogInclusionError(f"line {number} of the log proof: {error}") from None
    return LogProof(index, tuple(hashes), checkpoint)


@typed
def verify_log_proof(data: bytes, *, entry: bytes, policy: LogPolicy) -> WitnessedCheckpoint:
    """Verify offline that an entry is in a log.

    Args:
        data: The proof.
        entry: The entry's bytes.
        policy: Which logs count, and how many witnesses it takes.

    Returns:
        The checkpoint, and when enough witnesses had seen it.

    Raises:
        LogInclusionError: Not a proof, or not of this entry.
        CheckpointError: The checkpoint is not signed by a log that counts.
        WitnessQuorumError: Too few witnesses have cosigned it.
    """
    proof = parse_log_proof(data)
    found = policy.verify(proof.checkpoint)
    checkpoint = found.signed.checkpoint
    try:
        verify_inclusion(
            proof.hashes,
            index=proof.index,
            size=checkpoint.size,
            leaf=hash_leaf(entry),
            root_hash=checkpoint.root,
        )
    except MerkleError as error:
        raise LogInclusionError(str(error)) from None
    return found
