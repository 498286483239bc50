"""Concurrent clients with any faults see registers: each key's history is linearizable (C01, C02)."""

import asyncio
import os
import random

import pytest

from tests.faults.stores import serving
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
