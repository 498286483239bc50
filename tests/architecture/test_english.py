"""Docstrings, comments, messages and documents read as spoken English: no phrase of the list below."""

import ast
import io
import re
import tokenize
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FORBIDDEN = {
    # "There is no such object" is how one says it; "this is no key" is not.
    r"(?<!there )(?<!There )\b(?:is|are|was|were|be) no (?!longer\b|more\b|fewer\b|less\b)": "is not a …",
    r"(?<!there )(?<!There )\b(?:is|are|was|were) none\b": "is invalid, is missing, is not one",
    r"\b(?:is|are|was|were) of (?:another|other)\b": "belongs to another …, has a different …",
    r"\b[Aa]new\b": "again",
    r"\b[Bb]egun\b": "started",
    r"\b[Nn]obody\b": "no one, no caller, not known",
    r"\bso many\b": "at most N, that many",
    r"\b[Tt]old\b": "reported, said, known, given",
    r"\b[Tt]ells\b": "says, reports, shows, records",
    r"(?<!can )(?<!cannot )(?<!could )(?<!to )\btell\b": "say, report, show",
    r"\b[Ss]hall\b": "should, must, is to",
    r"\b(?:[Gg]o|[Gg]oes|[Gg]oing|[Ww]ent|[Gg]one) on\b": "continue",
    r"\b(?:[Gg]ive|[Gg]ives|[Gg]ave) (?:\w+ |its \w+ )?back\b": "release, return",
    r"\b(?:leave to make|gets? leave|the leave)\b": "permit",
    r"\b[Ss]o (?:it is|they are)\.": "the condition itself",
    r"\b[Ll]ikewise\b": "a sentence of its own, or “also”",
    r"\bof ours\b": "our own, credstore's",
    r"\blater than now\b": "in the future",
    r"\bto spare\b": "trailing",
    r"\b[Bb]eside\b": "with, next to, besides",
    r"\bat hand\b": "available, cached, current",
    r"\b(?:to|can|could) be had\b": "available",
    r"\ball the same\b(?! \w)": "anyway",
    r"\bas ever\b": "as usual, as always",
    r"\b(?:lest|thereof|thereby|therein|thereto|whereto|wherewith|hitherto|whither|thence)\b": "a word of today",
    r"\bwhat has another name\b": "others are not …",
    r": Most (?:bytes|names|keys|records|objects|plain|seconds|requests)\b": "Maximum number of …",
    r"\b(?:[Aa]n|[Tt]he|[Nn]o|[Ii]ts|[Tt]his|[Ee]ach|[Ee]very|[Oo]ne|whose) answers?\b": "response",
}
"""What no native speaker says, as patterns, each with what to say instead."""

ALLOWED: dict[tuple[str, str], str] = {}
"""Exact excerpts that may stay: (file, excerpt) with the reason. One that is not needed fails too."""

CODE = sorted(ROOT.glob("credstore/**/*.py"))
PROGRAMS = sorted(
    [*ROOT.glob("benchmarks/**/*.py"), *ROOT.glob("examples/**/*.py"), *ROOT.glob("docs/**/*.py")]
)
DOCUMENTS = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
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
    """Everything in a file that people read; in a program, no names, operators or one-word constants."""
    text = path.read_text()
    found = text.split("\n\n") if path.suffix == ".md" else comments(text) + strings(text)
    return [text for each in found if " " in (text := one_line(each)) or text.endswith(".")]


def faults(texts: list[str], allowed: list[str]) -> list[str]:
    """What no one would say, each with what to say instead."""
    found = []
    for text in texts:
        rest = text
        for excerpt in allowed:
            rest = rest.replace(excerpt, "…")
        found.extend(
            f"{rest[max(0, match.start() - 40) : match.end() + 40]!r}: say {instead}"
            for pattern, instead in FORBIDDEN.items()
            for match in re.finditer(pattern, rest)
        )
    return found


def not_needed(
    allowed: dict[tuple[str, str], str], read: Callable[[str], list[str]]
) -> list[tuple[str, str]]:
    """Exceptions without a reason, that no pattern forbids, or that their file does not say any longer."""
    return [
        (name, excerpt)
        for (name, excerpt), reason in allowed.items()
        if not reason or not faults([excerpt], []) or not any(excerpt in text for text in read(name))
    ]


@pytest.mark.parametrize("path", [*CODE, *PROGRAMS, *DOCUMENTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_prose_reads_as_spoken(path):
    name = str(path.relative_to(ROOT))
    assert faults(prose(path), [excerpt for where, excerpt in ALLOWED if where == name]) == []


def test_every_exception_is_needed():
    assert not_needed(ALLOWED, lambda name: prose(ROOT / name)) == []


PLANTED = '''
"""This is no key ring."""

def read(told, is_none=None):
    """There is no such key; it cannot tell.

    Raises:
        KeyError: So
            it is.
    """
    if told is None:
        # Wrapped anew, with the name that
        # nobody chose.
        raise KeyError("told", f"the {told} answer tells {told} of the answer")
    return "there is none, as anyone could tell"
'''


def test_the_search_finds_planted_phrases(tmp_path):
    planted = tmp_path / "planted.py"
    planted.write_text(PLANTED)
    found = faults(prose(planted), [])
    for phrase in ("is no key", "So it is.", "anew", "nobody", "tells", "the answer"):
        assert any(phrase in each for each in found), phrase
    assert len(found) == 6


def test_documents_are_searched_across_lines(tmp_path):
    document = tmp_path / "planted.md"
    document.write_text("# Title\n\nThe rest is\nof ours.\n\nSo\n\nmany, anew\n")
    assert [each.partition(": say")[0] for each in faults(prose(document), [])] == [
        "'The rest is of ours.'",
        "'many, anew'",
    ]


def test_an_exception_covers_its_excerpt_only():
    texts = ["It is no fence, and is no gate."]
    assert len(faults(texts, [])) == 2
    assert len(faults(texts, ["is no fence"])) == 1


@pytest.mark.parametrize(
    "allowed", [("is no fence", ""), ("is no gate", "not said here"), ("a fence", "which nothing forbids")]
)
def test_an_exception_without_need_fails(allowed):
    excerpt, reason = allowed
    assert not_needed({("x.md", excerpt): reason}, lambda name: ["It is no fence, but a fence."])
    assert not not_needed({("x.md", "is no fence"): "a quotation"}, lambda name: ["It is no fence."])
