"""Memory while large objects come and go, or many are listed, grows by 64 MiB at most (P18)."""

import subprocess
import sys
from pathlib import Path

import pytest

MIB = 1024 * 1024
MOST = 64 * 1024
"""KiB."""
CASES = [
    ("store", "iterable"),
    ("store", "path"),
    ("store", "file"),
    ("store", "pipe"),
    ("store", "compressed"),
    ("read", "iterable"),
]


@pytest.fixture(scope="module")
def bottomless():
    """The endpoint of a server that keeps nothing."""
    command = [sys.executable, str(Path(__file__).parent.parent / "servers" / "bottomless.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.stdin.close()


def growth(where, verb, kind, size):
    """KiB by which a process grew that moved an object of `size` bytes."""
    command = [sys.executable, "-m", "tests.memory.child", where, verb, kind, str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize(("verb", "kind"), CASES)
def test_s3(bottomless, verb, kind):
    assert growth(bottomless, verb, kind, 256 * MIB) <= MOST


@pytest.mark.parametrize(
    ("verb", "kind"), [("store", "iterable"), ("read", "iterable"), ("read", "compressed")]
)
def test_local(verb, kind):
    assert growth("local", verb, kind, 256 * MIB) <= MOST


@pytest.mark.parametrize("count", [1_000, 200_000])
def test_a_listing_of_a_large_local_directory(count):
    """The names of a directory are all in memory once, packed for as long as the listing goes on."""
    assert growth("local", "scan", "names", count) <= MOST


@pytest.mark.system
@pytest.mark.parametrize(("verb", "kind"), CASES)
def test_s3_with_two_gibibytes(bottomless, verb, kind):
    assert growth(bottomless, verb, kind, 2048 * MIB) <= MOST
