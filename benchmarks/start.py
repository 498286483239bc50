"""Start: what a short command costs before it has done anything, next to other tools."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.report import Figures, comparison
from benchmarks.worker import Scale

TITLE = "Start"
OURS = "credstore ls, of a local store"
NAMES = {"cpu": "CPU, ms"}
Cases = dict[str, Figures]


def commands(folder: Path) -> dict[str, list[str]]:
    """What is run, by name; of the other tools, those that are installed."""
    python, tool = sys.executable, [sys.executable, "-m", "credstore"]
    found = {
        OURS: [*tool, "--store", folder.as_uri(), "ls"],
        "credstore --help": [*tool, "--help"],
        "import credstore": [python, "-c", "import credstore"],
        "import boto3, and make a client": [
            python,
            "-c",
            "import boto3; boto3.client('s3', region_name='us-east-1')",
        ],
        "import s3fs": [python, "-c", "import s3fs"],
        "import obstore": [python, "-c", "import obstore.store"],
        "import click, asyncio": [python, "-c", "import click, asyncio"],
        "python, nothing": [python, "-c", "pass"],
    }
    for name, arguments in {
        "aws --version": ["--version"],
        "s3cmd --help": ["--help"],
        "rclone ls, of a folder": ["ls", str(folder)],
        "s5cmd version": ["version"],
    }.items():
        program = shutil.which(name.split(" ", maxsplit=1)[0])
        if program is not None:
            found[name] = [program, *arguments]
    return found


@contextmanager
def surroundings() -> Iterator[tuple[Path, dict[str, str]]]:
    """A local store with ten objects, and an environment in which modules are compiled once."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "store"
        folder.mkdir()
        for number in range(10):
            (folder / f"{number}.json").write_text("{}")
        environ = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        root = str(Path(__file__).parents[1])
        yield folder, {**environ, "PYTHONPYCACHEPREFIX": f"{place}/compiled", "PYTHONPATH": root}


def measure(scale: Scale) -> Cases:
    """Name to figures: CPU of a process and its children, user and system."""
    cases: Cases = {}
    with surroundings() as (folder, environ):
        known = commands(folder)
        for arguments in known.values():  # Compiles.
            spent(arguments, environ)
        for number in range(scale.rounds):
            for name, arguments in known.items():
                print(f"start, round {number + 1}: {name}", file=sys.stderr)
                least = min(spent(arguments, environ) for _ in range(scale.pick(3, 10)))
                cases.setdefault(name, {}).setdefault("cpu", []).append(least)
    return cases


def spent(arguments: list[str], environ: dict[str, str]) -> float:
    """Milliseconds of CPU of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(arguments, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3


def render(cases: Cases) -> list[str]:
    """The results as Markdown."""
    return [
        "CPU of a whole process, user and system, in milliseconds, with modules compiled before: the least of "
        "several runs in each round.",
        "",
        *comparison(cases, OURS, NAMES),
    ]
