"""`credstore proof timestamp`: let timestamping authorities say when a proof was signed."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from credstore.cli.commands.proof.shown import with_proofs
from credstore.cli.exits import Exit
from credstore.cli.options import Invocation, command
from credstore.cli.output import human_time, print_json, say, say_row, say_text
from credstore.cli.proof_files import ROOTS, TRUST

if TYPE_CHECKING:
    from credstore.proofs import ProofStore, TimestampReport


@command("timestamp")
@click.argument("proof_id", metavar="ID")
@click.option(
    "--authority",
    "urls",
    metavar="URL",
    multiple=True,
    required=True,
    help="Where an RFC 3161 authority takes requests; again for each, since one may fail later.",
)
@click.option("--renew", is_flag=True, help="Stamp the timestamps that are there, if they end soon.")
@click.option(
    "--within",
    metavar="DAYS",
    type=click.IntRange(0),
    default=365,
    show_default=True,
    help="With --renew: how soon they have to end.",
)
@ROOTS
@TRUST
@click.pass_obj
def timestamp_command(
    invocation: Invocation,
    *,
    proof_id: str,
    urls: tuple[str, ...],
    renew: bool,
    within: int,
    roots: tuple[str, ...],
    trust_file: str,
) -> None:
    """Have authorities stamp a proof, so that it counts even if its key is stolen later.

    The timestamps are stored with the proof. Only those of authorities named by --timestamp-roots count,
    and only those are stored. An authority learns a digest of the signature, and nothing else.

    Exit codes: 0 all stamped it, or nothing had to be renewed; 9 some did not.
    """
    from credstore.proofs import TimestampClient

    async def action(store: ProofStore) -> TimestampReport:
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(TimestampClient(url)) for url in dict.fromkeys(urls)]
            if renew:
                return await store.renew_timestamps(proof_id, clients, within=timedelta(days=within))
            return await store.timestamp(proof_id, clients)

    report = with_proofs(invocation, trust_file, action, roots=roots)
    if invocation.json:
        failed = {name: {"code": error.code, "message": str(error)} for name, error in report.failed.items()}
        print_json({"proof_id": proof_id, "times": report.times, "failed": failed, "ends": report.ends})
    elif not invocation.quiet:
        for name, time in report.times.items():
            say_row(name, human_time(time), elastic=0)
        for name, error in report.failed.items():
            say_text(f"{name}  failed: {error}")
        if report.ends is not None:
            say(f"renew before {human_time(report.ends)}")
    if report.failed:
        raise click.exceptions.Exit(Exit.PARTIAL)
