"""Versions, retention and legal holds on the command line."""

import json

import pytest

from tests.cli.conftest import CommandLine
from tests.servers.moto import MotoServer

REFUSED = 4


def test_an_object_is_kept_until_its_date(cli: CommandLine) -> None:
    cli.put("a", b"x")
    assert cli("retention", "a").out.splitlines() == ["retention   -", "legal hold  off"]
    told = cli("retain", "a", "--until", "2037-01-02T03:04:05Z", "--mode", "compliance")
    assert told.out.splitlines() == ["retention   compliance until 2037-01-02 03:04:05Z", "legal hold  off"]
    assert cli("retention", "a", "--json").document == {
        "mode": "compliance",
        "retain_until": "2037-01-02T03:04:05+00:00",
        "legal_hold": False,
    }
    refused = cli("rm", "a", "--json", code=REFUSED)
    assert "2037-01-02T03:04:05" in refused.err
    assert cli("cat", "a").out == "x"
    cli("retain", "a", "--until", "2036-01-01T00:00:00Z", "--mode", "compliance", code=REFUSED)


def test_a_hold_is_released_and_a_retention_is_removed_with_permission(cli: CommandLine) -> None:
    cli.put("a", b"x")
    assert cli("hold", "a").out == "held a\n"
    assert cli("retain", "a", "--for", "30d", "--json").document["mode"] == "governance"
    assert cli("release", "a", "--json").document == {"key": "a", "version_id": None, "legal_hold": False}
    cli("rm", "a", code=REFUSED)
    assert "--bypass-governance" in cli("retain", "a", "--remove", code=2).err
    cli("retain", "a", "--remove", "--bypass-governance", "--quiet")
    cli("rm", "a")


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--until", "2037-01-02T03:04:05Z", "--for", "1d"),
        ("--until", "next year"),
        ("--until", "2037-01-02T03:04:05"),
        ("--until", "2020-01-02T03:04:05Z"),
        ("--for", "9999999d"),
        ("--until", "2037-01-02T03:04:05Z", "--mode", "forever"),
    ],
)
def test_wrong_dates_are_wrong_usage(cli: CommandLine, options: tuple[str, ...]) -> None:
    cli.put("a", b"x")
    cli("retain", "a", *options, code=2)


def test_a_date_without_a_time_zone_is_told_in_the_words_of_the_command_line(cli: CommandLine) -> None:
    cli.put("a", b"x")
    told = cli("retain", "a", "--until", "2037-01-02T03:04:05", code=2).err
    assert "--until" in told
    assert "datetime.UTC" not in told


LOCK = ("--retain-until", "2037-01-02T03:04:05Z", "--retain-mode", "compliance", "--legal-hold")
LOCKED = {"mode": "compliance", "retain_until": "2037-01-02T03:04:05+00:00", "legal_hold": True}


@pytest.mark.parametrize("command", ["put", "cp", "mv"])
def test_what_is_written_is_kept_from_the_start(cli: CommandLine, command: str) -> None:
    if command == "put":
        cli.put("b", b"x", *LOCK)
    else:
        cli.put("a", b"x")
        cli(command, "a", "b", *LOCK)
    assert cli("retention", "b", "--json").document == LOCKED
    cli("rm", "b", code=REFUSED)
    cli("release", "b")
    cli("rm", "b", code=REFUSED)
    cli("mv", "b", "c", code=REFUSED)
    cli("cp", "b", "c")
    assert cli("retention", "c", "--json").document["mode"] is None


@pytest.mark.parametrize("command", ["put", "cp", "mv"])
def test_what_goes_to_another_store_is_kept_there(
    cli: CommandLine, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = (cli.root.parent / "other").as_uri()
    folder = cli.root.parent / "folder"
    folder.mkdir()
    (folder / "b").write_bytes(b"x")
    cli.put("from/b", b"x")
    cli(command, "-r", str(folder) if command == "put" else "store:from/", f"{other}/", *LOCK)
    monkeypatch.setenv("CREDSTORE_URL", other)
    assert cli("retention", "b", "--json").document == LOCKED
    cli("rm", "b", code=REFUSED)


def test_a_file_is_not_kept(cli: CommandLine) -> None:
    cli.put("a", b"x")
    target = cli.root.parent / "b"
    cli("cp", "store:a", str(target), "--legal-hold", code=2)
    assert not target.exists()


def test_the_mode_of_a_write_is_governance_unless_given(cli: CommandLine) -> None:
    cli.put("a", b"x", "--retain-until", "2037-01-02T05:04:05+02:00")
    assert cli("retention", "a", "--json").document == {**LOCKED, "mode": "governance", "legal_hold": False}
    cli.put("b", b"x", "--legal-hold")
    assert cli("retention", "b").out.splitlines() == ["retention   -", "legal hold  on"]


@pytest.mark.parametrize("command", ["put", "cp", "mv"])
@pytest.mark.parametrize(
    "options",
    [
        ("--retain-mode", "compliance"),
        ("--retain-until", "next year"),
        ("--retain-until", "2037-01-02T03:04:05"),
        ("--retain-until", "2020-01-02T03:04:05Z"),
        ("--retain-until", "2037-01-02T03:04:05Z", "--retain-mode", "forever"),
    ],
)
def test_a_wrong_lock_is_wrong_usage_and_nothing_is_written(
    cli: CommandLine, command: str, options: tuple[str, ...]
) -> None:
    cli.put("a", b"x")
    source = str(cli.root.parent / "source.json") if command == "put" else "a"
    cli(command, source, "b", *options, code=2)
    assert cli("ls").out.split() == ["a"]


def test_a_store_without_locks_refuses_them(
    cli: CommandLine, moto_server: MotoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    bucket = moto_server.make_bucket()
    monkeypatch.setenv("CREDSTORE_URL", f"s3://{bucket}?region=us-east-1&endpoint={moto_server.url}")
    cli.put("a", b"x")
    source = str(cli.root.parent / "source.json")
    assert cli("--json", "put", source, "b", "--legal-hold", code=1).error["code"] == "RETENTION_DISABLED"
    assert cli("ls").out.split() == ["a"]


def test_versions_are_listed_and_restored(
    cli: CommandLine, moto_server: MotoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    bucket = moto_server.make_bucket(object_lock=True)
    monkeypatch.setenv("CREDSTORE_URL", f"s3://{bucket}?region=us-east-1&endpoint={moto_server.url}")
    for data in (b"one", b"second"):
        cli.put("a", data)
    cli("rm", "a")
    rows = cli("versions", "a").out.splitlines()
    assert next(row for row in rows if "deleted" in row).split()[-1] == "current"
    found = cli("versions", "a", "--exact", "--json").out.splitlines()
    assert len(found) == 3
    oldest = json.loads(found[-1])["version_id"]
    assert cli("restore", "a", oldest).out == f"restored a from version {oldest}\n"
    assert cli("cat", "a").out == "one"
    cli("hold", "a", "--version-id", oldest)
    assert cli("retention", "a", "--version-id", oldest, "--json").document["legal_hold"] is True
