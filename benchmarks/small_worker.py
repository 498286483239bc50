"""One peer, one measurement, in a process of its own: prints the cost as JSON."""

import asyncio
import json
import sys
import time

from benchmarks.peers import PEERS


async def measure(name: str, url: str, size: int, concurrency: int, count: int) -> dict[str, float]:
    """CPU and wall time of one operation, in microseconds, for puts and gets."""
    peer = PEERS[name]()
    await peer.open(url, concurrency)
    data = bytes(size)
    found: dict[str, float] = {}
    try:
        for operation in ("put", "get"):

            async def run(number: int, operation: str = operation) -> None:
                key = f"k{number % 64}"
                if operation == "put":
                    await peer.put(key, data)
                else:
                    assert len(await peer.get(key)) == size

            async def lane(start: int, total: int) -> None:
                for number in range(start, total, concurrency):
                    await run(number)

            await asyncio.gather(*(lane(start, max(64, concurrency)) for start in range(concurrency)))
            cpu, wall = time.process_time(), time.perf_counter()
            await asyncio.gather(*(lane(start, count) for start in range(concurrency)))
            found[f"{operation}_cpu"] = (time.process_time() - cpu) / count * 1e6
            found[f"{operation}_wall"] = (time.perf_counter() - wall) / count * 1e6
    finally:
        await peer.close()
    return found


if __name__ == "__main__":
    name, url, *numbers = sys.argv[1:]
    print(json.dumps(asyncio.run(measure(name, url, *map(int, numbers)))))
