"""Frozen values that users see: results, items, links, secrets, and the options of a store.

Nothing here does I/O. Sizes are bytes, durations seconds (except `HealthCheckResult.latency`, in
milliseconds as in the original), digests 32 raw bytes of SHA-256, times timezone-aware UTC.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field, fields
from datetime import datetime
from enum import Enum
from os import PathLike
from types import MappingProxyType
from typing import IO, Any, Final, Literal, NoReturn, Self, TypeAlias, TypedDict, cast

from credstore.arguments import typed, typed_class, typed_request
from credstore.encryption import ClientSide, ServerEncryption
from credstore.errors import (
    RemainingVersion,
    RetentionMode,
    StorageError,
    StorageInvalidRequestError,
)

Codec = Literal["gzip", "zstd"]
Method = Literal["GET", "PUT", "HEAD", "DELETE"]
CircuitState = Literal["closed", "open", "half-open"]
"""Whether calls go to an endpoint: as usual; not for now, since it has only failed; or one, as a trial."""
Progress = Callable[[int, int | None], None]
"""Called with (bytes done, total bytes or None), in order, from the event loop."""


class _Nothing(Mapping[str, Any]):
    """The empty mapping as a default: hashable, since Python 3.11 considers any other one mutable."""

    __slots__ = ()

    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)

    def get(self, key: str, default: Any = None, /) -> Any:  # noqa: ARG002 - the mapping's own raises and catches
        return default

    def __contains__(self, key: object) -> bool:
        return False

    def __bool__(self) -> bool:
        return False

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "{}"


NOTHING: Mapping[str, Any] = _Nothing()


class SignedUrl(str):
    """A temporary link: a `str` to hand out whose repr hides the part that grants access.

    Attributes:
        method: The one HTTP method it works for.
        headers: Headers the holder must send verbatim; empty for an ordinary GET link.
        expires_at: When it expires, UTC; never later than the credentials that signed it.
    """

    __slots__ = ("expires_at", "headers", "method")
    method: Method
    headers: Mapping[str, str]
    expires_at: datetime

    @typed
    def __new__(
        cls, url: str, *, method: Method, expires_at: datetime, headers: Mapping[str, str] = NOTHING
    ) -> Self:
        """Wrap a complete, percent-encoded URL."""
        self = super().__new__(cls, url)
        self.method = method
        self.headers = MappingProxyType(dict(headers))
        self.expires_at = expires_at
        return self

    def __repr__(self) -> str:
        shown = self.partition("?")[0]
        return f"SignedUrl({shown}?***, method={self.method}, expires_at={self.expires_at.isoformat()})"

    def __reduce__(self) -> NoReturn:
        message = "a SignedUrl is never pickled; use str.__str__(url) if you really mean to"
        raise TypeError(message)


@typed_request
@dataclass(frozen=True, slots=True, kw_only=True)
class UploadForm:
    """A form with which a browser uploads one file straight to the bucket, within limits of size and type.

    It is sent as `multipart/form-data` by POST: all of `fields`, and after them the file in a field called
    `file`; the store ignores what follows it.

    Attributes:
        url: Where to send it.
        fields: Names and values of the hidden fields, which grant access together; never shown by repr.
        expires_at: When it expires, UTC; never later than the credentials that signed it.
    """

    url: str
    fields: Mapping[str, str] = field(repr=False)
    expires_at: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", MappingProxyType(dict(self.fields)))

    def __reduce__(self) -> NoReturn:
        message = "an UploadForm is never pickled; take its url and fields if you really mean to"
        raise TypeError(message)


@dataclass(frozen=True, slots=True)
class LinkGrant:
    """What a temporary link that credstore made and has checked grants its holder.

    Attributes:
        key: Of the object.
        overrides: Response headers to impose, by lower-case name.
        expires_at: When it expires, UTC.
    """

    key: str
    overrides: Mapping[str, str]
    expires_at: datetime


_DICTIONARY_MAGIC = b"\x37\xa4\x30\xec"
_LARGEST_DICTIONARY = 8 * 1024 * 1024
"""Bytes; the largest decoder window that RFC 8878 section 3.1.1.1.2 recommends."""


@typed_request
@dataclass(frozen=True, slots=True)
class Dictionary:
    """A zstd dictionary: what many small objects have in common, stored once.

    Made by `train_dictionary`, or by `zstd --train`. An object compressed with it can be read only where the
    dictionary is, so it is kept in the store itself under its name.

    Attributes:
        data: The dictionary, in the format of RFC 8878 section 5.
        name: SHA-256 of `data`, 64 hex digits.
    """

    data: bytes = field(repr=False)
    name: str = field(init=False)

    def __post_init__(self) -> None:
        data = cast("object", self.data)
        if not isinstance(data, bytes) or not data.startswith(_DICTIONARY_MAGIC):
            raise StorageInvalidRequestError("this is not a zstd dictionary; train_dictionary() makes one")
        if len(data) > _LARGEST_DICTIONARY:
            raise StorageInvalidRequestError(
                f"a dictionary has at most {_LARGEST_DICTIONARY} bytes, but this one has {len(data)}"
            )
        object.__setattr__(self, "name", hashlib.sha256(data).hexdigest())


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDictionary:
    """A dictionary that is in a store.

    Attributes:
        name: SHA-256 of its bytes, 64 hex digits.
        size: Bytes.
        last_modified: When it was stored: timezone-aware UTC, or None where the store does not say.
    """

    name: str
    size: int
    last_modified: datetime | None


class Unset(Enum):
    """The type of `UNSET`."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET
"""Stands for a condition that was not given, so that None, which names no version, can be refused."""
Storable: TypeAlias = (
    bytes | bytearray | memoryview | PathLike[str] | IO[bytes] | Iterable[bytes] | AsyncIterable[bytes]
)


class LockOptions(TypedDict, total=False):
    """What keeps a new object from being removed or replaced; refused where the provider has no such thing.

    Keys:
        retain_until: No one may remove or replace what is written before this instant, which is in the future
            and has a time zone; kept in whole seconds, rounded up. Where the store keeps versions, that holds
            for this version.
        retain_mode: "governance", which those with a permission for it can end early, unless given, or
            "compliance", which no one can; only with `retain_until`.
        legal_hold: Keep what is written until `release`.
    """

    retain_until: datetime
    retain_mode: RetentionMode
    legal_hold: bool


class StoreOptions(LockOptions, total=False):
    """Options of `StorageProvider.store`; what a provider cannot honour is refused, never ignored.

    Those of `LockOptions` are among them.

    Keys:
        content_type: MIME type a reader of the plain bytes should see; `application/json` unless given.
        cache_control: `public, max-age=31536000, immutable` unless given.
        content_disposition: How a browser should treat a link, RFC 6266.
        content_language: RFC 5646 tags.
        metadata: User metadata; names are HTTP tokens (lower-cased), values text without control characters;
            credstore's own names (`x-compression`, `x-original-size`, `credstore-*`) are refused.
        tags: At most 10 pairs, where the provider has object tags.
        storage_class: One of `provider.capabilities.storage_classes`.
        compress: True means gzip, which any browser can show through a link; "zstd" is smaller and faster and
            stored opaque. False stores the bytes as they are.
        dictionary: A `Dictionary` for zstd, or the name of one that is in the store. It is stored
            with the first object that needs it.
        encryption: At rest, by the provider: True (AES256 where it has the header), False, a `KmsKey`
            or a `CustomerKey`. Before anything is sent: a `ClientSide`, instead of the provider's.
        if_absent: Refuse to replace an object.
        if_match: Replace only the version with this etag; None, as in a result without one, is refused.
        resume: Path of a file for an upload that another process may continue: created when the upload
            starts, removed when the object is there. If the file exists already, its upload is continued.
            Needs bytes, a path or a file that can seek, without compression, and
            `provider.capabilities.resumable`. An upload that fails or is cancelled is then not cleaned up.
        timeout: Seconds for the whole call, instead of the configured number.
        progress: Called with (bytes sent, total or None).
        driver_options: Options of one cloud, `{"s3": S3PutOptions(...)}`.
    """

    content_type: str
    cache_control: str
    content_disposition: str
    content_language: str
    metadata: Mapping[str, str]
    tags: Mapping[str, str]
    storage_class: str
    compress: bool | Codec
    dictionary: Dictionary | str
    encryption: bool | ServerEncryption | ClientSide
    if_absent: bool
    if_match: str
    resume: str | PathLike[str]
    timeout: float
    progress: Progress | None
    driver_options: Mapping[str, object]


def _brief(value: StorageResult | StorageItem) -> str:
    """Only what it says: without what is empty or as always, digests in hex, times as in ISO 8601."""
    said: list[str] = []
    for each in fields(value):
        found: object = getattr(value, each.name)
        alone = isinstance(value, StorageResult) and found in (value.provider, (value.provider,))
        if found is None or found in (each.default, (), {}) or (alone and each.name != "provider"):
            continue
        if isinstance(found, bytes):
            found = found.hex()
        elif isinstance(found, datetime):
            found = found.isoformat()
        said.append(f"{each.name}={found!r}")
    return f"{type(value).__name__}({', '.join(said)})"


@dataclass(frozen=True, kw_only=True, repr=False)
class StorageResult:
    """What `store`, `copy` and `move` report about the object as it is now.

    Attributes:
        key: The object's key.
        url: Public URL: on the CDN when one is configured, else the provider's form.
        etag: The provider's entity tag, verbatim without quotes; not a digest of the content. A weak one is
            `W/"..."`, and no `if_match`.
        version_id: Where the bucket keeps versions, else None.
        size: Stored bytes.
        timestamp: When the provider responded, UTC.
        provider: Label of the provider.
        plain_size: Bytes given, before compression; None for a copy of an object that does not record it.
        digest: SHA-256 of the stored bytes, or None for a copy of an object without one.
        content_type: As stored.
        compression: "gzip", "zstd" or None.
        dictionary: Name of the `Dictionary` it was compressed with, or None.
        encryption: "AES256", "aws:kms", "SSE-C" or None, as the provider reports it.
        client_side: Encrypted before it was sent.
        served_by: Label of the member that holds it; equals `provider` for a single store.
        degraded: True where a composite store could not reach all members it should have.
        replicas: Labels of all members that hold it.
        proved: The store itself has computed a checksum of all the bytes it keeps, and has reported the one
            of the bytes which were sent, so that reading them back would show nothing more.
    """

    key: str
    url: str
    etag: str | None
    version_id: str | None
    size: int
    timestamp: datetime
    provider: str
    plain_size: int | None
    digest: bytes | None
    content_type: str | None = None
    compression: Codec | None = None
    dictionary: str | None = None
    encryption: str | None = None
    client_side: bool = False
    served_by: str = ""
    degraded: bool = False
    replicas: tuple[str, ...] = ()
    proved: bool = False

    def __repr__(self) -> str:
        return _brief(self)


def strong_etag(etag: str | None) -> str | None:
    """An entity tag that names one version exactly, or None for a weak one, which conditions do not take.

    >>> [strong_etag(etag) for etag in ("e1", 'W/"e1"', None)]
    ['e1', None, None]

    Source: RFC 9110 sections 8.8.1 and 13.1.1.
    """
    return None if etag is not None and etag.startswith('W/"') else etag


@dataclass(frozen=True, kw_only=True, repr=False)
class StorageItem:
    """One object as `get_metadata` or a listing sees it; a listing leaves the starred ones None.

    It has no slots, so that what a listing leaves out takes neither time nor space.

    Attributes:
        key: The object's key.
        size: Stored bytes.
        last_modified: UTC, or None where the provider did not say.
        etag: The provider's entity tag without quotes, or None; a weak one is `W/"..."`, and no `if_match`.
        storage_class: As the provider names it, or None.
        metadata: * The user's metadata.
        content_type: * MIME type of the plain bytes.
        content_encoding: * As stored.
        cache_control: * As stored.
        content_disposition: * As stored.
        content_language: * As stored.
        plain_size: * Bytes before compression; None also where an object does not record it.
        compression: * "gzip", "zstd" or None.
        dictionary: * Name of the `Dictionary` that is needed to read it, or None.
        encryption: * "AES256", "aws:kms", "SSE-C" or None.
        client_side: * Its metadata says that it was encrypted before it was sent.
        digest: * SHA-256 of the stored bytes, where it was recorded.
        tag_count: * Number of tags, where the provider says it with the object.
        version_id: Where the bucket keeps versions.
        served_by: Label of the member that responded.
        degraded: True where a member that should have responded did not.
    """

    key: str
    size: int
    last_modified: datetime | None
    etag: str | None
    storage_class: str | None = None
    metadata: Mapping[str, str] | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    cache_control: str | None = None
    content_disposition: str | None = None
    content_language: str | None = None
    plain_size: int | None = None
    compression: Codec | None = None
    dictionary: str | None = None
    encryption: str | None = None
    client_side: bool = False
    digest: bytes | None = None
    tag_count: int | None = None
    version_id: str | None = None
    served_by: str = ""
    degraded: bool = False

    def __repr__(self) -> str:
        return _brief(self)

    @classmethod
    def listed(
        cls,
        *,
        key: str,
        size: int,
        last_modified: datetime | None,
        etag: str | None,
        storage_class: str | None,
        version_id: str | None,
        served_by: str,
        degraded: bool,
    ) -> Self:
        """An object of a listing; the same as the constructor makes, in a quarter of its time."""
        made = object.__new__(cls)
        fill = object.__setattr__
        fill(made, "key", key)
        fill(made, "size", size)
        fill(made, "last_modified", last_modified)
        fill(made, "etag", etag)
        fill(made, "storage_class", storage_class)
        fill(made, "served_by", served_by)
        if version_id is not None:
            fill(made, "version_id", version_id)
        if degraded:
            fill(made, "degraded", degraded)
        return made


@dataclass(frozen=True, slots=True)
class CommonPrefix:
    """What a listing with a delimiter shows in place of all keys that continue beyond it.

    Attributes:
        prefix: What they share, up to and including the first delimiter after the listing's prefix.
        degraded: True where a member that should have been listed was not.
    """

    prefix: str
    _: KW_ONLY
    degraded: bool = False


@typed_class
class Listing(list[StorageItem]):
    """The objects of a listing, ascending by the UTF-8 bytes of their keys; a list with two attributes.

    Attributes:
        prefixes: With a delimiter: the common prefixes, also ascending; list each to see what is below it.
        degraded: True where a member that should have been listed was not.
        refused: Objects that cannot be shown, with the reason, by what can be shown of their keys.
    """

    def __init__(
        self,
        items: Iterable[StorageItem] = (),
        *,
        prefixes: Iterable[str] = (),
        degraded: bool = False,
        refused: Mapping[str, Exception] = NOTHING,
    ) -> None:
        """Hold what was listed."""
        super().__init__(items)
        self.prefixes = tuple(prefixes)
        self.degraded = degraded
        self.refused = refused

    def __repr__(self) -> str:
        return f"Listing({super().__repr__()}, prefixes={self.prefixes!r}, degraded={self.degraded})"


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageVersion:
    """One version of an object in a store that keeps versions.

    Attributes:
        key: The object's key.
        version_id: Names it for `retrieve`, `get_metadata` and `delete`; opaque. "null" names what was stored
            while versioning was off.
        is_latest: Whether it is what the key names now.
        is_delete_marker: It has no content, but says that the object was deleted.
        size: Stored bytes; 0 for a delete marker.
        last_modified: UTC, or None where the provider did not say.
        etag: The provider's entity tag without quotes, or None; a weak one is `W/"..."`, and no `if_match`.
        storage_class: As the provider names it, or None.
        served_by: Label of the member that holds it.
    """

    key: str
    version_id: str
    is_latest: bool
    is_delete_marker: bool = False
    size: int = 0
    last_modified: datetime | None = None
    etag: str | None = None
    storage_class: str | None = None
    served_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What keeps a version, or an object of a store without versions, from being removed.

    Attributes:
        mode: "governance", which those with a permission for it can end early, or "compliance", which no one
            can; None where there is no retention.
        retain_until: When the retention ends, UTC; it may have passed.
        legal_hold: Kept until somebody releases it.
    """

    mode: RetentionMode | None = None
    retain_until: datetime | None = None
    legal_hold: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionsDeletedResult:
    """What `delete_versions` removed, and what it could not.

    Attributes:
        deleted: Versions with content that were removed for good; delete markers are not counted. Where the
            store keeps no versions, the objects it was asked to remove.
        remaining: Versions that remain, with what keeps each and until when; the first 1,000. A delete marker
            remains on top of those of a key, so that readers do not find it.
        remaining_count: Number of all that remain.
    """

    deleted: int
    remaining: tuple[RemainingVersion, ...] = ()
    remaining_count: int = 0

    @property
    def complete(self) -> bool:
        """Whether nothing remains."""
        return self.remaining_count == 0

    @property
    def retain_until(self) -> datetime | None:
        """The latest end of a retention among `remaining`, or None where none is known."""
        return max((each.retain_until for each in self.remaining if each.retain_until), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationReport:
    """What `rotate_keys` did and, from a second look at every object, what there is now.

    Attributes:
        current: Id of the wrapping key that objects should have.
        rotated: Objects that were given it by this call.
        keys: Objects by the id of the wrapping key they have.
        unencrypted: Objects that are not encrypted by the client.
        failed: Why an object could not be looked at or rotated, by its key.
    """

    current: str
    rotated: int
    keys: Mapping[str, int]
    unencrypted: int
    failed: Mapping[str, StorageError]

    @property
    def complete(self) -> bool:
        """Whether every object was seen, and no encrypted one needs a key other than the current one."""
        return not self.failed and set(self.keys) <= {self.current}


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageStats:
    """Exact totals of a prefix at the time of the listing.

    Attributes:
        total_objects: Number of objects.
        total_size: Stored bytes.
        provider: Label of the provider.
        region: Region, or None where there is none.
        last_updated: When the listing ended, UTC.
    """

    total_objects: int
    total_size: int
    provider: str
    region: str | None
    last_updated: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheckResult:
    """The outcome of one cheap, bounded request.

    Attributes:
        healthy: Whether the store responded as it should.
        provider: Label of the provider.
        latency: Milliseconds from call to response, as in the original.
        errors: What went wrong, one text per member; empty when healthy.
        timestamp: When it was measured, UTC.
        circuits: For each endpoint (`host[:port]`) that was used, whether calls go to it.
    """

    healthy: bool
    provider: str
    latency: float
    errors: tuple[str, ...]
    timestamp: datetime
    circuits: Mapping[str, CircuitState] = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchDeleteResult:
    """The outcome of `batch_delete`: each input key is in exactly one of `deleted` and `failed`.

    Attributes:
        deleted: Keys that no longer exist, in input order, without repeats.
        failed: The error of each other key; `.applied == "maybe"` where the outcome is unknown.
    """

    deleted: tuple[str, ...]
    failed: Mapping[str, Exception] = field(default_factory=lambda: cast("Mapping[str, Exception]", NOTHING))


ReplicaFault: TypeAlias = Literal["missing", "outdated", "corrupt", "deleted", "tombstone", "unreadable"]
"""What is wrong with a replica: it is not there; it is an older version; its bytes are not those of its
digest; it should have been deleted; its tombstone is not there; it could not be looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaFinding:
    """One difference between the replicas of an object.

    Attributes:
        key: The object's key.
        replica: Label of the member.
        kind: What was wrong there.
        mended: Whether it is right now.
        reason: Why it is not; empty where it is.
    """

    key: str
    replica: str
    kind: ReplicaFault
    mended: bool
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubReport:
    """What `scrub` compared, found and mended.

    Attributes:
        prefix: What the keys start with.
        share: Which part of them was compared, such as "1/7"; "1/1" for all.
        replicas: Labels of all members.
        objects: Objects that readers find.
        bytes_read: From all members together, to check what they have.
        findings: Differences, ascending by key; also those that are mended now.
        deep: Whether the bytes of every replica were read.
        started_at: UTC.
        finished_at: UTC.
    """

    prefix: str
    share: str
    replicas: tuple[str, ...]
    objects: int
    bytes_read: int
    findings: tuple[ReplicaFinding, ...]
    deep: bool
    started_at: datetime
    finished_at: datetime

    @property
    def equal(self) -> bool:
        """Whether every replica that was compared is right now."""
        return all(each.mended for each in self.findings)
