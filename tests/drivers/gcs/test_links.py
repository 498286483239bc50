"""Links of the driver: those of Google's own client, limits, and none without an account."""

import asyncio
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from google.cloud.storage._signing import generate_signed_url_v4

from credstore.driver.values import SignRequest
from credstore.drivers.gcs.driver import GcsDriver
from credstore.errors import StorageInvalidKeyError, StorageInvalidRequestError, StorageUnsupportedError
from credstore.testing.scripted import ScriptedTransport
from tests.drivers.gcs.fake import FakeGcs, Tokens
from tests.drivers.gcs.opening import Signing, is_signed

NOW = 1_790_000_000


def signed(request: SignRequest, **settings: object):
    transport = ScriptedTransport()
    driver = GcsDriver(
        FakeGcs().config(**settings), tokens=Tokens(), transport=transport, clock=lambda: NOW + 0.9
    )
    found = asyncio.run(driver.sign(request))
    assert not transport.requests
    return found


@pytest.mark.parametrize("key", ["a", "a/b c+d", "größe/日本", "~tilde", "dir/", "100%25", "?q#f"])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_link_is_the_one_of_googles_client(key, method):
    put = {"headers": {"content-type": "text/plain", "x-goog-content-length-range": "0,1000"}}
    get = {"overrides": {"content-disposition": 'attachment; filename="a b"'}, "version_id": "17"}
    link = signed(SignRequest(key=key, method=method, expires_in=60, **(put if method == "PUT" else get)))
    theirs = generate_signed_url_v4(
        Signing(),
        f"/proofs/{quote(key, safe=b'/~')}",
        timedelta(seconds=60),
        method=method,
        headers=dict(put["headers"]) if method == "PUT" else None,
        response_disposition=get["overrides"]["content-disposition"] if method == "GET" else None,
        generation="17" if method == "GET" else None,
        _request_timestamp=f"{datetime.fromtimestamp(NOW, UTC):%Y%m%dT%H%M%SZ}",
    )
    assert urlsplit(link.url)[:3] == urlsplit(theirs)[:3]
    assert sorted(parse_qsl(urlsplit(link.url).query)) == sorted(parse_qsl(urlsplit(theirs).query))
    assert link.expires_at == datetime.fromtimestamp(NOW + 60, UTC)
    assert link.headers == (put["headers"] if method == "PUT" else {})
    assert "X-Goog-Signature" not in repr(link)


def test_a_link_that_was_changed_is_not_signed_any_more():
    link = signed(SignRequest(key="a", overrides={"content-disposition": "inline"}))
    assert is_signed("GET", link.url, {})
    for method, url in (
        ("DELETE", link.url),
        ("GET", link.url.replace("/proofs/a", "/proofs/b")),
        ("GET", link.url.replace("inline", "attachment")),
        ("GET", link.url.replace("X-Goog-Expires=3600", "X-Goog-Expires=3601")),
    ):
        assert not is_signed(method, url, {})


def test_dots_in_a_path_are_not_resolved_by_whoever_opens_it():
    assert urlsplit(signed(SignRequest(key="a/../b")).url).path == "/proofs/a%2F..%2Fb"


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (SignRequest(key="a", expires_in=604_801), StorageInvalidRequestError),
        (SignRequest(key="a", expires_in=0.5), StorageInvalidRequestError),
        (SignRequest(key="a", overrides={"cache-control": "no-store"}), StorageInvalidRequestError),
        (SignRequest(key="a", method="PUT", overrides={"content-type": "x"}), StorageUnsupportedError),
        (SignRequest(key=".."), StorageInvalidKeyError),
    ],
)
def test_links_that_google_does_not_make(request_, kind):
    with pytest.raises(kind):
        signed(request_)


def test_no_credentials_make_no_link():
    driver = GcsDriver(FakeGcs().config(auth_mode="anonymous"))
    with pytest.raises(StorageUnsupportedError):
        asyncio.run(driver.sign(SignRequest(key="a")))
    asyncio.run(driver.aclose())
