"""Kill the driver at every system call while it works on a file of another tool, of the same size as its own.

Whatever is left, the file that the other tool wrote is that file, before and after the cleaning up, also
where a power cut took the mark away; and the other tool may go on writing it.
"""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from credstore.errors import StorageObjectNotFoundError

from .crash_child import NEW
from .injecting import CHANGES, planned, traced
from .support import make_driver, put_request

THEIRS = b"its" * 50
LATER = b"nxt" * 50
MOMENT = 1_800_000_000_000_000_000
pytestmark = pytest.mark.system

STATES = {
    # What `d/k` and `e/k` may be after a kill; last what they are in the end.
    "put": [(THEIRS, None), (NEW, None)],
    "copy": [(THEIRS, None), (NEW, None)],
    "delete": [(THEIRS, None), (None, None)],
    "move": [(THEIRS, None), (THEIRS, THEIRS), (None, THEIRS)],
}


def before(root: Path) -> None:
    async def run():
        driver = make_driver(root)
        await driver.put(put_request("s", NEW))
        await driver.aclose()

    asyncio.run(run())
    (root / "d").mkdir()
    (root / "d/k").write_bytes(THEIRS)
    os.utime(root / "d/k", ns=(MOMENT, MOMENT))


async def read(driver, key: str) -> bytes | None:
    try:
        reader = await driver.get(key)
        data = await reader.read()
    except StorageObjectNotFoundError:
        return None
    ours = reader.info.write_id is not None
    assert ours == (data == NEW or key == "e/k"), "the bytes of one, the attributes of the other"
    if data == NEW:
        assert reader.info.metadata == {"belongs-to": repr(NEW[:40])}
    return data


async def both(driver) -> tuple[bytes | None, bytes | None]:
    return await read(driver, "d/k"), await read(driver, "e/k")


async def look(root: Path, operation: str, *, acknowledged: bool) -> None:
    reading = make_driver(root)
    seen = await both(reading)
    await reading.aclose()
    assert seen in STATES[operation]
    assert not acknowledged or seen == STATES[operation][-1]

    # A writer comes: it opens the store and cleans up.
    writing = make_driver(root)
    listed = {entry.key: entry.etag for entry in (await writing.list()).entries}
    await writing.put(put_request("after", b"usable"))
    assert await both(writing) == seen
    assert {key for key in ("d/k", "e/k") if key in listed} == {
        key for key, data in zip(("d/k", "e/k"), seen, strict=True) if data is not None
    }
    assert not list((root / ".credstore/tmp").iterdir())
    if seen[0] is not None:
        assert (await writing.head("d/k")).etag == listed["d/k"]
    if seen[0] != NEW:
        # The other tool goes on with its file, and then credstore stores over it.
        (root / "d").mkdir(exist_ok=True)
        (root / "d/k").write_bytes(LATER)
        assert await read(writing, "d/k") == LATER
    await writing.put(put_request("d/k", NEW))
    assert await read(writing, "d/k") == NEW
    assert (await writing.delete("d/k")).existed
    await writing.aclose()


def cut_power(root: Path) -> None:
    """As if what was not flushed had never been written: the marks, which nothing waits for."""
    for path in (root / ".credstore/locks").iterdir():
        path.write_bytes(b"")


@pytest.mark.parametrize(
    ("operation", "clock", "power_cut"),
    [
        ("put", "none", False),
        ("put", "none", True),
        ("put", f"clock={MOMENT}", False),
        ("put", f"clock={MOMENT}", True),
        ("copy", "none", False),
        ("delete", "none", False),
        ("move", "none", False),
    ],
)
def test_a_kill_at_any_system_call_leaves_another_tools_file_its_own(tmp_path, operation, clock, power_cut):
    root, log = tmp_path / "planned", tmp_path / "log"
    before(root)
    counts = planned(root, operation, CHANGES, log=log, plant=clock)
    wrong: dict[str, str] = {}
    for name, count in counts.items():
        for number in range(1, count + 1):
            root = tmp_path / f"{name}-{number}"
            before(root)
            what = ("-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={number}")
            ended = traced(root, operation, *what, log=log, plant=clock)
            assert ended.killed, f"not killed at {name} {number}: {ended}"
            if power_cut:
                cut_power(root)
            try:
                asyncio.run(look(root, operation, acknowledged=ended.said == "done"))
            except Exception as error:
                wrong[f"{name} {number}"] = repr(error)
            shutil.rmtree(root)
    assert wrong == {}
    assert counts.total() >= 6
