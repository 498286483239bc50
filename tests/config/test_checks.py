"""The rules of single settings, each broken by a value that keeps all others."""

import pytest

from credstore.config.field_types import fits
from credstore.config.stores import S3CompatibleConfig, S3Config
from credstore.config.validation import checked_url
from credstore.encryption import Secret
from credstore.errors import StorageConfigurationError

CLOUD = "https://storage.example.com"


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


@pytest.mark.parametrize("host", ["169.253.169.254", "[fec0::1]", "169.254.169.254.example"])
def test_an_address_that_is_not_link_local_is_an_endpoint(host):
    assert custom(endpoint=f"https://{host}").resolved_endpoint == f"https://{host}"


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "s3.localhost"])
def test_http_is_for_this_machine_however_it_is_spelled(host):
    shown = host.replace("[::ffff:127.0.0.1]", "127.0.0.1")
    assert custom(endpoint=f"http://{host}:9000").resolved_endpoint == f"http://{shown}:9000"
    with pytest.raises(StorageConfigurationError, match="is http"):
        checked_url("custom", "endpoint", "http://192.0.2.1", allow_http=False, path=False)


@pytest.mark.parametrize(
    ("field", "least", "below"),
    [
        ("timeout", 0.001, 0.0009),
        ("max_retries", 0, -1),
        ("max_retrieve_size", 1, 0),
        ("part_size", 5 * 2**20, 5 * 2**20 - 1),
        ("copy_part_size", 5 * 2**20, 5 * 2**20 - 1),
        ("multipart_threshold", 1, 0),
        ("single_copy_limit", 1, 0),
        ("max_concurrency", 1, 0),
        ("max_connections", 1, 0),
        ("bandwidth_limit", 1024, 1023),
    ],
)
def test_a_number_is_at_least_what_makes_sense(field, least, below):
    assert getattr(custom(endpoint=CLOUD, **{field: least}), field) == least
    with pytest.raises(StorageConfigurationError, match=f"`{field}` of .* must be"):
        custom(endpoint=CLOUD, **{field: below})


@pytest.mark.parametrize("field", ["part_size", "copy_part_size", "multipart_threshold", "single_copy_limit"])
def test_no_part_is_larger_than_s3_allows(field):
    assert getattr(custom(endpoint=CLOUD, **{field: 5 * 2**30}), field) == 5 * 2**30
    with pytest.raises(StorageConfigurationError, match=f"`{field}` of .* must be .* to "):
        custom(endpoint=CLOUD, **{field: 5 * 2**30 + 1})


@pytest.mark.parametrize("value", [float("inf"), float("nan"), float("-inf")])
def test_a_time_that_never_ends_is_none(value):
    with pytest.raises(StorageConfigurationError, match="`timeout`"):
        custom(endpoint=CLOUD, timeout=value)


@pytest.mark.parametrize("host", ["localhost", "s3.localhost", "127.0.0.1", "[::1]"])
def test_parts_may_be_small_on_this_machine_alone(host):
    assert custom(endpoint=f"http://{host}:9000", part_size=1).part_size == 1
    for elsewhere in (CLOUD, "https://localhost.example.com", "https://notlocalhost"):
        with pytest.raises(StorageConfigurationError, match="part_size"):
            custom(endpoint=elsewhere, part_size=1)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://host\t.example.com", "without spaces"),
        ("https://host.example.com/a\nb", "without spaces"),
        ("https://host.example.com/a b", "without spaces"),
        ("https://host.example.com/a\\b", "without spaces"),
        ("https://:443", "must be https"),
        ("https://", "must be https"),
        ("ftp://host.example.com", "must be https"),
        ("https://host.example.com:0", "must be https"),
        ("https://host.example.com:65536", "65535"),
        ("https://host.example.com#", "fragment"),
        ("https://host.example.com/a#b", "fragment"),
        ("https://host.example.com?", "query"),
        ("https://user@host.example.com", "user or password"),
        ("https://ex!ample.com", "neither a name nor an address"),
        ("https://-example.com", "neither a name nor an address"),
        ("https://a..example.com", "neither a name nor an address"),
        (f"https://{'a' * 64}.example.com", "neither a name nor an address"),
        (f"https://{'a.' * 125}example.com", "neither a name nor an address"),
        ("https://2852039166", "neither a name nor an address"),
        ("https://0xa9.254.1", "neither a name nor an address"),
    ],
)
@pytest.mark.parametrize("field", ["endpoint", "cdn_url"])
def test_a_url_that_does_not_say_plainly_where_it_leads_is_refused(field, url, words):
    with pytest.raises(StorageConfigurationError, match=words):
        custom(**{"endpoint": CLOUD, field: url})


def test_an_endpoint_has_no_path_but_a_slash_and_a_cdn_may_have_one():
    assert custom(endpoint=f"{CLOUD}/").resolved_endpoint == CLOUD
    assert custom(endpoint=CLOUD, cdn_url=f"{CLOUD}/a/b").cdn_url == f"{CLOUD}/a/b"
    with pytest.raises(StorageConfigurationError, match="without bucket or path"):
        custom(endpoint=f"{CLOUD}/bucket")


@pytest.mark.parametrize("dictionary", ["", "x", "0" * 63, "0" * 65, "A" * 64])
def test_a_dictionary_is_named_by_its_digest(dictionary):
    assert custom(endpoint=CLOUD, dictionary="0" * 64).dictionary == "0" * 64
    with pytest.raises(StorageConfigurationError, match="`dictionary`"):
        custom(endpoint=CLOUD, dictionary=dictionary)


def test_a_choice_is_one_of_its_values_and_of_their_type():
    assert fits((1, "a", type(None)), 1)
    assert fits((1, "a", type(None)), None)
    assert not fits((1, "a"), True)
    assert not fits((1, "a"), 1.0)
    assert not fits((1, "a"), "b")


@pytest.mark.parametrize(
    ("given", "steady"),
    [
        ("https://s3.example.com:443", "https://s3.example.com"),
        ("https://s3.example.com:0443/", "https://s3.example.com"),
        ("https://s3.example.com:", "https://s3.example.com"),
        ("https://s3.example.com:80", "https://s3.example.com:80"),
        ("http://s3.example.com:80", "http://s3.example.com"),
        ("http://s3.example.com:443", "http://s3.example.com:443"),
        ("HTTPS://S3.Example.COM:9000", "https://s3.example.com:9000"),
        ("https://s3.example.com.", "https://s3.example.com"),
        ("https://s3.example.com.:443/", "https://s3.example.com"),
        ("https://b\u00fccher.example", "https://xn--bcher-kva.example"),
        ("https://B\u00dcCHER.example:443", "https://xn--bcher-kva.example"),
        ("https://stra\u00dfe.example", "https://xn--strae-oqa.example"),
        ("https://XN--bcher-KVA.example", "https://xn--bcher-kva.example"),
        ("https://[0:0:0:0:0:0:0:1]:443", "https://[::1]"),
        ("https://[2001:DB8:0:0:1:0:0:1]:9000", "https://[2001:db8::1:0:0:1]:9000"),
        ("https://[::ffff:192.0.2.1]", "https://192.0.2.1"),
        ("https://[::FFFF:c000:201]:443", "https://192.0.2.1"),
    ],
)
def test_a_host_is_kept_as_every_client_writes_it(given, steady):
    assert custom(endpoint=given, allow_http=True).endpoint == steady
    based = custom(endpoint="https://e.example", cdn_url=f"{given.rstrip('/')}/a%2fb/%7e!", allow_http=True)
    assert based.cdn_url == f"{steady}/a%2Fb/~!"
    assert custom(endpoint=given, allow_http=True) == custom(endpoint=steady, allow_http=True)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://[2001:db8::1%25eth0]", "zone"),
        ("https://[::192.0.2.1]", "IPv4"),
        ("https://xn--a.example", "xn--"),
        ("https://xn--\u00fc.example", "international host"),
        ("https://\u2028.example", "international host"),
        ("https://\uff11\uff16\uff19.254.169.254", "link-local"),
        ("https://2852039166", "neither a name nor an address"),
    ],
)
def test_a_host_that_clients_write_differently_is_refused(url, why):
    with pytest.raises(StorageConfigurationError, match=why):
        custom(endpoint=url)


@pytest.mark.parametrize("path", ["/a/../b", "/./a", "/a/%2e%2E", "/.%2e/b"])
def test_a_base_whose_path_clients_would_resolve_is_refused(path):
    with pytest.raises(StorageConfigurationError, match="would resolve"):
        custom(endpoint="https://e.example", cdn_url=f"https://cdn.example.com{path}")


@pytest.mark.parametrize("region", ["EU-WEST-1", "eu-west-1"])
def test_a_region_stands_in_a_host_in_lower_case(region):
    config = S3Config(bucket="bucket", region=region)
    assert config.resolved_endpoint == "https://s3.eu-west-1.amazonaws.com"
    assert config.resolved_region == region
