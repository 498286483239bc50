"""Bundles whose proof is in a log, made without a store: a tree in memory, its checkpoint, its witnesses."""

import asyncio

from credstore.proofs.format.bundle import Bundle, encode_bundle
from credstore.proofs.format.dsse import Envelope
from credstore.proofs.format.logged import LogPart
from credstore.proofs.log.checkpoint import Checkpoint, sign_text
from credstore.proofs.log.entry import entry_of
from credstore.proofs.log.merkle import hash_leaf, inclusion_ranges, root
from credstore.proofs.log.note import COSIGNATURE, MLDSA_COSIGNATURE, LocalNoteSigner
from credstore.proofs.log.proof_file import encode_log_proof
from tests.proofs.material import NOW

ORIGIN = "log.example/page"
LOG = LocalNoteSigner(ORIGIN, bytes(range(32)))
WITNESSES = [LocalNoteSigner(f"w{each}.example", bytes([each]) * 32, COSIGNATURE) for each in range(3)]
MLDSA = LocalNoteSigner("m.example", bytes(range(64, 96)), MLDSA_COSIGNATURE)
TIME = 1_780_000_000
POLICY = "".join(
    (
        f"# who counts\nlog {LOG.key.encode()} https://log.example\n",
        *(f"witness w{number} {each.key.encode()}\n" for number, each in enumerate(WITNESSES)),
        "group some 2 w0 w1 w2\nquorum some\n",
    )
)
ALONE = f"log {LOG.key.encode()}\nquorum none\n"
WITH_MLDSA = f"log {LOG.key.encode()}\nwitness m {MLDSA.key.encode()}\nquorum m\n"


def proof_of(leaves: list[bytes], index: int) -> list[bytes]:
    """The hashes that lead from a leaf to the root."""
    return [root(leaves[start:end]) for start, end in inclusion_ranges(index, len(leaves))]


def logged(
    envelope: Envelope,
    *,
    entry: bytes | None = None,
    index: int = 3,
    size: int = 7,
    signers=(LOG, *WITNESSES),
    **parts,
) -> bytes:
    """A bundle with the proof that its statement is in a log."""
    data = entry_of(envelope).data if entry is None else entry
    leaves = [hash_leaf(b"another %d" % each) for each in range(size)]
    leaves[index] = hash_leaf(data)
    text = Checkpoint(ORIGIN, size, root(leaves)).text
    note = asyncio.run(sign_text(text, signers, TIME))
    proof = encode_log_proof(index, proof_of(leaves, index), note.encode()).decode()
    return encode_bundle(Bundle(envelope, NOW, log=LogPart(data, proof), **parts))
