"""`S3Driver`: the contract of `credstore.driver` on any store that speaks S3.

Rules of this file: no protocol here; each operation is one call into the module that knows about it.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import cast

from credstore.config.chained import has_say, located, trusted
from credstore.config.field_types import same_account
from credstore.config.reports import check_place, said_of
from credstore.config.stores import S3Config, S3FamilyConfig
from credstore.driver.contract import Driver
from credstore.driver.location import BucketLocation
from credstore.driver.repeats import PAGES, Recent
from credstore.driver.stated import Said
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
from credstore.drivers.s3 import copying, deleting, digests, listings, locking, reading, signing, writing
from credstore.drivers.s3 import versions as versioning
from credstore.drivers.s3.address import place_of
from credstore.drivers.s3.bucket import Bucket, parsed
from credstore.drivers.s3.dialect import row_for
from credstore.drivers.s3.requests import head_bucket, list_objects
from credstore.drivers.s3.responses import location_of
from credstore.drivers.s3.stated import stated
from credstore.drivers.s3.uploads import abort_upload, list_uploads
from credstore.drivers.s3.xml import UploadInfo, parse_list, parse_uploads
from credstore.errors import (
    ErrorCode,
    RetentionMode,
    StorageConfigurationError,
    StorageError,
    StorageIntegrityError,
    StorageNotFoundError,
    StorageObjectNotFoundError,
)
from credstore.model import CircuitState, Retention, UploadForm
from credstore.wire.aws.credentials import (
    AwsChainCredentials,
    Credentials,
    CredentialSource,
    StaticCredentials,
)
from credstore.wire.aws.signer import AwsSigner
from credstore.wire.http import HttpClient
from credstore.wire.proxy import ProxyRules
from credstore.wire.transport import Transport


class S3Driver(Driver):
    """One bucket at AWS S3, R2, Spaces, Wasabi, B2, MinIO, Ceph or another server that speaks S3.

    Cancellation: at once; a multipart upload is aborted first, within 5 seconds.
    """

    def __init__(
        self,
        config: S3FamilyConfig,
        *,
        credentials: CredentialSource | None = None,
        transport: Transport | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Compute where the bucket is; nothing is sent yet.

        Args:
            config: The cloud, bucket and credentials.
            credentials: Used instead of the configuration's; closed with the driver.
            transport: Used instead of an HTTP client of its own; closed with the driver.
            clock: Unix seconds, for links.

        Raises:
            StorageConfigurationError: A setting is missing or cannot be used.
        """
        self._clock = clock
        self._given = credentials
        said = said_of(config)
        self._dialect = stated(row_for(config), said)
        proxies = ProxyRules.of(config.proxy, os.environ)
        client = client_of(config, proxies) if transport is None else None
        profile = None
        if credentials is None and has_say(config):
            profile = _Profile(cast("S3Config", config), proxies, client, said)
            if config.access_key_id is None:
                credentials = AwsChainCredentials(profile=profile.name, check=profile.check)
        if profile is None or not config.place_is_open:
            proxies.check_reach(place_of(config).origin, allow_http=config.allow_http)
        source = credentials or credentials_of(config, clock=clock)
        self._bucket = Bucket(
            config,
            self._dialect,
            signer=AwsSigner(source),
            transport=transport or cast("HttpClient", client),
            locate=None if profile is None else profile.locate,
        )

    @property
    def name(self) -> str:
        """The cloud's label, such as "r2"."""
        return self._bucket.label

    @property
    def capabilities(self) -> Capabilities:
        """The row of the cloud."""
        return self._dialect.capabilities

    @property
    def circuits(self) -> Mapping[str, CircuitState]:
        """See `BreaksCircuits.circuits`."""
        return self._bucket.circuits

    @property
    def requests(self) -> Mapping[str, int]:
        """See `CountsRequests.requests`."""
        return self._bucket.exchange.sent

    async def put(self, request: PutRequest) -> PutResult:
        """Write one object; see `Driver.put`."""
        return await writing.put(self._bucket, request)

    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        """Open the stored bytes; see `Driver.get`."""
        return await reading.open_object(self._bucket, key, options)

    async def head(self, key: str, options: ReadOptions = READ_ALL) -> ObjectInfo:
        """What `get` would serve; see `Driver.head`.

        A missing version of an object is reported as that, as `get` does.
        """
        try:
            return await reading.head(self._bucket, key, options)
        except StorageObjectNotFoundError as error:
            if options.version_id is None:
                raise
            facts = error.facts()
        facts["code"] = ErrorCode.VERSION_NOT_FOUND
        raise StorageNotFoundError("there is no such version of the object", **facts)

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
        """Remove up to 1,000 keys in one request; see `Driver.delete_many`."""
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
        """One page; the cursor is S3's continuation token. See `Driver.list`."""
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
        """Whether the bucket's versioning is on or suspended; see `VersionedDriver.keeps_versions`."""
        return await versioning.keeps_versions(self._bucket, deadline=deadline)

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
        return await versioning.list_versions(
            self._bucket, prefix, cursor, exact=exact, limit=limit, deadline=deadline
        )

    async def delete_versions(
        self, versions: Sequence[tuple[str, str]], *, deadline: float | None = None
    ) -> Mapping[tuple[str, str], DeleteOutcome | StorageError]:
        """Remove up to 1,000 versions in one request; see `VersionedDriver.delete_versions`."""
        return await versioning.delete_versions(self._bucket, versions, deadline=deadline)

    async def get_retention(
        self, key: str, version_id: str | None = None, *, deadline: float | None = None
    ) -> Retention:
        """What Object Lock says about an object; see `RetainingDriver.get_retention`."""
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
        """Put an object under retention; see `LockingDriver.set_retention`."""
        await locking.set_retention(
            self._bucket, key, retain_until, mode, version_id=version_id, bypass_governance=bypass_governance,
            deadline=deadline,
        )  # fmt: skip

    async def set_legal_hold(
        self, key: str, *, held: bool, version_id: str | None = None, deadline: float | None = None
    ) -> None:
        """Hold an object or release it; see `LockingDriver.set_legal_hold`."""
        await locking.set_legal_hold(self._bucket, key, held=held, version_id=version_id, deadline=deadline)

    async def copy(self, request: CopyRequest) -> PutResult:
        """Copy one object inside the bucket at any size; see `Driver.copy`."""
        return await copying.copy(self._bucket, request)

    async def wants_checksums(self, *, deadline: float | None = None) -> bool:
        """Whether the bucket has a default retention; see `WantsChecksums.wants_checksums`."""
        return await locking.wants_checksums(self._bucket, deadline=deadline)

    def part_size(self, length: int) -> int | None:
        """As `put` would send it; see `SendsParts.part_size`."""
        return writing.part_size(self._bucket, length)

    async def stored_digest(self, info: ObjectInfo, options: ReadOptions = READ_ALL) -> bytes | None:
        """What GetObjectAttributes says of an object's bytes; see `ReportsDigests.stored_digest`."""
        return await digests.stored_digest(self._bucket, info, options)

    def reaches(self, other: Driver) -> bool:
        """Whether it is of a bucket of the same account; see `CopiesAcross`."""
        return self._near(other) is not None

    def _near(self, other: Driver) -> Bucket | None:
        if not isinstance(other, S3Driver):
            return None
        there, given = other._bucket, other._given  # noqa: SLF001 - of this class
        same = given is self._given and same_account(self._bucket.config, there.config)
        return there if same else None

    async def copy_across(self, other: Driver, request: CopyRequest) -> PutResult:
        """Copy one object of another bucket of the account, at any size; see `CopiesAcross`."""
        return await copying.copy(self._bucket, request, self._near(other))

    async def get_tags(self, key: str, *, deadline: float | None = None) -> Mapping[str, str]:
        """The object's tags, {} where the cloud has none; see `TaggedDriver`."""
        return await copying.get_tags(self._bucket, key, None, deadline)

    async def put_tags(self, key: str, tags: Mapping[str, str], *, deadline: float | None = None) -> None:
        """Replace all tags of an object; see `TaggedDriver`."""
        await copying.put_tags(self._bucket, key, tags, version_id=None, deadline=deadline)

    async def sign(self, request: SignRequest) -> SignedRequest:
        """Make a presigned URL; see `Driver.sign`."""
        return await signing.sign(self._bucket, request, self._clock)

    async def upload_form(self, request: FormRequest) -> UploadForm:
        """Make a form with a POST policy; see `MakesUploadForms`."""
        return await signing.upload_form(self._bucket, request, self._clock)

    async def ping(self, *, deadline: float | None = None) -> None:
        """List one key, which works with keys limited to one bucket; see `Driver.ping`."""
        request = replace(list_objects("", None, 1, self._dialect), probe=True)
        reply = await self._bucket.call(request, deadline=deadline)
        await parsed(parse_list, reply.body)

    async def locate(self, *, deadline: float | None = None) -> BucketLocation:
        """What the headers of HeadBucket say; see `TellsLocation.locate`."""
        reply = await self._bucket.call(head_bucket(), deadline=deadline)
        return location_of(reply.headers)

    async def warm(self, connections: int, *, deadline: float | None = None) -> None:
        """Have connections ready; see `KeepsConnections.warm`."""
        await self._bucket.warm(connections, deadline)

    async def list_uploads(
        self, prefix: str = "", *, deadline: float | None = None
    ) -> AsyncIterator[UploadInfo]:
        """Multipart uploads that have not ended, for whoever cleans them up.

        Args:
            prefix: What their keys start with.
            deadline: Instant of `time.monotonic()` for all pages, or None.

        Raises:
            StorageIntegrityError: The listing goes round in circles.
        """
        markers: tuple[str, str] | None = None
        seen = Recent(PAGES)
        while True:
            build = partial(list_uploads, prefix, markers)
            page = await listings.asked(self._bucket, build, parse_uploads, deadline)
            for upload in page.uploads:
                yield upload
            if page.markers is None:
                return
            if seen.again(repr(page.markers).encode()):
                raise StorageIntegrityError(
                    "the provider's listing of uploads goes round in circles", code=ErrorCode.LISTING
                )
            markers = page.markers

    async def abort_upload(self, key: str, upload_id: str, *, deadline: float | None = None) -> None:
        """End a multipart upload and drop its parts; one that has ended already is not an error."""
        try:
            await self._bucket.call(abort_upload(key, upload_id), deadline=deadline)
        except StorageNotFoundError as error:
            if error.code not in {ErrorCode.UPLOAD_NOT_FOUND, ErrorCode.NOT_FOUND}:
                raise

    async def aclose(self) -> None:
        """Close connections and credentials; safe to call again."""
        await self._bucket.aclose()


def client_of(config: S3FamilyConfig, proxies: ProxyRules | None = None) -> HttpClient:
    """The HTTP client of a store.

    Args:
        config: Of the store.
        proxies: What the configuration and the environment say of proxies, where that is known already.
    """
    return HttpClient(
        max_connections=config.max_connections,
        idle_timeout=config.idle_timeout,
        ca_file=trusted(config),
        bandwidth=config.bandwidth_limit,
        proxies=ProxyRules.of(config.proxy, os.environ) if proxies is None else proxies,
    )


class _Profile:
    """Where a store's profile leads, looked up once, and that it still leads there; blocks."""

    def __init__(self, config: S3Config, proxies: ProxyRules, client: HttpClient | None, said: Said) -> None:
        self.name = config.profile
        self._said = said
        self._config = config
        self._proxies = proxies
        self._client = client
        self._found: S3Config | None = None
        self._first = True

    def locate(self) -> S3Config:
        """The config with all of the place that the profile leads to.

        Raises:
            StorageConfigurationError: It cannot be used.
        """
        found = located(self._config)
        check_place(self._said, found)
        self._proxies.check_reach(place_of(found).origin, allow_http=found.allow_http)
        if self._client is not None:
            self._client.trust(found.ca_file)
        self._found = found
        return found

    def check(self) -> None:
        """Refuse to look for newer keys where the profile has been changed to lead elsewhere.

        They would go where it led before. The first keys are those of the place that was found just now.

        Raises:
            StorageConfigurationError: The profile leads elsewhere now, or cannot be used.
        """
        first, self._first = self._first, False
        if first or self._found is None:
            return
        if located(self._config).endpoint != self._found.endpoint:
            raise StorageConfigurationError(
                "the profile in the AWS configuration leads to another endpoint than when this store was "
                "first used, so its newer keys are not for this one; make a new store",
                code=ErrorCode.FOREIGN_ENDPOINT,
            )


def credentials_of(config: S3FamilyConfig, *, clock: Callable[[], float] = time.time) -> CredentialSource:
    """Where a configuration says its credentials come from.

    Args:
        config: Of the store.
        clock: Unix seconds, for the end of a session.

    Raises:
        StorageConfigurationError: There is half a key pair, or none for a cloud without a credential chain.
    """
    if (config.access_key_id is None) != (config.secret_access_key is None):
        raise StorageConfigurationError(
            f"{config.provider} needs both `access_key_id` and `secret_access_key`; one is missing"
        )
    if config.access_key_id is not None and config.secret_access_key is not None:
        keys = Credentials(
            config.access_key_id, config.secret_access_key, config.session_token, config.session_expires_at
        )
        return StaticCredentials(keys, now=lambda: datetime.fromtimestamp(clock(), UTC))
    if isinstance(config, S3Config):
        return AwsChainCredentials(profile=config.profile)
    raise StorageConfigurationError(f"{config.provider} needs `access_key_id` and `secret_access_key`")
