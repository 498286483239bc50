"""`credstore serve`: the edge of a local store, so that its temporary links work."""

from __future__ import annotations

import asyncio
import contextlib
import sys

import click

from credstore.cli.exits import Terminated
from credstore.cli.options import Invocation, command
from credstore.cli.output import note, print_json, printable
from credstore.cli.runner import open_store, run_loop
from credstore.edge.server import listen, serve_links


@command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8765, show_default=True, type=click.IntRange(0, 65535), help="0 picks a free one."
)
@click.pass_obj
def serve_command(invocation: Invocation, host: str, port: int) -> None:
    """Serve the temporary links of a local store until Ctrl-C or SIGTERM.

    The links of a local store start with its link_url setting, which must lead here. Objects are sent
    in a form that their reader can decode; only valid links are served, and nothing is listed.
    """

    async def work() -> None:
        async with (
            open_store(invocation) as provider,
            serve_links(
                provider, listener=listen(host, port), log=_log if invocation.verbose else None
            ) as address,
        ):
            if invocation.json:
                print_json({"url": address})
                sys.stdout.flush()
            elif not invocation.quiet:
                note(f"serving the links of the local store at {address}; press Ctrl-C to stop")
            await asyncio.Event().wait()

    # Both signals are the intended ways to stop it.
    with contextlib.suppress(KeyboardInterrupt, Terminated):
        run_loop(work())


def _log(line: str) -> None:
    note(printable(line))
