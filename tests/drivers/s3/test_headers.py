"""Values as S3 headers and back, exactly."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from credstore.driver import ContentHeaders
from credstore.driver.header_text import decode_text, encode_text, read_etag
from credstore.drivers.s3.dialect import DIALECTS
from credstore.drivers.s3.headers import (
    content_headers,
    layout_of,
    metadata_headers,
    read_content_headers,
    read_metadata,
    storage_headers,
)
from credstore.errors import StorageInvalidRequestError

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")))


@settings(max_examples=200, deadline=None)
@given(TEXT)
@example("=?UTF-8?B?eA==?=")
@example("a =?utf-8?q?b?= c")
@example(" blank ends ")
@example("é" * 500)
@example("🦀" * 12)
@example("")
def test_text_survives_a_header(text):
    encoded = encode_text(text)
    assert encoded.isascii()
    assert encoded.isprintable()
    assert encoded == encoded.strip()
    assert all(len(word) <= 75 for word in encoded.split(" ")) or encoded == text
    assert decode_text(encoded) == text


def test_plain_text_stays_readable():
    assert encode_text('plain: "quoted", 100%') == 'plain: "quoted", 100%'
    assert encode_text("é") == "=?UTF-8?B?w6k=?="


@pytest.mark.parametrize(
    ("received", "meant"),
    [
        ("=?utf-8?Q?caf=C3=A9_au_lait?=", "café au lait"),
        ("=?ISO-8859-1?q?caf=E9?=", "café"),
        ("=?UTF-8?B?w6k=?= =?UTF-8?B?w6k=?=", "éé"),
        ("é sent as it is", "é sent as it is"),
        ("=?klingon?B?eA==?=", "=?klingon?B?eA==?="),
        ("=?utf-8?B?!!!?=", "=?utf-8?B?!!!?="),
        ("=?utf-8?B?/w==?=", "=?utf-8?B?/w==?="),
        ("see =?utf-8?B?eA==?=", "see =?utf-8?B?eA==?="),
    ],
)
def test_what_others_wrote_is_read_or_left_alone(received, meant):
    assert decode_text(received) == meant


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.from_regex(r"[a-z0-9][a-z0-9-]{0,10}", fullmatch=True), TEXT, max_size=4))
def test_metadata_survives_headers(metadata):
    headers = {"etag": "x", **metadata_headers(metadata)}
    assert read_metadata(layout_of(tuple(headers)).metadata, headers) == metadata


def test_content_headers_survive():
    headers = ContentHeaders(
        content_type="a/b",
        content_encoding="gzip",
        cache_control="c",
        content_disposition="d",
        content_language="e",
    )
    assert read_content_headers(content_headers(headers)) == headers
    assert content_headers(ContentHeaders()) == {}


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ("aws-chunked", None),
        ("gzip,aws-chunked", "gzip"),
        ("aws-chunked, gzip", "gzip"),
        ("AWS-CHUNKED,gzip, br", "gzip, br"),
        ("", None),
        ("gzip", "gzip"),
        (None, None),
    ],
)
def test_the_transfers_own_encoding_is_no_part_of_the_objects(stored, read):
    found = read_content_headers({"content-encoding": stored} if stored is not None else {})
    assert found.content_encoding == read


@pytest.mark.parametrize("value", ["a\r\nx-amz-acl: public-read", "a\nb", "\x00", "é", "a\x7f"])
def test_k12_no_header_can_be_left(value):
    with pytest.raises(StorageInvalidRequestError, match="content-disposition"):
        content_headers(ContentHeaders(content_disposition=value))


def test_k12_metadata_cannot_leave_its_header_either():
    encoded = metadata_headers({"a": "x\r\nx-amz-acl: public-read"})["x-amz-meta-a"]
    assert "\r" not in encoded
    assert "\n" not in encoded


def test_tags_are_one_query_string():
    found = storage_headers(None, {"a b": "1&2=3", "é": "+"}, DIALECTS["s3"])
    assert found == {"x-amz-tagging": "a%20b=1%262%3D3&%C3%A9=%2B"}


def test_quotes_of_an_etag():
    assert [read_etag(text) for text in ('"a"', "a", '""', "", None)] == ["a", "a", None, None, None]
