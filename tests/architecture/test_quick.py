"""What is made without its constructor has the fields that the constructor would have asked for."""

import ast
import dataclasses
import importlib
from pathlib import Path

import credstore
from credstore.driver.values import ObjectInfo, PutRequest, PutResult, ReadOptions

ROOT = Path(credstore.__file__).parent


def uses():
    """(module, class name, the names of its fields that are given) of each literal use of `made`."""
    for path in sorted(ROOT.rglob("*.py")):
        module = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if not (
                isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "made"
            ):
                continue
            kind, fields = node.args
            if isinstance(fields, ast.Dict) and None not in fields.keys:
                yield module, kind.id, [key.value for key in fields.keys]


def test_every_use_gives_what_is_needed_and_nothing_else():
    found = list(uses())
    assert len(found) >= 7
    for module, name, given in found:
        kind = getattr(importlib.import_module(module), name)
        fields = dataclasses.fields(kind)
        needed = {
            each.name
            for each in fields
            if each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
        }
        assert len(set(given)) == len(given), (module, name)
        assert needed <= set(given) <= {each.name for each in fields}, (module, name)
        assert "__slots__" not in vars(kind)
        assert not hasattr(kind, "__post_init__")
        assert kind.__dataclass_params__.frozen


def test_every_change_is_of_fields_that_there_are():
    """`changed` sets whatever it is given, on values without slots that check nothing when they are made."""
    kinds = (ObjectInfo, PutRequest, PutResult, ReadOptions)
    for kind in kinds:
        assert kind.__dataclass_params__.frozen
        assert "__slots__" not in vars(kind)
        assert not hasattr(kind, "__post_init__")
    names = {each.name for kind in kinds for each in dataclasses.fields(kind)}
    given = [
        {key.value for key in node.args[1].keys}
        for path in sorted(ROOT.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "changed"
        and isinstance(node.args[1], ast.Dict)
    ]
    assert len(given) >= 8
    assert set().union(*given) <= names
