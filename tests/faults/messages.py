"""What goes over the wire, as values: requests as they came, answers as they will go."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, unquote
from xml.sax.saxutils import escape


@dataclass(frozen=True)
class Request:
    """One request; `target` and header values as received, the rest decoded. Names in lower case."""

    connection: int
    method: str
    target: str
    bucket: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def operation(self) -> str:
        """S3's name of what is asked for, or "Unknown"."""
        return _operation(self)


@dataclass(frozen=True)
class Answer:
    """One answer; Content-Length is added where `headers` has none."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def with_headers(self, **changes: str | None) -> "Answer":
        """The same answer with headers set, or dropped for None; `_` stands for `-`."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        for name, value in changes.items():
            headers.pop(name.replace("_", "-"), None)
            if value is not None:
                headers[name.replace("_", "-")] = value
        return replace(self, headers=headers)


class S3Error(Exception):
    """An error that S3 answers with."""

    def __init__(self, status: int, code: str, message: str = "", **fields: str) -> None:
        super().__init__(code)
        self.answer = error(status, code, message, **fields)


def error(status: int, code: str, message: str = "", **fields: str) -> Answer:
    """An `<Error>` document."""
    found = {"Code": code, "Message": message or code, **fields}
    return xml("Error", "".join(element(name, value) for name, value in found.items()), status=status)


def element(name: str, text: object) -> str:
    """One XML element with text in it."""
    return f"<{name}>{escape(str(text))}</{name}>"


def xml(root: str, inner: str, *, status: int = 200) -> Answer:
    """An XML document in S3's namespace, except for errors, which have none."""
    space = "" if root == "Error" else ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}{space}>{inner}</{root}>'.encode()
    return Answer(status, body, {"content-type": "application/xml"})


def parse_head(head: bytes, connection: int, domain: str) -> Request:
    """A request's head; the bucket is in the host below `domain`, else in the path."""
    first, *lines = head.decode("utf-8", "surrogateescape").split("\r\n")[:-2]
    method, target, version = first.split(" ")
    if version != "HTTP/1.1":
        raise ValueError(f"HTTP/1.1 is spoken here, not {version}")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if name.lower() in headers:
            raise ValueError(f"the header {name} came twice")
        headers[name.lower()] = value.strip(" \t")
    path, _, query = target.partition("?")
    host = headers.get("host", "").partition(":")[0]
    if host.endswith("." + domain):
        bucket, key = host.removesuffix("." + domain), path[1:]
    else:
        bucket, _, key = path[1:].partition("/")
    return Request(
        connection,
        method,
        target,
        unquote(bucket),
        unquote(key, errors="strict"),
        dict(parse_qsl(query, keep_blank_values=True)),
        headers,
    )


_SUBRESOURCES = {
    ("GET", "tagging"): "GetObjectTagging",
    ("PUT", "tagging"): "PutObjectTagging",
    ("DELETE", "tagging"): "DeleteObjectTagging",
    ("POST", "uploads"): "CreateMultipartUpload",
    ("POST", "uploadId"): "CompleteMultipartUpload",
    ("DELETE", "uploadId"): "AbortMultipartUpload",
    ("GET", "uploadId"): "ListParts",
    ("PUT", "uploadId"): "UploadPart",
}
_OF_BUCKETS = {"PUT": "CreateBucket", "HEAD": "HeadBucket", "DELETE": "DeleteBucket", "GET": "ListObjects"}
_OF_OBJECTS = {"PUT": "PutObject", "GET": "GetObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}


def _operation(request: Request) -> str:
    method, query = request.method, request.query
    if not request.key:
        if method == "POST" and "delete" in query:
            return "DeleteObjects"
        if method == "GET" and "uploads" in query:
            return "ListMultipartUploads"
        if method == "GET" and query.get("list-type") == "2":
            return "ListObjectsV2"
        return _OF_BUCKETS.get(method, "Unknown")
    found = next(
        (name for (verb, sub), name in _SUBRESOURCES.items() if verb == method and sub in query), None
    )
    if found is None:
        found = _OF_OBJECTS.get(method, "Unknown")
    if "x-amz-copy-source" in request.headers:
        return {"PutObject": "CopyObject", "UploadPart": "UploadPartCopy"}.get(found, found)
    return found
