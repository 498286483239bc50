"""`credstore serve`: the edge of a local store, so that its temporary links work."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import click

from credstore.cli.commands.log.shared import log_signer, now, prefix_option, read_policy
from credstore.cli.exits import Terminated
from credstore.cli.options import Invocation, command
from credstore.cli.output import note, print_json, printable
from credstore.cli.proof_files import ROOTS
from credstore.cli.runner import open_store, run_loop
from credstore.edge.server import listen, serve_links
from credstore.proofs import variables
from credstore.web.app import Part, WebApp
from credstore.web.prometheus import PrometheusPart
from credstore.web.serving import serving_app

if TYPE_CHECKING:
    from credstore.edge.pages import LinkPages
    from credstore.proofs.log import LogWitness
    from credstore.provider.provider import StorageProvider
    from credstore.web.proof_pages import ProofPages

_LAST_PORT = 65535
LARGEST_POLICY = 1024 * 1024


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
    "--log",
    "log_address",
    metavar="HOST:PORT",
    callback=_address,
    help="Also serve the store's transparency log there, at /log.",
)
@prefix_option("--log-prefix")
@click.option(
    "--witness-key",
    metavar="FILE",
    help="Also cosign the logs of --witness-policy, at /witness of the log's address.",
)
@click.option("--witness-name", metavar="NAME", help="Of the witness, such as witness.example.com/w1.")
@click.option("--witness-policy", metavar="FILE", help="The logs that are cosigned (c2sp.org/tlog-policy).")
@click.option(
    "--proofs",
    "proofs_address",
    metavar="HOST:PORT",
    callback=_address,
    help="Also serve pages about the store's proofs there, at /proofs/ID; needs --trust.",
)
@click.option(
    "--pictures",
    metavar="PREFIX",
    help="Show the pictures of proofs that are below this prefix of the store.",
)
@click.option(
    "--log-policy",
    metavar="FILE",
    envvar="CREDSTORE_LOG_POLICY",
    help="Which logs and witnesses count on pages about proofs; or CREDSTORE_LOG_POLICY.",
)
@ROOTS
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
    help="Whose proofs count: browsers see a page where a link or --proofs leads to one; or "
    "CREDSTORE_PROOF_TRUST.",
)
@click.option("--watermark", "watermarks", metavar="ALG", multiple=True, help="Also look up its ids.")
@click.option("--endpoint", metavar="URL", help="Where matches say that manifests are, such as a CDN's.")
@click.pass_obj
def serve_command(
    invocation: Invocation,
    *,
    host: str,
    port: int,
    metrics: tuple[str, int] | None,
    log_address: tuple[str, int] | None,
    log_prefix: str,
    witness_key: str | None,
    witness_name: str | None,
    witness_policy: str | None,
    proofs_address: tuple[str, int] | None,
    pictures: str | None,
    log_policy: str | None,
    roots: tuple[str, ...],
    soft_binding: bool,
    trust_file: str | None,
    watermarks: tuple[str, ...],
    endpoint: str | None,
) -> None:
    """Serve the temporary links of a local store until Ctrl-C or SIGTERM.

    The links of a local store start with its link_url setting, which must lead here. Objects are sent
    in a form that their reader can decode; only valid links are served, and nothing is listed. Counters,
    the log and pages about proofs may share an address.
    """
    if soft_binding:
        if trust_file is None:
            raise click.UsageError("--soft-binding needs --trust FILE, or CREDSTORE_PROOF_TRUST")
        if metrics or log_address or proofs_address or witness_key or witness_name or witness_policy:
            raise click.UsageError("--soft-binding serves nothing else; start another `serve` for the rest")
        _run(_bindings(invocation, (host, port), trust_file, watermarks, endpoint))
        return
    witness = _witness(witness_key, witness_name, witness_policy, log_address)
    if proofs_address is not None and trust_file is None:
        raise click.UsageError("--proofs needs --trust FILE, or CREDSTORE_PROOF_TRUST")
    opening = None if trust_file is None else _pages(trust_file, pictures, log_policy, roots)

    async def work() -> None:
        from credstore.web.logs import LogPart, WitnessPart

        async with contextlib.AsyncExitStack() as opened:
            provider = await opened.enter_async_context(open_store(invocation))
            pages = None if opening is None else await opening(opened, provider)
            address = await opened.enter_async_context(
                serve_links(
                    provider,
                    listener=listen(host, port),
                    log=_log if invocation.verbose else None,
                    pages=None if pages is None else _link_pages(pages),
                )
            )
            parts: list[tuple[str, tuple[str, int], str, Part]] = []
            if metrics is not None:
                counters = PrometheusPart(lambda: [provider.metrics()], costs=lambda: _costs(provider))
                parts.append(("metrics", metrics, "/metrics", counters))
            if log_address is not None:
                parts.append(("log", log_address, "/log", LogPart(provider, log_prefix)))
            if log_address is not None and witness is not None:
                parts.append(("witness", log_address, "/witness", WitnessPart(witness(provider))))
            if proofs_address is not None and pages is not None:
                parts.append(("proofs", proofs_address, "/proofs", pages))
            urls = {"url": address}
            for place in dict.fromkeys(place for _, place, _, _ in parts):
                here = [(name, path, part) for name, where, path, part in parts if where == place]
                app = WebApp({path: part for _, path, part in here})
                base = await opened.enter_async_context(serving_app(app, listen(*place)))
                urls |= {name: base + path for name, path, _ in here}
            if invocation.json:
                print_json(urls)
                sys.stdout.flush()
            elif not invocation.quiet:
                also = "".join(f", the {name} at {url}" for name, url in urls.items() if name != "url")
                note(f"serving the links of the local store at {address}{also}; press Ctrl-C to stop")
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
    from credstore.cli.proof_files import read_trust
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
        async with serving_soft_bindings(app, listen(*place)) as address:
            if invocation.json:
                print_json({"url": address})
                sys.stdout.flush()
            elif not invocation.quiet:
                note(f"serving the soft binding API at {address}; press Ctrl-C to stop")
            await asyncio.Event().wait()


def _witness(
    key: str | None, name: str | None, policy: str | None, log_address: tuple[str, int] | None
) -> Callable[[StorageProvider], LogWitness] | None:
    """What makes the witness, once its store is open; None where none is wanted.

    Raises:
        click.UsageError: Some of what it needs is missing, or cannot be read.
    """
    if key is None and name is None and policy is None:
        return None
    if key is None or name is None or policy is None or log_address is None:
        raise click.UsageError("a witness needs --witness-key, --witness-name, --witness-policy and --log")
    signer, logs = log_signer(key, name, cosigns=True), read_policy(policy, ()).log_keys

    def made(provider: StorageProvider) -> LogWitness:
        from credstore.proofs.log import LogWitness

        return LogWitness(provider, signer=signer, logs=logs, clock=now)

    return made


def _pages(
    trust_file: str, pictures: str | None, log_policy: str | None, roots: tuple[str, ...]
) -> Callable[[contextlib.AsyncExitStack, StorageProvider], Awaitable[ProofPages]]:
    """What makes the pages about proofs, once their store is open.

    Raises:
        click.UsageError: A file cannot be read.
        StorageError: A file is wrong.
    """
    # Here, since links are served without them.
    from credstore.cli.commands.proof.logs import LogChoice
    from credstore.cli.proof_files import read_authorities, read_trust, read_whole
    from credstore.proofs import ProofStore
    from credstore.web.proof_pages import ProofPages

    trust, authorities = read_trust(trust_file), read_authorities(roots)
    choice = LogChoice(policy_file=log_policy)
    policy = None if log_policy is None else read_whole(log_policy, LARGEST_POLICY)
    check = choice.check()

    async def made(opened: contextlib.AsyncExitStack, provider: StorageProvider) -> ProofPages:
        log = await choice.open(opened, provider, trust)
        store = ProofStore(provider, trust=trust, timestamps=authorities, log=log, close_provider=False)
        return ProofPages(
            await opened.enter_async_context(store),
            check_log=check,
            log_policy=policy,
            authorities=authorities,
            pictures=pictures,
        )

    return made


def _link_pages(pages: ProofPages) -> LinkPages:
    from credstore.web.link_pages import ProofLinkPages

    return ProofLinkPages(pages)


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
