"""Writes docs/reference/requests.md: `python docs/make_requests.py` calls every verb on moto and counts.

What each verb sends is measured, what that costs is computed from the price table.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from credstore import S3Config, S3StorageProvider, Secret, StorageProvider
from credstore.prices.plan import kind_of
from credstore.prices.table import Price, price_of
from credstore.proofs import LocalSigner, ProofStore, TrustStore, trust_key
from credstore.testing import count_requests

DOCS = Path(__file__).parent
NAME = "reference/requests.md"
PRICED = ("s3", "r2")
MILLION = 1_000_000
HEAD = """# Requests of each verb

What a call sends, and what a million of such calls cost in requests alone; egress and storage come on top. The counts are
measured on moto with the settings of AWS S3, without failures. The other stores that speak S3 send the same, except that
a few calls need one request more where a response proves less. Azure and Google speak other protocols; count there:

- `credstore explain store 20MB` shows the plan and the bill of one call on your store; `provider.explain` does so in a
  program.
- `provider.metrics()` counts what was really sent, `provider.bill()` what that has cost.
- `credstore.testing.count_requests` counts the requests of a block in a test.

`get_upload_form` asks for the bucket's rule once for each store. Deletes are free at the clouds whose prices are known. An object is sent in parts from 8 MiB on
(`multipart_threshold`), in parts of 8 MiB (`part_size`).

This page is made by `python docs/make_requests.py`.

"""
STORE_NOTES = """
A listing costs one request for each 1,000 names. A second reader of the same object is not free, unless the store has a
[cache](../guide/read-only-cache-dedup.md): then each read asks for the version with one HEAD, or for nothing within
`cache_max_age`. With `dedup`, a write costs 1 to 3 requests more and a read 1.
"""
PROOF_NOTES = """
With a transparency log, a batch of up to 256 proofs shares the requests of the log; what a million proofs cost that way is
in the [benchmarks](../../benchmarks/README.md#the-transparency-log).
"""
Call = Callable[[], Awaitable[object]]


async def measured(calls: dict[str, Call]) -> dict[str, Counter[str]]:
    """The requests of each call, in order."""
    found: dict[str, Counter[str]] = {}
    for name, call in calls.items():
        with count_requests() as wire:
            await call()
        if not name.startswith("_"):
            found[name] = Counter(wire.by_operation)
    return found


def calls_of(store: StorageProvider) -> dict[str, Call]:
    """Verbs of a store; those with "_" in front only prepare the next one."""
    data = bytes(4096)

    async def chunks() -> object:
        yield bytes(4096)

    async def ranged(**options: int) -> None:
        async with store.open("a", **options) as reader:
            await reader.read()

    async def scanned() -> None:
        async for _ in store.scan():
            pass

    return {
        "`store`, up to 8 MiB": lambda: store.store("a", data),
        "`store(if_absent=True)`": lambda: store.store("new", data, if_absent=True),
        "`store` of a short stream": lambda: store.store("b", chunks()),
        "`store` of 20 MiB": lambda: store.store("large", bytes(20 * 2**20)),
        "`retrieve`": lambda: store.retrieve("a"),
        "`open(start=…, end=…)`": lambda: ranged(start=0, end=10),
        "`open(suffix=…)`": lambda: ranged(suffix=10),
        "`exists`": lambda: store.exists("a"),
        "`get_metadata`": lambda: store.get_metadata("a"),
        "`list`, one page": store.list,
        "`scan` of up to 1,000 objects": scanned,
        "`copy`": lambda: store.copy("a", "copied"),
        "`move`": lambda: store.move("copied", "moved"),
        "`get_signed_url`": lambda: store.get_signed_url("a", expires_in=60),
        "`get_signed_url(check=False)`": lambda: store.get_signed_url("a", expires_in=60, check=False),
        "`get_upload_form`": lambda: store.get_upload_form("form", max_size=10, expires_in=60),
        "`store(tags=…)`": lambda: store.store("a", data, tags={"k": "v"}),
        "`delete`": lambda: store.delete("a"),
        "`batch_delete` of up to 1,000 keys": lambda: store.batch_delete(["b", "new", "moved"]),
        "`health_check`": store.health_check,
    }


async def proof_calls(proofs: ProofStore) -> dict[str, Counter[str]]:
    """What verbs of proofs send."""
    found: dict[str, Counter[str]] = {}

    async def one(name: str, call: Awaitable[object]) -> object:
        with count_requests() as wire:
            done = await call
        found[name] = Counter(wire.by_operation)
        return done

    issued = await proofs.issue(b"photo")  # The first call of a store also looks at what there is.
    await proofs.get(issued.proof_id)
    await one("`issue`", proofs.issue(b"another photo"))
    await one("`get`", proofs.get(issued.proof_id))
    await one("`find_by_hash`, one proof", proofs.find_by_hash(issued.record.asset.sha256))
    await one("`export`", proofs.export(issued.proof_id))
    await one("`revoke`", proofs.revoke(issued.proof_id, reason="incorrect"))
    await one("`delete`", proofs.delete(issued.proof_id, reason="legal"))
    return found


async def counted(url: str, bucket: str) -> tuple[dict[str, Counter[str]], dict[str, Counter[str]]]:
    """What each verb sends to a server."""
    keys = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": Secret("example")}
    config = S3Config(bucket=bucket, endpoint=url, region="us-east-1", proxy="off", **keys)  # type: ignore[arg-type]
    signer = LocalSigner.generate()
    key = trust_key(
        signer.public_key, issuers=["https://news.example"], valid_from=datetime.now(UTC) - timedelta(days=1)
    )
    async with AsyncExitStack() as opened:
        store = await opened.enter_async_context(S3StorageProvider(config))
        verbs = await measured(calls_of(store))
        proofs = await opened.enter_async_context(
            ProofStore(store, trust=TrustStore(1, (key,)), signer=signer, close_provider=False)
        )
        return verbs, await proof_calls(proofs)


def cost(price: Price, requests: Counter[str]) -> str:
    """Dollars of a million such calls."""
    each = {"write": price.writes, "read": price.reads, "free": 0.0}
    total = sum(count * each[kind_of(name)] for name, count in requests.items()) / 1000 * MILLION
    return f"{total:,.2f}"


def table(rows: dict[str, Counter[str]]) -> str:
    """A row for each verb."""
    prices = {name: price for name in PRICED if (price := price_of(name)) is not None}
    text = f"| call | requests | {' | '.join(prices)} |\n|---|---|{'---:|' * len(prices)}\n"
    for name, requests in rows.items():
        sent = ", ".join(f"{count} {each}" for each, count in requests.items()) or "none"
        text += f"| {name} | {sent} | {' | '.join(cost(price, requests) for price in prices.values())} |\n"
    return text


def pages(url: str, bucket: str) -> dict[str, str]:
    """The page, by its name below docs/.

    Args:
        url: Of a server that behaves as AWS S3.
        bucket: An empty one there.
    """
    verbs, proofs = asyncio.run(counted(url, bucket))
    dates = ", ".join(f"{name} {price.found}" for name in PRICED if (price := price_of(name)) is not None)
    text = (
        HEAD
        + f"US dollars for a million calls, at the prices of [Clouds](../clouds/index.md#prices) ({dates}).\n"
    )
    text += f"\n## Objects\n\n{table(verbs)}{STORE_NOTES}\n## Proofs\n\n{table(proofs)}{PROOF_NOTES}"
    return {NAME: text}


if __name__ == "__main__":
    import sys

    sys.path.insert(0, str(DOCS.parent))
    from tests.servers.moto import running_moto

    with running_moto() as server:
        for name, text in pages(server.url, server.make_bucket()).items():
            (DOCS / name).write_text(text)
