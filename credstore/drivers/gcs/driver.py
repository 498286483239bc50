"""`GcsDriver`: the contract of `credstore.driver` on Google Cloud Storage.

Rules of this file: no protocol here; each operation is one call into the module that knows about it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from credstore.config.field_types import same_account
from credstore.config.gcs import GcsConfig
from credstore.driver.contract import Driver
from credstore.driver.location import BucketLocation
from credstore.driver.refusals import UPLOAD_FORMS, no_link
from credstore.driver.upload_forms import FormRequest
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
from credstore.drivers.gcs import (
    copying,
    deleting,
    listings,
    location,
    locking,
    reading,
    signing,
    versions,
    writing,
)
from credstore.drivers.gcs.bucket import Bucket
from credstore.drivers.gcs.capabilities import NAME
from credstore.errors import RetentionMode, StorageError
from credstore.model import CircuitState, Retention, UploadForm
from credstore.wire.google.tokens import GoogleSource, GoogleTokens, Identity
from credstore.wire.http import HttpClient
from credstore.wire.proxy import ProxyRules
from credstore.wire.tokens import AnonymousSigner, BearerSigner
from credstore.wire.transport import Transport


class GcsDriver(Driver):
    """One bucket of Google Cloud Storage.

    Cancellation: at once; a resumable upload is cancelled first, within 5 seconds.
    """

    def __init__(
        self,
        config: GcsConfig,
        *,
        tokens: GoogleSource | None = None,
        transport: Transport | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Compute where the bucket is; nothing is sent yet.

        Args:
            config: The bucket and whose credentials to use.
            tokens: Used instead of the configuration's credentials; closed with the driver.
            transport: Used instead of an HTTP client of its own; closed with the driver.
            clock: Unix seconds, for links.

        Raises:
            StorageConfigurationError: A setting is missing or cannot be used, or the extra `gcs` is missing.
        """
        self._clock = clock
        self._given = tokens
        proxies = ProxyRules.of(config.proxy, os.environ)
        proxies.check_reach(config.resolved_endpoint, allow_http=config.allow_http)
        self._tokens = tokens if tokens is not None else tokens_of(config)
        signer = AnonymousSigner() if self._tokens is None else BearerSigner(self._tokens)
        self._bucket = Bucket(config, signer=signer, transport=transport or client_of(config, proxies))

    @property
    def name(self) -> str:
        """The cloud's label, "gcs"."""
        return self._bucket.label

    @property
    def capabilities(self) -> Capabilities:
        """What Google can do; less where the server is an emulator, or was seen to ignore conditions."""
        return self._bucket.able

    @property
    def circuits(self) -> Mapping[str, CircuitState]:
        """See `BreaksCircuits.circuits`."""
        return self._bucket.circuits

    @property
    def requests(self) -> Mapping[str, int]:
        """See `CountsRequests.requests`."""
        return self._bucket.requests

    async def put(self, request: PutRequest) -> PutResult:
        """Write one object; see `Driver.put`."""
        return await writing.put(self._bucket, request)

    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        """Open the stored bytes; see `Driver.get`."""
        return await reading.open_object(self._bucket, key, options)

    async def head(self, key: str, options: ReadOptions = READ_ALL) -> ObjectInfo:
        """What `get` would serve; see `Driver.head`."""
        return await reading.head(self._bucket, key, options)

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
            self._bucket, key, if_match=if_match, version_id=version_id, deadline=deadline
        )

    async def delete_many(
        self, keys: Sequence[str], *, deadline: float | None = None
    ) -> Mapping[str, DeleteOutcome | StorageError]:
        """Remove up to 100 keys in one request; see `Driver.delete_many`."""
        return await deleting.delete_many(self._bucket, keys, deadline=deadline)

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
        """One page; the cursor is Google's page token. See `Driver.list`."""
        return await listings.list_page(
            self._bucket,
            prefix,
            cursor,
            delimiter=delimiter,
            start_after=start_after,
            limit=limit,
            deadline=deadline,
        )

    async def keeps_versions(self, *, deadline: float | None = None) -> bool:
        """Whether there may be versions; see `VersionedDriver.keeps_versions`."""
        return await versions.keeps_versions(self._bucket, deadline=deadline)

    async def locate(self, *, deadline: float | None = None) -> BucketLocation:
        """What the bucket's resource says; see `TellsLocation.locate`."""
        return await location.locate(self._bucket, deadline=deadline)

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
            self._bucket, prefix, cursor, exact=exact, limit=limit, deadline=deadline
        )

    async def delete_versions(
        self, versions_: Sequence[tuple[str, str]], *, deadline: float | None = None
    ) -> Mapping[tuple[str, str], DeleteOutcome | StorageError]:
        """Remove up to 100 versions in one request; see `VersionedDriver.delete_versions`."""
        return await versions.delete_versions(self._bucket, versions_, deadline=deadline)

    async def get_retention(
        self, key: str, version_id: str | None = None, *, deadline: float | None = None
    ) -> Retention:
        """What keeps a version from being removed; see `RetainingDriver`."""
        return await locking.get_retention(self._bucket, key, version_id, deadline=deadline)

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
        """Set the retention of an object, or remove it; see `LockingDriver.set_retention`.

        "governance" is Google's mode "Unlocked", and "compliance" its mode "Locked".
        """
        await locking.set_retention(
            self._bucket,
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
        """Set a temporary hold, or release what is held; see `LockingDriver.set_legal_hold`."""
        await locking.set_legal_hold(self._bucket, key, held=held, version_id=version_id, deadline=deadline)

    async def copy(self, request: CopyRequest) -> PutResult:
        """Copy one object inside the bucket at any size; see `Driver.copy`."""
        return await copying.copy(self._bucket, request)

    def reaches(self, other: Driver) -> bool:
        """Whether it is of a bucket of the same account; see `CopiesAcross`."""
        return self._near(other) is not None

    def _near(self, other: Driver) -> Bucket | None:
        if not isinstance(other, GcsDriver):
            return None
        there, given = other._bucket, other._given  # noqa: SLF001 - of this class
        same = given is self._given and same_account(self._bucket.config, there.config)
        return there if same else None

    async def copy_across(self, other: Driver, request: CopyRequest) -> PutResult:
        """Copy one object of another bucket of the account, at any size; see `CopiesAcross`."""
        return await copying.copy(self._bucket, request, self._near(other))

    async def sign(self, request: SignRequest) -> SignedRequest:
        """Make a link with a V4 signature; see `Driver.sign`."""
        if self._tokens is None:
            self._bucket.check_usable(request.deadline)
            raise no_link(request.method, ()).of(NAME)
        return await signing.sign(self._bucket, self._tokens, request, self._clock)

    async def upload_form(self, request: FormRequest) -> UploadForm:
        """Make a form with a V4 policy; see `MakesUploadForms`."""
        if self._tokens is None:
            self._bucket.check_usable(request.deadline)
            raise UPLOAD_FORMS.of(NAME)
        return await signing.upload_form(self._bucket, self._tokens, request, self._clock)

    async def ping(self, *, deadline: float | None = None) -> None:
        """List one name; see `Driver.ping`."""
        await listings.ping(self._bucket, deadline=deadline)

    async def aclose(self) -> None:
        """Close connections and credentials; safe to call again."""
        await self._bucket.aclose()


def tokens_of(config: GcsConfig) -> GoogleSource | None:
    """Where the tokens of a store come from; None where requests have none.

    Raises:
        StorageConfigurationError: The extra `gcs` is missing.
    """
    if config.is_anonymous:
        return None
    return GoogleTokens(
        Identity(file=config.credentials_file, info=config.credentials_json, impersonate=config.impersonate)
    )


def client_of(config: GcsConfig, proxies: ProxyRules | None = None) -> HttpClient:
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
