"""Sizes and durations as people write them."""

import pytest

from credstore import parse_duration, parse_size
from credstore.errors import StorageInvalidRequestError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512", 512),
        ("5MB", 5_000_000),
        ("8MiB", 8 * 2**20),
        ("1.5 GiB", 3 * 2**29),
        ("64kb", 64_000),
        ("0" * 39 + "5", 5),
    ],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "5M", "-1", "1.5", "1e3", "٣", "5 apples", "1" * 41, "0.0001KB"])
def test_what_is_no_size(text):
    with pytest.raises(StorageInvalidRequestError):
        parse_size(text)


def test_an_answer_never_repeats_what_may_be_a_secret():
    for parse in (parse_size, parse_duration):
        with pytest.raises(StorageInvalidRequestError) as caught:
            parse("canary-secret")
        assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("0.5", 0.5),
        ("500ms", 0.5),
        ("30s", 30),
        ("1h30m", 5400),
        ("7d", 604_800),
        ("2w", 1_209_600),
        ("0" * 39 + "5", 5),
    ],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1s", "1y", "h", "1 h m", "1e3", "1" * 41])
def test_what_is_no_duration(text):
    with pytest.raises(StorageInvalidRequestError):
        parse_duration(text)
