"""`credstore collect` removes what a store with shared bodies no longer needs."""

import pytest


def test_a_collection_says_what_it_found(cli, root, monkeypatch):
    monkeypatch.setenv("CREDSTORE_DEDUP", "true")
    for key in ("a", "b"):
        cli.put(key, bytes(range(256)) * 100)
    cli("rm", "a")
    told = cli("--json", "collect").document
    assert (told["references"], told["bodies"], told["removed"]) == (1, 1, 0)
    assert "1 references to 1 bodies" in cli("collect", "--grace", "2h").err


@pytest.mark.parametrize("grace", ["much", "1m"])
def test_a_grace_that_is_none_or_too_short_is_refused(cli, monkeypatch, grace):
    monkeypatch.setenv("CREDSTORE_DEDUP", "true")
    cli("collect", "--grace", grace, code=2)


def test_a_store_without_shared_bodies_has_nothing_to_collect(cli):
    assert "dedup=True" in cli("collect", code=1).err
