"""Tokens that are fetched and end: what Azure's Entra ID and Google's OAuth have in common.

Rules of this file: no cloud's package is imported here; a token is revealed where a request is signed and
nowhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from credstore.encryption import Secret
from credstore.model import NOTHING
from credstore.wire.renewing import Renewed
from credstore.wire.signer import Signed, Signer, WireCall


@dataclass(frozen=True, slots=True)
class Token:
    """One access token.

    Attributes:
        value: The token itself.
        expires_at: When it ends, UTC.
        headers: What else is sent with it.
    """

    value: Secret
    expires_at: datetime
    headers: Mapping[str, str] = field(default=NOTHING)


class TokenSource(Protocol):
    """Where an exchange gets the token of each attempt."""

    def ready(self) -> Token | None:
        """A token that works now, if there is one without waiting; else None."""
        return None

    async def get(self) -> Token:
        """A token that works now; cheap while it is cached."""
        ...

    async def refresh(self) -> Token:
        """A newer one, after the service called the current one expired."""
        ...

    async def aclose(self) -> None:
        """Release everything; safe to call again."""
        ...


class RenewedTokens(TokenSource):
    """Tokens from one piece of blocking work, asked for again before each ends.

    Cancellation: ends only the caller's wait; others keep waiting for the same token.
    """

    def __init__(
        self, ask: Callable[[], Token], *, early: timedelta, now: Callable[[], datetime] | None = None
    ) -> None:
        """Ask for nothing yet.

        Args:
            ask: Blocks, so it runs in a daemon thread.
            early: How long before its end a token is renewed.
            now: The present, timezone-aware; None for the machine's clock.
        """
        self._renewed = Renewed(ask, _ends, early=early, now=now)

    def ready(self) -> Token | None:
        """The token, where it has some time left."""
        return self._renewed.ready()

    async def get(self) -> Token:
        """A token that has some time left, or the best available.

        Raises:
            StorageConfigurationError: There is no way to sign in.
            StorageAuthenticationError: Signing in failed.
        """
        return await self._renewed.get()

    async def refresh(self) -> Token:
        """A newer token; concurrent callers share one. Raises what `get` raises."""
        return await self._renewed.refresh()

    async def aclose(self) -> None:
        """Forget the token; a later `get` asks for one again."""
        self._renewed.forget()


def _ends(token: Token) -> datetime:
    return token.expires_at


class BearerSigner(Signer):
    """A token in a header of every request."""

    signs_body = False

    def __init__(self, source: TokenSource) -> None:
        """Own `source`, which is closed with the signer."""
        self._source = source
        self._renewing = asyncio.Lock()

    def sign_now(self, call: WireCall, body_sha256: str | None, now: float) -> Signed | None:  # noqa: ARG002
        """Add the token where there is one; see `Signer.sign_now`."""
        token = self._source.ready()
        return None if token is None else self._with(call, token)

    async def sign(self, call: WireCall, body_sha256: str | None, now: float) -> Signed:  # noqa: ARG002
        """Add the token; see `Signer.sign`."""
        return self._with(call, await self._source.get())

    def _with(self, call: WireCall, token: Token) -> Signed:  # noqa: ARG002 - a subclass looks at it
        return Signed({**token.headers, "authorization": f"Bearer {token.value.reveal()}"}, "", token)

    async def renew(self, used: Signed) -> None:
        """Ask the source for a newer one, unless it already has one; see `Signer.renew`."""
        async with self._renewing:
            if await self._source.get() == used.credentials:
                await self._source.refresh()

    async def expires_at(self) -> datetime | None:
        """When the token ends."""
        return (await self._source.get()).expires_at

    async def aclose(self) -> None:
        """Close the source; safe to call again."""
        await self._source.aclose()


class AnonymousSigner(Signer):
    """No credentials at all: for emulators, and for buckets that are open to the public."""

    signs_body = False
    waits = False

    def sign_now(self, call: WireCall, body_sha256: str | None, now: float) -> Signed:  # noqa: ARG002
        """Add nothing."""
        return Signed({})

    async def sign(self, call: WireCall, body_sha256: str | None, now: float) -> Signed:
        """Add nothing."""
        return self.sign_now(call, body_sha256, now)

    async def renew(self, used: Signed) -> None:
        """Do nothing, as there is nothing to renew."""

    async def expires_at(self) -> datetime | None:
        """Never."""
        return None

    async def aclose(self) -> None:
        """Do nothing, as there is nothing to release."""
