"""The dictionaries of one store: each an object named after its content, fetched once.

Rules of this file: bytes are accepted as a dictionary only if their SHA-256 is its name; an object is
never written before the dictionary it needs is there.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator

from credstore.driver.internal import DICTIONARIES, InternalObjects, internal_key
from credstore.driver.values import ObjectInfo
from credstore.errors import (
    ErrorCode,
    StorageCodecError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageObjectNotFoundError,
    StorageUnsupportedError,
)
from credstore.model import Dictionary, StoredDictionary

KEPT = 16
"""Number of dictionaries kept in memory."""
_NAME_LENGTH = 64


def in_plain_text() -> StorageUnsupportedError:
    """The error of a dictionary in a store that encrypts what is stored before it is sent."""
    return StorageUnsupportedError(
        "a dictionary is kept unencrypted and contains pieces of what it was trained on; leave it out where "
        "objects are encrypted"
    )


def is_name(name: object) -> bool:
    """Whether the name is 64 lower-case hex digits."""
    return isinstance(name, str) and len(name) == _NAME_LENGTH and set(name) <= set("0123456789abcdef")


def checked_name(name: str) -> str:
    """The name of a dictionary, as a caller gives it.

    Raises:
        StorageInvalidRequestError: Not 64 lower-case hex digits.
    """
    if not is_name(name):
        raise StorageInvalidRequestError(
            f"the name of a dictionary is 64 lower-case hex digits, not {name!r}"
        )
    return name


async def stored_dictionaries(infos: AsyncIterator[ObjectInfo]) -> list[StoredDictionary]:
    """The dictionaries in a listing of their folder; objects with other names are skipped."""
    place = internal_key(DICTIONARIES)
    return [
        StoredDictionary(name=name, size=info.size, last_modified=info.last_modified)
        async for info in infos
        if is_name(name := info.key.removeprefix(place))
    ]


class Dictionaries:
    """The dictionaries that one provider has used."""

    def __init__(self, objects: InternalObjects) -> None:
        """Fetch nothing yet.

        Args:
            objects: Of the store they are in.
        """
        self._objects = objects
        self._known: OrderedDict[str, Dictionary] = OrderedDict()
        self._stored: set[str] = set()
        self._lock = asyncio.Lock()

    async def get(self, name: str) -> Dictionary:
        """The dictionary with this name, from memory or from the store.

        Raises:
            StorageCodecError: It is not in the store (code "DICTIONARY_MISSING").
            StorageIntegrityError: What is stored under its name is something else.
            StorageError: The store cannot be read.
        """
        if not is_name(name):
            raise StorageCodecError(
                "the object names a dictionary in a way that is not valid", code=ErrorCode.DICTIONARY_MISSING
            )
        found = self._known.get(name)
        if found is None:
            async with self._lock:  # Many readers of one dictionary fetch it once.
                found = self._known.get(name) or await self._fetch(name)
                self._keep(found)
                self._stored.add(name)
        self._known.move_to_end(name)
        return found

    async def _fetch(self, name: str) -> Dictionary:
        place = internal_key(DICTIONARIES + name)
        try:
            data = await self._objects.get(DICTIONARIES + name)
        except StorageObjectNotFoundError:
            raise StorageCodecError(
                f"the dictionary {name} is missing; it belongs at {place}, and without it the object cannot "
                f"be decompressed (decode=False returns the stored bytes)",
                code=ErrorCode.DICTIONARY_MISSING,
            ) from None
        if hashlib.sha256(data).hexdigest() != name:
            raise StorageIntegrityError(
                f"the dictionary at {place} was changed: its SHA-256 does not match its name",
                code=ErrorCode.DICTIONARY_CHANGED,
            )
        return Dictionary(data)

    async def ensure(self, dictionary: Dictionary) -> None:
        """Store the dictionary unless it is there.

        Raises:
            StorageError: It could not be stored.
        """
        if dictionary.name in self._stored:
            return
        async with self._lock:
            if dictionary.name not in self._stored and not await self._is_there(dictionary):
                name, data = DICTIONARIES + dictionary.name, dictionary.data
                await self._objects.put(name, data, content_type="application/octet-stream")
            self._stored.add(dictionary.name)
            self._keep(dictionary)

    async def _is_there(self, dictionary: Dictionary) -> bool:
        try:
            info = await self._objects.head(DICTIONARIES + dictionary.name)
        except StorageObjectNotFoundError:
            return False
        return info.size == len(dictionary.data)

    def _keep(self, dictionary: Dictionary) -> None:
        self._known[dictionary.name] = dictionary
        while len(self._known) > KEPT:
            self._known.popitem(last=False)


async def added(dictionaries: Dictionaries, dictionary: Dictionary, *, encrypts: bool) -> str:
    """The name of a dictionary that a user adds.

    Args:
        dictionaries: Of the store.
        dictionary: As the user gives it.
        encrypts: Whether the store encrypts on the client.

    Raises:
        StorageInvalidRequestError: It is something else.
        StorageUnsupportedError: The store encrypts.
        StorageError: It could not be stored.
    """
    if not isinstance(dictionary, Dictionary):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
        raise StorageInvalidRequestError(f"a Dictionary is expected, not {type(dictionary).__name__}")
    if encrypts:
        raise in_plain_text()
    await dictionaries.ensure(dictionary)
    return dictionary.name
