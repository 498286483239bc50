"""A store of ours before an origin, with its waits recorded instead of slept; and rows of the fault table.

A row is one promise under one fault: an async function of a `Rig`. Whatever it tests, it fails too
if a planned fault did not happen, or if closing the store leaves a task or a connection.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from credstore import S3CompatibleConfig, S3CompatibleStorageProvider, S3Config, S3StorageProvider, Secret
from credstore.errors import StorageError
from credstore.provider.provider import StorageProvider
from credstore.wire.aws.credentials import CredentialSource
from credstore.wire.aws.signer import AwsSigner
from credstore.wire.exchange import Exchange
from tests.faults.messages import Answer, Request, error
from tests.faults.objects import Stored
from tests.faults.origin import Origin
from tests.faults.script import Respond
from tests.faults.signatures import Account

BUCKET, KEY_ID, SECRET = "bucket", "AKIDEXAMPLE", "canary-secret-access-key"
BROKEN = Respond(error(500, "InternalError"))
SLOW_DOWN = Respond(error(503, "SlowDown"))


def exchange_of(store: StorageProvider) -> Exchange:
    """The one retry loop of a store, where time and chance can be taken over."""
    exchange: Exchange = store._session.driver._bucket.exchange
    return exchange


def sign_by(store: StorageProvider, source: CredentialSource) -> None:
    """Let a store's credentials come from `source`, for requests and links."""
    signer = AwsSigner(source)
    store._session.driver._bucket._signer = exchange_of(store)._signer = signer


@dataclass
class Rig:
    """An origin and stores before it; `waits` are the seconds all of them would have slept."""

    origin: Origin
    waits: list[float] = field(default_factory=list)
    stores: list[StorageProvider] = field(default_factory=list)
    store: StorageProvider = field(init=False)

    @property
    def objects(self) -> dict[str, Stored]:
        return self.origin.store.buckets[BUCKET]

    def body(self, key: str = "k") -> bytes | None:
        """What the origin really holds."""
        return self.objects[key].body if key in self.objects else None

    def open(
        self,
        *,
        aws: bool = False,
        idle: float = 10.0,
        connect: float = 10.0,
        chance: int = 7,
        **settings: Any,
    ) -> StorageProvider:
        """One more store: AWS's dialect or (with the least of conditions) MinIO's."""
        common: dict[str, Any] = {
            "bucket": BUCKET,
            "endpoint": self.origin.url,
            "access_key_id": KEY_ID,
            "secret_access_key": Secret(SECRET),
            **settings,
        }
        store: StorageProvider
        if aws:
            store = S3StorageProvider(S3Config(addressing="path", **common))
        else:
            store = S3CompatibleStorageProvider(S3CompatibleConfig(**{"flavor": "minio", **common}))
        exchange = exchange_of(store)
        exchange._sleep = self._wait
        exchange._rng = random.Random(chance).random
        exchange._transport._idle_timeout = idle
        exchange._transport._connect_timeout = connect
        self.stores.append(store)
        return store

    async def _wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0)

    def requests(self, operation: str | None = None, key: str | None = None) -> int:
        """Wire requests the origin saw."""
        return len(self.origin.sent(operation, key))

    def without(self, *headers: str) -> Respond:
        """Answer as if these headers had not been sent."""

        def answer(request: Request) -> Answer:
            kept = {name: value for name, value in request.headers.items() if name not in headers}
            return self.origin.store._apply(replace(request, headers=kept))

        return Respond(answer)


Test = Callable[[Rig], Awaitable[None]]


def run(
    test: Test,
    *,
    origin: dict[str, Any] | None = None,
    faults_may_wait: bool = False,
    **settings: Any,
) -> None:
    """Run `test` and check that nothing is left.

    Args:
        test: Called with a rig whose store is open.
        origin: Settings of the origin.
        faults_may_wait: A planned fault need not have happened, as where chance decides.
        settings: As for `Rig.open`.
    """

    async def main() -> None:
        async with Origin(**{"least_part": 1, **(origin or {})}) as server:
            server.allow(Account(KEY_ID, SECRET))
            server.store.buckets[BUCKET] = {}
            rig = Rig(server)
            before = own_tasks()
            rig.store = rig.open(**settings)
            try:
                await asyncio.wait_for(test(rig), 60)
            finally:
                await asyncio.gather(*(store.aclose() for store in rig.stores))
            left = own_tasks() - before
            assert not left, f"tasks were left: {left}"
            await all_gone(server)
            assert faults_may_wait or server.unfired() == []

    asyncio.run(main())


def own_tasks() -> set[str]:
    """Names of the tasks that are not the origin's."""
    found = set()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        name = task.get_coro().__qualname__
        if not name.startswith(("Origin.", "Serving.", "run.")):
            found.add(f"{name} {id(task)}")
    return found


async def all_gone(origin: Origin) -> None:
    """Wait until every connection that the origin still listens to has ended."""
    end = time.monotonic() + 5
    while origin.open_connections > origin.deaf:
        assert time.monotonic() < end, f"{origin.open_connections} connections were left open"
        await asyncio.sleep(0)


async def raised(awaitable: Awaitable[object]) -> StorageError:
    """The error a call ends with."""
    try:
        result = await awaitable
    except StorageError as error:
        return error
    raise AssertionError(f"it succeeded: {result!r}")


async def ignoring(awaitable: Awaitable[object]) -> None:
    """The call, whatever it ends with."""
    with suppress(StorageError):
        await awaitable


@dataclass(frozen=True)
class Row:
    """One row of the table and one way to test it."""

    name: str
    test: Test
    settings: dict[str, Any]

    def run(self) -> None:
        run(self.test, **self.settings)


class Rows(list[Row]):
    """The rows of one module; its decorator names them."""

    def __call__(self, number: str, **settings: Any) -> Callable[[Test], Test]:
        def add(test: Test) -> Test:
            self.append(Row(f"{number}-{test.__name__.replace('_', '-')}", test, settings))
            return test

        return add


def put_raw(rig, body, **metadata):
    """What somebody else stored."""
    attributes = {"content-type": "application/json"}
    attributes |= {f"x-amz-meta-{name.replace('_', '-')}": value for name, value in metadata.items()}
    rig.objects["k"] = Stored(body, "e" * 32, 0.0, attributes)
