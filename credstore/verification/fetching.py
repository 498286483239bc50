"""Fetch what an asset names, and the public lists, over HTTP: only when a caller asked for it.

Rules of this file: an asset may come from anyone, so its address may be anyone's: only https, and only hosts
whose addresses are public, unless the caller allows others. A redirect is not followed; a body is bounded.
The name is resolved once to be looked at and once to connect, so a name server can still answer differently:
behind a firewall that must not be crossed, do not fetch.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from credstore.errors import StorageInvalidRequestError
from credstore.proofs.c2pa.trust import LARGEST_LIST
from credstore.proofs.format.manifest_links import LARGEST_MANIFEST
from credstore.proofs.log.http import LogHttp


class Fetcher:
    """Fetches manifests and lists; close it, or use it with `async with`."""

    def __init__(self, *, anywhere: bool = False, http: LogHttp | None = None) -> None:
        """Open nothing yet.

        Args:
            anywhere: Allow http and hosts that are not public, such as those of an intranet.
            http: The client; owned from now on.
        """
        self._anywhere = anywhere
        self._http = LogHttp() if http is None else http

    async def manifest(self, url: str) -> bytes | None:
        """A manifest of up to 16 MiB, or None where there is none.

        Raises:
            StorageInvalidRequestError: The address is not one that may be fetched.
            StorageError: No usable response.
        """
        await self._check(url)
        return await self._http.get(url, LARGEST_MANIFEST)

    async def list(self, url: str) -> bytes | None:
        """A file of a list, or None where there is none. Its address is the caller's, not an asset's.

        Raises:
            StorageError: No usable response.
        """
        return await self._http.get(url, LARGEST_LIST)

    async def _check(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or 443
        except ValueError:
            host, parts, port = "", None, 0
        if parts is None or not host:
            raise StorageInvalidRequestError("the address that the asset names is not a URL")
        if self._anywhere:
            return
        if parts.scheme != "https":
            raise StorageInvalidRequestError("the asset names an address without https; it was not fetched")
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:
            raise StorageInvalidRequestError(
                f"the host {host!r} that the asset names was not found"
            ) from None
        if not all(ipaddress.ip_address(str(each[4][0]).partition("%")[0]).is_global for each in found):
            raise StorageInvalidRequestError(
                f"the host {host!r} that the asset names is not public; it was not fetched"
            )

    async def aclose(self) -> None:
        """Release everything; safe to call again."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
