"""`credstore proof history`: what became of a proof, or every statement that a log has about a file."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from credstore.cli.commands.log.shared import (
    BUNDLED,
    URL,
    OpenedLog,
    memory_option,
    policy_option,
    prefix_option,
    read_policy,
    with_log,
)
from credstore.cli.commands.proof.logs import LogChoice, hint_at_bundled
from credstore.cli.commands.proof.shown import (
    policy_of,
    proof_document,
    record_rows,
    say_proof,
    status_rows,
    with_proofs,
)
from credstore.cli.options import Invocation, command
from credstore.cli.output import human_time, note, print_fields, print_json, say
from credstore.cli.proof_files import measure_file
from credstore.cli.runner import run_loop
from credstore.proofs.variables import TRUST

if TYPE_CHECKING:
    from credstore.proofs import Proof, ProofHistory, ProofStore
    from credstore.proofs.log import History


@command("history")
@click.argument("proof_id", metavar="[ID]", required=False)
@click.option("--asset", metavar="FILE", help="Statements about the bytes of this file.")
@click.option("--copy", "folder", metavar="FOLDER", help="A verified copy of the log, made if needed.")
@click.option("--no-update", is_flag=True, help="Read the copy as it is, without store or network.")
@click.option(
    "--trust",
    "trust_file",
    metavar="FILE",
    envvar=TRUST,
    help=f"Whose proofs count, where there is no copy; or {TRUST}.",
)
@policy_option("--policy", "--log-policy", "policy_file")
@URL
@prefix_option("--prefix", "--log-prefix", "prefix")
@memory_option("--memory", "--log-memory", "memory_folder")
@BUNDLED
@click.pass_obj
def history_command(
    invocation: Invocation,
    *,
    proof_id: str | None,
    asset: str | None,
    folder: str | None,
    no_update: bool,
    trust_file: str | None,
    policy_file: str | None,
    url: str | None,
    prefix: str,
    memory_folder: str | None,
    bundled: bool,
) -> None:
    """Show what became of a proof, or list every statement about a file.

    With ID: the proof, valid or not, which one it replaces, and which one replaces it. With --asset: the
    proofs of the file that were issued, revoked and erased. Complete is only what is read from a copy of the
    whole log: --copy keeps one and fetches what is new, from --url or the store. All of it is verified up to
    a checkpoint that counts by --policy, and listed as the log has it, whoever signed it: get and verify say
    whose proofs count. The last line says up to which size that is complete, and since when witnesses have
    seen it. A log that does not continue the copy ends with exit code 27, and both notes are kept in the
    folder forks of the copy, or in --memory. Without a copy the index names of the store are followed, which
    anyone who may write there can remove: the list may be incomplete.
    """
    if (proof_id is None) == (asset is None):
        raise click.UsageError("give either the ID of a proof or --asset FILE")
    if folder is None and (no_update or url is not None):
        raise click.UsageError("--no-update and --url are about a copy of the log: give --copy FOLDER, too")
    if asset is None and folder is not None:
        raise click.UsageError("--copy is for --asset FILE: a log has no history of an ID without its asset")
    if folder is not None and policy_file is None:
        raise click.UsageError("--copy needs --policy, or CREDSTORE_LOG_POLICY: which logs count")
    if folder is None and trust_file is None:
        raise click.UsageError(f"give {'' if asset is None else '--copy FOLDER, or '}--trust (or {TRUST})")
    log = LogChoice(policy_file=policy_file, prefix=prefix, memory_folder=memory_folder, bundled=bundled)
    if proof_id is not None:
        _of_proof(invocation, trust_file or "", proof_id, log)
        return
    digest = measure_file(asset or "").sha256
    if folder is None:
        _from_names(invocation, trust_file or "", digest, log)
        return
    from credstore.proofs import LogTileError
    from credstore.proofs.log import LogClient, export_log, read_copy, read_history

    policy = read_policy(policy_file, ())
    copy = folder

    def update(*, only_new: bool) -> None:
        async def action(log: OpenedLog) -> int:
            return await export_log(log.client, copy, only_new=only_new)

        with_log(invocation, action, policy=policy, url=url, prefix=prefix, memory_folder=memory_folder)

    def read() -> History:
        # Without a memory: the copy may be older than what was seen of the log.
        return run_loop(read_history(LogClient(read_copy(copy), policy=policy), digest))

    if no_update and not Path(copy).is_dir():
        raise click.UsageError(f"{copy}: there is no copy of a log; without --no-update it is made")
    if not no_update:
        update(only_new=True)
    try:
        found = read()
    except LogTileError:
        if no_update:
            raise
        update(
            only_new=False
        )  # Its tiles were damaged on this disk: all of them are compared and written again.
        found = read()
    _show(invocation, found)


def _show(invocation: Invocation, history: History) -> None:
    if invocation.json:
        print_json(
            {
                "complete": history.complete,
                "origin": history.origin,
                "size": history.size,
                "witnessed_at": history.time,
                "unnamed": history.unnamed,
                "unread": history.unread,
                "statements": [
                    {"index": each.index, "kind": each.entry.kind, "proof_id": each.entry.proof_id}
                    for each in history.statements
                ],
            }
        )
        return
    for each in history.statements:
        say(f"{each.index}  {each.entry.kind:<6}  {each.entry.proof_id}")
    if invocation.quiet:
        return
    seen = "no witnesses" if history.time is None else f"witnessed at {human_time(history.time)}"
    upto = f"up to size {history.size} of {history.origin}, {seen}"
    if history.complete:
        note(f"credstore: complete {upto}")
        return
    note(
        f"credstore: may be incomplete {upto}: {history.unnamed} proofs were logged without their asset, "
        f"and {history.unread} entries cannot be read"
    )


def _from_names(invocation: Invocation, trust_file: str, digest: bytes, log: LogChoice) -> None:
    async def action(store: ProofStore) -> list[Proof]:
        policy = policy_of(allow_expired=True, allow_revoked=True)
        async with aclosing(store.scan_by_hash(digest, policy=policy)) as found:
            proofs = [proof async for proof in found]
        await hint_at_bundled(invocation, store.provider, log)
        return proofs

    proofs = with_proofs(invocation, trust_file, action, log=log)
    if invocation.json:
        document: dict[str, Any] = {"complete": False, "proofs": [proof_document(each) for each in proofs]}
        print_json(document)
        return
    for proof in proofs:
        say_proof(proof)
    if not invocation.quiet:
        note("credstore: may be incomplete: these are the proofs that the store's index names lead to")


def _of_proof(invocation: Invocation, trust_file: str, proof_id: str, log: LogChoice) -> None:
    async def action(store: ProofStore) -> ProofHistory:
        return await store.history(proof_id)

    found = with_proofs(invocation, trust_file, action, log=log)
    if invocation.json:
        print_json({**proof_document(found.proof), "superseded_by": found.superseded_by})
        return
    rows = [*record_rows(found.proof.verified), *status_rows(found.proof.status)]
    if found.superseded_by is not None:
        rows.append(("superseded by", found.superseded_by))
    print_fields(rows)
