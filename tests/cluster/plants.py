"""What a test has a worker do: functions that run there, and touch nothing but that worker's process."""

import asyncio
import os
from pathlib import Path

from credstore.cluster import connecting, places, working
from credstore.cluster.benches import TransferBench
from credstore.cluster.store_benches import AuditBench, IssueBench, RecompressBench, RotateBench

BENCHES = (TransferBench, RotateBench, RecompressBench, IssueBench, AuditBench)
REAL = {bench: bench.do for bench in BENCHES}


def say(pipe: str, word: str) -> None:
    """Write a line to a named pipe; returns once somebody has opened it."""
    with Path(pipe).open("w") as file:
        file.write(f"{word}\n")


def wait_at(step: str, name: str, folder: str) -> None:
    """From now on, stop for good at a step of one object, once for all workers, after saying so.

    The process id goes to the pipe `reached`, and the word "cancelled" to `ended` if the wait is.
    """

    async def do(self, request, flow):
        if (request.step, request.entry.name) == (step, name):
            try:
                os.close(os.open(f"{folder}/was-reached", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return await REAL[type(self)](self, request, flow)
            await asyncio.to_thread(say, f"{folder}/reached", str(os.getpid()))
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.to_thread(say, f"{folder}/ended", "cancelled")
                raise
        return await REAL[type(self)](self, request, flow)

    for bench in BENCHES:
        bench.do = do


def die_at(step: str, name: str) -> None:
    """From now on, end the process at a step of one object, without a word."""

    async def do(self, request, flow):
        if (request.step, request.entry.name) == (step, name):
            os.kill(os.getpid(), 9)
        return await REAL[type(self)](self, request, flow)

    for bench in BENCHES:
        bench.do = do


def move_elsewhere() -> None:
    """Be on a machine whose directories have the same paths, and are others."""
    working.disk_of = lambda path: f"another disk: {path}"


def as_usual() -> None:
    working.disk_of = places.disk_of
    for bench in BENCHES:
        bench.do = REAL[bench]


def set_variable(name: str, value: str | None) -> str | None:
    """Set or remove a variable, and return what it was."""
    before = os.environ.pop(name, None)
    if value is not None:
        os.environ[name] = value
    return before


def set_version(version: str) -> None:
    working.VERSION = connecting.VERSION = version


def graph(dask_scheduler) -> bytes:
    """Everything that the scheduler has of the tasks, pickled."""
    import pickle

    return b"".join(pickle.dumps((task.key, task.run_spec)) for task in dask_scheduler.tasks.values())


def most_failures(count: int, dask_scheduler) -> int:
    """How many workers may die over a task; returns what it was."""
    before, dask_scheduler.allowed_failures = dask_scheduler.allowed_failures, count
    return before
