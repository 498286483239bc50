"""Files of the project: no address of a workplace, no module that should have been split."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Put together here, so that this file does not have them.
FORBIDDEN = [
    "/" + "work/",
    "/" + "root/",
    "py" + "pi.org",
    "python" + "hosted.org",
    "registry." + "npmjs",
    "deb." + "debian.org",
]


def files() -> list[Path]:
    """What is committed or would be."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:  # An unpacked source archive.
        return [path for name in ("credstore", "tests") for path in (ROOT / name).rglob("*.py")]
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_no_file_knows_where_it_was_written():
    for path in files():
        text = path.read_text("utf-8", errors="ignore")
        for word in FORBIDDEN:
            assert word not in text, f"{path.relative_to(ROOT)} has {word!r}"


def test_no_module_is_a_drawer():
    for path in (ROOT / "credstore").rglob("*.py"):
        assert path.stem not in {"utils", "helpers", "common", "base", "misc"}


def code_lines(path: Path) -> int:
    """Lines without docstrings, comments and blanks."""
    text = path.read_text()
    inside = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    lines = enumerate(text.splitlines(), 1)
    return sum(
        1 for number, line in lines if number not in inside and line.strip() and line.strip()[0] != "#"
    )


def test_modules_are_of_a_size_to_read():
    for path in (ROOT / "credstore").rglob("*.py"):
        assert code_lines(path) <= 400, path


def test_nothing_is_left_undone():
    words = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b|raise NotImplemented" + r"Error")
    for path in (ROOT / "credstore").rglob("*.py"):
        assert not words.search(path.read_text()), path


@pytest.mark.parametrize(
    ("pattern", "owners"),
    [
        (
            r"os\.(fsync|link|replace|rename)\(|mkstemp|NamedTemporaryFile|O_EXCL|O_TMPFILE",
            # A local store holds directories open, and exchanges files of its own.
            {"files.py", *(f"drivers/local/{name}.py" for name in ("atomic", "flushing", "objects"))},
        ),
        (
            r"TaskGroup|Semaphore\(|\bgather\(",
            # Closing what is closed all at once; checks that race on purpose.
            {"concurrency.py", "factory.py", "testing/harness.py", "testing/checks/writing.py"},
        ),
    ],
)
def test_publishing_and_bounded_work_have_one_owner_each(pattern, owners):
    package = ROOT / "credstore"
    found = {path for path in package.rglob("*.py") if re.search(pattern, path.read_text())}
    assert {path.relative_to(package).as_posix() for path in found} == owners
