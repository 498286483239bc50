"""Concurrent clients with any faults see registers: each key's history is linearizable (C01, C02)."""

import asyncio
import os
import random
from dataclasses import replace
from itertools import count

import pytest

from credstore.wire import exchange
from tests.faults.stores import objects_of, serving
from tests.properties.histories import FENCED, OPEN, Clients
from tests.properties.linearizability import explain

OPERATIONS = int(os.environ.get("CREDSTORE_TEST_OPERATIONS", "6000"))
"""In all; more of them where more than the normal suite is wanted."""
SEED = int(os.environ.get("CREDSTORE_TEST_SEED", "1"))
CLIENTS, EACH, KEYS = 6, 25, 3


async def play(seed, kinds, sabotage=None) -> Clients:
    """One round of several clients over a few keys of their own."""
    async with serving() as origin:
        if sabotage is not None:
            sabotage(origin)
        clients = Clients(origin, random.Random(seed), kinds)
        await asyncio.wait_for(clients.run(CLIENTS, EACH, [f"k{each}" for each in range(KEYS)]), 60)
        return clients


def judge(seed, kinds, sabotage=None) -> Clients:
    """Fail unless each key of the round was a register."""
    clients = asyncio.run(play(seed, kinds, sabotage))
    for key, history in clients.histories().items():
        assert explain(history) is not None, f"seed {seed}: {key} was no register: {history}"
    return clients


def judge_some(kinds, sabotage=None):
    """As `judge`, for as many rounds as a lie may need to show."""
    for seed in range(40):
        judge(seed, kinds, sabotage)


@pytest.mark.parametrize("kinds", [FENCED, OPEN], ids=["fenced", "open"])
def test_each_key_is_a_register(kinds):
    done = faults = 0
    seed = SEED
    while done < OPERATIONS // 2:
        clients = judge(seed, kinds)
        done += len(clients.seen)
        faults += clients.faults
        seed += 1
    assert faults > done // 20


def stale_reads(origin):
    """Every fifth read gets the answer of an earlier one."""
    apply, answers, reads = origin.store.apply, {}, count()

    def lie(request):
        if (
            request.operation != "GetObject"
            or request.headers.get("range")
            or request.headers.get("if-match")
        ):
            return apply(request)
        if request.key in answers and next(reads) % 5 == 0:
            return answers[request.key]
        return answers.setdefault(request.key, apply(request))

    origin.store.apply = lie


def lost_writes(origin):
    """Every tenth write is acknowledged and forgotten."""
    apply, writes = origin.store.apply, count(1)

    def lie(request):
        key, objects = request.key, objects_of(origin)
        before = objects.get(key)
        answer = apply(request)
        if request.operation == "PutObject" and answer.status == 200 and next(writes) % 10 == 0:
            if before is None:
                del objects[key]
            else:
                objects[key] = before
        return answer

    origin.store.apply = lie


def ignored_conditions(origin):
    """Every write overwrites."""
    apply = origin.store.apply

    def lie(request):
        kept = {name: value for name, value in request.headers.items() if not name.startswith("if-")}
        return apply(replace(request, headers=kept) if request.operation == "PutObject" else request)

    origin.store.apply = lie


@pytest.mark.parametrize("kinds", [FENCED, OPEN], ids=["fenced", "open"])
@pytest.mark.parametrize("lie", [stale_reads, lost_writes, ignored_conditions])
def test_an_origin_that_lies_is_caught(lie, kinds):
    with pytest.raises(AssertionError):
        judge_some(kinds, lie)


def test_a_client_that_takes_silence_for_a_no_is_caught(monkeypatch):
    judged = exchange._judged
    monkeypatch.setattr(
        exchange, "_judged", lambda error, call, progress, **_: judged(error, call, progress, definite=True)
    )
    with pytest.raises(AssertionError, match="said not to have happened"):
        judge_some(OPEN)
