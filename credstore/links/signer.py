"""What a CDN signer is: it turns an object's address into a link that one edge honours for some time. Pure.

Rules of this package: one file per CDN, no I/O, no clock; keys come as `Secret` and are decoded when
the signer is made, so that a wrong one is refused at once and by name. A signer refuses what its edge would
not honour. Error texts contain no URL, token or key. Tests: the CDN's published vectors and an independent
computation in `tests/links/`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, Protocol, cast, get_args

from credstore.arguments import typed_class
from credstore.errors import StorageInvalidRequestError, StorageUnsupportedError
from credstore.links.settings import check_count, wrong
from credstore.model import Method

Source = Literal["public", "presigned"]
"""The address a signer starts from: the public one on the CDN, or the origin's own presigned one."""

READING: frozenset[Method] = frozenset({"GET", "HEAD"})
LATEST = 253_402_300_799
"""Epoch seconds; the end of the year 9999, the last that `datetime` can represent."""


class LinkSigner(Protocol):
    """Makes temporary links for one CDN; any object with these members is one.

    Attributes:
        name: The CDN, for messages.
        source: What `sign` takes: the object's public address, or a link presigned at its origin.
        methods: HTTP methods its links work for; the token itself is not bound to any of them.
        max_expires_in: Seconds a link may last at this edge, or None for no limit.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def source(self) -> Source: ...  # noqa: D102
    @property
    def methods(self) -> frozenset[Method]: ...  # noqa: D102
    @property
    def max_expires_in(self) -> float | None: ...  # noqa: D102

    def sign(self, url: str, *, now: int, expires_at: int) -> str | Awaitable[str]:
        """The link.

        Args:
            url: Absolute and percent-encoded, as `source` says.
            now: Epoch seconds.
            expires_at: Epoch seconds from which the link must no longer work.

        Returns:
            The address with its token, percent-encoded; possibly awaitable from a user's own signer.

        Raises:
            StorageInvalidRequestError: The address or a time is malformed.
            StorageUnsupportedError: The edge would not honour the link; the message says what to change.
        """
        ...


def check_times(
    name: str, *, now: int, expires_at: int, longest: float | None = None, latest: int = LATEST
) -> None:
    """Refuse times that the edge would not honour.

    Args:
        name: The CDN, for the message.
        now: Epoch seconds.
        expires_at: Epoch seconds.
        longest: Seconds from now that the edge accepts.
        latest: Last epoch second that the edge accepts.

    Raises:
        StorageInvalidRequestError: A time is not in whole seconds, or not in the future.
        StorageUnsupportedError: The time is beyond what the edge honours.
    """
    times: dict[str, object] = {"now": now, "expires_at": expires_at}
    for what, given in times.items():
        if not isinstance(given, int) or isinstance(given, bool):
            raise StorageInvalidRequestError(f"{what} is in whole epoch seconds, not {type(given).__name__}")
    if not 0 <= now < expires_at:
        raise StorageInvalidRequestError(
            "a link must expire in the future; ask for an expires_in of 1 second or more"
        )
    if longest is not None and expires_at - now > longest:
        raise StorageUnsupportedError(
            f"{name} honours a link for at most {longest:g} seconds as this signer is configured, not for "
            f"{expires_at - now}; ask for a shorter expires_in, or raise the limit at the edge and here"
        )
    if expires_at > latest:
        raise StorageUnsupportedError(
            f"{name} does not accept times after epoch second {latest}; ask for a shorter expires_in"
        )


Callback = Callable[[str, datetime], "str | Awaitable[str]"]
"""From (the object's public address, UTC time of expiry) to the link."""


@typed_class
@dataclass(frozen=True, slots=True, kw_only=True)
class CallableSigner:
    """Your own function as a signer, for any CDN that has none here.

    Attributes:
        function: Called with the object's public address, percent-encoded, and the time of expiry
            in UTC; returns the link, or an awaitable of it. What it raises reaches the caller.
        max_expires_in: Seconds the edge honours a link, or None.
        methods: HTTP methods its links work for.
    """

    name: str = field(default="your", init=False, repr=False)
    source: Source = field(default="public", init=False, repr=False)
    function: Callback = field(repr=False)
    max_expires_in: int | None = None
    methods: frozenset[Method] = READING

    def __post_init__(self) -> None:
        if not callable(cast("object", self.function)):
            raise wrong(self.name, "function", "must be a function of the URL and the time of expiry")
        check_count(self.name, "max_expires_in", self.max_expires_in)
        methods = cast("object", self.methods)
        if not isinstance(methods, frozenset) or not methods or methods - set(get_args(Method)):
            raise wrong(self.name, "methods", f"must be a frozenset of {', '.join(get_args(Method))}")

    def sign(self, url: str, *, now: int, expires_at: int) -> str | Awaitable[str]:
        """See `LinkSigner.sign`."""
        check_times(self.name, now=now, expires_at=expires_at, longest=self.max_expires_in)
        return self.function(url, datetime.fromtimestamp(expires_at, UTC))
