"""`StorageProvider`: the verbs of the original design, written once, over any driver."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from secrets import token_hex
from types import TracebackType
from typing import Self, TypedDict, Unpack

from credstore.config.clouds import CommonConfig, S3FamilyConfig
from credstore.driver import (
    BreaksCircuits,
    Capabilities,
    CopyRequest,
    Driver,
    ObjectInfo,
    ReadOptions,
    VerifiesLinks,
)
from credstore.errors import (
    StorageAlreadyExistsError,
    StorageError,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StorageUnavailableError,
    StorageUnsupportedError,
)
from credstore.links.signer import LinkSigner
from credstore.model import (
    NOTHING,
    BatchDeleteResult,
    CustomerKey,
    Dictionary,
    HealthCheckResult,
    LinkGrant,
    Method,
    Progress,
    ServerEncryption,
    SignedUrl,
    Storable,
    StorageItem,
    StorageResult,
    StorageStats,
    StoreOptions,
)
from credstore.observe import Observer
from credstore.provider.bodies import WatchedBody, body_of
from credstore.provider.bulk import delete_keys, scan_infos
from credstore.provider.call import Call, Lifetime
from credstore.provider.checks import (
    check_count,
    check_key,
    check_prefix,
    check_progress,
    checked_etag,
    chosen_encryption,
    customer_key,
)
from credstore.provider.dictionaries import Dictionaries
from credstore.provider.linking import LinkOptions, LinkRequest, make_cdn_link, make_link
from credstore.provider.moving import copied, move_object
from credstore.provider.opening import Opening
from credstore.provider.read import item_of, raw_recipe, read_all, recipe_of
from credstore.provider.write import deadline_for, finish_write, plan_write, precondition_of


class ProviderOptions(TypedDict, total=False):
    """What a provider is given beside its settings.

    Keys:
        observers: Called with an `Event` after each call.
        link_signer: Makes the temporary links, for the CDN at `cdn_url`; without it they are presigned
            by the store itself.
    """

    observers: Iterable[Observer]
    link_signer: LinkSigner | None


class StorageProvider:
    """Objects of one store, whatever cloud or disk it is.

    Open it with `async with`, or close it with `aclose()`. It belongs to the event loop of its first
    call and to the process that made it. All verbs raise `StorageError`s only; each carries the
    provider, the verb and the key, and tells in `applied` whether a change may have happened.

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
        self._lifetime = Lifetime(driver.name, tuple(options.get("observers", ())))
        self._dictionaries = Dictionaries(
            driver,
            reading=lambda: self._reading(None, None, None),
            encryption=lambda: chosen_encryption(None, config.encryption, driver.capabilities),
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

    async def store(self, key: str, data: Storable, **options: Unpack[StoreOptions]) -> StorageResult:
        """Write `data` under `key`; once this returns, every later `retrieve` sees it.

        Args:
            key: 1 to 1,024 bytes of UTF-8 without control characters; not normalised.
            data: Bytes-like, a path object, a binary file (from its position, not closed), or an
                iterable or async iterable of bytes, of any length. Text is refused.
            options: See `StoreOptions`. `if_absent=True` refuses to replace an object.

        Returns:
            Sizes in bytes (`size` stored, `plain_size` given), the SHA-256 `digest` of the stored
            bytes (32 bytes), the provider's `etag`, and the public `url`.

        Raises:
            StorageInvalidKeyError: The key cannot name an object; nothing was sent.
            StorageInvalidRequestError: An option or the data is wrong; nothing was sent.
            StorageUnsupportedError: The provider cannot honour an option; nothing was sent.
            StorageAlreadyExistsError: `if_absent`, and another writer's object is there.
            StoragePreconditionFailedError: `if_match`, and the object is another version.
            StorageError: `.applied` is "no" or "maybe"; after "maybe" the object may appear later.
            Exception: What the user's own stream raised, as it is; no object became visible.

        Cost: 1 request up to `multipart_threshold`, else 2 and one per part; 1 HEAD if unclear.
        Cancellation: at once, or after a multipart upload was aborted (5 s at most).
        Source: S3 API PutObject, "Conditional writes"; promises P0, P1, P4, P6.
        """
        with self._call("store", key, mutation=True) as call:
            check_key(key, self.capabilities.max_key_size)
            if callable(told := options.get("progress")):
                options["progress"] = call.watching(told)
            async with aclosing(WatchedBody(await body_of(data))) as watched:
                try:
                    write = await plan_write(
                        key,
                        watched,
                        options,
                        self.config,
                        self.capabilities,
                        dictionaries=self._dictionaries,
                    )
                    result = finish_write(write, await self._driver.put(write.request), self._driver.name)
                except Exception:
                    if watched.failure is None or call.users is not None:
                        raise
                else:
                    call.attributes.update(size=result.size, plain_size=result.plain_size, codec=write.codec)
                    return result
            call.users = watched.failure
            raise watched.restored()  # Outside of the handler, which would become its context.

    async def retrieve(
        self,
        key: str,
        *,
        max_size: int | None = None,
        decode: bool = True,
        encryption: CustomerKey | None = None,
        version_id: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - a setting of the call, kept by the driver
        progress: Progress | None = None,
    ) -> bytes | None:
        """All bytes of an object, verified and decompressed; None if there is no such object.

        Args:
            key: The object's key.
            max_size: Most bytes to return; the configured `max_retrieve_size` unless given.
            decode: False gives the stored bytes, for objects made with an unknown codec.
            encryption: The customer-provided key the object was stored with (SSE-C).
            version_id: A kept version.
            timeout: Seconds until the answer begins, in place of the configured.
            progress: Called with (stored bytes received, stored bytes in all), in order.

        Raises:
            StorageIntegrityError: The bytes are not those that were stored.
            StorageCodecError: They do not decompress.
            StorageInvalidRequestError: More than `max_size` bytes (code "TOO_LARGE").
            StorageNotFoundError: There is no such bucket, root or version.
            StorageError: Anything else.

        Cost: 1 request.
        """
        with self._call("retrieve", key) as call:
            check_key(key, self.capabilities.max_key_size)
            if max_size is not None:
                check_count("max_size", max_size)
            check_progress(progress)
            try:
                reader = await self._driver.get(key, self._reading(encryption, version_id, timeout))
            except StorageNotFoundError as error:
                if error.code != StorageNotFoundError.default_code:
                    raise
                return None
            async with reader:
                if progress is not None:
                    reader.watch(call.watching(progress))
                found = recipe_of(reader.info) if decode else raw_recipe(reader.info)
                limit = self.config.max_retrieve_size if max_size is None else max_size
                dictionary = (
                    None if found.dictionary is None else await self._dictionaries.get(found.dictionary)
                )
                plain = await read_all(reader, found, limit, dictionary)
            call.attributes.update(size=reader.info.size, plain_size=len(plain), codec=found.codec)
            return plain

    def open(
        self,
        key: str,
        *,
        start: int = 0,
        end: int | None = None,
        decode: bool = True,
        encryption: CustomerKey | None = None,
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
            decode: False streams the stored bytes.
            encryption: The customer-provided key the object was stored with (SSE-C).
            version_id: A kept version.
            timeout: Seconds until the answer begins, in place of the configured.
            progress: Called with (stored bytes received, stored bytes in all), in order.

        Returns:
            An async context manager of an `ObjectReader`, whose `info` is the `StorageItem`. The
            reader raises unless every byte came and matches.

        Raises:
            StorageNotFoundError: On entering: no such object.
            StorageInvalidRequestError: On entering: a range beyond the end (code "INVALID_RANGE").
            StorageIntegrityError: While reading: cut short or changed.
            StorageError: Anything else.
        """
        return Opening(
            self._driver,
            self._dictionaries,
            self._call("open", key),
            key=key,
            span=(start, end),
            decode=decode,
            options=lambda: self._reading(encryption, version_id, timeout),
            progress=progress,
        )

    async def add_dictionary(self, dictionary: Dictionary) -> str:
        """Store a dictionary, so that objects compressed with it can be read by all who read the store.

        `store(..., dictionary=...)` does so by itself.

        Args:
            dictionary: It is kept at `.credstore/dictionaries/<name>`.

        Returns:
            Its name: 64 hex digits, for the option or setting `dictionary`.

        Raises:
            StorageInvalidRequestError: Not a `Dictionary`.
            StorageError: It could not be stored.

        Cost: 2 requests the first time, then none.
        """
        with self._call("add_dictionary", None):
            if not isinstance(dictionary, Dictionary):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
                raise StorageInvalidRequestError(f"a Dictionary is expected, not {type(dictionary).__name__}")
            await self._dictionaries.ensure(dictionary)
            return dictionary.name

    async def get_dictionary(self, name: str) -> Dictionary:
        """A dictionary that is in the store.

        Args:
            name: Its SHA-256, 64 hex digits, as items and results tell it.

        Raises:
            StorageCodecError: It is not there (code "DICTIONARY_MISSING").
            StorageIntegrityError: What is there is not it.
            StorageError: Anything else.

        Cost: 1 request the first time, then none.
        """
        with self._call("get_dictionary", None):
            return await self._dictionaries.get(name)

    async def get_metadata(
        self,
        key: str,
        *,
        encryption: CustomerKey | None = None,
        version_id: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - a setting of the call, kept by the driver
    ) -> StorageItem | None:
        """What is known of an object, without its bytes; None if there is no such object.

        Args:
            key: The object's key.
            encryption: The customer-provided key the object was stored with (SSE-C).
            version_id: A kept version.
            timeout: Seconds, in place of the configured.

        Raises:
            StorageCodecError: It is there, made with a codec this version does not know.
            StorageNotFoundError: There is no such bucket, root or version.
            StorageError: Anything else.

        Cost: 1 request.
        """
        with self._call("get_metadata", key):
            info = await self._head_or_none(key, self._reading(encryption, version_id, timeout))
            return None if info is None else item_of(info, self._driver.name, recipe_of(info))

    async def exists(self, key: str, *, timeout: float | None = None) -> bool:  # noqa: ASYNC109
        """Whether there is such an object; an unreachable store raises, it is never False.

        Raises:
            StorageNotFoundError: There is no such bucket or root.
            StorageError: Anything else.

        Cost: 1 request.
        """
        with self._call("exists", key):
            return await self._head_or_none(key, self._reading(None, None, timeout)) is not None

    async def delete(
        self,
        key: str,
        *,
        if_match: str | None = None,
        version_id: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - a setting of the call, kept by the driver
    ) -> bool | None:
        """Remove an object; removing what is not there is no error.

        Args:
            key: The object's key.
            if_match: Only the version with this etag.
            version_id: A kept version, removed for good.
            timeout: Seconds, in place of the configured.

        Returns:
            Whether it existed; None where the provider does not tell
            (`capabilities.delete_tells_existence`).

        Raises:
            StoragePreconditionFailedError: `if_match`, and the object is another version.
            StorageUnsupportedError: `if_match`, and the provider cannot honour it.
            StorageError: Anything else; a composite store names the members not reached.
        """
        with self._call("delete", key, mutation=True):
            check_key(key, self.capabilities.max_key_size)
            etag = checked_etag(if_match)
            if etag is not None and not self.capabilities.conditional_delete:
                raise StorageUnsupportedError("this provider cannot delete only a given version (if_match)")
            outcome = await self._driver.delete(
                key,
                if_match=etag,
                version_id=version_id,
                deadline=self._deadline(timeout),
            )
            return outcome.existed

    async def batch_delete(self, keys: Iterable[str]) -> BatchDeleteResult:
        """Delete any number of objects; every distinct key ends in exactly one of two outcomes.

        Args:
            keys: Repeats count once; absent objects count as deleted.

        Returns:
            `deleted` and `failed`; nothing is raised for a single key.

        Raises:
            StorageInvalidRequestError: Something else in place of keys; or the provider is closed or
                used on another loop.
            StorageInvalidKeyError: One of them is no text; nothing was sent.

        Cost: 1 request per `capabilities.max_delete_batch` keys.
        """
        with self._call("batch_delete", None, mutation=True) as call:
            if isinstance(keys, str | bytes) or not isinstance(keys, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
                raise StorageInvalidRequestError(
                    f"batch_delete takes a list of keys; this is one {type(keys).__name__}"
                )
            result = await delete_keys(self._driver, keys, self._deadline, self._driver.name)
            call.attributes.update(deleted=len(result.deleted), failed=len(result.failed))
            return result

    async def list(self, prefix: str = "", max_keys: int | None = None) -> list[StorageItem]:
        """All objects under a prefix, ascending by the UTF-8 bytes of their keys.

        Args:
            prefix: Leading part of the keys; "" for all.
            max_keys: Return at most so many; None for all, however many there are.

        Raises:
            StorageIntegrityError: The provider's listing repeats itself or has no end.
            StorageError: Anything else.

        Cost: 1 request per 1,000 objects.
        """
        return [item async for item in self.scan(prefix, max_keys)]

    async def scan(self, prefix: str = "", max_keys: int | None = None) -> AsyncIterator[StorageItem]:
        """As `list`, one item at a time, in bounded memory.

        Raises:
            StorageIntegrityError: The provider's listing repeats itself or has no end.
            StorageError: Anything else.
        """
        with Call(self._lifetime, "list", None, awaited=False):
            check_prefix(prefix, self.capabilities.max_key_size)
            if max_keys is not None:
                check_count("max_keys", max_keys)
            async for info in scan_infos(self._driver, prefix, max_keys, self._deadline):
                yield item_of(info, self._driver.name)
                self._lifetime.check("list")

    async def get_stats(self, prefix: str = "") -> StorageStats:
        """Exact totals of a prefix at any size, or an error; never zeros on failure.

        Raises:
            StorageIntegrityError: The provider's listing repeats itself or has no end.
            StorageUnavailableError: A member of a composite store cannot be listed.
            StorageError: Anything else.

        Cost: 1 request per 1,000 objects.
        """
        with self._call("get_stats", None):
            check_prefix(prefix, self.capabilities.max_key_size)
            objects = size = 0
            async for info in scan_infos(self._driver, prefix, None, self._deadline):
                if info.degraded:
                    raise StorageUnavailableError(
                        "a member of the store cannot be listed now, so totals lack its objects",
                        applied="no",
                        retryable=True,
                    )
                objects += 1
                size += info.size
            region = self.config.resolved_region if isinstance(self.config, S3FamilyConfig) else None
            return StorageStats(
                total_objects=objects,
                total_size=size,
                provider=self._driver.name,
                region=region,
                last_updated=datetime.now(UTC),
            )

    async def health_check(self, *, timeout: float = 5.0) -> HealthCheckResult:  # noqa: ASYNC109
        """Measure one cheap request; never raises, an unhealthy store is a result.

        Args:
            timeout: Seconds to wait.
        """
        start = time.perf_counter()
        errors: tuple[str, ...] = ()
        try:
            with self._call("health_check", None):
                await self._driver.ping(deadline=deadline_for(timeout))
        except StorageError as error:
            errors = (str(error),)
        return HealthCheckResult(
            healthy=not errors,
            provider=self._driver.name,
            latency=(time.perf_counter() - start) * 1000,
            errors=errors,
            timestamp=datetime.now(UTC),
            circuits=self._driver.circuits if isinstance(self._driver, BreaksCircuits) else NOTHING,
        )

    async def copy(
        self,
        source: str,
        destination: str,
        *,
        if_absent: bool = False,
        encryption: bool | ServerEncryption | None = None,
        source_encryption: CustomerKey | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - a setting of the call, kept by the driver
    ) -> StorageResult:
        """Copy an object inside the store, at any size, without its bytes passing through here.

        Content headers, metadata, tags, storage class and encryption are kept, and the copy is of
        the version that is there now. A copy onto itself changes nothing but the encryption, if asked.

        Args:
            source: Key of the object.
            destination: Key of the copy.
            if_absent: Refuse to replace an object at the destination.
            encryption: For the copy, in place of the source's.
            source_encryption: The customer-provided key of the source (SSE-C).
            timeout: Seconds, in place of the configured; grows with the object.

        Raises:
            StorageNotFoundError: There is no such source.
            StorageAlreadyExistsError: `if_absent`, and the destination is there.
            StoragePreconditionFailedError: The source was replaced meanwhile.
            StorageUnsupportedError: The provider cannot honour an option.
            StorageError: Anything else.

        Cost: 2 requests; more above the provider's limit for a single copy.
        """
        with self._call("copy", source, mutation=True):
            request = await self._copy_request(
                source, destination, encryption, source_encryption, timeout, if_absent=if_absent
            )
            return await copied(self._driver, request)

    async def move(
        self,
        source: str,
        destination: str,
        *,
        if_absent: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109 - a setting of the call, kept by the driver
    ) -> StorageResult:
        """Copy, verify the copy, then delete exactly the version that was copied.

        At every moment at least one complete copy exists; after a failure there may be two. A move
        onto itself changes nothing.

        Args:
            source: Key of the object.
            destination: Its key afterwards.
            if_absent: Refuse to replace an object at the destination.
            timeout: Seconds for each of the steps, in place of the configured.

        Raises:
            StorageNotFoundError: There is no such source.
            StorageConflictError: The source was replaced meanwhile; the new version is kept.
            StorageError: As `copy` and `delete`; "maybe" once the copy was made.

        Cost: 4 requests, 5 where the provider cannot bind a delete to a version.
        Source: promises P8, P9.
        """
        with self._call("move", source, mutation=True):
            request = await self._copy_request(source, destination, None, None, timeout, if_absent=if_absent)
            return await move_object(self._driver, request, lambda: self._deadline(timeout))

    async def get_signed_url(
        self, key: str, expires_in: float = 3600.0, method: Method = "GET", **options: Unpack[LinkOptions]
    ) -> SignedUrl:
        """A temporary link that works without credentials, for one method.

        Args:
            key: The object's key.
            expires_in: Seconds, 1 to 604,800 (7 days); with a link signer as many as its CDN honours.
            method: "GET", "HEAD", "PUT" or "DELETE".
            options: See `LinkOptions`.

        Returns:
            The link. Its `expires_at` is earlier than asked where the credentials that signed it
            end earlier; its `headers` must be sent by whoever uses it.

        Raises:
            StorageNotFoundError: A GET or HEAD link to nothing.
            StorageUnsupportedError: A link that could not work: stored opaque (zstd) where nobody would
                decode it (`capabilities.links_decode`), or past the pipeline; the message says what to
                change.
            StorageInvalidRequestError: `expires_in` out of range, or a wrong option.
            StorageError: Anything else.

        Cost: 1 HEAD for GET and HEAD links, none with `check=False`.
        """
        with self._call("get_signed_url", key) as call:
            check_key(key, self.capabilities.max_key_size)
            request = LinkRequest(key, method, expires_in, options, self._deadline(options.get("timeout")))
            signer = self._link_signer
            if signer is not None and method in signer.methods:
                return await make_cdn_link(
                    self._driver, self.config, request, signer=signer, locate=self._public_url, call=call
                )
            return await make_link(self._driver, self.config, request)

    def get_url(self, key: str) -> str:
        """The object's public URL, on the CDN when one is configured; grants nothing by itself.

        Raises:
            StorageInvalidKeyError: The key cannot name an object.
        """
        try:
            check_key(key, self.capabilities.max_key_size)
        except StorageError as error:
            raise error.at(provider=self._driver.name, operation="get_url", key=None) from None
        return self._public_url(key)

    def verify_link(self, method: str, path: str, query: Mapping[str, str]) -> LinkGrant:
        """Check a temporary link that this store itself made, for a server that honours it.

        Args:
            method: HTTP method of the request.
            path: Its path, percent-encoded, as received.
            query: Its query parameters, decoded.

        Returns:
            The object's key, the response headers the link imposes, and when it ends.

        Raises:
            StorageAccessDeniedError: Wrong, changed or expired; one text for all.
            StorageUnsupportedError: Links of this store are checked by the provider itself.
        """
        try:
            if not isinstance(self._driver, VerifiesLinks):
                raise StorageUnsupportedError(
                    f"links of {self._driver.name} are checked by the provider, not here"
                )
            return self._driver.verify_link(method, path, query, time.time())
        except StorageError as error:
            raise error.at(provider=self._driver.name, operation="verify_link", key=None) from None

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

    def _reading(
        self, encryption: CustomerKey | None, version_id: str | None, timeout: float | None
    ) -> ReadOptions:
        return ReadOptions(
            version_id=version_id,
            customer_key=customer_key(encryption, self.config.encryption),
            deadline=self._deadline(timeout),
        )

    async def _head_or_none(self, key: str, options: ReadOptions) -> ObjectInfo | None:
        check_key(key, self.capabilities.max_key_size)
        try:
            return await self._driver.head(key, options)
        except StorageNotFoundError as error:
            if error.code != StorageNotFoundError.default_code:
                raise
            return None

    async def _copy_request(
        self,
        source: str,
        destination: str,
        encryption: bool | ServerEncryption | None,  # noqa: FBT001 - the public option's own type
        source_encryption: CustomerKey | None,
        timeout: float | None,  # noqa: ASYNC109 - a setting of the call, kept by the driver
        *,
        if_absent: bool,
    ) -> CopyRequest:
        capabilities = self.capabilities
        check_key(source, capabilities.max_key_size)
        check_key(destination, capabilities.max_key_size)
        condition = precondition_of(capabilities, if_absent=if_absent)
        chosen = None if encryption is None else chosen_encryption(encryption, None, capabilities)
        reading = self._reading(source_encryption, None, timeout)
        info = await self._driver.head(source, reading)
        if if_absent and source == destination:
            raise StorageAlreadyExistsError("source and destination are one key, and it is there")
        if chosen is None and reading.customer_key is not None:
            chosen = reading.customer_key
        return CopyRequest(
            source=replace(info, key=source),
            destination=destination,
            write_id=token_hex(16),
            precondition=condition,
            encryption=chosen,
            source_customer_key=reading.customer_key,
            deadline=deadline_for(self.config.timeout if timeout is None else timeout, info.size),
        )
