"""Kill -9 at random points, and the same command again: none lost, changed, doubled or left behind (P32)."""

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from credstore import LocalConfig, LocalStorageProvider
from tests.transfer.ends import content, make_tree, tree_of

OBJECTS = int(os.environ.get("TRANSFER_OBJECTS", "100"))
KILLS = int(os.environ.get("TRANSFER_KILLS", "3"))
"""`TRANSFER_OBJECTS=1000 TRANSFER_KILLS=50` is the same at size."""


def killed(arguments: list[str], after: int) -> bool:
    """Run the child, and kill it once it has told so much; whether it came to its end before."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.transfer.kill_child", *arguments],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert child.stdout is not None
    try:
        for _ in range(after):
            line = child.stdout.readline()
            if not line or line.startswith(b"complete"):
                break
    finally:
        child.kill()
        rest = child.stdout.read()
        child.stdout.close()
        child.wait()
    return b"complete" in rest.splitlines()


async def found(kind: str, place: Path) -> dict[str, bytes]:
    if kind == "folder":
        return await content(place)
    async with LocalStorageProvider(LocalConfig(path=place, fsync=False)) as store:
        return await content(store)


@pytest.mark.parametrize("kind", ["folder", "store"])
@pytest.mark.parametrize("drop", ["keep", "drop"])
def test_a_run_that_is_killed_again_and_again_continues(kind, drop, tmp_path):
    chance = random.Random(f"{kind} {drop}")
    tree = {
        f"d{n % 7}/f{n:03}": chance.randbytes(chance.choice([0, 10, 5_000, 70_000])) for n in range(OBJECTS)
    }
    tree["large"] = chance.randbytes(3_000_000)
    source = make_tree(tmp_path / "source", tree)
    place = tmp_path / "destination"
    arguments = [str(source), str(place), str(tmp_path / "journal"), kind, drop]
    for _ in range(KILLS):
        killed(arguments, chance.randrange(1, 2 * OBJECTS))
        there = asyncio.run(found(kind, place)) if place.exists() else {}
        here = tree_of(source)
        there = {name: data for name, data in there.items() if not Path(name).name.startswith(".credstore-")}
        # Everything is whole at one end at least, and nothing is anywhere that should not be.
        assert all(tree[name] == data for name, data in (*there.items(), *here.items()))
        assert {*there, *here} == set(tree)
        if drop == "keep":
            assert here == tree
    ended = subprocess.run(
        [sys.executable, "-m", "tests.transfer.kill_child", *arguments],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert ended.stdout.splitlines()[-1] == "complete"
    assert asyncio.run(found(kind, place)) == tree
    assert tree_of(source) == ({} if drop == "drop" else tree)
    if kind == "folder":
        assert not [path for path in place.iterdir() if path.name.startswith(".")]
