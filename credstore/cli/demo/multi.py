"""`credstore demo --multi`: three stores as one, of which one loses its disk and another a bit."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from credstore.cli.output import say
from credstore.concurrency import in_thread
from credstore.errors import StorageError, StorageQuorumError
from credstore.factory import StorageFactory
from credstore.provider.provider import StorageProvider
from credstore.replicas import scrub

_OBJECTS = 20


class MultiDemo:
    """Shows what each call returned, and checks it.

    Attributes:
        checks: What was checked, and whether it passed.
    """

    def __init__(self, *, shown: bool) -> None:
        """Do nothing yet.

        Args:
            shown: Whether to print what happens.
        """
        self.checks: list[tuple[str, bool]] = []
        self._shown = shown

    def _say(self, text: str) -> None:
        if self._shown:
            say(text)

    def _check(self, what: str, *, passed: bool) -> None:
        self.checks.append((what, passed))
        self._say(f"  {'ok  ' if passed else 'FAIL'} {what}")

    async def run(self) -> None:
        """The whole story, in a temporary directory.

        Raises:
            StorageError: Something failed that should not.
        """
        with tempfile.TemporaryDirectory(prefix="credstore-multi-") as directory:
            roots = [Path(directory) / name for name in ("one", "two", "three")]
            for root in roots:
                root.mkdir()
            stores = [{"provider": "local", "path": str(root), "create": False} for root in roots]
            async with StorageFactory() as factory:
                await self._lose(factory.create_multi(stores), roots)
            async with StorageFactory() as factory:  # As another process would find them.
                await self._mend(factory.create_multi(stores), roots)

    async def _lose(self, store: StorageProvider, roots: list[Path]) -> None:
        self._say("Three directories, each written to: a write counts when two of them have it.")
        replicas: tuple[str, ...] = ()
        for number in range(_OBJECTS):
            result = await store.store(f"proofs/{number:02}", b"claim %d" % number)
            replicas = result.replicas
        self._say(f"  stored {_OBJECTS} objects; the last is at {', '.join(replicas)}")

        self._say("\nA bit of the first one flips.")
        damaged = roots[0] / "proofs" / "07"
        data = await in_thread(damaged.read_bytes)
        await in_thread(damaged.write_bytes, bytes([data[0] ^ 1]) + data[1:])
        item = await store.retrieve("proofs/07")
        self._check("the good copy is read", passed=item == b"claim 7")
        report = await scrub(store)
        for each in report.findings:
            self._say(f"  {each.key} was {each.kind} at {each.replica}; mended {each.mended}")
        self._check("scrub finds it and mends it", passed=bool(report.findings) and report.equal)

        self._say("\nThe second one loses its disk.")
        await in_thread(shutil.rmtree, roots[1])
        result = await store.store("proofs/while-down", b"written to two")
        self._say(f"  stored: replicas {', '.join(result.replicas)}; degraded {result.degraded}")
        self._check("a write still counts, and says that it is degraded", passed=result.degraded)
        await store.delete("proofs/00")
        self._check("what is deleted is gone", passed=await store.retrieve("proofs/00") is None)
        self._check("everything else reads", passed=await self._reads(store))

        self._say("\nThe third one goes too, so that one of three is left.")
        hidden = roots[2].with_name("unplugged")
        await in_thread(roots[2].rename, hidden)
        try:
            await store.store("proofs/alone", b"one is not enough")
        except StorageQuorumError as error:
            told = ", ".join(f"{each.replica}: {each.applied}" for each in error.outcomes)
            self._say(f"  {error.code}: applied {error.applied} ({told})")
            self._check("a write to one member is refused, with what became of it", passed=True)
        else:
            self._check("a write to one member is refused, with what became of it", passed=False)
        await in_thread(hidden.rename, roots[2])
        await in_thread(roots[1].mkdir)

    async def _mend(self, store: StorageProvider, roots: list[Path]) -> None:
        self._say("\nThe third is plugged in again, and the second has a new, empty disk. Scrub.")
        report = await scrub(store)
        for kind in sorted({each.kind for each in report.findings}):
            found = [each for each in report.findings if each.kind == kind]
            self._say(f"  {kind}: {len(found)}, mended {sum(each.mended for each in found)}")
        self._check("all replicas are equal", passed=report.equal)
        self._check("a second scrub finds nothing", passed=not (await scrub(store)).findings)
        self._check("what was deleted did not come back", passed=await store.retrieve("proofs/00") is None)
        self._check("everything reads", passed=await self._reads(store))
        names = [{path.name for path in (root / "proofs").iterdir()} for root in roots]
        self._check("the directories hold the same", passed=names[0] == names[1] == names[2])

    @staticmethod
    async def _reads(store: StorageProvider) -> bool:
        try:
            for number in range(1, _OBJECTS):
                if await store.retrieve(f"proofs/{number:02}") != b"claim %d" % number:
                    return False
        except StorageError as error:
            say(f"  {error}")
            return False
        return True
