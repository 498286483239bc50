"""Links to the fake, opened as by the XML API: each signature is compared with that of Google's own client."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from urllib.parse import parse_qsl, unquote, urlsplit

from google.auth import credentials
from google.cloud.storage._signing import generate_signed_url_v4

from credstore.driver.values import SignedRequest
from credstore.testing.links import Fetched
from credstore.testing.scripted import SentRequest
from tests.drivers.gcs.fake import BUCKET, FakeGcs


class Signing(credentials.Signing):
    """The account of the fake's tokens, for the vendor's code."""

    signer_email, signer = "signer@acme.iam.gserviceaccount.com", None

    def sign_bytes(self, message):
        return hashlib.sha256(message).digest()


def is_signed(method: str, url: str, headers: dict[str, str]) -> bool:
    """Whether Google's own client signs the same request in the same way."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    names = query["X-Goog-SignedHeaders"].split(";")
    theirs = generate_signed_url_v4(
        Signing(),
        parts.path,
        timedelta(seconds=int(query["X-Goog-Expires"])),
        method=method,
        headers={name: headers[name] for name in names if name != "host"},
        response_disposition=query.get("response-content-disposition"),
        response_type=query.get("response-content-type"),
        generation=query.get("generation"),
        _request_timestamp=query["X-Goog-Date"],
    )
    return dict(parse_qsl(urlsplit(theirs).query)) == query


async def open_link(fake: FakeGcs, link: SignedRequest, body: bytes | None) -> Fetched:
    """What comes of a link."""
    headers = dict(link.headers)
    if not is_signed(link.method, link.url, headers):
        return Fetched(403, {}, b"SignatureDoesNotMatch")
    parts = urlsplit(link.url)
    name = unquote(parts.path.removeprefix(f"/{BUCKET}/"))
    if link.method == "PUT":
        fake.put(name, body or b"", {"contentType": headers.get("content-type")})
        return Fetched(200, {}, b"")
    found = fake.now(name)
    if found is None:
        return Fetched(404, {}, b"")
    if link.method == "DELETE":
        fake._delete(name, found, {})
        return Fetched(204, {}, b"")
    request = SentRequest(link.method, link.url, {"accept-encoding": "gzip"}, b"")
    status, told, data = fake._media(request, found)
    shown = dict(parse_qsl(parts.query)).get("response-content-disposition")
    imposed = {} if shown is None else {"content-disposition": shown}
    told = {"content-length": str(len(data)), **told, **imposed}
    return Fetched(status, told, b"" if link.method == "HEAD" else data)
