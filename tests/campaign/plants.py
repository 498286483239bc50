"""Planted bugs of a store with replicas."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from credstore.strategies.redundant.asking import Looking
from credstore.strategies.redundant.mending import Mender
from credstore.strategies.redundant.writing import Writes


@contextmanager
def planted(name: str | None) -> Iterator[None]:
    """A redundant store with one bug, while the block runs."""
    begin = Writes.__init__

    def one_is_enough(self, members, needed, *rest, **options):
        begin(self, members, 1, *rest, **options)

    async def no_tombstones(self, *given):
        return None

    ask = Looking.__init__

    def one_answers(self, members, read, *rest):
        ask(self, members, 1, *rest)

    bugs = {
        "one-is-enough": (Writes, "__init__", one_is_enough),
        "no-tombstones": (Mender, "bury", no_tombstones),
        "one-answers": (Looking, "__init__", one_answers),
    }
    with pytest.MonkeyPatch.context() as patch:
        if name is not None:
            patch.setattr(*bugs[name])
        yield
