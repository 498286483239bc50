"""Standard streams that are closed, full or read by nobody: each command ends with its own code."""

import ast
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from credstore import cli as package
from credstore.cli.exits import Exit, exit_of
from tests.cli.conftest import CommandLine

INPUT, OUTPUT = "standard input", "standard output"
PRINTING = [
    ["--help"],
    ["ls"],
    ["ls", "--json"],
    ["ls", "--long"],
    ["stat", "a"],
    ["stat", "a", "--json"],
    ["cat", "a"],
    ["get", "a", "-"],
    ["stats"],
    ["doctor"],
    ["link", "a", "--quiet"],
    ["put", "file", "b"],
    ["completion", "man"],
]
TABLES = [
    ["providers"],
    ["explain", "store", "20MB"],
    ["keys", "show", "key"],
    ["stores", "list"],
]
FAILING = [
    (["cat", "nothing"], 3),
    (["cat", "nothing", "--json"], 3),
    (["-v", "stat", "nothing"], 3),
    (["ls", "--bogus"], 2),
    (["bogus"], 2),
    (["put", "missing", "k"], 2),
    (["get", "a", "file"], 5),
    (["--store", "gopher://x", "ls"], 8),
]
ANY = [(each, 0) for each in (*PRINTING, *TABLES)] + FAILING


@pytest.fixture(autouse=True)
def stocked(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file").write_text("x")
    cli.put("a", b"x" * 20_000)
    cli("keys", "generate", "key")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(Path.cwd()))
    cli("stores", "add", "one", "memory://")


def ended(arguments: list[str], redirected: str) -> "subprocess.CompletedProcess[bytes]":
    """How a process ended whose streams a shell has redirected."""
    command = ["sh", "-c", f'exec "$@" {redirected}', "sh", sys.executable, "-m", "credstore", *arguments]
    return subprocess.run(command, input=b"", capture_output=True, check=False, timeout=600)


def unread(stream: str, arguments: list[str]) -> "subprocess.CompletedProcess[bytes]":
    """How a process ended that has a stream which nobody reads."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: write_end}
    try:
        command = [sys.executable, "-m", "credstore", *arguments]
        return subprocess.run(command, **streams, check=False, timeout=600)
    finally:
        os.close(write_end)


def told(name: str, why: int, arguments: list[str], code: int) -> str:
    """The one line about a stream."""
    text = f"{name}: {os.strerror(why)}"
    if "--json" in arguments:
        return json.dumps({"error": {"type": "OSError", "message": text, "exit_code": code}}) + "\n"
    return f"credstore: {text}\n"


@pytest.mark.parametrize("arguments", [*PRINTING, *TABLES], ids=" ".join)
def test_output_that_nobody_reads(arguments: list[str]) -> None:
    done = unread("stdout", arguments)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("arguments", [*PRINTING, *TABLES], ids=" ".join)
@pytest.mark.parametrize(("where", "why"), [(">&-", errno.EBADF), (">/dev/full", errno.ENOSPC)])
def test_output_that_is_not_taken(arguments: list[str], where: str, why: int) -> None:
    done = ended(arguments, where)
    assert (done.returncode, done.stderr.decode()) == (1, told(OUTPUT, why, arguments, 1))


@pytest.mark.parametrize("arguments", [["ls"], ["cat", "a"], ["ls", "--json"], ["providers"]], ids=" ".join)
def test_output_that_is_not_taken_where_nothing_is_buffered(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    done = ended(arguments, ">/dev/full")
    assert (done.returncode, done.stderr.decode()) == (1, told(OUTPUT, errno.ENOSPC, arguments, 1))
    assert unread("stdout", arguments).returncode == 141


@pytest.mark.parametrize(("arguments", "code"), ANY, ids=str)
def test_errors_that_nobody_reads_change_nothing(arguments: list[str], code: int) -> None:
    assert unread("stderr", arguments).returncode == code


@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full"])
@pytest.mark.parametrize(("arguments", "code"), [*FAILING, (["ls"], 0), (["-v", "ls"], 0)], ids=str)
def test_errors_that_are_not_taken_change_nothing(arguments: list[str], code: int, where: str) -> None:
    assert ended(arguments, where).returncode == code


def test_a_log_that_is_not_taken_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDSTORE_LOG", "debug")
    for arguments, code in ((["ls"], 0), (["cat", "nothing"], 3)):
        assert ended(arguments, "2>/dev/full").returncode == code
        assert unread("stderr", arguments).returncode == code


@pytest.mark.parametrize(("arguments", "code"), ANY, ids=str)
def test_input_that_nothing_needs_may_be_closed(arguments: list[str], code: int) -> None:
    assert ended(arguments, "<&-").returncode == code


@pytest.mark.parametrize(("arguments", "code"), FAILING, ids=str)
def test_a_failure_keeps_its_code_where_all_are_closed(arguments: list[str], code: int) -> None:
    assert ended(arguments, "<&- >&- 2>&-").returncode == code
    assert ended(arguments, ">/dev/full 2>&1").returncode == code


@pytest.mark.parametrize(
    "arguments",
    [["put", "-", "k"], ["put", "-", "k", "--json"], ["cp", "./", "copies/", "--files-from", "-"]],
    ids=" ".join,
)
def test_input_that_is_needed_and_closed(cli: CommandLine, arguments: list[str]) -> None:
    done = ended(arguments, "<&-")
    assert (done.returncode, done.stderr.decode()) == (2, told(INPUT, errno.EBADF, arguments, 2))
    cli("stat", "k", code=3)


def test_what_is_opened_does_not_take_the_place_of_a_closed_stream(cli: CommandLine) -> None:
    assert ended(["-v", "put", "file", "whole", "--quiet"], ">&- 2>&-").returncode == 0
    assert cli("cat", "whole").out == "x"


def test_a_stream_is_never_a_wrong_argument_of_output() -> None:
    assert exit_of(OSError(errno.EBADF, "", INPUT)) == Exit.USAGE
    assert exit_of(OSError(errno.EBADF, "", OUTPUT)) == Exit.FAILURE


def test_every_table_is_printed_where_a_broken_pipe_is_ours_to_tell() -> None:
    """rich's own console ends the process with code 1."""
    found: set[str] = set()
    root = Path(package.__file__).parent
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Console":
                given = {each.arg for each in node.keywords}
                if not given & {"stderr", "width", "file"}:
                    found.add(str(path.relative_to(root)))
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rich"):
                assert "print" not in {each.name for each in node.names}, path
    assert found == set()
