"""Docstrings, comments, messages and documents read as spoken English: no phrase of the list below."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FORBIDDEN = {
    # "there is no such object" is how one says it; "this is no key" is not.
    r"(?<!there )(?<!There )\b(?:is|are|was|were|be) no (?!longer\b|more\b|fewer\b|less\b)": "is not a …",
    r"(?<!there )(?<!There )\b(?:is|are|was|were) none\b": "is invalid, is missing, is not one",
    r"\b[Aa]new\b": "again",
    r"\b[Bb]egun\b": "started",
    r"\b[Nn]obody\b": "no one, no caller, not known",
    r"\bso many\b": "at most N, that many",
    r"\b[Tt]old\b": "reported, said, known, given",
    r"\b[Tt]ells\b": "says, reports, shows, records",
    r"(?<!can )(?<!cannot )(?<!could )(?<!to )\btell\b": "say, report, show",
    r"\b[Ss]hall\b": "should, must, is to",
    r"\b(?:[Gg]o|[Gg]oes|[Gg]oing|[Ww]ent|[Gg]one) on\b": "continue",
    r"\b[Ss]o (?:it is|they are)\.": "the condition itself",
    r"\b[Ll]ikewise\b": "a sentence of its own, or “also”",
    r"\bof ours\b": "our own, credstore's",
    r"\blater than now\b": "in the future",
    r"\bto spare\b": "trailing",
    r"\b(?:lest|thereof|thereby|therein|thereto|whereto|wherewith|hitherto|whither|thence)\b": "a modern word",
    r"\bwhat has another name\b": "others are not …",
    r": Most (?:bytes|names|keys|records|objects|seconds|requests)\b": "Maximum number of …",
    r"\b(?:[Aa]n|[Tt]he|[Nn]o|[Ii]ts|[Tt]his|[Ee]ach|[Ee]very|[Oo]ne|whose) answers?\b": "response",
}
"""What nobody says, as a pattern, with what to say instead."""

LATER = ("credstore/proofs", "credstore/cli", "credstore/drivers/local", "credstore/keyring")

ALLOWED: dict[tuple[str, str], str] = {}
"""An exact excerpt of a file that may stay, with the reason."""

CODE = sorted(
    path
    for path in ROOT.glob("credstore/**/*.py")
    if not str(path.relative_to(ROOT)).startswith(tuple(f"{folder}/" for folder in LATER))
)
PROGRAMS = sorted(
    [*ROOT.glob("benchmarks/**/*.py"), *ROOT.glob("examples/**/*.py"), *ROOT.glob("docs/**/*.py")]
)
DOCUMENTS = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("benchmarks/**/*.md"),
    ]
)


def one_line(text: str) -> str:
    """The text with each run of white space as one space, since a phrase may be wrapped."""
    return " ".join(text.split())


def comments(source: str) -> list[str]:
    """The comments; those of successive lines are one text."""
    found: list[str] = []
    last = -1
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            words = token.string.lstrip("#: ")
            if token.start[0] == last + 1:
                found[-1] += f" {words}"
            else:
                found.append(words)
            last = token.start[0]
    return found


def strings(source: str) -> list[str]:
    """The string constants, docstrings among them; an f-string is one text with `{}` for its values."""
    tree = ast.parse(source)
    joined = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    inside = {id(part) for node in joined for part in node.values}
    whole = [
        "".join(
            str(getattr(part, "value", "")) if isinstance(part, ast.Constant) else "{}"
            for part in node.values
        )
        for node in joined
    ]
    return whole + [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside
    ]


def prose(path: Path) -> list[str]:
    """Everything in a file that people read; of a program not its names and operators."""
    text = path.read_text()
    found = text.split("\n\n") if path.suffix == ".md" else comments(text) + strings(text)
    return [one_line(each) for each in found]


def faults(texts: list[str], allowed: list[str] = []) -> list[str]:  # noqa: B006 - never changed
    """What is said as nobody would say it, each with what to say instead."""
    found = []
    for text in texts:
        rest = text
        for excerpt in allowed:
            rest = rest.replace(excerpt, "")
        found.extend(
            f"{rest[max(0, match.start() - 40) : match.end() + 40]!r}: say {instead}"
            for pattern, instead in FORBIDDEN.items()
            for match in re.finditer(pattern, rest)
        )
    return found


@pytest.mark.parametrize("path", [*CODE, *PROGRAMS, *DOCUMENTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_prose_reads_as_spoken(path):
    name = str(path.relative_to(ROOT))
    assert faults(prose(path), [excerpt for where, excerpt in ALLOWED if where == name]) == []


@pytest.mark.parametrize(("name", "excerpt"), ALLOWED)
def test_every_exception_is_still_needed(name, excerpt):
    found = [text for text in prose(ROOT / name) if excerpt in text]
    assert found, "nothing in the file says this any more"
    assert faults([excerpt]), "no pattern forbids this"
