"""Jobs on the objects of one store: keys, compression, proofs; each with a worker that is killed in the middle."""

import asyncio
import contextlib
import json
from pathlib import Path

import pytest

from credstore import (
    ClientSide,
    KeyRing,
    LocalConfig,
    LocalKey,
    LocalStorageProvider,
    StorageConfigurationError,
)
from credstore.cluster import Cluster, StoreAt
from credstore.pipeline.training import train_dictionary
from credstore.proofs import ProofStore
from credstore.proofs.format.trust import encode_trust_store
from credstore.proofs.store.layout import Layout
from tests.cluster.conftest import Trap, Workers
from tests.cluster.test_transfers import together
from tests.proofs.material import ISSUER, SIGNER, TRUST
from tests.transfer.ends import make_tree

COUNT = 60
RECORDS = {
    f"r/{number:03}": json.dumps(
        {"asset": f"photo-{number}", "by": "the same author", "claims": ["original"] * 9}
    ).encode()
    for number in range(COUNT)
}


def local(folder: Path, **options) -> LocalStorageProvider:
    return LocalStorageProvider(LocalConfig(path=folder), **options)


async def killed(cluster: Workers, work, trap: Trap):
    """What a job reports though one of its workers was killed."""
    async with Cluster(cluster.address) as opened:
        report, _ = await together(work(opened), trap.kill())
        return report


def test_keys_are_rotated(workers: Workers, trap: Trap, tmp_path):
    for name in ("old", "new"):
        LocalKey.generate_file(tmp_path / name)
    old, new = (LocalKey.from_file(tmp_path / name) for name in ("old", "new"))
    folder = tmp_path / "sealed"

    async def fill():
        async with local(folder, encryption=ClientSide(KeyRing(old), store_id="s")) as store:
            for name, data in RECORDS.items():
                await store.store(name, data)
        async with local(folder) as store:
            await store.store("plain", b"not encrypted")

    async def check():
        async with local(folder, encryption=ClientSide(KeyRing(new), store_id="s", required=False)) as store:
            assert {name: await store.retrieve(name) for name in RECORDS} == RECORDS

    asyncio.run(fill())
    variables = {
        "CREDSTORE_WRAPPING_KEY": str(tmp_path / "new"),
        "CREDSTORE_OLDER_WRAPPING_KEYS": str(tmp_path / "old"),
        "CREDSTORE_STORE_ID": "s",
    }
    trap.set("r/030", "rotate")
    with workers.with_variables(variables):
        report = asyncio.run(killed(workers, lambda each: each.rotate_keys(folder.as_uri()), trap))
    assert report.complete, report.failed
    assert report.keys == {new.key_id: COUNT}
    assert report.unencrypted == 1
    assert report.rotated <= COUNT  # Those that the dead worker had rotated have the key already.
    asyncio.run(check())


def test_a_worker_without_the_key_is_named_with_the_variable(workers: Workers, tmp_path):
    LocalKey.generate_file(tmp_path / "key")
    variables = {"CREDSTORE_WRAPPING_KEY": str(tmp_path / "key"), "CREDSTORE_STORE_ID": "s"}
    make_tree(tmp_path / "store", {"a": b"1"})

    async def run():
        async with Cluster(workers.address) as cluster:
            await cluster.rotate_keys((tmp_path / "store").as_uri())

    with (
        workers.with_variables(variables),
        workers.with_variable("CREDSTORE_WRAPPING_KEY", None) as worker,
        pytest.raises(StorageConfigurationError, match="set by CREDSTORE_WRAPPING_KEY") as refused,
    ):
        asyncio.run(run())
    assert worker in refused.value.message


def test_records_are_compressed_with_a_dictionary(workers: Workers, trap: Trap, tmp_path):
    folder = tmp_path / "store"
    dictionary = train_dictionary([*RECORDS.values()], size=4096)

    async def fill():
        async with local(folder) as store:
            await store.add_dictionary(dictionary)
            for number, (name, data) in enumerate(RECORDS.items()):
                await store.store(name, data, metadata={"n": str(number)}, content_type="text/x-record")
            await store.store("noise", bytes(range(256)))

    async def check():
        async with local(folder) as store:
            for number, (name, data) in enumerate(RECORDS.items()):
                assert await store.retrieve(name) == data
                item = await store.get_metadata(name)
                assert (item.compression, item.dictionary) == ("zstd", dictionary.name)
                assert (dict(item.metadata), item.content_type) == ({"n": str(number)}, "text/x-record")
            assert (await store.get_metadata("noise")).compression is None

    async def again():
        async with Cluster(workers.address) as cluster:
            place = StoreAt(folder.as_uri())
            looked = await cluster.recompress(place, dictionary.name, journal=tmp_path / "journal")
            return looked, await cluster.recompress(place, dictionary.name, journal=tmp_path / "journal")

    asyncio.run(fill())
    trap.set("r/017", "recompress")
    report = asyncio.run(
        killed(workers, lambda each: each.recompress(folder.as_uri(), dictionary.name), trap)
    )
    assert report.complete, report.failed
    assert report.recompressed + report.kept == COUNT + 1
    assert report.after < report.before
    asyncio.run(check())
    looked, known = asyncio.run(again())
    assert (looked.kept, looked.recompressed, looked.known) == (COUNT + 1, 0, 0)
    assert (known.kept, known.known) == (0, COUNT + 1)


@pytest.fixture
def keys(workers: Workers, tmp_path):
    """The files of the key and of the trust store, known to all workers by their variables."""
    key, trust = tmp_path / "key.pem", tmp_path / "keys.json"
    key.touch(mode=0o600)
    key.write_bytes(SIGNER.to_pem())
    trust.write_bytes(encode_trust_store(TRUST))
    with workers.with_variables({"CREDSTORE_PROOF_KEY": str(key), "CREDSTORE_PROOF_TRUST": str(trust)}):
        yield


def test_proofs_are_issued_about_all_objects_and_audited(workers: Workers, trap: Trap, keys, tmp_path):
    photos = make_tree(tmp_path / "photos", RECORDS)
    proofs, journal = (tmp_path / "proofs").as_uri(), tmp_path / "journal"
    issued: dict[str, str] = {}

    async def proofs_of(data: bytes) -> list[str]:
        async with ProofStore(local(tmp_path / "proofs"), trust=TRUST) as store:
            import hashlib

            return [proof.proof_id for proof in await store.find_by_hash(hashlib.sha256(data).digest())]

    async def again():
        (photos / "r/001").write_bytes(b"changed")
        async with Cluster(workers.address) as cluster:
            more = await cluster.issue_proofs(photos, proofs, issuer=ISSUER, journal=journal)
            whole = await cluster.audit_proofs(proofs)
            async with local(tmp_path / "proofs") as store:
                layout = Layout()
                record = layout.record(issued["r/002"])
                await store.store(record, b"{}", compress=False)
            return more, whole, await cluster.audit_proofs(proofs)

    trap.set("r/040", "issue")
    first = asyncio.run(
        killed(
            workers,
            lambda each: each.issue_proofs(
                photos, proofs, issuer=ISSUER, journal=journal, on_proof=issued.__setitem__
            ),
            trap,
        )
    )
    assert first.complete, first.failed
    assert first.issued == COUNT
    assert asyncio.run(proofs_of(RECORDS["r/039"])) == [issued["r/039"]]
    assert asyncio.run(proofs_of(RECORDS["r/040"])) == [issued["r/040"]]
    more, whole, damaged = asyncio.run(again())
    assert (more.issued, more.known) == (1, COUNT - 1)
    assert (whole.records, whole.restored, whole.removed, dict(whole.problems)) == (COUNT + 1, 0, 0, {})
    assert damaged.records == COUNT
    assert Layout().record(issued["r/002"]) in damaged.problems


def test_workers_that_sign_with_different_keys_are_refused(workers: Workers, keys, tmp_path):
    from tests.proofs.material import P256

    other = tmp_path / "other.pem"
    other.touch(mode=0o600)
    other.write_bytes(P256.to_pem())

    async def run():
        async with Cluster(workers.address) as cluster:
            await cluster.issue_proofs(make_tree(tmp_path / "photos", RECORDS), (tmp_path / "p").as_uri())

    with (
        workers.with_variable("CREDSTORE_PROOF_KEY", str(other)),
        pytest.raises(StorageConfigurationError, match="the key of CREDSTORE_PROOF_KEY is another one"),
    ):
        asyncio.run(run())


def test_a_worker_without_the_key_stores_nothing_in_plain_text(workers: Workers, tmp_path):
    """Of a store that is encrypted here, however it is named, and not there."""
    LocalKey.generate_file(tmp_path / "key")
    LocalKey.generate_file(tmp_path / "other")
    make_tree(tmp_path / "data", {"a": b"1", "b/c": b"2"})
    sealed = {"CREDSTORE_WRAPPING_KEY": str(tmp_path / "key"), "CREDSTORE_STORE_ID": "s"}

    async def run():
        async with Cluster(workers.address) as cluster:
            return await cluster.migrate(tmp_path / "data", (tmp_path / "store").as_uri())

    for changed in ({"CREDSTORE_WRAPPING_KEY": "off"}, {"CREDSTORE_WRAPPING_KEY": str(tmp_path / "other")}):
        with workers.with_variables(sealed), contextlib.ExitStack() as stack:
            for name, value in changed.items():
                worker = stack.enter_context(workers.with_variable(name, value))
            with pytest.raises(
                StorageConfigurationError, match="the encryption of the destination"
            ) as refused:
                asyncio.run(run())
            assert worker in refused.value.message
            assert not [*tmp_path.glob("store/[a-z]*")]
    with workers.with_variables(sealed):
        assert asyncio.run(run()).complete
    assert (tmp_path / "store/a").read_bytes() != b"1"
