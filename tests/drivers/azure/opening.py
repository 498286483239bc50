"""Links to the fake, opened as by the service: each signature is compared with that of Azure's own client."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from unittest.mock import patch
from urllib.parse import parse_qsl, unquote, urlsplit

from azure.storage.blob import generate_blob_sas

from credstore.driver.values import SignedRequest
from credstore.testing.links import Fetched
from credstore.testing.scripted import SentRequest
from tests.drivers.azure.fake import ACCOUNT, CONTAINER, FakeAzure
from tests.servers.azurite import KEY

_IMPOSED = {
    "rscc": ("cache-control", "cache_control"),
    "rscd": ("content-disposition", "content_disposition"),
    "rsce": ("content-encoding", "content_encoding"),
    "rscl": ("content-language", "content_language"),
    "rsct": ("content-type", "content_type"),
}
"""By parameter: the header that a link imposes, and what the vendor's code calls it."""
_NEEDED = {"GET": {"r"}, "HEAD": {"r"}, "PUT": {"c", "w"}, "DELETE": {"d"}}


def is_signed(url: str) -> bool:
    """Whether Azure's own client makes the same signature for the same permission."""
    parts = urlsplit(url)
    told = dict(parse_qsl(parts.query, strict_parsing=True))
    version_id = told.pop("versionid", None)
    # The newest release is told the version of the API that the link is for.
    with patch("azure.storage.blob._shared_access_signature.X_MS_VERSION", told["sv"]):
        theirs = generate_blob_sas(
            ACCOUNT,
            CONTAINER,
            unquote(parts.path.removeprefix(f"/{CONTAINER}/")),
            account_key=KEY,
            permission=told["sp"],
            expiry=told["se"],
            protocol=told["spr"],
            version_id=version_id,
            **{name: told[short] for short, (_, name) in _IMPOSED.items() if short in told},
        )
    return dict(parse_qsl(theirs)) == told


def permits(told: Mapping[str, str], method: str, now: datetime) -> bool:
    """Whether what a link is for includes this method, at this time."""
    return _NEEDED[method] & set(told["sp"]) != set() and now < datetime.fromisoformat(told["se"])


async def open_link(fake: FakeAzure, link: SignedRequest, body: bytes | None) -> Fetched:
    """What comes of a link."""
    told = dict(parse_qsl(urlsplit(link.url).query))
    if not (is_signed(link.url) and permits(told, link.method, fake.clock)):
        return Fetched(403, {}, b"AuthenticationFailed")
    answer = fake.serve(SentRequest(link.method, link.url, dict(link.headers), body or b""))
    imposed = {header: told[short] for short, (header, _) in _IMPOSED.items() if short in told}
    return Fetched(answer.status, {**answer.headers, **imposed}, answer.body)
