"""What values look like, and that the examples in docstrings are true."""

import asyncio
import doctest
import io
from datetime import UTC, datetime
from types import ModuleType

import pytest

from credstore.cli import output, progress
from credstore.cli.options import Invocation, as_encryption
from credstore.encryption import KmsKey
from credstore.model import HealthCheckResult
from credstore.transfer import sides, types


@pytest.mark.parametrize("module", [output, types, sides])
def test_the_examples_in_docstrings(module: ModuleType) -> None:
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0
    assert outcome.failed == 0


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (9_996, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (1_234_567_890, "1.23 GB"),
        (5 * 10**15, "5 PB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert output.human_size(size) == text


def test_values_as_json() -> None:
    moment = datetime(2026, 11, 3, 9, 14, tzinfo=UTC)
    result = HealthCheckResult(healthy=False, provider="s3", latency=1.5, errors=("down",), timestamp=moment)
    assert output.to_json(
        {"r": result, "s": frozenset({"b", "a"}), "d": b"\x00\xff", "e": ValueError("x")}
    ) == {
        "r": {
            "healthy": False,
            "provider": "s3",
            "latency": 1.5,
            "errors": ["down"],
            "timestamp": "2026-11-03T09:14:00+00:00",
            "circuits": {},
        },
        "s": ["a", "b"],
        "d": "00ff",
        "e": {"type": "ValueError"},
    }
    with pytest.raises(TypeError, match="object has no JSON form"):
        output.to_json(object())


def test_encryption_words() -> None:
    def parse(text: str | None) -> object:
        return as_encryption(None, None, text)  # type: ignore[arg-type]

    assert [parse(text) for text in (None, "none", "AES256", "kms")] == [None, False, "AES256", KmsKey()]
    assert parse("kms:arn:aws:kms:eu-west-1:1:key/2") == KmsKey("arn:aws:kms:eu-west-1:1:key/2")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("invocation", "patience", "shown"),
    [
        (Invocation(), 0.0, True),
        (Invocation(), 3600.0, False),
        (Invocation(quiet=True), 0.0, False),
        (Invocation(json=True), 0.0, False),
    ],
)
def test_a_bar_appears_only_for_people_who_wait(
    monkeypatch: pytest.MonkeyPatch, invocation: Invocation, patience: float, shown: bool
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "PATIENCE", patience)

    async def transfer() -> None:
        with progress.TransferBar(invocation, "proofs/[red]a") as bar:
            bar(500, 1000)
            await asyncio.sleep(0)  # A timer of no patience is due.
            await asyncio.sleep(0)
            bar(1000, 1000)

    asyncio.run(transfer())
    assert ("proofs/[red]a" in terminal.getvalue()) is shown


def test_a_bar_appears_before_anything_has_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "PATIENCE", 0.0)

    async def transfer() -> None:
        with progress.TransferBar(Invocation(), "slow"):
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    asyncio.run(transfer())
    assert "slow" in terminal.getvalue()
