"""`credstore doctor`."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import click

from credstore.cli.exits import Exit
from credstore.cli.options import WRAPPING_OPTIONS, Invocation, command
from credstore.cli.output import folded, print_json, printable, room
from credstore.cli.runner import opened, run_loop, settings, several_stores
from credstore.errors import StorageError

if TYPE_CHECKING:
    from credstore.doctor import Finding

_MARKS = {"ok": "ok  ", "warning": "note", "failed": "FAIL", "not tried": "-   "}
_COLOURS = {"failed": "red", "warning": "yellow", "ok": "green"}
_WIDTH, _LINE = 20, 80


@command("doctor")
@click.argument("url", metavar="[URL|NAME]", required=False)
@click.option("--no-write", is_flag=True, help="Store nothing for a trial.")
@click.pass_obj
def doctor_command(invocation: Invocation, *, url: str | None, no_write: bool) -> None:
    """Find out why a store does not work, and what to do about it.

    Shows which settings were found and where, whether the endpoint is there and trusted, whether the clock of
    this machine is right, whether the credentials are accepted, what they may do, and whether a stranger can
    open a link. For that one small object is stored, copied and removed. No secret is shown. Exit code 1
    means that something does not work.
    """
    if url is not None:
        invocation.store = url
    found: list[Finding] = []

    def show(finding: Finding) -> None:
        found.append(finding)
        if not invocation.json:
            _show(invocation, finding)

    run_loop(_examined(invocation, show, writing=not no_write))
    healthy = all(each.state != "failed" for each in found)
    if invocation.json:
        print_json({"healthy": healthy, "findings": found})
    if not healthy:
        raise click.exceptions.Exit(Exit.FAILURE)


async def _examined(invocation: Invocation, show: Callable[[Finding], None], *, writing: bool) -> None:
    from credstore.config.registry import Registry
    from credstore.doctor import Examination, Source, encryption_of, settings_of
    from credstore.doctor.findings import failed

    try:
        if several_stores(invocation) is not None:
            raise click.UsageError("stores are examined one by one; name one of them with --store URL")
        config = settings(invocation)
        provider = opened(invocation, config, reading=True)
        source = Source(**_source(invocation))
    except StorageError as error:
        show(failed("settings", error))
        return
    for each in settings_of(config, Registry(), source):
        show(each)
    async with provider:
        show(encryption_of(provider))
        seconds = 10.0 if invocation.timeout is None else invocation.timeout
        async with aclosing(Examination(provider, writing=writing, timeout=seconds).findings()) as findings:
            async for each in findings:
                show(each)


def _source(invocation: Invocation) -> dict[str, Any]:
    """What named the store, and where variables are from."""
    from credstore.config.named import is_name, named_store, stores_file
    from credstore.config.variables import URL

    options = {name: WRAPPING_OPTIONS[name] for name in invocation.wrapping}
    given = invocation.store
    if given is not None and is_name(given):
        _, environ = named_store(given, os.environ)
        own = environ is not os.environ
        return {
            "named_by": f"the name {given} in {stores_file(os.environ)}",
            "environ": environ,
            "of_file": frozenset(environ) if own else invocation.variables,
            "file": "its own file of variables" if own else invocation.env_file or "",
            "given": options,
        }
    return {
        "named_by": "given" if given is not None else URL if os.environ.get(URL) else "the environment",
        "environ": os.environ,
        "of_file": invocation.variables,
        "file": invocation.env_file or "",
        "given": options,
    }


def _show(invocation: Invocation, finding: Finding) -> None:
    if invocation.quiet and finding.state == "ok":
        return
    mark = _MARKS[finding.state]
    if not os.environ.get("NO_COLOR"):  # Where there is no terminal, click leaves colours out by itself.
        mark = click.style(mark, fg=_COLOURS.get(finding.state))
    for line in _wrapped(finding.check, finding.detail):
        click.echo(f"{mark}  {line}")
        mark = " " * len(_MARKS["ok"])
    if finding.cure:
        for line in _wrapped("", f"-> {finding.cure}"):
            click.echo(f"{mark}  {line}")


def _wrapped(check: str, text: str) -> list[str]:
    """Lines of at most 80 columns, or of a narrower terminal, with the check in front of the first."""
    most = room()
    width = min(_LINE, most or _LINE) - len(_MARKS["ok"]) - 2 - _WIDTH - 1
    if most is None:  # A word is left whole for whoever reads the file.
        lines = textwrap.wrap(printable(text), width, break_long_words=False, break_on_hyphens=False)
    else:
        lines = folded(printable(text), max(width, _WIDTH))
    return [f"{check if number == 0 else '':<{_WIDTH}} {line}" for number, line in enumerate(lines or [""])]
