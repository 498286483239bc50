"""nginx secure_link: the manual's example, and the expression evaluated as nginx does."""

import base64
import hashlib
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore.encryption import Secret
from credstore.errors import StorageUnsupportedError
from credstore.links.nginx import NginxSigner
from tests.links.signers import LATER, NOW, URL, steady


def make(**settings):
    return NginxSigner(**{"secret": Secret("secret"), **settings})


@pytest.mark.parametrize("name", ["$remote_addr", "${remote_addr}"])
def test_the_manuals_example(name):
    signer = make(expression=f"$secure_link_expires$uri{name} $secret", remote_addr="127.0.0.1")
    link = signer.sign("https://cdn.example.com/s/link", now=NOW, expires_at=2147483647)
    assert link == "https://cdn.example.com/s/link?md5=_e4Nc3iduzkWRm01TBBNYw&expires=2147483647"


@given(
    st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="/."),
        min_size=1,
        max_size=9,
    ),
    st.integers(NOW + 1, NOW + 10**7),
)
def test_nginx_decodes_the_path(key, expires_at):
    link = make(secret=Secret("s\u00e9cret")).sign(
        f"https://cdn.example.com/{quote(key)}", now=NOW, expires_at=expires_at
    )
    digest = hashlib.md5(f"{expires_at}/{key} s\u00e9cret".encode()).digest()
    assert link == (
        f"{steady('https://cdn.example.com/' + quote(key))}?md5={base64.urlsafe_b64encode(digest).decode().rstrip('=')}"
        f"&expires={expires_at}"
    )


def test_an_expression_of_yours():
    signer = make(
        expression="$secret:${uri}:$secure_link_expires:$uri", parameter="st", expires_parameter="e"
    )
    digest = hashlib.md5(f"secret:/a/b.json:{LATER}:/a/b.json".encode()).digest()
    token = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    assert signer.sign(URL + "?q=1", now=NOW, expires_at=LATER) == f"{URL}?q=1&st={token}&e={LATER}"


def test_a_secret_with_a_variable_in_it_is_text():
    signer = make(secret=Secret("$uri"))
    digest = hashlib.md5(f"{LATER}/a/b.json $uri".encode()).digest()
    assert base64.urlsafe_b64encode(digest).decode().rstrip("=") in signer.sign(
        URL, now=NOW, expires_at=LATER
    )


def test_slashes_that_nginx_merges_are_refused():
    url = "https://cdn.example.com/a//b"
    with pytest.raises(StorageUnsupportedError, match="merge_slashes"):
        make().sign(url, now=NOW, expires_at=LATER)
    assert make(merge_slashes=False).sign(url, now=NOW, expires_at=LATER).startswith(url + "?md5=")
    with pytest.raises(StorageUnsupportedError, match="merge_slashes"):
        make().sign("https://cdn.example.com/a/%2Fb", now=NOW, expires_at=LATER)
