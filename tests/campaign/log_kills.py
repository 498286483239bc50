"""A log on a disk whose writer is killed at each of its system calls in turn, or stopped while another one writes."""

import asyncio
import ctypes
import json
import os
import shutil
import signal
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

from credstore.config.stores import LocalConfig
from credstore.drivers.local.driver import LocalDriver
from credstore.errors import StorageError
from credstore.proofs.log import LogClient, LogIndex, LogMemory, LogObjects, check_log, sole_policy
from credstore.proofs.log.entry import LogEntry
from credstore.proofs.log.index_runs import key_of_asset
from credstore.proofs.log.sequencer import LogSequencer
from credstore.proofs.log.sequencing import Sequencing
from credstore.provider.provider import StorageProvider
from tests.campaign import logs
from tests.campaign.trial import Campaign, Trial
from tests.drivers.local.children import child
from tests.drivers.local.injecting import CHANGES, WAIT, calls_in, under_strace
from tests.proofs.log.logs import NOW, PREFIX, SIGNER, Plain

_SET_PTRACER, _ANY = 0x59616D61, ctypes.c_ulong(-1)
BEFORE, BATCH = 250, 12
"""Entries that are there, and that are appended: so that a tile becomes full."""
STOPS = ("commit", "finish", "_publish")
"""Steps before which the writer stops."""
PLANTS = {"no-staging": "kill", "plain-checkpoint": "stop"}
"""Where each planted bug shows."""


def entry(number: int) -> bytes:
    """An entry that the index knows, too."""
    name = f"01920000-0000-7000-8000-{number:012x}"
    return LogEntry("issue", bytes(32), "key", b"sig", name, number.to_bytes(32, "big")).data


@contextmanager
def opened(root: str):
    """A sequencer of the log in a folder, with its index."""
    config = LocalConfig(path=root, fsync=False)
    provider = StorageProvider(LocalDriver(config, threads=1), config)
    index = LogIndex(LogObjects(provider, PREFIX), block=256, largest_span=4096)
    yield provider, LogSequencer(
        provider, signer=SIGNER, admission=Plain(), clock=lambda: NOW, randomness=bytes, index=index, max_wait=0.0
    )  # fmt: skip


def prepare(root: Path) -> None:
    """A log as it is before."""

    async def work():
        with opened(str(root)) as (provider, log):
            await log.create()
            await log.append([entry(number) for number in range(BEFORE)])
            await log.aclose()
            await provider.aclose()

    asyncio.run(work())


async def _append(root: str, first: int, count: int) -> list[int]:
    with opened(root) as (provider, log):
        found = await log.append([entry(number) for number in range(first, first + count)])
        await log.aclose()
        await provider.aclose()
    return found


@contextmanager
def planted(name: str | None):
    """The writer with one bug."""
    put = LogObjects.put

    async def forget_staging(self, path, data):
        if not path.startswith("staging/"):
            await put(self, path, data)

    with logs.planted(name):
        if name == "no-staging":
            LogObjects.put = forget_staging
        yield
        LogObjects.put = put


def _stopping(step: str) -> None:
    """Let this process stop itself before a step, once."""
    real = getattr(Sequencing, step)

    async def stop(self, *arguments):
        setattr(Sequencing, step, real)
        os.kill(os.getpid(), signal.SIGSTOP)
        return await real(self, *arguments)

    setattr(Sequencing, step, stop)


def write(pipe: Connection, root: str, plant: str | None, stop: str | None) -> None:
    """Say "ready", wait for leave, append, and say which indices were acknowledged."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_SET_PTRACER, _ANY, 0, 0, 0)
    with planted(plant):
        pipe.send("ready")
        pipe.recv()
        if stop is not None:
            _stopping(stop)
        try:
            said = json.dumps(asyncio.run(_append(root, BEFORE, BATCH)))
        except StorageError as error:
            said = f"{error!r}"
        pipe.send(said)
        os._exit(0)


async def _examined(root: str, folder: Path, said: str | None, after: list[int]) -> str | None:
    """What is wrong with the log, which another process takes over; None if nothing is."""
    with opened(root) as (provider, log):
        objects = LogObjects(provider, PREFIX)
        client = LogClient(objects.fetch, policy=sole_policy(SIGNER.key.encode()), memory=LogMemory(folder))
        before = (await client.checkpoint()).signed.checkpoint.size
        size = await log.recover()
        expected = {number: entry(number) for number in range(BEFORE)}
        if said is not None and said.startswith("["):
            expected |= {index: entry(BEFORE + number) for number, index in enumerate(json.loads(said))}
        expected |= {index: entry(1000 + number) for number, index in enumerate(after)}
        (last,) = await log.append([entry(5000)])
        expected[last] = entry(5000)
        report = await check_log(client)
        if report.problems or size < before:
            return f"{report.problems} at size {size}, after {before}"
        tiles = await client.tiles()
        for index, data in expected.items():
            if await tiles.entry(index) != data:
                return f"entry {index} is not the one that was acknowledged"
        for number in (0, BEFORE - 1, 5000):
            found = await LogIndex(objects, block=256, largest_span=4096).find(
                key_of_asset(number.to_bytes(32, "big")), tiles
            )
            if found != [index for index, data in expected.items() if data == entry(number)]:
                return f"entry {number} is found at {found}"
        await log.aclose()
        staged = await objects.names("staging/")
        await provider.aclose()
        return f"{staged} are left over" if staged and said is not None else None


def examined(root: Path, folder: Path, said: str | None, after: list[int]) -> str | None:
    """As `_examined`; an error is a problem, too."""
    try:
        return asyncio.run(_examined(str(root), folder, said, after))
    except (StorageError, IndexError) as error:
        return f"{type(error).__name__}: {error}"[:300]


def kill(trial: Trial, place: tuple[str, int]) -> str | None:
    """Kill the writer at one call."""
    name, number = place
    root = trial.folder / "hit"
    prepare(root)
    what = ("-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={number}")
    ended = under_strace(write, (str(root), trial.plant, None), *what, log=trial.folder / "trace")
    problem = examined(root, trial.folder / "memory", ended.said, [])
    trial.counts["killed"] += ended.killed
    for folder in (root, trial.folder / "memory"):
        shutil.rmtree(folder, ignore_errors=True)
    return problem


def stop(trial: Trial, step: str) -> str | None:
    """Stop the writer before a step, let another one write, and let it continue."""
    root = trial.folder / "stopped"
    prepare(root)
    with child(write, str(root), trial.plant, step) as writer:
        assert writer.pipe.poll(WAIT)
        writer.pipe.recv()
        writer.pipe.send("now")
        while Path(f"/proc/{writer.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            os.sched_yield()
        after = asyncio.run(_append(str(root), 1000, 5))
        seen = (root / PREFIX / "checkpoint").read_bytes()
        os.kill(writer.pid, signal.SIGCONT)
        assert writer.pipe.poll(WAIT), "the writer does not continue"
        said = writer.pipe.recv()
    sizes = [int(note.split(b"\n")[1]) for note in (seen, (root / PREFIX / "checkpoint").read_bytes())]
    problem = examined(root, trial.folder / "memory", said, after)
    if sizes != sorted(sizes):
        problem = f"the log went back from size {sizes[0]} to {sizes[1]}"
    trial.counts["stopped"] += 1
    for folder in (root, trial.folder / "memory"):
        shutil.rmtree(folder, ignore_errors=True)
    return problem


def places(trial: Trial) -> list[tuple[str, int]]:
    """Each call of an undisturbed writer, as its name and number."""
    root = trial.folder / "planned"
    prepare(root)
    log = trial.folder / "trace"
    ended = under_strace(write, (str(root), None, None), "-e", f"trace={CHANGES}", log=log)
    assert ended.said == json.dumps(list(range(BEFORE, BEFORE + BATCH))), ended
    shutil.rmtree(root)
    return [(name, number) for name, count in calls_in(ended.trace).items() for number in range(1, count + 1)]


def run(trial: Trial) -> None:
    """Stop before each step, then kill at each call, up to the size; what there is may be less."""
    kind = None if trial.plant is None else PLANTS[trial.plant]
    plan = [] if kind == "kill" else [(stop, step) for step in STOPS]
    plan += [] if kind == "stop" else [(kill, place) for place in places(trial)]
    for unit, (action, place) in enumerate(plan):
        if trial.done >= trial.size:
            return
        if unit >= trial.start:
            problem = action(trial, place)
            trial.ended(unit, problem and f"{action.__name__} at {place}: {problem}")
    trial.size = trial.done


CAMPAIGN = Campaign(
    name="log-kills",
    unit="places",
    about=(
        "A process appends to a transparency log, with its index, on a local store. strace kills it with SIGKILL at "
        "each system call that changes something in turn; or it stops itself (SIGSTOP) before a step, and continues "
        "once another process has appended. Afterwards another process takes over: every tile and entry is checked "
        "against the signed root, each acknowledged entry is at its index and found by its asset, the published state "
        "continues what was seen before and never goes back."
    ),
    sizes={"quick": 20, "ci": 200, "campaign": 400, "release": 400},
    run=run,
    plants={"no-staging": 200, "plain-checkpoint": 3},
    programs=("strace",),
)
