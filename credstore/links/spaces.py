"""DigitalOcean Spaces CDN: a link presigned at the origin, with the CDN's host in place of the Space's. Pure.

The CDN hands the request to the origin under the origin's own host, so the signature holds; this is
documented for Spaces and for no other CDN here. A copy in the edge's cache may outlive the link.

Source: providers.md §4.5 and §5.1; docs.digitalocean.com/products/spaces/how-to/enable-cdn.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from credstore.arguments import typed_class
from credstore.errors import StorageUnsupportedError
from credstore.links.address import parse_address
from credstore.links.settings import check_word
from credstore.links.signer import Source, check_times
from credstore.model import Method

_LONGEST = 7 * 24 * 3600
"""Seconds; the limit of SigV4 query authentication."""
_HOST = re.compile(r"(?=.{4,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")
_SPACE = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_REGION = re.compile(r"[a-z]{3}[0-9]{1,2}")
_SIGNED = frozenset({"X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Expires", "X-Amz-Date"})


@typed_class
@dataclass(frozen=True, slots=True, kw_only=True)
class SpacesCdnSigner:
    """Links of a Space through its CDN.

    Links are only for GET: an edge that sends GET to the origin for a HEAD breaks the signature.

    Attributes:
        space: Name of the Space.
        region: Of the Space, `ams3`.
        host: The CDN's custom subdomain; None for the Space's own CDN host.
    """

    name: str = field(default="Spaces CDN", init=False, repr=False)
    source: Source = field(default="presigned", init=False, repr=False)
    methods: frozenset[Method] = field(default=frozenset({"GET"}), init=False, repr=False)
    max_expires_in: float | None = field(default=_LONGEST, init=False, repr=False)
    space: str
    region: str
    host: str | None = None

    def __post_init__(self) -> None:
        check_word(self.name, "space", self.space, pattern=_SPACE)
        check_word(self.name, "region", self.region, pattern=_REGION)
        if self.host is not None:
            check_word(self.name, "host", self.host, pattern=_HOST)

    def sign(self, url: str, *, now: int, expires_at: int) -> str:
        """See `LinkSigner.sign`; `url` is the link presigned at the Space's own host.

        Raises:
            StorageUnsupportedError: It is not presigned with SigV4, or is for another host or in path style,
                which the CDN does not forward.
        """
        address = parse_address(url, cdn=self.name, reserved=frozenset(), signed=True)
        check_times(self.name, now=now, expires_at=expires_at, longest=_LONGEST)
        if address.origin != f"https://{self.space}.{self.region}.digitaloceanspaces.com":
            raise StorageUnsupportedError(
                "the Spaces CDN forwards only what was presigned for "
                "https://<space>.<region>.digitaloceanspaces.com; set `space`, `region` "
                "and virtual-hosted addressing accordingly"
            )
        pairs = [part.partition("=") for part in address.query.split("&")]
        given = {name: value for name, _, value in pairs}
        if not given.keys() >= _SIGNED:
            raise StorageUnsupportedError("the Spaces CDN needs a link presigned with Signature Version 4")
        if unquote(given["X-Amz-SignedHeaders"]) != "host":
            raise StorageUnsupportedError(
                "a link that requires headers cannot go through a CDN; sign only the host"
            )
        host = self.host or f"{self.space}.{self.region}.cdn.digitaloceanspaces.com"
        return f"https://{host}{address.url.removeprefix(address.origin)}"
