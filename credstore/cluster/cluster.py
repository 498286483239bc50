"""`Cluster`: the public verbs."""

from __future__ import annotations

import json
import os
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from os import PathLike
from types import TracebackType
from typing import Any, Self, Unpack, cast

from credstore.arguments import typed_class
from credstore.cluster.benches import identities
from credstore.cluster.connecting import LOCAL, connected, crew_for
from credstore.cluster.crew import Crew, LostClusterError
from credstore.cluster.hands import CrewHands
from credstore.cluster.jobs import Memory, Pass, listed
from credstore.cluster.messages import Facts, Job, Kind
from credstore.cluster.places import (
    ClusterPlace,
    StoreAt,
    anchor_of,
    identity_of,
    named,
    opened,
)
from credstore.cluster.reports import IssueReport, RecompressReport
from credstore.cluster.store_benches import GONE, STORE, facts_of, issue_facts, store_in
from credstore.encryption import KmsKey
from credstore.errors import StorageInvalidRequestError
from credstore.keyring.configured import key_ring_of
from credstore.model import Progress, RotationReport, StoreOptions
from credstore.proofs.format.errors import (
    ProofKeyExpiredError,
    ProofKeyRevokedError,
    ProofUntrustedKeyError,
)
from credstore.proofs.format.signing import Signer
from credstore.proofs.store.fsck import Checked, Tally, items_of
from credstore.proofs.store.layout import PREFIX, Layout
from credstore.proofs.store.model import FsckReport
from credstore.proofs.store.repository import proof_objects
from credstore.provider.stored_form import session_of
from credstore.transfer.calls import between, migration
from credstore.transfer.plan import Entry
from credstore.transfer.planning import FATAL, Goal
from credstore.transfer.recompressing import Recompressed
from credstore.transfer.sides import Flow, Side
from credstore.transfer.store import Store
from credstore.transfer.values import TransferOptions, TransferReport

_KEY_ERRORS = (ProofUntrustedKeyError, ProofKeyExpiredError, ProofKeyRevokedError)
"""Errors that every further proof would have too."""


@typed_class
class Cluster:
    """Work on many objects by the workers of a Dask cluster; opened by `async with`.

    Stores are named, never handed over: by a store URL, `StoreAt`, or `store:PREFIX` in the store that the
    environment names. The coordinator (this process) and each worker find the credentials in the environment
    of their own process; before anything is done it is made sure that all of them find the same store with
    the same version of credstore. Workers next to the coordinator are processes that start with the user's
    own program: it needs the usual `if __name__ == "__main__":`.
    """

    def __init__(
        self, address: str = LOCAL, *, workers: int | None = None, shared_paths: bool = False
    ) -> None:
        """Name it; nothing is started.

        Args:
            address: Of the scheduler, such as "tcp://host:8786" or "tls://host:8786"; "local" starts workers
                on this machine that end with it.
            workers: How many, where they are local; one for each processor unless given.
            shared_paths: All machines have the same disks at the same paths. Otherwise a folder or local
                store is refused where a worker on another machine would find another one there.

        Raises:
            StorageInvalidRequestError: `workers` is not 1 or more, or the workers are not local.
        """
        if workers is not None and (workers < 1 or address != LOCAL):
            raise StorageInvalidRequestError(
                "workers is how many to start on this machine, 1 or more; a cluster elsewhere has its own"
            )
        self._address, self._workers = address, workers
        self._shared = shared_paths
        self._stack = AsyncExitStack()
        self._client: Any = None

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            StorageConnectionError: No scheduler responds (code "CLUSTER_UNREACHABLE").
            StorageConfigurationError: It is not an address.
        """
        self._client = await self._stack.enter_async_context(connected(self._address, workers=self._workers))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client = None
        await self._stack.aclose()

    async def migrate(
        self,
        source: ClusterPlace,
        destination: ClusterPlace,
        *,
        delete_source: bool = False,
        evidence: str | PathLike[str] | None = None,
        signer: Signer | None = None,
        issuer: str | None = None,
        **options: Unpack[TransferOptions],
    ) -> TransferReport:
        """Copy everything, then look at the source once more; as `transfer.migrate`, by the workers.

        Listings, plan, journal and evidence stay here. A worker that dies loses nothing: what it had is done
        again, and every object is verified at the destination. The same call continues one that was cut off,
        on a cluster or without one.

        Args:
            source: A store URL, `StoreAt`, or the path of a folder that all workers have.
            destination: Also one of these.
            delete_source: As for `transfer.migrate`.
            evidence: As for `transfer.migrate`.
            signer: As for `transfer.migrate`; stays here.
            issuer: As for `transfer.migrate`.
            options: As for `transfer.migrate`; `concurrency` is that of each worker, `bandwidth` is shared by
                those that are there at the start.

        Raises:
            StorageConfigurationError: A setting is missing here or at a worker, which is then named (code
                "WORKER_UNFIT"); a URL has a key in it. Nothing was submitted.
            StorageConnectionError: The scheduler or all workers are gone (code "CLUSTER_UNREACHABLE"); the
                same call continues.
            StorageError: As `transfer.migrate`; and in the report, of objects over which several workers
                died (code "WORKER_LOST").
        """
        goal = migration(delete_source=delete_source, evidence=evidence, signer=signer, issuer=issuer)
        return await self._transfer(source, destination, goal, options, reading=1)

    async def compare(
        self, source: ClusterPlace, destination: ClusterPlace, **options: Unpack[TransferOptions]
    ) -> TransferReport:
        """Compare every object by its digest; nothing is changed.

        Workers read what has no recorded digest. As `transfer.compare` with `checksum`.

        Args:
            source: As for `migrate`.
            destination: As for `migrate`.
            options: As for `migrate`; `checksum=False` compares by size and time where listings say enough.

        Raises:
            StorageError: As `migrate`.
        """
        options.setdefault("checksum", True)
        return await self._transfer(source, destination, Goal(compare=True), options, reading=2)

    async def rotate_keys(self, store: str | StoreAt, *, progress: Progress | None = None) -> RotationReport:
        """Wrap the data key of every encrypted object again; `StorageProvider.rotate_keys` by the workers.

        Each process takes its keys from the settings of the store, as it finds them: `wrapping_key`
        (`CREDSTORE_WRAPPING_KEY`: path of the key that objects should have, or the ARN of a KMS key),
        `older_wrapping_keys` (those that they may still have) and `store_id`.

        Args:
            store: A store URL, or `StoreAt` for a part of one.
            progress: Called with (objects looked at, None).

        Returns:
            As `StorageProvider.rotate_keys`, after every object was looked at once more.

        Raises:
            StorageConfigurationError: As `migrate`; or the store has no such keys.
            StorageError: Listing or the key service failed; failures of single objects are in the report.
        """
        async with self._on_store("rotate", store, progress) as (side, done):
            policy = session_of(side.provider).policy
            current = (
                key_ring_of(side.provider.config).current_id if policy is None else policy.keyring.current_id
            )
            rotated = 0
            keys: Counter[object] = Counter()

            def took(_: Entry, result: object) -> None:
                nonlocal rotated
                rotated += result is True

            def saw(_: Entry, result: object) -> None:
                keys[result] += 1

            await done.run(listed(side), "rotate", took)
            await done.run(listed(side), "wrapped", saw)
        unencrypted = keys.pop(None, 0)
        keys.pop(GONE, None)
        counts = {str(key_id): count for key_id, count in keys.items()}
        return RotationReport(
            current=current, rotated=rotated, keys=counts, unencrypted=unencrypted, failed=done.failed
        )

    async def recompress(
        self,
        store: str | StoreAt,
        dictionary: str,
        *,
        journal: str | PathLike[str] | None = None,
        progress: Progress | None = None,
    ) -> RecompressReport:
        """Compress the objects of a store with one of its dictionaries, where that makes them smaller.

        Metadata, tags and headers stay. An object is replaced only while it is the one that was read, and
        read back.

        Args:
            store: A store URL, or `StoreAt` for a part of one.
            dictionary: Its name: 64 hex digits, as `credstore dictionary list` shows it.
            journal: A file that remembers what was done, so that another run looks only at what changed.
            progress: Called with (objects looked at, None).

        Raises:
            StorageCodecError: There is no such dictionary (code "DICTIONARY_MISSING").
            StorageError: As `rotate_keys`.
        """
        async with self._on_store("recompress", store, progress, dictionary=dictionary) as (side, done):
            await side.provider.get_dictionary(dictionary)
            sizes = [0, 0]
            counts = [0, 0]
            memory = Memory(_path(journal), "recompress", identity_of(side), dictionary)

            def took(entry: Entry, result: object) -> None:
                became = cast("Recompressed", result)
                sizes[0] += became.before
                sizes[1] += became.after
                changed = became.after != became.before
                counts[changed] += 1
                if not changed:  # One that was changed is another version by now.
                    memory.note(entry, dictionary)

            async with memory:
                await done.run(memory.left(side), "recompress", took)
        return RecompressReport(
            recompressed=counts[1],
            kept=counts[0],
            known=memory.known,
            before=sizes[0],
            after=sizes[1],
            failed=done.failed,
        )

    async def issue_proofs(
        self,
        place: ClusterPlace,
        proofs: str | StoreAt,
        *,
        issuer: str | None = None,
        expires_in: float | None = None,
        claims: Mapping[str, Any] | None = None,
        journal: str | PathLike[str] | None = None,
        on_proof: Callable[[str, str], None] | None = None,
        progress: Progress | None = None,
    ) -> IssueReport:
        """Issue a proof about every object of a place.

        Workers read and sign. The key and the trust store are files that the environment of each worker
        names, `CREDSTORE_PROOF_KEY` (with `CREDSTORE_PROOF_PASSPHRASE`) and `CREDSTORE_PROOF_TRUST`, the same
        ones at all of them; this process needs neither. An object whose content has a proof from an earlier
        run keeps that one.

        Args:
            place: Has the objects: as for `migrate`.
            proofs: Gets the proofs: a store URL or `StoreAt`.
            issuer: URI of whoever issues; the one that the key is trusted for, unless given.
            expires_in: Seconds that the proofs are valid; None for ever.
            claims: A JSON object, signed with each.
            journal: A file that remembers what was done, so that another run reads only what changed.
            on_proof: Called with (name, proof id).
            progress: Called with (objects done, None).

        Raises:
            StorageError: As `rotate_keys`; what is wrong with all proofs ends the run.
        """
        places = (named(place), named(proofs))
        job = Job(
            run=secrets.token_hex(16),
            kind="issue",
            places=places,
            reading=1,
            issuer=issuer,
            expires_in=expires_in,
            claims=claims,
        )
        async with opened(places, reading=1) as (source, kept):
            facts = issue_facts(source, kept)
            said = json.dumps([issuer, expires_in, claims], sort_keys=True)
            memory = Memory(_path(journal), "issue", identity_of(source), identity_of(kept), said)
            issued = 0

            def took(entry: Entry, result: object) -> None:
                nonlocal issued
                issued += 1
                memory.note(entry, str(result))
                if on_proof is not None:
                    on_proof(entry.name, str(result))

            async with self._crew(job, facts, source, kept) as crew, memory:
                done = Pass(crew, progress, fatal=(*FATAL, *_KEY_ERRORS))
                await done.run(memory.left(source), "issue", took)
        return IssueReport(issued=issued, known=memory.known, failed=done.failed)

    async def audit_proofs(
        self, store: str | StoreAt, *, repair: bool = False, progress: Progress | None = None
    ) -> FsckReport:
        """Check every proof of a store with all that leads to it; as `ProofStore.fsck`, by the workers.

        The trust store is a file that the environment of each worker names: `CREDSTORE_PROOF_TRUST`.

        Args:
            store: A store URL, or `StoreAt` without a prefix.
            repair: As for `ProofStore.fsck`.
            progress: Called with (objects looked at, None).

        Raises:
            StorageError: As `rotate_keys`.
        """
        tally = Tally()

        def took(entry: Entry, result: object) -> None:
            tally.add(entry.name, cast("Checked", result))

        async with self._on_store("audit", store, progress, repair=repair) as (side, done):
            await done.run(_proofs_of(side), "audit", took)
        tally.problems.update(done.failed)
        return tally.report(repair=repair)

    @asynccontextmanager
    async def _on_store(
        self, kind: Kind, store: str | StoreAt, progress: Progress | None, **more: Any
    ) -> AsyncGenerator[tuple[Store, Pass]]:
        """A store, and a pass over it by the workers."""
        places = (named(store),)
        job = Job(run=secrets.token_hex(16), kind=kind, places=places, reading=1, **more)
        async with opened(places, reading=1) as (place,):
            side = store_in(place)
            async with self._crew(job, facts_of(STORE, side), side) as crew:
                yield side, Pass(crew, progress)

    async def _transfer(
        self,
        source: ClusterPlace,
        destination: ClusterPlace,
        goal: Goal,
        options: TransferOptions,
        *,
        reading: int,
    ) -> TransferReport:
        if options.get("mapping") is not None:
            raise StorageInvalidRequestError(
                "a mapping of names works in one process alone; workers have no part of it"
            )
        empty = options.get("empty_folders", False)
        links = options.get("links", "skip")
        places = (named(source, links=links, empty_folders=empty), named(destination, empty_folders=empty))
        storing = options.get("store_options", StoreOptions())
        _check_travels(storing)
        async with opened(places, reading=reading) as (one, two):
            job = Job(
                run=secrets.token_hex(16),
                kind="transfer",
                places=places,
                reading=reading,
                concurrency=options.get("concurrency", 64),
                verify=options.get("verify", "read") == "read",
                if_absent=options.get("overwrite") == "never",
                keep_retention=options.get("keep_retention", False),
                store_options=storing,
            )
            bandwidth = options.pop("bandwidth", None)
            async with self._crew(job, identities(one, two), one, two, bandwidth=bandwidth) as crew:

                def hands(flow: Flow) -> CrewHands:
                    crew.flow = flow
                    return CrewHands(crew)

                return await between(one, two, goal, options, hands)

    @asynccontextmanager
    async def _crew(
        self, job: Job, mine: Facts, *places: Side, bandwidth: int | None = None
    ) -> AsyncGenerator[Crew]:
        if self._client is None:
            raise StorageInvalidRequestError("open the cluster with `async with Cluster(...)`")
        if not self._shared:
            anchors = [anchor for each in places if (anchor := anchor_of(each)) is not None]
            job = replace(job, anchors=(*anchors,))
        try:
            async with crew_for(self._client, job, mine, bandwidth) as crew:
                yield crew
        except LostClusterError as lost:
            raise lost.error from None


def _check_travels(options: StoreOptions) -> None:
    """Refuse options of a store that are a secret.

    Raises:
        StorageInvalidRequestError: One is.
    """
    encryption = cast("object", options.get("encryption"))
    if encryption is not None and not isinstance(encryption, (bool, str, KmsKey)):
        raise StorageInvalidRequestError(
            "a customer's key does not travel to workers; use a key of the store"
        )


async def _proofs_of(store: Store) -> AsyncGenerator[Entry, None]:
    """All that an audit looks at."""
    objects = proof_objects(store.provider, Layout(PREFIX), lambda: datetime.now(UTC), None)
    async with aclosing(items_of(objects)) as found:
        async for item in found:
            modified = None if item.last_modified is None else item.last_modified.timestamp()
            yield Entry(item.key, item.size, modified, "", "")


def _path(journal: str | PathLike[str] | None) -> str | None:
    return None if journal is None else os.fspath(journal)
