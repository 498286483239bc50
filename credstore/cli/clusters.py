"""What the commands have in common that a cluster can work for: options, and places as workers find them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

import click

from credstore.cli.options import Invocation
from credstore.cli.places import Spot, is_url

if TYPE_CHECKING:
    from credstore.cluster import Cluster, ClusterPlace, StoreAt
    from credstore.transfer import Place, Under

CONTINUES = "; the same command continues where this one ended"
"""What to say to someone who interrupts work that can be repeated."""
F = TypeVar("F", bound=Callable[..., Any])
_OPTIONS = (
    click.option("--dask", metavar="ADDRESS|local",
                 help="The workers of a Dask cluster do it: tcp://HOST:8786, or new ones on this machine."),
    click.option("--workers", type=click.IntRange(min=1), metavar="N",
                 help="With --dask local: how many; default: one for each processor."),
    click.option("--shared-paths", is_flag=True,
                 help="All machines have the same disks at the same paths."),
)  # fmt: skip


def clustered(function: F) -> F:
    """Add the options that name a cluster; the command gets `dask`, `workers` and `shared_paths`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@overload
def cluster_of(dask: str, workers: int | None, *, shared_paths: bool) -> Cluster: ...


@overload
def cluster_of(dask: str | None, workers: int | None, *, shared_paths: bool) -> Cluster | None: ...


def cluster_of(dask: str | None, workers: int | None, *, shared_paths: bool) -> Cluster | None:
    """The cluster that the options name, to be opened with `async with`; None where there is none.

    Raises:
        click.UsageError: A number of workers without local ones.
    """
    if workers is not None and dask != "local":
        raise click.UsageError("--workers is for --dask local")
    if dask is None:
        return None
    from credstore.cluster import Cluster

    for name in ("distributed", "distributed.client"):  # What goes wrong is said in one line, by the command.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return Cluster(dask, workers=workers, shared_paths=shared_paths)


def place_for_workers(invocation: Invocation, given: Spot, place: Place) -> ClusterPlace:
    """A place as each worker finds it by itself.

    Args:
        invocation: Names the store that is set.
        given: The argument.
        place: The same, with its store open: a folder, or all below a prefix.
    """
    from credstore.cluster import StoreAt

    if isinstance(place, Path):
        return place
    under = cast("Under", place)
    return StoreAt(
        given.text if is_url(given.text) else invocation.store or "",
        prefix=under.prefix,
        root=under.provider.config.prefix,
        timeout=invocation.timeout,
    )


def store_for_workers(invocation: Invocation, prefix: str = "") -> StoreAt:
    """The store that is set, or what is below a prefix in it, as each worker finds it by itself."""
    from credstore.cluster import StoreAt

    return StoreAt(invocation.store or "", prefix=prefix, timeout=invocation.timeout)


def name_for_workers(variable: str, path: str | None, dask: str | None) -> None:
    """Let workers on this machine find a file by a variable; elsewhere they have one of their own.

    Raises:
        click.UsageError: The file was named in the command line, where workers elsewhere do not see it.
    """
    if path is None or path == os.environ.get(variable):
        return
    if dask != "local":
        raise click.UsageError(f"each worker takes this file from its own {variable}, not from an option")
    os.environ[variable] = path
