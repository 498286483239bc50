"""`credstore proof page`: pages about proofs as files, for any bucket or web server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from credstore.cli.commands.proof.logs import LogChoice, reads_log
from credstore.cli.commands.proof.shown import with_proofs
from credstore.cli.options import Invocation, command
from credstore.cli.output import print_json, printable, say
from credstore.cli.proof_files import ROOTS, TRUST, naming, read_authorities, read_whole

if TYPE_CHECKING:
    from credstore.proofs import ProofStore

LARGEST_POLICY = 1024 * 1024


@command("page")
@click.argument("proof_ids", metavar="ID...", nargs=-1, required=True)
@click.option("--out", metavar="FOLDER", required=True, help="Made if it is missing; its files are replaced.")
@click.option(
    "--picture", "pictures", metavar="FILE", multiple=True, help="Shown with the proof that is about it."
)
@TRUST
@ROOTS
@reads_log
@click.pass_obj
def page_command(
    invocation: Invocation,
    *,
    proof_ids: tuple[str, ...],
    out: str,
    pictures: tuple[str, ...],
    trust_file: str,
    roots: tuple[str, ...],
    log: LogChoice,
) -> None:
    """Write a page for each proof, and one on which files are verified, into a folder.

    The folder works on any web server, bucket or CDN as it is: each page is ID.html, with its proof, its
    picture and everything it loads next to it. The trust store and the log policy become public with it.
    """
    from credstore.files import write_file
    from credstore.web.folder import folder_files
    from credstore.web.pictures import GivenPictures
    from credstore.web.proof_pages import ProofPages

    for each in pictures:
        if not Path(each).is_file():
            raise click.UsageError(f"{each}: no such file")
    policy = None if log.policy_file is None else read_whole(log.policy_file, LARGEST_POLICY)
    written: list[str] = []

    async def action(store: ProofStore) -> None:
        pages = ProofPages(
            store,
            check_log=log.check(),
            log_policy=policy,
            authorities=read_authorities(roots),
            pictures=GivenPictures(map(Path, pictures)),
            place="folder",
        )
        with naming(out):
            async for file in folder_files(pages, proof_ids):
                path = Path(out, *file.name.split("/"))
                path.parent.mkdir(parents=True, exist_ok=True)
                write_file(path, file.data, replace=True)
                written.append(file.name)

    with_proofs(invocation, trust_file, action, roots=roots, log=log)
    shown = [str(Path(out, f"{each}.html")) for each in proof_ids]
    if invocation.json:
        print_json({"folder": out, "pages": shown, "files": len(written)})
    elif not invocation.quiet:
        for each in shown:
            say(printable(each))
