"""`credstore sync`, `migrate` and `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from credstore.cli.clusters import cluster_of, clustered, place_for_workers
from credstore.cli.exits import Exit
from credstore.cli.options import Invocation, command
from credstore.cli.places import folder_of, opened_stores, source_of, spot
from credstore.cli.proof_files import read_signer
from credstore.cli.runner import run_loop
from credstore.cli.transfers import Telling, moving, selecting

if TYPE_CHECKING:
    from credstore.cluster import Cluster
    from credstore.transfer import TransferReport

_PLACES = """

    SOURCE and DESTINATION are folders, or stores: a path, a store URL such as s3://bucket/data, or
    store:PREFIX for the store that --store or the environment names. What is in SOURCE goes into
    DESTINATION. Every copy is read back and compared. A run that ended early is continued by the same
    command.
"""
Verb = Literal["sync", "migrate", "compare"]


@command("sync")
@click.argument("source")
@click.argument("destination")
@click.option("--delete", is_flag=True, help="Delete in DESTINATION what SOURCE lacks; asks first.")
@click.option("--max-delete", type=click.IntRange(min=0), metavar="N", help="Do nothing if more would be.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before deleting.")
@moving
@click.pass_obj
def sync_command(
    invocation: Invocation,
    /,
    source: str,
    destination: str,
    *,
    delete: bool,
    max_delete: int | None,
    yes: bool,
    **given: Any,
) -> None:
    """Make DESTINATION what SOURCE is: copy what is missing or differs."""
    telling = Telling(invocation, given, asks=delete, yes=yes)
    telling.end(_run(invocation, telling, "sync", source, destination, delete=delete, max_delete=max_delete))


@command("migrate")
@click.argument("source")
@click.argument("destination")
@click.option("--delete-source", is_flag=True, help="Delete each object in SOURCE once its copy is verified.")
@click.option("--evidence", metavar="FILE", type=click.Path(dir_okay=False), help="Write a signed list.")
@click.option("--key", "key_file", metavar="FILE", envvar="CREDSTORE_PROOF_KEY", help="Signs the list.")
@click.option("--issuer", metavar="URI", help="Who signs the list, as in the trust store of its readers.")
@clustered
@moving
@click.pass_obj
def migrate_command(
    invocation: Invocation,
    /,
    source: str,
    destination: str,
    *,
    delete_source: bool,
    evidence: str | None,
    key_file: str | None,
    issuer: str | None,
    dask: str | None,
    workers: int | None,
    shared_paths: bool,
    **given: Any,
) -> None:
    """Copy everything from SOURCE to DESTINATION, then look for what changed meanwhile.

    What changed is named, and the same command copies it; exit code 9 until there is nothing left. With
    --evidence, every object is compared by content, and a list of all of them is left with a signed statement
    next to it, which verify-transfer checks. With --dask, the workers of a cluster copy: each finds the
    stores by the same URLs and the credentials of its own environment.
    """
    more: dict[str, Any] = {"delete_source": delete_source}
    if evidence is not None:
        if key_file is None or issuer is None:
            raise click.UsageError("--evidence needs --key and --issuer")
        more.update(evidence=evidence, signer=read_signer(key_file), issuer=issuer)
    telling = Telling(invocation, given)
    cluster = cluster_of(dask, workers, shared_paths=shared_paths)
    telling.end(_run(invocation, telling, "migrate", source, destination, cluster=cluster, **more))


@command("compare")
@click.argument("source")
@click.argument("destination")
@clustered
@selecting
@click.pass_obj
def compare_command(
    invocation: Invocation,
    /,
    source: str,
    destination: str,
    *,
    dask: str | None,
    workers: int | None,
    shared_paths: bool,
    **given: Any,
) -> None:
    """Show what DESTINATION lacks, has otherwise or has besides; exit code 1 if there is anything.

    Compared is by what earlier transfers have verified and is unchanged since, else by recorded digests,
    else by size and time; the summary says how many by which. --checksum compares every content, and so does
    --dask, by the workers of a cluster.
    """
    telling = Telling(invocation, given, compares=True)
    cluster = cluster_of(dask, workers, shared_paths=shared_paths)
    report = _run(invocation, telling, "compare", source, destination, cluster=cluster)
    telling.end(report)
    if not report.equal:
        raise click.exceptions.Exit(Exit.FAILURE)


for _each in (sync_command, migrate_command, compare_command):
    _each.help = f"{_each.help or ''}{_PLACES}"


def _run(
    invocation: Invocation,
    telling: Telling,
    verb: Verb,
    source: str,
    destination: str,
    *,
    cluster: Cluster | None = None,
    **more: Any,
) -> TransferReport:
    first, second = (spot(invocation, each, "path").as_folder for each in (source, destination))

    async def work() -> TransferReport:
        from credstore import transfer

        reading = 2 if verb == "compare" else 1
        async with opened_stores(invocation, first, second, reading=reading) as (one, two):
            origin, globs = await source_of(first, one, tree=True, recursive=True)
            target = two if isinstance(two, Path) else folder_of(two)
            options = telling.options()
            options["within"] = globs
            options["journal"] = telling.journal(origin, target)
            if more.get("max_delete") is not None:
                options["max_delete"] = more["max_delete"]
            if cluster is not None:
                options["checksum"] = True
                places = (
                    place_for_workers(invocation, first, origin),
                    place_for_workers(invocation, second, target),
                )
                async with cluster as workers:
                    if verb == "compare":
                        options["checksum"] = True
                        return await workers.compare(*places, **options)
                    return await workers.migrate(*places, **more, **options)
            if verb == "compare":
                return await transfer.compare(origin, target, **options)
            if verb == "migrate":
                return await transfer.migrate(origin, target, **more, **options)
            return await transfer.sync(origin, target, delete=more["delete"], **options)

    try:
        return run_loop(work())
    finally:
        telling.bar.stop()
