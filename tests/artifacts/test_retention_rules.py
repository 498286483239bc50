"""Which versions a rule keeps."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore.artifacts.retention import checked_age, checked_keep, kept
from credstore.errors import StorageInvalidRequestError

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
DAILY = [(number, START + timedelta(days=number - 1)) for number in range(1, 366)]


def test_a_year_of_daily_backups_thins_out():
    keeping = kept(DAILY, "7d,4w,12m")
    days = sorted(DAILY[number - 1][1].date().isoformat() for number in keeping)
    assert days == [
        "2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31", "2026-06-30", "2026-07-31",
        "2026-08-31", "2026-09-30", "2026-10-31", "2026-11-30", "2026-12-13", "2026-12-20", "2026-12-25",
        "2026-12-26", "2026-12-27", "2026-12-28", "2026-12-29", "2026-12-30", "2026-12-31",
    ]  # fmt: skip


def test_a_number_keeps_the_last_ones():
    assert kept(DAILY, 3) == kept(DAILY, "3") == {363, 364, 365}


def test_of_one_period_the_last_is_kept():
    hours = [(number, START + timedelta(hours=number)) for number in range(1, 5)]
    assert kept(hours, "1d") == {4}
    assert kept(hours, "3h") == {2, 3, 4}


def test_days_without_a_version_do_not_count():
    sparse = [(1, START), (2, START + timedelta(days=50)), (3, START + timedelta(days=90))]
    assert kept(sparse, "3d") == {1, 2, 3}
    assert kept(sparse, "1y") == {3}


@given(
    st.lists(
        st.tuples(st.integers(1, 999), st.datetimes(timezones=st.just(UTC))), unique_by=lambda each: each[0]
    ),
    st.sampled_from(["1", "2d", "7d,4w,12m", "1y,1h", 5]),
)
def test_the_last_number_always_stays(versions, keep):
    keeping = kept(versions, keep)
    assert keeping <= {number for number, _ in versions}
    if versions:
        assert max(number for number, _ in versions) in keeping


@pytest.mark.parametrize("keep", ["", "0", 0, -1, "d", "7 days", "7d,,4w", "7x", "7d;4w", True, None, 1.5])
def test_wrong_rules(keep):
    with pytest.raises(StorageInvalidRequestError, match="keep"):
        checked_keep(keep)


def test_ages():
    assert checked_age("7d") == checked_age("1w") == timedelta(days=7)
    assert checked_age("12h") == timedelta(hours=12)
    for wrong in ["", "7", "7m", "-1d", timedelta(-1)]:
        with pytest.raises(StorageInvalidRequestError, match="age"):
            checked_age(wrong)
