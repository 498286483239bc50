"""`credstore log serve` and `witness`."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import click

from credstore.cli.commands.log.shared import (
    KEY,
    LARGEST_POLICY,
    LOG,
    POLICY,
    PREFIX,
    log_signer,
    now,
    read_policy,
)
from credstore.cli.exits import Terminated
from credstore.cli.options import Invocation, command
from credstore.cli.output import note, print_json, printable
from credstore.cli.runner import open_store, run_loop
from credstore.edge.server import listen
from credstore.errors import StorageError

if TYPE_CHECKING:
    from credstore.provider.provider import StorageProvider
    from credstore.web.app import WebApp

HOST = click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")


def _port(default: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(
        "--port",
        default=default,
        show_default=True,
        type=click.IntRange(0, 65535),
        help="0 picks a free one.",
    )


@command("serve")
@PREFIX
@HOST
@_port(8766)
@click.pass_obj
def serve_command(invocation: Invocation, *, prefix: str, host: str, port: int) -> None:
    """Serve the static files of the log in the store until Ctrl-C or SIGTERM.

    Only the checkpoint, tiles and bundles are served. They need no server of their own: a CDN over the
    bucket, or credstore log export and any web server, do the same.
    """

    def app(provider: StorageProvider) -> WebApp:
        from credstore.web.app import WebApp
        from credstore.web.logs import LogPart

        return WebApp({"/": LogPart(provider, prefix)})

    _run(invocation, app, host, port, "the log")


@command("witness")
@KEY
@click.option("--name", metavar="NAME", required=True, help="Of the witness, such as witness.example.com/w1.")
@LOG
@POLICY
@click.option("--prefix", metavar="PREFIX", default="witness/v1/", show_default=True, help="In the store.")
@HOST
@_port(8767)
@click.pass_obj
def witness_command(
    invocation: Invocation,
    *,
    key_file: str,
    name: str,
    vkeys: tuple[str, ...],
    policy_file: str | None,
    prefix: str,
    host: str,
    port: int,
) -> None:
    """Cosign the checkpoints of logs that only grow, until Ctrl-C or SIGTERM (c2sp.org/tlog-witness).

    What was cosigned is remembered in the store, which should be in other hands than the logs.
    """
    signer, policy = log_signer(key_file, name, cosigns=True), read_policy(policy_file, vkeys)

    def app(provider: StorageProvider) -> WebApp:
        from credstore.proofs.log import LogWitness
        from credstore.web.app import WebApp
        from credstore.web.logs import WitnessPart

        witness = LogWitness(provider, signer=signer, logs=policy.log_keys, clock=now, prefix=prefix)
        return WebApp({"/": WitnessPart(witness)})

    async def warn(provider: StorageProvider) -> None:
        from credstore.proofs.log import LogObjects

        with contextlib.suppress(StorageError):
            data = await LogObjects(provider).fetch("checkpoint", LARGEST_POLICY) or b""
            if data.partition(b"\n")[0].decode(errors="replace") in {key.name for key in policy.log_keys}:
                note(
                    "credstore: this store holds the log itself, so a restored backup takes log and witness "
                    "back together, and neither shows it; give the witness a store in other hands"
                )

    _run(invocation, app, host, port, f"the witness {signer.key.encode()}", warn=warn)


async def _quiet(provider: StorageProvider) -> None:
    del provider


def _run(
    invocation: Invocation,
    app: Callable[[StorageProvider], WebApp],
    host: str,
    port: int,
    what: str,
    *,
    warn: Callable[[StorageProvider], Awaitable[None]] = _quiet,
) -> None:
    async def work() -> None:
        from credstore.web.serving import serving_app

        log = _log if invocation.verbose else None
        async with (
            open_store(invocation) as provider,
            serving_app(app(provider), listen(host, port), log=log) as address,
        ):
            if invocation.json:
                print_json({"url": address})
                sys.stdout.flush()
            elif not invocation.quiet:
                await warn(provider)
                note(f"serving {printable(what)} at {address}; press Ctrl-C to stop")
            await asyncio.Event().wait()

    # Both signals are the intended ways to stop it.
    with contextlib.suppress(KeyboardInterrupt, Terminated):
        run_loop(work())


def _log(line: str) -> None:
    note(printable(line))
