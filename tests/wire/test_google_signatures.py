"""V4 signatures of links against the code of google-cloud-storage, with the same key."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from google.auth import crypt
from google.cloud.storage._signing import generate_signed_url_v4
from google.oauth2.service_account import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from credstore.wire.google.v4 import Unsigned, signable, signed_url
from credstore.wire.urls import encode_path

ACCOUNT = "signer@acme.iam.gserviceaccount.com"
KEY = rsa.generate_private_key(65537, 2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
THEIRS = Credentials(crypt.RSASigner.from_string(PEM), ACCOUNT, "https://oauth2.example/token")
AWKWARD = " +%?#&'\"~*/.:;=@!$(),[]<>|\\^`{}-_é中\U0001f600\u00a0"
NAMES = st.text(alphabet=AWKWARD + "aZ09", min_size=1, max_size=30)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30).filter(
    str.strip
)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["content-type", "content-md5", "x-goog-meta-a", "x-goog-content-length-range", "cache-control"]
    ),
    VALUES,
    max_size=4,
)


def sign(text: bytes) -> bytes:
    return KEY.sign(text, padding.PKCS1v15(), hashes.SHA256())


@settings(max_examples=150, deadline=None)
@given(
    key=NAMES,
    method=st.sampled_from(["GET", "HEAD", "PUT", "DELETE"]),
    headers=HEADERS,
    disposition=st.none() | VALUES,
    type_=st.none() | VALUES,
    generation=st.none() | st.integers(1, 2**62).map(str),
    expires=st.integers(1, 604_800),
    moment=st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)),  # noqa: DTZ001 - hypothesis wants them naive
    origin=st.sampled_from(
        ["https://storage.googleapis.com", "https://proofs.example", "http://127.0.0.1:4443"]
    ),
)
def test_links_are_those_of_the_vendors_client(  # noqa: PLR0917
    key, method, headers, disposition, type_, generation, expires, moment, origin
):
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    query = {
        "response-content-disposition": disposition,
        "response-content-type": type_,
        "generation": generation,
    }
    link = Unsigned(
        method=method,
        origin=origin,
        path=f"/proofs/{encode_path(key)}",
        signed_at=moment,
        expires_in=expires,
        query={name: value for name, value in query.items() if value is not None},
        headers=headers,
    )
    url, text = signable(link, ACCOUNT)
    ours = signed_url(url, sign(text))
    theirs = generate_signed_url_v4(
        THEIRS,
        f"/proofs/{quote(key, safe=b'/~')}",
        timedelta(seconds=expires),
        api_access_endpoint=origin,
        method=method,
        response_disposition=disposition,
        response_type=type_,
        generation=generation,
        headers=dict(headers),
        _request_timestamp=f"{moment:%Y%m%dT%H%M%SZ}",
    )
    # The order of what is before the signature is free in a URL; in what is signed it is not.
    assert urlsplit(ours).path == urlsplit(theirs).path
    assert sorted(parse_qsl(urlsplit(ours).query)) == sorted(parse_qsl(urlsplit(theirs).query))


@pytest.mark.parametrize(
    "change", [{"method": "PUT"}, {"path": "/proofs/b"}, {"expires_in": 61}, {"query": {"a": "b"}}]
)
def test_what_is_signed_depends_on_all_of_the_link(change):
    told = {
        "method": "GET", "origin": "https://storage.googleapis.com", "path": "/proofs/a",
        "signed_at": datetime(2026, 1, 1, tzinfo=UTC), "expires_in": 60,
    }  # fmt: skip
    assert signable(Unsigned(**told), ACCOUNT)[1] != signable(Unsigned(**{**told, **change}), ACCOUNT)[1]
