"""Records under retention: nothing removes one before its date, and whoever erases it hears until when."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from credstore import MemoryStorageProvider, R2Config, R2StorageProvider, S3StorageProvider
from credstore.encryption import Secret
from credstore.errors import (
    StorageInvalidRequestError,
    StorageUnsupportedError,
    StorageVersionsRemainError,
)
from credstore.model import Retention
from credstore.proofs import ProofErasedError, ProofRetention, ProofStore
from credstore.proofs.store.layout import PREFIX, Layout
from tests.conformance.raw_s3 import RawS3
from tests.conftest import S3Server
from tests.drivers.s3.support import s3_config
from tests.proofs import material

LAYOUT = Layout(PREFIX)
ASSET = b"asset"
NOW = datetime.now(UTC).replace(microsecond=0)
YEAR = timedelta(days=365)
KEEP = ProofRetention(keep_for=YEAR, mode="compliance")


def store_on(provider, **options) -> ProofStore:
    return ProofStore(
        provider,
        trust=material.TRUST,
        signer=material.SIGNER,
        issuer=material.ISSUER,
        clock=options.pop("clock", lambda: NOW),
        **options,
    )


def test_the_record_is_kept_and_nothing_else():
    async def main():
        provider = MemoryStorageProvider()
        async with store_on(provider, retention=KEEP) as store:
            proof = await store.issue(ASSET, manifest=b"m", expires_in=3600)
            kept = {each.key: await provider.get_retention(each.key) for each in await provider.list()}
            assert kept.pop(LAYOUT.record(proof.proof_id)) == Retention(
                mode="compliance", retain_until=NOW + YEAR
            )
            assert kept
            assert set(kept.values()) == {Retention()}

    asyncio.run(main())


@pytest.mark.parametrize("life", [None, 3600])
def test_an_erased_proof_is_refused_and_its_record_is_named_until_its_date(life):
    async def main():
        provider = MemoryStorageProvider()
        async with store_on(provider, retention=KEEP) as store:
            proof = await store.issue(ASSET, manifest=b"m", expires_in=life)
            place = LAYOUT.record(proof.proof_id)
            for _ in range(2):
                with pytest.raises(StorageVersionsRemainError) as caught:
                    await store.delete(proof.proof_id)
                (left,) = caught.value.remaining
                assert (left.key, left.retain_until, left.mode) == (place, NOW + YEAR, "compliance")
            with pytest.raises(ProofErasedError):
                await store.get(proof.proof_id)
            names = {each.key for each in await provider.list()}
            assert place in names
            assert not any(name.startswith((LAYOUT.manifest(proof.proof_id), "index/")) for name in names)

    asyncio.run(main())


def test_a_sweep_leaves_it_for_later():
    times = [NOW]

    async def main():
        provider = MemoryStorageProvider()
        async with store_on(provider, retention=KEEP, clock=lambda: times[0]) as store:
            proof = await store.issue(ASSET, expires_in=3600)
            times[0] = NOW + timedelta(days=3)
            report = await store.sweep_expired()
            assert (report.later, len(report.failed)) == (1, 0)
            assert await provider.exists(LAYOUT.record(proof.proof_id))

    asyncio.run(main())


def test_what_is_wrong_is_refused_before_anything_is_written():
    with pytest.raises(StorageInvalidRequestError):
        ProofRetention(keep_for=timedelta(0))
    with pytest.raises(StorageInvalidRequestError):
        ProofRetention(keep_for=YEAR, mode="forever")
    with pytest.raises(StorageInvalidRequestError, match="9999"):
        ProofRetention(keep_for=timedelta.max).from_now(NOW)

    async def main():
        config = R2Config(
            bucket="proofs", account_id="0" * 32, access_key_id="id", secret_access_key=Secret("secret")
        )
        r2 = R2StorageProvider(config)
        async with r2:
            with pytest.raises(StorageUnsupportedError, match="r2 cannot retain"):
                store_on(r2, retention=KEEP)

    asyncio.run(main())


def test_on_s3_the_version_of_the_record_is_kept(moto_server):
    async def main():
        place = S3Server(moto_server.url, moto_server.make_bucket(object_lock=True))
        raw = RawS3(place)
        provider = S3StorageProvider(s3_config(place.url, bucket=place.bucket))
        async with store_on(provider, retention=KEEP) as store:
            proof = await store.issue(ASSET, manifest=b"m", expires_in=3600)
            record = LAYOUT.record(proof.proof_id)
            locks = {key: raw.lock(key, version_id)[:2] for key, version_id in raw.versions()}
            assert locks.pop(record) == ("COMPLIANCE", NOW + YEAR)
            assert set(locks.values()) == {(None, None)}
            with pytest.raises(StorageVersionsRemainError) as caught:
                await store.delete(proof.proof_id)
            assert [(each.key, each.retain_until) for each in caught.value.remaining] == [
                (record, NOW + YEAR)
            ]
            with pytest.raises(ProofErasedError):
                await store.get(proof.proof_id)

    asyncio.run(main())
