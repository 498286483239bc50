"""What a store and a proof on a disk cost in system calls and in flushes, counted by strace."""

import re
import subprocess
import sys
from collections import Counter

import pytest

from .injecting import program

pytestmark = pytest.mark.system

STORE = """
async def main():
    async with LocalStorageProvider(LocalConfig(path=PLACE)) as store:
        await store.store("a/b/c/d/first", b"x" * 1000)
        mark("begin")
        await store.store("a/b/c/d/second", b"x" * 1000)
        mark("end")
"""
PROOF = """
from tests.proofs.shelves import SIGNER, TRUST
from credstore.proofs.store.proof_store import ProofStore

def digest(data):
    return hashlib.sha256(data).hexdigest()

def alike(data):
    # Another asset whose index is in the same directory of directories.
    return next(other for other in (b"%d" % number for number in itertools.count())
                if digest(other)[:2] == digest(data)[:2] and other != data)

async def main():
    ids = ["01920000-0000-7000-8000-0000000000ff", "01920000-0000-7000-8000-0000000001ff"]
    async with ProofStore(LocalStorageProvider(LocalConfig(path=PLACE)), trust=TRUST, signer=SIGNER) as store:
        await store.issue(b"one", proof_id=ids[0], expires_in=3600 * 24 * 365)
        mark("begin")
        await store.issue(alike(b"one"), proof_id=ids[1], expires_in=3600 * 24 * 365)
        mark("end")
"""
MACHINES = frozenset(
    [
        "futex",
        "epoll_wait",
        "sched_yield",
        "restart_syscall",
        "clone",
        "clone3",
        "gettid",
        "set_robust_list",
        "rseq",
        "rt_sigprocmask",
        "sched_getaffinity",
        "mmap",
        "munmap",
        "mprotect",
        "madvise",
        "brk",
    ]
)
"""How often threads wait, when one more is started and when memory is asked for is the machine's business."""
HEAD = """
import asyncio, contextlib, hashlib, itertools, os, pathlib
from credstore import LocalConfig, LocalStorageProvider

def mark(name):
    with contextlib.suppress(OSError):
        os.stat("/mark-" + name)

PLACE = {place!r}
for number in range(4096):
    pathlib.Path(PLACE, ".credstore/attributes", f"{{number:03x}}").mkdir(parents=True)
"""


def counted(tmp_path, script):
    """System calls by name, between the two marks."""
    log = tmp_path / "log"
    code = HEAD.format(place=str(tmp_path / "root")) + script + "\nasyncio.run(main())\n"
    command = [program(), "-f", "-o", str(log), sys.executable, "-c", code]
    subprocess.run(command, check=True, timeout=600)
    inside = log.read_text().partition("/mark-begin")[2].partition("/mark-end")[0]
    return Counter(re.findall(r"^\d+ +(\w+)\(", inside, re.MULTILINE))


def test_a_store_makes_60_calls_and_4_flushes(tmp_path):
    counts = counted(tmp_path, STORE)
    assert sum(number for name, number in counts.items() if name not in MACHINES) <= 60 - 10, counts
    assert counts["fsync"] == 4
    assert counts["mkdirat"] == 0


def test_a_proof_makes_14_flushes(tmp_path):
    """Marker, index and record, 4 each; and 1 for the new directory of the asset."""
    counts = counted(tmp_path, PROOF)
    assert counts["mkdirat"] == 1
    assert counts["fsync"] == 13
