"""Credentials that end, and a source that has newer ones."""

import asyncio

from credstore.wire.aws.credentials import Credentials, CredentialSource
from tests.faults.origin import Origin
from tests.faults.signatures import Account


class Renewing(CredentialSource):
    """Makes an account at the origin for each renewal; `renewals` counts them."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self.renewals = -1
        self._make()

    def _make(self) -> None:
        from credstore import Secret

        self.renewals += 1
        account = Account(f"TEMPORARY{self.renewals}", "temporary-secret", f"token{self.renewals}")
        self._account = account
        self._origin.allow(account)
        self._current = Credentials(
            account.access_key_id, Secret(account.secret), Secret(f"token{self.renewals}")
        )

    def expire(self) -> None:
        """From now on the origin refuses the present credentials."""
        self._account.expired = True

    async def get(self) -> Credentials:
        return self._current

    async def refresh(self) -> Credentials:
        await asyncio.sleep(0)
        self._make()
        return self._current

    async def aclose(self) -> None:
        """Nothing is held."""
