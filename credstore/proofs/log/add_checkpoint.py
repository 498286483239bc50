"""The request and the responses of c2sp.org/tlog-witness, as bytes. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from credstore.proofs.log.merkle import HASH_SIZE, MOST_HASHES
from credstore.proofs.log.note import LARGEST_NOTE, NoteError, decode_base64, encode_base64, read_decimal

LARGEST_REQUEST = LARGEST_NOTE + 64 * 1024
SIZE_TYPE = "text/x.tlog.size"


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request to cosign.

    Attributes:
        old_size: Which the witness is thought to have cosigned last.
        proof: Of consistency from there, 32 bytes each.
        checkpoint: The note.
    """

    old_size: int
    proof: tuple[bytes, ...]
    checkpoint: bytes


def encode_request(old_size: int, proof: Sequence[bytes], checkpoint: bytes) -> bytes:
    """Write a request."""
    lines = (f"old {old_size}", *(encode_base64(each) for each in proof), "")
    return "".join(f"{line}\n" for line in lines).encode() + checkpoint


def parse_request(data: bytes) -> AddCheckpoint:
    """Read a request.

    Raises:
        NoteError: Not a request; the message names the line.
    """
    head, found, checkpoint = data.partition(b"\n\n")
    try:
        first, *rest = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        first, rest = "", []
    if not found or not first.startswith("old "):
        raise NoteError("not a request: it does not start with an old size, or has no empty line")
    if len(rest) > MOST_HASHES:
        raise NoteError(f"a proof of more than {MOST_HASHES} hashes")
    number = 1
    try:
        old_size = read_decimal(first.removeprefix("old "))
        proof: list[bytes] = []
        for line in rest:
            number += 1
            proof.append(decode_base64(line))
            if len(proof[-1]) != HASH_SIZE:
                raise NoteError(f"a hash that is not of {HASH_SIZE} bytes")
    except NoteError as error:
        raise NoteError(f"line {number}: {error}") from None
    return AddCheckpoint(old_size, tuple(proof), checkpoint)


def read_size(body: bytes) -> int:
    """The size in a response with status 409.

    Raises:
        NoteError: Not a size.
    """
    try:
        text = body.decode("ascii")
    except UnicodeDecodeError:
        text = ""
    if not text.endswith("\n"):
        raise NoteError("not a size and a newline")
    return read_decimal(text.removesuffix("\n"))


def monitoring_path(origin: str) -> str:
    """Where a witness shows the checkpoint of a log that it cosigned last."""
    return f"{hashlib.sha256(origin.encode()).hexdigest()}/checkpoint"
