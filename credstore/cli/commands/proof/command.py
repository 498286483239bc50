"""`credstore proof`: signed proofs about files, verified on every read."""

from __future__ import annotations

import click

from credstore.cli.commands.proof.change import delete_command, link_command, revoke_command, sweep_command
from credstore.cli.commands.proof.issue import issue_command
from credstore.cli.commands.proof.look import (
    export_command,
    find_command,
    get_command,
    list_command,
    stats_command,
)
from credstore.cli.commands.proof.verify import verify_command


@click.group("proof", context_settings={"help_option_names": ["-h", "--help"]})
def proof_command() -> None:
    """Issue, find, verify and revoke signed proofs about files.

    Keys and the trust store come from credstore keys; CREDSTORE_PROOF_KEY and CREDSTORE_PROOF_TRUST name
    them for all commands.
    """


for each in (
    issue_command,
    get_command,
    find_command,
    list_command,
    verify_command,
    export_command,
    link_command,
    revoke_command,
    delete_command,
    sweep_command,
    stats_command,
):
    proof_command.add_command(each)
