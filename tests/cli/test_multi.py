"""Every command that makes sense on several stores, with the URL of several."""

import os
from pathlib import Path

import pytest

from credstore.cli.main import COMMANDS
from credstore.strategies.table import STRATEGIES

CONTENT = b'{"claim": "signed"}' * 300
ELSEWHERE = {
    "built on objects": {"proof", "dataset", "model", "checkpoint", "backup", "archive-logs"},
    "of one store's own": {
        "form",
        "versions",
        "restore",
        "retain",
        "hold",
        "release",
        "retention",
        "collect",
    },
    "without a store": {
        "keys",
        "providers",
        "verify-transfer",
        "top",
        "demo",
        "storage",
        "stores",
        "trust",
        "completion",
    },
    "of a file, with proofs of one store at most": {"verify"},
    "on other stores than those here": {"check-provider", "serve", "dictionary", "log", "rotate-keys"},
    "of one strategy": {"scrub", "rebalance"},
    "of one of the stores": {"doctor", "explain"},
}
"""Commands that are not here, and why; what is built on objects is tested once, on one store."""
SAYS = {
    "ls": "proofs/a.json",
    "du": "proofs/",
    "stat": "proofs/a.json",
    "stats": "1",
    "health": "",
}


@pytest.fixture(params=sorted(STRATEGIES))
def several(request, root, tmp_path, monkeypatch):
    """The URL of three local stores as one, in the environment."""
    stores = "&".join(f"store={(tmp_path / name).as_uri()}" for name in ("one", "two", "three"))
    monkeypatch.setenv("CREDSTORE_URL", f"multi://{request.param.lower()}?{stores}")
    monkeypatch.setenv("CREDSTORE_LINK_SECRET", "s" * 32)
    return request.param


def test_every_command_has_a_place():
    named = set().union(*ELSEWHERE.values())
    assert named <= COMMANDS.keys()
    assert COMMANDS.keys() - named == {*SAYS, *DONE}


def put(cli, key="proofs/a.json"):
    cli.put(key, CONTENT)


def get(cli):
    cli("get", "proofs/a.json", "out.json")
    assert Path("out.json").read_bytes() == CONTENT


def cat(cli):
    assert cli("cat", "proofs/a.json").out.encode() == CONTENT


def cp(cli):
    cli("cp", "proofs/a.json", "proofs/b.json")
    assert cli("cat", "proofs/b.json").out.encode() == CONTENT
    assert cli("cat", "proofs/a.json").out.encode() == CONTENT


def mv(cli):
    cli("mv", "proofs/a.json", "moved/a.json")
    assert cli("cat", "moved/a.json").out.encode() == CONTENT
    cli("stat", "proofs/a.json", code=3)


def rm(cli):
    cli("rm", "proofs/a.json")
    cli("stat", "proofs/a.json", code=3)
    assert cli("ls").out == ""


def folder():
    place = Path("folder")
    place.mkdir()
    (place / "x.json").write_bytes(CONTENT)
    return place


def sync(cli):
    cli("sync", str(folder()), "store:synced")
    assert cli("cat", "synced/x.json").out.encode() == CONTENT


def migrate(cli):
    cli("migrate", str(folder()), "store:moved")
    assert cli("cat", "moved/x.json").out.encode() == CONTENT


def compare(cli):
    cli("sync", str(folder()), "store:synced")
    cli("compare", "folder", "store:synced")


def link(cli):
    assert "proofs/a.json" in cli("link", "proofs/a.json").out


DONE = {each.__name__: each for each in (put, get, cat, cp, mv, rm, sync, migrate, compare, link)}


@pytest.mark.parametrize("verb", [*SAYS, *DONE])
def test_a_command_works_on_several_stores(cli, several, verb):
    put(cli)
    if verb in DONE:
        DONE[verb](cli)
        return
    arguments = {"stat": ["proofs/a.json"]}.get(verb, [])
    assert SAYS[verb] in cli("--timeout", "20s", verb, *arguments).out


def test_prices_are_of_one_store(cli, several):
    assert "--store" in cli("explain", "store", "5000", code=2).err


def test_stores_are_examined_one_by_one(cli, several):
    assert "--store" in cli("doctor", code=2).err
    assert "--store" in cli("doctor", os.environ["CREDSTORE_URL"], code=2).err


def test_a_place_can_be_several_stores(cli, several, monkeypatch, tmp_path):
    url = os.environ["CREDSTORE_URL"]
    monkeypatch.setenv("CREDSTORE_URL", (tmp_path / "alone").as_uri())
    put(cli)
    cli("sync", "store:", url)
    assert "proofs/a.json" in cli("--store", url, "ls").out
    cli("compare", url, "store:")
