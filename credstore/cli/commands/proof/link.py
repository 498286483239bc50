"""`credstore proof link`: a temporary link to a proof."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from credstore.cli.commands.proof.shown import with_proofs
from credstore.cli.options import Invocation, as_duration, command
from credstore.cli.output import human_time, note, print_json, say
from credstore.cli.proof_files import TRUST

if TYPE_CHECKING:
    from credstore.model import SignedUrl
    from credstore.proofs import ProofStore


@command("link")
@click.argument("proof_id", metavar="ID")
@click.option(
    "--expires",
    metavar="DURATION",
    default="1h",
    show_default=True,
    callback=as_duration,
    help="How long it works, 1s to 7d; never longer than the proof.",
)
@click.option("--manifest", is_flag=True, help="To the manifest, not to the signed record.")
@TRUST
@click.pass_obj
def link_command(
    invocation: Invocation, *, proof_id: str, expires: float, manifest: bool, trust_file: str
) -> None:
    """Print a temporary link to a proof that is valid now.

    Whoever has the link has the access it grants: it is printed here and nowhere else.
    """

    async def action(store: ProofStore) -> SignedUrl:
        return await store.link(proof_id, expires, of="manifest" if manifest else "record")

    link = with_proofs(invocation, trust_file, action)
    if invocation.json:
        print_json({"proof_id": proof_id, "url": str(link), "expires_at": link.expires_at})
        return
    say(str(link))
    if not invocation.quiet:
        note(f"{link.method} until {human_time(link.expires_at)}")
