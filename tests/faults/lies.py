"""What S3's lookalikes do against their word, all seen in the field; each lie is told to every request.

Rules of this file: a lie changes what the store hears or says, never how it keeps things.
"""

import re
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Literal, get_args
from urllib.parse import unquote

from tests.faults.messages import Answer, Request

Lie = Literal[
    "decodes twice",
    "decodes parts' sources twice",
    "ignores copy conditions",
    "drops tags on replace",
    "completes without etag",
    "puts without etag",
    "no encryption",
    "no customer keys",
    "no storage classes",
    "knows no part numbers",
    "ignores conditions",
]
"""Ceph 16: the second to the fifth. moto: the third and "no customer keys". rclone, s3rver: "no encryption". The
last: servers from before S3 had conditional writes, and gcp-storage-emulator in its own dialect."""
LIES = frozenset(get_args(Lie))
_SSE = "x-amz-server-side-encryption"


def heard(lies: AbstractSet[str], request: Request) -> Request:
    """The request as a store that lies so takes it."""
    headers = dict(request.headers)
    copied_in_parts = request.operation == "UploadPartCopy"
    if "x-amz-copy-source" in headers and (
        "decodes twice" in lies or ("decodes parts' sources twice" in lies and copied_in_parts)
    ):
        headers["x-amz-copy-source"] = unquote(headers["x-amz-copy-source"])
    if "ignores copy conditions" in lies:
        headers.pop("x-amz-copy-source-if-match", None)
    if "ignores conditions" in lies and request.method != "GET":
        for name in ("if-match", "if-none-match", "x-amz-copy-source-if-match"):
            headers.pop(name, None)
    if "drops tags on replace" in lies and headers.get("x-amz-metadata-directive") == "REPLACE":
        headers["x-amz-tagging-directive"] = "REPLACE"
        headers.pop("x-amz-tagging", None)
    if "no storage classes" in lies:
        headers.pop("x-amz-storage-class", None)
    for name in list(headers):
        customers = "-customer-" in name
        if (name.startswith((_SSE, "x-amz-copy-source-server-side-encryption"))) and (
            "no encryption" in lies or (customers and "no customer keys" in lies)
        ):
            del headers[name]
    query = dict(request.query)
    if "knows no part numbers" in lies and request.method in {"GET", "HEAD"}:
        query.pop("partNumber", None)
    return replace(request, headers=headers, query=query)


def said(lies: AbstractSet[str], request: Request, answer: Answer) -> Answer:
    """The answer as such a store gives it."""
    if "completes without etag" in lies and request.operation == "CompleteMultipartUpload":
        return replace(answer, body=re.sub(rb"<ETag>.*?</ETag>", b"<ETag></ETag>", answer.body))
    if "puts without etag" in lies and request.operation == "PutObject":
        return answer.with_headers(etag=None)
    return answer
