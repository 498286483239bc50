"""Azure Blob Storage in memory, behind a scripted transport: what the REST API says, and faults on demand.

Every request that is signed with the account's key is checked with the vendor's own policy.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from types import SimpleNamespace
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.transport import HttpRequest
from azure.storage.blob._shared.authentication import SharedKeyCredentialPolicy

from credstore.config.azure import AzureConfig
from credstore.drivers.azure.driver import AzureDriver
from credstore.encryption import Secret
from credstore.testing.scripted import ScriptedAnswer, ScriptedTransport, SentRequest
from credstore.wire.transport import WireError
from tests.servers.azurite import KEY

ACCOUNT, CONTAINER = "acme", "proofs"
LOST = WireError("broken", sent=True)
_CONTENT = ("type", "encoding", "language", "disposition")
_TEXTS = {
    "AuthenticationFailed": "Server failed to authenticate the request.",
    "BlobNotFound": "The specified blob does not exist.",
}


@dataclass(frozen=True)
class Blob:
    """One version of a blob."""

    data: bytes
    etag: str
    version_id: str
    modified: datetime
    headers: Mapping[str, str] = field(default_factory=dict)
    meta: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    tier: str = "Hot"
    inferred: bool = True
    current: bool = True
    copy: tuple[str, str] | None = None
    sealed: Mapping[str, str] = field(default_factory=dict)
    policy: tuple[datetime, str] | None = None
    hold: bool = False


class Refused(Exception):
    """An answer that says no."""

    def __init__(self, status: int, code: str, detail: str = "") -> None:
        super().__init__(code)
        self.status, self.code, self.detail = status, code, detail


Fault = Callable[[SentRequest, Callable[[SentRequest], ScriptedAnswer]], ScriptedAnswer | Exception | None]


class FakeAzure:
    """One container.

    Attributes:
        blobs: All versions by name, the oldest first.
        kept: What only soft delete keeps, by name.
        blocks: Uncommitted ones by name and id.
        faults: Each is asked for every request, in order, and may answer in the place of the service.
        sent: All requests.
        immutable: Whether the container has version-level immutability, which needs versions.
        ignores_locks: Whether policies and holds that come with a write are ignored, as emulators do.
        lock_off: How a lock is refused where there is no version-level immutability.
    """

    def __init__(
        self, *, versions: bool = False, from_url: bool = True, soft: bool = False, immutable: bool = False
    ) -> None:
        self.versions, self.from_url, self.soft = versions or immutable, from_url, soft
        self.immutable, self.ignores_locks = immutable, False
        self.lock_off = (409, "FeatureNotEnabled")
        self.kept: dict[str, list[Blob]] = {}
        self.sealed: dict[tuple[str, str], dict[str, str]] = {}
        self.blobs: dict[str, list[Blob]] = {}
        self.blocks: dict[str, dict[str, bytes]] = {}
        self.faults: list[Fault] = []
        self.sent: list[SentRequest] = []
        self.pending: list[str] = []
        self.page = 5000
        self.exists = True
        self.clock = datetime.now(UTC)
        self._count = 0

    # The driver's side.

    def transport(self) -> ScriptedTransport:
        return ScriptedTransport(self.answer)

    def config(self, **settings: object) -> AzureConfig:
        given = {"account": ACCOUNT, "bucket": CONTAINER, "account_key": Secret(KEY), **settings}
        if "sas_token" in given or given.get("auth_mode") == "login":
            given.pop("account_key")
        return AzureConfig(**given)

    def driver(self, tokens: object = None, **settings: object) -> AzureDriver:
        """One that does not wait between two attempts."""
        driver = AzureDriver(self.config(**settings), tokens=tokens, transport=self.transport())

        async def at_once(_seconds: float) -> None:
            await asyncio.sleep(0)

        driver._container._exchange._sleep = at_once
        return driver

    # What is in it.

    def now(self, name: str) -> Blob | None:
        return next((each for each in self.blobs.get(name, ()) if each.current), None)

    def put(self, name: str, data: bytes, **facts: object) -> Blob:
        """Make a blob or version, past all conditions."""
        self._count += 1
        moment = self.clock + timedelta(seconds=self._count)
        new = Blob(
            data,
            f"0x{self._count:016X}",
            moment.strftime("%Y-%m-%dT%H:%M:%S.0000000Z"),
            moment.replace(microsecond=0),
            **facts,
        )
        older = [replace(each, current=False) for each in self.blobs.get(name, ())] if self.versions else []
        self.blobs[name] = [*older, new]
        return new

    # The service.

    def answer(self, request: SentRequest) -> ScriptedAnswer | Exception:
        self.sent.append(request)
        for fault in list(self.faults):
            found = fault(request, self.serve)
            if found is not None:
                return found
        return self.serve(request)

    def serve(self, request: SentRequest) -> ScriptedAnswer:
        try:
            status, headers, body = self._served(request)
        except Refused as refused:
            status, body = refused.status, _error(refused)
            headers = {"x-ms-error-code": refused.code, "content-type": "application/xml"}
        common = {"x-ms-request-id": f"{len(self.sent):08d}-0000-0000-0000-000000000000", "x-ms-version": "x"}
        common["date"] = format_datetime(datetime.now(UTC), usegmt=True)
        length = {} if "content-length" in headers else {"content-length": str(len(body))}
        return ScriptedAnswer(status, body, {**common, **length, **headers})

    def _served(self, request: SentRequest) -> tuple[int, dict[str, str], bytes]:
        check_signature(request)
        parts = urlsplit(request.url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        path = parts.path.split("/", 2)
        if query.get("comp") == "userdelegationkey":
            return self._delegation_key(request)
        if not self.exists:
            raise Refused(404, "ContainerNotFound")
        if len(path) < 3:
            if query.get("comp") == "batch":
                return self._batch(request)
            if "comp" not in query:
                told = {"x-ms-immutable-storage-with-versioning-enabled": str(self.immutable).lower()}
                return 200, {**told, "etag": '"0x1"', "last-modified": "Fri, 01 Jan 2027 00:00:00 GMT"}, b""
            return self._list(query)
        name = unquote(path[2])
        return self._of_blob(request, name, query)

    def _of_blob(
        self, request: SentRequest, name: str, query: Mapping[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        headers, comp = request.headers, query.get("comp")
        if request.method == "PUT" and comp == "block":
            return self._put_block(request, name, query["blockid"])
        if request.method == "GET" and comp == "blocklist":
            return self._block_list(name)
        found = self._version(name, query.get("versionid"))
        if (request.method == "PUT" and comp is None) or comp == "blocklist":
            _check_write(headers, found)
            return self._write(request, name, comp)
        if found is None:
            raise Refused(404, "BlobNotFound")
        if (wanted := headers.get("if-match")) is not None and wanted.strip('"') != found.etag:
            raise Refused(412, "ConditionNotMet")
        if comp in {"immutabilityPolicies", "legalhold"}:
            return self._lock(request, name, found, comp)
        if request.method == "DELETE":
            return self._delete(name, found, query.get("versionid"))
        if comp in {None, "metadata"}:
            _check_key(headers, found)
        if comp == "tags":
            if request.method == "GET":
                return 200, {}, _tags(found.tags)
            root = ET.fromstring(request.body)
            tags = {tag.findtext("Key"): tag.findtext("Value") or "" for tag in root.iter("Tag")}
            self._replace(name, found, replace(found, tags=tags))
            return 204, {}, b""
        if comp == "metadata":
            return self._rewritten(request, name, found)
        if comp == "tier":
            self._replace(name, found, replace(found, tier=headers["x-ms-access-tier"], inferred=False))
            return 202, {}, b""
        if comp == "copy":
            self.pending.remove(name)
            self._replace(name, found, replace(found, data=b"", copy=(query["copyid"], "aborted")))
            return 204, {}, b""
        return self._read(request, found)

    def _version(self, name: str, version_id: str | None) -> Blob | None:
        if version_id is None:
            return self.now(name)
        return next((each for each in self.blobs.get(name, ()) if each.version_id == version_id), None)

    def _replace(self, name: str, old: Blob, new: Blob) -> None:
        self.blobs[name] = [new if each is old else each for each in self.blobs[name]]

    def _said(self, blob: Blob) -> dict[str, str]:
        said = {
            "etag": f'"{blob.etag}"',
            "last-modified": format_datetime(blob.modified, usegmt=True),
            "x-ms-server-encrypted": "true",
            "x-ms-blob-type": "BlockBlob",
            **({"x-ms-version-id": blob.version_id} if self.versions else {}),
            **({"x-ms-tag-count": str(len(blob.tags))} if blob.tags else {}),
        }
        said |= blob.sealed
        if blob.policy is not None:
            said |= _policy_headers(blob.policy)
        if blob.hold:
            said["x-ms-legal-hold"] = "true"
        if blob.copy is not None:
            said |= {"x-ms-copy-id": blob.copy[0], "x-ms-copy-status": blob.copy[1]}
        return said | {f"x-ms-meta-{name}": value for name, value in blob.meta.items()}

    def _read(self, request: SentRequest, blob: Blob) -> tuple[int, dict[str, str], bytes]:
        said = self._said(blob) | {"content-type": "application/octet-stream"} | dict(blob.headers)
        if request.method == "HEAD":
            tier = {"x-ms-access-tier": blob.tier}
            inferred = {"x-ms-access-tier-inferred": "true"} if blob.inferred else {}
            return 200, {**said, **tier, **inferred, "content-length": str(len(blob.data))}, b""
        if blob.tier == "Archive":
            raise Refused(409, "BlobArchived")
        ranged = request.headers.get("x-ms-range")
        if ranged is None:
            return 200, said, blob.data
        first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", ranged).groups()
        start, size = int(first), len(blob.data)
        if start >= size:
            raise Refused(416, "InvalidRange")
        end = size if last == "" else min(size, int(last) + 1)
        return 206, {**said, "content-range": f"bytes {start}-{end - 1}/{size}"}, blob.data[start:end]

    def _put_block(self, request: SentRequest, name: str, block_id: str) -> tuple[int, dict[str, str], bytes]:
        data = request.body
        if "x-ms-copy-source" in request.headers:
            source = self._source(request)
            first, last = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers["x-ms-source-range"]).groups()
            data = source.data[int(first) : int(last) + 1]
        _check_md5(request)
        there = self.blocks.setdefault(name, {})
        if any(len(each) != len(block_id) for each in there):
            raise Refused(400, "InvalidBlobOrBlock")
        there[block_id] = data
        self.sealed[name, block_id] = _sealed(request.headers)
        return 201, {}, b""

    def _block_list(self, name: str) -> tuple[int, dict[str, str], bytes]:
        if self.now(name) is None and name not in self.blocks:
            raise Refused(404, "BlobNotFound")
        blocks = "".join(
            f"<Block><Name>{each}</Name><Size>{len(data)}</Size></Block>"
            for each, data in self.blocks.get(name, {}).items()
        )
        body = f"<BlockList><UncommittedBlocks>{blocks}</UncommittedBlocks></BlockList>"
        return 200, {"content-type": "application/xml"}, body.encode()

    def _write(self, request: SentRequest, name: str, comp: str | None) -> tuple[int, dict[str, str], bytes]:
        headers = request.headers
        _check_md5(request)
        facts = _facts(headers) | self._locks(headers)
        if comp == "blocklist":
            ids = [each.text for each in ET.fromstring(request.body)]
            there = self.blocks.get(name, {})
            if any(each not in there for each in ids):
                raise Refused(400, "InvalidBlockList")
            if any(self.sealed[name, each] != _sealed(headers) for each in ids):
                raise Refused(409, "BlobCustomerSpecifiedEncryptionMismatch")
            data = b"".join(there[each] for each in ids)
        elif "x-ms-copy-source" in headers:
            source = self._source(request)
            if "x-ms-blob-type" not in headers:
                return self._copy(name, source, facts)
            if facts.get("policy") or facts.get("hold"):
                raise Refused(400, "UnsupportedHeader")  # The reference has none for Put Blob From URL.
            data = source.data
        else:
            data = request.body
        self.blocks.pop(name, None)
        made = self.put(name, data, **facts, sealed=_sealed(headers))
        md5 = base64.b64encode(hashlib.md5(data).digest()).decode()
        told = {} if comp else {"content-md5": md5}
        version = {"x-ms-version-id": made.version_id} if self.versions else {}
        return (
            201,
            {
                "etag": f'"{made.etag}"',
                "x-ms-request-server-encrypted": "true",
                **told,
                **version,
                **made.sealed,
            },
            b"",
        )

    def _source(self, request: SentRequest) -> Blob:
        from_url = request.headers.get("x-ms-blob-type") is not None or "x-ms-source-range" in request.headers
        if from_url and not self.from_url:
            raise Refused(501, "APINotImplemented")
        url = urlsplit(request.headers["x-ms-copy-source"])
        query = dict(parse_qsl(url.query))
        readable = "sig" in query or request.headers.get("x-ms-copy-source-authorization")
        if from_url and not readable:
            raise Refused(403, "CannotVerifyCopySource")
        found = self._version(unquote(url.path.split("/", 2)[2]), query.get("versionid"))
        if found is None:
            raise Refused(404, "CannotVerifyCopySource")
        start = "x-ms-source-encryption-"
        headers = {
            name.replace(start, "x-ms-encryption-"): value
            for name, value in request.headers.items()
            if name.startswith(start)
        }
        if headers and request.headers["x-ms-version"] < "2026-10-06":
            raise Refused(400, "UnsupportedHeader")
        _check_key(headers, found)
        wanted = request.headers.get("x-ms-source-if-match")
        if wanted is not None and wanted.strip('"') != found.etag:
            raise Refused(412, "SourceConditionNotMet")
        return found

    def _copy(self, name: str, source: Blob, facts: dict[str, object]) -> tuple[int, dict[str, str], bytes]:
        later = name in self.pending
        status = "pending" if later else "success"
        copied = self.put(
            name,
            b"" if later else source.data,
            **{**facts, "headers": source.headers},
            copy=("copy-1", status),
        )
        return 202, {"etag": f'"{copied.etag}"', "x-ms-copy-id": "copy-1", "x-ms-copy-status": status}, b""

    def _locks(self, headers: Mapping[str, str]) -> dict[str, object]:
        """What a request puts a blob under."""
        found: dict[str, object] = {}
        mode, hold = headers.get("x-ms-immutability-policy-mode"), headers.get("x-ms-legal-hold")
        until = headers.get("x-ms-immutability-policy-until-date")
        if (until is None and hold is None) or self.ignores_locks:
            return found
        if not self.immutable:
            raise Refused(*self.lock_off)
        if until is not None:
            end = parsedate_to_datetime(until)
            if end <= datetime.now(UTC) or (mode or "unlocked").lower() not in {"locked", "unlocked"}:
                raise Refused(400, "InvalidHeaderValue")
            found["policy"] = end, (mode or "unlocked").lower()
        if hold is not None:
            if hold not in {"true", "false"}:
                raise Refused(400, "InvalidHeaderValue")
            found["hold"] = hold == "true"
        return found

    def _lock(
        self, request: SentRequest, name: str, found: Blob, comp: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Set Blob Legal Hold; Set and Delete Blob Immutability Policy: a locked one is only lengthened."""
        if not self.immutable:
            raise Refused(*self.lock_off)
        asked = self._locks(request.headers)
        if comp == "legalhold":
            if request.method != "PUT" or "hold" not in asked:
                raise Refused(400, "MissingRequiredHeader")
            self._replace(name, found, replace(found, hold=asked["hold"]))
            return 200, {"x-ms-legal-hold": str(asked["hold"]).lower()}, b""
        is_locked = found.policy is not None and found.policy[1] == "locked"
        if request.method == "DELETE":
            if is_locked:
                raise Refused(409, "BlobImmutableDueToPolicy")
            self._replace(name, found, replace(found, policy=None))
            return 200, {}, b""
        if request.method != "PUT" or "policy" not in asked:
            raise Refused(400, "MissingRequiredHeader")
        end, mode = asked["policy"]
        if is_locked and (mode != "locked" or end < found.policy[0]):
            raise Refused(409, "BlobImmutableDueToPolicy")
        self._replace(name, found, replace(found, policy=(end, mode)))
        return 200, _policy_headers((end, mode)), b""

    def _check_free(self, blob: Blob) -> None:
        if blob.hold:
            raise Refused(409, "BlobImmutableDueToLegalHold")
        if blob.policy is not None and blob.policy[0] > datetime.now(UTC):
            raise Refused(409, "BlobImmutableDueToPolicy")

    def _rewritten(self, request: SentRequest, name: str, found: Blob) -> tuple[int, dict[str, str], bytes]:
        self._check_free(found)
        made = self.put(
            name,
            found.data,
            headers=found.headers,
            meta=_facts(request.headers)["meta"],
            tags=found.tags,
            tier=found.tier,
            inferred=found.inferred,
            sealed=found.sealed,
        )
        version = {"x-ms-version-id": made.version_id} if self.versions else {}
        return 200, {"etag": f'"{made.etag}"', **version, **made.sealed}, b""

    def _delete(self, name: str, found: Blob, version_id: str | None) -> tuple[int, dict[str, str], bytes]:
        if version_id is not None and found.current:
            raise Refused(403, "OperationNotAllowedOnRootBlob")
        if version_id is not None or not self.versions:
            self._check_free(found)
        told = {"x-ms-delete-type-permanent": str(not self.soft).lower()}
        if version_id is not None or not self.versions:
            self.blobs[name].remove(found)
            if self.soft:
                self.kept.setdefault(name, []).append(replace(found, current=False))
        else:
            self._replace(name, found, replace(found, current=False))
        if not self.blobs[name]:
            del self.blobs[name]
        return 202, told, b""

    def _list(self, query: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        every = "versions" in query.get("include", "")
        items: dict[tuple[str, str], str] = {}
        kept = self.kept if "deleted" in query.get("include", "") else {}
        begun = {*self.blocks} - {*self.blobs} if "uncommittedblobs" in query.get("include", "") else set()
        for name in sorted({*self.blobs, *kept, *begun}):
            if not name.startswith(prefix):
                continue
            cut, found, _ = name[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            if found:
                shared = prefix + cut + found
                items[shared, ""] = f"<BlobPrefix><Name>{escape(shared)}</Name></BlobPrefix>"
                continue
            if name in begun:
                nothing = "<Properties><Content-Length>0</Content-Length></Properties>"
                items[name, ""] = f"<Blob><Name>{escape(name)}</Name>{nothing}</Blob>"
            for blob in self.blobs.get(name, ()):
                if every or blob.current:
                    items[name, blob.version_id] = self._listed(name, blob)
            for blob in kept.get(name, ()):
                gone = "<Deleted>true</Deleted><Properties>"
                items[name, blob.version_id] = self._listed(name, blob).replace("<Properties>", gone)
        limit = min(int(query.get("maxresults", 5000)), self.page)
        begin = tuple((query.get("marker") or "\n").split("\n", 1))
        left = [place for place in items if place >= begin]
        page = [items[place] for place in left[:limit]]
        marker = "\n".join(left[limit]) if len(left) > limit else ""
        body = f"<EnumerationResults><Blobs>{''.join(page)}</Blobs><NextMarker>{escape(marker)}</NextMarker>"
        return 200, {"content-type": "application/xml"}, f"{body}</EnumerationResults>".encode()

    def _listed(self, name: str, blob: Blob) -> str:
        version = f"<VersionId>{blob.version_id}</VersionId>" if self.versions else ""
        version += "<IsCurrentVersion>true</IsCurrentVersion>" if self.versions and blob.current else ""
        modified = format_datetime(blob.modified, usegmt=True)
        return (
            f"<Blob><Name>{escape(name)}</Name>{version}<Properties><Etag>{blob.etag}</Etag><Last-Modified>"
            f"{modified}</Last-Modified><Content-Length>{len(blob.data)}</Content-Length><AccessTier>{blob.tier}"
            "</AccessTier></Properties></Blob>"
        )

    def _batch(self, request: SentRequest) -> tuple[int, dict[str, str], bytes]:
        boundary = request.headers["content-type"].partition("boundary=")[2]
        answers = []
        for piece in request.body.decode().split(f"--{boundary}")[1:-1]:
            outer, _, inner = piece.strip("\r\n").partition("\r\n\r\n")
            number = re.search(r"Content-ID: (\d+)", outer)[1]
            lines = inner.split("\r\n")
            method, target, _ = lines[0].split(" ")
            headers = dict(line.split(": ", 1) for line in lines[1:] if line)
            assert "x-ms-version" not in headers
            answer = self.serve(
                SentRequest(method, f"https://{ACCOUNT}.blob.core.windows.net{target}", headers, b"")
            )
            told = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
            answers.append(
                f"--answers\r\nContent-Type: application/http\r\nContent-ID: {number}\r\n\r\n"
                f"HTTP/1.1 {answer.status} Said\r\n{told}\r\n{answer.body.decode()}\r\n"
            )
        body = "".join(answers) + "--answers--\r\n"
        return 202, {"content-type": "multipart/mixed; boundary=answers"}, body.encode()

    def _delegation_key(self, request: SentRequest) -> tuple[int, dict[str, str], bytes]:
        root = ET.fromstring(request.body)
        start, expiry = root.findtext("Start"), root.findtext("Expiry")
        body = (
            "<UserDelegationKey><SignedOid>oid</SignedOid><SignedTid>tid</SignedTid>"
            f"<SignedStart>{start}</SignedStart><SignedExpiry>{expiry}</SignedExpiry><SignedService>b"
            f"</SignedService><SignedVersion>2023-11-03</SignedVersion><Value>{KEY}</Value></UserDelegationKey>"
        )
        return 200, {"content-type": "application/xml"}, body.encode()


def check_signature(request: SentRequest) -> None:
    """As the service does, with the vendor's own code."""
    told = request.headers.get("authorization", "")
    if not told.startswith("SharedKey"):
        query = dict(parse_qsl(urlsplit(request.url).query))
        assert "sig" in query or told == "Bearer token", "a request without credentials"
        return
    kept = {name: value for name, value in request.headers.items() if name != "authorization"}
    length = {"content-length": str(len(request.body))} if request.body else {}
    theirs = HttpRequest(request.method, request.url, headers={**kept, **length})
    SharedKeyCredentialPolicy(ACCOUNT, KEY).on_request(
        PipelineRequest(theirs, SimpleNamespace(transport=None))
    )
    if theirs.headers["Authorization"] != told:
        raise Refused(
            403, "AuthenticationFailed", "The MAC signature found in the HTTP request is not the same"
        )


def _check_write(headers: Mapping[str, str], found: Blob | None) -> None:
    if headers.get("if-none-match") == "*" and found is not None:
        raise Refused(409, "BlobAlreadyExists")
    wanted = headers.get("if-match")
    if wanted is not None and (found is None or wanted.strip('"') != found.etag):
        raise Refused(412, "ConditionNotMet")


def _sealed(headers: Mapping[str, str]) -> dict[str, str]:
    """What the service says of the key or scope that a request names."""
    found = {}
    key = headers.get("x-ms-encryption-key")
    if key is not None:
        told = base64.b64encode(hashlib.sha256(base64.b64decode(key, validate=True)).digest()).decode()
        if (headers["x-ms-encryption-key-sha256"], headers["x-ms-encryption-algorithm"]) != (told, "AES256"):
            raise Refused(400, "InvalidHeaderValue")
        found["x-ms-encryption-key-sha256"] = told
    if "x-ms-encryption-scope" in headers:
        found["x-ms-encryption-scope"] = headers["x-ms-encryption-scope"]
    return found


def _check_key(headers: Mapping[str, str], blob: Blob) -> None:
    name = "x-ms-encryption-key-sha256"
    wanted, given = blob.sealed.get(name), _sealed(headers).get(name)
    if given != wanted:
        code = (
            "BlobUsesCustomerSpecifiedEncryption" if wanted else "BlobDoesNotUseCustomerSpecifiedEncryption"
        )
        raise Refused(409, code)


def _check_md5(request: SentRequest) -> None:
    told = request.headers.get("content-md5")
    if told is not None and base64.b64decode(told) != hashlib.md5(request.body).digest():
        raise Refused(400, "Md5Mismatch")


def _facts(headers: Mapping[str, str]) -> dict[str, object]:
    content = {f"content-{name}": headers.get(f"x-ms-blob-content-{name}") for name in _CONTENT}
    content["cache-control"] = headers.get("x-ms-blob-cache-control")
    if content["content-type"] is None and "x-ms-blob-type" in headers:
        content["content-type"] = headers.get("content-type")
    start = len("x-ms-meta-")
    tier = headers.get("x-ms-access-tier")
    return {
        "headers": {name: value for name, value in content.items() if value is not None},
        "meta": {name[start:]: value for name, value in headers.items() if name.startswith("x-ms-meta-")},
        "tags": dict(parse_qsl(headers.get("x-ms-tags", ""), keep_blank_values=True)),
        "tier": tier or "Hot",
        "inferred": tier is None,
    }


def _policy_headers(policy: tuple[datetime, str]) -> dict[str, str]:
    end, mode = policy
    told = {"x-ms-immutability-policy-until-date": format_datetime(end, usegmt=True)}
    return {**told, "x-ms-immutability-policy-mode": mode}


def _tags(tags: Mapping[str, str]) -> bytes:
    found = "".join(
        f"<Tag><Key>{escape(name)}</Key><Value>{escape(value)}</Value></Tag>" for name, value in tags.items()
    )
    return f"<Tags><TagSet>{found}</TagSet></Tags>".encode()


def _error(refused: Refused) -> bytes:
    text = escape(_TEXTS.get(refused.code, refused.code))
    detail = f"<AuthenticationErrorDetail>{escape(refused.detail)}</AuthenticationErrorDetail>"
    return f"<Error><Code>{refused.code}</Code><Message>{text}</Message>{detail}</Error>".encode()


def once(answer: ScriptedAnswer | Exception | None, *, on: str, applied: bool = False) -> Fault:
    """Answer the first request of this method (and what its URL contains after a blank) in this way.

    Args:
        answer: Instead of the service's; None for its own.
        on: Such as "PUT" or "PUT comp=block".
        applied: Let the service do it first.
    """
    method, _, part = on.partition(" ")
    done: list[str] = []

    def fault(request: SentRequest, serve: Callable[[SentRequest], ScriptedAnswer]):
        if done or request.method != method or part not in request.url:
            return None
        done.append(request.url)
        if applied:
            serve(request)
        return answer

    return fault


def refusal(status: int, code: str, detail: str = "", **headers: str) -> ScriptedAnswer:
    """An error as Azure sends it."""
    told = {"x-ms-error-code": code, "x-ms-request-id": "0-1-2-3", "x-ms-version": "x"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ScriptedAnswer(status, _error(Refused(status, code, detail)), {**told, **named})
