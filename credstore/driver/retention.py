"""What a retention forbids, decided once for stores that keep it themselves and for the provider. Pure.

Rules of this file: a retention counts until its end, a legal hold until it is released, each for itself; what
has not ended is only ever lengthened, except a retention in the mode "governance" with the permission for it.

Source: S3 User Guide, "Locking objects with Object Lock": retention modes, retention periods, legal holds.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from credstore.errors import ErrorFacts, RetentionMode, StorageRetainedError
from credstore.model import Retention

NOT_RETAINED: Final = Retention()
"""Of what nothing keeps."""


def in_force(retention: Retention, now: datetime) -> Retention:
    """The part of it that still keeps an object: without a retention that has ended.

    Args:
        retention: As reported; one without a date, which no store should report, counts as not ended.
        now: With its time zone.
    """
    if retention.mode is None or retention.retain_until is None or retention.retain_until > now:
        return retention
    return NOT_RETAINED if not retention.legal_hold else replace(retention, mode=None, retain_until=None)


def keeps(retention: Retention) -> bool:
    """Whether what is in force forbids to remove the object."""
    return retention.mode is not None or retention.legal_hold


def honours(found: Retention, asked: Retention) -> bool:
    """Whether what keeps an object is at least what was asked for."""
    if asked.legal_hold and not found.legal_hold:
        return False
    if asked.mode is None or asked.retain_until is None:
        return True
    long_enough = found.retain_until is not None and found.retain_until >= asked.retain_until
    return long_enough and found.mode in {asked.mode, "compliance"}


def reason(retention: Retention) -> str:
    """What keeps an object, for people to read: continues "it is kept by"."""
    found: list[str] = []
    if retention.mode is not None:
        found.append(f"a retention ({retention.mode}) until {_shown(retention.retain_until)}")
    if retention.legal_hold:
        found.append("a legal hold until it is released")
    return " and ".join(found)


def _shown(until: datetime | None) -> str:
    return "an unknown date" if until is None else f"{until:%Y-%m-%dT%H:%M:%SZ}"


def retained(retention: Retention, facts: ErrorFacts | None = None) -> StorageRetainedError:
    """The error of what a retention in force forbids.

    Args:
        retention: In force.
        facts: Of the store's own refusal, if there was one.
    """
    return _refusal(f"it is kept by {reason(retention)}", retention, facts)


def _refusal(message: str, retention: Retention, facts: ErrorFacts | None = None) -> StorageRetainedError:
    known: ErrorFacts = {} if facts is None else facts
    known["code"] = StorageRetainedError.default_code
    known["retain_until"], known["mode"] = retention.retain_until, retention.mode
    known["legal_hold"] = retention.legal_hold
    return StorageRetainedError(message, **known)


def check_removable(retention: Retention, now: datetime) -> None:
    """Refuse to remove or replace what is kept.

    Raises:
        StorageRetainedError: Something keeps it; the error says what, and until when.
    """
    kept = in_force(retention, now)
    if keeps(kept):
        raise retained(kept)


def changed(
    retention: Retention,
    retain_until: datetime | None,
    mode: RetentionMode,
    *,
    now: datetime,
    bypass_governance: bool,
) -> Retention:
    """What keeps an object after its retention was set; a legal hold stays.

    Args:
        retention: What keeps it now.
        retain_until: End of the new retention, or None to remove it.
        mode: Of the new retention.
        now: With its time zone.
        bypass_governance: Whether one in the mode "governance" may be shortened, weakened or removed.

    Raises:
        StorageRetainedError: It would be shortened or weakened, and may not be.
    """
    kept = in_force(retention, now)
    if kept.mode is not None:
        until = kept.retain_until
        shorter = retain_until is None or until is None or retain_until < until
        weaker = kept.mode == "compliance" and mode != "compliance"
        if weaker and not shorter:
            raise _refusal(
                f"its retention (compliance) until {_shown(until)} cannot become one in the mode "
                f'"{mode}"; give mode="compliance" to lengthen it',
                kept,
            )
        if kept.mode == "compliance" and shorter:
            raise _refusal(
                f"its retention (compliance) until {_shown(until)} can only be lengthened, by anybody", kept
            )
        if shorter and not bypass_governance:
            raise _refusal(
                f"its retention (governance) until {_shown(until)} can only be lengthened, except with "
                "bypass_governance=True and the permission for it",
                kept,
            )
    if retain_until is None:
        return Retention(legal_hold=kept.legal_hold)
    return Retention(mode=mode, retain_until=retain_until, legal_hold=kept.legal_hold)
