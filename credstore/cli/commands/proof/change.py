"""`credstore proof revoke`, `delete`, `sweep` and `link`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from credstore.cli.commands.proof.files import KEY, TRUST
from credstore.cli.commands.proof.shown import end_with, remaining_document, status_document, with_proofs
from credstore.cli.errors import report
from credstore.cli.options import Invocation, as_duration, command
from credstore.cli.output import human_time, note, print_fields, print_json, printable, say
from credstore.errors import StorageVersionsRemainError

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


@command("delete")
@click.argument("proof_id", metavar="ID")
@click.option(
    "--reason",
    type=click.Choice(["keyCompromise", "incorrect", "withdrawn", "legal", "unspecified"]),
    default="unspecified",
    show_default=True,
    help="Stands in the tombstone.",
)
@KEY
@TRUST
@click.pass_obj
def delete_command(
    invocation: Invocation, *, proof_id: str, reason: Reason, key_file: str, ring_file: str
) -> None:
    """Erase a proof and its manifest in every version; a signed tombstone is left.

    Deleting again goes on where an earlier call stopped. Exit code 9 means that readers do not find the proof
    any more, but that versions of it stay: those under a retention are shown with its end.
    """

    async def action(store: ProofStore) -> bool:
        return await store.delete(proof_id, reason)

    try:
        deleted = with_proofs(invocation, ring_file, action, key_file=key_file)
    except StorageVersionsRemainError as error:
        _show_remaining(invocation, proof_id, error)
        raise click.exceptions.Exit(report(error, invocation)) from None
    if invocation.json:
        print_json({"proof_id": proof_id, "deleted": deleted, "remaining": []})
    elif not invocation.quiet:
        say(f"deleted {proof_id}" if deleted else f"{proof_id} was not there")


def _show_remaining(invocation: Invocation, proof_id: str, error: StorageVersionsRemainError) -> None:
    if invocation.json:
        print_json({"proof_id": proof_id, "deleted": False, "remaining": remaining_document(error)})
        return
    for each in error.remaining:
        keeper = "a legal hold" if each.legal_hold else each.error.message
        if each.retain_until is not None:
            keeper = f"{each.mode or 'a retention'} until {human_time(each.retain_until)}"
            keeper += ", and a legal hold" if each.legal_hold else ""
        say(f"stays {printable(each.key)} version {printable(each.version_id or '-')}: {keeper}")


@command("sweep")
@click.option(
    "--grace",
    metavar="DURATION",
    default="1d",
    show_default=True,
    callback=as_duration,
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
    callback=as_duration,
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
