"""A progress bar on stderr, for people and only where there is something to wait for."""

from __future__ import annotations

import asyncio
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from credstore.cli.options import Invocation
from credstore.cli.output import human_size, note

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from credstore.transfer import TransferProgress

PATIENCE = 0.5
"""Seconds a transfer may take before a bar appears."""
SELDOM = 10.0
"""Seconds between two lines about progress where there is no terminal to draw on."""


class TransferBar:
    """The `progress` callable of one transfer; leaving the context removes the bar.

    The bar appears after half a second whether anything has moved by then or not: what takes long before its
    first byte is just what people wonder about.
    """

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
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._known: tuple[int, int | None] = (0, None)
        self._soon: asyncio.TimerHandle | None = None

    def __call__(self, done: int, total: int | None) -> None:
        """Show that `done` of `total` bytes or steps are done."""
        self._known = done, total
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total)

    def _appear(self) -> None:
        done, total = self._known
        self._bar = _bar(steps=self._steps)
        self._task = self._bar.add_task(self._title, completed=done, total=total)
        self._bar.start()  # It draws itself again by a timer of its own, also while nothing arrives.

    def __enter__(self) -> Self:
        if self._watched:
            self._soon = asyncio.get_running_loop().call_later(PATIENCE, self._appear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._soon is not None:
            self._soon.cancel()
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


class RunBar:
    """The `progress` callable of a transfer of many objects.

    Attributes:
        watched: Whether anything is shown at all.
    """

    def __init__(self, invocation: Invocation, *, shown: bool | None) -> None:
        """Decide whether anyone is watching.

        Args:
            invocation: No bar with `--quiet` or `--json`, unless asked for.
            shown: As asked for; None where nothing was said.
        """
        usual = sys.stderr.isatty() and not invocation.quiet and not invocation.json
        self.watched = usual if shown is None else shown
        self._start = self._last = time.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __call__(self, done: TransferProgress) -> None:
        """Show how far it is."""
        now = time.monotonic()
        if not self.watched or now - self._start < PATIENCE:
            return
        if not sys.stderr.isatty():
            if now - self._last >= SELDOM:
                self._last = now
                note(_line(done))
            return
        if self._bar is None or self._task is None:
            self._bar = _bar(steps=False)
            self._task = self._bar.add_task("", total=None)
            self._bar.start()  # It draws itself again by a timer of its own, also while nothing arrives.
        count = f"{done.objects:,}/{done.total_objects or 0:,}"
        self._bar.update(self._task, completed=done.bytes, total=done.total_bytes or None, description=count)

    def stop(self) -> None:
        """Remove the bar; what is printed next stays."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
            self._start = time.monotonic()


def _line(done: TransferProgress) -> str:
    left = "" if done.remaining is None else f", {done.remaining:.0f} s left"
    total = f" of {done.total_objects:,}" if done.total_objects else ""
    return f"{done.objects:,}{total} objects, {human_size(done.bytes)}, {human_size(int(done.rate))}/s{left}"
