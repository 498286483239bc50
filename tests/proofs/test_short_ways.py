"""The short ways of reading and writing what is usual agree with the long ones, on it and on all near it."""

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from credstore.errors import StorageInvalidRequestError
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
from credstore.proofs.format.record import (
    LARGEST_CLAIMS,
    LARGEST_PAYLOAD,
    AssetDigest,
    SoftBinding,
    _read_any,
    _statement,
    encode_record,
    read_record,
)
from tests.proofs.material import EXPIRES, ID, ISSUED, OTHER_ID, P256, RECORD, SIGNER, issue, statement

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


def told(read, *given):
    """What is returned, or the words of the refusal."""
    try:
        return read(*given)
    except (ProofFormatError, StorageInvalidRequestError) as error:
        return error.message


def long_record(value):
    """As `read_record`, without the short way."""
    record = _read_any(value, 1000)
    if record.expires_at is not None and record.expires_at <= record.issued_at:
        raise ProofFormatError("expiresAt is not after issuedAt")
    if record.supersedes == record.proof_id:
        raise ProofFormatError("supersedes is the proof's own id")
    return record


def long_payload(record):
    """As `encode_record`, without the short way."""
    try:
        value = _statement(record, usual=False)
        payload = encode_json(value)
        if len(payload) > LARGEST_PAYLOAD:
            raise ProofFormatError(f"the statement has more than {LARGEST_PAYLOAD} bytes")
        read_record(value, size=len(payload))
    except ProofFormatError as error:
        raise StorageInvalidRequestError(f"this record cannot be issued: {error.message}") from None
    return payload


NAMES = st.sampled_from(
    [
        "_type",
        "subject",
        "predicateType",
        "predicate",
        "name",
        "digest",
        "sha256",
        "sha512",
        "proofId",
        "issuer",
        "issuedAt",
        "expiresAt",
        "asset",
        "size",
        "mediaType",
        "softBindings",
        "manifest",
        "claims",
        "uri",
        "supersedes",
        "critical",
        "more",
    ]
)
VALUES = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        1,
        -1,
        2**53,
        1.5,
        "",
        "asset",
        "x",
        "�",
        "a\nb",
        ID,
        OTHER_ID,
        "text/plain",
        'a/b;"',
        "https://other.example",
        "no uri",
        "2026-01-02T03:04:05.678Z",
        "2027-02-30T03:04:05.678Z",
        "a" * 64,
        [],
        {},
        [1],
        {"a": 1},
        ["claims"],
        {"alg": "a", "value": "b"},
        [{"alg": "a", "value": "b"}],
        {"size": 1},
    ]
)


def places(value):
    """Every object and array in a value."""
    yield value
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, dict | list):
            yield from places(each)


@given(st.data())
@settings(max_examples=1500, deadline=None)
def test_changed_statements_are_read_as_before(data):
    value = deepcopy(
        data.draw(st.sampled_from([statement(), statement(claims={"a": [1]}), statement(expiresAt=None)]))
    )
    for _ in range(data.draw(st.integers(0, 2))):
        found = list(places(value))
        place = found[data.draw(st.integers(0, len(found) - 1))]
        if isinstance(place, dict):
            name = data.draw(st.sampled_from(sorted(place)) if place and data.draw(st.booleans()) else NAMES)
            if data.draw(st.booleans()):
                place.pop(name, None)
            else:
                place[name] = deepcopy(data.draw(VALUES))
        elif data.draw(st.booleans()):
            place.append(deepcopy(data.draw(VALUES)))
        else:
            place.clear()
    assert told(lambda given: read_record(given, size=1000), value) == told(long_record, value)


@pytest.mark.parametrize(
    "value", [None, 1, "x", [], {}, [[]], {"subject": []}, {"subject": {}, "predicate": {}}]
)
def test_what_is_no_statement_is_refused_as_before(value):
    assert told(lambda given: read_record(given, size=1000), value) == told(long_record, value)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**54), 2**54)
    | st.floats()
    | st.text(max_size=3)
    | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
INSTANTS = st.sampled_from(
    [
        ISSUED,
        EXPIRES,
        ISSUED + timedelta(microseconds=999),
        ISSUED + timedelta(milliseconds=1),
        ISSUED.replace(tzinfo=None),
        ISSUED + timedelta(microseconds=1),
        ISSUED - timedelta(microseconds=1),
        datetime.max.replace(tzinfo=UTC),
    ]
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "proof_id": st.sampled_from([ID, OTHER_ID, ID.upper(), ID + "\n", "", "x"]),
        "issuer": st.sampled_from(
            ["https://other.example", "urn:a%20b", "", "x", "a:b\n", 'a:"', "a:" + "b" * 254]
        ),
        "issued_at": INSTANTS,
        "expires_at": st.none() | INSTANTS,
        "asset": st.builds(
            AssetDigest,
            st.sampled_from([bytes(32), bytes(31), b""]),
            st.sampled_from([0, 1, -1, 2**53 - 1, 2**53]),
            st.sampled_from([None, bytes(64), bytes(63)]),
        ),
        "media_type": st.sampled_from(
            [None, "image/jpeg", 'a/b;c="d\\"', "x", "", "a/b\n", "a/" + "b" * 254]
        ),
        "soft_bindings": st.sampled_from([(), (SoftBinding("a", "b"),), (SoftBinding("", "b"),)]),
        "claims": st.none() | st.dictionaries(st.text(max_size=3), JSON, max_size=3),
        "uri": st.sampled_from([None, "x", "", "\ud800"]),
        "supersedes": st.sampled_from([None, ID, OTHER_ID, "x"]),
        "critical": st.sampled_from([(), ("claims",), ("x",)]),
    },
)


@given(CHANGES)
@settings(max_examples=1500, deadline=None)
def test_records_are_written_as_before(changes):
    record = replace(RECORD, **changes)
    assert told(encode_record, record) == told(long_payload, record)


@pytest.mark.parametrize(
    "size", [LARGEST_CLAIMS - 600, LARGEST_CLAIMS - 8, LARGEST_CLAIMS - 7, LARGEST_PAYLOAD]
)
def test_records_with_large_claims_are_written_as_before(size):
    record = replace(RECORD, claims={"a": "x" * size})
    assert told(encode_record, record) == told(long_payload, record)


@pytest.mark.parametrize("depth", [29, 30, 31])
def test_records_with_deep_claims_are_written_as_before(depth):
    claims = {}
    for _ in range(depth):
        claims = {"a": claims}
    record = replace(RECORD, claims=claims)
    assert told(encode_record, record) == told(long_payload, record)


def envelope_of(payload, sig):
    return encode_json(envelope_members(Envelope(payload, (Signature("sha256:" + "a" * 64, sig),))))


@pytest.mark.parametrize("sig", [1, 1023, 1024, 1025, 1026, 1027, 1050])
def test_signatures_as_long_as_before_are_read(sig):
    data = envelope_of(b"x", bytes(sig))
    assert result(parse_envelope, data) == result(long_envelope, data)


@pytest.mark.parametrize("more", [-1, 0, 1, 2, 3])
def test_payloads_as_long_as_before_are_read(more):
    data = envelope_of(bytes(LARGEST_PAYLOAD + more), b"x")
    assert result(parse_envelope, data) == result(long_envelope, data)


@pytest.mark.parametrize(
    "text", [b"eA", b"eA==", b"eB==", b"eA=", b"=eA=", b"e-8=", b"e/8=", b"", b"eA==eA=="]
)
def test_base64_has_one_form_as_before(text):
    for member in (b'"payload":"eA=="', b'"sig":"eA=="'):
        data = envelope_of(b"x", b"x").replace(member, member.replace(b"eA==", text))
        assert result(parse_envelope, data) == result(long_envelope, data)
