"""Transfers between any two stores, or a store and a folder: copy, synchronise, migrate, compare.

`plan` is pure: listings are merged and judged. `journal` remembers on disk what both ends were when they were
equal, so that a run that was killed continues. `run` does the work. `folder` and `store` are the two kinds of
end; `moving` has the ways from one to the other.

What travels: between two stores an object keeps its stored form (bytes, codec, headers, metadata, tags), so
that both can be compared by the digest of their stored bytes; from and to a folder, and where an end encrypts
by itself, it is decoded and stored again. What cannot be kept is counted in `TransferReport.lost`. Every
object is verified before it counts as copied: by a checksum of all of it that the store has computed and
reported, else by reading it back.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from credstore.transfer.calls import compare, copy_tree, journal_name, migrate, sync, verify_transfer
    from credstore.transfer.evidence import VerifiedTransfer
    from credstore.transfer.values import (
        Alone,
        Place,
        TransferEvent,
        TransferOptions,
        TransferPlan,
        TransferProgress,
        TransferReport,
        Under,
    )

__all__ = [
    "Alone",
    "Place",
    "TransferEvent",
    "TransferOptions",
    "TransferPlan",
    "TransferProgress",
    "TransferReport",
    "Under",
    "VerifiedTransfer",
    "compare",
    "copy_tree",
    "journal_name",
    "migrate",
    "sync",
    "verify_transfer",
]


_HOMES = {"VerifiedTransfer": "evidence", "Under": "ends", "Alone": "ends"}

if not TYPE_CHECKING:  # So that a wrong name is an error for type checkers too.

    def __getattr__(name: str) -> object:
        """Load a public name at its first use, so that the pure modules cost nothing else."""
        if name not in __all__:
            raise AttributeError(f"module 'credstore.transfer' has no attribute {name!r}")
        home = "values" if name[0].isupper() else "calls"
        home = _HOMES.get(name, home)
        value: object = getattr(import_module(f"credstore.transfer.{home}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
