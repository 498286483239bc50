"""How a check opens a link: as anybody would who was given it, with a client that is not ours."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, TypeAlias
from urllib.error import HTTPError, URLError
from urllib.request import HTTPSHandler, Request, build_opener

from credstore.driver.values import SignedRequest
from credstore.errors import StorageConnectionError

_PATIENCE = 60
"""Seconds without a byte after which a link does not answer."""


class Fetched(NamedTuple):
    """What came of a link.

    Attributes:
        status: HTTP status.
        headers: By lower-case name.
        body: All of it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


Fetch: TypeAlias = Callable[[SignedRequest, bytes | None], Awaitable[Fetched]]
"""Opens a link, with a body where its method sends one."""


async def fetch_link(
    link: SignedRequest, body: bytes | None = None, *, ca_file: str | None = None
) -> Fetched:
    """Open a link with Python's own client, which sends what the link demands and nothing from credstore.

    Args:
        link: An http or https one.
        body: To send with it.
        ca_file: PEM file of further certificate authorities to trust.

    Raises:
        StorageConnectionError: Nothing answers there.
    """
    return await asyncio.to_thread(_fetch, link, body, ca_file)


def _fetch(link: SignedRequest, body: bytes | None, ca_file: str | None) -> Fetched:
    request = Request(link.url, data=body, method=link.method)  # noqa: S310 - a check looked at the scheme
    for name, value in link.headers.items():
        request.add_header(name, value)
    trusted = ssl.create_default_context()
    if ca_file is not None:
        trusted.load_verify_locations(ca_file)
    try:
        with build_opener(HTTPSHandler(context=trusted)).open(request, timeout=_PATIENCE) as answer:
            return Fetched(answer.status, _lowered(answer.headers.items()), answer.read())
    except HTTPError as error:
        with error:
            return Fetched(error.code, _lowered(error.headers.items()), error.read())
    except (URLError, OSError) as error:
        # The cause may hold the link, which is a secret.
        kind = type(getattr(error, "reason", error)).__name__
    raise StorageConnectionError(f"nothing answers the link ({kind})", applied="maybe")


def _lowered(headers: list[tuple[str, str]]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers}
