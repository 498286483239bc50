"""`credstore top`: what a running service does, as a live table."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.error import URLError
from urllib.request import Request, urlopen

import click
from rich.live import Live
from rich.table import Table

from credstore.cli.exits import Terminated
from credstore.cli.options import Invocation, command
from credstore.cli.output import fitting, print_json, print_table, standard_console, table_of
from credstore.errors import StorageConfigurationError, StorageConnectionError

_SAMPLE = re.compile(r"(credstore_[a-z_]+)\{(.*)\} (\S+)")
_LABEL = re.compile(r'([a-z]+)="((?:[^"\\]|\\.)*)"')
_LARGEST = 16 * 1024 * 1024
_PATIENCE = 10.0
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_WHOLE = 100
"""A number of units from which there are no fractions of one."""
_ELASTIC = (0, 1)
_NUMBERS = range(2, 8)
_LEAST = 6
"""Cells that are left of a provider or verb, on however narrow a terminal."""


@dataclass(slots=True)
class Row:
    """The counters of one verb of one provider."""

    calls: float = 0
    errors: float = 0
    bytes: float = 0
    requests: float = 0
    seconds: float = 0
    buckets: dict[float, float] = field(default_factory=dict[float, float])


Rows = Mapping[tuple[str, str], Row]


@command("top")
@click.argument("url", default="http://127.0.0.1:9464/metrics")
@click.option("--interval", default=2.0, show_default=True, type=click.FloatRange(0.1), help="Seconds.")
@click.option("--once", is_flag=True, help="Print one table, of all there was so far, and end.")
@click.pass_obj
def top_command(invocation: Invocation, url: str, interval: float, once: bool) -> None:
    """Show what a running service does: calls, errors, bytes and durations of each verb.

    reqs are the requests of a call, and 95 of 100 calls take no longer than p95.

    URL is where the service shows its counters: `credstore serve --metrics`, or `credstore.web`.
    """
    rows = read(url)
    if invocation.json:
        print_json(
            [
                {
                    "provider": provider,
                    "verb": verb,
                    "calls": row.calls,
                    "errors": row.errors,
                    "bytes": row.bytes,
                }
                for (provider, verb), row in rows.items()
            ]
        )
        return
    if once:
        print_table(*table(rows, {}, None), elastic=_ELASTIC, right=_NUMBERS)
        return
    console = standard_console()
    with contextlib.suppress(KeyboardInterrupt, Terminated), Live(console=console, screen=True) as live:
        before, since = rows, time.monotonic()
        while True:
            time.sleep(interval)
            now, rows = time.monotonic(), read(url)
            live.update(shown(*table(rows, before, now - since), console.width))
            before, since = rows, now


def read(url: str) -> Rows:
    """The counters that a service shows.

    Raises:
        StorageConfigurationError: It is not an HTTP URL.
        StorageConnectionError: Nothing responds there, or something else.
    """
    if not url.startswith(("http://", "https://")):
        raise StorageConfigurationError("the URL of a service's counters starts with http:// or https://")
    try:
        with urlopen(Request(url), timeout=_PATIENCE) as response:  # noqa: S310 - checked above
            text = response.read(_LARGEST).decode("utf-8", "replace")
    except (URLError, OSError, ValueError) as error:
        raise StorageConnectionError(
            f"no counters at {url}: {getattr(error, 'reason', error)}; start the service with "
            "credstore serve --metrics 127.0.0.1:9464"
        ) from None
    return parsed(text)


def parsed(text: str) -> Rows:
    """The counters in a text of Prometheus's format."""
    rows: dict[tuple[str, str], Row] = {}
    for line in text.splitlines():
        found = _SAMPLE.fullmatch(line)
        if found is None:
            continue
        labels: dict[str, str] = dict(_LABEL.findall(found[2]))
        if "provider" not in labels or "verb" not in labels:
            continue
        row = rows.setdefault((labels["provider"], labels["verb"]), Row())
        with contextlib.suppress(ValueError):
            _add(row, found[1], labels, float(found[3]))
    return rows


def _add(row: Row, name: str, labels: Mapping[str, str], value: float) -> None:
    match name:
        case "credstore_operations_total":
            row.calls += value
        case "credstore_errors_total":
            row.errors += value
        case "credstore_bytes_total":
            row.bytes += value
        case "credstore_requests_total":
            row.requests += value
        case "credstore_operation_duration_seconds_sum":
            row.seconds += value
        case "credstore_operation_duration_seconds_bucket":
            row.buckets[float(labels.get("le", "+Inf"))] = value
        case _:
            return


def table(rows: Rows, before: Rows, seconds: float | None) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the rates since `before`, or of everything so far where `seconds` is None."""
    per = "/s" if seconds else ""
    headings = [
        "provider",
        "verb",
        f"calls{per}",
        f"errors{per}",
        f"bytes{per}",
        "reqs",
        "mean ms",
        "p95 ms",
    ]
    lines: list[list[str]] = []
    for name, row in sorted(rows.items()):
        old = before.get(name, Row())
        span = seconds or 1.0
        calls = row.calls - old.calls
        errors = (row.errors - old.errors) / span
        mean = (row.seconds - old.seconds) / calls if calls else 0.0
        lines.append(
            [
                *name,
                f"{calls / span:,.1f}" if seconds else f"{calls:,.0f}",
                f"{errors:,.1f}" if errors else "0",
                size((row.bytes - old.bytes) / span),
                f"{(row.requests - old.requests) / calls:.1f}" if calls else "-",
                f"{mean * 1000:,.1f}" if calls else "-",
                _quantile(row, old, 0.95),
            ]
        )
    return headings, lines


def shown(headings: Sequence[str], rows: Sequence[Sequence[str]], most: int) -> Table:
    """The table as it fits into the screen."""
    short = fitting(headings, rows, most, elastic=_ELASTIC, least=_LEAST)
    return table_of(headings, rows if short is None else short, right=_NUMBERS)


def _quantile(row: Row, old: Row, part: float) -> str:
    """The upper bound of the bucket that a quantile is in."""
    counts = {bound: count - old.buckets.get(bound, 0) for bound, count in sorted(row.buckets.items())}
    total = max(counts.values(), default=0)
    if not total:
        return "-"
    bound = next(bound for bound, count in counts.items() if count >= part * total)
    return f"≤{bound * 1000:,.0f}" if bound != float("inf") else ">30,000"


def size(count: float) -> str:
    """Bytes for people."""
    unit = _UNITS[-1]
    for unit in _UNITS:
        if count < 1024 or unit == _UNITS[-1]:  # noqa: PLR2004 - of the next unit
            break
        count /= 1024
    return f"{count:,.0f} {unit}" if unit == "B" or count >= _WHOLE else f"{count:,.1f} {unit}"
