"""What one look at the key says about an unclear write: every row of the table."""

import pytest

from credstore.driver.settle import settle

OURS, OTHER = "a" * 32, "b" * 32


@pytest.mark.parametrize(
    ("mode", "seen", "exists", "applied"),
    [
        ("overwrite", OURS, True, "yes"),
        ("overwrite", OTHER, True, "maybe"),
        ("overwrite", None, True, "maybe"),
        ("overwrite", None, False, "maybe"),
        ("create", OURS, True, "yes"),
        ("create", OTHER, True, "no"),
        ("create", None, True, "no"),
        ("create", None, False, "maybe"),
        ("replace", OURS, True, "yes"),
        ("replace", OTHER, True, "maybe"),
        ("replace", None, True, "maybe"),
        ("replace", None, False, "maybe"),
    ],
)
def test_every_row(mode, seen, exists, applied):
    assert settle(mode, OURS, seen, exists=exists) == applied
