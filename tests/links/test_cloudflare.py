"""Cloudflare's timed HMAC: the documented message, recomputed as a rule would check it."""

import base64
import hashlib
import hmac
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore.encryption import Secret
from credstore.errors import StorageUnsupportedError
from credstore.links.cloudflare import CloudflareSigner
from tests.links.signers import LATER, NOW, URL

TTL = 10800


def make(secret="mysecrettoken", **settings):
    return CloudflareSigner(**{"secret": Secret(secret), "ttl": TTL, **settings})


def is_valid(secret, request_uri, ttl, now, separator_length, *, url_safe=False):
    """What `is_timed_hmac_valid_v0` does, from its documentation."""
    message, _, mac = request_uri.rpartition("-") if not url_safe else split_url_safe(request_uri)
    text, issued = message[: -10 - separator_length], message[-10:]
    expected = hmac.new(secret.encode(), (text + issued).encode(), hashlib.sha256).digest()
    given = base64.urlsafe_b64decode(mac + "=") if url_safe else base64.b64decode(unquote(mac))
    return given == expected and now < int(issued) + ttl


def split_url_safe(request_uri):
    return request_uri[:-44], "-", request_uri[-43:]


def test_the_documents_own_example():
    link = make(ttl=1).sign("https://cdn.example.com/images/cat.jpg", now=1484063787, expires_at=1484063788)
    mac = "XsZ5NmtNBxOd4f4fBOtqVmpWRnDRNkHKVZieqDPKu3U="
    assert link == f"https://cdn.example.com/images/cat.jpg?verify=1484063787-{quote(mac, safe='')}"


def test_the_flag_s_leaves_padding_out():
    signer = make(ttl=1, encoding="base64url")
    link = signer.sign("https://cdn.example.com/images/cat.jpg", now=1484063787, expires_at=1484063788)
    assert link.endswith("?verify=1484063787-XsZ5NmtNBxOd4f4fBOtqVmpWRnDRNkHKVZieqDPKu3U")


SEGMENT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=8)


@given(
    SEGMENT.filter(
        lambda key: (
            "//" not in key
            and key[0] != "/"
            and key not in {".", ".."}
            and "/." not in key
            and "./" not in key
        )
    ),
    st.sampled_from(["", "?a=b", "?a=b&c=%20d"]),
    st.integers(1, TTL),
    st.sampled_from(["base64", "base64url"]),
)
def test_the_rule_lets_it_through_until_it_ends(key, query, expires_in, encoding):
    url = f"https://cdn.example.com/{quote(key, safe='/-_.~')}{query}"
    link = make(encoding=encoding).sign(url, now=NOW, expires_at=NOW + expires_in)
    uri = link.removeprefix("https://cdn.example.com")
    safe = encoding == "base64url"
    for now, valid in [(NOW, True), (NOW + expires_in - 1, True), (NOW + expires_in, False)]:
        assert is_valid("mysecrettoken", uri, TTL, now, 8, url_safe=safe) == valid
    assert not is_valid("mysecrettoken", "/x" + uri, TTL, NOW, 8, url_safe=safe)
    assert not is_valid("another", uri, TTL, NOW, 8, url_safe=safe)


def test_the_token_is_the_last_parameter():
    assert "?a=b&verify=" in make().sign(URL + "?a=b", now=NOW, expires_at=LATER)
    assert "?t=" in make(parameter="t").sign(URL, now=NOW, expires_at=LATER)


def test_a_link_lasts_as_long_as_the_rule_at_most():
    make().sign(URL, now=NOW, expires_at=NOW + TTL)
    with pytest.raises(StorageUnsupportedError, match="at most 10800 seconds"):
        make().sign(URL, now=NOW, expires_at=NOW + TTL + 1)


@pytest.mark.parametrize("path", ["/a//b", "//a", "/a//"])
def test_slashes_that_the_edge_merges_are_refused(path):
    with pytest.raises(StorageUnsupportedError, match="merges '//'"):
        make().sign("https://cdn.example.com" + path, now=NOW, expires_at=LATER)


@pytest.mark.parametrize(
    ("path", "rewritten"),
    [
        ("/%7Ea", "/~a"),
        ("/%41", "/A"),
        ("/%7a", "/z"),
        ("/%c3%A9", "/%C3%A9"),
        ("/a?b=%2D", "/a?b=-"),
        ("/%5F", "/_"),
        ("/%30", "/0"),
        ("/%2e%41", "/.A"),
    ],
)
def test_escapes_that_the_edge_rewrites_are_rewritten_before_they_are_signed(path, rewritten):
    host = "https://cdn.example.com"
    link = make().sign(host + path, now=NOW, expires_at=LATER)
    assert link == make().sign(host + rewritten, now=NOW, expires_at=LATER)
    assert link.startswith(host + rewritten)


def test_every_byte_that_needs_an_escape_may_have_one():
    for code in range(0x20, 0x100):
        escaped = quote(bytes([code]), safe="-_.~")
        if escaped.startswith("%") and code != 0x7F:
            make().sign(f"https://cdn.example.com/a{escaped}", now=NOW, expires_at=LATER)


def test_a_time_has_ten_digits():
    with pytest.raises(StorageUnsupportedError, match="ten digits"):
        make(ttl=100).sign(URL, now=10**9, expires_at=10**9 + 99)
    with pytest.raises(StorageUnsupportedError, match="ten digits"):
        make().sign(URL, now=10**10, expires_at=10**10 + TTL)
