"""Completion in a shell, and the manual page."""

import re
import subprocess
from pathlib import Path

import pytest

from credstore.cli.main import COMMANDS
from tests.cli.conftest import CommandLine


@pytest.fixture
def offered(cli: CommandLine, monkeypatch):
    """What bash is offered for the last word of a line."""

    def ask(line: str) -> list[str]:
        monkeypatch.setenv("_CREDSTORE_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        ended = cli()
        monkeypatch.delenv("_CREDSTORE_COMPLETE")
        assert ended.err == ""
        return [each.partition(",")[2] for each in ended.out.split()]

    return ask


def test_commands_and_options(offered):
    assert offered("credstore sto") == ["stores", "storage"]
    assert offered("credstore ls --rec") == ["--recursive"]
    assert "--env-file" in offered("credstore --")


def test_names_of_stores(cli: CommandLine, offered, monkeypatch, tmp_path):
    monkeypatch.setenv("CREDSTORE_STORES", str(tmp_path / "stores.toml"))
    cli("stores", "add", "photos", "memory:")
    assert offered("credstore --store ph") == ["photos"]


def test_keys_up_to_the_next_slash(cli: CommandLine, offered):
    for key in ("2025/a.json", "2026/a.json", "2026/b.json", "readme"):
        cli.put(key, b"{}")
    assert offered("credstore cat 2") == ["2025/", "2026/"]
    assert offered("credstore cat 2026/") == ["2026/a.json", "2026/b.json"]
    assert offered("credstore rm re") == ["readme"]


def test_no_key_that_a_shell_would_run(cli: CommandLine, offered):
    for key in ("a$(id)", "a`id`", "a;id", "a b", "a'b", "ab"):
        cli.put(key, b"{}")
    assert offered("credstore cat a") == ["ab"]


def test_nothing_where_there_is_no_store(cli: CommandLine, offered, monkeypatch):
    monkeypatch.setenv("CREDSTORE_URL", "file:///no/such/folder")
    assert offered("credstore cat a") == []
    assert not Path("/no/such/folder").exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_own_script(cli: CommandLine, shell):
    text = cli("completion", shell).out
    assert f"_CREDSTORE_COMPLETE={shell}_complete" in text
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0


def test_the_manual_page_has_every_command(cli: CommandLine):
    text = cli("completion", "man").out
    assert text.startswith(".TH CREDSTORE 1")
    shown = {name.replace(r"\-", "-") for name in re.findall(r"^\.SS credstore (\S+)", text, re.MULTILINE)}
    assert shown == set(COMMANDS)
    macros = set(re.findall(r"^\.(\w+)", text, re.MULTILINE))
    assert macros <= {"TH", "SH", "SS", "TP", "PP", "B"}
    assert not re.search(r"(?<!\\)-", text)
