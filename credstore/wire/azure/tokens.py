"""Tokens of Entra ID (Azure AD), from azure-identity's own chain or from one of its credentials.

Rules of this file: azure-identity is imported when the first token is needed; its blocking code runs in a
daemon thread; only the class of its errors is reported, since their texts may repeat a response or a
process's output, and nothing that it logs meanwhile is let through.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from credstore.encryption import Secret
from credstore.errors import ErrorCode, StorageAuthenticationError, StorageConfigurationError, StorageError
from credstore.extras import missing_extra, require_extra
from credstore.wire.quiet import hushed
from credstore.wire.tokens import RenewedTokens, Token

SCOPE = "https://storage.azure.com/.default"
"""What the tokens are for, in all of Azure's clouds."""
EARLY = timedelta(minutes=5)
"""How long before its end a token is renewed; azure-identity caches it until then too."""
_NEEDING = "without `account_key`, `sas_token` and `connection_string`, Entra ID is used, which needs"
_TALKATIVE = ("azure", "msal", "urllib3")
_ENTRA_CODE = re.compile(r"\bAADSTS[0-9]{4,9}\b")
"""The part of an error from Entra ID that says what is wrong and repeats nothing that was sent.

Source: "Microsoft Entra authentication and authorization error codes".
"""
_TRIED = "\n\t"
"""Before each of the credentials that the error of a chain lists."""


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


class EntraTokens(RenewedTokens):
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
        super().__init__(lambda: _ask(credential), early=EARLY, now=now)


def _ask(credential: TokenCredential | None) -> Token:
    """Ask once, in the calling thread."""
    failure: StorageError
    members: Sequence[object] = ()
    try:
        with hushed(*_TALKATIVE):
            asked = _chain() if credential is None else credential
            members = getattr(asked, "credentials", ())
            with hushed(*_TALKATIVE):  # Loading them has made more loggers.
                found = asked.get_token(SCOPE)
            return Token(Secret(found.token), datetime.fromtimestamp(found.expires_on, UTC))
    except StorageError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the chain's many parts raise becomes our own error
        kind = type(error).__name__
        # A chain ends at the first that fails, and passes over all that are not set up; it lists those tried.
        said = _ENTRA_CODE.search(str(error))
        none = bool(members) and str(error).count(_TRIED) >= len(members)
    if kind == "CredentialUnavailableError" or (kind == "ClientAuthenticationError" and none):
        failure = StorageConfigurationError(
            "no way to sign in to Entra ID: run `az login`, set AZURE_CLIENT_ID, AZURE_TENANT_ID and "
            "AZURE_CLIENT_SECRET, or pass `account_key`, `sas_token` or `connection_string`",
            code=ErrorCode.NO_CREDENTIALS,
        )
    else:
        failure = StorageAuthenticationError(
            f"signing in to Entra ID failed ({kind}); try `az account get-access-token --resource "
            "https://storage.azure.com` in the same environment",
            provider_code=None if said is None else said[0],
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
