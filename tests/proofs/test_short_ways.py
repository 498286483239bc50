"""The short ways of reading and writing what is usual agree with the long ones, on it and on all near it."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from credstore.proofs.format.canonical import DEEPEST, _decode, encode_json, parse_canonical, parse_json
from credstore.proofs.format.dsse import (
    LARGEST_ENVELOPE,
    Envelope,
    Signature,
    encode_envelope,
    envelope_members,
    parse_envelope,
    read_envelope,
)
from credstore.proofs.format.errors import ProofFormatError
from tests.proofs.material import P256, SIGNER, issue

LIMIT = 1024 * 1024
USUAL = encode_envelope(issue())
PAYLOAD = issue(claims={"text": "a/b", "list": [1, None, True], "n": -7}).payload


def result(read, data):
    try:
        return read(data)
    except ProofFormatError:
        return None


def long_envelope(data):
    return read_envelope(parse_json(data, limit=LARGEST_ENVELOPE), "the envelope")


def long_canonical(data):
    value = _decode(data, LIMIT, DEEPEST)
    if encode_json(value) != data:
        raise ProofFormatError("not canonical")
    return value


@given(st.integers(0, len(USUAL) - 1), st.integers(0, 2), st.binary(max_size=2))
@settings(max_examples=1500, deadline=None)
def test_changed_envelopes_are_read_as_before(place, removed, added):
    data = USUAL[:place] + added + USUAL[place + removed :]
    assert result(parse_envelope, data) == result(long_envelope, data)


@pytest.mark.parametrize(
    "data",
    [
        USUAL,
        USUAL + b"\n",
        b" " + USUAL,
        USUAL.replace(b'{"payload":"e', b'{"payload":"\\u0065'),
        USUAL.replace(b'{"payload":"', b'{"payload":"\\"'),
        USUAL.replace(b'{"payload":"', b'{"payload":"\t'),
        USUAL.replace(b'{"payload":"', b'{"payload":"\xc3\xa9'),
        USUAL.replace(b"sha256:", b"sha512:"),
        USUAL.replace(b'"sig":"', b'"sig":"='),
        USUAL[:-1] + b',"more":1}',
        USUAL[:40],
        b'{"payload":"',
    ],
)
def test_unusual_envelopes_are_read_as_before(data):
    assert result(parse_envelope, data) == result(long_envelope, data)


@pytest.mark.parametrize(
    "envelope",
    [
        issue(),
        issue(P256),
        issue(SIGNER, P256),
        Envelope(b"", (Signature("", b"x"),)),
        Envelope(b"x", (Signature('sha256:"\u20ac', b"x"),)),
        Envelope(b"x", (Signature("sha256:" + "a" * 64 + "\n", b"x"),)),
    ],
)
def test_envelopes_are_written_as_before(envelope):
    assert encode_envelope(envelope) == encode_json(envelope_members(envelope))


@given(st.integers(0, len(PAYLOAD) - 1), st.integers(0, 2), st.binary(max_size=2))
@settings(max_examples=1500, deadline=None)
def test_changed_payloads_are_read_as_before(place, removed, added):
    data = PAYLOAD[:place] + added + PAYLOAD[place + removed :]
    found = result(lambda data: parse_canonical(data, limit=LIMIT), data)
    assert repr(found) == repr(result(long_canonical, data))


@given(st.text(alphabet='{}[]",:019.-e\\ud8/a \t\n', max_size=24).map(str.encode))
@example(b'{"a":1,"a":1}')
@example(b'{"a":1.5}')
@example(b'{"a":1e400}')
@example(b'{"a":-0}')
@example(b'{"a":NaN}')
@example(b'{"a":9007199254740992}')
@example(b'"\\ud800"')
@example(b'"\\u00e9"')
@example(b'"\\/"')
@example(b"[1] ")
@example(b" [1]")
@example(b"[1][1]")
@example(b"[" * 32 + b"]" * 32)
@example(b"[" * 33 + b"]" * 33)
@example(b"")
@settings(max_examples=1500, deadline=None)
def test_other_json_is_read_as_before(data):
    found = result(lambda data: parse_canonical(data, limit=LIMIT), data)
    assert repr(found) == repr(result(long_canonical, data))
