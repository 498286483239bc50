"""A driver that may not be called: closed, of another process, or too late; in this order."""

import time

import pytest

from credstore.driver.guard import Guard
from credstore.errors import StorageInvalidRequestError, StorageTimeoutError


def test_a_driver_that_is_open_and_in_time_may_be_called():
    guard = Guard("acme")
    guard.check()
    guard.check(time.monotonic() + 60)


@pytest.mark.parametrize("deadline", [None, 0.0])
def test_a_closed_one_says_so(deadline):
    guard = Guard("acme")
    guard.closed = True
    with pytest.raises(StorageInvalidRequestError, match="acme store is closed; open a new one") as caught:
        guard.check(deadline)
    assert (caught.value.code, caught.value.applied, caught.value.retryable) == ("CLOSED", "no", False)


def test_one_of_another_process_says_so(monkeypatch):
    guard = Guard("acme")
    monkeypatch.setattr("credstore.forks.count", 1)
    with pytest.raises(StorageInvalidRequestError, match="forked from") as caught:
        guard.check()
    assert (caught.value.code, caught.value.applied) == ("FORKED", "no")
    Guard("made here").check()


def test_a_deadline_that_has_passed_is_a_timeout_that_applied_nothing():
    with pytest.raises(StorageTimeoutError) as caught:
        Guard("acme").check(time.monotonic())
    assert (caught.value.code, caught.value.applied, caught.value.retryable) == ("TIMEOUT", "no", True)
