"""JSON with one meaning: what is refused, and that the quick way writes what rfc8785 writes."""

import json
import math

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from credstore.proofs.format.canonical import encode_json, parse_canonical, parse_json
from credstore.proofs.format.errors import ProofFormatError
from tests.proofs.material import INDEPENDENT

LIMIT = 1024 * 1024
INTEGERS = st.integers(-(2**53) + 1, 2**53 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False).filter(
    lambda x: not (x.is_integer() and 2**53 - 1 < abs(x) < 1e21)
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | INTEGERS | FLOATS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_all_three_write_the_same(value):
    data = encode_json(value)
    assert data == rfc8785.dumps(value)
    assert data.decode() == INDEPENDENT.jcs(value)


@given(VALUES)
def test_what_was_written_reads_back(value):
    assert parse_json(encode_json(value), limit=LIMIT) == value
    assert INDEPENDENT.strict(encode_json(value), LIMIT) == value


@given(VALUES, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_one_value_has_one_canonical_form(value, ascii_only, indent):
    again = parse_json(json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode(), limit=LIMIT)
    assert encode_json(again) == encode_json(value)


BROKEN = {
    "a name twice": b'{"a":1,"a":1}',
    "a name twice, escaped": b'{"a":1,"\\u0061":1}',
    "a name twice, deep": b'[{"x":{"a":1,"a":2}}]',
    "NaN": b"[NaN]",
    "Infinity": b"[-Infinity]",
    "a float beyond a double": b"[1e400]",
    "2^53": b"[9007199254740992]",
    "-2^53": b"[-9007199254740992]",
    "a long integer": b"[" + b"9" * 5000 + b"]",
    "a lone surrogate": b'["\\ud800"]',
    "a lone surrogate as a name": b'{"\\udfff":1}',
    "a surrogate in UTF-8": b'["\xed\xa0\x80"]',
    "bytes that are no UTF-8": b'["\xff"]',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"a":1}',
    "nothing": b"",
    "two values": b"{}{}",
    "cut off": b'{"a":',
    "a comma too many": b"[1,]",
    "a comment": b"{} // here",
    "single quotes": b"{'a':1}",
    "a control character": b'["\n"]',
    "33 arrays": b"[" * 33 + b"]" * 33,
    "33 objects": b'{"a":' * 33 + b"1" + b"}" * 33,
    "a hundred thousand arrays": b"[" * 100_000,
    "too many bytes": b'"' + b"x" * LIMIT + b'"',
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_could_be_read_in_two_ways_is_refused(case):
    with pytest.raises(ProofFormatError):
        parse_json(BROKEN[case], limit=LIMIT)
    with pytest.raises((ValueError, RecursionError)):
        INDEPENDENT.strict(BROKEN[case], LIMIT)


@pytest.mark.parametrize("case", BROKEN)
def test_what_could_be_read_in_two_ways_is_not_canonical_either(case):
    with pytest.raises(ProofFormatError):
        parse_canonical(BROKEN[case], limit=LIMIT)


@given(VALUES)
def test_the_canonical_form_is_read_and_no_other(value):
    data = encode_json(value)
    assert parse_canonical(data, limit=len(data)) == value
    for other in (data + b"\n", b" " + data, json.dumps(value, indent=1).encode()):
        if other != data:
            with pytest.raises(ProofFormatError):
                parse_canonical(other, limit=LIMIT)


@pytest.mark.parametrize("data", [b'{"a":1}', b'{"a":1.5}', '{"a":"é"}'.encode()])
@pytest.mark.parametrize("read", [parse_json, parse_canonical])
def test_as_many_bytes_as_allowed_are_read_and_no_more(read, data):
    assert read(data, limit=len(data))
    with pytest.raises(ProofFormatError, match="at most"):
        read(data, limit=len(data) - 1)


@pytest.mark.parametrize("read", [parse_json, parse_canonical])
def test_the_deepest_value_and_the_largest_integers_are_read_and_no_others(read):
    for good in (b"[" * 32 + b"]" * 32, b"[9007199254740991]", b"[-9007199254740991]"):
        assert read(good, limit=LIMIT)
    for bad in (b"[" * 33 + b"]" * 33, b"[9007199254740992]", b"[-9007199254740992]"):
        with pytest.raises(ProofFormatError):
            read(bad, limit=LIMIT)


def test_a_text_of_brackets_is_not_deep():
    for data in (b'["' + b"[" * 50 + b'"]', b"[" + b",".join([b"{}"] * 50) + b"]"):
        assert parse_canonical(data, limit=LIMIT) == json.loads(data)


@pytest.mark.parametrize("number", [float(2**53 - 1), -float(2**53 - 1), 1e21, -1e21])
def test_integral_floats_are_written_up_to_what_every_reader_holds(number):
    assert encode_json([number]) == rfc8785.dumps([number])


def test_a_number_longer_than_any_double_is_refused():
    with pytest.raises(ProofFormatError, match="more digits"):
        parse_json(b"[0." + b"1" * 30 + b"]", limit=LIMIT)


@pytest.mark.parametrize(
    "number", [-1.8183930009364257e-06, -1.7976931348623157e308, 5e-324, 1e21, 123456789012345.67]
)
def test_the_longest_numbers_are_read(number):
    data = encode_json([number])
    assert parse_json(data, limit=LIMIT) == [number]
    assert INDEPENDENT.jcs([number]).encode() == data == rfc8785.dumps([number])


def test_the_deepest_value_is_read():
    assert parse_json(b"[" * 32 + b"]" * 32, limit=LIMIT)


@pytest.mark.parametrize(
    "value",
    [
        math.nan, math.inf, 2**53, -(2**53), 2.0**53, 1e20, -(2.0**53), -1e20, "\ud800", {"\ud800": 1}, {1: 1}, {None: 1}, b"bytes",
        (1, 2), {"a": {1, 2}}, object(), [[]] * 3 + [object()], {"é": b""}, [1.5, "\udfff"],
    ],
)  # fmt: skip
def test_what_json_lacks_is_not_written(value):
    with pytest.raises(ProofFormatError):
        encode_json(value)


def test_a_value_that_contains_itself_is_not_written():
    value = []
    value.append(value)
    with pytest.raises(ProofFormatError, match="deep"):
        encode_json(value)
