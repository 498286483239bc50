"""Endpoints, regions and addressing of each cloud; what a config refuses of itself."""

import pytest

from credstore.config.stores import (
    BackblazeConfig,
    LocalConfig,
    R2Config,
    S3CompatibleConfig,
    S3Config,
    SpacesConfig,
    WasabiConfig,
)
from credstore.encryption import CustomerKey, Secret
from credstore.errors import StorageConfigurationError

KEYS = {"access_key_id": "id", "secret_access_key": Secret("secret")}


@pytest.mark.parametrize(
    ("config", "endpoint", "addressing"),
    [
        (S3Config(bucket="proofs", **KEYS), "https://s3.us-east-1.amazonaws.com", "virtual"),
        (
            S3Config(bucket="proofs", region="cn-north-1", **KEYS),
            "https://s3.cn-north-1.amazonaws.com.cn",
            "virtual",
        ),
        (S3Config(bucket="dotted.name", **KEYS), "https://s3.us-east-1.amazonaws.com", "path"),
        (
            R2Config(bucket="proofs", account_id="a" * 32, jurisdiction="eu", **KEYS),
            f"https://{'a' * 32}.eu.r2.cloudflarestorage.com",
            "path",
        ),
        (
            SpacesConfig(bucket="proofs", region="fra1", **KEYS),
            "https://fra1.digitaloceanspaces.com",
            "virtual",
        ),
        (
            WasabiConfig(bucket="proofs", region="eu-central-1", **KEYS),
            "https://s3.eu-central-1.wasabisys.com",
            "path",
        ),
        (
            BackblazeConfig(bucket="proofs", region="us-west-004", **KEYS),
            "https://s3.us-west-004.backblazeb2.com",
            "path",
        ),
        (
            S3CompatibleConfig(bucket="proofs", endpoint="http://localhost:9000/", **KEYS),
            "http://localhost:9000",
            "path",
        ),
    ],
)
def test_where_a_bucket_is(config, endpoint, addressing):
    assert config.resolved_endpoint == endpoint
    assert config.resolved_addressing == addressing


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"part_size": 1024}, "part_size"),
        ({"max_retries": -1}, "max_retries"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"cdn_url": "http://cdn.example.com"}, "cdn_url"),
        ({"cdn_url": "https://cdn.example.com?x"}, "cdn_url"),
        ({"access_key_id": "id\n"}, "access_key_id"),
        ({"bucket": "ab"}, "bucket"),
        ({"bucket": ""}, "bucket"),
        ({"content_type": "text/plain\r\nx: y"}, "content_type"),
        ({"compress": "brotli"}, "compress"),
        ({"session_token": "plain text"}, "session_token"),
    ],
)
def test_a_config_refuses_itself(settings, words):
    with pytest.raises(StorageConfigurationError, match=words):
        S3Config(**{"bucket": "proofs", **KEYS, **settings})


def test_a_config_is_a_value():
    one = S3Config(bucket="proofs", encryption=CustomerKey(bytes(32)), **KEYS)
    same = S3Config(bucket="proofs", encryption=CustomerKey(bytes(32)), **KEYS)
    other = S3Config(bucket="proofs", access_key_id="id", secret_access_key=Secret("another"))
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert LocalConfig(path="x") != LocalConfig(path="y")


def test_a_local_root_is_text_or_a_path(tmp_path):
    config = LocalConfig(path=tmp_path)
    assert config.path == config.root == str(tmp_path)
    assert config == LocalConfig(path=str(tmp_path))
    for wrong in ("", "a\0b"):
        with pytest.raises(StorageConfigurationError, match="path"):
            LocalConfig(path=wrong)
    with pytest.raises(StorageConfigurationError, match="path"):
        LocalConfig(path=7)


def test_an_address_of_its_own_keeps_a_bucket_in_the_path():
    for endpoint in ("http://127.0.0.1:9000", "https://192.0.2.1", "http://localhost:9000"):
        assert S3Config(bucket="proofs", endpoint=endpoint).resolved_addressing == "path"
    assert S3Config(bucket="proofs").resolved_addressing == "virtual"
    assert S3Config(bucket="proofs.example").resolved_addressing == "path"


def test_only_awss_own_host_in_china_is_below_cn():
    assert S3Config(bucket="proofs", region="cn-north-1").resolved_endpoint == (
        "https://s3.cn-north-1.amazonaws.com.cn"
    )
    own = "https://storage.example.com"
    assert S3Config(bucket="proofs", region="cn-north-1", endpoint=own).resolved_endpoint == own


def test_an_account_may_be_named_beside_its_own_endpoint():
    account = "a" * 32
    endpoint = f"https://{account}.eu.r2.cloudflarestorage.com"
    keys = {"access_key_id": "id", "secret_access_key": Secret("secret")}
    found = R2Config(bucket="proofs", account_id=account, jurisdiction="eu", endpoint=endpoint, **keys)
    assert found.resolved_endpoint == endpoint
    for wrong in ({"account_id": "b" * 32}, {"account_id": account, "jurisdiction": "fedramp"}):
        with pytest.raises(StorageConfigurationError, match="keep one of them"):
            R2Config(bucket="proofs", endpoint=endpoint, **wrong, **keys)


@pytest.mark.parametrize("bucket", ["Proofs", "pro_ofs", "ab", "a..b"])
def test_a_bucket_that_cannot_be_a_host_is_refused_also_where_it_is_in_the_path(bucket):
    keys = {"access_key_id": "id", "secret_access_key": Secret("secret")}
    with pytest.raises(StorageConfigurationError, match="`bucket`"):
        R2Config(bucket=bucket, account_id="a" * 32, **keys)


def test_a_public_address_is_a_cdn_or_the_clouds_own():
    keys = {"access_key_id": "id", "secret_access_key": Secret("secret")}
    cdn = {"cdn_url": "https://cdn.example.com"}
    r2 = {"bucket": "proofs", "account_id": "a" * 32, **keys}
    spaces = {"bucket": "proofs", "region": "ams3", **keys}
    assert not R2Config(**r2).has_public_address
    assert R2Config(**r2, public_url="https://pub-0.r2.dev").has_public_address
    assert R2Config(**r2, **cdn).has_public_address
    assert not SpacesConfig(**spaces).has_public_address
    assert SpacesConfig(**spaces, cdn=True).has_public_address
    assert SpacesConfig(**spaces, **cdn).has_public_address


def test_a_profile_and_a_key_exclude_each_other():
    assert S3Config(bucket="proofs", profile="work").profile == "work"
    with pytest.raises(StorageConfigurationError, match="keep one of them"):
        S3Config(bucket="proofs", profile="work", access_key_id="id", secret_access_key=Secret("secret"))
