"""What a power cut may leave of a log: everything that was flushed, and any part of the rest.

Changes that no flush covers are independent of each other: each may be on the disk or not, in any
combination, bytes also in part or as zeros. The one thing taken for granted is that a rename takes the old
name away only if it gave the new one.
"""

import os
import random
import re
from dataclasses import dataclass, field
from pathlib import Path

from tests.campaign.oplog import ROOT, Data, Entry, Flush, Log, Op, Size, Time, Told

_IDENTITY = re.compile(rb"([0-9a-f]+)-([0-9a-f]+)-([0-9a-f]+)-([0-9a-f]+)")
_INODE = re.compile(rb'"inode": (\d+)')


def flushed(log: Log, cut: int) -> set[int]:
    """The changes before position `cut` that must be on the disk."""
    sure: set[int] = set()
    waiting: dict[int, list[int]] = {}
    for place, op in enumerate(log.ops[:cut]):
        if isinstance(op, Flush):
            sure.update(waiting.pop(op.node, ()))
        elif isinstance(op, Op):
            waiting.setdefault(op.node, []).append(place)
    return sure


def kept(log: Log, cut: int, chance: random.Random) -> dict[int, Op]:
    """A random choice of what is on the disk: changes by their position, some of them in part."""
    sure = flushed(log, cut)
    open_ = [
        place
        for place, op in enumerate(log.ops[:cut])
        if isinstance(op, Op) and not isinstance(op, Flush) and place not in sure
    ]
    how = chance.choice(("none", "all", "some", "some", "all but one", "one"))
    if how == "some":
        share = chance.random()
        chosen = {place for place in open_ if chance.random() < share}
    elif open_ and how in {"all but one", "one"}:
        one = {chance.choice(open_)}
        chosen = one if how == "one" else set(open_) - one
    else:
        chosen = set(open_) if how == "all" else set()
    found: dict[int, Op] = {}
    for place in sorted(sure | chosen):
        op = log.ops[place]
        assert isinstance(op, Op)
        if isinstance(op, Entry) and op.needs is not None and op.needs not in sure | chosen:
            continue
        if isinstance(op, Data) and place not in sure and op.data:
            op = _in_part(op, chance)
        found[place] = op
    return found


def _in_part(op: Data, chance: random.Random) -> Data:
    how = chance.randrange(4)
    if how < 2:
        return op
    data = bytes(len(op.data)) if how == 2 else op.data[: chance.randrange(len(op.data))]
    return Data(op.node, op.changed, op.offset, data)


@dataclass
class _File:
    data: bytearray = field(default_factory=bytearray)
    moment: int = 1
    changed: int = 0


@dataclass
class Disk:
    """Files and directories as the cut left them.

    Attributes:
        files: By number.
        folders: The entries of each directory.
    """

    files: dict[int, _File] = field(default_factory=dict)
    folders: dict[int, dict[str, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, log: Log, ops: dict[int, Op]) -> "Disk":
        """What these changes make of an empty directory."""
        disk = cls(folders={number: {} for number in log.folders})
        disk.files = {number: _File() for number in log.inodes if number not in log.folders}
        for op in ops.values():
            if isinstance(op, Entry) and op.child is None:
                disk.folders[op.node].pop(op.name, None)
            elif isinstance(op, Entry) and op.child is not None:
                disk.folders[op.node][op.name] = op.child
            elif isinstance(op, Data):
                data = disk.files[op.node].data
                data.extend(bytes(max(0, op.offset - len(data))))
                data[op.offset : op.offset + len(op.data)] = op.data
            elif isinstance(op, Size):
                data = disk.files[op.node].data
                data[:] = data[: op.size].ljust(op.size, b"\0")
            elif isinstance(op, Time):
                disk.files[op.node].moment = op.moment
            for number, moment in op.changed.items():
                disk.files[number].changed = moment
        return disk

    def write(self, root: Path, log: Log) -> None:
        """Make it a real directory."""
        paths: dict[int, list[Path]] = {}
        self._walk(ROOT, root, paths)
        identities: dict[tuple[int, int, int, int], bytes] = {}
        inodes: dict[int, int] = {}
        for number, (first, *others) in paths.items():
            file = self.files[number]
            first.write_bytes(file.data)
            for other in others:
                os.link(first, other)
            os.utime(first, ns=(file.moment, file.moment))
            status = first.stat()
            inodes[log.inodes[number]] = status.st_ino
            known = (file.moment, len(file.data), log.inodes[number], file.changed)
            now = (status.st_mtime_ns, status.st_size, status.st_ino, status.st_ctime_ns)
            identities[known] = b"%x-%x-%x-%x" % now
        for number, (first, *_) in paths.items():
            self._rename_identities(first, self.files[number], identities, inodes)

    def _walk(self, folder: int, path: Path, paths: dict[int, list[Path]]) -> None:
        path.mkdir(exist_ok=True)
        for name, number in self.folders[folder].items():
            if number in self.folders:
                self._walk(number, path / name, paths)
            else:
                paths.setdefault(number, []).append(path / name)

    @staticmethod
    def _rename_identities(
        path: Path, file: _File, identities: dict[tuple[int, int, int, int], bytes], inodes: dict[int, int]
    ) -> None:
        """Attributes and marks name files by inode and times, which are others here than on the disk."""
        if ".credstore" not in path.parts:
            return

        def identity(found: re.Match[bytes]) -> bytes:
            numbers = tuple(int(each, 16) for each in found.groups())
            return identities.get((numbers[0], numbers[1], numbers[2], numbers[3]), b"0-0-0-0")

        def inode(found: re.Match[bytes]) -> bytes:
            return b'"inode": %d' % inodes.get(int(found[1]), 0)

        before = bytes(file.data)
        after = _INODE.sub(inode, _IDENTITY.sub(identity, before))
        if after != before:
            path.write_bytes(after)
            os.utime(path, ns=(file.moment, file.moment))


def told(log: Log, cut: int) -> list[Told]:
    """What had been said about steps before the cut."""
    return [op for op in log.ops[:cut] if isinstance(op, Told)]
