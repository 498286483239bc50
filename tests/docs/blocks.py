"""What the documents show: their blocks of code, and how one is run."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```", re.MULTILINE | re.DOTALL)
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
"""With the `credstore` program of this environment."""


@dataclass(frozen=True)
class Block:
    """One block of a page.

    Attributes:
        language: "python", "sh", "console", ...
        title: Name of the file that it is, or "".
        code: The text.
    """

    language: str
    title: str
    code: str


def blocks(name: str) -> list[Block]:
    """All blocks of one document, in order."""
    return [Block(*found) for found in BLOCK.findall((ROOT / name).read_text())]


def codes(name: str, language: str) -> list[str]:
    """The texts of one language."""
    return [each.code for each in blocks(name) if each.language == language]


def run_python(code: str, where: str) -> dict[str, object]:
    """Run a block as a program, and return its names."""
    names: dict[str, object] = {"__name__": "example"}
    exec(compile(code, where, "exec"), names)
    return names


def run_shell(code: str, where: str) -> str:
    """Run a block in a shell that ends with the first command that fails; returns what it printed."""
    done = subprocess.run(
        ["sh", "-eu", "-c", code],
        env={**os.environ, "PATH": PATH, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{where}\n{done.stdout}{done.stderr}"
    return done.stdout


def run_alone(code: str, where: str) -> None:
    """Run a block as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{where}\n{done.stdout}{done.stderr}"


def run_page(name: str, change=lambda code: code, *, alone: bool = False) -> str:
    """Run all blocks of a page in order, in the current folder; returns what its shell printed.

    Args:
        name: Of the document.
        change: What is run in place of a block's text.
        alone: Each of its programs in a process of its own.
    """
    shown = ""
    for number, block in enumerate(blocks(name)):
        where = f"{name}, block {number}"
        if block.title:
            Path(block.title).write_text(block.code)
        elif block.language == "python":
            (run_alone if alone else run_python)(change(block.code), where)
        elif block.language == "sh":
            shown += run_shell(change(block.code), where)
    return shown


def pages() -> list[str]:
    """All documents, by their names below the root."""
    found = [*ROOT.glob("docs/**/*.md"), ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "CONTRIBUTING.md"]
    return sorted(str(each.relative_to(ROOT)) for each in found)
