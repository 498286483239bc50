"""The checker itself: histories made by hand, good and bad, and all small ones against brute force."""

from itertools import combinations, permutations
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.properties.linearizability import ANY, Operation, explain


def read(value, called, returned):
    return Operation("read", called, returned, value)


def write(value, called, returned, outcome="ok"):
    return Operation("write", called, returned, value, outcome=outcome)


def create(value, called, returned, outcome="ok"):
    return Operation("create", called, returned, value, outcome=outcome)


def replace(expected, value, called, returned, outcome="ok"):
    return Operation("replace", called, returned, value, expected, outcome)


def delete(called, returned, outcome="ok", expected=ANY):
    return Operation("delete", called, returned, None, expected, outcome)


GOOD = {
    "nothing at all": [],
    "one after the other": [write(1, 0, 1), read(1, 2, 3), delete(4, 5), read(None, 6, 7)],
    "a read during a write sees either": [write(1, 0, 9), read(None, 1, 2), read(1, 3, 4)],
    "the later call comes first": [write(1, 0, 9), write(2, 1, 8), read(2, 10, 11)],
    "one of two creations wins": [create(1, 0, 5), create(2, 1, 4, "refused"), read(1, 6, 7)],
    "a replacement of what was there": [write(1, 0, 1), replace(1, 2, 2, 3), read(2, 4, 5)],
    "a stale replacement is refused": [write(1, 0, 1), write(2, 2, 3), replace(1, 3, 4, 5, "refused")],
    "an unclear write happened": [write(1, 0, 1, "maybe"), read(1, 2, 3)],
    "an unclear write never happened": [write(1, 0, 1, "maybe"), read(None, 2, 3), read(None, 4, 5)],
    "an unclear write happened late": [
        write(1, 0, 1, "maybe"), read(None, 2, 3), write(2, 4, 5), read(2, 6, 7), read(1, 8, 9),
    ],
    "an unclear delete happened late": [write(1, 0, 1), delete(2, 3, "maybe"), read(1, 4, 5), read(None, 6, 7)],
    "an unclear creation lost": [create(1, 0, 1, "maybe"), create(2, 2, 3), read(2, 4, 5)],
    "an unclear creation won": [create(1, 0, 1, "maybe"), create(2, 2, 3, "refused"), read(1, 4, 5)],
    "a conditional delete of the version": [write(1, 0, 1), delete(2, 3, expected=1), read(None, 4, 5)],
    "a conditional delete of nothing": [delete(0, 1, expected=1)],
    "a conditional delete of another": [write(1, 0, 1), delete(2, 3, "refused", expected=2), read(1, 4, 5)],
    "a calling and a returning at one instant": [write(1, 0, 1), read(None, 1, 2)],
}  # fmt: skip
BAD = {
    "a value from nowhere": [read(1, 0, 1)],
    "a lost write": [write(1, 0, 1), read(None, 2, 3)],
    "a stale read": [write(1, 0, 1), write(2, 2, 3), read(1, 4, 5)],
    "reads that go back": [write(1, 0, 1), write(2, 2, 9), read(2, 3, 4), read(1, 5, 6)],
    "two creations": [create(1, 0, 5), create(2, 1, 4)],
    "a creation refused by nothing": [create(1, 0, 1, "refused")],
    "two replacements of one version": [write(1, 0, 1), replace(1, 2, 2, 9), replace(1, 3, 2, 9)],
    "a replacement of nothing": [replace(1, 2, 0, 1)],
    "a replacement that was refused though it held": [write(1, 0, 1), replace(1, 2, 2, 3, "refused")],
    "a replacement that was refused and happened": [
        write(1, 0, 1), write(3, 2, 3), replace(1, 2, 4, 5, "refused"), read(2, 6, 7),
    ],
    "an unclear write that happened before its call": [read(1, 0, 1), write(1, 2, 3, "maybe")],
    "an unclear write that happened twice": [
        write(1, 0, 1, "maybe"), read(1, 2, 3), write(2, 4, 5), read(2, 6, 7), read(1, 8, 9),
    ],
    "a deletion that did not hold": [write(1, 0, 1), delete(2, 3), read(1, 4, 5)],
    "a conditional delete of another version": [write(1, 0, 1), delete(2, 3, expected=2)],
    "a lost update": [
        write(0, 0, 1), read(0, 2, 3), read(0, 2, 3), replace(0, 1, 4, 5), replace(0, 2, 4, 5), read(2, 6, 7),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_good(name):
    assert explain(GOOD[name]) is not None


@pytest.mark.parametrize("name", BAD)
def test_bad(name):
    assert explain(BAD[name]) is None


def test_it_gives_the_order_that_explains():
    history = [write(1, 0, 9), write(2, 1, 8), write(3, 2, 3, "maybe"), read(1, 10, 11)]
    assert explain(history) == [history[1], history[0], history[3]]


def test_it_can_start_with_something():
    assert explain([read(1, 0, 1)], 1) is not None


@st.composite
def operations(draw):
    called = draw(st.integers(0, 6))
    value, expected = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    kind = draw(st.sampled_from(["read", "write", "create", "replace", "delete"]))
    outcomes = {"read": ["ok"], "write": ["ok", "maybe"]}.get(kind, ["ok", "refused", "maybe"])
    if kind == "delete":
        value, expected = None, draw(st.sampled_from([ANY, 1]))
        outcomes = ["ok", "maybe"] if expected is ANY else outcomes
    if kind == "read":
        value = draw(st.sampled_from([None, 1, 2]))
    outcome = draw(st.sampled_from(outcomes))
    return Operation(kind, called, called + draw(st.integers(1, 5)), value, expected, outcome)


def brute_force(history):
    """Every choice of the unclear ones in every order."""
    sure = [each for each in history if each.outcome != "maybe"]
    unclear = [each for each in history if each.outcome == "maybe"]
    for count in range(len(unclear) + 1):
        for some in combinations(unclear, count):
            for order in permutations([*sure, *some]):
                if in_time(order) and fits(order):
                    return True
    return False


def in_time(order):
    earliest = -inf
    for each in order:
        earliest = max(earliest, each.called)
        if each.end < earliest:
            return False
    return True


def fits(order):
    state = None
    for each in order:
        found = each.after(state)
        if found is None:
            return False
        state = found[0]
    return True


@settings(max_examples=500, derandomize=True, database=None)
@given(st.lists(operations(), max_size=5))
def test_it_agrees_with_brute_force(history):
    order = explain(history)
    assert (order is not None) == brute_force(history)
    if order is not None:
        assert in_time(order)
        assert fits(order)
