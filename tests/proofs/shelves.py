"""Proof stores over a memory driver that counts, stops, loses answers, or lacks conditions; and their invariant."""

import asyncio
import os
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from credstore import MemoryConfig
from credstore.driver import Driver
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.errors import StorageConnectionError
from credstore.proofs.format.errors import ProofError
from credstore.proofs.format.policy import unsafe_allow_expired, unsafe_allow_revoked
from credstore.proofs.format.trust import TrustStore, trust_key
from credstore.proofs.store.layout import Layout
from credstore.proofs.store.proof_store import ProofStore
from credstore.provider.provider import StorageProvider
from tests.proofs.material import ISSUER, SIGNER, START

TRUST = TrustStore(1, (trust_key(SIGNER.public_key, issuers=[ISSUER], valid_from=START),))
LAYOUT = Layout()
DAY = timedelta(days=1)
HOUR = 3600.0


def tombstone(proof_id):
    """What is left of an erased proof, in the order of a listing."""
    return [LAYOUT.erasure(proof_id), LAYOUT.revocation(proof_id)]


class Killed(BaseException):
    """The process ends here: nothing after it runs."""


@contextmanager
def dying():
    """Ends quietly where the process does, also within a task group."""
    try:
        yield
    except Killed:
        pass
    except BaseExceptionGroup as group:
        if group.split(Killed)[1] is not None:
            raise


class Clock:
    """A clock that the test moves; what is stored has its times. It starts at noon, since markers are of a day."""

    def __init__(self):
        self.now = datetime.now(UTC).replace(hour=12, minute=0)

    def __call__(self):
        return self.now

    def pass_(self, time):
        self.now += time


class Scripted(Driver):
    """A driver over another that counts requests and fails one of them.

    At the `nth` request: "before" it is not made, "after" it is made, "half" a batch is half made, and then the process
    ends; "lost" it is made and its answer lost, "unsent" it is not made and nobody knows.
    """

    def __init__(self, shelf, inner, *, conditional=True, delay=0.0):
        self.shelf = shelf
        self.inner = inner
        self.counts = Counter()
        self.nth = None
        self.how = ""
        self.conditional = conditional
        self.delay = delay
        self.dead = False
        self.hook = None

    @property
    def name(self):
        return self.inner.name

    @property
    def capabilities(self):
        found = self.inner.capabilities
        if self.conditional:
            return found
        return replace(found, conditional_create=False, conditional_replace=False, conditional_delete=False)

    def fail(self, nth, how):
        self.counts.clear()
        self.nth, self.how = nth, how

    @property
    def total(self):
        return self.counts.total()

    async def _do(self, operation, key, action):
        if self.dead:
            raise Killed
        self.counts[operation] += 1
        if self.delay:
            await asyncio.sleep(self.delay)
        if self.hook is not None:
            await self.hook(operation, key)
        hit = self.total == self.nth
        if hit and self.how in {"before", "unsent"}:
            self._strike()
        try:
            return await action()
        finally:
            if hit:
                self._strike()

    def _strike(self):
        self.nth = None
        if self.how in {"before", "after", "half"}:
            self.dead = True
            raise Killed
        raise StorageConnectionError("the answer was lost", applied="maybe")

    async def put(self, request):
        async def action():
            result = await self.inner.put(request)
            self.shelf.date(request.key)
            return result

        return await self._do("put", request.key, action)

    async def get(self, key, options=None):
        return await self._do("get", key, lambda: self.inner.get(key, options))

    async def head(self, key, options=None):
        return await self._do("head", key, lambda: self.inner.head(key, options))

    async def delete(self, key, **options):
        return await self._do("delete", key, lambda: self.inner.delete(key, **options))

    async def delete_many(self, keys, **options):
        if self.how == "half" and self.total + 1 == self.nth:
            keys = keys[: len(keys) // 2] or keys
        return await self._do("delete_many", keys[0], lambda: self.inner.delete_many(keys, **options))

    async def list(self, prefix="", cursor=None, **options):
        return await self._do("list", prefix, lambda: self.inner.list(prefix, cursor, **options))

    async def copy(self, request):
        return await self._do("copy", request.destination, lambda: self.inner.copy(request))

    async def sign(self, request):
        return await self.inner.sign(request)

    async def ping(self, **options):
        return await self.inner.ping(**options)

    async def aclose(self):
        await self.inner.aclose()


class Shelf:
    """One memory store that several proof stores may open, each as a process of its own."""

    def __init__(self):
        self.objects = MemoryObjects()
        self.clock = Clock()
        self.driver = None

    def open(self, *, conditional=True, delay=0.0, trust=TRUST, signer=SIGNER, **options):
        memory = MemoryDriver(MemoryConfig(), objects=self.objects)
        self.driver = Scripted(self, memory, conditional=conditional, delay=delay)
        provider = StorageProvider(self.driver, MemoryConfig())
        options = {"clock": self.clock, "randomness": os.urandom, **options}
        store = ProofStore(provider, trust=trust, signer=signer, **options)
        store.driver = self.driver
        return store

    def held(self, part=""):
        return sorted(key for key in self.objects.by_key if key.startswith(LAYOUT.prefix + part))

    def body(self, key):
        return self.objects.by_key[key].data

    def date(self, key):
        """Let an object be of now, by the clock of the shelf."""
        found = self.objects.by_key[key]
        self.objects.by_key[key] = replace(found, info=replace(found.info, last_modified=self.clock()))


async def invariant(store, shelf):
    """Every proof that its id finds, its hash finds and its manifest is there; returns the ids that are valid."""
    valid = set()
    for key in shelf.held("r/"):
        proof_id = LAYOUT.parse_record(key)
        try:
            proof = await store.get(proof_id, policy=unsafe_allow_expired(unsafe_allow_revoked()))
        except ProofError:
            continue
        valid.add(proof_id)
        found = await store.find_by_hash(
            proof.record.asset.sha256, policy=unsafe_allow_expired(unsafe_allow_revoked())
        )
        assert proof_id in {each.proof_id for each in found}, "a proof that its hash does not find"
        if proof.record.expires_at is not None:
            assert LAYOUT.marker(proof.record.expires_at, proof_id) in shelf.held("x/")
        if proof.record.manifest is not None:
            assert LAYOUT.manifest(proof_id) in shelf.held("m/"), "a proof without its manifest"
            await store._reader.manifest(proof)
    return valid


async def heal(store, shelf, digests):
    """What reads, sweeps and time put right; then nothing may be left that leads nowhere."""
    for _ in range(5):
        shelf.clock.pass_(3 * DAY)
        for digest in digests:
            await store.find_by_hash(digest)
        report = await store.sweep_expired()
        assert not report.failed, report
    records = {LAYOUT.parse_record(key) for key in shelf.held("r/")}
    for key in shelf.held("a/"):
        assert LAYOUT.parse_index(key)[1] in records, f"{key} leads nowhere"
    for key in shelf.held("x/"):
        if LAYOUT.parse_marker(key)[0] < (shelf.clock() - DAY).date():
            assert LAYOUT.parse_marker(key)[1] in records, f"{key} leads nowhere"
