"""Looking at a store step by step, from its name to a link in the hands of a stranger.

Rules of this file: a step whose ground is missing is reported as not tried, with what it waits for. What is
stored for a trial has a random key of its own, and is removed again, every version of it. Nothing that is
reported contains a secret; of a link, only its host is shown.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from secrets import token_hex
from urllib.parse import urlsplit

from credstore.concurrency import in_thread
from credstore.config.chained import located_once
from credstore.config.settings import CommonConfig
from credstore.doctor.findings import CURES, Finding, State, failed
from credstore.doctor.permissions import cure_of
from credstore.doctor.settings import shortened
from credstore.errors import (
    ErrorCode,
    StorageAccessDeniedError,
    StorageAuthenticationError,
    StorageBucketNotFoundError,
    StorageConfigurationError,
    StorageDecryptionError,
    StorageError,
    StorageObjectNotFoundError,
    StorageReadOnlyError,
)
from credstore.model import SignedUrl
from credstore.provider.provider import StorageProvider
from credstore.provider.stored_form import session_of
from credstore.wire.failures import connection_error
from credstore.wire.http import HttpClient
from credstore.wire.proxy import ProxyRules
from credstore.wire.transport import HttpRequest, WireError

_BODY = b"credstore doctor: may be deleted\n"
_LIMIT = 64 * 1024
_NOTICED, _REFUSED = 60.0, 15 * 60.0
"""Seconds that the clock may be off before it is mentioned, and before clouds refuse what it signs."""
_OK = 200
_FOLDER = "make the folder, or check its path"
_OTHER_KEY = (
    "take the key, the store id and the prefix that it was stored with; what was stored in plain text is "
    "read without encryption (--wrapping-key off)"
)
_TRIAL = "credstore-doctor"
_WORDS = {"get_metadata": "look up", "retrieve": "read"}


@dataclass(frozen=True, slots=True)
class _Got:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Examination:
    """One look at one store."""

    def __init__(
        self,
        provider: StorageProvider,
        *,
        writing: bool = True,
        timeout: float = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Touch nothing yet.

        Args:
            provider: The store; not closed here.
            writing: Whether to store something for a trial.
            timeout: Seconds for one step.
            clock: Unix seconds of this machine.
        """
        self._provider = provider
        self._writing = writing
        self._timeout = timeout
        self._clock = clock
        self._key = f"{_TRIAL}-{token_hex(8)}"

    @property
    def _config(self) -> CommonConfig:
        return self._provider.config

    async def findings(self) -> AsyncGenerator[Finding, None]:
        """Each finding as soon as it is known; ends early where nothing further can be tried."""
        config = self._config
        if config.place_is_open:  # A profile of the AWS configuration has a say.
            try:
                config = await in_thread(located_once, config)
            except StorageError as error:
                yield failed("settings", error)
                return
        endpoint: str | None = getattr(config, "resolved_endpoint", None)
        if endpoint is not None:
            reached = True
            async for each in self._network(endpoint):
                reached = reached and each.state != "failed"
                yield each
            if not reached:
                yield Finding("bucket", "not tried", "the endpoint cannot be reached")
                return
        usable = True
        async for each in self._bucket():
            usable = usable and (each.state != "failed" or each.check.startswith("may "))
            yield each
        if not usable:
            yield Finding("permissions", "not tried", "first the above has to work")
            return
        async for each in self._trial():
            yield each

    async def _network(self, endpoint: str) -> AsyncGenerator[Finding, None]:
        host = urlsplit(endpoint).hostname or ""
        secure = endpoint.startswith("https:")
        try:
            date = (await self._ask(endpoint, "HEAD")).headers.get("date")
        except StorageError as error:
            yield failed("name" if error.code == ErrorCode.NAME_NOT_FOUND else "connection", error)
            return
        yield Finding("name", "ok", f"{host} is found")
        how = "by TLS, with a certificate that is trusted" if secure else "without TLS"
        state: State = "ok" if secure or _is_here(host) else "warning"
        cure = "" if state == "ok" else "use https, so that no one in between reads or changes anything"
        yield Finding("connection", state, f"{host} responds, {how}", cure)
        yield self._clock_of(date)

    def _clock_of(self, date: str | None) -> Finding:
        try:
            theirs = parsedate_to_datetime(date or "").timestamp()
        except ValueError:
            return Finding("clock", "not tried", "the endpoint does not say what time it is")
        off = self._clock() - theirs
        if abs(off) < _NOTICED:
            return Finding("clock", "ok", "this machine's clock agrees with the endpoint's")
        said = (
            f"this machine's clock is {abs(off):,.0f} s {'ahead of' if off > 0 else 'behind'} the endpoint's"
        )
        return Finding(
            "clock", "failed" if abs(off) > _REFUSED else "warning", said, CURES[ErrorCode.CLOCK_SKEW]
        )

    async def _bucket(self) -> AsyncGenerator[Finding, None]:
        """Credentials and bucket, by the cheapest request that needs both."""
        try:
            await self._provider.list("", 1)
        except StorageAccessDeniedError as error:
            yield self._accepted()
            yield failed("may list", error, cure_of("list", self._config))
            return
        except StorageAuthenticationError as error:
            yield failed("credentials", error)
            return
        except StorageBucketNotFoundError as error:
            if self._is_remote:
                yield self._accepted()
            yield failed("bucket", error, "" if self._is_remote else _FOLDER)
            return
        except StorageConfigurationError as error:
            check = "credentials" if error.code == ErrorCode.NO_CREDENTIALS else "bucket"
            yield failed(check, error, "" if self._is_remote else _FOLDER)
            return
        except StorageError as error:
            yield failed("bucket", error)
            return
        if self._is_remote:
            yield self._accepted()
        yield Finding("bucket", "ok", f"{_place_of(self._config)} is there")
        yield Finding("may list", "ok", "lists objects")
        if self._is_sealed:
            yield await self._opened()

    @property
    def _is_sealed(self) -> bool:
        return session_of(self._provider).policy is not None

    async def _opened(self) -> Finding:
        """Whether the keys are those of what is there already, by its first object."""
        there = await self._provider.list("", 1)
        if not there:
            return Finding("may decrypt", "not tried", "nothing has been stored there yet")
        try:
            async with self._provider.open(there[0].key) as reader:
                async for _ in reader:
                    break
        except StorageObjectNotFoundError:
            return Finding("may decrypt", "not tried", "what was there has just been removed")
        except StorageDecryptionError as error:
            return failed("may decrypt", error, _OTHER_KEY)
        except StorageAccessDeniedError as error:
            return failed("may decrypt", error, cure_of("retrieve", self._config))
        except StorageError as error:
            return failed("may decrypt", error)
        return Finding("may decrypt", "ok", "decrypts an object that is there")

    @property
    def _is_remote(self) -> bool:
        return getattr(self._config, "resolved_endpoint", None) is not None

    def _accepted(self) -> Finding:
        return Finding("credentials", "ok", f"accepted: {_who(self._config)}")

    async def _trial(self) -> AsyncGenerator[Finding, None]:
        """What these credentials may do, with one small object."""
        provider = self._provider
        if not self._writing or not provider.capabilities.writable or self._config.read_only:
            why = "the store is read-only" if self._writing else "--no-write"
            yield Finding("may store", "not tried", why)
            return
        stored = await self._may("store", "stores objects", lambda: provider.store(self._key, _BODY))
        yield stored
        if stored.state != "ok":
            return
        try:
            yield await self._may("get_metadata", "looks objects up", self._looked_up)
            yield await self._may("retrieve", "reads objects", self._read)
            yield await self._may(
                "copy", "copies objects in the store", lambda: provider.copy(self._key, f"{self._key}-copy")
            )
            yield await self._link()
        finally:
            left = await self._removed()
        yield left

    async def _may(self, verb: str, does: str, call: Callable[[], Awaitable[object]]) -> Finding:
        check = f"may {_WORDS.get(verb, verb)}"
        try:
            await call()
        except StorageReadOnlyError as error:
            return Finding(check, "not tried", error.message, CURES[ErrorCode.READ_ONLY])
        except StorageAccessDeniedError as error:
            return failed(check, error, cure_of(verb, self._config))
        except StorageError as error:
            return failed(check, error)
        return Finding(check, "ok", does)

    async def _looked_up(self) -> None:
        if await self._provider.get_metadata(self._key) is None:
            raise StorageError("what was stored just now is not found", key=self._key)

    async def _read(self) -> None:
        if await self._provider.retrieve(self._key) != _BODY:
            raise StorageError("what was stored just now reads differently", key=self._key)

    async def _link(self) -> Finding:
        """A link, opened as somebody without any credentials would."""
        if self._is_sealed:
            return Finding(
                "link", "not tried", "what is encrypted before it is sent has no links: strangers have no key"
            )
        try:
            link = await self._provider.get_signed_url(self._key, 60)
        except StorageAccessDeniedError as error:
            return failed("link", error, cure_of("link", self._config))
        except StorageError as error:
            return failed("link", error)
        host = urlsplit(link).netloc
        try:
            got = await self._ask(link, link.method, link)
        except StorageError as error:
            if self._is_remote:
                return failed("link", error)
            return Finding(
                "link", "not tried", f"nothing serves links at {host}", "start `credstore serve` there"
            )
        if got.status == _OK and got.body == _BODY:
            return Finding("link", "ok", f"a stranger can open one at {host}")
        return Finding(
            "link",
            "failed",
            f"a stranger who opens one at {host} gets the status {got.status}",
            cure_of("link", self._config),
        )

    async def _ask(self, url: str, method: str, link: SignedUrl | None = None) -> _Got:
        """One request without credentials."""
        proxies = ProxyRules.of(getattr(self._config, "proxy", None), os.environ)
        client = HttpClient(
            ca_file=getattr(self._config, "ca_file", None), connect_timeout=self._timeout, proxies=proxies
        )
        try:
            request = HttpRequest(method=method, url=url, headers=dict(link.headers) if link else {})
            response = await client.send(request, deadline=time.monotonic() + self._timeout)
            return _Got(response.status, dict(response.headers), await response.read(_LIMIT))
        except WireError as error:
            raise connection_error(error) from None
        finally:
            await client.aclose()

    async def _removed(self) -> Finding:
        """Take away what the trial has stored, in every version."""
        keys = [self._key, f"{self._key}-copy"]
        outcome = await self._provider.batch_delete(keys)
        if not outcome.failed and self._provider.capabilities.versions:
            erased = await self._provider.batch_delete(keys, all_versions=True)
            if erased.failed:
                said = _message_of(next(iter(erased.failed.values())))
                return Finding(
                    "may delete",
                    "warning",
                    f"deletes objects, but no versions: {said}",
                    cure_of("delete", self._config),
                )
        if not outcome.failed:
            return Finding("may delete", "ok", "deletes objects; the trial left nothing behind")
        key, error = next(iter(outcome.failed.items()))
        cure = f"{cure_of('delete', self._config)}; {key} is left of the trial"
        code = str(error.code) if isinstance(error, StorageError) else None
        return Finding("may delete", "failed", _message_of(error), cure, code)


def _message_of(error: Exception) -> str:
    return error.message if isinstance(error, StorageError) else type(error).__name__


def _is_here(host: str) -> bool:
    return host == "localhost" or host.startswith("127.") or host == "::1"


def _place_of(config: CommonConfig) -> str:
    named: object = getattr(config, "bucket", None) or getattr(config, "path", None) or "the store"
    return f"{named}/{config.prefix}".rstrip("/")


def _who(config: CommonConfig) -> str:
    """Whose credentials they are, by what is public about them."""
    key_id: str | None = getattr(config, "access_key_id", None)
    if key_id is not None:
        return f"the key {shortened(key_id)}"
    account: str | None = getattr(config, "account", None)
    for name, said in (
        ("account_key", f"the account key of {account}"),
        ("sas_token", f"a shared access signature of {account}"),
        ("credentials_file", "the credentials in `credentials_file`"),
        ("credentials_json", "the credentials in `credentials_json`"),
        ("profile", "a profile of the AWS configuration"),
    ):
        if getattr(config, name, None):
            return said
    return "what the provider's own tools have signed in with"
