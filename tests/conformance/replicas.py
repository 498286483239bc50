"""Waiting for replicas to have what they have missed, however slow the machine is."""

import time

from credstore.strategies.redundant.driver import RedundantDriver

TRIES = 12
"""More than a member of these tests fails while it is brought up to date."""


def hurried() -> float:
    """A clock by which no one that has failed is left alone for long."""
    return time.monotonic() * 10_000


async def caught_up(driver: RedundantDriver) -> None:
    """Until nothing is left to do and nothing is noted as missed.

    A member that fails now and then may fail while it catches up, and then has missed it still.
    """
    await driver.settled()
    for _ in range(TRIES):
        if not [key async for key in driver.journal.missed()]:
            return
        await driver.scrubber.catch_up()
        await driver.settled()
