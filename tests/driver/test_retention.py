"""The rules of retention: what is in force, what may replace it, and what an error says."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore.driver.retention import changed, check_removable, in_force, keeps
from credstore.errors import ErrorCode, StorageRetainedError
from credstore.model import Retention

NOW = datetime(2030, 1, 1, tzinfo=UTC)
DAYS = st.integers(-3, 3).map(lambda days: NOW + timedelta(days=days))
MODES = st.sampled_from(["governance", "compliance"])
RETENTIONS = st.one_of(
    st.builds(Retention, legal_hold=st.booleans()),
    st.builds(Retention, mode=MODES, retain_until=DAYS, legal_hold=st.booleans()),
)
LATER = DAYS.filter(lambda each: each > NOW)


@given(RETENTIONS)
def test_what_has_ended_keeps_nothing_and_a_hold_never_ends(retention):
    kept = in_force(retention, NOW)
    lasts = retention.mode is not None and retention.retain_until > NOW
    assert keeps(kept) == (lasts or retention.legal_hold)
    assert (kept.mode is not None) == lasts
    assert kept.legal_hold == retention.legal_hold


@given(RETENTIONS)
def test_what_is_kept_is_not_removable_and_the_error_says_until_when(retention):
    kept = in_force(retention, NOW)
    if not keeps(kept):
        check_removable(retention, NOW)
        return
    with pytest.raises(StorageRetainedError) as caught:
        check_removable(retention, NOW)
    error = caught.value
    assert (error.retain_until, error.mode, error.legal_hold) == (
        kept.retain_until,
        kept.mode,
        kept.legal_hold,
    )
    assert (error.code, error.applied) == (ErrorCode.LOCKED, "no")
    if kept.retain_until is not None:
        assert f"{kept.retain_until:%Y-%m-%dT%H:%M:%SZ}" in str(error)
    assert ("legal hold" in error.message) == kept.legal_hold


@given(RETENTIONS, st.one_of(st.none(), LATER), MODES, st.booleans())
def test_a_retention_is_never_weakened_except_by_a_bypass_of_governance(retention, until, mode, bypass):
    before = in_force(retention, NOW)
    after, refusal = retention, ""
    try:
        after = changed(retention, until, mode, now=NOW, bypass_governance=bypass)
    except StorageRetainedError as error:
        refusal = str(error)
    if refusal:
        assert before.mode is not None
        assert before.mode == "compliance" or not bypass
        longer = until is not None and before.retain_until is not None and until >= before.retain_until
        assert ("can only be lengthened" in refusal) == (not longer)
        return
    assert after.legal_hold == retention.legal_hold
    assert (after.mode, after.retain_until) == ((None, None) if until is None else (mode, until))
    if before.mode == "compliance":
        assert after.mode == "compliance"
        assert after.retain_until >= before.retain_until
    if before.mode == "governance" and not bypass:
        assert after.retain_until >= before.retain_until


@pytest.mark.parametrize("until", [NOW - timedelta(seconds=1), NOW])
def test_the_instant_of_its_end_is_free(until):
    check_removable(Retention(mode="compliance", retain_until=until), NOW)


def test_a_retention_without_a_date_counts():
    with pytest.raises(StorageRetainedError, match="unknown date"):
        check_removable(Retention(mode="compliance"), NOW)
