"""`serve_links`: the edge of a store that has no cloud to serve its links."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncGenerator, Callable
from urllib.parse import urlsplit

from credstore.arguments import typed
from credstore.edge.pages import LinkPages
from credstore.errors import StorageAccessDeniedError, StorageConfigurationError
from credstore.extras import missing_extra
from credstore.provider.provider import StorageProvider
from credstore.threads import in_pool


@typed
@contextlib.asynccontextmanager
async def serve_links(
    provider: StorageProvider,
    *,
    listener: socket.socket | None = None,
    log: Callable[[str], None] | None = None,
    pages: LinkPages | None = None,
) -> AsyncGenerator[str, None]:
    """Serve the temporary links of a local or memory store while the block runs; yields the base URL.

    A link gets the object's bytes for GET and HEAD, in the encoding the reader accepts: as stored, or
    decoded. Ranges (of decoded bytes), entity tags and conditions work as in HTTP; any page may fetch a link
    it has (CORS). Nothing is listed; all links that are wrong, changed or expired get the same response. A
    damaged object never arrives complete; a part of an object is not checked against its digest, as with
    `open`.

    Args:
        provider: A store that checks its links itself; open, and on this event loop.
        listener: A bound socket, closed at the end; unless given, the address in the store's `link_url` is
            used. Behind a proxy that terminates TLS it has to be given.
        log: Called with one line for each response: method, path without query, status.
        pages: What people see who follow links with a browser, such as `credstore.web.ProofLinkPages`; others
            get the object's bytes.

    Raises:
        StorageUnsupportedError: Links of this store are served by its cloud.
        StorageConfigurationError: The address is taken or not one of this machine's, or the extra `cli` is
            missing.

    Source: RFC 9110 (conditions, ranges, negotiation); Fetch standard, "CORS protocol".
    """
    try:
        from credstore.edge.connection import serving
        from credstore.edge.responses import Responder
    except ImportError as error:
        if listener is not None:
            listener.close()
        raise missing_extra("cli", "serving links needs") from error

    with contextlib.ExitStack() as opened:
        if listener is not None:
            opened.enter_context(listener)
        await _probe(provider)
        if listener is None:
            listener = opened.enter_context(_at_link_url(provider))
        async with serving(Responder(provider, log=log, pages=pages), listener):
            host, port = listener.getsockname()[:2]
            yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Args:
        host: Name or address of this machine.
        port: Or 0 for a free one.

    Raises:
        StorageConfigurationError: The address is taken, or not one of this machine's.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise StorageConfigurationError(
            f"cannot listen on {host} port {port}: {error.strerror}; choose another host or port"
        ) from None


def _at_link_url(provider: StorageProvider) -> socket.socket:
    base = provider.config.answers_at
    if base is None:
        raise StorageConfigurationError("this store has no link_url to listen at; pass a listener")
    address = urlsplit(base)
    if address.scheme != "http" or not address.hostname:
        raise StorageConfigurationError(
            "link_url is not http://, so something else terminates TLS for it; pass the listener that it "
            "leads to"
        )
    return listen(address.hostname, 80 if address.port is None else address.port)


async def _probe(provider: StorageProvider) -> None:
    """Find out now whether the store checks links; if so, it refuses an empty one."""
    with contextlib.suppress(StorageAccessDeniedError):
        await in_pool(provider.verify_link, "GET", "/", {})
