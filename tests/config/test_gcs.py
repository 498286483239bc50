"""Google's configuration: names, places, whose credentials; URLs and the variables of Google's own tools."""

import asyncio

import pytest

from credstore.config.environ import from_env
from credstore.config.gcs import GcsConfig
from credstore.config.url import from_url
from credstore.drivers.gcs.driver import GcsDriver, tokens_of
from credstore.encryption import Secret
from credstore.errors import StorageConfigurationError
from credstore.provider.presets import GoogleCloudStorageProvider, provider_for


@pytest.mark.parametrize(
    "name", ["abc", "a" * 63, "a-b_c.d", "1.2.3.example", f"{'a' * 63}.{'b' * 63}.{'c' * 63}"]
)
def test_buckets_that_google_has(name):
    assert GcsConfig(bucket=name).bucket == name


@pytest.mark.parametrize(
    "name",
    ["", "ab", "a" * 64, "Upper", "-a-", "a..b", "goog-x", "my-google", "g00gle-x", "192.168.0.1", "a/b", f"{'a' * 64}.b", "ä-b"],
)  # fmt: skip
def test_buckets_that_google_has_not(name):
    with pytest.raises(StorageConfigurationError, match="bucket"):
        GcsConfig(bucket=name)


@pytest.mark.parametrize(
    "wrong",
    [
        {"endpoint": "http://storage.example"},
        {"endpoint": "https://s3.eu-west-1.amazonaws.com"},
        {"endpoint": "https://one.example", "emulator_host": "http://127.0.0.1:1"},
        {"emulator_host": "http://emulator.example"},
        {"credentials_file": "key.json", "credentials_json": Secret("{}")},
        {"impersonate": "nobody"},
        {"user_project": "No Project"},
        {"part_size": 100_000},
        {"part_size": 256 * 1024 + 1},
        {"capabilities": "versions"},
        {"capabilities": "-version"},
    ],
    ids=str,
)
def test_what_cannot_work_is_refused_when_it_is_made(wrong):
    with pytest.raises(StorageConfigurationError):
        GcsDriver(GcsConfig(bucket="proofs", **wrong))


@pytest.mark.parametrize("scheme", ["gs", "gcs", "google", "google_cloud"])
def test_urls(scheme):
    config = from_url(
        f"{scheme}://proofs/team/a?part_size=1MiB&impersonate=w@acme.iam.gserviceaccount.com", {}
    )
    assert (type(config), config.bucket, config.prefix, config.part_size) == (
        GcsConfig,
        "proofs",
        "team/a/",
        2**20,
    )
    assert isinstance(provider_for(config), GoogleCloudStorageProvider)
    with pytest.raises(StorageConfigurationError, match="URLs end up in logs"):
        from_url(f"{scheme}://proofs?credentials_json=x", {})


def test_the_variables_of_googles_own_tools():
    environ = {
        "CREDSTORE_PROVIDER": "google",
        "GCS_BUCKET": "proofs",
        "GOOGLE_APPLICATION_CREDENTIALS": "/keys/one.json",
        "CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT": "w@acme.iam.gserviceaccount.com",
        "GOOGLE_CLOUD_PROJECT": "acme",
    }
    config = from_env(environ)
    assert (config.bucket, config.credentials_file) == ("proofs", "/keys/one.json")
    assert config.impersonate == "w@acme.iam.gserviceaccount.com"
    assert config.user_project is None
    assert config.resolved_endpoint == "https://storage.googleapis.com"
    assert tokens_of(config) is not None


def test_an_emulator_gets_no_credentials_and_no_trust():
    environ = {"STORAGE_EMULATOR_HOST": "localhost:9023", "GOOGLE_APPLICATION_CREDENTIALS": "/keys/one.json"}
    config = from_url("gs://proofs", environ)
    assert config.resolved_endpoint == "http://localhost:9023"
    assert tokens_of(config) is None
    able = GcsDriver(config).capabilities
    assert not able.presign
    assert (able.conditional_create, able.conditional_replace, able.conditional_delete, able.versions) == (
        False,
    ) * 4
    assert (
        tokens_of(GcsConfig(bucket="proofs", emulator_host="http://127.0.0.1:1", auth_mode="login"))
        is not None
    )


def test_no_secret_is_shown():
    config = GcsConfig(bucket="proofs", credentials_json=Secret("hidden"))
    assert "hidden" not in repr(config)
    with pytest.raises(StorageConfigurationError) as caught:
        GcsConfig(bucket="proofs", credentials_json="hidden")
    assert "hidden" not in str(caught.value)


def test_endpoints_of_google_are_google():
    own = ["https://storage.googleapis.com", "https://storage.me-central2.rep.googleapis.com", None]
    assert not any(GcsConfig(bucket="proofs", endpoint=each).is_elsewhere for each in own)
    others = ["https://storage.googleapis.com.example", "https://proofs.example", "http://127.0.0.1:4443"]
    assert all(GcsConfig(bucket="proofs", endpoint=each).is_elsewhere for each in others)


def test_a_store_that_was_never_used_closes():
    asyncio.run(GcsDriver(GcsConfig(bucket="proofs")).aclose())
