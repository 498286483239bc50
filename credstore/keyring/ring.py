"""`KeyRing`: the wrapping keys of a store by id, and what they unwrapped recently.

Rules of this file: new objects get the current key, old ones are opened with the key they name,
and no other is ever tried. An unknown id is the same error as a wrong key (P22): a changed id is a
forgery like any other, and `knows` shows the owner what is missing. A remembered data key is found
only under all that it was unwrapped for; the envelope checks its commitment anyway.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from secrets import token_bytes
from types import MappingProxyType
from typing import TYPE_CHECKING, NoReturn, Self

from credstore.arguments import typed_class
from credstore.concurrency import Joint
from credstore.encryption import DATA_KEY, DataKey
from credstore.errors import StorageConfigurationError, StorageInvalidRequestError
from credstore.keyring.local import LocalKey
from credstore.keyring.wrapping import WrappingKey, checked_id
from credstore.pipeline.header import undecryptable

if TYPE_CHECKING:
    from types import TracebackType

_Place = tuple[int, str, str, bytes, bytes]
"""What a data key is remembered for: suite, store, key id, salt, wrapped key."""


@typed_class
@dataclass(frozen=True, slots=True)
class KeyCache:
    """How unwrapped data keys are remembered, so that a key service is not asked for each range.

    Attributes:
        size: Maximum number of data keys; the least recently used is forgotten first.
        max_age: Seconds after which one is forgotten.
        max_uses: Uses after which one is forgotten.
    """

    size: int = 1000
    max_age: float = 300.0
    max_uses: int = 1000

    def __post_init__(self) -> None:
        if self.size < 1 or self.max_uses < 1 or not 0 < self.max_age < float("inf"):
            raise StorageConfigurationError("a KeyCache needs a size, max_age and max_uses above zero")


@dataclass(slots=True)
class _Remembered:
    key: DataKey
    until: float
    uses: int


@typed_class
class KeyRing:
    """The wrapping keys of a store: one for new objects and those that older objects still need.

    Attributes:
        keys: All keys by id.
    """

    def __init__(
        self,
        current: WrappingKey,
        *,
        older: Iterable[WrappingKey] = (),
        cache: KeyCache | None = None,
        random: Callable[[int], bytes] = token_bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the keys.

        Args:
            current: Wraps the keys of new objects.
            older: Keys that objects still name; see `rotate`.
            cache: How to remember unwrapped data keys. If None, only those of keys that ask another
                machine are remembered, as by `KeyCache()`: a local unwrap takes a microsecond, so keeping
                plain keys in memory for it would be a risk for nothing, while a key service costs
                milliseconds and money for every range of the same object.
            random: Returns that many random bytes.
            clock: Seconds that never decrease.

        Raises:
            StorageConfigurationError: Two keys with one id, or an id that cannot name a key.
        """
        keys: dict[str, WrappingKey] = {}
        for key in (current, *older):
            if checked_id(key.key_id) in keys:
                raise StorageConfigurationError(f"two keys of the ring have the id {key.key_id!r}")
            keys[key.key_id] = key
        self.keys: Mapping[str, WrappingKey] = MappingProxyType(keys)
        here = {} if cache else {name: key for name, key in keys.items() if isinstance(key, LocalKey)}
        # A subclass may do otherwise.
        self._here = {name: key for name, key in here.items() if type(key) is LocalKey}
        self._current = current
        self._cache = cache
        self._random = random
        self._clock = clock
        self._remembered: OrderedDict[_Place, _Remembered] = OrderedDict()
        self._asking: Joint[_Place, DataKey] = Joint()

    @property
    def current_id(self) -> str:
        """The id of the wrapping key that new objects get."""
        return self._current.key_id

    def knows(self, key_id: str) -> bool:
        """Whether the ring has the wrapping key of this id."""
        return key_id in self.keys

    async def generate(self, *, store_id: str) -> DataKey:
        """A fresh data key for one object, wrapped with the current key.

        Raises:
            StorageError: The key service did not respond; see `retryable`.
        """
        return _new(await self._current.generate(self._random, store_id), self.current_id)

    def generate_here(self) -> DataKey | None:
        """The same without waiting, for a `LocalKey` where no `cache` was given; else None."""
        current = self._here.get(self._current.key_id)
        if current is None:
            return None
        return _new(current.generate_here(self._random), current.key_id)

    async def wrap(self, key: DataKey, *, store_id: str) -> DataKey:
        """The same data key, wrapped with the current key; the object itself need not change.

        Raises:
            StorageError: The key service did not respond; see `retryable`.
        """
        wrapped = await self._current.wrap(key.reveal(), store_id)
        return DataKey(key.reveal(), key_id=self.current_id, wrapped=wrapped)

    async def unwrap(
        self, key_id: str, wrapped: bytes, *, store_id: str, suite: int = 1, salt: bytes = b""
    ) -> DataKey:
        """The data key of an object.

        Args:
            key_id: From the object.
            wrapped: From the object.
            store_id: Of the store it is in.
            suite: From the object's header.
            salt: From the object's header.

        Raises:
            StorageDecryptionError: The ring has no such key, or it is another.
            StorageError: The key service did not respond; see `retryable`.
        """
        found = self.unwrap_here(key_id, wrapped)
        if found is not None:
            return found
        wrapping = self.keys[key_id]
        limits = self._cache or (KeyCache() if wrapping.remote else None)
        if limits is None:
            return _data_key(await wrapping.unwrap(wrapped, store_id), key_id, wrapped)
        place = (suite, store_id, key_id, salt, wrapped)
        while (found := self._recall(place)) is None:  # Many readers of one object ask for its key once.
            await self._asking.result(place, partial(self._learn, wrapping, place, limits))
        return found

    def unwrap_here(self, key_id: str, wrapped: bytes) -> DataKey | None:
        """The same without waiting, for a `LocalKey` where no `cache` was given; else None.

        Raises:
            StorageDecryptionError: As `unwrap`.
        """
        wrapping = self._here.get(key_id)
        if wrapping is None:
            if key_id not in self.keys:
                raise undecryptable()
            return None
        return _data_key(wrapping.unwrap_here(wrapped), key_id, wrapped)

    async def _learn(self, wrapping: WrappingKey, place: _Place, limits: KeyCache) -> DataKey:
        """Unwrap a data key, and remember it."""
        _, store_id, key_id, _, wrapped = place
        key = _data_key(await wrapping.unwrap(wrapped, store_id), key_id, wrapped)
        self._remembered[place] = _Remembered(key, self._clock() + limits.max_age, limits.max_uses)
        while len(self._remembered) > limits.size:
            self._remembered.popitem(last=False)
        return key

    def forget(self) -> None:
        """Forget all data keys that were unwrapped."""
        self._remembered.clear()

    async def aclose(self) -> None:
        """Forget data keys and release the connections of key services; safe to call again."""
        self.forget()
        for key in self.keys.values():
            await key.aclose()

    def _recall(self, place: _Place) -> DataKey | None:
        found = self._remembered.get(place)
        if found is None:
            return None
        if found.uses < 1 or self._clock() >= found.until:
            del self._remembered[place]
            return None
        found.uses -= 1
        self._remembered.move_to_end(place)
        return found.key

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"KeyRing(current={self.current_id!r}, older={[*self.keys][1:]!r})"

    def __reduce__(self) -> NoReturn:
        message = "a KeyRing is never pickled or copied"
        raise TypeError(message)


def _new(made: tuple[bytes, bytes], key_id: str) -> DataKey:
    plain, wrapped = made
    if len(plain) == DATA_KEY:
        return DataKey(plain, key_id=key_id, wrapped=wrapped)
    size = len(plain)
    del made, plain  # Not in the traceback.
    raise StorageInvalidRequestError(f"a data key has {DATA_KEY} bytes, but that of {key_id!r} has {size}")


def _data_key(plain: bytes, key_id: str, wrapped: bytes) -> DataKey:
    if len(plain) != DATA_KEY:
        del plain
        raise undecryptable()
    return DataKey(plain, key_id=key_id, wrapped=wrapped)
