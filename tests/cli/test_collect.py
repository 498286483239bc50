"""`credstore collect` removes what a store with shared bodies no longer needs."""


def test_a_collection_says_what_it_found(cli, root, monkeypatch):
    monkeypatch.setenv("CREDSTORE_DEDUP", "true")
    for key in ("a", "b"):
        cli.put(key, bytes(range(256)) * 100)
    cli("rm", "a", "--yes") if "--yes" in cli("rm", "--help").out else cli("rm", "a")
    told = cli("--json", "collect").document
    assert (told["references"], told["bodies"], told["removed"]) == (1, 1, 0)
    assert "1 references to 1 bodies" in cli("collect", "--grace", "2h").err
    for wrong in ("much", "1m"):
        assert cli("collect", "--grace", wrong, code=2 if wrong == "much" else cli.__class__ and 1)
