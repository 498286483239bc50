"""Akamai EdgeAuth 2.0: vectors of the official module, and the hash recomputed."""

import hashlib
import hmac
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore.encryption import Secret
from credstore.errors import StorageInvalidRequestError, StorageUnsupportedError
from credstore.links.akamai import AkamaiSigner
from tests.links.signers import LATER, NOW, URL, steady

KEY = "aabbccddeeff00112233445566778899"
EXPIRES = 1598024587
CAT = "https://cdn.example.com/images/cat.jpg"


def make(**settings):
    return AkamaiSigner(key=Secret(KEY), **settings)


def mac(text, digest="sha256"):
    return hmac.new(bytes.fromhex(KEY), text.encode(), digest).hexdigest()


@pytest.mark.parametrize(
    ("acl", "shown"),
    [
        (
            ("/images/*",),
            "acl=/images/*~hmac=3d6e13e38a920bd7d5a24e10970adc9618a7bcc72fb3d87c7342a5c36c930774",
        ),
        ((), "hmac=ff0efab7e94e0f2deab329c76e4d59075aae35ef2175ccba791a92ae70e116b7"),
    ],
)
def test_vectors_of_the_official_module(acl, shown):
    link = make(acl=acl).sign(CAT, now=EXPIRES - 60, expires_at=EXPIRES)
    assert link == f"{CAT}?__token__=exp={EXPIRES}~{shown}"


def test_the_order_of_the_fields():
    signer = make(
        acl=("/a/*", "/b/?"), ip="1.2.3.4", active_from=NOW, session_id="s/1", payload="d:1",
        salt=Secret("a salt"), parameter="hdnts", digest="sha1",
    )  # fmt: skip
    fields = f"ip=1.2.3.4~st={NOW}~exp={LATER}~acl=/a/*!/b/?~id=s/1~data=d:1"
    expected = f"{URL}?hdnts={fields}~hmac={mac(f'{fields}~salt=a salt', 'sha1')}"
    assert signer.sign(URL, now=NOW, expires_at=LATER) == expected


def test_escape_early_escapes_in_lower_case():
    signer = make(ip="2001:db8::1", session_id="a/b", payload="c@d", escape_early=True)
    fields = f"ip=2001%3adb8%3a%3a1~exp={LATER}~id=a%2fb~data=c%40d"
    expected = f"{URL}?__token__={fields}~hmac={mac(f'{fields}~url=%2fa%2fb.json')}"
    assert signer.sign(URL, now=NOW, expires_at=LATER) == expected


@given(
    st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="/.~"),
        min_size=1,
        max_size=9,
    ),
    st.integers(NOW + 1, NOW + 10**7),
    st.sampled_from(["sha256", "sha1", "md5"]),
)
def test_the_edge_computes_the_same(key, expires_at, digest):
    path = steady("/" + quote(key))
    link = make(digest=digest).sign("https://cdn.example.com" + path, now=NOW, expires_at=expires_at)
    shown, _, found = link.rpartition("~hmac=")
    assert shown == f"https://cdn.example.com{path}?__token__=exp={expires_at}"
    assert (
        found
        == hmac.new(
            bytes.fromhex(KEY), f"exp={expires_at}~url={path}".encode(), getattr(hashlib, digest)
        ).hexdigest()
    )


def test_an_acl_must_cover_the_object():
    with pytest.raises(StorageUnsupportedError, match="`acl`"):
        make(acl=("/b/*", "/a")).sign(URL, now=NOW, expires_at=LATER)


def test_a_path_cannot_add_fields_to_a_token():
    with pytest.raises(StorageUnsupportedError, match="'~'"):
        make().sign(f"{URL}~salt=x", now=NOW, expires_at=LATER)


def test_a_path_that_would_be_escaped_twice_is_refused():
    with pytest.raises(StorageUnsupportedError, match="escape_early"):
        make(escape_early=True).sign(URL + "%20x", now=NOW, expires_at=LATER)


def test_a_link_begins_before_it_ends():
    with pytest.raises(StorageInvalidRequestError, match="active_from"):
        make(active_from=LATER).sign(URL, now=NOW, expires_at=LATER)


def test_a_salt_is_hashed_and_not_shown():
    link = make(salt=Secret("pepper")).sign(URL, now=NOW, expires_at=LATER)
    assert "pepper" not in link
    assert "pepper" not in repr(make(salt=Secret("pepper")))
    assert link != make().sign(URL, now=NOW, expires_at=LATER)
