"""`credstore serve`: the edge of a local store, so that its temporary links work."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import click

from credstore.cli.exits import Terminated
from credstore.cli.options import Invocation, command
from credstore.cli.output import note, print_json, printable
from credstore.cli.runner import open_store, run_loop
from credstore.edge.server import listen, serve_links
from credstore.proofs import variables
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
@click.option(
    "--soft-binding",
    is_flag=True,
    help="Serve C2PA's soft binding API over the proofs of any store instead; needs --trust.",
)
@click.option(
    "--trust",
    "trust_file",
    metavar="FILE",
    envvar=variables.TRUST,
    help="For --soft-binding, whose proofs count; or CREDSTORE_PROOF_TRUST.",
)
@click.option("--watermark", "watermarks", metavar="ALG", multiple=True, help="Whose ids to look up, too.")
@click.option("--endpoint", metavar="URL", help="Where matches say that manifests are, such as a CDN's.")
@click.pass_obj
def serve_command(
    invocation: Invocation,
    *,
    host: str,
    port: int,
    metrics: tuple[str, int] | None,
    soft_binding: bool,
    trust_file: str | None,
    watermarks: tuple[str, ...],
    endpoint: str | None,
) -> None:
    """Serve the temporary links of a local store until Ctrl-C or SIGTERM.

    The links of a local store start with its link_url setting, which must lead here. Objects are sent
    in a form that their reader can decode; only valid links are served, and nothing is listed.
    """
    if soft_binding:
        if trust_file is None:
            raise click.UsageError("--soft-binding needs --trust FILE, or CREDSTORE_PROOF_TRUST")
        _run(_bindings(invocation, (host, port), trust_file, watermarks, endpoint))
        return

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

    _run(work())


def _run(work: Coroutine[Any, Any, None]) -> None:
    # Both signals are the intended ways to stop it.
    with contextlib.suppress(KeyboardInterrupt, Terminated):
        run_loop(work)


async def _bindings(
    invocation: Invocation,
    place: tuple[str, int],
    trust_file: str,
    watermarks: tuple[str, ...],
    endpoint: str | None,
) -> None:
    # Here, since links are served without them.
    from credstore.cli.commands.proof.files import read_trust
    from credstore.extras import require_extra
    from credstore.proofs import ProofStore
    from credstore.proofs.bindings import BindingIndex
    from credstore.web.serving import serving_soft_bindings
    from credstore.web.soft_bindings import SoftBindingApp

    for extra in ("c2pa", "perceptual"):
        require_extra(extra, "the soft binding API needs")
    provider = open_store(invocation, reading=True)
    async with ProofStore(provider, trust=read_trust(trust_file)) as store:
        app = SoftBindingApp(BindingIndex(store), watermarks=watermarks, endpoint=endpoint)
        listener = listen(*place)
        address = f"http://{place[0]}:{listener.getsockname()[1]}"
        async with serving_soft_bindings(app, listener):
            if invocation.json:
                print_json({"url": address})
                sys.stdout.flush()
            elif not invocation.quiet:
                note(f"serving the soft binding API at {address}; press Ctrl-C to stop")
            await asyncio.Event().wait()


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
