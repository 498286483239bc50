"""Checkpoints: as many as are wanted, whole or not there, and a run that continues after a kill."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore import StorageError, StorageInvalidRequestError, StorageNotFoundError
from credstore.artifacts.checkpoints import Wanted
from credstore.artifacts.statements import ArtifactVersion
from tests.artifacts.stores import Store, noise, read, run, write
from tests.proofs.material import START

ROOT = Path(__file__).parents[2]


def version(number, step, metrics):
    details = {"step": step, "metrics": metrics}
    return ArtifactVersion(
        "checkpoint", "run", number, START, 1, 1, 1, None, "0" * 32, bytes(32), "https://a", details
    )


def test_the_best_and_the_last_stay(tmp_path):
    store = Store()
    losses = [0.9, 0.5, 0.7, 0.2, 0.6, 0.5, 0.8]

    async def main():
        manager = store.manager()
        for step, loss in enumerate(losses):
            folder = write(tmp_path / "state", {"weights": noise(50_000), "step": str(step).encode()})
            saved = await manager.save_checkpoint(
                "run", step, folder, {"loss": loss}, keep_last=2, keep_best=2, metric="loss"
            )
            assert (saved.step, saved.metrics) == (step, {"loss": loss})
        assert [each.step for each in await manager.checkpoints("run")] == [3, 5, 6]
        last = await manager.load_checkpoint("run", into=tmp_path / "last")
        assert last.step == 6
        assert read(tmp_path / "last") == read(tmp_path / "state")
        best = await manager.load_checkpoint("run", 3, into=tmp_path / "best")
        assert best.metrics == {"loss": 0.2}
        with pytest.raises(StorageNotFoundError, match="step 4"):
            await manager.load_checkpoint("run", 4, into=tmp_path / "none")
        with pytest.raises(StorageNotFoundError):
            await manager.load_checkpoint("other", into=tmp_path / "none")
        assert await manager.checkpoints("other") == []
        assert await manager.names(kind="checkpoint") == ["run"]

    run(main())
    assert len([name for name in store.names() if "/packs/" in name]) == 3


def test_a_step_that_is_saved_again_replaces_the_earlier_one(tmp_path):
    state = tmp_path / "state"

    async def main():
        manager = Store().manager()
        for text in (b"first", b"second"):
            state.write_bytes(text)
            await manager.save_checkpoint("run", 7, state)
        (found,) = await manager.checkpoints("run")
        assert found.artifact.version == 2
        await manager.load_checkpoint("run", 7, into=tmp_path / "out")
        state.write_bytes(b"third")
        await manager.save_checkpoint("run", 8, state, keep_last=5)
        assert [each.version for each in await manager.versions("run", kind="checkpoint")] == [2, 3]

    run(main())
    assert read(tmp_path / "out") == {"state": b"second"}


@given(
    st.lists(st.tuples(st.integers(0, 5), st.none() | st.floats(-1, 1)), min_size=1, max_size=12),
    st.none() | st.integers(1, 4),
    st.none() | st.integers(1, 4),
    st.sampled_from(["lower", "higher"]),
)
def test_what_stays_is_the_last_steps_and_the_best(saved, last, best, better):
    versions = [
        version(number, step, {} if value is None else {"loss": value})
        for number, (step, value) in enumerate(saved, 1)
    ]
    wanted = Wanted.checked(last, best, None if best is None else "loss", better)
    if wanted is None:
        assert (last, best) == (None, None)
        return
    staying = wanted.of(versions)
    steps = {step: number for number, (step, _) in enumerate(saved, 1)}
    values = {number: value for number, (_, value) in enumerate(saved, 1) if value is not None}
    assert staying <= set(steps.values())
    assert {steps[step] for step in sorted(steps)[-(last or 1) :]} <= staying
    measured = [number for number in steps.values() if number in values]
    among = sorted((values[number] for number in measured), reverse=better == "higher")[: best or 0]
    kept = sorted((values[number] for number in measured if number in staying), reverse=better == "higher")
    assert kept[: len(among)] == among


@pytest.mark.parametrize(
    "wrong",
    [
        {"keep_last": 0},
        {"keep_best": 0, "metric": "loss"},
        {"keep_best": 1},
        {"metric": "loss"},
        {"metrics": {"loss": float("nan")}},
        {"step": -1},
        {"step": 2**53},
        {"abandoned_after": timedelta(-1)},
    ],
)
def test_wrong_arguments_store_nothing(tmp_path, wrong):
    store = Store()
    folder = write(tmp_path / "state", {"a": b"1"})
    with pytest.raises(StorageInvalidRequestError):
        run(store.manager().save_checkpoint("run", **{"step": 1, "path": folder, **wrong}))
    assert store.names() == set()


def test_a_checkpoint_is_saved_where_another_prune_runs_or_fails(tmp_path):
    store = Store()
    folder = write(tmp_path / "state", {"a": b"1"})

    async def fail(_):
        if any(name.endswith("leases/prune") for name in store.names()):
            raise StorageError("no more")

    async def main():
        manager = store.manager()
        await manager.save_checkpoint("run", 1, folder)
        with pytest.raises(StorageError, match="no more") as caught:
            await store.manager(fail).save_checkpoint("run", 2, folder, keep_last=1)
        assert caught.value.applied == "yes"
        # What that prune could not remove is its lease.
        await manager.save_checkpoint("run", 3, folder, keep_last=1)
        assert [each.step for each in await manager.checkpoints("run")] == [1, 2, 3]
        await manager.save_checkpoint("run", 4, folder, keep_last=1, abandoned_after=timedelta(0))
        assert [each.step for each in await manager.checkpoints("run")] == [4]

    run(main())


PROGRAM = """
import asyncio, json, os, pathlib, random, signal, sys
from credstore import LocalConfig, LocalStorageProvider
from tests.artifacts.stores import manager_on

STEPS = 5

class Counted(LocalStorageProvider):
    '''Kills this process at one of its calls.'''
    left = 0
    def count(self):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    async def store(self, *args, **options):
        self.count()
        result = await super().store(*args, **options)
        self.count()
        return result
    async def delete(self, *args, **options):
        self.count()
        return await super().delete(*args, **options)
    async def batch_delete(self, *args, **options):
        self.count()
        return await super().batch_delete(*args, **options)

async def train(work, left):
    async with Counted(LocalConfig(path=work / "store")) as provider:
        provider.left = left
        manager = manager_on(provider)
        step, total = 0, 0
        if await manager.checkpoints("run"):
            into = work / f"resumed-{os.getpid()}"
            last = await manager.load_checkpoint("run", into=into)
            kept = json.loads((into / "state.json").read_text())
            step, total = kept["step"], kept["total"]
            assert last.step == step
            assert (into / "weights").read_bytes() == random.Random(step).randbytes(200_000)
        while step < STEPS:
            step += 1
            total += step
            folder = work / f"state-{os.getpid()}"
            folder.mkdir(exist_ok=True)
            (folder / "state.json").write_text(json.dumps({"step": step, "total": total}))
            (folder / "weights").write_bytes(random.Random(step).randbytes(200_000))
            await manager.save_checkpoint("run", step, folder, {"loss": 1 / step}, keep_last=2)
        assert total == sum(range(STEPS + 1))

def attempt(work, left):
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(train(work, left))
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

kills = 0
for seed in range(8):
    work, numbers = pathlib.Path(sys.argv[1]) / str(seed), random.Random(seed)
    work.mkdir()
    while code := attempt(work, numbers.randint(1, 40)):
        assert code == -signal.SIGKILL, code
        kills += 1
print(kills)
"""


def test_a_run_that_is_killed_anywhere_continues_from_its_last_checkpoint(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 8
