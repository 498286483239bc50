"""`credstore verify`: one verdict on a file or folder, from what it carries and what is next to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from credstore.cli.options import Invocation, command
from credstore.cli.output import print_fields, print_json
from credstore.cli.runner import open_store, run_loop
from credstore.proofs import variables

if TYPE_CHECKING:
    from credstore.verification import AssetVerdict, VerificationPolicy


@command("verify")
@click.argument("asset", metavar="FILE|FOLDER")
@click.option(
    "--policy", "policy_file", metavar="FILE", help="Whom to trust, in TOML; see docs/guide/verify-a-file.md."
)
@click.option(
    "--trust",
    "trust_file",
    metavar="FILE",
    envvar=variables.TRUST,
    help="A trust store: also look for proofs of the file in the store; or CREDSTORE_PROOF_TRUST.",
)
@click.option("--fetch", is_flag=True, help="Fetch a manifest from the public https address in the file.")
@click.option("--fetch-anywhere", is_flag=True, help="The same, from any address, such as an intranet's.")
@click.option("--media-type", metavar="TYPE", help="What the file is said to be.")
@click.option("--html", "html_file", metavar="FILE", help="Also write the verdict as a page.")
@click.option("--svg", "svg_file", metavar="FILE", help="Also write the verdict as a badge.")
@click.pass_obj
def verify_command(
    invocation: Invocation,
    *,
    asset: str,
    policy_file: str | None,
    trust_file: str | None,
    fetch: bool,
    fetch_anywhere: bool,
    media_type: str | None,
    html_file: str | None,
    svg_file: str | None,
) -> None:
    """Say who vouches for a file: C2PA manifests, proofs, attestations, signed models.

    Nothing is fetched without --fetch. Exit codes: 0 verified; 3 nothing to verify; 21 to 26 as for proof
    verify: changed, about another file, signer not trusted, expired, revoked; 2 for files that cannot be
        read.
    """
    verdict = run_loop(
        _verdict(
            invocation,
            Path(asset),
            policy_file,
            trust_file,
            fetch=fetch,
            fetch_anywhere=fetch_anywhere,
            media_type=media_type,
        )
    )
    from credstore.files import write_file
    from credstore.verification.page import html_page, rows, svg_badge

    for path, text in ((html_file, html_page), (svg_file, svg_badge)):
        if path is not None:
            write_file(path, text(verdict).encode(), replace=True)
    if invocation.json:
        print_json(verdict.as_json())
    elif not invocation.quiet:
        print_fields(rows(verdict))
    if (error := verdict.error) is not None:
        raise error


async def _verdict(
    invocation: Invocation,
    asset: Path,
    policy_file: str | None,
    trust_file: str | None,
    *,
    fetch: bool,
    fetch_anywhere: bool,
    media_type: str | None,
) -> AssetVerdict:
    from contextlib import AsyncExitStack

    from credstore.cli.proof_files import check_readable, read_trust
    from credstore.proofs import ProofStore
    from credstore.verification import VerificationPolicy, verify
    from credstore.verification.fetching import Fetcher

    policy: VerificationPolicy | None = None
    if policy_file is not None:
        check_readable(policy_file)
        policy = VerificationPolicy.from_toml(Path(policy_file))
    async with AsyncExitStack() as stack:
        store = None
        if trust_file is not None:
            provider = open_store(invocation, reading=True)
            store = await stack.enter_async_context(ProofStore(provider, trust=read_trust(trust_file)))
        manifests = None
        if fetch or fetch_anywhere:
            manifests = (await stack.enter_async_context(Fetcher(anywhere=fetch_anywhere))).manifest
        return await verify(asset, policy=policy, store=store, media_type=media_type, fetch=manifests)
