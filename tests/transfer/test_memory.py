"""What a transfer holds in memory does not grow with the number of objects."""

import asyncio
import gc
import tracemalloc
from types import SimpleNamespace

from credstore.transfer.mapping import Held
from credstore.transfer.plan import Entry
from credstore.transfer.planning import Goal
from credstore.transfer.run import Run
from credstore.transfer.sides import Written
from tests.transfer.endless import moved


class Endless:
    """An end that lists so many objects, and has none of them."""

    ordered = plain = branches = True
    sealed = ""
    only = None
    empty_folders = False

    def __init__(self, count: int, label: str) -> None:
        self.count, self.label, self.identity = count, label, label
        self.held = Held(self.unfit, branches=True)

    def unfit(self, name):
        return "odd" if name.endswith("7") else None

    async def folds(self):
        return False

    async def prepare(self, entries):
        pass

    async def entries(self, wanted, *, destination):
        for number in range(self.count):
            yield Entry(f"{number:09}", 10, 1.0, "t", "v")


async def copy(entry):
    return Written("v", bytes(32), "t")


def peak(count: int, tmp_path) -> int:
    """Bytes at most, for a run that copies, refuses, finds equal, and looks again."""

    async def run():
        journal = tmp_path / f"journal-{count}"
        source, destination = Endless(count, "one"), Endless(count // 2, "two")
        for goal in (Goal(), Goal(always_again=True)):
            hands = SimpleNamespace(copy=copy, page=1000, looks=16, width=None)
            options = {"journal": journal, "overwrite": "different"}
            made = Run(source, destination, goal, options, hands=lambda flow, hands=hands: hands)
            report = await made.report()
            assert report.counts["refused"] == count // 10
        assert report.compared_by["journal"] > 0

    gc.collect()
    tracemalloc.start()
    try:
        asyncio.run(run())
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_four_times_as_many_objects_take_no_more_memory(tmp_path):
    """From where pages and batches of 1,000 are full: before that, memory fills them."""
    peak(100, tmp_path)  # what a first run imports and caches is no part of the measure
    small, large = peak(8_000, tmp_path), peak(32_000, tmp_path)
    assert large < 1.3 * small, (small, large)


def test_ten_times_as_many_objects_take_no_more_memory_of_the_process(tmp_path):
    """Between two stores, by their drivers; `tests/campaign/million.py` does it at size."""
    few, counts = moved(2_000, tmp_path / "few")
    assert counts == ["2000"] * 3
    many, counts = moved(20_000, tmp_path / "many")
    assert counts == ["20000"] * 3
    assert many - few < 8 * 1024, (few, many)
