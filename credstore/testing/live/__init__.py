"""A live check of a real store: what it honours, compared with its row, how fast it is, and where it is.

Rules of this file: everything is stored below one random prefix, which is empty again however the check ends,
cancelled too; nothing else in the store is read, but for one key that is listed (`ping`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from secrets import token_hex

from credstore.config.reports import place_of
from credstore.config.settings import CommonConfig
from credstore.driver.capability_report import CapabilityFact, CapabilityReport, Honoured, Latency
from credstore.driver.contract import Driver
from credstore.driver.location import BucketLocation, TellsLocation
from credstore.errors import (
    StorageAccessDeniedError,
    StorageAuthenticationError,
    StorageConnectionError,
    StorageError,
    StorageRateLimitedError,
    StorageTimeoutError,
    StorageUnavailableError,
)
from credstore.provider.presets import provider_for
from credstore.testing.checks import CHECKS
from credstore.testing.harness import ConformanceError, Harness, NotRunError, fail, fetched, put
from credstore.testing.isolation import isolated, swept, within
from credstore.testing.live import latency
from credstore.testing.live.opening import LiveStore, look_at
from credstore.testing.live.probes import EVERYWHERE, PROBES, Probe, probes_of
from credstore.testing.running import Report, run_checks

Progress = Callable[[int, int], None]
NAME = "credstore-check-"
"""What the temporary prefix starts with."""
PROBE_LIMIT = 120.0
"""Seconds for one probe."""
_UNCLEAR = (
    StorageAccessDeniedError,
    StorageAuthenticationError,
    StorageConnectionError,
    StorageRateLimitedError,
    StorageTimeoutError,
    StorageUnavailableError,
)
"""Failures that say nothing of what the store does."""
_LONGEST = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """How thorough a live check is.

    Attributes:
        samples: Calls of each verb whose latency is measured.
        conformance: Run the conformance list too, which takes some 3,500 requests.
        time_limit: Seconds for the conformance list.
    """

    samples: int = 20
    conformance: bool = True
    time_limit: float = 3600.0


class LiveCheck:
    """One check of one store.

    Attributes:
        below: The temporary prefix, for messages.
    """

    def __init__(self, store: LiveStore, options: CheckOptions, progress: Progress) -> None:
        """Nothing is sent yet.

        Args:
            store: From `look_at`.
            options: How thorough.
            progress: Called with (steps done, steps in all).
        """
        self._store = store
        self._options = options
        self._progress = progress
        self.below = f"{store.prefix}{NAME}{token_hex(4)}/"
        self._probes = [probe for probe in PROBES if probe.name in EVERYWHERE or probe.name in store.granted]
        self._probes += probes_of(store.capabilities)
        self._where = BucketLocation()
        self._done = 0
        self._total = len(self._probes) + latency.steps(options.samples)
        self._total += len(CHECKS) if options.conformance else 0

    async def reach(self) -> None:
        """Ask whether the store is there, and where; a wrong bucket or wrong credentials end the check here.

        Raises:
            StorageError: It does not respond as it should; nothing was stored.
        """
        driver = self._store.harness(self.below).open()
        try:
            await driver.ping()
            self._where = await _located(driver)
        finally:
            await driver.aclose()

    async def run(self) -> CapabilityReport:
        """Check the store, which `reach` has found.

        Raises:
            StorageError: It cannot be written to, read from or deleted from at all; or something stays below
                the temporary prefix. Where that happens after another failure, it is a note of its error.
        """
        store = self._store
        harness = store.harness(self.below)
        try:
            async with swept(harness, self.below):
                await self._use(harness)
                facts = [await self._fact(probe) for probe in self._probes]
                latencies = await self._latencies()
                found = await self._conformance(harness) if self._options.conformance else Report()
        except ConformanceError as error:
            message = f"the check is done, but {error}; credstore rm --prefix removes it"
            raise StorageUnavailableError(message, applied="maybe") from None
        provider, place = await asyncio.to_thread(place_of, store.config)
        return CapabilityReport(
            provider=provider,
            place=place,
            tested_at=datetime.now(UTC).replace(microsecond=0),
            facts=tuple(facts),
            latencies=latencies,
            region=self._where.region or "unknown",
            location_type=self._where.type or "unknown",
            failed_checks=tuple((name, why[:_LONGEST]) for name, why in found.failed.items()),
            checks=len(found.passed),
            checks_not_run=len(found.not_run),
        )

    async def _use(self, harness: Harness) -> None:
        """One object written, read and deleted, so that missing permissions are not taken for facts."""
        driver = harness.open()
        key = f"{self.below}reach"
        try:
            await put(driver, key)
            await fetched(driver, key)
            await driver.delete(key)
        finally:
            await driver.aclose()

    async def _fact(self, probe: Probe) -> CapabilityFact:
        store = self._store
        of_row = probe.name in store.granted and probe.name not in EVERYWHERE
        granted = store.granted[probe.name] if of_row else probe.granted(store.capabilities)
        names = [name for name in (probe.name, *probe.besides) if name in store.granted]
        honoured: Honoured = "not tried"
        why = "is tried only where it is granted, by the row or in `capabilities`"
        if granted or not probe.if_granted:
            honoured, why = await self._tried(probe, store.harness(self.below, *names))
        self._step()
        return CapabilityFact(name=probe.name, granted=granted, honoured=honoured, why=why[:_LONGEST])

    async def _tried(self, probe: Probe, harness: Harness) -> tuple[Honoured, str]:
        async def tried() -> None:
            async with isolated(replace(harness, requests=None)) as below:
                able = below.open().capabilities
                if not all(getattr(able, name, True) for name in (probe.name, *probe.besides)):
                    fail("credstore cannot ask for it here")
                await probe.tries(below)

        if probe.in_parts and harness.large is None:
            return "not tried", "this store has no bodies in parts"
        try:
            await within(PROBE_LIMIT, tried(), "it")
        except NotRunError as error:
            return "not tried", str(error).removesuffix(", which this harness does not give")
        except ConformanceError as error:
            return "no", str(error)
        except _UNCLEAR as error:
            return "not tried", error.message
        except TimeoutError as error:
            return "not tried", str(error)
        except StorageError as error:
            return "no", error.message
        return "yes", ""

    async def _latencies(self) -> tuple[Latency, ...]:
        config: CommonConfig = replace(self._store.config, prefix=f"{self.below}speed")
        async with provider_for(config) as provider:
            found = await latency.measure(provider, self._options.samples, self._step)
        self._done = len(self._probes) + latency.steps(self._options.samples)
        return found

    async def _conformance(self, harness: Harness) -> Report:
        return await run_checks(harness, time_limit=self._options.time_limit, step=self._step)

    def _step(self) -> None:
        self._done += 1
        self._progress(self._done, self._total)


async def _located(driver: Driver) -> BucketLocation:
    if not isinstance(driver, TellsLocation):
        return BucketLocation()
    try:
        return await driver.locate()
    except StorageError:
        return BucketLocation()  # Not everybody who may use a bucket may look at it.


__all__ = ["CheckOptions", "LiveCheck", "LiveStore", "look_at"]
