"""Who signs: the seam between the exchange and a cloud's way of authenticating requests.

It fits three kinds of proof: a signature over parts of the request in a header (AWS, Azure's Shared Key), a
token in a header that has to be fetched and expires (Google, Azure's Entra ID), and a signature in the query
string (Azure's SAS). The exchange asks before each attempt, passes the current time by the origin's clock,
and asks for newer credentials once per call if the cloud calls the ones used expired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from credstore.model import NOTHING
from credstore.wire.transport import StreamBody


@dataclass(frozen=True, kw_only=True)
class WireCall:
    """One operation of a driver, as one HTTP request that may take several attempts.

    Attributes:
        operation: The provider's name for it, such as "PutObject".
        method: HTTP method.
        origin: `https://host[:port]`; the signature and Host are made for exactly this origin.
        path: Percent-encoded, signed and sent unchanged; starts with "/".
        query: Decoded pairs, encoded once for signing and sending.
        headers: By lower-case name.
        body: What to send.
        body_sha256: Its SHA-256 in hex; None to compute it, or to leave a stream unsigned.
        region: The region to sign for, where the signature names one.
        mutation: Whether an attempt without a definite response leaves the outcome open.
        replayable: Whether the body may be opened again.
        deadline: Instant of `time.monotonic()` for all attempts, or None.
        stream: Leave the body of a successful response open in `Reply.response`; the caller closes it.
        max_reply: Maximum size of a successful response that is not streamed, in bytes.
        probe: Send even to an endpoint whose circuit is open, to see how it is.
    """

    operation: str
    method: str
    origin: str
    path: str
    query: Sequence[tuple[str, str]] = field(default=(), repr=False)
    headers: Mapping[str, str] = field(default=NOTHING, repr=False)
    body: bytes | StreamBody | None = field(default=None, repr=False)
    body_sha256: str | None = None
    region: str = ""
    mutation: bool
    replayable: bool = True
    deadline: float | None = None
    stream: bool = False
    max_reply: int = 16 * 1024 * 1024
    probe: bool = False

    @property
    def length(self) -> int | None:
        """Bytes of the body, as Content-Length says; None for a stream of unknown length."""
        return self.body.length if isinstance(self.body, StreamBody) else len(self.body or b"")


@dataclass(slots=True)
class Signed:
    """What one attempt sends besides its call.

    Attributes:
        headers: To add, by lower-case name.
        query: To append to the call's own query, percent-encoded, without "?" or "&" before it.
        credentials: What was signed with; only for `Signer.renew`.
    """

    headers: Mapping[str, str] = field(repr=False)
    query: str = field(default="", repr=False)
    credentials: object = field(default=None, repr=False)


class Signer(Protocol):
    """Authenticates every attempt of an exchange; used by many calls at the same time.

    Attributes:
        signs_body: Whether the SHA-256 of a body that is in memory is needed; it is computed once for
            all attempts of a call.
    """

    signs_body: bool

    def sign_now(self, call: WireCall, body_sha256: str | None, now: float) -> Signed | None:  # noqa: ARG002
        """The same as `sign` where that need not wait for anybody; None where it may have to.

        Raises:
            StorageError: As `sign`.
        """
        return None

    async def sign(self, call: WireCall, body_sha256: str | None, now: float) -> Signed:
        """Sign one attempt. Cost: does not wait while credentials are cached.

        Args:
            call: What is sent: besides what is returned, exactly its headers and a Host header, its path, and
                `encode_query` of its query.
            body_sha256: In hex; that of no bytes if there is no body; None where the call has none and it was
                not computed: for a stream, and where `signs_body` is False.
            now: Unix seconds of the origin's clock, as far as it is known (P14).

        Raises:
            StorageError: There are no working credentials; nothing was sent.
        """
        ...

    async def renew(self, used: Signed) -> None:
        """Get newer credentials, after the cloud called those of `used` expired.

        Of concurrent calls, one does it; nothing is done where the current ones are newer than `used`, or
        cannot be renewed.

        Raises:
            StorageError: They could not be renewed.
        """
        ...

    async def expires_at(self) -> datetime | None:
        """When the current credentials expire, UTC; None if they do not, or if that is unknown.

        A link must not claim to outlive them.

        Raises:
            StorageError: There are no working credentials.
        """
        ...

    async def aclose(self) -> None:
        """Release everything; safe to call again."""
        ...
