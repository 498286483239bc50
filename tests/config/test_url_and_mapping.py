"""Stores as URLs and as mappings in the original design's words."""

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
    assert from_url("local:relative/dir", {}).path == "relative/dir"
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
