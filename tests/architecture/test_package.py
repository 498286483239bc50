"""What goes out: the source archive has all that a clone has, and the metadata says what is so."""

import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = SETTINGS["project"]
INCLUDED = SETTINGS["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
ALWAYS = {"pyproject.toml", ".gitignore", "PKG-INFO"}
"""In every archive that hatchling makes."""


def committed() -> set[str]:
    """The names at the top of what is committed or would be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:  # An unpacked source archive has what it has.
        return set()
    return {name.partition("/")[0] for name in listed.stdout.splitlines() if (ROOT / name).is_file()}


def test_the_source_archive_has_all_of_a_clone():
    assert all(each.startswith("/") and (ROOT / each[1:]).exists() for each in INCLUDED)
    assert committed() - ALWAYS <= {each[1:] for each in INCLUDED}


def test_what_the_tests_read_is_in_the_source_archive():
    wanted = {
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "Makefile",
        ".env.example",
        "docs",
        "typings",
        ".ci",
    }
    assert {f"/{each}" for each in wanted} <= set(INCLUDED)


def test_the_classifiers_say_what_is_so():
    classifiers = PROJECT["classifiers"]
    assert classifiers == sorted(set(classifiers), key=lambda each: [*map(part, each.split(" :: "))])
    versions = [each.rpartition(" ")[2] for each in classifiers if "Python :: 3." in each]
    assert PROJECT["requires-python"] == f">={versions[0]}"
    assert "Typing :: Typed" in classifiers
    assert (ROOT / "credstore" / "py.typed").exists()
    # The license is an SPDX expression, beside which a classifier of it is an error (PEP 639).
    assert PROJECT["license"] == "Apache-2.0"
    assert not [each for each in classifiers if each.startswith("License")]


def part(text: str) -> tuple[int, str]:
    minor = text.partition(".")[2]
    return (int(minor) if minor.isdigit() else 0, text)


def test_the_package_tells_where_it_lives():
    assert {"Documentation", "Changelog", "Source", "Issues"} == PROJECT["urls"].keys()
    assert all(url.startswith(PROJECT["urls"]["Source"]) for url in PROJECT["urls"].values())
    for name in ("Documentation", "Changelog"):
        assert (ROOT / PROJECT["urls"][name].rpartition("/")[2]).is_file()
