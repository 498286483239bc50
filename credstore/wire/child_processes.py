"""An event loop whose child processes end with it, for searches that others' programs take part in.

Rules of this file: each child leads a process group of its own, so that what it started ends too; only what
is abandoned is killed, since a helper that has answered may leave a cache of its own behind; whoever abandons
kills in its own thread, since the loop's may not come to it before the interpreter ends.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from weakref import WeakSet

from credstore.concurrency import until_done
from credstore.wire.waiting import DaemonExecutor

if sys.platform == "win32":
    _Base = asyncio.ProactorEventLoop
else:
    _Base = asyncio.SelectorEventLoop

_REAPING = 5.0
"""Seconds for killed processes to be gone; one that waits for a disk takes its time."""


class ChildLoop(_Base):
    """An event loop whose threads keep no interpreter from ending, and whose abandoned children go."""

    def __init__(self) -> None:
        super().__init__()
        self.set_default_executor(DaemonExecutor())
        self._children: list[tuple[asyncio.SubprocessTransport, asyncio.Future[None]]] = []
        self._starting = 0
        self._abandoned = False
        _open.add(self)

    async def subprocess_exec(
        self, protocol_factory: Callable[[], Any], *args: Any, **kwargs: Any
    ) -> tuple[Any, Any]:
        """As the base's, for a child in a process group of its own."""
        gone: asyncio.Future[None] = self.create_future()

        def observed() -> Any:
            protocol = protocol_factory()
            told = protocol.process_exited

            def exited() -> None:
                told()
                gone.set_result(None)

            protocol.process_exited = exited
            return protocol

        self._starting += 1
        # Shielded: it may run and start others before asyncio knows it, and what is cancelled then is only
        # the first of them.
        start = asyncio.ensure_future(
            super().subprocess_exec(observed, *args, start_new_session=True, **kwargs)
        )
        try:
            cancelled = await until_done([start])
            made = start.result()
            self._children.append((made[0], gone))
            if self._abandoned:
                self.kill_children()
        finally:
            self._starting -= 1
        if cancelled is not None:
            raise cancelled
        return made

    def abandon(self, task: asyncio.Task[Any] | None) -> None:
        """Kill the children and cancel a task; from any thread."""
        self._abandoned = True
        self.kill_children()
        if task is not None:
            with suppress(RuntimeError):  # The loop has ended.
                self.call_soon_threadsafe(task.cancel)

    def end_children(self) -> None:
        """Kill every child, those included that are being started; waits for these, from another thread."""
        self._abandoned = True
        end = time.monotonic() + _REAPING
        while self._starting and time.monotonic() < end:
            time.sleep(0.001)
        self.kill_children()

    def kill_children(self) -> None:
        """Kill every child with its process group; from any thread."""
        for transport, _ in list(self._children):
            with suppress(ProcessLookupError, PermissionError):
                if sys.platform == "win32":
                    transport.kill()
                else:
                    os.killpg(transport.get_pid(), signal.SIGKILL)

    async def children_gone(self) -> None:
        """Wait until killed children have been reaped, and close the pipes to what escaped with them."""
        if running := [gone for _, gone in self._children if not gone.done()]:
            await asyncio.wait(running, timeout=_REAPING)
        for transport, _ in self._children:
            transport.close()
        await asyncio.sleep(0)  # What closing puts off.


_open: WeakSet[ChildLoop] = WeakSet()


@atexit.register
def _kill_all() -> None:
    """End what searches are under way when the interpreter ends."""
    for loop in list(_open):
        if loop.is_running():
            loop.end_children()
