"""`StorageProvider`: the verbs of the original design, written once, over any driver."""

from __future__ import annotations

import builtins
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack, overload

from credstore.arguments import typed_class
from credstore.causes import raise_explained
from credstore.config.settings import CommonConfig
from credstore.driver.contract import BreaksCircuits, Driver
from credstore.driver.internal import DICTIONARIES
from credstore.driver.refusals import check_delete
from credstore.driver.values import BytesBody, Capabilities
from credstore.encryption import ClientSide, CustomerKey, ServerEncryption, known_encryption
from credstore.errors import (
    StorageAccessDeniedError,
    StorageError,
    StorageObjectNotFoundError,
)
from credstore.metrics import Meter
from credstore.model import (
    NOTHING,
    UNSET,
    BatchDeleteResult,
    CommonPrefix,
    Dictionary,
    HealthCheckResult,
    LinkGrant,
    Listing,
    LockOptions,
    Method,
    Progress,
    RotationReport,
    SignedUrl,
    Storable,
    StorageItem,
    StorageResult,
    StorageStats,
    StoredDictionary,
    StoreOptions,
    Unset,
    UploadForm,
)
from credstore.observe import Observer
from credstore.provider.bodies import WatchedBody
from credstore.provider.bulk import delete_keys
from credstore.provider.call import Call
from credstore.provider.copying import copied, move_object, plan_copy
from credstore.provider.dictionaries import added, checked_name, stored_dictionaries
from credstore.provider.fetching import FetchingVerbs
from credstore.provider.keeping import KeepingVerbs
from credstore.provider.links import (
    LinkOptions,
    granted,
    public_address,
    temporary_link,
)
from credstore.provider.listings import Asked, list_names, names, totals
from credstore.provider.measured import MeasuredVerbs
from credstore.provider.read import Reading, Wanted, item_of, recipe_of
from credstore.provider.retaining import explained, written
from credstore.provider.scanning import scan_own
from credstore.provider.session import ProviderOptions, Session, deadline_for
from credstore.provider.sources import body_of
from credstore.provider.streaming import Opening
from credstore.provider.validation import (
    check_count,
    check_flag,
    check_prefix,
    check_progress,
    check_reading,
    checked_etag,
    checked_version,
)
from credstore.provider.write import finish_write, plan_other, planned

if TYPE_CHECKING:
    from credstore.provider.upload_forms import UploadFormOptions


@typed_class
class StorageProvider(FetchingVerbs, KeepingVerbs, MeasuredVerbs):
    """Objects of one store, whatever cloud or disk it is.

    Open it with `async with`, or close it with `aclose()`. It belongs to the event loop of its first call and
    to the process that made it. All verbs raise `StorageError`s only; each carries the provider, the verb and
    the key, and says in `applied` whether a change may have happened.

    Attributes:
        config: The settings it was made with; secrets in it are never shown.
    """

    def __init__(
        self,
        driver: Driver,
        config: CommonConfig,
        *,
        members: Mapping[str, CommonConfig] = NOTHING,
        meters: Mapping[str, Meter] = NOTHING,
        **options: Unpack[ProviderOptions],
    ) -> None:
        """Put the verbs on top of a driver; see `Session`."""
        self._session = Session(driver, config, members=members, meters=meters, **options)

    @property
    def config(self) -> CommonConfig:
        """The settings it was made with; secrets in it are never shown."""
        return self._session.config

    @property
    def capabilities(self) -> Capabilities:
        """What this store can do, as facts."""
        return self._session.capabilities

    @property
    def observers(self) -> tuple[Observer, ...]:
        """Called with an `Event` after each call."""
        return self._session.lifetime.observers

    @property
    def closed(self) -> bool:
        """Whether `aclose` was called."""
        return self._session.lifetime.closed

    def get_provider_name(self) -> str:
        """Label of the provider, such as "s3", "r2", "spaces", "wasabi", "b2", "custom" or "local"."""
        return self._session.name

    async def aclose(self) -> None:
        """Wait for the calls in progress, then release everything; safe to call again, even if cancelled."""
        await self._session.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<{type(self).__name__} {self._session.name} ({state})>"

    async def store(self, key: str, data: Storable, **options: Unpack[StoreOptions]) -> StorageResult:
        """Write `data` under `key`; once this returns, every later `retrieve` sees it.

        Args:
            key: 1 to 1,024 bytes of UTF-8 without control characters; not normalised.
            data: Bytes-like, a path object, a binary file (from its position, not closed), or an iterable or
                async iterable of bytes, of any length. Text is refused.
            options: See `StoreOptions`. `if_absent=True` refuses to replace an object.

        Returns:
            Sizes in bytes (`size` stored, `plain_size` given), the SHA-256 `digest` of the stored
            bytes (32 bytes), the provider's `etag`, and the public `url`.

        Raises:
            StorageInvalidKeyError: The key cannot name an object, or is credstore's own (code
                "RESERVED_KEY"); nothing was sent.
            StorageInvalidRequestError: An option or the data is wrong; nothing was sent.
            StorageUnsupportedError: The provider cannot honour an option; nothing was sent.
            StorageAlreadyExistsError: `if_absent`, and another writer's object is there.
            StoragePreconditionFailedError: `if_match`, and the object is a different version.
            StorageRetainedError: A retention or legal hold forbids to replace what is there.
            StorageError: `.applied` is "no" or "maybe"; after "maybe" the object may appear later.
            Exception: What the user's own stream or callback raised first, as it is; no object became visible
                by a stream that failed.

        Cost: 1 request up to `multipart_threshold`, else 2 and one per part; 1 HEAD if unclear or refused
            by a condition.
        Cancellation: at once, or after a multipart upload was aborted (5 s at most).
        Source: S3 API PutObject, "Conditional writes"; promises P0, P1, P4, P6.
        """
        if "encryption" in options:
            options["encryption"] = known_encryption(options["encryption"])
        with self._session.call("store", key, mutation=True) as call:
            self._session.check_key(key)
            if options and callable(told := options.get("progress")):
                options["progress"] = call.watching(told)
            body = BytesBody(data) if type(data) is bytes else await body_of(data)
            if isinstance(body, BytesBody):
                # Nothing of the user's is left that could fail, or stay half read.
                return await self._write(call, key, body, options)
            async with aclosing(WatchedBody(body, call)) as watched:
                return await self._write(call, key, watched, options)

    async def _write(
        self, call: Call, key: str, body: BytesBody | WatchedBody, options: StoreOptions
    ) -> StorageResult:
        session = self._session
        write = planned(key, body, options, session) if isinstance(body, BytesBody) else None
        if write is None:
            write = await plan_other(key, body, options, session)
        result = finish_write(write, await written(session, write.request), session)
        call.moved(result.size, result.plain_size, write.codec)
        return result

    async def retrieve(
        self,
        key: str,
        *,
        max_size: int | None = None,
        decode: bool = True,
        encryption: CustomerKey | ClientSide | None = None,
        version_id: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - a setting of the call, kept by the driver
        progress: Progress | None = None,
    ) -> bytes | None:
        """All bytes of an object, verified and decompressed; None if there is no such object.

        Args:
            key: The object's key.
            max_size: Maximum number of bytes to return; the configured `max_retrieve_size` unless given.
            decode: False returns the stored bytes, for objects made with an unknown codec.
            encryption: The customer-provided key the object was stored with (SSE-C), or what decrypts it
                here, instead of the provider's.
            version_id: A kept version.
            timeout: Seconds until the response starts, instead of the configured number.
            progress: Called with (stored bytes received, stored bytes in total), in order.

        Raises:
            StorageDecryptionError: The bytes are not what was encrypted under this key, or are not encrypted.
            StorageIntegrityError: The bytes are not those that were stored.
            StorageCodecError: The bytes do not decompress.
            StorageInvalidRequestError: There are more than `max_size` bytes (code "TOO_LARGE").
            StorageNotFoundError: There is no such bucket, root or version.
            StorageError: Anything else.

        Cost: 1 request.
        """
        encryption, session = known_encryption(encryption), self._session
        with session.call("retrieve", key) as call:
            session.check_key(key)
            check_reading(max_size, decode, progress)
            reading = Reading(
                session, key, decode=decode, encryption=encryption, version_id=version_id, timeout=timeout
            )
            try:
                reader = await session.driver.get(key, reading.options())
            except StorageObjectNotFoundError:
                return None
            if progress is not None:
                reader.watch(call.watching(progress))
            limit = self._session.config.max_retrieve_size if max_size is None else max_size
            plain, codec = await reading.whole(reader, limit)
            call.moved(reader.info.size, len(plain), codec)
            return plain

    def open(
        self,
        key: str,
        *,
        start: int = 0,
        end: int | None = None,
        suffix: int | None = None,
        decode: bool = True,
        encryption: CustomerKey | ClientSide | None = None,
        version_id: str | None = None,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> Opening:
        """Stream an object: `async with provider.open(key) as reader: async for chunk in reader`.

        Args:
            key: The object's key.
            start: First plain byte, 0-based.
            end: One past the last plain byte; None for all. A range of a compressed object is
                decoded from the object's start.
            suffix: Number of plain bytes to read from the end, 1 or more, instead of `start` and `end`; if
                the object has fewer, all of them.
            decode: False streams the stored bytes.
            encryption: The customer-provided key the object was stored with (SSE-C), or what decrypts it
                here, instead of the provider's.
            version_id: A kept version.
            timeout: Seconds until the response starts, instead of the configured number.
            progress: Called with (stored bytes received, stored bytes in total), in order.

        Returns:
            An async context manager of an `ObjectReader`, whose `info` is the `StorageItem`. The reader
            raises unless every byte arrives and matches.

        Raises:
            StorageNotFoundError: On entering: no such object.
            StorageInvalidRequestError: On entering: a range beyond the end, or an invalid range (code
                "INVALID_RANGE"). While reading: the last bytes of a compressed object that does not record
                its plain size, where these are more than `max_retrieve_size` (code "TOO_LARGE").
            StorageDecryptionError: On entering or while reading: not what was encrypted under this key.
            StorageIntegrityError: While reading: cut short or changed.
            StorageError: Anything else.

        Cost: 1 request for all bytes, or for a range of an object stored unchanged; otherwise 2 for a
            range.
        """
        encryption = known_encryption(encryption)
        reading = Reading(
            self._session, key, decode=decode, encryption=encryption, version_id=version_id, timeout=timeout
        )
        wanted = Wanted(start, end, suffix, self.config.max_retrieve_size)
        return Opening(reading, wanted, call=self._session.call("open", key), progress=progress)

    async def add_dictionary(self, dictionary: Dictionary) -> str:
        """Store a dictionary, so that all readers of the store can read objects compressed with it.

        `store(..., dictionary=...)` does this itself.

        Args:
            dictionary: It is kept at `.credstore/dictionaries/<name>`.

        Returns:
            Its name: 64 hex digits, for use as the option or setting `dictionary`.

        Raises:
            StorageInvalidRequestError: Not a `Dictionary`.
            StorageUnsupportedError: The store encrypts on the client; a dictionary has pieces of plain text.
            StorageError: It could not be stored.

        Cost: 2 requests the first time, then none.
        """
        with self._session.call("add_dictionary", None, mutation=True):
            return await added(
                self._session.dictionaries, dictionary, encrypts=self._session.policy is not None
            )

    async def get_dictionary(self, name: str) -> Dictionary:
        """A dictionary that is in the store.

        Args:
            name: Its SHA-256, 64 hex digits, as given in items and results.

        Raises:
            StorageInvalidRequestError: Not a name; nothing was sent.
            StorageCodecError: It is not there (code "DICTIONARY_MISSING").
            StorageIntegrityError: What is there is not this dictionary.
            StorageError: Anything else.

        Cost: 1 request the first time, then none.
        """
        with self._session.call("get_dictionary", None):
            return await self._session.dictionaries.get(checked_name(name))

    async def list_dictionaries(self) -> builtins.list[StoredDictionary]:
        """The dictionaries that are in the store, ascending by name.

        Raises:
            StorageIntegrityError: The provider's listing repeats itself or does not end.
            StorageError: Anything else.

        Cost: 1 request per 1,000 dictionaries.
        """
        with self._session.call("list_dictionaries", None):
            return await stored_dictionaries(scan_own(self._session, DICTIONARIES))

    async def get_metadata(
        self,
        key: str,
        *,
        encryption: CustomerKey | None = None,
        version_id: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - a setting of the call, kept by the driver
    ) -> StorageItem | None:
        """What is known about an object, without its bytes; None if there is no such object.

        Args:
            key: The object's key.
            encryption: The customer-provided key the object was stored with (SSE-C).
            version_id: A kept version.
            timeout: Seconds, instead of the configured number.

        Raises:
            StorageCodecError: It exists, but was made with a codec this version does not know.
            StorageNotFoundError: There is no such bucket, root or version.
            StorageError: Anything else.

        Cost: 1 request.
        """
        encryption = known_encryption(encryption)
        with self._session.call("get_metadata", key):
            options = self._session.reading(encryption, version_id, timeout)
            info = await self._session.head_or_none(key, options)
            return None if info is None else item_of(info, self._session.name, recipe_of(info))

    async def exists(self, key: str, *, timeout: float | None = None) -> bool:  # noqa: ASYNC109
        """Whether there is such an object; an unreachable store raises and never returns False.

        Raises:
            StorageNotFoundError: There is no such bucket or root.
            StorageError: Anything else.

        Cost: 1 request.
        """
        with self._session.call("exists", key):
            found = await self._session.head_or_none(key, self._session.reading(timeout=timeout))
            return found is not None

    async def delete(
        self,
        key: str,
        *,
        if_match: str | Unset = UNSET,
        version_id: str | Unset = UNSET,
        timeout: float | None = None,  # noqa: ASYNC109 - a setting of the call, kept by the driver
    ) -> bool | None:
        """Remove an object; removing a missing one is not an error, unless a version was named.

        Where the bucket keeps versions, this hides the object, and its versions remain until they are
        removed: with `version_id`, or all by `delete_versions`.

        Args:
            key: The object's key.
            if_match: Only the version with this etag, which has to be there (RFC 9110 §13.1.1). None, as in a
                result without one, is refused: it would remove whatever is there.
            version_id: A kept version, removed for good; None is refused here too.
            timeout: Seconds, instead of the configured number.

        Returns:
            Whether it existed; None where the provider does not say
            (`capabilities.delete_tells_existence`).

        Raises:
            StoragePreconditionFailedError: `if_match`, and the object is a different version, or absent.
            StorageRetainedError: A retention or legal hold keeps it; the error says until when.
            StorageUnsupportedError: `if_match` or `version_id` is given, and the provider cannot honour it.
            StorageInvalidRequestError: A condition that names no version; nothing was sent.
            StorageError: Anything else; a composite store names the members not reached.
        """
        with self._session.call("delete", key, mutation=True):
            self._session.check_key(key)
            etag, version = checked_etag(if_match), checked_version(version_id)
            check_delete(etag, version, self.capabilities, self._session.name)
            driver, end = self._session.driver, self._session.deadline(timeout)
            try:
                return (await driver.delete(key, if_match=etag, version_id=version, deadline=end)).existed
            except StorageAccessDeniedError as error:
                raise_explained(await explained(self._session, error, key, version), error)

    async def batch_delete(self, keys: Iterable[str], *, all_versions: bool = False) -> BatchDeleteResult:
        """Delete any number of objects; every distinct key has exactly one of two outcomes.

        Where the bucket keeps versions, this hides the objects, as `delete` does, unless `all_versions` is
        set.

        Args:
            keys: Repeats count once; absent objects count as deleted, and a key that belongs to credstore
                (code "RESERVED_KEY") or cannot name an object fails on its own, unsent.
            all_versions: Leave nothing behind: no version and no delete marker. A key with something left, or
                possibly left, is in `failed` with a `StorageVersionsRemainError` that says what and until
                when.

        Returns:
            `deleted` and `failed`; nothing is raised for individual keys.

        Raises:
            StorageInvalidRequestError: `keys` is something other than a list of keys, or the provider is
                closed or used on another loop.
            StorageInvalidKeyError: One of them is not text; nothing was sent.

        Cost: 1 request per `capabilities.max_delete_batch` keys. For all versions, 1 more; where the store
            keeps versions, also 1 for each key and 2 per 1,000 versions.
        """
        with self._session.call("batch_delete", None, mutation=True) as call:
            check_flag("all_versions", all_versions)
            from credstore.provider.erasing import erased_errors

            erase = erased_errors if all_versions else None
            result = await delete_keys(self._session, keys, call, erase=erase)
            call.attributes.update(deleted=len(result.deleted), failed=len(result.failed))
            return result

    async def list(
        self,
        prefix: str = "",
        max_keys: int | None = None,
        *,
        delimiter: str | None = None,
        start_after: str | None = None,
        parallel: int = 1,
    ) -> Listing:
        """All objects under a prefix, ascending by the UTF-8 bytes of their keys.

        With a delimiter, only those up to it, as a directory is listed: the keys that continue beyond it are
        not looked at one by one, and what they have in common is in `prefixes` of the result. What credstore
        keeps for itself next to them, below a segment `.credstore`, is left out.

        Args:
            prefix: What the keys start with; "" for all.
            max_keys: Maximum number of objects and prefixes together to return; None for all, however many
                there are.
            delimiter: Usually "/"; keys that contain it after `prefix` are shown only up to it.
            start_after: Only keys and prefixes after this text, which need not be a key; to continue after
                the last one seen.
            parallel: Requests at once, 1 to 64. With 2 or more, ranges of keys are listed at the same time,
                which is for tens of thousands of keys and more, without `max_keys` and `delimiter`. It
                changes nothing where the store lists in an order of its own (`capabilities.ordered`).

        Returns:
            A list of `StorageItem`, with `prefixes`: what to list next, each ending with the delimiter; and
            `refused`: objects that cannot be shown, such as one whose size the provider does not report.
            Sorted by the UTF-8 bytes of the keys, also where the provider lists in an order of its own
            (`capabilities.ordered`); `max_keys` then counts in that order.

        Raises:
            StorageInvalidKeyError: No user's key can start with this prefix.
            StorageIntegrityError: The provider's listing repeats itself, does not end, or ignores the
                delimiter.
            StorageInvalidRequestError: An empty delimiter, or a wrong argument; nothing was sent.
            StorageError: Anything else.

        Cost: 1 request per 1,000 objects and prefixes; a local store reads one directory for "/". While the
            bytes of one response are looked at, the next is on its way. In parallel, up to half as many more
            and 2 for each of the requests at once, to find the ranges.
        Source: S3 API ListObjectsV2; promise P11.
        """
        with self._session.call("list", None, awaited=False):
            asked = Asked(prefix, max_keys, delimiter, start_after, parallel)
            return await list_names(self._session, asked)

    @overload
    def scan(
        self,
        prefix: str = "",
        max_keys: int | None = None,
        *,
        delimiter: None = None,
        start_after: str | None = None,
    ) -> AsyncIterator[StorageItem]: ...

    @overload
    def scan(
        self,
        prefix: str = "",
        max_keys: int | None = None,
        *,
        delimiter: str,
        start_after: str | None = None,
    ) -> AsyncIterator[StorageItem | CommonPrefix]: ...

    async def scan(
        self,
        prefix: str = "",
        max_keys: int | None = None,
        *,
        delimiter: str | None = None,
        start_after: str | None = None,
    ) -> AsyncIterator[StorageItem | CommonPrefix]:
        """Like `list`, one item at a time, in bounded memory; with a delimiter, also `CommonPrefix`es.

        The order is that of the keys' UTF-8 bytes where the provider promises it (`capabilities.ordered`),
        else the provider's own.

        Raises:
            StorageIntegrityError: The provider's listing repeats itself, does not end, or ignores the
                delimiter; or, after everything else, there were objects that cannot be shown (code
                "UNREADABLE_ENTRY").
            StorageInvalidRequestError: An empty delimiter, or a wrong argument; nothing was sent.
            StorageError: Anything else.
        """
        with self._session.call("list", None, awaited=False):
            asked = Asked(prefix, max_keys, delimiter, start_after)
            async with aclosing(names(self._session, asked)) as found:
                async for each in found:
                    yield each

    async def get_stats(self, prefix: str = "", *, parallel: int = 1) -> StorageStats:
        """Exact totals of a prefix at any size, or an error; never zeros on failure.

        Users' objects are counted, with their stored sizes; what credstore keeps for itself next to them
        (wrapped keys, dictionaries) is not, though the provider bills for it.

        Args:
            prefix: What the keys start with; "" for all.
            parallel: Requests at once, 1 to 64; see `list`.

        Raises:
            StorageInvalidRequestError: A wrong argument; nothing was sent.
            StorageInvalidKeyError: No user's key can start with this prefix.
            StorageIntegrityError: The provider's listing repeats itself or does not end.
            StorageUnavailableError: A member of a composite store cannot be listed.
            StorageError: Anything else.

        Cost: 1 request per 1,000 objects.
        """
        with self._session.call("get_stats", None):
            return await totals(self._session, prefix, parallel)

    async def health_check(self, *, timeout: float = 5.0) -> HealthCheckResult:  # noqa: ASYNC109
        """Measure one cheap request; never raises, since an unhealthy store is a valid result.

        Args:
            timeout: Seconds to wait.
        """
        start = time.perf_counter()
        errors: tuple[str, ...] = ()
        driver = self._session.driver
        try:
            with self._session.call("health_check", None):
                await driver.ping(deadline=deadline_for(timeout))
        except StorageError as error:
            errors = (str(error),)
        return HealthCheckResult(
            healthy=not errors,
            provider=self._session.name,
            latency=(time.perf_counter() - start) * 1000,
            errors=errors,
            timestamp=datetime.now(UTC),
            circuits=driver.circuits if isinstance(driver, BreaksCircuits) else NOTHING,
        )

    async def warm(self, connections: int = 1, *, timeout: float = 10.0) -> None:  # noqa: ASYNC109
        """Open connections before they are needed, so that the first calls need not wait for them.

        Names are resolved, certificates read and credentials looked up as well; no request is sent. An idle
        connection is kept for 15 seconds, so call this just before a burst. A store without connections, on
        a disk or in memory, has nothing to do.

        Args:
            connections: How many there should be, 1 or more, those that are open already included; at most
                `max_connections` of the settings.
            timeout: Seconds for all of it.

        Raises:
            StorageInvalidRequestError: `connections` is not 1 or more.
            StorageError: A connection could not be opened; nothing was sent.
        """
        with self._session.call("warm", None):
            await self._session.warm(connections, deadline_for(timeout))

    async def copy(
        self,
        source: str,
        destination: str,
        *,
        if_absent: bool = False,
        encryption: bool | ServerEncryption | None = None,
        source_encryption: CustomerKey | None = None,
        server_side: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109 - a setting of the call, kept by the driver
        **lock: Unpack[LockOptions],
    ) -> StorageResult:
        """Copy an object of any size inside the store, without its bytes passing through this process.

        An object that is encrypted by the client is bound to its key: its bytes do pass through this process,
        decrypted and encrypted again as they arrive.

        Content headers, metadata, tags, storage class and encryption are kept, and the copy is of the version
        that is there now; one that turns out to be of another version is removed. A copy onto itself changes
        nothing but the encryption, if requested.

        Args:
            source: Key of the object.
            destination: Key of the copy.
            if_absent: Refuse to replace an object at the destination.
            encryption: For the copy, instead of the source's.
            source_encryption: The customer-provided key of the source (SSE-C).
            server_side: Refuse what would have to pass through this process.
            timeout: Seconds, instead of the configured number; grows with the object.
            lock: See `LockOptions`; a retention or legal hold of the source is never copied.

        Raises:
            StorageNotFoundError: There is no such source.
            StorageAlreadyExistsError: `if_absent`, and the destination is there.
            StorageRetainedError: A retention or legal hold forbids to replace the destination.
            StoragePreconditionFailedError: The source was replaced in the meantime, or the provider copied
                another object.
            StorageUnsupportedError: The provider cannot honour an option, or preserve what the source has.
            StorageIntegrityError: The encryption was not confirmed (code "NOT_ENCRYPTED"), or tags could
                not be kept ("COPY_INCOMPLETE").
            StorageError: Anything else.

        Cost: 2 requests; 3 where entity tags cannot be compared (one of the two is in parts, or under a KMS
            or customer's key) and no version pins the source; 1 or 2 more for tags where the provider drops
            them; more above its limit for a single copy.
        """
        encryption, source_encryption = known_encryption(encryption), known_encryption(source_encryption)
        with self._session.call("copy", source, mutation=True):
            request, copier = await plan_copy(
                self._session,
                source,
                destination,
                encryption=encryption,
                source_encryption=source_encryption,
                timeout=timeout,
                if_absent=if_absent,
                server_side=server_side,
                lock=lock,
            )
            return await copied(self._session, request, copier)

    async def move(
        self,
        source: str,
        destination: str,
        *,
        if_absent: bool = False,
        source_encryption: CustomerKey | None = None,
        server_side: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109 - a setting of the call, kept by the driver
        **lock: Unpack[LockOptions],
    ) -> StorageResult:
        """Copy, prove the copy, then delete exactly the version that was copied.

        At every moment at least one complete copy exists; after a failure there may be two. A move
        onto itself changes nothing.

        Args:
            source: Key of the object.
            destination: Key of the object afterwards.
            if_absent: Refuse to replace an object at the destination.
            source_encryption: The customer-provided key of the source (SSE-C), which the object keeps.
            server_side: Refuse what would have to pass through this process; see `copy`.
            timeout: Seconds for each step, instead of the configured number.
            lock: As for `copy`.

        Raises:
            StorageRetainedError: A retention or legal hold forbids to remove the source or to replace the
                destination.
            StorageNotFoundError: There is no such source.
            StorageConflictError: The source was replaced in the meantime; the new version is kept.
            StorageUnavailableError: The provider says that it was, or that it is gone, and shows it unchanged
                (code "NOT_DELETED"); both are there.
            StorageIntegrityError: The copy is not there, has other bytes (code "COPY_DIFFERS") or lacks what
                is kept with them ("COPY_INCOMPLETE"); the source is kept.
            StorageError: As `copy` and `delete`; "maybe" once the copy was made.

        Cost: 2 requests more than `copy`, or 3 where the provider cannot bind a delete to a version. The copy
            is proved by its entity tag, for which a source in parts is copied in the same parts where
            possible (4 more requests, plus one per part); where no tag proves it, it is read once.
        Source: promises P8, P9.
        """
        source_encryption = known_encryption(source_encryption)
        with self._session.call("move", source, mutation=True):
            request, copier = await plan_copy(
                self._session,
                source,
                destination,
                source_encryption=source_encryption,
                timeout=timeout,
                if_absent=if_absent,
                server_side=server_side,
                lock=lock,
            )
            return await move_object(self._session, request, copier, timeout)

    async def rotate_keys(
        self,
        prefix: str = "",
        *,
        concurrency: int = 8,
        progress: Progress | None = None,
    ) -> RotationReport:
        """Wrap the data key of every encrypted object again, with the key ring's current key.

        The objects' bytes stay where they are: each object is copied onto itself by the store, with the new
        wrapped key in its metadata. After an interruption, make the same call again; objects that already
        have the current key are left alone. At the end, every object is looked at once more.

        Args:
            prefix: Of the keys.
            concurrency: Objects at once.
            progress: Called with (objects looked at, None).

        Returns:
            How many objects have which key. If `complete` is true, no object needs an older one.

        Raises:
            StorageConfigurationError: The provider has no `ClientSide` encryption.
            StorageInvalidRequestError: A wrong argument.
            StorageError: Listing or the key service failed; failures of individual objects are in the report.

        Cost: 2 reads for each object, and a server-side copy for those with an older key.
        Source: docs/envelope.md.
        """
        with self._session.call("rotate_keys", None, mutation=True) as call:
            check_prefix(prefix, self.capabilities.max_key_size)
            check_count("concurrency", concurrency)
            check_progress(progress)
            from credstore.provider.key_rotation import rotation_of

            rotation = rotation_of(self._session, concurrency=concurrency)
            return await rotation.run(prefix, None if progress is None else call.watching(progress))

    async def forget_key(self, key: str) -> bool:
        """Make an encrypted object unreadable for good, even where it cannot be deleted.

        Only objects stored with `ClientSide(..., shreddable=True)` have a key that can be forgotten
        separately. Where the store keeps versions, every version of that key is removed.

        Args:
            key: The object's key.

        Returns:
            False if its key was forgotten before.

        Raises:
            StorageVersionsRemainError: The object cannot be read now, but versions of its key remain, or may
                remain: they are under retention themselves, or these credentials may not remove them.
            StorageNotFoundError: There is no such object.
            StorageUnsupportedError: Its key is in the object itself.
            StorageDecryptionError: It is not encrypted.
            StorageError: The key may still be there.

        Cost: 3 requests, 4 where the provider can keep versions, up to 3 more where it does.
        """
        with self._session.call("forget_key", key, mutation=True):
            self._session.check_key(key)
            from credstore.provider.erasing import forget_key

            return await forget_key(self._session, key)

    async def get_signed_url(
        self,
        key: str,
        expires_in: float | timedelta | str = 3600.0,
        method: Method = "GET",
        **options: Unpack[LinkOptions],
    ) -> SignedUrl:
        """A temporary link that works without credentials, for one method.

        Args:
            key: The object's key.
            expires_in: Seconds, a timedelta or text such as "1h": 1 second to 7 days; with a link signer, as
                long as its CDN honours.
            method: "GET", "HEAD", "PUT" or "DELETE".
            options: See `LinkOptions`.

        Returns:
            The link. Its `expires_at` is earlier than requested where the credentials that signed it expire
            earlier; whoever uses it must send its `headers`.

        Raises:
            StorageNotFoundError: A GET or HEAD link to a missing object.
            StorageUnsupportedError: A link that could not work: stored opaque (zstd) where the server does
                not decode it (`capabilities.links_decode`), or bypassing the pipeline; the message says what
                to change.
            StorageInvalidRequestError: `expires_in` out of range, or a wrong option; or a PUT link without
                the checksum that the bucket insists on (code "CHECKSUM_REQUIRED").
            StorageError: Anything else.

        Cost: 1 HEAD for GET and HEAD links, 1 request for the first PUT link where there is Object Lock; none
            with `check=False`.
        """
        with self._session.call("get_signed_url", key) as call:
            return await temporary_link(self._session, key, expires_in, method, options, call=call)

    async def get_upload_form(
        self,
        key: str | None = None,
        *,
        prefix: str | None = None,
        max_size: int,
        **options: Unpack[UploadFormOptions],
    ) -> UploadForm:
        """A form with which a browser uploads one file to the bucket, within limits of size and type.

        The store itself enforces the limits. What arrives replaces an object that is there, and has no digest
        of credstore's to be checked against later.

        Args:
            key: The object's key; or leave it out and give `prefix`.
            prefix: What the key starts with, such as "inbox/": the name of the file follows, or whatever else
                the holder of the form chooses.
            max_size: Maximum number of bytes of an upload, 1 or more.
            options: See `UploadFormOptions`.

        Returns:
            Where to send the form, and its hidden fields. Its `expires_at` is earlier than requested where
            the credentials that signed it expire earlier.

        Raises:
            StorageUnsupportedError: The store has no such forms (`capabilities.upload_forms`), or the upload
                would bypass compression, encryption or a strategy; nothing was sent.
            StorageInvalidKeyError: The key cannot name an object, or the prefix is not the start of one.
            StorageInvalidRequestError: A wrong option, or not exactly one of `key` and `prefix`; or no
                `content_md5` where the bucket insists on one (code "CHECKSUM_REQUIRED").
            StorageError: Anything else.

        Cost: 1 request for the first form where S3's Object Lock is; one to Google's IAM where that has the
            key of the service account.
        Source: S3 API "Browser-based uploads using POST"; Google's XML API "POST Object".
        """
        with self._session.call("get_upload_form", key):
            from credstore.provider.upload_forms import make_upload_form

            return await make_upload_form(self._session, key, prefix, max_size, options)

    def get_url(self, key: str) -> str:
        """The object's public URL, on the CDN if one is configured; it grants no access by itself.

        Raises:
            StorageInvalidKeyError: The key cannot name an object.
            StorageConfigurationError: The AWS configuration, where the store's endpoint is from, leads
                nowhere.

        Cost: no request. Where the keys come from AWS's chain and there is no `cdn_url`, the first call
            reads the AWS configuration (some 0.2 s) unless a request has done so before.
        """
        return public_address(self._session, key)

    def verify_link(self, method: str, path: str, query: Mapping[str, str]) -> LinkGrant:
        """Check a temporary link that this store itself made, for a server that honours it.

        Args:
            method: HTTP method of the request.
            path: Its path, percent-encoded, as received.
            query: Its query parameters, decoded.

        Returns:
            The object's key, the response headers the link imposes, and when it expires.

        Raises:
            StorageAccessDeniedError: The link is wrong, changed or expired; the text is the same for all.
            StorageUnsupportedError: Links of this store are checked by the provider itself.
        """
        try:
            return granted(self._session, method, path, query)
        except StorageError as error:
            raise error.at(provider=self._session.name, operation="verify_link", key=None) from None
