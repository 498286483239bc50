"""What a proof costs besides its signature operations, and many at once against one by one over a slow link."""

from __future__ import annotations

import asyncio
import statistics
import time
from datetime import UTC, datetime, timedelta

from benchmarks.report import spread
from credstore import MemoryConfig, MemoryStorageProvider
from credstore.driver import PutRequest, PutResult
from credstore.drivers.memory import MemoryDriver
from credstore.proofs.format.record import AssetDigest
from credstore.proofs.format.signing import LocalSigner
from credstore.proofs.format.trust import TrustStore, trust_key
from credstore.proofs.store.model import IssueRequest
from credstore.proofs.store.proof_store import ProofStore
from credstore.provider.provider import StorageProvider

COUNT = 2000
MANY = 10_000
ONE_BY_ONE = 300
DELAY = 0.005
CLAIMS = {"title": "a photograph", "text": "x" * 580}
"""With the rest of its statement, 1 KiB."""


class SlowLink(MemoryDriver):
    """A memory store at the end of a link: each write takes 5 ms more."""

    async def put(self, request: PutRequest) -> PutResult:
        await asyncio.sleep(DELAY)
        return await super().put(request)


def measure(rounds: int) -> dict[str, dict[str, list[float]]]:
    """Section to figure to values."""
    found: dict[str, dict[str, list[float]]] = {"cpu": {}, "many": {}}
    for _ in range(rounds):
        for section, values in (("cpu", asyncio.run(_cpu())), ("many", asyncio.run(_many()))):
            for name, value in values.items():
                found[section].setdefault(name, []).append(round(value, 2))
    return found


def _open(provider: StorageProvider) -> ProofStore:
    signer = LocalSigner.generate()
    key = trust_key(
        signer.public_key,
        issuers=["https://issuer.example"],
        valid_from=datetime.now(UTC) - timedelta(days=1),
    )
    return ProofStore(provider, trust=TrustStore(1, (key,)), signer=signer)


async def _cpu() -> dict[str, float]:
    """Microseconds of CPU for each."""
    assets = [AssetDigest.of(b"%d" % number) for number in range(COUNT)]
    found: dict[str, float] = {}
    async with _open(MemoryStorageProvider(MemoryConfig())) as store:
        start = time.process_time()
        ids = [(await store.issue(asset, claims=CLAIMS, expires_in=3600)).proof_id for asset in assets]
        found["issue"] = (time.process_time() - start) / COUNT * 1e6
        start = time.process_time()
        for proof_id in ids:
            await store.get(proof_id)
        found["get"] = (time.process_time() - start) / COUNT * 1e6
        proof = await store.get(ids[0])
        message, signature = proof.envelope.pae, proof.envelope.signatures[0].sig
        signer = store._signers[0]
        start = time.process_time()
        for _ in range(COUNT):
            await signer.sign(message)
        found["sign"] = (time.process_time() - start) / COUNT * 1e6
        start = time.process_time()
        for _ in range(COUNT):
            signer.public_key.is_signature(signature, message)
        found["verify"] = (time.process_time() - start) / COUNT * 1e6
    found["issue ratio"] = found["issue"] / (found["sign"] + found["verify"])
    found["get ratio"] = found["get"] / found["verify"]
    return found


async def _many() -> dict[str, float]:
    """Proofs per second over a link of 5 ms."""
    config = MemoryConfig()
    requests = [
        IssueRequest(asset=AssetDigest.of(b"%d" % number), claims=CLAIMS, expires_in=3600)
        for number in range(MANY)
    ]
    found: dict[str, float] = {}
    async with _open(StorageProvider(SlowLink(config), config)) as store:
        start = time.perf_counter()
        for request in requests[:ONE_BY_ONE]:
            await store.issue(request.asset, claims=request.claims, expires_in=request.expires_in)
        found["one by one"] = ONE_BY_ONE / (time.perf_counter() - start)
        start = time.perf_counter()
        async for outcome in store.issue_many(requests):
            if outcome.error is not None:
                raise outcome.error
        found["issue_many"] = MANY / (time.perf_counter() - start)
    found["ratio"] = found["issue_many"] / found["one by one"]
    return found


def render(found: dict[str, dict[str, list[float]]]) -> list[str]:
    """The results as Markdown."""
    cpu, many = found["cpu"], found["many"]
    return [
        (
            "CPU of a proof with a record of 1 KiB on the memory provider, in microseconds, next to the bare Ed25519 operations it contains: issue signs, checks its signature and writes three objects; a "
            "verified read reads the record, lists its status and verifies."
        ),
        "",
        "| | CPU | bare operations | ratio |",
        "|---|---|---|---|",
        f"| issue | {spread(cpu['issue'], 1)} | "
        f"{statistics.median(cpu['sign']) + statistics.median(cpu['verify']):.1f} | "
        f"{spread(cpu['issue ratio'], 2)} |",
        f"| verified read | {spread(cpu['get'], 1)} | {statistics.median(cpu['verify']):.1f} | "
        f"{spread(cpu['get ratio'], 2)} |",
        "",
        f"Proofs per second where each write takes {DELAY * 1000:.0f} ms more ({MANY:,} by `issue_many`).",
        "",
        "| one by one | issue_many | ratio |",
        "|---|---|---|",
        f"| {spread(many['one by one'], 1)} | {spread(many['issue_many'], 1)} | {spread(many['ratio'], 1)} |",
    ]
