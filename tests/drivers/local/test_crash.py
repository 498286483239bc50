"""Kill the driver at every system call that changes something, and read the order of its flushes.

Each check is run against drivers with a planted bug too and must turn red for each.
"""

import re
from pathlib import Path

import pytest

from .injecting import CHANGES, Target, prepare, problems, traced

CALL = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)")
"""A call of a log, with the number of its thread taken off."""
pytestmark = pytest.mark.system


@pytest.mark.parametrize(
    ("operation", "least"),
    [("put", 20), ("overwrite", 20), ("create", 20), ("move", 30), ("delete", 6), ("tags", 6)],
)
def test_a_kill_at_any_system_call_leaves_the_old_or_the_new_object(tmp_path, operation, least):
    outcomes = dict(problems(Target(tmp_path, operation, "signal=KILL")))
    assert {call: problem for call, problem in outcomes.items() if problem} == {}
    assert len(outcomes) >= least, "the kills did not reach into the operation"


@pytest.mark.parametrize(
    ("operation", "fault", "calls", "least"),
    [
        ("grouped", "signal=KILL", CHANGES, 15),
        ("grouped", "error=EIO", "fsync", 1),
        ("whole", "signal=KILL", CHANGES, 15),
        ("whole", "error=EIO", "syncfs", 2),
    ],
)
def test_a_group_that_is_stopped_leaves_the_old_or_the_new_objects(tmp_path, operation, fault, calls, least):
    outcomes = dict(problems(Target(tmp_path, operation, fault, calls, threads=4)))
    assert {call: problem for call, problem in outcomes.items() if problem} == {}
    assert len(outcomes) >= least


@pytest.mark.parametrize("plant", ["attributes-late", "no-rename"])
def test_the_kills_find_a_pair_that_is_not_published_at_once(tmp_path, plant):
    found = problems(Target(tmp_path, "overwrite", "signal=KILL", plant=plant))
    assert any(problem and "neither old nor new" in problem for _, problem in found)


@pytest.mark.parametrize("operation", ["overwrite", "delete", "tags"])
def test_a_flush_that_fails_is_never_acknowledged(tmp_path, operation):
    outcomes = dict(problems(Target(tmp_path, operation, "error=EIO", "fsync")))
    assert {call: problem for call, problem in outcomes.items() if problem} == {}
    assert outcomes


def test_an_acknowledgement_after_a_flush_that_failed_is_found(tmp_path):
    found = problems(Target(tmp_path, "overwrite", "error=EIO", "fsync", plant="swallowed-errors"))
    assert any(problem and "acknowledged" in problem for _, problem in found)


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
        elif name == "write" and "done" in arguments:
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
    ("plant", "expected"),
    [
        ("none", None),
        ("no-data-fsync", "data before publishing"),
        ("no-directory-fsync", "directory of the object"),
        ("no-parent-fsync", "the root"),
        ("attributes-late", "attributes before publishing"),
        ("no-rename", "published"),
    ],
)
def test_everything_is_flushed_in_order_before_put_returns(tmp_path, operation, plant, expected):
    if operation == "create" and plant in {"attributes-late", "no-rename"}:
        operation = "put"  # those two break the rename, which a create does not use
    root = tmp_path / "root"
    prepare(root, "overwrite" if operation == "put" else "create")
    names = "trace=write,fsync,rename,renameat,renameat2,link,linkat"
    ended = traced(root, operation, "-y", "-s", "300", "-e", names, log=tmp_path / "log", plant=plant)
    assert ended.said == "done", ended
    found = unordered(ended.trace, root)
    if expected is None:
        assert found == []
    else:
        assert any(expected in problem for problem in found), found
