"""A proof store with a log: what is signed is logged, and shown to be so offline."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from credstore import MemoryConfig
from credstore.errors import (
    StorageAccessDeniedError,
    StorageConfigurationError,
    StorageConnectionError,
    StorageInvalidRequestError,
)
from credstore.proofs import (
    AllOf,
    CheckpointError,
    InLog,
    IssuedBy,
    IssueRequest,
    LocalSigner,
    LogEntryError,
    LogError,
    LogForkError,
    LogInclusionError,
    LogPart,
    LogPendingError,
    LogRollbackError,
    ProofConflictError,
    ProofErasedError,
    ProofKeyRevokedError,
    ProofPolicyError,
    ProofStore,
    ProofUntrustedKeyError,
    TrustStore,
    WitnessQuorumError,
    encode_bundle,
    parse_bundle,
    trust_key,
    verify_bundle,
)
from credstore.proofs.format.dsse import encode_envelope, parse_envelope
from credstore.proofs.format.trust import KeyRevocation
from credstore.proofs.format.verify import TrustedTime
from credstore.proofs.log import (
    LogCheck,
    ProofLog,
    StatementAdmission,
    parse_entry,
    parse_log_policy,
    sequencer,
    sole_policy,
)
from credstore.proofs.log.checkpoint import Checkpoint, sign_text
from credstore.proofs.log.http import LogHttp
from credstore.proofs.log.merkle import hash_leaf
from credstore.proofs.log.note import COSIGNATURE, LocalNoteSigner, sign_line
from credstore.proofs.log.proof_file import encode_log_proof, parse_log_proof
from credstore.proofs.log.witnesses import WitnessGroup
from credstore.provider.provider import StorageProvider
from tests.proofs import material
from tests.proofs.log.logs import NOW, ORIGIN, PREFIX, SIGNER, Plain, Shop, Unsteady, made
from tests.proofs.log.test_client import W1, Network, broken, new_witness

POLICY = sole_policy(SIGNER.key.encode())
CHECK = LogCheck(POLICY)
ASSET = b"the bytes of a picture"
WITNESS = LocalNoteSigner("w.example/1", bytes(range(32, 64)), COSIGNATURE)
ALONE = parse_log_policy(
    f"log {SIGNER.key.encode()}\nwitness w1 {W1.key.encode()} http://w1.example/api/\nquorum w1\n".encode()
)
WITNESSED = parse_log_policy(
    f"log {SIGNER.key.encode()}\nwitness w {WITNESS.key.encode()}\nquorum w\n".encode()
)


class Stand:
    """A bucket with a log and proofs in it, whose clock the test moves."""

    def __init__(self, trust=material.TRUST, **options):
        self.shop = Shop()
        self.trust = trust
        self.options = options
        self.now = NOW

    def clock(self):
        return self.now

    @asynccontextmanager
    async def open(self, *, create=False, policy=POLICY, trust=None, writes=True, **options):
        """A proof store with its log."""
        admission = StatementAdmission(self.trust, clock=self.clock)
        sequencer = self.shop.open(
            driver=Unsteady(self.shop.objects), admission=admission, clock=self.clock, **self.options
        )
        if create:
            await sequencer.create()
        log = ProofLog(policy, sequencer=sequencer if writes else None)
        async with (
            sequencer,
            ProofStore(
                StorageProvider(Unsteady(self.shop.objects), MemoryConfig()),
                trust=trust or self.trust,
                log=log,
                clock=self.clock,
                **{"signer": material.SIGNER, **options},
            ) as store,
        ):
            store.sequencer = sequencer
            yield store

    async def kinds(self):
        return [parse_entry(each).kind for each in await self.shop.entries()]


def run(test, **options):
    async def main():
        stand = Stand(**options)
        async with stand.open(create=True) as store:
            await test(stand, store)

    asyncio.run(main())


def verified(bundle, check=CHECK, policy=None, now=NOW, trust=material.TRUST):
    return verify_bundle(bundle, trust, now=now, check_log=check, policy=policy or InLog())


def test_an_issued_proof_is_logged_and_shown_to_be_so_offline():
    async def test(stand, store):
        proof = await store.issue(ASSET)
        assert (proof.logged.origin, proof.logged.index, proof.logged.size) == (ORIGIN, 0, 1)
        report = verified(await store.export(proof.proof_id))
        assert report.logged == proof.logged
        assert report.unchecked == ("consistency", "asset")
        (entry,) = await stand.shop.entries()
        assert parse_entry(entry).subject == proof.record.asset.sha256

    run(test)


def test_many_at_once_are_logged_together_and_all_shown():
    async def test(stand, store):
        from credstore.proofs import IssueRequest

        outcomes = [
            each async for each in store.issue_many(IssueRequest(asset=b"%d" % n) for n in range(300))
        ]
        assert sorted(each.proof.logged.index for each in outcomes) == list(range(300))
        report = verified(await store.export(outcomes[7].proof.proof_id))
        assert report.logged == outcomes[7].proof.logged

    run(test)


def test_revocations_tombstones_and_trust_stores_are_logged():
    async def test(stand, store):
        one, two = await store.issue(ASSET), await store.issue(ASSET)
        await store.revoke(one.proof_id)
        await store.revoke(one.proof_id)
        await store.delete(two.proof_id)
        assert not await store.delete(two.proof_id)
        await store.publish_trust(replace(material.TRUST, version=2), signer=material.ROOT)
        await store.publish_trust(replace(material.TRUST, version=2), signer=material.ROOT)
        assert await stand.kinds() == ["issue", "issue", "revoke", "erase", "keyring"]
        entries = [parse_entry(each) for each in await stand.shop.entries()]
        assert [each.proof_id for each in entries[2:]] == [one.proof_id, two.proof_id, None]
        assert (await store.newest_trust()).version == 2
        with pytest.raises(ProofConflictError):
            await store.publish_trust(TrustStore(2, (material.ROOT_KEY,)), signer=material.ROOT)
        with pytest.raises(ProofConflictError, match="version 1 is already known"):
            await store.publish_trust(material.TRUST, signer=material.ROOT)
        await store.provider.store("proofs/v1/k/00000009.json", b"planted", compress=False)
        assert (await store.newest_trust()).version == 2
        assert (await store.reconcile()).logged == 0
        with pytest.raises(ProofErasedError):
            await store.get(two.proof_id)

    run(test)


def test_a_policy_can_require_the_log_of_what_is_in_the_store():
    async def test(stand, store):
        proof = await store.issue(ASSET)
        assert (await store.get(proof.proof_id)).logged is None
        found = await store.get(proof.proof_id, policy=AllOf([InLog(ORIGIN), IssuedBy(material.ISSUER)]))
        assert found.logged == proof.logged
        (found,) = await store.find_by_hash(proof.record.asset.sha256, policy=InLog())
        assert found.logged == proof.logged
        with pytest.raises(ProofPolicyError, match="does not accept"):
            await store.get(proof.proof_id, policy=InLog("other.example"))
        async with stand.open(writes=False) as reader:
            unlogged = await reader.issue(b"another")
            assert unlogged.logged is None
            with pytest.raises(ProofPolicyError, match="not shown"):
                await reader.get(unlogged.proof_id, policy=InLog())
            assert await reader.find_by_hash(unlogged.record.asset.sha256, policy=InLog()) == []
            assert (await reader.get(proof.proof_id, policy=InLog())).logged == proof.logged
            with pytest.raises(StorageConfigurationError, match="sequencer"):
                await reader.reconcile()
        async with ProofStore(
            stand.shop.provider(), trust=material.TRUST, signer=material.SIGNER, clock=stand.clock
        ) as plain:
            with pytest.raises(ProofPolicyError):
                await plain.get(proof.proof_id, policy=InLog())

    run(test)


@pytest.mark.parametrize("names", [(1,), ("",), (None,)])
def test_a_policy_of_what_is_not_a_name(names):
    with pytest.raises(StorageInvalidRequestError):
        InLog(*names)


def test_a_log_that_fails_undoes_nothing_and_is_caught_up_with():
    async def test(stand, store):
        kept = await store.issue(ASSET, proof_id=material.ID)
        driver = store.sequencer.driver

        async def fail(key):
            raise StorageAccessDeniedError("not today", applied="no")

        driver.hook = fail
        newer = replace(material.TRUST, version=2)
        for verb in (
            lambda: store.issue(b"another", idempotency_key="once"),
            lambda: store.revoke(kept.proof_id),
            lambda: store.delete(kept.proof_id),
            lambda: store.publish_trust(newer, signer=material.ROOT),
        ):
            with pytest.raises(LogPendingError, match=r"not today.*reconcile\(\)") as caught:
                await verb()
            # It is denied again and again, until someone allows it.
            assert (caught.value.applied, caught.value.retryable) == ("yes", False)
        driver.hook = None
        assert await stand.kinds() == ["issue"]
        report = await store.reconcile()
        assert (report.logged, report.failed) == (4, {})
        kinds = await stand.kinds()
        assert sorted(kinds) == ["erase", "issue", "issue", "keyring", "revoke"]
        assert (await store.reconcile()).logged == 0
        again = await store.issue(b"another", idempotency_key="once")
        assert again.logged is not None
        assert await stand.kinds() == kinds

    run(test)


@pytest.mark.parametrize("pinned", [2, 3])
@pytest.mark.parametrize("deep", [False, True])
def test_a_trust_store_that_readers_have_pinned_before_it_was_logged_is_caught_up_with(pinned, deep):
    async def test(stand, store):
        newer = replace(material.TRUST, version=2)
        async with stand.open(writes=False) as unlogged:
            await unlogged.publish_trust(newer, signer=material.ROOT)
        stand.trust = replace(material.TRUST, version=pinned)
        async with stand.open() as later:
            report = await later.reconcile(deep=deep)
            assert (report.logged, report.failed) == (1, {})
            assert (await later.reconcile(deep=deep)).logged == 0
        assert await stand.kinds() == ["keyring"]

    run(test)


def test_a_trust_store_whose_root_is_trusted_no_more_is_said_not_to_be_logged():
    async def test(stand, store):
        async with stand.open(writes=False) as unlogged:
            await unlogged.publish_trust(replace(material.TRUST, version=2), signer=material.ROOT)
        keys = tuple(key for key in material.TRUST.keys if key != material.ROOT_KEY)
        stand.trust = TrustStore(2, keys)
        async with stand.open() as later:
            ((key, error),) = (await later.reconcile()).failed.items()
        assert key == "proofs/v1/k/00000002.json"
        assert isinstance(error, ProofUntrustedKeyError)
        assert (error.key, error.retryable) == (key, False)

    run(test)


def test_a_repeat_is_not_logged_twice_by_another_process():
    async def test(stand, store):
        first = await store.issue(ASSET, idempotency_key="once")
        async with stand.open() as another:
            assert (await another.issue(ASSET, idempotency_key="once")).logged == first.logged
        assert await stand.kinds() == ["issue"]

    run(test)


def test_what_cannot_be_logged_is_in_the_report():
    async def test(stand, store):
        key = f"proofs/v1/r/ff/{material.ID}.json"
        await store.provider.store(key, b"planted", compress=False)
        report = await store.reconcile()
        assert list(report.failed) == [key]

    run(test)


def test_what_is_planted_in_place_of_the_logs_proof_is_replaced():
    async def test(stand, store):
        place = f"proofs/v1/b/{material.ID[-2:]}/{material.ID}"
        other = await store.issue(b"another")
        proof = await store.issue(ASSET, proof_id=material.ID)
        foreign = await store.export(other.proof_id)
        for planted in (b"rubbish", foreign, material.bundle(other.envelope)):
            await store.provider.store(f"{place}.json", planted, compress=False)
            await store._logger.issued(proof, repeated=False)
            assert (await store.get(material.ID, policy=InLog())).logged.origin == ORIGIN
        await store.provider.store(f"{place}/revoked.json", b"rubbish", compress=False)
        await store.revoke(material.ID)
        kept = parse_bundle(await store.provider.retrieve(f"{place}/revoked.json"))
        assert parse_entry(kept.log.entry).kind == "revoke"

    run(test)


def changed(bundle, **parts):
    opened = parse_bundle(bundle)
    return encode_bundle(replace(opened, log=replace(opened.log, **parts)))


def test_what_a_bundle_says_of_the_log_is_not_believed():
    async def test(stand, store):
        two, one = await store.issue(b"another"), await store.issue(ASSET)
        bundle, other = await store.export(one.proof_id), parse_bundle(await store.export(two.proof_id))
        part = parse_bundle(bundle).log
        entry = parse_entry(part.entry)
        lines = part.proof.split("\n")
        proof = parse_log_proof(part.proof.encode())
        foreign = Checkpoint("other.example", 2, hash_leaf(b"x"))
        signed = await sign_text(foreign.text, [LocalNoteSigner("other.example", bytes(32))], 0)
        for parts, error in (
            ({"entry": other.log.entry, "proof": other.log.proof}, LogInclusionError),
            ({"entry": other.log.entry}, LogInclusionError),
            ({"entry": replace(entry, sig=bytes(64)).data}, LogInclusionError),
            ({"entry": replace(entry, kind="revoke").data}, LogInclusionError),
            ({"entry": b"{}"}, LogEntryError),
            ({"entry": b'{"payload":"eA=="}'}, LogInclusionError),
            ({"entry": encode_envelope(other.envelope)}, LogInclusionError),
            ({"entry": encode_envelope(one.envelope)}, LogInclusionError),
            ({"proof": "\n".join([lines[0], "index 0", *lines[2:]])}, LogInclusionError),
            ({"proof": "\n".join([*lines[:2], lines[2], lines[2], *lines[3:]])}, LogInclusionError),
            ({"proof": "nonsense"}, LogInclusionError),
            ({"proof": part.proof.replace("\n2\n", "\n3\n")}, CheckpointError),
            ({"proof": part.proof + "x" * 5 + "\n" * 10_000}, CheckpointError),
        ):
            with pytest.raises(error):
                verified(changed(bundle, **parts))
        verified(bundle)
        # Of a log that is not pinned nothing is believed, and nothing is refused unless a log is required.
        unknown = changed(bundle, proof=encode_log_proof(0, proof.hashes, signed.encode()).decode())
        assert "log" in verify_bundle(unknown, material.TRUST, now=NOW, check_log=CHECK).unchecked
        with pytest.raises(ProofPolicyError, match="not shown"):
            verified(unknown)
        with pytest.raises(ProofPolicyError, match="not shown"):
            verified(bundle, check=None)
        with pytest.raises(ProofPolicyError, match="not shown"):
            verified(encode_bundle(replace(parse_bundle(bundle), log=None)))
        assert "log" in verify_bundle(bundle, material.TRUST, now=NOW).unchecked

    run(test)


def test_an_entry_of_another_key_of_the_same_proof_does_not_count():
    """The one who logs names a signature that no trusted key made."""

    async def test(stand, store):
        proof = await store.issue(ASSET)
        entry = parse_entry((await stand.shop.entries())[0])
        for wrong in (replace(entry, keyid="sha256:" + "0" * 64), replace(entry, sig=bytes(64)),
                      replace(entry, proof_id=material.ID), replace(entry, subject=bytes(32))):  # fmt: skip
            shop = Shop()
            async with await made(shop) as careless:
                await careless.append([wrong.data])
                client = ProofLog(POLICY, sequencer=careless)._client
                part = LogPart(wrong.data, (await client.prove(0)).decode())
            bundle = parse_bundle(await store.export(proof.proof_id))
            with pytest.raises(LogInclusionError):
                verified(encode_bundle(replace(bundle, log=part)))

    run(test)


def test_the_state_that_was_seen_last_is_compared_where_that_is_possible():
    async def test(stand, store):
        proof = await store.issue(ASSET)
        bundle = await store.export(proof.proof_id)
        seen = stand.shop.objects.by_key[f"{PREFIX}checkpoint"].data
        verified(bundle, check=LogCheck(POLICY, seen=seen))
        other = await sign_text(Checkpoint(ORIGIN, 1, hash_leaf(b"other")).text, [SIGNER], 0)
        with pytest.raises(LogForkError) as caught:
            verified(bundle, check=LogCheck(POLICY, seen=other.encode()))
        assert caught.value.note_a == other.encode()
        with pytest.raises(CheckpointError):
            LogCheck(POLICY, seen=b"nothing")

    run(test)


async def cosigned(signed, tiles, published):
    """A witness that always agrees, an hour before the clock of the store."""
    time = int((NOW - timedelta(hours=1)).timestamp())
    return signed.note.extended([await sign_line(signed.note.text, WITNESS, time)])


def compromised(at):
    key = trust_key(material.SIGNER.public_key, issuers=[material.ISSUER], valid_from=material.START)
    return TrustStore(1, (replace(key, revoked=KeyRevocation(at, at)), material.ROOT_KEY))


@pytest.mark.parametrize("kept", ["empty", "published", "committed"])
def test_nothing_is_signed_for_a_log_that_its_witness_knows_to_be_larger(kept):
    """A bucket that was restored as a whole, and a machine that remembers nothing."""

    async def main():
        network = Network(w1=new_witness(W1, logs=(SIGNER.key,)), w2=broken)
        stand = Stand(cosign=WitnessGroup(ALONE, LogHttp(network)).cosign)
        copies = {}
        async with stand.open(create=True) as store:
            copies["empty"] = stand.shop.copy()
            await store.issue(b"one")
            asked = len(network.asked)
            await store._logger.ready()
            assert len(network.asked) == asked, "once is enough, as this process remembers from then on"
            copies["published"] = stand.shop.copy()
            driver = stand.shop.drivers[-1]

            async def committed(key):
                if key.endswith("checkpoint"):
                    copies.setdefault("committed", stand.shop.copy())

            driver.hook = committed
            await store.issue(b"two")
            await store.issue(b"three")
        stand.shop.objects = copies[kept]
        before = dict(stand.shop.objects.by_key)
        stand.options = {"cosign": WitnessGroup(ALONE, LogHttp(network)).cosign}
        async with stand.open() as store:
            for attempt in (store.issue(b"four"), store.revoke(material.ID)):
                with pytest.raises(LogRollbackError, match="cosigned its size 3") as caught:
                    await attempt
                assert (caught.value.applied, caught.value.retryable) == ("no", False)
        assert stand.shop.objects.by_key == before

    asyncio.run(main())


def test_nothing_is_signed_where_a_witness_does_not_know_the_log(monkeypatch):
    async def main():
        network = Network(w1=new_witness(W1, logs=(replace(SIGNER.key, name="other.example"),)), w2=broken)
        stand = Stand()
        async with stand.open(create=True):
            pass
        stand.options = {"cosign": WitnessGroup(ALONE, LogHttp(network)).cosign}
        before = dict(stand.shop.objects.by_key)
        async with stand.open() as store:
            with pytest.raises(WitnessQuorumError, match="w1: it does not know this log") as caught:
                await store.issue(b"one")
            assert (caught.value.applied, caught.value.retryable) == ("no", False)
            assert stand.shop.objects.by_key == before
            network.hosts["w1"] = broken  # What passes by itself stops nobody from signing.
            monkeypatch.setattr(sequencer, "_ASK_AGAIN", 10.0**9)
            with pytest.raises(LogPendingError):
                await store.issue(b"one")
            # A witness that is slow to fail is not waited for once for each proof, besides logging it.
            asked = len(network.asked)
            await asyncio.gather(*(store._logger.ready() for _ in range(5)))
            with pytest.raises(WitnessQuorumError):
                await store.sequencer.check()
            assert len(network.asked) == asked
            network.hosts["w1"] = new_witness(W1, logs=(SIGNER.key,))
            store.sequencer._unanswered = None
            await store._logger.ready()
            assert len(network.asked) > asked

    asyncio.run(main())


def test_the_time_of_witnesses_outlives_the_key():
    async def main():
        stand = Stand(cosign=cosigned)
        stand.now = NOW - timedelta(hours=2)
        async with stand.open(create=True, policy=WITNESSED) as store:
            proof = await store.issue(ASSET)
            bundle = await store.export(proof.proof_id)
        stand.now = NOW
        time = NOW - timedelta(hours=1)
        assert proof.logged.times == (TrustedTime(time, "witness", proof.envelope.signatures[0].sig),)
        for stolen, accepted in ((NOW, True), (time, False)):
            trust = compromised(stolen)
            async with stand.open(policy=WITNESSED, trust=trust, writes=False) as store:
                if accepted:
                    report = verified(bundle, LogCheck(WITNESSED), trust=trust)
                    assert (report.proof.time, report.proof.time_source) == (time, "witness")
                    assert (await store.get(proof.proof_id)).verified.time_source == "witness"
                    continue
                with pytest.raises(ProofKeyRevokedError):
                    verified(bundle, LogCheck(WITNESSED), trust=trust)
                with pytest.raises(ProofKeyRevokedError):
                    await store.get(proof.proof_id)
        # Whoever does not know the witness gets no time from it.
        with pytest.raises(ProofKeyRevokedError):
            verified(bundle, CHECK, trust=compromised(NOW))
        unwitnessed = changed(bundle, proof=parse_bundle(bundle).log.proof.rsplit("— w.example", 1)[0])
        with pytest.raises(WitnessQuorumError):
            verified(unwitnessed, LogCheck(WITNESSED))

    asyncio.run(main())


def test_a_whole_statement_as_entry_is_a_proof_of_it():
    async def test(stand, store):
        proof = await store.issue(ASSET)
        whole = encode_envelope(proof.envelope)
        shop = Shop()
        async with await made(shop, admission=Plain()) as log:
            await log.append([whole])
            client = ProofLog(POLICY, sequencer=log)._client
            part = LogPart(whole, (await client.prove(0)).decode())
        bundle = replace(parse_bundle(await store.export(proof.proof_id)), log=part)
        assert verified(encode_bundle(bundle)).logged.proof_id is None
        assert parse_envelope(part.entry) == proof.envelope

    run(test)


def test_a_log_that_the_policy_does_not_have_is_refused():
    with pytest.raises(StorageConfigurationError, match="does not have the log"):
        ProofLog(
            sole_policy(LocalNoteSigner("other.example", bytes(32)).key.encode()), sequencer=Shop().open()
        )
    assert not ProofLog(POLICY).writes
    with pytest.raises(StorageConfigurationError):
        asyncio.run(ProofLog(POLICY).record(b"x"))


class Counting(LocalSigner):
    """Counts what it signs."""

    signs = 0

    async def sign(self, message):
        self.signs += 1
        return await super().sign(message)


@pytest.mark.parametrize(
    ("signer", "error", "why"),
    [
        (LocalNoteSigner(ORIGIN, bytes(32)), CheckpointError, "made with another key or name"),
        (
            LocalNoteSigner("other.example", bytes(range(32))),
            CheckpointError,
            "than this one of 'other.example'",
        ),
        (None, LogRollbackError, "there is no log here"),
    ],
)
def test_nothing_is_signed_for_a_log_that_will_not_take_it(signer, error, why):
    async def test(stand, store):
        proof = await store.issue(ASSET)
        keys = sorted(stand.shop.objects.by_key)
        if signer is None:
            del stand.shop.objects.by_key[PREFIX + "lock"]
            keys.remove(PREFIX + "lock")
        counting = Counting(material.SIGNER._key)
        wrong = SIGNER if signer is None else signer
        stand.options = {"signer": wrong}
        async with stand.open(policy=sole_policy(wrong.key.encode()), signer=counting) as other:
            for verb in (
                lambda: other.issue(ASSET),
                lambda: other.revoke(proof.proof_id),
                lambda: other.delete(proof.proof_id),
                lambda: other.publish_trust(replace(material.TRUST, version=2), signer=material.ROOT),
                lambda: other.supersede(proof.proof_id, ASSET),
            ):
                with pytest.raises(error, match=why) as caught:
                    await verb()
                assert (caught.value.applied, caught.value.retryable) == ("no", False)
            async for outcome in other.issue_many([IssueRequest(asset=ASSET)]):
                assert isinstance(outcome.error, error)
        assert (counting.signs, sorted(stand.shop.objects.by_key)) == (0, keys)

    run(test)


def test_a_log_that_is_replaced_meanwhile_is_looked_at_again():
    async def test(stand, store):
        await store.issue(ASSET)
        del stand.shop.objects.by_key[PREFIX + "lock"]
        with pytest.raises(LogPendingError, match="once that is mended, reconcile") as caught:
            await store.issue(b"another")
        assert not caught.value.retryable
        with pytest.raises(LogRollbackError):
            await store.issue(b"a third")

    run(test)


def test_the_policy_has_to_have_the_key_that_writes():
    wrong = sole_policy(LocalNoteSigner(ORIGIN, bytes(32)).key.encode())
    with pytest.raises(StorageConfigurationError, match="has another key for the log"):
        ProofLog(wrong, sequencer=Shop().open())


def test_nothing_is_signed_for_a_log_that_may_not_be_read():
    async def test(stand, store):
        keys = sorted(stand.shop.objects.by_key)
        async with stand.open() as other:
            other.sequencer.driver.get = denied
            with pytest.raises(
                LogError, match=r"nothing was signed.*\(log/v1/checkpoint\).*not yours"
            ) as caught:
                await other.issue(ASSET)
            assert (caught.value.applied, caught.value.retryable) == ("no", False)
        assert sorted(stand.shop.objects.by_key) == keys

    async def denied(key, options=None):
        raise StorageAccessDeniedError("not yours", key=key)

    run(test)


def test_a_log_that_cannot_be_reached_stops_no_proof():
    async def test(stand, store):
        async with stand.open() as other:
            other.sequencer.driver.get = unreachable
            with pytest.raises(LogPendingError, match="a cable was cut") as caught:
                await other.issue(ASSET)
            assert caught.value.retryable

    async def unreachable(key, options=None):
        raise StorageConnectionError("a cable was cut")

    run(test)


@pytest.mark.parametrize("planted", [b"junk", "another's"])
def test_what_is_planted_for_the_logs_proof_stops_no_logging(planted):
    async def test(stand, store):
        other = await store.issue(b"another")
        driver = store.sequencer.driver

        async def fail(key):
            raise StorageAccessDeniedError("not today", applied="no")

        driver.hook = fail
        proofs = [material.ID, material.OTHER_ID]
        for proof_id in proofs:
            with pytest.raises(LogPendingError):
                await store.issue(ASSET, proof_id=proof_id)
        with pytest.raises(LogPendingError):
            await store.revoke(material.ID)
        driver.hook = None
        layout = store._objects.layout
        junk = await store.export(other.proof_id) if planted != b"junk" else planted
        for key in (*map(layout.bundle, proofs), layout.logged(material.ID, "revoked.json")):
            await store.provider.store(key, junk, compress=False)
        assert (await store.revoke(material.ID)).state == "revoked"
        assert await stand.kinds() == ["issue", "revoke"]
        assert (await store.reconcile()).logged == 0
        report = await store.reconcile(deep=True)
        assert (report.logged, report.failed) == (2, {})
        assert sorted(await stand.kinds()) == ["issue", "issue", "issue", "revoke"]
        assert (await store.reconcile(deep=True)).logged == 0
        assert verified(await store.export(material.OTHER_ID)).logged is not None

    run(test)


def test_a_trust_store_is_published_again_by_a_key_whose_signatures_differ():
    async def test(stand, store):
        newer = replace(store.trust, version=2)
        for _ in range(2):
            await store.publish_trust(newer, signer=material.P256)
        assert (await store.newest_trust()).version == 2

    root = trust_key(material.P256.public_key, issuers=[], usages=["root"], valid_from=material.START)
    run(test, trust=TrustStore(1, (material.KEY, root)))
