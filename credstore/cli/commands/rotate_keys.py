"""`credstore rotate-keys`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from credstore.cli.clusters import CONTINUES, cluster_of, clustered, store_for_workers
from credstore.cli.errors import report
from credstore.cli.exits import Exit
from credstore.cli.options import Invocation, command
from credstore.cli.output import note, print_fields, print_json
from credstore.cli.progress import TransferBar
from credstore.cli.runner import open_store, run_loop

if TYPE_CHECKING:
    from credstore.model import RotationReport


@command("rotate-keys")
@click.argument("prefix", default="")
@clustered
@click.pass_obj
def rotate_keys_command(
    invocation: Invocation, prefix: str, *, dask: str | None, workers: int | None, shared_paths: bool
) -> None:
    """Give objects under PREFIX that are encrypted on the client the current wrapping key.

    Their bytes stay where they are. --wrapping-key is that key, --older-wrapping-key one that objects still
    have, and --store-id the name they are bound to; or CREDSTORE_WRAPPING_KEY,
    CREDSTORE_OLDER_WRAPPING_KEYS (separated by commas) and CREDSTORE_STORE_ID; with --dask, each worker has
    these variables too. Exit code 9 as long as an object needs an older key.
    """
    cluster = cluster_of(dask, workers, shared_paths=shared_paths)
    invocation.interrupted = CONTINUES

    async def work() -> RotationReport:
        with TransferBar(invocation, "objects", steps=True) as bar:
            if cluster is not None:
                async with cluster as crew:
                    return await crew.rotate_keys(store_for_workers(invocation, prefix), progress=bar)
            async with open_store(invocation) as provider:
                if provider.config.wrapping_key is None:
                    from credstore.keyring.configured import key_ring_of

                    key_ring_of(provider.config)  # Says that there is none.
                return await provider.rotate_keys(prefix, progress=bar)

    rotated = run_loop(work())
    if invocation.json:
        print_json(rotated)
    elif not invocation.quiet:
        rows = [(f"with {key_id}", f"{count:,}") for key_id, count in sorted(rotated.keys.items())]
        print_fields(
            [("rotated", f"{rotated.rotated:,}"), *rows, ("unencrypted", f"{rotated.unencrypted:,}")]
        )
    for key, error in rotated.failed.items():
        error.key = key
        report(error, invocation)
    if not rotated.complete:
        if not invocation.quiet and not invocation.json:
            note("credstore: not all objects have the current key; the same command continues")
        raise click.exceptions.Exit(Exit.PARTIAL)
