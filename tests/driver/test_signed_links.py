"""Links that our own stores sign and check."""

import asyncio
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urljoin, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credstore.driver import SignRequest
from credstore.driver.signed_links import check_link, sign_link
from credstore.errors import StorageAccessDeniedError, StorageUnsupportedError
from credstore.model import LinkGrant
from tests.drivers.local.support import make_driver

BASE, SECRET = "http://127.0.0.1:1/base", b"s" * 32
keys = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).filter(
    lambda k: k not in {".", ".."}
)


def taken_apart(url):
    parts = urlsplit(url)
    return {"path": parts.path, "query": dict(parse_qsl(parts.query, keep_blank_values=True))}


@settings(max_examples=100, deadline=None)
@given(
    keys,
    st.sampled_from(["GET", "HEAD"]),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=9),
)
def test_a_link_grants_exactly_what_was_signed(key, method, value):
    overrides = {"content-disposition": value}
    url = sign_link(BASE, SECRET, method=method, key=key, expires=100, overrides=overrides)
    assert check_link(BASE, SECRET, method=method, now=99.9, **taken_apart(url)) == LinkGrant(
        key, overrides, datetime.fromtimestamp(100, UTC)
    )


@pytest.mark.parametrize(
    "change",
    [
        {"method": "HEAD"},
        {"method": "PUT"},
        {"path": "/base/other"},
        {"path": "/other/k"},
        {"path": "/bass/k"},
        {"path": "/base/%ff"},
        {"query": {"expires": "200"}},
        {"query": {"expires": "x"}},
        {"query": {"expires": "0100"}},
        {"query": {"expires": "+100"}},
        {"query": {"expires": "100\n"}},
        {"query": {"expires": " 100"}},
        {"query": {"expires": "1_00"}},
        {"query": {"expires": "9" * 5000}},
        {"query": {"method": "HEAD"}},
        {"query": {"response-content-type": "text/html"}},
        {"query": {"more": "1"}},
        {"query": {"signature": "AAAA"}},
        {"query": {"signature": "é"}},
        {"query": {}},
    ],
)
def test_a_changed_link_is_refused(change):
    url = sign_link(BASE, SECRET, method="GET", key="k", expires=100, overrides={})
    request = {"method": "GET", **taken_apart(url)}
    request["query"] = request["query"] | change.get("query", {}) if change.get("query", 1) else {}
    request.update({name: value for name, value in change.items() if name != "query"})
    with pytest.raises(StorageAccessDeniedError) as caught:
        check_link(BASE, SECRET, now=1, **request)
    assert caught.value.code == "LINK_INVALID"


@pytest.mark.parametrize(
    "change",
    [
        {"query": {"response-content-type": "text/html"}},
        {"query": {"response-content-type": ""}},
        {"query": {"response-content-type": None}},
        {"query": {"response-content-type": None, "content-type": "text/plain"}},
        {"query": {"response-content-type": None, "response-expires": "text/plain"}},
        {"query": {"response-content-language": "en"}},
        {"method": "HEAD", "query": {"method": "HEAD"}},
        {"query": {"signature": None}},
        {"query": {"expires": None}},
        {"query": {"method": None}},
    ],
)
def test_everything_a_link_says_is_signed(change):
    overrides = {"content-type": "text/plain"}
    url = sign_link(BASE, SECRET, method="GET", key="k", expires=100, overrides=overrides)
    request = {"method": "GET", **taken_apart(url)}
    assert check_link(BASE, SECRET, now=1, **request).overrides == overrides
    query = request["query"] | change["query"]
    changed = {**request, **change, "query": {name: text for name, text in query.items() if text is not None}}
    with pytest.raises(StorageAccessDeniedError) as caught:
        check_link(BASE, SECRET, now=1, **changed)
    assert caught.value.code == "LINK_INVALID"


@pytest.mark.parametrize("key", ["a/../b", "../b", "a/.", "./a", "a/b/.."])
def test_no_client_resolves_the_path_of_a_link(key):
    url = sign_link(BASE, SECRET, method="GET", key=key, expires=100, overrides={})
    assert urlsplit(urljoin(url, urlsplit(url).path)).path == urlsplit(url).path
    assert {".", ".."}.isdisjoint(urlsplit(url).path.split("/"))
    assert check_link(BASE, SECRET, method="GET", now=1, **taken_apart(url)).key == key


def test_an_expired_link_and_another_secret_are_refused():
    url = sign_link(BASE, SECRET, method="GET", key="k", expires=100, overrides={})
    with pytest.raises(StorageAccessDeniedError) as caught:
        check_link(BASE, SECRET, method="GET", now=100, **taken_apart(url))
    assert caught.value.code == "LINK_EXPIRED"
    with pytest.raises(StorageAccessDeniedError):
        check_link(BASE, b"t" * 32, method="GET", now=1, **taken_apart(url))


def test_a_time_with_more_digits_than_a_link_has_is_refused_though_it_was_signed():
    last = 10**11 - 1
    for expires, code in ((last, None), (last + 1, "LINK_INVALID"), (10**15, "LINK_INVALID")):
        url = sign_link(BASE, SECRET, method="GET", key="k", expires=expires, overrides={})
        if code is None:
            assert check_link(BASE, SECRET, method="GET", now=1, **taken_apart(url)).key == "k"
            continue
        with pytest.raises(StorageAccessDeniedError) as caught:
            check_link(BASE, SECRET, method="GET", now=1, **taken_apart(url))
        assert caught.value.code == code


def test_links_of_a_driver(tmp_path):
    async def run():
        one, other = (make_driver(tmp_path, link_url=BASE) for _ in range(2))
        signed = await one.sign(SignRequest(key="a b/é", expires_in=60, overrides={"content-type": "text/x"}))
        now = signed.expires_at.timestamp()
        parts = taken_apart(signed.url)
        assert other.verify_link("GET", parts["path"], parts["query"], now - 1) == LinkGrant(
            "a b/é", {"content-type": "text/x"}, signed.expires_at
        )
        assert "signature" not in repr(signed)
        for request in (
            SignRequest(key="k", method="PUT"),
            SignRequest(key=".."),
            SignRequest(key="k", overrides={"x-y": "1"}),
        ):
            with pytest.raises(StorageUnsupportedError):
                await one.sign(request)
        await one.aclose()
        await other.aclose()

    asyncio.run(run())
    secret = tmp_path / ".credstore/link-secret"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert len(secret.read_bytes()) == 32
