"""Past a memory driver to its bytes, and to what its links lead to."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from urllib.parse import urlsplit

from credstore import StorageProvider, serve_links
from credstore.config.stores import MemoryConfig
from credstore.driver import Driver
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.edge.server import listen
from credstore.testing.links import Fetch, fetch_link


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


def fetch_from(*stores: MemoryObjects) -> Fetch:
    """Open a link at the one of the stores that it is of."""
    return fetch_at(*(lambda each=each: MemoryDriver(MemoryConfig(), objects=each) for each in stores))


def fetch_at(*opens: Callable[[], Driver]) -> Fetch:
    """Open a link at the one of the drivers that it is of, which is served for as long as that takes."""

    async def fetch(link, body):
        for open_driver in opens:
            async with (
                StorageProvider(open_driver(), MemoryConfig()) as provider,
                serve_links(provider, listener=listen("127.0.0.1", 0)) as base,
            ):
                url = base + link.url.removeprefix("http://" + urlsplit(link.url).netloc)
                answer = await fetch_link(replace(link, url=url), body)
            if answer.status != 403:
                break
        return answer

    return fetch
