"""What a worker does with one object of one store: keys, compression, proofs.

Rules of this file: as in `benches.py`, each step may be repeated. Keys come from files that the environment
of this process names; fingerprints say whether those are the same at all workers.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import AsyncExitStack
from datetime import UTC, datetime

from credstore.cluster.contracts import Bench
from credstore.cluster.messages import Facts, Job, Request
from credstore.cluster.places import identity_of, opened
from credstore.errors import StorageInvalidRequestError, StorageObjectNotFoundError
from credstore.keyring.configured import VARIABLE, key_ring_of
from credstore.proofs.format.trust import TrustStore, encode_trust_store
from credstore.proofs.key_files import signer_from, trust_from
from credstore.proofs.store.assets import measure_asset
from credstore.proofs.store.fsck import ProofChecker, checker_for
from credstore.proofs.store.layout import PREFIX
from credstore.proofs.store.proof_store import ProofStore
from credstore.proofs.variables import KEY, TRUST
from credstore.provider.key_rotation import Rotation, rotation_of
from credstore.provider.stored_form import session_of
from credstore.transfer.folder import Folder
from credstore.transfer.recompressing import recompress
from credstore.transfer.sides import Flow, Side
from credstore.transfer.store import Store

STORE = "the store"
"""What a job on one store calls it."""
GONE = "gone"
"""The result for an object that is no longer there."""


class RotateBench:
    """New wrapping keys for objects that are encrypted by the client; see `Bench`."""

    def __init__(self, store: Store, rotation: Rotation) -> None:
        """Take an open store, and a rotation of it."""
        self.facts = facts_of(STORE, store)
        self._store, self._rotation = store, rotation

    async def do(self, request: Request, flow: Flow) -> object:
        """True if the object got the key; or, looked at again, the id of the key that it has."""
        del flow
        key = self._store.key(request.entry.name)
        try:
            if request.step == "rotate":
                return await self._rotation.rotate(key)
            return await self._rotation.seen(key)
        except StorageObjectNotFoundError:
            return GONE


class RecompressBench:
    """Objects compressed again, with a dictionary; see `Bench`."""

    def __init__(self, store: Store, dictionary: str) -> None:
        """Take an open store, and the name of a dictionary in it."""
        self.facts = facts_of(STORE, store)
        self._store, self._dictionary = store, dictionary

    async def do(self, request: Request, flow: Flow) -> object:
        """What became of the object's size."""
        del flow
        return await recompress(self._store, request.entry, self._dictionary)


class IssueBench:
    """Proofs about objects; see `Bench`."""

    def __init__(self, source: Store | Folder, proofs: ProofStore, job: Job, facts: Facts) -> None:
        """Take open places.

        Args:
            source: Has the objects.
            proofs: Gets the proofs.
            job: Says what is signed with each.
            facts: See `Bench`.
        """
        self.facts = facts
        self._source, self._proofs, self._job = source, proofs, job
        self._place = identity_of(source)

    async def do(self, request: Request, flow: Flow) -> object:
        """The id of the object's proof: that of an earlier attempt where the content is the same."""
        job, name = self._job, request.entry.name
        async with self._source.read(request.entry, flow) as content:
            asset = await measure_asset(content.data)
            await content.settled()
            media_type = content.options.get("content_type")
        proof = await self._proofs.issue(
            asset,
            media_type=media_type,
            expires_in=job.expires_in,
            claims=job.claims,
            idempotency_key=hashlib.sha256(f"{self._place} {name}".encode()).hexdigest(),
        )
        return proof.proof_id


class AuditBench:
    """Proofs checked with everything that leads to them; see `Bench`."""

    def __init__(self, store: Store, checker: ProofChecker, trust: TrustStore) -> None:
        """Take an open store, and what checks its proofs."""
        self.facts: Facts = {**facts_of(STORE, store), **trust_facts(trust)}
        self._checker = checker

    async def do(self, request: Request, flow: Flow) -> object:
        """What the check found."""
        del flow
        modified = request.entry.modified
        when = None if modified is None else datetime.fromtimestamp(modified, UTC)
        return await self._checker.look(request.entry.name, when)


def trust_facts(trust: TrustStore) -> Facts:
    """The trust store, for comparison."""
    return {f"the trust store of {TRUST}": hashlib.sha256(encode_trust_store(trust)).hexdigest()}


async def open_rotate(job: Job, stack: AsyncExitStack) -> Bench:
    """Open the place of a job that rotates keys."""
    [store] = await stack.enter_async_context(opened(job.places, reading=0))
    session = session_of(store_in(store).provider)
    if session.policy is None:
        key_ring_of(session.config)  # Says that there is none.
    return RotateBench(store_in(store), rotation_of(session))


async def open_recompress(job: Job, stack: AsyncExitStack) -> Bench:
    """Open the place of a job that compresses again."""
    [store] = await stack.enter_async_context(opened(job.places, reading=0))
    return RecompressBench(store_in(store), job.dictionary)


async def open_issue(job: Job, stack: AsyncExitStack) -> Bench:
    """Open the places of a job that issues proofs."""
    trust, signer = trust_from(os.environ), signer_from(os.environ)
    source, kept = await stack.enter_async_context(opened(job.places, reading=1))
    proofs = ProofStore(
        store_in(kept).provider, trust=trust, signer=signer, issuer=job.issuer, close_provider=False
    )
    await stack.enter_async_context(proofs)
    signing = {f"the key of {KEY}": signer.public_key.keyid}
    facts = {**issue_facts(source, kept), **trust_facts(trust), **signing}
    return IssueBench(source, proofs, job, facts)


async def open_audit(job: Job, stack: AsyncExitStack) -> Bench:
    """Open the place of a job that audits proofs."""
    trust = trust_from(os.environ)
    [store] = await stack.enter_async_context(opened(job.places, reading=0 if job.repair else 1))
    checker = checker_for(store_in(store).provider, trust, prefix=PREFIX, threshold=1, repair=job.repair)
    return AuditBench(store_in(store), checker, trust)


def facts_of(what: str, side: Side) -> Facts:
    """What has to be the same in all processes that work on a place.

    How a store is encrypted is part of it: a process without the key would store what others cannot read, and
    in plain text.

    Args:
        what: The place in messages, such as "the source".
        side: The place, open.
    """
    policy = session_of(side.provider).policy if isinstance(side, Store) else None
    said = "" if policy is None else f"{policy.store_id}\n{policy.keyring.current_id}"
    return {
        what: identity_of(side),
        f"the encryption of {what} ({VARIABLE})": hashlib.sha256(said.encode()).hexdigest(),
    }


def issue_facts(source: Side, kept: Side) -> Facts:
    """Where objects and proofs are."""
    return {**facts_of("the place of the objects", source), **facts_of("the store of the proofs", kept)}


def store_in(place: Store | Folder) -> Store:
    """The place, which is a store.

    Raises:
        StorageInvalidRequestError: It is a folder.
    """
    if isinstance(place, Store):
        return place
    raise StorageInvalidRequestError(f"{place.label} is not a store; name it as one, file:///...")
