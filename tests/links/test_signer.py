"""What all signers have in common: the protocol, times, addresses, and that no secret is ever shown."""

import asyncio
import copy
import pickle
import traceback
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore.encryption import Secret
from credstore.errors import (
    StorageConfigurationError,
    StorageError,
    StorageInvalidRequestError,
    StorageUnsupportedError,
)
from credstore.links.signer import CallableSigner, check_times
from tests.links.signers import ALL, KEYED, LATER, MADE, NOW, SECRETS, URL, address, signer_of


@pytest.mark.parametrize("cdn", ALL)
def test_a_signer_says_what_its_edge_honours(cdn):
    signer = signer_of(cdn)
    assert signer.name
    assert signer.source == ("presigned" if cdn == "spaces" else "public")
    assert signer.methods == ({"GET"} if cdn == "spaces" else {"GET", "HEAD"})
    assert signer.max_expires_in == {"cloudflare": 10800, "spaces": 604800}.get(cdn)


@pytest.mark.parametrize("cdn", ALL)
def test_a_link_is_the_address_with_something_added(cdn):
    link = signer_of(cdn).sign(address(cdn), now=NOW, expires_at=LATER)
    assert link.isascii()
    assert link.startswith("https://")
    assert "/a/b.json?" in link
    assert link != address(cdn)


@pytest.mark.parametrize("cdn", [cdn for cdn in KEYED if cdn not in {"cloudfront", "cloudflare"}])
def test_another_path_or_time_has_another_token(cdn):
    signer = signer_of(cdn)
    token = {
        signer.sign(url, now=NOW, expires_at=at)
        .removeprefix(url)
        .replace(str(at), "")
        for url, at in [(URL, LATER), (URL + "x", LATER), (URL, LATER + 1)]
    }  # fmt: skip
    assert len(token) == 3


@pytest.mark.parametrize("cdn", KEYED)
@pytest.mark.parametrize(
    "url",
    [
        "cdn.example.com/a",
        "/a",
        "ftp://cdn.example.com/a",
        "https://cdn.example.com",
        "https://user:password@cdn.example.com/a",
        "https://cdn.example.com/a#fragment",
        "https://cdn.example.com/a?",
        "https://cdn.example.com/a b",
        "https://cdn.example.com/a\n",
        'https://cdn.example.com/a"b',
        "https://cdn.example.com/a\\b",
        "https://cdn.example.com/\u00e9",
        "https://cdn.example.com/%e",
        "https://cdn.example.com/%zz",
        "https://cdn.example.com/%0a",
        "https://cdn.example.com/a%7F",
        "https://cdn.example.com/a/../b",
        "https://cdn.example.com/a/./b",
        "https://cdn.example.com/a/%2e%2E/b",
        "https://cdn.example.com/a?b=%00",
    ],
)
def test_what_an_edge_would_read_otherwise_is_refused(cdn, url):
    with pytest.raises(StorageInvalidRequestError) as caught:
        signer_of(cdn).sign(url, now=NOW, expires_at=LATER)
    assert url not in str(caught.value)


@pytest.mark.parametrize("cdn", ALL)
@pytest.mark.parametrize("at", [NOW, NOW - 1, float(LATER), True, str(LATER)])
def test_a_link_ends_at_a_whole_second_to_come(cdn, at):
    with pytest.raises(StorageInvalidRequestError):
        signer_of(cdn).sign(address(cdn), now=NOW, expires_at=at)


@pytest.mark.parametrize("cdn", ALL)
def test_a_link_for_ever_is_refused(cdn):
    with pytest.raises(StorageUnsupportedError, match="shorter expires_in"):
        signer_of(cdn).sign(address(cdn), now=NOW, expires_at=10**12)


@pytest.mark.parametrize(
    ("cdn", "names"),
    [
        ("akamai", ["__token__"]),
        (
            "bunny",
            [
                "token",
                "expires",
                "token_path",
                "token_countries",
                "token_countries_blocked",
                "limit",
                "token_ignore_params",
            ],
        ),
        ("cloudflare", ["verify"]),
        ("cloudfront", ["Expires", "Policy", "Signature", "Key-Pair-Id", "Hash-Algorithm"]),
        ("cloud-cdn", ["Expires", "KeyName", "Signature", "URLPrefix"]),
        ("media-cdn", ["Expires", "KeyName", "Signature", "URLPrefix"]),
        ("media-cdn-token", ["edge-cache-token"]),
        ("fastly", ["token"]),
        ("keycdn", ["token", "expire"]),
        ("nginx", ["md5", "expires"]),
    ],
)
def test_the_edges_own_parameters_are_not_the_callers(cdn, names):
    for name in names:
        encoded = f"%{ord(name[0]):02X}{name[1:]}"
        for spelled in (f"{name}=1", f"a=1&{name}=1", name, f"{encoded}=1"):
            with pytest.raises(StorageInvalidRequestError, match=name):
                signer_of(cdn).sign(f"{URL}?{spelled}", now=NOW, expires_at=LATER)


def shown(error):
    return "".join(traceback.format_exception(error)) + repr(error) + str(error.__cause__)


@pytest.mark.parametrize("cdn", KEYED)
def test_no_key_is_ever_shown(cdn):
    signer = signer_of(cdn)
    secret = signer.private_key.reveal() if cdn.startswith("cloudfront") else SECRETS[cdn][1]
    texts = [repr(signer), str(signer), f"{signer}"]
    with pytest.raises(TypeError) as caught:
        pickle.dumps(signer)
    texts.append(shown(caught.value))
    with pytest.raises(StorageError) as caught:
        signer.sign("no url", now=NOW, expires_at=LATER)
    texts.extend([shown(caught.value), repr(pickle.loads(pickle.dumps(caught.value)))])
    for text in texts:
        assert secret not in text
        assert secret[30:60] not in text or not secret[30:60]


@pytest.mark.parametrize("cdn", KEYED)
def test_a_copy_signs_alike_and_signers_are_values(cdn):
    signer = signer_of(cdn)
    for other in (copy.copy(signer), copy.deepcopy(signer)):
        assert other == signer
        assert hash(other) == hash(signer)
        if cdn != "cloudfront":  # ECDSA signatures differ each time.
            assert other.sign(URL, now=NOW, expires_at=LATER) == signer.sign(URL, now=NOW, expires_at=LATER)
    with pytest.raises(AttributeError):
        signer.name = "another"


@pytest.mark.parametrize("cdn", MADE)
@pytest.mark.parametrize(
    "given",
    [
        "plain text",
        None,
        5,
        Secret(""),
        Secret(" spaced"),
        Secret("spaced "),
        Secret("two\nlines"),
        Secret("\udc80"),
    ],
)
def test_a_key_that_is_none_is_refused_by_name(cdn, given):
    field = SECRETS[cdn][0]
    with pytest.raises(StorageConfigurationError, match=f"`{field}` of ") as caught:
        MADE[cdn](**{field: given})
    if given == "plain text":
        assert "plain text" not in shown(caught.value)


@pytest.mark.parametrize(
    ("cdn", "text"),
    [
        ("akamai", "aabbccddeeff0011223344556677889"),  # an odd number of digits
        ("akamai", "aabbccddeeff0011223344556677889g"),
        ("akamai", "0x" + "ab" * 16),
        ("akamai", "ab" * 15),
        ("cloud-cdn", "nZtRohdNF9m3cKM24IcK4w="),
        ("cloud-cdn", "nZtRohdNF9m3cKM24IcK4x=="),  # bits after the last byte
        ("cloud-cdn", "nZtRohdNF9m3cKM24IcK+w=="),
        ("cloud-cdn", "nZtRohdNF9m3cKM24IcK4wAA"),  # 18 bytes
        ("cloud-cdn", "nZtR ohdNF9m3cKM24IcK4w=="),
        ("cloud-cdn", "nZtRohdN=F9m3cKM24IcK4w="),
        ("media-cdn", "BxwXXNjeGaoWqjr7GHEymRJkP4SaOC12dTGixk7Yrw=="),  # 31 bytes
        ("media-cdn-token", "nZtRohdNF9m3cKM24IcK4w=="),
        ("fastly", "iqFPeN2u-Z0Lm5IrsKaOFKRqEU5Gw8ePtaEkHZWuD24="),
        ("fastly", "aGVsbG8="),
        ("fastly", "\u00e9" * 24),
    ],
)
def test_a_damaged_key_is_refused_and_not_repeated(cdn, text):
    field = SECRETS[cdn][0]
    with pytest.raises(StorageConfigurationError, match=f"`{field}` of ") as caught:
        MADE[cdn](**{field: Secret(text)})
    assert text not in shown(caught.value)


@pytest.mark.parametrize(
    ("cdn", "field", "value"),
    [
        ("akamai", "acl", "/images/*"),
        ("akamai", "acl", ("images/*",)),
        ("akamai", "acl", ("/a~exp=9999999999",)),
        ("akamai", "acl", ("/a!/b",)),
        ("akamai", "parameter", "a b"),
        ("akamai", "ip", "1.2.3"),
        ("akamai", "session_id", "a~b"),
        ("akamai", "payload", "a&b"),
        ("akamai", "payload", ""),
        ("akamai", "salt", "text"),
        ("akamai", "active_from", 1.5),
        ("akamai", "digest", "sha512"),
        ("akamai", "escape_early", 1),
        ("bunny", "algorithm", "MD5"),
        ("bunny", "form", "path"),
        ("bunny", "token_path", "no/slash"),
        ("bunny", "token_path", "/a&token_countries=CA"),
        ("bunny", "ip", "1.2.3.4/24"),
        ("bunny", "ip", 5),
        ("bunny", "ip", "fe80::1%eth0"),
        ("bunny", "countries", "CA"),
        ("bunny", "countries", ("ca",)),
        ("bunny", "countries_blocked", ("CA,US",)),
        ("bunny", "speed_limit", 0),
        ("bunny", "speed_limit", True),
        ("bunny", "ignore_parameters", "no"),
        ("cloudflare", "ttl", 0),
        ("cloudflare", "ttl", None),
        ("cloudflare", "ttl", 1.5),
        ("cloudflare", "parameter", "a=b"),
        ("cloudflare", "encoding", "hex"),
        ("cloud-cdn", "key_name", "my key"),
        ("cloud-cdn", "key_name", "a&Expires=1"),
        ("cloud-cdn", "url_prefix", "/path"),
        ("cloud-cdn", "url_prefix", "https://h/a?b"),
        ("cloud-cdn", "max_expires_in", 0),
        ("media-cdn", "key_name", ""),
        ("media-cdn-token", "algorithm", "sha512"),
        ("media-cdn-token", "path_globs", "/*"),
        ("media-cdn-token", "path_globs", ("/a~b",)),
        ("media-cdn-token", "path_globs", ("/a,/b",)),
        ("media-cdn-token", "path_globs", ("/a",) * 6),
        ("media-cdn-token", "parameter", ""),
        ("fastly", "digest", "md5"),
        ("fastly", "parameter", "&"),
        ("keycdn", "path_form", "raw"),
        ("nginx", "expression", "$uri $secret"),
        ("nginx", "expression", "$secure_link_expires$uri"),
        ("nginx", "expression", "$secure_link_expires $secret"),
        ("nginx", "expression", "$secure_link_expires$uri$arg_a $secret"),
        ("nginx", "expression", "$secure_link_expires$uri $secret$"),
        ("nginx", "expression", None),
        ("nginx", "remote_addr", "1.2.3.4"),
        ("nginx", "remote_addr", "host"),
        ("nginx", "parameter", "a/b"),
        ("nginx", "expires_parameter", "md5"),
        ("nginx", "expires_parameter", "a/b"),
        ("nginx", "merge_slashes", 0),
    ],
)
def test_a_wrong_setting_is_refused_by_name(cdn, field, value):
    name, secret = SECRETS[cdn]
    with pytest.raises(StorageConfigurationError, match=f"`{field}` of "):
        MADE[cdn](**{name: Secret(secret), field: value})


def test_a_function_of_yours_is_a_signer():
    signer = CallableSigner(function=lambda url, at: f"{url}?until={at.isoformat()}")
    link = signer.sign(URL, now=NOW, expires_at=LATER)
    assert link == f"{URL}?until={datetime.fromtimestamp(LATER, UTC).isoformat()}"
    assert signer.max_expires_in is None
    assert signer.methods == {"GET", "HEAD"}
    assert signer.source == "public"


def test_a_function_of_yours_may_be_awaited():
    async def function(url, at):
        return f"{url}?until={at.year}"

    async def main():
        return await CallableSigner(function=function).sign(URL, now=NOW, expires_at=LATER)

    assert asyncio.run(main()) == f"{URL}?until=2023"


def test_a_function_of_yours_has_limits_too():
    signer = CallableSigner(function=lambda url, at: url, max_expires_in=60, methods=frozenset({"GET"}))
    with pytest.raises(StorageUnsupportedError, match="at most 60 seconds"):
        signer.sign(URL, now=NOW, expires_at=NOW + 61)
    assert "lambda" not in repr(signer)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("function", "text"),
        ("max_expires_in", 0),
        ("methods", frozenset()),
        ("methods", frozenset({"POST"})),
        ("methods", {"GET"}),
    ],
)
def test_a_wrong_setting_of_your_function_is_refused_by_name(field, value):
    with pytest.raises(StorageConfigurationError, match=f"`{field}` of "):
        CallableSigner(**{"function": lambda url, at: url, field: value})


@given(
    st.integers(0, 2**40),
    st.integers(-(2**40), 2**41),
    st.none() | st.integers(1, 2**40),
    st.integers(0, 2**40),
)
def test_times_that_pass_are_within_every_bound(now, expires_at, longest, latest):
    try:
        check_times("edge", now=now, expires_at=expires_at, longest=longest, latest=latest)
    except (StorageInvalidRequestError, StorageUnsupportedError):
        assert expires_at <= now or (longest and expires_at - now > longest) or expires_at > latest
    else:
        assert now < expires_at <= min(latest, now + (longest or 2**41))


@pytest.mark.parametrize("now", [True, 1.0, "1", -1])
def test_now_is_a_whole_second_too(now):
    with pytest.raises(StorageInvalidRequestError):
        check_times("edge", now=now, expires_at=LATER)
