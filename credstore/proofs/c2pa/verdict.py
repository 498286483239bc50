"""What a verifier learns of an asset's manifests: values that explain themselves. Pure.

Rules of this file: a verdict names the manifest that failed and why, in C2PA's codes and in words; it says
which lists of which date it used, by whose clock it knows a time, and what was not checked. What came from
the asset is printable and short before it is shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

from credstore.proofs.c2pa.codes import EXPIRED, MISMATCHED, REVOKED, UNTRUSTED
from credstore.proofs.c2pa.trust import ListUse
from credstore.proofs.format.errors import (
    ProofAssetMismatchError,
    ProofError,
    ProofKeyExpiredError,
    ProofKeyRevokedError,
    ProofManifestError,
    ProofUntrustedKeyError,
)
from credstore.proofs.format.record import AssetDigest

State: TypeAlias = Literal[
    "trusted", "valid", "invalid", "absent", "unsupported", "inaccessible", "unreadable"
]
Place: TypeAlias = Literal["embedded", "sidecar", "remote"]
Role: TypeAlias = Literal["active", "ingredient"]
Ingredients: TypeAlias = Literal["any", "trusted"]
UNSIGNED = "credstore.ingredient.unsigned"
UNBOUND = "credstore.asset.unbound"
_LONGEST = 200
_CODE = re.compile(r"[A-Za-z0-9._-]{1,100}")
# The order in which causes are raised. An expired certificate is also reported as untrusted; and whoever is
# not trusted is not believed about the asset.
_CAUSES: tuple[tuple[frozenset[str], type[ProofError], str], ...] = (
    (
        EXPIRED,
        ProofKeyExpiredError,
        "the certificate that signed it is not valid at this time, and no trusted time stamp is older",
    ),
    (
        frozenset({UNTRUSTED}),
        ProofUntrustedKeyError,
        "the certificate that signed it does not lead to a trust anchor",
    ),
    (
        frozenset({UNSIGNED}),
        ProofUntrustedKeyError,
        "it has no manifest of its own, so no one vouches for it",
    ),
    (REVOKED, ProofKeyRevokedError, "the certificate that signed it is revoked"),
    (MISMATCHED, ProofAssetMismatchError, "it belongs to another asset, or the asset was changed"),
)
_WORDS: Mapping[str, str] = {
    UNBOUND: "it does not bind the asset",
    "claimSignature.mismatch": "its signature does not fit: the manifest was changed",
    "claimSignature.missing": "it has no signature",
    "assertion.hashedURI.mismatch": "one of its assertions was changed",
    "assertion.missing": "one of its assertions is missing",
    "ingredient.manifest.mismatch": "the manifest of an ingredient was changed after it was signed over",
    "ingredient.manifest.missing": "the manifest of an ingredient is missing",
    "signingCredential.invalid": "its certificate is not one for signing claims",
    "manifest.inaccessible": "the manifest was not where the asset says",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that failed.

    Attributes:
        manifest: Label of the manifest, or the title of an ingredient that has none.
        role: Whether that is the asset's own manifest or one of an ingredient.
        code: C2PA's status code, or one that starts with "credstore.".
    """

    manifest: str
    role: Role
    code: str

    @property
    def reason(self) -> str:
        """Why, in words."""
        for codes, _, words in _CAUSES:
            if self.code in codes:
                return words
        # Codes are terms of the specification; anything else that a manifest could put there is not repeated.
        named = self.code if _CODE.fullmatch(self.code) else "an unknown code"
        return _WORDS.get(self.code, f"it does not verify ({named})")

    def __str__(self) -> str:
        what = "the asset's manifest" if self.role == "active" else "an ingredient's manifest"
        if self.code == UNSIGNED:
            what = "an ingredient"
        return f"{what} {shown(self.manifest)}: {self.reason}"


@dataclass(frozen=True, slots=True)
class StampedTime:
    """A time in a manifest's time stamp.

    Attributes:
        at: The time, UTC.
        authority: Name in the authority's certificate, or None.
        trusted: Whether the authority is on the verifier's list; else the time is the signer's word.
    """

    at: datetime
    authority: str | None
    trusted: bool


@dataclass(frozen=True, slots=True)
class Identity:
    """A CAWG identity assertion: who says to stand behind the content.

    Attributes:
        name: Name in its certificate, or None.
        organization: Organization in it, or None.
        state: "trusted" by the verifier's list of identities, "untrusted", or "invalid" where it does not
            verify.
        codes: C2PA's and CAWG's codes about it.
    """

    name: str | None
    organization: str | None
    state: Literal["trusted", "untrusted", "invalid"]
    codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ManifestFacts:
    """One manifest.

    Attributes:
        label: `urn:c2pa:...`.
        role: "active", or its relationship to what was made from it: "parentOf", "componentOf", "inputTo".
        title: What it calls the asset, or None.
        signer: Common name in the signing certificate, or None.
        organization: Organization in it, or None.
        issuer: Common name of the certificate's issuer, or None.
        serial_number: Of the certificate, decimal, or None.
        algorithm: Such as "Es256", in c2pa-rs's words.
        valid_until: End of the certificate, or None.
        time: Of its time stamp, or None.
        trusted: Whether its signer is on the list of signers, at its time.
        actions: What was done, such as "c2pa.created".
        source_types: Digital source types that it names, such as "…/trainedAlgorithmicMedia".
        identities: Its identity assertions.
        findings: What failed about it.
        report: As c2pa-rs reports it. Not to be changed.
    """

    label: str
    role: str
    title: str | None
    signer: str | None
    organization: str | None
    issuer: str | None
    serial_number: str | None
    algorithm: str | None
    valid_until: datetime | None
    time: StampedTime | None
    trusted: bool
    actions: tuple[str, ...]
    source_types: tuple[str, ...]
    identities: tuple[Identity, ...]
    findings: tuple[Finding, ...]
    report: Mapping[str, Any] = field(repr=False, hash=False)

    def as_json(self) -> dict[str, Any]:
        """The facts as JSON values, without c2pa-rs's report."""
        return {
            "label": self.label,
            "role": self.role,
            "title": self.title,
            "signer": self.signer,
            "organization": self.organization,
            "issuer": self.issuer,
            "serial_number": self.serial_number,
            "algorithm": self.algorithm,
            "valid_until": None if self.valid_until is None else self.valid_until.isoformat(),
            "time": None
            if self.time is None
            else {
                "at": self.time.at.isoformat(),
                "authority": self.time.authority,
                "trusted": self.time.trusted,
            },
            "trusted": self.trusted,
            "actions": list(self.actions),
            "source_types": list(self.source_types),
            "identities": [
                {"name": each.name, "organization": each.organization, "state": each.state}
                for each in self.identities
            ],
            "findings": [{"code": each.code, "reason": each.reason} for each in self.findings],
        }


@dataclass(frozen=True, slots=True)
class Unchecked:
    """Something that this verdict does not know.

    Attributes:
        what: It, in words.
        settled_by: What would settle it, and who would learn of the request; None where nothing would.
    """

    what: str
    settled_by: str | None = None


@dataclass(frozen=True, slots=True)
class C2paVerdict:
    """What an asset's manifests prove, and what not.

    Attributes:
        state: "trusted"; "valid" where everything fits but a signer is not on the list; "invalid" where
            something failed; "absent" without a manifest; "unsupported" for a type that has none;
            "inaccessible" where the asset names a URL that was not fetched; "unreadable" for a damaged file.
        place: Where the manifest was, or None.
        digest: SHA-256 and size of the WHOLE file. It is not what a manifest binds: that leaves out the
            manifest itself and, in some containers, more, so that different files can have one verdict.
        active: The asset's own manifest, or None.
        ingredients: Manifests of what the asset was made from, nearest first.
        unsigned_ingredients: Titles of ingredients without a manifest.
        findings: What failed, as far as the rule for ingredients counts it.
        remote_url: Where the asset says that its manifest is, or None.
        lists: Lists used.
        unchecked: What was not checked.
        checked_at: The verifier's clock.
        words: Of a file that cannot be read: why.
    """

    state: State
    place: Place | None
    digest: AssetDigest
    active: ManifestFacts | None
    ingredients: tuple[ManifestFacts, ...]
    unsigned_ingredients: tuple[str, ...]
    findings: tuple[Finding, ...]
    remote_url: str | None
    lists: tuple[ListUse, ...]
    unchecked: tuple[Unchecked, ...]
    checked_at: datetime
    words: str = ""

    def require(self) -> C2paVerdict:
        """This verdict, if it is "trusted".

        Raises:
            ProofUntrustedKeyError: Signed, but by no one the lists vouch for; or an ingredient is.
            ProofKeyExpiredError: A certificate is not valid now and no trusted stamp attests an earlier time.
            ProofKeyRevokedError: A manifest carries the response that its certificate was revoked.
            ProofAssetMismatchError: Another asset, or a changed one.
            ProofManifestError: Everything else, including no manifest at all.
        """
        if self.state == "trusted":
            return self
        if self.active is None:
            raise ProofManifestError(_WITHOUT.get(self.state, "the manifest cannot be read") + self._detail())
        raise self._refusal()

    def _detail(self) -> str:
        return f": {shown(self.words)}" if self.words else ""

    def _refusal(self) -> ProofError:
        roles: tuple[Role, ...] = ("active", "ingredient")
        for role in roles:
            of_role = [each for each in self.findings if each.role == role]
            unknown = [each for each in of_role if not any(each.code in codes for codes, _, _ in _CAUSES)]
            if unknown:
                return ProofManifestError("; ".join(dict.fromkeys(str(each) for each in unknown[:5])))
            for codes, kind, _ in _CAUSES:
                for finding in of_role:
                    if finding.code in codes:
                        return kind(str(finding))
        return ProofManifestError("the manifest does not verify")

    def as_json(self) -> dict[str, Any]:
        """The verdict as JSON values."""
        return {
            "state": self.state,
            "place": self.place,
            "asset": {"sha256": self.digest.sha256.hex(), "size": self.digest.size},
            "active": None if self.active is None else self.active.as_json(),
            "ingredients": [each.as_json() for each in self.ingredients],
            "unsigned_ingredients": list(self.unsigned_ingredients),
            "findings": [
                {"manifest": each.manifest, "role": each.role, "code": each.code, "reason": each.reason}
                for each in self.findings
            ],
            "remote_url": self.remote_url,
            "lists": [asdict(each) for each in self.lists],
            "unchecked": [asdict(each) for each in self.unchecked],
            "checked_at": self.checked_at.isoformat(),
            "words": self.words,
        }


_WITHOUT: Mapping[str, str] = {
    "absent": "the asset has no manifest",
    "unsupported": "files of this type have no manifests in them, and none was given",
    "inaccessible": "the manifest is elsewhere and was not fetched",
    "unreadable": "the asset or its manifest cannot be read",
}


def shown(text: str) -> str:
    """Text from an asset: printable, in one line, short."""
    line = "".join(each for each in " ".join(text.split()) if each.isprintable())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
