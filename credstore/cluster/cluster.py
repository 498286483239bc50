"""`Cluster`: the public verbs."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from os import PathLike
from types import TracebackType
from typing import Any, Self, Unpack, cast

from credstore.arguments import typed_class
from credstore.cluster.benches import identities
from credstore.cluster.connecting import LOCAL, connected, crew_for
from credstore.cluster.crew import Crew, LostClusterError
from credstore.cluster.hands import CrewHands
from credstore.cluster.messages import Facts, Job
from credstore.cluster.places import ClusterPlace, named, opened
from credstore.encryption import KmsKey
from credstore.errors import StorageInvalidRequestError
from credstore.model import StoreOptions
from credstore.proofs.format.signing import Signer
from credstore.transfer.calls import between, migration
from credstore.transfer.run import Goal
from credstore.transfer.values import TransferOptions, TransferReport


@typed_class
class Cluster:
    """Work on many objects by the workers of a Dask cluster; opened by `async with`.

    Stores are named, never handed over: by a store URL, `StoreAt`, or `store:PREFIX` in the store that the
    environment names. The coordinator (this process) and each worker find the credentials in the environment
    of their own process; before anything is done it is made sure that all of them find the same store with
    the same version of credstore. Workers next to the coordinator are processes that start with the user's
    own program: it needs the usual `if __name__ == "__main__":`.
    """

    def __init__(self, address: str = LOCAL, *, workers: int | None = None) -> None:
        """Name it; nothing is started.

        Args:
            address: Of the scheduler, such as "tcp://host:8786" or "tls://host:8786"; "local" starts workers
                on this machine that end with it.
            workers: How many, where they are local; one for each processor unless given.

        Raises:
            StorageInvalidRequestError: `workers` is not 1 or more, or the workers are not local.
        """
        if workers is not None and (workers < 1 or address != LOCAL):
            raise StorageInvalidRequestError(
                "workers is how many to start on this machine, 1 or more; a cluster elsewhere has its own"
            )
        self._address, self._workers = address, workers
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

    async def _transfer(
        self,
        source: ClusterPlace,
        destination: ClusterPlace,
        goal: Goal,
        options: TransferOptions,
        *,
        reading: int,
    ) -> TransferReport:
        follow = options.get("follow_links", False)
        places = (named(source, follow_links=follow), named(destination))
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
                store_options=storing,
            )
            bandwidth = options.pop("bandwidth", None)
            async with self._crew(job, identities(one, two), bandwidth) as crew:
                return await between(one, two, goal, options, lambda flow: CrewHands(crew, flow))

    @asynccontextmanager
    async def _crew(self, job: Job, mine: Facts, bandwidth: int | None = None) -> AsyncGenerator[Crew]:
        if self._client is None:
            raise StorageInvalidRequestError("open the cluster with `async with Cluster(...)`")
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
