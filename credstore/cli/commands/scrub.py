"""`credstore scrub`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from credstore.cli.exits import Exit
from credstore.cli.options import Invocation, command
from credstore.cli.output import human_size, note, print_fields, print_json, printable
from credstore.cli.proof_files import read_signer
from credstore.cli.runner import with_store

if TYPE_CHECKING:
    from credstore.model import ScrubReport
    from credstore.provider.provider import StorageProvider


@command("scrub")
@click.argument("prefix", default="", metavar="[PREFIX]")
@click.option("--share", metavar="N/M", help="Only a part of the keys: 1/7 to 7/7 are the whole in a week.")
@click.option("--shallow", is_flag=True, help="Compare what the stores say; do not read the replicas.")
@click.option(
    "--exclusive", is_flag=True, help="No one writes meanwhile: mend stores without conditional writes too."
)
@click.option("--report", metavar="FILE", type=click.Path(dir_okay=False), help="Write a signed report.")
@click.option("--key", "key_file", metavar="FILE", envvar="CREDSTORE_PROOF_KEY", help="Signs the report.")
@click.option("--issuer", metavar="URI", help="Who signs it, as in the trust store of its readers.")
@click.pass_obj
def scrub_command(
    invocation: Invocation,
    /,
    prefix: str,
    *,
    share: str | None,
    shallow: bool,
    exclusive: bool,
    report: str | None,
    key_file: str | None,
    issuer: str | None,
) -> None:
    """Compare all replicas under PREFIX and make them equal.

    The store is one with replicas: --store 'multi://redundant?store=URL&store=URL&store=URL'. Exit code 7
    says that a replica is still wrong; each is named, with the reason.
    """
    if report is not None and (key_file is None or issuer is None):
        raise click.UsageError("--report needs --key and --issuer")

    async def work(provider: StorageProvider) -> ScrubReport:
        from credstore import replicas

        found = await replicas.scrub(provider, prefix, share=share, deep=not shallow, exclusive=exclusive)
        if report is not None and key_file is not None and issuer is not None:
            await replicas.write_scrub_report(found, report, read_signer(key_file), issuer)
        return found

    found = with_store(invocation, work)
    if invocation.json:
        print_json(found)
    else:
        mended = sum(each.mended for each in found.findings)
        rows = [
            ("replicas", ", ".join(found.replicas)),
            ("share", found.share),
            ("objects", f"{found.objects:,}"),
            ("read", human_size(found.bytes_read)),
            ("mended", f"{mended:,}"),
            ("left", f"{len(found.findings) - mended:,}"),
            ("equal", "yes" if found.equal else "no"),
        ]
        print_fields(rows)
        for each in found.findings:
            if not each.mended:
                where = f"{printable(each.key)}: {each.kind} at {each.replica}"
                note(f"credstore: {where}: {printable(each.reason)}")
    if not found.equal:
        raise click.exceptions.Exit(Exit.INTEGRITY)
