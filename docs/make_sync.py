"""Writes credstore/sync/verbs.py from `StorageProvider`: `python docs/make_sync.py`."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, get_overloads

from credstore.provider.provider import StorageProvider

TARGET = Path(__file__).parents[1] / "credstore" / "sync" / "verbs.py"
LEFT_OUT = {"aclose"}
"""Of which `BlockingStore` has its own."""
KEYWORDS = {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD}
HEAD = '''"""The verbs of `StorageProvider`, each waiting for its outcome.

Made by `python docs/make_sync.py`.
"""

from __future__ import annotations

'''
CLASS = '''

class BlockingVerbs:
    """What a blocking store can do."""

    _thread: LoopThread
    _provider: StorageProvider
'''


def verbs() -> list[str]:
    """Names of the public methods and properties, in the order of the source."""
    kinds = [each for each in reversed(StorageProvider.__mro__) if each is not object]
    names = [name for kind in kinds for name in vars(kind) if not name.startswith("_")]
    return [name for name in dict.fromkeys(names) if name not in LEFT_OUT]


def parameter(each: inspect.Parameter) -> str:
    """As the source has it."""
    stars = "**" if each.kind is each.VAR_KEYWORD else ""
    default = "" if each.default is each.empty else f" = {shown(each.default)}"
    return f"{stars}{each.name}: {each.annotation}{default}"


def shown(value: object) -> str:
    """A default value."""
    return "UNSET" if type(value).__name__ == "Unset" else repr(value)


def signature(function: Any, returned: str) -> str:
    """The line with `def`, without its colon."""
    given = list(inspect.signature(function).parameters.values())[1:]
    places = [parameter(each) for each in given if each.kind not in KEYWORDS]
    words = [parameter(each) for each in given if each.kind is each.KEYWORD_ONLY]
    options = [parameter(each) for each in given if each.kind is each.VAR_KEYWORD]
    parts = ["self", *places, *(["*", *words] if words else []), *options]
    return f"    def {function.__name__}({', '.join(parts)}) -> {returned}"


def passed(function: Any) -> str:
    """The arguments, handed on."""
    given = list(inspect.signature(function).parameters.values())[1:]
    return ", ".join(
        f"**{each.name}" if each.kind is each.VAR_KEYWORD
        else f"{each.name}={each.name}" if each.kind is each.KEYWORD_ONLY
        else each.name
        for each in given
    )  # fmt: skip


def body(name: str) -> str:
    """One verb."""
    found = inspect.getattr_static(StorageProvider, name)
    if isinstance(found, property):
        getter: Any = found.fget
        said = inspect.getdoc(getter) or ""
        returned = inspect.signature(getter).return_annotation
        return (
            f"    @property\n    def {name}(self) -> {returned}:\n        {quoted(said)}\n"
            f"        return self._provider.{name}\n"
        )
    said = (
        f"{(inspect.getdoc(found) or '').splitlines()[0]}\n\n        See `StorageProvider.{name}`.\n        "
    )
    returned = inspect.signature(found).return_annotation
    call = f"self._provider.{name}({passed(found)})"
    lines: list[str] = []
    if name == "open":
        returned, call = "BlockingOpening", f"BlockingOpening(self._thread, {call})"
    elif inspect.isasyncgenfunction(found):
        returned, call = returned.replace("AsyncIterator", "Iterator"), f"self._thread.iterate({call})"
        for each in get_overloads(found):
            kind = inspect.signature(each).return_annotation.replace("AsyncIterator", "Iterator")
            lines.append(f"    @overload\n{signature(each, kind)}: ...\n\n")
    elif inspect.iscoroutinefunction(found):
        call = f"self._thread.run({call})"
    return "".join(lines) + f"{signature(found, returned)}:\n        {quoted(said)}\n        return {call}\n"


def quoted(said: str) -> str:
    """A docstring."""
    return f'"""{said}"""'


def imports(code: str) -> str:
    """Where the names in the code are from, as in the sources of the methods."""
    nodes = list(ast.walk(ast.parse(code)))
    parameters = {node.arg for node in nodes if isinstance(node, ast.arg)}
    wanted = {node.id for node in nodes if isinstance(node, ast.Name)} - parameters
    homes: dict[str, set[str]] = defaultdict(set)
    whole: set[str] = set()
    sources = [sys.modules[kind.__module__] for kind in StorageProvider.__mro__ if kind is not object]
    for source in sources:
        for node in ast.walk(ast.parse(inspect.getsource(source))):
            if isinstance(node, ast.Import):
                whole |= {alias.name for alias in node.names} & wanted
            if isinstance(node, ast.ImportFrom) and node.module and node.module != "__future__":
                for alias in node.names:
                    if (alias.asname or alias.name) in wanted:
                        homes[node.module].add(alias.name)
    homes["collections.abc"] |= {"Iterator"}
    homes["credstore.provider.provider"] |= {"StorageProvider"}
    homes["credstore.sync.loop"] |= {"LoopThread"}
    homes["credstore.sync.reading"] |= {"BlockingOpening"}
    lines = [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(homes.items())]
    return "\n".join([f"import {each}" for each in sorted(whole)] + lines) + "\n"


def module() -> str:
    """The whole file, formatted."""
    code = CLASS + "\n" + "\n".join(body(name) for name in verbs())
    text = HEAD + imports("from __future__ import annotations\n" + code) + code
    for command in (["check", "--select", "I", "--fix", "-q", "-"], ["format", "-q", "-"]):
        text = subprocess.run(
            [sys.executable, "-m", "ruff", *command[:-1], "--stdin-filename", str(TARGET), "-"],
            input=text, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    return text


if __name__ == "__main__":
    TARGET.write_text(module())
