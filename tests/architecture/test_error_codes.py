"""Codes have one catalogue: nothing else in the package spells one out, and the document is made from it."""

import ast
import runpy
from pathlib import Path

import pytest

import credstore
from credstore import errors
from credstore.errors import ErrorCode, StorageError
from credstore.proofs.format import errors as proof_errors

PACKAGE = Path(credstore.__file__).parent
CODES = {str(code) for code in ErrorCode}
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "error_codes.py")


def literals(source: str) -> list[tuple[int, str]]:
    """Where text that is a code, or is given or compared as one, stands as a literal."""
    found = []

    def text(node: ast.AST, line: int) -> None:
        found.extend(
            (line, each.value)
            for each in ast.walk(node)
            if isinstance(each, ast.Constant) and isinstance(each.value, str)
        )

    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.keyword) and node.arg == "code":
            text(node.value, node.value.lineno)
        elif isinstance(node, ast.Assign) and any(
            getattr(target, "attr", getattr(target, "id", "")).endswith("code") for target in node.targets
        ):
            text(node.value, node.lineno)
        elif isinstance(node, ast.Constant) and node.value in CODES and "_" in str(node.value):
            found.append((node.lineno, str(node.value)))
    return [(line, value) for line, value in found if value in CODES or value.isupper()]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_code_is_spelled_out_beside_the_catalogue(path):
    assert literals(path.read_text()) == []


@pytest.mark.parametrize(
    "planted",
    [
        'raise StorageError("x", code="SOMETHING_NEW")',
        'class E(StorageError):\n    default_code = "SOMETHING_NEW"',
        'error.code = "INVALID_RANGE" if x else "TOO_LARGE"',
        'WORD = "BUCKET_NOT_FOUND"',
    ],
)
def test_the_search_finds_planted_literals(planted):
    assert literals(planted)


def class_of(code: ErrorCode) -> type[StorageError]:
    return getattr(errors, code.raised_as, None) or getattr(proof_errors, code.raised_as)


@pytest.mark.parametrize("code", ErrorCode)
def test_each_code_has_its_class_and_meaning(code):
    assert code == code.name
    assert issubclass(class_of(code), StorageError)
    assert code.meaning.endswith(".")


def test_every_class_has_a_default_code_that_is_its_own_or_its_bases():
    kinds = [StorageError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    for kind in kinds:
        if kind.__module__ in {errors.__name__, proof_errors.__name__}:
            carried = class_of(kind.default_code)
            assert issubclass(kind, carried) or issubclass(carried, kind)


def test_the_document_is_what_the_catalogue_says():
    docs = PACKAGE.parent / "docs"
    page = runpy.run_path(str(docs / "make_errors.py"))["page"]()
    assert (docs / "errors.md").read_text() == page, "run: python docs/make_errors.py"
