"""The demo's last chapter: a proof in a log, shown offline, and a log that changes the past."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from credstore.provider.provider import StorageProvider

Say = Callable[[str], None]
Check = Callable[[str, bool], None]
ORIGIN = "log.news.example/proofs"
ISSUER = "https://news.example"


async def show_log(store: StorageProvider, folder: Path, picture: bytes, say: Say, check: Check) -> None:
    """Log a proof, verify it offline, then let the log show another past to a client who remembers.

    Args:
        store: A local store; the log and its proofs stay there.
        folder: A new one, for what the client remembers.
        picture: The bytes that are proved.
        say: Prints a line for a person.
        check: Notes what was compared.
    """
    from credstore.config.stores import MemoryConfig
    from credstore.factory import StorageFactory
    from credstore.proofs import (
        InLog,
        LocalSigner,
        LogForkError,
        ProofPolicyError,
        ProofStore,
        TrustStore,
        encode_bundle,
        parse_bundle,
        trust_key,
        verify_bundle,
    )
    from credstore.proofs.log import (
        LogCheck,
        LogClient,
        LogMemory,
        LogObjects,
        LogSequencer,
        ProofLog,
        StatementAdmission,
        seed_signer,
        sole_policy,
    )

    signer, log_key = LocalSigner.generate(), seed_signer(ORIGIN, secrets.token_bytes(32))
    trust = TrustStore(1, (trust_key(signer.public_key, issuers=[ISSUER], valid_from=datetime.now(UTC)),))
    policy = sole_policy(log_key.key.encode())
    admission = StatementAdmission(trust)

    async with LogSequencer(store, signer=log_key, admission=admission, max_wait=0.0) as sequencer:
        await sequencer.create()
        say(f"a new log in the same store: {ORIGIN}")
        log = ProofLog(policy, sequencer=sequencer)
        async with ProofStore(store, trust=trust, signer=signer, log=log, close_provider=False) as proofs:
            issued = await proofs.issue(picture, media_type="image/png")
            bundle = await proofs.export(issued.proof_id)
            await proofs.revoke((await proofs.issue(b"a mistake")).proof_id)
    logged = issued.logged
    check("an issued proof is in the log", logged is not None and logged.index == 0)
    say("logged   two proofs and a revocation; each index is final")

    now = datetime.now(UTC)
    report = verify_bundle(bundle, trust, now=now, check_log=LogCheck(policy), policy=InLog())
    check("the log's proof verifies offline", report.logged == logged)
    say(f"verified offline: entry 0 of {ORIGIN}, with {len(parse_bundle(bundle).envelope.pae)} bytes signed")
    refused = True
    with suppress(ProofPolicyError):
        without = encode_bundle(replace(parse_bundle(bundle), log=None))
        verify_bundle(without, trust, now=now, check_log=LogCheck(policy), policy=InLog())
        refused = False
    check("a proof that is not in the log is refused", refused)
    say("without the log's proof: refused (ProofPolicyError)")

    # The log's owner starts again elsewhere, with the same key and without the revocation.
    memory = LogMemory(folder)
    shown = await LogClient(LogObjects(store).fetch, policy=policy, memory=memory).checkpoint()
    say(f"a client remembers size {shown.signed.checkpoint.size} of the log")
    async with StorageFactory().create(MemoryConfig()) as other:
        async with LogSequencer(other, signer=log_key, admission=admission, max_wait=0.0) as forged:
            await forged.create()
            async with ProofStore(
                other,
                trust=trust,
                signer=signer,
                log=ProofLog(policy, sequencer=forged),
                close_provider=False,
            ) as proofs:
                for number in range(4):
                    await proofs.issue(b"another past %d" % number)
        caught = None
        try:
            await LogClient(LogObjects(other).fetch, policy=policy, memory=memory).checkpoint()
        except LogForkError as error:
            caught = len(error.note_a) + len(error.note_b)
    check("a log that changes the past is caught", caught is not None)
    kept = list((folder / "forks").glob("*.txt"))
    check("both signed notes are kept as evidence", len(kept) == 1)
    say("the log without that revocation, signed by the same key: caught (LogForkError);")
    say(f"  both signed checkpoints are kept: {caught} bytes of evidence")
