"""What a store cannot do is said in one place: no driver, strategy or check has words of its own for it."""

import ast
from pathlib import Path

import credstore

ROOT = Path(credstore.__file__).parent
OWNED = [
    *ROOT.glob("drivers/**/*.py"),
    *ROOT.glob("strategies/**/*.py"),
    ROOT / "provider/validation.py",
    ROOT / "provider/versioning.py",
    ROOT / "provider/erasing.py",
    ROOT / "provider/copying.py",
]
OTHER_REASONS = {"_copier_of", "extra_headers", "forget_key", "verify"}
"""Functions that refuse for what an object is, not for what a store cannot do."""


def raised(path: Path) -> list[int]:
    """Lines where a `StorageUnsupportedError` is made."""
    tree = ast.parse(path.read_text())
    excused = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in OTHER_REASONS
        for inner in ast.walk(node)
    }
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "StorageUnsupportedError"
        and node not in excused
    ]


def test_refusals_for_want_of_a_capability_are_rows_of_the_table():
    assert {str(path): raised(path) for path in OWNED if raised(path)} == {}
    assert raised(ROOT / "driver/refusals.py")


def test_every_row_of_the_table_is_used():
    tree = ast.parse((ROOT / "driver/refusals.py").read_text())
    rows = {
        node.target.id
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    used = {
        name
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in [
            node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) else "",
            node.attr if isinstance(node, ast.Attribute) else "",
        ]
    }
    assert rows
    assert rows <= used
