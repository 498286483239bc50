"""Policies: what is checked before one is asked, what they refuse, and that only `unsafe_` ones skip a check."""

import asyncio
import copy
from dataclasses import FrozenInstanceError, dataclass, replace

import pytest

from credstore.errors import StorageConnectionError, StorageError, StorageInvalidRequestError
from credstore.proofs.format.bundle import verify_bundle
from credstore.proofs.format.errors import (
    ProofErasedError,
    ProofError,
    ProofExpiredError,
    ProofPolicyError,
    ProofRevokedError,
)
from credstore.proofs.format.original import LegacyHomes
from credstore.proofs.format.policy import (
    AllOf,
    AnyOf,
    Candidate,
    IssuedBy,
    accept,
    unsafe_allow_expired,
    unsafe_allow_revoked,
    unsafe_allow_unsigned,
    verify_proof,
)
from credstore.proofs.format.status import ProofStatus, encode_notice, make_notice
from tests.proofs.material import (
    ASSET,
    EXPIRES,
    ID,
    ISSUER,
    MINUTE,
    NOW,
    OTHER_ISSUER,
    RECORD,
    TRUST,
    bundle,
    issue,
    seal,
)
from tests.proofs.shelves import HOUR, Shelf

PROOF = verify_proof(issue(), TRUST, now=NOW)
REVOKED = make_notice("revocation", PROOF, at=NOW)
ERASED = make_notice("erasure", PROOF, at=NOW)
OURS, OTHERS = IssuedBy(ISSUER), IssuedBy(OTHER_ISSUER)


def candidate(*, now=NOW, notice=None):
    state = "valid" if notice is None else "revoked"
    return Candidate(PROOF, ProofStatus(state, "store", NOW, notice), now)


VALID = candidate()
EXPIRED = candidate(now=EXPIRES)
WITHDRAWN = candidate(notice=REVOKED)
BOTH = candidate(now=EXPIRES, notice=REVOKED)
GONE = candidate(notice=ERASED)


@dataclass
class Recording:
    """A user's own policy, which notes what it was asked about and answers as it is told."""

    answer: object = None
    asked: int = 0

    def verify(self, candidate, /):
        self.asked += 1
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


EVERY = [
    None,
    OURS,
    Recording(),
    AllOf([OURS]),
    AnyOf([OURS]),
    AllOf([AnyOf([OTHERS, OURS]), Recording()]),
    AnyOf([AllOf([OURS]), OTHERS]),
]


@pytest.mark.parametrize("policy", EVERY, ids=repr)
def test_the_usual_checks_come_with_every_policy(policy):
    accept(policy, VALID)
    accept(policy, Candidate(PROOF, None, NOW))
    for asked, kind in (
        (EXPIRED, ProofExpiredError),
        (WITHDRAWN, ProofRevokedError),
        (GONE, ProofErasedError),
    ):
        with pytest.raises(kind):
            accept(policy, asked)
    with pytest.raises(ProofRevokedError):
        accept(policy, BOTH)


@pytest.mark.parametrize("policy", EVERY, ids=repr)
def test_what_is_unsafe_skips_what_it_names_and_nothing_else(policy):
    accept(unsafe_allow_expired(policy), EXPIRED)
    accept(unsafe_allow_revoked(policy), WITHDRAWN)
    for unsafe, asked, kind in (
        (unsafe_allow_expired(policy), BOTH, ProofRevokedError),
        (unsafe_allow_revoked(policy), BOTH, ProofExpiredError),
        (unsafe_allow_expired(unsafe_allow_revoked(policy)), GONE, ProofErasedError),
    ):
        with pytest.raises(kind):
            accept(unsafe, asked)
    accept(unsafe_allow_expired(unsafe_allow_revoked(policy)), BOTH)
    accept(unsafe_allow_revoked(unsafe_allow_expired(policy)), BOTH)


def test_a_policy_is_not_asked_about_what_the_usual_checks_refuse():
    policy = Recording()
    for asked in (EXPIRED, WITHDRAWN, GONE):
        with pytest.raises(ProofError):
            accept(AnyOf([policy]), asked)
    assert policy.asked == 0
    accept(unsafe_allow_expired(policy), EXPIRED)
    assert policy.asked == 1


def test_what_is_skipped_is_skipped_inside_alone():
    beside = AllOf([OURS, unsafe_allow_expired()])
    with pytest.raises(ProofExpiredError):
        accept(beside, EXPIRED)
    accept(AnyOf([OTHERS, unsafe_allow_expired(OURS)]), EXPIRED)
    with pytest.raises(ProofPolicyError):
        accept(unsafe_allow_expired(OTHERS), EXPIRED)


def test_all_and_any():
    accept(AllOf([OURS, OURS]), VALID)
    accept(AnyOf([OTHERS, OURS]), VALID)
    with pytest.raises(ProofPolicyError, match=ISSUER):
        accept(AllOf([OURS, OTHERS]), VALID)
    asked = Recording()
    with pytest.raises(ProofPolicyError):
        accept(AllOf([OTHERS, asked]), VALID)
    accept(AnyOf([OURS, asked]), VALID)
    assert asked.asked == 0


def test_a_refusal_by_all_says_why():
    first, second = ProofPolicyError("no manifest"), ProofPolicyError("no claims")
    with pytest.raises(ProofPolicyError, match="accepts the proof: no manifest; no claims \\["):
        accept(AnyOf([Recording(first), Recording(second), Recording(first)]), VALID)
    with pytest.raises(ProofPolicyError) as refused:
        accept(AnyOf([Recording(first), Recording(first)]), VALID)
    assert refused.value is first
    # Agreed on, a kind with a code of its own stays: a command's exit code depends on it.
    with pytest.raises(ProofExpiredError, match="the first"):
        accept(AnyOf([Recording(ProofExpiredError(f"the {each}")) for each in ("first", "second")]), VALID)
    with pytest.raises(ProofPolicyError, match="no manifest; the proof expired"):
        accept(AnyOf([unsafe_allow_expired(Recording(first)), OURS]), EXPIRED)


@pytest.mark.parametrize("answer", [False, True, 0, "refused"])
def test_an_answer_is_never_taken_for_a_verdict(answer):
    for policy in (Recording(answer), AllOf([Recording(answer)]), AnyOf([Recording(answer), OURS])):
        with pytest.raises(StorageInvalidRequestError, match="by raising"):
            accept(policy, VALID)


def test_what_is_not_a_refusal_is_not_taken_for_one():
    for failure in (StorageConnectionError("down"), KeyError("a mistake")):
        with pytest.raises(type(failure)):
            accept(AnyOf([Recording(failure), OURS]), VALID)


@pytest.mark.parametrize("kind", [AllOf, AnyOf])
def test_a_composition_of_nothing_is_refused(kind):
    for wrong in ([], (), iter([]), None, 5, OURS, [None], [True], [IssuedBy], [unsafe_allow_unsigned()]):
        with pytest.raises(StorageInvalidRequestError):
            kind(wrong)
    assert kind(iter([OURS])) == kind([OURS])


def test_an_issuer_is_named():
    for wrong in ((), ("",), (None,), (ISSUER, 5)):
        with pytest.raises(StorageInvalidRequestError):
            IssuedBy(*wrong)
    accept(IssuedBy(OTHER_ISSUER, ISSUER), VALID)
    with pytest.raises(ProofPolicyError):
        accept(IssuedBy(ISSUER + "/"), VALID)


@pytest.mark.parametrize("make", [unsafe_allow_expired, unsafe_allow_revoked, unsafe_allow_unsigned])
def test_only_policies_are_put_around_policies(make):
    for wrong in (True, "strict", IssuedBy):
        with pytest.raises(StorageInvalidRequestError, match="a method verify"):
            make(wrong)
    with pytest.raises(StorageInvalidRequestError, match="around every other policy"):
        make(unsafe_allow_unsigned())


def test_a_subclass_cannot_leave_out_the_usual_checks():
    class Lax(AllOf):
        def verify(self, candidate, /):
            pass

    with pytest.raises(ProofExpiredError):
        accept(Lax([OURS]), EXPIRED)


@pytest.mark.parametrize("policy", [OURS, AllOf([OURS]), AnyOf([OURS]), unsafe_allow_expired(OURS)], ids=repr)
def test_policies_are_values(policy):
    (name,) = [each for each in ("issuers", "policies", "policy") if hasattr(policy, each)]
    with pytest.raises(FrozenInstanceError):
        setattr(policy, name, ())
    assert copy.deepcopy(policy) == policy
    assert hash(policy) == hash(copy.copy(policy))


def test_a_record_alone_is_judged_without_a_status():
    seen = []

    class Seeing:
        def verify(self, candidate, /):
            seen.append(candidate)

    assert verify_proof(issue(), TRUST, now=NOW, policy=Seeing()) == PROOF
    assert seen == [Candidate(PROOF, None, NOW)]
    with pytest.raises(ProofExpiredError):
        verify_proof(issue(), TRUST, now=EXPIRES, policy=OURS)
    assert verify_proof(issue(), TRUST, now=EXPIRES, policy=unsafe_allow_expired(OURS)).record == RECORD
    with pytest.raises(ProofPolicyError):
        verify_proof(issue(), TRUST, now=NOW, policy=OTHERS)
    for wrong in (True, unsafe_allow_unsigned()):
        with pytest.raises(StorageInvalidRequestError):
            verify_proof(b"never parsed", TRUST, now=NOW, policy=wrong)


def test_a_bundle_is_judged_by_its_notices():
    revocation, erasure = (seal(encode_notice(notice)) for notice in (REVOKED, ERASED))
    later = seal(encode_notice(replace(REVOKED, at=NOW + MINUTE, reason="legal")))
    data = bundle(issue(), status=(later, revocation))
    with pytest.raises(ProofRevokedError):
        verify_bundle(data, TRUST, now=NOW)
    report = verify_bundle(data, TRUST, now=NOW, policy=unsafe_allow_revoked())
    assert (report.status.state, report.status.notice, report.status.source) == ("revoked", REVOKED, "bundle")
    with pytest.raises(ProofExpiredError):
        verify_bundle(data, TRUST, now=EXPIRES, policy=unsafe_allow_revoked())
    with pytest.raises(ProofErasedError):
        verify_bundle(
            bundle(issue(), status=(revocation, erasure)), TRUST, now=NOW, policy=unsafe_allow_revoked()
        )
    with pytest.raises(StorageInvalidRequestError):
        verify_bundle(b"never parsed", TRUST, now=NOW, policy=True)


def run(test, **options):
    async def body():
        shelf = Shelf()
        async with shelf.open(**options) as store:
            await test(shelf, store)

    asyncio.run(body())


def test_every_reading_verb_asks():
    async def test(shelf, store):
        proof = await store.issue(ASSET, manifest=b"m", expires_in=HOUR)
        name, digest = proof.proof_id, proof.record.asset.sha256

        async def scanned(policy):
            return [each async for each in store.scan_by_hash(digest, policy=policy)]

        verbs = (
            lambda policy: store.get(name, policy=policy),
            lambda policy: store.get_manifest(name, policy=policy),
            lambda policy: store.link(name, policy=policy),
            lambda policy: store.export_legacy(name, policy=policy),
        )
        for verb in verbs:
            assert await verb(OURS)
            with pytest.raises(ProofPolicyError):
                await verb(OTHERS)
            with pytest.raises(StorageInvalidRequestError):
                await verb(IssuedBy)
        for find in (lambda policy: store.find_by_hash(digest, policy=policy), scanned):
            assert [each.proof_id for each in await find(OURS)] == [name]
            assert await find(OTHERS) == []
            for wrong in (True, unsafe_allow_unsigned()):
                with pytest.raises(StorageInvalidRequestError):
                    await find(wrong)
            # A policy that fails has refused nothing, so nothing is left out in silence.
            with pytest.raises(StorageError, match="down"):
                await find(Recording(StorageConnectionError("down")))

    run(test)


def test_what_was_withdrawn_is_read_by_saying_so():
    async def test(shelf, store):
        proof = await store.issue(ASSET, manifest=b"m")
        await store.revoke(proof.proof_id)
        with pytest.raises(ProofRevokedError):
            await store.get_manifest(proof.proof_id, policy=OURS)
        assert await store.get_manifest(proof.proof_id, policy=unsafe_allow_revoked(OURS)) == b"m"
        (found,) = await store.find_by_hash(proof.record.asset.sha256, policy=unsafe_allow_revoked())
        assert found.status.state == "revoked"

    run(test)


def test_no_request_is_made_for_what_is_not_a_policy():
    async def test(shelf, store):
        store.driver.counts.clear()
        for call in (
            store.get(ID, policy=True),
            store.find_by_hash(bytes(32), policy=True),
            store.link(ID, policy=True),
        ):
            with pytest.raises(StorageInvalidRequestError):
                await call
        assert store.driver.total == 0

    run(test)


def test_signed_proofs_are_judged_where_unsigned_records_are_allowed():
    async def test(shelf, store):
        proof = await store.issue(ASSET, expires_in=HOUR)
        assert await store.get(proof.proof_id, policy=unsafe_allow_unsigned(OURS)) == await store.get(
            proof.proof_id
        )
        with pytest.raises(ProofPolicyError):
            await store.get(proof.proof_id, policy=unsafe_allow_unsigned(OTHERS))
        await store.revoke(proof.proof_id)
        with pytest.raises(ProofRevokedError):
            await store.get(proof.proof_id, policy=unsafe_allow_unsigned())
        revoked = unsafe_allow_unsigned(unsafe_allow_revoked())
        assert (await store.get(proof.proof_id, policy=revoked)).status.state == "revoked"

    run(test, legacy=LegacyHomes())
