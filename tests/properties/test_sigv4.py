"""Signatures of generated requests against botocore's signer, and of AWS's published examples."""

import re
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from unittest.mock import patch
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials as BotocoreCredentials
from botocore.session import Session
from hypothesis import given, settings
from hypothesis import strategies as st

from credstore.driver.upload_forms import FormRequest, form_parts
from credstore.encryption import Secret
from credstore.wire.aws.credentials import Credentials
from credstore.wire.aws.sigv4 import UNSIGNED_PAYLOAD, form_fields, presign_query, sign_headers
from credstore.wire.urls import encode_path, encode_query

AWKWARD = " +%?#&'\"~*/.:;=@!$(),[]<>|\\^`{}-_é中\U0001f600\u00a0"
KEYS = st.one_of(
    st.text(alphabet=AWKWARD + "aZ09", min_size=1, max_size=30),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30),
    st.sampled_from(["a//b", "//", "./../x", "a/./b", "..", "a b+c%20d", "%2F", "x?y#z"]),
)
TEXT = st.text(alphabet=AWKWARD + "aZ09", max_size=20)
NAMES = st.text(alphabet="abz09-XA", min_size=1, max_size=12)
# Distinct names, as a URL's query of S3 has them; values may be empty.
QUERIES = st.dictionaries(NAMES, TEXT, max_size=5).map(lambda found: list(found.items()))
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)
HEADERS = st.dictionaries(
    st.one_of(
        st.sampled_from(["content-type", "content-md5", "range", "if-none-match", "x-amz-copy-source"]),
        st.text(alphabet="abz09-", min_size=1, max_size=12).map("x-amz-meta-{}".format),
    ),
    VALUES,
    max_size=12,
)
TOKENS = st.none() | st.text(alphabet="abZ09+/=", min_size=1, max_size=40)
BOTOCORE = Session()
"""Has read its models once."""
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001


@st.composite
def cases(draw):
    token = draw(TOKENS)
    return {
        "method": draw(st.sampled_from(["GET", "PUT", "HEAD", "DELETE", "POST"])),
        "host": draw(st.sampled_from(["b.s3.eu-west-1.amazonaws.com", "127.0.0.1:9000", "[::1]:9000"])),
        "path": encode_path("/" + draw(KEYS)),
        "query": draw(QUERIES),
        "headers": draw(HEADERS),
        "region": draw(st.sampled_from(["us-east-1", "auto", "eu-central-003"])),
        "now": draw(TIMES),
        "credentials": Credentials("AKID", Secret(draw(TEXT)), Secret(token) if token else None),
    }


def botocore_signs(signer, case, body: bytes = b"", **options):
    """The request as botocore would send it."""
    credentials = case["credentials"]
    token = credentials.session_token.reveal() if credentials.session_token else None
    keys = BotocoreCredentials(credentials.access_key_id, credentials.secret_access_key.reveal(), token)
    query = encode_query(case["query"])
    url = f"https://{case['host']}{case['path']}" + (f"?{query}" if query else "")
    request = AWSRequest(case["method"], url, {**case["headers"], "Host": case["host"]}, body)
    with patch("botocore.auth.get_current_datetime", return_value=case["now"]):
        signer(keys, "s3", case["region"], **options).add_auth(request)
    return request


@settings(max_examples=200, deadline=None)
@given(cases(), st.binary(max_size=40))
def test_headers_are_those_of_botocore(case, body):
    expected = botocore_signs(S3SigV4Auth, case, body)
    signed = sign_headers(payload_hash=sha256(body).hexdigest(), service="s3", **case)
    assert signed == {
        name: expected.headers[name]
        for name in ("authorization", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token")
        if name in expected.headers
    }


@settings(max_examples=200, deadline=None)
@given(cases(), st.integers(1, 604_800))
def test_links_are_those_of_botocore(case, expires_in):
    url = urlsplit(botocore_signs(S3SigV4QueryAuth, case, expires=expires_in).url)
    query = presign_query(expires_in=expires_in, service="s3", **case)
    assert sorted(parse_qsl(query, keep_blank_values=True)) == sorted(
        parse_qsl(url.query, keep_blank_values=True)
    )


@st.composite
def forms(draw):
    secret, token = draw(st.text(alphabet="abZ09+/=", min_size=1, max_size=40)), draw(TOKENS)
    return {
        "request": FormRequest(
            key=draw(KEYS.filter(lambda key: "${filename}" not in key)),
            below=draw(st.booleans()),
            min_size=draw(st.integers(0, 100)),
            max_size=draw(st.integers(100, 5 * 1024**3)),
            content_type=draw(st.none() | VALUES.filter(str.strip)),
            success_status=draw(st.sampled_from([200, 201, 204])),
        ),
        "headers": draw(st.sampled_from([{}, {"x-amz-server-side-encryption": "AES256"}])),
        "expires_in": draw(st.integers(1, 604_800)),
        "region": draw(st.sampled_from(["us-east-1", "eu-west-1", "ap-southeast-4"])),
        "now": draw(TIMES),
        "keys": ("AKID", secret, token),
    }


@settings(max_examples=60, deadline=None)
@given(forms())
def test_forms_are_those_of_botocore(form):
    request, now = form["request"], form["now"].replace(microsecond=0)
    parts = form_parts(request, "proofs", form["headers"])
    key_id, secret, token = form["keys"]
    signed = form_fields(
        conditions=parts.conditions,
        expires_at=now + timedelta(seconds=form["expires_in"]),
        credentials=Credentials(key_id, Secret(secret), Secret(token) if token else None),
        region=form["region"],
        service="s3",
        now=now,
    )
    client = BOTOCORE.create_client(
        "s3",
        region_name=form["region"],
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(signature_version="s3v4"),
    )
    fields = {name: value for name, value in parts.fields.items() if name != "key"}
    conditions = [["content-length-range", request.min_size, request.max_size]]
    conditions += [{name: value} for name, value in fields.items()]
    with (
        patch("botocore.auth.get_current_datetime", return_value=now.replace(tzinfo=None)),
        patch("botocore.signers.get_current_datetime", return_value=now.replace(tzinfo=None)),
    ):
        theirs = client.generate_presigned_post(
            "proofs",
            request.key + "${filename}" * request.below,
            Fields=fields,
            Conditions=conditions,
            ExpiresIn=form["expires_in"],
        )
    assert {**parts.fields, **signed} == theirs["fields"]


@settings(max_examples=200, deadline=None)
@given(KEYS)
def test_a_path_decodes_to_its_key_and_holds_nothing_to_encode(key):
    path = encode_path(key)
    assert unquote(path, errors="strict") == key
    assert re.fullmatch(r"(?:[A-Za-z0-9._~/-]|%[0-9A-F]{2})*", path)
    assert path.count("/") == key.count("/")


@settings(max_examples=200, deadline=None)
@given(QUERIES)
def test_a_query_decodes_to_its_pairs_in_the_order_that_is_signed(pairs):
    query = encode_query(pairs)
    assert sorted(parse_qsl(query, keep_blank_values=True)) == sorted(pairs)
    assert "+" not in query
    assert encode_query(list(reversed(pairs))) == query


# The bucket, keys and time of AWS's examples: "Authorization Header" and "Query Parameters" in the
# S3 API reference, "Authenticating Requests (AWS Signature Version 4)".
EXAMPLE = {
    "host": "examplebucket.s3.amazonaws.com",
    "credentials": Credentials("AKIAIOSFODNN7EXAMPLE", Secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")),
    "region": "us-east-1",
    "service": "s3",
    "now": datetime(2013, 5, 24, tzinfo=UTC),
}


@pytest.mark.parametrize(
    ("target", "query", "headers", "body", "signature"),
    [
        (
            "GET /test.txt",
            [],
            {"range": "bytes=0-9"},
            b"",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT /test%24file.text",
            [],
            {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
            b"Welcome to Amazon S3.",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET /",
            [("lifecycle", "")],
            {},
            b"",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET /",
            [("prefix", "J"), ("max-keys", "2")],
            {},
            b"",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_the_published_examples_of_headers(target, query, headers, body, signature):
    method, path = target.split(" ")
    signed = sign_headers(
        method=method,
        path=path,
        query=query,
        headers=headers,
        payload_hash=sha256(body).hexdigest(),
        **EXAMPLE,
    )
    names = ";".join(sorted({*headers, "host", "x-amz-content-sha256", "x-amz-date"}))
    assert signed["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        f"SignedHeaders={names}, Signature={signature}"
    )


def test_the_published_example_of_a_link():
    query = presign_query(method="GET", path="/test.txt", query=[], headers={}, expires_in=86400, **EXAMPLE)
    assert query.endswith("&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404")


def test_a_time_of_any_zone_is_signed_as_utc():
    case = {**EXAMPLE, "now": datetime(2013, 5, 24, 2, tzinfo=timezone(timedelta(hours=2)))}
    asked = {
        "method": "GET",
        "path": "/",
        "query": [],
        "headers": {},
        "payload_hash": sha256().hexdigest(),
    }
    assert sign_headers(**asked, **case) == sign_headers(**asked, **EXAMPLE)


@pytest.mark.parametrize("value", ["a\tb", "a  b", "\ta\tb", " a b", "a b ", "a \t b"])
def test_blanks_are_signed_as_one_and_not_at_the_ends(value):
    def signed(text):
        return sign_headers(
            method="PUT",
            host="h",
            path="/k",
            query=(),
            headers={"x-amz-meta-a": text},
            payload_hash=UNSIGNED_PAYLOAD,
            credentials=Credentials("AKID", Secret("s")),
            region="r",
            service="s3",
            now=datetime(2026, 1, 1, tzinfo=UTC),
        )

    assert signed(value) == signed("a b")
