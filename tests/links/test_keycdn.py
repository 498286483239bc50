"""KeyCDN's secure token."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore.encryption import Secret
from credstore.errors import StorageUnsupportedError
from credstore.links.keycdn import KeyCdnSigner
from tests.links.signers import LATER, NOW


def make(**settings):
    return KeyCdnSigner(secret=Secret("securetokenkey"), **settings)


def test_vector():
    url = "https://zone-1.kxcdn.com/path/to/file1.jpg"
    link = make().sign(url, now=1598024000, expires_at=1598024587)
    assert link == f"{url}?token=GdzVdTJecYpfiBWaLnE0PA&expire=1598024587"


@given(st.from_regex(r"(/[A-Za-z0-9_~-]{1,5}){1,3}", fullmatch=True), st.integers(NOW + 1, NOW + 10**7))
def test_the_edge_computes_the_same(path, expires_at):
    url = "https://zone-1.kxcdn.com" + path
    digest = hashlib.md5(f"{path}securetokenkey{expires_at}".encode()).digest()
    token = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    assert make().sign(url, now=NOW, expires_at=expires_at) == f"{url}?token={token}&expire={expires_at}"


def test_an_encoded_path_is_signed_only_as_you_say():
    url = "https://zone-1.kxcdn.com/a%20b"
    with pytest.raises(StorageUnsupportedError, match="`path_form`"):
        make().sign(url, now=NOW, expires_at=LATER)
    for form, path in [("encoded", "/a%20b"), ("decoded", "/a b")]:
        digest = hashlib.md5(f"{path}securetokenkey{LATER}".encode()).digest()
        assert base64.urlsafe_b64encode(digest).decode().rstrip("=") in make(path_form=form).sign(
            url, now=NOW, expires_at=LATER
        )
