"""`credstore rotate-keys`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from credstore.cli.clusters import CONTINUES, cluster_of, clustered, store_for_workers
from credstore.cli.errors import report
from credstore.cli.exits import Exit
from credstore.cli.options import Invocation, command
from credstore.cli.output import note, print_fields, print_json
from credstore.cli.progress import TransferBar
from credstore.cli.runner import run_loop, settings, several_stores

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

    Their bytes stay where they are. CREDSTORE_WRAPPING_KEY is the file of that key or the ARN of a KMS key,
    CREDSTORE_OLDER_WRAPPING_KEYS has those that objects still have, separated by commas, and
    CREDSTORE_STORE_ID the store id; with --dask, each worker has these variables too. Exit code 9 as long as
    an object needs an older key.
    """
    cluster = cluster_of(dask, workers, shared_paths=shared_paths)
    invocation.interrupted = CONTINUES

    async def work() -> RotationReport:
        from credstore.factory import StorageFactory
        from credstore.keyring.environment import client_side_from

        with TransferBar(invocation, "objects", steps=True) as bar:
            if cluster is not None:
                async with cluster as crew:
                    return await crew.rotate_keys(store_for_workers(invocation, prefix), progress=bar)
            async with StorageFactory(encryption=client_side_from(os.environ)) as factory:
                provider = factory.create(several_stores(invocation) or settings(invocation))
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
