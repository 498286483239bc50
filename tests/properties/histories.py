"""Histories of concurrent clients of one bucket, with faults: what each saw, by a logical clock.

The origin tells, beside the history, how often it applied each operation. An unconditional write
that is sent again after an unclear attempt may be applied twice, with another client's in between;
nothing but a condition keeps that from happening (P7), so the second time is in the history as an
operation of its own that may have happened; so is a delete that found nothing when it was first
applied. Of conditional writes it must never happen.
"""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import count

from credstore.encryption import Secret
from credstore.errors import StorageConflictError, StorageError, StorageNotFoundError
from credstore.provider.provider import StorageProvider
from credstore.wire.aws.credentials import Credentials, CredentialSource
from tests.faults.messages import Answer, Request
from tests.faults.origin import Origin
from tests.faults.plans import INSIDE, NAMES, Fault
from tests.faults.rig import sign_by
from tests.faults.stores import PART, objects_of, open_store
from tests.properties.linearizability import ANY, Operation

FENCED = ("read", "read", "create", "replace", "replace")
"""What never needs a second look: no key is ever absent again, no version comes twice."""
OPEN = ("read", "read", "read", "write", "write", "create", "replace", "delete", "delete if")
_PLANNED = tuple(name for name in NAMES if name not in INSIDE)


@dataclass
class _Ids(CredentialSource):
    """Names each operation to the origin by the key id its requests are signed with."""

    current: int = 0

    async def get(self) -> Credentials:
        return Credentials(f"OP{self.current}", Secret("canary-secret"))

    async def refresh(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


@dataclass
class Clients:
    """Some clients of one origin at once.

    Attributes:
        origin: Theirs.
        chance: Decides everything.
        kinds: Of operations, each as often as it is in there.
        clock: Ticks with everything that happens.
        effects: How often each operation changed the origin.
        deletions: How often the origin did a delete that each asked for, though there was nothing.
        seen: Number, key and what its client saw of each operation; None where that tells nothing.
        faults: That happened.
    """

    origin: Origin
    chance: random.Random
    kinds: tuple[str, ...]
    clock: "count[int]" = field(default_factory=lambda: count(1))
    numbers: "count[int]" = field(default_factory=lambda: count(1))
    effects: "Counter[int]" = field(default_factory=Counter)
    deletions: "Counter[int]" = field(default_factory=Counter)
    seen: list[tuple[int, str, Operation | None]] = field(default_factory=list)
    gates: list[asyncio.Event] = field(default_factory=list)
    faults: int = 0

    def __post_init__(self) -> None:
        apply = self.origin.store.apply

        def noted(request: Request) -> Answer:
            before = objects_of(self.origin).get(request.key)
            answer = apply(request)
            number = int(request.headers["authorization"].partition("Credential=OP")[2].partition("/")[0])
            changed = objects_of(self.origin).get(request.key) is not before
            self.effects[number] += changed
            self.deletions[number] += request.operation == "DeleteObject" and not changed
            return answer

        self.origin.store.apply = noted

    async def run(self, clients: int, operations: int, keys: list[str]) -> None:
        """Let each client do so many operations, then see what is left."""
        await asyncio.gather(*(self._client(number, operations, keys) for number in range(clients)))
        self.origin.script.rules.clear()
        for gate in self.gates:
            gate.set()
        for _ in range(3):
            await asyncio.sleep(0)
        await self._client(clients, len(keys), keys, last=True)

    async def _client(self, seed: int, operations: int, keys: list[str], *, last: bool = False) -> None:
        ids = _Ids()
        async with open_store(self.origin, seed=seed) as store:
            sign_by(store, ids)
            client = _Client(self, store, ids)
            for number in range(operations):
                if last:
                    await client.do("read", keys[number])
                    continue
                if self.chance.random() < 0.25:
                    self._plan()
                await client.do(self.chance.choice(self.kinds), self.chance.choice(keys))
                if self.gates and self.chance.random() < 0.1:
                    self.gates.pop(self.chance.randrange(len(self.gates))).set()

    def histories(self) -> dict[str, list[Operation]]:
        """By key, with what happened a second time as operations that may have happened.

        Raises:
            AssertionError: What was said not to have happened has; or more than once, though fenced.
        """
        found: dict[str, list[Operation]] = {}
        for number, key, operation in self.seen:
            effects = self.effects[number]
            history = found.setdefault(key, [])
            if operation is None or operation.outcome == "refused":
                assert not effects, f"it was said not to have happened: {operation}"
            if operation is None:
                continue
            assert effects <= 1 or self.kinds is not FENCED, f"it happened {effects} times: {operation}"
            again = effects + self.deletions[number] - 1
            history += [operation, *[replace(operation, outcome="maybe")] * again]
        return found

    def _plan(self) -> None:
        """One more fault, in place of one that has happened or never will."""
        rules = self.origin.script.rules
        self.faults += sum(rule.fired for rule in rules)
        rules[:] = [rule for rule in rules[-3:] if not rule.fired]
        gate = asyncio.Event()
        self.gates.append(gate)
        times, offset = self.chance.choice([1, 1, 2, 4]), self.chance.choice([0, 1, 20])
        Fault(self.chance.choice(_PLANNED), nth=1, times=times, offset=offset).plan(self.origin, gate)


@dataclass
class _Client:
    """One client, which does one thing after the other."""

    all: Clients
    store: StorageProvider
    ids: _Ids
    known: dict[str, tuple[int, str]] = field(default_factory=dict)

    async def do(self, kind: str, key: str) -> None:
        number = self.ids.current = next(self.all.numbers)
        if kind in {"replace", "delete if"} and key not in self.known:
            kind = "read"
        called = next(self.all.clock)
        try:
            operation = await getattr(self, "_" + kind.replace(" ", "_"))(key, number)
        except StorageError as error:
            operation = self._failed(kind, key, number, error)
        returned = next(self.all.clock)
        if operation is not None:
            operation = replace(operation, called=called, returned=returned)
        self.all.seen.append((number, key, operation))

    def _failed(self, kind: str, key: str, number: int, error: StorageError) -> Operation | None:
        """What an error tells of a register; None if it tells nothing."""
        outcome = "maybe"
        if error.applied == "no":
            conflict = isinstance(error, StorageConflictError) and not error.retryable
            if kind == "read" or not conflict:
                return None
            outcome = "refused"
        expected = self.known[key][0] if kind in {"replace", "delete if"} else ANY
        if kind.startswith("delete"):
            return Operation("delete", 0, 0, None, expected, outcome)
        return Operation(kind, 0, 0, number, expected, outcome)

    async def _read(self, key: str, number: int) -> Operation:
        if number % 4 == 0:
            found = await self.store.retrieve(key)
            return Operation("read", 0, 0, None if found is None else _number(found))
        try:
            async with self.store.open(key) as reader:
                value = _number(await reader.read())
                self.known[key] = value, reader.info.etag
        except StorageNotFoundError:
            return Operation("read", 0, 0, None)
        return Operation("read", 0, 0, value)

    async def _write(self, key: str, number: int, **options) -> None:
        result = await self.store.store(key, _data(number), **options)
        self.known[key] = number, result.etag
        return Operation("write", 0, 0, number)

    async def _create(self, key: str, number: int) -> Operation:
        return replace(await self._write(key, number, if_absent=True), kind="create")

    async def _replace(self, key: str, number: int) -> Operation:
        expected, etag = self.known[key]
        return replace(await self._write(key, number, if_match=etag), kind="replace", expected=expected)

    async def _delete(self, key: str, number: int) -> Operation:
        await self.store.delete(key)
        return Operation("delete", 0, 0)

    async def _delete_if(self, key: str, number: int) -> Operation:
        expected, etag = self.known[key]
        await self.store.delete(key, if_match=etag)
        return Operation("delete", 0, 0, None, expected)


def _data(number: int) -> bytes:
    text = b"%d." % number
    return text.ljust(2 * PART + 9, b"x") if number % 16 == 0 else text


def _number(data: bytes) -> int:
    return int(data.partition(b".")[0])
