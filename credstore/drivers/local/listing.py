"""One page of names in the order of their UTF-8 bytes, walked lazily.

A directory's entries sort as they would in the list of keys: an object as its segment, a directory
as its segment and "/". So the walk gives keys in order without knowing the whole tree, skips what
lies before the page or outside the prefix, and looks only at the files of the page. A directory whose
own name has the delimiter, as each has with "/", stands for everything in it, and is not opened.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from credstore.drivers.local.atomic import ABSENT, DIRECTORY, Directories, Token, opened
from credstore.drivers.local.names import CONTROL, MAX_KEY, directory, parse
from credstore.drivers.local.root import Root


@dataclass(frozen=True, slots=True)
class Listed:
    """A key and the version of its file, or a common prefix and None."""

    key: str
    token: Token | None


@dataclass(frozen=True, slots=True)
class _Entry:
    """One name in a directory: `path` is how to get there from it, past continued directories."""

    order: bytes
    text: str
    path: tuple[str, ...]
    branch: bool
    aside: bool


@dataclass(frozen=True, slots=True)
class _Range:
    """Which names are wanted: those that begin with `prefix` and come after `after`.

    A name is a key, or with a delimiter what stands for all keys that have it after the prefix.
    """

    prefix: bytes
    after: bytes
    delimiter: bytes

    def wants(self, order: bytes, *, branch: bool) -> bool:
        """Whether a key, or anything below a branch, can be wanted."""
        if not branch:
            return order.startswith(self.prefix) and order > self.after
        if not (order.startswith(self.prefix) or self.prefix.startswith(order)):
            return False
        return order > self.after or self.after.startswith(order)

    def common(self, order: bytes) -> bytes | None:
        """The prefix that stands for a key, or for everything below a branch, or None."""
        cut = order.find(self.delimiter, len(self.prefix)) if self.delimiter else -1
        return order[: cut + len(self.delimiter)] if cut >= 0 else None


def walk(root: Root, prefix: str, after: str, delimiter: str | None) -> Generator[Listed, None, None]:
    """The names of a listing, ascending; close the iterator.

    Args:
        root: Of the store.
        prefix: Leading part of the names.
        after: They come after this one; empty for all.
        delimiter: See `Driver.list`.
    """
    wanted = _Range(prefix.encode(), after.encode(), (delimiter or "").encode())
    segments = prefix.split("/")[:-1]
    try:
        start = Directories.open(root.fd, directory(segments, fold=root.fold))
    except OSError as error:
        if error.errno in ABSENT:
            return
        raise
    with start:
        yield from _walk(root, start.last, "".join(f"{segment}/" for segment in segments), wanted)


def _walk(root: Root, fd: int, base: str, wanted: _Range) -> Generator[Listed, None, None]:
    """Depth first with a stack of its own: a key can have a thousand segments."""
    stack: list[tuple[contextlib.ExitStack, int, str, Iterator[_Entry]]] = []
    held = contextlib.ExitStack()
    last, common = None, b""
    try:
        stack.append((held, fd, base, _entries(root, fd, base, wanted)))
        while stack:
            held, fd, base, entries = stack[-1]
            entry = next(entries, None)
            if entry is None:
                held.close()
                stack.pop()
            elif (found := wanted.common(base.encode() + entry.order)) is not None:
                if found > max(common, wanted.after):
                    common = found
                    yield Listed(found.decode(), None)
            elif entry.branch:
                below = _descend(root, fd, base + entry.text + "/", entry, wanted)
                if below is not None:
                    stack.append(below)
            elif base + entry.text != last:
                listed = _look(fd, base + entry.text, entry)
                if listed is not None:
                    last = listed.key
                    yield listed
    finally:
        for held, *_ in stack:
            held.close()


def _descend(
    root: Root, fd: int, base: str, entry: _Entry, wanted: _Range
) -> tuple[contextlib.ExitStack, int, str, Iterator[_Entry]] | None:
    held = contextlib.ExitStack()
    try:
        where = held.enter_context(Directories.open(fd, entry.path))
        return held, where.last, base, _entries(root, where.last, base, wanted)
    except OSError as error:
        held.close()
        if error.errno in ABSENT:
            return None
        raise


def _look(fd: int, key: str, entry: _Entry) -> Listed | None:
    try:
        with Directories.open(fd, entry.path[:-1]) as where:
            status = os.stat(entry.path[-1], dir_fd=where.last, follow_symlinks=False)
    except OSError as error:
        if error.errno in ABSENT:
            return None
        raise
    return Listed(key, Token.of(status)) if stat.S_ISREG(status.st_mode) else None


def _entries(root: Root, fd: int, base: str, wanted: _Range) -> Iterator[_Entry]:
    head = base.encode()
    found = [
        entry
        for entry in _read(fd, (), "", fold=root.fold)
        if len(head) + len(entry.order) <= MAX_KEY + entry.branch
        and wanted.wants(head + entry.order, branch=entry.branch)
    ]
    found.sort(key=lambda entry: (entry.order, entry.aside))
    return iter(found)


def _read(fd: int, path: tuple[str, ...], start: str, *, fold: bool) -> Iterator[_Entry]:
    with os.scandir(fd) as names:
        entries = [
            (each.name, each.is_dir(follow_symlinks=False), each.is_file(follow_symlinks=False))
            for each in names
        ]
    for name, is_directory, is_file in entries:
        if name == CONTROL or not (is_directory or is_file):
            continue
        spelling = parse(name, start, fold=fold)
        if spelling is None:
            continue
        here = (*path, name)
        if spelling.continued:
            if is_directory:
                with (
                    contextlib.suppress(FileNotFoundError),
                    opened(os.open(name, DIRECTORY, dir_fd=fd)) as below,
                ):
                    yield from _read(below, here, spelling.text, fold=fold)
        elif is_directory:
            if not spelling.aside:
                yield _Entry(f"{spelling.text}/".encode(), spelling.text, here, branch=True, aside=False)
        else:
            yield _Entry(spelling.text.encode(), spelling.text, here, branch=False, aside=spelling.aside)
