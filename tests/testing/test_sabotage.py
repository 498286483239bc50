"""The checks are checked: each of these broken drivers is caught by the check that names its fault."""

import asyncio
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from credstore.config.clouds import MemoryConfig
from credstore.driver import (
    NO_HEADERS,
    OVERWRITE,
    READ_ALL,
    BytesBody,
    CopyRequest,
    DeleteOutcome,
    ObjectInfo,
    Page,
    PutRequest,
    PutResult,
    ReadOptions,
    StoredReader,
)
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.errors import StorageError, StorageNotFoundError
from credstore.reader import ObjectReader
from credstore.testing.checks import CHECKS
from credstore.testing.harness import ConformanceError, Harness
from tests.conformance.memory import peek_at, poke_at


class DropsThePrecondition(MemoryDriver):
    async def put(self, request: PutRequest) -> PutResult:
        return await super().put(replace(request, precondition=OVERWRITE))


class ForgetsMetadata(MemoryDriver):
    async def put(self, request: PutRequest) -> PutResult:
        return await super().put(replace(request, metadata={}))


class ForgetsHeaders(MemoryDriver):
    async def put(self, request: PutRequest) -> PutResult:
        return await super().put(replace(request, headers=NO_HEADERS))


class NormalisesKeys(MemoryDriver):
    async def put(self, request: PutRequest) -> PutResult:
        return await super().put(replace(request, key=unicodedata.normalize("NFC", request.key)))


class FoldsSlashes(MemoryDriver):
    async def put(self, request: PutRequest) -> PutResult:
        return await super().put(replace(request, key=request.key.replace("//", "/")))


class IgnoresUnknownOptions(MemoryDriver):
    async def put(self, request: PutRequest) -> PutResult:
        return await super().put(replace(request, encryption=None, storage_class=None))


class StoresHalfABody(MemoryDriver):
    async def put(self, request: PutRequest) -> PutResult:
        try:
            return await super().put(request)
        except Exception:
            await super().put(replace(request, body=_Empty(), digest=None))
            raise


class _Empty:
    data = b""
    length = 0
    replayable = True


class TakesOneChunk(MemoryDriver):
    async def put(self, request: PutRequest) -> PutResult:
        if request.body.data is None:
            chunk = await anext(request.body.open())
            return await super().put(replace(request, body=BytesBody(chunk), digest=None))
        return await super().put(request)


class SwallowsCancellation(MemoryDriver):
    async def put(self, request: PutRequest) -> PutResult:
        return await asyncio.shield(asyncio.ensure_future(super().put(request)))


class IgnoresDeadlines(MemoryDriver):
    async def put(self, request: PutRequest) -> PutResult:
        return await super().put(replace(request, deadline=None))


class HasAStoreOfItsOwn(MemoryDriver):
    def __init__(self, config: MemoryConfig, *, objects) -> None:
        del objects
        super().__init__(config)


class SwapsObjects(MemoryDriver):
    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        names = sorted(self._objects.by_key)
        if key in names:
            key = names[names.index(key) - 1]
        return await super().get(key, options)


class ReturnsNothingForAbsent(MemoryDriver):
    async def head(self, key: str, options: ReadOptions = READ_ALL) -> ObjectInfo:
        try:
            return await super().head(key, options)
        except StorageNotFoundError:
            return ObjectInfo(key=key, size=0)


class IgnoresRanges(MemoryDriver):
    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        return await super().get(key, replace(options, start=0, end=None))


class IgnoresIfMatch(MemoryDriver):
    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        return await super().get(key, replace(options, if_match=None))


class TrustsItsDisk(MemoryDriver):
    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        reader = await super().get(key, options)
        return ObjectReader(reader.info, reader._content, length=None)


class StopsAtAThousand(MemoryDriver):
    async def list(self, prefix="", cursor=None, *, limit=1000, deadline=None) -> Page:
        page = await super().list(prefix, cursor, limit=limit, deadline=deadline)
        return replace(page, cursor=None) if len(page.entries) >= 1000 else page


class ListsByText(MemoryDriver):
    """Ascending by UTF-16, as other languages compare."""

    async def list(self, prefix="", cursor=None, *, limit=1000, deadline=None) -> Page:
        page = await super().list(prefix, cursor, limit=limit, deadline=deadline)
        return replace(page, entries=sorted(page.entries, key=lambda each: each.key.encode("utf-16-be")))


class CountsOnPositions(MemoryDriver):
    """Pages by number, so that deleting shifts what comes next."""

    async def list(self, prefix="", cursor=None, *, limit=1000, deadline=None) -> Page:
        keys = [key.decode() for key in self._objects.ordered() if key.startswith(prefix.encode())]
        start = int(cursor or 0)
        entries = [self._objects.by_key[key].info for key in keys[start : start + limit]]
        more = start + limit < len(keys)
        return Page(entries=entries, cursor=str(start + limit) if more else None)


class HidesTheTime(MemoryDriver):
    async def list(self, prefix="", cursor=None, *, limit=1000, deadline=None) -> Page:
        page = await super().list(prefix, cursor, limit=limit, deadline=deadline)
        return replace(page, entries=[replace(each, last_modified=None) for each in page.entries])


class OnlyMarksDeleted(MemoryDriver):
    async def delete(self, key, *, if_match=None, version_id=None, deadline=None) -> DeleteOutcome:
        return DeleteOutcome(existed=key in self._objects.by_key)


class DeletesAnyVersion(MemoryDriver):
    async def delete(self, key, *, if_match=None, version_id=None, deadline=None) -> DeleteOutcome:
        return await super().delete(key, deadline=deadline)


class HidesAFailedDelete(MemoryDriver):
    async def delete_many(
        self, keys: Sequence[str], *, deadline=None
    ) -> Mapping[str, DeleteOutcome | StorageError]:
        await super().delete_many(keys[1:])
        return dict.fromkeys(keys, DeleteOutcome(existed=True))


class ForgetsAnOutcome(MemoryDriver):
    async def delete_many(
        self, keys: Sequence[str], *, deadline=None
    ) -> Mapping[str, DeleteOutcome | StorageError]:
        outcomes = dict(await super().delete_many(keys))
        outcomes.popitem()
        return outcomes


class CopiesWithoutMetadata(MemoryDriver):
    async def copy(self, request: CopyRequest) -> PutResult:
        result = await super().copy(request)
        stored = self._objects.by_key[request.destination]
        self._objects.put(replace(stored, info=replace(stored.info, metadata={})))
        return result


class CopiesWhateverIsThere(MemoryDriver):
    async def copy(self, request: CopyRequest) -> PutResult:
        return await super().copy(replace(request, source=replace(request.source, etag=None)))


class CopiesOverAnything(MemoryDriver):
    async def copy(self, request: CopyRequest) -> PutResult:
        return await super().copy(replace(request, precondition=OVERWRITE))


class CopiesMetadataAsItIs(MemoryDriver):
    async def copy(self, request: CopyRequest) -> PutResult:
        return await super().copy(replace(request, system=None))


class CopiesWithoutTags(MemoryDriver):
    async def copy(self, request: CopyRequest) -> PutResult:
        result = await super().copy(request)
        stored = self._objects.by_key[request.destination]
        self._objects.put(replace(stored, tags={}))
        return result


class AddsTags(MemoryDriver):
    async def put_tags(self, key: str, tags: Mapping[str, str], *, deadline=None) -> None:
        await super().put_tags(key, {**await self.get_tags(key), **tags})


class WritesInTwoSteps(MemoryDriver):
    async def put(self, request: PutRequest) -> PutResult:
        if request.body.data is not None and len(request.body.data) > 1000:
            half = replace(request, body=_Half(request.body.data), digest=None)
            await super().put(half)
            await asyncio.sleep(0)
        return await super().put(request)


class _Half:
    replayable = True

    def __init__(self, data: bytes) -> None:
        self.data = data[: len(data) // 2]
        self.length = len(self.data)


class MakesLinksItDenies(MemoryDriver):
    @property
    def capabilities(self):
        return replace(super().capabilities, presign=frozenset({"GET"}))


class AsksTwice(MemoryDriver):
    async def put(self, request: PutRequest) -> PutResult:
        SENT.append("HEAD")
        SENT.append("PUT")
        return await super().put(request)


SENT: list[str] = []

BROKEN = [
    (DropsThePrecondition, "creates_once"),
    (DropsThePrecondition, "replaces_only_the_named_version"),
    (ForgetsMetadata, "keeps_what_is_stored_beside"),
    (ForgetsHeaders, "keeps_what_is_stored_beside"),
    (NormalisesKeys, "keeps_similar_keys_apart"),
    (FoldsSlashes, "keeps_odd_keys"),
    (IgnoresUnknownOptions, "refuses_what_it_has_not"),
    (StoresHalfABody, "a_failing_source_changes_nothing"),
    (StoresHalfABody, "a_short_body_is_refused"),
    (SwallowsCancellation, "a_cancelled_write_leaves_nothing"),
    (IgnoresDeadlines, "a_passed_deadline_writes_nothing"),
    (HasAStoreOfItsOwn, "two_drivers_see_one_store"),
    (HasAStoreOfItsOwn, "stores_bytes_exactly"),
    (SwapsObjects, "keeps_odd_keys"),
    (ReturnsNothingForAbsent, "what_is_absent_is_not_found"),
    (IgnoresRanges, "reads_ranges"),
    (IgnoresIfMatch, "reads_only_the_named_version"),
    (TrustsItsDisk, "notices_changed_bytes"),
    (StopsAtAThousand, "lists_all_objects_once"),
    (ListsByText, "lists_all_objects_once"),
    (CountsOnPositions, "lists_on_while_objects_go"),
    (HidesTheTime, "lists_sizes_and_versions"),
    (OnlyMarksDeleted, "deletes_and_tells"),
    (DeletesAnyVersion, "deletes_only_the_named_version"),
    (HidesAFailedDelete, "deletes_many_with_an_outcome_each"),
    (ForgetsAnOutcome, "deletes_many_with_an_outcome_each"),
    (CopiesWithoutMetadata, "copies_everything"),
    (CopiesWhateverIsThere, "copies_the_version_it_was_shown"),
    (CopiesOverAnything, "copies_under_a_condition"),
    (CopiesMetadataAsItIs, "copies_onto_itself"),
    (CopiesWithoutTags, "keeps_tags"),
    (AddsTags, "keeps_tags"),
    (WritesInTwoSteps, "replaces_whole_versions"),
    (TakesOneChunk, "stores_streams"),
    (MakesLinksItDenies, "makes_links_or_refuses"),
    (AsksTwice, "costs_one_request_each"),
]


@pytest.mark.parametrize(("kind", "name"), BROKEN, ids=lambda each: getattr(each, "__name__", each))
def test_a_broken_driver_is_caught_by_the_check_that_names_it(kind, name):
    check = next(each for each in CHECKS if each.__name__ == name)
    objects = MemoryObjects()
    harness = Harness(
        open=lambda: kind(MemoryConfig(), objects=objects),
        peek=peek_at(objects),
        poke=poke_at(objects),
        requests=(lambda: len(SENT)) if kind is AsksTwice else None,
    )
    with pytest.raises((ConformanceError, StorageError)):
        asyncio.run(check(harness))


def test_every_check_has_a_driver_that_it_catches():
    assert {check.__name__ for check in CHECKS} == {name for _, name in BROKEN}
