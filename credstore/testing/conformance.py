"""`DriverConformance`: the checks as pytest tests, without any plugin."""

from __future__ import annotations

import asyncio

import pytest

from credstore.testing.checks import CHECKS, Check
from credstore.testing.harness import Harness


class DriverConformance:
    """Derive from it, and provide a fixture `harness` that makes a `Harness` over an empty store.

    class TestAcme(DriverConformance):
        @pytest.fixture
        def harness(self, acme_server):
            return Harness(open=lambda: AcmeDriver(acme_server.url), peek=..., poke=...)
    """

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_contract(self, harness: Harness, check: Check) -> None:
        """One sentence of the contract."""
        asyncio.run(_run(check, harness))


async def _run(check: Check, harness: Harness) -> None:
    await check(harness)
