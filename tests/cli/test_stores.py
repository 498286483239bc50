"""`credstore stores` and `--env-file`."""

import os
import stat
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "settings" / "stores.toml"
    monkeypatch.setenv("CREDSTORE_STORES", str(path))
    return path


def test_a_store_gets_a_name_and_loses_it(cli: CommandLine, file: Path) -> None:
    cli("stores", "add", "photos", f"file://{cli.root.parent}/photos")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    Path("a.json").write_bytes(b"{}")
    cli("--store", "photos", "put", "a.json", "a")
    assert cli("ls", "--store", "photos").out == "a\n"
    assert (cli.root.parent / "photos" / "a").exists()
    assert cli("stores", "list", "--json").document == [
        {"name": "photos", "store": f"file://{cli.root.parent}/photos", "env_file": None}
    ]
    assert "photos" in cli("stores", "list").out
    cli("stores", "remove", "photos")
    assert cli("stores", "list", "--json").document == []
    assert "no store has a name yet" in cli("stores", "list").err
    assert "no store is named photos" in cli("stores", "remove", "photos", code=3).err


def test_what_was_written_by_hand_stays(cli: CommandLine, file: Path) -> None:
    file.parent.mkdir()
    file.write_text('# mine\n[old]\nprovider = "local"\npath = "/srv/old"  # slow\n')
    cli("stores", "add", "new", "memory:")
    assert file.read_text().startswith('# mine\n[old]\nprovider = "local"\npath = "/srv/old"  # slow\n')
    assert [each["store"] for each in cli("stores", "list", "--json").document] == [
        "memory:",
        "local: /srv/old",
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["a b", "memory:"], 2, "a name has 1 to 64 letters, digits, hyphens and underscores"),
        (["photos", "s4://b"], 8, "did you mean 's3'?"),
        (["photos", "s3://b?access_key_id=x"], 8, "URLs end up in logs"),
        (["photos", "/srv/photos"], 8, "a folder of this machine is file:///path"),
        (["photos", "multi://redundant"], 8, "several stores are written as"),
    ],
)
def test_a_name_stands_for_nothing_that_is_no_store(
    cli: CommandLine, file: Path, arguments, code, words
) -> None:
    assert words in cli("stores", "add", *arguments, code=code).err
    assert not file.exists()


def test_a_name_is_not_taken_away_by_accident(cli: CommandLine, file: Path) -> None:
    cli("stores", "add", "photos", "memory://a")
    assert "--force" in cli("stores", "add", "photos", "memory://b", code=5).err
    cli("stores", "add", "photos", "memory://b", "--force")
    assert "memory://b" in file.read_text()


def test_variables_come_from_a_file_that_is_named(cli: CommandLine, file: Path, monkeypatch) -> None:
    Path(".env").write_text(
        f"CREDSTORE_URL=file://{cli.root.parent}/of-file\nCREDSTORE_PROOF_KEY=x.pem\nCREDSTORE_PROOF_TRUST=keys.json\n"
    )
    Path("a.json").write_bytes(b"{}")
    monkeypatch.delenv("CREDSTORE_URL")
    cli("--env-file", ".env", "put", "a.json", "a")
    assert cli("ls", "--env-file", ".env").out == "a\n"
    assert "CREDSTORE_URL" not in os.environ
    assert "names no store" in cli("ls", code=8).err
    # An option reads its variable from there too.
    issue = ("--env-file", ".env", "proof", "issue", "a.json")
    assert "keys.json: No such file" in cli(*issue, code=2).err
    cli("proof", "keys", "generate", "other.pem", "--issuer", "https://news.example")
    assert "x.pem: No such file" in cli(*issue, code=2).err
    Path("other.pem").rename("x.pem")
    cli(*issue)


def test_a_store_remembers_its_file_of_variables(cli: CommandLine, file: Path) -> None:
    Path(".env").write_text("CREDSTORE_READ_ONLY=true\n")
    cli("stores", "add", "photos", "memory:", "--env-file", ".env")
    assert cli("stores", "list", "--json").document[0]["env_file"] == str(Path(".env").absolute())
    Path("a.json").write_bytes(b"{}")
    assert "READ_ONLY" in cli("--store", "photos", "put", "a.json", "a", code=4).err
