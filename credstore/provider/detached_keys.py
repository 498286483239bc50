"""Keys kept next to their objects instead of in them, so that one can be forgotten (crypto-shredding).

An object under retention cannot be deleted; its key can. The object's body then has no wrapped key, but names
a small object of credstore's that holds it. As always, the commitment in the body decides whether what is
found there is the object's key, so an attacker gains nothing by replacing it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from secrets import token_hex
from typing import Any

from credstore.concurrency import Done, begin
from credstore.driver.internal import KEYS, InternalObjects
from credstore.encryption import DataKey, KeySource
from credstore.errors import StorageObjectNotFoundError
from credstore.keyring.ring import KeyRing
from credstore.pipeline.header import MAX_KEY_ID, MAX_WRAPPED, parse_wrapped, undecryptable, wrapped_text
from credstore.wire.waiting import within

_NAMED = "detached/"
_NAME_SIZE = 32
_NOTHING_WRAPPED = b"\x00"
_LARGEST = MAX_KEY_ID + 2 * MAX_WRAPPED
_TYPE, _CACHED = "text/plain", "no-store"


def place_of(key_id: str) -> str | None:
    """The name among `InternalObjects` of a wrapped key, by the key id in the object's body.

    None if the wrapped key is in the body too.
    """
    if not key_id.startswith(_NAMED):
        return None
    name = key_id.removeprefix(_NAMED)
    return KEYS + name if len(name) == _NAME_SIZE and set(name) <= set("0123456789abcdef") else None


class DetachedKeys:
    """A key ring whose wrapped keys are separate objects, and which is not waited for without end."""

    def __init__(
        self,
        ring: KeySource,
        objects: InternalObjects,
        *,
        detach: bool,
        deadline: Callable[[], float | None],
    ) -> None:
        """Wrap a ring.

        Args:
            ring: Wraps and unwraps.
            objects: Of the store.
            detach: Keep the wrapped keys of new objects separately; existing ones are found either way.
            deadline: The instant by which the ring has to respond to what it is asked now.
        """
        self._ring = ring
        self._objects = objects
        self._detach = detach
        self._deadline = deadline

    @property
    def current_id(self) -> str:
        """The ring's."""
        return self._ring.current_id

    def knows(self, key_id: str) -> bool:
        """Whether the ring knows it, or it names an object that holds a wrapped key."""
        return place_of(key_id) is not None or self._ring.knows(key_id)

    async def generate(self, *, store_id: str) -> DataKey:
        """A new data key; if it is kept separately, its wrapped form is in the store before this returns.

        Raises:
            StorageError: The ring or the store failed.
        """
        ring = self._ring
        found = ring.generate_here() if type(ring) is KeyRing else None  # A subclass may do otherwise.
        if found is None:
            found = await self._bounded(ring.generate(store_id=store_id))
        if not self._detach:
            return found
        name = token_hex(_NAME_SIZE // 2)
        await self._objects.put(
            KEYS + name, wrapped_text(found).encode(), content_type=_TYPE, cache_control=_CACHED
        )
        return DataKey(found.reveal(), key_id=_NAMED + name, wrapped=_NOTHING_WRAPPED)

    async def replace(self, place: str, key: DataKey) -> None:
        """Replace the wrapped key with a newer one, but never where it was forgotten.

        Raises:
            StorageNotFoundError: It was forgotten.
            StorageConflictError: It was replaced or forgotten in the meantime.
            StorageError: It could not be stored.
        """
        await self._objects.replace(
            place, wrapped_text(key).encode(), content_type=_TYPE, cache_control=_CACHED
        )

    async def unwrap(
        self, key_id: str, wrapped: bytes, *, store_id: str, suite: int = 1, salt: bytes = b""
    ) -> DataKey:
        """The data key; its `key_id` is that of the wrapping key in the ring.

        Raises:
            StorageDecryptionError: It was forgotten, or the ring cannot unwrap it.
            StorageError: The ring or the store did not respond.
        """
        place = place_of(key_id)
        if place is not None:
            try:
                text = await self._objects.get(place, max_size=_LARGEST)
            except StorageObjectNotFoundError:
                raise undecryptable() from None
            key_id, wrapped = parse_wrapped(text.decode("ascii", "replace"))
        ring = self._ring
        found = ring.unwrap_here(key_id, wrapped) if type(ring) is KeyRing else None  # As above.
        if found is not None:
            return found
        return await self._bounded(ring.unwrap(key_id, wrapped, store_id=store_id, suite=suite, salt=salt))

    async def wrap(self, key: DataKey, *, store_id: str) -> DataKey:
        """The same data key, wrapped with the ring's current key."""
        return await self._bounded(self._ring.wrap(key, store_id=store_id))

    async def _bounded(self, asked: Coroutine[Any, Any, DataKey]) -> DataKey:
        started = begin(asked)
        if isinstance(started, Done):  # A key of this machine takes less time than a timer would.
            return started.value
        return await within(self._deadline(), started, "the key service's response")

    async def exists(self, place: str) -> bool:
        """Whether a wrapped key is there.

        Raises:
            StorageError: The store did not say.
        """
        try:
            await self._objects.head(place)
        except StorageObjectNotFoundError:
            return False
        return True

    def forget(self) -> None:
        """Keep no unwrapped key in memory."""
        if isinstance(self._ring, KeyRing):
            self._ring.forget()
