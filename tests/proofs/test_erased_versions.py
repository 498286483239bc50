"""Erasing in a store that keeps versions: nothing of the proof is left in any of them, or what stays is told."""

import asyncio
import hashlib
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from credstore import S3StorageProvider
from credstore.driver import RetainingDriver, VersionedDriver
from credstore.errors import ErrorCode, StorageError, StorageVersionsRemainError
from credstore.model import Retention
from credstore.proofs.format.errors import ProofErasedError, ProofNotFoundError
from credstore.proofs.format.policy import unsafe_allow_expired
from credstore.proofs.store.proof_store import ProofStore
from credstore.provider.provider import StorageProvider
from credstore.testing import count_requests
from tests.conformance.raw_s3 import RawS3
from tests.conformance.versioned import VersionedMemory, Versions
from tests.conftest import S3Server
from tests.drivers.s3.support import s3_config
from tests.proofs.material import SIGNER
from tests.proofs.shelves import DAY, HOUR, LAYOUT, TRUST, Clock, Killed, Scripted, Shelf, dying, tombstone
from tests.servers.moto import MotoServer

ASSET = b"hello"
SHA256 = hashlib.sha256(ASSET)
FAR = datetime(2037, 1, 2, 3, 4, 5, tzinfo=UTC)


def on_moto(server: MotoServer, test, *, state="Enabled"):
    async def main():
        place = S3Server(server.url, server.make_bucket(object_lock=state == "Lock"))
        raw = RawS3(place)
        if state in {"Enabled", "Suspended"}:
            raw.switch_versions(state)
        provider = S3StorageProvider(s3_config(place.url, bucket=place.bucket))
        clock = Clock()
        async with ProofStore(provider, trust=TRUST, signer=SIGNER, clock=clock) as store:
            return await test(store, raw, clock)

    return asyncio.run(main())


def only_status(names):
    """Whether nothing but the signed tombstone, and what belongs to it, has a name."""
    return all(name.startswith(LAYOUT.statuses) for name in names)


def no_trace(raw: RawS3):
    """No name and no byte of any version tells of the asset or the record."""
    assert only_status(raw.names()), raw.names()
    for key, version_id in raw.versions():
        data = raw.read(key, version_id)
        assert SHA256.hexdigest().encode() not in data
        assert b"claimed by nobody" not in data


@pytest.mark.parametrize("state", [None, "Enabled", "Suspended", "Lock"])
@pytest.mark.parametrize("life", [None, HOUR])
def test_an_erased_proof_leaves_no_version_of_anything(moto_server, state, life):
    async def check(store, raw, clock):
        claims = {"title": "claimed by nobody"}
        proof = await store.issue(ASSET, manifest=b"manifest", claims=claims, expires_in=life)
        await store.fsck(repair=True)
        await store._objects.put_index(SHA256.digest(), proof.proof_id)  # As a repeated issue does.
        assert await store.delete(proof.proof_id) is True
        no_trace(raw)
        assert LAYOUT.erasure(proof.proof_id) in raw.names()
        with pytest.raises(ProofErasedError):
            await store.get(proof.proof_id)
        assert await store.delete(proof.proof_id) is False
        no_trace(raw)

    on_moto(moto_server, check, state=state)


def test_a_proof_that_was_only_hidden_before_is_erased_by_the_same_call(moto_server):
    """What an older release left: a tombstone, and a delete marker above everything."""

    async def check(store, raw, clock):
        proof = await store.issue(ASSET, manifest=b"manifest", expires_in=HOUR)
        await store._eraser._notify(
            "erasure", proof.verified, "unspecified", store._call("delete", proof.proof_id)
        )
        for key in raw.names() - {LAYOUT.erasure(proof.proof_id)}:
            await store.provider.delete(key)
        assert SHA256.hexdigest() in "".join(raw.names())
        assert await store.delete(proof.proof_id) is False
        no_trace(raw)

    on_moto(moto_server, check)


def test_a_sweep_leaves_no_version_of_what_expired(moto_server):
    async def check(store, raw, clock):
        proof = await store.issue(ASSET, manifest=b"manifest", expires_in=HOUR)
        await store.revoke(proof.proof_id)
        clock.pass_(3 * DAY)
        assert (await store.sweep_expired()).swept == 1
        assert raw.names() == set()

    on_moto(moto_server, check)


@pytest.mark.parametrize(
    ("life", "before"),
    [(HOUR, 10), (None, 11)],  # As many as it would take if a delete were a plain delete.
)
def test_a_bucket_without_versions_costs_at_most_one_request_more(moto_server, life, before):
    async def check(store, raw, clock):
        proof = await store.issue(ASSET, manifest=b"manifest", expires_in=life)
        with count_requests() as wire:
            await store.delete(proof.proof_id)
        assert wire.total <= before + 1, wire

    on_moto(moto_server, check, state=None)


def test_what_a_retention_keeps_is_told_and_all_else_is_gone(moto_server):
    async def check(store, raw, clock):
        proof = await store.issue(ASSET, manifest=b"manifest", expires_in=HOUR)
        record, index = LAYOUT.record(proof.proof_id), LAYOUT.index(SHA256.digest(), proof.proof_id)
        kept = {key: version_id for key, version_id in raw.versions() if key in {record, index}}
        raw.retain(record, kept[record], FAR)
        raw.hold(index, kept[index])
        for _ in range(2):
            with pytest.raises(StorageVersionsRemainError) as raised:
                await store.delete(proof.proof_id)
            error = raised.value
            assert (error.code, error.operation) == (ErrorCode.VERSIONS_REMAIN, "proof.delete")
            told = {
                each.key: (each.version_id, each.retain_until, each.legal_hold) for each in error.remaining
            }
            assert told == {record: (kept[record], FAR, False), index: (kept[index], None, True)}
            assert "2037-01-02T03:04:05Z" in error.message
            assert "legal hold" in error.message
            assert {key for key, _ in raw.versions()} == {
                record,
                index,
                LAYOUT.marker(proof.record.expires_at, proof.proof_id),  # So that a sweep goes on.
                *tombstone(proof.proof_id),
            }
            with pytest.raises(ProofErasedError):
                await store.get(proof.proof_id)
        clock.pass_(3 * DAY)
        assert (await store.sweep_expired()).later == 1
        raw.hold(index, kept[index], "OFF")
        with pytest.raises(StorageVersionsRemainError) as raised:
            await store.delete(proof.proof_id)
        assert [each.key for each in raised.value.remaining] == [record]
        assert index not in raw.names()

    on_moto(moto_server, check, state="Lock")


class ScriptedVersions(Scripted):
    """A driver over versioned memory that counts requests and fails one of them."""

    async def keeps_versions(self, **options):
        return await self._do("keeps_versions", "", lambda: self.inner.keeps_versions(**options))

    async def list_versions(self, prefix="", cursor=None, **options):
        return await self._do(
            "list_versions", prefix, lambda: self.inner.list_versions(prefix, cursor, **options)
        )

    async def delete_versions(self, versions, **options):
        if self.how == "half" and self.total + 1 == self.nth:
            versions = versions[: len(versions) // 2] or versions
        return await self._do("delete_versions", "", lambda: self.inner.delete_versions(versions, **options))

    async def get_retention(self, key, version_id, **options):
        return await self.inner.get_retention(key, version_id, **options)


class VersionedShelf(Shelf):
    """A shelf whose store keeps versions."""

    def __init__(self, **state):
        self.versions = Versions(**state)
        self.objects = self.versions.objects
        self.clock = Clock()
        self.driver = None

    def open(self, *, conditional=True, **options):
        self.driver = ScriptedVersions(self, VersionedMemory(self.versions), conditional=conditional)
        provider = StorageProvider(self.driver, self.driver.inner.config)
        options = {"trust": TRUST, "signer": SIGNER, "clock": self.clock, **options}
        store = ProofStore(provider, **options)
        store.driver = self.driver
        return store

    def names(self):
        return self.versions.names()

    def lock(self, key):
        for version_id in self.versions.ids(key):
            self.versions.locks[key, version_id] = Retention(mode="compliance", retain_until=FAR)


def test_the_double_is_one_with_versions():
    driver = VersionedShelf().open().driver
    assert isinstance(driver, VersionedDriver)
    assert isinstance(driver, RetainingDriver)


@pytest.mark.parametrize("how", ["before", "after", "half", "lost", "unsent"])
@pytest.mark.parametrize("life", [None, HOUR])
@pytest.mark.parametrize("tells", [True, False])
def test_the_same_call_ends_a_deletion_that_stopped_anywhere(how, life, tells):
    async def stopped(nth):
        shelf = VersionedShelf(tells_markers=tells)
        first = shelf.open()
        proof_id = (await first.issue(ASSET, manifest=b"m", expires_in=life)).proof_id
        first.driver.fail(nth, how)
        error = None
        try:
            with dying():
                await first.delete(proof_id)
        except StorageError as raised:
            error = raised
        struck = first.driver.nth is None
        if not struck or (error is None and not first.driver.dead):
            assert only_status(shelf.names()), shelf.names()
        second = shelf.open()
        if first.driver.dead:
            error = Killed()
        await second.delete(proof_id)
        left = [name for name in shelf.names() if not name.startswith(LAYOUT.statuses)]
        # Only a marker may be left, where the record that tells its day was gone with the first call.
        assert all(name.startswith(LAYOUT.markers) for name in left), left
        if error is None:
            assert left == []
        for _ in range(2):
            shelf.clock.pass_(2 * DAY)
            await second.sweep_expired()
        assert shelf.names() == tombstone(proof_id)
        return struck

    nth = 1
    while asyncio.run(stopped(nth)):
        nth += 1
    assert nth > 8


@pytest.mark.parametrize("how", ["before", "after", "half"])
@pytest.mark.parametrize("life", [None, HOUR])
def test_a_sweep_alone_ends_a_deletion_in_every_version(how, life):
    async def stopped(nth):
        shelf = VersionedShelf()
        store = shelf.open()
        proof_id = (await store.issue(ASSET, manifest=b"m", expires_in=life)).proof_id
        store.driver.fail(nth, how)
        with dying():
            await store.delete(proof_id)
        struck = store.driver.nth is None
        begun = LAYOUT.erasure(proof_id) in shelf.held()
        sweeper = shelf.open()
        for _ in range(4):
            shelf.clock.pass_(2 * DAY)
            await sweeper.sweep_expired()
        if begun:
            assert shelf.names() == tombstone(proof_id)
        elif life is not None:
            assert shelf.names() == []
        else:
            assert len(shelf.held()) == 3
        return struck

    nth = 1
    while asyncio.run(stopped(nth)):
        nth += 1
    assert nth > 8


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("key", [None, "key"])
@pytest.mark.parametrize("how", ["before", "after", "half", "lost"])
def test_a_sweep_that_stopped_anywhere_is_ended_by_the_next(conditional, key, how):
    async def stopped(nth):
        shelf = VersionedShelf()
        store = shelf.open(conditional=conditional)
        options = {"idempotency_key": key, "best_effort": not conditional} if key else {}
        await store.issue(ASSET, manifest=b"m", expires_in=HOUR, **options)
        shelf.clock.pass_(3 * DAY)
        store.driver.fail(nth, how)
        with dying(), suppress(StorageError):
            await store.sweep_expired()
        struck = store.driver.nth is None
        sweeper = shelf.open(conditional=conditional)
        for _ in range(6):
            shelf.clock.pass_(DAY)
            report = await sweeper.sweep_expired()
            assert not report.failed, report
        # Of a record whose id may be issued again, a name may stay that has the id alone.
        left = [name for name in shelf.names() if name not in shelf.versions.objects.by_key]
        assert all(name.startswith(LAYOUT.records) and not shelf.versions.ids(name) for name in left), left
        assert shelf.held() == []
        if not key:
            assert shelf.names() == []
        return struck

    nth = 1
    while asyncio.run(stopped(nth)):
        nth += 1
    assert nth > 4


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("key", [None, "key"])
def test_a_sweep_comes_back_for_what_a_retention_keeps(conditional, key):
    async def main():
        shelf = VersionedShelf()
        store = shelf.open(conditional=conditional)
        options = {"idempotency_key": key, "best_effort": not conditional} if key else {}
        proof = await store.issue(ASSET, manifest=b"m", expires_in=HOUR, **options)
        record = LAYOUT.record(proof.proof_id)
        shelf.lock(record)
        (kept,) = shelf.versions.ids(record)
        for _ in range(5):
            shelf.clock.pass_(3 * DAY)
            report = await store.sweep_expired()
            assert not report.failed, report
            with pytest.raises(ProofNotFoundError):
                await store.get(proof.proof_id, policy=unsafe_allow_expired())
        assert report.later == 1
        assert kept in shelf.versions.ids(record)
        assert not [name for name in shelf.names() if name.startswith((LAYOUT.assets, LAYOUT.manifests))]
        shelf.versions.locks.clear()
        for _ in range(5):
            shelf.clock.pass_(3 * DAY)
            await store.sweep_expired()
        assert shelf.names() == []

    asyncio.run(main())


def test_a_sweep_that_may_not_remove_versions_says_so():
    async def main():
        shelf = VersionedShelf(forbidden={"delete_versions"})
        store = shelf.open()
        proof = await store.issue(ASSET, expires_in=HOUR)
        shelf.clock.pass_(3 * DAY)
        report = await store.sweep_expired()
        assert (report.swept, report.later) == (0, 0)
        assert isinstance(report.failed[proof.proof_id], StorageVersionsRemainError)

    asyncio.run(main())


@pytest.mark.parametrize("forbidden", ["delete_versions", "list_versions"])
def test_a_deletion_without_the_permission_is_never_a_success(forbidden):
    async def main():
        shelf = VersionedShelf(forbidden={forbidden})
        store = shelf.open()
        proof = await store.issue(ASSET, manifest=b"m", expires_in=HOUR)
        with pytest.raises(StorageVersionsRemainError) as raised:
            await store.delete(proof.proof_id)
        assert bool(raised.value.remaining) == (forbidden == "delete_versions")
        with pytest.raises(ProofErasedError):
            await store.get(proof.proof_id)
        shelf.versions.forbidden.clear()
        assert await store.delete(proof.proof_id) is False
        assert shelf.names() == tombstone(proof.proof_id)

    asyncio.run(main())


def test_an_id_that_is_issued_again_keeps_its_new_record():
    """The sweeper that frees an id removes the old record's versions while nobody can issue."""

    async def main():
        shelf = VersionedShelf()
        store = shelf.open()
        old = await store.issue(ASSET, idempotency_key="key", expires_in=HOUR)
        shelf.clock.pass_(3 * DAY)
        for _ in range(3):
            await store.sweep_expired()
            shelf.clock.pass_(DAY)
        assert not shelf.versions.ids(LAYOUT.record(old.proof_id))
        new = await store.issue(ASSET, idempotency_key="key", expires_in=HOUR)
        assert new.proof_id == old.proof_id
        await store.sweep_expired()
        assert (await store.get(new.proof_id)).record == new.record

    asyncio.run(main())


def test_a_name_that_leads_nowhere_is_removed_in_every_version():
    async def main():
        shelf = VersionedShelf()
        store = shelf.open()
        proof = await store.issue(ASSET, expires_in=HOUR)
        await store.delete(proof.proof_id)
        await store._objects.put_index(SHA256.digest(), proof.proof_id)
        assert await store.find_by_hash(SHA256.digest()) == []
        assert not [name for name in shelf.names() if name.startswith(LAYOUT.assets)]

    asyncio.run(main())
