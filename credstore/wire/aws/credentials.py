"""Who signs: credentials, and where they come from.

Rules of this file: with explicit keys botocore is never imported; the chain (files, processes, network) runs
in a daemon thread with its own event loop, so it blocks neither the caller's nor the interpreter's end;
everyone who waits for a renewal waits for the same one, and where the last one stops, the programs that it
started are killed; only the class of a chain error is reported, since
its text may repeat a process's output.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol, cast

from credstore.encryption import Secret
from credstore.errors import ErrorCode, StorageAuthenticationError, StorageConfigurationError
from credstore.extras import missing_extra, require_extra
from credstore.wire.aws.profile import no_profile, told
from credstore.wire.child_processes import ChildLoop
from credstore.wire.quiet import hushed
from credstore.wire.waiting import Shared, abandonment

_NEEDING = "without `access_key_id` and `secret_access_key`, AWS's own credential chain is used, which needs"
EARLY = timedelta(minutes=10)
"""Seconds before expiry at which they are renewed; botocore's mandatory window."""
PAUSE = timedelta(minutes=1)
"""Time between two attempts to get newer ones while the current ones still work: an instance's metadata
service serves the old ones until five minutes before they expire."""
PATIENCE = 1.0
"""Seconds to wait for newer ones while the current ones still work; the search continues by itself."""
LONGEST_SESSION = timedelta(hours=36)
"""Length of a session whose end is unknown: the longest that AWS's GetSessionToken gives."""
_TALKATIVE = (
    "botocore",
    "botocore.credentials",
    "botocore.tokens",
    "aiobotocore",
    "aiobotocore.credentials",
    "aiobotocore.tokens",
    "botocore.auth",
    "botocore.endpoint",
    "botocore.hooks",
    "botocore.httpsession",
    "botocore.parsers",
    "botocore.utils",
    "aiobotocore.endpoint",
)
"""Loggers that show requests and responses at DEBUG; a response from STS contains the new secret."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """One set of keys.

    Attributes:
        access_key_id: The public half.
        secret_access_key: The secret half.
        session_token: Of temporary credentials.
        expires_at: When they expire, UTC; None if they do not, or if that is unknown.
    """

    access_key_id: str
    secret_access_key: Secret
    session_token: Secret | None = None
    expires_at: datetime | None = None


class CredentialSource(Protocol):
    """Where an exchange gets the credentials of each attempt."""

    async def get(self) -> Credentials:
        """Credentials that work now; cheap when they are cached."""
        ...

    def ready(self) -> Credentials | None:
        """The same where no one has to be waited for; None where `get` may have to wait.

        Raises:
            StorageError: As `get`.
        """
        return None

    async def refresh(self) -> Credentials:
        """Newer credentials, after the provider called the current ones expired."""
        ...

    async def aclose(self) -> None:
        """Release everything; safe to call again."""
        ...


class StaticCredentials(CredentialSource):
    """Keys that never change; those with a session token end, and cannot be renewed here."""

    def __init__(self, credentials: Credentials, *, now: Callable[[], datetime] | None = None) -> None:
        """Take the keys.

        Args:
            credentials: The keys. A session token without `expires_at` ends in 36 hours.
            now: The present, timezone-aware; None for the machine's clock.
        """
        self._now = now or _present
        self._assumed = credentials.session_token is not None and credentials.expires_at is None
        if self._assumed:
            credentials = replace(credentials, expires_at=self._now() + LONGEST_SESSION)
        self._credentials = credentials

    async def get(self) -> Credentials:
        """The keys; see `ready`."""
        return self.ready()

    def ready(self) -> Credentials:
        """The keys.

        Raises:
            StorageAuthenticationError: Their session has ended (code "CREDENTIALS_EXPIRED").
        """
        ends = self._credentials.expires_at
        if ends is not None and ends <= self._now():
            raise StorageAuthenticationError(
                "the session token was given more than 36 hours ago and counts as ended; give a new one, or "
                "say in `session_expires_at` when it ends"
                if self._assumed
                else f"the session token ended at {ends.astimezone(UTC).isoformat()}; give a new one",
                code=ErrorCode.CREDENTIALS_EXPIRED,
            )
        return self._credentials

    async def refresh(self) -> Credentials:
        """The same keys, as `ready`."""
        return self.ready()

    async def aclose(self) -> None:
        """Do nothing, as there is nothing to release."""


class AwsChainCredentials(CredentialSource):
    """AWS's own chain: environment, profiles, SSO, assumed roles, web identity, container, instance.

    Renewed ten minutes before they expire. If a renewal fails or takes long while the current ones still
    work, those stay in use. Cost: one read of the files, process or service per renewal, none in between.

    Cancellation: ends only the caller's wait; others keep waiting for the same renewal. Where no one does, a
    `credential_process` is killed with its process group.
    """

    def __init__(
        self,
        *,
        profile: str | None,
        now: Callable[[], datetime] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Look nothing up yet.

        Args:
            profile: Named profile of the AWS configuration files; None for the chain's own choice.
            check: Called in the thread before every read; what it raises is raised instead.
            now: Returns the current time, timezone-aware; None for the machine's clock.

        Raises:
            StorageConfigurationError: The extra `aws` is missing.
        """
        require_extra("aws", _NEEDING)
        self._profile = profile
        self._now = now or _present
        self._current: Credentials | None = None
        self._look_again: datetime | None = None
        self._check = check
        self._looking = Shared(self._look)

    async def get(self) -> Credentials:
        """Credentials with ten minutes left, or the best available.

        Raises:
            StorageConfigurationError: No credentials, or no such profile.
            StorageAuthenticationError: The chain failed, for example because an SSO session has expired.
        """
        current = self._current
        if current is None or self._ended(current):
            return await self._renew()
        if not self._due(current):
            return current
        self._look_again = self._now() + PAUSE
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._renew(abandon=False)
        except (StorageAuthenticationError, StorageConfigurationError, TimeoutError):
            if self._ended(current):
                raise
            return current

    def ready(self) -> Credentials | None:
        """The current ones, unless they have ended or it is time to look for newer ones."""
        current = self._current
        return None if current is None or self._ended(current) or self._due(current) else current

    async def refresh(self) -> Credentials:
        """Go through the chain again; concurrent callers share one result.

        Raises:
            StorageConfigurationError: No credentials, or no such profile.
            StorageAuthenticationError: The chain failed, for example because an SSO session has expired.
        """
        return await self._renew()

    async def aclose(self) -> None:
        """Forget the credentials, end a search that no one waits for; a later `get` looks them up again."""
        self._current = None
        self._looking.forget()

    def _ended(self, current: Credentials) -> bool:
        return current.expires_at is not None and current.expires_at <= self._now()

    def _due(self, current: Credentials) -> bool:
        if current.expires_at is None:
            return False
        now = self._now()
        return now >= current.expires_at - EARLY and (self._look_again is None or now >= self._look_again)

    def _look(self) -> Credentials:
        self._check()
        return _resolve(self._profile)

    async def _renew(self, *, abandon: bool = True) -> Credentials:
        found = self._current = await self._looking.result(abandon=abandon)
        return found


def _present() -> datetime:
    return datetime.now(UTC)


def _resolve(profile: str | None) -> Credentials:
    """Go through the chain once, in the calling thread."""
    try:
        from aiobotocore.session import AioSession
        from botocore import exceptions as theirs
    except ImportError as error:
        raise missing_extra("aws", _NEEDING) from error

    async def ask() -> Credentials | None:
        loop = cast("ChildLoop", asyncio.get_running_loop())
        abandonment().on(partial(loop.abandon, asyncio.current_task()))
        try:
            return await look()
        except asyncio.CancelledError:
            await loop.children_gone()
            raise

    async def look() -> Credentials | None:
        # Always a new session: it reads files and services again, while an old one may cache the result.
        found = await AioSession(profile=profile).get_credentials()
        if found is None:
            return None
        keys = await found.get_frozen_credentials()
        # botocore has no public name for the expiry, and only renewable credentials have one.
        expires_at: datetime | None = getattr(found, "_expiry_time", None)
        token = Secret(keys.token) if keys.token else None
        return Credentials(keys.access_key, Secret(keys.secret_key), token, expires_at)

    try:
        with hushed(*_TALKATIVE), asyncio.Runner(loop_factory=ChildLoop) as runner:
            credentials = runner.run(ask())
    except asyncio.CancelledError:
        failure: Exception = StorageAuthenticationError(
            "the search for AWS credentials was given up, since no one waited for it", retryable=True
        )
    except theirs.ProfileNotFound:
        failure = no_profile(profile)
    except Exception as error:  # noqa: BLE001 - whatever the chain's many parts raise becomes our own error
        failure = StorageAuthenticationError(
            f"AWS's credential chain failed ({told(type(error).__name__)}); try "
            "`aws sts get-caller-identity` with the same profile, and `aws sso login` if it uses SSO",
            retryable=isinstance(error, (theirs.ConnectionError, theirs.HTTPClientError)),
        )
    else:
        if credentials is not None:
            return credentials
        failure = StorageConfigurationError(
            "no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or pass "
            "`access_key_id` and `secret_access_key`",
            code=ErrorCode.NO_CREDENTIALS,
        )
    raise failure
