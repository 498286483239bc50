"""Time that outlives keys: tokens of OpenSSL's authorities, requested over HTTP, stored, used, renewed."""

import asyncio
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from credstore.errors import StorageConfigurationError, StorageConnectionError, StorageUnavailableError
from credstore.proofs import (
    AllOf,
    IssuedBy,
    ProofKeyRevokedError,
    ProofPolicyError,
    ProofTimestampError,
    ProofUntrustedKeyError,
    TimestampAuthorities,
    TimestampAuthority,
    TimestampClient,
    Timestamped,
    TrustStore,
    encode_trust_store,
    unsafe_allow_expired,
    verify_bundle,
)
from credstore.proofs.format.dsse import Envelope, Signature, encode_envelope, seal_payload
from credstore.proofs.format.evidence import LARGEST_PIECE, parse_renewal, weigh_evidence
from credstore.proofs.format.timestamp import make_timestamp_request, parse_token
from tests.proofs.authorities import Authority, serving, serving_authority
from tests.proofs.material import ISSUER, P256, P256_KEY, SIGNER, load_verifier
from tests.proofs.shelves import DAY, LAYOUT, TRUST, Shelf

ASSET = b"hello"
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("first"), "First", days=100)


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("second"), "Second", intermediate=True)


@pytest.fixture(scope="module")
def unpinned(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("other"), "Other")


class Stamping:
    """An authority without a wire."""

    def __init__(self, authority, **options):
        self.authority, self.options = authority, options
        self.name = authority.roots[-60:].decode()

    async def stamp(self, message):
        return self.authority.stamp(make_timestamp_request(message)[0], **self.options)


def pinned(*authorities, **options):
    return TimestampAuthorities(
        [TimestampAuthority(each.roots, each.intermediates, **options) for each in authorities]
    )


def shelf_of_now():
    """Tokens have the time of this machine."""
    shelf = Shelf()
    shelf.clock.now = datetime.now(UTC)
    return shelf


def stolen(shelf):
    """The signer's key is compromised, a minute from now on."""
    keyid = SIGNER.public_key.keyid
    return TRUST.revoke(keyid, at=shelf.clock() + DAY, invalid_since=shelf.clock() + MINUTE)


def test_a_compromised_key_loses_nothing_that_was_stamped(first, second):
    async def run():
        shelf = shelf_of_now()
        store = shelf.open(timestamps=pinned(first, second))
        stamped = await store.issue(ASSET)
        plain = await store.issue(ASSET, claims={"without": "a timestamp"})
        with serving_authority(first) as one, serving_authority(second) as two:
            async with TimestampClient(one) as at_one, TimestampClient(two) as at_two:
                report = await store.timestamp(stamped.proof_id, [at_one, at_two])
        assert set(report.times) == {one, two}
        assert not report.failed
        for time in report.times.values():
            assert abs(time - datetime.now(UTC)) < MINUTE
        assert len(shelf.held("t/")) == 2
        trust = stolen(shelf)
        shelf.clock.pass_(30 * DAY)
        reader = shelf.open(trust=trust, timestamps=pinned(first, second), signer=())
        proof = await reader.get(stamped.proof_id)
        assert (proof.verified.time, proof.verified.time_source) == (min(report.times.values()), "rfc3161")
        with pytest.raises(ProofKeyRevokedError):
            await reader.get(plain.proof_id)
        found = await reader.find_by_hash(stamped.record.asset.sha256)
        assert [each.proof_id for each in found] == [stamped.proof_id]
        outcomes = {each.proof_id: each.error for each in await reader.list()}
        assert outcomes[stamped.proof_id] is None
        assert isinstance(outcomes[plain.proof_id], ProofKeyRevokedError)
        # With nothing but the bundle, too.
        bundle = await reader.export(stamped.proof_id)
        report = verify_bundle(bundle, trust, now=shelf.clock(), authorities=pinned(first))
        assert report.proof.time_source == "rfc3161"
        assert report.unchecked == ("timestamps", "asset")
        with pytest.raises(ProofKeyRevokedError):
            verify_bundle(bundle, trust, now=shelf.clock())
        # Without pinned authorities nothing shows the time.
        with pytest.raises(ProofKeyRevokedError):
            await shelf.open(trust=trust, signer=()).get(stamped.proof_id)

    asyncio.run(run())


def test_history_counts_a_successor_that_was_stamped_before_its_key_was_stolen(first):
    async def run():
        shelf = shelf_of_now()
        store = shelf.open(timestamps=pinned(first))
        old = await store.issue(ASSET)
        new = await store.supersede(old.proof_id, ASSET)
        for each in (old, new):
            await store.timestamp(each.proof_id, [Stamping(first)])
        trust = stolen(shelf)
        shelf.clock.pass_(30 * DAY)
        reader = shelf.open(trust=trust, timestamps=pinned(first), signer=())
        assert (await reader.history(old.proof_id)).superseded_by == new.proof_id
        await reader.aclose()
        await store.aclose()

    asyncio.run(run())


def test_openssl_agrees_on_what_is_stored(first, second):
    async def run():
        shelf = shelf_of_now()
        store = shelf.open(timestamps=pinned(first, second))
        proof = await store.issue(ASSET)
        for authority in (first, second):
            await store.timestamp(proof.proof_id, Stamping(authority))
        sig = proof.envelope.signatures[0].sig
        tokens = [shelf.body(key) for key in shelf.held("t/")]
        for authority in (first, second):
            assert sum(authority.is_stamp(token, sig) for token in tokens) == 1
            assert not any(authority.is_stamp(token, b"other") for token in tokens)

    asyncio.run(run())


def test_a_thief_who_stamps_later_gains_nothing(first):
    async def run():
        shelf = shelf_of_now()
        store = shelf.open(timestamps=pinned(first))
        proof = await store.issue(ASSET)
        trust = TRUST.revoke(SIGNER.public_key.keyid, at=shelf.clock(), invalid_since=shelf.clock() - MINUTE)
        await store.timestamp(proof.proof_id, Stamping(first))
        with pytest.raises(ProofKeyRevokedError):
            await shelf.open(trust=trust, timestamps=pinned(first)).get(proof.proof_id)

    asyncio.run(run())


def test_reads_that_need_no_time_do_not_look_for_it(first):
    async def run():
        shelf = shelf_of_now()
        store = shelf.open(timestamps=pinned(first))
        proof = await store.issue(ASSET)
        await store.timestamp(proof.proof_id, Stamping(first))
        for policy, counts in (
            (None, {"get": 2}),
            (IssuedBy(ISSUER), {"get": 2}),
            (Timestamped(), {"get": 3, "list": 1}),
            (unsafe_allow_expired(AllOf([IssuedBy(ISSUER), Timestamped()])), {"get": 3, "list": 1}),
        ):
            store.driver.counts.clear()
            await store.get(proof.proof_id, policy=policy)
            assert store.driver.counts == counts
        plain = await store.issue(ASSET)
        with pytest.raises(ProofPolicyError, match="only the issuer"):
            await store.get(plain.proof_id, policy=Timestamped())
        with pytest.raises(ProofPolicyError, match="too late"):
            await store.get(proof.proof_id, policy=Timestamped(before=shelf.clock() - MINUTE))

    asyncio.run(run())


def test_what_is_refused_is_not_stored(first, second, unpinned):
    async def run():
        shelf = shelf_of_now()
        store = shelf.open(timestamps=pinned(first))
        proof = await store.issue(ASSET)

        class Wrong(Stamping):
            async def stamp(self, message):
                return await super().stamp(b"something else")

        with pytest.raises(ProofTimestampError, match="not pinned"):
            await store.timestamp(proof.proof_id, Stamping(unpinned))
        with pytest.raises(ProofTimestampError, match="not over this"):
            await store.timestamp(proof.proof_id, Wrong(first))
        assert shelf.held("t/") == []
        report = await store.timestamp(proof.proof_id, [Stamping(unpinned), Stamping(first)])
        assert len(report.times) == len(report.failed) == len(shelf.held("t/")) == 1
        with pytest.raises(StorageConfigurationError, match="timestamps="):
            await shelf.open().timestamp(proof.proof_id, Stamping(first))
        with pytest.raises(StorageConfigurationError, match="at least one"):
            await store.timestamp(proof.proof_id, [])

    asyncio.run(run())


def test_what_others_plant_changes_nothing_and_is_said(first, second, unpinned):
    async def run():
        shelf = shelf_of_now()
        store = shelf.open(timestamps=pinned(first, second))
        proof, other = await store.issue(ASSET), await store.issue(b"other")
        await store.timestamp(proof.proof_id, Stamping(first))
        await store.timestamp(other.proof_id, Stamping(first))
        (foreign,) = [shelf.body(key) for key in shelf.held(f"t/{other.proof_id[-2:]}/{other.proof_id}/")]
        message = proof.envelope.signatures[0].sig
        planted = [foreign, await Stamping(unpinned).stamp(message), b"0", b"{}", b'{"payload":1}', b"x" * 9]
        for data in planted:
            await store._objects.put_piece(proof.proof_id, data)
        await store.provider.store(LAYOUT.evidence(proof.proof_id) + "0" * 32, b"under another name")
        await store._objects.put_piece(proof.proof_id, bytes(LARGEST_PIECE + 1))
        trust = stolen(shelf)
        reader = shelf.open(trust=trust, timestamps=pinned(first, second), signer=())
        assert (await reader.get(proof.proof_id)).verified.time_source == "rfc3161"
        pieces = await reader._reader.evidence.pieces(proof.proof_id)
        evidence = weigh_evidence(proof.envelope, pieces, pinned(first, second), trust)
        assert len(evidence.times) == 1
        assert evidence.unchecked == 1 + 4
        assert "not over this" in str(evidence.refused)
        # Where only the planted ones are left, the refusal says why.
        (good,) = [
            key
            for key in shelf.held("t/")
            if proof.proof_id in key and first.is_stamp(shelf.body(key), message)
        ]
        await store.provider.delete(good)
        with pytest.raises(ProofTimestampError, match="not over this"):
            await reader.get(proof.proof_id)

    asyncio.run(run())


def test_a_renewal_saves_what_a_compromised_authority_has_stamped(first, second):
    async def run():
        shelf = shelf_of_now()
        both = pinned(first, second)
        store = shelf.open(timestamps=both)
        proof = await store.issue(ASSET)
        report = await store.timestamp(proof.proof_id, Stamping(first))
        assert timedelta(days=99) < report.ends - shelf.clock() < timedelta(days=101)
        nothing = await store.renew_timestamps(proof.proof_id, Stamping(second), within=30 * DAY)
        assert (nothing.times, nothing.ends) == ({}, report.ends)
        renewed = await store.renew_timestamps(proof.proof_id, Stamping(second))
        assert len(renewed.times) == 1
        assert renewed.ends > report.ends
        trust = stolen(shelf)

        def authorities(since):
            return TimestampAuthorities(
                [
                    TimestampAuthority(first.roots, invalid_since=since),
                    TimestampAuthority(second.roots, second.intermediates),
                ]
            )

        # Others have the keys of the first authority since after the renewal.
        after = authorities(datetime.now(UTC) + MINUTE)
        reader = shelf.open(trust=trust, timestamps=after, signer=())
        assert (await reader.get(proof.proof_id)).verified.time_source == "rfc3161"
        bundle = await reader.export(proof.proof_id)
        assert verify_bundle(bundle, trust, now=shelf.clock(), authorities=after).unchecked == ("asset",)
        # Or since before it: then a token of it says nothing.
        before = authorities(datetime.now(UTC) - MINUTE)
        with pytest.raises(ProofTimestampError, match="no other authority"):
            await shelf.open(trust=trust, timestamps=before).get(proof.proof_id)
        with pytest.raises(ProofTimestampError):
            verify_bundle(bundle, trust, now=shelf.clock(), authorities=before)
        # A bundle that other authorities have stamped too is not spoiled by that one.
        await store.timestamp(proof.proof_id, Stamping(second))
        whole = await store.export(proof.proof_id)
        assert (
            verify_bundle(whole, trust, now=shelf.clock(), authorities=before).proof.time_source == "rfc3161"
        )
        sig = proof.envelope.signatures[0].sig
        for key in shelf.held("t/"):
            if second.is_stamp(shelf.body(key), sig):
                await store.provider.delete(key)
        # And without the renewal nothing shows it.
        for key in shelf.held("t/"):
            if shelf.body(key).startswith(b"{"):
                assert len(parse_renewal(shelf.body(key)).covers) == 1
                await store.provider.delete(key)
        with pytest.raises(ProofTimestampError, match="no other authority"):
            await shelf.open(trust=trust, timestamps=after).get(proof.proof_id)
        with pytest.raises(ProofTimestampError, match="nothing to renew"):
            await store.renew_timestamps((await store.issue(b"plain")).proof_id, Stamping(first))

    asyncio.run(run())


def test_the_bundle_with_a_renewal_is_one_for_independent_readers(first, second, tmp_path):
    async def run():
        shelf = shelf_of_now()
        store = shelf.open(timestamps=pinned(first, second))
        proof = await store.issue(ASSET)
        await store.timestamp(proof.proof_id, Stamping(first))
        await store.renew_timestamps(proof.proof_id, Stamping(second))
        return await store.export(proof.proof_id), shelf.clock()

    bundle, now = asyncio.run(run())
    assert b'"renewals":[{"covers":["' in bundle
    load_verifier().verify(bundle, encode_trust_store(TRUST), now)


def test_windows_of_an_authority_are_inclusive(first):
    async def run():
        shelf = shelf_of_now()
        store = shelf.open(timestamps=pinned(first))
        proof = await store.issue(ASSET)
        report = await store.timestamp(proof.proof_id, Stamping(first))
        (time,) = report.times.values()
        for window, counts in (
            ({"valid_from": time, "valid_until": time}, True),
            ({"valid_from": time + SECOND}, False),
            ({"valid_until": time - SECOND}, False),
        ):
            reader = shelf.open(trust=stolen(shelf), timestamps=pinned(first, **window))
            if counts:
                await reader.get(proof.proof_id)
            else:
                with pytest.raises(ProofTimestampError, match="does not count"):
                    await reader.get(proof.proof_id)

    asyncio.run(run())
    for wrong in ({"valid_from": datetime(2026, 1, 1)}, {"invalid_since": datetime(2026, 1, 1)}):  # noqa: DTZ001
        with pytest.raises(StorageConfigurationError):
            pinned(first, **wrong)
    with pytest.raises(StorageConfigurationError):
        TimestampAuthorities([])


@pytest.mark.parametrize("chain", [True, False])
def test_a_token_may_leave_out_certificates(second, chain):
    """With its signer's own the intermediate one is pinned; OpenSSL sorts two of them in its own way."""

    async def run():
        shelf = shelf_of_now()
        store = shelf.open(timestamps=pinned(second))
        proof = await store.issue(ASSET)
        await store.timestamp(proof.proof_id, Stamping(second, chain=chain))
        reader = shelf.open(trust=stolen(shelf), timestamps=pinned(second))
        assert (await reader.get(proof.proof_id)).verified.time_source == "rfc3161"

    asyncio.run(run())


def queried(place, digest, *options):
    """A query of OpenSSL over "message"."""
    (place / "data").write_bytes(b"message")
    command = ["openssl", "ts", "-query", "-data", "data", f"-{digest}", "-out", "query", *options]
    subprocess.run(command, cwd=place, check=True, capture_output=True)
    return (place / "query").read_bytes()


def test_a_token_without_any_certificate_needs_a_pinned_one(second, tmp_path):
    whole = TimestampAuthority(second.roots, second.intermediates, second.certificates)
    for digest in ("sha256", "sha384", "sha512"):
        bare = second.stamp(queried(tmp_path, digest), chain=False)
        assert not parse_token(bare).response.signed_data.certificates
        assert TimestampAuthorities([whole]).check(bare, b"message")
        with pytest.raises(ProofTimestampError):
            TimestampAuthorities([replace(whole, certificates=b"")]).check(bare, b"message")


def test_an_imprint_by_sha1_is_refused(first, tmp_path):
    response = first.stamp(queried(tmp_path, "sha1", "-cert"))
    assert first.is_stamp(response, b"message")
    with pytest.raises(ProofTimestampError, match="SHA-256, SHA-384 or SHA-512"):
        pinned(first).check(response, b"message")


def test_a_further_signature_reaches_the_threshold_and_survives_a_key(first):
    async def run():
        shelf = shelf_of_now()
        trust = TrustStore(1, (*TRUST.keys, P256_KEY))
        store = shelf.open(trust=trust)
        proof = await store.issue(ASSET)
        two = shelf.open(trust=trust, threshold=2)
        with pytest.raises(ProofUntrustedKeyError):
            await two.get(proof.proof_id)
        further = encode_envelope(await seal_payload(proof.envelope.payload, [P256]))
        await store._objects.put_piece(proof.proof_id, further)
        found = await two.get(proof.proof_id)
        assert set(found.verified.keyids) == {SIGNER.public_key.keyid, P256.public_key.keyid}
        assert found.envelope.digest == proof.envelope.digest
        lost = trust.revoke(SIGNER.public_key.keyid, at=shelf.clock(), invalid_since=shelf.clock() - DAY)
        reader = shelf.open(trust=lost)
        assert (await reader.get(proof.proof_id)).verified.keyids == (P256.public_key.keyid,)
        bundle = await reader.export(proof.proof_id)
        assert verify_bundle(bundle, lost, now=shelf.clock()).proof.keyids == (P256.public_key.keyid,)
        # Junk, which its names put first, takes no place.
        for number in range(20):
            junk = Envelope(proof.envelope.payload, (Signature("", bytes([number])),) * 8)
            await store._objects.put_piece(proof.proof_id, encode_envelope(junk))
            named = (Signature(SIGNER.public_key.keyid, bytes([number]) * 64),) * 8
            await store._objects.put_piece(
                proof.proof_id, encode_envelope(Envelope(proof.envelope.payload, named))
            )
        assert len((await two.get(proof.proof_id)).verified.keyids) == 2
        # The same signature twice is one key.
        again = encode_envelope(await seal_payload(proof.envelope.payload, [SIGNER]))
        await store._objects.put_piece(proof.proof_id, again)
        assert len((await two.get(proof.proof_id)).envelope.signatures) == 2

    asyncio.run(run())


def test_erasing_and_sweeping_remove_timestamps(first):
    async def run():
        for end in ("delete", "sweep"):
            shelf = shelf_of_now()
            store = shelf.open(timestamps=pinned(first))
            proof = await store.issue(ASSET, expires_in=60)
            await store.timestamp(proof.proof_id, Stamping(first))
            assert (await store.stats()).total_size > 1000
            if end == "delete":
                await store.delete(proof.proof_id)
            else:
                shelf.clock.pass_(3 * DAY)
                await store.sweep_expired()
            assert shelf.held("t/") == []
        await store._objects.put_piece(proof.proof_id, b"late")
        assert (await store.fsck()).removed == 0
        shelf.clock.pass_(3 * DAY)
        assert (await store.fsck(repair=True)).removed == 1
        assert shelf.held() == []

    asyncio.run(run())


def test_what_a_server_may_answer(first):
    cases = {
        "error": (lambda body, headers: (503, {}, b"busy"), StorageUnavailableError),
        "refusal": (lambda body, headers: (403, {}, b""), Exception),
        "page": (lambda body, headers: (200, {}, b"<html>"), ProofTimestampError),
        "redirect": (lambda body, headers: (302, {"location": "http://127.0.0.1:1/"}, b""), Exception),
        "long": (lambda body, headers: (200, {}, bytes(100_000)), StorageConnectionError),
    }

    async def run():
        for answer, expected in cases.values():
            with serving(answer) as url:
                async with TimestampClient(url) as client:
                    with pytest.raises(expected):
                        await client.stamp(b"message")
        kept = first.stamp(make_timestamp_request(b"message")[0])
        with serving(lambda body, headers: (200, {}, kept)) as url:
            async with TimestampClient(url) as client:
                with pytest.raises(ProofTimestampError, match="asked for"):
                    await client.stamp(b"message")
        async with TimestampClient("http://127.0.0.1:9/") as client:
            with pytest.raises(StorageConnectionError):
                await client.stamp(b"message")

    asyncio.run(run())
    with pytest.raises(StorageConfigurationError):
        TimestampClient("ftp://127.0.0.1/")
    client = TimestampClient("https://127.0.0.1/tsr?key=hidden")
    assert "hidden" not in f"{client!r} {client.name}"
