"""`AzureConfig`: names, endpoints, connection strings, URLs and variables of Azure's own tools."""

import pytest

from credstore.config.azure import AzureConfig, respelled, sas_ends
from credstore.config.environ import from_env
from credstore.config.mapping import from_mapping
from credstore.config.stores import S3Config
from credstore.config.url import from_url
from credstore.drivers.azure.capabilities import capabilities_of
from credstore.encryption import Secret
from credstore.errors import StorageConfigurationError

KEY = "Y2FuYXJ5LWtleS1vZi1hbi1hY2NvdW50"
SAS = "sv=2023-11-03&sp=r&se=2026-12-31T12%3A00%3A00Z&sig=canary"
BY_KEY = {"account": "acme", "bucket": "proofs", "account_key": Secret(KEY)}


@pytest.mark.parametrize(
    ("settings", "endpoint", "account"),
    [
        ({"account": "acme"}, "https://acme.blob.core.windows.net", "acme"),
        ({"endpoint": "https://acme.blob.core.windows.net/"}, "https://acme.blob.core.windows.net", "acme"),
        (
            {"endpoint": "https://acme.z12.blob.storage.azure.net"},
            "https://acme.z12.blob.storage.azure.net",
            "acme",
        ),
        (
            {"endpoint": "https://acme.blob.core.chinacloudapi.cn"},
            "https://acme.blob.core.chinacloudapi.cn",
            "acme",
        ),
        ({"account": "acme", "endpoint": "https://files.example.com"}, "https://files.example.com", "acme"),
        ({"account": "acme", "endpoint": "http://127.0.0.1:10000"}, "http://127.0.0.1:10000/acme", "acme"),
        ({"endpoint": "http://localhost:10000/acme"}, "http://localhost:10000/acme", "acme"),
    ],
)
def test_where_an_account_is(settings, endpoint, account):
    config = AzureConfig(bucket="proofs", account_key=Secret(KEY), **settings)
    assert (config.resolved_endpoint, config.account) == (endpoint, account)
    assert config.public_base == f"{endpoint}/proofs"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"bucket": ""}, "`bucket`"),
        ({"bucket": "ab"}, "`bucket`"),
        ({"bucket": "a" * 64}, "`bucket`"),
        ({"bucket": "Proofs"}, "`bucket`"),
        ({"bucket": "pro--ofs"}, "`bucket`"),
        ({"bucket": "-proofs"}, "`bucket`"),
        ({"bucket": "pro_ofs"}, "`bucket`"),
        ({"account": None}, "`account`"),
        ({"account": "ab"}, "`account`"),
        ({"account": "Acme"}, "`account`"),
        ({"account": "a" * 25}, "`account`"),
        ({"endpoint": "https://other.blob.core.windows.net"}, "does not belong to `account`"),
        ({"endpoint": "http://127.0.0.1:10000/other"}, "does not belong to `account`"),
        ({"endpoint": "https://acme.blob.core.windows.net/proofs"}, "without the container"),
        (
            {"account": None, "endpoint": "https://acme.blob.core.windows.net/proofs/"},
            "without the container",
        ),
        (
            {"account": "acme", "endpoint": "https://acme.privatelink.blob.core.windows.net/acme"},
            "without the",
        ),
        ({"endpoint": "http://127.0.0.1:10000/acme/proofs"}, "without the container"),
        ({"endpoint": "http://files.example.com"}, "https"),
        ({"endpoint": "https://acme.blob.core.windows.net/acme/proofs"}, "without the container"),
        ({"endpoint": "https://s3.eu-west-1.amazonaws.com"}, "belongs to s3"),
        ({"account_key": Secret("no base64")}, "`account_key`"),
        ({"account_key": Secret(f"?{SAS}")}, "`sas_token`"),
        ({"sas_token": Secret(SAS)}, "keep one"),
        ({"account_key": None, "sas_token": Secret("a=b")}, "`sas_token`"),
        ({"account_key": None, "sas_token": Secret(SAS + " ")}, ""),
        ({"account_key": None, "auth_mode": "key"}, "`account_key`"),
        ({"part_size": 0}, "part_size"),
        ({"part_size": 4001 * 1024 * 1024}, "part_size"),
        ({"rehydrate": "soon"}, "rehydrate"),
    ],
)
def test_a_config_refuses_itself(settings, words):
    if words:
        with pytest.raises(StorageConfigurationError, match=words):
            AzureConfig(**{**BY_KEY, **settings})
    else:
        AzureConfig(**{**BY_KEY, **settings})


def test_another_cloud_refuses_azures_endpoint():
    with pytest.raises(StorageConfigurationError, match="belongs to azure"):
        S3Config(bucket="proofs", endpoint="https://acme.blob.core.windows.net")


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (
            f"DefaultEndpointsProtocol=https;AccountName=acme;AccountKey={KEY};EndpointSuffix=core.windows.net",
            BY_KEY,
        ),
        (f"AccountName=acme;AccountKey={KEY};", BY_KEY),
        (
            f"BlobEndpoint=https://acme.blob.core.windows.net/;SharedAccessSignature={SAS}",
            {
                "bucket": "proofs",
                "sas_token": Secret(SAS),
                "endpoint": "https://acme.blob.core.windows.net",
                "account": "acme",
            },
        ),
        (
            f"AccountName=acme;AccountKey={KEY};EndpointSuffix=core.chinacloudapi.cn",
            {**BY_KEY, "endpoint": "https://acme.blob.core.chinacloudapi.cn"},
        ),
    ],
)
def test_a_connection_string_is_the_settings_it_stands_for(text, same):
    assert AzureConfig(bucket="proofs", connection_string=Secret(text)) == AzureConfig(**same)


def test_the_emulators_connection_string():
    config = AzureConfig(bucket="proofs", connection_string=Secret("UseDevelopmentStorage=true"))
    assert (config.account, config.resolved_endpoint) == (
        "devstoreaccount1",
        "http://127.0.0.1:10000/devstoreaccount1",
    )
    assert config.auth == "key"


@pytest.mark.parametrize(
    "text", ["acme", "AccountName=a1b;AccountName=c2d", "AccountKey=x", "AccountName=other;AccountKey=x"]
)
def test_a_connection_string_that_is_none_or_contradicts(text):
    with pytest.raises(StorageConfigurationError, match="connection_string"):
        AzureConfig(account="acme", bucket="proofs", connection_string=Secret(text))


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("abfss://proofs@acme.dfs.core.windows.net/team/a", "az://acme/proofs/team/a"),
        ("abfss://proofs@acme.dfs.core.windows.net", "az://acme/proofs"),
        ("wasbs://proofs@acme.blob.core.windows.net/", "az://acme/proofs"),
        ("https://acme.blob.core.windows.net/proofs/team?timeout=3s", "az://acme/proofs/team?timeout=3s"),
        (
            "abfss://proofs@acme.dfs.core.usgovcloudapi.net",
            "az://acme/proofs?endpoint=https%3A%2F%2Facme.blob.core.usgovcloudapi.net",
        ),
        ("https://ACME.blob.core.windows.net:443/proofs/a", "az://acme/proofs/a"),
        (
            "https://acme.z12.blob.storage.azure.net/proofs/a",
            "az://acme/proofs/a?endpoint=https%3A%2F%2Facme.z12.blob.storage.azure.net",
        ),
        (
            "abfss://proofs@acme.z1.dfs.storage.azure.net",
            "az://acme/proofs?endpoint=https%3A%2F%2Facme.z1.blob.storage.azure.net",
        ),
        ("https://acme.z1.web.storage.azure.net/proofs", None),
        ("https://acme.blob.storage.azure.net/proofs", None),
        ("https://acme.blob.core.windows.net:8443/proofs", None),
        ("https://acme.blob.core.windows.net", None),
        ("https://acme.example.com/proofs", None),
        ("abfss://acme.dfs.core.windows.net/proofs", None),
    ],
)
def test_urls_of_azures_other_tools(url, own):
    assert respelled(url) == own
    environ = {"AZURE_STORAGE_KEY": KEY}
    if own is None:
        with pytest.raises(StorageConfigurationError):
            from_url(url, environ)
    else:
        assert from_url(url, environ) == from_url(own, environ)


@pytest.mark.parametrize(
    "url",
    [
        "https://acme.blob.core.windows.net",
        "https://acme.blob.core.windows.net/",
        "HTTP://127.0.0.1:10000/devstoreaccount1/proofs",
        "https://storage.googleapis.com/proofs",
        "https://proofs.s3.eu-west-1.amazonaws.com/a",
    ],
)
def test_an_address_of_the_web_is_no_store_url_and_says_what_is(url):
    with pytest.raises(StorageConfigurationError, match="gs://bucket, az://account/container, or custom://"):
        from_url(url, {})


def test_a_url_names_account_container_and_prefix():
    config = from_url(
        "azure-blob://acme/proofs/team/a?part_size=1MiB".replace("azure-blob", "azure_blob"),
        {"AZURE_STORAGE_KEY": KEY},
    )
    assert (config.account, config.bucket, config.prefix, config.part_size) == (
        "acme",
        "proofs",
        "team/a/",
        1 << 20,
    )
    for wrong in (
        "az://acme",
        "az:///proofs",
        "az://acme:10000/proofs",
        f"az://acme/proofs?account_key={KEY}",
    ):
        with pytest.raises(StorageConfigurationError):
            from_url(wrong, {"AZURE_STORAGE_KEY": KEY})


def test_the_variables_of_azures_own_tools():
    place = {
        "CREDSTORE_PROVIDER": "azure",
        "AZURE_STORAGE_ACCOUNT": "acme",
        "AZURE_STORAGE_CONTAINER": "proofs",
    }
    assert from_env({**place, "AZURE_STORAGE_KEY": KEY}) == AzureConfig(**BY_KEY)
    assert from_env({**place, "AZURE_STORAGE_SAS_TOKEN": f"?{SAS}"}).auth == "sas"
    assert from_env(place).auth == "login"
    text = f"AccountName=acme;AccountKey={KEY}"
    both = {**place, "AZURE_STORAGE_CONNECTION_STRING": text, "AZURE_STORAGE_KEY": KEY}
    assert from_env(both) == AzureConfig(**BY_KEY)
    assert from_env({**both, "AZURE_STORAGE_AUTH_MODE": "login"}).auth == "login"
    assert from_env({**both, "AZURE_STORAGE_AUTH_MODE": "key"}).auth == "key"
    with pytest.raises(StorageConfigurationError, match="contradicts `account_key`"):
        from_env({**both, "AZURE_STORAGE_KEY": "b3RoZXI="})


def test_azures_words_for_the_fields():
    settings = {"provider": "az", "account_name": "acme", "container": "proofs", "account_key": KEY}
    assert from_mapping(settings, {}) == AzureConfig(**BY_KEY)
    with pytest.raises(StorageConfigurationError, match="two spellings"):
        from_mapping({**settings, "bucket": "other"}, {})
    with pytest.raises(StorageConfigurationError, match="container"):
        from_mapping({"provider": "s3", "container": "proofs"}, {})


def test_when_a_signature_ends():
    assert sas_ends(Secret(SAS)).isoformat() == "2026-12-31T12:00:00+00:00"
    assert sas_ends(Secret("sv=1&si=policy&sig=x")) is None
    assert sas_ends(Secret("sv=1&se=soon&sig=x")) is None
    assert sas_ends(Secret("sv=1&se=2026-12-31&sig=x")).isoformat() == "2026-12-31T00:00:00+00:00"


def test_what_a_server_lacks_can_be_said():
    able = capabilities_of(AzureConfig(**BY_KEY, capabilities="-versions, -tags"))
    assert (able.versions, able.tags) == (False, False)
    for wrong in ("versions", "-version", "-conditional_create"):
        with pytest.raises(StorageConfigurationError, match="capabilities"):
            capabilities_of(AzureConfig(**BY_KEY, capabilities=wrong))


SIGNED = "sv=2024-11-04&ss=b&srt=sco&sp=rwdl&se=2030-01-01T00:00:00Z&sig=CANARY%3D"
SAS_URL = f"https://acme.blob.core.windows.net/proofs?{SIGNED}"


@pytest.mark.parametrize(
    "url",
    [
        SAS_URL,
        f"https://acme.blob.core.windows.net/proofs/a/b?{SIGNED}",
        f"https://acme.blob.core.usgovcloudapi.net/proofs?{SIGNED.upper()}",
        f"https://acme.blob.core.windows.net/proofs#{SIGNED}",
        f"az://acme/proofs?part_size=8MiB&{SIGNED}",
        f"abfss://proofs@acme.dfs.core.windows.net/p?{SIGNED}",
        f"http://127.0.0.1:10000/devstoreaccount1/proofs?{SIGNED}",
        f"acme.blob.core.windows.net/proofs?{SIGNED}",
    ],
)
def test_a_url_with_a_signature_is_no_store_url_and_says_where_that_belongs(url):
    with pytest.raises(StorageConfigurationError, match="AZURE_STORAGE_SAS_TOKEN") as caught:
        from_url(url, {})
    assert "`sas_token`" in caught.value.message
    assert "CANARY" not in repr(caught.value)


@pytest.mark.parametrize(
    ("url", "scheme"),
    [
        ("s3://proofs/a?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=CANARY", "s3://BUCKET"),
        ("https://proofs.s3.amazonaws.com/a?X-Amz-Signature=CANARY", "s3://BUCKET"),
        ("https://storage.googleapis.com/proofs/a?X-Goog-Signature=CANARY", "gs://BUCKET"),
    ],
)
def test_a_presigned_link_is_no_store_url(url, scheme):
    with pytest.raises(StorageConfigurationError, match=scheme) as caught:
        from_url(url, {})
    assert "CANARY" not in repr(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("bucket", f"proofs?{SIGNED}"),
        ("account", SAS_URL),
        ("endpoint", f"https://acme.blob.core.windows.net?{SIGNED}"),
        ("connection_string", SAS_URL),
        ("connection_string", f"BlobEndpoint={SAS_URL}"),
    ],
)
def test_a_setting_with_a_signature_says_where_that_belongs(field, value):
    given = {"provider": "azure", "account": "acme", "bucket": "proofs", field: value}
    with pytest.raises(StorageConfigurationError, match=f"`{field}`.*as `sas_token`") as caught:
        from_mapping(given, {})
    assert "CANARY" not in repr(caught.value)
