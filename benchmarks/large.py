"""One object of 256 MiB, stored in parts and read over several connections; and what 2 GiB need of memory."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from collections import deque
from collections.abc import AsyncIterator

from benchmarks.null_s3 import running_null_s3
from benchmarks.peers import PEERS, Credstore, Obstore
from benchmarks.report import Figures, checked, comparison
from benchmarks.worker import MIB, Scale, Stopwatch, add, peak, run

TITLE = "Large objects"
HASHED = "obstore and hashlib"
VERBS = {
    "store": "store from memory",
    "stream": "store a stream",
    "read": "read as a stream",
    "whole": "retrieve as bytes",
}
LARGE, HUGE = 256 * MIB, 2048 * MIB
RANGE = 8 * MIB
CONNECTIONS = 4
"""As many as credstore reads over."""
Cases = dict[str, dict[str, Figures]]


def measure(scale: Scale) -> Cases:
    """Case to peer to figures."""
    cases: Cases = {}
    for tls in scale.pick([False], [False, True]):
        with running_null_s3(tls=tls) as server:
            run(__name__, peer="credstore", verb="fill", server=server, size=LARGE)
            case = cases.setdefault("HTTPS" if tls else "HTTP", {})
            for number in range(scale.few):
                for verb in VERBS:
                    for peer in ("credstore", HASHED, "obstore"):
                        print(f"large, round {number + 1}: {verb} by {peer}", file=sys.stderr)
                        found = run(__name__, peer=peer, verb=verb, server=server, size=LARGE)
                        add(case.setdefault(peer, {}), found)
    with running_null_s3() as server:
        run(__name__, peer="credstore", verb="fill", server=server, size=HUGE)
        for peer in ("credstore", "obstore"):
            for verb in ("stream", "read"):
                print(f"large, 2 GiB: {verb} by {peer}", file=sys.stderr)
                found = run(__name__, peer=peer, verb=verb, server=server, size=HUGE)
                add(cases.setdefault("2 GiB", {}).setdefault(peer, {}), found)
    return cases


async def work(peer: str, verb: str, server: tuple[str, str | None], size: int) -> dict[str, float]:
    """CPU and wall time in seconds, memory that the process grew by in MiB at its peak."""
    client = Credstore() if peer == "credstore" else Obstore()
    await client.open(server[0], 32, server[1])
    await client.put("small", b"x")
    # Pages of the system that all are one: nothing that the process would need memory for.
    data = bytes(size) if verb == "fill" else os.urandom(MIB) * (size // MIB) if verb == "store" else b""
    before, watch = peak(restart=True), Stopwatch()
    if isinstance(client, Credstore):
        await _credstore(client, verb, data, size)
    else:
        await _obstore(client, verb, data, size, hashlib.sha256() if peer == HASHED else None)
    cpu, wall = watch.read()
    grown = peak() - before
    await client.close()
    return {verb: cpu, f"{verb}, wall": wall, f"{verb}, MiB": grown}


async def _pieces(size: int, digest: hashlib._Hash | None = None) -> AsyncIterator[bytes]:
    piece = bytes(MIB)
    for _ in range(size // MIB):
        if digest is not None:
            digest.update(piece)
        yield piece


async def _credstore(client: Credstore, verb: str, data: bytes, size: int) -> None:
    store = client.store
    if verb in {"store", "fill"}:
        await store.store("big" if verb == "store" else "large", data)
    elif verb == "stream":
        await store.store("big", _pieces(size))
    elif verb == "read":
        got = 0
        async with store.open("large") as reader:
            async for chunk in reader:
                got += len(chunk)
        assert got == size
    else:
        assert len(await store.retrieve("large", max_size=size) or b"") == size


async def _obstore(client: Obstore, verb: str, data: bytes, size: int, digest: hashlib._Hash | None) -> None:
    import obstore

    store = client.store
    if verb == "store":
        if digest is not None:
            await asyncio.to_thread(digest.update, data)
        await obstore.put_async(store, "big", data)
    elif verb == "stream":
        await obstore.put_async(store, "big", _pieces(size, digest))
    elif verb == "read":
        starts = iter(range(0, size, RANGE))
        asked: deque[asyncio.Future] = deque()
        got = 0
        while True:
            while len(asked) < CONNECTIONS and (start := next(starts, None)) is not None:
                asked.append(
                    asyncio.ensure_future(obstore.get_range_async(store, "large", start=start, length=RANGE))
                )
            if not asked:
                break
            piece = await asked.popleft()
            got += len(piece)
            if digest is not None:
                await asyncio.to_thread(digest.update, piece)
        assert got == size
    else:
        whole = bytes(await (await obstore.get_async(store, "large")).bytes_async())
        assert len(whole) == size
        if digest is not None:
            await asyncio.to_thread(digest.update, whole)
    if digest is not None:
        digest.digest()


def render(cases: Cases) -> list[str]:
    """The results as Markdown."""
    hashes = "the whole's SHA-256, by hashlib over the same bytes; what obstore does besides"
    lines = [
        "One object of 256 MiB against the same server, each in a fresh process. What credstore stores from memory "
        "it hashes twice, once for the digest that is kept with the object and once for the signature of each part; "
        "obstore hashes for the signatures.",
        "",
        checked({"credstore": PEERS["credstore"].checks + "; a stream's digest is not known before it ends, so "
                 "none is kept, and each part is checked by its signature", HASHED: hashes,
                 "obstore": PEERS["obstore"].checks}),
    ]  # fmt: skip
    for case, peers in cases.items():
        if case == "2 GiB":
            names = {"stream": "store a stream", "read": "read as a stream"}
            lines += [
                "", "### 2 GiB", "",
                "Memory by which the process grew meanwhile, at its peak (MiB), and seconds of CPU.", "",
                *comparison(peers, "credstore", {f"{verb}, MiB": shown for verb, shown in names.items()}),
                "",
                *comparison(peers, "credstore", names, 2),
            ]  # fmt: skip
            continue
        for title, suffix, digits in (
            ("seconds of CPU", "", 2),
            ("seconds", ", wall", 2),
            ("MiB", ", MiB", 0),
        ):
            names = {verb + suffix: shown for verb, shown in VERBS.items()}
            about = "memory by which the process grew at its peak, " if title == "MiB" else ""
            lines += ["", f"### {case}, {about}{title}", "", *comparison(peers, "credstore", names, digits)]
    return lines
