"""V4 signatures of links against the code of google-cloud-storage, with the same key."""

from datetime import UTC, datetime, timedelta
from unittest.mock import patch
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from google.auth import crypt
from google.cloud.storage import Client
from google.cloud.storage._signing import generate_signed_url_v4
from google.oauth2.service_account import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from credstore.driver.upload_forms import FormRequest, form_parts
from credstore.wire.google.v4 import Unsigned, form_fields, signable, signed_url
from credstore.wire.urls import encode_path

ACCOUNT = "signer@acme.iam.gserviceaccount.com"
KEY = rsa.generate_private_key(65537, 2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
THEIRS = Credentials(crypt.RSASigner.from_string(PEM), ACCOUNT, "https://oauth2.example/token")
CLIENT = Client("project", THEIRS)
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


@settings(max_examples=80, deadline=None)
@given(
    key=NAMES,
    content_type=st.none() | VALUES,
    status=st.sampled_from([200, 201, 204]),
    sizes=st.tuples(st.integers(0, 100), st.integers(100, 5 * 1024**4)),
    expires=st.integers(1, 604_800),
    moment=st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)),  # noqa: DTZ001 - hypothesis wants them naive
)
def test_forms_are_those_of_the_vendors_client(key, content_type, status, sizes, expires, moment):  # noqa: PLR0917
    moment = moment.replace(microsecond=0)
    request = FormRequest(
        key=key, min_size=sizes[0], max_size=sizes[1], content_type=content_type, success_status=status
    )
    parts = form_parts(request, "proofs")
    now = moment.replace(tzinfo=UTC)
    ours = form_fields(parts.conditions, ACCOUNT, expires_at=now + timedelta(seconds=expires), now=now)
    stamps = f"{moment:%Y%m%dT%H%M%SZ}", f"{moment:%Y%m%d}"
    with (
        patch("google.cloud.storage.client.get_v4_now_dtstamps", return_value=stamps),
        patch("google.cloud.storage.client._NOW", return_value=now),
    ):
        theirs = CLIENT.generate_signed_post_policy_v4(
            "proofs",
            key,
            timedelta(seconds=expires),
            conditions=[["content-length-range", *sizes]],
            fields={name: value for name, value in parts.fields.items() if name != "key"},
            credentials=THEIRS,
        )
    signature = sign(ours["policy"].encode()).hex()
    assert {**parts.fields, **ours, "x-goog-signature": signature} == theirs["fields"]
