"""A progress bar on stderr, for people and only where there is something to wait for."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from credstore.cli.options import Invocation

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PATIENCE = 0.5
"""Seconds a transfer may take before a bar appears."""


class TransferBar:
    """The `progress` callable of one transfer; leaving the context removes the bar."""

    def __init__(self, invocation: Invocation, title: str, *, steps: bool = False) -> None:
        """Decide whether anyone is watching.

        Args:
            invocation: No bar with `--quiet` or `--json`.
            title: What is transferred; shown before the bar.
            steps: Count steps, not bytes.
        """
        self._watched = sys.stderr.isatty() and not invocation.quiet and not invocation.json
        self._title = title
        self._steps = steps
        self._start = time.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __call__(self, done: int, total: int | None) -> None:
        """Show that `done` of `total` bytes or steps are done."""
        if not self._watched or time.monotonic() - self._start < PATIENCE:
            return
        if self._bar is None or self._task is None:
            self._bar = _bar(steps=self._steps)
            self._task = self._bar.add_task(self._title, total=total)
            self._bar.start()
        self._bar.update(self._task, completed=done, total=total)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def _bar(*, steps: bool) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining
    from rich.progress import TransferSpeedColumn as Speed

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *([MofNCompleteColumn()] if steps else [DownloadColumn(), Speed()]),
        Remaining(),
        console=Console(stderr=True),
        transient=True,
    )
