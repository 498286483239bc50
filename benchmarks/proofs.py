"""What a proof costs besides its signature operations, and many at once against one by one over a slow link."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from benchmarks.report import checked, spread
from benchmarks.worker import Scale, add, run
from credstore import MemoryConfig, MemoryStorageProvider
from credstore.driver import PutRequest, PutResult
from credstore.drivers.memory import MemoryDriver
from credstore.proofs.format.record import AssetDigest
from credstore.proofs.format.signing import LocalSigner
from credstore.proofs.format.trust import TrustStore, trust_key
from credstore.proofs.store.model import IssueRequest
from credstore.proofs.store.proof_store import ProofStore
from credstore.provider.provider import StorageProvider

TITLE = "Proofs"
ONE_BY_ONE = 10
"""Many at once for each one by one."""
DELAY = 0.005
CLAIMS = {"title": "a photograph", "text": "x" * 580}
"""With the rest of its statement, 1 KiB."""


class SlowLink(MemoryDriver):
    """A memory store at the end of a link: each write takes 5 ms more."""

    async def put(self, request: PutRequest) -> PutResult:
        await asyncio.sleep(DELAY)
        return await super().put(request)


def measure(scale: Scale) -> dict[str, dict[str, list[float]]]:
    """Section to figure to values."""
    found: dict[str, dict[str, list[float]]] = {"cpu": {}, "many": {}}
    for _ in range(scale.few):
        for section, figures in found.items():
            add(figures, run(__name__, section=section, count=scale.pick(500, 2000)), 2)
    return found


async def work(section: str, count: int) -> dict[str, float]:
    """One section's figures."""
    return await {"cpu": _cpu, "many": _many}[section](count)


def opened(
    provider: StorageProvider, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> ProofStore:
    """A store of proofs that trusts its own signer."""
    signer = LocalSigner.generate()
    key = trust_key(
        signer.public_key,
        issuers=["https://issuer.example"],
        valid_from=datetime.now(UTC) - timedelta(days=1),
    )
    return ProofStore(provider, trust=TrustStore(1, (key,)), signer=signer, clock=clock)


async def _cpu(count: int) -> dict[str, float]:
    """Microseconds of CPU for each."""
    assets = [AssetDigest.of(b"%d" % number) for number in range(count)]
    found: dict[str, float] = {}
    async with opened(MemoryStorageProvider(MemoryConfig())) as store:
        start = time.process_time()
        ids = [(await store.issue(asset, claims=CLAIMS, expires_in=3600)).proof_id for asset in assets]
        found["issue"] = (time.process_time() - start) / count * 1e6
        start = time.process_time()
        for proof_id in ids:
            await store.get(proof_id)
        found["get"] = (time.process_time() - start) / count * 1e6
        envelopes = [(await store.get(proof_id)).envelope for proof_id in ids]
        signed = [(envelope.pae, envelope.signatures[0].sig) for envelope in envelopes]
        signer = store._signers[0]
        start = time.process_time()
        for message, _ in signed:
            await signer.sign(message)
        found["sign"] = (time.process_time() - start) / count * 1e6
        start = time.process_time()
        for message, signature in signed:
            signer.public_key.is_signature(signature, message)
        found["verify"] = (time.process_time() - start) / count * 1e6
    found["issue ratio"] = found["issue"] / (found["sign"] + found["verify"])
    found["get ratio"] = found["get"] / found["verify"]
    return found


async def _many(count: int) -> dict[str, float]:
    """Proofs per second over a link of 5 ms."""
    config = MemoryConfig()
    one_by_one = max(1, count // ONE_BY_ONE)
    requests = [
        IssueRequest(asset=AssetDigest.of(b"%d" % number), claims=CLAIMS, expires_in=3600)
        for number in range(count * 5)
    ]
    found: dict[str, float] = {}
    async with opened(StorageProvider(SlowLink(config), config)) as store:
        start = time.perf_counter()
        for request in requests[:one_by_one]:
            await store.issue(request.asset, claims=request.claims, expires_in=request.expires_in)
        found["one by one"] = one_by_one / (time.perf_counter() - start)
        start = time.perf_counter()
        async for outcome in store.issue_many(requests):
            if outcome.error is not None:
                raise outcome.error
        found["issue_many"] = len(requests) / (time.perf_counter() - start)
    found["ratio"] = found["issue_many"] / found["one by one"]
    return found


def render(found: dict[str, dict[str, list[float]]]) -> list[str]:
    """The results as Markdown."""
    cpu, many = found["cpu"], found["many"]
    return [
        (
            "CPU of a proof with a record of 1 KiB on the memory provider, in microseconds, next to the bare Ed25519 operations it contains: issue signs, checks its signature and writes three objects; a "
            "verified read reads the record, looks for its revocation and verifies."
        ),
        "",
        checked({"issue": "its own signature", "verified read": "signature, trust, status, expiry, digests"}),
        "",
        "| | CPU | bare operations | ratio |",
        "|---|---|---|---|",
        f"| issue | {spread(cpu['issue'], 1)} | "
        f"{statistics.median(cpu['sign']) + statistics.median(cpu['verify']):.1f} | "
        f"{spread(cpu['issue ratio'], 2)} |",
        f"| verified read | {spread(cpu['get'], 1)} | {statistics.median(cpu['verify']):.1f} | "
        f"{spread(cpu['get ratio'], 2)} |",
        "",
        f"Proofs per second where each write takes {DELAY * 1000:.0f} ms more.",
        "",
        "| one by one | issue_many | ratio |",
        "|---|---|---|",
        f"| {spread(many['one by one'], 1)} | {spread(many['issue_many'], 1)} | {spread(many['ratio'], 1)} |",
    ]
