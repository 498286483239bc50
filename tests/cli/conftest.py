"""A command line on a fresh local store: in this process, and as a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from credstore.cli.main import run

SETTINGS = ("CREDSTORE_", "STORAGE_", "AWS_", "R2_", "DO_", "WASABI_", "B2_", "MINIO_", "CLOUDFLARE_")


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def document(self):
        """The one JSON document on stdout."""
        return json.loads(self.out)

    @property
    def error(self):
        """The one JSON error on stderr."""
        return json.loads(self.err)["error"]


class CommandLine:
    """Runs commands in this process."""

    def __init__(self, root: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self._capture = capture

    def __call__(self, *arguments: str, code: int = 0) -> Ended:
        self._capture.readouterr()
        ended = run(list(arguments))
        out, err = self._capture.readouterr()
        assert "Traceback" not in err
        assert ended == code, (arguments, ended, out, err)
        return Ended(int(ended), out, err)

    def put(self, key: str, content: bytes, *options: str) -> None:
        source = self.root.parent / "source.json"
        source.write_bytes(content)
        self("put", str(source), key, *options)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(SETTINGS):
            monkeypatch.delenv(name)
    # Buffered output is the harder case for pipes that break.
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "store"
    monkeypatch.setenv("CREDSTORE_URL", place.as_uri())
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return place


@pytest.fixture
def cli(root: Path, capfd: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(root, capfd)


class Processes:
    """Starts real processes, and ends those that a failed test left."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [sys.executable, "-m", "credstore", *arguments], stdin=pipe, stdout=pipe, stderr=pipe
        )
        self._started.append(process)
        return process

    def end(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None and not stream.closed:
                    stream.close()
            process.wait()


@pytest.fixture
def processes(root: Path) -> Iterator[Processes]:
    started = Processes()
    yield started
    started.end()
