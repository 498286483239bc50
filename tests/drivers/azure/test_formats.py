"""Names, tags and documents of Azure: reversible, and harmless whatever comes."""

import contextlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from credstore.driver.header_text import read_etag
from credstore.driver.values import ContentHeaders
from credstore.drivers.azure.blocks import block_id, number_of, plan_block_size
from credstore.drivers.azure.errors import CODES, meaning_of
from credstore.drivers.azure.headers import (
    content_headers,
    decode_name,
    decode_tag,
    encode_name,
    encode_tag,
    metadata_headers,
    read_metadata,
    tag_headers,
)
from credstore.drivers.azure.responses import classify, parse_content_range, parse_info
from credstore.drivers.azure.xml import (
    parse_blocks,
    parse_delegation_key,
    parse_error,
    parse_list,
    parse_tags,
)
from credstore.errors import StorageError, StorageIntegrityError, StorageInvalidRequestError
from credstore.wire.multipart import parse_parts

TOKEN = "abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~"
NAMES = st.one_of(st.text(TOKEN, min_size=1, max_size=12), st.text("a_25d-f3", min_size=1, max_size=10))
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=40)


@settings(max_examples=500)
@given(NAMES)
@example("_5f2d")
@example("_32")
def test_a_name_of_metadata_survives_as_an_identifier(name):
    encoded = encode_name(name)
    assert encoded.replace("_", "a").isalnum()
    assert not encoded[0].isdigit()
    assert decode_name(encoded) == decode_name(encoded.upper()) == name


@given(st.from_regex(r"\A[A-Za-z][A-Za-z0-9]{0,8}(_[G-Zg-z][A-Za-z0-9]{0,5}){0,3}\Z"))
def test_a_name_that_others_gave_stays_as_it_is(name):
    assert decode_name(name) == name.lower()
    assert encode_name(decode_name(name)) == name.lower()


@given(st.dictionaries(NAMES, TEXT, max_size=6))
def test_metadata_survives_its_headers(metadata):
    headers = metadata_headers(metadata)
    assert all(value and value.isascii() and value == value.strip() for value in headers.values())
    assert read_metadata(headers) == metadata


@given(TEXT)
@example("=2D")
@example("=C3=B6")
@example("=ö=3D")
def test_a_tag_survives_in_the_characters_that_azure_allows(text):
    encoded = encode_tag(text)
    assert all(each.isascii() and (each.isalnum() or each in " +-./:=_") for each in encoded)
    assert decode_tag(encoded) == text


def test_a_tag_that_others_gave_stays_as_it_is():
    for text in ("x = y+z", "=C3", "=FF", "a=b", "=zz"):
        assert decode_tag(text) == text
    with pytest.raises(StorageInvalidRequestError, match="10 tags"):
        tag_headers({str(number): "" for number in range(11)})


@given(st.from_regex(r"\A[0-9a-f]{32}\Z"), st.integers(1, 50_000), st.integers(1, 50_000))
def test_a_block_says_which_write_it_is_of(write_id, one, other):
    assert number_of(write_id, block_id(write_id, one)) == one
    assert len(block_id(write_id, one)) == len(block_id(write_id, other)) <= 64
    assert number_of("0" * 31 + "g", block_id(write_id, one)) is None
    for foreign in ("", "AAAA", "not base64", "w6TDtsO8"):
        assert number_of(write_id, foreign) is None


def test_blocks_grow_so_that_fifty_thousand_suffice():
    mib = 1 << 20
    for length in (1, 8 * mib * 50_000, 8 * mib * 50_000 + 1, 4000 * mib * 50_000):
        size = plan_block_size(length, 8 * mib)
        assert size <= 4000 * mib
        assert -(-length // size) <= 50_000
    with pytest.raises(StorageInvalidRequestError, match="more than 50000 blocks"):
        plan_block_size(4000 * mib * 50_000 + 1, 8 * mib)


XML = st.one_of(
    st.binary(max_size=200),
    st.text("<>/ab=\"'&;!-[]DOCTYPE ", max_size=80).map(str.encode),
    st.sampled_from(
        [
            b"<EnumerationResults/>", b"<EnumerationResults><Blobs><Blob/></Blobs></EnumerationResults>",
            b"<BlockList><UncommittedBlocks><Block/></UncommittedBlocks></BlockList>", b"<Tags/>",
            b'<!DOCTYPE a [<!ENTITY b "c">]><Tags>&b;</Tags>', b"<UserDelegationKey/>", b"<Error/>",
        ]
    ),
)  # fmt: skip


@settings(max_examples=300)
@given(XML)
def test_no_document_does_more_than_be_refused(body):
    for parse in (parse_list, parse_blocks, parse_tags, parse_error, parse_delegation_key):
        with contextlib.suppress(StorageIntegrityError):
            parse(body)


@settings(max_examples=300)
@given(
    st.sampled_from(["multipart/mixed; boundary=b", "multipart/mixed", "", 'x; boundary="b"']),
    st.one_of(
        st.binary(max_size=200),
        st.lists(
            st.sampled_from(
                [
                    "--b",
                    "--b--",
                    "\r\n",
                    "\r\n\r\n",
                    "\n\n",
                    "Content-ID: 0",
                    "HTTP/1.1 202 A",
                    "HTTP/1.1 x",
                    "x: y",
                ]
            ),
            max_size=14,
        ).map(lambda parts: "".join(parts).encode()),
    ),
)
def test_no_batch_does_more_than_be_refused(content_type, body):
    with contextlib.suppress(StorageIntegrityError):
        parse_parts(content_type, body)


@settings(max_examples=200)
@given(
    st.integers(100, 599),
    st.dictionaries(st.sampled_from(["x-ms-error-code", "x-ms-request-id", "x-ms-version", "etag"]), TEXT),
    st.one_of(st.just(b""), XML),
)
def test_every_response_is_a_success_or_an_error_of_ours(status, headers, body):
    found = classify(status, headers, body)
    assert (found is None) == (200 <= status < 300)
    assert found is None or isinstance(found, StorageError)
    parse_info("key", headers, size=1, served_by="azure")


def test_every_code_has_a_message_of_its_own():
    for code, meaning in CODES.items():
        assert meaning_of(409, code) is meaning, code
        assert meaning.message


@pytest.mark.parametrize(
    ("text", "found"),
    [("bytes 0-4/10", (0, 5, 10)), ("bytes 5-4/10", None), ("bytes 0-10/10", None), ("", None), (None, None)],
)
def test_ranges_that_say_something(text, found):
    assert parse_content_range(text) == found


def test_entity_tags_and_content_headers():
    assert [read_etag(text) for text in ('"0x8D"', "0x8D", 'W/"0x8D"', "", None, '"a", "b"')] == [
        "0x8D", "0x8D", 'W/"0x8D"', None, None, None,
    ]  # fmt: skip
    with pytest.raises(StorageInvalidRequestError, match="printable ASCII"):
        content_headers(ContentHeaders(content_type="text/plain\r\nx: y"))
