"""Public URLs: the CDN's, or each provider's own form."""

import pytest

from credstore.config.stores import (
    BackblazeConfig,
    LocalConfig,
    MemoryConfig,
    R2Config,
    S3CompatibleConfig,
    S3Config,
    SpacesConfig,
    WasabiConfig,
)
from credstore.encryption import Secret
from credstore.links.public import public_url

KEYS = {"access_key_id": "id", "secret_access_key": Secret("secret"), "bucket": "proofs"}
ACCOUNT = "a" * 32


@pytest.mark.parametrize(
    ("config", "url"),
    [
        (S3Config(**KEYS, region="eu-west-1"), "https://proofs.s3.eu-west-1.amazonaws.com/a/b"),
        (S3Config(**KEYS, region="cn-north-1"), "https://proofs.s3.cn-north-1.amazonaws.com.cn/a/b"),
        (S3Config(**{**KEYS, "bucket": "my.proofs"}), "https://s3.us-east-1.amazonaws.com/my.proofs/a/b"),
        (
            R2Config(**KEYS, account_id=ACCOUNT, cdn_url="https://proofs.example.com"),
            "https://proofs.example.com/a/b",
        ),
        (R2Config(**KEYS, account_id=ACCOUNT, public_url="https://pub-1.r2.dev"), "https://pub-1.r2.dev/a/b"),
        (SpacesConfig(**KEYS, region="ams3"), "https://proofs.ams3.digitaloceanspaces.com/a/b"),
        (SpacesConfig(**KEYS, region="ams3", cdn=True), "https://proofs.ams3.cdn.digitaloceanspaces.com/a/b"),
        (WasabiConfig(**KEYS, region="eu-central-1"), "https://s3.eu-central-1.wasabisys.com/proofs/a/b"),
        (
            BackblazeConfig(**KEYS, region="us-west-004", download_url="https://f004.backblazeb2.com"),
            "https://f004.backblazeb2.com/file/proofs/a/b",
        ),
        (BackblazeConfig(**KEYS, region="us-west-004"), "https://s3.us-west-004.backblazeb2.com/proofs/a/b"),
        (S3CompatibleConfig(**KEYS, endpoint="http://127.0.0.1:9000"), "http://127.0.0.1:9000/proofs/a/b"),
        (LocalConfig(path="/srv/my proofs"), "file:///srv/my%20proofs/a/b"),
        (MemoryConfig(name="test"), "memory://test/a/b"),
    ],
)
def test_each_providers_form(config, url):
    assert public_url(config)("a/b") == url


@pytest.mark.parametrize(
    ("base", "start"),
    [
        ("https://cdn.example.com", "https://cdn.example.com/"),
        ("https://cdn.example.com/", "https://cdn.example.com/"),
        ("https://cdn.example.com/proofs", "https://cdn.example.com/proofs/"),
        ("https://cdn.example.com/proofs/", "https://cdn.example.com/proofs/"),
    ],
)
def test_a_base_keeps_its_path_and_one_slash(base, start):
    assert public_url(S3Config(**KEYS, cdn_url=base))("key") == start + "key"


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("with space", "with%20space"),
        ("a+b%c?d#e&f", "a%2Bb%25c%3Fd%23e&f"),
        ("é/日本", "%C3%A9/%E6%97%A5%E6%9C%AC"),
        ("double//slash", "double//slash"),
        ("/leading", "/leading"),
        ("quote\"'~*", "quote%22'~*"),
    ],
)
def test_keys_are_percent_encoded(key, path):
    assert (
        public_url(S3Config(**KEYS, cdn_url="https://cdn.example.com"))(key)
        == f"https://cdn.example.com/{path}"
    )
