"""What the proof commands share: options, the proof store of a command, and how proofs are shown."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from credstore.cli.exits import Exit, exit_of
from credstore.cli.options import Invocation
from credstore.cli.output import human_size, human_time, printable, say_row
from credstore.cli.proof_files import read_authorities, read_signer, read_trust
from credstore.cli.runner import open_store, run_loop
from credstore.errors import StorageVersionsRemainError

if TYPE_CHECKING:
    from credstore.cli.commands.proof.logs import LogChoice
    from credstore.proofs import Logged, Policy, Proof, ProofRecord, ProofStatus, ProofStore, VerifiedProof

T = TypeVar("T")
SHOWN = 400
"""How many characters of the claims people are shown."""

Reason = Literal["keyCompromise", "incorrect", "withdrawn", "legal", "unspecified"]
REASON = click.option(
    "--reason",
    type=click.Choice(["keyCompromise", "incorrect", "withdrawn", "legal", "unspecified"]),
    default="unspecified",
    show_default=True,
    help="Recorded in the signed notice.",
)
EXPIRED = click.option("--allow-expired", is_flag=True, help="Include expired proofs.")
REVOKED = click.option("--allow-revoked", is_flag=True, help="Include revoked proofs.")


def with_proofs(
    invocation: Invocation,
    trust_file: str,
    action: Callable[[ProofStore], Awaitable[T]],
    *,
    key_file: str | None = None,
    issuer: str | None = None,
    roots: Sequence[str] = (),
    log: LogChoice | None = None,
) -> T:
    """Open the proofs of the store that the global options or the environment name, act on them, close them.

    Args:
        invocation: Names the store.
        trust_file: The keys whose proofs count.
        action: What to do.
        key_file: Private key that signs, or None to read only.
        issuer: Who signs, where the key is trusted for several.
        roots: Files with the root certificates of timestamping authorities.
        log: Which log to write, and whom to believe about logs; None for neither.

    Raises:
        click.UsageError: A file cannot be read.
        StorageConfigurationError: A file or the store's settings are wrong.
        StorageError: As `action`.
    """
    # Here, since it loads the provider, which `proof verify` does without.
    from credstore.proofs import ProofStore

    trust = read_trust(trust_file)
    signers = () if key_file is None else (read_signer(key_file),)
    timestamps = read_authorities(roots)

    if log is not None and log.writes and not log.bundled:
        invocation.interrupted = (
            "; credstore proof reconcile --log logs what was signed and is not logged yet"
        )

    async def work() -> T:
        # Whoever does not sign has nothing to put into a store that is not there.
        opened = open_store(invocation, reading=key_file is None)
        async with opened as provider, AsyncExitStack() as stack:
            known = None if log is None else await log.open(stack, provider, trust)
            async with ProofStore(
                provider,
                trust=trust,
                signer=signers,
                issuer=issuer,
                log=known,
                erasable=log is None or not log.bundled,
                timestamps=timestamps,
                close_provider=False,
            ) as store:
                return await action(store)

    return run_loop(work())


def policy_of(
    *, allow_expired: bool = False, allow_revoked: bool = False, in_log: bool = False
) -> Policy | None:
    """What the options require of proofs besides being genuine; None for the usual checks."""
    from credstore.proofs import InLog, unsafe_allow_expired, unsafe_allow_revoked

    policy: Policy | None = InLog() if in_log else None
    if allow_expired:
        policy = unsafe_allow_expired(policy)
    if allow_revoked:
        policy = unsafe_allow_revoked(policy)
    return policy


def proof_document(proof: Proof) -> dict[str, Any]:
    """A stored proof, for programs."""
    document = {**verified_document(proof.verified), "status": status_document(proof.status)}
    return document if proof.logged is None else {**document, "log": log_document(proof.logged)}


def log_document(logged: Logged) -> dict[str, Any]:
    """Where a proof is in a log, for programs."""
    return {
        "origin": logged.origin,
        "index": logged.index,
        "size": logged.size,
        "time": logged.time,
        "witnesses": sorted(logged.witnesses),
    }


def log_rows(logged: Logged | None) -> list[tuple[str, str]]:
    """Where a proof is in a log, for people; nothing where that was not looked at."""
    if logged is None:
        return []
    seen = "" if logged.time is None else f", seen by witnesses at {human_time(logged.time)}"
    return [("log", f"entry {logged.index} of {printable(logged.origin)}, at size {logged.size}{seen}")]


def verified_document(proof: VerifiedProof) -> dict[str, Any]:
    """What a proof says and who signed it, for programs."""
    record = proof.record
    return {
        "proof_id": record.proof_id,
        "issuer": record.issuer,
        "issued_at": record.issued_at,
        "expires_at": record.expires_at,
        "sha256": record.asset.sha256,
        "size": record.asset.size,
        "media_type": record.media_type,
        "manifest": record.manifest,
        "claims": record.claims,
        "uri": record.uri,
        "supersedes": record.supersedes,
        "keyids": proof.keyids,
        "time": proof.time,
        "time_source": proof.time_source,
    }


def status_document(status: ProofStatus) -> dict[str, Any]:
    """The state of a proof, for programs."""
    return {
        "state": status.state,
        "source": status.source,
        "as_of": status.as_of,
        "reason": None if status.notice is None else status.notice.reason,
        "revoked_at": None if status.notice is None else status.notice.at,
    }


def remaining_document(error: StorageVersionsRemainError) -> list[dict[str, Any]]:
    """The versions that stay, for programs."""
    return [
        {
            "key": each.key,
            "version_id": each.version_id,
            "retain_until": each.retain_until,
            "mode": each.mode,
            "legal_hold": each.legal_hold,
            "code": each.error.code,
        }
        for each in error.remaining
    ]


def record_rows(proof: VerifiedProof) -> list[tuple[str, str]]:
    """What a proof says and who signed it, for people."""
    record = proof.record
    rows = [
        ("proof", record.proof_id),
        ("issuer", record.issuer),
        ("issued", human_time(record.issued_at)),
        ("expires", "never" if record.expires_at is None else human_time(record.expires_at)),
        ("asset", f"sha256:{record.asset.sha256.hex()}"),
        ("size", human_size(record.asset.size)),
        ("type", record.media_type or ""),
        ("manifest", _manifest(record)),
        ("claims", _claims(record)),
        ("supersedes", record.supersedes or ""),
    ]
    rows += [("signed by", keyid) for keyid in proof.keyids]
    return [row for row in rows if row[1]]


def say_proof(proof: Proof) -> None:
    """A proof as one line of a list, for people."""
    record = proof.record
    issued, state = human_time(record.issued_at), f"{proof.status.state:<7}"
    say_row(record.proof_id, issued, state, record.issuer, elastic=3)


def status_rows(status: ProofStatus) -> list[tuple[str, str]]:
    """The state of a proof, for people."""
    state: str = status.state
    if status.notice is not None:
        state = f"{state}, {status.notice.reason}, since {human_time(status.notice.at)}"
    return [("status", f"{state} (as of {human_time(status.as_of)})")]


def _manifest(record: ProofRecord) -> str:
    if record.manifest is None:
        return ""
    return f"{record.manifest.media_type}, {human_size(record.manifest.size)}"


def _claims(record: ProofRecord) -> str:
    if not record.claims:
        return ""
    text = json.dumps(record.claims, ensure_ascii=False)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... (--json shows all)"


def end_with(errors: Sequence[Exception], done: int) -> None:
    """End with the common exit code if all failed in the same way, else with that for "only a part was done".

    Raises:
        click.exceptions.Exit: There are errors.
    """
    if errors:
        codes = {exit_of(error) for error in errors}
        raise click.exceptions.Exit(codes.pop() if len(codes) == 1 and not done else Exit.PARTIAL)
