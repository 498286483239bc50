"""What Azure Blob Storage and Google Cloud Storage say about small objects, as a null server; see `null_server.py`."""

from __future__ import annotations

import base64
import hashlib
import json
from email.utils import formatdate
from urllib.parse import parse_qs, unquote_to_bytes

import google_crc32c

from benchmarks.null_server import Connection, Request, Stored

_AZURE = b"x-ms-request-id: 5a1b2c3d-401e-0056-11c8-7f0000000000\r\nx-ms-version: 2026-02-06\r\n"
_BLOB = _AZURE + b"x-ms-blob-type: BlockBlob\r\nx-ms-server-encrypted: true\r\n"
_JSON = b"content-type: application/json; charset=UTF-8\r\nx-guploader-uploadid: AH3Ks9\r\n"
_UPLOAD, _OBJECTS = b"/upload/storage/v1/b/", b"/storage/v1/b/"


class AzureConnection(Connection):
    """Put Blob and Get Blob."""

    def described(self, name: bytes, value: bytes) -> bytes:
        """Metadata as it came, and the content headers under their own names."""
        if name.startswith(b"x-ms-meta-"):
            return b"%b: %b\r\n" % (name, value)
        if name.startswith(b"x-ms-blob-c"):
            return b"%b: %b\r\n" % (name.removeprefix(b"x-ms-blob-"), value)
        return b""

    def serve(self, request: Request) -> None:
        """Respond to one request."""
        if request.method == b"PUT":
            etag = self.bucket.etag(request.body)
            stored = Stored([request.body], etag, request.kept + _BLOB)
            self.bucket.objects[request.path] = stored
            modified = formatdate(usegmt=True).encode()
            encrypted = b"x-ms-request-server-encrypted: true\r\n"
            self.answer(201, b"etag: %b\r\nlast-modified: %b\r\n%b%b" % (etag, modified, _AZURE, encrypted))
        elif request.method in {b"GET", b"HEAD"}:
            headers = dict(request.headers)
            if b"x-ms-range" in headers:
                headers[b"range"] = headers[b"x-ms-range"]
            self.give(request.method, request.path, headers)
        else:
            self.answer(501, _AZURE)


class GcsConnection(Connection):
    """Uploads in one request and downloads, by the JSON and the XML API."""

    def described(self, name: bytes, value: bytes) -> bytes:
        """Of the XML API."""
        kept = name.startswith(b"x-goog-meta-") or name in {b"content-type", b"cache-control"}
        return b"%b: %b\r\n" % (name, value) if kept else b""

    def serve(self, request: Request) -> None:
        """Respond to one request."""
        method, path = request.method, request.path
        if method == b"POST" and path.startswith(_UPLOAD):
            self._upload(request)
        elif method == b"PUT":
            stored = self._keep(path, request.body, request.kept)
            self.answer(200, stored.described)
        elif method == b"GET":
            if path.startswith(_OBJECTS):
                bucket, _, name = path.removeprefix(_OBJECTS).partition(b"/o/")
                path = b"/%b/%b" % (bucket, unquote_to_bytes(name))
            self.give(method, path, request.headers)
        else:
            self.answer(501, _JSON)

    def _upload(self, request: Request) -> None:
        bucket = request.path.removeprefix(_UPLOAD).partition(b"/")[0]
        query = parse_qs(request.query.decode())
        said: dict = {"name": query.get("name", [""])[0]}
        body, kept = request.body, request.kept
        if query["uploadType"] == ["multipart"]:
            boundary = request.headers[b"content-type"].partition(b"boundary=")[2].strip(b"\"'")
            first, second = request.body.split(b"--" + boundary)[1:3]
            said |= json.loads(
                first.split(b"\r\n\r\n", 1)[1] if b"\r\n\r\n" in first else first.split(b"\n\n", 1)[1]
            )
            body = second.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") if b"\r\n\r\n" in second else b""
            kept = b"content-type: %b\r\n" % said.get("contentType", "application/octet-stream").encode()
            if "cacheControl" in said:
                kept += b"cache-control: %b\r\n" % said["cacheControl"].encode()
            kept += b"".join(
                b"x-goog-meta-%b: %b\r\n" % (name.encode(), value.encode())
                for name, value in said.get("metadata", {}).items()
            )
        stored = self._keep(b"/%b/%b" % (bucket, said["name"].encode()), body, kept)
        self.answer(200, _JSON, json.dumps(said | _resource(stored, bucket, body)).encode())

    def _keep(self, path: bytes, body: bytes, kept: bytes) -> Stored:
        etag = self.bucket.etag(body)
        generation = 1_700_000_000_000_000 + next(self.bucket.numbers)
        lines = (
            b"x-goog-generation: %d\r\nx-goog-metageneration: 1\r\nx-goog-hash: crc32c=%b\r\n"
            b"x-goog-stored-content-encoding: identity\r\nx-goog-stored-content-length: %d\r\n"
            b"x-goog-storage-class: STANDARD\r\nx-guploader-uploadid: AH3Ks9\r\n"
        ) % (generation, _crc(body).encode(), len(body))
        stored = self.bucket.objects[path] = Stored([body], etag, kept + lines)
        return stored


def _crc(body: bytes) -> str:
    return base64.b64encode(google_crc32c.value(body).to_bytes(4, "big")).decode()


def _resource(stored: Stored, bucket: bytes, body: bytes) -> dict:
    generation = stored.described.partition(b"x-goog-generation: ")[2].partition(b"\r")[0].decode()
    return {
        "kind": "storage#object",
        "bucket": bucket.decode(),
        "generation": generation,
        "metageneration": "1",
        "size": str(stored.size),
        "etag": f"CK{generation}=",
        "crc32c": _crc(body),
        "md5Hash": base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode(),
        "storageClass": "STANDARD",
        "timeCreated": "2026-01-01T00:00:00.000Z",
        "updated": "2026-01-01T00:00:00.000Z",
    }
