"""A store as a live check opens it: as its row has it, or with more granted, to see whether it does that too.

Rules of this file: what is granted for a try is a report, as users pass one, so that what is tried is what a
store that is opened with the report will do; bodies and copies go in parts as early as the cloud permits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from credstore.config.field_types import held_by
from credstore.config.reports import place_of, without_statement
from credstore.config.settings import MIB, CommonConfig, StatedConfig
from credstore.config.stores import MemoryConfig, S3FamilyConfig
from credstore.driver.capability_report import CapabilityFact, CapabilityReport
from credstore.driver.contract import Driver
from credstore.driver.stated import FLAGS
from credstore.driver.values import Capabilities
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.drivers.s3.dialect import row_for
from credstore.drivers.s3.stated import NAMES, has, stated
from credstore.errors import StorageConfigurationError
from credstore.provider.presets import build_driver
from credstore.testing.harness import Harness
from credstore.testing.links import fetch_link
from credstore.testing.s3 import s3_harness

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

    def __init__(self, config: StatedConfig, prefix: str, capabilities: Capabilities) -> None:
        """Made by `look_at`."""
        self.config = config
        self.prefix = prefix
        self.capabilities = capabilities
        self.granted = _granted(config, capabilities)
        self._objects = MemoryObjects()

    def harness(self, below: str, *granted: str) -> Harness:
        """Ways to the store for checks.

        Args:
            below: Prefix for all that the checks store.
            granted: Names that are granted besides.
        """
        config = self._granting(granted) if granted else self.config
        if isinstance(config, S3FamilyConfig):
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
        if isinstance(config, MemoryConfig):
            return lambda: MemoryDriver(config, objects=self._objects)
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
    able = driver.capabilities
    await driver.aclose()
    return LiveStore(config, given.prefix, able)


def _granted(config: StatedConfig, able: Capabilities) -> Mapping[str, bool]:
    if isinstance(config, S3FamilyConfig):
        dialect = stated(row_for(config), config.capabilities)
        return {name: has(dialect, name) for name in NAMES}
    return {name: getattr(able, name) for name in FLAGS}


def _with(config: C, **changes: object) -> C:
    held = held_by(type(config))
    return replace(config, **{name: value for name, value in changes.items() if name in held})


def _in_parts(config: C) -> C:
    part: int | None = getattr(config, "part_size", None)
    return config if part is None else _with(config, **dict.fromkeys(_IN_PARTS, min(part, _PART)))
