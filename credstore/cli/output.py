"""What a command prints: JSON for programs, lines and tables for people.

Rules of this file: results go to stdout, everything else to stderr. JSON has the field names of the
dataclasses, digests in hex, times in ISO 8601. Names come from a store that others write to, so what
a terminal would obey is shown escaped to people (JSON escapes it by itself).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import TypeAlias, cast

from credstore.errors import StorageError

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"
Shown: TypeAlias = "Sequence[tuple[str, str]]"


def to_json(value: object) -> Json:
    """A value of `credstore.model`, or one made of such values, as what JSON can express."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, StorageError):
        return to_json({"type": type(value).__name__, "message": value.message, **value.facts()})
    if isinstance(value, Exception):
        return {"type": type(value).__name__}
    if is_dataclass(value):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): to_json(each) for name, each in cast("Mapping[object, object]", value).items()}
    if isinstance(value, AbstractSet):
        return sorted(str(each) for each in cast("AbstractSet[object]", value))
    if isinstance(value, Sequence):
        return [to_json(each) for each in cast("Sequence[object]", value)]
    raise TypeError(f"{type(value).__name__} has no JSON form here")


def print_json(value: object) -> None:
    """One JSON document on one line of stdout."""
    print(json.dumps(to_json(value)))


def say(text: str) -> None:
    """One line for a person, on stdout."""
    print(text)


def note(text: str) -> None:
    """One line in addition to the result, on stderr."""
    print(text, file=sys.stderr)


def printable(text: str) -> str:
    r"""The text with everything that is not a visible character escaped, as in a Python string.

    >>> printable("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )


def human_size(size: int) -> str:
    """Bytes for a person, in powers of 1,000 with three digits.

    >>> human_size(999), human_size(1504), human_size(999_999)
    ('999 B', '1.5 kB', '1 MB')
    """
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if value < 999.5:  # noqa: PLR2004 - what rounds to three digits
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}"


def human_time(moment: datetime | None) -> str:
    """A time for a person, UTC to the second."""
    return "-" if moment is None else moment.strftime("%Y-%m-%d %H:%M:%SZ")


def print_fields(rows: Shown) -> None:
    """Names and values below each other, aligned."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        say(f"{name:<{width}}  {printable(value)}")


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table as wide as its content, ruled where stdout is a terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*headings, box=SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = Console(highlight=False)
    if not console.is_terminal:  # A program or file that reads the table has no width to fit into.
        console.width = 10_000
    console.print(table, crop=False, no_wrap=True)
