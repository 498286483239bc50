"""C2PA manifests as evidence: in the file, next to it, or where the file says; and a second list of signers.

Rules of this file: the lists inside `encypher-c2pa` are asked only where the policy allows it, for a file of
up to 128 MiB whose manifest is intact and whose signer is on no other list; offline, and without telemetry.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from credstore.concurrency import in_thread
from credstore.extras import is_installed
from credstore.model import Storable
from credstore.proofs.c2pa import C2paVerdict, ListUse, ManifestFacts, Unchecked, examine_manifests
from credstore.proofs.c2pa.codes import UNTRUSTED
from credstore.proofs.c2pa.verifying import Fetch
from credstore.proofs.format.errors import ProofError, ProofManifestError
from credstore.verification.evidence import Evidence, State
from credstore.verification.policy import VerificationPolicy

_LARGEST_SECOND = 128 * 1024 * 1024
# Its README of each release; the package itself does not say.
_SNAPSHOT_DATES = {"1.7.1": "2026-09-24"}
_SNAPSHOT = "lists in encypher-c2pa"


@dataclass(frozen=True, slots=True)
class ManifestFindings:
    """What manifests say of an asset.

    Attributes:
        evidence: One piece, or none.
        lists: Used.
        unchecked: See `Unchecked`.
    """

    evidence: tuple[Evidence, ...]
    lists: tuple[ListUse, ...]
    unchecked: tuple[Unchecked, ...]


async def find_manifests(
    asset: Storable,
    policy: VerificationPolicy,
    *,
    media_type: str,
    manifest: bytes | None,
    place: str,
    fetch: Fetch | None,
    now: datetime,
) -> ManifestFindings:
    """Evidence from one manifest.

    Args:
        asset: The file.
        policy: Whom to trust.
        media_type: See `examine_manifests`.
        manifest: One that is kept next to the file, or None to look into it.
        place: Name of the file that `manifest` is from, else "".
        fetch: See `examine_manifests`.
        now: The verifier's clock.
    """
    if not is_installed("c2pa"):
        missing = Unchecked("C2PA manifests", "the extra c2pa: pip install 'credstore[c2pa]'")
        return ManifestFindings((), (), (missing,))
    try:
        verdict = await examine_manifests(
            asset,
            trust=policy.c2pa,
            manifest=manifest,
            media_type=media_type,
            ingredients=policy.ingredients,
            fetch=fetch,
            now=now,
        )
    except ProofError as error:
        evidence = Evidence("c2pa", "failed", place or "in the file", reasons=(error.message,), error=error)
        return ManifestFindings((evidence,), (), ())
    lists = verdict.lists
    if verdict.active is None and manifest is not None:
        refused = ProofManifestError("it is not a manifest that can be read with this file")
        return ManifestFindings(
            (Evidence("c2pa", "failed", place, reasons=(refused.message,), error=refused),), lists, ()
        )
    if verdict.state in {"absent", "unsupported"}:
        return ManifestFindings((), (), ())
    if verdict.state == "unreadable":
        damaged = Unchecked(f"manifests in the file, which cannot be parsed: {verdict.words}")
        return ManifestFindings((), lists, (damaged,))
    if verdict.active is None:
        return ManifestFindings((_unread(verdict, place),), lists, verdict.unchecked)
    second = await _second_list(asset, verdict, policy, media_type, manifest)
    if second is not None:
        lists = (*lists, second)
    return ManifestFindings((_evidence(verdict, place, second),), lists, _left(verdict, second))


def _unread(verdict: C2paVerdict, place: str) -> Evidence:
    words = verdict.words or "the file names a manifest elsewhere, which was not fetched"
    return Evidence(
        "c2pa", "unchecked", place or str(verdict.remote_url), reasons=(words,), details=verdict.as_json()
    )


def _evidence(verdict: C2paVerdict, place: str, second: ListUse | None) -> Evidence:
    active = verdict.active
    assert active is not None  # noqa: S101 - the caller looked; for the type checkers
    states: dict[str, State] = {"trusted": "trusted", "valid": "untrusted"}
    state = "trusted" if second is not None else states.get(verdict.state, "failed")
    error: ProofError | None = None
    if state != "trusted":
        try:
            verdict.require()
        except ProofError as refusal:
            error = refusal
    when, clock = _time(active)
    return Evidence(
        "c2pa",
        state,
        place
        or {"embedded": "in the file", "remote": str(verdict.remote_url)}.get(str(verdict.place), "given"),
        who=active.organization or active.signer,
        what=(*([active.title] if active.title else []), *active.actions, *_made_by(active)),
        when=when,
        clock=clock,
        reasons=() if state == "trusted" else tuple(dict.fromkeys(map(str, verdict.findings))),
        error=error,
        details=verdict.as_json(),
    )


def _made_by(active: ManifestFacts) -> list[str]:
    return [source.rpartition("/")[2] for source in active.source_types]


def _time(active: ManifestFacts) -> tuple[datetime | None, str | None]:
    if active.time is None:
        return None, None
    authority = active.time.authority or "an unnamed authority"
    doubt = "" if active.time.trusted else ", which is on no list in use"
    return active.time.at, f"the time stamp authority {authority}{doubt}"


def _left(verdict: C2paVerdict, second: ListUse | None) -> tuple[Unchecked, ...]:
    if second is None:
        return verdict.unchecked
    return tuple(each for each in verdict.unchecked if not each.what.startswith("whether the signer"))


async def _second_list(
    asset: Storable, verdict: C2paVerdict, policy: VerificationPolicy, media_type: str, manifest: bytes | None
) -> ListUse | None:
    """The snapshot, if it vouches for a signer who is on no other list and nothing else is wrong."""
    findings = {(each.role, each.code) for each in verdict.findings}
    if (
        not policy.snapshot
        or findings != {("active", UNTRUSTED)}
        or not isinstance(asset, (bytes, Path))
        or verdict.digest.size > _LARGEST_SECOND
        or find_spec("encypher_c2pa") is None
    ):
        return None
    data = asset if isinstance(asset, bytes) else await in_thread(asset.read_bytes)
    report = await in_thread(_ask, data, media_type, manifest)
    if report.get("validation_state") != "Trusted":
        return None
    try:
        number = version("encypher-c2pa")
    except PackageNotFoundError:
        return None
    return ListUse(
        "signers", f"{_SNAPSHOT} {number}", "", _SNAPSHOT_DATES.get(number), "installed package", 0
    )


def _ask(data: bytes, media_type: str, manifest: bytes | None) -> dict[str, Any]:
    import encypher_c2pa

    try:
        report = encypher_c2pa.verify(
            data, media_type, manifest_store=manifest, telemetry=False, online=False
        )
    except (ValueError, TypeError, OSError, RuntimeError):
        return {}
    return dict(report)
