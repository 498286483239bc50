"""What a command prints: JSON for programs, lines and tables for people.

Rules of this file: results go to stdout, everything else to stderr. JSON has the field names of the
dataclasses, digests in hex, times in ISO 8601. Names come from a store that others write to, so what
a terminal would obey is shown escaped to people (JSON escapes it by itself). On a terminal, no line of a
table is longer than its width: what is shortened has a … in it, and files and pipes get everything whole.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias, cast

import click

from credstore.errors import StorageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"
Shown: TypeAlias = "Sequence[tuple[str, str]]"
Cells: TypeAlias = "Sequence[Sequence[str]]"
LEAST = 16
"""Cells that are left of what is shortened; less says nothing."""
_FEWEST = 8
"""The same in a line by itself."""
_EDGES, _BETWEEN = 2, 2
"""Cells that the rules of a table take at both ends, and between two columns."""
_SHORTENED = "credstore.shortened"


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


def room() -> int | None:
    """Cells of a line of the terminal; None where stdout is a file or pipe, which gets everything whole."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def cells(text: str) -> int:
    """How many cells of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def fitted(text: str, most: int) -> str:
    """A text in at most that many cells: a longer one keeps both ends, more of the second, around a ….

    >>> fitted("2026/11/a-picture-with-a-long-name.jpg", 20)
    '2026/1…long-name.jpg'
    """
    if cells(text) <= most:
        return text
    _note_shortened()
    head = _part(text, (most - 1) // 3)
    return f"{head}…{_part(text[::-1], most - 1 - cells(head))[::-1]}"


def _part(text: str, most: int) -> str:
    """The beginning of a text that takes no more cells than that."""
    end = used = 0
    while end < len(text) and used + cells(text[end]) <= most:
        used += cells(text[end])
        end += 1
    return text[:end]


def folded(text: str, most: int) -> list[str]:
    """All of a text in lines of at most that many cells, broken at blanks where there are any."""
    if cells(text) <= most:
        return [text]
    from rich.console import Console
    from rich.text import Text

    return [line.plain.rstrip() for line in Text(text).wrap(Console(width=most), most)]


def say_row(*row: str, elastic: int | None, gap: str = "  ") -> None:
    """One line of columns; on a terminal, one that fits.

    Args:
        row: The columns.
        elastic: The one that is shortened until the line fits; None where all have to be whole, so that those
            after the first go into a line of their own.
        gap: Between two columns.
    """
    shown, most = [printable(each) for each in row], room()
    if most is not None and elastic is not None:
        others = sum(map(cells, shown)) - cells(shown[elastic]) + len(gap) * (len(shown) - 1)
        shown[elastic] = fitted(shown[elastic], max(_FEWEST, most - others))
    line = gap.join(shown).rstrip()
    if most is None or cells(line) <= most or elastic is not None:
        say(line)
        return
    say(shown[0])
    say(gap + gap.join(each.strip() for each in shown[1:]))


def say_text(text: str) -> None:
    """A remark; on a terminal, broken at blanks."""
    most = room()
    for line in [printable(text)] if most is None else folded(printable(text), most):
        say(line)


def print_fields(rows: Shown) -> None:
    """Names and values below each other, aligned; on a terminal, long ones continue below themselves."""
    most = room()
    width = max(cells(printable(name)) for name, _ in rows)
    if most is not None:
        width = min(width, most // 3)
    for name, value in rows:
        first = printable(name) if most is None else fitted(printable(name), width)
        first += " " * (width - cells(first))
        for line in (
            [printable(value)] if most is None else folded(printable(value), max(most - width - 2, 8))
        ):
            say(f"{first}  {line}".rstrip())
            first = " " * width


def print_table(
    headings: Sequence[str],
    rows: Cells,
    *,
    elastic: Collection[int] = (),
    right: Collection[int] = (),
) -> None:
    """A table as wide as its content; on a terminal one that fits.

    Args:
        headings: Of the columns.
        rows: Their cells.
        elastic: Columns that may be shortened, the widest first, down to 16 cells each. Where that is not
            enough, each row becomes a block of lines, with all of its cells whole.
        right: Columns of numbers.
    """
    shown: Cells = [[printable(cell) for cell in row] for row in rows]
    most = room()
    if most is not None:
        short = fitting(headings, rows, most, elastic=elastic)
        if short is None:
            for number, row in enumerate(rows):
                if number:
                    say("")
                print_fields([pair for pair in zip(headings, row, strict=True) if any(pair)])
            return
        shown = short
    console = standard_console()
    if not console.is_terminal:  # A program or file that reads the table has no width to fit into.
        console.width = 10_000
    console.print(table_of(headings, shown, right=right), crop=False, no_wrap=True)


def standard_console() -> Console:
    """Standard output for tables; a broken pipe is for `main` to report, and not for rich."""
    from rich.console import Console

    class Ours(Console):
        def on_broken_pipe(self) -> None:
            raise  # noqa: PLE0704 - what it is called for

    return Ours(highlight=False)


def table_of(headings: Sequence[str], rows: Cells, *, right: Collection[int] = ()) -> Table:
    """A table for the terminal, ruled below its headings; its cells are printable."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(*headings, box=SIMPLE_HEAD, pad_edge=False, padding=(0, _BETWEEN - 1, 0, 0))
    for number in right:
        table.columns[number].justify = "right"
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def fitting(
    headings: Sequence[str],
    rows: Cells,
    most: int,
    *,
    elastic: Collection[int],
    least: int = LEAST,
) -> Cells | None:
    """The cells of a table, short enough for lines of `most` cells; None where that cannot be.

    Args:
        headings: Of the columns.
        rows: Their cells, of any text.
        most: Cells of a line.
        elastic: Columns that may be shortened, the widest first.
        least: Down to that many cells.
    """
    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(cells, column)) for column in zip(headings, *shown, strict=True)]
    over = sum(widths) + _EDGES + _BETWEEN * (len(widths) - 1) - most
    while over > 0:
        wide = [number for number in elastic if widths[number] > max(least, cells(headings[number]))]
        if not wide:
            return None
        widths[max(wide, key=widths.__getitem__)] -= 1
        over -= 1
    return [[fitted(cell, width) for cell, width in zip(row, widths, strict=True)] for row in shown]


def _note_shortened() -> None:
    """Say once, at the end of the command, where what was shortened is whole."""
    context = click.get_current_context(silent=True)
    root = None if context is None else context.find_root()
    if root is None or root.meta.get(_SHORTENED):
        return
    root.meta[_SHORTENED] = True
    root.call_on_close(
        lambda: note("credstore: … stands for what had no room; a pipe (| cat) and --json have all of it")
    )
