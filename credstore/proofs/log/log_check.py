"""`LogCheck` verifies offline that a proof is in a log. Pure.

Rules of this file: an entry counts for a statement only if it names the statement's identity.
"""

from __future__ import annotations

from credstore.arguments import typed, typed_class
from credstore.proofs.format.dsse import Envelope, parse_envelope
from credstore.proofs.format.errors import LogForkError, LogInclusionError, ProofFormatError
from credstore.proofs.format.logged import Logged, LogPart
from credstore.proofs.log.checkpoint import Checkpoint, SignedCheckpoint, open_checkpoint
from credstore.proofs.log.entry import LogEntry, entry_of, is_whole, parse_entry
from credstore.proofs.log.policy import LogPolicy
from credstore.proofs.log.proof_file import parse_log_proof, verify_log_proof


@typed_class
class LogCheck:
    """Verifies offline that a log of a policy has a statement; give it to `verify_bundle` as `check_log`.

    Attributes:
        policy: Which logs count, and how many witnesses it takes.
    """

    def __init__(self, policy: LogPolicy, *, seen: bytes | None = None) -> None:
        """Believe these logs.

        Args:
            policy: Which logs count, and how many witnesses it takes.
            seen: The checkpoint of the log that was seen last, if there is one: another root at its size is a
                fork.

        Raises:
            CheckpointError: `seen` is not signed by a log of the policy.
        """
        self.policy = policy
        self._seen: SignedCheckpoint | None = (
            None if seen is None else open_checkpoint(seen, policy.log_keys, what="the checkpoint seen last")
        )

    @typed
    def __call__(self, part: LogPart, envelope: Envelope) -> Logged | None:
        """Verify an entry and its proof, and that they are about the statement of an envelope.

        Returns:
            What the log shows; None where it is not a log of the policy, which then shows nothing.

        Raises:
            LogEntryError: Not an entry.
            LogInclusionError: The entry is about another statement, or not in the log.
            LogForkError: The log has shown another root for the same size.
            CheckpointError: The checkpoint is not signed by a log that counts.
            WitnessQuorumError: Too few witnesses have cosigned it.
        """
        whole, entry = _entry_for(part.entry, envelope)
        try:
            data = part.proof.encode()
        except UnicodeEncodeError:
            raise LogInclusionError("the log proof is not text") from None
        if all(_origin(data) != key.name.encode() for key in self.policy.log_keys):
            return None
        found = verify_log_proof(data, entry=part.entry, policy=self.policy)
        now, seen = found.signed.checkpoint, self._seen
        if seen is not None and _contradict(now, seen.checkpoint):
            raise LogForkError(
                f"the log {now.origin!r} has signed two roots for size {now.size}",
                seen.data,
                found.signed.data,
            )
        where = (now.origin, parse_log_proof(data).index, now.size, found.time, found.witnesses)
        if entry is None:
            return Logged(*where, tuple(each.sig for each in whole.signatures))
        return Logged(*where, (entry.sig,), entry.keyid, entry.proof_id, entry.subject)


def _origin(proof: bytes) -> bytes:
    """The log that a proof names; nothing of it is verified.

    Raises:
        LogInclusionError: Not a proof.
    """
    return parse_log_proof(proof).checkpoint.partition(b"\n")[0]


def _contradict(a: Checkpoint, b: Checkpoint) -> bool:
    return (a.origin, a.size) == (b.origin, b.size) and a.root != b.root


def _entry_for(data: bytes, envelope: Envelope) -> tuple[Envelope, LogEntry | None]:
    """The statement as it was logged, and its entry; None where that is the whole statement."""
    if is_whole(data):
        try:
            whole = parse_envelope(data)
        except ProofFormatError as error:
            raise LogInclusionError(f"the log's entry is not a statement: {error.message}") from None
        if whole.digest != envelope.digest:
            raise LogInclusionError("the log's entry is another statement")
        return whole, None
    entry = parse_entry(data)
    if entry.pae != envelope.digest or entry.kind != entry_of(envelope).kind:
        raise LogInclusionError("the log's entry is about another statement")
    return envelope, entry
