"""The keys of a memory store stay in order, whether they come one by one or many between two listings."""

import random

import pytest

from credstore.driver import ObjectInfo
from credstore.drivers.memory import MANY, MemoryObject, MemoryObjects


@pytest.mark.parametrize("seed", range(6))
def test_keys_are_in_order_after_any_changes(seed):
    chance = random.Random(seed)
    objects = MemoryObjects()
    keys = set()
    for _ in range(40):
        for _ in range(chance.choice([0, 1, 5, MANY, MANY + 1, 3 * MANY])):
            key = chance.choice(["a", "é", "\U0001f600", "z/"]) + str(chance.randrange(2000))
            objects.put(MemoryObject(b"", ObjectInfo(key=key, size=0)))
            keys.add(key)
        for key in chance.sample(sorted(keys), min(len(keys), chance.randrange(4))):
            assert objects.remove(key)
            assert not objects.remove(key)
            keys.remove(key)
        if chance.random() < 0.6:
            assert objects.ordered() == sorted(key.encode() for key in keys)
    assert objects.ordered() == sorted(key.encode() for key in keys)
