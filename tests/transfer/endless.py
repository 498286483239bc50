"""A store of as many objects as wanted, none of which is anywhere; and a process that moves them all.

Run as `python -m tests.transfer.endless COUNT JOURNAL [remembers]` it prints the most memory that the process had, in KiB,
and how many objects were copied, found equal, and found equal by the journal.
"""

import asyncio
import contextlib
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from credstore import MemoryConfig
from credstore.driver.reader import ObjectReader
from credstore.driver.values import ObjectInfo, Page, PutResult
from credstore.drivers.memory import MemoryDriver
from credstore.provider.provider import StorageProvider
from credstore.transfer import sync
from tests.memory.peak import peak

ROOT = Path(__file__).parents[2]
DATA = b"x" * 100
_SMALL = 5_000
_BYTES = {False: 16_000, True: 100}
"""That a planted bug keeps of each object, of few or of many: enough to be seen, and not more."""
DIGEST = hashlib.sha256(DATA).digest()


class EndlessDriver(MemoryDriver):
    """Lists so many names, gives the same bytes for each, and acknowledges every write without keeping it.

    Attributes:
        count: Names that there are.
        puts: Writes that were acknowledged.
        remembers: Bytes that it keeps of each write, as it should not.
        kept: Those.
    """

    def __init__(self, count: int, *, remembers: int = 0) -> None:
        super().__init__(MemoryConfig())
        self.count, self.puts, self.remembers = count, 0, remembers
        self.kept = []

    def _info(self, key: str) -> ObjectInfo:
        return ObjectInfo(
            key=key, size=len(DATA), etag="e", metadata={}, system={}, write_id="0" * 32, digest=DIGEST
        )

    async def list(self, prefix="", cursor=None, *, limit=1000, **_):
        start = int(cursor or 0)
        end = min(start + limit, self.count)
        entries = [replace(self._info(f"{number:09}"), metadata=None) for number in range(start, end)]
        return Page(entries=entries, cursor=str(end) if end < self.count else None)

    async def get(self, key, options=None):
        return ObjectReader(self._info(key), DATA, length=len(DATA), digest=DIGEST)

    async def head(self, key, options=None):
        return self._info(key)

    async def get_tags(self, key, *, deadline=None):
        return {}

    async def put(self, request):
        self.puts += 1
        if self.remembers:
            self.kept.append(bytearray(self.remembers))
        return PutResult(key=request.key, size=len(DATA), etag="e", digest=request.digest, proved=True)


def moved(
    count: int, journal: Path, *plant: str, stopped: Callable[[], bool] = lambda: False
) -> tuple[int, list[str]]:
    """The most memory in KiB of a process that copies so many objects and finds them equal, and its counts.

    Raises:
        KeyboardInterrupt: It was ended before, as `stopped` became true.
    """
    command = [sys.executable, "-m", "tests.transfer.endless", str(count), str(journal), *plant]
    # It ends with whoever waits for it, who holds the other end of its input.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as running:
        assert running.stdout is not None
        while running.poll() is None:
            if stopped():
                running.kill()
                raise KeyboardInterrupt
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(0.5)
        said = running.stdout.read()
    assert running.returncode == 0
    peak, *counts = said.split()
    return int(peak), counts


async def main(count: int, journal: str, *plant: str) -> None:
    source, destination = (
        EndlessDriver(count),
        EndlessDriver(0, remembers=_BYTES[count > _SMALL] if plant else 0),
    )
    async with (
        StorageProvider(source, MemoryConfig()) as one,
        StorageProvider(destination, MemoryConfig()) as two,
    ):
        first = await sync(one, two, journal=journal)
        destination.count = count
        again = await sync(one, two, journal=journal)
    print(peak(), destination.puts, first.counts.get("copied"), again.compared_by.get("journal"))


def end_with_the_parent() -> None:
    """End this process once nobody holds the other end of its input."""
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    if not sys.stdin.isatty():
        threading.Thread(target=end_with_the_parent, daemon=True).start()
    asyncio.run(main(int(sys.argv[1]), *sys.argv[2:]))
