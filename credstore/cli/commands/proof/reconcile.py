"""`credstore proof reconcile` and `publish-trust`: what the log lacks, and keys for readers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from credstore.cli.commands.proof.logs import LogChoice, writes_log
from credstore.cli.commands.proof.shown import end_with, with_proofs
from credstore.cli.errors import report
from credstore.cli.options import Invocation, command
from credstore.cli.output import print_json, say
from credstore.cli.proof_files import TRUST, read_signer, read_trust

if TYPE_CHECKING:
    from credstore.proofs import ProofStore, ReconcileReport


@command("reconcile")
@click.option("--deep", is_flag=True, help="Also verify what is kept of the log.")
@TRUST
@writes_log
@click.pass_obj
def reconcile_command(invocation: Invocation, *, deep: bool, trust_file: str, log: LogChoice) -> None:
    """Log whatever was issued, revoked, erased or published and is not in the log yet, as after a crash."""
    if not log.writes:
        raise click.UsageError("give --log, with the key and origin of the log")

    async def action(store: ProofStore) -> ReconcileReport:
        return await store.reconcile(deep=deep)

    done = with_proofs(invocation, trust_file, action, log=log)
    if invocation.json:
        print_json({"logged": done.logged, "failed": list(done.failed)})
    elif not invocation.quiet:
        say(f"{done.logged} logged, {len(done.failed)} failed")
    for error in done.failed.values():
        report(error, invocation)
    end_with([*done.failed.values()], done.logged)


@command("publish-trust")
@click.argument("new", metavar="FILE")
@click.option(
    "--root-key",
    metavar="FILE",
    required=True,
    help="Private key of usage root; readers trust it.",
)
@TRUST
@writes_log
@click.pass_obj
def publish_trust_command(
    invocation: Invocation, *, new: str, root_key: str, trust_file: str, log: LogChoice
) -> None:
    """Publish the trust store in FILE next to the proofs, signed for readers who have the one of --trust."""
    trust, signer = read_trust(new), read_signer(root_key)

    async def action(store: ProofStore) -> None:
        await store.publish_trust(trust, signer=signer)

    with_proofs(invocation, trust_file, action, log=log)
    if invocation.json:
        print_json({"version": trust.version, "keys": len(trust.keys)})
    elif not invocation.quiet:
        say(f"published version {trust.version} with {len(trust.keys)} keys")
