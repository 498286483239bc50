"""Tokens of Entra ID (Azure AD), from azure-identity's own chain or from one of its credentials.

Rules of this file: azure-identity is imported when the first token is needed; its blocking code runs in a
daemon thread; only the class of its errors is reported, since their texts may repeat a response or a
process's output, and nothing that it logs meanwhile is let through.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from credstore.encryption import Secret
from credstore.errors import ErrorCode, StorageAuthenticationError, StorageConfigurationError, StorageError
from credstore.extras import missing_extra, require_extra
from credstore.wire.renewing import Renewed

SCOPE = "https://storage.azure.com/.default"
"""What the tokens are for, in all of Azure's clouds."""
EARLY = timedelta(minutes=5)
"""How long before its end a token is renewed; azure-identity caches it until then too."""
_NEEDING = "without `account_key`, `sas_token` and `connection_string`, Entra ID is used, which needs"
_TALKATIVE = ("azure", "msal", "urllib3")


@dataclass(frozen=True, slots=True)
class Token:
    """One access token, and when it ends, UTC."""

    value: Secret
    expires_at: datetime


class AccessToken(Protocol):
    """What azure-identity's credentials return."""

    @property
    def token(self) -> str:
        """The token itself."""
        ...

    @property
    def expires_on(self) -> int:
        """Unix seconds."""
        ...


class TokenCredential(Protocol):
    """Any of azure-identity's synchronous credentials."""

    def get_token(self, *scopes: str) -> AccessToken:
        """A token for these scopes; blocks."""
        ...


class TokenSource(Protocol):
    """Where an exchange gets the token of each attempt."""

    async def get(self) -> Token:
        """A token that works now; cheap while it is cached."""
        ...

    async def refresh(self) -> Token:
        """A newer one, after the service called the current one expired."""
        ...

    async def aclose(self) -> None:
        """Release everything; safe to call again."""
        ...


class EntraTokens(TokenSource):
    """Environment, workload identity, managed identity, Azure CLI and what else azure-identity's chain has.

    Cancellation: ends only the caller's wait; others keep waiting for the same token.
    """

    def __init__(
        self, credential: TokenCredential | None = None, *, now: Callable[[], datetime] | None = None
    ) -> None:
        """Ask for nothing yet.

        Args:
            credential: One of azure-identity's synchronous credentials, or None for its default chain.
            now: The present, timezone-aware; None for the machine's clock.

        Raises:
            StorageConfigurationError: The extra `azure` is missing.
        """
        if credential is None:
            require_extra("azure", _NEEDING)
        self._renewed = Renewed(lambda: _ask(credential), _ends, early=EARLY, now=now)

    async def get(self) -> Token:
        """A token with five minutes left, or the best available.

        Raises:
            StorageConfigurationError: Nothing in the chain can sign in.
            StorageAuthenticationError: Signing in failed.
        """
        return await self._renewed.get()

    async def refresh(self) -> Token:
        """A newer token; concurrent callers share one.

        Raises:
            StorageConfigurationError: Nothing in the chain can sign in.
            StorageAuthenticationError: Signing in failed.
        """
        return await self._renewed.refresh()

    async def aclose(self) -> None:
        """Forget the token; a later `get` asks for one again."""
        self._renewed.forget()


def _ends(token: Token) -> datetime:
    return token.expires_at


def _ask(credential: TokenCredential | None) -> Token:
    """Ask once, in the calling thread."""
    failure: StorageError
    try:
        with _hushed():
            found = (_chain() if credential is None else credential).get_token(SCOPE)
            return Token(Secret(found.token), datetime.fromtimestamp(found.expires_on, UTC))
    except StorageError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the chain's many parts raise becomes our own error
        kind = type(error).__name__
    if kind == "CredentialUnavailableError":
        failure = StorageConfigurationError(
            "no way to sign in to Entra ID: run `az login`, set AZURE_CLIENT_ID, AZURE_TENANT_ID and "
            "AZURE_CLIENT_SECRET, or pass `account_key`, `sas_token` or `connection_string`",
            code=ErrorCode.NO_CREDENTIALS,
        )
    else:
        failure = StorageAuthenticationError(
            f"signing in to Entra ID failed ({kind}); try `az account get-access-token --resource "
            "https://storage.azure.com` in the same environment",
            retryable=kind in {"ServiceRequestError", "ServiceResponseError"},
        )
    raise failure


def _chain() -> TokenCredential:
    try:
        from azure.identity import DefaultAzureCredential
    except ImportError as error:
        raise missing_extra("azure", _NEEDING) from error
    # A new one each time: it looks at the environment and files again, while an old one keeps its choice.
    return DefaultAzureCredential()


@contextmanager
def _hushed() -> Generator[None]:
    """Keep this thread's requests and responses out of the log, whatever level the application has chosen."""
    thread = threading.get_ident()

    def from_elsewhere(record: logging.LogRecord) -> bool:
        return record.thread != thread

    known = [name for name in list(logging.root.manager.loggerDict) if name.startswith(_TALKATIVE)]
    loggers = [logging.getLogger(name) for name in {*known, *_TALKATIVE}]
    for logger in loggers:
        logger.addFilter(from_elsewhere)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(from_elsewhere)
