"""`credstore proof audit`: every proof with all that leads to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from credstore.cli.clusters import CONTINUES, cluster_of, clustered, name_for_workers, store_for_workers
from credstore.cli.commands.proof.shown import end_with, with_proofs
from credstore.cli.errors import report
from credstore.cli.options import Invocation, command
from credstore.cli.output import print_fields, print_json
from credstore.cli.progress import TransferBar
from credstore.cli.runner import run_loop
from credstore.proofs.variables import TRUST

if TYPE_CHECKING:
    from credstore.proofs import FsckReport, ProofStore


@command("audit")
@click.option("--repair", is_flag=True, help="Write missing names, and remove old ones that lead nowhere.")
@click.option(
    "--trust",
    "trust_file",
    metavar="FILE",
    envvar=TRUST,
    help=f"The trust store: whose proofs count; or {TRUST}.",
)
@clustered
@click.pass_obj
def audit_command(
    invocation: Invocation,
    *,
    repair: bool,
    trust_file: str | None,
    dask: str | None,
    workers: int | None,
    shared_paths: bool,
) -> None:
    """Verify every proof of the store, and that id, hash and expiry lead to each of them.

    With --dask, the workers of a cluster verify, each with the trust store of its own CREDSTORE_PROOF_TRUST.
    Exit code 20 to 26 where proofs do not verify, 9 where only some do.
    """
    cluster = cluster_of(dask, workers, shared_paths=shared_paths)
    invocation.interrupted = CONTINUES
    if cluster is not None:
        name_for_workers(TRUST, trust_file, dask)

        async def work() -> FsckReport:
            with TransferBar(invocation, "objects", steps=True) as bar:
                async with cluster as crew:
                    return await crew.audit_proofs(store_for_workers(invocation), repair=repair, progress=bar)

        checked = run_loop(work())
    elif trust_file is None:
        raise click.UsageError(f"Missing option '--trust'; or set {TRUST}")
    else:

        async def action(store: ProofStore) -> FsckReport:
            return await store.fsck(repair=repair)

        checked = with_proofs(invocation, trust_file, action)
    if invocation.json:
        print_json(checked)
    elif not invocation.quiet:
        done = "" if repair else " (with --repair)"
        print_fields(
            [
                ("verified", f"{checked.records:,}"),
                (f"restored{done}", f"{checked.restored:,}"),
                (f"removed{done}", f"{checked.removed:,}"),
                ("problems", f"{len(checked.problems):,}"),
            ]
        )
    for key, error in checked.problems.items():
        error.key = key
        report(error, invocation)
    end_with([*checked.problems.values()], checked.records)
