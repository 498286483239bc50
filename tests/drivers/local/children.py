"""Processes to be killed: forked from a server that has imported all they need, so that one costs little."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.drivers.local.crash_child"])


@dataclass
class Child:
    """A process and our end of its pipe."""

    process: ForkServerProcess
    pipe: Connection

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process.pid is not None
        return self.process.pid

    def watch(self, seconds: float) -> list[Any]:
        """What it sends within that time; it is never kept waiting for a reader."""
        found = []
        end = time.monotonic() + seconds
        with suppress(EOFError, OSError):  # It ended before.
            while (left := end - time.monotonic()) > 0 and self.pipe.poll(left):
                found.append(self.pipe.recv())
        return found

    def kill(self) -> list[Any]:
        """End it with SIGKILL; what it had sent until then."""
        self.process.kill()
        self.process.join()
        return self.sent()

    def sent(self) -> list[Any]:
        """All that is in the pipe, up to its end; a message that the kill cut off does not count."""
        found = []
        while True:
            try:
                found.append(self.pipe.recv())
            except (EOFError, OSError):
                return found


def _begin(work: Callable[..., None], pipe: Connection, arguments: tuple[object, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its children.
    work(pipe, *arguments)
    os._exit(0)


@contextmanager
def child(work: Callable[..., None], *arguments: object) -> Iterator[Child]:
    """Run `work(pipe, *arguments)` in a process of its own; whatever happens, it is gone afterwards."""
    ours, theirs = _CONTEXT.Pipe()
    process = _CONTEXT.Process(target=_begin, args=(work, theirs, arguments), daemon=True)
    with ours:
        try:
            with theirs:
                process.start()
            yield Child(process, ours)
        finally:
            if process.pid is not None:
                process.kill()
                process.join()
                process.close()
