"""What a key ring holds: keys that wrap data keys, and what goes wrong with them.

Rules of this file: a wrapping key never encrypts an object, it only wraps 32 random bytes. What does
not unwrap is `undecryptable()`, the same error as everything else that does not decrypt (P22);
what keeps a key service from responding is an error of its own, so that it can be reported and retried.
"""

from __future__ import annotations

import hmac
import inspect
from collections.abc import Awaitable, Callable
from functools import cache
from typing import NoReturn, Protocol

from credstore.arguments import typed_class
from credstore.concurrency import apart
from credstore.encryption import DATA_KEY, Secret
from credstore.errors import ErrorCode, StorageConfigurationError, StorageError, StorageUnavailableError
from credstore.pipeline.header import MAX_KEY_ID, MAX_WRAPPED, is_key_id, undecryptable
from credstore.threads import in_daemon

Wrap = Callable[[bytes], bytes] | Callable[[bytes], Awaitable[bytes]]


class WrappingKey(Protocol):
    """One key of a ring.

    Attributes:
        key_id: What objects carry to name it: 1 to 255 printable ASCII characters without blanks.
        remote: Unwrapping asks another machine, so the ring remembers results for a while.
    """

    @property
    def key_id(self) -> str:
        """See the class."""
        ...

    @property
    def remote(self) -> bool:
        """See the class."""
        ...

    async def generate(self, random: Callable[[int], bytes], store_id: str) -> tuple[bytes, bytes]:
        """A fresh data key of 32 bytes, and its wrapped form."""
        ...

    async def wrap(self, plain: bytes, store_id: str) -> bytes:
        """The wrapped form of a data key."""
        ...

    async def unwrap(self, wrapped: bytes, store_id: str) -> bytes:
        """The data key.

        Raises:
            StorageDecryptionError: This key did not wrap it.
            StorageError: The key service did not respond; see `retryable`.
        """
        ...

    async def aclose(self) -> None:
        """Close connections; the key may be used again."""
        ...


def checked_id(key_id: str) -> str:
    """The id, if it can name a key.

    Raises:
        StorageConfigurationError: It cannot.
    """
    if not is_key_id(key_id):
        raise StorageConfigurationError(
            f"the id of a wrapping key has 1 to {MAX_KEY_ID} printable ASCII characters without blanks"
        )
    return key_id


class KeyWrap:
    """AES-256 key wrap (RFC 3394) with a key that never leaves this object."""

    __slots__ = ("__key",)

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:  # noqa: PLR2004 - AES-256
            raise StorageConfigurationError(f"a wrapping key has 32 bytes, but this one has {len(key)}")
        self.__key = key

    def wrap(self, plain: bytes) -> bytes:
        """40 bytes."""
        return _key_wrap()[0](self.__key, plain)

    def unwrap(self, wrapped: bytes) -> bytes:
        """The 32 bytes, or `undecryptable()`."""
        _, unwrap, refused = _key_wrap()
        try:
            plain = unwrap(self.__key, wrapped)
        except refused:
            raise undecryptable() from None
        return plain

    def fingerprint(self) -> str:
        """16 hex digits that follow from the key and reveal nothing about it."""
        return hmac.digest(self.__key, b"credstore key id", "sha256")[:8].hex()

    def __reduce__(self) -> NoReturn:
        message = "a wrapping key is never pickled or copied"
        raise TypeError(message)


@cache
def _key_wrap() -> tuple[
    Callable[[bytes, bytes], bytes], Callable[[bytes, bytes], bytes], tuple[type[Exception], ...]
]:
    from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

    return aes_key_wrap, aes_key_unwrap, (InvalidUnwrap, ValueError)


@typed_class
class CallableKey:
    """Wraps with two callables of your own, such as those of a hardware module or another key service.

    They take and return bytes, as plain functions or coroutines; plain ones run in a thread. `wrap` gets
    32 bytes and returns up to 6,144. `unwrap` raises ValueError (or cryptography's InvalidTag or
    InvalidUnwrap) for what it did not wrap; any other exception means that it could not find out, and
    reaches users as `StorageUnavailableError` with only the name of the exception's class, since its text
    may hold secrets. A `StorageError` passes through, without its traceback, whose frames may hold them too.
    """

    __slots__ = ("_unwrap", "_wrap", "key_id", "remote")

    def __init__(self, key_id: str, wrap: Wrap, unwrap: Wrap, *, remote: bool = False) -> None:
        """Hold the callables.

        Args:
            key_id: What objects carry to name the key.
            wrap: Encrypts a data key.
            unwrap: Undoes `wrap`.
            remote: Asks another machine, so the ring should remember results for a while.

        Raises:
            StorageConfigurationError: The id cannot name a key.
        """
        self.key_id = checked_id(key_id)
        self.remote = remote
        self._wrap = wrap
        self._unwrap = unwrap

    async def generate(self, random: Callable[[int], bytes], store_id: str) -> tuple[bytes, bytes]:
        """See `WrappingKey`."""
        held = Secret(random(DATA_KEY).hex())
        wrapped = await self.wrap(bytes.fromhex(held.reveal()), store_id)
        return bytes.fromhex(held.reveal()), wrapped

    async def wrap(self, plain: bytes, store_id: str) -> bytes:  # noqa: ARG002 - the envelope binds the store
        """See `WrappingKey`."""
        held = Secret(plain.hex())
        del plain  # Not in a traceback.
        got = await _outcome(self._wrap, held)
        if isinstance(got, StorageError):
            raise got
        if isinstance(got, bytes) and 0 < len(got) <= MAX_WRAPPED:
            return got
        how = f"{len(got)} bytes" if isinstance(got, bytes) else got.__name__
        del got
        raise _unavailable(self.key_id, "wrap", how)

    async def unwrap(self, wrapped: bytes, store_id: str) -> bytes:  # noqa: ARG002 - as above
        """See `WrappingKey`."""
        got = await _outcome(self._unwrap, Secret(wrapped.hex()))
        if isinstance(got, bytes):
            return got
        if isinstance(got, StorageError):
            raise got
        if issubclass(got, ValueError) or got.__name__ in {"InvalidTag", "InvalidUnwrap"}:
            raise undecryptable()
        raise _unavailable(self.key_id, "unwrap", got.__name__)

    async def aclose(self) -> None:
        """Nothing to release."""

    def __repr__(self) -> str:
        return f"CallableKey({self.key_id!r})"

    def __reduce__(self) -> NoReturn:
        message = "a wrapping key is never pickled or copied"
        raise TypeError(message)


async def _outcome(function: Wrap, data: Secret) -> bytes | StorageError | type[Exception]:
    """What a user's function made of bytes in hex, or what it raised: of another's error, only the class."""
    call = await apart(_called(function, data))
    error = call.error
    if error is None:
        return call.value
    if isinstance(error, StorageError):
        return error.with_traceback(None)  # In its frames is what is not to be shown.
    return type(error)


async def _called(function: Wrap, data: Secret) -> bytes:
    if inspect.iscoroutinefunction(function):
        given: object = await function(bytes.fromhex(data.reveal()))
    else:
        # Not in the pool, whose threads are waited for when the interpreter ends.
        given = await in_daemon(lambda: function(bytes.fromhex(data.reveal())))
        if inspect.isawaitable(given):
            given = await given
    if not isinstance(given, bytes):
        raise TypeError(type(given).__name__)
    return given


def _unavailable(key_id: str, what: str, how: str) -> StorageUnavailableError:
    return StorageUnavailableError(
        f"the {what} function of the key {key_id!r} failed ({how})", code=ErrorCode.KEY_SERVICE_FAILED
    )
