"""The report of a live check that a store is opened with: read, and believed only where it counts.

Rules of this file: a report counts for the very store that was checked, and for `LONGEST_AGE`. It may
grant, so it counts only where a config names it; and only with a valid signature where the config names the
keys that are trusted for it. Everything here blocks for as long as reading two small files takes.
"""

from __future__ import annotations

import os
import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import NoReturn, TypeAlias, cast

from credstore.arguments import typed
from credstore.config.settings import CommonConfig, StatedConfig
from credstore.driver.capability_report import (
    LARGEST_REPORT,
    REPORT_TYPE,
    CapabilityReport,
    Members,
    parse_object,
    parse_report,
    read_report,
)
from credstore.driver.stated import Said
from credstore.errors import StorageConfigurationError, StorageError

Verify: TypeAlias = Callable[[bytes, bytes, datetime], Members]
LONGEST_AGE = timedelta(days=90)
"""A server is updated sooner or later, and what it did then says little about what it does now."""
CLOCKS = timedelta(minutes=5)
"""By how much the clocks of whoever checks and whoever opens may differ."""
_OF_AWS = re.compile(
    r"https://s3(?:-fips|-accelerate)?(?:\.dualstack)?(?:[.-]([a-z0-9-]+))?\.amazonaws\.com(\.cn)?",
    re.IGNORECASE,
)
"""AWS's own endpoints, of all kinds; the accelerated ones are for all regions of the first partition."""
_VERIFIER = "credstore.proofs.capability_reports"
_PAYLOAD = "payload"


def said_of(config: StatedConfig, *, now: datetime | None = None) -> Said:
    """What a config states of its store, with the report read that it may name.

    Args:
        config: Of the store.
        now: The clock, for a report's age.

    Returns:
        The names, or the report, which is of this store and not too old.

    Raises:
        StorageConfigurationError: The report cannot be read, is damaged or too old, is not of this store, or
            is not signed by a key that is trusted.
    """
    said, path = config.capabilities, config.report_path
    now = now or datetime.now(UTC)
    if path is not None:
        said = _load(path, config.capabilities_trust, now)
    if isinstance(said, CapabilityReport):
        _check_counts(said, config, now)
    return said


@typed
def load_report(
    path: str | os.PathLike[str], *, trust: str | os.PathLike[str] | None = None
) -> CapabilityReport:
    """Read the file of a report, for the setting `capabilities` of the store that was checked.

    Args:
        path: As `credstore check-provider --report` wrote it.
        trust: Path of a trust store (`keys.json`), one of whose keys that is valid now must have signed it;
            None to take it as it is.

    Raises:
        StorageInvalidRequestError: An argument has a wrong type.
        StorageConfigurationError: It cannot be read, is damaged, or is not signed as it must be.
    """
    keys = None if trust is None else os.fspath(trust)
    return _load(os.fspath(path), keys, datetime.now(UTC))


def _load(path: str, trust: str | None, now: datetime) -> CapabilityReport:
    data = _read(path, "the report")
    keys = None if trust is None else _read(trust, "the trust store")
    try:
        if keys is not None:
            # By its name, since proofs are made of what is here.
            verify: Verify = import_module(_VERIFIER).verified_members
            return read_report(verify(data, keys, now))
        members = parse_object(data)
        return read_report(_inside(members)) if _PAYLOAD in members else parse_report(data)
    except StorageError as error:
        message = error.message
    raise StorageConfigurationError(f"the report {path!r} does not count: {message}")


def _read(path: str, what: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(LARGEST_REPORT + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not a path"
    raise StorageConfigurationError(f"{what} {path!r} cannot be read: {why}")


def _inside(envelope: Members) -> Members:
    """What a signed report says, whoever signed it."""
    try:
        statement = parse_object(b64decode(envelope[_PAYLOAD], validate=True))
    except (NotBase64, TypeError, ValueError):
        _damaged()
    predicate = statement.get("predicate")
    if statement.get("predicateType") != REPORT_TYPE or not isinstance(predicate, dict):
        _damaged()
    return cast("Members", predicate)


def _damaged() -> NoReturn:
    raise StorageConfigurationError("the report of the store is damaged, or a statement about something else")


def _check_counts(report: CapabilityReport, config: CommonConfig, now: datetime) -> None:
    provider, place = place_of(config)
    if (report.provider, report.place) != (provider, place):
        raise StorageConfigurationError(
            f"the report of `capabilities` is not of this store: it is of {_spoken((report.provider,))} at "
            f"{_spoken(report.place)}, and this is {provider} at {_spoken(place)}; "
            "run credstore check-provider on this one"
        )
    if report.tested_at > now + CLOCKS:
        raise StorageConfigurationError(
            f"the report of `capabilities` is dated in the future, {report.tested_at:%Y-%m-%d %H:%M:%SZ}"
        )
    if now - report.tested_at > LONGEST_AGE:
        raise StorageConfigurationError(
            f"the report of `capabilities` is of {report.tested_at:%Y-%m-%d}, and counts for "
            f"{LONGEST_AGE.days} days; run credstore check-provider again"
        )


def check_place(said: Said, config: CommonConfig) -> None:
    """Refuse a report of another store than this, whose place has only been found out by now.

    Raises:
        StorageConfigurationError: It belongs to another one, or is too old.
    """
    if isinstance(said, CapabilityReport):
        _check_counts(said, config, datetime.now(UTC))


def place_of(config: CommonConfig) -> tuple[str, tuple[str, ...]]:
    """Provider and place of a store, however it is tuned, without its prefix; reads files of AWS's at most.

    Where its keys come from does not matter: a profile stands for where it leads. A bucket at AWS's own
    endpoints is named as in policies, since its name is the only one in the partition, whatever its region.

    Raises:
        StorageConfigurationError: A profile of the AWS configuration decides, and leads nowhere.

    >>> from credstore.config.local import LocalConfig
    >>> place_of(LocalConfig(path="/srv/proofs", prefix="team/a"))
    ('local', ('/srv/proofs',))
    """
    if config.place_is_open:
        from credstore.config.chained import located_once  # Loads the settings of clouds.

        config = located_once(config)
    endpoint, name = getattr(config, "resolved_endpoint", ""), getattr(config, "bucket", "")
    found = _OF_AWS.fullmatch(endpoint)
    if found is not None:
        region = found[1] or ""
        partition = "aws-cn" if found[2] else "aws-us-gov" if region.startswith("us-gov-") else "aws"
        return config.provider, (f"arn:{partition}:s3:::{name}",)
    return config.provider, _texts(config.place)


def _texts(place: object) -> tuple[str, ...]:
    if isinstance(place, tuple):
        return tuple(text for each in cast("tuple[object, ...]", place) for text in _texts(each))
    if isinstance(place, CommonConfig):
        return (place.public_base,)
    return () if place is None else (str(place),)


def _spoken(place: tuple[str, ...]) -> str:
    """For a message: a report may come from anywhere, so nothing in it acts on a terminal or a log."""
    text = " ".join(place)
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def without_statement(config: StatedConfig) -> StatedConfig:
    """The same store, of which nothing is stated: as its row has it."""
    return replace(config, capabilities="", capabilities_trust=None)
