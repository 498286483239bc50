"""Past a memory driver to its bytes."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from credstore.drivers.memory import MemoryObjects


def peek_at(*stores: MemoryObjects) -> Callable[[str], Awaitable[bytes | None]]:
    """Read the newest that any of the stores has of the key."""

    async def peek(key: str) -> bytes | None:
        found = [objects.by_key[key] for objects in stores if key in objects.by_key]
        return max(found, key=lambda each: each.info.last_modified).data if found else None

    return peek


def poke_at(*stores: MemoryObjects) -> Callable[[str, bytes], Awaitable[None]]:
    """Change the bytes in every store that has the key, and nothing else."""

    async def poke(key: str, data: bytes) -> None:
        for objects in stores:
            if key in objects.by_key:
                found = objects.by_key[key]
                objects.by_key[key] = replace(found, data=data, info=replace(found.info, size=len(data)))

    return poke
