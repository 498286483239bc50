"""`credstore proof issue-all`: proofs about every object of a place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from credstore.cli.clusters import CONTINUES, cluster_of, clustered, place_for_workers, store_for_workers
from credstore.cli.commands.proof.shown import end_with
from credstore.cli.errors import report
from credstore.cli.options import Invocation, as_duration, command
from credstore.cli.output import note, print_json, say_row
from credstore.cli.places import folder_of, opened_stores, spot
from credstore.cli.progress import TransferBar
from credstore.cli.proof_files import read_claims
from credstore.cli.runner import run_loop

if TYPE_CHECKING:
    from credstore.cluster import IssueReport


@command("issue-all")
@click.argument("place", metavar="PLACE")
@click.option("--issuer", metavar="URI", help="Who signs; needed where the key is trusted for several.")
@click.option(
    "--expires", metavar="DURATION", callback=as_duration, help="How long they are valid; default: for ever."
)
@click.option("--claims", metavar="JSON|@FILE", help="A JSON object to sign with each.")
@click.option("--journal", type=click.Path(dir_okay=False), metavar="FILE", help="Remembers what was done.")
@clustered
@click.pass_obj
def issue_all_command(
    invocation: Invocation,
    *,
    place: str,
    issuer: str | None,
    expires: float | None,
    claims: str | None,
    journal: str | None,
    dask: str | None,
    workers: int | None,
    shared_paths: bool,
) -> None:
    """Sign a proof about every object in PLACE: a store URL, store:PREFIX, or a folder.

    The workers of a cluster read and sign; without --dask, new ones on this machine. Each takes the key from
    the file that its own CREDSTORE_PROOF_KEY names, and the trust store from CREDSTORE_PROOF_TRUST. The
    proofs go to the store that --store or the environment names. An object that has a proof of the same
    content keeps it; with --journal, objects that have not changed are not read again. None is logged here:
    credstore proof reconcile --log does that afterwards.
    """
    cluster = cluster_of(dask or "local", workers, shared_paths=shared_paths)
    where, said = spot(invocation, place, "path").as_folder, read_claims(claims)
    invocation.interrupted = CONTINUES

    def show(name: str, proof_id: str) -> None:
        if invocation.json:
            print_json({"name": name, "proof_id": proof_id})
        else:
            say_row(proof_id, name, elastic=1)

    async def work() -> IssueReport:
        async with opened_stores(invocation, where, reading=1) as (opened,):
            folder = opened if isinstance(opened, Path) else folder_of(opened)
            found = place_for_workers(invocation, where, folder)
        with TransferBar(invocation, "objects", steps=True) as bar:
            async with cluster as crew:
                return await crew.issue_proofs(
                    found,
                    store_for_workers(invocation),
                    issuer=issuer,
                    expires_in=expires,
                    claims=said,
                    journal=journal,
                    on_proof=show,
                    progress=bar,
                )

    issued = run_loop(work())
    for name, error in issued.failed.items():
        error.key = name
        report(error, invocation)
    if not (invocation.quiet or invocation.json):
        note(f"{issued.issued:,} issued, {issued.known:,} known, {len(issued.failed):,} failed")
    end_with([*issued.failed.values()], issued.issued + issued.known)
