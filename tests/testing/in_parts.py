"""A memory driver that sends parts as S3 does, and broken ones like it."""

from collections.abc import Mapping
from dataclasses import replace
from secrets import token_hex
from urllib.parse import unquote, urlsplit

from credstore.config.stores import MemoryConfig
from credstore.driver import (
    NO_HEADERS,
    OVERWRITE,
    BytesBody,
    Capabilities,
    ContentHeaders,
    CopyRequest,
    PutRequest,
    PutResult,
    ResumeToken,
    SignedRequest,
    SignRequest,
)
from credstore.driver.refusals import check_put
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.errors import ErrorCode, StorageConnectionError, StorageInvalidRequestError
from credstore.testing.harness import request
from credstore.testing.links import Fetch, Fetched
from tests.conformance.memory import fetch_from

LARGE = 1000
UPLOADS: dict[int, dict[str, tuple[str, bytearray]]] = {}
"""Key and bytes of every upload that has not ended, by its id, for each store."""


class InParts(MemoryDriver):
    """Keeps what came of a large body until it is an object, and for whoever resumes it."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, multipart=True, resumable=True)

    @property
    def uploads(self) -> dict[str, tuple[str, bytearray]]:
        return UPLOADS.setdefault(id(self._objects), {})

    def list_uploads(self, prefix: str = ""):
        async def found():
            for upload_id, (key, _) in list(self.uploads.items()):
                if key.startswith(prefix):
                    yield Begun(key, upload_id)

        return found()

    async def abort_upload(self, key: str, upload_id: str) -> None:
        assert self.uploads.pop(upload_id)[0] == key

    async def put(self, request: PutRequest) -> PutResult:
        self._guard.check(request.deadline)
        check_put(request, self.capabilities, self.name)
        length = request.body.length
        if length is not None and length < LARGE:
            return await super().put(request)
        request, upload_id = await self._begun(request)
        got = self.uploads[upload_id][1]
        try:
            async for chunk in request.body.open(len(got)):
                got += chunk
        except BaseException as error:
            if request.journal is None:
                await self.cut_off(request, upload_id, error)
            raise
        del self.uploads[upload_id]
        if length not in {None, len(got)}:
            raise StorageInvalidRequestError("too short", code=ErrorCode.BODY_LENGTH)
        result = await super().put(replace(self.joined(request, bytes(got)), journal=None))
        if request.journal is not None:
            await request.journal.clear()
        return result

    async def _begun(self, request: PutRequest) -> tuple[PutRequest, str]:
        token = None if request.journal is None else await request.journal.load()
        if token is not None:
            self.compare(token, request)
            return self.resumed(request, token)
        upload_id = token_hex(8)
        self.uploads[upload_id] = (request.key, bytearray())
        if request.journal is not None:
            await request.journal.save(self.token(request, upload_id))
        return request, upload_id

    def token(self, request: PutRequest, upload_id: str) -> ResumeToken:
        return ResumeToken(
            place="memory",
            key=request.key,
            size=request.body.length or 0,
            digest=(request.digest or b"").hex(),
            part_size=LARGE,
            upload_id=upload_id,
            write_id=request.write_id,
            options="",
        )

    def compare(self, token: ResumeToken, request: PutRequest) -> None:
        if token.digest != (request.digest or b"").hex():
            raise StorageInvalidRequestError("another body")

    def resumed(self, request: PutRequest, token: ResumeToken) -> tuple[PutRequest, str]:
        return replace(request, write_id=token.write_id), token.upload_id

    def joined(self, request: PutRequest, data: bytes) -> PutRequest:
        return replace(request, body=BytesBody(data))

    async def cut_off(self, request: PutRequest, upload_id: str, error: BaseException) -> None:
        del self.uploads[upload_id]


class Begun:
    def __init__(self, key: str, upload_id: str) -> None:
        self.key = key
        self.upload_id = upload_id


class LosesTheLastPart(InParts):
    def joined(self, request, data):
        return replace(request, body=BytesBody(data[:LARGE]), digest=None)


class CutsAtTheThreshold(InParts):
    def joined(self, request, data):
        cut = data[:-1] if len(data) == LARGE else data
        return replace(request, body=BytesBody(cut), digest=None if cut != data else request.digest)


class SwapsParts(InParts):
    def joined(self, request, data):
        return replace(request, body=BytesBody(data[LARGE:] + data[:LARGE]), digest=None)


class ForgetsMetadataInParts(InParts):
    def joined(self, request, data):
        return replace(request, body=BytesBody(data), metadata={})


class HidesTheSourcesError(InParts):
    async def cut_off(self, request, upload_id, error):
        await super().cut_off(request, upload_id, error)
        if isinstance(error, Exception):
            raise StorageConnectionError("broken") from error


class StoresWhatCame(InParts):
    async def cut_off(self, request, upload_id, error):
        _, got = self.uploads.pop(upload_id)
        await MemoryDriver.put(self, replace(request, body=BytesBody(bytes(got))))


class LeavesParts(InParts):
    async def cut_off(self, request, upload_id, error):
        return None


class LeavesPartsOfTheCancelled(InParts):
    async def cut_off(self, request, upload_id, error):
        if isinstance(error, Exception):
            await super().cut_off(request, upload_id, error)


class KeepsNoJournal(InParts):
    async def put(self, request):
        return await super().put(replace(request, journal=None))


class BeginsAnew(InParts):
    def resumed(self, request, token):
        upload_id = token_hex(8)
        self.uploads[upload_id] = (request.key, bytearray())
        request.journal.ids.add(upload_id)
        return replace(request, write_id=token.write_id), upload_id


class TrustsTheJournal(InParts):
    def compare(self, token, request):
        return None


class TakesANewWriteId(InParts):
    def resumed(self, request, token):
        return request, token.upload_id


class NeverClearsItsJournal(InParts):
    async def put(self, request):
        token = None if request.journal is None else await request.journal.load()
        result = await super().put(request)
        if token is not None:
            await request.journal.save(token)
        return result


class _CopiesLargeOnes(InParts):
    async def copy(self, request: CopyRequest) -> PutResult:
        result = await super().copy(self.ordered(request))
        stored = self._objects.by_key[request.destination]
        if stored.info.size >= LARGE:
            self._objects.put(self.copied(stored))
        return result

    def ordered(self, request):
        return request

    def copied(self, stored):
        return stored


class CopiesTheFirstRange(_CopiesLargeOnes):
    def copied(self, stored):
        return replace(stored, data=stored.data[:LARGE] + bytes(len(stored.data) - LARGE))


class CopiesInPartsWithoutHeaders(_CopiesLargeOnes):
    def copied(self, stored):
        return replace(stored, info=replace(stored.info, headers=NO_HEADERS))


class CopiesInPartsWithoutTags(_CopiesLargeOnes):
    def copied(self, stored):
        return replace(stored, tags={})


class CopiesPartsOfAnyVersion(_CopiesLargeOnes):
    def ordered(self, request):
        large = request.source.size >= LARGE
        return replace(request, source=replace(request.source, etag=None)) if large else request


class CopiesPartsOverAnything(_CopiesLargeOnes):
    def ordered(self, request):
        return replace(request, precondition=OVERWRITE)


class DropsTagsInParts(InParts):
    def joined(self, request, data):
        return replace(request, body=BytesBody(data), tags={})


class DropsConditionsInParts(InParts):
    def joined(self, request, data):
        return replace(request, body=BytesBody(data), precondition=OVERWRITE)


class WritesElsewhereOnCondition(InParts):
    async def put(self, request):
        if request.precondition.mode != "overwrite" and (request.body.length or 0) >= LARGE:
            request = replace(request, precondition=OVERWRITE, key=request.key + "-elsewhere")
        return await super().put(request)


class HasAllLinks(MemoryDriver):
    """Links for writes too, which `fetch_all` opens."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, presign=frozenset({"GET", "HEAD", "PUT", "DELETE"}))

    async def sign(self, request: SignRequest) -> SignedRequest:
        link = await super().sign(replace(request, method="GET", headers={}))
        if request.method in {"GET", "HEAD"}:
            return await super().sign(request)
        return replace(link, method=request.method, headers=request.headers)


def fetch_all(objects: MemoryObjects) -> Fetch:
    """Open a link as the store's server would, those for writes included."""
    opened = fetch_from(objects)

    async def fetch(link: SignedRequest, body: bytes | None) -> Fetched:
        key = unquote(urlsplit(link.url).path[1:])
        if link.method == "PUT":
            headers = ContentHeaders(content_type=link.headers.get("content-type"))
            await MemoryDriver(MemoryConfig(), objects=objects).put(
                request(key, body or b"", headers=headers)
            )
            return Fetched(200, {}, b"")
        if link.method == "DELETE":
            await MemoryDriver(MemoryConfig(), objects=objects).delete(key)
            return Fetched(204, {}, b"")
        return await opened(link, body)

    return fetch


class _ChangesLinks(HasAllLinks):
    """Those for one method."""

    method = "GET"

    async def sign(self, request):
        if request.method != self.method:
            return await super().sign(request)
        return await self.changed(request)

    async def changed(self, request):
        raise NotImplementedError


class LinksToAnotherKey(_ChangesLinks):
    async def changed(self, request):
        return await HasAllLinks.sign(self, replace(request, key=request.key + "x"))


class LooksAtAnotherKey(LinksToAnotherKey):
    method = "HEAD"


class WritesToAnotherKey(LinksToAnotherKey):
    method = "PUT"


class DeletesAnotherKey(LinksToAnotherKey):
    method = "DELETE"


class EncodesTwice(_ChangesLinks):
    async def changed(self, request):
        link = await HasAllLinks.sign(self, request)
        path, mark, query = link.url.partition("?")
        return replace(link, url=path.replace("%", "%25") + mark + query)


class ForgetsOverrides(_ChangesLinks):
    async def changed(self, request):
        return await HasAllLinks.sign(self, replace(request, overrides={}))


class DemandsNoHeaders(_ChangesLinks):
    method = "PUT"

    async def changed(self, request):
        return await HasAllLinks.sign(self, replace(request, headers={}))


PARTS: Mapping[type[MemoryDriver], str] = {
    LosesTheLastPart: "sends_bodies_in_parts",
    CutsAtTheThreshold: "sends_bodies_in_parts",
    SwapsParts: "sends_bodies_in_parts",
    ForgetsMetadataInParts: "sends_bodies_in_parts",
    HidesTheSourcesError: "an_upload_cut_off_changes_nothing",
    StoresWhatCame: "an_upload_cut_off_changes_nothing",
    LeavesParts: "an_upload_cut_off_leaves_no_parts",
    LeavesPartsOfTheCancelled: "an_upload_cut_off_leaves_no_parts",
    KeepsNoJournal: "resumes_an_upload",
    BeginsAnew: "resumes_an_upload",
    TrustsTheJournal: "resumes_an_upload",
    TakesANewWriteId: "resumes_an_upload",
    NeverClearsItsJournal: "resumes_an_upload",
    CopiesTheFirstRange: "copies_in_parts",
    CopiesInPartsWithoutHeaders: "copies_in_parts",
    CopiesPartsOfAnyVersion: "copies_in_parts",
    CopiesInPartsWithoutTags: "keeps_tags_in_parts",
    DropsTagsInParts: "keeps_tags_in_parts",
    DropsConditionsInParts: "keeps_conditions_in_parts",
    CopiesPartsOverAnything: "keeps_conditions_in_parts",
    WritesElsewhereOnCondition: "keeps_conditions_in_parts",
    LinksToAnotherKey: "makes_links_that_open",
    LooksAtAnotherKey: "makes_links_that_open",
    WritesToAnotherKey: "makes_links_that_open",
    DeletesAnotherKey: "makes_links_that_open",
    EncodesTwice: "makes_links_that_open",
    ForgetsOverrides: "makes_links_that_open",
    DemandsNoHeaders: "makes_links_that_open",
}
"""What each is caught by."""
