"""Stores as URLs and as mappings in the original design's words."""

from pathlib import Path

import pytest

from credstore.config.mapping import from_mapping
from credstore.config.stores import (
    LocalConfig,
    MemoryConfig,
    R2Config,
    S3CompatibleConfig,
    S3Config,
    SpacesConfig,
)
from credstore.config.url import from_url
from credstore.encryption import Secret
from credstore.errors import StorageConfigurationError

CANARY = "canary-secret-value"
AWS = {"AWS_ACCESS_KEY_ID": "AKIDAWS", "AWS_SECRET_ACCESS_KEY": CANARY}
SPACES = {"DO_SPACES_KEY": "id", "DO_SPACES_SECRET": CANARY}
MINIO = {"MINIO_ACCESS_KEY": "id", "MINIO_SECRET_KEY": CANARY}
R2 = {"R2_ACCESS_KEY_ID": "id", "R2_SECRET_ACCESS_KEY": CANARY}


def test_each_form_of_url():
    s3 = from_url("s3://proofs?region=eu-west-1&part_size=16MiB", AWS)
    assert isinstance(s3, S3Config)
    assert (s3.bucket, s3.region, s3.part_size) == ("proofs", "eu-west-1", 16 * 2**20)
    r2 = from_url(f"r2://proofs?account_id={'a' * 32}", R2)
    assert isinstance(r2, R2Config)
    spaces = from_url("spaces://proofs?region=ams3&cdn=true", SPACES)
    assert isinstance(spaces, SpacesConfig)
    assert spaces.cdn
    minio = from_url("minio://127.0.0.1:9000/proofs?http=true", MINIO)
    assert isinstance(minio, S3CompatibleConfig)
    assert (minio.endpoint, minio.bucket, minio.flavor) == ("http://127.0.0.1:9000", "proofs", "minio")
    local = from_url("file:///srv/a%20b", {})
    assert isinstance(local, LocalConfig)
    assert local.path == "/srv/a b"
    assert from_url("local:relative/dir", {}).path == str(Path.cwd() / "relative/dir")
    assert isinstance(from_url("memory://test", {}), MemoryConfig)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("proofs", ["s3://bucket"]),
        ("s3://proofs?regoin=eu", ["region"]),
        ("s3://proofs?timeout=soon", ["timeout"]),
        ("s3://proofs?region", ["name=value"]),
        ("s3://proofs?region=a&region=b", ["region"]),
        ("s3://proofs#part", ["fragment"]),
        ("gopher://proofs", ["choose one of"]),
        ("file:///srv/50%", ["write % as %25"]),
        ("file:///srv/%zz", ["write % as %25"]),
        ("file:///srv/%ff", ["UTF-8"]),
        ("memory://%ff", ["UTF-8"]),
        (f"s3://proofs?secret_access_key={CANARY}", ["AWS_SECRET_ACCESS_KEY"]),
        (f"s3://proofs?access_key_id={CANARY}", ["AWS_ACCESS_KEY_ID"]),
    ],
)
def test_a_wrong_url_says_what_is_wrong(url, words):
    with pytest.raises(StorageConfigurationError) as caught:
        from_url(url, AWS)
    for word in words:
        assert word in str(caught.value)
    assert CANARY not in str(caught.value)


def test_the_originals_words():
    config = from_mapping(
        {
            "provider_type": "aws",
            "bucket_name": "proofs",
            "region": "eu-west-1",
            "access_key_id": "id",
            "secret_access_key": CANARY,
            "cdn_url": "https://cdn.example.com",
            "max_retries": 5,
            "timeout": 10,
        },
        {},
    )
    assert isinstance(config, S3Config)
    assert (config.bucket, config.max_retries, config.timeout) == ("proofs", 5, 10)
    assert config.secret_access_key == Secret(CANARY)
    assert from_mapping({"provider": "local", "local_path": "/srv"}, {}).path == "/srv"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, ["provider"]),
        ({"provider": "s3", "bukcet": "x"}, ["bucket"]),
        ({"provider": "s3", "bucket": "a-1", "bucket_name": "b-1"}, ["two spellings"]),
        ({"provider": "local", "path": "/x", "account_id": "y"}, ["account_id"]),
        ({"provider": "local", "path": "/x", "timeout": "soon"}, ["timeout"]),
        ({"provider": "local", "path": 7}, ["path"]),
        ({"provider": "local", "path": "/x", 7: "x"}, ["not text"]),
        ({"provider": "local", "path": "/x", "timeout": -1}, ["timeout"]),
        ({"provider": "s3", "bucket": "proofs", "access_key_id": "id"}, ["secret_access_key"]),
    ],
)
def test_a_wrong_mapping_says_what_is_wrong(settings, words):
    with pytest.raises(StorageConfigurationError) as caught:
        from_mapping(settings, {})
    for word in words:
        assert word in str(caught.value)


def test_a_url_takes_no_key_of_another_cloud():
    with pytest.raises(StorageConfigurationError, match="DO_SPACES_KEY"):
        from_url("spaces://proofs?region=ams3", AWS)


@pytest.mark.parametrize("named", [None, "", 5, b"s3", ["s3"]])
def test_a_mapping_names_its_provider_in_a_word(named):
    with pytest.raises(StorageConfigurationError, match="name no `provider`"):
        from_mapping({"provider": named, "bucket": "proofs"}, {})


def test_a_setting_of_none_is_left_open():
    found = from_mapping({"provider": "s3", "bucket": "proofs", "region": None, "bucket_name": None}, AWS)
    assert (found.bucket, found.resolved_region) == ("proofs", "us-east-1")


def test_a_proxy_is_the_same_in_words_of_every_kind():
    settings = {"provider": "s3", "bucket": "proofs"}
    plain = from_mapping({**settings, "proxy": "http://proxy.example:3128"}, AWS)
    assert plain.proxy == "http://proxy.example:3128"
    hidden = from_mapping({**settings, "proxy": "http://user:canary@proxy.example:3128"}, AWS)
    assert isinstance(hidden.proxy, Secret)
    assert from_mapping({**settings, "proxy": hidden.proxy}, AWS) == hidden


@pytest.mark.parametrize(
    "url", ["memory", "memory://a b", "memory://a\u200bb", "memory://a\x00b", "memory:// "]
)
def test_a_url_has_nothing_that_cannot_be_seen(url):
    with pytest.raises(StorageConfigurationError, match="must be a URL such as"):
        from_url(url, {})


def test_only_a_proxys_password_is_refused_where_an_at_sign_stands():
    assert from_url("memory://a?cache_control=b@c", {}).cache_control == "b@c"
    with pytest.raises(StorageConfigurationError, match="CREDSTORE_PROXY"):
        from_url("s3://proofs?proxy=http://user:canary@proxy.example:3128", AWS)


@pytest.mark.parametrize("url", ["file:///srv/data", "file://localhost/srv/data"])
def test_a_file_url_names_this_machine_or_none(url):
    assert from_url(url, {}).path == "/srv/data"
    with pytest.raises(StorageConfigurationError, match="must look like"):
        from_url("file://elsewhere/srv/data", {})


def test_a_port_in_place_of_a_bucket_is_refused_as_a_form():
    with pytest.raises(StorageConfigurationError, match="must look like s3://"):
        from_url("s3://proofs:9000/team", AWS)
