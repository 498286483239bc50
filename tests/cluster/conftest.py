"""One cluster of two worker processes for all tests of this folder, and what they do to it."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dask.config
import pytest
from distributed import Client, LocalCluster

from credstore.cluster.connecting import COMES_BACK, beside
from tests.cluster import plants

WORKERS = 2
SECRET = "canary-of-the-workers"


@dataclass
class Workers:
    """The cluster, from outside.

    Attributes:
        address: Of its scheduler.
        client: A synchronous client, for what a test does to workers.
    """

    address: str
    client: Client

    def all_there(self) -> list[str]:
        """The workers' addresses, once all of them are there again."""
        self.client.wait_for_workers(WORKERS)
        return sorted(self.client.nthreads())

    @contextmanager
    def with_variables(self, variables: dict[str, str]) -> Iterator[None]:
        """This process, all workers and those that replace them with more in their environment."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
                self.client.run(plants.set_variable, name, value)
            yield
        self.all_there()
        for name in variables:
            self.client.run(plants.set_variable, name, None)

    @contextmanager
    def with_variable(self, name: str, value: str | None) -> Iterator[str]:
        """One worker with another environment; its address."""
        worker = self.all_there()[0]
        before = self.client.run(plants.set_variable, name, value, workers=[worker])[worker]
        try:
            yield worker
        finally:
            self.client.run(plants.set_variable, name, before, workers=[worker])


@dataclass
class Trap:
    """A step at which a worker waits until it is killed or cancelled."""

    folder: Path
    workers: Workers

    def set(self, name: str, step: str = "copy") -> None:
        for pipe in ("reached", "ended"):
            os.mkfifo(self.folder / pipe)
        self.workers.all_there()
        self.workers.client.run(plants.wait_at, step, name, str(self.folder))

    async def said(self, pipe: str) -> str:
        """The line that comes through a pipe; waited for without a thread, so that it can be cancelled."""
        fd = os.open(
            self.folder / pipe, os.O_RDWR | os.O_NONBLOCK
        )  # Also for writing: no end without writers.
        loop, there = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(fd, there.set)
        try:
            await there.wait()
            return os.read(fd, 100).decode().strip()
        finally:
            loop.remove_reader(fd)
            os.close(fd)

    async def kill(self) -> None:
        os.kill(int(await self.said("reached")), signal.SIGKILL)


@pytest.fixture(scope="session")
def environment(moto_server) -> Iterator[None]:
    """What the workers find in their environment: the keys of moto."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINIO_ACCESS_KEY", "a")
        patch.setenv("MINIO_SECRET_KEY", SECRET)
        yield


@pytest.fixture(scope="session")
def cluster(environment) -> Iterator[Workers]:
    """Started once: a process of Python each."""
    with (
        dask.config.set(COMES_BACK),
        LocalCluster(**beside(WORKERS)) as started,
        Client(started, set_as_default=False) as client,
    ):
        yield Workers(started.scheduler_address, client)


@pytest.fixture
def workers(cluster) -> Iterator[Workers]:
    """All of them there, and without what an earlier test has planted."""
    cluster.all_there()
    yield cluster
    cluster.all_there()
    cluster.client.run(plants.as_usual)


@pytest.fixture
def trap(workers, tmp_path) -> Trap:
    folder = tmp_path / "trap"
    folder.mkdir()
    return Trap(folder, workers)


@pytest.fixture
def bucket(s3_server):
    """URLs below one bucket at moto, as they are given to anybody."""
    place = f"minio://{s3_server.url.removeprefix('http://')}/{s3_server.bucket}"
    return lambda path: f"{place}/{path}?http=true"
