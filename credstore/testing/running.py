"""The checks without pytest: one, or all of them with a report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from credstore.errors import StorageError
from credstore.model import NOTHING
from credstore.testing.checks import CHECKS, Check
from credstore.testing.harness import ConformanceError, Deviation, Harness, NotRunError, fail
from credstore.testing.isolation import isolated, within


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the checks found; each one is named once.

    Attributes:
        passed: That hold.
        failed: That do not, and what they say; also an accepted deviation that does not occur any more.
        deviating: That fail as was accepted, and why it was.
        not_run: That could not be carried out, and what they need.
    """

    passed: Sequence[str] = ()
    failed: Mapping[str, str] = field(default=NOTHING)
    deviating: Mapping[str, str] = field(default=NOTHING)
    not_run: Mapping[str, str] = field(default=NOTHING)

    @property
    def ok(self) -> bool:
        """Whether nothing failed. What was not run is not known."""
        return not self.failed

    def __str__(self) -> str:
        counts = (
            f"{len(self.passed)} passed, {len(self.failed)} failed, {len(self.deviating)} deviating as"
            f" accepted, {len(self.not_run)} not run"
        )
        kinds = (("FAILED", self.failed), ("deviates", self.deviating), ("not run", self.not_run))
        told = [f"{kind}: {name}: {why}" for kind, found in kinds for name, why in found.items()]
        return "\n".join([*told, counts])


async def run_checks(
    harness: Harness,
    *,
    time_limit: float = 3600.0,
    check_limit: float = 300.0,
    step: Callable[[], None] | None = None,
) -> Report:
    """Run all checks, one after the other, each below a prefix of its own; see `Harness.prefix`.

    What a check stored is removed after it, in at most 2 minutes more.

    Args:
        harness: A store that may have other things in it.
        time_limit: Seconds for all checks; those not started by then are not run.
        check_limit: Seconds for one check; one that takes longer has failed.
        step: Called after each check.

    Raises:
        ConformanceError: A deviation names a check that does not exist.
    """
    check_deviations(harness)
    if harness.prefix is None:
        harness = replace(harness, prefix="")
    passed: list[str] = []
    failed: dict[str, str] = {}
    deviating: dict[str, str] = {}
    not_run: dict[str, str] = {}
    ends = time.monotonic() + time_limit
    for check in CHECKS:
        name, left = check.__name__, ends - time.monotonic()
        if left <= 0:
            not_run[name] = f"needs more time: the {time_limit:g} seconds for all checks are over"
            continue
        try:
            reason = await run_check(check, harness, limit=min(check_limit, left))
        except NotRunError as error:
            not_run[name] = str(error)
        except Exception as error:  # noqa: BLE001 - whatever a driver raises is the finding
            failed[name] = _told(error)
        else:
            if reason is None:
                passed.append(name)
            else:
                deviating[name] = reason
        if step is not None:
            step()
    return Report(passed=passed, failed=failed, deviating=deviating, not_run=not_run)


async def run_check(check: Check, harness: Harness, *, limit: float | None = None) -> str | None:
    """Run one check, in the harness's store as it is or below a prefix of it.

    Args:
        check: One of `CHECKS`.
        harness: Of the store.
        limit: Seconds that it may take, or None.

    Returns:
        None where the check holds, or the reason why its failing is accepted.

    Raises:
        ConformanceError: The driver breaks the contract, or an accepted deviation does not occur any more.
        NotRunError: The harness does not give what the check needs.
        TimeoutError: It took longer.
        Exception: Whatever else the driver raised.
    """
    check_deviations(harness)
    if harness.prefix is None:
        return await _judged(check, harness, limit)
    async with isolated(harness) as below:
        return await _judged(check, below, limit)


async def _judged(check: Check, harness: Harness, limit: float | None) -> str | None:
    accepted = [each for each in harness.deviations if each.check == check.__name__]
    try:
        await (_run(check, harness) if limit is None else within(limit, _run(check, harness), "it"))
    except (ConformanceError, StorageError) as error:
        for each in accepted:
            if each.shows in str(error):
                return each.reason
        raise
    if accepted:
        fail(f"an accepted deviation does not occur any more, so strike it: {_spoken(accepted[0])}")
    return None


async def _run(check: Check, harness: Harness) -> None:
    await check(harness)


def _spoken(deviation: Deviation) -> str:
    return f"{deviation.check} ({deviation.reason})"


def check_deviations(harness: Harness) -> None:
    """Refuse a deviation of a check that does not exist, which could never occur.

    Raises:
        ConformanceError: There is one.
    """
    known = {check.__name__ for check in CHECKS}
    unknown = sorted({each.check for each in harness.deviations} - known)
    if unknown:
        fail(f"deviations are accepted of checks that do not exist: {', '.join(unknown)}")


def _told(error: Exception) -> str:
    what = str(error) if isinstance(error, ConformanceError) else f"{type(error).__name__}: {error}"
    return "; ".join([what, *getattr(error, "__notes__", ())])
