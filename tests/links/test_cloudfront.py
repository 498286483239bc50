"""CloudFront: AWS's shared cases, botocore's signer and the openssl command line as oracles."""

import base64
import datetime as dt
import functools
import json
import subprocess
from pathlib import Path

import pytest
from botocore.signers import CloudFrontSigner as BotocoreSigner
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from credstore.config.stores import S3Config
from credstore.encryption import Secret
from credstore.errors import (
    StorageConfigurationError,
    StorageError,
    StorageInvalidRequestError,
    StorageUnsupportedError,
)
from credstore.links import cloudfront
from credstore.links.cloudfront import CloudFrontSigner, encode_base64, format_policy
from credstore.links.public import public_url
from tests.links.signers import LATER, NOW, ec_key, pem, rsa_key

CASES = json.loads((Path(__file__).parent / "cloudfront.json").read_text())
KEYS = CASES["keys"]
HOST = "https://d111111abcdef8.cloudfront.net"


def decode(text):
    return base64.b64decode(text.translate(str.maketrans("-_~", "+=/")), validate=True)


def query_of(url):
    pairs = [part.partition("=") for part in url.partition("?")[2].split("&")]
    return {name: value for name, _, value in pairs}


def make(key=None, **given):
    return CloudFrontSigner(
        **{"key_pair_id": "K1TESTKEY", "private_key": Secret(pem(key or rsa_key())), **given}
    )


def of_case(case):
    """The signer of a shared case; the suite's RSA key is of 1,024 bits, which CloudFront itself refuses."""
    return CloudFrontSigner(
        key_pair_id=case["key_pair_id"],
        private_key=Secret(KEYS[case["key"]]),
        hash_algorithm=case["hash"],
        resource=case.get("resource"),
        ip_range=case.get("ip_range"),
        active_from=case.get("active_from"),
    )


@pytest.fixture
def small_rsa(monkeypatch):
    monkeypatch.setattr(cloudfront, "RSA_BITS", 1024)


def names(cases):
    return [case["id"] for case in cases]


@pytest.mark.parametrize("case", CASES["urls"], ids=names(CASES["urls"]))
def test_shared_cases_of_urls(small_rsa, case):
    link = of_case(case).sign(case["url"], now=NOW, expires_at=case["expires_at"])
    given = query_of(link)
    assert link.startswith(case["url"] + ("&" if "?" in case["url"] else "?"))
    if case["canned"]:
        assert given["Expires"] == str(case["expires_at"])
        assert "Policy" not in given
    else:
        assert decode(given["Policy"]).decode() == case["policy"]
        assert "Expires" not in given
    assert given["Key-Pair-Id"] == case["key_pair_id"]
    assert given.get("Hash-Algorithm") == ("SHA256" if case["hash"] == "SHA256" else None)
    check_signature(case, given["Signature"])


@pytest.mark.parametrize("case", CASES["cookies"], ids=names(CASES["cookies"]))
def test_shared_cases_of_cookies(small_rsa, case):
    cookies = of_case(case).sign_cookies(case["url"], now=NOW, expires_at=case["expires_at"])
    check_signature(case, cookies["CloudFront-Signature"])
    expected = {
        "CloudFront-Signature": cookies["CloudFront-Signature"],
        "CloudFront-Key-Pair-Id": case["key_pair_id"],
    }
    if case["hash"] == "SHA256":
        expected["CloudFront-Hash-Algorithm"] = "SHA256"
    if case["canned"]:
        expected["CloudFront-Expires"] = str(case["expires_at"])
    else:
        expected["CloudFront-Policy"] = encode_base64(case["policy"].encode())
    assert cookies == expected


def check_signature(case, signature):
    if case["signature"]:
        assert signature == case["signature"]
    else:
        key = load_pem_private_key(KEYS[case["key"]].encode(), None).public_key()
        key.verify(decode(signature), case["policy"].encode(), ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_the_older_pem_forms_are_read_too(small_rsa, kind):
    key = load_pem_private_key(KEYS[kind].encode(), None)
    older = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    assert f"BEGIN {'RSA' if kind == 'rsa' else 'EC'} PRIVATE KEY" in older
    signer = CloudFrontSigner(key_pair_id="K1TESTKEY", private_key=Secret(older.replace("\n", "\r\n")))
    assert "Signature=" in signer.sign(HOST + "/image.jpg", now=NOW, expires_at=1767290400)


def test_an_encrypted_pem_needs_its_passphrase():
    text = (
        ec_key()
        .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open sesame"))
        .decode()
    )
    settings = {"key_pair_id": "K1TESTKEY", "private_key": Secret(text)}
    CloudFrontSigner(**settings, passphrase=Secret("open sesame"))
    for wrong in ({}, {"passphrase": Secret("open")}):
        with pytest.raises(StorageConfigurationError, match="passphrase") as caught:
            CloudFrontSigner(**settings, **wrong)
        assert caught.value.__cause__ is None
    with pytest.raises(StorageConfigurationError, match="private_key"):
        make(passphrase=Secret("for no reason"))


def test_ecdsa_has_sha256_alone():
    with pytest.raises(StorageConfigurationError, match="SHA"):
        make(ec_key(), hash_algorithm="SHA1")


def dsa_key():
    return dsa.generate_private_key(1024)


@pytest.mark.parametrize(
    "key",
    [dsa_key, ed25519.Ed25519PrivateKey.generate, lambda: ec_key(ec.SECP384R1), lambda: rsa_key(1024)],
    ids=["dsa", "ed25519", "p384", "rsa-1024"],
)
def test_keys_that_cloudfront_does_not_know_are_refused(key):
    with pytest.raises(StorageConfigurationError, match=r"private_key.*key.*RSA.*ECDSA"):
        make(key())


def test_a_public_key_is_no_private_key():
    public = rsa_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for text in (public, "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----", "secret"):
        with pytest.raises(StorageConfigurationError, match="private_key") as caught:
            CloudFrontSigner(key_pair_id="K1TESTKEY", private_key=Secret(text))
        assert "secret" not in str(caught.value)
        assert "c2Vj" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("key_pair_id", ""),
        ("key_pair_id", 'K1"x'),
        ("key_pair_id", "K1&Expires=9"),
        ("private_key", "a PEM as plain text"),
        ("private_key", None),
        ("passphrase", "plain"),
        ("hash_algorithm", "sha256"),
        ("resource", "/images/*"),
        ("resource", "*"),
        ("resource", 5),
        ("resource", 'https://example.com/file","Resource":"*","x":"'),
        ("resource", "https://example.com/a\\u0022"),
        ("resource", "https://example.com/a\n"),
        ("resource", "https://example.com/a b"),
        ("resource", "https://example.com/\u00e9"),
        ("ip_range", "192.0.2.0"),
        ("ip_range", "192.0.2.0/33"),
        ("ip_range", "192.0.2.0/255.255.255.0"),
        ("ip_range", "2001:db8::/32"),
        ("ip_range", 5),
        ("ip_range", '192.168.0.0/24","IpAddress":{"AWS:SourceIp":"0.0.0.0/0'),
        ("active_from", "now"),
        ("active_from", 0),
    ],
)
def test_a_wrong_setting_is_refused_by_name(field, value):
    with pytest.raises(
        StorageConfigurationError, match=f"`{field}` of (the CloudFront signer|CloudFrontSigner)"
    ):
        make(**{field: value})


@pytest.mark.parametrize(
    "url",
    [
        'https://example.com/file","Resource":"*","x":"',
        "https://example.com/a\\b",
        "https://example.com/a\x00",
        'https://example.com/a?b="',
    ],
)
def test_policy_injection_is_refused(url):
    for ask in (make().sign, make().sign_cookies):
        with pytest.raises(StorageInvalidRequestError, match="resource"):
            ask(url, now=NOW, expires_at=LATER)


def test_a_wildcard_is_refused_unless_asked_for():
    """Escaped too: not every client keeps the escape."""
    for url in (HOST + "/images/*", HOST + "/a?b=*", HOST + "/images/%2A", HOST + "/a?b=%2a"):
        with pytest.raises(StorageUnsupportedError, match="wildcard"):
            make().sign(url, now=NOW, expires_at=LATER)


@pytest.mark.parametrize("custom", [{"ip_range": "10.0.0.0/8"}, {"active_from": NOW}])
def test_a_query_in_a_custom_policy_would_be_a_wildcard(custom):
    with pytest.raises(StorageUnsupportedError, match="any one character"):
        make(**custom).sign(HOST + "/a?b=c", now=NOW, expires_at=LATER)
    link = make(**custom, resource=HOST + "/a?b=c").sign(HOST + "/a?b=c", now=NOW, expires_at=LATER)
    assert link.startswith(HOST + "/a?b=c&Policy=")


@pytest.mark.parametrize(
    ("resource", "url", "covered"),
    [
        (HOST + "/images/*", HOST + "/images/a/b.jpg", True),
        (HOST + "/images/*", HOST + "/image/a.jpg", False),
        ("http*://d111111abcdef8.cloudfront.net/*", HOST + "/a", True),
        (HOST + "/?.jpg", HOST + "/a.jpg", True),
        (HOST + "/?.jpg", HOST + "/ab.jpg", False),
        (HOST + "/a.jpg", HOST + "/aXjpg", False),
        ("https://other.example.com/*", HOST + "/a", False),
    ],
)
def test_a_resource_must_cover_the_object(resource, url, covered):
    signer = make(resource=resource)
    if covered:
        assert decode(
            query_of(signer.sign(url, now=NOW, expires_at=LATER))["Policy"]
        ).decode() == format_policy(resource, LATER, ip_range=None, active_from=None)
        return
    with pytest.raises(StorageUnsupportedError, match="`resource`"):
        signer.sign(url, now=NOW, expires_at=LATER)


def test_a_link_begins_before_it_ends():
    for begin in (LATER, LATER + 1):
        with pytest.raises(StorageInvalidRequestError, match=r"active.*before.*expiration"):
            make(active_from=begin).sign(HOST + "/a", now=NOW, expires_at=LATER)


def test_the_last_second_is_of_31_bits():
    assert "Expires=2147483647" in make().sign(HOST + "/a", now=NOW, expires_at=2**31 - 1)
    with pytest.raises(StorageUnsupportedError, match="2147483647"):
        make().sign(HOST + "/a", now=NOW, expires_at=2**31)


def test_the_policy_is_botocores_published_one():
    policy = format_policy("foo", 1451606400, ip_range="12.34.56.78/9", active_from=1448928000)
    assert policy == (
        '{"Statement":[{"Resource":"foo","Condition":{"DateLessThan":{"AWS:EpochTime":1451606400},'
        '"IpAddress":{"AWS:SourceIp":"12.34.56.78/9"},"DateGreaterThan":{"AWS:EpochTime":1448928000}}}]}'
    )
    encoded = encode_base64(policy.encode())
    assert encoded.startswith("eyJTdGF0ZW1lbnQiOlt7IlJlc291cmNlIjoiZm9vIiwiQ29uZGl0aW9uIjp7")
    assert encoded.endswith("fX1dfQ__")


def sha1(data):
    return rsa_key().sign(data, padding.PKCS1v15(), hashes.SHA1())


@functools.cache
def canned():
    return make(hash_algorithm="SHA1")


@functools.cache
def signer_with_any_ip():
    return make(ec_key(), ip_range="0.0.0.0/0")


KEY_TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]), min_size=1, max_size=20
)
SITE = S3Config(bucket="proofs", cdn_url="https://cdn.example.com")


def address(key):
    return public_url(SITE)(key)


def moment_of(epoch):
    return epoch and dt.datetime.fromtimestamp(epoch, dt.UTC)


def dots(key):
    return any(part in {".", ".."} for part in key.split("/"))


@given(KEY_TEXTS.filter(lambda key: not dots(key) and "*" not in key), st.integers(NOW + 1, 2**31 - 1))
def test_canned_links_are_botocores(key, expires_at):
    url = address(key)
    theirs = BotocoreSigner("K1TESTKEY", sha1).generate_presigned_url(
        url, date_less_than=dt.datetime.fromtimestamp(expires_at, dt.UTC)
    )
    assert canned().sign(url, now=NOW, expires_at=expires_at) == theirs


@settings(max_examples=25)  # Each makes a signer, and so checks an RSA key.
@given(
    st.integers(NOW + 1, 2**31 - 1),
    st.none() | st.integers(1, NOW),
    st.none() | st.tuples(st.ip_addresses(v=4), st.integers(0, 32)).map(lambda pair: f"{pair[0]}/{pair[1]}"),
    st.none() | st.just("https://cdn.example.com/*"),
)
def test_custom_policies_are_botocores(expires_at, active_from, ip_range, resource):
    url = address("a b/\u00e9.json")
    theirs = BotocoreSigner("K1TESTKEY", sha1)
    policy = theirs.build_policy(
        resource or url, moment_of(expires_at), date_greater_than=moment_of(active_from), ip_address=ip_range
    )
    assert format_policy(resource or url, expires_at, ip_range=ip_range, active_from=active_from) == policy
    if (active_from, ip_range, resource) != (None, None, None):
        ours = make(hash_algorithm="SHA1", active_from=active_from, ip_range=ip_range, resource=resource)
        assert ours.sign(url, now=NOW, expires_at=expires_at) == theirs.generate_presigned_url(
            url, policy=policy
        )


@given(st.text(max_size=40))
def test_whatever_is_signed_says_the_resource_and_nothing_else(tail):
    url = HOST + "/" + tail
    try:
        link = signer_with_any_ip().sign(url, now=NOW, expires_at=LATER)
    except StorageError:
        return
    statement = json.loads(decode(query_of(link)["Policy"]))["Statement"]
    assert [one["Resource"] for one in statement] == [str(link).partition("?")[0]]


@pytest.mark.system
@pytest.mark.parametrize(("key", "digest"), [("rsa", "SHA256"), ("rsa", "SHA1"), ("ecdsa", "SHA256")])
@pytest.mark.parametrize("custom", [{}, {"ip_range": "10.0.0.0/8", "resource": HOST + "/*"}])
def test_openssl_verifies_the_signature(tmp_path, key, digest, custom):
    pair = rsa_key() if key == "rsa" else ec_key()
    url = HOST + "/a%20b.json"
    given = query_of(make(pair, hash_algorithm=digest, **custom).sign(url, now=NOW, expires_at=LATER))
    policy = (
        decode(given["Policy"])
        if custom
        else b'{"Statement":[{"Resource":"%b","Condition":{"DateLessThan":{"AWS:EpochTime":%b}}}]}'
        % (url.encode(), given["Expires"].encode())
    )
    public = pair.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for name, data in [("key", public), ("policy", policy), ("signature", decode(given["Signature"]))]:
        (tmp_path / name).write_bytes(data)
    command = ["openssl", "dgst", f"-{digest.lower()}", "-verify", "key", "-signature", "signature", "policy"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.stdout == "Verified OK\n", found.stderr
    (tmp_path / "policy").write_bytes(policy.replace(b"a%20b", b"a%20c") if not custom else policy + b" ")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 1
