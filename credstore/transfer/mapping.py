"""Names that a side cannot hold, and what they are called there: both ways, in a file.

A mapping file is JSON Lines, ascending by name: `{"as": ..., "name": ...}`. A transfer whose destination is
to have `name` and cannot puts it under `as`; one whose source has `as` takes it for `name`. So the file that
a transfer wrote brings everything back under its own names. What a name is called is derived from it alone,
and ends in a piece of its SHA-256, so that no two names are called the same; where something else has that
name already, the object is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from credstore.driver import internal
from credstore.errors import StorageInvalidRequestError
from credstore.files import write_file

CALLED = re.compile(r"~[0-9a-f]{12}(?:/|$)")
"""In each name that was made here."""
_INSIDE = re.compile(r"~[0-9a-f]{12}(?=/)")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LONGEST = 200
"""Bytes of one part of a name that are kept."""
_OWN = (internal.SEGMENT, "_" + internal.SEGMENT[1:])
Unfit = Callable[[str], str | None]
"""Why a side cannot hold a name, or None."""


class Names:
    """What is called otherwise at a side that cannot hold its name.

    Attributes:
        new: Names that were not in the file.
    """

    def __init__(self, pairs: Mapping[str, str] | None = None) -> None:
        """Take what is known, from names to what they are called.

        Raises:
            StorageInvalidRequestError: Two names are called the same, or one is called as another is named.
        """
        self._called = dict(pairs or {})
        self._names = {called: name for name, called in self._called.items()}
        self.new: set[str] = set()
        if len(self._names) != len(self._called) or self._names.keys() & self._called.keys():
            raise StorageInvalidRequestError("the mapping gives two names to one object, or one to two")

    @classmethod
    def read(cls, path: Path) -> Names:
        """What a file says; nothing, where there is no file yet.

        Raises:
            StorageInvalidRequestError: It cannot be read, or is not a mapping.
        """
        pairs: dict[str, str] = {}
        try:
            text = path.read_text("ascii")
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError) as error:
            raise StorageInvalidRequestError(f"the mapping {path} cannot be read: {error}") from None
        for number, line in enumerate(text.splitlines(), 1):
            try:
                found = cast("object", json.loads(line))
            except ValueError:
                found = None
            match found:
                case {"name": str(name), "as": str(called)} if _is_pair(found) and name not in pairs:
                    pairs[name] = called
                case _:
                    raise StorageInvalidRequestError(f"line {number} of {path} is not one of a mapping")
        return cls(pairs)

    def write(self, path: Path) -> None:
        """Replace the file, whole or not at all.

        Raises:
            OSError: It cannot be written.
        """
        lines = (
            json.dumps({"as": called, "name": name}, sort_keys=True)
            for name, called in sorted(self._called.items())
        )
        write_file(path, "".join(f"{line}\n" for line in lines).encode("ascii"), replace=True)

    def __len__(self) -> int:
        return len(self._called)

    def __contains__(self, name: object) -> bool:
        return name in self._called

    def called(self, name: str) -> str:
        """What a side that cannot hold a name calls it; the name itself where nothing was said."""
        return self._called.get(name, name)

    def name_of(self, called: str) -> str:
        """The name of what is called so."""
        return self._names.get(called, called)

    def splits(self, name: str) -> bool:
        """Whether a name is called otherwise only because an object is named like a folder of it."""
        return _INSIDE.sub("", self._called[name], count=1) == name

    def spells(self, name: str) -> bool:
        """Whether a name is called otherwise only because another one differs from it in case alone."""
        return CALLED.sub("", self._called[name]) == name

    def add(self, name: str, called: str) -> bool:
        """Call a name otherwise; False where that is taken, and nothing was done."""
        if called in self._names or called in self._called or called == name:
            return False
        self._called[name], self._names[called] = called, name
        self.new.add(name)
        return True


class Held:
    """What one side calls the names that it has, or is to have.

    Attributes:
        names: What a mapping says; empty without one.
    """

    def __init__(self, unfit: Unfit, *, branches: bool) -> None:
        """Call everything by its name.

        Args:
            unfit: Why the side cannot hold a name.
            branches: Whether it can hold `a` and `a/b`.
        """
        self.names = Names()
        self._unfit, self._branches = unfit, branches
        self._seen: set[str] = set()

    def called(self, name: str) -> str:
        """What it calls a name."""
        names = self.names
        if not names or name not in names:
            return name
        if name in self._seen or self._unfit(name) is not None:
            return names.called(name)
        if not self._branches and (names.splits(name) or names.spells(name)):
            return names.called(name)
        return name

    def name_of(self, called: str) -> str:
        """The name of what it has."""
        if not self.names:
            return called
        name = self.names.name_of(called)
        if name != called:
            self._seen.add(name)
        return name


def called_for(name: str, unfit: Unfit, above: str | None = None) -> str:
    """What to call a name at a side that cannot hold it.

    Args:
        name: As it is.
        unfit: Of that side.
        above: An object whose name would have to be a folder for this one, or None.

    >>> called_for("a//b", lambda name: None), called_for("a/b/c", lambda name: None, "a/b")
    ('a/_/b~7a9acf331a5d', 'a/b~c14cddc033f6/c')
    """
    mark = "~" + hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:12]
    if above is not None:
        # All that would be below it goes below one folder.
        mark = "~" + hashlib.sha256(above.encode(errors="surrogatepass")).hexdigest()[:12]
        called = f"{above}{mark}{name[len(above) :]}"
    else:
        called = "/".join(map(_clean, name.split("/"))) + mark
    return called if unfit(called) is None else f"renamed/{mark}"


def _clean(part: str) -> str:
    part = _UNSAFE.sub("_", part)
    if part.startswith(_OWN[0]):
        part = _OWN[1] + part[len(_OWN[0]) :]
    part = part.encode()[:_LONGEST].decode(errors="ignore")
    return "_" if part in {"", ".", ".."} else part


def _is_pair(found: object) -> bool:
    return isinstance(found, dict) and len(cast("dict[str, object]", found)) == len(("as", "name"))
