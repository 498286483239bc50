"""Which proxy an origin is reached by: the environment's rules are Python's, with what curl and Go add."""

import os
import urllib.request
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from credstore.encryption import Secret
from credstore.errors import StorageConfigurationError
from credstore.wire.proxy import NO_PROXIES, ProxyRules, bypassed, parse_proxy

HTTPS, HTTP = "https://bucket.s3.example.com", "http://minio.example.com:9000"
PASSWORD = "canary-proxy-password"


def chosen(environ, origin=HTTPS):
    proxy = ProxyRules.of("env", environ).proxy_for(origin)
    return None if proxy is None else proxy.name


@pytest.mark.parametrize(
    ("environ", "origin", "name"),
    [
        ({}, HTTPS, None),
        ({"HTTPS_PROXY": "http://a:1"}, HTTPS, "http://a:1"),
        ({"https_proxy": "http://a:1", "HTTPS_PROXY": "http://b:2"}, HTTPS, "http://a:1"),
        ({"https_proxy": "", "HTTPS_PROXY": "http://b:2"}, HTTPS, None),
        ({"HTTP_PROXY": "http://a:1"}, HTTPS, None),
        ({"HTTP_PROXY": "http://a:1"}, HTTP, "http://a:1"),
        ({"HTTP_PROXY": "http://a:1", "REQUEST_METHOD": "GET"}, HTTP, None),
        ({"http_proxy": "http://a:1", "REQUEST_METHOD": "GET"}, HTTP, "http://a:1"),
        ({"HTTPS_PROXY": "http://a:1", "REQUEST_METHOD": "GET"}, HTTPS, "http://a:1"),
        ({"ALL_PROXY": "http://a:1"}, HTTPS, "http://a:1"),
        ({"all_proxy": "http://a:1", "HTTPS_PROXY": "http://b:2"}, HTTPS, "http://b:2"),
        ({"HTTPS_PROXY": "a:1"}, HTTPS, "http://a:1"),
        ({"HTTPS_PROXY": "http://a"}, HTTPS, "http://a:80"),
        ({"HTTPS_PROXY": "HTTP://a/"}, HTTPS, "http://a:80"),
        ({"HTTPS_PROXY": "http://[::1]:3128"}, HTTPS, "http://[::1]:3128"),
        ({"HTTPS_PROXY": "http://a:1", "NO_PROXY": "s3.example.com"}, HTTPS, None),
        ({"HTTPS_PROXY": "http://a:1", "no_proxy": "", "NO_PROXY": "*"}, HTTPS, "http://a:1"),
        ({"HTTPS_PROXY": "socks5://a:1", "NO_PROXY": "*"}, HTTPS, None),
        ({"HTTP_PROXY": "socks5://a:1"}, HTTPS, None),
        ({"NOT_A_PROXY": "http://a:1", "FTP_PROXY": "http://a:1", "_PROXY": "x"}, HTTPS, None),
    ],
)
def test_the_environment_chooses(environ, origin, name):
    assert chosen(environ, origin) == name


def test_a_setting_chooses_whatever_the_environment_says():
    environ = {"HTTPS_PROXY": "http://a:1", "NO_PROXY": "*"}
    assert ProxyRules.of("off", environ) is ProxyRules.of(None, environ) is NO_PROXIES
    for setting in ("http://b:2", Secret("http://b:2")):
        rules = ProxyRules.of(setting, environ)
        assert [rules.proxy_for(origin).name for origin in (HTTP, HTTPS)] == ["http://b:2"] * 2


@pytest.mark.parametrize(
    ("userinfo", "token"),
    [
        ("user:p%40ss%3A%2F", "Basic dXNlcjpwQHNzOi8="),
        ("user", "Basic dXNlcjo="),
        ("us%C3%A9r:p", "Basic dXPDqXI6cA=="),
        (":p", "Basic OnA="),
    ],
)
def test_user_and_password_are_decoded(userinfo, token):
    proxy = parse_proxy(Secret(f"http://{userinfo}@a:1"), "it")
    assert proxy.authorization.reveal() == token
    assert proxy.name == "http://a:1"
    assert parse_proxy(Secret("http://a:1"), "it").authorization is None


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("socks5://{}@a:1", "SOCKS"),
        ("socks5h://{}@a:1", "only HTTP proxies are supported"),
        ("https://{}@a:1", "only http:// proxies are supported"),
        ("socks4://a:1", "SOCKS"),
        ("ftp://{}@a:1", "another kind of"),
        ("http://{}@a:x", "must be http://"),
        ("http://{}@a:0", "must be http://"),
        ("http://{}@a:70000", "must be http://"),
        ("http://{}@", "must be http://"),
        ("http://{}@[::1", "must be http://"),
        ("http://{}#x@a:1", "percent-encoded"),
        ("http://{}@a:1/proxy.pac", "must be http://"),
        ("http://{}@a b:1", "must be http://"),
        ("http://{}@a\\b:1", "must be http://"),
        ("http://{}@a:1#x", "must be http://"),
        ("http://{}@a:1/?x", "must be http://"),
        ("http://us%3Aer:{}@a:1", "colon"),
        ("http://{}@ä:1", "must be http://"),
    ],
)
def test_what_is_no_http_proxy_is_refused_and_never_repeated(url, words):
    environ = {"HTTPS_PROXY": url.format(f"user:{PASSWORD}")}
    rules = ProxyRules.of("env", environ)
    with pytest.raises(StorageConfigurationError) as caught:
        rules.proxy_for(HTTPS)
    assert caught.value.message.startswith("HTTPS_PROXY ")
    assert words in caught.value.message
    assert (caught.value.code, caught.value.retryable) == ("PROXY_UNUSABLE", False)


@pytest.mark.parametrize(
    ("rules", "host", "port", "spared"),
    [
        ("example.com", "example.com", 443, True),
        ("example.com", "a.b.example.com", 443, True),
        ("example.com", "notexample.com", 443, False),
        (".example.com", "example.com", 443, True),
        ("*.example.com", "a.example.com", 443, True),
        ("*.example.com", "example.com", 443, False),
        ("EXAMPLE.com", "Example.COM.", 443, True),
        ("example.com.", "example.com", 443, True),
        ("a, b ,example.com", "example.com", 443, True),
        ("a b example.com", "example.com", 443, True),
        ("example.com:443", "example.com", 443, True),
        ("example.com:9000", "example.com", 443, False),
        ("example.com:²", "example.com", 443, False),
        ("example.com:٤٤٣", "example.com", 443, False),
        ("*", "anything", 1, True),
        ("a,*", "anything", 1, True),
        ("", "example.com", 443, False),
        (",. ,", "example.com", 443, False),
        ("localhost", "127.0.0.1", 80, False),
        ("127.0.0.1", "127.0.0.1", 80, True),
        ("0.0.1", "127.0.0.1", 80, False),
        ("127.0.0.1:80", "127.0.0.1", 80, True),
        ("127.0.0.1:81", "127.0.0.1", 80, False),
        ("127.0.0.0/8", "127.9.9.9", 80, True),
        ("10.0.0.0/8", "11.0.0.1", 80, False),
        ("10.0.0.1/8", "10.9.9.9", 80, True),
        ("10.0.0.0/8", "ten.example.com", 80, False),
        ("::1", "::1", 80, True),
        ("[::1]:80", "::1", 80, True),
        ("[::1]:81", "::1", 80, False),
        ("fd00::/8", "fd12::1", 80, True),
        ("fd00::/8", "127.0.0.1", 80, False),
        ("127.0.0.0/8", "::ffff:127.0.0.1", 80, True),
    ],
)
def test_hosts_are_spared(rules, host, port, spared):
    assert bypassed(rules, host, port) is spared


LABELS = st.sampled_from(["a", "b", "example", "com", "x-1"])
HOSTS = st.lists(LABELS, min_size=1, max_size=3).map(".".join)
ENTRIES = st.builds(lambda dot, host: dot + host, st.sampled_from(["", "."]), HOSTS)
PORTED = st.builds(lambda host, port: f"{host}:{port}", HOSTS, st.sampled_from([81, 9000]))


@given(st.lists(ENTRIES | PORTED | st.just(""), max_size=4), HOSTS, st.sampled_from([81, 9000]))
@example(["*"], "a.example", 81)
def test_names_are_spared_as_by_python(entries, host, port):
    rules = ",".join(entries)
    assert bypassed(rules, host, port) == bool(
        urllib.request.proxy_bypass_environment(f"{host}:{port}", {"no": rules})
    )


NAMES = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "Https_Proxy", "NO_PROXY", "no_proxy"]
VALUES = st.sampled_from(["", "http://one:1", "http://two:2"])
ENVIRON = st.dictionaries(st.sampled_from(NAMES[:5]), VALUES) | st.builds(
    lambda found, hosts, method: {**found, **hosts, **method},
    st.dictionaries(st.sampled_from(NAMES[:5]), VALUES),
    st.dictionaries(st.sampled_from(NAMES[5:]), st.sampled_from(["", "example.com", "*", "other"])),
    st.just({"REQUEST_METHOD": "GET"}) | st.just({}),
)


@given(ENVIRON, st.sampled_from([HTTP, HTTPS, "http://other:81"]))
def test_variables_are_chosen_as_by_python(environ, origin):
    with patch.dict(os.environ, environ, clear=True):
        proxies = urllib.request.getproxies_environment()
    scheme, _, host = origin.partition("://")
    spared = urllib.request.proxy_bypass_environment(host, proxies)
    assert chosen(environ, origin) == (None if spared else proxies.get(scheme))


def test_no_password_is_shown():
    url = Secret(f"http://user:{PASSWORD}@a:1")
    proxy = parse_proxy(url, "it")
    rules = ProxyRules.of(url, {})
    for text in (repr(proxy), proxy.name, repr(rules), repr(rules.proxy_for(HTTP))):
        assert PASSWORD not in text
    assert rules.proxy_for(HTTP) == proxy
