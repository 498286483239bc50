"""The statement: round trips, and each field's rule."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore.errors import StorageInvalidRequestError
from credstore.proofs.format.canonical import encode_json
from credstore.proofs.format.errors import ProofFormatError
from credstore.proofs.format.ids import derive_proof_id, new_proof_id
from credstore.proofs.format.record import (
    AssetDigest,
    ManifestLink,
    ProofRecord,
    SoftBinding,
    encode_record,
    parse_record,
)
from tests.proofs.material import (
    ASSET,
    EXPIRES,
    ID,
    INDEPENDENT,
    ISSUED,
    ISSUER,
    NOW,
    OTHER_ID,
    RECORD,
    TRUST,
    bundle,
    seal,
    statement,
)
from tests.proofs.test_canonical import TEXTS, VALUES

PLAIN = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30)
TIMES = st.datetimes(datetime(1000, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001
    lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000)
)
MEDIA_TYPES = st.sampled_from(["image/jpeg", "application/c2pa", 'text/plain; charset="utf-8"', "a/b+c"])
URIS = st.sampled_from(["https://issuer.example/a?b=c#d", "urn:x:y", "did:web:issuer.example", "x:%41"])
DIGESTS = st.binary(min_size=32, max_size=32)
SIZES = st.integers(0, 2**53 - 1)


@st.composite
def records(draw):
    issued = draw(TIMES)
    lifetime = draw(st.none() | st.integers(1, 10**12))
    return ProofRecord(
        proof_id=str(draw(st.uuids())),
        issuer=draw(URIS),
        issued_at=issued,
        asset=AssetDigest(draw(DIGESTS), draw(SIZES), draw(st.none() | st.binary(min_size=64, max_size=64))),
        expires_at=None if lifetime is None else issued + timedelta(milliseconds=lifetime),
        media_type=draw(st.none() | MEDIA_TYPES),
        soft_bindings=tuple(draw(st.lists(st.builds(SoftBinding, PLAIN, PLAIN), max_size=3))),
        manifest=draw(st.none() | st.builds(ManifestLink, DIGESTS, SIZES, MEDIA_TYPES, st.none() | URIS)),
        claims=draw(st.none() | st.dictionaries(TEXTS, VALUES, max_size=3)),
        uri=draw(st.none() | PLAIN),
        supersedes=draw(st.none() | st.just(ID)),
        critical=draw(st.sampled_from([(), ("claims",), ("asset", "supersedes")])),
    )


@given(records())
def test_every_record_reads_back(record):
    payload = encode_record(record)
    assert parse_record(payload) == record
    assert encode_record(parse_record(payload)) == payload


@given(records(), records())
def test_two_records_have_two_payloads(one, other):
    assert (one == other) == (encode_record(one) == encode_record(other))


BROKEN = {
    "id in upper case": {"proofId": ID.upper()},
    "id that leads elsewhere": {"proofId": "../../../../etc/passwd"},
    "id with a slash": {"proofId": ID[:-3] + "/.."},
    "id with a line end": {"proofId": ID + "\n"},
    "id with Unicode digits": {"proofId": ID[:-1] + "١"},
    "id that is a number": {"proofId": 5},
    "no id": {"proofId": None},
    "issuer without scheme": {"issuer": "issuer.example"},
    "issuer with a space": {"issuer": "https://issuer.example/a b"},
    "issuer with a broken escape": {"issuer": "https://issuer.example/%zz"},
    "issuer too long": {"issuer": "x:" + "y" * 254},
    "issuer outside of ASCII": {"issuer": "https://isśuer.example"},
    "no issuer": {"issuer": None},
    "time as a number": {"issuedAt": 1767323045678},
    "time as a float": {"issuedAt": 1767323045.678},
    "time without milliseconds": {"issuedAt": "2026-01-02T03:04:05Z"},
    "time with microseconds": {"issuedAt": "2026-01-02T03:04:05.678901Z"},
    "time with an offset": {"issuedAt": "2026-01-02T03:04:05.678+00:00"},
    "time with a small z": {"issuedAt": "2026-01-02t03:04:05.678z"},
    "time in no calendar": {"issuedAt": "2026-02-30T03:04:05.678Z"},
    "time in the year 0": {"issuedAt": "0000-01-02T03:04:05.678Z"},
    "leap second": {"issuedAt": "2026-06-30T23:59:60.000Z"},
    "expiry before issue": {"expiresAt": "2025-01-02T03:04:05.678Z"},
    "expiry at issue": {"expiresAt": "2026-01-02T03:04:05.678Z"},
    "null expiry": {"expiresAt": [None]},
    "no asset": {"asset": None},
    "asset without size": {"asset": {"mediaType": "text/plain"}},
    "size that is negative": {"asset": {"size": -1}},
    "size that is a float": {"asset": {"size": 5.5}},
    "size that is true": {"asset": {"size": True}},
    "size that is a string": {"asset": {"size": "5"}},
    "media type without a slash": {"asset": {"size": 5, "mediaType": "text"}},
    "media type with a line end": {"asset": {"size": 5, "mediaType": "text/plain\r\nx: y"}},
    "soft bindings that are none": {"asset": {"size": 5, "softBindings": []}},
    "soft bindings that are too many": {
        "asset": {"size": 5, "softBindings": [{"alg": "a", "value": "b"}] * 17}
    },
    "a soft binding without value": {"asset": {"size": 5, "softBindings": [{"alg": "a"}]}},
    "manifest without digest": {"manifest": {"mediaType": "application/c2pa", "size": 1}},
    "manifest with a short digest": {
        "manifest": {"mediaType": "application/c2pa", "size": 1, "digest": {"sha256": "00"}}
    },
    "manifest with a script for a place": {
        "manifest": {"mediaType": "a/b", "size": 1, "digest": {"sha256": "0" * 64}, "uri": "no place"}
    },
    "claims that are an array": {"claims": []},
    "claims too large": {"claims": {"x": "y" * 256 * 1024}},
    "uri with a control character": {"uri": "a\x00b"},
    "uri that is empty": {"uri": ""},
    "supersedes itself": {"supersedes": ID},
    "supersedes something else": {"supersedes": "that one"},
    "critical member that is unknown": {"critical": ["notBefore"], "notBefore": 1},
    "critical that is empty": {"critical": []},
    "critical that is a string": {"critical": "claims"},
    "critical with a number": {"critical": [1]},
}


def refuse_everywhere(value):
    payload = encode_json(value)
    with pytest.raises(ProofFormatError):
        parse_record(payload)
    with pytest.raises(ValueError):
        INDEPENDENT.verify(bundle(seal(payload)), keys(), NOW)


def keys():
    from credstore.proofs.format.trust import encode_trust_store

    return encode_trust_store(TRUST)


@pytest.mark.parametrize("case", BROKEN)
def test_a_field_that_breaks_its_rule_is_refused(case):
    refuse_everywhere(statement(**BROKEN[case]))


def with_subject(*subjects):
    return {**statement(), "subject": list(subjects)}


GOOD = statement()["subject"][0]
SHAPES = {
    "an array": [statement()],
    "another type": {**statement(), "_type": "https://in-toto.io/Statement/v0.1"},
    "another predicate": {**statement(), "predicateType": "https://credstore.dev/proof/v2"},
    "a predicate like ours": {**statement(), "predicateType": "https://credstoreXdev/proof/v1"},
    "a revocation": {**statement(), "predicateType": "https://credstore.dev/revocation/v1"},
    "an unknown member": {**statement(), "extra": 1},
    "no predicate": {name: value for name, value in statement().items() if name != "predicate"},
    "no subject": with_subject(),
    "two subjects": with_subject(GOOD, GOOD),
    "another name": with_subject({**GOOD, "name": "manifest"}),
    "a subject with more": with_subject({**GOOD, "uri": "https://issuer.example"}),
    "another digest": with_subject({**GOOD, "digest": {"md5": "0" * 32}}),
    "a digest too many": with_subject({**GOOD, "digest": {**GOOD["digest"], "md5": "0" * 32}}),
    "a digest in upper case": with_subject({**GOOD, "digest": {"sha256": "A" * 64}}),
    "a short digest": with_subject({**GOOD, "digest": {"sha256": "0" * 63}}),
    "a short sha512": with_subject({**GOOD, "digest": {**GOOD["digest"], "sha512": "0" * 127}}),
}


@pytest.mark.parametrize("case", SHAPES)
def test_a_statement_of_another_shape_is_refused(case):
    refuse_everywhere(SHAPES[case])


@pytest.mark.parametrize(
    "change",
    [
        lambda payload: payload + b"\n",
        lambda payload: b" " + payload,
        lambda payload: payload.replace(b'":"', b'": "', 1),
        lambda payload: payload.replace(b"hello", b"hell\\u006f").replace(b"text/plain", b"text\\/plain"),
        lambda payload: payload.replace(b'"size":5', b'"size":5.0'),
        lambda payload: payload.replace(b'"size":5', b'"size":5e0'),
        lambda payload: payload.replace(b'"size":5', b'"size":05'),
        lambda payload: payload.replace(b'"size":5', b'"size":5,"size":5'),
        lambda payload: payload.replace(
            b'{"mediaType":"text/plain","size":5}', b'{"size":5,"mediaType":"text/plain"}'
        ),
    ],
)
def test_other_bytes_of_the_same_meaning_are_refused_though_signed(change):
    payload = change(encode_record(RECORD))
    assert payload != encode_record(RECORD)
    with pytest.raises(ProofFormatError):
        parse_record(payload)
    with pytest.raises(ValueError):
        INDEPENDENT.verify(bundle(seal(payload)), keys(), NOW)


def test_unknown_members_of_the_predicate_are_ignored():
    payload = encode_json(
        statement(notBefore="later", asset={"mediaType": "text/plain", "size": 5, "width": 3})
    )
    assert parse_record(payload) == RECORD
    assert INDEPENDENT.verify(bundle(seal(payload)), keys(), NOW)["notBefore"] == "later"


@pytest.mark.parametrize(
    "changes",
    [
        {"proof_id": "x"}, {"issuer": "x"}, {"issued_at": NOW.replace(tzinfo=None)}, {"expires_at": ISSUED},
        {"asset": AssetDigest(b"short", 5)}, {"asset": AssetDigest(bytes(32), -1)}, {"claims": {"a": object()}},
        {"claims": {"a": float("nan")}}, {"claims": {"a": 2**53}}, {"claims": {"a": "x" * 256 * 1024}},
        {"supersedes": ID}, {"media_type": "x"}, {"critical": ("x",)}, {"uri": "\ud800"},
        {"soft_bindings": (SoftBinding("", ""),)}, {"manifest": ManifestLink(b"", 1)},
    ],
)  # fmt: skip
def test_a_record_that_breaks_a_rule_is_not_issued(changes):
    with pytest.raises(StorageInvalidRequestError, match="cannot be issued"):
        encode_record(replace(RECORD, **changes))


def test_times_are_cut_to_milliseconds_in_utc():
    east = timezone(timedelta(hours=5))
    record = replace(RECORD, issued_at=ISSUED.replace(microsecond=678999).astimezone(east))
    assert parse_record(encode_record(record)) == RECORD


def test_the_repr_shows_no_claims():
    assert "private" not in repr(replace(RECORD, claims={"who": "private"}))


def test_new_ids_are_uuid_7_and_sort_by_time():
    one = new_proof_id(ISSUED, bytes(10))
    assert one == "019b7ca9-8f2e-7000-8000-000000000000"
    assert new_proof_id(ISSUED, b"\xff" * 10) == "019b7ca9-8f2e-7fff-bfff-ffffffffffff"
    assert one < new_proof_id(ISSUED + timedelta(milliseconds=1), bytes(10))
    for now, randomness in (
        (ISSUED, bytes(9)),
        (ISSUED.replace(tzinfo=None), bytes(10)),
        (datetime(1969, 1, 1, tzinfo=UTC), bytes(10)),
    ):
        with pytest.raises(StorageInvalidRequestError):
            new_proof_id(now, randomness)


def test_derived_ids_depend_on_every_part_and_on_where_it_ends():
    digest = RECORD.asset.sha256
    ids = {
        derive_proof_id(ISSUER, digest, "key"),
        derive_proof_id(ISSUER + "k", digest, "ey"),
        derive_proof_id(ISSUER, bytes(32), "key"),
        derive_proof_id(ISSUER, digest, "key2"),
    }
    assert len(ids) == 4
    for key in ("", "x" * 256, "a\nb", "\ud800"):
        with pytest.raises(StorageInvalidRequestError):
            derive_proof_id(ISSUER, digest, key)
    with pytest.raises(StorageInvalidRequestError):
        derive_proof_id(ISSUER, b"short", "key")


def test_an_asset_is_measured():
    assert AssetDigest.of(memoryview(ASSET)) == AssetDigest.of(ASSET) == RECORD.asset
    assert EXPIRES > ISSUED
    assert OTHER_ID != ID


@pytest.mark.parametrize(
    "time",
    [
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-1))),
    ],
)
def test_a_time_beyond_the_calendar_in_utc_is_refused(time):
    with pytest.raises(StorageInvalidRequestError, match="years 1 to 9999"):
        encode_record(replace(RECORD, expires_at=time))
