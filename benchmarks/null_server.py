"""A null S3 as a program: keeps in memory what is stored, and returns it whole with its metadata and ETag.

Run as `python -m benchmarks.null_server [--close | --own | --azure | --gcs] [certificate key]` it prints its port, serves on loopback and ends when
its stdin does. It checks no signature and speaks only as much S3 as the benchmarks need: objects with ranges and
conditions, multipart uploads, batch deletes, and one listing that never changes. With `--close` each response ends
its connection. With `--own` it lists what it keeps, with true ETags.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import ssl
import sys
import threading
import time
from base64 import b64encode
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from email.utils import formatdate
from importlib import import_module
from itertools import count
from time import gmtime, strftime
from typing import NamedTuple
from urllib.parse import parse_qs, unquote_to_bytes
from xml.sax.saxutils import unescape

PAGES, PAGE = 100, 1000
"""Pages of the listing, and keys in each."""
_PIECE = 256 * 1024
_HASHED = 1024 * 1024
"""Bodies up to here have their MD5 as ETag; larger ones a number of their own, as with SSE-KMS."""
_SHA256 = b"x-amz-checksum-sha256"
_KEPT = (b"content-type", b"content-encoding", b"content-disposition", b"content-language", b"cache-control")
_NUMBER = re.compile(rb"<PartNumber>(\d+)<")
_ETAG = re.compile(rb"<ETag>(?:&quot;|&#34;|\")?([^<&\"]+)")
_KEY = re.compile(rb"<Key>([^<]*)</Key>")
_ENTRY = (
    "<Contents><Key>k{:06}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
    "<ETag>&quot;9e107d9d372bb6826bd81d3542a419d6&quot;</ETag><Size>4096</Size>"
    "<StorageClass>STANDARD</StorageClass></Contents>"
)
_XML = b"content-type: application/xml\r\n"
_REASON = {200: b"OK", 204: b"No Content", 206: b"Partial Content"}


class Stored:
    """One object.

    Attributes:
        parts: Its bytes, in the pieces in which they were uploaded.
        size: Bytes in all.
        etag: In quotes.
        described: Its header lines but the length.
        entry: Of a listing, with a place for the key.
    """

    __slots__ = ("described", "entry", "etag", "parts", "size")

    def __init__(self, parts: list[bytes], etag: bytes, kept: bytes) -> None:
        self.parts = parts
        self.size = sum(map(len, parts))
        self.etag = etag
        modified = formatdate(usegmt=True).encode()
        self.described = b"etag: %b\r\nlast-modified: %b\r\naccept-ranges: bytes\r\n%b" % (
            etag,
            modified,
            kept,
        )
        self.entry = (
            b"<Contents><Key>%%b</Key><LastModified>%b</LastModified><ETag>%b</ETag><Size>%d</Size>"
            b"<StorageClass>STANDARD</StorageClass></Contents>"
            % (strftime("%Y-%m-%dT%H:%M:%S.000Z", gmtime()).encode(), etag, self.size)
        )

    def span(self, start: int, end: int) -> Iterator[memoryview]:
        """The bytes from `start` to before `end`, without copying them."""
        for part in self.parts:
            if start < len(part) and end > 0:
                view = memoryview(part)[max(0, start) : end]
                for offset in range(0, len(view), _PIECE):
                    yield view[offset : offset + _PIECE]
            start -= len(part)
            end -= len(part)


class Upload:
    """A multipart upload that is not completed yet."""

    def __init__(self, kept: bytes) -> None:
        self.kept = kept
        self.parts: dict[int, tuple[bytes, bytes]] = {}
        self.digests: dict[int, bytes] = {}

    def add(self, number: int, body: bytes, etag: bytes, digest: bytes | None) -> None:
        """Keep a part; one equal to the part before needs no memory of its own."""
        before = self.parts.get(number - 1)
        self.parts[number] = (before[0] if before is not None and before[0] == body else body, etag)
        if digest is not None:
            self.digests[number] = digest

    def composite(self, numbers: list[int]) -> bytes:
        """The element with the checksum of the parts' checksums; empty where one of them has none."""
        digests = [self.digests.get(number, b"") for number in numbers]
        if not all(digests):
            return b""
        computed = b64encode(hashlib.sha256(b"".join(digests)).digest())
        return b"<ChecksumSHA256>%b-%d</ChecksumSHA256>" % (computed, len(numbers))


class Bucket:
    """All that the server keeps."""

    def __init__(self, *, closing: bool, own: bool = False) -> None:
        self.closing = closing
        self.own = own
        self.sorted: list[bytes] = []
        self.objects: dict[bytes, Stored] = {}
        self.uploads: dict[bytes, Upload] = {}
        self.numbers = count(1)
        self.pages = [_page(number) for number in range(PAGES)]

    def listing(self, path: bytes, query: bytes) -> bytes:
        """One page of what is kept below a prefix, with or without a delimiter."""
        asked = parse_qs(query, keep_blank_values=True)
        root = path.rstrip(b"/") + b"/"
        prefix, delimiter = asked.get(b"prefix", [b""])[0], asked.get(b"delimiter", [b""])[0]
        after = asked.get(b"continuation-token", asked.get(b"start-after", asked.get(b"marker", [b""])))[0]
        most = int(asked.get(b"max-keys", [b"1000"])[0])
        if len(self.sorted) != len(self.objects):
            self.sorted = sorted(self.objects)
        at = bisect_right(self.sorted, root + after) if after else bisect_left(self.sorted, root + prefix)
        entries: list[bytes] = []
        folders: list[bytes] = []
        last = b""
        while at < len(self.sorted) and len(entries) + len(folders) < most:
            key = self.sorted[at].removeprefix(root)
            if not key.startswith(prefix):
                break
            cut = key.find(delimiter, len(prefix)) if delimiter else -1
            if cut >= 0:
                folder = key[: cut + len(delimiter)]
                last = folder + b"\xff"
                at = bisect_left(self.sorted, root + last)
                folders.append(b"<CommonPrefixes><Prefix>%b</Prefix></CommonPrefixes>" % folder)
            else:
                entries.append(self.objects[self.sorted[at]].entry % key)
                last, at = key, at + 1
        more = at < len(self.sorted) and self.sorted[at].startswith(root + prefix)
        token = b"<NextContinuationToken>%b</NextContinuationToken><NextMarker>%b</NextMarker>" % (last, last)
        return (
            b"<ListBucketResult><Name>bench</Name><Prefix>%b</Prefix><KeyCount>%d</KeyCount>"
            b"<MaxKeys>%d</MaxKeys><IsTruncated>%b</IsTruncated>%b%b%b</ListBucketResult>"
        ) % (
            prefix,
            len(entries) + len(folders),
            most,
            b"true" if more else b"false",
            token if more else b"",
            b"".join(entries),
            b"".join(folders),
        )

    def etag(self, body: bytes) -> bytes:
        """One in quotes."""
        if self.own or len(body) <= _HASHED:
            return b'"%b"' % hashlib.md5(body, usedforsecurity=False).hexdigest().encode()
        return b'"%032x"' % next(self.numbers)


def _page(number: int) -> bytes:
    entries = "".join(_ENTRY.format(number * PAGE + each) for each in range(PAGE))
    more = f"<NextContinuationToken>{number + 1}</NextContinuationToken>" if number + 1 < PAGES else ""
    return (
        f"<ListBucketResult><Name>bench</Name><Prefix></Prefix><KeyCount>{PAGE}</KeyCount>"
        f"<MaxKeys>{PAGE}</MaxKeys><IsTruncated>{'true' if more else 'false'}</IsTruncated>"
        f"{more}{entries}</ListBucketResult>"
    ).encode()


def unchunked(data: bytes) -> tuple[bytes, int] | None:
    """A chunked body as one, and how many bytes it took; None while it is not whole (RFC 9112 §7.1)."""
    pieces: list[bytes] = []
    at = 0
    while (end := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:end].partition(b";")[0], 16)
        if not size:
            # Trailers, if any, end with an empty line.
            last = end if data[end : end + 4] == b"\r\n\r\n" else data.find(b"\r\n\r\n", end)
            return None if last < 0 else (b"".join(pieces), last + 4)
        pieces.append(data[end + 2 : end + 2 + size])
        at = end + 4 + size
    return None


class Request(NamedTuple):
    """A whole request; `kept` is the lines of its header that describe the object."""

    method: bytes
    path: bytes
    query: bytes
    headers: dict[bytes, bytes]
    kept: bytes
    body: bytes


class Connection(asyncio.Protocol):
    """One client; its requests are served one after another."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self.pending = b""
        self.head: tuple[bytes, bytes, dict[bytes, bytes], bytes] | None = None
        self.body: list[bytes] = []
        self.left = 0
        self.sending: Iterator[memoryview] | None = None
        self.paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self.transport = transport  # type: ignore[assignment]

    def pause_writing(self) -> None:
        """The client reads slower than we write."""
        self.paused = True

    def resume_writing(self) -> None:
        """Continue with a large body."""
        self.paused = False
        self._send()

    def data_received(self, data: bytes) -> None:
        """Collect a request, and serve it when it is whole."""
        if self.left > 0:
            body, data = data[: self.left], data[self.left :]
            self.body.append(body)
            self.left -= len(body)
            if self.left > 0:
                return
        self.pending = self.pending + data if self.pending else data
        while self.sending is None and self._next():
            pass

    def _next(self) -> bool:
        """Whether a request was served."""
        if self.head is None:
            end = self.pending.find(b"\r\n\r\n")
            if end < 0:
                return False
            self._read_head(self.pending[:end])
            body, self.pending = self.pending[end + 4 :], b""
            if self.left < 0:
                self.pending = body
            else:
                self.body.append(body[: self.left])
                self.pending = body[self.left :]
                self.left -= len(self.body[0])
        if self.left > 0:
            return False
        assert self.head is not None
        method, target, headers, kept = self.head
        if self.left < 0:
            whole = unchunked(self.pending)
            if whole is None:
                return False
            body, self.pending = whole[0], self.pending[whole[1] :]
        else:
            body = self.body[0] if len(self.body) == 1 else b"".join(self.body)
        if b"aws-chunked" in headers.get(b"content-encoding", b""):
            body = (unchunked(body) or (body, 0))[0]
        self.head, self.left = None, 0
        self.body.clear()
        path, _, query = target.partition(b"?")
        path = unquote_to_bytes(path) if b"%" in path else path
        self.serve(Request(method, path, query, headers, kept, body))
        return True

    def _read_head(self, head: bytes) -> None:
        first, *lines = head.split(b"\r\n")
        method, target, _ = first.split(b" ")
        headers: dict[bytes, bytes] = {}
        kept = b""
        for line in lines:
            name, _, value = line.partition(b":")
            name, value = name.lower(), value.strip()
            headers[name] = value
            kept += self.described(name, value)
        self.head = (method, target, headers, kept)
        self.left = -1 if b"transfer-encoding" in headers else int(headers.get(b"content-length", b"0"))
        if b"expect" in headers:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def described(self, name: bytes, value: bytes) -> bytes:
        """The line of a read's header that comes of a line of a write's; empty if none does."""
        if name.startswith(b"x-amz-meta-") or (name in _KEPT and value != b"aws-chunked"):
            return b"%b: %b\r\n" % (name, value)
        return b""

    def serve(self, request: Request) -> None:
        """Respond to one request."""
        method, path, query = request.method, request.path, request.query
        if method == b"PUT":
            self._put(request)
        elif self.bucket.own and method in {b"GET", b"HEAD"} and path.count(b"/", 1) == path.endswith(b"/"):
            # The bucket itself.
            self.answer(200, _XML, b"" if method == b"HEAD" else self.bucket.listing(path, query))
        elif method == b"GET" and b"list-type=2" in query:
            token = parse_qs(query.decode()).get("continuation-token", ["0"])[0]
            self.answer(200, _XML, self.bucket.pages[int(token)])
        elif method in {b"GET", b"HEAD"}:
            self.give(method, path, request.headers)
        elif method == b"DELETE":
            upload = parse_qs(query.decode()).get("uploadId", [""])[0].encode()
            self.bucket.uploads.pop(upload, None) if upload else self.bucket.objects.pop(path, None)
            self.answer(204)
        elif query.startswith(b"uploads"):
            upload = b"%d" % next(self.bucket.numbers)
            self.bucket.uploads[upload] = Upload(request.kept)
            self._xml(b"InitiateMultipartUploadResult", b"<UploadId>%b</UploadId>" % upload)
        elif b"uploadId=" in query:
            self._complete(path, parse_qs(query.decode())["uploadId"][0].encode(), request.body)
        elif query.startswith(b"delete"):
            keys = _KEY.findall(request.body)
            for key in keys:
                self.bucket.objects.pop(path.rstrip(b"/") + b"/" + unescape(key.decode()).encode(), None)
            quiet = b"<Quiet>true</Quiet>" in request.body
            deleted = b"" if quiet else b"".join(b"<Deleted><Key>%b</Key></Deleted>" % key for key in keys)
            self._xml(b"DeleteResult", deleted)
        else:
            self._refuse(501, b"NotImplemented")

    def _put(self, request: Request) -> None:
        path, query, headers, kept, body = request[1:]
        bucket = self.bucket
        if b"x-amz-copy-source" in headers:
            self._refuse(501, b"NotImplemented")
            return
        told, digest = b"", None
        if _SHA256 in headers:
            digest = hashlib.sha256(body).digest()
            computed = b64encode(digest)
            if computed != headers[_SHA256]:
                self._refuse(400, b"BadDigest")
                return
            told = b"%b: %b\r\n" % (_SHA256, computed)
        etag = bucket.etag(body)
        if b"uploadId=" in query:
            fields = parse_qs(query.decode())
            upload = bucket.uploads.get(fields["uploadId"][0].encode())
            if upload is None:
                self._refuse(404, b"NoSuchUpload")
                return
            upload.add(int(fields["partNumber"][0]), body, etag, digest)
        else:
            there = bucket.objects.get(path)
            wanted = headers.get(b"if-match")
            if (b"if-none-match" in headers and there is not None) or (
                wanted is not None and (there is None or there.etag != wanted)
            ):
                self._refuse(412, b"PreconditionFailed")
                return
            bucket.objects[path] = Stored([body], etag, kept)
        self.answer(200, b"etag: %b\r\n%b" % (etag, told))

    def give(self, method: bytes, path: bytes, headers: dict[bytes, bytes]) -> None:
        """Respond with an object, or the range of it that is requested."""
        found = self.bucket.objects.get(path)
        if found is None:
            self._refuse(404, b"NoSuchKey", silent=method == b"HEAD")
            return
        wanted = headers.get(b"if-match")
        if wanted is not None and wanted != found.etag:
            self._refuse(412, b"PreconditionFailed", silent=method == b"HEAD")
            return
        status, start, end, extra = 200, 0, found.size, b""
        asked = headers.get(b"range")
        if asked is not None and found.size:
            first, _, last = asked.removeprefix(b"bytes=").partition(b"-")
            start = int(first) if first else max(0, found.size - int(last))
            end = min(found.size, int(last) + 1) if first and last else found.size
            if start >= end:
                self._refuse(416, b"InvalidRange", silent=method == b"HEAD")
                return
            status, extra = 206, b"content-range: bytes %d-%d/%d\r\n" % (start, end - 1, found.size)
        head = _head(status, found.described + extra, end - start)
        if method == b"HEAD":
            self.transport.write(head)
        elif end - start <= _PIECE:
            self.transport.write(head + b"".join(found.span(start, end)))
        else:
            self.transport.write(head)
            self.sending = found.span(start, end)
            self._send()

    def _send(self) -> None:
        while self.sending is not None and not self.paused:
            piece = next(self.sending, None)
            if piece is None:
                self.sending = None
                self.data_received(b"")
            else:
                self.transport.write(piece)

    def _complete(self, path: bytes, upload_id: bytes, body: bytes) -> None:
        upload = self.bucket.uploads.get(upload_id)
        if upload is None:
            self._refuse(404, b"NoSuchUpload")
            return
        numbers = [int(number) for number in _NUMBER.findall(body)]
        stored = [upload.parts.get(number) for number in numbers]
        if [each and each[1].strip(b'"') for each in stored] != _ETAG.findall(body):
            self._refuse(400, b"InvalidPart")
            return
        tags = b"".join(bytes.fromhex(each[1].strip(b'"').decode()) for each in stored if each)
        whole = hashlib.md5(tags, usedforsecurity=False).hexdigest().encode()
        etag = b'"%b-%d"' % (whole, len(numbers))
        self.bucket.objects[path] = Stored([each[0] for each in stored if each], etag, upload.kept)
        del self.bucket.uploads[upload_id]
        self._xml(b"CompleteMultipartUploadResult", b"<ETag>%b</ETag>%b" % (etag, upload.composite(numbers)))

    def _xml(self, root: bytes, inside: bytes) -> None:
        self.answer(200, _XML, b"<%b>%b</%b>" % (root, inside, root))

    def _refuse(self, status: int, code: bytes, *, silent: bool = False) -> None:
        body = b"<Error><Code>%b</Code><Message>null</Message></Error>" % code
        self.answer(status, _XML, b"" if silent else body)

    def answer(self, status: int, lines: bytes = b"", body: bytes = b"") -> None:
        """Respond with these lines besides the usual ones."""
        if not self.bucket.closing:
            self.transport.write(_head(status, lines, len(body)) + body)
        else:
            self.transport.write(_head(status, lines + b"connection: close\r\n", len(body)) + body)
            self.transport.close()


_date = (0, b"")


def _head(status: int, lines: bytes, length: int) -> bytes:
    global _date  # noqa: PLW0603 - one process, one clock
    now = int(time.time())
    if now != _date[0]:
        _date = (now, formatdate(now, usegmt=True).encode())
    return (
        b"HTTP/1.1 %d %b\r\nserver: null\r\nx-amz-request-id: 4442587FB7D0A2F9\r\ndate: %b\r\n"
        b"%bcontent-length: %d\r\n\r\n" % (status, _REASON.get(status, b"No"), _date[1], lines, length)
    )


async def main(arguments: list[str]) -> None:
    """Serve until stdin ends."""
    context = None
    word = arguments[0] if arguments and arguments[0].startswith("--") else ""
    closing, certificate = word == "--close", arguments[bool(word) :]
    speaks = Connection
    if word in {"--azure", "--gcs"}:
        clouds = import_module("benchmarks.null_clouds")
        speaks = clouds.AzureConnection if word == "--azure" else clouds.GcsConnection
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
    bucket, loop, ended = (
        Bucket(closing=closing, own=word == "--own"),
        asyncio.get_running_loop(),
        asyncio.Event(),
    )
    server = await loop.create_server(lambda: speaks(bucket), "127.0.0.1", 0, ssl=context, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)

    def wait() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=wait, daemon=True).start()
    await ended.wait()
    server.close()


if __name__ == "__main__":
    try:
        import uvloop
    except ImportError:
        asyncio.run(main(sys.argv[1:]))
    else:
        uvloop.run(main(sys.argv[1:]))
