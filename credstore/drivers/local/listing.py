"""One page of keys in the order of their UTF-8 bytes, walked lazily.

A directory's entries sort as they would in the list of keys: an object as its segment, a directory
as its segment and "/". So the walk gives keys in order without knowing the whole tree, skips what
lies before the cursor or beside the prefix, and looks only at the files of the page.
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
    """A key and the version of its file."""

    key: str
    token: Token


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
    """Which keys are wanted: those that begin with `prefix` and come after `cursor`."""

    prefix: bytes
    cursor: bytes | None

    def wants(self, order: bytes, *, branch: bool) -> bool:
        """Whether a key, or anything below a branch, can be wanted."""
        if not branch:
            return order.startswith(self.prefix) and (self.cursor is None or order > self.cursor)
        if not (order.startswith(self.prefix) or self.prefix.startswith(order)):
            return False
        return self.cursor is None or order > self.cursor or self.cursor.startswith(order)


def walk(root: Root, prefix: str, cursor: str | None) -> Generator[Listed, None, None]:
    """The objects of the range, ascending; close the iterator."""
    wanted = _Range(prefix.encode(), None if cursor is None else cursor.encode())
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
    last = None
    try:
        stack.append((held, fd, base, _entries(root, fd, base, wanted)))
        while stack:
            held, fd, base, entries = stack[-1]
            entry = next(entries, None)
            if entry is None:
                held.close()
                stack.pop()
            elif entry.branch:
                below = _descend(root, fd, base + entry.text + "/", entry, wanted)
                if below is not None:
                    stack.append(below)
            elif base + entry.text != last:
                found = _look(fd, base + entry.text, entry)
                if found is not None:
                    last = found.key
                    yield found
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


def _read(fd: int, path: tuple[str, ...], begun: str, *, fold: bool) -> Iterator[_Entry]:
    with os.scandir(fd) as names:
        entries = [
            (each.name, each.is_dir(follow_symlinks=False), each.is_file(follow_symlinks=False))
            for each in names
        ]
    for name, is_directory, is_file in entries:
        if name == CONTROL or not (is_directory or is_file):
            continue
        spelling = parse(name, begun, fold=fold)
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
