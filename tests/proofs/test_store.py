"""The verbs of the proof store: what they answer, what they refuse, what they write."""

import asyncio
import hashlib
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from credstore import LocalConfig, LocalStorageProvider, MemoryStorageProvider
from credstore.errors import (
    StorageAccessDeniedError,
    StorageConfigurationError,
    StorageConnectionError,
    StorageInvalidRequestError,
    StorageTimeoutError,
    StorageUnsupportedError,
)
from credstore.proofs.format.bundle import verify_bundle
from credstore.proofs.format.dsse import ENVELOPE_TYPE, parse_envelope
from credstore.proofs.format.errors import (
    ProofConflictError,
    ProofErasedError,
    ProofExpiredError,
    ProofIdMismatchError,
    ProofNotFoundError,
    ProofRevokedError,
    ProofSignatureError,
    ProofUntrustedKeyError,
)
from credstore.proofs.format.policy import unsafe_allow_expired, unsafe_allow_revoked
from credstore.proofs.format.record import AssetDigest, SoftBinding
from credstore.proofs.format.signing import LocalSigner
from credstore.proofs.format.trust import TrustStore, trust_key
from credstore.proofs.store.layout import CLAIMED
from credstore.proofs.store.model import IssueRequest
from credstore.proofs.store.proof_store import ProofStore
from credstore.proofs.store.repository import LEASE
from tests.proofs.material import ISSUER, OTHER_ISSUER, P256, SIGNER, START, STRANGER
from tests.proofs.shelves import DAY, HOUR, LAYOUT, TRUST, Shelf, dying, invariant

ASSET = b"hello"
DIGEST = hashlib.sha256(ASSET)


def run(test, **options):
    """Run a test on a shelf of its own with one store open."""

    async def body():
        shelf = Shelf()
        async with shelf.open(**options) as store:
            return await test(shelf, store)

    return asyncio.run(body())


def test_what_was_issued_is_found_by_id_and_hash():
    async def test(shelf, store):
        proof = await store.issue(
            ASSET,
            manifest=b"manifest",
            claims={"title": "hello", "tags": ["a"]},
            expires_in=timedelta(hours=1),
            media_type="text/plain",
            soft_bindings=(SoftBinding("phash", "ff"),),
            uri="https://example.org/hello",
        )
        assert proof.status.state == "valid"
        read = await store.get(proof.proof_id, asset=ASSET)
        assert read.record == proof.record
        assert read.envelope == proof.envelope
        assert read.claims == {"title": "hello", "tags": ["a"]}
        assert read.record.expires_at - read.record.issued_at == timedelta(hours=1)
        for digest in (DIGEST.digest(), DIGEST.hexdigest(), f"sha256:{DIGEST.hexdigest()}"):
            assert [each.proof_id for each in await store.find_by_hash(digest)] == [proof.proof_id]
        assert await store.get_manifest(proof.proof_id) == b"manifest"
        assert await store.exists(proof.proof_id)
        assert not await store.exists(store.new_proof_id())
        assert await invariant(store, shelf) == {proof.proof_id}

    run(test)


def test_assets_of_every_kind_are_one(tmp_path):
    path = tmp_path / "asset"
    path.write_bytes(ASSET)

    async def chunks():
        yield b"he"
        yield b"llo"

    async def test(_, store):
        given = [
            ASSET,
            bytearray(ASSET),
            path,
            io.BytesIO(ASSET),
            [b"he", b"llo"],
            chunks(),
            AssetDigest.of(ASSET),
        ]
        for asset in given:
            assert (await store.issue(asset)).record.asset == AssetDigest.of(ASSET)
        assert len(await store.find_by_hash(DIGEST.digest())) == len(given)
        for wrong in ("hello", {"a": 1}, 5, None):
            with pytest.raises(StorageInvalidRequestError):
                await store.issue(wrong)

    run(test)


def test_a_large_asset_is_hashed_piece_by_piece_with_progress():
    async def test(_, store):
        seen = []
        large = bytes(20 * 1024 * 1024)
        proof = await store.issue(large, progress=lambda done, total: seen.append((done, total)))
        assert proof.record.asset.size == len(large)
        assert [done for done, _ in seen] == sorted({done for done, _ in seen})
        assert len(seen) == 20
        assert seen[-1] == (len(large), len(large))

    run(test)


@pytest.mark.parametrize(
    "asset", [ASSET, bytes(100_000), AssetDigest.of(ASSET)], ids=["small", "large", "digest"]
)
@pytest.mark.parametrize("value", [0, "x", False, []], ids=repr)
def test_progress_that_cannot_be_called_is_refused_before_anything_is_written(asset, value):
    async def test(shelf, store):
        old = await store.issue(ASSET)
        before = set(shelf.held())
        for verb, call in (
            ("issue", store.issue(asset, progress=value)),
            ("supersede", store.supersede(old.proof_id, asset, progress=value)),
        ):
            with pytest.raises(StorageInvalidRequestError, match=r"progress.* is a function") as caught:
                await call
            assert (caught.value.applied, caught.value.operation) == ("no", f"proof.{verb}")
        requests = [IssueRequest(asset=asset, progress=value), IssueRequest(asset=b"good")]
        refused, good = [outcome async for outcome in store.issue_many(requests)]
        assert isinstance(refused.error, StorageInvalidRequestError)
        assert refused.error.applied == "no"
        await store.get(good.proof.proof_id)
        assert set(shelf.held()) > before
        assert len(await store.find_by_hash(DIGEST.digest())) == 1

    run(test)


def test_what_a_users_stream_raises_comes_as_it_is():
    async def chunks():
        yield b"he"
        raise ZeroDivisionError

    async def test(shelf, store):
        with pytest.raises(ZeroDivisionError):
            await store.issue(chunks())
        assert shelf.held() == []

    run(test)


def test_objects_are_stored_as_links_need_them():
    async def test(shelf, store):
        proof = await store.issue(ASSET, manifest=b"m", expires_in=HOUR)
        await store.revoke(proof.proof_id)
        provider = store.provider
        record = await provider.get_metadata(LAYOUT.record(proof.proof_id))
        assert record.content_type == ENVELOPE_TYPE
        assert record.cache_control == "public, max-age=31536000, immutable"
        assert record.compression is None
        assert record.content_encoding is None
        assert parse_envelope(shelf.body(record.key)) == proof.envelope
        manifest = await provider.get_metadata(LAYOUT.manifest(proof.proof_id))
        assert manifest.content_type == "application/c2pa"
        assert shelf.body(manifest.key) == b"m"
        notice = await provider.get_metadata(LAYOUT.revocation(proof.proof_id))
        assert notice.cache_control == "public, max-age=60"
        assert notice.content_type == ENVELOPE_TYPE

    run(test)


def test_requests_of_each_verb():
    async def test(shelf, store):
        driver = store.driver

        async def cost(awaitable):
            driver.counts.clear()
            result = await awaitable
            return result, dict(driver.counts)

        proof, made = await cost(store.issue(ASSET, expires_in=HOUR))
        assert made == {"put": 3}
        _, made = await cost(store.issue(ASSET))
        assert made == {"put": 2}
        _, made = await cost(store.issue(ASSET, expires_in=HOUR, manifest=b"m"))
        assert made == {"put": 4}
        _, made = await cost(store.issue(ASSET, idempotency_key="k"))
        assert made == {"get": 3, "put": 2}
        _, made = await cost(store.issue(ASSET, idempotency_key="k"))
        assert made == {"get": 2}
        _, made = await cost(store.get(proof.proof_id))
        assert made == {"get": 2}
        found, made = await cost(store.find_by_hash(DIGEST.digest()))
        assert len(found) == 4
        assert made == {"list": 1, "get": 2 * 4}
        _, made = await cost(store.revoke(proof.proof_id))
        assert made == {"get": 2, "put": 1}
        _, made = await cost(store.history(proof.proof_id))
        assert made == {"get": 3, "list": 1}
        _, made = await cost(store.delete(proof.proof_id))
        assert made == {"get": 3, "list": 1, "put": 1, "delete_many": 1, "delete": 2}

    run(test)


def test_the_two_reads_of_a_get_are_under_way_at_once():
    async def test(_, store):
        proof = await store.issue(ASSET)
        meet = asyncio.Barrier(2)

        async def hook(_operation, _key):
            await meet.wait()

        store.driver.hook = hook
        await asyncio.wait_for(store.get(proof.proof_id), 5)

    run(test)


def test_expired_revoked_and_erased_are_told_apart():
    async def test(shelf, store):
        proof = await store.issue(ASSET, expires_in=HOUR)
        shelf.clock.pass_(timedelta(hours=1, milliseconds=-1))
        await store.get(proof.proof_id)
        shelf.clock.pass_(timedelta(milliseconds=1))
        with pytest.raises(ProofExpiredError) as refused:
            await store.get(proof.proof_id)
        assert refused.value.operation == "proof.get"
        assert refused.value.key == proof.proof_id
        assert refused.value.provider == "memory"
        assert await store.find_by_hash(DIGEST.digest()) == []
        (found,) = await store.find_by_hash(DIGEST.digest(), policy=unsafe_allow_expired())
        assert found.status.state == "expired"
        status = await store.revoke(proof.proof_id, "incorrect")
        assert status.state == "revoked"
        assert status.notice.reason == "incorrect"
        with pytest.raises(ProofRevokedError, match="incorrect"):
            await store.get(proof.proof_id, policy=unsafe_allow_expired())
        read = await store.get(proof.proof_id, policy=unsafe_allow_expired(unsafe_allow_revoked()))
        assert read.status.notice == status.notice
        assert await store.revoke(proof.proof_id) == replace(status, as_of=shelf.clock())
        assert await store.exists(proof.proof_id)
        assert await store.delete(proof.proof_id, "legal")
        for _ in range(2):
            with pytest.raises(ProofErasedError, match="legal"):
                await store.get(proof.proof_id, policy=unsafe_allow_expired(unsafe_allow_revoked()))
            assert not await store.exists(proof.proof_id)
            assert not await store.delete(proof.proof_id)
        assert not await store.delete(store.new_proof_id())
        assert DIGEST.hexdigest() not in " ".join(shelf.held())
        assert [key.rpartition("/")[2] for key in shelf.held()] == ["erased.json", "revoked.json"]

    run(test)


def test_newest_first():
    async def test(shelf, store):
        ids = []
        for number in range(3):
            shelf.clock.pass_(timedelta(seconds=1))
            ids.append((await store.issue(ASSET, idempotency_key=str(number))).proof_id)
        assert [each.proof_id for each in await store.find_by_hash(DIGEST.digest())] == ids[::-1]
        assert {each.proof_id async for each in store.scan_by_hash(DIGEST.digest())} == set(ids)
        assert (await store.get_proof_by_hash(DIGEST.digest())).proof_id == ids[-1]

    run(test)


def test_a_thousand_planted_names_hide_no_proof():
    async def test(shelf, store):
        for number in range(1000):
            await store._objects.put_index(DIGEST.digest(), f"00000000-0000-7000-8000-{number:012}")
            await store._objects.put_index(DIGEST.digest(), f"ffffffff-0000-7000-8000-{number:012}")
        proof = await store.issue(ASSET)
        found = await shelf.open(signer=()).find_by_hash(DIGEST.digest())
        assert [each.proof_id for each in found] == [proof.proof_id]

    run(test)


@pytest.mark.parametrize("what", ["NAMES", "PROOFS"])
def test_more_than_find_looks_at_is_said(monkeypatch, what):
    monkeypatch.setattr(f"credstore.proofs.store.proof_store.MOST_{what}", 3)

    async def test(shelf, store):
        proof = await store.issue(ASSET)
        for number in range(2):
            await store._objects.put_index(DIGEST.digest(), f"00000000-0000-7000-8000-{number:012}")
        (found,) = await store.find_by_hash(DIGEST.digest())
        assert found.proof_id == proof.proof_id
        if what == "NAMES":
            await store._objects.put_index(DIGEST.digest(), "00000000-0000-7000-8000-000000000002")
        else:
            await store._objects.remove(
                LAYOUT.index(DIGEST.digest(), f"00000000-0000-7000-8000-{n:012}") for n in (0, 1)
            )
            for _ in range(3):
                assert len(await store.find_by_hash(DIGEST.digest())) < 4
                await store.issue(ASSET, claims={"again": True})
        with pytest.raises(StorageInvalidRequestError, match="scan_by_hash") as refused:
            await store.find_by_hash(DIGEST.digest())
        assert refused.value.code == "TOO_MANY_PROOFS"
        assert proof.proof_id in [each.proof_id async for each in store.scan_by_hash(DIGEST.digest())]

    run(test)


def test_idempotent_issue():
    async def test(shelf, store):
        first = await store.issue(ASSET, idempotency_key="k", claims={"a": 1}, expires_in=HOUR, manifest=b"m")
        shelf.clock.pass_(timedelta(minutes=10))
        again = await store.issue(ASSET, idempotency_key="k", claims={"a": 1}, expires_in=HOUR, manifest=b"m")
        assert again.envelope == first.envelope
        for changed in (
            {"claims": {"a": 2}},
            {"claims": None},
            {"expires_in": 2 * HOUR},
            {"expires_in": None},
            {"manifest": b"n"},
            {"manifest": None},
            {"media_type": "text/plain"},
        ):
            options = {"claims": {"a": 1}, "expires_in": HOUR, "manifest": b"m", **changed}
            with pytest.raises(ProofConflictError):
                await store.issue(ASSET, idempotency_key="k", **options)
        other = await store.issue(b"other", idempotency_key="k")
        assert other.proof_id != first.proof_id
        assert len(shelf.held("r/")) == 2
        assert len(shelf.held("x/")) == 1
        shelf.clock.pass_(timedelta(hours=1))
        with pytest.raises(ProofExpiredError):
            await store.issue(ASSET, idempotency_key="k", claims={"a": 1}, expires_in=HOUR, manifest=b"m")
        await store.delete(other.proof_id)
        with pytest.raises(ProofErasedError):
            await store.issue(b"other", idempotency_key="k")

    run(test)


def test_without_conditions_a_key_needs_best_effort():
    async def test(shelf, store):
        first = await store.issue(ASSET, expires_in=HOUR, manifest=b"m")
        with pytest.raises(StorageUnsupportedError, match="best_effort"):
            await store.issue(ASSET, idempotency_key="k")
        one = await store.issue(ASSET, idempotency_key="k", best_effort=True)
        two = await store.issue(ASSET, idempotency_key="k", best_effort=True)
        assert one.envelope == two.envelope
        with pytest.raises(ProofConflictError):
            await store.issue(ASSET, idempotency_key="k", claims={"a": 1}, best_effort=True)
        chosen = store.new_proof_id()
        assert (await store.issue(ASSET, proof_id=chosen)).proof_id == chosen
        assert len(await invariant(store, shelf)) == 3
        shelf.clock.pass_(3 * DAY)
        assert (await store.sweep_expired()).swept == 1
        assert await store.delete(one.proof_id)
        assert not await store.exists(first.proof_id)

    run(test, conditional=False)


def test_without_conditions_the_last_of_two_stands():
    async def test(shelf, store):
        other = shelf.open(conditional=False)
        overtaken = []

        async def hook(operation, key):
            if operation == "put" and "/r/" in key and not overtaken:
                overtaken.append(key)
                await other.issue(ASSET, idempotency_key="k", claims={"a": 1}, best_effort=True)

        store.driver.hook = hook
        proof = await store.issue(ASSET, idempotency_key="k", best_effort=True)
        assert (await store.get(proof.proof_id)).record == proof.record

    run(test, conditional=False)


def test_a_chosen_id():
    async def test(_, store):
        chosen = store.new_proof_id()
        proof = await store.issue(ASSET, proof_id=chosen)
        assert proof.proof_id == chosen
        assert (await store.issue(ASSET, proof_id=chosen)).envelope == proof.envelope
        with pytest.raises(ProofConflictError):
            await store.issue(b"other", proof_id=chosen)
        with pytest.raises(StorageInvalidRequestError):
            await store.issue(ASSET, proof_id=chosen, idempotency_key="k")

    run(test)


def test_superseding_is_information_of_the_same_issuer():
    async def test(shelf, store):
        old = await store.issue(ASSET)
        shelf.clock.pass_(timedelta(seconds=1))
        new = await store.supersede(old.proof_id, b"better", claims={"a": 1})
        assert new.record.supersedes == old.proof_id
        read = await store.get(old.proof_id)
        assert read.status.state == "valid"
        history = await store.history(old.proof_id)
        assert (history.proof, history.supersedes, history.superseded_by) == (read, None, new.proof_id)
        assert (await store.history(new.proof_id)).supersedes == old.proof_id
        shelf.clock.pass_(timedelta(seconds=1))
        newer = await store.supersede(old.proof_id, b"best")
        assert (await store.history(old.proof_id)).superseded_by == newer.proof_id
        with pytest.raises(ProofNotFoundError):
            await store.supersede(store.new_proof_id(), b"better")
        trust = TrustStore(
            1, (*TRUST.keys, trust_key(STRANGER.public_key, issuers=[OTHER_ISSUER], valid_from=START))
        )
        stranger = shelf.open(trust=trust, signer=STRANGER)
        with pytest.raises(ProofIdMismatchError):
            await stranger.supersede(old.proof_id, b"hers")

    run(test)


def test_issue_many_gives_every_outcome_in_order():
    async def test(shelf, store):
        running = most = 0

        async def hook(_operation, _key):
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1

        store.driver.hook = hook

        async def requests():
            for number in range(40):
                yield IssueRequest(asset=b"%d" % number if number != 7 else "text")

        outcomes = [outcome async for outcome in store.issue_many(requests(), at_once=8)]
        assert len(outcomes) == 40
        assert isinstance(outcomes[7].error, StorageInvalidRequestError)
        assert outcomes[7].proof is None
        for number, outcome in enumerate(outcomes):
            if number != 7:
                assert outcome.proof.record.asset == AssetDigest.of(b"%d" % number)
        assert 4 <= most <= 8
        for wrong in (0, 1001, 5000):
            with pytest.raises(StorageInvalidRequestError, match="at_once is 1 to 1,000"):
                await anext(store.issue_many([], at_once=wrong))
        assert [each async for each in store.issue_many([], at_once=1000)] == []

    run(test)


def test_leaving_issue_many_early_leaves_nothing_running():
    async def test(_, store):
        many = store.issue_many((IssueRequest(asset=b"%d" % number) for number in range(1000)), at_once=4)
        async for _ in many:
            break
        await many.aclose()
        assert len(asyncio.all_tasks()) == 1
        assert store.driver.counts["put"] < 40

    run(test)


def test_list_scan_and_stats():
    async def test(shelf, store):
        ids = {(await store.issue(b"%d" % number, expires_in=HOUR)).proof_id for number in range(5)}
        gone, *_ = ids
        await store.delete(gone)
        revoked = min(ids - {gone})
        await store.revoke(revoked)
        bad = max(ids - {gone})
        shelf.objects.by_key[LAYOUT.record(bad)] = replace(
            shelf.objects.by_key[LAYOUT.record(bad)],
            data=b"{}",
            info=replace(shelf.objects.by_key[LAYOUT.record(bad)].info, digest=None, size=2),
        )
        outcomes = await store.list()
        assert {each.proof_id for each in outcomes} == ids - {gone}
        assert [each.proof_id for each in outcomes if each.error] == [bad]
        assert len(await store.list(2)) == 2
        stats = await store.stats()
        assert (stats.proofs, stats.manifests, stats.revoked, stats.erased, stats.expiring) == (4, 0, 1, 1, 4)
        assert stats.total_size == sum(len(shelf.body(key)) for key in shelf.held())

    run(test)


def test_export_verifies_with_no_store():
    async def test(shelf, store):
        proof = await store.issue(ASSET)
        bundle = await store.export(proof.proof_id)
        report = verify_bundle(bundle, TRUST, now=shelf.clock(), asset=AssetDigest.of(ASSET))
        assert report.proof.record == proof.record
        await store.revoke(proof.proof_id)
        with pytest.raises(ProofRevokedError):
            verify_bundle(await store.export(proof.proof_id), TRUST, now=shelf.clock())

    run(test)


def test_links_are_to_valid_proofs_and_end_with_them(tmp_path):
    async def test():
        shelf = Shelf()
        shelf.clock.now = datetime.now(UTC)  # The provider's links end by the real one.
        provider = LocalStorageProvider(LocalConfig(path=tmp_path))
        async with ProofStore(provider, trust=TRUST, signer=SIGNER, clock=shelf.clock) as store:
            proof = await store.issue(ASSET, manifest=b"m", expires_in=HOUR)
            link = await store.link(proof.proof_id, 60)
            assert proof.proof_id in link
            assert (
                await store.link(proof.proof_id, 7 * HOUR)
            ).expires_at <= proof.record.expires_at + timedelta(seconds=2)
            assert "/m/" in await store.link(proof.proof_id, 60, of="manifest")
            bare = await store.issue(ASSET)
            with pytest.raises(ProofNotFoundError):
                await store.link(bare.proof_id, of="manifest")
            with pytest.raises(StorageInvalidRequestError):
                await store.link(bare.proof_id, 0)
            await store.revoke(proof.proof_id)
            with pytest.raises(ProofRevokedError):
                await store.link(proof.proof_id)

    asyncio.run(test())


def test_an_unverified_record_is_only_had_by_that_name():
    async def test(shelf, store):
        proof = await store.issue(ASSET)
        reader = shelf.open(trust=TrustStore(1, ()), signer=())
        with pytest.raises(ProofUntrustedKeyError):
            await reader.get(proof.proof_id)
        assert await reader.read_unverified(proof.proof_id) == proof.record
        assert await reader.read_unverified(store.new_proof_id()) is None
        assert await reader.find_by_hash(DIGEST.digest()) == []

    run(test)


def test_what_readers_would_refuse_is_not_issued():
    async def test(shelf, store):
        stranger = shelf.open(signer=STRANGER, issuer=ISSUER)
        with pytest.raises(ProofUntrustedKeyError):
            await stranger.issue(ASSET)
        foreign = shelf.open(issuer=OTHER_ISSUER)
        with pytest.raises(ProofUntrustedKeyError):
            await foreign.issue(ASSET)
        only = TrustStore(
            1, (trust_key(SIGNER.public_key, issuers=[ISSUER], usages=["proof"], valid_from=START),)
        )
        proof = await store.issue(ASSET)
        keys = shelf.held()
        issuer = shelf.open(trust=only)
        for verb in (issuer.revoke, issuer.delete):
            with pytest.raises(ProofUntrustedKeyError):
                await verb(proof.proof_id)
        assert shelf.held()[: len(keys)] == keys
        await store.get(proof.proof_id)

    run(test)


def test_two_must_sign_where_two_are_asked_for():
    async def test(shelf, _):
        trust = TrustStore(1, (*TRUST.keys, trust_key(P256.public_key, issuers=[ISSUER], valid_from=START)))
        both = shelf.open(trust=trust, signer=(SIGNER, P256), threshold=2)
        proof = await both.issue(ASSET)
        assert len((await both.get(proof.proof_id)).verified.keyids) == 2
        one = shelf.open(trust=trust, threshold=2)
        with pytest.raises(ProofUntrustedKeyError):
            await one.issue(ASSET)

    run(test)


def test_a_broken_signer_writes_nothing():
    class Broken:
        public_key = SIGNER.public_key

        async def sign(self, pae):
            return bytes(64)

    async def test(shelf, store):
        with pytest.raises(ProofSignatureError):
            await store.issue(ASSET)
        assert shelf.held() == []

    run(test, signer=Broken())


def test_a_store_without_signer_only_reads():
    async def test(shelf, store):
        proof = await store.issue(ASSET)
        reader = shelf.open(signer=())
        assert (await reader.get(proof.proof_id)).record == proof.record
        for wrong in (reader.issue(ASSET), reader.revoke(proof.proof_id), reader.delete(proof.proof_id)):
            with pytest.raises(StorageConfigurationError):
                await wrong
        unclear = shelf.open(signer=LocalSigner.generate())
        with pytest.raises(StorageConfigurationError, match="issuer"):
            await unclear.issue(ASSET)

    run(test)


@pytest.mark.parametrize(
    "life", [0, -1, float("nan"), float("inf"), "1", True, timedelta(0), timedelta(days=400_000), 10**30]
)
def test_lives_that_are_none(life):
    async def test(shelf, store):
        with pytest.raises(StorageInvalidRequestError):
            await store.issue(ASSET, expires_in=life)
        assert shelf.held() == []

    run(test)


@pytest.mark.parametrize(
    "options",
    [
        {"claims": []},
        {"claims": {"a": object()}},
        {"claims": {"a": "x" * 300_000}},
        {"media_type": "text"},
        {"supersedes": "x"},
        {"idempotency_key": ""},
        {"manifest": "text"},
        {"manifest": bytes(16 * 1024 * 1024 + 1)},
        {"manifest": [bytes(1024 * 1024)] * 17},
        {"manifest": b"m", "manifest_type": "x"},
    ],
    ids="-".join,
)
def test_options_that_are_wrong_write_nothing(options):
    async def test(shelf, store):
        with pytest.raises(StorageInvalidRequestError):
            await store.issue(ASSET, **options)
        assert shelf.held() == []

    run(test)


def test_an_issue_that_takes_too_long_gives_up():
    async def test(shelf, store):
        async def hook(_operation, key):
            if "/a/" in key:
                shelf.clock.pass_(LEASE + timedelta(seconds=1))

        store.driver.hook = hook
        with pytest.raises(StorageTimeoutError) as refused:
            await store.issue(ASSET, expires_in=2 * HOUR)
        assert refused.value.applied == "no"
        assert shelf.held("r/") == []

    run(test)


def test_an_unclear_commit_is_settled_by_reading():
    async def test(shelf, store):
        for how in ("lost", "unsent"):
            store.driver.fail(2, how)
            if how == "lost":
                assert await store.exists((await store.issue(ASSET)).proof_id)
                continue
            with pytest.raises(StorageConnectionError) as unclear:
                await store.issue(ASSET)
            assert unclear.value.applied == "maybe"
        store.driver.fail(1, "lost")
        with pytest.raises(StorageConnectionError) as before:
            await store.issue(ASSET)
        assert before.value.applied == "no"
        assert len(await invariant(store, shelf)) == 1

    run(test)


def test_an_id_whose_leftovers_are_being_removed_is_to_be_tried_again():
    async def test(shelf, store):
        chosen = store.new_proof_id()
        await store.provider.store(LAYOUT.record(chosen), CLAIMED, compress=False)
        assert not await store.exists(chosen)
        assert await store.read_unverified(chosen) is None
        with pytest.raises(ProofConflictError) as refused:
            await store.issue(ASSET, proof_id=chosen)
        assert refused.value.retryable

    run(test)


def test_the_original_verbs():
    async def test(_, store):
        proof_id = await store.store_proof({"title": "hello"}, ASSET, expires_in=HOUR)
        assert (await store.get_proof(proof_id)).claims == {"title": "hello"}
        assert (await store.get_proof_by_hash(DIGEST.hexdigest())).proof_id == proof_id
        assert await store.get_proof_by_hash(bytes(32)) is None
        assert await store.proof_exists(proof_id)
        assert await store.delete_proof(proof_id)
        assert await store.get_proof(proof_id) is None
        assert not await store.proof_exists(proof_id)
        await store.close()
        with pytest.raises(StorageInvalidRequestError) as closed:
            await store.get_proof(proof_id)
        assert closed.value.code == "CLOSED"

    run(test)


def test_closing():
    async def test():
        provider = MemoryStorageProvider()
        store = ProofStore(provider, trust=TRUST, signer=SIGNER, close_provider=False)
        await store.aclose()
        await store.aclose()
        assert not provider.closed
        owner = ProofStore(provider, trust=TRUST, signer=SIGNER)
        async with owner:
            pass
        assert provider.closed
        assert "closed" in repr(owner)

    asyncio.run(test())


def test_wrong_settings():
    provider = MemoryStorageProvider()
    with pytest.raises(StorageConfigurationError):
        ProofStore(provider, trust=TRUST, threshold=0)
    for prefix in ("", "/", "a", "../", "a/../b/", "./", "a//", "a b/"):
        with pytest.raises(StorageInvalidRequestError):
            ProofStore(provider, trust=TRUST, prefix=prefix)


def test_a_failing_store_is_no_absence():
    async def test(_, store):
        proof = await store.issue(ASSET)
        for nth in (1, 2):
            store.driver.fail(nth, "unsent")
            with pytest.raises(StorageConnectionError):
                await store.get(proof.proof_id)
            store.driver.fail(nth, "unsent")
            with pytest.raises(StorageConnectionError):
                await store.find_by_hash(DIGEST.digest())
            store.driver.fail(nth, "unsent")
            with pytest.raises(StorageConnectionError):
                await store.get_proof(proof.proof_id)

    run(test)


def test_a_lock_on_a_record_is_later():
    async def test(shelf, store):
        proof = await store.issue(ASSET, expires_in=HOUR)
        free = await store.issue(b"other", expires_in=HOUR)
        shelf.clock.pass_(3 * DAY)
        driver = store.driver
        inner = driver.inner.delete_many

        async def locked(keys, **options):
            outcomes = dict(await inner([key for key in keys if proof.proof_id not in key], **options))
            return {
                **outcomes,
                **{key: StorageAccessDeniedError("locked") for key in keys if proof.proof_id in key},
            }

        driver.inner.delete_many = locked
        report = await store.sweep_expired()
        assert (report.swept, report.later) == (1, 1)
        assert LAYOUT.record(proof.proof_id) in shelf.held()
        assert LAYOUT.index(DIGEST.digest(), proof.proof_id) in shelf.held()
        assert not await store.exists(free.proof_id)
        driver.inner.delete_many = inner
        assert (await store.sweep_expired()).swept == 1
        assert shelf.held() == []

    run(test)


def test_another_manifest_after_a_crash_is_a_conflict_until_the_first_is_removed():
    async def test(shelf, store):
        dead = shelf.open()
        dead.driver.fail(4, "after")
        with dying():
            await dead.issue(ASSET, idempotency_key="k", manifest=b"one")
        for late in (False, True):
            with pytest.raises(ProofConflictError) as refused:
                await store.issue(ASSET, idempotency_key="k", manifest=b"two")
            assert refused.value.retryable is late
            shelf.clock.pass_(DAY)
        with pytest.raises(ProofConflictError) as freed:
            await store.issue(ASSET, idempotency_key="k", manifest=b"two")
        assert freed.value.retryable
        proof = await store.issue(ASSET, idempotency_key="k", manifest=b"two")
        assert await store.get_manifest(proof.proof_id) == b"two"
        assert await invariant(store, shelf) == {proof.proof_id}

    run(test)
