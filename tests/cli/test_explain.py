"""`credstore explain` shows a plan and a bill without sending anything."""

import pytest


def test_a_plan_and_its_bill_with_date_and_source(cli, monkeypatch):
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"R2_{name}", "example")
    ended = cli("--store", "r2://bucket?account_id=" + "0" * 32, "explain", "store", "20MB")
    for word in ("send the parts", "storage for 30 days", "together", "R2 Standard", "2026-10", "pricing"):
        assert word in ended.out


def test_numbers_for_programs(cli):
    told = cli("--json", "explain", "store", "5").document
    assert (told["verb"], told["size"], told["total"]) == ("store", 5, 0.0)
    assert told["steps"] == [{"what": "write", "kind": "write", "count": 1, "cost": 0.0}]


@pytest.mark.parametrize("arguments", [("steal", "1"), ("store", "much"), ("store", "1", "--days", "-1")])
def test_what_cannot_be_explained(cli, arguments):
    cli("explain", *arguments, code=2)
