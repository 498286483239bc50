"""Many objects: listing 100,000 keys in pages of 1,000, deleting 10,000, signing 10,000 links."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from urllib.request import urlopen
from xml.parsers import expat

from benchmarks.null_s3 import BUCKET, running_null_s3
from benchmarks.null_server import PAGE, PAGES
from benchmarks.peers import PEERS, Obstore
from benchmarks.report import Figures, checked, comparison, paired, spread
from benchmarks.worker import Scale, Stopwatch, add, run

TITLE = "Many objects"
NAMES = {"list": "list 100,000", "delete": "delete 10,000", "presign": "presign 10,000"}
DRIVER, EXPAT = "credstore's driver alone", "bare expat"
OF_MANY = {
    "credstore": ("list", "delete", "presign"),
    DRIVER: ("list", "delete"),
    EXPAT: ("list",),
    "obstore": ("list", "delete", "presign"),
    "aiobotocore": ("list", "delete", "presign"),
}
KEYS = [f"k{number:06}" for number in range(10_000)]


def measure(scale: Scale) -> dict[str, Figures]:
    """Peer to figures."""
    found: dict[str, Figures] = {}
    with running_null_s3() as server:
        for number in range(scale.rounds):
            for peer, verbs in OF_MANY.items():
                if scale.quick and peer == "aiobotocore":
                    continue
                for verb in verbs:
                    print(f"many, round {number + 1}: {verb} by {peer}", file=sys.stderr)
                    add(found.setdefault(peer, {}), run(__name__, peer=peer, verb=verb, url=server.url), 2)
    return found


async def work(peer: str, verb: str, url: str) -> dict[str, float]:
    """Microseconds of CPU for each key."""
    if peer == EXPAT:
        return {verb: await asyncio.to_thread(_expat, url)}
    client = PEERS[peer if peer in PEERS else "credstore"]()
    await client.open(url, 32)
    await client.put("warm", b"x")
    watch = Stopwatch()
    await RUN[peer](client, verb)
    used = watch.read()[0]
    await client.close()
    return {verb: used / (PAGES * PAGE if verb == "list" else len(KEYS)) * 1e6}


def _expat(url: str) -> float:
    """The same pages, fetched before, each key's fields collected as text and nothing checked but for a DTD."""
    pages = []
    for number in range(PAGES):
        with urlopen(f"{url}/{BUCKET}?list-type=2&continuation-token={number}") as response:
            pages.append(response.read())
    found: list[dict[str, str]] = []

    def read(page: bytes) -> None:
        fields: dict[str, str] = {}
        text: list[str] = []

        def start(name: str, _attributes: object) -> None:
            text.clear()
            if name == "Contents":
                fields.clear()

        def end(name: str) -> None:
            if name == "Contents":
                found.append(fields.copy())
            else:
                fields[name] = "".join(text)

        def refuse(*_: object) -> None:
            raise ValueError("a DTD")

        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler, parser.EndElementHandler = start, end
        parser.CharacterDataHandler = text.append
        parser.StartDoctypeDeclHandler = refuse
        parser.Parse(page, True)

    watch = Stopwatch()
    for page in pages:
        read(page)
    used = watch.read()[0]
    assert len(found) == PAGES * PAGE
    return used / len(found) * 1e6


async def _credstore(client, verb: str) -> None:
    store = client.store
    if verb == "list":
        assert len([item async for item in store.scan("")]) == PAGES * PAGE
    elif verb == "delete":
        result = await store.batch_delete(KEYS)
        assert not result.failed
    else:
        for key in KEYS:
            await store.get_signed_url(key, expires_in=600, check=False)


async def _driver(client, verb: str) -> None:
    driver = client.store._session.driver
    if verb == "delete":
        most = driver.capabilities.max_delete_batch
        for start in range(0, len(KEYS), most):
            await driver.delete_many(KEYS[start : start + most])
        return
    entries, cursor = [], None
    while True:
        page = await driver.list("", cursor)
        entries.extend(page.entries)
        cursor = page.cursor
        if cursor is None:
            break
    assert len(entries) == PAGES * PAGE


async def _obstore(client: Obstore, verb: str) -> None:
    import obstore

    store = client.store
    if verb == "list":
        entries = []
        async for page in obstore.list(store, chunk_size=PAGE):
            entries.extend(page)
        assert len(entries) == PAGES * PAGE
    elif verb == "delete":
        await obstore.delete_async(store, KEYS)
    else:
        for key in KEYS:
            await obstore.sign_async(store, "GET", key, timedelta(seconds=600))


async def _aiobotocore(client, verb: str) -> None:
    client = client.client
    if verb == "list":
        entries = []
        async for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
            entries.extend(page["Contents"])
        assert len(entries) == PAGES * PAGE
    elif verb == "delete":
        for start in range(0, len(KEYS), 1000):
            objects = [{"Key": key} for key in KEYS[start : start + 1000]]
            await client.delete_objects(Bucket=BUCKET, Delete={"Objects": objects})
    else:
        for key in KEYS:
            await client.generate_presigned_url(
                "get_object", Params={"Bucket": BUCKET, "Key": key}, ExpiresIn=600
            )


RUN = {"credstore": _credstore, DRIVER: _driver, "obstore": _obstore, "aiobotocore": _aiobotocore}


def render(found: dict[str, Figures]) -> list[str]:
    """The results as Markdown."""
    layers = {
        verb: [
            total - alone for total, alone in zip(found["credstore"][verb], found[DRIVER][verb], strict=False)
        ]
        for verb in ("list", "delete")
        if paired(found.get("credstore", {}).get(verb, []), found.get(DRIVER, {}).get(verb, []))
    }
    return [
        "Client CPU for each key in microseconds: a listing of 100 pages of 1,000 keys, batch deletes of keys of "
        "which none exists, presigned GET links (`check=False`).",
        "",
        checked(
            {
                "credstore": "that names ascend and no page repeats, sizes and times; that each deleted key has "
                "one outcome",
                DRIVER: "a page's XML, with bombs refused; no session, no validation",
                EXPAT: "a DTD is refused; the pages are in memory",
                "obstore": "the XML",
                "aiobotocore": "the XML",
            }
        ),
        "",
        *comparison(found, "credstore", NAMES, 1),
        "",
        "Of that the provider's layers (all of credstore but its driver): "
        + "; ".join(f"{verb} {spread(values, 1)}" for verb, values in layers.items())
        + ".",
    ]
