"""The values that pass between a provider and a driver: requests down, results up. Frozen; no I/O."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self, TypeAlias, runtime_checkable

from credstore.driver.reader import ObjectReader
from credstore.driver.settle import Mode
from credstore.encryption import ServerEncryption
from credstore.errors import ErrorCode, RetentionMode, StorageError, StorageInvalidRequestError
from credstore.model import NOTHING, Method, Progress, Retention, StorageVersion

if TYPE_CHECKING:
    from collections.abc import Sequence


SYSTEM_NAMES = frozenset({"x-compression", "x-original-size"})
"""Metadata names of the original design that belong to credstore, besides all of `credstore-*`."""
SYSTEM_PREFIX = "credstore-"
WRITE_ID = "credstore-write-id"
DIGEST = "credstore-sha256"
BODY = "credstore-body"
"""In the system metadata of an object that only refers to its bytes; see `strategies/dedup`."""


def is_system_name(name: str) -> bool:
    """Whether a metadata name is credstore's own and closed to users."""
    return name in SYSTEM_NAMES or name.startswith(SYSTEM_PREFIX)


@runtime_checkable
class Body(Protocol):
    """The stored bytes of one put, as a driver sees them."""

    @property
    def length(self) -> int | None:
        """Number of bytes, or None where that is only known at the end."""
        ...

    @property
    def replayable(self) -> bool:
        """Whether `open` may be called more than once and yields the same bytes each time."""
        ...

    @property
    def data(self) -> bytes | None:
        """All the bytes where they are in memory already (then `length` is known), else None."""
        ...

    def open(self, offset: int = 0) -> AsyncIterator[bytes]:
        """The bytes from `offset` onwards, in chunks of any size; `offset` > 0 only if replayable."""
        ...


@dataclass(frozen=True, slots=True)
class BytesBody:
    """A body that is in memory."""

    data: bytes

    @property
    def length(self) -> int:
        """Number of bytes."""
        return len(self.data)

    @property
    def replayable(self) -> bool:
        """Always true."""
        return True

    async def open(self, offset: int = 0) -> AsyncIterator[bytes]:
        """The bytes as one chunk; none for an empty rest."""
        if offset < len(self.data):
            yield self.data[offset:] if offset else self.data


@dataclass(frozen=True, slots=True)
class Precondition:
    """How a write treats what is there.

    Attributes:
        mode: "overwrite", "create" (only where nothing is) or "replace" (only the version `etag`).
        etag: For "replace", the entity tag without quotes; None for the others.

    Raises:
        StorageInvalidRequestError: "replace" without an etag, which would replace anything, or an etag
            with another mode.
    """

    mode: Mode = "overwrite"
    etag: str | None = None

    def __post_init__(self) -> None:
        if (self.mode == "replace") != bool(self.etag):
            raise StorageInvalidRequestError(
                "a replacement needs the etag of the version to replace, and other writes have none; where "
                "an etag is not known, look at the object first"
            )


OVERWRITE = Precondition()
CREATE = Precondition("create")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentHeaders:
    """What is sent with the object's bytes to whoever fetches it through a link; None means absent."""

    content_type: str | None = None
    content_encoding: str | None = None
    cache_control: str | None = None
    content_disposition: str | None = None
    content_language: str | None = None


NO_HEADERS = ContentHeaders()


@lru_cache(maxsize=64)
def shared_headers(
    content_type: str | None,
    content_encoding: str | None,
    cache_control: str | None,
    content_disposition: str | None,
    content_language: str | None,
) -> ContentHeaders:
    """The same value for the same arguments, since most objects of a store share them."""
    return ContentHeaders(
        content_type=content_type,
        content_encoding=content_encoding,
        cache_control=cache_control,
        content_disposition=content_disposition,
        content_language=content_language,
    )


@dataclass(frozen=True, slots=True)
class PartDigests:
    """What was hashed in one pass with the digest of a body.

    Attributes:
        size: Bytes of each part but the last.
        digests: SHA-256 of each part, in order.
    """

    size: int
    digests: Sequence[bytes]


@dataclass(frozen=True, kw_only=True)
class PutRequest:
    """One write.

    Attributes:
        key: The object's key.
        body: The stored bytes.
        write_id: 32 lower-case hex digits, fresh for each write, the same on all replicas.
        digest: SHA-256 of the body (32 bytes), or None where it is not known before the end. A
            driver that writes metadata after the bytes then records the digest it computed.
        parts: The digests of the parts that `SendsParts.part_size` has named, made in the pass that made
            `digest`; None where there are none.
        headers: Content headers, stored as given.
        metadata: The user's metadata.
        system: credstore's own metadata, without write-id and digest.
        precondition: What may be replaced.
        encryption: At rest, by the provider; None for its default. If the provider does not confirm it, it
            was not done: code "NOT_ENCRYPTED", and what was made is removed if it is still there.
        encryption_by_default: True where the caller did not ask for `encryption`, so that it need not be
            confirmed.
        storage_class: Or None for the bucket's default.
        tags: Object tags.
        retention: What keeps the object from the moment it is there, set with the write itself; None for the
            store's default. `retain_until` is in whole seconds and was in the future when the call began.
        extras: As in `ObjectInfo`, where this is a copy of such an object.
        driver_options: Options for drivers by name, already checked to be for this driver.
        deadline: Instant of `time.monotonic()`, or None.
        journal: Where the token of an upload in parts is kept, so that a later write with the same
            journal continues it; an upload that fails or is cancelled is then not aborted. Only for
            drivers with `Capabilities.resumable`, and bodies that are replayable with length and digest.
        progress: Called with (bytes accepted, total or None).
    """

    key: str
    body: Body
    write_id: str
    digest: bytes | None = None
    parts: PartDigests | None = None
    headers: ContentHeaders = NO_HEADERS
    metadata: Mapping[str, str] = NOTHING
    system: Mapping[str, str] = NOTHING
    precondition: Precondition = OVERWRITE
    encryption: ServerEncryption | None = None
    encryption_by_default: bool = False
    storage_class: str | None = None
    tags: Mapping[str, str] = NOTHING
    retention: Retention | None = None
    extras: Mapping[str, str] = NOTHING
    driver_options: Mapping[str, object] = NOTHING
    deadline: float | None = None
    progress: Progress | None = None
    journal: Journal | None = None


def join_metadata(
    metadata: Mapping[str, str], system: Mapping[str, str], write_id: str, digest: bytes | None
) -> dict[str, str]:
    """The one flat map that a store keeps: the user's metadata, credstore's own, id and digest."""
    joined = {**metadata, **system, WRITE_ID: write_id}
    if digest is not None:
        joined[DIGEST] = digest.hex()
    return joined


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeToken:
    """What it takes to continue an upload that was started in any process; private, though not a credential.

    Attributes:
        place: Where the upload is: endpoint and bucket.
        key: The object's key.
        size: Bytes of the body.
        digest: SHA-256 of the body, in hex.
        part_size: Bytes of each part but the last.
        upload_id: The provider's name of the upload; at Google whoever has it can finish the upload.
        write_id: Of the write, the same from start to end.
        options: SHA-256 over the options the object was to be stored with, in hex.
    """

    place: str
    key: str
    size: int
    digest: str
    part_size: int
    upload_id: str = field(repr=False)
    write_id: str
    options: str


class Journal(Protocol):
    """Where the token of one resumable write is kept; its methods only raise `StorageError`s."""

    async def load(self) -> ResumeToken | None:
        """The token saved last, or None."""
        ...

    async def save(self, token: ResumeToken) -> None:
        """Save it durably."""
        ...

    async def clear(self) -> None:
        """Forget it; that there is nothing to forget is not an error."""
        ...


class SplitMetadata(NamedTuple):
    """The inverse of `join_metadata`; `digest` is None where absent, empty where it is not 64 hex digits."""

    metadata: dict[str, str]
    system: dict[str, str]
    write_id: str | None
    digest: bytes | None


def split_metadata(joined: Mapping[str, str]) -> SplitMetadata:
    """Take apart what a store kept, lower-casing names as HTTP does."""
    metadata: dict[str, str] = {}
    system: dict[str, str] = {}
    write_id: str | None = None
    text: str | None = None
    for raw, value in joined.items():
        name = raw.lower()
        if name == WRITE_ID:
            write_id = value
        elif name == DIGEST:
            text = value
        else:
            (system if is_system_name(name) else metadata)[name] = value
    return SplitMetadata(metadata, system, write_id, None if text is None else parse_digest(text))


def parse_digest(text: str) -> bytes:
    """The digest that a store has kept as text; empty where it was damaged, so that no bytes match it."""
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        return b""
    return digest if len(digest) == 32 else b""  # noqa: PLR2004 - bytes of SHA-256


@dataclass(frozen=True, kw_only=True)
class PutResult:
    """A write that happened.

    Attributes:
        key: The object's key.
        size: Stored bytes.
        etag: Entity tag without quotes, or None.
        version_id: Where versions are kept.
        digest: SHA-256 of the stored bytes (32 bytes), or None.
        encryption: "AES256", "aws:kms", "SSE-C" or None, as the provider reports it.
        served_by: Label of the member that holds it.
        degraded: True where members that should hold it do not.
        replicas: Labels of all that hold it.
        request_id: The provider's id of the request.
        proved: The store itself has computed a checksum of all it keeps of this write, and it is that of the
            bytes which were sent.
    """

    key: str
    size: int
    etag: str | None = None
    version_id: str | None = None
    digest: bytes | None = None
    encryption: str | None = None
    served_by: str = ""
    degraded: bool = False
    replicas: tuple[str, ...] = ()
    request_id: str | None = None
    proved: bool = False


@dataclass(frozen=True, kw_only=True)
class ObjectInfo:
    """What a store knows about one object; a listing leaves the starred ones None.

    It has no slots, so that what a listing leaves out is not set for each object: see `listed`.

    Attributes:
        key: The object's key.
        size: Stored bytes of the whole object, even when only a range is read.
        etag: Entity tag without quotes, or None.
        last_modified: Timezone-aware UTC, or None.
        storage_class: As the provider names it; None where it does not, as Azure to a read.
        version_id: Where versions are kept.
        headers: * Content headers as stored.
        metadata: * The user's metadata.
        system: * credstore's own, without write-id and digest.
        write_id: * Id of the write that made it.
        digest: * SHA-256 of the stored bytes (32 bytes); empty where the record was damaged.
        encryption: * "AES256", "aws:kms", "SSE-C" or None.
        kms_key_id: * Key of the provider's key service, where reported.
        tag_count: * Number of tags, where reported.
        extras: * What else a copy has to carry, under names that only the driver reads.
        served_by: Label of the member that responded.
        degraded: True where a member that should have responded did not.
    """

    key: str
    size: int
    etag: str | None = None
    last_modified: datetime | None = None
    storage_class: str | None = None
    version_id: str | None = None
    headers: ContentHeaders | None = None
    metadata: Mapping[str, str] | None = None
    system: Mapping[str, str] | None = None
    write_id: str | None = None
    digest: bytes | None = None
    encryption: str | None = None
    kms_key_id: str | None = None
    tag_count: int | None = None
    extras: Mapping[str, str] = NOTHING
    served_by: str = ""
    degraded: bool = False

    @classmethod
    def listed(
        cls,
        *,
        key: str,
        size: int,
        etag: str | None,
        last_modified: datetime | None,
        storage_class: str | None,
        served_by: str,
    ) -> Self:
        """An object of a listing; the same as the constructor makes, in a quarter of its time."""
        made = object.__new__(cls)
        fill = object.__setattr__
        fill(made, "key", key)
        fill(made, "size", size)
        fill(made, "etag", etag)
        fill(made, "last_modified", last_modified)
        fill(made, "storage_class", storage_class)
        fill(made, "served_by", served_by)
        return made


StoredReader: TypeAlias = ObjectReader[ObjectInfo]
"""What `Driver.get` returns: the stored bytes, length and digest checked."""


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """Which bytes of which version `get` and `head` look at.

    Attributes:
        start: First stored byte, 0-based.
        end: One past the last stored byte, or None for the end; cut off at the end of the object.
        suffix: Number of stored bytes to read from the end, 1 or more, instead of `start` and `end`; if the
            object has fewer, all of them.
        if_match: Only the version with this etag, else `StoragePreconditionFailedError`.
        version_id: A kept version.
        customer_key: Where the object needs one (SSE-C).
        deadline: For the head of the response; the body is bounded by idle time.
    """

    start: int = 0
    end: int | None = None
    suffix: int | None = None
    if_match: str | None = None
    version_id: str | None = None
    customer_key: ServerEncryption | None = None
    deadline: float | None = None

    @property
    def whole(self) -> bool:
        """Whether the whole object is asked for."""
        return self.start == 0 and self.end is None and self.suffix is None

    def check_range(self) -> None:
        """Refuse a range that is invalid for every object.

        Raises:
            StorageInvalidRequestError: `suffix` is less than 1, or is given together with `start` or `end`
                (code "INVALID_RANGE").
        """
        if self.suffix is None:
            return
        if self.suffix < 1:
            raise invalid_range(f"the last {self.suffix} bytes is not a range; ask for 1 or more")
        if self.start or self.end is not None:
            raise invalid_range("suffix is given instead of start and end; use one or the other")

    def span(self, size: int) -> tuple[int, int]:
        """The first byte to read and the one past the last, within an object of `size` bytes.

        An `end` before `start` gives no bytes. An empty object consists of its end only, so a start of 0 and
        any suffix are valid for it.

        Raises:
            StorageInvalidRequestError: `start` is at or beyond the end, or `check_range` refuses (code
                "INVALID_RANGE").
        """
        if self.suffix is not None:
            self.check_range()
            return max(0, size - self.suffix), size
        if self.end is None and not self.start:
            return 0, size
        if self.start >= size and self.start > 0:
            raise invalid_range(f"the range starts at byte {self.start}, the object has {size} bytes")
        end = size if self.end is None else min(self.end, size)
        return self.start, max(self.start, end)


READ_ALL = ReadOptions()


def invalid_range(message: str) -> StorageInvalidRequestError:
    """The error for a range that an object does not have."""
    return StorageInvalidRequestError(message, code=ErrorCode.INVALID_RANGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteOutcome:
    """A delete that happened, or found nothing to do.

    Attributes:
        existed: Whether there was an object; None where the provider cannot tell.
        version_id: Of the delete marker, where versions are kept; not None says that only a marker was put
            above what is there ("null" where versions are suspended).
        degraded: True where not all members could be asked.
    """

    existed: bool | None
    version_id: str | None = None
    degraded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRequest:
    """One copy inside the store; the bytes never pass through the client.

    Attributes:
        source: What `head` has just reported; the copy is pinned to its etag (P8) and keeps its
            headers, metadata, system metadata, digest, tags, storage class and encryption. With `version_id`
            it is that kept version, whether or not it is the current one.
        destination: Key of the copy; may equal the source's (rewrites metadata in place, or, from a kept
            version, makes that the current one).
        write_id: Fresh, for the copy.
        precondition: What may be replaced at the destination.
        encryption: For the copy; None keeps the source's.
        system: credstore's own metadata for the copy; None keeps the source's.
        source_customer_key: Where the source needs one (SSE-C).
        retention: As in `PutRequest`, for the copy; the source's is never copied.
        provable: If possible, copy in such a way that equal entity tags prove the copy
            (`Capabilities.content_etags`), though that takes more requests; whoever asks for this also looks
            at the metadata of the copy.
        deadline: Instant of `time.monotonic()`, or None.
    """

    source: ObjectInfo
    destination: str
    write_id: str
    precondition: Precondition = OVERWRITE
    encryption: ServerEncryption | None = None
    system: Mapping[str, str] | None = None
    source_customer_key: ServerEncryption | None = None
    retention: Retention | None = None
    provable: bool = False
    deadline: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a listing; everything in it comes after everything in the page before.

    Where `Capabilities.ordered` is False only the names of one page ascend, and none is given twice.

    Attributes:
        entries: The objects, ascending by the UTF-8 bytes of their keys.
        cursor: Give it to the next call; None where this page is the last.
        prefixes: With a delimiter: what stands for the keys beyond it, each once and also ascending.
        degraded: True where a member that should have been listed was not.
        refused: Objects that cannot be shown, with the reason, by what can be shown of their keys.
    """

    entries: Sequence[ObjectInfo]
    cursor: str | None
    prefixes: Sequence[str] = ()
    degraded: bool = False
    refused: Mapping[str, StorageError] = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class SignRequest:
    """A link to make.

    Attributes:
        key: The object's key; it need not exist.
        method: The one method the link is for.
        expires_in: Seconds, 1 to 604,800.
        overrides: Response headers the link imposes, by lower-case name: `content-type`,
            `content-disposition`, `content-encoding`, `content-language`, `cache-control`, `expires`.
        version_id: A kept version.
        headers: For PUT: headers the holder must send, by lower-case name.
        deadline: Instant of `time.monotonic()`, or None.
    """

    key: str
    method: Method = "GET"
    expires_in: float = 3600.0
    overrides: Mapping[str, str] = NOTHING
    version_id: str | None = None
    headers: Mapping[str, str] = NOTHING
    deadline: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRequest:
    """A signed link: the URL is a secret, so its repr leaves it out.

    Attributes:
        url: Complete, percent-encoded.
        method: The one method it works for.
        headers: What the holder must send verbatim.
        expires_at: When it expires, UTC, never after the signing credentials do.
        served_by: Label of the member it leads to.
    """

    url: str
    method: Method
    expires_at: datetime
    headers: Mapping[str, str] = NOTHING
    served_by: str = ""

    def __repr__(self) -> str:
        return f"SignedRequest(***, method={self.method}, expires_at={self.expires_at.isoformat()})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a store can do, as facts; readable by users as `provider.capabilities`.

    Attributes:
        writable: Anything may be changed; False where the store was opened with `read_only=True`.
        conditional_create: `if_absent` is atomic here.
        conditional_replace: `if_match` is atomic here.
        conditional_delete: A delete can be made conditional on an etag.
        delete_tells_existence: `delete` knows whether an object was there.
        durable: What `store` has acknowledged survives a power failure or the loss of a machine.
        multipart: Large and unsized bodies are sent in parts.
        resumable: An upload in parts can be continued by another process.
        drops_parts: An upload in parts that is given up leaves none behind; where False the store keeps, and
            charges for, what has arrived until a time of its own is over.
        presign: HTTP methods that a link can be made for.
        upload_forms: There are forms that bind size and type of what is uploaded (POST policies).
        response_overrides: A link can impose response headers.
        links_decode: The server behind a link decodes what is stored for clients that cannot, so there are
            also GET links to objects stored opaque.
        tags: Objects have tags.
        content_etags: Objects with equal entity tags have equal bytes; unequal ones may have equal bytes too.
        listed_etags: A listing says the etag of each object, the one that `head` reports; where False only of
            some, and None of the others.
        copy_digests: The store computes a SHA-256 of all bytes of a copy, and says it (`ReportsDigests`).
        versions: The store can keep versions.
        retention_modes: Kinds of retention that objects can be put under, empty where there is none. A
            retention keeps one version where the store keeps versions, and otherwise the object itself, also
            from being replaced.
        legal_holds: Objects can be put under legal hold, and released.
        suffix_at_once: The last bytes of an object cost one request; where False one more asks for its size.
        ordered: Listings ascend by the UTF-8 bytes of the names; where False they have the store's own order.
        storage_classes: Accepted names; empty where there is no choice.
        sse_s3: The AES256 header is sent; where False it is left out or refused, see `sse_s3_implied`.
        sse_s3_implied: Everything is encrypted at rest anyway, so leaving the header out is harmless.
        sse_kms: `KmsKey` is accepted.
        sse_c: `CustomerKey` is accepted.
        max_key_size: Bytes of UTF-8.
        max_metadata_size: Bytes of all names and values together, or None for no limit.
        max_object_size: Bytes, or None.
        max_delete_batch: Keys in one request.
    """

    conditional_create: bool
    conditional_replace: bool
    conditional_delete: bool
    delete_tells_existence: bool
    durable: bool
    multipart: bool
    presign: frozenset[Method]
    response_overrides: bool
    tags: bool
    versions: bool
    storage_classes: frozenset[str]
    sse_s3: bool
    sse_s3_implied: bool
    sse_kms: bool
    sse_c: bool
    writable: bool = True
    retention_modes: frozenset[RetentionMode] = frozenset()
    legal_holds: bool = False
    ordered: bool = True
    resumable: bool = False
    drops_parts: bool = True
    suffix_at_once: bool = True
    upload_forms: bool = False
    links_decode: bool = False
    content_etags: bool = False
    listed_etags: bool = True
    copy_digests: bool = False
    max_key_size: int = 1024
    max_metadata_size: int | None = None
    max_object_size: int | None = None
    max_delete_batch: int = 1000

    def meet(self, other: Capabilities) -> Capabilities:
        """What both stores can do; the only place where capabilities are combined."""
        met: dict[str, object] = {}
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            if isinstance(mine, bool):
                met[each.name] = mine and theirs
            elif isinstance(mine, frozenset):
                met[each.name] = mine & theirs
            else:
                limits = [limit for limit in (mine, theirs) if limit is not None]
                met[each.name] = min(limits) if limits else None
        return replace(self, **met)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionPage:
    """One page of a listing of versions.

    Keys ascend by their UTF-8 bytes, separately for each member of a strategy; the versions of one key follow
    each other, newest first.

    Attributes:
        entries: Versions and delete markers.
        cursor: Give it to the next call; None where this page is the last.
    """

    entries: Sequence[StorageVersion]
    cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What a collection of unused bodies found and did.

    Attributes:
        references: Objects that refer to a body.
        bodies: Bodies that there were.
        marked: Bodies that nothing refers to, and that get no more references from now on.
        removed: Bodies that were removed: marked by an earlier collection, a grace ago.
        removed_bytes: Their bytes.
    """

    references: int
    bodies: int
    marked: int
    removed: int
    removed_bytes: int
