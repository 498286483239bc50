"""The local store: listings of large directories, what a store asks of the system, and proofs per second on a disk."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.proofs import CLAIMS, opened
from benchmarks.report import Figures, checked, comparison, spread
from benchmarks.worker import Scale, Stopwatch, add, finish, peak, run, start
from credstore import LocalConfig, LocalStorageProvider
from credstore.proofs.format.record import AssetDigest
from credstore.proofs.store.model import IssueRequest

TITLE = "Local store"
SHAPES = ("one directory", "nested")
NEST = 100
"""Files of each nested directory."""
LONGEST = 30.0
"""Seconds after which a listing that is not done is divided by what it listed until then."""
FIRSTS = 21
"""Listings of one key, of which the median counts."""
TRACED = 10
"""Operations of which the calls are counted."""
AT_ONCE = 256
"""Proofs under way in `issue_many`."""
SHELVES = 4096
"""Directories of attributes that a store makes as it grows; one that is in use has them all."""
VERBS = {"store": "store of 4 KiB", "issue": "proof"}
BEGIN, END = "/mark-begin", "/mark-end"
_CALL = re.compile(r"^\d+ +(\w+)\(", re.MULTILINE)
_WAITS = {
    "futex",
    "epoll_wait",
    "epoll_pwait",
    "epoll_ctl",
    "sched_yield",
    "rt_sigprocmask",
    "clone3",
    "madvise",
}
"""What threads and the event loop ask for, however much a store does."""
Found = dict[str, dict[str, Figures]]


def measure(scale: Scale) -> Found:
    """Section to row to figures."""
    # The disk first: ext4 looks at each file that was removed in the last half minute before it makes one.
    disk: dict[str, Figures] = {"proofs": {}}
    with tempfile.TemporaryDirectory() as place:
        for number in range(scale.rounds):
            print(f"local, proofs, round {number + 1}", file=sys.stderr)
            root = Path(place) / str(number)
            root.mkdir()
            add(disk["proofs"], run(__name__, kind="disk", root=str(root), count=scale.pick(100, 1000)), 1)
    found: Found = {}
    for shape, size in itertools.product(SHAPES, scale.pick([1000, 40_000], [1000, 40_000, 400_000])):
        with tempfile.TemporaryDirectory() as place:
            root = Path(place) / "root"
            root.mkdir()
            _fill(root, shape, size)
            rows = found.setdefault(f"{shape}, {size:,}", {})
            for number in range(scale.few):
                for peer in ("credstore", "obstore", "os.scandir"):
                    print(f"local, {shape}, {size}, round {number + 1}: {peer}", file=sys.stderr)
                    add(rows.setdefault(peer, {}), run(__name__, kind="list", peer=peer, root=str(root)), 2)
    calls = found.setdefault("calls", {})
    for verb in VERBS:
        print(f"local, calls of {verb}", file=sys.stderr)
        add(calls.setdefault(verb, {}), _calls(verb, scale.pick(200, 1000)), 1)
    return found | {"disk": disk}


def _fill(root: Path, shape: str, size: int) -> None:
    """Plain files, which every peer lists as objects."""
    for number in range(size):
        folder = root
        if shape == "nested":
            folder = root / f"d{number // NEST // NEST:04}" / f"d{number // NEST % NEST:04}"
            if number % NEST == 0:
                folder.mkdir(parents=True, exist_ok=True)
        os.close(os.open(folder / f"k{number:07}", os.O_CREAT | os.O_WRONLY, 0o644))


async def work(kind: str, **arguments: Any) -> dict[str, float]:
    """One of the measurements below."""
    return await {"list": _list, "ops": _operations, "disk": _proofs}[kind](**arguments)


async def _list(peer: str, root: str) -> dict[str, float]:
    """Microseconds of CPU and wall time for each object, MiB the process grew by; milliseconds of one key."""
    if peer == "os.scandir":
        watch = Stopwatch()
        count = sum(1 for _ in _walked(root))
        cpu, wall = watch.read()
        ones: list[float] = []
        for _ in range(FIRSTS):
            watch = Stopwatch()
            os.listdir(root)  # noqa: PTH208 - the bare call is what is measured
            ones.append(watch.read()[1] * 1e3)
        return {"cpu": cpu / count * 1e6, "wall": wall / count * 1e6, "one": statistics.median(ones)}
    before, count = peak(restart=True), 0
    end = time.monotonic() + LONGEST
    if peer == "obstore":
        import obstore
        from obstore.store import LocalStore

        store = LocalStore(root)
        watch = Stopwatch()
        async for page in obstore.list(store, chunk_size=1000):
            count += len(page)
        cpu, wall = watch.read()
        return {"cpu": cpu / count * 1e6, "wall": wall / count * 1e6, "MiB": peak() - before}
    async with LocalStorageProvider(LocalConfig(path=root)) as provider:
        await provider.exists("k")
        watch = Stopwatch()
        async for _ in provider.scan(""):
            count += 1
            if count % 1000 == 0 and time.monotonic() > end:
                break
        cpu, wall = watch.read()
        grown = peak() - before
        ones = []
        for _ in range(FIRSTS):
            watch = Stopwatch()
            await provider.list("", max_keys=1)
            ones.append(watch.read()[1] * 1e3)
    one = statistics.median(ones)
    return {"cpu": cpu / count * 1e6, "wall": wall / count * 1e6, "MiB": grown, "one": one}


def _walked(root: str) -> Iterator[os.stat_result]:
    """The least that a listing with sizes and times has to do."""
    with os.scandir(root) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False):
                yield from _walked(entry.path)
            else:
                yield entry.stat(follow_symlinks=False)


def _calls(verb: str, before: int) -> dict[str, float]:
    """System calls of one operation.

    Args:
        verb: Which.
        before: Operations that come first, so that the directories are there.
    """
    strace = shutil.which("strace")
    if strace is None:
        print("no calls are counted: strace is not installed", file=sys.stderr)
        return {}
    with tempfile.TemporaryDirectory() as place:
        log = Path(place) / "log"
        worker = start(strace, "-f", "-o", str(log))
        arguments = {"kind": "ops", "verb": verb, "root": f"{place}/root", "count": TRACED, "before": before}
        finish(worker, {"module": __name__, "loop": "asyncio", "arguments": arguments}, f"calls of {verb}")
        counts = read_calls(log.read_text())
    each = {name: number / TRACED for name, number in counts.items()}
    return {
        "calls": sum(number for name, number in each.items() if name not in _WAITS),
        "fsync": each.get("fsync", 0) + each.get("fdatasync", 0),
        "all": sum(each.values()),
    }


def read_calls(log: str) -> Counter[str]:
    """What `strace -f` saw between the two marks, by name."""
    _, _, rest = log.partition(BEGIN)
    lines = rest.partition(END)[0].rpartition("\n")[0]  # The last one is the mark itself.
    return Counter(_CALL.findall(lines))


async def _operations(verb: str, root: str, count: int, before: int) -> dict[str, float]:
    for number in range(SHELVES):
        Path(root, ".credstore/attributes", f"{number:03x}").mkdir(parents=True, exist_ok=True)
    provider = LocalStorageProvider(LocalConfig(path=root))
    if verb == "store":
        async with provider:
            for number in range(before):
                await provider.store(f"other-{number}", bytes(4096))
            _mark(BEGIN)
            for number in range(count):
                await provider.store(f"k{number}", bytes(4096))
            _mark(END)
    else:
        others = (
            IssueRequest(asset=AssetDigest.of(b"other %d" % number), claims=CLAIMS, expires_in=3600)
            for number in range(before)
        )
        async with opened(provider) as store:
            async for outcome in store.issue_many(others):
                if outcome.error is not None:
                    raise outcome.error
            _mark(BEGIN)
            for number in range(count):
                await store.issue(AssetDigest.of(b"%d" % number), claims=CLAIMS, expires_in=3600)
            _mark(END)
    return {}


def _mark(name: str) -> None:
    """Leave a call in the log."""
    with contextlib.suppress(OSError):
        os.stat(name)  # noqa: PTH116 - a call, and nothing else


async def _proofs(root: str, count: int) -> dict[str, float]:
    """Proofs per second, and flushes per second of the same disk."""
    found: dict[str, float] = {}
    watch = Stopwatch()
    for number in range(count):
        with (Path(root) / f"f{number}").open("wb", buffering=0) as file:
            file.write(bytes(1024))
            os.fsync(file.fileno())
    found["flushes"] = count / watch.read()[1]
    requests = [
        IssueRequest(asset=AssetDigest.of(b"%d" % number), claims=CLAIMS, expires_in=3600)
        for number in range(2 * count)
    ]
    for name, group in (("issue_many", False), ("group commit", True)):
        config = LocalConfig(path=f"{root}/{name}", group_commit=group)
        async with opened(LocalStorageProvider(config)) as store:
            if not group:
                watch = Stopwatch()
                for request in requests[:count]:
                    await store.issue(request.asset, claims=CLAIMS, expires_in=request.expires_in)
                found["one by one"] = count / watch.read()[1]
            watch = Stopwatch()
            async for outcome in store.issue_many(requests[count:], at_once=AT_ONCE):
                if outcome.error is not None:
                    raise outcome.error
            found[name] = count / watch.read()[1]
    return found


def render(found: Found) -> list[str]:
    """The results as Markdown."""
    names = {"cpu": "CPU", "wall": "wall", "MiB": "MiB"}
    lines = [
        "Listing of empty files, microseconds for each object and memory by which the process grew (MiB). A listing "
        f"of credstore's that takes over {LONGEST:.0f} s is divided by what it listed until then. The first key alone "
        f"(`list(max_keys=1)`) in milliseconds, next to `os.listdir` of the root; the median of {FIRSTS} calls.",
        "",
        checked(
            {
                "credstore": "each file's type, size, time and name; in the order of keys, page by page",
                "obstore": "size and time; in the order of the disk",
                "os.scandir": "size and time; sorted within each directory",
            }
        ),
    ]
    for name, rows in found.items():
        if name not in {"calls", "disk"}:
            first = {"one": "first key"} if "one" in rows.get("credstore", {}) else {}
            lines += ["", f"### {name}", "", *comparison(rows, "credstore", names | first, 1)]
    lines += [
        "",
        "### System calls",
        "",
        "Counted by strace over ten operations, durable ones (`fsync=True`), in a store that is in use: it has its "
        "directories of attributes, and for proofs those that all share. Calls that only wait or start threads "
        f"({', '.join(sorted(_WAITS))}) are in the last column alone.",
        "",
        "| | calls | of those fsync | with those that wait |",
        "|---|---|---|---|",
    ]
    for verb, figures in found["calls"].items():
        if figures:
            cells = [spread(figures[name], 1).partition(" ")[0] for name in ("calls", "fsync", "all")]
            lines.append(f"| {VERBS[verb]} | " + " | ".join(cells) + " |")
    disk = found["disk"]["proofs"]
    heads = {
        "flushes": "bare flushes a second (the floor)",
        "one by one": "proofs a second",
        "issue_many": "by `issue_many`",
        "group commit": "with `group_commit=True`, too",
    }
    return [
        *lines,
        "",
        "Proofs per second on this disk, each durable and its signature checked when the call returns, in "
        f"`issue_many` {AT_ONCE} at once; next to them how often a second one file of 1 KiB can be made and flushed.",
        "",
        "| " + " | ".join(heads.values()) + " |",
        "|" + "---|" * len(heads),
        "| " + " | ".join(spread(disk[name], 0) if name in disk else "" for name in heads) + " |",
    ]
