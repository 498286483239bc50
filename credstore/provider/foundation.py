"""What every verb of a provider stands on: settings, driver, policy, lifetime."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from types import TracebackType
from typing import Self, TypedDict, Unpack

from credstore.config.clouds import CommonConfig
from credstore.driver import Capabilities, Driver, ObjectInfo, ReadOptions
from credstore.errors import StorageObjectNotFoundError
from credstore.links.signer import LinkSigner
from credstore.model import ClientSide, CustomerKey
from credstore.observe import Observer
from credstore.provider.call import Call, Lifetime
from credstore.provider.checks import check_key, chosen_encryption, customer_key
from credstore.provider.dictionaries import Dictionaries
from credstore.provider.shredding import DetachedKeys
from credstore.provider.write import deadline_for


class ProviderOptions(TypedDict, total=False):
    """What a provider is given beside its settings.

    Keys:
        observers: Called with an `Event` after each call.
        link_signer: Makes the temporary links, for the CDN at `cdn_url`; without it they are presigned
            by the store itself.
        encryption: Encrypts what is stored before it is sent, and refuses to read what is not
            encrypted so, unless its `required` is False. Its key ring is not closed here.
    """

    observers: Iterable[Observer]
    link_signer: LinkSigner | None
    encryption: ClientSide | None


class Foundation:
    """One driver with its settings, from its first call until it is closed.

    Attributes:
        config: The settings it was made with; secrets in it never show.
    """

    def __init__(
        self,
        driver: Driver,
        config: CommonConfig,
        *,
        public_url: Callable[[str], str],
        **options: Unpack[ProviderOptions],
    ) -> None:
        """Put the verbs over a driver.

        Args:
            driver: Owned from now on: closed with the provider.
            config: Settings; `config.provider` need not match the driver.
            public_url: From a key to its public URL.
            options: See `ProviderOptions`.
        """
        self.config = config
        self._driver = driver
        self._public_url = public_url
        self._link_signer = options.get("link_signer")
        given = options.get("encryption")
        self._policy = None if given is None else self._with_detached_keys(given)
        self._lifetime = Lifetime(driver.name, tuple(options.get("observers", ())))
        self._dictionaries = Dictionaries(
            driver,
            reading=lambda: self._reading(None, None, None),
            encryption=lambda: chosen_encryption(None, config.encryption, driver.capabilities, driver.name),
        )

    @property
    def capabilities(self) -> Capabilities:
        """What this store can do, as facts."""
        return self._driver.capabilities

    @property
    def closed(self) -> bool:
        """Whether `aclose` was called."""
        return self._lifetime.closed

    def get_provider_name(self) -> str:
        """Label of the provider, such as "s3", "r2", "spaces", "wasabi", "b2", "custom" or "local"."""
        return self._driver.name

    async def aclose(self) -> None:
        """Wait for the calls under way, then release everything; safe to call again, also if cancelled."""
        await self._lifetime.close(self._driver.aclose)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<{type(self).__name__} {self._driver.name} ({state})>"

    def _call(self, operation: str, key: str | None, *, mutation: bool = False) -> Call:
        return Call(self._lifetime, operation, key, mutation=mutation)

    def _deadline(self, timeout: float | None = None) -> float | None:
        return deadline_for(self.config.timeout if timeout is None else timeout)

    def _policy_of(self, asked: object) -> ClientSide | None:
        return self._with_detached_keys(asked) if isinstance(asked, ClientSide) else self._policy

    def _with_detached_keys(self, policy: ClientSide) -> ClientSide:
        """The same policy, whose key ring also finds wrapped keys that are in the store."""
        keys = DetachedKeys(
            policy.keyring,
            self._driver,
            reading=lambda: self._reading(None, None, None),
            encryption=lambda: chosen_encryption(
                None, self.config.encryption, self.capabilities, self._driver.name
            ),
            detach=policy.shreddable,
        )
        return replace(policy, keyring=keys)

    def _reading(
        self, encryption: CustomerKey | ClientSide | None, version_id: str | None, timeout: float | None
    ) -> ReadOptions:
        return ReadOptions(
            version_id=version_id,
            customer_key=customer_key(
                None if isinstance(encryption, ClientSide) else encryption, self.config.encryption
            ),
            deadline=self._deadline(timeout),
        )

    async def _head_or_none(self, key: str, options: ReadOptions) -> ObjectInfo | None:
        check_key(key, self.capabilities.max_key_size)
        try:
            return await self._driver.head(key, options)
        except StorageObjectNotFoundError:
            return None
