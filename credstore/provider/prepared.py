"""Writes of small objects with the same options each time, which are checked and planned once for all.

Rules of this file: such a write is one of `StorageProvider.store` in all that anyone sees: its call and its
event, the checks of key and size, its errors. Only the result, which its caller does not want, is not made.
"""

from __future__ import annotations

from typing import Any, Unpack, cast

from credstore.driver.values import BytesBody
from credstore.hashing import LOOP_BUDGET
from credstore.model import StoreOptions
from credstore.provider.plans import OWN, plain_request, shared_of
from credstore.provider.provider import StorageProvider
from credstore.provider.retaining import written

_STORE = StorageProvider.store


class PreparedWrites:
    """`StorageProvider.store` with the same options each time, for bytes in memory."""

    __slots__ = ("_options", "_provider", "_session", "_shared")

    def __init__(self, provider: StorageProvider, **options: Unpack[StoreOptions]) -> None:
        """Check nothing yet: the first write does.

        Args:
            provider: Where to write.
            options: Of every write.
        """
        self._provider = provider
        self._session = provider._session  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - the same package
        self._options = options
        self._shared = shared_of(options) if OWN.isdisjoint(options) else None

    async def store(self, key: str, data: bytes) -> None:
        """Write an object.

        Raises:
            StorageError: As `StorageProvider.store`.
        """
        session, provider = self._session, self._provider
        plan = None if self._shared is None else session.plans.get(self._shared)
        if (
            plan is None
            or plan.able is not session.capabilities
            or len(data) > LOOP_BUDGET
            or getattr(cast("Any", provider.store), "__func__", None) is not _STORE
        ):
            # Checks and plans everything, and keeps the plan if there is one; or whoever has replaced this
            # verb in a subclass wants to see every write.
            await provider.store(key, data, **self._options)
            return
        with session.call("store", key, mutation=True) as call:
            session.check_key(key)
            result = await written(session, plain_request(plan, key, BytesBody(data)))
            call.moved(result.size, result.size)
