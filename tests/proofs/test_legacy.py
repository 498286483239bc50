"""Records of the original service: readable in all three homes, never taken for proofs, adopted by their bytes."""

import asyncio
import hashlib
import json
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from credstore.encryption import Secret
from credstore.errors import StorageConfigurationError, StorageInvalidRequestError
from credstore.proofs.format.errors import (
    ProofAssetMismatchError,
    ProofFormatError,
    ProofNotFoundError,
    ProofUnsignedError,
)
from credstore.proofs.format.original import LegacyHomes, LegacyProof, parse_legacy
from credstore.proofs.format.record import AssetDigest, SoftBinding
from tests.proofs.shelves import HOUR, Shelf

ASSET = b"hello"
DIGEST = hashlib.sha256(ASSET).digest()
ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
KEY = Secret("00112233445566778899aabbccddeeff" * 2)
RECORD = {
    "proofId": ID,
    "proofUri": f"https://proofs.example/{ID}",
    "imageHash": f"sha256:{DIGEST.hex()}:phash:abcdef0123456789",
    "manifest": {"title": "hello"},
    "timestamp": "2025-03-04T05:06:07.000Z",
    "signature": "pending-signature",
    "expiresAt": 1772600767000,
}
HOMES = {
    "by day": f"proofs/2025/03/04/{ID}.json",
    "file": f"{ID}.json",
    "encrypted file": f"{ID}.json",
}


def encrypted(record, iv=bytes(range(16))):
    sealed = AESGCM(bytes.fromhex(KEY.reveal())).encrypt(iv, json.dumps(record).encode(), None)
    return {"version": 1, "ciphertext": sealed[:-16].hex(), "iv": iv.hex(), "tag": sealed[-16:].hex()}


def data_of(home):
    return json.dumps(encrypted(RECORD) if home == "encrypted file" else RECORD).encode()


def run(test, **homes):
    async def body():
        shelf = Shelf()
        async with shelf.open(legacy=LegacyHomes(key=KEY, **homes)) as store:
            return await test(shelf, store)

    return asyncio.run(body())


@pytest.mark.parametrize("home", HOMES)
def test_a_record_is_read_in_each_home_and_is_no_proof(home):
    async def test(shelf, store):
        await store.provider.store(HOMES[home], data_of(home), compress=False)
        if home == "by day":
            with pytest.raises(ProofNotFoundError):
                await store.get(ID, allow_legacy=True)
        assert await store.import_legacy() == 1
        with pytest.raises(ProofUnsignedError):
            await store.get(ID)
        with pytest.raises(ProofUnsignedError):
            await store.get_proof(ID)
        found = await store.get(ID, allow_legacy=True, asset=ASSET)
        assert found == LegacyProof(
            proof_id=ID,
            sha256=DIGEST,
            timestamp=datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC),
            expires_at=datetime.fromtimestamp(1772600767, UTC),
            uri=RECORD["proofUri"],
            manifest={"title": "hello"},
            soft_bindings=(SoftBinding("phash", "abcdef0123456789"),),
        )
        assert found.signed is False
        with pytest.raises(ProofAssetMismatchError):
            await store.get(ID, allow_legacy=True, asset=b"other")
        assert await store.find_legacy(DIGEST) == [found]
        assert await store.find_by_hash(DIGEST) == []
        assert not await store.exists(ID)
        assert await store.import_legacy() == 1

    run(test)


@pytest.mark.parametrize("day", [3, 4, 5])
def test_a_hint_of_the_day_saves_the_import(day):
    async def test(shelf, store):
        await store.provider.store(HOMES["by day"], data_of("by day"), compress=False)
        assert (await store.get(ID, allow_legacy=True)).proof_id == ID

    run(test, day=datetime(2025, 3, day, tzinfo=UTC), files=None)


def test_without_homes_nothing_is_looked_for():
    async def test(shelf):
        store = shelf.open()
        with pytest.raises(ProofNotFoundError):
            await store.get(ID, allow_legacy=True)
        assert store.driver.total == 2
        for verb in (store.import_legacy(), store.find_legacy(DIGEST)):
            with pytest.raises(StorageConfigurationError):
                await verb

    asyncio.run(test(Shelf()))


def test_adopting_signs_what_was_hashed_here():
    async def test(shelf, store):
        await store.provider.store(HOMES["file"], data_of("file"), compress=False)
        legacy = await store.get(ID, allow_legacy=True)
        with pytest.raises(ProofAssetMismatchError):
            await store.adopt(legacy, b"other")
        with pytest.raises(StorageInvalidRequestError):
            await store.adopt(legacy, AssetDigest.of(ASSET))
        with pytest.raises(StorageInvalidRequestError, match="progress is a function") as caught:
            await store.adopt(legacy, ASSET, progress="x")
        assert (caught.value.applied, caught.value.operation) == ("no", "adopt")
        proof = await store.adopt(legacy, ASSET, expires_in=HOUR)
        assert proof.proof_id == ID
        assert proof.claims == {"title": "hello"}
        assert proof.record.soft_bindings == legacy.soft_bindings
        assert (await store.get(ID)).record == proof.record
        assert [each.proof_id for each in await store.find_by_hash(DIGEST)] == [ID]
        again = await store.adopt(legacy, ASSET, expires_in=HOUR)
        assert again.envelope == proof.envelope
        exported = await store.export_legacy(ID)
        assert exported == {
            **RECORD,
            "timestamp": exported["timestamp"],
            "signature": f"dsse:sha256:{proof.envelope.digest.hex()}",
            "expiresAt": round(proof.record.expires_at.timestamp() * 1000),
        }
        read = parse_legacy(json.dumps(exported).encode())
        assert (read.timestamp, read.expires_at) == (proof.record.issued_at, proof.record.expires_at)

    run(test)


@pytest.mark.parametrize(
    "change",
    [
        {"imageHash": "md5:ff"},
        {"imageHash": None},
        {"proofId": 5},
        {"manifest": "text"},
        {"expiresAt": 1.5},
        {"expiresAt": 10**15},
        {"timestamp": "soon"},
    ],
    ids=str,
)
def test_what_is_no_record(change):
    with pytest.raises(ProofFormatError):
        parse_legacy(json.dumps({**RECORD, **change}).encode())


@pytest.mark.parametrize("hash_", [DIGEST.hex(), f"sha256:{DIGEST.hex()}", DIGEST.hex().upper()])
def test_the_forms_of_a_hash(hash_):
    assert parse_legacy(json.dumps({**RECORD, "imageHash": hash_}).encode()).sha256 == DIGEST


def test_an_encrypted_record_needs_its_key_and_every_bit():
    good = encrypted(RECORD)
    assert parse_legacy(json.dumps(good).encode(), KEY).proof_id == ID
    with pytest.raises(StorageConfigurationError):
        parse_legacy(json.dumps(good).encode())
    flip = {
        name: ("0" if good[name][0] != "0" else "1") + good[name][1:] for name in ("ciphertext", "iv", "tag")
    }
    texts = set()
    for name, value in (*flip.items(), ("ciphertext", "zz"), ("ciphertext", 5)):
        with pytest.raises(ProofFormatError) as refused:
            parse_legacy(json.dumps({**good, name: value}).encode(), KEY)
        texts.add(refused.value.message)
    with pytest.raises(ProofFormatError) as refused:
        parse_legacy(json.dumps(good).encode(), Secret("ff" * 32))
    assert texts == {refused.value.message}
    assert KEY.reveal() not in str(refused.value) + repr(LegacyHomes(key=KEY))
    for wrong in ({"version": 2}, {"iv": "00"}, {"tag": None}):
        with pytest.raises(ProofFormatError):
            parse_legacy(json.dumps({**good, **wrong}).encode(), KEY)
    with pytest.raises(StorageConfigurationError):
        LegacyHomes(key=Secret("short"))


def test_an_import_takes_records_alone():
    async def test(shelf, store):
        other = "1f8fad5b-d9cb-469f-a165-70867728950e"
        for key, body in (
            (HOMES["by day"], data_of("by day")),
            ("proofs/2025/03/04/x.json", b"{}"),
            ("notes.json", b"[1]"),
            ("proofs/2025/03/04/x.txt", data_of("file")),
            ("proofs/2025/03/05/wrong.json", json.dumps({**RECORD, "proofId": "../x"}).encode()),
        ):
            await store.provider.store(key, body, compress=False)
        await store.issue(ASSET, expires_in=HOUR)
        assert await store.import_legacy() == 1
        await store._objects.put_legacy(f"{store._objects.layout.legacy_asset(DIGEST)}{other}", b"{}")
        await store._objects.put_legacy(
            store._objects.layout.legacy(other), json.dumps({"key": HOMES["by day"]}).encode()
        )
        with pytest.raises(ProofFormatError):
            await store.get(other, allow_legacy=True)

    run(test, files="")
