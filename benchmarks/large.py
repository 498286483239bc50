"""One object of 256 MiB, stored in parts and read over several connections: seconds and peak memory."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.null_s3 import running_null_s3
from benchmarks.peers import Credstore, Obstore
from benchmarks.report import Figures, comparison

PEERS = ("credstore", "obstore")
NAMES = {
    "store": "store from memory",
    "stream": "store a stream",
    "read": "read as a stream",
    "whole": "retrieve as bytes",
}
PIECE = 8 * 1024 * 1024
LARGE = 256 * 1024 * 1024
DATA = bytes(range(256)) * (LARGE // 256) if sys.argv[2:3] == ["store"] else b""


def measure(rounds: int) -> dict[str, Figures]:
    """Peer to figures."""
    found: dict[str, Figures] = {}
    with running_null_s3() as server:
        url = server.url
        asyncio.run(_fill(url))
        for _ in range(rounds):
            for peer in PEERS:
                for name in NAMES:
                    command = [sys.executable, "-m", "benchmarks.large", peer, name, url]
                    done = subprocess.run(command, capture_output=True, text=True, check=False)
                    for figure, value in json.loads(done.stdout).items():
                        found.setdefault(peer, {}).setdefault(figure, []).append(round(value, 3))
    return found


async def _fill(url: str) -> None:
    """Store what is read, with the digest that a verified read compares."""
    peer = Credstore()
    await peer.open(url, 1)
    await peer.store.store("large", bytes(LARGE))
    await peer.close()


async def _stream():
    piece = bytes(1024 * 1024)
    for _ in range(LARGE // len(piece)):
        yield piece


async def _credstore(name: str, url: str) -> None:
    peer = Credstore()
    await peer.open(url, 32)
    if name == "store":
        await peer.store.store("big", DATA)
    elif name == "stream":
        await peer.store.store("big", _stream())
    elif name == "read":
        size = 0
        async with peer.store.open("large") as reader:
            async for chunk in reader:
                size += len(chunk)
        assert size == LARGE
    else:
        assert len(await peer.store.retrieve("large", max_size=LARGE) or b"") == LARGE
    await peer.close()


async def _obstore(name: str, url: str) -> None:
    import obstore

    peer = Obstore()
    await peer.open(url, 32)
    if name == "store":
        await obstore.put_async(peer.store, "big", DATA)
    elif name == "stream":
        await obstore.put_async(peer.store, "big", _stream())
    elif name == "read":
        # Over as many connections as credstore uses, each piece released as it arrives.
        turns = asyncio.Semaphore(4)

        async def piece(start: int) -> int:
            async with turns:
                return len(await obstore.get_range_async(peer.store, "large", start=start, length=PIECE))

        assert sum(await asyncio.gather(*map(piece, range(0, LARGE, PIECE)))) == LARGE
    else:
        assert len(bytes(await (await obstore.get_async(peer.store, "large")).bytes_async())) == LARGE
    await peer.close()


def render(found: dict[str, Figures]) -> list[str]:
    """The results as Markdown."""
    grown = {name: f"{name}, MiB" for name in NAMES}
    return [
        "Seconds for one object of 256 MiB against the same server, each in a fresh process; credstore's time "
        "as a multiple of obstore's. credstore hashes twice what it stores from memory, once for the digest "
        "that is kept with the object and once for the signature of each part; on a loopback that moves more "
        "than a gigabyte a second that shows.",
        "",
        *comparison(found, "credstore", NAMES, 2),
        "",
        "Memory by which the process grew meanwhile, at its peak (MiB).",
        "",
        *comparison(found, "credstore", {grown[name]: NAMES[name] for name in NAMES}),
    ]


def _peak(*, anew: bool = False) -> float:
    """MiB; `getrusage` would start with the peak of the process that started this one."""
    if anew:
        Path("/proc/self/clear_refs").write_text("5")
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    peer, name, url = sys.argv[1:]
    run = _credstore if peer == "credstore" else _obstore

    async def main() -> dict[str, float]:
        """Warm up with a small object, then measure."""
        other = Credstore() if peer == "credstore" else Obstore()
        await other.open(url, 1)
        await other.put("small", b"x")
        await other.close()
        before, start = _peak(anew=True), time.perf_counter()
        await run(name, url)
        return {name: time.perf_counter() - start, f"{name}, MiB": _peak() - before}

    print(json.dumps(asyncio.run(main())))
