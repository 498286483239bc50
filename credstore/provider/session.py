"""What every verb of a provider stands on: settings, driver, policy, lifetime."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Self, TypedDict, Unpack

from credstore.config.stores import CommonConfig
from credstore.driver.contract import Driver
from credstore.driver.internal import InternalObjects
from credstore.driver.values import Capabilities, ObjectInfo, PutResult, ReadOptions
from credstore.encryption import ClientSide, CustomerKey
from credstore.errors import StorageInvalidRequestError, StorageObjectNotFoundError
from credstore.links.public import public_url
from credstore.links.signer import LinkSigner
from credstore.model import NOTHING
from credstore.observe import Observer
from credstore.provider.call import Call, Lifetime
from credstore.provider.detached_keys import DetachedKeys
from credstore.provider.dictionaries import Dictionaries
from credstore.provider.erasing import erase_key
from credstore.provider.validation import check_key, check_version_id, chosen_encryption, customer_key
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
        members: Mapping[str, CommonConfig] = NOTHING,
        **options: Unpack[ProviderOptions],
    ) -> None:
        """Put the verbs over a driver.

        Args:
            driver: Owned from now on: closed with the provider.
            config: Settings; `config.provider` need not match the driver.
            members: Settings of the members of a composite driver, by their label in `served_by`, for
                the public URL of what each of them holds.
            options: See `ProviderOptions`.
        """
        self.config = config
        self._driver = driver
        self._public_url = public_url(config)
        self._members_urls = {label: public_url(member) for label, member in members.items()}
        self._internal = InternalObjects(
            driver,
            reading=lambda: self._reading(None, None, None),
            deadline=lambda size: deadline_for(config.timeout, size),
            encryption=lambda: chosen_encryption(None, config.encryption, driver.capabilities, driver.name),
        )
        self._link_signer = options.get("link_signer")
        given = options.get("encryption")
        self._policy = None if given is None else self._with_detached_keys(given)
        self._lifetime = Lifetime(driver.name, tuple(options.get("observers", ())))
        self._dictionaries = Dictionaries(self._internal)

    @property
    def capabilities(self) -> Capabilities:
        """What this store can do, as facts."""
        return self._driver.capabilities

    @property
    def observers(self) -> tuple[Observer, ...]:
        """Called with an `Event` after each call."""
        return self._lifetime.observers

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

    def _url_of(self, result: PutResult) -> str:
        """Public URL of what was just written, at the member that holds it."""
        return self._members_urls.get(result.served_by, self._public_url)(result.key)

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
            self._internal,
            detach=policy.shreddable,
            erase=lambda key: erase_key(self._driver, key, self._deadline),
        )
        return replace(policy, keyring=keys)

    def _reading(
        self, encryption: CustomerKey | ClientSide | None, version_id: str | None, timeout: float | None
    ) -> ReadOptions:
        if version_id is not None:
            check_version_id(version_id)
        if encryption is not None and not isinstance(encryption, CustomerKey | ClientSide):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
            raise StorageInvalidRequestError(
                "encryption of a read is the CustomerKey that the object was stored with, or a ClientSide, "
                f"not {type(encryption).__name__}; all else is decrypted without it"
            )
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
