"""Times at the ends of the calendar, in every zone: taken or refused where they come in, never an overflow."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest

from credstore import MemoryStorageProvider, S3Config, S3PutOptions, Secret, StorageError, StorageProvider
from credstore.drivers.s3.driver import S3Driver
from credstore.errors import ErrorCode, StorageConfigurationError, StorageInvalidRequestError
from credstore.proofs import (
    AssetDigest,
    Bundle,
    LegacyHomes,
    ProofRecord,
    ProofStore,
    encode_bundle,
    encode_trust_store,
    trust_key,
    verify_bundle,
    verify_proof,
)
from credstore.proofs.format.record import encode_record
from credstore.testing import ScriptedAnswer, ScriptedTransport
from tests.proofs import material

EAST, WEST = timezone(timedelta(hours=14)), timezone(-timedelta(hours=14))
ENDS = [
    each
    for zone in (UTC, EAST, WEST)
    for each in (datetime.min.replace(tzinfo=zone), datetime.max.replace(tzinfo=zone))
]
ENVELOPE = material.issue()
BUNDLE = material.bundle(ENVELOPE)


async def kept(until):
    config = S3Config(
        bucket="proofs", region="us-east-1", access_key_id="id", secret_access_key=Secret("secret")
    )
    transport = ScriptedTransport(ScriptedAnswer(200, b"", {"etag": '"a"', "x-amz-request-id": "1"}))
    options = S3PutOptions(object_lock_mode="GOVERNANCE", object_lock_retain_until=until)
    async with StorageProvider(S3Driver(config, transport=transport), config) as provider:
        await provider.store("key", b"1", encryption=False, driver_options={"s3": options})
    return transport.requests[0].headers["x-amz-object-lock-retain-until-date"]


async def ending(ends):
    config = S3Config(
        bucket="proofs",
        region="us-east-1",
        access_key_id="id",
        secret_access_key=Secret("secret"),
        session_token=Secret("token"),
        session_expires_at=ends,
    )
    async with StorageProvider(S3Driver(config, transport=ScriptedTransport()), config) as provider:
        await provider.retrieve("key")
        await provider.get_signed_url("key", 60)


async def sought(day):
    provider = material_provider()
    async with ProofStore(provider, trust=material.TRUST, legacy=LegacyHomes(day=day)) as store:
        await store.get(material.ID)


async def swept(grace):
    async with ProofStore(material_provider(), trust=material.TRUST, signer=material.SIGNER) as store:
        await store.sweep_expired(grace=grace)


async def at(now):
    async with ProofStore(
        material_provider(), trust=material.TRUST, signer=material.SIGNER, clock=lambda: now
    ) as store:
        proof = await store.issue(b"1", expires_in=60)
        await store.get(proof.proof_id)
        await store.sweep_expired()


def material_provider():
    return MemoryStorageProvider()


def changed(change):
    return encode_trust_store(change(material.TRUST, material.KEY.keyid))


CALLS = {
    "object_lock_retain_until": lambda at: asyncio.run(kept(at)),
    "session_expires_at": lambda at: asyncio.run(ending(at)),
    "day": lambda at: asyncio.run(sought(at)),
    "clock": lambda now: asyncio.run(at(now)),
    "valid_from": lambda at: trust_key(material.SIGNER.public_key, issuers=[material.ISSUER], valid_from=at),
    "valid_until": lambda at: trust_key(
        material.SIGNER.public_key, issuers=[material.ISSUER], valid_from=material.START, valid_until=at
    ),
    "last_use": lambda at: changed(lambda trust, key: trust.retire(key, last_use=at)),
    "revoked at": lambda at: changed(lambda trust, key: trust.revoke(key, at=at, invalid_since=at)),
    "rotated at": lambda at: changed(
        lambda trust, key: trust.rotate(key, material.STRANGER.public_key, at=at)
    ),
    "now of a proof": lambda at: verify_proof(ENVELOPE, material.TRUST, now=at),
    "now of a bundle": lambda at: verify_bundle(BUNDLE, material.TRUST, now=at),
    "made_at": lambda at: encode_bundle(Bundle(ENVELOPE, at)),
    "issued_at": lambda at: encode_record(
        ProofRecord(material.ID, material.ISSUER, at, AssetDigest.of(b"1"), expires_at=at)
    ),
}


def outcome(call):
    """The code of the error it ends with, or None."""
    try:
        call()
    except StorageError as error:
        return error.code
    return None


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("time", ENDS, ids=str)
def test_a_time_at_an_end_of_the_calendar_never_overflows(name, time):
    assert outcome(lambda: CALLS[name](time)) != ErrorCode.UNFORESEEN


@pytest.mark.parametrize("grace", [1e300, -1e300, float("nan"), float("inf"), timedelta.max, timedelta.min])
def test_a_grace_beyond_the_calendar_never_overflows(grace):
    assert outcome(lambda: asyncio.run(swept(grace))) != ErrorCode.UNFORESEEN


def test_a_retention_is_sent_in_utc():
    until = datetime(2030, 1, 1, 1, tzinfo=EAST)
    assert asyncio.run(kept(until)) == "2029-12-31T11:00:00Z"


@pytest.mark.parametrize("time", [datetime.max.replace(tzinfo=WEST), datetime.min.replace(tzinfo=EAST)])
def test_a_retention_beyond_the_calendar_is_refused_by_name(time):
    with pytest.raises(StorageInvalidRequestError, match="object_lock_retain_until"):
        S3PutOptions(object_lock_mode="COMPLIANCE", object_lock_retain_until=time)
    with pytest.raises(StorageConfigurationError, match="day"):
        LegacyHomes(day=time)
