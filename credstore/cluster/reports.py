"""What jobs on the objects of a store report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from credstore.errors import StorageError


@dataclass(frozen=True, slots=True, kw_only=True)
class RecompressReport:
    """What became of the objects that were to be compressed with a dictionary.

    Attributes:
        recompressed: Objects that are smaller now.
        kept: Objects that were left as they were: small enough already, too large, or encrypted.
        known: Objects that the journal knows as done.
        before: Stored bytes of those that were looked at.
        after: Stored bytes of the same ones now.
        failed: Why it was not done with an object, by name.
    """

    recompressed: int
    kept: int
    known: int
    before: int
    after: int
    failed: Mapping[str, StorageError]

    @property
    def complete(self) -> bool:
        """Whether all objects were looked at."""
        return not self.failed


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueReport:
    """Proofs about the objects of a place.

    Attributes:
        issued: Objects that have a proof now, from this run or, with the same content, an earlier one.
        known: Objects that the journal knows to have one, and that have not changed since.
        failed: Why an object has none, by name.
    """

    issued: int
    known: int
    failed: Mapping[str, StorageError]

    @property
    def complete(self) -> bool:
        """Whether all objects have a proof."""
        return not self.failed
