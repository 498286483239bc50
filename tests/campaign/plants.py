"""Planted bugs of a store with replicas."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from credstore.strategies.redundant.mending import Mark, Mender
from credstore.strategies.redundant.writing import Writes


@contextmanager
def planted(name: str | None) -> Iterator[None]:
    """A redundant store with one bug, while the block runs."""
    begin = Writes.__init__

    def one_is_enough(self, members, needed, *rest, **options):
        begin(self, members, 1, *rest, **options)

    async def no_tombstones(self, *given):
        return None

    async def believe(self, call, member, kind, outcome):
        outcome.marks.append(Mark(member, kind, mended=True))

    bugs = {
        "one-is-enough": (Writes, "__init__", one_is_enough),
        "no-tombstones": (Mender, "bury", no_tombstones),
        "scrub-believes": (Mender, "mend", believe),
    }
    with pytest.MonkeyPatch.context() as patch:
        if name is not None:
            patch.setattr(*bugs[name])
        yield
