"""`credstore log`: a transparency log in the store, and the reading of any C2SP log."""

from __future__ import annotations

import click

from credstore.cli.commands.log.reading import check_command, export_command, monitor_command, proof_command
from credstore.cli.commands.log.serving import serve_command, witness_command
from credstore.cli.commands.log.writing import append_command, init_command, keygen_command, vkey_command


@click.group("log", context_settings={"help_option_names": ["-h", "--help"]})
def log_command() -> None:
    """Keep a transparency log of proofs in the store, check any such log, and cosign others'.

    A log is static files (c2sp.org/tlog-tiles) that any CDN can serve. Its key is made by credstore log
    keygen; CREDSTORE_LOG_KEY and CREDSTORE_LOG_ORIGIN name it for all commands, and
    CREDSTORE_LOG_POLICY names the policy that says which logs and witnesses count.
    """


for each in (
    init_command,
    append_command,
    serve_command,
    check_command,
    monitor_command,
    witness_command,
    proof_command,
    export_command,
    vkey_command,
    keygen_command,
):
    log_command.add_command(each)
