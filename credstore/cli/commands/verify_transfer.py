"""`credstore verify-transfer`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from credstore.cli.exits import Exit
from credstore.cli.options import Invocation, command
from credstore.cli.output import human_size, human_time, note, print_fields, print_json, printable
from credstore.cli.places import folder_of, opened_stores, spot
from credstore.cli.proof_files import TRUST, read_trust
from credstore.cli.runner import run_loop

if TYPE_CHECKING:
    from credstore.transfer import VerifiedTransfer


@command("verify-transfer")
@click.argument("evidence", metavar="FILE", type=click.Path(dir_okay=False))
@TRUST
@click.option("--source", metavar="PLACE", help="Read every object there, too, and compare it.")
@click.option("--destination", metavar="PLACE", help="Read every object there, too, and compare it.")
@click.pass_obj
def verify_transfer_command(
    invocation: Invocation, /, evidence: str, trust_file: str, source: str | None, destination: str | None
) -> None:
    """Check the list FILE that migrate --evidence has left, and the signed statement next to it.

    Nothing is read from a store unless a PLACE is given: a path, a store URL, or store:PREFIX. Exit code 7
    says that something is not there, or has other content.
    """
    trust = read_trust(trust_file)
    given = {
        name: spot(invocation, text, "path").as_folder
        for name, text in (("source", source), ("destination", destination))
        if text is not None
    }

    async def work() -> VerifiedTransfer:
        from credstore import transfer

        async with opened_stores(invocation, *given.values(), reading=len(given)) as found:
            ends = [each if isinstance(each, Path) else folder_of(each) for each in found]
            return await transfer.verify_transfer(
                Path(evidence), trust, **dict(zip(given, ends, strict=True))
            )

    verified = run_loop(work())
    if invocation.json:
        print_json(verified)
    else:
        rows = [
            ("issuer", verified.issuer),
            ("key", verified.keyid),
            ("source", verified.source),
            ("destination", verified.destination),
            ("objects", f"{verified.objects:,} ({human_size(verified.bytes)})"),
            ("finished", human_time(verified.finished_at)),
            ("complete", "yes" if verified.complete else "no"),
            ("compared", ", ".join(given) or "with nothing; offline"),
        ]
        print_fields(rows)
        for name, why in verified.problems:
            note(f"credstore: {printable(name)}: {printable(why)}")
    if verified.problems:
        raise click.exceptions.Exit(Exit.INTEGRITY)
