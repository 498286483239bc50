"""Planted bugs: each breaks one rule of the local driver, so that a harness can be seen to turn red."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from credstore.drivers.local import atomic, attributes, directories, flushing, together

Patch = Callable[[Any, str, Any], None]


def no_data_fsync(patch: Patch) -> None:
    """Bytes are published before they are on the disk."""
    settle = atomic.Temporary.settle

    def settle_unsynced(self, step=0):
        self._syncer.enabled = False
        try:
            return settle(self, step)
        finally:
            self._syncer.enabled = True

    patch(atomic.Temporary, "settle", settle_unsynced)


def no_directory_fsync(patch: Patch) -> None:
    """No entry of a directory is on the disk when a call returns."""
    patch(directories.Directories, "owed", lambda self, syncer: ({}, {}))


def no_parent_fsync(patch: Patch) -> None:
    """Directories that lead to the one that was changed are taken for durable."""
    patch(flushing.Syncer, "knows", lambda self, path, identity: True)


def no_group_fsync(patch: Patch) -> None:
    """A group is acknowledged without its flushes."""
    patch(together.Together, "_flush", lambda self, files, directories, branches: None)


def attributes_late(patch: Patch) -> None:
    """The attributes are written after the object has its name."""
    write, rename = attributes.Shelf.write, atomic.Temporary.rename
    late = threading.local()

    def later(*arguments):
        late.arguments = arguments

    def rename_first(self, directory, target):
        rename(self, directory, target)
        write(*late.arguments)

    patch(attributes.Shelf, "write", later)
    patch(atomic.Temporary, "rename", rename_first)


def no_rename(patch: Patch) -> None:
    """The bytes are written where readers look."""

    def write_in_place(self, directory, target):
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, dir_fd=directory)
        data = atomic.read_all(self.fd, 0, os.fstat(self.fd).st_size)
        for at in range(0, len(data), 50):
            os.write(fd, data[at : at + 50])
        status = os.fstat(self.fd)
        os.utime(fd, ns=(status.st_mtime_ns, status.st_mtime_ns))
        os.close(fd)

    patch(atomic.Temporary, "rename", write_in_place)


def swallowed_errors(patch: Patch) -> None:
    """What the disk says about a flush is ignored."""

    def sync(self, fd):
        with suppress(OSError):
            os.fsync(fd)

    patch(flushing.Syncer, "sync", sync)


PLANTS = {
    "no-data-fsync": no_data_fsync,
    "no-directory-fsync": no_directory_fsync,
    "no-parent-fsync": no_parent_fsync,
    "no-group-fsync": no_group_fsync,
    "attributes-late": attributes_late,
    "no-rename": no_rename,
    "swallowed-errors": swallowed_errors,
}


@contextmanager
def planted(name: str | None) -> Iterator[None]:
    """The driver with a bug; with None as it is."""
    before = []

    def patch(owner, attribute, value):
        before.append((owner, attribute, getattr(owner, attribute)))
        setattr(owner, attribute, value)

    try:
        if name is not None:
            PLANTS[name](patch)
        yield
    finally:
        for owner, attribute, value in reversed(before):
            setattr(owner, attribute, value)
