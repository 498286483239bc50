"""Directories that are held open: each is reached by one name below another, with no link among them."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from typing import Self

from credstore.drivers.local.atomic import DIRECTORY, opened, release
from credstore.drivers.local.flushing import LASTING, Identity, Syncer, Way, identity_of


class Branches:
    """Directories that several writes have open at once, each of them opened once; close with `with`."""

    __slots__ = ("_identities", "_opened")

    def __init__(self) -> None:
        """None is open yet."""
        self._opened: dict[tuple[int, str], int] = {}
        self._identities: dict[int, Identity | None] = {}

    def has(self, parent: int, name: str) -> bool:
        """Whether `open` gives one that is open already."""
        return (parent, name) in self._opened

    def open(self, parent: int, name: str) -> int:
        """The directory `name` of another one; OSError where it is not there."""
        fd = self._opened.get((parent, name))
        if fd is None:
            fd = self._opened[parent, name] = os.open(name, DIRECTORY, dir_fd=parent)
        return fd

    def identity(self, fd: int) -> Identity | None:
        """As `identity_of`, of a directory that is open until these are closed."""
        if fd not in self._identities:
            self._identities[fd] = identity_of(fd)
        return self._identities[fd]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._opened:
            release(self._opened.popitem()[1])
        self._identities.clear()


class Directories:
    """The directories from the root to one place, all held open; close with `with`.

    Attributes:
        fds: They, from the root, which is not closed.
        names: Of those below the root.
        missing: Names that were wanted below the last one, and are not there.
    """

    __slots__ = ("_branches", "_lasting", "fds", "missing", "names")

    def __init__(self, root: int, *, lasting: bool = False, branches: Branches | None = None) -> None:
        """At the root.

        Args:
            root: An open directory.
            lasting: Whether nothing ever removes the directories below it.
            branches: Whose directories these are, instead of their own.
        """
        self._lasting = lasting
        self._branches = branches
        self.fds = [root]
        self.names: list[str] = []
        self.missing: tuple[str, ...] = ()

    @classmethod
    def open(
        cls,
        root: int,
        names: tuple[str, ...],
        *,
        make: bool = False,
        lasting: bool = False,
        branches: Branches | None = None,
    ) -> Self:
        """Walk down from `root`, making what is missing if `make`; OSError where that is impossible."""
        self = cls.reach(root, names, lasting=lasting, branches=branches)
        try:
            if self.missing and not make:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            self.make()
        except BaseException:
            self.close()
            raise
        return self

    @classmethod
    def reach(
        cls,
        root: int,
        names: tuple[str, ...],
        *,
        lasting: bool = False,
        branches: Branches | None = None,
    ) -> Self:
        """Walk down from `root` as far as there are directories; OSError where they are barred."""
        self = cls(root, lasting=lasting, branches=branches)
        try:
            for count, name in enumerate(names):
                try:
                    self._descend(name)
                except FileNotFoundError:
                    self.missing = names[count:]
                    break
        except BaseException:
            self.close()
            raise
        return self

    def make(self) -> None:
        """Make those that are missing."""
        for name in self.missing:
            if self._branches is None or not self._branches.has(self.last, name):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=self.last)
            self._descend(name)
        self.missing = ()

    def _descend(self, name: str) -> None:
        if self._branches is not None:
            self.fds.append(self._branches.open(self.last, name))
        else:
            self.fds.append(os.open(name, DIRECTORY, dir_fd=self.last))
        self.names.append(name)

    @property
    def last(self) -> int:
        """The innermost directory."""
        return self.fds[-1]

    def sync(self, syncer: Syncer) -> None:
        """Make what is in the last one durable, and the entries that lead there."""
        owed, entries = self.owed(syncer)
        for fd in owed.values():
            syncer.sync(fd)
        syncer.learn(entries)

    def owed(self, syncer: Syncer) -> tuple[dict[Way, int], dict[Way, Identity]]:
        """The directories that have to be flushed, innermost first, and what is durable when they are.

        Not only those just made: what another process made a moment ago may not be durable yet. But an entry
        that this process made durable stays so as long as it leads to the same directory.
        """
        owed = {self._path(len(self.names)): self.last}
        entries: dict[Way, Identity] = {}
        for count in range(len(self.names) if syncer.enabled else 0, 0, -1):
            path = self._path(count)
            identity = LASTING if self._lasting else self._identity(self.fds[count])
            if syncer.knows(path, identity):
                break
            owed[self._path(count - 1)] = self.fds[count - 1]
            if identity is not None:
                entries[path] = identity
        return owed, entries

    def _identity(self, fd: int) -> Identity | None:
        return identity_of(fd) if self._branches is None else self._branches.identity(fd)

    def _path(self, count: int) -> Way:
        return self.fds[0], tuple(self.names[:count])

    def prune(self) -> None:
        """Remove those that are empty now, from the innermost up, except the root."""
        for parent, name in zip(reversed(self.fds[:-1]), reversed(self.names), strict=True):
            try:
                os.rmdir(name, dir_fd=parent)
            except OSError:
                return

    def close(self) -> None:
        """Close all of them but the root, where they are their own."""
        while len(self.fds) > 1:
            fd = self.fds.pop()
            if self._branches is None:
                release(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_below(start: int, names: Sequence[str]) -> int:
    """Open a directory by the names that lead to it from another one, no link among them.

    It can be listed: a copy of `start` could not, since all copies of a descriptor read on from one place, so
    that each of two listings at the same time would lack what the other one has read.

    Raises:
        OSError: It is not there.
    """
    fd = os.open(names[0] if names else ".", DIRECTORY, dir_fd=start)
    for name in names[1:]:
        with opened(fd):
            fd = os.open(name, DIRECTORY, dir_fd=fd)
    return fd
