"""`Origin`: an S3 server over raw streams that does what S3 does, and whatever a script says.

Everything happens in the test's own event loop, in the order of the bytes; nothing depends on time
except `Trickle`. What a script does not touch is exactly S3: see `store.py`.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Coroutine
from typing import Self

from tests.faults.messages import Request
from tests.faults.script import Action, Phase, Rule, Script
from tests.faults.serving import Entry, Serving
from tests.faults.signatures import Account
from tests.faults.store import Store
from tests.faults.wire import Peer

MIB = 1024 * 1024


class Origin:
    """Use with `async with`; `plan` faults, look at `log`, `store` and the counters.

    Attributes:
        store: The buckets, uploads and accounts.
        log: Every request whose head arrived, in order.
        connections: Connections accepted so far.
    """

    def __init__(
        self,
        *,
        region: str = "us-east-1",
        clock: Callable[[], float] = time.time,
        least_part: int = 5 * MIB,
        tls: ssl.SSLContext | None = None,
        domain: str = "s3.test",
        continues: bool = True,
    ) -> None:
        """Configure.

        Args:
            region: Requests must be signed for it.
            clock: Unix seconds of the server.
            least_part: Bytes of the smallest part but the last.
            tls: To speak HTTPS with.
            domain: Buckets may be in the host below it.
            continues: Whether `Expect: 100-continue` is answered.
        """
        self.store = Store(region=region, clock=clock, least_part=least_part)
        self.script = Script()
        self.log: list[Entry] = []
        self.connections = 0
        self._peers: list[Peer] = []
        self._scheme = "http" if tls is None else "https"
        self._serving = Serving(
            self.store,
            self.script,
            log=self.log,
            spawn=self._spawn,
            clock=clock,
            tls=tls,
            domain=domain,
            continues=continues,
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: list[BaseException] = []
        self._listening = socket.socket()

    @property
    def port(self) -> int:
        port: int = self._listening.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        return len(self._serving.open)

    @property
    def deaf(self) -> int:
        """Connections that a stall within a request keeps open for as long as the origin lives."""
        return self._serving.deaf

    @property
    def open_uploads(self) -> int:
        return len(self.store.uploads.open)

    def allow(self, *accounts: Account) -> None:
        """Answer requests these accounts signed, and no others."""
        self.store.accounts.update({each.access_key_id: each for each in accounts})

    def plan(
        self,
        phase: Phase,
        action: Action,
        *,
        operation: str | None = None,
        method: str | None = None,
        key: str | None = None,
        where: Callable[[Request], bool] | None = None,
        nth: int = 1,
        times: int | None = 1,
        offset: int = 0,
    ) -> Rule:
        """Let `action` happen to the `nth` and the following `times` matching requests (None: all)."""
        rule = Rule(phase, action, operation, method, key, where, nth, times, offset)
        self.script.rules.append(rule)
        return rule

    def unfired(self) -> list[Rule]:
        """Rules that never came to pass."""
        return [rule for rule in self.script.rules if not rule.fired]

    def sent(self, operation: str | None = None, key: str | None = None) -> list[Entry]:
        """The log's entries of this operation and key."""
        return [
            entry for entry in self.log if operation in {None, entry.operation} and key in {None, entry.key}
        ]

    async def __aenter__(self) -> Self:
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listening.bind(("127.0.0.1", 0))
        self._listening.listen(512)
        self._listening.setblocking(False)
        asyncio.get_running_loop().add_reader(self._listening, self._accept)
        return self

    async def __aexit__(self, *_error: object) -> None:
        asyncio.get_running_loop().remove_reader(self._listening)
        self._listening.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for peer in self._peers:
            peer.abort()
        for _ in range(8):  # The transports' own close.
            await asyncio.sleep(0)
        if self._failures:
            raise self._failures[0]

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            self._failures.append(failure)

    def _accept(self) -> None:
        """Take one connection; not in a task, whose cancellation could lose it."""
        try:
            sock, _ = self._listening.accept()
        except (BlockingIOError, ConnectionError):
            return  # It is gone already.
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connections += 1
        peer = Peer(sock, self.connections)
        self._peers.append(peer)
        self._spawn(self._serving.serve(peer))
