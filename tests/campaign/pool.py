"""Two processes for the work of a campaign; they end with the one that began them."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import TimeoutError, get_context  # noqa: A004 - the pool's own
from typing import TypeVar

from tests.campaign.trial import Trial

T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def by_two(
    trial: Trial, work: Callable[[T], R], tasks: Sequence[T], *, fresh: bool = False
) -> Iterator[Iterator[R]]:
    """The results of tasks, two at a time, as they come.

    Args:
        trial: Asked each second whether its end has come.
        work: A function of a module, which each process calls.
        tasks: What it is called with.
        fresh: Whether each task has a process of its own.
    """
    with get_context("spawn").Pool(2, _deaf, maxtasksperchild=1 if fresh else None) as pool:
        results = pool.imap_unordered(work, tasks)

        def each() -> R:
            while True:
                try:
                    return results.next(timeout=1)
                except TimeoutError:
                    trial.ended(None, None, 0)

        yield (each() for _ in tasks)


def _deaf() -> None:
    """Ctrl-C reaches all processes of a terminal; the first one ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
