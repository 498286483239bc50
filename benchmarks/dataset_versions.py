"""What the next version of a dataset of 1 GB stores, how long it takes, and how much memory.

python benchmarks/dataset_versions.py [BYTES]
"""

import asyncio
import random
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from credstore import LocalConfig, LocalStorageProvider
from credstore.artifacts import StorageManager
from credstore.proofs import LocalSigner, TrustStore, trust_key

DRAW = random.Random(1)


def replace(data: bytearray, runs: int, size: int) -> None:
    for _ in range(runs):
        at = DRAW.randrange(len(data) - size)
        data[at : at + size] = DRAW.randbytes(size)


def insert(data: bytearray, runs: int, size: int) -> None:
    for _ in range(runs):
        at = DRAW.randrange(len(data))
        data[at:at] = DRAW.randbytes(size)


EDITS = {
    "first version": None,
    "nothing changed": None,
    "100 runs of 100 KB replaced": lambda data: replace(data, 100, 100_000),
    "16 insertions of 1 KB": lambda data: insert(data, 16, 1000),
    "1,000 scattered edits of 10 bytes": lambda data: replace(data, 1000, 10),
}


async def main(size: int, folder: Path) -> None:
    signer = LocalSigner.generate()
    since = datetime.now(UTC) - timedelta(days=1)
    trust = TrustStore(
        1, (trust_key(signer.public_key, issuers=["https://bench.example"], valid_from=since),)
    )
    (folder / "data").mkdir()
    part = folder / "data" / "part"
    with part.open("wb") as file:
        for at in range(0, size, 1 << 24):
            file.write(DRAW.randbytes(min(1 << 24, size - at)))
    async with LocalStorageProvider(LocalConfig(path=folder / "store")) as store:
        manager = StorageManager(store, trust=trust, signer=signer)
        used = 0
        for name, edit in EDITS.items():
            if edit is not None:
                data = bytearray(part.read_bytes())
                edit(data)
                part.write_bytes(data)
                del data
            start = time.perf_counter()
            await manager.save_dataset("set", folder / "data")
            took, total = time.perf_counter() - start, (await store.get_stats()).total_size
            # The edits hold the whole file in memory; before them, it is the library's own.
            memory = f", {peak()} of memory at the most" if edit is None else ""
            print(f"{name}: {(total - used) / size:.2%} stored in {took:.1f} s{memory}", flush=True)
            used = total
        start = time.perf_counter()
        await manager.load_dataset("set", into=folder / "out")
        print(f"loaded and verified in {time.perf_counter() - start:.1f} s")
        print(f"objects: {(await store.get_stats()).total_objects}")


def peak() -> str:
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10**9, Path(place)))
