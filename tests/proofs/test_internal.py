"""Proofs beside what credstore keeps for itself: neither reaches the other."""

import asyncio
import json
import secrets
from datetime import timedelta

import pytest

from credstore import ClientSide, KeyRing, LocalKey, MemoryConfig, StorageInvalidKeyError, StorageProvider
from credstore.driver.internal import is_internal
from credstore.drivers.memory import MemoryDriver
from credstore.proofs.format.original import LegacyHomes
from credstore.proofs.store.proof_store import ProofStore
from credstore.testing.harness import put
from tests.proofs.material import SIGNER
from tests.proofs.shelves import TRUST, Clock, Shelf


@pytest.mark.parametrize("prefix", [".credstore/", "a/.credstore/", ".credstore/keys/", "a/.credstore/b/"])
@pytest.mark.parametrize("setting", ["prefix", "legacy prefix", "legacy files"])
def test_proofs_are_not_put_or_looked_for_there(prefix, setting):
    options = {
        "prefix": {"prefix": prefix},
        "legacy prefix": {"legacy": LegacyHomes(prefix=prefix)},
        "legacy files": {"legacy": LegacyHomes(files=prefix)},
    }
    with pytest.raises(StorageInvalidKeyError) as caught:
        Shelf().open(**options[setting])
    assert caught.value.code == "RESERVED_KEY"


def test_issuing_sweeping_checking_and_erasing_leave_it_alone():
    async def main():
        clock = Clock()
        driver = MemoryDriver(MemoryConfig())
        objects = driver._objects.by_key
        policy = ClientSide(KeyRing(LocalKey(secrets.token_bytes(32))), store_id="tests", shreddable=True)
        provider = StorageProvider(driver, MemoryConfig(), encryption=policy)
        record = {"proofId": "01a1fd6f-30d1-7eb5-996b-046698f4c901", "imageHash": "sha256:" + "0" * 64}
        for key in (".credstore/planted", "proofs/.credstore/planted", ".credstore/legacy.json"):
            await put(driver, key, json.dumps(record).encode())
        async with ProofStore(
            provider, trust=TRUST, signer=SIGNER, clock=clock, legacy=LegacyHomes()
        ) as store:
            kept = await store.issue(b"kept", manifest=b"manifest")
            short = await store.issue(b"short", expires_in=timedelta(hours=1))
            own = {key: found for key, found in objects.items() if is_internal(key)}
            assert len(own) > 5
            clock.pass_(timedelta(days=10))
            assert (await store.import_legacy()).read == 0
            assert (await store.sweep_expired()).failed == {}
            report = await store.fsck(repair=True)
            assert ".credstore" not in repr(report)
            assert await store.delete(short.proof_id) is False  # It was swept.
            assert own.items() <= objects.items()
            assert (await store.get(kept.proof_id)).record == kept.record
            assert [each.proof_id for each in await store.find_by_hash(kept.record.asset.sha256)] == [
                kept.proof_id
            ]

    asyncio.run(main())
