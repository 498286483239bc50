"""A transfer that is killed again and again, and what must hold after each time (P32)."""

import asyncio
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from credstore import LocalConfig, LocalStorageProvider
from tests.transfer.ends import content, make_tree, tree_of

ROOT = Path(__file__).parents[2]


def tree_for(chance: random.Random, objects: int) -> dict[str, bytes]:
    """Names and contents, most of them small and one large."""
    tree = {
        f"d{number % 7}/f{number:04}": chance.randbytes(chance.choice([0, 10, 5_000, 70_000]))
        for number in range(objects)
    }
    return {**tree, "large": chance.randbytes(3_000_000)}


@dataclass
class Journey:
    """One source, one destination, and the runs between them.

    Attributes:
        folder: Has both, and the journal.
        tree: What the source had at first.
        kind: Of the destination: "folder" or "store".
        drop: Whether the source is deleted.
        plant: A bug for the process to have, or "".
    """

    folder: Path
    tree: dict[str, bytes]
    kind: str
    drop: bool
    plant: str = ""

    def __post_init__(self) -> None:
        make_tree(self.source, self.tree)

    @property
    def source(self) -> Path:
        return self.folder / "source"

    @property
    def destination(self) -> Path:
        return self.folder / "destination"

    def _command(self) -> list[str]:
        drop = "drop" if self.drop else "keep"
        places = [str(self.source), str(self.destination), str(self.folder / "journal")]
        return [sys.executable, "-m", "tests.transfer.kill_child", *places, self.kind, drop, self.plant]

    def kill(self, after: int) -> None:
        """Start a run, and kill it once it has reported so many steps."""
        child = subprocess.Popen(self._command(), stdout=subprocess.PIPE, cwd=ROOT)
        assert child.stdout is not None
        try:
            for _ in range(after):
                if not child.stdout.readline():
                    break
        finally:
            child.kill()
            child.stdout.close()
            child.wait()

    def finish(self) -> None:
        """Run to the end."""
        ended = subprocess.run(self._command(), capture_output=True, text=True, check=False, cwd=ROOT)
        assert ended.stdout.splitlines()[-1:] == ["complete"], ended.stdout[-500:] + ended.stderr[-500:]

    def there(self) -> dict[str, bytes]:
        """What readers find at the destination."""

        async def find() -> dict[str, bytes]:
            if self.kind == "folder":
                return await content(self.destination)
            async with LocalStorageProvider(LocalConfig(path=self.destination, fsync=False)) as store:
                return await content(store)

        found = asyncio.run(find()) if self.destination.exists() else {}
        return {name: data for name, data in found.items() if not Path(name).name.startswith(".credstore-")}

    def problem_after_a_kill(self) -> str | None:
        """What is wrong: an object that is at neither end, or not whole, or should not be there."""
        here, there = tree_of(self.source), self.there()
        for name, data in (*here.items(), *there.items()):
            if self.tree.get(name) != data:
                return f"{name} is not what it was"
        if missing := set(self.tree) - {*here, *there}:
            return f"{len(missing)} objects are at neither end, such as {min(missing)}"
        return None if self.drop or here == self.tree else "the source was changed"

    def problem_at_the_end(self) -> str | None:
        """What is wrong after a run that came to its end."""
        if self.there() != self.tree:
            return "the destination is not what the source was"
        if tree_of(self.source) != ({} if self.drop else self.tree):
            return "the source is not as it should be"
        left = [path.name for path in self.destination.rglob(".credstore-*")] if self.kind == "folder" else []
        return f"{left[0]} was left behind" if left else None
