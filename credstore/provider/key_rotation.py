"""Giving objects a new wrapping key without moving their bytes.

Rules of this file: an object's new wrapped key goes beside it in a copy onto itself, pinned to the
version that was looked at; the key was its key by the commitment in its body before it is wrapped
anew. What the report says of keys comes from a second look at all objects, at which each key has been
unwrapped and checked again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from secrets import token_hex

from credstore.driver.values import OVERWRITE, CopyRequest, ObjectInfo, Precondition
from credstore.encryption import ClientSide, DataKey
from credstore.errors import (
    StorageConflictError,
    StorageError,
    StorageObjectNotFoundError,
    StorageUnsupportedError,
)
from credstore.model import NOTHING, Progress, RotationReport, strong_etag
from credstore.pipeline.envelope import check_key
from credstore.pipeline.header import Header, wrapped_text
from credstore.pipeline.pipeline import ENVELOPE, WRAPPED_KEY
from credstore.provider.bulk import scan_infos
from credstore.provider.detached_keys import DetachedKeys, place_of
from credstore.provider.encryption import begins_sealed, data_key_of, header_of, read_head
from credstore.provider.session import Session

_TRIES = 3
"""Looks at an object that others replace meanwhile."""
_GONE = object()
"""What is found of an object that went away or could not be looked at."""


class Rotation:
    """One run over the objects of a store."""

    def __init__(self, session: Session, policy: ClientSide, *, concurrency: int) -> None:
        """Begin nothing.

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

    async def run(self, prefix: str, progress: Progress | None) -> RotationReport:
        """Rotate, then look at everything once more."""
        current = self._policy.keyring.current_id
        rotated = [found async for found in self._each(prefix, self._rotate, progress)].count(True)
        keys = Counter([found async for found in self._each(prefix, self._seen, progress)])
        counts = {key_id: count for key_id, count in keys.items() if isinstance(key_id, str)}
        return RotationReport(
            current=current, rotated=rotated, keys=counts, unencrypted=keys[None], failed=dict(self._failed)
        )

    async def _each(
        self, prefix: str, work: Callable[[str], Awaitable[object]], progress: Progress | None
    ) -> AsyncIterator[object]:
        """What `work` finds for each object, some at once; a failure is noted for its key."""
        running: set[asyncio.Task[object]] = set()
        try:
            async with aclosing(scan_infos(self._session, prefix)) as infos:
                async for info in infos:
                    running.add(asyncio.ensure_future(self._one(info.key, work)))
                    if len(running) >= self._concurrency:
                        done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                        for task in done:
                            yield self._found(task, progress)
            while running:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    yield self._found(task, progress)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _one(self, key: str, work: Callable[[str], Awaitable[object]]) -> object:
        try:
            return await work(key)
        except StorageObjectNotFoundError:
            return _GONE
        except StorageError as error:
            self._failed[key] = error
            return _GONE

    def _found(self, task: asyncio.Task[object], progress: Progress | None) -> object:
        self._done += 1
        if progress is not None:
            progress(self._done, None)
        return task.result()

    async def _look(self, key: str) -> tuple[ObjectInfo, Header, DataKey] | None:
        """An object's state, its header and its data key; None if it is not encrypted."""
        info, head = await read_head(self._session.driver, key, self._session.reading())
        if ENVELOPE not in (info.system or NOTHING) and not begins_sealed(head):
            return None  # Not by its mark alone, which anybody may have taken away.
        header = await header_of(self._session.driver, key, self._session.reading(), info, head)
        data_key = await data_key_of(self._policy, header, info.system or NOTHING)
        check_key(header, data_key)
        return info, header, data_key

    async def _seen(self, key: str) -> object:
        """The id of the wrapping key that the object really has; None without encryption."""
        found = await self._look(key)
        return None if found is None else found[2].key_id

    async def _rotate(self, key: str) -> bool:
        """Whether the object was given the current key now."""
        for attempt in range(_TRIES):
            found = await self._look(key)
            if found is None or found[2].key_id == self._policy.keyring.current_id:
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
            await self._session.driver.copy(request)
        except StorageUnsupportedError:
            # No conditions on copies there: the copy is still of the version that was looked at.
            await self._session.driver.copy(replace(request, precondition=OVERWRITE))
