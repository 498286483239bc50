"""Keys beside their objects instead of in them, so that one can be forgotten (crypto-shredding).

An object under retention cannot be deleted; its key can. The object's body then names a small object
of ours that holds the wrapped key, and no wrapped key. The commitment in the body decides as ever
whether what is found there is the object's key, so replacing it gives nothing to anybody.
"""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_hex

from credstore.driver import (
    OVERWRITE,
    BytesBody,
    ContentHeaders,
    Driver,
    Precondition,
    PutRequest,
    ReadOptions,
)
from credstore.errors import StorageObjectNotFoundError
from credstore.keys.ring import KeyRing
from credstore.model import DataKey, KeySource, ServerEncryption
from credstore.pipeline.header import MAX_KEY_ID, MAX_WRAPPED, parse_wrapped, undecryptable, wrapped_text
from credstore.reader import sha256

PREFIX = ".credstore/keys/"
_NAMED = "detached/"
_NAME_SIZE = 32
_NOTHING_WRAPPED = b"\x00"
_LARGEST = MAX_KEY_ID + 2 * MAX_WRAPPED


def place_of(key_id: str) -> str | None:
    """Where an object's wrapped key is kept, by the key id in its body; None if that is in the body."""
    name = key_id.removeprefix(_NAMED)
    if name == key_id or len(name) != _NAME_SIZE or not set(name) <= set("0123456789abcdef"):
        return None
    return PREFIX + name


class DetachedKeys:
    """A key ring whose wrapped keys are objects of their own."""

    def __init__(
        self,
        ring: KeySource,
        driver: Driver,
        *,
        reading: Callable[[], ReadOptions],
        encryption: Callable[[], ServerEncryption | None],
        detach: bool,
    ) -> None:
        """Put it around a ring.

        Args:
            ring: Wraps and unwraps.
            detach: Keep the wrapped keys of new objects apart; those of others are found either way.
            driver: Of the store.
            reading: Options of one small read that begins now.
            encryption: At rest, as for all objects of the store.
        """
        self._ring = ring
        self._driver = driver
        self._reading = reading
        self._encryption = encryption
        self._detach = detach

    @property
    def current_id(self) -> str:
        """The ring's."""
        return self._ring.current_id

    def knows(self, key_id: str) -> bool:
        """Whether it is the ring's, or names a place."""
        return place_of(key_id) is not None or self._ring.knows(key_id)

    async def generate(self, *, store_id: str) -> DataKey:
        """A fresh data key; if it is kept apart, its wrapped form is in the store before this returns.

        Raises:
            StorageError: The ring or the store did not take part.
        """
        found = await self._ring.generate(store_id=store_id)
        if not self._detach:
            return found
        name = token_hex(_NAME_SIZE // 2)
        await self.keep(PREFIX + name, found)
        return DataKey(found.reveal(), key_id=_NAMED + name, wrapped=_NOTHING_WRAPPED)

    async def replace(self, place: str, key: DataKey) -> None:
        """Write a newer wrapped key over the one that is there, never where it was forgotten.

        Raises:
            StorageNotFoundError: It was forgotten.
            StorageConflictError: It was replaced or forgotten meanwhile.
            StorageError: It could not be stored.
        """
        info = await self._driver.head(place, self._reading())
        able = self._driver.capabilities.conditional_replace and info.etag is not None
        await self.keep(place, key, Precondition("replace", info.etag) if able else OVERWRITE)

    async def keep(self, place: str, key: DataKey, precondition: Precondition = OVERWRITE) -> None:
        """Write the wrapped key where an object looks for it.

        Raises:
            StorageError: It could not be stored.
        """
        text = wrapped_text(key).encode()
        await self._driver.put(
            PutRequest(
                key=place,
                body=BytesBody(text),
                write_id=token_hex(16),
                digest=await sha256(text),
                headers=ContentHeaders(content_type="text/plain", cache_control="no-store"),
                precondition=precondition,
                encryption=self._encryption(),
                deadline=self._reading().deadline,
            )
        )

    async def unwrap(
        self, key_id: str, wrapped: bytes, *, store_id: str, suite: int = 1, salt: bytes = b""
    ) -> DataKey:
        """The data key; its `key_id` is that of the wrapping key in the ring.

        Raises:
            StorageDecryptionError: It was forgotten, or the ring cannot unwrap it.
            StorageError: The ring or the store did not answer.
        """
        place = place_of(key_id)
        if place is not None:
            try:
                async with await self._driver.get(place, self._reading()) as reader:
                    text = await reader.read(_LARGEST)
            except StorageObjectNotFoundError:
                raise undecryptable() from None
            key_id, wrapped = parse_wrapped(text.decode("ascii", "replace"))
        return await self._ring.unwrap(key_id, wrapped, store_id=store_id, suite=suite, salt=salt)

    async def wrap(self, key: DataKey, *, store_id: str) -> DataKey:
        """The same data key, wrapped with the ring's current key."""
        return await self._ring.wrap(key, store_id=store_id)

    async def forget(self, place: str) -> bool:
        """Delete a wrapped key; False if there was none.

        Raises:
            StorageError: It may still be there.
        """
        existed = True
        try:
            await self._driver.head(place, self._reading())
        except StorageObjectNotFoundError:
            existed = False
        await self._driver.delete(place, deadline=self._reading().deadline)
        if isinstance(self._ring, KeyRing):
            self._ring.forget()
        return existed
