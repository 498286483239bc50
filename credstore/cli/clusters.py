"""What the commands have in common that a cluster can work for: options, and places as workers find them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from credstore.cli.options import Invocation
from credstore.cli.places import Spot, is_url

if TYPE_CHECKING:
    from credstore.cluster import Cluster, ClusterPlace
    from credstore.transfer import Place, Under

F = TypeVar("F", bound=Callable[..., Any])
_OPTIONS = (
    click.option("--dask", metavar="ADDRESS|local",
                 help="The workers of a Dask cluster do it: tcp://HOST:8786, or new ones on this machine."),
    click.option("--workers", type=click.IntRange(min=1), metavar="N",
                 help="With --dask local: how many; default: one for each processor."),
)  # fmt: skip


def clustered(function: F) -> F:
    """Add the options that name a cluster; the command gets them as `dask` and `workers`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def cluster_of(dask: str | None, workers: int | None) -> Cluster | None:
    """The cluster that the options name, to be opened with `async with`; None where there is none.

    Raises:
        click.UsageError: A number of workers without local ones.
    """
    if workers is not None and dask != "local":
        raise click.UsageError("--workers is for --dask local")
    if dask is None:
        return None
    from credstore.cluster import Cluster

    return Cluster(dask, workers=workers)


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
