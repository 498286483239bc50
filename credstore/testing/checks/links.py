"""Checks of links: which are made, and that they open."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

from credstore.driver.contract import Driver
from credstore.driver.values import SignedRequest, SignRequest
from credstore.model import Method
from credstore.testing.harness import (
    Harness,
    fetched,
    needed,
    put,
    require,
    same,
    unsupported,
)
from credstore.testing.links import Fetch

KEYS = ("key", "dir/with space/ä+b%25&c=d.txt", "unicode/日本語/😀")
_DATA = b"what the link leads to"
_MINUTE = 60


async def makes_links_or_refuses(harness: Harness) -> None:
    """A link is made for each method the capabilities name, for others refused."""
    driver = harness.open()
    await put(driver, "key")
    for method in get_args(Method):
        request = SignRequest(key="key", method=method, expires_in=_MINUTE)
        if method not in driver.capabilities.presign:
            await unsupported(driver.sign(request), f"a link for {method}", harness)
            continue
        signed = await driver.sign(request)
        same(signed.method, method, "method of a link")
        require(signed.url.startswith(("http://", "https://")), "a link is not a URL")
        left = (signed.expires_at - datetime.now(UTC)).total_seconds()
        require(0 < left <= _MINUTE + 1, f"a link for {_MINUTE} seconds lasts {left:.0f}")
        require("http" not in repr(signed), "the repr of a link shows it")
    await driver.aclose()


async def makes_links_that_open(harness: Harness) -> None:
    """Whoever holds a link can do with it what it is for, with any HTTP client."""
    driver = harness.open()
    if not driver.capabilities.presign:
        await driver.aclose()
        return
    fetch = needed(harness.fetch, "`fetch`")
    for key in KEYS:
        await put(driver, key, _DATA)
        for method, opens in (("GET", _reads), ("HEAD", _looks), ("PUT", _writes), ("DELETE", _deletes)):
            if method in driver.capabilities.presign:
                await opens(driver, key, fetch)
    await driver.aclose()


async def _link(driver: Driver, request: SignRequest) -> SignedRequest:
    link = await driver.sign(request)
    require(link.url.startswith(("http://", "https://")), "a link is not a URL")
    return link


async def _reads(driver: Driver, key: str, fetch: Fetch) -> None:
    shown = 'attachment; filename="a b.txt"'
    overrides = {"content-disposition": shown} if driver.capabilities.response_overrides else {}
    answer = await fetch(await _link(driver, SignRequest(key=key, overrides=overrides)), None)
    same((answer.status, answer.body), (200, _DATA), f"what a GET link to {key!r} gives")
    if overrides:
        same(answer.headers.get("content-disposition"), shown, "header that a link imposes")


async def _looks(driver: Driver, key: str, fetch: Fetch) -> None:
    answer = await fetch(await _link(driver, SignRequest(key=key, method="HEAD")), None)
    told = (answer.status, answer.headers.get("content-length"), answer.body)
    same(told, (200, str(len(_DATA)), b""), f"what a HEAD link to {key!r} gives")


async def _writes(driver: Driver, key: str, fetch: Fetch) -> None:
    headers = {"content-type": "image/png"}
    answer = await fetch(
        await _link(driver, SignRequest(key=key, method="PUT", headers=headers)), _DATA[::-1]
    )
    require(answer.status in {200, 201, 204}, f"a PUT link to {key!r} gives {answer.status}")
    same(await fetched(driver, key), _DATA[::-1], "bytes that came by a link")
    stored = (await driver.head(key)).headers
    same(stored.content_type if stored is not None else None, "image/png", "content type that came by a link")


async def _deletes(driver: Driver, key: str, fetch: Fetch) -> None:
    answer = await fetch(await _link(driver, SignRequest(key=key, method="DELETE")), None)
    require(answer.status in {200, 202, 204}, f"a DELETE link to {key!r} gives {answer.status}")
    same(await fetched(driver, key), None, "bytes after a link that deletes")
