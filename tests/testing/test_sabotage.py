"""The checks are checked: each of these broken drivers is caught by the check that names its fault."""

import asyncio
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from credstore import forks
from credstore.config.stores import MemoryConfig
from credstore.driver import (
    NO_HEADERS,
    OVERWRITE,
    READ_ALL,
    BytesBody,
    Capabilities,
    CopyRequest,
    DeleteOutcome,
    ObjectInfo,
    Page,
    PutRequest,
    PutResult,
    ReadOptions,
    StoredReader,
)
from credstore.driver.reader import ObjectReader
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.errors import (
    StorageError,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
    StorageUnsupportedError,
)
from credstore.model import Retention
from credstore.testing.checks import CHECKS, Check
from credstore.testing.harness import ConformanceError, Harness, NotRunError
from tests.conformance.memory import peek_at, poke_at
from tests.conformance.versioned import VersionedMemory, Versions
from tests.testing.in_parts import LARGE, PARTS, UPLOADS, HasAllLinks, InParts, fetch_all


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


class DropsTheLastByte(MemoryDriver):
    async def put(self, request: PutRequest) -> PutResult:
        data = request.body.data or b""
        return await super().put(replace(request, body=BytesBody(data[:-1]), digest=None))


class ForgetsTheCustomerKey(MemoryDriver):
    @property
    def capabilities(self):
        return replace(super().capabilities, sse_c=True)

    async def put(self, request):
        return await super().put(replace(request, encryption=None))

    async def get(self, key, options=READ_ALL):
        return await super().get(key, replace(options, customer_key=None))

    async def head(self, key, options=READ_ALL):
        return await super().head(key, replace(options, customer_key=None))

    async def copy(self, request):
        return await super().copy(replace(request, encryption=None, source_customer_key=None))


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
    async def list(self, prefix="", cursor=None, **options) -> Page:
        page = await super().list(prefix, cursor, **options)
        return replace(page, cursor=None) if len(page.entries) >= 1000 else page


class ListsByText(MemoryDriver):
    """Ascending by UTF-16, as other languages compare."""

    async def list(self, prefix="", cursor=None, **options) -> Page:
        page = await super().list(prefix, cursor, **options)
        return replace(page, entries=sorted(page.entries, key=lambda each: each.key.encode("utf-16-be")))


class CountsOnPositions(MemoryDriver):
    """Pages by number, so that deleting shifts what comes next."""

    async def list(self, prefix="", cursor=None, **options) -> Page:
        keys = [key.decode() for key in self._objects.ordered() if key.startswith(prefix.encode())]
        start, limit = int(cursor or 0), options["limit"]
        entries = [self._objects.by_key[key].info for key in keys[start : start + limit]]
        more = start + limit < len(keys)
        return Page(entries=entries, cursor=str(start + limit) if more else None)


class HidesTheTime(MemoryDriver):
    async def list(self, prefix="", cursor=None, **options) -> Page:
        page = await super().list(prefix, cursor, **options)
        return replace(page, entries=[replace(each, last_modified=None) for each in page.entries])


class IgnoresTheDelimiter(MemoryDriver):
    async def list(self, prefix="", cursor=None, **options) -> Page:
        return await super().list(prefix, cursor, **{**options, "delimiter": None})


class LooksForTheFirstDelimiter(MemoryDriver):
    """In the whole key, where it is the first one after the prefix that counts."""

    async def list(self, prefix="", cursor=None, **options) -> Page:
        page = await super().list(prefix, cursor, **options)
        heads = {each.partition("/")[0] + "/" for each in page.prefixes}
        return replace(page, prefixes=sorted(heads, key=str.encode))


class ShowsPrefixesOnEachPage(MemoryDriver):
    async def list(self, prefix="", cursor=None, **options) -> Page:
        page = await super().list(prefix, cursor, **options)
        everything = await super().list(prefix, **{**options, "limit": 1000})
        return replace(page, prefixes=everything.prefixes)


class ShowsPrefixesAtTheEnd(MemoryDriver):
    """All keys first, and the prefixes on the last page."""

    async def list(self, prefix="", cursor=None, **options) -> Page:
        page = await super().list(prefix, cursor, **options)
        everything = await super().list(prefix, **{**options, "limit": 1000})
        return replace(page, prefixes=everything.prefixes if page.cursor is None else ())


class CountsKeysOnly(MemoryDriver):
    async def list(self, prefix="", cursor=None, **options) -> Page:
        if options.get("delimiter"):
            options["limit"] = 1000
        return await super().list(prefix, cursor, **options)


class DividesBySlashOnly(MemoryDriver):
    async def list(self, prefix="", cursor=None, **options) -> Page:
        if options.get("delimiter"):
            options["delimiter"] = "/"
        return await super().list(prefix, cursor, **options)


class RefusesAfterAsking(MemoryDriver):
    async def list(self, prefix="", cursor=None, **options) -> Page:
        if options.get("delimiter") not in {None, "/"}:
            SENT.append("GET")
            raise StorageUnsupportedError("no such delimiter")
        return await super().list(prefix, cursor, **options)


class IgnoresStartAfter(MemoryDriver):
    async def list(self, prefix="", cursor=None, **options) -> Page:
        return await super().list(prefix, cursor, **{**options, "start_after": None})


class StartsWithStartAfter(MemoryDriver):
    async def list(self, prefix="", cursor=None, **options) -> Page:
        page = await super().list(prefix, cursor, **options)
        found = self._objects.by_key.get(options.get("start_after"))
        if cursor is None and found is not None and found.info.key.startswith(prefix):
            return replace(page, entries=[found.info, *page.entries][: options["limit"]])
        return page


class ShowsWhereItStartsAgain(MemoryDriver):
    """A prefix that `start_after` leads into, as some servers show it."""

    async def list(self, prefix="", cursor=None, **options) -> Page:
        page = await super().list(prefix, cursor, **options)
        after = options.get("start_after") or ""
        head, slash, _ = after.removeprefix(prefix).partition("/")
        begun = prefix + head + slash
        keys = (key.startswith(begun) and key > after for key in self._objects.by_key)
        if options.get("delimiter") and slash and after.startswith(prefix) and any(keys):
            return replace(page, prefixes=[begun, *page.prefixes])
        return page


class LooksBelowPrefixes(MemoryDriver):
    async def list(self, prefix="", cursor=None, **options) -> Page:
        page = await super().list(prefix, cursor, **options)
        SENT.append("GET")
        SENT.extend(page.prefixes)
        return page


class TakesTheFirstBytes(MemoryDriver):
    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        if options.suffix:
            options = replace(options, suffix=None, end=options.suffix)
        return await super().get(key, options)


class RefusesLongSuffixes(MemoryDriver):
    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        size = len(self._objects.by_key[key].data) if key in self._objects.by_key else 0
        if options.suffix and options.suffix > size:
            raise StorageInvalidRequestError("too long", code="INVALID_RANGE")
        return await super().get(key, options)


class GivesNothingForZero(MemoryDriver):
    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        if options.suffix == 0:
            options = replace(options, suffix=None, start=0, end=0)
        return await super().get(key, options)


class PrefersTheSuffix(MemoryDriver):
    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        if options.suffix:
            options = replace(options, start=0, end=None)
        return await super().get(key, options)


class NeverChecksARange(MemoryDriver):
    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        reader = await super().get(key, options)
        if options == READ_ALL:
            return reader
        return ObjectReader(
            reader.info,
            await reader.read() if reader._expected is None else reader._content,
            length=reader.length,
        )


class SaysFailedForAbsent(MemoryDriver):
    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        if options.if_match is not None and key not in self._objects.by_key:
            raise StoragePreconditionFailedError("not that version")
        return await super().get(key, options)


class SaysNotFoundToReplace(MemoryDriver):
    async def put(self, request: PutRequest) -> PutResult:
        if request.precondition.mode == "replace" and request.key not in self._objects.by_key:
            raise StorageObjectNotFoundError("nothing to replace")
        return await super().put(request)


class DeletesNothingGladly(MemoryDriver):
    async def delete(self, key, *, if_match=None, version_id=None, deadline=None) -> DeleteOutcome:
        condition = if_match if key in self._objects.by_key else None
        return await super().delete(key, if_match=condition, version_id=version_id, deadline=deadline)


class SaysNotFoundToDelete(MemoryDriver):
    async def delete(self, key, *, if_match=None, version_id=None, deadline=None) -> DeleteOutcome:
        if if_match is not None and key not in self._objects.by_key:
            raise StorageObjectNotFoundError("nothing to delete")
        return await super().delete(key, if_match=if_match, version_id=version_id, deadline=deadline)


class TakesAnOddEtagForNone(MemoryDriver):
    async def delete(self, key, *, if_match=None, version_id=None, deadline=None) -> DeleteOutcome:
        known = if_match if if_match is not None and len(if_match) > 1 else None
        return await super().delete(key, if_match=known, version_id=version_id, deadline=deadline)


class LeavesBatches(MemoryDriver):
    async def delete_many(self, keys, *, deadline=None):
        return dict.fromkeys(keys, DeleteOutcome(existed=True))


class ChecksNoSuffix(MemoryDriver):
    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        reader = await super().get(key, options)
        if options.suffix is None:
            return reader
        return ObjectReader(reader.info, reader._content, length=reader.length)


class NeverCloses(MemoryDriver):
    async def aclose(self) -> None:
        return None


class _Shown(MemoryDriver):
    """Some operations skip the guard: `skipped` names what they are."""

    def _unguarded(self) -> MemoryDriver:
        return MemoryDriver(MemoryConfig(), objects=self._objects)


class ListsWhenClosed(_Shown):
    async def list(self, prefix="", cursor=None, **options) -> Page:
        return await self._unguarded().list(prefix, cursor, **options)


class SignsWhenClosed(_Shown):
    async def sign(self, request):
        return await self._unguarded().sign(request)


class HasOutcomesWhenClosed(MemoryDriver):
    async def delete_many(self, keys, *, deadline=None):
        try:
            return await super().delete_many(keys, deadline=deadline)
        except StorageError as error:
            return dict.fromkeys(keys, error)


class ForgetsItsProcess(MemoryDriver):
    async def head(self, key: str, options: ReadOptions = READ_ALL) -> ObjectInfo:
        self._guard._forks = forks.count
        return await super().head(key, options)


class ReadsLate(MemoryDriver):
    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        return await super().get(key, replace(options, deadline=None))


class CopiesLate(MemoryDriver):
    async def copy(self, request: CopyRequest) -> PutResult:
        return await super().copy(replace(request, deadline=None))


class IgnoresVersions(MemoryDriver):
    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        return await super().get(key, replace(options, version_id=None))


class DeletesAnyKeptVersion(MemoryDriver):
    async def delete(self, key, *, if_match=None, version_id=None, deadline=None) -> DeleteOutcome:
        return await super().delete(key, if_match=if_match, deadline=deadline)


class ClaimsVersions(MemoryDriver):
    """Says that it keeps versions, and gives the present one whatever is asked for."""

    @property
    def capabilities(self):
        return replace(super().capabilities, versions=True)

    async def head(self, key: str, options: ReadOptions = READ_ALL) -> ObjectInfo:
        return await super().head(key, replace(options, version_id=None))


class IgnoresCustomerKeys(MemoryDriver):
    async def head(self, key: str, options: ReadOptions = READ_ALL) -> ObjectInfo:
        return await super().head(key, replace(options, customer_key=None))


class CopiesUnencrypted(MemoryDriver):
    async def copy(self, request: CopyRequest) -> PutResult:
        return await super().copy(replace(request, encryption=None, source_customer_key=None))


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


class AsksForTheSize(MemoryDriver):
    """Before the last bytes, though it says that they cost one request."""

    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        options.check_range()
        SENT.extend(["HEAD", "GET"] if options.suffix is not None else ["GET"])
        return await super().get(key, options)


class SaysThatItAsks(AsksForTheSize):
    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, suffix_at_once=False)


class AsksThrice(SaysThatItAsks):
    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        options.check_range()
        SENT.extend(["HEAD"] if options.suffix is not None else [])
        return await super().get(key, options)


SENT: list[str] = []
COUNTED = {AsksTwice, RefusesAfterAsking, LooksBelowPrefixes, AsksForTheSize, SaysThatItAsks, AsksThrice}

VERSIONS: dict[int, Versions] = {}


class KeepsVersions(VersionedMemory):
    """Made as the other drivers are; all over the same objects have the same versions."""

    def __init__(self, config: MemoryConfig, *, objects: MemoryObjects) -> None:
        super().__init__(VERSIONS.setdefault(id(objects), Versions(objects=objects)))


class ShowsOtherKeysVersions(KeepsVersions):
    async def list_versions(self, prefix="", cursor=None, *, exact=False, **options):
        return await super().list_versions(prefix, cursor, exact=False, **options)


class LeavesVersions(KeepsVersions):
    async def delete_versions(self, versions, *, deadline=None):
        return {each: DeleteOutcome(existed=True) for each in versions}


class InventsAHold(KeepsVersions):
    async def get_retention(self, key, version_id, *, deadline=None):
        return Retention(legal_hold=True)


class DeniesItsVersions(KeepsVersions):
    async def keeps_versions(self, *, deadline=None):
        return False


class RestoresTheLatest(KeepsVersions):
    async def copy(self, request):
        source = request.source
        if source.key == request.destination and source.version_id is not None:
            latest = replace(source, version_id=self.versions.history[source.key][0].version_id)
            if latest.version_id in self.versions.ids(source.key):
                return await super().copy(replace(request, source=latest))
        return await super().copy(request)


class ForgetsTheLock(MemoryDriver):
    async def put(self, request: PutRequest) -> PutResult:
        return await super().put(replace(request, retention=None))


class ReplacesWhatIsKept(MemoryDriver):
    async def put(self, request: PutRequest) -> PutResult:
        self._objects.remove(request.key)
        return await super().put(request)


class DeletesWhatIsKept(MemoryDriver):
    async def delete_many(self, keys: Sequence[str], *, deadline=None):
        return {key: DeleteOutcome(existed=self._objects.remove(key)) for key in keys}


class RemovesKeptVersions(KeepsVersions):
    def _remove(self, key: str, version_id: str):
        self.versions.locks.pop((key, version_id), None)
        return super()._remove(key, version_id)


class Shortens(MemoryDriver):
    async def set_retention(self, key, retain_until, mode, *, bypass_governance=False, **options):
        await super().set_retention(key, retain_until, mode, bypass_governance=True, **options)


class NeverShortens(MemoryDriver):
    async def set_retention(self, key, retain_until, mode, *, bypass_governance=False, **options):
        await super().set_retention(key, retain_until, mode, bypass_governance=False, **options)


class NeverReleases(MemoryDriver):
    async def set_legal_hold(self, key, *, held, **options):
        await super().set_legal_hold(key, held=True, **options)


class HoldsInsteadOfRetaining(MemoryDriver):
    async def set_retention(self, key, retain_until, mode, **options):
        await super().set_legal_hold(key, held=retain_until is not None)


class RewritesWhatItLocks(MemoryDriver):
    async def set_legal_hold(self, key, *, held, **options):
        stored = self._objects.by_key[key]
        self._objects.put(replace(stored, info=replace(stored.info, metadata={})))
        await super().set_legal_hold(key, held=held, **options)


class CopiesTheLock(MemoryDriver):
    async def copy(self, request: CopyRequest) -> PutResult:
        kept = self._objects.by_key[request.source.key].retention
        return await super().copy(replace(request, retention=kept))


class CopiesWithoutALock(MemoryDriver):
    async def copy(self, request: CopyRequest) -> PutResult:
        return await super().copy(replace(request, retention=None))


class IgnoresLocks(MemoryDriver):
    @property
    def capabilities(self):
        return replace(super().capabilities, retention_modes=frozenset(), legal_holds=False)


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
    (IgnoresDeadlines, "a_passed_deadline_sends_nothing"),
    (ReadsLate, "a_passed_deadline_sends_nothing"),
    (CopiesLate, "a_passed_deadline_sends_nothing"),
    (NeverCloses, "a_closed_driver_refuses_every_call"),
    (ListsWhenClosed, "a_closed_driver_refuses_every_call"),
    (SignsWhenClosed, "a_closed_driver_refuses_every_call"),
    (HasOutcomesWhenClosed, "a_closed_driver_refuses_every_call"),
    (ForgetsItsProcess, "a_forked_child_refuses_every_call"),
    (ListsWhenClosed, "a_forked_child_refuses_every_call"),
    (IgnoresVersions, "refuses_versions_it_has_not"),
    (DeletesAnyKeptVersion, "refuses_versions_it_has_not"),
    (ClaimsVersions, "refuses_versions_it_has_not"),
    (IgnoresCustomerKeys, "refuses_versions_it_has_not"),
    (CopiesUnencrypted, "refuses_to_copy_what_it_has_not"),
    (HasAStoreOfItsOwn, "two_drivers_see_one_store"),
    (HasAStoreOfItsOwn, "keeps_the_very_bytes"),
    (DropsTheLastByte, "stores_bytes_exactly"),
    (SwapsObjects, "keeps_odd_keys"),
    (ReturnsNothingForAbsent, "what_is_absent_is_not_found"),
    (SaysFailedForAbsent, "what_is_absent_is_not_found"),
    (IgnoresRanges, "reads_ranges"),
    (TakesTheFirstBytes, "reads_the_last_bytes"),
    (RefusesLongSuffixes, "reads_the_last_bytes"),
    (GivesNothingForZero, "reads_the_last_bytes"),
    (PrefersTheSuffix, "reads_the_last_bytes"),
    (AsksForTheSize, "reads_the_last_bytes"),
    (AsksThrice, "reads_the_last_bytes"),
    (NeverChecksARange, "notices_changed_bytes"),
    (ChecksNoSuffix, "notices_changed_bytes"),
    (IgnoresIfMatch, "reads_only_the_named_version"),
    (TrustsItsDisk, "notices_changed_bytes"),
    (StopsAtAThousand, "lists_all_objects_once"),
    (ListsByText, "lists_all_objects_once"),
    (CountsOnPositions, "lists_on_while_objects_go"),
    (HidesTheTime, "lists_sizes_and_versions"),
    (IgnoresTheDelimiter, "lists_up_to_a_delimiter"),
    (LooksForTheFirstDelimiter, "lists_up_to_a_delimiter"),
    (ShowsPrefixesOnEachPage, "lists_up_to_a_delimiter"),
    (ShowsPrefixesAtTheEnd, "lists_up_to_a_delimiter"),
    (CountsKeysOnly, "lists_up_to_a_delimiter"),
    (DividesBySlashOnly, "lists_up_to_any_delimiter"),
    (RefusesAfterAsking, "lists_up_to_any_delimiter"),
    (IgnoresStartAfter, "lists_from_a_name_on"),
    (StartsWithStartAfter, "lists_from_a_name_on"),
    (ShowsWhereItStartsAgain, "lists_from_a_name_on"),
    (LooksBelowPrefixes, "lists_prefixes_without_what_is_below"),
    (OnlyMarksDeleted, "deletes_and_tells"),
    (DeletesAnyVersion, "deletes_only_the_named_version"),
    (DeletesNothingGladly, "deletes_no_version_of_nothing"),
    (SaysNotFoundToDelete, "deletes_no_version_of_nothing"),
    (TakesAnOddEtagForNone, "deletes_no_version_of_nothing"),
    (OnlyMarksDeleted, "deletes_from_the_store"),
    (LeavesBatches, "deletes_from_the_store"),
    (SaysNotFoundToReplace, "replaces_only_the_named_version"),
    (HidesAFailedDelete, "deletes_many_with_an_outcome_each"),
    (ForgetsAnOutcome, "deletes_many_with_an_outcome_each"),
    (CopiesWithoutMetadata, "copies_everything"),
    (ForgetsTheCustomerKey, "copies_under_a_customer_key"),
    (CopiesWhateverIsThere, "copies_the_version_it_was_shown"),
    (CopiesOverAnything, "copies_under_a_condition"),
    (CopiesMetadataAsItIs, "copies_onto_itself"),
    (CopiesWithoutTags, "keeps_tags"),
    (AddsTags, "keeps_tags"),
    (WritesInTwoSteps, "replaces_whole_versions"),
    (TakesOneChunk, "stores_streams"),
    (ShowsOtherKeysVersions, "keeps_versions_apart"),
    (LeavesVersions, "removes_versions_for_good"),
    (RestoresTheLatest, "restores_a_version"),
    (InventsAHold, "tells_what_keeps_a_version"),
    (ForgetsTheLock, "keeps_what_is_retained"),
    (ReplacesWhatIsKept, "keeps_what_is_retained"),
    (DeletesWhatIsKept, "keeps_what_is_retained"),
    (RemovesKeptVersions, "keeps_what_is_retained"),
    (Shortens, "only_lengthens_a_retention"),
    (NeverShortens, "only_lengthens_a_retention"),
    (ForgetsTheLock, "holds_until_released"),
    (DeletesWhatIsKept, "holds_until_released"),
    (NeverReleases, "holds_until_released"),
    (HoldsInsteadOfRetaining, "locks_what_is_there"),
    (RewritesWhatItLocks, "locks_what_is_there"),
    (CopiesTheLock, "copies_without_the_lock"),
    (CopiesWithoutALock, "copies_without_the_lock"),
    (IgnoresLocks, "refuses_locks_it_has_not"),
    (DeniesItsVersions, "says_when_it_keeps_no_versions"),
    (MakesLinksItDenies, "makes_links_or_refuses"),
    (AsksTwice, "costs_one_request_each"),
]


BROKEN += PARTS.items()


def harness_of(kind: type[MemoryDriver]) -> Harness:
    """With all that any of the checks needs."""
    objects = MemoryObjects()

    async def uploads(prefix: str) -> list[str]:
        begun = UPLOADS.get(id(objects), {}).values()
        return [key for key, _ in begun if key.startswith(prefix)]

    return Harness(
        open=lambda: kind(MemoryConfig(), objects=objects),
        peek=peek_at(objects),
        poke=poke_at(objects),
        requests=(lambda: len(SENT)) if kind in COUNTED else None,
        large=LARGE,
        uploads=uploads,
        fetch=fetch_all(objects),
    )


def check_named(name: str) -> Check:
    return next(each for each in CHECKS if each.__name__ == name)


@pytest.mark.parametrize(("kind", "name"), BROKEN, ids=lambda each: getattr(each, "__name__", each))
def test_a_broken_driver_is_caught_by_the_check_that_names_it(kind, name):
    with pytest.raises((ConformanceError, StorageError)):
        asyncio.run(check_named(name)(harness_of(kind)))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("kind", [MemoryDriver, InParts, HasAllLinks])
def test_what_the_broken_ones_are_made_of_is_sound(kind, check):
    asyncio.run(check(harness_of(kind)))


def test_the_last_bytes_may_cost_a_request_more_where_that_is_said():
    asyncio.run(check_named("reads_the_last_bytes")(harness_of(SaysThatItAsks)))


def test_parts_that_the_store_cannot_drop_are_not_looked_for():
    class KeepsParts(InParts):
        @property
        def capabilities(self) -> Capabilities:
            return replace(super().capabilities, drops_parts=False)

    asyncio.run(
        check_named("an_upload_cut_off_leaves_no_parts")(replace(harness_of(KeepsParts), uploads=None))
    )
    with pytest.raises(NotRunError, match="uploads"):
        asyncio.run(
            check_named("an_upload_cut_off_leaves_no_parts")(replace(harness_of(InParts), uploads=None))
        )


def test_every_check_has_a_driver_that_it_catches():
    assert {check.__name__ for check in CHECKS} == {name for _, name in BROKEN}
