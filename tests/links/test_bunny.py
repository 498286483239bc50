"""bunny.net: every vector of its e2e suite, and the message recomputed."""

import base64
import hashlib
import hmac
import ipaddress
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore.encryption import Secret
from credstore.errors import StorageConfigurationError, StorageUnsupportedError
from credstore.links.bunny import BunnySigner
from tests.links.signers import LATER, NOW, URL

HOST = "https://token-tester.b-cdn.net"
EXPIRES = 1598024587
BEFORE = EXPIRES - 60
V4, V6 = {"ip": "1.2.3.4"}, {"ip": "2001:0db8:85a3:0000:0000:8a2e:0370:7334"}
ALLOWED, BLOCKED = {"countries": ("CA", "US")}, {"countries_blocked": ("RU", "CN")}
DIRECTORY = {"form": "directory"}


def make(key="SecurityKey", **settings):
    return BunnySigner(key=Secret(key), **settings)


@pytest.mark.parametrize(
    ("settings", "url", "path"),
    [
        ({}, "/300kb.jpg", "/300kb.jpg?token=HS256-o10JRWlsAItyAsdKS6jJKjabHN4FrFsplDHPV1idcX4"),
        (ALLOWED, "/300kb.jpg", "/300kb.jpg?token=HS256-i5s3Uv7mnrFfN5nznwU2BxhILpnipYeE18TapV0WNFM&token_countries=CA%2CUS"),
        (BLOCKED, "/300kb.jpg", "/300kb.jpg?token=HS256-JS8dSuBSjSH-W2-xhdkCPC36-2rlxfDCQJjlNMPqKZQ&token_countries_blocked=RU%2CCN"),
        ({"token_path": "/abc"}, "/abc/300kb.jpg", "/abc/300kb.jpg?token=HS256-uVZvT3SbEoVKYJyDJgbcsDmSFf73cv-uNUVaJiKWpbQ&token_path=%2Fabc"),
        ({"ignore_parameters": True}, "/300kb.jpg", "/300kb.jpg?token=HS256-1lwWBD_c1IAGSj1UKPoxreu8ePDQ-Z9FoWLcRn_RRH0&token_ignore_params=true"),
        ({"speed_limit": 1000}, "/300kb.jpg", "/300kb.jpg?token=HS256-DAVapqNNED3Z7JkjRTYX0UOIHNtbHEuuhRNEc4A7mMQ&limit=1000"),
        (V4, "/300kb.jpg", "/300kb.jpg?token=HS256-1-L2rISTLcujMY9UFf2tbZ41d5i-Bme1g1oTK_Z2QMLJk"),
        (V6, "/300kb.jpg", "/300kb.jpg?token=HS256-1-Z1BaGdhTZdU4iANcyKpurFR2VgCNdqC6hlBv5x_TyaI"),
        ({**V4, **ALLOWED, **DIRECTORY}, "/abc/", "/bcdn_token=HS256-1-4lIDGI2_t3wiTmopXzB7z71wtZKTe1Ic0lDlL72iAJw&token_countries=CA%2CUS"),
        ({**V6, **ALLOWED, **DIRECTORY}, "/abc/", "/bcdn_token=HS256-1-LGpoP8i1bV4P1kN4NrO_iYxLJuLAD2R3Clstsy9kWAc&token_countries=CA%2CUS"),
        ({**V4, "speed_limit": 5000, **DIRECTORY}, "/abc/", "/bcdn_token=HS256-1-X01Z6A9xAo1_ds1XFf9y8gAIzk_JpmoevOx7EtgMQhY&limit=5000"),
        ({**V4, "token_path": "/abc"}, "/abc/300kb.jpg", "/abc/300kb.jpg?token=HS256-1-wag9tC0r1QWfg-2eMj5QcdzgPLCIdQb-D0WVU1Mhg2w&token_path=%2Fabc"),
        ({**V4, "ignore_parameters": True}, "/300kb.jpg", "/300kb.jpg?token=HS256-1-rWalmQRJ-A_qrb08-JoeU3b-gOS5mJiJjPOfDWa0gsQ&token_ignore_params=true"),
        ({**V4, **BLOCKED}, "/300kb.jpg", "/300kb.jpg?token=HS256-1-myF6Rnz7Z9VAfAjjkyUHJQ_6gr-AJ7VyPsG5rQdQKm8&token_countries_blocked=RU%2CCN"),
        ({**V6, **BLOCKED}, "/300kb.jpg", "/300kb.jpg?token=HS256-1-XGkCf_JKNfOrpWAM_CIYjZBbVHbB4U1mxHg8pXJtBNc&token_countries_blocked=RU%2CCN"),
        ({}, "/300kb.jpg?v=123", "/300kb.jpg?token=HS256-q6oRQr-5ccQ-piO1HSEQu1DVMy9UMppRxGlIQwoeM5Y&v=123"),
        (DIRECTORY, "/abc/", "/bcdn_token=HS256-bTMv4RVOkjx2UXLfVDl-JIygaxfSIQP8UCnCy7CILuY"),
        ({"token_path": "/abc", **DIRECTORY}, "/abc/", "/bcdn_token=HS256-uVZvT3SbEoVKYJyDJgbcsDmSFf73cv-uNUVaJiKWpbQ&token_path=%2Fabc"),
        ({"token_path": "/", "countries": ("CA",)}, "/300kb.jpg", "/300kb.jpg?token=HS256-JWU7jhpnBGI-O54AYDAtrlZT86Ied4RTO2-Y8mUj60A&token_countries=CA&token_path=%2F"),
        ({"algorithm": "SHA256"}, "/300kb.jpg", "/300kb.jpg?token=DlAr_yuteDmLE0l9_myLDuNMbGzKG67E5uBEAp3vnvw"),
    ],
)  # fmt: skip
def test_published_vectors(settings, url, path):
    tail = url if "form" in settings else ""
    assert (
        make(**settings).sign(HOST + url, now=BEFORE, expires_at=EXPIRES)
        == f"{HOST}{path}&expires={EXPIRES}{tail}"
    )


def test_the_older_token_has_data_and_then_the_address():
    link = make(algorithm="SHA256", **V4, **ALLOWED).sign(URL, now=NOW, expires_at=LATER)
    text = f"SecurityKey/a/b.json{LATER}token_countries=CA,US1.2.3.4"
    token = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
    assert link == f"{URL}?token={token}&token_countries=CA%2CUS&expires={LATER}"


def test_added_parameters_stay_where_they_are_ignored():
    link = make(ignore_parameters=True).sign(HOST + "/300kb.jpg?v=1+2&v=3", now=BEFORE, expires_at=EXPIRES)
    assert link == (
        f"{HOST}/300kb.jpg?token=HS256-1lwWBD_c1IAGSj1UKPoxreu8ePDQ-Z9FoWLcRn_RRH0&token_ignore_params=true"
        f"&expires={EXPIRES}&v=1+2&v=3"
    )


NAMES = st.from_regex(r"[a-z][a-z0-9]{0,6}", fullmatch=True).filter(
    lambda name: name not in {"token", "expires", "limit"}
)
VALUES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=6).filter(
    lambda text: not {"&", "'"} & {*text}
)


@given(
    st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="/."),
        min_size=1,
        max_size=9,
    ),
    st.dictionaries(NAMES, VALUES, max_size=3),
    st.none() | st.ip_addresses().filter(lambda ip: not getattr(ip, "scope_id", None)),
    st.integers(NOW + 1, NOW + 10**6),
)
def test_the_edge_computes_the_same(key, query, ip, expires_at):
    url = f"https://cdn.example.com/{quote(key)}"
    asked = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
    link = make(ip=None if ip is None else str(ip)).sign(
        f"{url}?{asked}" if asked else url, now=NOW, expires_at=expires_at
    )
    parts = urlsplit(link)
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    token, expires = given.pop("token"), given.pop("expires")
    assert given == query
    seen = b""
    if ip is not None:
        network = ipaddress.ip_network(f"{ip}/{32 if ip.version == 4 else 64}", strict=False)
        seen = network.network_address.packed
    data = "&".join(f"{name}={value}" for name, value in sorted(given.items()))
    message = parts.path.encode() + expires.encode() + seen + data.encode()
    mac = (
        base64.urlsafe_b64encode(hmac.new(b"SecurityKey", message, hashlib.sha256).digest())
        .decode()
        .rstrip("=")
    )
    assert token == ("HS256-" if ip is None else "HS256-1-") + mac


@pytest.mark.parametrize(
    "query",
    [
        "v=1&v=2",
        "v=a+b",
        "v=1%26limit%3D9",
        "a%26b=1",
        "a%3Db=1",
        "1a=2",
        "=1",
        "a=1&",
        "%20a=1",
        "v=1&%76=2",
    ],
)
def test_parameters_that_can_be_read_in_two_ways_are_refused(query):
    with pytest.raises(StorageUnsupportedError, match="unescaped"):
        make().sign(f"{URL}?{query}", now=NOW, expires_at=LATER)


def test_a_token_in_the_path_has_no_query():
    with pytest.raises(StorageUnsupportedError, match="form='query'"):
        make(form="directory").sign(URL + "?a=b", now=NOW, expires_at=LATER)


def test_a_token_path_must_cover_the_object():
    with pytest.raises(StorageUnsupportedError, match="`token_path`"):
        make(token_path="/b").sign(URL, now=NOW, expires_at=LATER)


@pytest.mark.parametrize("lost", [ALLOWED, BLOCKED, {"speed_limit": 5}])
def test_what_would_be_ignored_is_refused(lost):
    with pytest.raises(StorageConfigurationError, match="`ignore_parameters`"):
        make(ignore_parameters=True, **lost)
