"""Plain writes by what is kept of their options: the same requests as without, checked as strictly."""

import asyncio
from dataclasses import fields, replace
from hashlib import sha256
from unittest.mock import ANY

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore.config.settings import CommonConfig
from credstore.config.stores import S3Config
from credstore.driver import BytesBody, PutRequest
from credstore.driver import same_options as module
from credstore.drivers.s3.dialect import S3
from credstore.drivers.s3.driver import S3Driver
from credstore.drivers.s3.headers import SHA256, condition_headers, format_sha256
from credstore.drivers.s3.put_headers import PutHeaders
from credstore.drivers.s3.requests import object_headers
from credstore.encryption import ClientSide, CustomerKey, KmsKey, Secret
from credstore.errors import StorageError, StorageInvalidRequestError
from credstore.keyring.local import LocalKey
from credstore.keyring.ring import KeyRing
from credstore.pipeline.envelope import open_at_once
from credstore.pipeline.header import parse_header
from credstore.provider import encryption, plans
from credstore.provider.plans import plain_write, sealed_write
from credstore.provider.session import Session
from credstore.provider.write import plan_write
from credstore.testing import ScriptedAnswer, ScriptedTransport

CANARY = "canary-metadata-value"
TEXT = st.text(st.characters(codec="ascii", min_codepoint=33, max_codepoint=126), min_size=1, max_size=8)
WRONG = [0, 1, "", "\n", "no\ttab", None, b"x", [], {"a": 1}, {"a": "b\n"}, -1.0, float("nan"), True, False]
PLAIN = {
    "content_type": TEXT,
    "cache_control": TEXT,
    "content_disposition": TEXT,
    "content_language": TEXT,
    "storage_class": st.sampled_from(["STANDARD_IA", "GLACIER"]),
    "if_absent": st.booleans(),
    "encryption": st.sampled_from([True, False, None, "AES256"]),
    "compress": st.sampled_from([False, None]),
    "metadata": st.dictionaries(TEXT.map(lambda text: text.encode().hex()), TEXT, max_size=2),
    "timeout": st.floats(0.5, 50),
    "progress": st.just(print),
}
OTHER = {
    "if_match": TEXT.map(lambda text: text.encode().hex()),
    "encryption": st.sampled_from([KmsKey("k"), CustomerKey(bytes(32))]),
    "compress": st.sampled_from([True, "gzip", "zstd"]),
    "tags": st.dictionaries(TEXT, TEXT, min_size=1, max_size=2),
}
NAMES = sorted({*PLAIN, *OTHER, "colour"})
OPTIONS = st.fixed_dictionaries({}, optional=PLAIN)
ODD = st.sampled_from(sorted(OTHER)).flatmap(lambda name: st.fixed_dictionaries({name: OTHER[name]}))
BAD = st.builds(lambda name, value: {name: value}, st.sampled_from(NAMES), st.sampled_from(WRONG))


RING = KeyRing(LocalKey(bytes(range(32))))
OWN = ClientSide(RING, store_id="own")
CALLS = ClientSide(RING, store_id="calls", chunk_size=4096)


def session_of(policy=None, **settings):
    settings = {"access_key_id": "AKID", "secret_access_key": Secret("s"), "region": "eu-west-1", **settings}
    config = S3Config(bucket="bucket", **settings)
    answer = ScriptedAnswer(200, b"", {"etag": '"x"', "x-amz-request-id": "r"})
    return Session(S3Driver(config, transport=ScriptedTransport(answer)), config, encryption=policy)


SHARED = session_of()
SEALING = session_of(OWN)


async def outcome(planned):
    try:
        found = await planned
    except StorageError as error:
        return type(error), error.code, error.message
    request, content_type = found
    known = {each.name: getattr(request, each.name) for each in fields(PutRequest)}
    # What is fresh each time; and an empty mapping is an empty mapping.
    known.update(write_id=ANY, deadline=known["deadline"] and ANY)
    return {name: value or None for name, value in known.items()}, content_type


@given(OPTIONS)
def test_most_writes_are_plain(options):
    assert plain_write("k", BytesBody(b"x"), options, SHARED) is not None


async def general(key, body, options, session):
    write = await plan_write(key, body, options, session)
    return write.request, write.content_type


async def plain(key, body, options, session):
    found = plain_write(key, body, options, session)
    return await general(key, body, options, session) if found is None else found


@given(OPTIONS, st.just({}) | ODD | BAD, st.binary(max_size=20))
def test_a_plain_write_is_what_the_general_way_would_have_made_of_it(options, other, data):
    options = {**options, **other}

    async def main():
        body = BytesBody(data)
        wanted = await outcome(general("k", body, options, session_of()))
        for session in (session_of(), SHARED, SHARED):  # Where it is made, and where it may be kept already.
            assert await outcome(plain("k", body, options, session)) == wanted

    asyncio.run(main())


async def sealed(key, body, options, session):
    found = await sealed_write(key, body, options, session)
    return await general(key, body, options, session) if found is None else found


async def opened(planned, data, store_id):
    """What came of it, with the plain bytes in the place of the sealed ones."""
    kept = None

    async def request():
        nonlocal kept
        kept = await planned
        return kept

    found = await outcome(request())
    if kept is None:
        return found
    stored = kept[0].body.data
    header = parse_header(stored, complete=True)
    assert (kept[0].digest, header.write_id) == (sha256(stored).digest(), kept[0].write_id)
    key = await RING.unwrap(header.key_id, header.wrapped, store_id=store_id)
    plain, _ = open_at_once(stored, header, key, store_id=store_id, name="k")
    if header.codec is None:
        assert plain == data
    facts = {**found[0], "body": (header.codec, header.chunk_size, len(stored)), "digest": None}
    return facts, found[1]


@given(OPTIONS, st.just({}) | ODD | BAD | st.just({"encryption": CALLS}), st.binary(max_size=20))
def test_a_sealed_write_is_what_the_general_way_would_have_made_of_it(options, other, data):
    options = {**options, **other}
    store_id = "calls" if options.get("encryption") is CALLS else "own"

    async def main():
        body = BytesBody(data)
        wanted = await opened(general("k", body, options, session_of(OWN)), data, store_id)
        for session in (session_of(OWN), SEALING, SEALING):
            assert await opened(sealed("k", body, options, session), data, store_id) == wanted

    asyncio.run(main())


@given(OPTIONS)
def test_most_sealed_writes_are_planned(options):
    options = {name: value for name, value in options.items() if name != "encryption"}
    for session, more in ((SEALING, {}), (SEALING, {"encryption": CALLS}), (SHARED, {"encryption": CALLS})):
        given = {**options, **more}
        assert asyncio.run(sealed_write("k", BytesBody(b"x"), given, session)) is not None
        assert given == {**options, **more}


def test_what_is_kept_for_sealed_writes_is_never_taken_for_plain_ones():
    session = session_of()
    for options in ({}, {"content_type": "a/b"}):
        asyncio.run(sealed_write("k", BytesBody(b"x"), {**options, "encryption": CALLS}, session))
        assert plain_write("k", BytesBody(b"x"), options, session)[0].body.data == b"x"
        found = asyncio.run(sealed_write("k", BytesBody(b"x"), {**options, "encryption": CALLS}, session))
        assert encryption.begins_sealed(found[0].body.data)
        assert asyncio.run(sealed_write("k", BytesBody(b"x"), options, session)) is None
        assert plain_write("k", BytesBody(b"x"), options, SEALING) is None


def test_a_sealed_write_that_is_refused_asks_for_no_key(monkeypatch):
    asked = []
    monkeypatch.setattr(encryption, "sealed_bytes", asked.append)
    monkeypatch.setattr(plans, "sealed_bytes", asked.append)
    for bad in (
        {"metadata": {"a": "b\n"}},
        {"cache_control": "\n"},
        {"colour": 1},
        {"storage_class": "X Y\t"},
    ):
        with pytest.raises(StorageError):
            asyncio.run(sealed("k", BytesBody(b"x"), bad, SEALING))
    assert asked == []


def test_only_what_is_sealed_on_the_loop_is_planned():
    for size, planned in ((encryption.INLINE, True), (encryption.INLINE + 1, False)):
        found = asyncio.run(sealed_write("k", BytesBody(bytes(size)), {}, SEALING))
        assert (found is not None) is planned


def test_the_end_of_a_write_is_as_far_away_as_its_options_size_and_settings_say():
    for settings, options, seconds in (
        ({}, {}, CommonConfig.timeout),
        ({"timeout": 5.0}, {}, 5.0),
        ({"timeout": 5.0}, {"timeout": 7.0}, 7.0),
        ({"bandwidth_limit": 10_000}, {"timeout": 7.0}, None),
    ):
        session = session_of(**settings)
        for size in (0, 128 * 1024):
            found = plain_write("k", BytesBody(bytes(size)), options, session)
            near = session.deadline(1.0) - 1.0
            if seconds is None:
                assert found[0].deadline is None
            else:
                assert found[0].deadline == pytest.approx(near + seconds + size / (128 * 1024), abs=5)


def test_what_is_kept_is_little_and_holds_nothing_of_an_object():
    session = session_of()
    for number in range(200):
        given = {"content_type": f"text/x-{number}", "metadata": {"a": CANARY}, "timeout": 1.0}
        plain_write("k", BytesBody(b"x"), given, session)
        assert 1 <= len(session.plans) <= plans._MOST
    shown = repr([(kept, plan.fields) for kept, plan in session.plans.items()])
    assert CANARY not in shown
    before = len(session.plans)
    assert plain_write("k", BytesBody(b"x"), {"encryption": CustomerKey(bytes(32))}, session) is None
    assert len(session.plans) == before


def test_a_store_that_has_changed_is_asked_again():
    session = session_of()
    plain_write("k", BytesBody(b"x"), {"if_absent": True}, session)
    driver = session.driver
    able = replace(driver.capabilities, conditional_create=False)
    driver._dialect = replace(driver._dialect, capabilities=able)
    with pytest.raises(StorageError, match="if_absent"):
        plain_write("k", BytesBody(b"x"), {"if_absent": True}, session)


def request_of(session, **options):
    return plain_write("k", BytesBody(b"x"), options, session)[0]


def expected(request, digest):
    """The headers of an object, with the checksum that S3 compares."""
    checksum = {} if digest is None else {SHA256: format_sha256(digest)}
    return object_headers(request, S3, digest) | checksum


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=6), st.booleans(), st.none() | st.just(bytes(32)))
def test_headers_that_are_kept_are_those_that_would_be_made(kinds, absent, digest):
    session, headers = session_of(), PutHeaders(S3)
    for kind in kinds:
        metadata = {"n": "é"} if kind == "b" else {}
        request = request_of(session, content_type=kind, if_absent=absent, metadata=metadata)
        made = headers.of(request, digest)
        assert made == expected(request, digest) | condition_headers(request.precondition, S3)
        made["spoilt"] = "by its owner"
    key = CustomerKey(bytes(range(32)))
    for rare in ({"tags": {"a": "b"}}, {"encryption": key}, {"extras": {"expires": "x"}}):
        request = replace(request_of(session), **rare)
        assert headers.of(request, digest) == expected(request, digest)
    assert "customer" not in repr(headers._same._kept)


def test_few_headers_are_kept(monkeypatch):
    monkeypatch.setattr(module, "_MOST", 3)
    session, headers = session_of(), PutHeaders(S3)
    for number in range(10):
        headers.of(request_of(session, content_type=str(number)), None)
        assert 1 <= len(headers._same._kept) <= 3


def test_an_option_that_equals_a_right_one_is_still_wrong():
    session = session_of()
    plain_write("k", BytesBody(b"x"), {"if_absent": True}, session)
    with pytest.raises(StorageInvalidRequestError, match="if_absent"):
        asyncio.run(plan_write("k", BytesBody(b"x"), {"if_absent": 1}, session))
    assert plain_write("k", BytesBody(b"x"), {"if_absent": 1}, session) is None
