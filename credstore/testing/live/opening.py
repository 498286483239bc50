"""A store as a live check opens it: as its row has it, or with more granted, to see whether it does that too.

Rules of this file: what is granted for a try is a report, as users pass one, so that what is tried is what a
store that is opened with the report will do; bodies and copies go in parts as early as the cloud permits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from credstore.config.field_types import held_by
from credstore.config.reports import place_of, said_of, without_statement
from credstore.config.settings import MIB, CommonConfig, StatedConfig
from credstore.driver.capability_report import CapabilityFact, CapabilityReport
from credstore.driver.contract import Driver
from credstore.driver.stated import FLAGS
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.drivers.s3.dialect import row_for
from credstore.drivers.s3.driver import S3Driver
from credstore.drivers.s3.stated import NAMES, has, stated
from credstore.errors import StorageConfigurationError
from credstore.provider.presets import build_driver
from credstore.testing.harness import Harness
from credstore.testing.links import fetch_link
from credstore.testing.s3 import s3_harness

if TYPE_CHECKING:
    from credstore.config.stores import MemoryConfig, S3FamilyConfig

C = TypeVar("C", bound=CommonConfig)
_PART = 5 * MIB
_IN_PARTS = ("part_size", "multipart_threshold", "single_copy_limit", "copy_part_size")


class LiveStore:
    """One store to check; nothing is sent until a driver is opened.

    Attributes:
        config: Its settings, without a report and without its prefix, which the check adds to.
        prefix: The prefix it had.
        granted: What its row and its user's statement say that it does, by name.
        capabilities: The same as the driver has it.
    """

    def __init__(self, config: StatedConfig, prefix: str, driver: Driver) -> None:
        """Made by `look_at`, with a driver of the store that is closed again."""
        self.config = config
        self.prefix = prefix
        self.capabilities = driver.capabilities
        self._s3 = isinstance(driver, S3Driver)
        self._in_memory = isinstance(driver, MemoryDriver)
        self._objects = MemoryObjects()
        self.granted = self._granted()

    def _granted(self) -> Mapping[str, bool]:
        if not self._s3:
            return {name: getattr(self.capabilities, name) for name in FLAGS}
        dialect = stated(row_for(cast("S3FamilyConfig", self.config)), said_of(self.config))
        return {name: has(dialect, name) for name in NAMES}

    def harness(self, below: str, *granted: str) -> Harness:
        """Ways to the store for checks.

        Args:
            below: Prefix for all that the checks store.
            granted: Names that are granted besides.
        """
        config = self._granting(granted) if granted else self.config
        if self._s3:
            return replace(s3_harness(config), prefix=below)
        part: int | None = getattr(config, "part_size", None)
        has_server = part is not None and getattr(config, "emulator_host", None) is None
        ca_file: str | None = getattr(config, "ca_file", None)
        return Harness(
            open=self._opening(config),
            large=None if part is None else part + 1,
            fetch=partial(fetch_link, ca_file=ca_file) if has_server else None,
            prefix=below,
        )

    def _opening(self, config: StatedConfig) -> Callable[[], Driver]:
        if self._in_memory:
            return lambda: MemoryDriver(cast("MemoryConfig", config), objects=self._objects)
        return lambda: build_driver(config)

    def _granting(self, names: tuple[str, ...]) -> StatedConfig:
        does = {**self.granted, **dict.fromkeys(names, True)}
        provider, place = place_of(self.config)
        facts = tuple(
            CapabilityFact(name=name, granted=False, honoured="yes" if does[name] else "no") for name in does
        )
        report = CapabilityReport(
            provider=provider, place=place, tested_at=datetime.now(UTC).replace(microsecond=0), facts=facts
        )
        return _with(self.config, capabilities=report)


async def look_at(given: CommonConfig) -> LiveStore:
    """A store to check, from its settings; nothing is sent.

    Raises:
        StorageConfigurationError: It is a plug-in's store, whose row says nothing that could be compared;
            or its settings cannot be used.
    """
    if not isinstance(given, StatedConfig):
        raise StorageConfigurationError(
            f"a store of the plug-in {given.provider!r} is checked with its own conformance tests"
        )
    # What an earlier check found is not what is granted.
    stale = given.report_path is not None or not isinstance(given.capabilities, str)
    config = without_statement(given) if stale else given
    config = _in_parts(_with(config, prefix="", create=False))
    driver = build_driver(config)
    await driver.aclose()
    return LiveStore(config, given.prefix, driver)


def _with(config: C, **changes: object) -> C:
    held = held_by(type(config))
    known: dict[str, Any] = {name: value for name, value in changes.items() if name in held}
    return replace(config, **known)


def _in_parts(config: C) -> C:
    part: int | None = getattr(config, "part_size", None)
    return config if part is None else _with(config, **dict.fromkeys(_IN_PARTS, min(part, _PART)))
