"""The command as a process: signals, pipes, what it loads, and what it never prints."""

import base64
import fcntl
import gc
import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path
from urllib.parse import quote

import pytest

from credstore import __main__
from tests.cli.conftest import CommandLine, Processes

PIPE_AND_MORE = b"x" * (1024 * 1024)
"""Far more than a pipe holds: once it is written, the process is reading in the middle of its work."""


def waiting(descriptor: int) -> int:
    """Bytes in a pipe that nobody has read yet."""
    return struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))[0]


def files(root: Path) -> set[str]:
    """Objects, and what the store keeps beside them, lock files apart."""
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith(".credstore/locks/")}


ENDINGS = {signal.SIGINT: (130, b"interrupted"), signal.SIGTERM: (143, b"terminated")}


@pytest.mark.parametrize("number", ENDINGS)
@pytest.mark.parametrize("codec", ["none", "gzip"])
def test_a_put_that_is_ended_leaves_nothing(
    cli: CommandLine, processes: Processes, number: signal.Signals, codec: str
) -> None:
    code, word = ENDINGS[number]
    cli.put("before", b"x")
    before = files(cli.root)
    process = processes.start("put", "-", "key", "--compress", codec)
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(PIPE_AND_MORE)
    process.stdin.flush()
    while waiting(process.stdin.fileno()):
        os.sched_yield()
    process.send_signal(number)
    # Standard input stays open: ending must not wait for more of it.
    assert process.wait(timeout=600) == code
    assert process.stderr.read() == b"credstore: " + word + b"\n"
    assert files(cli.root) == before


@pytest.mark.parametrize("number", ENDINGS)
def test_an_ending_is_a_document_as_other_errors_are(
    cli: CommandLine, processes: Processes, number: signal.Signals
) -> None:
    code, word = ENDINGS[number]
    process = processes.start("put", "-", "key", "--json")
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(PIPE_AND_MORE)
    process.stdin.flush()
    while waiting(process.stdin.fileno()):
        os.sched_yield()
    process.send_signal(number)
    assert process.wait(timeout=600) == code
    error = {"type": word.decode().capitalize(), "message": word.decode(), "exit_code": code}
    assert json.loads(process.stderr.read()) == {"error": error}


def test_an_interrupt_while_modules_are_loaded(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(__main__, "require_extra", interrupt)
    for arguments, told in (
        (["ls"], "credstore: interrupted\n"),
        (
            ["ls", "--json"],
            '{"error": {"type": "Interrupted", "message": "interrupted", "exit_code": 130}}\n',
        ),
    ):
        monkeypatch.setattr(sys, "argv", ["credstore", *arguments])
        assert __main__.main() == 130
        assert capfd.readouterr() == ("", told)
    gc.enable()


def test_a_put_from_a_pipe_and_from_a_file(cli: CommandLine, processes: Processes, tmp_path: Path) -> None:
    process = processes.start("put", "-", "piped", "--compress", "zstd")
    assert process.communicate(PIPE_AND_MORE, timeout=600)[1] == b""
    source = tmp_path / "source"
    source.write_bytes(PIPE_AND_MORE)
    with source.open("rb") as file:
        subprocess.run(
            [sys.executable, "-m", "credstore", "-q", "put", "-", "read"], stdin=file, check=True, timeout=600
        )
    subprocess.run(
        [sys.executable, "-m", "credstore", "-q", "put", "-", "none"],
        stdin=subprocess.DEVNULL,
        check=True,
        timeout=600,
    )
    assert cli("cat", "piped").out.encode() == cli("cat", "read").out.encode() == PIPE_AND_MORE
    assert cli("cat", "none").out == ""


def test_a_terminal_that_lacks_letters(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.put("ü", b"x")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    command = [sys.executable, "-m", "credstore", "ls"]
    ended = subprocess.run(command, capture_output=True, check=True, timeout=600)
    assert (ended.stdout, ended.stderr) == (b"\\xfc\n", b"")


def test_a_reader_that_goes_away_is_no_complaint(cli: CommandLine, processes: Processes) -> None:
    cli.put("large", os.urandom(4 * 1024 * 1024))
    for number in range(2000):
        (cli.root / f"{number:04}-{'n' * 200}").touch()
    for arguments in (["cat", "large"], ["get", "large", "-"], ["ls"], ["ls", "--json"]):
        process = processes.start(*arguments)
        assert process.stdout is not None
        assert process.stderr is not None
        assert len(process.stdout.read(10)) == 10
        process.stdout.close()
        assert process.wait(timeout=600) == 141, arguments
        assert process.stderr.read() == b""


def test_a_reader_that_was_never_there(cli: CommandLine) -> None:
    cli.put("a", b"x")
    for arguments in (["ls"], ["cat", "a"], ["stats", "--json"]):
        read_end, write_end = os.pipe()
        os.close(read_end)
        try:
            ended = subprocess.run(
                [sys.executable, "-m", "credstore", *arguments],
                stdout=write_end,
                stderr=subprocess.PIPE,
                check=False,
                timeout=600,
            )
        finally:
            os.close(write_end)
        assert (ended.returncode, ended.stderr) == (141, b"")


def test_help_loads_neither_drivers_nor_a_client() -> None:
    program = (
        "import sys; from credstore.__main__ import main; sys.argv = ['credstore', '--help']; main();"
        "sys.exit(' '.join(m for m in ('aiohttp', 'httptools', 'rich', 'zstandard', 'asyncio') if m in sys.modules) or 0)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=600)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_the_installed_program_is_this_one(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("credstore")
    ended = subprocess.run([program, "--version"], capture_output=True, check=True, timeout=600)
    assert ended.stdout.startswith(b"credstore ")


def forms(secret: str) -> list[str]:
    """The spellings in which a secret could leak."""
    raw = secret.encode()
    return [secret, quote(secret, safe=""), raw.hex(), base64.b64encode(raw).decode().rstrip("=")[:-2]]


def test_secrets_are_never_printed(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    secret, token = "canary/secret+key=4711", "canary/token+4712"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIACANARY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    # Port 9 of loopback: nothing answers.
    store = "s3://bucket?endpoint=http://127.0.0.1:9&max_retries=0"
    for arguments in (["ls"], ["stat", "k"], ["health"], ["put", sys.executable, "k"], ["cat", "k"]):
        for form in ([], ["--json"]):
            ended = cli("--store", store, "-v", *form, *arguments, code=1 if arguments == ["health"] else 6)
            for secret_form in forms(secret) + forms(token):
                assert secret_form not in ended.out + ended.err
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    told = cli("--store", f"s3://bucket?secret_access_key={quote(secret)}", "ls", "-v", code=8)
    assert secret not in told.out + told.err


def test_a_link_is_printed_only_by_link(cli: CommandLine) -> None:
    cli.put("a", b"x")
    ended = cli("link", "a", "-v")
    assert "signature=" in ended.out
    assert "signature" not in ended.err


def test_a_transfer_is_whole_through_a_real_pipe(cli: CommandLine, processes: Processes) -> None:
    content = os.urandom(3 * 1024 * 1024 + 17)
    cli.put("large", content)
    out, err = processes.start("cat", "large").communicate(timeout=600)
    assert hashlib.sha256(out).digest() == hashlib.sha256(content).digest()
    assert err == b""
