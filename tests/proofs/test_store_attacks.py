"""Whoever can write to the store makes no proof, takes no revocation back, and deletes nothing by a sweep."""

import asyncio
import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest

from credstore import LocalConfig, LocalStorageProvider
from credstore.errors import StorageIntegrityError, StorageInvalidRequestError
from credstore.proofs.format.dsse import LARGEST_ENVELOPE, encode_envelope, seal_payload
from credstore.proofs.format.errors import (
    ProofAssetMismatchError,
    ProofErasedError,
    ProofError,
    ProofFormatError,
    ProofIdMismatchError,
    ProofNotFoundError,
    ProofSignatureError,
    ProofUntrustedKeyError,
)
from credstore.proofs.format.policy import unsafe_allow_expired, unsafe_allow_revoked, verify_proof
from credstore.proofs.format.record import AssetDigest
from credstore.proofs.format.status import encode_notice, make_notice
from credstore.proofs.format.trust import TrustStore, trust_key
from credstore.proofs.store.layout import INDEX_BODY, LARGEST_MANIFEST, Marker, encode_marker
from credstore.proofs.store.proof_store import ProofStore
from tests.proofs.material import ISSUER, OTHER_ISSUER, SIGNER, START, STRANGER
from tests.proofs.shelves import DAY, HOUR, LAYOUT, TRUST, Shelf, invariant, tombstone

ASSET = b"hello"
DIGEST = hashlib.sha256(ASSET).digest()


def run(test, **options):
    async def body():
        shelf = Shelf()
        async with shelf.open(**options) as store:
            return await test(shelf, store)

    return asyncio.run(body())


async def plant(store, key, data, **options):
    await store.provider.store(key, data, compress=False, **options)


def test_a_valid_record_under_another_id():
    async def test(shelf, store):
        one, two = await store.issue(ASSET), await store.issue(b"other")
        await plant(store, LAYOUT.record(one.proof_id), shelf.body(LAYOUT.record(two.proof_id)))
        with pytest.raises(ProofIdMismatchError):
            await store.get(one.proof_id)
        with pytest.raises(ProofIdMismatchError):
            await store.link(one.proof_id)
        with pytest.raises(ProofIdMismatchError):
            await store.export(one.proof_id)
        assert await store.find_by_hash(DIGEST) == []
        (found,) = await store.find_by_hash(hashlib.sha256(b"other").digest())
        assert found.proof_id == two.proof_id

    run(test)


def test_index_names_that_somebody_planted():
    async def test(shelf, store):
        proof = await store.issue(ASSET)
        other = hashlib.sha256(b"other").digest()
        for name in (proof.proof_id, store.new_proof_id(), "x", "../r", "a/b", proof.proof_id.upper()):
            if ".." not in name:
                await plant(store, LAYOUT.asset(other) + name, INDEX_BODY)
        assert await store.find_by_hash(other) == []
        assert [each.proof_id for each in await store.find_by_hash(DIGEST)] == [proof.proof_id]
        assert await invariant(store, shelf) == {proof.proof_id}

    run(test)


def test_a_name_without_a_record_is_removed_when_it_is_old():
    async def test(shelf, store):
        name = LAYOUT.index(DIGEST, store.new_proof_id())
        await plant(store, name, INDEX_BODY)
        assert await store.find_by_hash(DIGEST) == []
        assert name in shelf.held()
        shelf.clock.pass_(2 * DAY)
        reader = shelf.open(signer=())
        assert await reader.find_by_hash(DIGEST) == []
        assert name in shelf.held()
        assert await shelf.open().find_by_hash(DIGEST) == []
        assert shelf.held("a/") == []
        for _ in range(2):
            shelf.clock.pass_(2 * DAY)
            await store.sweep_expired()
        assert shelf.held() == []

    run(test)


def test_a_name_of_what_was_erased_is_removed_at_once():
    async def test(shelf, store):
        proof = await store.issue(ASSET)
        await store.delete(proof.proof_id)
        await plant(store, LAYOUT.index(DIGEST, proof.proof_id), INDEX_BODY)
        assert await store.find_by_hash(DIGEST) == []
        assert shelf.held("a/") == []

    run(test)


def test_a_record_rolled_back_does_not_lose_its_revocation():
    async def test(shelf, store):
        old = await store.issue(ASSET, idempotency_key="k", expires_in=HOUR)
        kept = shelf.body(LAYOUT.record(old.proof_id))
        shelf.clock.pass_(3 * DAY)
        assert (await store.sweep_expired()).swept == 1
        shelf.clock.pass_(DAY)
        assert (await store.sweep_expired()).cleaned == 1
        new = await store.issue(ASSET, idempotency_key="k", expires_in=100 * DAY)
        assert new.proof_id == old.proof_id
        await store.revoke(new.proof_id)
        await plant(store, LAYOUT.record(new.proof_id), kept)
        with pytest.raises(ProofIdMismatchError):
            await store.get(new.proof_id, policy=unsafe_allow_expired())
        with pytest.raises(ProofIdMismatchError):
            await store.get(new.proof_id, policy=unsafe_allow_expired(unsafe_allow_revoked()))

    run(test)


def test_a_tombstone_stands_when_the_record_comes_back():
    async def test(shelf, store):
        proof = await store.issue(ASSET, expires_in=HOUR)
        kept = shelf.body(LAYOUT.record(proof.proof_id))
        await store.delete(proof.proof_id)
        await plant(store, LAYOUT.record(proof.proof_id), kept)
        with pytest.raises(ProofErasedError):
            await store.get(proof.proof_id)
        assert not await store.delete(proof.proof_id)
        assert shelf.held("r/") == []

    run(test)


def test_objects_that_are_too_large_or_too_small():
    async def test(shelf, store):
        proof = await store.issue(ASSET, manifest=b"m")
        record = LAYOUT.record(proof.proof_id)
        whole = shelf.body(record)
        for data in (
            bytes(LARGEST_ENVELOPE + 1),
            b"",
            b"{}",
            b"[" * 100_000,
            whole[:-1],
            whole + b" " * 3_000_000,
        ):
            await plant(store, record, data)
            with pytest.raises(ProofFormatError):
                await store.get(proof.proof_id)
            assert await store.find_by_hash(DIGEST) == []
        await store.provider.store(record, bytes(100 * 1024 * 1024), compress="gzip")
        with pytest.raises(ProofFormatError):
            await store.get(proof.proof_id)
        await plant(store, record, whole)
        await plant(store, LAYOUT.manifest(proof.proof_id), bytes(LARGEST_MANIFEST + 1))
        with pytest.raises(ProofFormatError):
            await store.get_manifest(proof.proof_id)
        await plant(store, LAYOUT.manifest(proof.proof_id), b"n")
        with pytest.raises(ProofAssetMismatchError):
            await store.get_manifest(proof.proof_id)
        await store.provider.delete(LAYOUT.manifest(proof.proof_id))
        with pytest.raises(ProofNotFoundError):
            await store.get_manifest(proof.proof_id)
        await plant(store, LAYOUT.revocation(proof.proof_id), bytes(LARGEST_ENVELOPE + 1))
        with pytest.raises(ProofFormatError):
            await store.get(proof.proof_id)

    run(test)


@pytest.mark.parametrize("byte", range(0, 900, 45))
def test_a_changed_byte(byte):
    async def test(shelf, store):
        proof = await store.issue(ASSET)
        record = LAYOUT.record(proof.proof_id)
        data = bytearray(shelf.body(record))
        data[byte % len(data)] ^= 1
        await plant(store, record, bytes(data))
        with pytest.raises(ProofError):
            await store.get(proof.proof_id)
        assert await store.find_by_hash(DIGEST) == []

    run(test)


async def notice(proof, signer, kind="revocation", **changes):
    made = replace(make_notice(kind, proof.verified, at=proof.record.issued_at), **changes)
    return encode_envelope(await seal_payload(encode_notice(made), (signer,)))


def test_a_notice_that_does_not_verify_refuses():
    async def test(shelf, store):
        proof, other = await store.issue(ASSET), await store.issue(b"other")
        forged = {
            ProofUntrustedKeyError: await notice(proof, STRANGER),
            ProofIdMismatchError: await notice(other, SIGNER),
            ProofFormatError: b"{}",
            ProofSignatureError: (await notice(proof, SIGNER)).replace(b'"sig":"', b'"sig":"AAAA'),
        }
        for name in (LAYOUT.revocation, LAYOUT.erasure):
            if name == LAYOUT.erasure:
                await plant(store, LAYOUT.revocation(proof.proof_id), await notice(proof, SIGNER))
            for expected, data in forged.items():
                await plant(store, name(proof.proof_id), data)
                with pytest.raises(expected):
                    await store.get(proof.proof_id)
                with pytest.raises(expected):
                    await store.exists(proof.proof_id)
            await store.provider.delete(name(proof.proof_id))
        await store.provider.delete(LAYOUT.revocation(proof.proof_id))
        await store.get(proof.proof_id)

    run(test)


def test_who_revokes_for_another_issuer():
    async def test(shelf, store):
        proof = await store.issue(ASSET)
        trust = TrustStore(
            1, (*TRUST.keys, trust_key(STRANGER.public_key, issuers=[OTHER_ISSUER], valid_from=START))
        )
        reader = shelf.open(trust=trust)
        for key in tombstone(proof.proof_id):
            await plant(store, key, await notice(proof, STRANGER, "erasure", issuer=OTHER_ISSUER))
        with pytest.raises(ProofIdMismatchError):
            await reader.get(proof.proof_id)
        report = await reader.sweep_expired()
        assert report.swept == 0
        assert LAYOUT.record(proof.proof_id) in shelf.held()

    run(test)


def test_many_planted_names_do_not_hide_a_revocation():
    async def test(shelf, store):
        proof = await store.issue(ASSET)
        await store.revoke(proof.proof_id)
        for number in range(1000):
            await store._objects.put_hint(proof.proof_id, f"00000000-0000-7000-8000-{number:012}")
        with pytest.raises(ProofError, match="revoked"):
            await store.get(proof.proof_id)

    run(test)


def test_hints_are_not_believed():
    async def test(shelf, store):
        proof, other = await store.issue(ASSET), await store.issue(b"other")
        for name in ("x", other.proof_id, store.new_proof_id(), proof.proof_id):
            await store._objects.put_hint(proof.proof_id, name)
        assert (await store.history(proof.proof_id)).superseded_by is None

    run(test)


def test_forged_markers_delete_nothing():
    async def test(shelf, store):
        live = await store.issue(ASSET, expires_in=1000 * HOUR)
        forever = await store.issue(b"other")
        past = shelf.clock() - 30 * DAY
        for proof in (live, forever):
            marker = LAYOUT.marker(past, proof.proof_id)
            await plant(store, marker, encode_marker(Marker(proof.record.asset.sha256, manifest=True)))
        await plant(store, f"{LAYOUT.markers}20200101/ff/x", b"")
        await plant(store, f"{LAYOUT.markers}nonsense", b"")
        before = set(shelf.held())
        assert (await store.sweep_expired()).kept == 2
        assert set(shelf.held()) == before
        shelf.clock.pass_(2 * DAY)
        report = await store.sweep_expired()
        assert (report.swept, report.cleaned, report.stray) == (0, 0, 2)
        assert await invariant(store, shelf) == {live.proof_id, forever.proof_id}

    run(test)


def test_a_record_that_does_not_verify_is_not_swept():
    async def test(shelf, store):
        proof = await store.issue(ASSET, expires_in=HOUR)
        await plant(store, LAYOUT.record(proof.proof_id), b"{}")
        shelf.clock.pass_(3 * DAY)
        before = set(shelf.held())
        report = await store.sweep_expired()
        assert list(report.failed) == [proof.proof_id]
        assert isinstance(report.failed[proof.proof_id], ProofFormatError)
        assert set(shelf.held()) == before

    run(test)


TRAVERSALS = [
    "", ".", "..", "../../x", "a/b", "%2e%2e", "\0", "x" * 2000, 7, None, b"01920000-0000-7000-8000-0000000000ff",
    "01920000-0000-7000-8000-0000000000FF", "01920000-0000-7000-8000-0000000000f/", "01920000-0000-7000-8000-0000000000ff\n",
    "../01920000-0000-7000-8000-0000000000ff", "01920000-0000-7000-8000-0000000000ff/../x", "０1920000-0000-7000-8000-0000000000ff",
]  # fmt: skip


@pytest.mark.parametrize("wrong", TRAVERSALS, ids=range(len(TRAVERSALS)))
def test_no_argument_leads_elsewhere(wrong):
    async def test(shelf, store):
        verbs = [
            store.get, store.exists, store.revoke, store.delete, store.link, store.get_manifest, store.export,
            store.read_unverified, store.export_legacy, store.get_proof, store.proof_exists, store.delete_proof,
            store.find_by_hash, store.get_proof_by_hash,
            lambda given: store.supersede(given, ASSET) if given is not None else store.get(given),
            lambda given: store.issue(ASSET, proof_id=given) if given is not None else store.get(given),
        ]  # fmt: skip
        for verb in verbs:
            with pytest.raises(StorageInvalidRequestError):
                await verb(wrong)
        with pytest.raises(StorageInvalidRequestError):
            await anext(store.scan_by_hash(wrong))
        assert store.driver.total == 0
        assert shelf.held() == []

    run(test)


@pytest.mark.parametrize(
    "wrong", ["sha256:", "ff", "g" * 64, "f" * 63, "f" * 65, "sha512:" + "f" * 64, bytes(31)]
)
def test_digests_that_are_none(wrong):
    async def test(shelf, store):
        with pytest.raises(StorageInvalidRequestError):
            await store.find_by_hash(wrong)

    run(test)


def test_an_asset_that_is_another():
    async def test(shelf, store):
        proof = await store.issue(ASSET)
        with pytest.raises(ProofAssetMismatchError):
            await store.get(proof.proof_id, asset=b"hellp")
        with pytest.raises(ProofAssetMismatchError):
            await store.get(proof.proof_id, asset=AssetDigest(DIGEST, 4))

    run(test)


def test_a_key_compromised_later_counts_no_more():
    async def test(shelf, store):
        proof = await store.issue(ASSET)
        trust = TRUST.revoke(SIGNER.public_key.keyid, at=shelf.clock(), invalid_since=START)
        reader = shelf.open(trust=trust)
        with pytest.raises(ProofError):
            await reader.get(proof.proof_id)
        assert await reader.find_by_hash(DIGEST) == []
        retired = TRUST.retire(SIGNER.public_key.keyid, last_use=shelf.clock())
        shelf.clock.pass_(timedelta(days=30))
        assert (await shelf.open(trust=retired).get(proof.proof_id)).record == proof.record
        with pytest.raises(ProofError):
            await shelf.open(trust=retired).issue(b"other")
        assert verify_proof(proof.envelope, retired, now=shelf.clock()).record == proof.record
        assert ISSUER in proof.record.issuer

    run(test)


def test_a_scan_goes_on_past_what_the_store_itself_finds_damaged(tmp_path):
    async def main():
        provider = LocalStorageProvider(LocalConfig(path=str(tmp_path)))
        async with ProofStore(provider, trust=TRUST, signer=SIGNER) as store:
            proofs = [await store.issue(b"%d" % number) for number in range(3)]
            path = tmp_path / LAYOUT.record(proofs[1].proof_id)
            path.write_bytes(path.read_bytes()[:-1] + b"!")
            outcomes = {each.proof_id: each async for each in store.scan()}
            assert sorted(outcomes) == sorted(each.proof_id for each in proofs)
            assert isinstance(outcomes[proofs[1].proof_id].error, StorageIntegrityError)
            assert sum(each.proof is not None for each in outcomes.values()) == 2

    asyncio.run(main())
