"""Writes docs/reference/settings.md from the config classes: `python docs/make_settings.py`.

Types and defaults are those of the fields, ranges those that a config checks when it is made, meanings those of the
docstrings, variables those of the registry.
"""

from __future__ import annotations

import ast
import inspect
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from credstore.config import validation
from credstore.config.field_types import held_by
from credstore.config.mapping import from_mapping
from credstore.config.registry import CLOUDS
from credstore.config.settings import CommonConfig, StatedConfig
from credstore.config.stores import S3FamilyConfig
from credstore.config.variables import variables_of

DOCS = Path(__file__).parent
NAME = "reference/settings.md"
HEAD = """# Settings

Every setting can be given in four ways, strongest first: as a field of a config (`S3Config(timeout=10)`), as a
parameter of a URL (`s3://bucket?timeout=10s`), in a mapping, or as a variable of the environment. A setting that is
wrong is refused when the store is made, with an error that names the setting and its variables and never repeats its
value.

Sizes are numbers of bytes or `64KB`, `5MB`, `8MiB`; durations are seconds or `500ms`, `30s`, `15m`, `7d`; switches are
`true` or `false`. Every variable of every cloud is also in [.env.example](../../.env.example).

This page is made by `python docs/make_settings.py` from the config classes.
"""
SECTIONS: tuple[tuple[str, type[Any]], ...] = (
    ("Every store", CommonConfig),
    ("What a store is said to do", StatedConfig),
    ("Stores that speak S3", S3FamilyConfig),
)
UNITS = {"timeout", "idle_timeout", "cache_max_age"}


@contextmanager
def recorded() -> Iterator[dict[str, tuple[float, float]]]:
    """Ranges that configs check while the block runs, by field."""
    found: dict[str, tuple[float, float]] = {}
    original = validation.check_range

    def check(owner: str, field: str, value: float, least: float, most: float = math.inf) -> None:
        found[field] = (least, most)
        original(owner, field, value, least, most)

    validation.check_range = check
    try:
        yield found
    finally:
        validation.check_range = original


def ranges() -> dict[str, dict[str, tuple[float, float]]]:
    """The ranges of each cloud's settings."""
    made: dict[str, dict[str, tuple[float, float]]] = {}
    for row in CLOUDS:
        with recorded() as found:
            given = {"provider": row.name, **row.needed}
            if "bandwidth_limit" in held_by(row.config_class):
                given["bandwidth_limit"] = 2**20
            from_mapping(given, {})
        made[row.name] = found
    return made


def meanings(kind: type[Any]) -> dict[str, str]:
    """What a class's docstring says about its attributes."""
    text = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")[2]
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        match = re.match(r"    (\w+): (.*)", line)
        if match:
            name = match[1]
            found[name] = match[2]
        elif line.strip() and name:
            found[name] += " " + line.strip()
    return found


def size(value: float) -> str:
    """A number of bytes as one writes it."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if value >= unit and value % unit == 0:
            return f"{value // unit:g} {name}"
    return f"{value:g}"


def is_size(field: str) -> bool:
    """Whether a setting is a number of bytes."""
    return field.endswith(("_size", "_threshold", "_limit"))


def number(field: str, value: float) -> str:
    """A number in the unit of its setting."""
    if is_size(field):
        return size(value)
    return f"{value:g} s" if field in UNITS else f"{value:g}"


def default_of(field: Any) -> str:
    """The default of a field, for people."""
    value = field.default
    if value is MISSING or value == "":
        return "-"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, int | float):
        return number(field.name, value)
    return f"`{value}`"


def kind_of(config: type[Any], field: str) -> str:
    """What a field may hold, for people."""
    words: list[str] = []
    for each in held_by(config)[field]:
        if each is type(None):
            continue
        if not isinstance(each, type):
            words.append(f"`{each}`")
        elif each.__name__ == "bool":
            words.append("switch")
        elif each.__name__ in {"int", "float"}:
            words.append("size" if is_size(field) else "duration" if field in UNITS else "number")
        else:
            words.append(
                {"str": "text", "PathLike": "path", "datetime": "time", "Secret": "secret"}.get(
                    each.__name__, f"`{each.__name__}`"
                )
            )
    return ", ".join(dict.fromkeys(words))


def range_of(found: dict[str, tuple[float, float]], field: str) -> str:
    """The range of a setting, for people."""
    if field not in found:
        return ""
    least, most = found[field]
    if most == math.inf:
        return f", at least {number(field, least)}"
    return f", {number(field, least)} to {number(field, most)}"


def table(config: type[Any], names: list[str], cloud: str, found: dict[str, tuple[float, float]]) -> str:
    """The settings of one class."""
    text = "| setting and variables | holds | unless given | meaning |\n|---|---|---|---|\n"
    told = meanings(config)
    by_name = {each.name: each for each in fields(config)}
    for name in names:
        shown = "<br>".join(f"`{each}`" for each in variables_of(cloud, name))
        text += (
            f"| **`{name}`**<br>{shown} | {kind_of(config, name)}{range_of(found, name)} "
            f"| {default_of(by_name[name])} | {told.get(name, '')} |\n"
        )
    return text


def own_fields(config: type[Any]) -> list[str]:
    """Settings that a class itself adds, or has another default for."""
    tree = ast.parse(inspect.cleandoc(inspect.getsource(config)))
    body = next(node for node in tree.body if isinstance(node, ast.ClassDef)).body
    named = [
        node.target.id
        for node in body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    return [name for name in named if name in held_by(config)]


def page() -> str:
    """The whole page."""
    checked = ranges()
    text = HEAD
    for title, config in SECTIONS:
        text += f"\n## {title}\n\n{table(config, own_fields(config), '', checked['s3'])}"
    done: set[type[Any]] = set()
    for row in CLOUDS:
        config = row.config_class
        names = own_fields(config)
        if config in done:
            continue
        done.add(config)
        others = [each.name for each in CLOUDS if each.config_class is config]
        text += f"\n## {', '.join(others)}\n\n`{config.__name__}`"
        if issubclass(config, S3FamilyConfig):
            text += " has the settings of [stores that speak S3](#stores-that-speak-s3), with these variables"
            extra = [field for field in row.variables if field not in names]
            text += ":\n\n| setting | variables |\n|---|---|\n"
            for each in CLOUDS:
                if each.config_class is config:
                    shown = extra if each is row else list(each.variables)
                    text += "".join(
                        f"| `{field}` ({each.name}) | {', '.join(f'`{name}`' for name in variables_of(each.name, field))} |\n"
                        for field in shown
                    )
            if names:
                text += "\nand these of its own:\n\n"
        else:
            text += ":\n\n"
        if names:
            text += table(config, names, row.name, checked[row.name])
    return text


def pages() -> dict[str, str]:
    """The page, by its name below docs/."""
    return {NAME: page()}


if __name__ == "__main__":
    for name, text in pages().items():
        target = DOCS / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
