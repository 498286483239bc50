"""Local files and folders in the arguments of all commands: a missing source is 2, an existing target is 5."""

from pathlib import Path

import pytest

from tests.artifacts.stores import write
from tests.cli.conftest import CommandLine
from tests.cli.test_artifacts import lab

__all__ = ["lab"]  # A fixture.
POLICY = ["--policy", "missing"]
ISSUER = ["--issuer", "https://lab.example"]
SIGNED = ["--key", "missing", *ISSUER]
MISSING = [
    ["put", "missing", "k"],
    ["put", "file", "missing", "folder/"],
    ["cp", "./missing", "k"],
    ["cp", "./missing/", "k/", "--recursive"],
    ["cp", "./", "x/", "--files-from", "missing"],
    ["mv", "./missing", "k"],
    ["sync", "./missing", "x/"],
    ["sync", "./missing/", "x/", "--yes"],
    ["migrate", "./", "memory://", "--evidence", "e", *SIGNED],
    ["migrate", "./missing", "memory://"],
    ["compare", "./missing", "memory://"],
    ["storage", "upload", "missing", "k"],
    ["storage", "sync", "./missing", "x/"],
    ["verify-transfer", "missing", "--trust", "keys.json"],
    ["verify-transfer", "e", "--trust", "missing"],
    ["keys", "show", "missing"],
    ["verify", "missing"],
    ["verify", "file", "--policy", "missing"],
    ["proof", "issue", "missing"],
    ["proof", "issue", "file", "--manifest", "missing"],
    ["proof", "issue", "file", "--claims", "@missing"],
    ["proof", "issue", "file", "--key", "missing"],
    ["proof", "issue-all", "./missing"],
    ["proof", "verify", "missing"],
    ["proof", "find", "missing"],
    ["proof", "history", "--asset", "missing", *POLICY],
    ["proof", "page", "0", "--out", "p", "--picture", "missing"],
    ["proof", "list", "--trust", "missing"],
    ["proof", "import-credlink", "missing"],
    ["proof", "keys", "publish", "p", "--key", "missing"],
    ["proof", "keys", "list", "--trust", "missing"],
    ["log", "init", "--key", "missing", "--origin", "o"],
    ["log", "append", "missing", "--key", "key.pem", "--origin", "o"],
    ["log", "proof", "0", *POLICY],
    ["log", "vkey", "--key", "missing", "--name", "o"],
    ["log", "monitor", *POLICY],
    ["dataset", "save", "d", "missing"],
    ["dataset", "list", "--trust", "missing"],
    ["model", "register", "m", "missing"],
    ["model", "verify-folder", "missing", "--public-key", "key.pem"],
    ["model", "verify-folder", "folder", "--public-key", "missing"],
    ["model", "verify-folder", "folder", "--public-key", "key.pem", "--signature", "missing"],
    ["checkpoint", "save", "r", "1", "missing"],
    ["backup", "save", "missing"],
    ["archive-logs", "missing", "--older-than", "7d"],
    ["serve", "--proofs", "127.0.0.1:0", "--trust", "missing"],
]
THERE = [
    ["get", "k", "file"],
    ["keys", "generate", "file"],
    ["proof", "keys", "generate", "file", *ISSUER],
    ["log", "keygen", "file"],
    ["dataset", "load", "d", "folder"],
    ["dataset", "load", "d", "file"],
    ["model", "get", "m", "folder"],
    ["checkpoint", "load", "r", "folder"],
    ["checkpoint", "load", "r", "link"],
    ["backup", "restore", "folder", "folder"],
    ["proof", "export", "PROOF", "-o", "file"],
    ["stores", "add", "one", "memory://"],
    ["demo", "--keep", "folder"],
]
NOWHERE = [
    ["get", "k", "no/such/file"],
    ["proof", "export", "PROOF", "-o", "no/such/file"],
    ["keys", "generate", "no/such/file"],
    ["proof", "keys", "generate", "no/such/file", *ISSUER],
    ["log", "keygen", "no/such/file"],
    ["dataset", "load", "d", "no/such/folder"],
    ["model", "get", "m", "no/such/folder"],
    ["checkpoint", "load", "r", "no/such/folder"],
    ["backup", "restore", "folder", "no/such/folder"],
]


@pytest.fixture
def full(lab: CommandLine, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """A store that has something of each kind, and a file, a folder and a link in the working directory."""
    monkeypatch.setenv("CREDSTORE_STORES", "stores.toml")
    write(Path("folder"), {"a": b"1"})
    Path("file").write_text("x")
    Path("empty").mkdir()
    Path("link").symlink_to("empty")
    lab.put("k", b"x")
    lab("stores", "add", "one", "memory://")
    return lab


def stocked(cli: CommandLine) -> str:
    """Save something of each kind; the id of a proof."""
    cli("dataset", "save", "d", "folder")
    cli("model", "register", "m", "folder")
    cli("checkpoint", "save", "r", "1", "folder")
    cli("backup", "save", "folder")
    return cli("proof", "issue", "file", "--json").document["proof_id"]


def lines(error: str) -> int:
    """Lines of an error, without remarks."""
    return len([line for line in error.splitlines() if line.startswith("credstore: ")])


@pytest.mark.parametrize("arguments", MISSING, ids=" ".join)
def test_a_source_that_is_missing(full: CommandLine, arguments: list[str]) -> None:
    before = {path: path.is_file() and path.read_bytes() for path in Path().rglob("*")}
    ended = full(*arguments, code=2)
    assert lines(ended.err) == 1
    assert "missing" in ended.err
    assert {path: path.is_file() and path.read_bytes() for path in Path().rglob("*")} == before


def test_targets_that_are_there_or_nowhere(full: CommandLine) -> None:
    proof = stocked(full)
    for code, cases in ((5, THERE), (2, NOWHERE)):
        for arguments in cases:
            ended = full(*[proof if each == "PROOF" else each for each in arguments], code=code)
            assert lines(ended.err) == 1, (arguments, ended.err)
    assert Path("file").read_text() == "x"
    assert [path.name for path in Path("folder").iterdir()] == ["a"]
    full("dataset", "load", "d", "empty")


def test_nothing_is_fetched_for_a_folder_that_cannot_be_made(
    full: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stocked(full)
    full("--store", "gopher://x", "dataset", "load", "d", "folder", code=5)
