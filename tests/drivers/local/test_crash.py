"""Kill the driver at every system call that changes something, and read the order of its flushes.

Each check is run against sabotaged drivers too and must turn red for each.
"""

import asyncio
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from .crash_child import NEW
from .support import leftovers, list_keys, make_driver, put_request, read_pair

CHILD = Path(__file__).with_name("crash_child.py")
OLD = b"old" * 20
CHANGES = (
    "write,pwrite64,fsync,utimensat,flock,ftruncate,"
    "rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir"
)
CALL = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)")
"""A call of a log, with the number of its thread taken off."""
pytestmark = pytest.mark.system


def strace(
    *arguments: str, root: Path, operation: str, sabotage: str
) -> "subprocess.CompletedProcess[bytes]":
    program = shutil.which("strace")
    assert program is not None, "this test needs strace; install it (apt install strace)"
    command = [
        program,
        "-f",
        *arguments,
        sys.executable,
        str(CHILD),
        str(root),
        "put" if operation == "overwrite" else operation,
        sabotage,
    ]
    return subprocess.run(command, capture_output=True, timeout=60, check=False)


def before(root: Path, operation: str) -> None:
    async def run():
        driver = make_driver(root)
        if operation in {"put", "create"}:
            await driver.put(put_request("d/other", OLD))
        else:
            await driver.put(put_request("d/k", OLD))
        await driver.aclose()

    asyncio.run(run())


def wrong(root: Path, operation: str, *, acknowledged: bool) -> str | None:
    """What breaks a promise in a store after the kill, or None."""

    async def read(driver, key):
        try:
            return await read_pair(driver, key)
        except Exception as error:
            return None if type(error).__name__ == "StorageObjectNotFoundError" else repr(error)

    async def run():
        driver = make_driver(root)
        at, moved = await read(driver, "d/k"), await read(driver, "e/k")
        states = {
            "put": [(None, None), (NEW, None)],
            "create": [(None, None), (NEW, None)],
            "overwrite": [(OLD, None), (NEW, None)],
            "move": [(OLD, None), (OLD, OLD), (None, OLD)],
            "delete": [(OLD, None), (None, None)],
        }[operation]
        keys = await list_keys(driver)
        await driver.put(put_request("after", b"usable"))
        usable = await read(driver, "after")
        await driver.aclose()
        if (at, moved) not in states:
            return f"neither old nor new: {(at, moved)}"
        if acknowledged and (at, moved) != states[-1]:
            return f"acknowledged and not there: {(at, moved)}"
        if (("d/k" in keys), ("e/k" in keys)) != (at is not None, moved is not None):
            return f"the listing says {keys}"
        return None if usable == b"usable" else "not usable"

    problem = asyncio.run(run())
    left = leftovers(root)
    return problem or (f"left behind: {left}" if left else None)


def planned(tmp_path: Path, operation: str, sabotage: str) -> "Counter[str]":
    """How often an undisturbed run makes each system call before it says that it is done."""
    root, log = tmp_path / "planned", tmp_path / "planned.log"
    before(root, operation)
    run = strace("-o", str(log), "-e", f"trace={CHANGES}", root=root, operation=operation, sabotage=sabotage)
    assert run.stdout == b"done", run.stderr.decode()
    found = Counter(re.findall(r"^\d+ +(\w+)\(", log.read_text(), re.MULTILINE))
    found["write"] -= 1
    return +found


def problems(tmp_path: Path, operation: str, sabotage: str = "none") -> Iterator[tuple[str, str | None]]:
    """Kill at each system call in turn; strace counts each kind of call by itself."""
    log = str(tmp_path / "log")
    for name, count in planned(tmp_path, operation, sabotage).items():
        for number in range(1, count + 1):
            root = tmp_path / f"{name}-{number}"
            before(root, operation)
            what = ("-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={number}")
            run = strace("-o", log, *what, root=root, operation=operation, sabotage=sabotage)
            assert run.returncode == -9, f"not killed at {name} {number}: {run.stderr.decode()}"
            yield f"{name} {number}", wrong(root, operation, acknowledged=run.stdout == b"done")
            shutil.rmtree(root)


@pytest.mark.parametrize(
    ("operation", "least"), [("put", 20), ("overwrite", 20), ("create", 20), ("move", 30), ("delete", 6)]
)
def test_a_kill_at_any_system_call_leaves_the_old_or_the_new_object(tmp_path, operation, least):
    outcomes = dict(problems(tmp_path, operation))
    assert {call: problem for call, problem in outcomes.items() if problem} == {}
    assert len(outcomes) >= least, "the kills did not reach into the operation"


@pytest.mark.parametrize("sabotage", ["attributes-late", "no-rename"])
def test_the_kills_find_a_pair_that_is_not_published_at_once(tmp_path, sabotage):
    found = (problem for _, problem in problems(tmp_path, "overwrite", sabotage) if problem is not None)
    assert "neither old nor new" in next(found, "nothing found")


def unordered(log: str, root: Path) -> list[str]:
    """What a power cut could undo of an acknowledged put, from the order of its system calls."""
    steps: list[tuple[str, str]] = []
    begun: dict[str, str] = {}
    for line in log.splitlines():
        thread, _, text = line.partition(" ")
        if "<unfinished ...>" in text:
            begun[thread] = text.partition("<unfinished ...>")[0].strip()
            continue
        if " resumed>" in text:
            text = begun.pop(thread) + text.partition(" resumed>")[2]
        call = CALL.match(text.strip())
        if call is None or call["result"].startswith("-"):
            continue
        name, arguments = call["name"], call["arguments"]
        if name in {"rename", "renameat", "renameat2", "link", "linkat"} and '"k"' in arguments:
            steps.append(("publish", "d/k"))
        elif name == "write" and '"done"' in arguments:
            steps.append(("return", ""))
        elif name in {"write", "fsync"} and (path := re.search(r"<([^>]*)>", arguments)):
            steps.append((name, path[1].removeprefix(str(root)).lstrip("/")))
    if [step[0] for step in steps].count("publish") != 1:
        return ["not published by exactly one call"]
    at, end = steps.index(("publish", "d/k")), steps.index(("return", ""))
    early, late = steps[:at], steps[at:end]

    def flushed(part: list[tuple[str, str]], pattern: str) -> bool:
        found = [name for name, path in part if re.fullmatch(pattern, path)]
        return "fsync" in found and found[-1] == "fsync"

    missing = [
        what
        for what, done in {
            "data before publishing": flushed(early, r"\.credstore/tmp/[0-9a-f]{32}"),
            "attributes before publishing": flushed(early, r"\.credstore/attributes/\w{3}/[0-9a-f]{64}\..*"),
            "directory of attributes": flushed(early, r"\.credstore/attributes/\w{3}"),
            "parent of that directory": flushed(early, r"\.credstore/attributes"),
            "directory of the object": flushed(late, "d"),
            "parent of that directory, the root": flushed(late, ""),
        }.items()
        if not done
    ]
    return [f"not flushed: {what}" for what in missing]


@pytest.mark.parametrize("operation", ["put", "create"])
@pytest.mark.parametrize(
    ("sabotage", "expected"),
    [
        ("none", None),
        ("no-data-fsync", "data before publishing"),
        ("no-directory-fsync", "directory of the object"),
        ("attributes-late", "attributes before publishing"),
        ("no-rename", "published"),
    ],
)
def test_everything_is_flushed_in_order_before_put_returns(tmp_path, operation, sabotage, expected):
    if operation == "create" and sabotage in {"attributes-late", "no-rename"}:
        operation = "put"  # those two break the rename, which a create does not use
    root = tmp_path / "root"
    before(root, "delete" if operation == "put" else "create")
    log = tmp_path / "log"
    names = "trace=write,fsync,rename,renameat,renameat2,link,linkat"
    run = strace(
        "-y", "-s", "300", "-o", str(log), "-e", names, root=root, operation=operation, sabotage=sabotage
    )
    assert run.stdout == b"done", run.stderr.decode()
    found = unordered(log.read_text(), root)
    if expected is None:
        assert found == []
    else:
        assert any(expected in problem for problem in found), found
