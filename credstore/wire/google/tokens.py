"""Google's access tokens, from google-auth's own chain or from credentials that are given.

Rules of this file: google-auth is imported when the first token is needed; its blocking code runs in a
daemon thread; only the class of its errors is reported, since their texts may repeat a response or a file,
and nothing that it logs meanwhile is let through.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from credstore.encryption import Secret
from credstore.errors import ErrorCode, StorageAuthenticationError, StorageConfigurationError, StorageError
from credstore.extras import missing_extra, require_extra
from credstore.threads import in_daemon
from credstore.wire.quiet import hushed
from credstore.wire.tokens import RenewedTokens, Token, TokenSource

T = TypeVar("T")
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
"""What the tokens are for; IAM decides what may be done with them."""
EARLY = timedelta(minutes=4)
"""How long before its end a token is renewed: a little later than metadata servers make a new one."""
_NEEDING = "Google's credentials need"
_TALKATIVE = ("google", "urllib3")
_OAUTH_CODE = re.compile(
    r"(?:invalid_(?:request|client|grant|scope)|unauthorized_client|unsupported_grant_type|access_denied)\b"
)
"""Error codes of OAuth 2.0 (RFC 6749), with which google-auth's text begins."""
_LINKS = (
    "links need a service account: use its key file, or set `impersonate` to one for which the user has the "
    "role Service Account Token Creator"
)


class GoogleCredentials(Protocol):
    """Any of google-auth's credentials."""

    token: str | None
    expiry: datetime | None

    def refresh(self, request: Any) -> None:
        """Get a token; blocks."""
        ...


class GoogleSource(TokenSource, Protocol):
    """Tokens, and signatures of the account that they are for."""

    async def account(self) -> str:
        """E-mail address of the service account that signs."""
        ...

    async def sign(self, text: bytes) -> bytes:
        """An RSA-SHA256 signature of that account."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which credentials to use; all None for google-auth's default chain.

    Attributes:
        file: Path of a file in JSON: a service account's key, workload identity federation, or a user's.
        info: What such a file holds, as JSON.
        impersonate: Service account to act as, by way of these.
    """

    file: str | None = None
    info: Secret | None = None
    impersonate: str | None = None


class GoogleTokens(RenewedTokens, GoogleSource):
    """Service account, workload identity, metadata server, gcloud's user, and what else google-auth knows.

    Cancellation: ends only the caller's wait; others keep waiting for the same token.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        credentials: GoogleCredentials | None = None,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        """Ask for nothing yet.

        Args:
            identity: Whom to sign in as.
            credentials: One of google-auth's own instead.
            now: The present, timezone-aware; None for the machine's clock.

        Raises:
            StorageConfigurationError: The extra `gcs` is missing.
        """
        if credentials is None:
            require_extra("gcs", _NEEDING)
        self._identity = identity
        self._credentials = credentials
        self._account: str | None = None
        super().__init__(self._ask, early=EARLY, now=now)

    async def account(self) -> str:
        """The service account that signs; looked up once.

        Raises:
            StorageConfigurationError: These credentials are not a service account's.
            StorageAuthenticationError: Who they are of cannot be found out.
        """
        if self._account is not None:
            return self._account
        found: str = await in_daemon(lambda: _careful(self._signer_account))
        self._account = found
        return found

    async def sign(self, text: bytes) -> bytes:
        """A signature with the service account's key, or by IAM's signBlob where the key is Google's.

        Raises:
            StorageConfigurationError: These credentials are not a service account's.
            StorageAuthenticationError: IAM did not sign.
        """
        account = await self.account()
        return await in_daemon(lambda: _careful(lambda: self._signature(account, text)))

    def _ask(self) -> Token:
        return _careful(self._token)

    def _token(self) -> Token:
        credentials = self._found()
        credentials.refresh(_request())
        expiry = credentials.expiry or datetime.now(UTC) + timedelta(hours=1)
        quota: str | None = getattr(credentials, "quota_project_id", None)
        return Token(
            Secret(credentials.token or ""),
            expiry.replace(tzinfo=UTC),  # google-auth's times are UTC without saying so.
            {"x-goog-user-project": quota} if quota else {},
        )

    def _found(self) -> Any:
        if self._credentials is None:
            self._credentials = _found(self._identity)
        return self._credentials

    def _signer_account(self) -> str:
        found = self._found()
        account: str | None = getattr(found, "signer_email", None)
        if not account:
            account = getattr(found, "service_account_email", None)
        if account == "default":
            found.refresh(_request())  # Only then does the metadata server say which account it is.
            account = getattr(found, "service_account_email", None)
        if not account:
            raise StorageConfigurationError(_LINKS)
        return account

    def _signature(self, account: str, text: bytes) -> bytes:
        found = self._found()
        own = hasattr(found, "sign_bytes") and bool(getattr(found, "signer_email", None))
        signer: Any = found if own else _module("google.auth.iam").Signer(_request(), found, account)
        signature: bytes = signer.sign_bytes(text) if own else signer.sign(text)
        return signature


def _careful(work: Callable[[], T]) -> T:
    """What the work returns; its failures as our own errors, and without their texts."""
    failure: StorageError
    try:
        with hushed(*_TALKATIVE):
            return work()
    except StorageError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the chain's many parts raise becomes our own error
        kind, passing = type(error).__name__, bool(getattr(error, "retryable", False))
        code = _OAUTH_CODE.match(str(error.args[0])) if kind == "RefreshError" and error.args else None
        late = kind == "RefreshError" and "iat and exp" in str(error)
    if kind == "DefaultCredentialsError":
        failure = StorageConfigurationError(
            "no Google credentials: run `gcloud auth application-default login`, set "
            "GOOGLE_APPLICATION_CREDENTIALS, or pass `credentials_file`",
            code=ErrorCode.NO_CREDENTIALS,
        )
    elif late:
        failure = StorageAuthenticationError(
            "this machine's clock is too far from Google's to sign in; correct it", code=ErrorCode.CLOCK_SKEW
        )
    else:
        failure = StorageAuthenticationError(
            f"signing in to Google failed ({kind}); try `gcloud auth application-default "
            "print-access-token` in the same environment",
            provider_code=None if code is None else code[0],
            retryable=passing or kind == "TransportError",
        )
    raise failure


def _module(name: str) -> Any:
    """One of google-auth's modules, which has few types."""
    try:
        return import_module(name)
    except ImportError as error:
        raise missing_extra("gcs", _NEEDING) from error


def _request() -> Any:
    return _module("google.auth.transport.requests").Request()


def _found(identity: Identity) -> Any:
    """Credentials that are not refreshed yet."""
    if identity.info is not None or identity.file is not None:
        found = _told(_read(identity))
    else:
        found = _module("google.auth").default(scopes=[SCOPE])[0]
    if identity.impersonate is None:
        return found
    return _module("google.auth.impersonated_credentials").Credentials(
        source_credentials=found, target_principal=identity.impersonate, target_scopes=[SCOPE]
    )


def _read(identity: Identity) -> Mapping[str, Any]:
    """What the file or text says."""
    said: object
    try:
        if identity.info is not None:
            said = json.loads(identity.info.reveal())
        else:
            said = json.loads(Path(identity.file or "").expanduser().read_text("utf-8"))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StorageConfigurationError(
            f"the file of Google's credentials cannot be read ({reason}); check `credentials_file`",
            code=ErrorCode.NO_CREDENTIALS,
        ) from None
    except (ValueError, RecursionError):
        said = None
    told = cast("dict[str, Any]", said) if isinstance(said, dict) else {}
    if isinstance(told.get("type"), str):
        return told
    del said, told  # So that no traceback has it.
    raise StorageConfigurationError(
        "what is given as Google's credentials is not the JSON of a service account's key, or of "
        'another kind that has a "type"',
        code=ErrorCode.NO_CREDENTIALS,
    )


def _told(info: Mapping[str, Any]) -> Any:
    """Credentials of the kind that the JSON names."""
    try:
        return _loaded(info)
    except StorageError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever google-auth raises for an invalid key
        kind = type(error).__name__
    del info  # So that no traceback has it.
    raise StorageConfigurationError(
        f"Google's credentials are damaged, or lack something that their type needs ({kind}); get them again",
        code=ErrorCode.NO_CREDENTIALS,
    )


def _loaded(info: Mapping[str, Any]) -> Any:
    if info["type"] == "service_account":
        kind = _module("google.oauth2.service_account").Credentials
        return kind.from_service_account_info(info, scopes=[SCOPE])
    if info["type"] == "authorized_user":
        return _module("google.oauth2.credentials").Credentials.from_authorized_user_info(info)
    with warnings.catch_warnings():
        # It warns of files of unknown origin; this one was named by whoever made the store.
        warnings.simplefilter("ignore", DeprecationWarning)
        return _module("google.auth").load_credentials_from_dict(info, scopes=[SCOPE])[0]
