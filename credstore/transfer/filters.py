"""Pure: which names are transferred, by globs and by a list.

A glob without a slash at its start matches the end of a name from any folder on (`*.jpg` matches `a/b.jpg`);
with one, the whole name. `*` and `?` stop at a slash, `**` does not, `[...]` is one of these characters, and
a glob that ends with a slash is everything in that folder. Source of the forms: rclone's filtering patterns,
gitignore(5).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable

from credstore.errors import StorageInvalidRequestError


class Filter:
    """Which names are wanted.

    Those that an `include` matches, if there are any, and a `within`, if there are any, and no `exclude`.

    Attributes:
        unseen: Names of the list that were not said to be there yet; empty without a list.
    """

    def __init__(
        self,
        include: Collection[str] = (),
        exclude: Collection[str] = (),
        names: Iterable[str] | None = None,
        within: Collection[str] = (),
    ) -> None:
        """Compile the globs.

        Args:
            include: Globs; none for all.
            exclude: Globs; they have the last word.
            names: Only these, exactly; None for all.
            within: Globs of what the place was named by; none for all of it.

        Raises:
            StorageInvalidRequestError: A glob has brackets that are not closed.
        """
        self._include = _any_of(include)
        self._within = _any_of(within)
        self._exclude = _any_of(exclude)
        self._deep = _any_of([glob for glob in exclude if glob.endswith(("/", "**"))])
        self._names = None if names is None else frozenset(names)
        self.unseen: set[str] = set(self._names or ())

    def __call__(self, name: str) -> bool:
        """Whether a name is wanted."""
        if self._names is not None and name not in self._names:
            return False
        if self._within is not None and not self._within(name):
            return False
        if self._include is not None and not self._include(name):
            return False
        return self._exclude is None or not self._exclude(name)

    def enters(self, folder: str) -> bool:
        """Whether anything in a folder, whose name ends with a slash, can be wanted."""
        # What a glob that ends with ** matches in a folder it matches whatever follows.
        return self._deep is None or not self._deep(folder + "\0")


def _any_of(globs: Collection[str]) -> Callable[[str], object] | None:
    if not globs:
        return None
    return re.compile("|".join(f"(?:{_translated(glob)})" for glob in globs), re.DOTALL).fullmatch


def _translated(glob: str) -> str:
    text = glob + "**" if glob.endswith("/") else glob
    if not glob.strip("/"):
        raise StorageInvalidRequestError(f"{glob!r} is not a glob; write ** for everything")
    start, text = ("", text[1:]) if text.startswith("/") else ("(?:.*/)?", text)
    parts = [start]
    at = 0
    while at < len(text):
        if text.startswith("**/", at):
            parts.append("(?:.*/)?")
            at += 3
        elif text.startswith("**", at):
            parts.append(".*")
            at += 2
        elif text[at] == "*":
            parts.append("[^/]*")
            at += 1
        elif text[at] == "?":
            parts.append("[^/]")
            at += 1
        elif text[at] == "[":
            at = _bracket(glob, text, at, parts)
        else:
            at += text[at] == "\\" and at + 1 < len(text)
            parts.append(re.escape(text[at]))
            at += 1
    return "".join(parts)


def _bracket(glob: str, text: str, at: int, parts: list[str]) -> int:
    """Add the characters in brackets that begin at `at`, and return where they end."""
    end = text.find("]", at + 2 + (text[at + 1 : at + 2] in {"!", "^"}))
    if end < 0:
        raise StorageInvalidRequestError(
            f"the glob {glob!r} has a [ without its ]; write \\[ for the character"
        )
    inside = text[at + 1 : end]
    no = inside[0] in "!^"
    chosen = re.sub(r"([\\\[\]&~|^])", r"\\\1", inside[no:])
    try:
        re.compile(f"[{chosen}]")
    except re.error:
        raise StorageInvalidRequestError(f"the glob {glob!r} has a range that does not ascend") from None
    parts.append(f"(?!/)[{'^' if no else ''}{chosen}]")
    return end + 1
