"""Sweeps that race with retries, stores that encrypt, revoked repeats, damaged records, files of keys."""

import asyncio
import random
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from credstore import ClientSide, KeyRing, MemoryConfig
from credstore.cli.main import run as command
from credstore.drivers.memory import MemoryDriver
from credstore.errors import StorageError
from credstore.proofs.format.errors import (
    ProofConflictError,
    ProofError,
    ProofExpiredError,
    ProofRevokedError,
)
from credstore.proofs.format.policy import unsafe_allow_expired
from credstore.proofs.store.proof_store import ProofStore
from credstore.provider.provider import StorageProvider
from tests.proofs.material import INDEPENDENT, NOW, RECORD, SIGNER, bundle  # noqa: F401
from tests.proofs.material import TRUST as BUNDLE_TRUST
from tests.proofs.shelves import DAY, HOUR, LAYOUT, TRUST, Killed, Scripted, Shelf, dying, invariant
from tests.provider.test_encryption import OLD


async def issue_again(store):
    return await store.issue(b"x", expires_in=HOUR, idempotency_key="k", manifest=b"m")


def test_a_proof_issued_between_the_stages_of_a_sweep_keeps_its_index_name_and_manifest():
    async def run():
        shelf = Shelf()
        sweeping, issuing = shelf.open(), shelf.open()
        await issue_again(sweeping)
        shelf.clock.pass_(3 * DAY)
        won = []

        async def hook(_operation, _key):
            if not won:
                with suppress(ProofConflictError, ProofExpiredError):
                    won.append(await issue_again(issuing))

        sweeping.driver.hook = hook
        await sweeping.sweep_expired()
        valid = await invariant(issuing, shelf)
        assert valid >= {each.proof_id for each in won}

    asyncio.run(run())


def test_a_sweeper_that_was_held_up_does_not_remove_the_next_proof_of_an_id():
    async def run():
        shelf = Shelf()
        late, other, issuing = shelf.open(), shelf.open(), shelf.open()
        await issue_again(late)
        shelf.clock.pass_(3 * DAY)
        won = []
        began = False

        async def hook(operation, _key):
            nonlocal began
            if operation in {"delete_many", "put", "delete"} and not began:
                began = True
                await other.sweep_expired()
                for _ in range(2):
                    try:
                        won.append(await issue_again(issuing))
                    except (ProofConflictError, ProofExpiredError):
                        shelf.clock.pass_(timedelta(hours=2))

        late.driver.hook = hook
        await late.sweep_expired()
        for each in won:
            assert (await issuing.get(each.proof_id, policy=unsafe_allow_expired())).proof_id == each.proof_id
        await invariant(issuing, shelf)

    asyncio.run(run())


@pytest.mark.parametrize("how", ["before", "after", "half", "lost"])
@pytest.mark.parametrize("nth", range(1, 16))
def test_the_sweep_of_a_revoked_proof_may_stop_anywhere_and_the_id_is_good_again(nth, how):
    async def run():
        shelf = Shelf()
        dead = shelf.open()
        first = await issue_again(dead)
        await dead.revoke(first.proof_id)
        shelf.clock.pass_(3 * DAY)
        dead.driver.fail(nth, how)
        with dying(), suppress(StorageError):
            await dead.sweep_expired()
        store = shelf.open()
        for _ in range(8):
            try:
                proof = await issue_again(store)
                break
            except (ProofConflictError, ProofExpiredError, ProofRevokedError):
                shelf.clock.pass_(DAY)
                await store.sweep_expired()
        else:
            pytest.fail("the id never came free")
        assert (await store.get(proof.proof_id)).status.state == "valid"
        await invariant(store, shelf)

    asyncio.run(run())


@pytest.mark.parametrize("seed", range(20))
def test_retries_and_sweepers_of_an_expired_proof_in_any_order(seed):
    async def run():
        rng, shelf = random.Random(seed), Shelf()
        await issue_again(shelf.open())
        shelf.clock.pass_(3 * DAY)

        def shuffled():
            store = shelf.open()

            async def hook(_operation, _key):
                for _ in range(rng.randrange(8)):
                    await asyncio.sleep(0)

            store.driver.hook = hook
            return store

        async def retry(store):
            for _ in range(10):
                try:
                    return await issue_again(store)
                except (ProofConflictError, ProofExpiredError):
                    await asyncio.sleep(0)
            return None

        outcomes = await asyncio.gather(
            *(retry(shuffled()) for _ in range(2)), *(shuffled().sweep_expired() for _ in range(3))
        )
        valid = await invariant(shelf.open(), shelf)
        assert {each.proof_id for each in outcomes[:2] if each is not None} <= valid

    asyncio.run(run())


def sealed(shelf):
    driver = Scripted(shelf, MemoryDriver(MemoryConfig(), objects=shelf.objects))
    policy = ClientSide(KeyRing(OLD), store_id="tests")
    provider = StorageProvider(driver, MemoryConfig(), encryption=policy)
    store = ProofStore(provider, trust=TRUST, signer=SIGNER, clock=shelf.clock)
    store.driver = driver
    return store


def test_leftovers_are_freed_in_an_encrypted_store():
    async def run():
        shelf = Shelf()
        dead = sealed(shelf)
        dead.driver.fail(4, "before")  # Marker, manifest and index name are there, the record is not.
        dead.driver.counts.clear()

        async def hook(operation, key):
            if operation == "put" and "/r/" in key:
                raise Killed

        dead.driver.nth, dead.driver.hook = None, hook
        with dying():
            await dead.issue(b"x", manifest=b"A", expires_in=HOUR, idempotency_key="k")
        store = sealed(shelf)
        for _ in range(5):
            shelf.clock.pass_(3 * DAY)
            await store.sweep_expired()
        proof = await store.issue(b"x", manifest=b"B", expires_in=HOUR, idempotency_key="k")
        assert (await store.get_manifest(proof.proof_id)) == b"B"
        shelf.clock.pass_(9 * DAY)
        for _ in range(4):
            await store.sweep_expired()
            shelf.clock.pass_(2 * DAY)
        assert shelf.held() == []

    asyncio.run(run())


def test_a_repeat_of_a_revoked_proof_is_refused():
    async def run():
        store = Shelf().open()
        proof = await store.issue(b"x", idempotency_key="k")
        await store.revoke(proof.proof_id)
        with pytest.raises(ProofRevokedError):
            await store.issue(b"x", idempotency_key="k")

    asyncio.run(run())


def test_a_link_ends_no_later_than_its_proof():
    async def run():
        shelf = Shelf()
        store = shelf.open()
        time.sleep(1.05 - time.time() % 1)  # Early in a second, where rounding up shows.
        shelf.clock.pass_(datetime.now(UTC) - shelf.clock.now)
        proof = await store.issue(b"x", expires_in=0.6)
        try:
            link = await store.link(proof.proof_id, 100)
        except ProofError:
            return
        assert link.expires_at <= proof.record.expires_at

    asyncio.run(run())


@pytest.mark.parametrize("grace", [float("nan"), 1e20, 365 * 86400 * 3000.0, timedelta(days=900_000)])
def test_any_grace_is_an_answer_or_a_storage_error(grace):
    async def run():
        with suppress(StorageError):
            await Shelf().open().sweep_expired(grace=grace)

    asyncio.run(run())


def test_the_trust_store_never_takes_the_place_of_the_private_key(tmp_path):
    both = str(tmp_path / "keys.json")
    code = command(["proof", "keys", "generate", both, "--issuer", "https://a.example", "--trust", both])
    made = (tmp_path / "keys.json").read_bytes() if (tmp_path / "keys.json").exists() else b""
    assert code != 0 or b"PRIVATE KEY" in made


def test_rotating_beyond_the_calendar_is_a_usage_error(tmp_path, capsys):
    trust, key = str(tmp_path / "r.json"), str(tmp_path / "k.pem")
    assert command(["proof", "keys", "generate", key, "--issuer", "https://a.example", "--trust", trust]) == 0
    keyid = capsys.readouterr().out.strip()
    assert (
        command(
            ["proof", "keys", "rotate", keyid, str(tmp_path / "k2.pem"), "--in", "4000000d", "--trust", trust]
        )
        == 2
    )


def test_both_verifiers_refuse_a_number_longer_than_a_double():
    from credstore.proofs.format.bundle import Bundle, encode_bundle, verify_bundle
    from credstore.proofs.format.dsse import seal_payload
    from credstore.proofs.format.record import encode_record
    from credstore.proofs.format.trust import encode_trust_store

    envelope = asyncio.run(seal_payload(encode_record(RECORD), (SIGNER,)))
    data = encode_bundle(Bundle(envelope, NOW)).replace(
        b'"envelope":{', b'"envelope":{"x":0.' + b"1" * 30 + b",", 1
    )
    with pytest.raises(ProofError):
        verify_bundle(data, BUNDLE_TRUST, now=NOW)
    with pytest.raises(ValueError):
        INDEPENDENT.verify(data, encode_trust_store(BUNDLE_TRUST), NOW)


def test_a_trust_store_that_changed_while_a_passphrase_was_asked_for_is_not_overwritten(
    tmp_path, monkeypatch
):
    from credstore.cli.commands.proof import keys
    from credstore.encryption import Secret

    trust = str(tmp_path / "r.json")
    make = lambda name, *more: command(  # noqa: E731
        [
            "proof",
            "keys",
            "generate",
            str(tmp_path / name),
            "--issuer",
            "https://a.example",
            "--trust",
            trust,
            *more,
        ]
    )
    assert make("a.pem") == 0
    inner = []

    def ask():
        inner.append(make("other.pem"))
        return Secret("word")

    monkeypatch.setattr(keys, "new_passphrase", ask)
    outer = make("slow.pem", "--passphrase")
    assert inner == [0]
    trusted = len(keys.read_trust(trust).keys)
    assert trusted == 1 + 1 + (outer == 0), "a key that was added meanwhile is trusted no more"
    assert (tmp_path / "slow.pem").exists() == (outer == 0)


def test_one_damaged_record_in_an_encrypted_store_does_not_hide_the_other_proofs():
    async def run():
        shelf = Shelf()
        store = sealed(shelf)
        bad, good = await store.issue(b"x"), await store.issue(b"x")
        key = f"proofs/v1/r/{bad.proof_id[-2:]}/{bad.proof_id}.json"
        held = shelf.objects.by_key[key]
        shelf.objects.by_key[key] = replace(held, data=held.data[:-1] + bytes([held.data[-1] ^ 1]))
        found = await store.find_by_hash(bad.record.asset.sha256)
        assert [each.proof_id for each in found] == [good.proof_id]

    asyncio.run(run())


def test_a_proof_says_what_was_signed_whatever_becomes_of_the_callers_claims():
    async def run():
        store, claims = Shelf().open(delay=0.005), {"a": [1]}
        issuing = asyncio.ensure_future(store.issue(b"x", claims=claims))
        await asyncio.sleep(0.002)
        claims["a"].append(2)
        proof = await issuing
        assert proof.record.claims == (await store.get(proof.proof_id)).record.claims

    asyncio.run(run())


def test_a_sweep_takes_no_place_whose_version_it_cannot_name():
    """Without an etag to bind to, whatever another writer has put there meanwhile would be replaced."""

    async def main():
        shelf = Shelf()
        store = shelf.open()
        proof = await store.issue(b"asset", expires_in=3600.0, idempotency_key="again")
        place = LAYOUT.record(proof.proof_id)
        before = shelf.body(place)
        shelf.clock.pass_(3 * DAY)
        inner = store.driver.inner.head

        async def untagged(key, options):
            return replace(await inner(key, options), etag=None)

        store.driver.inner.head = untagged
        assert (await store.sweep_expired()).swept == 0
        assert shelf.body(place) == before
        store.driver.inner.head = inner
        assert (await store.sweep_expired()).swept == 1
        assert shelf.body(place) != before
        shelf.clock.pass_(3 * DAY)
        store.driver.inner.head = untagged
        await store.sweep_expired()
        assert place in shelf.held()
        store.driver.inner.head = inner
        await store.sweep_expired()
        assert place not in shelf.held()

    asyncio.run(main())
