"""Which verified proofs a reader accepts: neither revoked nor expired, and whatever else is required. Pure.

A policy is asked last, about a proof whose signature, key, form and id are in order; no policy skips these.
Rules of this file: whoever wrote a policy, revocation and expiry are checked before it is asked, unless an
`unsafe_` one wraps it; a policy raises to refuse, and what it returns is never taken for a verdict; a
composition of nothing is refused, since it would accept everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar, Literal, Protocol, cast

from credstore.arguments import typed, typed_request
from credstore.errors import StorageInvalidRequestError
from credstore.proofs.format.dsse import Envelope
from credstore.proofs.format.errors import ProofError, ProofPolicyError
from credstore.proofs.format.fields import format_time
from credstore.proofs.format.logged import Logged
from credstore.proofs.format.record import AssetDigest
from credstore.proofs.format.status import ProofStatus, check_status
from credstore.proofs.format.trust import TrustStore
from credstore.proofs.format.verify import TrustedTime, VerifiedProof, check_expiry, verify_signed
from credstore.quick import made

Check = Literal["expiry", "revocation"]


@typed_request
@dataclass(frozen=True)
class Candidate:
    """A proof that verified, before a policy has accepted it.

    Attributes:
        proof: The record, its envelope, keys and time.
        status: Its state, or None where only the signed record is available and no store was asked.
        now: The reader's clock, with a time zone.
        skipped: What the `unsafe_` policies around the one that is asked have turned off.
        logged: Where it is in a log that was checked, or None.
    """

    proof: VerifiedProof
    status: ProofStatus | None
    now: datetime
    skipped: frozenset[Check] = frozenset()
    logged: Logged | None = None


def known_candidate(proof: VerifiedProof, status: ProofStatus | None, now: datetime) -> Candidate:
    """A candidate whose parts are checked."""
    return made(Candidate, {"proof": proof, "status": status, "now": now})


class Policy(Protocol):
    """What a reader requires of a proof besides being genuine; any object with this method is one."""

    def verify(self, candidate: Candidate, /) -> None:
        """Return to accept a proof, or raise.

        A `ProofError`, such as `ProofPolicyError`, refuses this proof; any other error ends the whole read.

        Raises:
            ProofError: Refused.
        """
        ...


@typed_request
@dataclass(frozen=True, slots=True, init=False)
class IssuedBy:
    """Only proofs of these issuers; the key must be trusted for the issuer in any case.

    Attributes:
        issuers: Absolute URIs, compared as exact strings.
    """

    issuers: frozenset[str]

    def __init__(self, *issuers: str) -> None:
        """Name at least one issuer.

        Raises:
            StorageInvalidRequestError: None is named, or one is not a string.
        """
        if not issuers or not all(isinstance(cast("object", each), str) and each for each in issuers):
            raise StorageInvalidRequestError("IssuedBy takes the URI of at least one issuer")
        object.__setattr__(self, "issuers", frozenset(issuers))

    def verify(self, candidate: Candidate, /) -> None:
        """Compare the issuer.

        Raises:
            ProofPolicyError: It is a different one.
        """
        issuer = candidate.proof.record.issuer
        if issuer not in self.issuers:
            raise ProofPolicyError(f"the proof's issuer is {issuer}, which the policy does not accept")


@typed_request
@dataclass(frozen=True, slots=True, init=False)
class InLog:
    """Only proofs that are shown to be in a transparency log, of those that the reader checks.

    Attributes:
        origins: Names of logs of which one is needed; empty for any that was checked.
    """

    origins: frozenset[str]

    def __init__(self, *origins: str) -> None:
        """Name the logs, or none for any.

        Raises:
            StorageInvalidRequestError: One is not a string.
        """
        if not all(isinstance(cast("object", each), str) and each for each in origins):
            raise StorageInvalidRequestError("InLog takes names of logs, or nothing")
        object.__setattr__(self, "origins", frozenset(origins))

    def verify(self, candidate: Candidate, /) -> None:
        """Look at what the log has shown.

        Raises:
            ProofPolicyError: It is not in such a log, or no log was checked.
        """
        logged = candidate.logged
        if logged is None:
            raise ProofPolicyError("the proof is not shown to be in a transparency log that was checked")
        if self.origins and logged.origin not in self.origins:
            raise ProofPolicyError(
                f"the proof is in the log {logged.origin!r}, which the policy does not accept"
            )


@typed_request
@dataclass(frozen=True, slots=True, init=False)
class AllOf:
    """Accepts what every one of its policies accepts.

    Attributes:
        policies: At least one, asked in this order.
    """

    policies: tuple[Policy, ...]

    def __init__(self, policies: Iterable[Policy]) -> None:
        """Combine policies.

        Raises:
            StorageInvalidRequestError: There are none, or one of them is not a policy.
        """
        object.__setattr__(self, "policies", _checked(policies, "AllOf"))

    def verify(self, candidate: Candidate, /) -> None:
        """Ask all of them.

        Raises:
            ProofError: The refusal of the first that refuses.
        """
        for each in self.policies:
            accept(each, candidate)


@typed_request
@dataclass(frozen=True, slots=True, init=False)
class AnyOf:
    """Accepts what at least one of its policies accepts.

    Attributes:
        policies: At least one, asked in this order until one accepts.
    """

    policies: tuple[Policy, ...]

    def __init__(self, policies: Iterable[Policy]) -> None:
        """Combine policies.

        Raises:
            StorageInvalidRequestError: There are none, or one of them is not a policy.
        """
        object.__setattr__(self, "policies", _checked(policies, "AnyOf"))

    def verify(self, candidate: Candidate, /) -> None:
        """Ask them until one accepts.

        Raises:
            ProofError: All refuse: the first refusal where they agree on its kind, else a
                `ProofPolicyError` with all their messages.
        """
        refusals: list[ProofError] = []
        for each in self.policies:
            try:
                accept(each, candidate)
            except ProofError as refusal:
                refusals.append(refusal)
            else:
                return
        texts = list(dict.fromkeys(each.message for each in refusals))
        kinds = {type(each) for each in refusals}
        if len(texts) == 1 or (len(kinds) == 1 and ProofPolicyError not in kinds):
            raise refusals[0]
        raise ProofPolicyError(f"no part of the policy accepts the proof: {'; '.join(texts)}")


@dataclass(frozen=True, slots=True)
class _Without:
    """Another policy, asked without one of the usual checks."""

    check: Check
    policy: Policy | None

    def verify(self, candidate: Candidate, /) -> None:
        accept(self.policy, replace(candidate, skipped=candidate.skipped | {self.check}))


@typed_request
@dataclass(frozen=True, slots=True)
class UnsafeUnsigned:
    """What `unsafe_allow_unsigned` returns. It is not a `Policy`: nothing can be composed from it.

    Attributes:
        signed: The policy for the proofs that are signed, or None for the usual checks.
    """

    signed: Policy | None


@typed_request
@dataclass(frozen=True, slots=True)
class Timestamped:
    """Only proofs whose time a third party attests, not the issuer alone.

    Attributes:
        before: It must be earlier than this; None for any time.
    """

    before: datetime | None = None
    needs_time: ClassVar[bool] = True

    def verify(self, candidate: Candidate, /) -> None:
        """Compare the time.

        Raises:
            ProofPolicyError: It is the issuer's own claim, or too late.
        """
        proof = candidate.proof
        if proof.time_source == "issuer":
            raise ProofPolicyError("only the issuer says when this was signed; no third party attests it")
        if self.before is not None and proof.time >= self.before:
            raise ProofPolicyError(f"the proof existed at {format_time(proof.time)}, which is too late")


def needs_time(policy: object) -> bool:
    """Whether a policy or a part of it looks at trusted time, which is looked for only then.

    A policy of the user's says so by an attribute `needs_time`.
    """
    if policy is None:
        return False
    if isinstance(policy, AllOf | AnyOf):
        return any(needs_time(each) for each in policy.policies)
    if isinstance(policy, _Without):
        return needs_time(policy.policy)
    return getattr(policy, "needs_time", False) is True


def unsafe_allow_expired(policy: Policy | None = None) -> Policy:
    """Accept expired proofs, too; what is past its expiry may be withdrawn without a trace.

    Args:
        policy: What else is required, with every other check; None for the usual checks.

    Raises:
        StorageInvalidRequestError: `policy` is not a policy.
    """
    return _Without("expiry", checked_policy(policy))


def unsafe_allow_revoked(policy: Policy | None = None) -> Policy:
    """Accept proofs that their issuer has revoked, too, as after a theft of the key; never erased ones.

    Args:
        policy: What else is required, with every other check; None for the usual checks.

    Raises:
        StorageInvalidRequestError: `policy` is not a policy.
    """
    return _Without("revocation", checked_policy(policy))


def unsafe_allow_unsigned(policy: Policy | None = None) -> UnsafeUnsigned:
    """Let `ProofStore.get` return records of the original service, too, about which nothing is proved.

    Args:
        policy: What is required of a signed proof; None for the usual checks.

    Raises:
        StorageInvalidRequestError: `policy` is not a policy.
    """
    return UnsafeUnsigned(checked_policy(policy))


def checked_policy(policy: Policy | None) -> Policy | None:
    """The same, if it can be asked.

    Raises:
        StorageInvalidRequestError: It is not a policy.
    """
    if policy is None:
        return None
    given: object = policy
    if isinstance(given, UnsafeUnsigned):
        raise StorageInvalidRequestError(
            "unsafe_allow_unsigned() is for ProofStore.get, and goes around every other policy"
        )
    if isinstance(given, type) or not callable(getattr(given, "verify", None)):
        name = given.__name__ if isinstance(given, type) else type(given).__name__
        raise StorageInvalidRequestError(f"a policy is an object with a method verify, not {name}")
    return policy


def _checked(policies: Iterable[Policy], name: str) -> tuple[Policy, ...]:
    if not isinstance(cast("object", policies), Iterable):
        raise StorageInvalidRequestError(f"{name} takes a list of policies")
    found: list[Policy] = []
    for each in policies:
        if checked_policy(each) is None:
            raise StorageInvalidRequestError(f"{name} takes policies, not None")
        found.append(each)
    if not found:
        raise StorageInvalidRequestError(
            f"{name} takes at least one policy; with none it would decide nothing"
        )
    return tuple(found)


def accept(policy: Policy | None, candidate: Candidate) -> None:
    """Ask a policy, which may be a composition; None requires only the usual checks.

    Raises:
        ProofError: It refuses the proof.
        StorageInvalidRequestError: It returned something, as if that were a verdict.
    """
    if policy is not None and type(policy) in _COMPOSED:
        policy.verify(candidate)  # Its parts come here, each with what is skipped around it.
        return
    _check_usual(candidate)
    if policy is not None and cast("Callable[[Candidate], object]", policy.verify)(candidate) is not None:
        # Its author would take False for a refusal.
        raise StorageInvalidRequestError("a policy refuses by raising a ProofError; its verify returns None")


# Exactly these: a subclass may not ask its parts here.
_COMPOSED = frozenset({AllOf, AnyOf, _Without})


def _check_usual(candidate: Candidate) -> None:
    notice = None if candidate.status is None else candidate.status.notice
    if notice is not None and (notice.kind == "erasure" or "revocation" not in candidate.skipped):
        check_status((notice,))
    if "expiry" not in candidate.skipped:
        check_expiry(candidate.proof.record, candidate.now)


@typed
def verify_proof(
    data: bytes | Envelope,
    trust: TrustStore,
    *,
    now: datetime,
    proof_id: str | None = None,
    sha256: bytes | None = None,
    asset: AssetDigest | None = None,
    times: Sequence[TrustedTime] = (),
    threshold: int = 1,
    policy: Policy | None = None,
) -> VerifiedProof:
    """Verify one proof; whatever this returns may be relied on, apart from its revocation.

    Args:
        data: A stored envelope, as bytes or parsed.
        trust: The trusted keys.
        now: The verifier's clock, with a time zone.
        proof_id: The id asked for, or None for any.
        sha256: The asset digest asked for, 32 bytes, or None.
        asset: Digest and size of the asset, or None where it is not available.
        times: Trusted times found for signatures of this envelope.
        threshold: How many different keys must have signed.
        policy: What else is required of the proof; None requires that it has not expired. The candidate's
            status is None here, since a record alone does not show its revocation.

    Raises:
        ProofFormatError: Not a proof of this version.
        ProofSignatureError: No signature fits.
        ProofUntrustedKeyError: Signed by keys not in the trust store, not for this issuer or use, or by
            fewer than `threshold`.
        ProofKeyExpiredError: Signed outside the key's window.
        ProofKeyRevokedError: The key is compromised and no trusted time is older.
        ProofIdMismatchError: A proof with another id.
        ProofAssetMismatchError: A proof of another asset.
        ProofNotYetValidError: Issued more than 5 minutes in the future.
        ProofTimestampError: Issued more than 5 minutes after its own trusted time.
        ProofExpiredError: No longer valid.
        ProofPolicyError: The policy refuses it.
        StorageInvalidRequestError: `now` has no zone, `threshold` is under 1, or `policy` is not a policy.
    """
    asked = checked_policy(policy)
    proof = verify_signed(
        data,
        trust,
        now=now,
        proof_id=proof_id,
        sha256=sha256,
        asset=asset,
        times=times,
        threshold=threshold,
    )
    accept(asked, Candidate(proof, None, now))
    return proof
