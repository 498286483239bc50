"""Writes docs/architecture.svg from the import rules in pyproject.toml: `python docs/make_architecture.py`.

A row of the picture is a layer of the contract "one way down", a box a module or package with the first sentence of
its docstring; a line at the foot is another contract. `make check` holds the code to all of them.
"""

from __future__ import annotations

import ast
import textwrap
import tomllib
from html import escape
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
ROOT = DOCS.parent
NAME = "architecture.svg"
WIDTH, LEFT, GAP, LINE, PAD = 980, 16, 8, 14, 8
STYLE = """
  text { font: 11px system-ui, sans-serif; fill: #1a1a1a }
  .name { font-weight: 700; font-size: 13px }
  .box { fill: #e6f4f1; stroke: #2f7f73 }
  .arrow { stroke: #2f7f73; fill: none }
  .back { fill: #ffffff }
  @media (prefers-color-scheme: dark) {
    text { fill: #e8e8e8 }
    .box { fill: #17332f; stroke: #5bb5a7 }
    .arrow { stroke: #5bb5a7 }
    .back { fill: #1e2129 }
  }
"""
SAID = {
    "acyclic_siblings": "no package imports its sibling back",
    "independence": "no driver imports another",
    "protected": "only {allowed} may import {protected}",
    "forbidden": "{count} modules import none of {forbidden}",
}


def contracts() -> list[dict[str, Any]]:
    """The rules, as import-linter has them."""
    found: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"][
        "importlinter"
    ]["contracts"]
    return found


def about(module: str) -> str:
    """The first sentence of a module's docstring."""
    path = ROOT / "credstore" / module
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    said = (ast.get_docstring(ast.parse(file.read_text())) or "").splitlines()[0]
    said = said.replace("`", "")
    return said.partition(";")[0].rstrip(".")


def few(names: list[str]) -> str:
    """Names without the package, the first few of many."""
    short = [name.removeprefix("credstore.").removesuffix(".*") for name in names]
    return ", ".join(short[:7]) + (" …" if len(short) > 7 else "")


def said_of(contract: dict[str, Any]) -> str:
    """A contract as a sentence."""
    return SAID[contract["type"]].format(
        allowed=few(contract.get("allowed_importers", [])),
        protected=few(contract.get("protected_modules", [])),
        count=len(contract.get("source_modules", [])),
        forbidden=few(contract.get("forbidden_modules", [])),
    )


def picture() -> str:
    """The whole picture."""
    layers = next(each for each in contracts() if each["type"] == "layers")["layers"]
    top = 44
    parts = [f'<text x="{LEFT}" y="22" class="name">Each module imports only what is below it</text>']
    for layer in layers:
        names = [each.strip() for each in layer.split("|")]
        width = (WIDTH - 2 * LEFT - GAP * (len(names) - 1)) / len(names)
        wrapped = [textwrap.wrap(about(name), max(12, int((width - 2 * PAD) / 5.7))) for name in names]
        height = 2 * PAD + LINE * (1 + max(map(len, wrapped)))
        for number, (name, lines) in enumerate(zip(names, wrapped, strict=True)):
            x = LEFT + number * (width + GAP)
            parts.append(
                f'<rect class="box" x="{x:g}" y="{top}" width="{width:g}" height="{height}" rx="5"/>'
            )
            parts.append(f'<text x="{x + PAD:g}" y="{top + PAD + 11}" class="name">{escape(name)}</text>')
            parts += [
                f'<text x="{x + PAD:g}" y="{top + PAD + 11 + LINE * (row + 1)}">{escape(line)}</text>'
                for row, line in enumerate(lines)
            ]
        top += height + GAP
    top += LINE
    for contract in contracts():
        if contract["type"] != "layers":
            lines = textwrap.wrap(f"{contract['name']}: {said_of(contract)}", 165)
            for line in lines:
                parts.append(f'<text x="{LEFT}" y="{top}">{escape(line)}</text>')
                top += LINE
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top + PAD}" role="img" '
        f'aria-labelledby="title">\n<title id="title">The layers of credstore, and the rules of its imports</title>\n'
        f"<style>{STYLE}</style>\n"
        f'<rect class="back" width="{WIDTH}" height="{top + PAD}"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def pages() -> dict[str, str]:
    """The picture, by its name below docs/."""
    return {NAME: picture()}


if __name__ == "__main__":
    for name, text in pages().items():
        (DOCS / name).write_text(text)
