"""Giving objects a new wrapping key without moving their bytes.

Rules of this file: an object gets its new wrapped key in a copy onto itself, pinned to the version that was
looked at; the commitment in its body proves that the key is the right one before it is wrapped again. What
the report says about keys comes from a second look at all objects, during which each key is unwrapped and
checked again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from secrets import token_hex

from credstore.concurrency import map_all
from credstore.driver.values import OVERWRITE, CopyRequest, ObjectInfo, Precondition
from credstore.encryption import ClientSide, DataKey
from credstore.errors import (
    StorageConfigurationError,
    StorageConflictError,
    StorageError,
    StorageObjectNotFoundError,
    StorageUnsupportedError,
)
from credstore.model import NOTHING, Progress, RotationReport, strong_etag
from credstore.pipeline.envelope import check_key
from credstore.pipeline.header import Header, wrapped_text
from credstore.pipeline.pipeline import ENVELOPE, WRAPPED_KEY
from credstore.provider.detached_keys import DetachedKeys, place_of
from credstore.provider.encryption import begins_sealed, data_key_of, header_of, read_head
from credstore.provider.retaining import copied_by_store
from credstore.provider.scanning import scan_infos
from credstore.provider.session import Session

_TRIES = 3
"""Number of looks at an object that others keep replacing."""
_GONE = object()
"""What is found for an object that disappeared or could not be read."""


def rotation_of(session: Session, *, concurrency: int = 1) -> Rotation:
    """A run over the objects of a store.

    Raises:
        StorageConfigurationError: The store has no encryption whose keys could be rotated.
    """
    policy = session.policy
    if policy is None:
        raise StorageConfigurationError(
            "there are no keys to rotate; open the provider with encryption=ClientSide(...)"
        )
    return Rotation(session, policy, concurrency=concurrency)


class Rotation:
    """One run over the objects of a store."""

    def __init__(self, session: Session, policy: ClientSide, *, concurrency: int) -> None:
        """Do nothing yet.

        Args:
            session: Of the store.
            policy: Its encryption.
            concurrency: Objects at once.
        """
        self._session = session
        self._policy = policy
        self._concurrency = concurrency
        self._done = 0
        self._failed: dict[str, StorageError] = {}

    @property
    def current_id(self) -> str:
        """The id of the key that objects should have."""
        return self._policy.keyring.current_id

    async def run(self, prefix: str, progress: Progress | None) -> RotationReport:
        """Rotate, then look at everything once more."""
        current = self.current_id
        rotated = (await self._each(prefix, self.rotate, progress)).count(True)
        keys = Counter(await self._each(prefix, self.seen, progress))
        counts = {key_id: count for key_id, count in keys.items() if isinstance(key_id, str)}
        return RotationReport(
            current=current, rotated=rotated, keys=counts, unencrypted=keys[None], failed=dict(self._failed)
        )

    async def _each(
        self, prefix: str, work: Callable[[str], Awaitable[object]], progress: Progress | None
    ) -> list[object]:
        """What `work` finds for each object, some at once; a failure is noted for its key."""

        async def one(info: ObjectInfo) -> object:
            found = await self._one(info.key, work)
            self._done += 1
            if progress is not None:
                progress(self._done, None)
            return found

        return await map_all(scan_infos(self._session, prefix), one, at_once=self._concurrency)

    async def _one(self, key: str, work: Callable[[str], Awaitable[object]]) -> object:
        try:
            return await work(key)
        except StorageObjectNotFoundError:
            return _GONE
        except StorageError as error:
            self._failed[key] = error
            return _GONE

    async def _look(self, key: str) -> tuple[ObjectInfo, Header, DataKey] | None:
        """An object's state, its header and its data key; None if it is not encrypted."""
        info, head = await read_head(self._session.driver, key, self._session.reading())
        if ENVELOPE not in (info.system or NOTHING) and not begins_sealed(head):
            return None  # Not by its mark alone, which anyone may have removed.
        header = await header_of(self._session.driver, key, self._session.reading(), info, head)
        data_key = await data_key_of(self._policy, header, info.system)
        check_key(header, data_key)
        return info, header, data_key

    async def seen(self, key: str) -> str | None:
        """The id of the wrapping key that the object really has; None without encryption.

        Raises:
            StorageObjectNotFoundError: It is gone.
            StorageError: It could not be looked at.
        """
        found = await self._look(key)
        return None if found is None else found[2].key_id

    async def rotate(self, key: str) -> bool:
        """Give the object the current key; False if it has it, or needs none.

        Raises:
            StorageObjectNotFoundError: It is gone.
            StorageError: It could not be rotated.
        """
        for attempt in range(_TRIES):
            found = await self._look(key)
            if found is None or found[2].key_id == self.current_id:
                return False
            info, header, data_key = found
            try:
                await self._rewrap(key, info, header, data_key)
            except StorageConflictError:
                if attempt + 1 == _TRIES:
                    raise
            else:
                return True
        return False

    async def _rewrap(self, key: str, info: ObjectInfo, header: Header, data_key: DataKey) -> None:
        keys = self._policy.keyring
        wrapped = await keys.wrap(data_key, store_id=self._policy.store_id)
        place = place_of(header.key_id)
        if place is not None and isinstance(keys, DetachedKeys):
            await keys.replace(place, wrapped)
            return
        etag = strong_etag(info.etag)
        request = CopyRequest(
            source=replace(info, key=key),
            destination=key,
            write_id=token_hex(16),
            precondition=Precondition("replace", etag) if etag else OVERWRITE,
            system={**(info.system or NOTHING), WRAPPED_KEY: wrapped_text(wrapped)},
            source_customer_key=self._session.reading().customer_key,
            deadline=self._session.deadline(size=info.size),
        )
        try:
            await copied_by_store(self._session, request)
        except StorageUnsupportedError:
            # No conditions on copies there, but the source is still pinned to the version that was looked at.
            await copied_by_store(self._session, replace(request, precondition=OVERWRITE))
