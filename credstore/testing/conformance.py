"""`DriverConformance`: the checks as pytest tests, without any plugin."""

from __future__ import annotations

import asyncio

import pytest

from credstore.testing.checks import CHECKS, Check
from credstore.testing.harness import Harness, NotRunError
from credstore.testing.running import run_check


class DriverConformance:
    """Derive from it, and provide a fixture `harness` that makes a `Harness` over an empty store.

    class TestAcme(DriverConformance):
        @pytest.fixture
        def harness(self, acme_server):
            return Harness(open=lambda: AcmeDriver(acme_server.url), peek=..., poke=...)

    With `Harness.prefix` the store may have other things in it. A check that the harness does not give
    enough for is skipped, an accepted deviation is an expected failure (`pytest -rsx` shows why for both).
    """

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_contract(self, harness: Harness, check: Check) -> None:
        """One sentence of the contract."""
        try:
            accepted = asyncio.run(run_check(check, harness))
        except NotRunError as missing:
            reason = str(missing)
        else:
            if accepted is not None:
                pytest.xfail(accepted)
            return
        pytest.skip(f"not run: {check.__name__} {reason}")
