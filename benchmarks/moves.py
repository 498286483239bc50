"""Moving folders: many small and a few large files to a store, next to the tools that people use for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.null_s3 import BUCKET, running_null_s3
from benchmarks.peers import KEY_ID, SECRET
from benchmarks.report import Figures, checked, comparison, spread
from benchmarks.worker import MIB, Scale, Stopwatch, add, run

TITLE = "Moving folders"
OURS = "credstore sync"
SIZE = 4096
PER_FOLDER = 100
SHOWN = {
    "small": "small files: objects per second",
    "small CPU": "CPU, µs per object",
    "large": "large files: MB per second",
    "large CPU": "CPU, ms per MB",
}
LISTING, AGAIN = "listing both sides", "the second sync"


def commands(url: str, folder: Path, prefix: str, place: Path) -> Mapping[str, list[str]]:
    """What copies a folder to a prefix, by each tool."""
    config = place / "rclone.conf"
    config.write_text(
        f"[null]\ntype = s3\nprovider = Minio\naccess_key_id = {KEY_ID}\nsecret_access_key = {SECRET}\n"
        f"endpoint = {url}\n"
    )
    there = f"s3://{BUCKET}/{prefix}"
    return {
        OURS: [sys.executable, "-m", "credstore", "-q", "sync", "--no-journal", str(folder), f"store:{prefix}"],
        "rclone copy": [
            "rclone", "--config", str(config), "copy", "--s3-no-check-bucket", "--transfers", "32",
            "--checkers", "32", str(folder), f"null:{BUCKET}/{prefix}",
        ],
        "s5cmd cp": ["s5cmd", "--log", "error", "--endpoint-url", url, "cp", f"{folder}/*", f"{there}/"],
        "aws s3 sync": ["aws", "--endpoint-url", url, "s3", "sync", "--quiet", str(folder), there],
    }  # fmt: skip


def measure(scale: Scale) -> dict[str, Figures]:
    """Tool to figures."""
    found: dict[str, Figures] = {}
    count, few, size = scale.pick((1000, 2, 64 * MIB), (10_000, 10, 256 * MIB))
    with tempfile.TemporaryDirectory() as text:
        place = Path(text)
        small, large = _small(place / "small", count), _large(place / "large", few, size)
        for number in range(scale.few):
            for tool in commands("", small, "", place):
                if not _found(tool, place):
                    print(f"moves: {tool} is not installed", file=sys.stderr)
                    continue
                print(f"moves, round {number + 1}: {tool}", file=sys.stderr)
                with running_null_s3(own=True) as server:
                    figures: dict[str, float] = {}
                    seconds, used = _timed(commands(server.url, small, "s", place)[tool], server.url)
                    figures.update({"small": count / seconds, "small CPU": used / count * 1e6})
                    seconds, used = _timed(commands(server.url, large, "l", place)[tool], server.url)
                    total = few * size / 1e6
                    figures.update({"large": total / seconds, "large CPU": used / total * 1e3})
                    add(found.setdefault(tool, {}), figures, 2)
        many = _small(place / "many", scale.pick(10_000, 100_000))
        with running_null_s3(own=True) as server:
            for _ in range(scale.few):
                figures = run(__name__, url=server.url, folder=str(many), journal=str(place / "journal"))
                for name in (LISTING, AGAIN):
                    part = {each: figures[f"{name} {each}"] for each in ("seconds", "CPU")}
                    add(found.setdefault(name, {}), part)
    return found


def _small(folder: Path, count: int) -> Path:
    for number in range(count):
        path = folder / f"{number // PER_FOLDER:04}" / f"f{number:06}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(number.to_bytes(8, "big") * (SIZE // 8))
    return folder


def _large(folder: Path, count: int, size: int) -> Path:
    """One file under many names: the disk is not what is measured, and the server keeps equal parts once."""
    folder.mkdir()
    block = os.urandom(MIB)
    with (folder / "f0").open("wb") as file:
        for _ in range(size // MIB):
            file.write(block)
    for number in range(1, count):
        (folder / f"f{number}").hardlink_to(folder / "f0")
    return folder


def _environment(url: str) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {
        **os.environ,
        "PATH": path,
        "CREDSTORE_PROVIDER": "minio",
        "CREDSTORE_BUCKET": BUCKET,
        "CREDSTORE_ENDPOINT": url,
        "CREDSTORE_ACCESS_KEY_ID": KEY_ID,
        "CREDSTORE_SECRET_ACCESS_KEY": SECRET,
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
    }


def _found(tool: str, place: Path) -> bool:
    program = commands("", place, "", place)[tool][0]
    return shutil.which(program, path=_environment("")["PATH"]) is not None


def _timed(command: list[str], url: str) -> tuple[float, float]:
    """Seconds, and seconds of CPU of the program, from its start to its end."""
    environment = _environment(url)
    start = time.perf_counter()
    program = shutil.which(command[0], path=environment["PATH"]) or command[0]
    process = subprocess.Popen([program, *command[1:]], env=environment, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    return time.perf_counter() - start, used.ru_utime + used.ru_stime


async def work(url: str, folder: str, journal: str) -> dict[str, float]:
    """Seconds and CPU of listing a folder and a store that are equal, and of the sync that finds so."""
    from credstore import S3CompatibleConfig, S3CompatibleStorageProvider, Secret
    from credstore.transfer import Under, sync

    config = S3CompatibleConfig(
        bucket=BUCKET, endpoint=url, flavor="minio", access_key_id=KEY_ID, secret_access_key=Secret(SECRET)
    )
    async with S3CompatibleStorageProvider(config) as store:
        there = Under(store, "many/")
        first = await sync(Path(folder), there, journal=journal)
        assert first.complete
        figures: dict[str, float] = {}

        def keep(name: str, watch: Stopwatch) -> None:
            used, seconds = watch.read()[:2]
            figures.update({f"{name} seconds": seconds, f"{name} CPU": used})

        watch = Stopwatch()
        here = sum(1 for _ in _walked(folder))
        listed = 0
        async for _ in store.scan("many/"):
            listed += 1
        keep(LISTING, watch)
        assert here == listed
        watch = Stopwatch()
        again = await sync(Path(folder), there, journal=journal)
        keep(AGAIN, watch)
        assert again.counts == {"same": here}
        return figures


def _walked(folder: str) -> list[os.stat_result]:
    """The state of each file, names in order, as a listing of a folder needs it."""
    found: list[os.stat_result] = []
    with os.scandir(folder) as items:
        for item in sorted(items, key=lambda each: each.name):
            if item.is_dir(follow_symlinks=False):
                found += _walked(item.path)
            else:
                found.append(item.stat(follow_symlinks=False))
    return found


def render(found: dict[str, Figures]) -> list[str]:
    """The results as Markdown."""
    tools = {name: figures for name, figures in found.items() if name not in {LISTING, AGAIN}}
    lines = [
        "Whole programs, from their start to their end, with a folder of files of 4 KiB (100 in each folder), "
        "and one of large files, to a server on loopback that keeps them and computes the SHA-256 that it is "
        "asked for. Other tools have their defaults, but for 32 transfers at once of rclone.",
        "",
        checked(
            {
                OURS: "each object by the SHA-256 that the server computes, a large one by that of its parts",
                "rclone copy": "the MD5 that goes with each write",
                "s5cmd cp": "nothing but what goes with each write",
                "aws s3 sync": "the CRC that goes with each write",
            }
        ),
        "",
        *comparison(tools, OURS, SHOWN, 1),
    ]
    if AGAIN in found and LISTING in found:
        again, listing = found[AGAIN], found[LISTING]
        ratio = [mine / other for mine, other in zip(again["CPU"], listing["CPU"], strict=True)]
        lines += [
            "",
            f"A second sync of files that are unchanged takes {spread(again['CPU'], 2)} s of CPU, listing both "
            f"sides alone {spread(listing['CPU'], 2)} s: {spread(ratio, 2)} times as much.",
        ]
    return lines
