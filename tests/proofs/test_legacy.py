"""Records of the original service: readable in all three homes, never taken for proofs, adopted by their bytes."""

import asyncio
import gzip
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from traceback import walk_tb

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from credstore import MemoryStorageProvider
from credstore.encryption import Secret
from credstore.errors import StorageConfigurationError, StorageInvalidRequestError
from credstore.proofs.format.errors import (
    ProofAssetMismatchError,
    ProofFormatError,
    ProofNotFoundError,
    ProofUnsignedError,
)
from credstore.proofs.format.original import LegacyHomes, LegacyProof, derive_legacy_key, parse_legacy
from credstore.proofs.format.policy import unsafe_allow_unsigned
from credstore.proofs.format.record import AssetDigest, SoftBinding
from credstore.proofs.store.model import LegacyImport
from tests.proofs.shelves import HOUR, Shelf, dying

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
                await store.get(ID, policy=unsafe_allow_unsigned())
        assert (await store.import_legacy()).read == 1
        with pytest.raises(ProofUnsignedError):
            await store.get(ID)
        with pytest.raises(ProofUnsignedError):
            await store.get_proof(ID)
        found = await store.get(ID, policy=unsafe_allow_unsigned(), asset=ASSET)
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
            await store.get(ID, policy=unsafe_allow_unsigned(), asset=b"other")
        assert await store.find_legacy(DIGEST) == [found]
        assert await store.find_by_hash(DIGEST) == []
        assert not await store.exists(ID)
        assert (await store.import_legacy()).read == 1

    run(test)


@pytest.mark.parametrize("day", [3, 4, 5])
def test_a_hint_of_the_day_saves_the_import(day):
    async def test(shelf, store):
        await store.provider.store(HOMES["by day"], data_of("by day"), compress=False)
        assert (await store.get(ID, policy=unsafe_allow_unsigned())).proof_id == ID

    run(test, day=datetime(2025, 3, day, tzinfo=UTC), files=None)


def test_without_homes_nothing_is_looked_for():
    async def test(shelf):
        store = shelf.open()
        with pytest.raises(ProofNotFoundError):
            await store.get(ID, policy=unsafe_allow_unsigned())
        assert store.driver.total == 3
        for verb in (store.import_legacy(), store.find_legacy(DIGEST)):
            with pytest.raises(StorageConfigurationError):
                await verb

    asyncio.run(test(Shelf()))


def test_adopting_signs_what_was_hashed_here():
    async def test(shelf, store):
        await store.provider.store(HOMES["file"], data_of("file"), compress=False)
        legacy = await store.get(ID, policy=unsafe_allow_unsigned())
        with pytest.raises(ProofAssetMismatchError):
            await store.adopt(legacy, b"other")
        with pytest.raises(StorageInvalidRequestError):
            await store.adopt(legacy, AssetDigest.of(ASSET))
        with pytest.raises(StorageInvalidRequestError, match="progress is a function") as caught:
            await store.adopt(legacy, ASSET, progress="x")
        assert (caught.value.applied, caught.value.operation) == ("no", "proof.adopt")
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
        {"expiresAt": "0001-01-01T00:00:00+23:59"},
        {"expiresAt": "9999-12-31T23:59:59-01:00"},
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
        done = await store.import_legacy()
        assert done == LegacyImport(
            read=1, skipped=3, unopened=1, unopened_keys=("proofs/2025/03/05/wrong.json",)
        )
        await store._objects.put_legacy(f"{store._objects.layout.legacy_asset(DIGEST)}{other}", b"{}")
        await store._objects.put_legacy(
            store._objects.layout.legacy(other), json.dumps({"key": HOMES["by day"]}).encode()
        )
        with pytest.raises(ProofFormatError):
            await store.get(other, policy=unsafe_allow_unsigned())

    run(test, files="")


# What the original's own code wrote

WRITTEN = Path(__file__).parent / "vectors" / "credlink"
PASSPHRASE = Secret("correct horse battery staple 2025")
IDS = {
    "file-api.json": "cbfd4ad7-52f0-433c-9240-32c13b7b8207",
    "file-package.json": "f17c4f9f-1d25-45af-89a0-aaaa4027a9e3",
    "file-unified.json": "0ddf1bdc-fcf9-40c6-9201-9d2b1f10fc84",
    "encrypted.json": "a3b62e26-a776-459f-a7ec-a2be504c0432",
}
HASHES = {
    "file-api.json": "66e33471",
    "file-package.json": "70a0a2d0",
    "file-unified.json": "7095dab2",
    "encrypted.json": "c21152be",
}


async def with_files(shelf, test, files=tuple(IDS), **homes):
    async with shelf.open(legacy=LegacyHomes(**homes)) as store:
        for name in files:
            data = (WRITTEN / name).read_bytes()
            await store.provider.store(f"{IDS[name]}.json", data, compress=False)
        return await test(store)


def test_the_key_of_a_passphrase_is_the_originals():
    assert derive_legacy_key(PASSPHRASE).reveal() == (
        "2f463aa850f85bcb62b1bc6b60306e12d4e102d380b170416a8fe262a22ba853"
    )


@pytest.mark.parametrize("homes", [{"passphrase": PASSPHRASE}, {"key": derive_legacy_key(PASSPHRASE)}])
def test_what_the_original_wrote_opens(homes):
    async def test(store):
        done = await store.import_legacy()
        assert (done.read, done.unopened) == (4, 0)
        for name, proof_id in IDS.items():
            found = await store.get(proof_id, policy=unsafe_allow_unsigned())
            assert found.proof_id == proof_id
            assert found.sha256.hex().startswith(HASHES[name])
            assert [each.alg for each in found.soft_bindings] == (
                ["phash"] if name in {"file-api.json", "encrypted.json"} else []
            )
            assert [each.proof_id for each in await store.find_legacy(found.sha256)] == [proof_id]
        plain = await store.get(IDS["file-api.json"], policy=unsafe_allow_unsigned())
        assert plain.manifest["title"] == "Füchse 🦊"
        assert plain.manifest["assertions"][0]["data"]["big"] == 1e21

    asyncio.run(with_files(Shelf(), test, **homes))


@pytest.mark.parametrize(
    "homes",
    [{}, {"passphrase": Secret("another")}, {"key": KEY}],
    ids=["none", "wrong passphrase", "wrong key"],
)
def test_records_that_do_not_open_are_counted_and_named(homes):
    async def test(store):
        done = await store.import_legacy()
        sealed = {f"{IDS[name]}.json" for name in ("encrypted.json", "file-unified.json")}
        assert (done.read, done.skipped, done.unopened) == (2, 0, 2)
        assert set(done.unopened_keys) == sealed
        with pytest.raises((ProofFormatError, StorageConfigurationError)):
            await store.get(IDS["encrypted.json"], policy=unsafe_allow_unsigned())

    asyncio.run(with_files(Shelf(), test, **homes))


def test_a_key_and_a_passphrase_contradict_each_other():
    with pytest.raises(StorageConfigurationError, match="not both"):
        LegacyHomes(key=KEY, passphrase=PASSPHRASE)
    assert PASSPHRASE.reveal() not in repr(LegacyHomes(passphrase=PASSPHRASE))


def test_a_version_that_is_there_has_to_be_one():
    good = encrypted(RECORD)
    del good["version"]
    assert parse_legacy(json.dumps(good).encode(), KEY).proof_id == ID
    for wrong in (0, 2, None, "1", True):
        with pytest.raises(ProofFormatError):
            parse_legacy(json.dumps({**good, "version": wrong}).encode(), KEY)


def test_a_proof_without_an_end_is_exported_with_one_that_the_originals_sweep_keeps():
    async def test(shelf, store):
        proof = await store.issue(ASSET)
        exported = await store.export_legacy(proof.proof_id)
        assert exported["expiresAt"] == 253402300799999
        read = parse_legacy(json.dumps(exported).encode())
        assert read.expires_at == datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)

    run(test)


def test_a_passphrase_as_text_is_hidden_at_once():
    homes = LegacyHomes(passphrase=PASSPHRASE.reveal(), files=None)
    assert PASSPHRASE.reveal() not in repr(homes)
    assert homes.passphrase.reveal() == PASSPHRASE.reveal()
    for wrong in ("", b"canary-bytes", 123, Secret("")):
        with pytest.raises(StorageConfigurationError, match="passphrase") as caught:
            LegacyHomes(passphrase=wrong)
        shown = [
            repr(frame.f_locals) for frame, _ in walk_tb(caught.tb) if frame.f_code.co_filename != __file__
        ]
        assert not any("canary" in text for text in shown)


def test_what_cannot_be_read_ends_no_import_and_is_named_if_it_is_called_as_a_record():
    async def test(store):
        whole = (WRITTEN / "file-api.json").read_bytes()
        torn = "1f8fad5b-d9cb-469f-a165-70867728950e.json"
        for key, body in (
            (torn, whole[:-40]),
            ("proof_1700000000000_x1.json", b"\x1f\x8b\x08torn"),
            ("notes.json", b"[1"),
            ("big.json", b" " * 5_000_000),
        ):
            await store.provider.store(key, body, compress=False)
        done = await store.import_legacy()
        assert (done.read, done.skipped, done.unopened) == (4, 2, 2)
        assert set(done.unopened_keys) == {torn, "proof_1700000000000_x1.json"}

    asyncio.run(with_files(Shelf(), test, passphrase=PASSPHRASE))


OLDEST = "proofs/2025-11-21/urn-1/proof_1763683200000_k3x9"


@pytest.mark.parametrize("extension", ["json", "gz", "json.gz", "c2pa"])
@pytest.mark.parametrize("name", ["file-api.json", "encrypted.json"])
def test_a_record_in_gzip_of_the_oldest_store_is_imported_and_found(name, extension):
    async def test():
        homes = LegacyHomes(passphrase=PASSPHRASE)
        async with Shelf().open(legacy=homes) as store:
            body = gzip.compress((WRITTEN / name).read_bytes())
            await store.provider.store(f"{OLDEST}.{extension}", body, compress=False)
            await store.provider.store("proofs/2025-11-21/urn-1/picture.jpg", b"\xff\xd8", compress=False)
            done = await store.import_legacy()
            assert (done.read, done.skipped, done.unopened) == (1, 1, 0)
            found = await store.get(IDS[name], policy=unsafe_allow_unsigned())
            assert found.proof_id == IDS[name]
            assert [each.proof_id for each in await store.find_legacy(found.sha256)] == [IDS[name]]

    asyncio.run(test())


def test_a_bomb_and_torn_gzip_are_named_and_take_no_more_memory_than_a_record():
    async def test():
        async with Shelf().open(legacy=LegacyHomes()) as store:
            bomb = gzip.compress(b" " * 50_000_000)
            for key, body in ((f"{OLDEST}1.json", bomb), (f"{OLDEST}2.gz", bomb[:-20])):
                await store.provider.store(key, body, compress=False)
            done = await store.import_legacy()
            assert (done.read, done.skipped, done.unopened) == (0, 0, 2)
            assert set(done.unopened_keys) == {f"{OLDEST}1.json", f"{OLDEST}2.gz"}

    asyncio.run(test())


# Brought from another store


DAY_HOME = "proofs/2026/11/28"


async def all_homes(provider):
    """What the original's own code wrote, in its four homes, and what else may be there."""
    for name, key in (
        ("file-api.json", f"{DAY_HOME}/{IDS['file-api.json']}.json"),
        ("file-package.json", f"{IDS['file-package.json']}.json"),
        ("encrypted.json", f"{IDS['encrypted.json']}.json"),
    ):
        await provider.store(key, (WRITTEN / name).read_bytes(), compress=False)
    oldest = gzip.compress((WRITTEN / "file-unified.json").read_bytes())
    await provider.store(f"{OLDEST}.json", oldest, compress=False)
    await provider.store("notes.json", b"[1]", compress=False)


def test_records_of_all_four_homes_are_brought_and_found():
    async def test():
        shelf = Shelf()
        async with MemoryStorageProvider() as source:
            await all_homes(source)
            before = [item async for item in source.scan("")]
            homes = LegacyHomes(passphrase=PASSPHRASE)
            async with shelf.open(legacy=homes) as store:
                seen = []
                dry = await store.import_legacy_from(
                    source, dry_run=True, progress=lambda done, total: seen.append((done, total))
                )
                assert (dry.read, dry.known, dry.skipped, dry.unopened) == (4, 0, 1, 0)
                assert seen == [(number, None) for number in range(1, 6)]
                assert shelf.held() == []
                done = await store.import_legacy_from(source)
                assert done == dry
                assert [item async for item in source.scan("")] == before
                for name, proof_id in IDS.items():
                    found = await store.get(proof_id, policy=unsafe_allow_unsigned())
                    assert found.sha256.hex().startswith(HASHES[name])
                    assert [each.proof_id for each in await store.find_legacy(found.sha256)] == [proof_id]
                held = shelf.held()
                again = await store.import_legacy_from(source)
                assert (again.read, again.known) == (4, 4)
                assert shelf.held() == held
                # The original goes on, and writes another one.
                await source.store(f"{IDS['file-unified.json']}.json", b'{"proofId":"x"}', compress=False)
                assert (await store.import_legacy_from(source)).unopened == 1

    asyncio.run(test())


def test_an_import_that_stopped_is_continued_and_contradictions_are_said():
    async def test():
        async with MemoryStorageProvider() as source:
            await all_homes(source)
            homes = LegacyHomes(passphrase=PASSPHRASE)
            for nth in range(1, 17):
                shelf = Shelf()
                store = shelf.open(legacy=homes)
                store.driver.fail(nth, "before")
                with dying():
                    await store.import_legacy_from(source)
                store = shelf.open(legacy=homes)
                assert (await store.import_legacy_from(source)).read == 4
                for proof_id in IDS.values():
                    found = await store.get(proof_id, policy=unsafe_allow_unsigned())
                    assert await store.find_legacy(found.sha256) == [found]
            changed = json.loads((WRITTEN / "file-api.json").read_bytes()) | {"proofUri": "https://x.example"}
            place = f"{DAY_HOME}/{IDS['file-api.json']}.json"
            await source.store(place, json.dumps(changed).encode(), compress=False)
            done = await store.import_legacy_from(source)
            assert (done.read, done.known, done.differing_keys) == (3, 3, (place,))
            with pytest.raises(StorageConfigurationError):
                await shelf.open().import_legacy_from(source)
            with pytest.raises(StorageInvalidRequestError):
                await store.import_legacy_from("file:///tmp")

    asyncio.run(test())
