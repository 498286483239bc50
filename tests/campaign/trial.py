"""What all campaigns have in common: a size, a seed, figures, and an end that comes at once when it must."""

import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

SCALES = ("quick", "ci", "campaign", "release")
PRINT_EVERY = 10.0
"""Seconds between two lines of progress."""


class Stop:
    """Whether somebody has asked for the end: seen between two units, where nothing is half done."""

    asked = False

    @classmethod
    def ask(cls, *_: object) -> None:
        """Handle a signal; the second one does not wait."""
        if cls.asked:
            raise KeyboardInterrupt
        cls.asked = True

    @classmethod
    @contextmanager
    def by_signals(cls) -> Iterator[None]:
        """Let Ctrl-C and SIGTERM ask."""
        cls.asked = False
        before = {each: signal.signal(each, cls.ask) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


class OutOfTimeError(Exception):
    """The time limit of the run was reached."""


class FoundError(Exception):
    """A planted bug was found: its run need not continue."""


@dataclass
class Trial:
    """One run of one campaign.

    Attributes:
        name: Of the campaign.
        size: How many units to do.
        seed: Of everything that is random; each unit draws from a generator of its own.
        folder: An empty directory.
        scale: Its name.
        start: The first unit, to repeat a single one.
        plant: A bug that the run is to find, or None.
        until: Time (of `time.monotonic`) at which it must stop.
        quiet: Whether no progress is shown.
    """

    name: str
    size: int
    seed: int
    folder: Path
    scale: str = "quick"
    start: int = 0
    plant: str | None = None
    until: float = float("inf")
    quiet: bool = False
    done: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    _printed: float = field(default_factory=time.monotonic)

    def units(self) -> range:
        """The numbers of the units to do."""
        return range(self.start, self.start + self.size)

    def chance(self, unit: object) -> random.Random:
        """The random generator of one unit."""
        return random.Random(f"{self.seed} {self.name} {unit}")

    def ended(self, unit: object, problem: str | None = None, count: int = 1) -> None:
        """Note that so much is done.

        Args:
            unit: Its number or name, for the report of a problem.
            problem: What broke a promise, or None.
            count: How many units that was.

        Raises:
            FoundError: There is a problem, and it was planted.
            OutOfTimeError: The time is over.
            KeyboardInterrupt: Somebody asked for the end.
        """
        self.done += count
        if Stop.asked:
            raise KeyboardInterrupt
        if problem is not None:
            self.violations.append(f"unit {unit}: {problem}")
            if self.plant is not None:
                raise FoundError
        now = time.monotonic()
        if not self.quiet and now - self._printed >= PRINT_EVERY:
            self._printed = now
            self.show(now)
        if now >= self.until:
            raise OutOfTimeError

    def show(self, now: float) -> None:
        """Print one line with the rate and the time at which it will be done."""
        rate = self.done / max(now - self.began, 1e-9)
        left = max(0, self.size - self.done) / max(rate, 1e-9)
        end = time.strftime("%H:%M:%S", time.localtime(time.time() + left))
        text = f"{self.name}: {self.done:,} of {self.size:,}, {rate:,.1f}/s, ends {end}"
        if self.violations:
            text += f", {len(self.violations)} VIOLATIONS"
        print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Campaign:
    """One harness.

    Attributes:
        name: On the command line.
        unit: What is counted, in the plural.
        about: What it does and what must hold, for the page.
        sizes: Units of each scale, at most.
        run: Does it.
        plants: Planted bugs, each with the number of units within which it must be found.
        programs: Programs outside Python that it needs.
    """

    name: str
    unit: str
    about: str
    sizes: Mapping[str, int]
    run: Callable[[Trial], None]
    plants: Mapping[str, int]
    programs: tuple[str, ...] = ()
