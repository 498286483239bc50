"""The verbs of `StorageProvider`, each waiting for its outcome.

Made by `python docs/make_sync.py`.
"""

from __future__ import annotations

import builtins
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Unpack, overload

from credstore.config.settings import CommonConfig
from credstore.driver.values import Capabilities
from credstore.encryption import ClientSide, CustomerKey, ServerEncryption
from credstore.errors import RetentionMode
from credstore.metrics import ProviderMetrics
from credstore.model import (
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
    Retention,
    RotationReport,
    SignedUrl,
    Storable,
    StorageItem,
    StorageResult,
    StorageStats,
    StorageVersion,
    StoredDictionary,
    StoreOptions,
    Unset,
    UploadForm,
    VersionsDeletedResult,
)
from credstore.observe import Observer
from credstore.prices.plan import Bill, Explanation, Verb
from credstore.provider.links import LinkOptions
from credstore.provider.provider import StorageProvider
from credstore.provider.upload_forms import UploadFormOptions
from credstore.sync.loop import LoopThread
from credstore.sync.reading import BlockingOpening


class BlockingVerbs:
    """What a blocking store can do."""

    _thread: LoopThread
    _provider: StorageProvider

    def metrics(self) -> ProviderMetrics:
        """What the calls of this provider did so far, by verb: calls, errors, durations, bytes, requests.

        See `StorageProvider.metrics`.
        """
        return self._provider.metrics()

    def explain(
        self, verb: Verb, size: int, *, storage_class: str | None = None, days: float = 30.0
    ) -> Explanation:
        """Which requests an operation makes, and what it costs by the list prices of `credstore.prices`.

        See `StorageProvider.explain`.
        """
        return self._provider.explain(verb, size, storage_class=storage_class, days=days)

    def bill(self) -> Bill:
        """What the calls of this provider cost so far: requests and egress, by list prices.

        See `StorageProvider.bill`.
        """
        return self._provider.bill()

    def list_versions(
        self, prefix: str, *, exact: bool = False, max_versions: int | None = None
    ) -> builtins.list[StorageVersion]:
        """The versions and delete markers of the objects under a prefix, by key, newest first.

        See `StorageProvider.list_versions`.
        """
        return self._thread.run(self._provider.list_versions(prefix, exact=exact, max_versions=max_versions))

    def delete_versions(
        self, prefix: str, *, exact: bool = False, keep_latest: bool = False
    ) -> VersionsDeletedResult:
        """Delete the objects under a prefix so that nothing is left of them: no version, no delete marker.

        See `StorageProvider.delete_versions`.
        """
        return self._thread.run(self._provider.delete_versions(prefix, exact=exact, keep_latest=keep_latest))

    def restore(
        self,
        key: str,
        version_id: str,
        *,
        source_encryption: CustomerKey | None = None,
        timeout: float | None = None,
    ) -> StorageResult:
        """Make a kept version the current one: the store copies it on top, also where the object was deleted.

        See `StorageProvider.restore`.
        """
        return self._thread.run(
            self._provider.restore(key, version_id, source_encryption=source_encryption, timeout=timeout)
        )

    def retain(
        self,
        key: str,
        *,
        until: datetime | None,
        mode: RetentionMode = "governance",
        version_id: str | None = None,
        bypass_governance: bool = False,
        timeout: float | None = None,
    ) -> Retention:
        """Forbid everybody to remove or replace an object before a date.

        See `StorageProvider.retain`.
        """
        return self._thread.run(
            self._provider.retain(
                key,
                until=until,
                mode=mode,
                version_id=version_id,
                bypass_governance=bypass_governance,
                timeout=timeout,
            )
        )

    def hold(self, key: str, *, version_id: str | None = None, timeout: float | None = None) -> None:
        """Put an object under legal hold: no one can remove or replace it until `release`.

        See `StorageProvider.hold`.
        """
        return self._thread.run(self._provider.hold(key, version_id=version_id, timeout=timeout))

    def release(self, key: str, *, version_id: str | None = None, timeout: float | None = None) -> None:
        """Lift a legal hold; a retention stays. Doing so where there is none is not an error.

        See `StorageProvider.release`.
        """
        return self._thread.run(self._provider.release(key, version_id=version_id, timeout=timeout))

    def get_retention(
        self, key: str, *, version_id: str | None = None, timeout: float | None = None
    ) -> Retention:
        """What keeps an object from being removed; an empty `Retention` where nothing does.

        See `StorageProvider.get_retention`.
        """
        return self._thread.run(self._provider.get_retention(key, version_id=version_id, timeout=timeout))

    def retrieve_to(
        self,
        key: str,
        path: str | os.PathLike[str],
        *,
        replace: bool = True,
        decode: bool = True,
        encryption: CustomerKey | ClientSide | None = None,
        version_id: str | None = None,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> StorageItem:
        """Write an object of any size into a file, which appears whole and verified, or not at all.

        See `StorageProvider.retrieve_to`.
        """
        return self._thread.run(
            self._provider.retrieve_to(
                key,
                path,
                replace=replace,
                decode=decode,
                encryption=encryption,
                version_id=version_id,
                timeout=timeout,
                progress=progress,
            )
        )

    @property
    def config(self) -> CommonConfig:
        """The settings it was made with; secrets in it are never shown."""
        return self._provider.config

    @property
    def capabilities(self) -> Capabilities:
        """What this store can do, as facts."""
        return self._provider.capabilities

    @property
    def observers(self) -> tuple[Observer, ...]:
        """Called with an `Event` after each call."""
        return self._provider.observers

    @property
    def closed(self) -> bool:
        """Whether `aclose` was called."""
        return self._provider.closed

    def get_provider_name(self) -> str:
        """Label of the provider, such as "s3", "r2", "spaces", "wasabi", "b2", "custom" or "local".

        See `StorageProvider.get_provider_name`.
        """
        return self._provider.get_provider_name()

    def store(self, key: str, data: Storable, **options: Unpack[StoreOptions]) -> StorageResult:
        """Write `data` under `key`; once this returns, every later `retrieve` sees it.

        See `StorageProvider.store`.
        """
        return self._thread.run(self._provider.store(key, data, **options))

    def retrieve(
        self,
        key: str,
        *,
        max_size: int | None = None,
        decode: bool = True,
        encryption: CustomerKey | ClientSide | None = None,
        version_id: str | None = None,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> bytes | None:
        """All bytes of an object, verified and decompressed; None if there is no such object.

        See `StorageProvider.retrieve`.
        """
        return self._thread.run(
            self._provider.retrieve(
                key,
                max_size=max_size,
                decode=decode,
                encryption=encryption,
                version_id=version_id,
                timeout=timeout,
                progress=progress,
            )
        )

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
    ) -> BlockingOpening:
        """Stream an object: `async with provider.open(key) as reader: async for chunk in reader`.

        See `StorageProvider.open`.
        """
        return BlockingOpening(
            self._thread,
            self._provider.open(
                key,
                start=start,
                end=end,
                suffix=suffix,
                decode=decode,
                encryption=encryption,
                version_id=version_id,
                timeout=timeout,
                progress=progress,
            ),
        )

    def add_dictionary(self, dictionary: Dictionary) -> str:
        """Store a dictionary, so that all readers of the store can read objects compressed with it.

        See `StorageProvider.add_dictionary`.
        """
        return self._thread.run(self._provider.add_dictionary(dictionary))

    def get_dictionary(self, name: str) -> Dictionary:
        """A dictionary that is in the store.

        See `StorageProvider.get_dictionary`.
        """
        return self._thread.run(self._provider.get_dictionary(name))

    def list_dictionaries(self) -> builtins.list[StoredDictionary]:
        """The dictionaries that are in the store, ascending by name.

        See `StorageProvider.list_dictionaries`.
        """
        return self._thread.run(self._provider.list_dictionaries())

    def get_metadata(
        self,
        key: str,
        *,
        encryption: CustomerKey | None = None,
        version_id: str | None = None,
        timeout: float | None = None,
    ) -> StorageItem | None:
        """What is known about an object, without its bytes; None if there is no such object.

        See `StorageProvider.get_metadata`.
        """
        return self._thread.run(
            self._provider.get_metadata(key, encryption=encryption, version_id=version_id, timeout=timeout)
        )

    def exists(self, key: str, *, timeout: float | None = None) -> bool:
        """Whether there is such an object; an unreachable store raises and never returns False.

        See `StorageProvider.exists`.
        """
        return self._thread.run(self._provider.exists(key, timeout=timeout))

    def delete(
        self,
        key: str,
        *,
        if_match: str | Unset = UNSET,
        version_id: str | Unset = UNSET,
        timeout: float | None = None,
    ) -> bool | None:
        """Remove an object; removing a missing one is not an error, unless a version was named.

        See `StorageProvider.delete`.
        """
        return self._thread.run(
            self._provider.delete(key, if_match=if_match, version_id=version_id, timeout=timeout)
        )

    def batch_delete(self, keys: Iterable[str], *, all_versions: bool = False) -> BatchDeleteResult:
        """Delete any number of objects; every distinct key has exactly one of two outcomes.

        See `StorageProvider.batch_delete`.
        """
        return self._thread.run(self._provider.batch_delete(keys, all_versions=all_versions))

    def list(
        self,
        prefix: str = "",
        max_keys: int | None = None,
        *,
        delimiter: str | None = None,
        start_after: str | None = None,
        parallel: int = 1,
    ) -> Listing:
        """All objects under a prefix, ascending by the UTF-8 bytes of their keys.

        See `StorageProvider.list`.
        """
        return self._thread.run(
            self._provider.list(
                prefix, max_keys, delimiter=delimiter, start_after=start_after, parallel=parallel
            )
        )

    @overload
    def scan(
        self,
        prefix: str = "",
        max_keys: int | None = None,
        *,
        delimiter: None = None,
        start_after: str | None = None,
    ) -> Iterator[StorageItem]: ...

    @overload
    def scan(
        self, prefix: str = "", max_keys: int | None = None, *, delimiter: str, start_after: str | None = None
    ) -> Iterator[StorageItem | CommonPrefix]: ...

    def scan(
        self,
        prefix: str = "",
        max_keys: int | None = None,
        *,
        delimiter: str | None = None,
        start_after: str | None = None,
    ) -> Iterator[StorageItem | CommonPrefix]:
        """Like `list`, one item at a time, in bounded memory; with a delimiter, also `CommonPrefix`es.

        See `StorageProvider.scan`.
        """
        return self._thread.iterate(
            self._provider.scan(prefix, max_keys, delimiter=delimiter, start_after=start_after)
        )

    def get_stats(self, prefix: str = "", *, parallel: int = 1) -> StorageStats:
        """Exact totals of a prefix at any size, or an error; never zeros on failure.

        See `StorageProvider.get_stats`.
        """
        return self._thread.run(self._provider.get_stats(prefix, parallel=parallel))

    def health_check(self, *, timeout: float = 5.0) -> HealthCheckResult:
        """Measure one cheap request; never raises, since an unhealthy store is a valid result.

        See `StorageProvider.health_check`.
        """
        return self._thread.run(self._provider.health_check(timeout=timeout))

    def warm(self, connections: int = 1, *, timeout: float = 10.0) -> None:
        """Open connections before they are needed, so that the first calls need not wait for them.

        See `StorageProvider.warm`.
        """
        return self._thread.run(self._provider.warm(connections, timeout=timeout))

    def copy(
        self,
        source: str,
        destination: str,
        *,
        if_absent: bool = False,
        encryption: bool | ServerEncryption | None = None,
        source_encryption: CustomerKey | None = None,
        server_side: bool = False,
        timeout: float | None = None,
        **lock: Unpack[LockOptions],
    ) -> StorageResult:
        """Copy an object of any size inside the store, without its bytes passing through this process.

        See `StorageProvider.copy`.
        """
        return self._thread.run(
            self._provider.copy(
                source,
                destination,
                if_absent=if_absent,
                encryption=encryption,
                source_encryption=source_encryption,
                server_side=server_side,
                timeout=timeout,
                **lock,
            )
        )

    def move(
        self,
        source: str,
        destination: str,
        *,
        if_absent: bool = False,
        source_encryption: CustomerKey | None = None,
        server_side: bool = False,
        timeout: float | None = None,
        **lock: Unpack[LockOptions],
    ) -> StorageResult:
        """Copy, prove the copy, then delete exactly the version that was copied.

        See `StorageProvider.move`.
        """
        return self._thread.run(
            self._provider.move(
                source,
                destination,
                if_absent=if_absent,
                source_encryption=source_encryption,
                server_side=server_side,
                timeout=timeout,
                **lock,
            )
        )

    def rotate_keys(
        self, prefix: str = "", *, concurrency: int = 8, progress: Progress | None = None
    ) -> RotationReport:
        """Wrap the data key of every encrypted object again, with the key ring's current key.

        See `StorageProvider.rotate_keys`.
        """
        return self._thread.run(
            self._provider.rotate_keys(prefix, concurrency=concurrency, progress=progress)
        )

    def forget_key(self, key: str) -> bool:
        """Make an encrypted object unreadable for good, even where it cannot be deleted.

        See `StorageProvider.forget_key`.
        """
        return self._thread.run(self._provider.forget_key(key))

    def get_signed_url(
        self,
        key: str,
        expires_in: float | timedelta | str = 3600.0,
        method: Method = "GET",
        **options: Unpack[LinkOptions],
    ) -> SignedUrl:
        """A temporary link that works without credentials, for one method.

        See `StorageProvider.get_signed_url`.
        """
        return self._thread.run(self._provider.get_signed_url(key, expires_in, method, **options))

    def get_upload_form(
        self,
        key: str | None = None,
        *,
        prefix: str | None = None,
        max_size: int,
        **options: Unpack[UploadFormOptions],
    ) -> UploadForm:
        """A form with which a browser uploads one file to the bucket, within limits of size and type.

        See `StorageProvider.get_upload_form`.
        """
        return self._thread.run(
            self._provider.get_upload_form(key, prefix=prefix, max_size=max_size, **options)
        )

    def get_url(self, key: str) -> str:
        """The object's public URL, on the CDN if one is configured; it grants no access by itself.

        See `StorageProvider.get_url`.
        """
        return self._provider.get_url(key)

    def verify_link(self, method: str, path: str, query: Mapping[str, str]) -> LinkGrant:
        """Check a temporary link that this store itself made, for a server that honours it.

        See `StorageProvider.verify_link`.
        """
        return self._provider.verify_link(method, path, query)
