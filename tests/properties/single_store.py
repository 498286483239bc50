"""A model of one S3 store: for each key the values that a truthful store may answer with.

An error with `applied == "maybe"` adds a value to the set, a read leaves one. A request that a
server holds back and applies later (P7) is modelled too: it adds its values when it lands. Beside
the model stands the origin itself: what it holds must be in the set at all times, a call that says
"no" must have left it as it was, and a read must give what it holds.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from credstore.errors import (
    StorageAlreadyExistsError,
    StorageError,
    StorageIntegrityError,
    StorageNotFoundError,
    StoragePreconditionFailedError,
)
from credstore.provider.provider import StorageProvider
from tests.faults.origin import Origin
from tests.faults.plans import FLIPPED, INSIDE, OF_WRITES, Weather, weather
from tests.faults.stores import BUCKET, PART, body_of, objects_of, open_store

KEYS = ("a", "b", "c")
KEY = st.sampled_from(KEYS)
READING, WRITING = weather(*[FLIPPED] * 3), weather(*OF_WRITES, *INSIDE)
KINDS = st.sampled_from(["small", "small", "small", "parts", "stream", "short stream"])
MODES = st.sampled_from(["create", "replace", "replace", "replace what is known"])
Value = bytes | None
GIVES_UP = 60
"""Seconds after which a call counts as hanging."""


@dataclass
class Landing:
    """A request that the origin applies when the gate opens, and what that may make of each key."""

    gate: asyncio.Event
    effects: dict[str, set[Value]]


class SingleStore(RuleBasedStateMachine):
    """One client, one origin, any sequence of calls and faults."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.origin = Origin(least_part=1)
        self.origin.store.buckets[BUCKET] = {}
        self.await_(self.origin.__aenter__())
        self.store = open_store(self.origin)
        self.values = 0
        self.possible: dict[str, set[Value]] = {key: {None} for key in KEYS}
        self.etags: dict[str, list[str]] = {key: [] for key in KEYS}
        self.landings: list[Landing] = []
        for key in KEYS[:2]:
            self.stores(key, "small", "overwrite", [])

    # Plumbing

    def await_(self, coroutine):
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, GIVES_UP))

    def call(
        self,
        faults,
        action: Callable[[StorageProvider], object],
        effects: dict[str, set[Value]] | None = None,
    ):
        """The result of a call or its error, which is held to what it says of its effect."""
        before = dict(objects_of(self.origin))
        with Weather(self.origin, faults) as weather:
            try:
                outcome = self.await_(action(self.store))
            except StorageError as error:
                outcome = error
        self.struck = weather.struck
        if isinstance(outcome, StorageError):
            assert outcome.applied in ({"no", "maybe"} if effects else {"no"}), outcome
            if outcome.applied == "no":
                assert objects_of(self.origin) == before, f"it says that nothing happened: {outcome}"
            elif effects:
                self.may_be(effects)
            if not isinstance(outcome, (StorageNotFoundError, StorageAlreadyExistsError)):
                known = isinstance(outcome, StoragePreconditionFailedError)
                assert self.struck or known, f"without any fault: {outcome}"
        elif not effects:
            assert objects_of(self.origin) == before
        if weather.late and effects:
            self.landings.append(Landing(weather.gate, effects))
        return outcome

    def may_be(self, effects: dict[str, set[Value]]) -> None:
        for key, values in effects.items():
            self.possible[key] |= values

    def is_now(self, key: str, value: Value) -> None:
        assert body_of(self.origin, key) == value, f"{key} was acknowledged as something else"
        self.possible[key] = {value}

    def saw(self, key: str, value: Value) -> None:
        assert value in self.possible[key], f"{key} reads as {value!r}, which nobody left there"
        self.is_now(key, value)

    def there(self, key: str) -> set[Value]:
        """What a copy of the key may be."""
        return self.possible[key] - {None}

    def etag(self, key: str) -> str | None:
        stored = objects_of(self.origin).get(key)
        return None if stored is None else stored.etag

    def fresh(self, kind: str) -> bytes:
        self.values += 1
        size = {"parts": 2 * PART + 100, "stream": PART + 1}.get(kind, 9)
        return (b"%d." % self.values).ljust(size, b"%d" % (self.values % 10))

    # Writing

    @rule(key=KEY, kind=KINDS, weather=WRITING)
    def overwrites(self, key, kind, weather):
        self.stores(key, kind, "overwrite", weather)

    @rule(key=KEY, kind=KINDS, mode=MODES, weather=WRITING)
    def stores_if(self, key, kind, mode, weather):
        self.stores(key, kind, mode, weather)

    def stores(self, key, kind, mode, weather):
        value = self.fresh(kind)
        data = value if kind in {"small", "parts"} else _stream(value)
        options, etag = {}, None
        if mode == "create":
            options["if_absent"] = True
        elif mode != "overwrite":
            known = self.etag(key) if mode == "replace" else next(iter(self.etags[key]), None)
            etag = options["if_match"] = known or "none"
        before, tag = body_of(self.origin, key), self.etag(key)
        outcome = self.call(weather, lambda store: store.store(key, data, **options), {key: {value}})
        if isinstance(outcome, StorageAlreadyExistsError):
            assert mode == "create", outcome
            assert outcome.applied == "maybe" or before is not None, "nobody else was there"
        elif isinstance(outcome, StoragePreconditionFailedError):
            assert etag is not None or outcome.applied == "maybe", outcome
            assert outcome.applied == "maybe" or tag != etag, "it was that version"
        elif not isinstance(outcome, StorageError):
            assert mode != "create" or before is None, "it replaced an object"
            assert etag is None or tag == etag, "it replaced another version"
            assert outcome.size == len(value)
            self.is_now(key, value)
            self.etags[key].append(outcome.etag)

    @rule(key=KEY, bound=st.sampled_from(["no", "no", "now", "past"]), weather=WRITING)
    def deletes(self, key, bound, weather):
        etag = {"no": None, "now": self.etag(key), "past": next(iter(self.etags[key]), "none")}[bound]
        tag = self.etag(key)
        condition = {} if etag is None else {"if_match": etag}
        outcome = self.call(weather, lambda store: store.delete(key, **condition), {key: {None}})
        if isinstance(outcome, StoragePreconditionFailedError) and outcome.applied == "no":
            assert etag is not None, outcome
            assert tag != etag, "it was that version"
        elif not isinstance(outcome, StorageError):
            assert etag is None or tag in {None, etag}, "it deleted another version"
            self.is_now(key, None)

    @rule(keys=st.sets(KEY, min_size=1), weather=WRITING)
    def deletes_many(self, keys, weather):
        before = {key: body_of(self.origin, key) for key in KEYS}
        with Weather(self.origin, weather) as planned:
            result = self.await_(self.store.batch_delete(sorted(keys)))
        assert set(result.deleted) | set(result.failed) == keys
        assert not set(result.deleted) & set(result.failed)
        for key in result.deleted:
            self.is_now(key, None)
        for key, error in result.failed.items():
            assert planned.struck, error
            assert error.applied in {"no", "maybe"}
            if error.applied == "no":
                assert body_of(self.origin, key) == before[key], f"it says that nothing happened: {error}"
            else:
                self.may_be({key: {None}})
        if planned.late:
            self.landings.append(Landing(planned.gate, {key: {None} for key in keys}))

    @rule(source=KEY, destination=KEY, if_absent=st.booleans(), weather=WRITING)
    def copies(self, source, destination, if_absent, weather):
        self.copies_or_moves("copy", source, destination, if_absent=if_absent, weather=weather)

    @rule(source=KEY, destination=KEY, if_absent=st.booleans(), weather=WRITING)
    def moves(self, source, destination, if_absent, weather):
        self.copies_or_moves("move", source, destination, if_absent=if_absent, weather=weather)

    def copies_or_moves(self, verb, source, destination, *, if_absent, weather):
        here, there = body_of(self.origin, source), body_of(self.origin, destination)
        effects = {} if source == destination else {destination: self.there(source)}
        if effects and verb == "move":
            effects[source] = {None}
        outcome = self.call(
            weather,
            lambda store: getattr(store, verb)(source, destination, if_absent=if_absent),
            effects,
        )
        # P9: wherever it stopped, a complete object is left.
        assert here is None or here in {body_of(self.origin, source), body_of(self.origin, destination)}
        if isinstance(outcome, StorageAlreadyExistsError):
            assert if_absent
            assert outcome.applied == "maybe" or there is not None, "nobody else was there"
        elif isinstance(outcome, StorageNotFoundError) and outcome.applied == "no":
            assert here is None, "the source was there"
            self.possible[source] = {None}
        elif not isinstance(outcome, StorageError):
            assert here is not None, "there was no source"
            if source == destination:
                return
            assert not if_absent or there is None, "it replaced an object"
            self.is_now(destination, here)
            self.etags[destination].append(outcome.etag)
            self.is_now(source, None if verb == "move" else here)

    # Reading

    @rule(key=KEY, weather=READING)
    def retrieves(self, key, weather):
        outcome = self.call(weather, lambda store: store.retrieve(key))
        if not isinstance(outcome, StorageError):
            self.saw(key, outcome)

    @rule(key=KEY, start=st.integers(0, PART), length=st.integers(1, 2 * PART), weather=READING)
    def reads_a_range(self, key, start, length, weather):
        # A range has no digest of its own, so a flipped bit in it cannot be seen.
        faults = [fault for fault in weather if fault.name != FLIPPED]
        outcome = self.call(faults, lambda store: _range(store, key, start, start + length))
        if isinstance(outcome, StorageNotFoundError):
            self.saw(key, None)
        elif isinstance(outcome, bytes):
            held = body_of(self.origin, key)
            assert held is not None
            assert outcome == held[start : start + length]
            self.saw(key, held)

    @rule(key=KEY, weather=READING)
    def looks(self, key, weather):
        outcome = self.call(weather, lambda store: store.get_metadata(key))
        if outcome is None:
            self.saw(key, None)
        elif not isinstance(outcome, StorageError):
            assert outcome.etag == self.etag(key)
            self.saw(key, body_of(self.origin, key))
            self.etags[key].append(outcome.etag)

    @rule(weather=READING)
    def lists(self, weather):
        outcome = self.call(weather, lambda store: store.list())
        if not isinstance(outcome, StorageError):
            assert {item.key: item.etag for item in outcome} == {
                key: stored.etag for key, stored in objects_of(self.origin).items()
            }
            for key in KEYS:
                self.saw(key, body_of(self.origin, key))

    # What happens of itself

    @rule(which=st.integers(0, 5))
    def a_late_write_lands(self, which):
        if self.landings:
            landing = self.landings.pop(which % len(self.landings))
            landing.gate.set()
            self.await_(_turns(3))
            self.may_be(landing.effects)

    @rule(which=KEY)
    def another_client(self, which):
        self.await_(self.store.aclose())
        self.store = open_store(self.origin, seed=ord(which))

    @invariant()
    def what_is_there_is_possible(self):
        for key in KEYS:
            assert body_of(self.origin, key) in self.possible[key], f"nobody left that at {key}"

    def teardown(self):
        """Faults are over: every call must end well, and nothing must be left."""
        try:
            if not self.origin.script.rules:
                for key in KEYS:
                    self.saw(key, self.await_(self.store.retrieve(key)))
                    self.stores(key, "small", "overwrite", [])
        finally:
            self.await_(self.store.aclose())
            self.await_(self.origin.__aexit__())
            self.await_(self.loop.shutdown_asyncgens())
            self.await_(self.loop.shutdown_default_executor())
            self.loop.close()


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def _stream(value: bytes):
    for start in range(0, len(value), 1000):
        yield value[start : start + 1000]


async def _range(store: StorageProvider, key: str, start: int, end: int) -> bytes | None:
    try:
        async with store.open(key, start=start, end=end) as reader:
            return await reader.read()
    except StorageIntegrityError:
        raise
    except ValueError as error:
        if getattr(error, "code", None) != "INVALID_RANGE":
            raise
        return None
