"""Where the objects of an artifact are. Pure.

    <prefix><kind>/<name>/versions/<number>   signed statement; its existence makes a version visible
    <prefix><kind>/<name>/tags/<tag>          signed statement
    <prefix>model/<name>/stages/<number>      signed statement: what was said of a version, in that order
    <prefix><kind>/<name>/indexes/<session>   files and chunks of one version, JSON Lines
    <prefix><kind>/<name>/packs/<session>-<n> chunks, one after the other
    <prefix><kind>/<name>/leases/<session>    while a save runs; `prune` while a prune runs

Packs and indexes are named by the save that wrote them, never by their content: what a prune removes can
then not be what a later save relies on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["dataset", "model", "checkpoint", "backup", "archive"]
"""What a chain of versions is."""
PRUNE = "prune"
_NUMBER = re.compile(r"[0-9]{10}")
_SESSION = re.compile(r"[0-9a-f]{32}")
_PACK = re.compile(r"([0-9a-f]{32})-[0-9]{1,9}")
MOST_VERSIONS = 10**10 - 1


@dataclass(frozen=True, slots=True)
class Layout:
    """The keys of one artifact.

    Attributes:
        root: What all of them start with, ending with "/".
    """

    root: str

    @property
    def versions(self) -> str:
        """Prefix of the versions."""
        return f"{self.root}versions/"

    @property
    def tags(self) -> str:
        """Prefix of the tags."""
        return f"{self.root}tags/"

    @property
    def stages(self) -> str:
        """Prefix of the changes of stage."""
        return f"{self.root}stages/"

    @property
    def packs(self) -> str:
        """Prefix of the packs."""
        return f"{self.root}packs/"

    @property
    def indexes(self) -> str:
        """Prefix of the indexes."""
        return f"{self.root}indexes/"

    @property
    def leases(self) -> str:
        """Prefix of the leases."""
        return f"{self.root}leases/"

    def version(self, number: int) -> str:
        """Key of a version."""
        return f"{self.versions}{number:010}"

    def stage(self, number: int) -> str:
        """Key of a change of stage."""
        return f"{self.stages}{number:010}"


def number_in(prefix: str, key: str) -> int | None:
    """Number of the version or change of stage with this key; None for any other key."""
    rest = key.removeprefix(prefix)
    return int(rest) if _NUMBER.fullmatch(rest) else None


def pack_id(session: str, number: int) -> str:
    """Name of the `number`th pack of a save."""
    return f"{session}-{number}"


def pack_session(pack: str) -> str | None:
    """The save that wrote a pack; None if this is not the name of one."""
    found = _PACK.fullmatch(pack)
    return found[1] if found else None


def is_session(text: str) -> bool:
    """Whether this names a save: 32 hex digits."""
    return _SESSION.fullmatch(text) is not None
