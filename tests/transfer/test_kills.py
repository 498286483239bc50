"""Kill -9 at random points, and the same again: none lost, changed, doubled or left behind (P32).

`tests/campaign/moves.py` does it at size.
"""

import random

import pytest

from tests.transfer.killing import Journey, tree_for

OBJECTS = 100
KILLS = 3


@pytest.mark.parametrize("kind", ["folder", "store"])
@pytest.mark.parametrize("drop", [False, True])
def test_a_run_that_is_killed_again_and_again_continues(kind, drop, tmp_path):
    chance = random.Random(f"{kind} {drop}")
    journey = Journey(tmp_path, tree_for(chance, OBJECTS), kind, drop)
    for _ in range(KILLS):
        journey.kill(chance.randrange(1, 2 * OBJECTS))
        assert journey.problem_after_a_kill() is None
    journey.finish()
    assert journey.problem_at_the_end() is None
