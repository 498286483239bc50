"""A prefix in a URL, a mapping and the environment: normalised once, and refused before anything is sent."""

import pytest

from credstore.config.environ import from_env
from credstore.config.mapping import from_mapping
from credstore.config.stores import LocalConfig, MemoryConfig, R2Config, S3Config
from credstore.config.url import from_url
from credstore.encryption import Secret
from credstore.errors import StorageConfigurationError

KEYS = {"access_key_id": "id", "secret_access_key": Secret("secret")}
ENVIRON = {
    "CREDSTORE_ACCOUNT_ID": "a" * 32,
    "CREDSTORE_ACCESS_KEY_ID": "id",
    "CREDSTORE_SECRET_ACCESS_KEY": "canary-secret",
    "CREDSTORE_REGION": "eu-west-1",
}


@pytest.mark.parametrize(
    "scheme", ["s3", "aws", "r2", "spaces", "wasabi", "b2", "minio://host:9000", "ceph://h"]
)
@pytest.mark.parametrize(
    ("path", "prefix"),
    [
        ("", ""),
        ("/", ""),
        ("/team", "team/"),
        ("/team/", "team/"),
        ("/team/a", "team/a/"),
        ("/team%2Fa", "team/a/"),
        ("/%C3%A4%20b/c", "ä b/c/"),
        ("?prefix=team/a", "team/a/"),
        ("/?prefix=team%2Fa%2F", "team/a/"),
    ],
)
def test_every_cloud_takes_a_prefix_after_the_bucket(scheme, path, prefix):
    start = scheme if "://" in scheme else f"{scheme}:/"
    config = from_url(f"{start}/proofs{path}", ENVIRON)
    assert (config.bucket, config.prefix) == ("proofs", prefix)


def test_stores_without_a_bucket_have_a_prefix_too():
    memory = from_url("memory://name/team/a", {})
    assert (memory.name, memory.prefix) == ("name", "team/a/")
    assert from_url("memory:name", {}).prefix == ""
    local = from_url("file:///srv/proofs?prefix=team/a", {})
    assert (local.path, local.prefix) == ("/srv/proofs", "team/a/")
    assert from_url("file:///srv/proofs/team", {}).prefix == ""
    assert from_mapping({"provider": "local", "path": "/srv", "prefix": "team"}, {}).prefix == "team/"
    assert from_env({"STORAGE_PATH": "/srv", "CREDSTORE_PREFIX": "team"}).prefix == "team/"


def test_equal_prefixes_are_equal_configs():
    assert S3Config(bucket="proofs", prefix="a") == S3Config(bucket="proofs", prefix="a/")
    assert S3Config(bucket="proofs", prefix="a") != S3Config(bucket="proofs", prefix="b")
    assert hash(MemoryConfig(prefix="a")) == hash(MemoryConfig(prefix="a/"))


BAD = [
    ("/team", "starts with a slash"),
    ("//", "starts with a slash"),
    ("/", "starts with a slash"),
    ("team//a", "two slashes"),
    ("team/a//", "two slashes"),
    (".", "'.' or '..'"),
    ("team/../a", "'.' or '..'"),
    ("team/..", "'.' or '..'"),
    ("a/./b/", "'.' or '..'"),
    (".credstore", ".credstore"),
    (".credstore/keys", ".credstore"),
    ("team/.credstore/", ".credstore"),
    (" team", "spaces around"),
    ("team ", "spaces around"),
    ("te\nam", "control characters"),
    ("te\0am", "control characters"),
    ("te\x85am", "control characters"),
    ("te\ud800am", "control characters"),
    ("p" * 512, "512 bytes"),
    ("ä" * 256, "512 bytes"),
]


@pytest.mark.parametrize(("prefix", "words"), BAD)
def test_a_bad_prefix_is_one_clear_error(prefix, words):
    for make in (
        lambda: S3Config(bucket="proofs", prefix=prefix, **KEYS),
        lambda: LocalConfig(path="/srv", prefix=prefix),
        lambda: MemoryConfig(prefix=prefix),
        lambda: from_mapping({"provider": "memory", "prefix": prefix}, {}),
    ):
        with pytest.raises(StorageConfigurationError) as caught:
            make()
        assert words in str(caught.value)
        assert "CREDSTORE_PREFIX" in str(caught.value)


@pytest.mark.parametrize("prefix", ["p" * 511, "ä" * 255, ".credstore-not", "...", "a.b/..c", "a b", "~"])
def test_odd_prefixes_that_are_sound(prefix):
    assert MemoryConfig(prefix=prefix).prefix == f"{prefix}/"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://proofs//team", "starts with a slash"),
        ("s3://proofs/team//a", "two slashes"),
        ("s3://proofs/%2Fteam", "starts with a slash"),
        ("s3://proofs/team/%2E%2E/other", "'.' or '..'"),
        ("s3://proofs/team/../other", "'.' or '..'"),
        ("s3://proofs/te%0Aam", "control characters"),
        ("s3://proofs/.credstore/keys", ".credstore"),
        ("s3://proofs/team?prefix=team", "`prefix` twice"),
        ("s3:///team", "must look like s3://bucket"),
        ("s3:team", "must look like s3://bucket"),
        ("minio://host:9000//team", "must look like minio://host/bucket"),
        ("s3://proofs/te%zzam", "percent-encoded"),
        ("s3://proofs/te%ffam", "UTF-8"),
        ("s3://proofs?prefix=", "empty `prefix`"),
        ("memory://name//x", "starts with a slash"),
        ("file:///srv?prefix=/x", "starts with a slash"),
    ],
)
def test_a_url_with_a_bad_prefix_is_one_clear_error(url, words):
    with pytest.raises(StorageConfigurationError) as caught:
        from_url(url, ENVIRON)
    assert words in str(caught.value)


def test_a_prefix_that_the_cloud_would_rewrite_is_refused():
    with pytest.raises(StorageConfigurationError, match="normal form C"):
        R2Config(bucket="proofs", account_id="a" * 32, prefix="a\u0308", **KEYS)
    assert S3Config(bucket="proofs", prefix="a\u0308", **KEYS).prefix == "a\u0308/"


def test_a_text_is_expected():
    with pytest.raises(StorageConfigurationError, match="`prefix` of memory must be text"):
        MemoryConfig(prefix=7)
    with pytest.raises(StorageConfigurationError, match="`prefix` of memory must be text"):
        MemoryConfig(prefix=None)


def test_the_environments_prefix_is_of_the_environments_place():
    environ = {
        **ENVIRON,
        "CREDSTORE_PROVIDER": "s3",
        "CREDSTORE_BUCKET": "proofs",
        "CREDSTORE_PREFIX": "team",
    }
    assert from_env(environ).prefix == "team/"
    # Whoever names another bucket does not mean the prefix in this one.
    assert from_url("s3://others", environ).prefix == ""
    assert from_mapping({"provider": "s3", "bucket": "others"}, environ).prefix == ""
    assert from_mapping({"provider": "s3"}, environ).prefix == "team/"
    assert from_mapping({"provider": "s3", "prefix": "mine"}, environ).prefix == "mine/"
    # Nor whoever names another cloud.
    assert from_env({**environ, "WASABI_ACCESS_KEY_ID": "id",
                     "WASABI_SECRET_ACCESS_KEY": "canary-secret", "WASABI_BUCKET": "other-one"},
                    provider="wasabi").prefix == ""  # fmt: skip


def test_one_url_and_a_prefix_beside_it_are_of_one_store():
    environ = {**ENVIRON, "CREDSTORE_URL": "s3://proofs", "CREDSTORE_PREFIX": "team"}
    assert from_env(environ).prefix == "team/"
    assert from_env({**ENVIRON, "CREDSTORE_URL": "s3://proofs/team"}).prefix == "team/"
    for same in ("team", "team/"):
        given = {**ENVIRON, "CREDSTORE_URL": "s3://proofs/team", "CREDSTORE_PREFIX": same}
        assert from_env(given).prefix == "team/"
    with pytest.raises(StorageConfigurationError, match="CREDSTORE_URL and CREDSTORE_PREFIX say different"):
        from_env({**ENVIRON, "CREDSTORE_URL": "s3://proofs/team", "CREDSTORE_PREFIX": "other"})
    # Its public address stands beside it in the same way.
    cdn = {**ENVIRON, "CREDSTORE_URL": "s3://proofs", "CREDSTORE_CDN_URL": "https://cdn.example.com"}
    assert from_env(cdn).cdn_url == "https://cdn.example.com"
