"""`Session`: what every verb of a provider is built on: settings, driver, policy, lifetime.

Rules of this file: a session is passed as a whole to everything that works for a verb; nothing takes it
apart.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, Unpack

from credstore.config.registry import option_names
from credstore.config.settings import CommonConfig
from credstore.driver.contract import BreaksCircuits, Driver, KeepsConnections
from credstore.driver.internal import InternalObjects
from credstore.driver.values import Capabilities, ObjectInfo, ReadOptions
from credstore.encryption import ClientSide, CustomerKey, ServerEncryption, kind_of
from credstore.errors import StorageInvalidRequestError, StorageObjectNotFoundError
from credstore.links.public import PublicUrl, public_url
from credstore.links.signer import LinkSigner
from credstore.metrics import Meter
from credstore.model import NOTHING
from credstore.observe import Observer
from credstore.provider.call import Call, Lifetime
from credstore.provider.dictionaries import Dictionaries
from credstore.provider.homes import Home
from credstore.provider.validation import (
    check_count,
    check_key,
    check_version_id,
    chosen_encryption,
    customer_key,
    is_number,
)
from credstore.quick import made

if TYPE_CHECKING:
    from credstore.keyring.ring import KeyRing

SLOWEST = 128 * 1024
"""Bytes per second; a body adds its size divided by this to the deadline of its write."""


class ProviderOptions(TypedDict, total=False):
    """What a provider is given besides its settings.

    Keys:
        observers: Called with an `Event` after each call.
        link_signer: Makes the temporary links, for the CDN at `cdn_url`; without one, the store itself
            presigns them.
        encryption: Encrypts what is stored before it is sent, and refuses to read what is not encrypted that
            way, unless its `required` is False. Its key ring is not closed here. Counts in place of the
            setting `wrapping_key`.
    """

    observers: Iterable[Observer]
    link_signer: LinkSigner | None
    encryption: ClientSide | None


class Plan(NamedTuple):
    """What plain writes with the same options have in common (`plans.py`).

    Attributes:
        able: The capabilities that the options were checked against.
        fields: Of a `PutRequest`.
        content_type: Of the plain bytes.
        timeout: Seconds, without those that the size adds; None for no limit.
    """

    able: Capabilities
    fields: dict[str, Any]
    content_type: str
    timeout: float | None


class Session:
    """A driver with its settings, from its first call until it is closed.

    Attributes:
        driver: Of the store.
        name: Label of the provider.
        config: The settings it was made with.
        plans: What plain writes with the same options have in common.
        lifetime: Which calls are in progress, and whether it is closed.
        internal: What credstore keeps for itself in the store.
        dictionaries: Of the store.
        policy: Encrypts what is stored unless a call says otherwise, or None.
        link_signer: Makes the temporary links, or None.
        members: Settings of the members of a composite driver, by their label.
        homes: All stores that it reads and writes, whatever they are to each other.
        meters: What each of them was used for so far, by the same.
        options: As given.
        option_names: Names that a write's `driver_options` may have.
    """

    __slots__ = (
        "_asked",
        "_policy",
        "_public_url",
        "_ring",
        "_urls_of_members",
        "_wired",
        "config",
        "dictionaries",
        "driver",
        "homes",
        "internal",
        "lifetime",
        "link_signer",
        "members",
        "meters",
        "name",
        "option_names",
        "options",
        "plans",
        "policy",
    )

    def __init__(
        self,
        driver: Driver,
        config: CommonConfig,
        *,
        members: Mapping[str, CommonConfig] = NOTHING,
        meters: Mapping[str, Meter] = NOTHING,
        **options: Unpack[ProviderOptions],
    ) -> None:
        """Start without a request.

        Args:
            driver: Owned from now on, and closed with the session.
            config: Settings; `config.provider` need not match the driver.
            members: Settings of the members of a composite driver, by their label in `served_by`, for the
                public URLs of what each of them holds.
            meters: What each of them was used for so far, where they have prices of their own.
            options: See `ProviderOptions`.
        """
        self.driver = driver
        self.members = dict(members)
        self.homes = [Home(each, driver) for each in (config, *members.values())]
        self.meters = dict(meters)
        self.options: ProviderOptions = {**options, "observers": tuple(options.get("observers", ()))}
        self.name = driver.name
        self.config = config
        self.plans: dict[tuple[object, ...], Plan] = {}
        self._wired = isinstance(driver, BreaksCircuits) and not members
        noted = isinstance(driver, BreaksCircuits) or config.cache is not None
        observers = tuple(self.options["observers"])
        self.lifetime = Lifetime(driver.name, observers, writable=self._is_writable, noted=noted)
        self.internal = InternalObjects(driver, self)
        self.dictionaries = Dictionaries(self.internal)
        self.link_signer = options.get("link_signer")
        self._asked: tuple[ClientSide, ClientSide] | None = None
        self._ring: KeyRing | None = None
        self._policy = options.get("encryption") or self._configured()
        self.policy = None if self._policy is None else self._with_detached_keys(self._policy)
        self.option_names = option_names(members or {driver.name})
        self._public_url = _public_url(config)
        self._urls_of_members = {label: _public_url(member) for label, member in members.items()}

    @property
    def region(self) -> str | None:
        """Region of the store, where it has one; once it was used, the one that its profile names."""
        return (_located(self.config) if self.config.place_is_open else self.config).resolved_region

    @property
    def capabilities(self) -> Capabilities:
        """What the store can do."""
        return self.driver.capabilities

    def _is_writable(self) -> bool:
        return self.driver.capabilities.writable and not self.config.read_only

    def joined(self, label: str, member: Session, meter: Meter) -> None:
        """A composite driver has one more member."""
        self.members[label] = member.config
        self.homes += member.homes
        self.meters[label] = meter
        self._urls_of_members[label] = _public_url(member.config)

    async def aclose(self) -> None:
        """Wait for the calls in progress, then release everything; safe to call again, even if cancelled."""
        await self.lifetime.close(self._release)

    async def _release(self) -> None:
        try:
            await self.driver.aclose()
        finally:
            if self._ring is not None:
                await self._ring.aclose()

    def call(self, operation: str, key: str | None, *, mutation: bool = False, awaited: bool = True) -> Call:
        """The context around one verb; see `Call`."""
        return Call(self.lifetime, operation, key, mutation=mutation, awaited=awaited, wired=self._wired)

    def deadline(self, timeout: float | None = None, size: int | None = 0) -> float | None:
        """The instant by which a request that starts now has to end.

        Args:
            timeout: Seconds for it without its bytes, instead of the configured number; more than 0.
            size: Bytes to move, or None for a stream of unknown length, which is bounded by idle time alone.

        Raises:
            StorageInvalidRequestError: `timeout` is not more than 0.
        """
        return deadline_for(self.config.timeout if timeout is None else timeout, size)

    def _deadline_of(self, timeout: float | None) -> float | None:
        if timeout is None:  # The configured one is more than 0.
            return time.monotonic() + self.config.timeout
        return deadline_for(timeout)

    def reading(
        self,
        encryption: CustomerKey | ClientSide | None = None,
        version_id: str | None = None,
        timeout: float | None = None,
    ) -> ReadOptions:
        """Options of one read that starts now.

        Raises:
            StorageInvalidRequestError: One of them is invalid.
        """
        if version_id is None and (encryption is None or type(encryption) is ClientSide):
            own = self.config.encryption
            key = own if isinstance(own, CustomerKey) else None
            return made(ReadOptions, {"customer_key": key, "deadline": self._deadline_of(timeout)})
        if version_id is not None:
            check_version_id(version_id)
        if encryption is not None and not isinstance(encryption, CustomerKey | ClientSide):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
            raise StorageInvalidRequestError(
                "encryption of a read is the CustomerKey that the object was stored with, or a ClientSide, "
                f"not {kind_of(encryption)}; everything else is decrypted without it"
            )
        asked = None if isinstance(encryption, ClientSide) else encryption
        return made(
            ReadOptions,
            {
                "version_id": version_id,
                "customer_key": customer_key(asked, self.config.encryption),
                "deadline": self.deadline(timeout),
            },
        )

    def at_rest(self, asked: bool | ServerEncryption | None = None) -> ServerEncryption | None:  # noqa: FBT001 - the public option's own type
        """What to ask the provider to encrypt with: as requested, or as configured.

        Raises:
            StorageUnsupportedError: The provider has no encryption of this kind.
            StorageInvalidRequestError: It is not a known kind.
        """
        return chosen_encryption(asked, self.config.encryption, self.capabilities, self.name)

    def policy_of(self, asked: object, timeout: float | None = None) -> ClientSide | None:
        """What encrypts and decrypts for a call whose `encryption` is `asked`.

        Args:
            asked: The call's option.
            timeout: Seconds that its key service has to respond, in place of the configured ones.
        """
        if timeout is None:
            if asked is None:
                return self.policy
            if self._asked is not None and self._asked[0] is asked:  # As most calls ask for the same one.
                return self._asked[1]
        own = asked if isinstance(asked, ClientSide) else None if timeout is None else self._policy
        if own is None or timeout is not None:
            return self.policy if own is None else self._with_detached_keys(own, timeout)
        self._asked = (own, self._with_detached_keys(own))
        return self._asked[1]

    def check_key(self, key: str) -> None:
        """Refuse what cannot name a user's object.

        Raises:
            StorageInvalidKeyError: The key cannot name one.
        """
        check_key(key, self.capabilities.max_key_size)

    async def head_or_none(self, key: str, options: ReadOptions) -> ObjectInfo | None:
        """What is known about an object, or None if it is absent.

        Raises:
            StorageInvalidKeyError: The key cannot name one.
            StorageError: The store did not say.
        """
        self.check_key(key)
        try:
            return await self.driver.head(key, options)
        except StorageObjectNotFoundError:
            return None

    async def warm(self, connections: int, deadline: float | None) -> None:
        """Have connections ready, where the store has any.

        Raises:
            StorageInvalidRequestError: `connections` is not 1 or more.
            StorageError: They could not be had.
        """
        check_count("connections", connections)
        if not connections:
            raise StorageInvalidRequestError("connections is 1 or more")
        if isinstance(self.driver, KeepsConnections):
            await self.driver.warm(connections, deadline=deadline)

    def url_of(self, key: str, served_by: str = "") -> str:
        """Public URL of an object, at the member that holds it."""
        return self._urls_of_members.get(served_by, self._public_url)(key)

    def _configured(self) -> ClientSide | None:
        """The encryption that the settings describe; its keys are read here.

        Raises:
            StorageConfigurationError: A key cannot be had, as the message says.
        """
        if self.config.wrapping_key is None or self.config.store_id is None:
            return None
        from credstore.keyring.configured import key_ring_of  # Loads ciphers, which most stores do without.

        self._ring = key_ring_of(self.config)
        return ClientSide(self._ring, store_id=self.config.store_id)

    def _with_detached_keys(self, policy: ClientSide, timeout: float | None = None) -> ClientSide:
        """The same policy with a key ring that also finds wrapped keys kept in the store."""
        from credstore.provider.detached_keys import DetachedKeys

        keys = DetachedKeys(
            policy.keyring,
            self.internal,
            detach=policy.shreddable,
            deadline=lambda: self.deadline(timeout),
        )
        return replace(policy, keyring=keys)


def _public_url(config: CommonConfig) -> PublicUrl:
    return public_url(config, partial(_located, config) if config.place_is_open else None)


def _located(config: CommonConfig) -> CommonConfig:
    from credstore.config.chained import located_once  # Loads what reads the AWS configuration.

    return located_once(config)


def deadline_for(timeout: float, size: int | None = 0) -> float | None:
    """Like `Session.deadline`, for a timeout that is given.

    Raises:
        StorageInvalidRequestError: `timeout` is not more than 0.
    """
    if not (type(timeout) is float or is_number(timeout)) or not timeout > 0:
        raise StorageInvalidRequestError(f"timeout is a number of seconds above 0, not {timeout!r}")
    return None if size is None else time.monotonic() + timeout + size / SLOWEST
