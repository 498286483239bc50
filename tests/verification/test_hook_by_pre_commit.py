"""The hook as pre-commit itself installs and runs it, by the configuration that its page shows.

pre-commit clones this repository as it is here, and makes an environment for it from the package index.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import blocks
from tests.verification.test_hook import folder as folder  # noqa: PLC0414 - a fixture

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PROGRAM = shutil.which("pre-commit", path=f"{BIN}{os.pathsep}{os.environ['PATH']}")
PUBLISHED = "https://github.com/credstore/credstore"


@pytest.fixture
def git(tmp_path, monkeypatch):
    """Runs git where the test is, with no configuration but its own; returns the exit code and all output."""
    for name in [*os.environ]:
        if name.startswith("GIT_") or name == "PYTHONPATH":
            monkeypatch.delenv(name)
    for name, value in {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@ada.example",
        "GIT_COMMITTER_NAME": "Ada",
        "GIT_COMMITTER_EMAIL": "ada@ada.example",
        "PRE_COMMIT_HOME": str(tmp_path / "pre-commit"),
        "PRE_COMMIT_COLOR": "never",
    }.items():
        monkeypatch.setenv(name, value)

    def run(*arguments, where="."):
        done = subprocess.run(
            ["git", *arguments],
            cwd=where,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    return run


@pytest.fixture
def published(git, tmp_path):
    """This repository as it is here, with the version that the page names."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    place = tmp_path / "published"
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place / name)
    for step in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"], ["tag", "v0.1.0"]):
        code, said = git(*step, where=place)
        assert code == 0, said
    return place


def test_a_commit_that_changes_a_proved_file_is_refused(folder, git, published):
    work = folder / "work"
    work.mkdir()
    for each in [path for path in folder.iterdir() if path.is_file()]:
        each.rename(work / each.name)
    (config,) = [block.code for block in blocks("docs/guide/pre-commit.md") if block.language == "yaml"]
    assert PUBLISHED in config
    (work / ".pre-commit-config.yaml").write_text(config.replace(PUBLISHED, str(published)))
    assert git("init", "-q", where=work)[0] == 0
    assert PROGRAM is not None, "pre-commit is not installed; make test-system does it"
    done = subprocess.run(
        [PROGRAM, "install", "--install-hooks"], cwd=work, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr

    git("add", "-A", where=work)
    code, said = git("commit", "-m", "as they were proved", where=work)
    assert code == 0, said
    assert "verify proofs" in said
    assert "Passed" in said

    with (work / "a.svg").open("a") as file:
        file.write("<!-- changed -->")
    git("add", "a.svg", where=work)
    code, said = git("commit", "-m", "changed", where=work)
    assert code != 0
    assert "Failed" in said
    assert "a.svg" in said
    assert "Traceback" not in said

    # What is not in the commit is not looked at, and what has no proof passes.
    git("restore", "--staged", "a.svg", where=work)
    (work / "notes.txt").write_text("no proof")
    git("add", "notes.txt", where=work)
    code, said = git("commit", "-m", "notes", where=work)
    assert code == 0, said
