"""`credstore proof revoke`, `sweep` and `link`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from credstore.cli import parameters
from credstore.cli.failures import report
from credstore.cli.invocation import Invocation, command
from credstore.cli.output import human_time, note, print_fields, print_json, say
from credstore.cli.proof_files import KEY, TRUST
from credstore.cli.proof_shown import end_with, status_document, with_proofs

if TYPE_CHECKING:
    from credstore.model import SignedUrl
    from credstore.proofs import ProofStatus, ProofStore, SweepReport

Reason = Literal["keyCompromise", "incorrect", "withdrawn", "legal", "unspecified"]


@command("revoke")
@click.argument("proof_id", metavar="ID")
@click.option(
    "--reason",
    type=click.Choice(["keyCompromise", "incorrect", "withdrawn", "legal", "unspecified"]),
    default="unspecified",
    show_default=True,
    help="Stands in the notice.",
)
@KEY
@TRUST
@click.pass_obj
def revoke_command(
    invocation: Invocation, *, proof_id: str, reason: Reason, key_file: str, ring_file: str
) -> None:
    """Revoke a proof for ever: every read refuses it from now on. Again is harmless."""

    async def action(store: ProofStore) -> ProofStatus:
        return await store.revoke(proof_id, reason)

    status = with_proofs(invocation, ring_file, action, key_file=key_file)
    if invocation.json:
        print_json({"proof_id": proof_id, **status_document(status)})
    elif not invocation.quiet:
        say(f"revoked {proof_id}")


@command("sweep")
@click.option(
    "--grace",
    metavar="DURATION",
    default="1d",
    show_default=True,
    callback=parameters.duration,
    help="How long proofs are kept after they have expired.",
)
@click.option("--limit", metavar="COUNT", type=click.IntRange(1), help="Most markers to look at.")
@TRUST
@click.pass_obj
def sweep_command(invocation: Invocation, *, grace: float, limit: int | None, ring_file: str) -> None:
    """Remove expired proofs, and what issues and deletions left that never ended.

    Any number of sweeps may run at once, and any of them may be stopped.
    """

    async def action(store: ProofStore) -> SweepReport:
        return await store.sweep_expired(grace=grace, limit=limit)

    swept = with_proofs(invocation, ring_file, action)
    if invocation.json:
        print_json(swept)
    elif not invocation.quiet:
        counts = {
            "swept": swept.swept,
            "cleaned": swept.cleaned,
            "stray": swept.stray,
            "kept": swept.kept,
            "later": swept.later,
            "failed": len(swept.failed),
        }
        print_fields([(name, f"{count:,}") for name, count in counts.items()])
    for error in swept.failed.values():
        report(error, invocation)
    end_with(list(swept.failed.values()), swept.swept + swept.cleaned + swept.stray)


@command("link")
@click.argument("proof_id", metavar="ID")
@click.option(
    "--expires",
    metavar="DURATION",
    default="1h",
    show_default=True,
    callback=parameters.duration,
    help="How long it works, 1s to 7d; never longer than the proof.",
)
@click.option("--manifest", is_flag=True, help="To the manifest, not to the signed record.")
@TRUST
@click.pass_obj
def link_command(
    invocation: Invocation, *, proof_id: str, expires: float, manifest: bool, ring_file: str
) -> None:
    """Print a temporary link to a proof that is valid now.

    Whoever has the link has the access it grants: it is printed here and nowhere else.
    """

    async def action(store: ProofStore) -> SignedUrl:
        return await store.link(proof_id, expires, of="manifest" if manifest else "record")

    link = with_proofs(invocation, ring_file, action)
    if invocation.json:
        print_json({"proof_id": proof_id, "url": str(link), "expires_at": link.expires_at})
        return
    say(str(link))
    if not invocation.quiet:
        note(f"{link.method} until {human_time(link.expires_at)}")
