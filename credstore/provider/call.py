"""One user's call: the checks before it, the facts of its errors, its event.

What all verbs share is here, once: refusing a closed provider, another event loop or a forked child (P17);
filling `provider`, `operation` and `key` of an error; turning unforeseen failures into a `StorageError`;
reporting the outcome to observers.
"""

from __future__ import annotations

import asyncio
import time
from asyncio import get_running_loop
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from contextvars import Token
from types import TracebackType
from typing import Protocol, Self, TypeAlias

from credstore import forks
from credstore.driver.refusals import read_only
from credstore.driver.values import Capabilities
from credstore.errors import ErrorCode, StorageError, StorageInvalidRequestError
from credstore.metrics import Counts, Metrics
from credstore.model import Progress
from credstore.observe import Event, Observer, notify
from credstore.wire.tally import listeners, noting


class Seen(Protocol):
    """A provider, as whoever is built on it sees it."""

    @property
    def capabilities(self) -> Capabilities:
        """What its store can do."""
        ...

    def get_provider_name(self) -> str:
        """Its label."""
        ...


class Lifetime:
    """From the first call of a provider, or of a store on one, to its close: its loop and its process."""

    def __init__(
        self,
        label: str,
        observers: tuple[Observer, ...],
        what: str = "provider",
        *,
        writable: Callable[[], bool],
        noted: bool = False,
    ) -> None:
        """Start unbound; the first call binds it.

        Args:
            label: The provider's label, for events and errors.
            observers: Called with an `Event` after each call.
            what: What a refusal says is closed.
            writable: Returns whether anything in the store may be changed.
            noted: Whether there is anything below that notes what it does, or makes requests.
        """
        self.label = label
        self.metrics = Metrics(label)
        self._writable = writable
        self.noted = noted
        self._what = what
        self.observers = observers
        self.closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._forks = forks.count
        self.running = 0
        """Calls that `close` waits for."""
        self._idle = asyncio.Event()
        self._closing = asyncio.Lock()
        self._released = False

    @classmethod
    def on(cls, provider: Seen, observers: tuple[Observer, ...], what: str) -> Self:
        """The lifetime of something on a provider, which can do what the provider can."""
        label = provider.get_provider_name()
        return cls(label, observers, what, writable=lambda: provider.capabilities.writable)

    def check(self, operation: str) -> None:
        """Refuse a call that could not succeed.

        Raises:
            StorageInvalidRequestError: Closed, forked, or on another event loop.
        """
        loop = get_running_loop()
        if loop is self._loop and not self.closed and self._forks == forks.count:
            return
        if self._forks != forks.count:
            self._refuse(
                ErrorCode.FORKED, "was made before this process was forked; make a new one here", operation
            )
        if self.closed:
            self._refuse(ErrorCode.CLOSED, "is closed; open a new one", operation)
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            self._refuse(
                ErrorCode.WRONG_LOOP, "belongs to another event loop; make one for each loop", operation
            )

    def check_writable(self, operation: str, key: str | None) -> None:
        """Refuse to change a store that was opened to be read.

        Raises:
            StorageReadOnlyError: It was.
        """
        if not self._writable():
            raise read_only(self.label).at(provider=self.label, operation=operation, key=key)

    def left(self) -> None:
        """The last counted call has ended after `close` began; none can begin any more."""
        self._idle.set()

    def _refuse(self, code: ErrorCode, why: str, operation: str) -> None:
        raise StorageInvalidRequestError(
            f"this {self._what} {why}", code=code, provider=self.label, operation=operation
        )

    async def close(self, release: Callable[[], Awaitable[None]]) -> None:
        """Refuse new calls, wait for those in progress, and release once; again if that was cut short.

        Args:
            release: Releases what the provider holds.
        """
        self.closed = True
        async with self._closing:
            if self._released:
                return
            if self.running and self._loop is asyncio.get_running_loop():
                await self._idle.wait()
            await release()
            self._released = True


Chain: TypeAlias = tuple[BaseException | None, BaseException | None, bool]
"""Cause and context of an exception, and whether the context is not to be shown."""


def chain_of(error: BaseException) -> Chain:
    """What an exception has been chained to so far."""
    return error.__cause__, error.__context__, error.__suppress_context__


def restore(error: BaseException, chain: Chain) -> None:
    """Chain an exception to what it was chained to, whoever has caught and raised it since."""
    error.__cause__, error.__context__, error.__suppress_context__ = chain


class _Outside:
    """A context around code of the user's; the first that it raises goes to the user as it is."""

    __slots__ = ("_call",)

    def __init__(self, call: Call) -> None:
        self._call = call

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A cancellation is of whoever cancels or leaves the call.
        if error is not None and not isinstance(error, asyncio.CancelledError | GeneratorExit):
            self._call.blame(error, chain_of(error))


class Call:
    """A context around one verb."""

    # What most calls leave as it is.
    _requests = 0
    _size = 0
    _start = 0.0
    _token: Token[tuple[Callable[[str], None], ...]] | None = None
    _noting: Token[Counts | None] | None = None
    _chain: Chain = (None, None, False)
    users: BaseException | None = None
    """What the user's own stream or callback raised first: it goes to the user as it is."""

    def __init__(
        self,
        lifetime: Lifetime,
        operation: str,
        key: str | None,
        *,
        mutation: bool = False,
        awaited: bool = True,
        wired: bool = False,
    ) -> None:
        """Describe the call.

        Args:
            lifetime: The provider's.
            operation: The user's verb.
            key: The object's key, or None.
            mutation: Whether an unforeseen failure may have left an effect.
            awaited: Whether closing the provider waits for it; not for a scan, which its user may hold open
                forever.
            wired: Whether it can have an effect only by requests over the wire.
        """
        self._lifetime = lifetime
        self._counts = lifetime.metrics.by_verb.get(operation) or lifetime.metrics.of(operation)
        self.wired = wired
        self.operation = operation
        self.key = key
        self.mutation = mutation
        self.awaited = awaited
        self.attributes: dict[str, object] = {}

    def watching(self, progress: Progress) -> Progress:
        """The same callback, which is not called again once anything of the user's has raised.

        What it raises goes to the user as it is, however many parts report their progress to it.
        """

        def watch(done: int, total: int | None) -> None:
            if self.users is not None:
                raise self.users
            try:
                progress(done, total)
            except BaseException as error:
                self.blame(error, chain_of(error))
                raise

        return watch

    def outside(self) -> AbstractContextManager[None]:
        """Around code of the user's; the first that it raises goes to the user as it is."""
        return _Outside(self)

    def blame(self, error: BaseException, chain: Chain) -> None:
        """Take note of what code of the user's raised, and of the causes it had; the first of it counts."""
        if self.users is None:
            self.users, self._chain = error, chain

    def explain(self, error: StorageError) -> StorageError:
        """Fill in the facts that only this call knows; an error of another provider's call has them."""
        if error.operation is not None:
            return error
        return error.at(provider=self._lifetime.label, operation=self.operation, key=self.key)

    def __enter__(self) -> Self:
        lifetime = self._lifetime
        lifetime.check(self.operation)
        if self.mutation:
            lifetime.check_writable(self.operation, self.key)
        if self.awaited:
            lifetime.running += 1
        if lifetime.noted and self.awaited:  # A scan shares its context with whoever iterates over it.
            self._noting = noting.set(self._counts)
            if self.wired:
                self._token = listeners.set((*listeners.get(), self._count))
        self._start = time.monotonic()
        return self

    def _count(self, operation: str) -> None:
        self._requests += 1
        self._counts.requests[operation] += 1

    def moved(self, size: int, plain_size: int | None = None, codec: str | None = None) -> None:
        """Record what was stored or read: stored bytes, plain bytes, and the codec."""
        self._size = size
        if self._lifetime.observers:
            self.attributes.update(size=size, plain_size=plain_size, codec=codec)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lifetime = self._lifetime
        if self.awaited:
            lifetime.running -= 1
            if lifetime.closed and not lifetime.running:
                lifetime.left()
        if self._noting is not None:
            noting.reset(self._noting)
        if self._token is not None:
            listeners.reset(self._token)
        if error is None and self.users is None:
            if lifetime.observers:
                self._ended(None)
            else:
                self._counts.ended(time.monotonic() - self._start, self._size, None)
            return
        if kind is GeneratorExit:  # Its user ended a scan early; nothing failed.
            self._ended(None)
            return
        failure: StorageError | None = None
        users = self.users  # Whatever came of it meanwhile, but for a cancel.
        if error is not users and not isinstance(error, Exception | BaseExceptionGroup):
            users = None
        if users is not None:
            kind = type(users)
            failure = self.explain(users) if isinstance(users, StorageError) else None
        elif isinstance(error, StorageError):
            failure = self.explain(error)
        elif isinstance(error, Exception):
            unsent = self.wired and not self._requests
            failure = self.explain(unforeseen(error, mutation=self.mutation and not unsent))
        self._ended(failure.code if failure else (kind.__name__ if kind else None))
        if users is not None:
            try:
                if users is not error:
                    raise users
            finally:
                restore(users, self._chain)  # Also the context, which raising it here has changed.
        elif failure is not None and failure is not error:
            raise failure from error

    def _ended(self, outcome: str | None) -> None:
        duration = time.monotonic() - self._start
        self._counts.ended(duration, self._size, outcome)
        if self._lifetime.observers:
            event = Event(
                name=f"credstore.{self.operation}",
                provider=self._lifetime.label,
                key=self.key,
                attributes=self.attributes,
                duration=duration,
                error=outcome,
            )
            notify(self._lifetime.observers, event)


def unforeseen(error: Exception, *, mutation: bool) -> StorageError:
    """The `StorageError` for an unforeseen failure; its text names only the type.

    Args:
        error: What was raised.
        mutation: Whether it may have left an effect.
    """
    memory = isinstance(error, MemoryError)
    return StorageError(
        "there is not enough memory for this call"
        if memory
        else f"an unforeseen {type(error).__name__} ended the call; please report its traceback",
        code=ErrorCode.OUT_OF_MEMORY if memory else ErrorCode.UNFORESEEN,
        applied="maybe" if mutation else "no",
    )
