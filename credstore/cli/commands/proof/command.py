"""`credstore proof`: signed proofs about files, verified on every read."""

from __future__ import annotations

import click

from credstore.cli.commands.proof.audit import audit_command
from credstore.cli.commands.proof.delete import delete_command
from credstore.cli.commands.proof.export import export_command
from credstore.cli.commands.proof.find import find_command
from credstore.cli.commands.proof.get import get_command
from credstore.cli.commands.proof.history import history_command
from credstore.cli.commands.proof.import_credlink import import_credlink_command
from credstore.cli.commands.proof.issue import issue_command
from credstore.cli.commands.proof.issue_all import issue_all_command
from credstore.cli.commands.proof.keys import keys_command
from credstore.cli.commands.proof.link import link_command
from credstore.cli.commands.proof.list import list_command
from credstore.cli.commands.proof.page import page_command
from credstore.cli.commands.proof.published import fetch_command, publish_command
from credstore.cli.commands.proof.reconcile import publish_trust_command, reconcile_command
from credstore.cli.commands.proof.revoke import revoke_command
from credstore.cli.commands.proof.stats import stats_command
from credstore.cli.commands.proof.sweep import sweep_command
from credstore.cli.commands.proof.timestamp import timestamp_command
from credstore.cli.commands.proof.verify import verify_command


@click.group("proof", context_settings={"help_option_names": ["-h", "--help"]})
def proof_command() -> None:
    """Issue, find, verify and revoke signed proofs about files.

    Keys and the trust store come from credstore proof keys; CREDSTORE_PROOF_KEY and CREDSTORE_PROOF_TRUST
    name them for all commands.
    """


for each in (
    keys_command,
    issue_command,
    issue_all_command,
    get_command,
    find_command,
    history_command,
    list_command,
    verify_command,
    export_command,
    link_command,
    page_command,
    timestamp_command,
    revoke_command,
    delete_command,
    sweep_command,
    stats_command,
    audit_command,
    reconcile_command,
    publish_trust_command,
    import_credlink_command,
):
    proof_command.add_command(each)
for each in (publish_command, fetch_command):
    keys_command.add_command(each)
