"""The change log keeps its form: known sections in their order, and each entry one sentence."""

import re
from pathlib import Path

import pytest

LOG = (Path(__file__).parents[2] / "CHANGELOG.md").read_text()
SECTIONS = ["Security", "Removed", "Deprecated", "Added", "Changed", "Fixed"]
LONGEST = 260
"""Characters of an entry; what needs more is two entries."""
CODE = re.compile(r"`[^`]*`")


def problems(text: str) -> list[str]:
    """What is wrong with a change log."""
    found = []
    for release in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        name = release.splitlines()[0]
        sections = re.findall(r"^### (.*)$", release, re.MULTILINE)
        if sections != [each for each in SECTIONS if each in sections]:
            found.append(f"{name}: sections {sections}")
        entries = re.findall(r"^- (.*(?:\n  .*)*)", release, re.MULTILINE)
        body = [line for line in release.splitlines()[1:] if line and not line.startswith("### ")]
        if len("\n".join(body)) != len("\n".join(f"- {entry}" for entry in entries)):
            found.append(f"{name}: something is no entry")
        found += [f"{name}: {entry}" for entry in entries if not is_one_sentence(entry)]
        found += [f"{name}: twice: {entry}" for entry in set(entries) if entries.count(entry) > 1]
    return found


def is_one_sentence(entry: str) -> bool:
    plain = CODE.sub("`X`", " ".join(entry.split()))
    return (
        plain.endswith(".")
        and not re.search(r"[.!?]['\")]?\s+[A-Z`]", plain)
        and not plain[0].isspace()
        and len(entry) <= LONGEST
    )


def test_the_change_log_keeps_its_form():
    assert problems(LOG) == []
    assert "## [Unreleased]" in LOG


@pytest.mark.parametrize(
    "text",
    [
        "## [1]\n\n### Added\n- A.\n\n### Security\n- B.\n",
        "## [1]\n\n### Added\n- A.\n\n### Added\n- B.\n",
        "## [1]\n\n### News\n- A.\n",
        "## [1]\n\n### Added\n- No full stop\n",
        "## [1]\n\n### Added\n- One. Two.\n",
        "## [1]\n\n### Added\n- One,\n  and more. `Two` is code.\n",
        "## [1]\n\n### Added\n- A.\n- A.\n",
        "## [1]\n\n### Added\nNo entry.\n",
        "## [1]\n\n### Added\n- " + "long " * 60 + "end.\n",
    ],
)
def test_what_is_wrong_is_seen(text):
    assert problems(text)


def test_a_good_one():
    assert problems("## [1]\n\n### Security\n- `a.B` is c.\n  d, 1.5 e.\n\n### Fixed\n- F.\n") == []
