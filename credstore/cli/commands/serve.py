"""`credstore serve`: the edge of a local store, so that its temporary links work."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING

import click

from credstore.cli.exits import Terminated
from credstore.cli.options import Invocation, command
from credstore.cli.output import note, print_json, printable
from credstore.cli.runner import open_store, run_loop
from credstore.edge.server import listen, serve_links
from credstore.web.app import WebApp
from credstore.web.prometheus import PrometheusPart
from credstore.web.serving import serving_app

if TYPE_CHECKING:
    from credstore.provider.provider import StorageProvider

_LAST_PORT = 65535


def _address(_context: click.Context, _option: click.Parameter, value: str | None) -> tuple[str, int] | None:
    return None if value is None else parsed_address(value)


@command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8765, show_default=True, type=click.IntRange(0, 65535), help="0 picks a free one."
)
@click.option(
    "--metrics",
    metavar="HOST:PORT",
    callback=_address,
    help="Also serve the counters to Prometheus there, at /metrics.",
)
@click.pass_obj
def serve_command(invocation: Invocation, host: str, port: int, metrics: tuple[str, int] | None) -> None:
    """Serve the temporary links of a local store until Ctrl-C or SIGTERM.

    The links of a local store start with its link_url setting, which must lead here. Objects are sent
    in a form that their reader can decode; only valid links are served, and nothing is listed.
    """

    async def work() -> None:
        async with contextlib.AsyncExitStack() as opened:
            provider = await opened.enter_async_context(open_store(invocation))
            address = await opened.enter_async_context(
                serve_links(provider, listener=listen(host, port), log=_log if invocation.verbose else None)
            )
            counters = None
            if metrics is not None:
                listener = listen(*metrics)
                counters = f"http://{metrics[0]}:{listener.getsockname()[1]}/metrics"
                app = WebApp(
                    {"/metrics": PrometheusPart(lambda: [provider.metrics()], costs=lambda: _costs(provider))}
                )
                await opened.enter_async_context(serving_app(app, listener))
            if invocation.json:
                print_json({"url": address} | ({} if counters is None else {"metrics": counters}))
                sys.stdout.flush()
            elif not invocation.quiet:
                beside = "" if counters is None else f", and its counters at {counters}"
                note(f"serving the links of the local store at {address}{beside}; press Ctrl-C to stop")
            await asyncio.Event().wait()

    # Both signals are the intended ways to stop it.
    with contextlib.suppress(KeyboardInterrupt, Terminated):
        run_loop(work())


def _costs(provider: StorageProvider) -> dict[str, float]:
    total = provider.bill().total
    return {} if total is None else {provider.get_provider_name(): total}


def parsed_address(text: str) -> tuple[str, int]:
    """Host and port.

    Raises:
        click.BadParameter: It is not HOST:PORT.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > _LAST_PORT:
        raise click.BadParameter("is HOST:PORT, such as 127.0.0.1:9464")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _log(line: str) -> None:
    note(printable(line))
