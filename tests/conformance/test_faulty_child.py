"""Every strategy over several stores keeps the contract while one of them dies at its third write, six times.

That one is a local store in a process of its own. It dies with SIGKILL, in turn before it has written anything
and after it has written all, and is started again by the next call.
"""

import os
from functools import partial

import pytest

from credstore.prices.plan import Facts
from credstore.strategies.balanced.driver import BalancedDriver
from credstore.strategies.fallback.driver import FallbackDriver
from credstore.strategies.fastest.driver import FastestDriver
from credstore.strategies.priced.driver import PricedDriver
from credstore.strategies.redundant.driver import RedundantDriver
from credstore.testing.conformance import DriverConformance
from credstore.testing.harness import Harness
from tests.conformance.memory import fetch_at
from tests.conformance.replicas import caught_up, hurried
from tests.conformance.test_fallback import Hurrying
from tests.drivers.distant import Distant, Keeper
from tests.drivers.local.support import make_driver


def priced(members):
    return PricedDriver(members, [Facts(cloud="local", label=f"m{at}") for at in range(len(members))])


COMPOSITES = {
    "redundant": partial(RedundantDriver, clock=hurried),
    "fastest": partial(FastestDriver, clock=hurried),
    "balanced": BalancedDriver,
    "priced": priced,
    "fallback": lambda members: FallbackDriver(*members[:2], clock=Hurrying()),
}
MANY = {"redundant", "fastest"}
"""Those that lose nothing with a member. Of the others each object is at one, whose driver tries again."""


@pytest.mark.parametrize("composite", COMPOSITES)
class TestFaultyChild(DriverConformance):
    @pytest.fixture
    def harness(self, tmp_path, composite):
        roots = [tmp_path / f"m{number}" for number in range(3)]
        make = [partial(make_driver, str(root), fsync=False) for root in roots]
        like = make[0]()
        keeper = Keeper(tmp_path, "m0", make[0], dying=True)
        opened = []

        def open_driver():
            again = composite not in MANY
            faulty = Distant(keeper, "m0", like, revive=True, again=again)
            opened.append(COMPOSITES[composite]([faulty, make[1](), make[2]()]))
            return opened[-1]

        async def settled():
            """What a member has missed while it was dead it gets when it is back."""
            for driver in opened:
                if isinstance(driver, RedundantDriver):
                    await caught_up(driver)

        async def peek(key):
            await settled()
            found = [path for root in roots if (path := root / key).is_file()]
            return max(found, key=lambda path: path.stat().st_mtime_ns).read_bytes() if found else None

        async def poke(key, data):
            await settled()
            for path in (root / key for root in roots):
                if path.is_file():
                    before = path.stat()
                    path.write_bytes(data)
                    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

        yield Harness(
            open=open_driver,
            peek=peek,
            poke=poke,
            fetch=fetch_at(*(lambda at=at: make[at]() for at in range(3))),
        )
        keeper.kill()
