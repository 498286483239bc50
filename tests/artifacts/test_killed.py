"""A process that is killed, or interrupted by Ctrl-C, while it saves or loads: on a disk, for real."""

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from credstore import LocalConfig, LocalStorageProvider
from tests.artifacts.stores import manager_on, noise, read, run, write

ROOT = Path(__file__).parents[2]
PROGRAM = """
import asyncio, os, signal, sys
from credstore import LocalConfig, LocalStorageProvider
from tests.artifacts.stores import manager_on
from credstore.artifacts import saving
from credstore.artifacts.packs import Packer

what, store, folder, number, at = sys.argv[1:]
number, at = int(number), int(at)
saving.Packer = lambda session: Packer(session, 256 * 1024)

def progress(done, total):
    global at
    at -= 1
    if at == 0:
        os.kill(os.getpid(), number)

async def main():
    async with LocalStorageProvider(LocalConfig(path=store)) as provider:
        manager = manager_on(provider)
        if what == "save":
            await manager.save_dataset("set", folder, progress=progress)
        else:
            await manager.load_dataset("set", into=folder, progress=progress)
asyncio.run(main())
"""


def child(*arguments):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("at", [1, 3])
def test_a_save_that_is_ended_leaves_no_version_and_nothing_for_ever(tmp_path, number, at):
    files = {f"{part}": noise(600_000) for part in range(4)}
    folder = write(tmp_path / "data", {"0": files["0"]})

    async def names():
        async with LocalStorageProvider(LocalConfig(path=tmp_path / "store")) as provider:
            return {item.key for item in await provider.list()}

    async def save():
        async with LocalStorageProvider(LocalConfig(path=tmp_path / "store")) as provider:
            return await manager_on(provider).save_dataset("set", folder)

    async def check():
        async with LocalStorageProvider(LocalConfig(path=tmp_path / "store")) as provider:
            manager = manager_on(provider)
            assert [each.version for each in await manager.versions("set")] == [1]
            await manager.verify("set")
            await manager.prune("set", 5, abandoned_after=timedelta(0))

    run(save())
    first = run(names())
    write(folder, files)
    # Ctrl-C ends in -SIGINT too: Python raises KeyboardInterrupt, and then ends as the signal would.
    assert child("save", tmp_path / "store", folder, int(number), at) == -number
    if number == signal.SIGINT:
        assert run(names()) == first
    run(check())
    assert run(names()) == first
    assert run(save()).version == 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_load_that_is_ended_makes_no_folder(tmp_path, number):
    folder = write(tmp_path / "data", {f"{part}": noise(3_000_000) for part in range(3)})

    async def save():
        async with LocalStorageProvider(LocalConfig(path=tmp_path / "store")) as provider:
            await manager_on(provider).save_dataset("set", folder)

    run(save())
    (tmp_path / "in").mkdir()
    into = tmp_path / "in" / "out"
    assert child("load", tmp_path / "store", into, int(number), 2) == -number
    assert not into.exists()
    if number == signal.SIGINT:
        assert list(into.parent.iterdir()) == []
    assert child("load", tmp_path / "store", into, 0, 0) == 0
    assert read(into) == read(folder)
    assert list(into.parent.iterdir()) == [into]
