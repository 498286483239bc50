"""Whose address goes with whose bucket: what is given by hand is not completed with the place of another."""

import pytest

from credstore.config.mapping import from_mapping
from credstore.config.url import from_url
from credstore.errors import StorageConfigurationError

AWS = {"AWS_ACCESS_KEY_ID": "AKIDAWS", "AWS_SECRET_ACCESS_KEY": "canary-secret-value"}
R2 = {"R2_ACCESS_KEY_ID": "id", "R2_SECRET_ACCESS_KEY": "canary-secret-value"}
CDN = "https://cdn.example.com"


@pytest.mark.parametrize("name", ["CREDSTORE_CDN_URL", "STORAGE_CDN_URL"])
def test_a_bucket_given_by_hand_hides_the_cdn_of_the_environments_bucket(name):
    environ = {**AWS, name: CDN, "CREDSTORE_BUCKET": "of-the-environment"}
    assert from_url("s3://by-hand", environ).cdn_url is None
    assert from_mapping({"provider": "s3", "bucket": "by-hand"}, environ).cdn_url is None
    # Without a bucket of one's own the environment names the place, and then its address too.
    found = from_mapping({"provider": "s3"}, environ)
    assert (found.bucket, found.cdn_url) == ("of-the-environment", CDN)
    assert from_url(f"s3://by-hand?cdn_url={CDN}/mine", environ).cdn_url == f"{CDN}/mine"


def test_a_path_or_a_name_given_by_hand_hides_the_addresses_of_the_environments():
    environ = {
        "STORAGE_CDN_URL": CDN,
        "CREDSTORE_LINK_URL": "https://links.example.com",
        "STORAGE_PATH": "/env",
    }
    own = "http://127.0.0.1:8765"
    for given in ("file:///by/hand", "memory://by-hand"):
        found = from_url(given, environ)
        assert (found.cdn_url, found.link_url) == (None, own)
    found = from_mapping({"provider": "local"}, environ)
    assert (found.path, found.cdn_url, found.link_url) == ("/env", CDN, "https://links.example.com")


def test_a_bucket_given_by_hand_hides_the_public_address_of_the_environments():
    environ = {**R2, "R2_ACCOUNT_ID": "a" * 32, "CREDSTORE_PUBLIC_URL": "https://pub-0.r2.dev"}
    assert from_url("r2://by-hand", environ).public_url is None
    assert from_mapping({"provider": "r2"}, {**environ, "R2_BUCKET": "theirs"}).public_url is not None


def test_an_account_given_by_hand_hides_the_endpoint_of_another():
    elsewhere = {"CREDSTORE_ENDPOINT": f"https://{'b' * 32}.r2.cloudflarestorage.com"}
    found = from_url(f"r2://by-hand?account_id={'a' * 32}", {**R2, **elsewhere})
    assert (found.account_id, found.endpoint) == ("a" * 32, None)
    found = from_url("r2://by-hand", {**R2, **elsewhere})
    assert found.endpoint == elsewhere["CREDSTORE_ENDPOINT"]
    found = from_url(
        "s3://by-hand?endpoint=https://mine.example.com", {**AWS, "AWS_ENDPOINT_URL": "https://env.example"}
    )
    assert found.endpoint == "https://mine.example.com"


def test_a_jurisdiction_given_by_hand_hides_the_account_of_the_environment():
    with pytest.raises(StorageConfigurationError, match="account_id"):
        from_url("r2://by-hand?jurisdiction=eu", {**R2, "R2_ACCOUNT_ID": "a" * 32})
