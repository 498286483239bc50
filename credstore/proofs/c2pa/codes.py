"""Status codes in a report of c2pa-rs, by manifest, and which of them a list may decide. Pure.

Rules of this file: what an editor recorded about an ingredient is the editor's word. It can make an
ingredient fail, and never makes one trusted: the reader's own reading stands in `ingredientDeltas`, from
which failures that were recorded before are subtracted. So a trust code counts if this reading reported it,
or if it was recorded and neither said the contrary anywhere. Source: C2PA 2.x, "Validation", "Ingredient
validation results".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

HARD_BINDINGS = ("dataHash", "bmffHash", "boxesHash", "collectionHash")
BOUND = frozenset(f"assertion.{each}.match" for each in HARD_BINDINGS)
MISMATCHED = frozenset(f"assertion.{each}.mismatch" for each in HARD_BINDINGS)
TRUSTED, UNTRUSTED = "signingCredential.trusted", "signingCredential.untrusted"
EXPIRED = frozenset({"signingCredential.expired", "claimSignature.outsideValidity"})
REVOKED = frozenset({"signingCredential.revoked", "signingCredential.ocsp.revoked"})
TIME_TRUSTED, TIME_UNTRUSTED = "timeStamp.trusted", "timeStamp.untrusted"
NOT_FOUND = frozenset({"manifest.inaccessible", "ingredient.unknownProvenance"})
"""Recorded of an ingredient whose manifest was not there then; void where it is there and was read."""
_CLASSES = ("success", "informational", "failure")
_LABEL = re.compile(r"self#jumbf=/c2pa/([^/]+)")
# A manifest store may name thousands of ingredients; a person reads a few, and a verdict is bounded.
MOST_MANIFESTS = 1000


@dataclass(slots=True)
class Codes:
    """What is said of one manifest.

    Attributes:
        recorded: Codes by class that an editor recorded.
        own: Codes by class that this reading reported, with their URLs.
    """

    recorded: dict[str, set[str]] = field(default_factory=lambda: {each: set[str]() for each in _CLASSES})
    own: dict[str, set[tuple[str, str]]] = field(
        default_factory=lambda: {each: set[tuple[str, str]]() for each in _CLASSES}
    )

    def reported(self, kind: str) -> set[str]:
        """Codes of a class in this reading."""
        return {code for code, _ in self.own[kind]}

    @property
    def failures(self) -> set[str]:
        """Failures recorded or reported, without those that this reading has overcome."""
        failures = self.recorded["failure"] | self.reported("failure")
        if TRUSTED in self.reported("success") and UNTRUSTED not in self.reported("failure"):
            failures = failures - {UNTRUSTED} - (EXPIRED - self.reported("failure"))
        if "ingredient.manifest.validated" in self.reported("success"):
            failures = failures - NOT_FOUND
        return failures

    def says(self, good: str, bad: str) -> bool:
        """Whether `good` holds and `bad` was said nowhere, or `good` is this reading's own word."""
        reported_bad = any(bad in self.reported(kind) for kind in _CLASSES)
        if good in self.reported("success"):
            return not reported_bad
        recorded_bad = any(bad in self.recorded[kind] for kind in _CLASSES)
        return good in self.recorded["success"] and not recorded_bad and not reported_bad


def codes_by_manifest(report: Mapping[str, Any]) -> dict[str, Codes]:
    """Codes of a whole report, by label; the active manifest's are under its own label."""
    active = str(report["active_manifest"])
    results = an_object(report["validation_results"])
    found: dict[str, Codes] = {active: Codes()}
    for kind, code, url in _statuses(an_object(results.get("activeManifest"))):
        found[active].own[kind].add((code, url))
    owners: dict[str, str] = {}
    for label, ingredient in ingredients_of(report):
        owner = str(ingredient.get("active_manifest") or "")
        name = str(ingredient.get("label") or "")
        owners[f"self#jumbf=/c2pa/{label}/c2pa.assertions/{name}"] = owner
        _record(found, owner, ingredient)
    for delta in objects(results.get("ingredientDeltas")):
        owner = owners.get(str(delta.get("ingredientAssertionURI")), "")
        for kind, code, url in _statuses(an_object(delta.get("validationDeltas"))):
            found.setdefault(_label(url) or owner, Codes()).own[kind].add((code, url))
    return found


def _record(found: dict[str, Codes], owner: str, ingredient: Mapping[str, Any]) -> None:
    recorded = an_object(ingredient.get("validation_results"))
    for kind, code, url in _statuses(an_object(recorded.get("activeManifest"))):
        found.setdefault(_label(url) or owner, Codes()).recorded[kind].add(code)
    for delta in objects(recorded.get("ingredientDeltas")):
        for kind, code, url in _statuses(an_object(delta.get("validationDeltas"))):
            found.setdefault(_label(url) or owner, Codes()).recorded[kind].add(code)
    # Ingredients of C2PA 1.x record failures only, and as one list.
    for status in objects(ingredient.get("validation_status")):
        found.setdefault(owner, Codes()).recorded["failure"].add(str(status.get("code")))


def ingredients_of(report: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every ingredient of every manifest that the active one leads to, with that manifest's label.

    A store may also have manifests that nothing leads to: they are not about this asset.
    """
    manifests = an_object(report.get("manifests"))
    waiting, seen = [str(report["active_manifest"])], {str(report["active_manifest"])}
    while waiting and len(seen) <= MOST_MANIFESTS:
        label = waiting.pop(0)
        for ingredient in objects(an_object(manifests.get(label)).get("ingredients")):
            yield label, ingredient
            below = str(ingredient.get("active_manifest") or "")
            if below in manifests and below not in seen:
                seen.add(below)
                waiting.append(below)


def _statuses(results: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for kind in _CLASSES:
        for status in objects(results.get(kind)):
            yield kind, str(status.get("code")), str(status.get("url") or "")


def _label(url: str) -> str:
    found = _LABEL.match(url)
    return found[1] if found else ""


def an_object(value: object) -> Mapping[str, Any]:
    """A JSON object; empty for anything else, which then lacks whatever is looked for."""
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def objects(value: object) -> list[Mapping[str, Any]]:
    """The objects in a JSON array; none for anything else."""
    if not isinstance(value, list):
        return []
    return [cast("Mapping[str, Any]", each) for each in cast("list[object]", value) if isinstance(each, dict)]
