"""Random work on a local store, what it may lead to, and whether a store is in such a state (P1, P2, P9).

A lane is a pair of keys that one writer works on, one step after another. Its state is what the two hold.
"""

import asyncio
import os
import random
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from credstore.driver import CREATE, OVERWRITE, CopyRequest
from credstore.drivers.local.driver import LocalDriver
from credstore.errors import StorageAlreadyExistsError, StorageError, StorageObjectNotFoundError

from .support import leftovers, list_keys, make_driver, put_request, read_pair

Lane = tuple[str, str]
State = tuple[object, object]
"""Bytes or None; what else a read ended with, as text."""
SIZES = (0, 1, 60, 150, 4_096, 20_000)
VERBS = ("put", "put", "put", "create", "copy", "move", "move", "delete")


@dataclass(frozen=True)
class Step:
    """One call.

    Attributes:
        verb: "put", "create", "copy", "move" or "delete".
        at: Which key of the lane it is about, or begins with.
        data: What a put or create stores.
    """

    verb: str
    at: int
    data: bytes = b""

    def states(self, state: State) -> list[State]:
        """The states it passes through, from `state` to its end."""
        here, there = state[self.at], state[1 - self.at]

        def pair(own: object, other: object) -> State:
            return (own, other) if self.at == 0 else (other, own)

        if self.verb == "put" or (self.verb == "create" and here is None):
            return [state, pair(self.data, there)]
        if self.verb == "create" or here is None:
            return [state]
        if self.verb == "delete":
            return [state, pair(None, there)]
        copied = pair(here, here)
        return [state, copied] if self.verb == "copy" else [state, copied, pair(None, here)]

    async def run(self, driver: LocalDriver, lane: Lane) -> None:
        """Do it. What is refused because of the state of the lane is no error."""
        here, there = lane[self.at], lane[1 - self.at]
        try:
            if self.verb in {"put", "create"}:
                mode = CREATE if self.verb == "create" else OVERWRITE
                await driver.put(put_request(here, self.data, mode))
                return
            source = await driver.head(here)
            if self.verb in {"copy", "move"}:
                write_id = os.urandom(16).hex()
                await driver.copy(CopyRequest(source=source, destination=there, write_id=write_id))
            if self.verb in {"move", "delete"}:
                await driver.delete(here, if_match=source.etag)
        except (StorageAlreadyExistsError, StorageObjectNotFoundError):
            return


def draw(chance: random.Random) -> Step:
    """A random step."""
    size = chance.choice(SIZES)
    return Step(
        chance.choice(VERBS), chance.randrange(2), chance.randbytes(min(size, 16)) * (size // 16 or 1)
    )


def lanes(count: int) -> list[Lane]:
    """Keys with directories of their own and with shared ones."""
    return [(f"l{number}/k", f"shared/{number % 2}/deep/k{number}") for number in range(count)]


@dataclass
class Expected:
    """What each lane may hold, from what its writer began and ended."""

    states: dict[Lane, list[State]]

    @classmethod
    def nothing(cls, of: Iterable[Lane]) -> "Expected":
        """Of an empty store."""
        return cls({lane: [(None, None)] for lane in of})

    def after(self, told: Iterable[tuple[Lane, Step | None]]) -> "Expected":
        """The same after some steps: each is told when it begins, and by None when it has ended."""
        states = dict(self.states)
        begun: dict[Lane, Step] = {}
        for lane, step in told:
            if step is not None:
                begun[lane] = step
            else:
                done = begun.pop(lane)
                states[lane] = [done.states(state)[-1] for state in states[lane]]
        for lane, step in begun.items():
            states[lane] = [passed for state in states[lane] for passed in step.states(state)]
        return Expected(states)


async def _read(driver: LocalDriver, key: str) -> object:
    try:
        return await read_pair(driver, key)
    except StorageObjectNotFoundError:
        return None
    except (StorageError, AssertionError) as error:
        return repr(error)


async def _examine(
    root: Path, allowed: Mapping[Lane, Collection[State]], settings: Mapping[str, object]
) -> tuple[str | None, dict[Lane, State]]:
    driver = make_driver(root, **settings)
    try:
        found = {lane: (await _read(driver, lane[0]), await _read(driver, lane[1])) for lane in allowed}
        listed = set(await list_keys(driver))
        for lane, state in found.items():
            if state not in allowed[lane]:
                return f"neither old nor new: {lane} holds {_short(state)}", found
            for key, data in zip(lane, state, strict=True):
                if (key in listed) != (data is not None):
                    return f"the listing says {sorted(listed)}", found
        await driver.put(put_request("after", b"usable"))
        if await _read(driver, "after") != b"usable":
            return "not usable", found
        for lane, state in found.items():
            again = (await _read(driver, lane[0]), await _read(driver, lane[1]))
            if again != state:
                return f"changed by cleaning up: {lane} holds {_short(again)}", found
        return None, found
    except StorageError as error:
        return repr(error), {}
    finally:
        await driver.aclose()


def _short(state: State) -> str:
    return repr(tuple(each[:12] if isinstance(each, bytes) else each for each in state))


def examine(
    root: Path, allowed: Mapping[Lane, Collection[State]], *, tidy: bool = True, **settings: object
) -> tuple[str | None, dict[Lane, State]]:
    """What breaks a promise in a store after a stop, or None; and what the lanes hold.

    Args:
        root: The store. It is opened, read, listed, written to and read again.
        allowed: The states of each lane that would be right.
        tidy: Whether superseded attributes count as left behind, not only temporary files.
        settings: Of the driver.
    """
    problem, found = asyncio.run(_examine(root, allowed, settings))
    left = leftovers(root) if tidy else [str(path) for path in (root / ".credstore/tmp").glob("*")]
    return problem or (f"left behind: {left}" if left else None), found
