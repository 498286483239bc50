"""What a transfer is from or to. Frozen; no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Literal, TypeAlias

from credstore.arguments import typed_request
from credstore.provider.provider import StorageProvider


@typed_request
@dataclass(frozen=True, slots=True)
class Under:
    """All objects of a store whose keys begin with a prefix, as a place to transfer from or to.

    Attributes:
        provider: The store; not closed here.
        prefix: The beginning of the keys, left out of the names; "" for all. A folder ends with a slash.
    """

    provider: StorageProvider
    prefix: str = ""


@typed_request
@dataclass(frozen=True, slots=True)
class Alone:
    """One object or file, as a place to transfer from.

    Attributes:
        place: Where it is.
        name: Its name there.
        called: Its name at the destination; the last part of `name` unless given.
    """

    place: StorageProvider | Under | PathLike[str]
    name: str
    called: str = ""


Links: TypeAlias = Literal["skip", "follow", "error"]
Place: TypeAlias = StorageProvider | Under | Alone | PathLike[str]
"""A store, part of one, one object, or a folder of plain files."""
