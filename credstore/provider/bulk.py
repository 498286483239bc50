"""Verbs over many objects: scan, stats, batch delete; exact at any size, or an error.

A listing is never trusted (P11, L05): names must be under the prefix and, where the store promises it,
strictly ascending, so nothing is listed twice (elsewhere `repeats.py` looks for that), a delimiter must have
been honoured, and a page that brings nothing new ends in an error instead of an endless loop. What cannot be
shown ends nothing: it is reported at the end. credstore's own objects are skipped and not counted.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from heapq import merge
from operator import itemgetter
from typing import TypeAlias

from credstore.concurrency import map_all
from credstore.driver.internal import behind_internal, internal_key, is_internal
from credstore.driver.repeats import Repeats
from credstore.driver.values import DeleteOutcome, ObjectInfo, Page
from credstore.errors import (
    ErrorCode,
    StorageError,
    StorageIntegrityError,
    StorageInvalidKeyError,
    StorageInvalidRequestError,
)
from credstore.model import BatchDeleteResult, CommonPrefix
from credstore.provider.call import Call, unforeseen
from credstore.provider.session import Session

Erase = Callable[[Session, Sequence[str]], Awaitable[Mapping[str, StorageError]]]
"""Removes every version of keys, and returns the errors."""
PAGE = 1000
EMPTY_PAGES = 10_000
"""Number of empty pages in a row after which a listing counts as broken; B2 and Ceph do send some."""
BATCHES = 4
"""Batch-delete requests in flight."""


Found: TypeAlias = ObjectInfo | CommonPrefix


async def scan_infos(
    session: Session,
    prefix: str,
    max_keys: int | None = None,
    *,
    hidden: Callable[[str], bool] = is_internal,
) -> AsyncGenerator[ObjectInfo, None]:
    """Every object under a prefix, once; see `scan_names`, without a delimiter."""
    async for found in scan_names(session, prefix, max_keys, hidden=hidden):
        if isinstance(found, ObjectInfo):
            yield found


async def scan_names(
    session: Session,
    prefix: str,
    max_keys: int | None = None,
    *,
    delimiter: str | None = None,
    start_after: str | None = None,
    hidden: Callable[[str], bool] = is_internal,
    refused: dict[str, StorageError] | None = None,
) -> AsyncGenerator[Found, None]:
    """Every name of a listing, once, ascending by UTF-8 bytes where the store promises that.

    Args:
        session: Of the store.
        prefix: What the names start with, possibly empty.
        max_keys: Stop after this many, or None for all.
        delimiter: See `Driver.list`.
        start_after: See `Driver.list`.
        hidden: Which names to skip.
        refused: Where to put what cannot be shown; None to raise at the end, if there is any.

    Raises:
        StorageIntegrityError: The listing repeats itself, is out of order, leaves the prefix, contains what
            was not asked for, or does not end; or, after everything else was listed, there were objects that
            cannot be shown (code "UNREADABLE_ENTRY").
    """
    told: dict[str, StorageError] = {} if refused is None else refused
    async for found in _names(
        session, prefix, max_keys, delimiter=delimiter, start_after=start_after, hidden=hidden, refused=told
    ):
        yield found
    if told and refused is None:
        raise _not_shown(told)


async def _names(
    session: Session,
    prefix: str,
    max_keys: int | None,
    *,
    delimiter: str | None,
    start_after: str | None,
    hidden: Callable[[str], bool],
    refused: dict[str, StorageError],
) -> AsyncGenerator[Found, None]:
    ordered = session.capabilities.ordered
    repeats = Repeats()
    cursor: str | None = None
    last = begin = None if start_after is None else start_after.encode()
    given = passed = 0
    jumped, may_jump = False, ordered
    seen: set[str] = set()
    while max_keys is None or given < max_keys:
        # Small pages could be full of what is skipped.
        limit = PAGE if max_keys is None or passed else min(PAGE, max_keys - given)
        page = await session.driver.list(
            prefix,
            cursor,
            delimiter=delimiter,
            start_after=start_after,
            limit=limit,
            deadline=session.deadline(),
        )
        refused.update(page.refused)
        if not ordered and (names := [name for name, _ in _in_order(page)]) and repeats.page_again(names):
            raise _broken("goes round in circles without an end")
        behind: str | None = None
        for name, found in _in_order(page):
            text = found.key if isinstance(found, ObjectInfo) else found.prefix
            if not text.startswith(prefix):
                raise _broken(f"has {text!r}, which is not under the prefix {prefix!r}")
            if ordered and last is not None and name <= last:
                raise _broken(f"lists {text!r} again, out of order, or before its start")
            if not ordered and ((begin is not None and name <= begin) or repeats.name_again(name)):
                raise _broken(f"lists {text!r} again, or before its start")
            if delimiter is not None or page.prefixes:
                _check_folded(found, prefix, delimiter)
            last = name
            if hidden(text):
                passed += 1
                behind = behind_internal(text) if may_jump else None
                continue
            behind = None
            given += 1
            yield found
            if given == max_keys:
                return
        if page.cursor is None:
            return
        if page.entries or page.prefixes:
            seen.clear()
        elif jumped:
            may_jump = False  # A server that ignores `start_after` starts at the first object each time.
        jumped = behind is not None
        if behind is not None:
            cursor, start_after = None, behind
            continue
        if page.cursor in seen or page.cursor == cursor or len(seen) >= EMPTY_PAGES:
            raise _broken("goes round in circles without an end")
        seen.add(page.cursor)
        cursor = page.cursor


def _in_order(page: Page) -> Iterable[tuple[bytes, Found]]:
    """What is on a page, with the names; ascending if the page is in order."""
    entries: Iterable[tuple[bytes, Found]] = ((each.key.encode(), each) for each in page.entries)
    if not page.prefixes:
        return entries
    prefixes = ((each.encode(), CommonPrefix(each, degraded=page.degraded)) for each in page.prefixes)
    return merge(entries, prefixes, key=itemgetter(0))


def _check_folded(found: Found, prefix: str, delimiter: str | None) -> None:
    """Refuse a key that continues beyond the delimiter, and an invalid common prefix."""
    if isinstance(found, ObjectInfo):
        if delimiter is not None and delimiter in found.key[len(prefix) :]:
            raise _broken(f"has {found.key!r}, as if it had not been asked to stop at {delimiter!r}")
        return
    below = found.prefix[len(prefix) :]
    if delimiter is None or below.find(delimiter) != len(below) - len(delimiter) or not below:
        raise _broken(f"has the common prefix {found.prefix!r}, which does not end at a delimiter asked for")


def scan_own(session: Session, folder: str) -> AsyncGenerator[ObjectInfo, None]:
    """Like `scan_infos`, for what credstore keeps for itself in one folder of `driver.internal`."""
    return scan_infos(session, internal_key(folder), hidden=lambda _: False)


def _broken(how: str) -> StorageIntegrityError:
    return StorageIntegrityError(
        f"the provider's listing {how}; totals or copies made from it would be wrong", code=ErrorCode.LISTING
    )


def _not_shown(refused: Mapping[str, StorageError]) -> StorageError:
    name, first = next(iter(refused.items()))
    more = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
    return StorageIntegrityError(
        f"everything was listed but {name!r}{more}, which cannot be shown: {first.message}",
        code=ErrorCode.UNREADABLE_ENTRY,
        key=name,
    )


async def delete_keys(
    session: Session, keys: Iterable[str], call: Call, *, erase: Erase | None = None
) -> BatchDeleteResult:
    """Delete any number of keys; each distinct input key has exactly one outcome (P10).

    Args:
        session: Of the store.
        keys: In any number; repeats count once.
        call: That they were given to.
        erase: What removes every version of keys and gives the errors; None to delete as the store does.

    Raises:
        StorageInvalidRequestError: `keys` is something other than a list of keys.
        StorageInvalidKeyError: A key is not text at all.
    """
    if isinstance(keys, str | bytes) or not isinstance(keys, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
        raise StorageInvalidRequestError(
            f"batch_delete takes a list of keys, not a single {type(keys).__name__}"
        )
    failed: dict[str, Exception] = {}
    wanted: list[str] = []
    with call.outside():
        distinct = _distinct(keys)
    for key in distinct:
        try:
            session.check_key(key)
        except StorageError as error:
            failed[key] = error.at(provider=session.name, operation="batch_delete", key=error.key)
        else:
            wanted.append(key)
    if erase is not None:
        errors = await erase(session, wanted)
    else:
        outcomes = await delete_outcomes(session, wanted)
        errors = {key: each for key, each in outcomes.items() if isinstance(each, StorageError)}
    for key in wanted:
        if key in errors:
            failed[key] = errors[key].at(provider=session.name, operation="batch_delete", key=key)
    return BatchDeleteResult(deleted=tuple(key for key in wanted if key not in failed), failed=failed)


async def delete_outcomes(session: Session, keys: Sequence[str]) -> dict[str, DeleteOutcome | StorageError]:
    """What became of each key; nothing is raised.

    Args:
        session: Of the store.
        keys: Checked and distinct, in any number.
    """
    size = session.capabilities.max_delete_batch
    batches = [keys[start : start + size] for start in range(0, len(keys), size)]

    async def run(batch: Sequence[str]) -> Mapping[str, DeleteOutcome | StorageError]:
        try:
            return await session.driver.delete_many(batch, deadline=session.deadline())
        except StorageError as error:
            return {key: for_key(error, key) for key in batch}
        except Exception as error:  # noqa: BLE001 - the outcomes of the other requests count
            failure = unforeseen(error, mutation=True)
            failure.__cause__ = error
            return {key: for_key(failure, key) for key in batch}

    told = await map_all(batches, run, at_once=BATCHES)
    outcomes = {key: outcome for each in told for key, outcome in each.items()}
    return {key: outcomes.get(key) or _unknown(key) for key in keys}


def _distinct(keys: Iterable[str]) -> list[str]:
    found: dict[str, None] = {}
    for key in keys:
        if not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
            raise StorageInvalidKeyError(f"a key is text (str), not {type(key).__name__}")
        found[key] = None
    return list(found)


def for_key(error: StorageError, key: str) -> StorageError:
    """A copy of the error for one of the keys it is about."""
    facts = error.facts()
    facts["key"] = key
    own = type(error)(error.message, **facts)
    own.__cause__ = error
    return own


def _unknown(key: str) -> StorageError:
    return StorageIntegrityError(
        "the provider did not say what became of this key",
        code=ErrorCode.NO_OUTCOME,
        key=key,
        applied="maybe",
        retryable=True,
    )
