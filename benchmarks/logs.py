"""A transparency log: entries a second over a slow store, what they cost, the tree alone, and proofs in a large log."""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.report import checked, spread
from benchmarks.worker import Scale, add, run
from credstore import MemoryConfig
from credstore.driver import PutRequest, PutResult
from credstore.drivers.memory import MemoryDriver
from credstore.proofs.format.dsse import encode_envelope, seal_payload
from credstore.proofs.format.record import AssetDigest, ProofRecord, encode_record
from credstore.proofs.format.signing import LocalSigner
from credstore.proofs.format.trust import TrustStore, trust_key
from credstore.proofs.log import LogIndex, LogObjects, StatementAdmission, WholeAdmission, seed_signer
from credstore.proofs.log.merkle import hash_leaf, root
from credstore.proofs.log.reading import LogTiles
from credstore.proofs.log.sequencer import LogSequencer
from credstore.proofs.log.tiles import ENTRIES, FULL, Edge, grow, parse_path
from credstore.provider.provider import StorageProvider

TITLE = "The transparency log"
DELAYS = {"with 30 ms more a write": 0.03, "with none": 0.0}
ISSUER = "https://issuer.example"
LARGE = 10_000_000
PUT, GET = 0.005 / 1000, 0.0004 / 1000
"""Dollars of a request, S3 in us-east-1; a deletion costs nothing."""
TESSERA = (
    "Tessera publishes for its own logs (docs/performance.md, not measured here, on other machines): more than 3,000 "
    "entries a second on GCP with 100 Spanner processing units (more than 800 with antispam), about 10,000 on POSIX "
    "with an NVMe disk, more than 1,500 on an e2-micro, and 1,500 of 1 KB on AWS with MySQL on a db.r5.large; an entry "
    "is integrated after 0.5 to 7 s. Its S3 and GCP logs need a database, which this one does not."
)


class SlowWrites(MemoryDriver):
    """A memory store each of whose writes takes longer, and that counts requests."""

    def __init__(self, delay: float) -> None:
        super().__init__(MemoryConfig())
        self.delay = delay
        self.puts = 0
        self.gets = 0

    async def put(self, request: PutRequest) -> PutResult:
        self.puts += 1
        if self.delay:
            await asyncio.sleep(self.delay)
        return await super().put(request)

    async def get(self, key: str, *options: Any) -> Any:
        self.gets += 1
        return await super().get(key, *options)


def measure(scale: Scale) -> dict[str, dict[str, list[float]]]:
    """Section to figure to values."""
    found: dict[str, dict[str, list[float]]] = {"rate": {}, "tree": {}, "proof": {}}
    for _ in range(scale.few):
        for section, figures in found.items():
            add(figures, run(__name__, section=section, count=scale.pick(4096, 16_384)), 2)
    return found


async def work(section: str, count: int) -> dict[str, float]:
    """One section's figures."""
    return await {"rate": _rate, "tree": _tree, "proof": _proof}[section](count)


async def statements(count: int) -> tuple[TrustStore, list[bytes]]:
    """Signed proofs, and who trusts them."""
    signer = LocalSigner.generate()
    now = datetime.now(UTC).replace(microsecond=0)
    key = trust_key(signer.public_key, issuers=[ISSUER], valid_from=now - timedelta(days=1))
    found: list[bytes] = []
    for number in range(count):
        name = f"01920000-0000-7000-8000-{number:012x}"
        record = ProofRecord(name, ISSUER, now, AssetDigest.of(b"%d" % number), None, "image/png")
        found.append(encode_envelope(await seal_payload(encode_record(record), [signer])))
    return TrustStore(1, (key,)), found


@dataclass(frozen=True)
class Way:
    """One way to log.

    Attributes:
        bundled: Whole statements with an index, or digests.
        batch: Entries that are committed together.
        at_once: Batches on their way: of two, one is verified while the other one is written.
    """

    bundled: bool
    batch: int
    at_once: int = 1

    @property
    def name(self) -> str:
        """As it is shown."""
        kind = "whole statements" if self.bundled else "digests"
        return f"{kind}, {self.batch} a batch" + (", verified meanwhile" if self.at_once > 1 else "")

    def alone(self, cpu: float) -> float:
        """Entries a second with 30 ms a write on a machine that does nothing else, from microseconds an entry."""
        busy, waiting = self.batch * cpu / 1e6, 4 * DELAYS["with 30 ms more a write"]
        return self.batch / (max(busy, waiting) if self.at_once > 1 else busy + waiting)


WAYS = (
    Way(False, 256),
    Way(False, 1024),
    Way(False, 1024, 2),
    Way(True, 256),
    Way(True, 1024),
    Way(True, 1024, 2),
)


async def _logged(delay: float, way: Way, made: tuple[TrustStore, list[bytes]]) -> dict[str, float]:
    trust, entries = made
    driver = SlowWrites(delay)
    provider = StorageProvider(driver, MemoryConfig())
    index = LogIndex(LogObjects(provider)) if way.bundled else None
    admission = WholeAdmission(trust) if way.bundled else StatementAdmission(trust)
    log_key = seed_signer("log.example/bench", bytes(range(32)))
    async with LogSequencer(
        provider, signer=log_key, admission=admission, index=index, max_batch=way.batch, max_wait=0.0
    ) as log:
        await log.create()
        driver.puts = driver.gets = 0
        start, cpu = time.perf_counter(), time.process_time()
        turns = asyncio.Semaphore(way.at_once)

        async def submit(first: int) -> None:
            async with turns:
                await log.append(entries[first : first + way.batch])

        await asyncio.gather(*(submit(first) for first in range(0, len(entries), way.batch)))
        seconds, spent = time.perf_counter() - start, time.process_time() - cpu
    count = len(entries)
    dollars = (driver.puts * PUT + driver.gets * GET) / count * 1_000_000
    return {"rate": count / seconds, "cpu": spent / count * 1e6, "dollars": dollars}


async def _rate(count: int) -> dict[str, float]:
    """Entries a second, each verified, with their CPU and requests."""
    made = await statements(count)
    found: dict[str, float] = {}
    for way in WAYS:
        for name, delay in DELAYS.items():
            figures = await _logged(delay, way, made)
            found[f"{way.name}: {name}"] = figures["rate"]
            found[f"{way.name}: cpu"], found[f"{way.name}: dollars"] = figures["cpu"], figures["dollars"]
    return found


async def _tree(count: int) -> dict[str, float]:
    """Entries a second of the tree with its tiles, and of bare hashing."""
    entries = [b"%0420d" % number for number in range(count * 8)]
    start = time.process_time()
    edge = Edge()
    for first in range(0, len(entries), 1024):
        edge = grow(edge, entries[first : first + 1024]).edge
    tree = len(entries) / (time.process_time() - start)
    start = time.process_time()
    for entry in entries:
        hashlib.sha256(b"\x00" + entry).digest()
        hashlib.sha256(bytes(65)).digest()
    return {"tree": tree, "bare": len(entries) / (time.process_time() - start)}


def _same_leaves(size: int, leaf: bytes) -> tuple[bytes, Any]:
    """The root and files of a log whose entries are all alike, so that no more than one tile a level is made."""
    levels = [leaf]
    while len(levels) < 8:
        levels.append(root([levels[-1]] * FULL))

    async def fetch(path: str, _: int) -> bytes | None:
        tile = parse_path(path)
        if tile is None or tile.level == ENTRIES:
            return None
        # The last hash of a partial tile is that of a full subtree, too.
        return levels[tile.level] * tile.width

    def node(height: int) -> bytes:
        found = levels[height // 8]
        for _ in range(height % 8):
            found = root([found, found])
        return found

    hashes = [node(height) for height in range(size.bit_length()) if size >> height & 1]
    found = hashes[0]
    for each in hashes[1:]:
        found = hashlib.sha256(b"\x01" + each + found).digest()
    return found, fetch


async def _proof(count: int) -> dict[str, float]:
    """Tile reads and CPU of an inclusion proof in a log of 10 million entries."""
    del count
    root_hash, fetch = _same_leaves(LARGE, hash_leaf(b"entry"))
    worst, spent = 0, 0.0
    places = range(0, LARGE, LARGE // 97)
    for index in places:
        tiles = LogTiles(fetch, LARGE, root_hash)
        start = time.process_time()
        await tiles.inclusion(index)
        spent += time.process_time() - start
        worst = max(worst, tiles.reads)
    return {"reads": float(worst), "cpu": spent / len(places) * 1000}


def render(found: dict[str, dict[str, list[float]]]) -> list[str]:
    """The results as Markdown."""
    rate, tree, proof = found["rate"], found["tree"], found["proof"]
    lines = [
        (
            "Entries a second that one process logs in a memory store, each write of which takes 30 ms more or not. Digests "
            "are entries of 420 bytes; whole statements have 820 bytes, and an index by asset and id. What was measured "
            "depends on what else the machine does, the CPU (microseconds an entry) hardly: from it follows what a batch "
            "takes on a machine that does nothing else, which is four writes and its CPU, or, verified meanwhile, the "
            "longer of the two. Dollars are those of the requests on S3, for a million entries."
        ),
        "",
        checked({"an entry": "signature, trust, form and time of its statement, before it is logged"}),
        "",
        "| | " + " | ".join(DELAYS) + " | CPU of an entry | with 30 ms, by its CPU | dollars a million |",
        "|---|---|---|---|---|---|",
    ]
    for way in WAYS:
        cells = [spread(rate[f"{way.name}: {delay}"]) for delay in DELAYS]
        cpu = rate[f"{way.name}: cpu"]
        alone = [way.alone(each) for each in cpu]
        cells += [spread(cpu), spread(alone), spread(rate[f"{way.name}: dollars"], 2)]
        lines.append(f"| {way.name} | {' | '.join(cells)} |")
    return [
        *lines,
        "",
        f"The tree with its tiles alone takes {spread(tree['tree'])} entries of 420 bytes a second of CPU; two bare "
        f"hashes for each, {spread(tree['bare'])}.",
        "",
        f"A proof that an entry is in a log of 10 million takes {spread(proof['reads'])} tile reads at most, and "
        f"{spread(proof['cpu'], 2)} ms of CPU, all tiles verified.",
        "",
        TESSERA,
    ]
