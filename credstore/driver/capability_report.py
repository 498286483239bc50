"""What a live check found of one store, as a value and as JSON: `credstore check-provider` writes it. Pure.

Rules of this file: a report speaks of one place, at one time, and of what was seen there; how far it is
believed is decided by whoever opens a store with it (`config/reports.py`). What does not read exactly as it
was written is refused: a report may grant, so a damaged one must not be taken for another.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Literal, NoReturn, TypeAlias, cast, get_args

from credstore.arguments import typed_class
from credstore.errors import StorageConfigurationError

Honoured = Literal["yes", "no", "not tried"]
Members: TypeAlias = dict[str, Any]
REPORT_TYPE = "https://credstore.dev/capabilities/v1"
"""Type of a report: `type` of a plain one, predicate type of a signed one."""
LARGEST_REPORT = 1024 * 1024
MOST_FACTS = 500
STORAGE_CLASS = "storage_class:"
"""Before the name of a storage class, in a report as in the setting `capabilities`."""
_NAME = re.compile(rf"[a-z][a-z0-9_]{{0,63}}|{STORAGE_CLASS}[!-+\--~]{{1,63}}")
"""A capability or a storage class, whose name goes into a header, and into a list with commas."""
_LONGEST = 4096
_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class CapabilityFact:
    """One thing that a store may do, as it was found.

    Attributes:
        name: What; `Capabilities`, or the S3 row, has most of the names.
        granted: Whether the store's row said that it does this; None where nothing relies on it.
        honoured: Whether it did.
        why: What was seen, or what it would take to find out; "" for a plain yes.
    """

    name: str
    granted: bool | None
    honoured: Honoured
    why: str = ""

    @property
    def verdict(self) -> str:
        """Row and finding side by side: "same", or how they differ."""
        if self.honoured == "not tried":
            return "not known"
        if self.granted is None:
            return "for information"
        if self.granted == (self.honoured == "yes"):
            return "same"
        return "granted but not honoured" if self.granted else "honoured but not granted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long one verb took, in microseconds: nearest-rank percentiles of `samples` calls.

    Attributes:
        verb: Name of the `StorageProvider`'s verb.
        samples: How many calls.
        p50: Half of them took at most this long.
        p95: 95 of 100.
        p99: 99 of 100.
        original: The original design's figure.
    """

    verb: str
    samples: int
    p50: int
    p95: int
    p99: int
    original: int


@typed_class
@dataclass(frozen=True, kw_only=True)
class CapabilityReport:
    """What a live check found of one store; give it to `capabilities` of that store's config.

    Attributes:
        provider: The store's provider, such as "s3" or "custom".
        place: Where it is: endpoint and bucket, the root directory, or the name.
        tested_at: When, UTC, to the second.
        facts: What was found, each name once.
        latencies: How long the verbs took.
        region: Where the bucket is, as the server says; "unknown" where it does not.
        location_type: What kind of place that is, such as "AvailabilityZone", or "unknown".
        failed_checks: Checks of the conformance list that failed, and what they said; empty where it was not
            run.
        checks: How many of them held.
        checks_not_run: How many could not be carried out.

    Raises:
        StorageConfigurationError: A field has a wrong type.
    """

    provider: str
    place: tuple[str, ...]
    tested_at: datetime
    facts: tuple[CapabilityFact, ...]
    latencies: tuple[Latency, ...] = ()
    region: str = "unknown"
    location_type: str = "unknown"
    failed_checks: tuple[tuple[str, str], ...] = ()
    checks: int = 0
    checks_not_run: int = 0

    def __repr__(self) -> str:
        return f"CapabilityReport({self.provider!r}, {self.place!r}, {self.tested_at:{_TIME}})"

    def found(self) -> Mapping[str, bool]:
        """What was tried: whether the store does it, by name."""
        return {fact.name: fact.honoured == "yes" for fact in self.facts if fact.honoured != "not tried"}

    @property
    def broken(self) -> tuple[str, ...]:
        """Names of what the row grants and the store does not do."""
        return tuple(fact.name for fact in self.facts if fact.granted and fact.honoured == "no")


def encode_report(report: CapabilityReport) -> bytes:
    """The bytes of a plain report, with the digest of what it says.

    Raises:
        StorageConfigurationError: It could not be read again.
    """
    members = report_members(report)
    written = {**members, "type": REPORT_TYPE, "sha256": digest_of(members)}
    return json.dumps(written, ensure_ascii=False, indent=1).encode() + b"\n"


def report_members(report: CapabilityReport) -> Members:
    """A report as a JSON object of texts, whole numbers, lists and objects.

    Raises:
        StorageConfigurationError: It could not be read again.
    """
    members: Members = {
        "provider": report.provider,
        "place": list(report.place),
        "testedAt": report.tested_at.astimezone(UTC).strftime(_TIME),
        "facts": [_members(fact) for fact in report.facts],
        "latencies": [_members(each) for each in report.latencies],
        "region": report.region,
        "locationType": report.location_type,
        "failedChecks": [list(each) for each in report.failed_checks],
        "checks": report.checks,
        "checksNotRun": report.checks_not_run,
    }
    read_report(members)
    return members


def _members(value: CapabilityFact | Latency) -> Members:
    return {field.name: getattr(value, field.name) for field in fields(value)}


def digest_of(members: Members) -> str:
    """Hex SHA-256 of a report's members, whatever their order and spacing."""
    steady = json.dumps(members, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(steady.encode(errors="surrogatepass")).hexdigest()


def parse_report(data: bytes) -> CapabilityReport:
    """Read a plain report.

    Raises:
        StorageConfigurationError: It is not a report, or was changed since it was written.
    """
    members = parse_object(data)
    if members.pop("type", None) != REPORT_TYPE:
        _wrong(f"is not of the type {REPORT_TYPE}")
    digest = members.pop("sha256", None)
    report = read_report(members)
    if digest != digest_of(members):
        _wrong("was changed since it was written: its digest does not fit")
    return report


def parse_object(data: bytes) -> Members:
    """The JSON object that a report's file holds.

    Raises:
        StorageConfigurationError: It does not hold one, or is too large.
    """
    if len(data) > LARGEST_REPORT:
        _wrong(f"has more than {LARGEST_REPORT:,} bytes")
    try:
        value: object = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        _wrong("is not a JSON object")
    return cast("Members", value)


def read_report(members: Members) -> CapabilityReport:
    """Read the members of a report.

    Raises:
        StorageConfigurationError: One is missing, unknown or of another kind.
    """
    known = {
        "provider", "place", "testedAt", "facts", "latencies", "region", "locationType", "failedChecks",
        "checks", "checksNotRun",
    }  # fmt: skip
    _check_names("it", members, known)
    facts = tuple(_read_fact(each) for each in _list(members["facts"], "facts"))
    if len({fact.name for fact in facts}) != len(facts):
        _wrong("has a fact twice")
    return CapabilityReport(
        provider=_text(members["provider"], "provider"),
        place=tuple(_text(each, "place") for each in _list(members["place"], "place")),
        tested_at=_read_time(members["testedAt"]),
        facts=facts,
        latencies=tuple(_read_latency(each) for each in _list(members["latencies"], "latencies")),
        region=_text(members["region"], "region"),
        location_type=_text(members["locationType"], "locationType"),
        failed_checks=tuple(_read_failed(each) for each in _list(members["failedChecks"], "failedChecks")),
        checks=_count(members["checks"], "checks"),
        checks_not_run=_count(members["checksNotRun"], "checksNotRun"),
    )


def is_name(text: str) -> bool:
    """Whether a fact of a report can have this name."""
    return _NAME.fullmatch(text) is not None


def _read_fact(value: object) -> CapabilityFact:
    members = _object(value, "a fact", CapabilityFact)
    name = _text(members["name"], "name")
    if not is_name(name):
        _wrong("has a fact without a proper name")
    granted = members["granted"]
    if members["honoured"] not in get_args(Honoured) or not isinstance(granted, bool | None):
        _wrong(f"does not say properly whether {name} is granted and honoured")
    return CapabilityFact(
        name=name,
        granted=granted,
        honoured=members["honoured"],
        why=_text(members["why"], "why"),
    )


def _read_latency(value: object) -> Latency:
    members = _object(value, "a latency", Latency)
    counts = {name: _count(each, name) for name, each in members.items() if name != "verb"}
    return Latency(verb=_text(members["verb"], "verb"), **counts)


def _read_failed(value: object) -> tuple[str, str]:
    pair = _list(value, "failedChecks")
    if len(pair) != 2:  # noqa: PLR2004 - a check and what it says
        _wrong("has a failed check without its reason")
    return _text(pair[0], "failedChecks"), _text(pair[1], "failedChecks")


def _read_time(value: object) -> datetime:
    try:
        return datetime.strptime(_text(value, "testedAt"), _TIME).replace(tzinfo=UTC)
    except ValueError:
        _wrong("does not say when it was made")


def _object(value: object, what: str, kind: type[CapabilityFact | Latency]) -> Members:
    if not isinstance(value, dict):
        _wrong(f"has {what} that is not an object")
    members = cast("Members", value)
    _check_names(what, members, {field.name for field in fields(kind)})
    return members


def _check_names(what: str, members: Members, known: set[str]) -> None:
    if members.keys() != known:
        odd = min(members.keys() ^ known)
        _wrong(f"is damaged: in {what}, {odd[:40]!r} is missing or unknown")


def _list(value: object, name: str) -> Sequence[object]:
    if not isinstance(value, list) or len(cast("list[object]", value)) > MOST_FACTS:
        _wrong(f"has {name} that are not a list of at most {MOST_FACTS}")
    return cast("list[object]", value)


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST:
        _wrong(f"has a {name} that is not a text of at most {_LONGEST:,} characters")
    return value


def _count(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        _wrong(f"has a {name} that is not a whole number")
    return value


def _wrong(how: str) -> NoReturn:
    raise StorageConfigurationError(f"the report of the store {how}")
