"""Google Cloud Storage in memory, behind a scripted transport: what its APIs say, and faults on demand.

It is judged itself: `test_fake.py` lets google-cloud-storage do with it what our driver does.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import google_crc32c

from credstore.config.gcs import GcsConfig
from credstore.drivers.gcs.driver import GcsDriver
from credstore.encryption import Secret
from credstore.testing.scripted import ScriptedAnswer, ScriptedTransport, SentRequest
from credstore.wire.google.tokens import GoogleSource
from credstore.wire.tokens import Token
from credstore.wire.transport import WireError

BUCKET = "proofs"
LOST = WireError("broken", sent=True)
QUANTUM = 256 * 1024
_O = f"/b/{BUCKET}/o"
_WRITABLE = (
    "contentType", "contentEncoding", "cacheControl", "contentDisposition", "contentLanguage", "metadata",
    "storageClass", "temporaryHold", "eventBasedHold", "retention", "kmsKeyName", "customerEncryption",
)  # fmt: skip
_LOCKS = ("temporaryHold", "eventBasedHold", "retention")
_TO_HEADER = {
    "contentType": "content-type",
    "cacheControl": "cache-control",
    "contentDisposition": "content-disposition",
    "contentLanguage": "content-language",
    "contentEncoding": "content-encoding",
    "storageClass": "x-goog-storage-class",
}
Answer = tuple[int, dict[str, str], bytes]


@dataclass(frozen=True)
class Stored:
    """One generation of an object."""

    data: bytes
    generation: int
    made: datetime
    said: Mapping[str, Any]
    metageneration: int = 1
    deleted: datetime | None = None


@dataclass
class Upload:
    """A resumable upload."""

    name: str
    said: Mapping[str, Any]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    data: bytearray = field(default_factory=bytearray)
    done: Stored | None = None


class Refused(Exception):
    """An answer that says no."""

    def __init__(self, status: int, reason: str, message: str = "") -> None:
        super().__init__(reason)
        self.status, self.reason, self.message = status, reason, message or reason


class Tokens(GoogleSource):
    """A token that is what it is."""

    def __init__(self, *values: str) -> None:
        self.values = list(values or ("token",))
        self.refreshed = 0
        self._ends = datetime.now(UTC) + timedelta(hours=1)

    async def get(self) -> Token:
        return Token(Secret(self.values[0]), self._ends)

    async def refresh(self) -> Token:
        self.refreshed += 1
        if len(self.values) > 1:
            self.values.pop(0)
        return await self.get()

    async def account(self) -> str:
        return "signer@acme.iam.gserviceaccount.com"

    async def sign(self, text: bytes) -> bytes:
        return hashlib.sha256(text).digest()

    async def aclose(self) -> None:
        """Hold nothing."""


Fault = Callable[[SentRequest, Callable[[SentRequest], ScriptedAnswer]], ScriptedAnswer | Exception | None]


class FakeGcs:
    """One bucket.

    Attributes:
        objects: All generations by name, the oldest first.
        uploads: Resumable ones by id.
        faults: Each is asked for every request, in order, and may answer in the place of the service.
        sent: All requests.
        keeps: Bytes that the service keeps of one chunk at most, in whole 256 KiB; None for all.
        rewrites: Bytes that one rewrite copies at most; None for all.
        object_retention: Whether the bucket's objects can have a retention each.
        policy: The bucket's own retention policy: how long each object is kept from when it is made.
        ignores_locks: Whether retention and holds that come with a write are ignored, as emulators do.
    """

    def __init__(self, *, versions: bool = False, object_retention: bool = False) -> None:
        self.versions, self.object_retention = versions, object_retention
        self.policy: timedelta | None = None
        self.ignores_locks = False
        self.objects: dict[str, list[Stored]] = {}
        self.uploads: dict[str, Upload] = {}
        self.faults: list[Fault] = []
        self.sent: list[SentRequest] = []
        self.keeps: int | None = None
        self.rewrites: int | None = None
        self.page = 1000
        self.exists = True
        self.token = "token"
        self._moment = datetime.now(UTC).replace(microsecond=0)
        self._count = 1_700_000_000_000_000

    # The driver's side.

    def config(self, **settings: object) -> GcsConfig:
        return GcsConfig(**{"bucket": BUCKET, **settings})

    def driver(self, tokens: GoogleSource | None = None, **settings: object) -> GcsDriver:
        transport = ScriptedTransport(self.answer)
        return GcsDriver(self.config(**settings), tokens=tokens or Tokens(), transport=transport)

    # What is in it.

    def now(self, name: str) -> Stored | None:
        return next((each for each in self.objects.get(name, ()) if each.deleted is None), None)

    def put(self, name: str, data: bytes, said: Mapping[str, Any]) -> Stored:
        """Make a generation, past all conditions."""
        self._count += 1
        self._moment += timedelta(seconds=1)
        kept = {key: said[key] for key in _WRITABLE if said.get(key) is not None}
        new = Stored(data, self._count, self._moment, {"storageClass": "STANDARD", **kept})
        self._retire(name)
        self.objects.setdefault(name, []).append(new)
        return new

    def _retire(self, name: str) -> None:
        found = self.now(name)
        if found is not None:
            self._change(name, found, replace(found, deleted=self._moment) if self.versions else None)

    def _change(self, name: str, old: Stored, new: Stored | None) -> None:
        entries = [
            new if each is old else each for each in self.objects[name] if each is not old or new is not None
        ]
        self.objects[name] = [each for each in entries if each is not None]
        if not self.objects[name]:
            del self.objects[name]

    # The service.

    def answer(self, request: SentRequest) -> ScriptedAnswer | Exception:
        self.sent.append(request)
        for fault in list(self.faults):
            found = fault(request, self.serve)
            if found is not None:
                return found
        return self.serve(request)

    def serve(self, request: SentRequest) -> ScriptedAnswer:
        xml = False
        try:
            parts = urlsplit(request.url)
            xml = not parts.path.startswith(("/storage/", "/upload/", "/download/", "/batch/"))
            status, headers, body = self._served(
                request, parts.path, dict(parse_qsl(parts.query, keep_blank_values=True))
            )
        except Refused as refused:
            status, headers, body = refused.status, {}, _xml_error(refused) if xml else _error(refused)
            headers["content-type"] = "application/xml" if xml else "application/json"
        common = {"x-guploader-uploadid": f"ABPtcP-{len(self.sent)}", "server": "UploadServer"}
        common["date"] = format_datetime(datetime.now(UTC), usegmt=True)
        return ScriptedAnswer(status, body, {**common, "content-length": str(len(body)), **headers})

    def _served(self, request: SentRequest, path: str, query: dict[str, str]) -> Answer:
        told = request.headers.get("authorization")
        if told is None:
            raise Refused(401, "required", "Anonymous caller does not have storage.objects.get access.")
        if path == "/batch/storage/v1":
            return self._batch(request)  # Each part is refused for itself, as Google's own clients expect.
        if told != f"Bearer {self.token}":
            raise Refused(401, "authError", "Invalid Credentials")
        if not self.exists:
            raise Refused(404, "notFound", "The specified bucket does not exist.")
        if path.startswith("/upload/storage/v1"):
            return self._upload(request, query)
        for start in ("/storage/v1", "/download/storage/v1"):
            if path.startswith(start):
                return self._json(request, path.removeprefix(start), query)
        name = unquote(path.removeprefix(f"/{BUCKET}/"))
        found = self._version(name, query.get("generation"))
        _check_xml(request.headers, found)
        return self._media(request, found)

    def _json(self, request: SentRequest, path: str, query: dict[str, str]) -> Answer:
        if path == f"/b/{BUCKET}":
            told = {"objectRetention": {"mode": "Enabled"}} if self.object_retention else {}
            return _said({"name": BUCKET, "versioning": {"enabled": self.versions}, **told})
        if path == _O:
            return self._list(query)
        name, _, target = path.removeprefix(f"{_O}/").partition("/rewriteTo")
        name = unquote(name)
        if target:
            return self._rewrite(request, name, unquote(target.removeprefix(f"{_O}/")), query)
        found = self._version(name, query.get("generation"))
        _check(query, found)
        if request.method == "DELETE":
            return self._delete(name, found, query)
        if query.get("alt") == "media":
            return self._media(request, found)
        if request.method in {"PATCH", "PUT"}:
            told = json.loads(request.body)
            metadata = {**found.said.get("metadata", {}), **(told.get("metadata") or {})}
            told["metadata"] = {key: value for key, value in metadata.items() if value is not None}
            if "retention" in told:
                override = query.get("overrideUnlockedRetention", "").lower() == "true"
                told["retention"] = self._retention(told["retention"], found, override=override)
            changed = {**found.said, **{key: told[key] for key in _WRITABLE if key in told}}
            kept = {key: value for key, value in changed.items() if value is not None}
            new = replace(found, said=kept, metageneration=found.metageneration + 1)
            self._change(name, found, new)
            found = new
        told = self._resource(name, found)
        if _key(request.headers) is not None:
            _check_key(request.headers, found)
        elif "customerEncryption" in told:
            told = {key: value for key, value in told.items() if key not in {"crc32c", "md5Hash"}}
        return _said(told)

    def _locked(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """The properties of a new object, with what it may be put under."""
        if self.ignores_locks:
            return {key: value for key, value in said.items() if key not in _LOCKS}
        return {**said, "retention": self._retention(said.get("retention"), None, override=False)}

    def _retention(
        self, wanted: Mapping[str, Any] | None, found: Stored | None, *, override: bool
    ) -> dict[str, str] | None:
        """What becomes of an object's retention: only what is "Unlocked" is weakened, and only on request."""
        told = {key: value for key, value in (wanted or {}).items() if value is not None}
        old = (found.said.get("retention") if found else None) or {}
        if not told and not old:
            return None
        if not self.object_retention:
            raise Refused(400, "invalid", "Object retention is not enabled on the bucket.")
        if told and told.keys() != {"mode", "retainUntilTime"}:
            raise Refused(400, "invalid", "Both mode and retain until time are required.")
        until = datetime.fromisoformat(told["retainUntilTime"]) if told else None
        if told and (until <= datetime.now(UTC) or told["mode"] not in {"Locked", "Unlocked"}):
            raise Refused(400, "invalid", "The retain until time or mode is not valid.")
        if old:
            shorter = until is None or until < datetime.fromisoformat(old["retainUntilTime"])
            other = told.get("mode") != old["mode"]
            if old["mode"] == "Locked" and (shorter or other):
                raise Refused(403, "forbidden", "The retention is locked.")
            if old["mode"] == "Unlocked" and (shorter or other) and not override:
                raise Refused(403, "forbidden", "overrideUnlockedRetention must be true.")
        return told or None

    def _ends(self, stored: Stored) -> datetime | None:
        """Until when the bucket's policy keeps an object."""
        return None if self.policy is None else stored.made + self.policy

    def _version(self, name: str, generation: str | None) -> Stored:
        if generation is None:
            found = self.now(name)
        else:
            entries = self.objects.get(name, ())
            found = next((each for each in entries if str(each.generation) == generation), None)
        if found is None:
            raise Refused(404, "notFound", f"No such object: {BUCKET}/{name}")
        return found

    def _resource(self, name: str, stored: Stored) -> dict[str, Any]:
        crc = base64.b64encode(google_crc32c.Checksum(stored.data).digest()).decode()
        told = {
            **stored.said,
            "kind": "storage#object",
            "name": name,
            "bucket": BUCKET,
            "size": str(len(stored.data)),
            "generation": str(stored.generation),
            "metageneration": str(stored.metageneration),
            "timeCreated": stored.made.isoformat().replace("+00:00", "Z"),
            "updated": stored.made.isoformat().replace("+00:00", "Z"),
            "crc32c": crc,
            "md5Hash": base64.b64encode(hashlib.md5(stored.data).digest()).decode(),
            "etag": base64.b64encode(str(stored.generation).encode()).decode(),
        }
        if self.policy is not None:
            told["retentionExpirationTime"] = self._ends(stored).isoformat().replace("+00:00", "Z")
        if stored.deleted is not None:
            told["timeDeleted"] = stored.deleted.isoformat().replace("+00:00", "Z")
        return told

    def _media(self, request: SentRequest, stored: Stored) -> Answer:
        _check_key(request.headers, stored)
        resource = self._resource("", stored)
        data = stored.data
        headers = {header: resource[name] for name, header in _TO_HEADER.items() if name in resource}
        headers |= {f"x-goog-meta-{name}": value for name, value in stored.said.get("metadata", {}).items()}
        headers |= {
            "x-goog-generation": resource["generation"],
            "x-goog-metageneration": resource["metageneration"],
            "x-goog-stored-content-encoding": resource.get("contentEncoding", "identity"),
            "x-goog-stored-content-length": str(len(data)),
            "x-goog-hash": f"crc32c={resource['crc32c']},md5={resource['md5Hash']}",
            "last-modified": format_datetime(stored.made, usegmt=True),
        }
        if "kmsKeyName" in resource:
            headers["x-goog-encryption-kms-key-name"] = resource["kmsKeyName"]
        if "customerEncryption" in resource:
            headers["x-goog-encryption-algorithm"] = "AES256"
            headers["x-goog-encryption-key-sha256"] = resource["customerEncryption"]["keySha256"]
        if resource.get("contentEncoding") == "gzip" and "gzip" not in request.headers.get(
            "accept-encoding", ""
        ):
            # Decompressive transcoding: other bytes, without length, encoding and range.
            import gzip

            headers.pop("content-encoding")
            return 200, {**headers, "content-length": ""}, gzip.decompress(data)
        ranged = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
        if ranged is None:
            return 200, headers, data
        first, last = ranged.groups()
        size = len(data)
        start = int(first) if first else max(0, size - int(last))
        end = size if not first or not last else min(size, int(last) + 1)
        if start >= size:
            raise Refused(416, "InvalidRange")
        return 206, {**headers, "content-range": f"bytes {start}-{end - 1}/{size}"}, data[start:end]

    def _upload(self, request: SentRequest, query: dict[str, str]) -> Answer:
        if "upload_id" in query:
            return self._chunk(request, query["upload_id"])
        kind = query["uploadType"]
        if kind == "resumable":
            said = json.loads(request.body or b"{}")
            said.setdefault("contentType", request.headers.get("x-upload-content-type"))
            name = query.get("name", said.get("name"))
            _check(query, self.now(name))
            key = f"upload-{len(self.uploads)}"
            said |= _sealed(request.headers, query)
            self.uploads[key] = Upload(name, said, query, request.headers)
            place = (
                f"https://storage.googleapis.com/upload/storage/v1{_O}?uploadType=resumable&upload_id={key}"
            )
            return 200, {"location": place}, b""
        said, data, type_ = _related(request)
        said.setdefault("contentType", type_)
        name = query.get("name", said.get("name"))
        _check(query, self.now(name))
        return self._insert(name, data, said | _sealed(request.headers, query))

    def _insert(self, name: str, data: bytes, said: Mapping[str, Any]) -> Answer:
        _check_sums(data, said)
        said = self._locked(said)
        self._check_kept(self.now(name), self.versions)
        return _said(self._resource(name, self.put(name, data, said)))

    def _chunk(self, request: SentRequest, key: str) -> Answer:
        upload = self.uploads.get(key)
        if upload is None:
            raise Refused(404, "notFound", "Not Found")
        if request.method == "DELETE":
            del self.uploads[key]
            return 499, {}, b""
        if upload.done is not None:
            return _said(self._resource(upload.name, upload.done))
        span, total = re.fullmatch(r"bytes (\*|\d+-\d+)/(\*|\d+)", request.headers["content-range"]).groups()
        if span != "*":
            if _key(request.headers) != _key(upload.headers):
                raise Refused(400, "customerEncryptionKeyIsIncorrect")
            start = int(span.partition("-")[0])
            if start > len(upload.data):
                raise Refused(503, "backendError")
            fresh = request.body[len(upload.data) - start :]
            kept = fresh if self.keeps is None else fresh[: self.keeps]
            last = total != "*" and start + len(request.body) == int(total) and len(kept) == len(fresh)
            if not last:
                kept = kept[: len(kept) - (len(upload.data) + len(kept)) % QUANTUM]
            upload.data += kept
        if total != "*" and len(upload.data) == int(total):
            _check(upload.query, self.now(upload.name))
            answer = self._insert(upload.name, bytes(upload.data), upload.said)
            upload.done = self.now(upload.name)
            return answer
        return 308, {"range": f"bytes=0-{len(upload.data) - 1}"} if upload.data else {}, b""

    def _rewrite(self, request: SentRequest, name: str, to: str, query: dict[str, str]) -> Answer:
        source = self._version(name, query.get("sourceGeneration"))
        _check(query, source, "ifSource")
        _check(query, self.now(to))
        _check_key(request.headers, source, "x-goog-copy-source-encryption-")
        size = len(source.data)
        done = int(query.get("rewriteToken", "token-0").removeprefix("token-"))
        done = size if self.rewrites is None else min(size, done + self.rewrites)
        if done < size:
            state = {"totalBytesRewritten": str(done), "objectSize": str(size), "done": False}
            return _said({**state, "rewriteToken": f"token-{done}"})
        told = json.loads(request.body) if request.body else {}
        bare = {key: each for key, each in source.said.items() if key not in {"kmsKeyName", *_LOCKS}}
        told = self._locked({key: each for key, each in told.items() if key != "kmsKeyName"} or bare)
        self._check_kept(self.now(to), self.versions)
        made = self.put(to, source.data, told | _sealed(request.headers, query, "destinationKmsKeyName"))
        state = {"totalBytesRewritten": str(size), "objectSize": str(size), "done": True}
        return _said({**state, "resource": self._resource(to, made)})

    def _delete(self, name: str, found: Stored, query: Mapping[str, str]) -> Answer:
        forever = "generation" in query or not self.versions
        if forever:
            self._check_kept(found, versions=False)
        self._change(name, found, None if forever else replace(found, deleted=self._moment))
        return 204, {}, b""

    def _check_kept(self, found: Stored | None, versions: bool) -> None:
        """What a retention or hold keeps cannot be removed, and not overwritten where it would be gone."""
        if found is None or versions:
            return
        if found.said.get("temporaryHold") or found.said.get("eventBasedHold"):
            raise Refused(403, "objectUnderActiveHold", "Object is under active Temporary hold")
        until = (found.said.get("retention") or {}).get("retainUntilTime")
        if until is not None and datetime.fromisoformat(until) > datetime.now(UTC):
            raise Refused(403, "retentionPolicyNotMet", "Object is subject to object retention")
        if self.policy is not None and self._ends(found) > datetime.now(UTC):
            text = "Object is subject to bucket's retention policy and cannot be deleted, overwritten or archived"
            raise Refused(403, "forbidden", f"{text} until {self._ends(found).isoformat()}")

    def _list(self, query: Mapping[str, str]) -> Answer:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        start, every = query.get("startOffset", "").encode(), query.get("versions", "").lower() == "true"
        items: dict[tuple[bytes, int], dict[str, Any] | str] = {}
        for name in self.objects:
            if not name.startswith(prefix) or name.encode() < start:
                continue
            cut, found, _ = name[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            for each in self.objects[name]:
                if each.deleted is not None and not every:
                    continue
                if found:
                    items[(prefix + cut + found).encode(), 0] = prefix + cut + found
                else:
                    items[name.encode(), each.generation] = self._resource(name, each)
        limit = min(int(query.get("maxResults", 1000)), self.page)
        begin = json.loads(base64.b64decode(query["pageToken"])) if query.get("pageToken") else None
        places = sorted(items)
        if begin is not None:
            places = [each for each in places if each >= (begin[0].encode("latin-1"), begin[1])]
        page = [items[each] for each in places[:limit]]
        told: dict[str, Any] = {"kind": "storage#objects"}
        shown = [each for each in page if isinstance(each, dict)]
        cut_off = [each for each in page if isinstance(each, str)]
        if shown:
            told["items"] = shown
        if cut_off:
            told["prefixes"] = cut_off
        if len(places) > limit:
            name, generation = places[limit]
            token = json.dumps([name.decode("latin-1"), generation]).encode()
            told["nextPageToken"] = base64.b64encode(token).decode()
        return _said(told)

    def _batch(self, request: SentRequest) -> Answer:
        boundary = re.search(r'boundary="?([^";]+)', request.headers["content-type"])[1]
        answers = []
        for piece in request.body.decode().split(f"--{boundary}")[1:-1]:
            outer, _, inner = re.split(r"\r?\n\r?\n", piece.strip("\r\n"), maxsplit=1)[0], "", None
            inner = re.split(r"\r?\n\r?\n", piece.strip("\r\n"), maxsplit=1)[1]
            named = re.search(r"Content-ID: <?([^>\r\n]+)>?", outer, re.IGNORECASE)
            lines = inner.splitlines()
            method, target, *_ = lines[0].split(" ")
            path = urlsplit(target)
            where = path.path + (f"?{path.query}" if path.query else "")
            headers = {"authorization": request.headers["authorization"]}
            answer = self.serve(SentRequest(method, f"https://storage.googleapis.com{where}", headers, b""))
            told = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
            name = f"Content-ID: <response-{named[1]}>\r\n" if named else ""
            answers.append(
                f"--answers\r\nContent-Type: application/http\r\n{name}\r\n"
                f"HTTP/1.1 {answer.status} Said\r\n{told}\r\n{answer.body.decode()}\r\n"
            )
        body = "".join(answers) + "--answers--\r\n"
        return 200, {"content-type": "multipart/mixed; boundary=answers"}, body.encode()


def object_url(name: str) -> str:
    return f"https://storage.googleapis.com/storage/v1{_O}/{quote(name, safe='')}"


def _said(told: Mapping[str, Any]) -> Answer:
    return 200, {"content-type": "application/json; charset=UTF-8"}, json.dumps(told).encode()


def _related(request: SentRequest) -> tuple[dict[str, Any], bytes, str]:
    """The JSON, the bytes, and their type, of an upload in one request."""
    boundary = re.search(r'boundary="?([^";]+)', request.headers["content-type"])[1].encode()
    _, about, rest = request.body.split(b"--" + boundary, 2)
    media, end = rest.rsplit(b"--" + boundary, 1)
    assert end.startswith(b"--")
    said = about.split(b"\r\n\r\n", 1)[1] if b"\r\n\r\n" in about else about.split(b"\n\n", 1)[1]
    head, data = media.split(b"\r\n\r\n", 1)
    type_ = re.search(rb"content-type: ([^\r\n]+)", head, re.IGNORECASE)[1].decode()
    return json.loads(said), data.removesuffix(b"\r\n"), type_


def _check(query: Mapping[str, str], found: Stored | None, prefix: str = "if") -> None:
    """Conditions of the JSON API."""
    for name, held in (
        ("GenerationMatch", None if found is None else found.generation),
        ("MetagenerationMatch", None if found is None else found.metageneration),
    ):
        wanted = query.get(prefix + name)
        if wanted is not None and int(wanted) != (held or 0):
            raise Refused(
                412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold."
            )
        unwanted = query.get(f"{prefix}{name.replace('Match', 'NotMatch')}")
        if unwanted is not None and int(unwanted) == (held or 0):
            raise Refused(304, "notModified")


def _check_xml(headers: Mapping[str, str], found: Stored) -> None:
    for name, held in (("generation", found.generation), ("metageneration", found.metageneration)):
        wanted = headers.get(f"x-goog-if-{name}-match")
        if wanted is not None and int(wanted) != held:
            raise Refused(412, "PreconditionFailed")


def _check_sums(data: bytes, said: Mapping[str, Any]) -> None:
    if said.get("md5Hash") not in {None, base64.b64encode(hashlib.md5(data).digest()).decode()}:
        raise Refused(400, "invalid", "Provided MD5 hash does not match calculated MD5 hash.")
    if said.get("crc32c") not in {None, base64.b64encode(google_crc32c.Checksum(data).digest()).decode()}:
        raise Refused(400, "invalid", "Provided CRC32C does not match calculated CRC32C.")


def _error(refused: Refused) -> bytes:
    one = {"message": refused.message, "domain": "global", "reason": refused.reason}
    return json.dumps(
        {"error": {"code": refused.status, "message": refused.message, "errors": [one]}}
    ).encode()


def _xml_error(refused: Refused) -> bytes:
    bucket = "bucket" in refused.message and "No such object" not in refused.message
    codes = {
        401: "AuthenticationRequired",
        404: "NoSuchBucket" if bucket else "NoSuchKey",
        412: "PreconditionFailed",
    }
    code = codes.get(refused.status, refused.reason)
    return f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()


def _key(headers: Mapping[str, str], prefix: str = "x-goog-encryption-") -> str | None:
    """The fingerprint of the customer-supplied key of a request."""
    key = headers.get(f"{prefix}key")
    if key is None:
        return None
    told = base64.b64encode(hashlib.sha256(base64.b64decode(key, validate=True)).digest()).decode()
    if headers[f"{prefix}algorithm"] != "AES256":
        raise Refused(400, "customerEncryptionAlgorithmIsInvalid")
    if headers[f"{prefix}key-sha256"] != told:
        raise Refused(400, "customerEncryptionKeySha256IsInvalid")
    return told


def _check_key(headers: Mapping[str, str], stored: Stored, prefix: str = "x-goog-encryption-") -> None:
    wanted = stored.said.get("customerEncryption", {}).get("keySha256")
    given = _key(headers, prefix)
    if given != wanted:
        reason = (
            "resourceNotEncryptedWithCustomerEncryptionKey"
            if wanted is None
            else "customerEncryptionKeyIsIncorrect"
            if given
            else "resourceIsEncryptedWithCustomerEncryptionKey"
        )
        raise Refused(400, reason)


def _sealed(headers: Mapping[str, str], query: Mapping[str, str], name: str = "kmsKeyName") -> dict[str, Any]:
    """What an object says of the key that a request names."""
    found: dict[str, Any] = {}
    if name in query:
        found["kmsKeyName"] = f"{query[name]}/cryptoKeyVersions/1"
    given = _key(headers)
    if given is not None:
        found["customerEncryption"] = {"encryptionAlgorithm": "AES256", "keySha256": given}
    return found
