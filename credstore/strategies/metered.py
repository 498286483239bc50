"""A member of several stores as one, counted by itself: each has its own prices.

Rules of this file: requests are those that its driver has sent, whoever caused them, repeated ones included;
bytes count as they are read. Nothing else changes.
"""

from __future__ import annotations

from credstore.driver.contract import CountsRequests, Driver
from credstore.driver.values import READ_ALL, ReadOptions, StoredReader
from credstore.metrics import Meter
from credstore.strategies.abilities import able_as
from credstore.strategies.passing import PASSED, PassingDriver


class MeteredDriver(PassingDriver):
    """The store below, whose bytes are counted."""

    def __init__(self, inner: Driver, meter: Meter) -> None:
        """Own the driver below, and count with this."""
        super().__init__(inner)
        self._meter = meter

    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        """Open the stored bytes; see `Driver.get`."""
        reader = await self._inner.get(key, options)
        reader.count(self._meter.read)
        return reader


def metered(driver: Driver, meter: Meter) -> Driver:
    """The driver of a member, counted; one that sends no requests costs nothing, and stays as it is."""
    if not isinstance(driver, CountsRequests):
        return driver
    meter.sent = driver.requests
    return able_as(driver, MeteredDriver, PASSED)(driver, meter)
