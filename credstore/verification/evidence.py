"""Evidence about an asset, and the verdict that it adds up to. Pure.

Rules of this file: one piece that fails fails the whole, however many others are good; nothing counts that is
not trusted; and a verdict always says what was not checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

from credstore.errors import StorageError
from credstore.proofs.c2pa.trust import ListUse
from credstore.proofs.c2pa.verdict import Unchecked
from credstore.proofs.format.errors import ProofManifestError, ProofNotFoundError, ProofUntrustedKeyError
from credstore.proofs.format.record import AssetDigest

Kind: TypeAlias = Literal["c2pa", "proof", "attestation", "signature", "model"]
State: TypeAlias = Literal["trusted", "untrusted", "failed", "unchecked"]
Whole: TypeAlias = Literal["verified", "untrusted", "failed", "nothing"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """One piece of evidence.

    Attributes:
        kind: "c2pa" for a manifest, "proof" for credstore's own, "attestation" for an in-toto statement,
            "signature" for a bundle that signs the file itself, "model" for a signed folder.
        state: "trusted"; "untrusted" where it is intact but no one on the lists vouches for it, or it is
            about another picture that looks like this one; "failed"; "unchecked" where this machine cannot
            check it.
        place: Where it was: "embedded", a file name, a store.
        who: Who says it, or None.
        what: What is said.
        when: When it was said, or None.
        clock: By whose clock that is, or None.
        reasons: Why it is not "trusted".
        error: The error that says the same, or None.
        details: More of it as JSON values.
    """

    kind: Kind
    state: State
    place: str
    who: str | None = None
    what: tuple[str, ...] = ()
    when: datetime | None = None
    clock: str | None = None
    reasons: tuple[str, ...] = ()
    error: StorageError | None = field(default=None, repr=False, compare=False)
    details: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False, hash=False)

    def as_json(self) -> dict[str, Any]:
        """The evidence as JSON values."""
        return {
            "kind": self.kind,
            "state": self.state,
            "place": self.place,
            "who": self.who,
            "what": list(self.what),
            "when": None if self.when is None else self.when.isoformat(),
            "clock": self.clock,
            "reasons": list(self.reasons),
            "details": dict(self.details),
        }


@dataclass(frozen=True, slots=True)
class AssetVerdict:
    """What is known of an asset.

    Attributes:
        name: Of the file or folder; "asset" for bytes and streams.
        digest: Of the whole file; None for a folder.
        media_type: What its bytes are, or what its name says, or None.
        evidence: All that was found.
        warnings: What is odd, such as a name that contradicts the bytes.
        lists: Lists used, of which date.
        unchecked: What was not checked, and what would settle it.
        checked_at: The verifier's clock.
    """

    name: str
    digest: AssetDigest | None
    media_type: str | None
    evidence: tuple[Evidence, ...]
    warnings: tuple[str, ...]
    lists: tuple[ListUse, ...]
    unchecked: tuple[Unchecked, ...]
    checked_at: datetime

    @property
    def state(self) -> Whole:
        """Whether some "failed", some is trusted ("verified"), none ("untrusted"), or there is "nothing"."""
        states = {each.state for each in self.evidence}
        if "failed" in states:
            return "failed"
        if "trusted" in states:
            return "verified"
        return "untrusted" if states else "nothing"

    def require(self) -> AssetVerdict:
        """This verdict, if it is "verified".

        Raises:
            ProofError: Evidence failed, or none is trusted; the error of the evidence.
            ProofNotFoundError: There is no evidence.
        """
        if (error := self.error) is not None:
            raise error
        return self

    @property
    def error(self) -> StorageError | None:
        """What `require` would raise, or None."""
        if self.state == "verified":
            return None
        if self.state == "nothing":
            return ProofNotFoundError(f"there is no proof of any kind about {self.name}")
        for state in ("failed", "untrusted", "unchecked"):
            for each in self.evidence:
                if each.state == state and state in {"failed", self.state, "unchecked"}:
                    return each.error or _error_of(each)
        return ProofUntrustedKeyError(f"no one who is trusted vouches for {self.name}")

    def as_json(self) -> dict[str, Any]:
        """The verdict as JSON values."""
        return {
            "state": self.state,
            "name": self.name,
            "sha256": None if self.digest is None else self.digest.sha256.hex(),
            "size": None if self.digest is None else self.digest.size,
            "media_type": self.media_type,
            "evidence": [each.as_json() for each in self.evidence],
            "warnings": list(self.warnings),
            "lists": [asdict(each) for each in self.lists],
            "unchecked": [asdict(each) for each in self.unchecked],
            "checked_at": self.checked_at.isoformat(),
        }


def clock_of(time_source: str) -> str:
    """By whose clock a proof was signed, in words."""
    words = {"issuer": "its issuer", "rfc3161": "a timestamping authority"}
    return words.get(time_source, "witnesses of a log")


def _error_of(evidence: Evidence) -> StorageError:
    words = f"{evidence.place}: {'; '.join(evidence.reasons) or 'not trusted'}"
    return ProofManifestError(words) if evidence.state == "failed" else ProofUntrustedKeyError(words)
