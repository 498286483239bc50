"""Signals and errors at every system call of one operation of the local driver, by strace.

strace attaches to a child that stands right before the operation, so that nothing but the operation counts,
and follows its threads. It counts each kind of call by itself, in each thread by itself.
"""

import asyncio
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .children import child
from .crash_child import NEW, work
from .steps import Lane, State, examine
from .support import make_driver, put_request

OLD = b"old" * 20
CHANGES = (
    "write,pwrite64,fsync,syncfs,utimensat,flock,ftruncate,"
    "rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir"
)
"""The calls that change something."""
ALL = f"{CHANGES},openat,close,pread64,fstat,newfstatat,getdents64,copy_file_range,fchmod,fcntl,lseek"
"""All that the driver's operations make on files."""
TAKES_SPACE = (
    "write,pwrite64,fsync,syncfs,mkdir,mkdirat,link,linkat,rename,renameat,renameat2,copy_file_range,openat"
)
"""The calls that a full disk fails."""
FLUSHES = {"fsync", "fdatasync", "syncfs"}
WAIT = 60

BEFORE: Mapping[str, list[str]] = {
    "put": ["d/other"],
    "create": ["d/other"],
    "overwrite": ["d/k"],
    "copy": ["s"],
    "move": ["d/k"],
    "delete": ["d/k"],
    "tags": ["d/k"],
    "together": ["o/k", "m/k", "x/k"],
    "grouped": ["o/k"],
    "whole": ["o/k"],
}
"""The keys that hold `OLD` before each operation."""

_PUT: dict[Lane, list[State]] = {("d/k", "e/k"): [(None, None), (NEW, None)]}
_GROUP: dict[Lane, list[State]] = {
    ("p/k", "-"): [(None, None), (NEW, None)],
    ("o/k", "-"): [(OLD, None), (NEW, None)],
    ("o/q", "-"): [(None, None), (NEW, None)],
}
STATES: Mapping[str, dict[Lane, list[State]]] = {
    "put": _PUT,
    "create": _PUT,
    "overwrite": {("d/k", "e/k"): [(OLD, None), (NEW, None)]},
    "copy": {("s", "d/k"): [(OLD, None), (OLD, OLD)]},
    "move": {("d/k", "e/k"): [(OLD, None), (OLD, OLD), (None, OLD)]},
    "delete": {("d/k", "e/k"): [(OLD, None), (None, None)]},
    "tags": {("d/k", "e/k"): [(OLD, None), (OLD, None)]},
    "together": {
        ("p/k", "-"): [(None, None), (NEW, None)],
        ("o/k", "-"): [(OLD, None), (NEW, None)],
        ("m/k", "n/k"): [(OLD, None), (OLD, OLD), (None, OLD)],
        ("x/k", "-"): [(OLD, None), (None, None)],
    },
    "grouped": _GROUP,
    "whole": _GROUP,
}
"""What the keys may hold at a stop; first what they do before, last what they do in the end."""


@dataclass(frozen=True)
class Ended:
    """How an operation under strace ended.

    Attributes:
        said: What the child said, or None if it could not.
        killed: Whether by a signal.
        trace: What strace logged.
    """

    said: str | None
    killed: bool
    trace: str


def program() -> str:
    """The path of strace."""
    found = shutil.which("strace")
    assert found is not None, "this needs strace; install it (apt install strace)"
    return found


def traced(
    root: Path, operation: str, *options: str, log: Path, plant: str = "none", threads: int = 1
) -> Ended:
    """Do one operation under strace.

    Args:
        root: Of the store.
        operation: Of crash_child.py.
        options: Of strace.
        log: Where it writes.
        plant: A bug.
        threads: Of the driver.
    """
    return under_strace(work, (str(root), operation, plant, threads), *options, log=log)


def under_strace(
    function: Callable[..., None], arguments: tuple[object, ...], *options: str, log: Path
) -> Ended:
    """Run `function(pipe, *arguments)`, which says "ready", waits, works, and says how it ended.

    Args:
        function: Runs in a process of its own.
        arguments: Its arguments.
        options: Of strace.
        log: Where it writes.
    """
    with child(function, *arguments) as doing:
        assert doing.pipe.poll(WAIT), "the child does not start"
        assert doing.pipe.recv() == "ready"
        command = [program(), "-f", "-p", str(doing.pid), "-o", str(log), *options]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
            try:
                assert tracer.stderr is not None
                line = tracer.stderr.readline()
                assert "attached" in line, f"strace cannot attach: {line}{tracer.stderr.read()}"
                doing.pipe.send("now")
                assert doing.pipe.poll(WAIT), f"{arguments} hangs under {options}"
                said = doing.sent()
                doing.process.join(WAIT)
                tracer.wait(WAIT)
            finally:
                tracer.kill()
        killed = doing.process.exitcode == -9
    return Ended(said[0] if said else None, killed, log.read_text())


def prepare(root: Path, operation: str) -> None:
    """A store as it is before the operation."""

    async def run():
        driver = make_driver(root, fsync=False)
        for key in BEFORE[operation]:
            await driver.put(put_request(key, OLD))
        await driver.aclose()

    asyncio.run(run())


def planned(
    root: Path, operation: str, calls: str, *, log: Path, plant: str = "none", threads: int = 1
) -> "Counter[str]":
    """How often an undisturbed run makes each call: the most that one thread makes."""
    ended = traced(root, operation, "-e", f"trace={calls}", log=log, plant=plant, threads=threads)
    assert ended.said == "done", ended
    return calls_in(ended.trace)


def calls_in(trace: str) -> "Counter[str]":
    """How often each call was made: the most that one thread made."""
    found: Counter[tuple[str, str]] = Counter(re.findall(r"^(\d+) +(\w+)\(", trace, re.MULTILINE))
    most: Counter[str] = Counter()
    for (_, name), count in found.items():
        most[name] = max(most[name], count)
    return most


def wrong(root: Path, operation: str, ended: Ended, *, failed_flush: bool = False) -> str | None:
    """What breaks a promise in a store after the operation was killed or failed, or None.

    Args:
        root: Of the store.
        operation: What was done.
        ended: How it ended.
        failed_flush: Whether a flush failed on the way: then nothing may be acknowledged (P3).
    """
    allowed = STATES[operation]
    said = ended.said or ""
    if said == "done" and failed_flush:
        return "acknowledged after a flush that failed"
    if said.startswith("unknown"):
        return said
    if said == "done":
        allowed = {lane: states[-1:] for lane, states in allowed.items()}
    elif said.startswith("no") and operation in {"put", "create", "overwrite", "copy"}:
        # A move, and several at once, are more than one operation.
        allowed = {lane: states[:1] for lane, states in allowed.items()}
    problem, _ = examine(root, allowed, tidy=ended.killed or said == "done", fsync=False)
    return problem and f"{problem} (it said {said!r})"


@dataclass(frozen=True)
class Target:
    """What is to be hit.

    Attributes:
        folder: A directory to work in.
        operation: Of `STATES`.
        fault: "signal=KILL", or "error=" with a name of errno.
        calls: Names of system calls, separated by commas.
        plant: A bug, or "none".
        threads: Of the driver.
    """

    folder: Path
    operation: str
    fault: str
    calls: str = CHANGES
    plant: str = "none"
    threads: int = 1

    def places(self) -> list[tuple[str, int]]:
        """Each call of an undisturbed run, as its name and its number among those of its name."""
        root = self.folder / "planned"
        prepare(root, self.operation)
        log = self.folder / "log"
        counts = planned(root, self.operation, self.calls, log=log, plant=self.plant, threads=self.threads)
        shutil.rmtree(root)
        return [(name, number) for name, count in counts.items() for number in range(1, count + 1)]

    def hit(self, name: str, number: int) -> str | None:
        """Let one call fail or kill; what is wrong afterwards, or None."""
        root = self.folder / "hit"
        prepare(root, self.operation)
        what = ("-e", f"trace={name}", "-e", f"inject={name}:{self.fault}:when={number}")
        log = self.folder / "log"
        ended = traced(root, self.operation, *what, log=log, plant=self.plant, threads=self.threads)
        struck = ended.killed or "(INJECTED)" in ended.trace
        problem = wrong(
            root, self.operation, ended, failed_flush=struck and not ended.killed and name in FLUSHES
        )
        shutil.rmtree(root)
        if (
            not struck and self.threads == 1
        ):  # Which of several threads makes a call may differ from run to run.
            return f"it was not reached: {ended.said}"
        return problem


def problems(target: Target) -> Iterator[tuple[str, str | None]]:
    """Hit each call in turn; the call, and what is wrong afterwards."""
    for name, number in target.places():
        yield f"{name} {number}", target.hit(name, number)
