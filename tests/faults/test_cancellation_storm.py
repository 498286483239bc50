"""Thousands of calls cancelled at any turn of the loop: nothing is left running, open or half there (P16)."""

import os

import pytest

from tests.faults.storm import LEAKS, over_local, over_s3, run

CANCELS = int(os.environ.get("CREDSTORE_TEST_CANCELS", "5000"))
SEED = int(os.environ.get("CREDSTORE_TEST_SEED", "1"))


@pytest.mark.parametrize("over", [over_s3, over_local], ids=["s3", "local"])
def test_nothing_is_left(over, tmp_path):
    ended = run(over, tmp_path / "file", CANCELS, SEED)
    for name in {name for name, _ in ended}:
        assert ended[name, "cancelled"], f"{name} was never cancelled"


@pytest.mark.parametrize("name", LEAKS)
def test_a_leak_is_seen(name, tmp_path, monkeypatch):
    over, leak = LEAKS[name]
    leak(monkeypatch)
    with pytest.raises(AssertionError):
        run(over, tmp_path / "file", 600, SEED)
