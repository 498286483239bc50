"""One measurement in a process of its own: how it is requested, on which event loop it runs, what it returns.

The process reads one JSON object from stdin (`module`, `loop`, `arguments`), runs the coroutine `work` of that module
and prints its figures as JSON. Only what `work` itself measures counts, so neither starting nor a server is in it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

LOOPS = ("asyncio", "uvloop")
MIB = 1024 * 1024
LONGEST = 3600.0
"""Seconds after which a measurement is given up."""


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        rounds: How often; peers take turns within a round.
        count: Small operations in one measurement.
        quick: Fewer peers and sizes, so that everything takes about five minutes on two cores.
    """

    rounds: int = 3
    count: int = 600
    quick: bool = False

    @property
    def few(self) -> int:
        """Rounds of what takes long."""
        return self.pick(min(2, self.rounds), self.rounds)

    def pick(self, quick: Any, full: Any) -> Any:
        """The one or the other."""
        return quick if self.quick else full


def run(module: str, loop: str = "asyncio", **arguments: object) -> dict[str, float]:
    """The figures of one measurement; without any where it fails, which stderr explains.

    Args:
        module: The one that has `work`.
        loop: One of `LOOPS`.
        arguments: Of `work`; JSON values.
    """
    request = {"module": module, "loop": loop, "arguments": arguments}
    return finish(start(), request, f"{module} on {loop}, {arguments}")


def start(*before: str) -> subprocess.Popen[str]:
    """A worker that waits for its request, possibly below another program."""
    pipe = subprocess.PIPE
    command = [*before, sys.executable, "-m", "benchmarks.worker"]
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def finish(process: subprocess.Popen[str], request: Mapping[str, object], about: str) -> dict[str, float]:
    """Let a worker do what is requested, and return its figures."""
    try:
        out, errors = process.communicate(json.dumps(request), LONGEST)
    except subprocess.TimeoutExpired:
        process.kill()
        out, errors = process.communicate()
    if process.returncode:
        said = errors.strip().splitlines()[-1:]
        print(f"no figures (exit {process.returncode}): {about}: {said}", file=sys.stderr)
        return {}
    return json.loads(out.splitlines()[-1])


def add(figures: dict[str, list[float]], values: Mapping[str, float], digits: int = 3) -> None:
    """One more round."""
    for name, value in values.items():
        figures.setdefault(name, []).append(round(value, digits))


def peak(*, restart: bool = False) -> float:
    """MiB at most since it was counted from the start; `getrusage` would start with the parent's peak."""
    if restart:
        Path("/proc/self/clear_refs").write_text("5")
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024


class Stopwatch:
    """CPU of this process and wall time since it was made, in seconds."""

    def __init__(self) -> None:
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def read(self) -> tuple[float, float]:
        """CPU, wall."""
        return time.process_time() - self._cpu, time.perf_counter() - self._wall


def main() -> None:
    """Do what stdin says."""
    request = json.load(sys.stdin)
    work = import_module(request["module"]).work(**request["arguments"])
    if request["loop"] == "uvloop":
        import uvloop

        found = uvloop.run(work)
    else:
        found = asyncio.run(work)
    print(json.dumps(found), flush=True)
    os._exit(0)  # Threads of a peer's own runtime may outlive the interpreter, and crash while it ends.


if __name__ == "__main__":
    main()
