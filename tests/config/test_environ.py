"""Stores from the environment: names, precedence, contradictions, and whose keys go where."""

import pytest

from credstore.config.environ import from_env
from credstore.config.stores import (
    BackblazeConfig,
    LocalConfig,
    R2Config,
    S3CompatibleConfig,
    S3Config,
    SpacesConfig,
    WasabiConfig,
)
from credstore.config.url import from_url
from credstore.encryption import Secret
from credstore.errors import StorageConfigurationError

ACCOUNT = "0123456789abcdef" * 2
CANARY = "canary-secret-value"
LOCAL = {"CREDSTORE_PROVIDER": "local", "CREDSTORE_PATH": "/srv"}
AWS = {"AWS_ACCESS_KEY_ID": "AKIDAWS", "AWS_SECRET_ACCESS_KEY": CANARY}


def refused(environ, *words, provider=None):
    """The message of the refusal, which has these words and no secret."""
    with pytest.raises(StorageConfigurationError) as caught:
        from_env(environ, provider)
    for word in words:
        assert word in str(caught.value)
    assert CANARY not in str(caught.value)
    return str(caught.value)


def test_the_originals_names_make_each_cloud():
    s3 = from_env({"STORAGE_PROVIDER": "aws", "AWS_BUCKET_NAME": "proofs", "AWS_REGION": "eu-west-1", **AWS})
    assert isinstance(s3, S3Config)
    assert (s3.bucket, s3.region, s3.access_key_id) == ("proofs", "eu-west-1", "AKIDAWS")
    r2 = from_env(
        {
            "STORAGE_PROVIDER": "cloudflare_r2",
            "R2_ACCOUNT_ID": ACCOUNT,
            "R2_ACCESS_KEY_ID": "id",
            "R2_SECRET_ACCESS_KEY": CANARY,
            "R2_BUCKET": "proofs",
            "R2_CDN_URL": "https://cdn.example.com",
        }
    )
    assert isinstance(r2, R2Config)
    assert r2.resolved_endpoint == f"https://{ACCOUNT}.r2.cloudflarestorage.com"
    assert r2.cdn_url == "https://cdn.example.com"
    spaces = from_env(
        {
            "STORAGE_PROVIDER": "do",
            "DO_SPACES_NAME": "proofs",
            "DO_SPACES_KEY": "id",
            "DO_SPACES_SECRET": CANARY,
            "DO_SPACES_REGION": "ams3",
        }
    )
    assert isinstance(spaces, SpacesConfig)
    assert spaces.resolved_endpoint == "https://ams3.digitaloceanspaces.com"
    wasabi = from_env(
        {
            "STORAGE_PROVIDER": "wasabi",
            "WASABI_BUCKET": "proofs",
            "WASABI_ACCESS_KEY_ID": "id",
            "WASABI_SECRET_ACCESS_KEY": CANARY,
            "WASABI_REGION": "eu-central-1",
        }
    )
    assert isinstance(wasabi, WasabiConfig)
    b2 = from_env(
        {
            "STORAGE_PROVIDER": "backblaze",
            "B2_BUCKET": "proofs",
            "B2_APPLICATION_KEY_ID": "id",
            "B2_APPLICATION_KEY": CANARY,
            "B2_REGION": "eu-central-003",
        }
    )
    assert isinstance(b2, BackblazeConfig)
    assert b2.secret_access_key == Secret(CANARY)
    minio = from_env(
        {
            "STORAGE_PROVIDER": "minio",
            "MINIO_ENDPOINT": "http://127.0.0.1:9000",
            "MINIO_BUCKET": "proofs",
            "MINIO_ROOT_USER": "id",
            "MINIO_ROOT_PASSWORD": CANARY,
        }
    )
    assert isinstance(minio, S3CompatibleConfig)
    assert minio.flavor == "minio"
    local = from_env({"STORAGE_PROVIDER": "local", "STORAGE_PATH": "/srv/proofs"})
    assert isinstance(local, LocalConfig)
    assert local.path == "/srv/proofs"


def test_one_url_says_it_all():
    config = from_env({"CREDSTORE_URL": "s3://proofs?region=eu-west-1&timeout=10s", **AWS})
    assert isinstance(config, S3Config)
    assert (config.bucket, config.region, config.timeout) == ("proofs", "eu-west-1", 10.0)


def test_ours_wins_over_the_originals_and_over_the_clouds():
    environ = {
        "STORAGE_PROVIDER": "s3",
        "CREDSTORE_BUCKET": "ours",
        "STORAGE_BUCKET": "original",
        "AWS_BUCKET_NAME": "original",
        "STORAGE_REGION": "eu-west-1",
        "AWS_REGION": "us-west-2",
        "AWS_DEFAULT_REGION": "us-east-2",
        **AWS,
    }
    config = from_env(environ)
    assert (config.bucket, config.region) == ("ours", "eu-west-1")
    del environ["STORAGE_REGION"]
    assert from_env(environ).region == "us-west-2"


def test_the_originals_timeout_is_in_milliseconds_and_ours_in_seconds():
    base = {"STORAGE_PROVIDER": "local", "STORAGE_PATH": "/srv"}
    assert from_env({**base, "STORAGE_TIMEOUT": "2500"}).timeout == 2.5
    assert from_env({**base, "STORAGE_TIMEOUT": "2500.5"}).timeout == 2.5005
    assert from_env({**base, "STORAGE_TIMEOUT": " 2500 "}).timeout == 2.5
    assert from_env({**base, "STORAGE_TIMEOUT": "3s"}).timeout == 3
    assert from_env({**base, "CREDSTORE_TIMEOUT": "2500"}).timeout == 2500
    assert from_env({**base, "CREDSTORE_TIMEOUT": "2m"}).timeout == 120


def test_empty_variables_count_as_unset():
    config = from_env({"STORAGE_PROVIDER": "local", "STORAGE_PATH": "/srv", "STORAGE_CDN_URL": ""})
    assert config.cdn_url is None


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, ["CREDSTORE_PROVIDER", "CREDSTORE_URL", "STORAGE_PATH"]),
        ({"STORAGE_PROVIDER": "gopher"}, ["STORAGE_PROVIDER", "choose one of"]),
        ({"STORAGE_PROVIDER": "walsabi"}, ["did you mean 'wasabi'"]),
        ({"STORAGE_PROVIDER": "s3", **AWS}, ["CREDSTORE_BUCKET, STORAGE_BUCKET or AWS_BUCKET_NAME"]),
        ({"STORAGE_PROVIDER": "r2", "R2_BUCKET": "proofs"}, ["R2_ACCOUNT_ID"]),
        (
            {"STORAGE_PROVIDER": "r2", "R2_BUCKET": "proofs", "R2_ACCOUNT_ID": ACCOUNT},
            ["R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY"],
        ),
        (
            {
                "STORAGE_PROVIDER": "do",
                "DO_SPACES_NAME": "proofs",
                "DO_SPACES_KEY": "a",
                "DO_SPACES_SECRET": "b",
            },
            ["DO_SPACES_REGION"],
        ),
        (
            {"STORAGE_PROVIDER": "wasabi", "WASABI_BUCKET": "proofs", "WASABI_ACCESS_KEY_ID": "a"},
            ["WASABI_ACCESS_KEY_ID is set without WASABI_SECRET_ACCESS_KEY"],
        ),
        (
            {"STORAGE_PROVIDER": "do", "DO_SPACES_NAME": "one", "DO_SPACES_BUCKET": "two"},
            ["DO_SPACES_NAME and DO_SPACES_BUCKET have different values"],
        ),
        ({"STORAGE_PROVIDER": "local"}, ["STORAGE_PATH"]),
        (
            {"STORAGE_PROVIDER": "local", "STORAGE_PATH": "/x", "CREDSTORE_TIMEOUT": "soon"},
            ["CREDSTORE_TIMEOUT"],
        ),
        (
            {"STORAGE_PROVIDER": "local", "STORAGE_PATH": "/x", "CREDSTORE_COMPRES": "gzip"},
            ["CREDSTORE_COMPRESS"],
        ),
        ({"STORAGE_PROVIDER": "s3", "STORAGE_BUCKET": "Bad_Bucket!", **AWS}, ["bucket", "must be"]),
        (
            {"CREDSTORE_URL": f"s3://id:{CANARY}@bucket"},
            ["must not have a user or password", "AWS_ACCESS_KEY_ID"],
        ),
        ({"CREDSTORE_URL": "s3://b1x", "CREDSTORE_PROVIDER": "r2"}, ["two different providers"]),
        (
            {"STORAGE_PROVIDER": "minio", "MINIO_BUCKET": "proofs", "MINIO_ENDPOINT": "http://minio:9000"},
            ["MINIO_ENDPOINT", "CREDSTORE_ALLOW_HTTP"],
        ),
        (
            {"STORAGE_PATH": "/x", "CREDSTORE_ENCRYPTION": "aes"},
            ["CREDSTORE_ENCRYPTION", "AES256, true, false, kms or kms:<key id>"],
        ),
    ],
)
def test_what_is_missing_or_wrong_names_the_variable(environ, words):
    refused(environ, *words)


def test_a_store_without_the_switch_is_not_told_of_it():
    message = refused({"STORAGE_PATH": "/x", "STORAGE_CDN_URL": "http://cdn.example.com"}, "STORAGE_CDN_URL")
    assert "allow_http" not in message


def test_a_key_of_one_cloud_is_never_used_for_another():
    spaces = {"STORAGE_PROVIDER": "spaces", "DO_SPACES_NAME": "proofs", "DO_SPACES_REGION": "ams3"}
    refused({**spaces, **AWS}, "DO_SPACES_KEY")
    refused({**spaces, "WASABI_ACCESS_KEY_ID": "w", "WASABI_SECRET_ACCESS_KEY": CANARY}, "DO_SPACES_KEY")
    # Generic names belong to the provider that the environment names, not to one asked for besides.
    generic = {
        "CREDSTORE_PROVIDER": "spaces",
        "CREDSTORE_ACCESS_KEY_ID": "id",
        "CREDSTORE_SECRET_ACCESS_KEY": CANARY,
        "WASABI_BUCKET": "proofs",
    }
    refused(generic, "WASABI_ACCESS_KEY_ID", provider="wasabi")


def test_keys_are_never_mixed_from_two_sources():
    config = from_env(
        {
            "CREDSTORE_PROVIDER": "s3",
            "CREDSTORE_BUCKET": "proofs",
            "CREDSTORE_ACCESS_KEY_ID": "ours",
            "CREDSTORE_SECRET_ACCESS_KEY": "ours-secret",
            "AWS_SESSION_TOKEN": "of-another-key",
            **AWS,
        }
    )
    assert config.access_key_id == "ours"
    assert config.session_token is None


def test_an_endpoint_of_another_cloud_is_refused():
    refused(
        {
            "STORAGE_PROVIDER": "s3",
            "STORAGE_BUCKET": "proofs",
            "STORAGE_ENDPOINT": f"https://{ACCOUNT}.r2.cloudflarestorage.com",
            **AWS,
        },
        "belongs to r2",
    )


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://storage.example.com",
        "https://user:password@storage.example.com",
        "https://storage.example.com?x=1",
        "http://169.254.169.254",
        "http://[fe80::1]",
        "http://2852039166",
        "ftp://storage.example.com",
        "https://storage.example.com/bucket",
    ],
)
def test_an_endpoint_that_leads_somewhere_surprising_is_refused(endpoint):
    environ = {
        "STORAGE_PROVIDER": "custom",
        "STORAGE_BUCKET": "proofs",
        "STORAGE_ENDPOINT": endpoint,
        "CREDSTORE_ACCESS_KEY_ID": "id",
        "CREDSTORE_SECRET_ACCESS_KEY": CANARY,
    }
    refused(environ, "CREDSTORE_ENDPOINT")


def test_no_secret_shows():
    config = from_env({"STORAGE_PROVIDER": "s3", "STORAGE_BUCKET": "proofs", **AWS})
    assert CANARY not in repr(config)
    assert CANARY not in f"{config}"


@pytest.mark.parametrize("digits", ["9" * 20, "9" * 5000, "-1", "1.0", "٣"])
def test_a_count_of_too_many_digits_is_refused_as_any_other_text(digits):
    assert from_env({**LOCAL, "CREDSTORE_MAX_RETRIES": "0" * 18 + "7"}).max_retries == 7
    refused({**LOCAL, "CREDSTORE_MAX_RETRIES": digits}, "CREDSTORE_MAX_RETRIES", "whole number")


def test_keys_beside_a_url_are_of_the_store_it_names():
    environ = {
        "CREDSTORE_URL": "minio://127.0.0.1:9000/proofs?http=true",
        "CREDSTORE_ACCESS_KEY_ID": "of-minio",
        "CREDSTORE_SECRET_ACCESS_KEY": CANARY,
    }
    assert from_env(environ).access_key_id == "of-minio"
    assert from_url("s3://proofs", environ).access_key_id is None


def test_a_provider_given_by_name_decides_whatever_the_url_says():
    found = from_env({"CREDSTORE_URL": "memory://scratch/team", "AWS_BUCKET_NAME": "proofs"}, "s3")
    assert isinstance(found, S3Config)
    assert (found.bucket, found.prefix) == ("proofs", "")


def test_a_flavor_that_contradicts_the_given_name_is_refused_though_the_environment_names_no_store():
    environ = {"MINIO_ENDPOINT": "http://127.0.0.1:9000", "CREDSTORE_FLAVOR": "ceph"}
    refused(environ, "say different things", "CREDSTORE_FLAVOR", provider="minio")


def test_a_server_without_a_flavor_reads_no_variable_of_one_that_has():
    environ = {"CREDSTORE_PROVIDER": "custom", "CREDSTORE_ENDPOINT": "http://127.0.0.1:9000"}
    environ |= {"CREDSTORE_BUCKET": "proofs", "MINIO_ACCESS_KEY": "id", "MINIO_SECRET_KEY": CANARY}
    refused(environ, "access_key_id", "is missing")
    assert from_env({**environ, "CREDSTORE_FLAVOR": "minio"}).access_key_id == "id"


def test_a_part_of_a_key_is_refused_and_a_profile_alone_is_none():
    bucket = {"CREDSTORE_PROVIDER": "s3", "CREDSTORE_BUCKET": "proofs"}
    assert from_env({**bucket, "AWS_PROFILE": "work"}).profile == "work"
    refused({**bucket, "AWS_SESSION_TOKEN": CANARY}, "AWS_SESSION_TOKEN is set without")
    refused({**bucket, "AWS_ACCESS_KEY_ID": "id"}, "AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY")
    refused({**bucket, "AWS_SECRET_ACCESS_KEY": CANARY}, "AWS_SECRET_ACCESS_KEY is set without")
