"""The driver contract: what a backend must be able to do, and what it may rely on.

The provider guarantees to a driver:
- keys are 1 to 1,024 bytes of UTF-8 without control characters or lone surrogates;
- metadata names are lower-case tokens, values are text without control characters;
- conditions and options were checked against `capabilities`; every write has a fresh write-id;
- `deadline` is an instant of `time.monotonic()`;
- a body does not change between two `open` calls; `aclose` comes after the last call has ended.

A driver guarantees to the provider:
- keys, metadata and system metadata come back exactly as given, never normalised;
- what it cannot honour it refuses before sending anything (`StorageUnsupportedError`, see `refusals.py`);
- an unclear write is settled by its write-id before it is reported (`settle.py`);
- deadlines are kept; cancelling leaves no task, connection, file or half object behind;
- a body is opened again only if it is `replayable`; `aclose` can be called twice.

Every failure is a `StorageError` whose `applied` is truthful; `provider`, `operation` and `key`
are filled above. Each method documents what it raises; these errors apply to all but `aclose` (see `guard.py`
for the first three), and nothing is sent:

| When | Error | `code` |
|---|---|---|
| the driver is closed | `StorageInvalidRequestError` | CLOSED |
| it was made by the process that this one was forked from | `StorageInvalidRequestError` | FORKED |
| the deadline had passed before the call began | `StorageTimeoutError`, applied "no" | TIMEOUT |
| `capabilities` lack what is asked for | `StorageUnsupportedError` | UNSUPPORTED |

And these once the store has been asked:

| When | Error | `code` |
|---|---|---|
| there is no such bucket | `StorageBucketNotFoundError` | BUCKET_NOT_FOUND |
| the deadline passes during the call | `StorageTimeoutError`, applied "no" or "maybe" | TIMEOUT |

A strategy is a driver over drivers: it decides whether, where and when, never which bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from credstore.driver.upload_forms import FormRequest
from credstore.driver.values import (
    READ_ALL,
    Capabilities,
    Collected,
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
from credstore.errors import RetentionMode, StorageError
from credstore.model import CircuitState, LinkGrant, Retention, UploadForm

if TYPE_CHECKING:
    from collections.abc import Sequence


@runtime_checkable
class Driver(Protocol):
    """Ten primitive operations on stored bytes. Every member must be defined; there are no defaults."""

    @property
    def name(self) -> str:
        """Label, such as "r2"; the `served_by` of its results."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What the store can do."""
        ...

    async def put(self, request: PutRequest) -> PutResult:
        """Write one object; complete and visible to every later read when it returns.

        Raises:
            StorageAlreadyExistsError: Mode "create", and another write's object is there.
            StoragePreconditionFailedError: Mode "replace", and the object is not that version, or absent.
            StorageInvalidRequestError: The body ends before its announced length (code "BODY_LENGTH"),
                or is larger than the store takes ("TOO_LARGE").
            StorageIntegrityError: The body is not the one that `digest` names (code "DIGEST_MISMATCH").
            StorageUnsupportedError: A requested option cannot be honoured; nothing was sent.
            StorageError: Anything else; `applied` says whether the object may be there.
            Exception: Whatever the body itself raised, unchanged; no object became visible.
        """
        ...

    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        """Open the stored bytes; for the whole object the reader checks the recorded digest.

        Raises:
            StorageObjectNotFoundError: There is no such object, with or without `if_match`.
            StorageNotFoundError: `version_id`, and no such version is kept (code "VERSION_NOT_FOUND").
            StorageInvalidRequestError: Code "INVALID_RANGE": `start` is at or beyond the end of the
                object, except 0 on an empty one; or see `ReadOptions.check_range`.
            StoragePreconditionFailedError: `if_match`, and the object is a different version.
            StorageUnsupportedError: `version_id` or `customer_key` where the store has no such thing.
            StorageError: Anything else. While reading, `StorageIntegrityError` unless all bytes arrived and
                are the ones that were stored.
        """
        ...

    async def head(self, key: str, options: ReadOptions = READ_ALL) -> ObjectInfo:
        """What `get` would serve, without the bytes; raises what `get` raises. Ranges are ignored."""
        ...

    async def delete(
        self,
        key: str,
        *,
        if_match: str | None = None,
        version_id: str | None = None,
        deadline: float | None = None,
    ) -> DeleteOutcome:
        """Remove one object; removing a missing one is not an error, unless a version was named.

        `if_match` on an absent object fails, as no representation matches it (RFC 9110 §13.1.1). A store that
        responds differently (S3 says 404) is translated; where an earlier attempt of this call may have
        removed the object, it succeeds with `existed` None.

        Raises:
            StoragePreconditionFailedError: `if_match`, and the object is another version, or absent.
            StorageUnsupportedError: `if_match` or `version_id` where it cannot be honoured.
            StorageError: Anything else.
        """
        ...

    async def delete_many(
        self, keys: Sequence[str], *, deadline: float | None = None
    ) -> Mapping[str, DeleteOutcome | StorageError]:
        """Remove at most `capabilities.max_delete_batch` distinct keys, with one outcome for each.

        An absent object gets a `DeleteOutcome`. A key the provider said nothing about gets an error with
        `applied == "maybe"`.

        Raises:
            StorageIntegrityError: The provider reported on a key that was not asked for (code
                "FOREIGN_KEY").
            StorageError: The whole request failed, or the driver is closed, or the deadline has passed.
        """
        ...

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
        """One page of the objects whose keys start with `prefix`.

        With a delimiter, keys that contain it after `prefix` are not listed; instead, what they share up to
        and including its first occurrence is listed once in `Page.prefixes`. Names, that is keys and
        prefixes, are distinct and ascend by their UTF-8 bytes from page to page. Where the delimiter is "/",
        nothing below a prefix is looked at, so a prefix costs as much as an object. A store of plain files
        shows each directory as a prefix, even one that somebody else left empty.

        Args:
            prefix: What the keys start with, possibly empty.
            cursor: From the previous page; all other arguments but `limit` are then the same as for that
                page.
            delimiter: Usually "/"; not empty. None lists all keys.
            start_after: Only names after this one, by their UTF-8 bytes; it need not exist. A prefix that
                equals it, or that it lies below, is left out with all its keys.
            limit: Maximum number of names on the page, 1 to 1,000; there can be fewer, even none, before the
                end.
            deadline: Instant of `time.monotonic()`, or None.

        Raises:
            StorageInvalidRequestError: `cursor` is not one of this driver's, where it can tell.
            StorageIntegrityError: What arrived is not a listing.
            StorageError: Anything else.
        """
        ...

    async def copy(self, request: CopyRequest) -> PutResult:
        """Copy one object of any size inside the store; a copy found to have other bytes is removed.

        Raises:
            StorageObjectNotFoundError: The source does not exist.
            StorageAlreadyExistsError: Mode "create", and there is an object at the destination.
            StoragePreconditionFailedError: The source is no longer the version that `request.source` names;
                or mode "replace", and the destination is not that version, or absent.
            StorageUnsupportedError: A requested option, or a property of the source, cannot be honoured;
                nothing was sent.
            StorageError: Anything else, as for `put`.
        """
        ...

    async def sign(self, request: SignRequest) -> SignedRequest:
        """Make a link; local computation only, apart from refreshing credentials.

        Raises:
            StorageUnsupportedError: The store makes no links with this method, these response headers, or a
                version.
            StorageInvalidRequestError: A header that no link can impose, or a duration out of range.
            StorageError: The credentials cannot be refreshed, or have expired.
        """
        ...

    async def ping(self, *, deadline: float | None = None) -> None:
        """Prove with one cheap request that the store can be reached and used.

        Raises:
            StorageError: It cannot be reached or used; the class says why.
        """
        ...

    async def aclose(self) -> None:
        """Release everything; safe to call again."""
        ...


@runtime_checkable
class BreaksCircuits(Protocol):
    """A driver that stops calling endpoints that have done nothing but fail for a while."""

    @property
    def circuits(self) -> Mapping[str, CircuitState]:
        """The state of each endpoint (`host[:port]`) that was used."""
        ...


@runtime_checkable
class CountsRequests(Protocol):
    """A driver that counts what it sends, of which a cloud makes its bill."""

    @property
    def requests(self) -> Mapping[str, int]:
        """Requests over the wire by the provider's name, repeated ones included; it keeps counting."""
        ...


@runtime_checkable
class KeepsConnections(Protocol):
    """A driver that sends its requests over connections that it keeps."""

    async def warm(self, connections: int, *, deadline: float | None = None) -> None:
        """Have connections ready, and what signs requests, so that the first ones need not wait for them.

        Args:
            connections: How many there should be, 1 or more; those that exist count, and no more are made
                than the store may have.
            deadline: Instant of `time.monotonic()`, or None.

        Raises:
            StorageError: They could not be had; no request was sent.
        """
        ...


@runtime_checkable
class CopiesAcross(Protocol):
    """A driver whose store can copy from another bucket by itself."""

    def reaches(self, other: Driver) -> bool:
        """Whether another driver's bucket is at the same endpoint, and these are its credentials too."""
        ...

    async def copy_across(self, other: Driver, request: CopyRequest) -> PutResult:
        """Copy one object of another bucket, which this one `reaches`, into this one; as `Driver.copy`.

        Args:
            other: Of the bucket that has `request.source`.
            request: `destination` is a key of this bucket.

        Raises:
            StorageError: As `Driver.copy`.
        """
        ...


@runtime_checkable
class TaggedDriver(Protocol):
    """A driver whose objects have tags, if `capabilities.tags`; for copies that the driver does not make."""

    async def get_tags(self, key: str, *, deadline: float | None = None) -> Mapping[str, str]:
        """The object's tags; empty where the store has no tags at all.

        Raises:
            StorageNotFoundError: There is no such object.
            StorageError: Anything else.
        """
        ...

    async def put_tags(self, key: str, tags: Mapping[str, str], *, deadline: float | None = None) -> None:
        """Replace all tags of an object; nothing else about it changes except, on some stores, its etag.

        Raises:
            StorageNotFoundError: There is no such object.
            StorageUnsupportedError: The store has no tags.
            StorageError: Anything else.
        """
        ...


@runtime_checkable
class VersionedDriver(Protocol):
    """A driver of a store that may keep versions, where `Driver.delete` only hides an object.

    `get`, `head`, `delete`, `copy` and `sign` take the `version_id` of a listed version where
    `capabilities.versions` says so. A driver without versions does not implement this protocol or, if it
    serves stores of both kinds, returns False from `keeps_versions` and refuses the rest.
    """

    async def keeps_versions(self, *, deadline: float | None = None) -> bool:
        """Whether there may be versions besides those that `list` shows.

        False is a promise that `Driver.delete` leaves nothing behind now; True if that is not certain.

        Raises:
            StorageError: The store did not respond.
        """
        ...

    async def list_versions(
        self,
        prefix: str = "",
        cursor: str | None = None,
        *,
        exact: bool = False,
        limit: int = 1000,
        deadline: float | None = None,
    ) -> VersionPage:
        """One page of at most `limit` (1 to 1,000) versions and delete markers under a prefix.

        With `exact`, only those of exactly the key `prefix`, without more requests than these need. Deleting
        what the page before the last one listed does not disturb it.

        Raises:
            StorageAccessDeniedError: The credentials may not list versions.
            StorageUnsupportedError: The store keeps no versions, or what a deletion leaves behind has none;
                nothing was sent.
            StorageError: Anything else.
        """
        ...

    async def delete_versions(
        self, versions: Sequence[tuple[str, str]], *, deadline: float | None = None
    ) -> Mapping[tuple[str, str], DeleteOutcome | StorageError]:
        """Remove at most `capabilities.max_delete_batch` distinct (key, version id) for good.

        Each has one outcome. A missing one counts as removed. One under retention or legal hold gets an error
        with code "LOCKED" or "ACCESS_DENIED"; one the provider said nothing about gets an error with `applied
        == "maybe"`. A failure of the whole request is raised.
        """
        ...


@runtime_checkable
class RetainingDriver(Protocol):
    """A driver of a store that can keep versions, or objects, from being removed."""

    async def get_retention(
        self, key: str, version_id: str | None = None, *, deadline: float | None = None
    ) -> Retention:
        """What keeps an object from being removed; an empty `Retention` where nothing does.

        Args:
            key: The object's key.
            version_id: A version that `list_versions` shows; None for the current one, or where none are
                kept.
            deadline: Instant of `time.monotonic()`, or None.

        Raises:
            StorageObjectNotFoundError: Without `version_id`: there is no such object.
            StorageNotFoundError: There is no such version.
            StorageAccessDeniedError: The credentials may not read it.
            StorageUnsupportedError: The store has no retention, or no versions; nothing was sent.
            StorageError: Anything else.
        """
        ...


@runtime_checkable
class MakesUploadForms(Protocol):
    """A driver of a store that accepts uploads by HTML forms, if `capabilities.upload_forms`."""

    async def upload_form(self, request: FormRequest) -> UploadForm:
        """Make a form; local computation only, apart from refreshing credentials and asking for a signature.

        Raises:
            StorageUnsupportedError: The store has no such forms, or none with this encryption at rest.
            StorageInvalidRequestError: A duration out of range.
            StorageError: The credentials cannot be refreshed, or have expired.
        """
        ...


@runtime_checkable
class WantsChecksums(Protocol):
    """A driver of a store that may take a body only with its checksum before it."""

    async def wants_checksums(self, *, deadline: float | None = None) -> bool:
        """Whether the store is known to refuse bodies without `Content-MD5`; asked for at most once.

        Raises:
            StorageError: The driver cannot be used; where the store does not say, this counts as no.
        """
        ...


@runtime_checkable
class SendsParts(Protocol):
    """A driver that sends a large body in parts, each by its SHA-256."""

    def part_size(self, length: int) -> int | None:
        """Bytes of each part but the last of a body of `length` bytes, or None where it is sent whole.

        Raises:
            StorageInvalidRequestError: It is too long for that.
        """
        ...


@runtime_checkable
class ReportsDigests(Protocol):
    """A driver of a store that may say what the SHA-256 of an object's stored bytes is."""

    async def stored_digest(self, info: ObjectInfo, options: ReadOptions = READ_ALL) -> bytes | None:
        """The SHA-256 that the store itself computed over all bytes of exactly this object.

        Args:
            info: What `head` has just said of it, with its key.
            options: Customer key and deadline.

        Returns:
            The digest; None where the store does not say it, or says it of another object.

        Raises:
            StorageError: The store could not be asked.
        """
        ...


@runtime_checkable
class LockingDriver(RetainingDriver, Protocol):
    """A driver that can put objects under retention and legal hold, if `capabilities` say so.

    What is kept cannot be removed by any operation of this driver: `delete`, `delete_many` and
    `delete_versions` refuse it with `StorageRetainedError`, or with `StorageAccessDeniedError` where the
    store does not say why. Where the store keeps no versions, `put` and `copy` refuse to replace it in the
    same way; where it does, they put a version above it, and `delete` without a version hides it. Conditions
    are looked at first. A hold and a retention are independent of each other.
    """

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
        """Put an object under retention, durable on return; its bytes, metadata and write-id do not change.

        A retention that has not ended is never shortened or weakened, except one in the mode "governance"
        with `bypass_governance`.

        Args:
            key: The object's key.
            retain_until: UTC, whole seconds, in the future; None removes a retention in the mode
                "governance", with `bypass_governance`.
            mode: How it can end; ignored where it is removed.
            version_id: As in `get_retention`.
            bypass_governance: Use the permission to end such a retention early.
            deadline: Instant of `time.monotonic()`, or None.

        Raises:
            StorageObjectNotFoundError: Without `version_id`: there is no such object.
            StorageNotFoundError: There is no such version.
            StorageAccessDeniedError: It would be shortened or weakened (`StorageRetainedError` where the
                driver knows that), or the credentials may not do this.
            StorageUnsupportedError: The store has no retention of this kind or no versions, and nothing was
                sent; or it is switched off for the bucket (code "RETENTION_DISABLED").
            StorageError: Anything else.
        """
        ...

    async def set_legal_hold(
        self, key: str, *, held: bool, version_id: str | None = None, deadline: float | None = None
    ) -> None:
        """Put an object under legal hold, or release it; durable on return. Doing so twice is not an error.

        Raises:
            StorageError: As `set_retention`.
        """
        ...


@runtime_checkable
class CollectsGarbage(Protocol):
    """A driver that leaves something behind when objects are deleted, to be removed from time to time."""

    async def collect(self, grace: timedelta, *, deadline: float | None = None) -> Collected:
        """Remove what no object needs any more; safe while others write, and after any crash.

        What is found to be unused is marked, and removed by a later collection, when the mark is older than
        the grace and it is still unused.

        Args:
            grace: 30 minutes or more.
            deadline: Instant of `time.monotonic()`, or None.

        Raises:
            StorageInvalidRequestError: The grace is too short.
            StorageError: The store could not be read whole; the next collection continues.
        """
        ...


@runtime_checkable
class VerifiesLinks(Protocol):
    """A driver whose links credstore checks itself, because there is no cloud behind it."""

    def verify_link(self, method: str, path: str, query: Mapping[str, str], now: float) -> LinkGrant:
        """Check a request that uses one of its links.

        Args:
            method: HTTP method of the request.
            path: Its path, percent-encoded, as received.
            query: Its query parameters, decoded.
            now: Unix time in seconds.

        Raises:
            StorageAccessDeniedError: The link is wrong, changed or expired; the text is the same for all.
        """
        ...
