"""The Spaces CDN: a presigned link under another host, or a reason why not."""

import pytest

from credstore.errors import StorageConfigurationError, StorageInvalidRequestError, StorageUnsupportedError
from credstore.links.spaces import SpacesCdnSigner
from tests.links.signers import LATER, NOW, presigned


def make(**settings):
    return SpacesCdnSigner(**{"space": "proofs", "region": "ams3", **settings})


@pytest.mark.parametrize(
    ("settings", "host"),
    [({}, "proofs.ams3.cdn.digitaloceanspaces.com"), ({"host": "proofs.example.com"}, "proofs.example.com")],
)
def test_only_the_host_changes(settings, host):
    for path in ("/a/b.json", "/a%20b/%C3%A9%2B", "/double//slash"):
        link = make(**settings).sign(presigned(path=path), now=NOW, expires_at=LATER)
        assert link == presigned(host=host, path=path)


@pytest.mark.parametrize(
    "url",
    [
        presigned(host="ams3.digitaloceanspaces.com", path="/proofs/a"),
        presigned(host="other.ams3.digitaloceanspaces.com"),
        presigned(host="proofs.fra1.digitaloceanspaces.com"),
        presigned(host="proofs.ams3.cdn.digitaloceanspaces.com"),
        presigned().replace("https://", "http://"),
    ],
)
def test_another_origin_is_refused(url):
    with pytest.raises(StorageUnsupportedError, match="virtual-hosted"):
        make().sign(url, now=NOW, expires_at=LATER)


@pytest.mark.parametrize("lost", ["X-Amz-Signature", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders"])
def test_what_is_not_presigned_is_refused(lost):
    with pytest.raises(StorageUnsupportedError, match="Signature Version 4"):
        make().sign(presigned().replace(lost, "X"), now=NOW, expires_at=LATER)


def test_headers_to_be_sent_are_refused():
    with pytest.raises(StorageUnsupportedError, match="headers"):
        make().sign(presigned(headers="content-type%3Bhost"), now=NOW, expires_at=LATER)


def test_seven_days_is_the_longest():
    make().sign(presigned(), now=NOW, expires_at=NOW + 604800)
    with pytest.raises(StorageUnsupportedError, match="604800"):
        make().sign(presigned(), now=NOW, expires_at=NOW + 604801)


def test_an_address_that_is_none_is_refused():
    with pytest.raises(StorageInvalidRequestError):
        make().sign("proofs.ams3.digitaloceanspaces.com/a", now=NOW, expires_at=LATER)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("space", "A"),
        ("space", "a.b/c"),
        ("region", "ams"),
        ("region", None),
        ("host", "https://proofs.example.com"),
        ("host", "localhost"),
        ("host", "proofs.example.com/path"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(field, value):
    with pytest.raises(StorageConfigurationError, match=f"`{field}` of "):
        make(**{field: value})
