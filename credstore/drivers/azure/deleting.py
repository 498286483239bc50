"""Delete one object or many: each key asked for has exactly one outcome (P10).

Rules of this file: a response is compared with the request, one by one; silence about a key does not count as
success, and a response to what was not asked for makes all of them untrustworthy (L07).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

from credstore.driver.unclear import is_gone
from credstore.driver.values import DeleteOutcome, ReadOptions
from credstore.driver.version_pages import DELETED
from credstore.drivers.azure.batches import batched
from credstore.drivers.azure.container import Container
from credstore.drivers.azure.errors import meaning_of
from credstore.drivers.azure.reading import head
from credstore.drivers.azure.requests import delete_blob, list_blobs
from credstore.drivers.azure.responses import build_error, code_of
from credstore.errors import (
    ErrorCode,
    StorageAuthenticationError,
    StorageBucketNotFoundError,
    StorageConflictError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidKeyError,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
    StorageRetainedError,
)
from credstore.wire.azure.signer import TokenSigner
from credstore.wire.multipart import PartReply, parse_parts

K = TypeVar("K")
_GONE = DeleteOutcome(existed=True)


async def delete(
    container: Container, key: str, *, if_match: str | None, version_id: str | None, deadline: float | None
) -> DeleteOutcome:
    """Remove one object; see `Driver.delete`. Azure says whether there was one."""
    request = delete_blob(key, container.able, if_match=if_match, version_id=version_id)
    try:
        reply = await container.call(request, deadline=deadline)
    except StorageObjectNotFoundError as error:
        if if_match is not None and error.applied == "no":
            raise _absent(error) from None
        return DeleteOutcome(existed=None if error.applied == "maybe" else False)
    except StorageConflictError as error:
        # Only after an unclear attempt can that be about our own deletion; it is if the object is gone.
        if error.applied == "no" or version_id is not None:
            raise
        if not await is_gone(head(container, key, ReadOptions(deadline=deadline))):
            raise
        return DeleteOutcome(existed=None)
    hidden = version_id is None and _hides(container, reply.headers)
    return DeleteOutcome(existed=True, version_id=DELETED if hidden else None)


def _hides(container: Container, headers: Mapping[str, str]) -> bool:
    """Whether a deletion has left something: a version, or what blob soft delete keeps."""
    return _is_soft(container, headers) or container.versioned is True


def _is_soft(container: Container, headers: Mapping[str, str]) -> bool:
    """Whether the service says that it keeps what was deleted.

    Source: "Delete Blob", `x-ms-delete-type-permanent`.
    """
    soft = headers.get("x-ms-delete-type-permanent", "").lower() == "false"
    container.soft_deletes = container.soft_deletes or soft
    return soft


def _absent(error: StorageError) -> StoragePreconditionFailedError:
    facts = error.facts()
    facts["code"] = StoragePreconditionFailedError.default_code
    return StoragePreconditionFailedError("there is no object to delete", **facts)


def still_kept(container: Container, key: str) -> StorageRetainedError:
    """The error of what should be gone for good, and is kept by blob soft delete."""
    return StorageRetainedError(
        "it is deleted, but the account's blob soft delete keeps it until its retention ends; turn that off "
        "before what must be gone is deleted",
        key=key,
        bucket=container.name,
        applied="yes",
    )


async def delete_many(
    container: Container, keys: Sequence[str], *, deadline: float | None
) -> Mapping[str, DeleteOutcome | StorageError]:
    """Remove up to a batch of keys in one request; see `Driver.delete_many`."""
    _check_count(container, len(keys))
    container.check_usable(deadline)
    outcomes: dict[str, DeleteOutcome | StorageError] = {}
    wanted: dict[str, tuple[str, str | None]] = {}
    for key in keys:
        try:
            container.check_key(key)
        except StorageInvalidKeyError as error:
            outcomes[key] = error
        else:
            wanted[key] = key, None
    return outcomes | await delete_each(container, wanted, deadline)


def _check_count(container: Container, count: int) -> None:
    if count > container.able.max_delete_batch:
        raise StorageInvalidRequestError(
            f"at most {container.able.max_delete_batch} keys are deleted at once, not {count}"
        )


async def delete_each(
    container: Container,
    wanted: Mapping[K, tuple[str, str | None]],
    deadline: float | None,
    *,
    for_good: bool = False,
) -> dict[K, DeleteOutcome | StorageError]:
    """What became of each key, or version of one, by whatever names it.

    A batch whose parts were signed by a clock that proved wrong, or with a token that has expired, is sent
    once more. With `for_good`, what blob soft delete keeps has an error with code "LOCKED".

    Raises:
        StorageIntegrityError: The response is about something that was not asked for.
        StorageError: The whole request failed.
    """
    outcomes: dict[K, DeleteOutcome | StorageError] = {}
    names: list[K] = list(wanted)
    _check_count(container, len(names))
    for _ in range(2):
        if not names:
            break
        offset = container.clock_offset
        found = await _once(container, names, wanted, deadline, for_good=for_good)
        outcomes.update(found)
        names = [name for name, each in found.items() if isinstance(each, StorageAuthenticationError)]
        if container.clock_offset == offset and not await _renewed(container, found.values(), deadline):
            break
    return outcomes


async def _renewed(
    container: Container, found: Collection[DeleteOutcome | StorageError], deadline: float | None
) -> bool:
    """Whether there is a newer token, where the one in the parts of a batch has expired."""
    expired = any(
        isinstance(each, StorageError) and each.code == ErrorCode.CREDENTIALS_EXPIRED for each in found
    )
    if not expired or not isinstance(container.signer, TokenSigner):
        return False
    try:
        await container.renew(list_blobs("", None, 1), deadline)
    except StorageError:
        return False
    return True


async def _once(
    container: Container,
    names: Sequence[K],
    wanted: Mapping[K, tuple[str, str | None]],
    deadline: float | None,
    *,
    for_good: bool,
) -> dict[K, DeleteOutcome | StorageError]:
    requests = [
        delete_blob(key, container.able, if_match=None, version_id=version_id)
        for key, version_id in (wanted[name] for name in names)
    ]
    reply = await container.call(await batched(container, requests), deadline=deadline)
    found = parse_parts(reply.headers.get("content-type", ""), reply.body)
    if not found.keys() <= set(range(len(names))):
        raise StorageIntegrityError(
            "the provider reported on keys that were not asked for; list what is left",
            code=ErrorCode.FOREIGN_KEY,
            bucket=container.name,
            applied="maybe",
        )
    return {
        name: _outcome(container, wanted[name], found.get(number), unclear=reply.unclear, for_good=for_good)
        for number, name in enumerate(names)
    }


def _outcome(
    container: Container,
    asked: tuple[str, str | None],
    reply: PartReply | None,
    *,
    unclear: bool,
    for_good: bool,
) -> DeleteOutcome | StorageError:
    key, _ = asked
    if reply is None:
        return StorageIntegrityError(
            "the provider did not say what became of this key",
            code=ErrorCode.NO_OUTCOME,
            key=key,
            bucket=container.name,
            applied="maybe",
            retryable=True,
        )
    if 200 <= reply.status < 300:  # noqa: PLR2004 - HTTP's class of success
        if for_good:
            return still_kept(container, key) if _is_soft(container, reply.headers) else _GONE
        hidden = _hides(container, reply.headers)
        return DeleteOutcome(existed=True, version_id=DELETED if hidden else None)
    code, text = code_of(reply.headers, reply.body)
    meaning = meaning_of(reply.status, code, text)
    absent = issubclass(meaning.error, StorageNotFoundError)
    if absent and meaning.error is not StorageBucketNotFoundError:
        # An earlier attempt of the whole batch may have removed it.
        return DeleteOutcome(existed=None if unclear else False)
    error = build_error(meaning, code, reply.headers, reply.status)
    error.key, error.bucket = key, container.name
    error.applied = "maybe" if error.retryable or unclear else "no"
    return error
