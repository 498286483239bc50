"""`AzureDriver`: the contract of `credstore.driver` on Azure Blob Storage.

Rules of this file: no protocol here; each operation is one call into the module that knows about it.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from urllib.parse import urlsplit

from credstore.config.azure import AzureConfig, sas_ends
from credstore.config.field_types import same_account
from credstore.driver.contract import Driver
from credstore.driver.values import (
    READ_ALL,
    Capabilities,
    CopyRequest,
    DeleteOutcome,
    ObjectInfo,
    Page,
    PutRequest,
    PutResult,
    ReadOptions,
    SignedRequest,
    SignRequest,
    StoredReader,
    VersionPage,
)
from credstore.drivers.azure import (
    copying,
    deleting,
    listings,
    locking,
    reading,
    signing,
    uploads,
    versions,
    writing,
)
from credstore.drivers.azure.container import Container
from credstore.drivers.azure.uploads import BegunUpload
from credstore.errors import RetentionMode, StorageError
from credstore.model import CircuitState, Retention
from credstore.wire.azure.signer import AzureSigner, KeySigner, SasSigner, TokenSigner
from credstore.wire.azure.tokens import EntraTokens
from credstore.wire.http import HttpClient
from credstore.wire.proxy import ProxyRules
from credstore.wire.tokens import TokenSource
from credstore.wire.transport import Transport


class AzureDriver(Driver):
    """One container of Azure Blob Storage.

    Cancellation: at once; a copy that the service is at is aborted first, within 5 seconds.
    """

    def __init__(
        self,
        config: AzureConfig,
        *,
        tokens: TokenSource | None = None,
        transport: Transport | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Compute where the container is; nothing is sent yet.

        Args:
            config: The account, container and credentials.
            tokens: Of Entra ID, used instead of the configuration's credentials; closed with the driver.
            transport: Used instead of an HTTP client of its own; closed with the driver.
            clock: Unix seconds, for links.

        Raises:
            StorageConfigurationError: A setting is missing or cannot be used.
        """
        self._clock = clock
        self._given = tokens
        proxies = ProxyRules.of(config.proxy, os.environ)
        place = urlsplit(config.resolved_endpoint)
        proxies.check_reach(f"{place.scheme}://{place.netloc}", allow_http=config.allow_http)
        signer = signer_of(config) if tokens is None else TokenSigner(tokens)
        self._container = Container(config, signer=signer, transport=transport or client_of(config, proxies))
        self._keys = signing.LinkKeys()

    @property
    def name(self) -> str:
        """The cloud's label, "azure"."""
        return self._container.label

    @property
    def capabilities(self) -> Capabilities:
        """What Azure can do, and this way of authenticating."""
        return self._container.able

    @property
    def circuits(self) -> Mapping[str, CircuitState]:
        """See `BreaksCircuits.circuits`."""
        return self._container.circuits

    @property
    def requests(self) -> Mapping[str, int]:
        """See `CountsRequests.requests`."""
        return self._container.requests

    async def put(self, request: PutRequest) -> PutResult:
        """Write one object; see `Driver.put`."""
        return await writing.put(self._container, request)

    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        """Open the stored bytes; see `Driver.get`."""
        return await reading.open_object(self._container, key, options)

    async def head(self, key: str, options: ReadOptions = READ_ALL) -> ObjectInfo:
        """What `get` would serve; see `Driver.head`."""
        return await reading.head(self._container, key, options)

    async def delete(
        self,
        key: str,
        *,
        if_match: str | None = None,
        version_id: str | None = None,
        deadline: float | None = None,
    ) -> DeleteOutcome:
        """Remove one object; see `Driver.delete`."""
        return await deleting.delete(
            self._container, key, if_match=if_match, version_id=version_id, deadline=deadline
        )

    async def delete_many(
        self, keys: Sequence[str], *, deadline: float | None = None
    ) -> Mapping[str, DeleteOutcome | StorageError]:
        """Remove up to 256 keys in one request; see `Driver.delete_many`."""
        return await deleting.delete_many(self._container, keys, deadline=deadline)

    async def list(
        self,
        prefix: str = "",
        cursor: str | None = None,
        *,
        delimiter: str | None = None,
        start_after: str | None = None,
        limit: int = 1000,
        deadline: float | None = None,
    ) -> Page:
        """One page; the cursor is Azure's marker. See `Driver.list`."""
        return await listings.list_page(
            self._container,
            prefix,
            cursor,
            delimiter=delimiter,
            start_after=start_after,
            limit=limit,
            deadline=deadline,
        )

    async def keeps_versions(self, *, deadline: float | None = None) -> bool:
        """Whether there may be versions; see `VersionedDriver.keeps_versions`."""
        return await versions.keeps_versions(self._container, deadline=deadline)

    async def list_versions(
        self,
        prefix: str = "",
        cursor: str | None = None,
        *,
        exact: bool = False,
        limit: int = 1000,
        deadline: float | None = None,
    ) -> VersionPage:
        """One page of versions; see `VersionedDriver.list_versions`."""
        return await versions.list_versions(
            self._container, prefix, cursor, exact=exact, limit=limit, deadline=deadline
        )

    async def delete_versions(
        self, versions_: Sequence[tuple[str, str]], *, deadline: float | None = None
    ) -> Mapping[tuple[str, str], DeleteOutcome | StorageError]:
        """Remove up to 256 versions in one request; see `VersionedDriver.delete_versions`."""
        return await versions.delete_versions(self._container, versions_, deadline=deadline)

    async def get_retention(
        self, key: str, version_id: str | None = None, *, deadline: float | None = None
    ) -> Retention:
        """What keeps a version from being removed; see `RetainingDriver.get_retention`."""
        return await locking.get_retention(self._container, key, version_id, deadline=deadline)

    async def set_retention(
        self,
        key: str,
        retain_until: datetime | None,
        mode: RetentionMode,
        *,
        version_id: str | None = None,
        bypass_governance: bool = False,
        deadline: float | None = None,
    ) -> None:
        """Set the immutability policy of a version, or remove it; see `LockingDriver.set_retention`.

        "governance" is an unlocked policy, and "compliance" a locked one.
        """
        await locking.set_retention(
            self._container,
            key,
            retain_until,
            mode,
            version_id=version_id,
            bypass_governance=bypass_governance,
            deadline=deadline,
        )

    async def set_legal_hold(
        self, key: str, *, held: bool, version_id: str | None = None, deadline: float | None = None
    ) -> None:
        """Put a version under legal hold, or release it; see `LockingDriver.set_legal_hold`."""
        await locking.set_legal_hold(
            self._container, key, held=held, version_id=version_id, deadline=deadline
        )

    async def copy(self, request: CopyRequest) -> PutResult:
        """Copy one object inside the container at any size; see `Driver.copy`."""
        return await copying.copy(self._container, request)

    def reaches(self, other: Driver) -> bool:
        """Whether it is of a container of the same account; see `CopiesAcross`."""
        return self._near(other) is not None

    def _near(self, other: Driver) -> Container | None:
        if not isinstance(other, AzureDriver):
            return None
        there, given = other._container, other._given  # noqa: SLF001 - of this class
        same = given is self._given and same_account(self._container.config, there.config)
        return there if same else None

    async def copy_across(self, other: Driver, request: CopyRequest) -> PutResult:
        """Copy one object of another container of the account, at any size; see `CopiesAcross`."""
        return await copying.copy(self._container, request, self._near(other))

    async def get_tags(self, key: str, *, deadline: float | None = None) -> Mapping[str, str]:
        """The object's index tags; see `TaggedDriver`."""
        return await copying.read_tags(self._container, key, None, deadline)

    async def put_tags(self, key: str, tags: Mapping[str, str], *, deadline: float | None = None) -> None:
        """Replace all tags of an object; see `TaggedDriver`."""
        await copying.put_tags(self._container, key, tags, deadline=deadline)

    def list_uploads(self, prefix: str = "") -> AsyncIterator[BegunUpload]:
        """Keys with nothing but blocks of uploads that were given up; see `uploads.list_uploads`."""
        return uploads.list_uploads(self._container, prefix)

    async def abort_upload(self, key: str, upload_id: str = "") -> None:  # noqa: ARG002 - Azure has none
        """Drop those of one key; see `uploads.abort_upload`."""
        await uploads.abort_upload(self._container, key)

    async def sign(self, request: SignRequest) -> SignedRequest:
        """Make a link with a shared access signature; see `Driver.sign`."""
        return await signing.sign(self._container, self._keys, request, self._clock)

    async def ping(self, *, deadline: float | None = None) -> None:
        """List one name; see `Driver.ping`."""
        await listings.ping(self._container, deadline=deadline)

    async def aclose(self) -> None:
        """Close connections and credentials; safe to call again."""
        await self._container.aclose()


def signer_of(config: AzureConfig) -> AzureSigner:
    """What authenticates the requests of a store.

    Raises:
        StorageConfigurationError: Entra ID is to be used, and the extra `azure` is missing.
    """
    if config.auth == "key" and config.account_key is not None:
        base = urlsplit(config.resolved_endpoint).path
        return KeySigner(config.account or "", config.account_key, base=base)
    if config.auth == "sas" and config.sas_token is not None:
        return SasSigner(config.sas_token, sas_ends(config.sas_token))
    return TokenSigner(EntraTokens())


def client_of(config: AzureConfig, proxies: ProxyRules | None = None) -> HttpClient:
    """The HTTP client of a store.

    Args:
        config: Of the store.
        proxies: What the configuration and the environment say of proxies, where that is known already.
    """
    return HttpClient(
        max_connections=config.max_connections,
        idle_timeout=config.idle_timeout,
        ca_file=config.ca_file,
        bandwidth=config.bandwidth_limit,
        proxies=ProxyRules.of(config.proxy, os.environ) if proxies is None else proxies,
    )
