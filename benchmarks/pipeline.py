"""What happens to bytes before they are sent: codecs, dictionaries, and how long the loop is blocked."""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import time

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_wrap

from benchmarks.report import checked, spread
from benchmarks.worker import Scale, add, run
from credstore import (
    ClientSide,
    KeyRing,
    LocalKey,
    MemoryConfig,
    MemoryStorageProvider,
    train_dictionary,
)
from tests.servers.records import records as make_records

TITLE = "Codecs and encryption"
LARGE = 64 * 1024 * 1024


def measure(scale: Scale) -> dict[str, dict[str, list[float]]]:
    """Section to figure to values."""
    found: dict[str, dict[str, list[float]]] = {"codecs": {}, "lag": {}, "sizes": {}}
    for _ in range(scale.few):
        values = run(__name__, kind="codecs", count=scale.pick(500, 2000))
        for name, value in values.items():
            add(found["sizes" if name.endswith("bytes") else "codecs"], {name: value}, 2)
        add(found["lag"], run(__name__, kind="lag", count=LARGE))
    return found


async def work(kind: str, count: int) -> dict[str, float]:
    """The codecs' figures for that many records, or the loop's for an object of that many bytes."""
    return await {"codecs": _codecs, "lag": _lag}[kind](count)


async def _codecs(count: int) -> dict[str, float]:
    records = [record.ljust(4096)[:4096] for record in make_records(count + 1500)]
    dictionary = await asyncio.to_thread(train_dictionary, records[count:])
    ways: dict[str, dict[str, object]] = {
        "plain": {},
        "gzip": {"compress": "gzip"},
        "zstd": {"compress": "zstd"},
        "zstd with a dictionary": {"compress": "zstd", "dictionary": dictionary},
        "encrypted": {"encryption": ClientSide(KeyRing(LocalKey(os.urandom(32))), store_id="bench")},
    }
    took: dict[str, dict[str, float]] = {}
    found: dict[str, float] = {}
    for name, options in ways.items():
        async with MemoryStorageProvider(MemoryConfig()) as store:
            size = (await store.store("first", records[0], **options)).size
            took[name] = {}
            reading = {key: value for key, value in options.items() if key == "encryption"}
            start = time.process_time()
            for number in range(count):
                size += (await store.store(str(number), records[number], **options)).size
            took[name]["store"] = (time.process_time() - start) / count * 1e6
            start = time.process_time()
            for number in range(count):
                await store.retrieve(str(number), **reading)
            took[name]["retrieve"] = (time.process_time() - start) / count * 1e6
            found[f"{name}, bytes"] = size / (count + 1)
    for name in list(ways)[1:]:
        for verb in ("store", "retrieve"):
            found[f"{name}, {verb}"] = took[name][verb] - took["plain"][verb]
    for verb in ("store", "retrieve"):
        found[f"encrypted {verb} to plain"] = took["encrypted"][verb] / took["plain"][verb]
    found["plain retrieve"], found["ciphers"] = took["plain"]["retrieve"], _ciphers(count)
    return found


def _ciphers(count: int) -> float:
    """Microseconds for what an encrypted retrieve of 4 KiB asks of `cryptography`, and nothing else."""
    key, wrapping, salt, plain = os.urandom(32), os.urandom(32), os.urandom(32), os.urandom(4096)
    wrapped, sealed = aes_key_wrap(wrapping, key), AESGCM(key).encrypt(bytes(12), plain, salt)
    sha256 = SHA256()
    start = time.process_time()
    for _ in range(count):
        aes_key_unwrap(wrapping, wrapped)
        tag = HMAC(HKDF(sha256, 96, salt, b"bench").derive(key)[64:88], sha256)
        tag.update(wrapped)
        tag.finalize()
        AESGCM(key).decrypt(bytes(12), sealed, salt)
    return (time.process_time() - start) / count * 1e6


async def _lag(size: int) -> dict[str, float]:
    """How long the loop was blocked at once, in milliseconds, while large objects come and go."""
    data = bytes(range(256)) * (size // 256)
    found: dict[str, float] = {}
    async with MemoryStorageProvider(MemoryConfig()) as store:
        for codec in (None, "gzip", "zstd"):
            held: list[tuple[float, float]] = []
            probe = asyncio.ensure_future(_probe(held))
            await asyncio.sleep(0)
            gc.disable()
            await store.store("large", data, compress=codec)
            await store.retrieve("large", max_size=size)
            async with store.open("large") as reader:
                async for _ in reader:
                    pass
            gc.enable()
            probe.cancel()
            for name, times in (("work", [cpu for cpu, _ in held]), ("wait", [wall for _, wall in held])):
                found[f"{codec or 'plain'}, {name}"] = max(times) * 1000
                found[f"{codec or 'plain'}, {name}, 99 of 100"] = (
                    statistics.quantiles(times, n=100)[98] * 1000
                )
    return found


async def _probe(held: list[tuple[float, float]]) -> None:
    """Note for each turn of the loop what its thread has worked since the last, and how long that took."""
    cpu, wall = time.thread_time(), time.perf_counter()
    while True:
        await asyncio.sleep(0)
        now = time.thread_time(), time.perf_counter()
        held.append((now[0] - cpu, now[1] - wall))
        cpu, wall = now


def render(found: dict[str, dict[str, list[float]]]) -> list[str]:
    """The results as Markdown."""
    codecs, sizes, lag = found["codecs"], found["sizes"], found["lag"]
    lines = [
        (
            "CPU added to one store and one retrieve of a record of 4 KiB in the C2PA's shape by a codec, or by "
            "client-side encryption, on the memory store (microseconds), and the bytes that are stored for it."
        ),
        "",
        checked({"credstore": "each read against the SHA-256 stored with the object; AES-GCM's tags"}),
        "",
        "| | store | retrieve | bytes |",
        "|---|---|---|---|",
        f"| plain | | | {statistics.median(sizes['plain, bytes']):.0f} |",
    ]
    for name in ("gzip", "zstd", "zstd with a dictionary", "encrypted"):
        cells = [spread(codecs[f"{name}, {verb}"], 1) for verb in ("store", "retrieve")]
        cells.append(f"{statistics.median(sizes[f'{name}, bytes']):.0f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    times = [
        f"{verb} {spread(codecs[f'encrypted {verb} to plain'], 2)}x"
        for verb in ("store", "retrieve")
        if f"encrypted {verb} to plain" in codecs
    ]
    lines += [
        "",
        "An encrypted record's CPU as a multiple of a plain one's: "
        + ", ".join(times)
        + "."
        + (
            f" A plain retrieve takes {spread(codecs['plain retrieve'], 1)} microseconds, and what an encrypted one "
            "asks of cryptography alone (one key unwrapped, one derived, AES-GCM with it, a tag) "
            f"{spread(codecs['ciphers'], 1)}."
            if "ciphers" in codecs
            else ""
        ),
        "",
        "How long the event loop was held at once while an object of 64 MiB was stored, retrieved and "
        "streamed (milliseconds): by work of its own thread, and from one turn to the next, which includes "
        "waiting for the interpreter lock while another thread has it (CPython lets that have it for 5 ms). The "
        "longest work is freeing 64 MiB, which takes the system a few milliseconds.",
        "",
        "| | longest work | 99 of 100 below | longest turn | 99 of 100 below |",
        "|---|---|---|---|---|",
    ]
    for name in ("plain", "gzip", "zstd"):
        cells = [
            spread(lag[f"{name}, {what}"], 2)
            for what in ("work", "work, 99 of 100", "wait", "wait, 99 of 100")
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines
