"""Fastly's token: path and expiry under HMAC."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore.encryption import Secret
from credstore.errors import StorageUnsupportedError
from credstore.links.fastly import FastlySigner
from tests.links.signers import LATER, NOW, URL, steady

KEY = "iqFPeN2u+Z0Lm5IrsKaOFKRqEU5Gw8ePtaEkHZWuD24="


@pytest.mark.parametrize(
    ("settings", "mac"),
    [
        ({}, "8c07f2c6a2798c948d5a8b94f1165e2171d63db5"),
        ({"digest": "sha256"}, "1dbc71e99193c12b95699bd0b66ee1d44c05e41beffea121767c625705b40674"),
    ],
)
def test_vectors(settings, mac):
    url = "https://cdn.example.com/foo/bar.html"
    link = FastlySigner(key=Secret(KEY), **settings).sign(url, now=1598020000, expires_at=1598024587)
    assert link == f"{url}?token=1598024587_{mac}"


@given(
    st.from_regex(r"(/[A-Za-z0-9_~-]{1,5}|/%[0-9A-E][0-9A-F]){1,3}", fullmatch=True),
    st.integers(LATER, 10**10 - 1),
)
def test_the_edge_computes_the_same(path, expires_at):
    if any(f"%{code:02X}" in path for code in [*range(32), 127, 46]):
        return
    link = FastlySigner(key=Secret(KEY)).sign(
        f"https://cdn.example.com{path}?a=b", now=NOW, expires_at=expires_at
    )
    path = steady(path)
    address, _, token = link.partition("&token=")
    until, _, mac = token.partition("_")
    assert address == f"https://cdn.example.com{path}?a=b"
    assert mac == hmac.new(base64.b64decode(KEY), (path + until).encode(), hashlib.sha1).hexdigest()
    assert until == str(expires_at)


def test_an_expiry_has_ten_digits():
    with pytest.raises(StorageUnsupportedError, match="9999999999"):
        FastlySigner(key=Secret(KEY)).sign(URL, now=NOW, expires_at=10**10)


def test_the_parameter_has_a_name_of_yours():
    link = FastlySigner(key=Secret(KEY), parameter="sig").sign(URL, now=NOW, expires_at=LATER)
    assert link.startswith(f"{URL}?sig={LATER}_")
