"""The rules of single settings, each broken by a value that keeps all others."""

import pytest

from credstore.config.stores import S3CompatibleConfig
from credstore.config.validation import check_url
from credstore.encryption import Secret
from credstore.errors import StorageConfigurationError


def custom(**settings):
    return S3CompatibleConfig(
        **{"bucket": "proofs", "access_key_id": "id", "secret_access_key": Secret("secret"), **settings}
    )


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.0.1",
        "169.254.170.2:8443",
        "[fe80::1]",
        "[febf::1]",
        "[fe80::a9fe:a9fe%25eth0]",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
    ],
)
@pytest.mark.parametrize("scheme", ["https", "http"])
def test_a_link_local_endpoint_is_refused_whatever_its_scheme_and_spelling(scheme, host):
    with pytest.raises(StorageConfigurationError, match="link-local address") as caught:
        custom(endpoint=f"{scheme}://{host}", allow_http=True)
    assert "169.254" not in str(caught.value)


@pytest.mark.parametrize("field", ["endpoint", "cdn_url"])
def test_every_base_url_is_kept_from_link_local_addresses(field):
    with pytest.raises(StorageConfigurationError, match=f"`{field}` of .* is a link-local address"):
        custom(**{"endpoint": "https://storage.example.com", field: "https://169.254.169.254"})


@pytest.mark.parametrize(
    "host", ["169.253.169.254", "[fec0::1]", "[::ffff:192.0.2.1]", "169.254.169.254.example"]
)
def test_an_address_that_is_not_link_local_is_an_endpoint(host):
    assert custom(endpoint=f"https://{host}").resolved_endpoint == f"https://{host}"


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "s3.localhost"])
def test_http_is_for_this_machine_however_it_is_spelled(host):
    assert custom(endpoint=f"http://{host}:9000").resolved_endpoint == f"http://{host}:9000"
    with pytest.raises(StorageConfigurationError, match="is http"):
        check_url("custom", "endpoint", "http://192.0.2.1", allow_http=False, path=False)
