"""Many objects: listing 100,000 keys, deleting 10,000, signing 10,000 links."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from datetime import timedelta
from urllib.request import Request, urlopen

from benchmarks.null_s3 import BUCKET, running_null_s3
from benchmarks.null_server import PAGE, PAGES
from benchmarks.peers import PEERS
from benchmarks.report import Figures, comparison
from tests.servers.moto import running_moto

OF_MANY = ("credstore", "obstore", "aiobotocore")
NAMES = {"list": "list 100,000", "delete": "delete 10,000", "presign": "presign 10,000"}
KEYS = [f"k{number:06}" for number in range(10_000)]


def measure(rounds: int) -> dict[str, Figures]:
    """Peer to figures."""
    found: dict[str, Figures] = {}
    with running_null_s3() as null, running_moto() as moto:
        with urlopen(Request(f"{moto.url}/{BUCKET}", method="PUT")):
            pass
        for _ in range(rounds):
            for peer in OF_MANY:
                for name in NAMES:
                    url = moto.url if name == "delete" else null.url
                    command = [sys.executable, "-m", "benchmarks.many", peer, name, url]
                    done = subprocess.run(command, capture_output=True, text=True, check=False)
                    for figure, value in json.loads(done.stdout).items():
                        found.setdefault(peer, {}).setdefault(figure, []).append(round(value, 2))
    return found


async def _credstore(peer, name: str) -> None:
    if name == "list":
        assert len([item async for item in peer.store.scan("")]) == PAGES * PAGE
    elif name == "delete":
        result = await peer.store.batch_delete(KEYS)
        assert not result.failed
    else:
        for key in KEYS:
            await peer.store.get_signed_url(key, expires_in=600, check=False)


async def _obstore(peer, name: str) -> None:
    import obstore

    if name == "list":
        count = 0
        async for page in obstore.list(peer.store):
            count += len(page)
        assert count == PAGES * PAGE
    elif name == "delete":
        await obstore.delete_async(peer.store, KEYS)
    else:
        for key in KEYS:
            await obstore.sign_async(peer.store, "GET", key, timedelta(seconds=600))


async def _aiobotocore(peer, name: str) -> None:
    client = peer.client
    if name == "list":
        count = 0
        async for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
            count += len(page["Contents"])
        assert count == PAGES * PAGE
    elif name == "delete":
        for start in range(0, len(KEYS), 1000):
            objects = [{"Key": key} for key in KEYS[start : start + 1000]]
            await client.delete_objects(Bucket=BUCKET, Delete={"Objects": objects})
    else:
        for key in KEYS:
            await client.generate_presigned_url(
                "get_object", Params={"Bucket": BUCKET, "Key": key}, ExpiresIn=600
            )


RUN = {"credstore": _credstore, "obstore": _obstore, "aiobotocore": _aiobotocore}


def render(found: dict[str, Figures]) -> list[str]:
    """The results as Markdown."""
    return [
        (
            "Client CPU for each key in microseconds: a listing of 100 fixed pages, batch deletes on "
            "moto, presigned GET links (of objects known to be there: `check=False`)."
        ),
        "",
        *comparison(found, "credstore", NAMES, 1),
    ]


async def _main(peer_name: str, name: str, url: str) -> dict[str, float]:
    peer = PEERS[peer_name]()
    await peer.open(url, 32)
    start = time.process_time()
    await RUN[peer_name](peer, name)
    used = time.process_time() - start
    await peer.close()
    return {name: used / (PAGES * PAGE if name == "list" else len(KEYS)) * 1e6}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_main(*sys.argv[1:]))))
