"""From readings to a verdict. Pure.

Rules of this file: each reading is believed only about what its list is for. A certificate that has ended
counts if a stamp of a trusted authority is older; whether it leads to a signers' anchor is then asked with
both lists, and with the authorities alone it must lead nowhere, so that no authority for time vouches for a
signer. Whatever is not understood fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from credstore.proofs.c2pa.codes import (
    BOUND,
    EXPIRED,
    MISMATCHED,
    REVOKED,
    TIME_TRUSTED,
    TIME_UNTRUSTED,
    TRUSTED,
    UNTRUSTED,
    Codes,
    an_object,
    codes_by_manifest,
    ingredients_of,
    objects,
)
from credstore.proofs.c2pa.native import Reading
from credstore.proofs.c2pa.trust import C2paTrust
from credstore.proofs.c2pa.verdict import (
    UNBOUND,
    UNSIGNED,
    C2paVerdict,
    Finding,
    Identity,
    Ingredients,
    ManifestFacts,
    Place,
    Role,
    StampedTime,
    State,
    Unchecked,
    shown,
)
from credstore.proofs.format.record import AssetDigest

_MOST_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Readings:
    """One asset, read once for each list.

    Attributes:
        signers: With the list of claim signers.
        timestamps: With that of time stamp authorities; None where there is none.
        identities: With that of identities; None where there is none.
        both: With signers and authorities; None where no certificate has ended that a stamp could save.
        authorities_only: With the authorities that are not among the signers' anchors, as `both`.
    """

    signers: Reading
    timestamps: Reading | None = None
    identities: Reading | None = None
    both: Reading | None = None
    authorities_only: Reading | None = None


def needs_both(signers: Reading, timestamps: Reading | None) -> bool:
    """Whether a certificate has ended for which a trusted stamp exists."""
    if not signers.report or timestamps is None or not timestamps.report:
        return False
    ended = codes_by_manifest(signers.report)
    stamped = codes_by_manifest(timestamps.report)
    return any(
        codes.failures & EXPIRED and label in stamped and stamped[label].says(TIME_TRUSTED, TIME_UNTRUSTED)
        for label, codes in ended.items()
    )


def judge(
    readings: Readings,
    *,
    trust: C2paTrust,
    ingredients: Ingredients,
    digest: AssetDigest,
    now: datetime,
    place: Place | None,
    remote_url: str | None,
) -> C2paVerdict:
    """The verdict on what was read.

    Args:
        readings: With the lists of `trust`.
        trust: The lists.
        ingredients: "any" to accept ingredients of any signer; "trusted" to require a trusted one of each.
        digest: Of the whole file.
        now: The verifier's clock.
        place: Where the manifest was.
        remote_url: Where the asset says that its manifest is.
    """
    report = readings.signers.report
    if not report:
        return _without(readings.signers, trust, digest, now, remote_url)
    court = _Court(readings, now)
    active = court.facts(str(report["active_manifest"]), "active")
    below: dict[str, str] = {}
    unsigned: list[str] = []
    for _, ingredient in ingredients_of(report):
        label = str(ingredient.get("active_manifest") or "")
        if label in report["manifests"]:
            below.setdefault(label, str(ingredient.get("relationship") or "ingredient"))
        else:
            unsigned.append(shown(str(ingredient.get("title") or "without a title")))
    facts = [court.facts(label, role) for label, role in below.items() if label != active.label]
    findings = [*active.findings, *_counted(court, facts, unsigned, ingredients)]
    return C2paVerdict(
        _state(findings),
        place,
        digest,
        active,
        tuple(facts),
        tuple(unsigned[:_MOST_SHOWN]),
        tuple(findings),
        remote_url,
        trust.uses(),
        tuple(_unchecked(court, [active, *facts], trust, ingredients)),
        now,
    )


def _without(
    reading: Reading, trust: C2paTrust, digest: AssetDigest, now: datetime, remote_url: str | None
) -> C2paVerdict:
    states: Mapping[str, State] = {
        "absent": "absent",
        "unsupported": "unsupported",
        "remote": "inaccessible",
    }
    state: State = states.get(reading.found, "unreadable")
    url = remote_url or reading.remote_url
    unchecked: tuple[Unchecked, ...] = ()
    if state == "inaccessible":
        unchecked = (
            Unchecked(
                "the manifest, which the asset says is elsewhere",
                f"a request to {_host(url)}: {shown(url or '')}",
            ),
        )
    return C2paVerdict(
        state, None, digest, None, (), (), (), url, trust.uses(), unchecked, now, reading.words
    )


def _counted(
    court: _Court, facts: list[ManifestFacts], unsigned: list[str], ingredients: Ingredients
) -> list[Finding]:
    """What of the ingredients counts: all of it, or only what changed since an editor signed over them."""
    if ingredients == "trusted":
        every = [finding for each in facts for finding in each.findings]
        return every + [Finding(title, "ingredient", UNSIGNED) for title in unsigned]
    return [
        finding
        for each in facts
        for finding in each.findings
        if finding.code in court.reported_failures(each.label) and finding.code not in EXPIRED | {UNTRUSTED}
    ]


def _state(findings: Iterable[Finding]) -> State:
    codes = {each.code for each in findings}
    if not codes:
        return "trusted"
    return "valid" if codes <= {UNTRUSTED, UNSIGNED} else "invalid"


class _Court:
    """The readings, by manifest."""

    def __init__(self, readings: Readings, now: datetime) -> None:
        self._readings = readings
        self._now = now
        self._report = readings.signers.report
        self._active = str(self._report["active_manifest"])
        self._signers = codes_by_manifest(self._report)
        self._times = _codes(readings.timestamps)
        self._identities = _codes(readings.identities)
        self._both = _codes(readings.both)
        self._authorities = _codes(readings.authorities_only)

    def reported_failures(self, label: str) -> set[str]:
        codes = self._signers.get(label, Codes())
        return codes.reported("failure") & codes.failures

    def skipped_revocation(self, label: str) -> bool:
        codes = self._signers.get(label, Codes())
        return any(
            "signingCredential.ocsp.skipped" in each["informational"]
            for each in (codes.recorded, {"informational": codes.reported("informational")})
        )

    def facts(self, label: str, role: str) -> ManifestFacts:
        manifest = an_object(self._report["manifests"].get(label))
        info = an_object(manifest.get("signature_info"))
        certificate = an_object(_certificates(self._readings.signers, label).get("certificateInfo"))
        time = self._time(label)
        until = _moment(an_object(certificate.get("validity")).get("notAfter"))
        trusted, findings = self._findings(label, role, certificate, time)
        actions, sources = _actions(manifest)
        return ManifestFacts(
            label=label,
            role=role,
            title=_text(manifest.get("title")),
            signer=_text(info.get("common_name")),
            organization=_text(info.get("issuer")),
            issuer=_text(an_object(certificate.get("issuer")).get("CN")),
            serial_number=_text(info.get("cert_serial_number")),
            algorithm=_text(info.get("alg")),
            valid_until=until,
            time=time,
            trusted=trusted,
            actions=actions,
            source_types=sources,
            identities=tuple(self._identities_of(label, manifest)),
            findings=tuple(findings),
            report=manifest,
        )

    def _time(self, label: str) -> StampedTime | None:
        stamp = an_object(_certificates(self._readings.signers, label).get("timeStampInfo"))
        at = _moment(stamp.get("timestamp"))
        if at is None:
            return None
        authority = _text(an_object(an_object(stamp.get("certificateInfo")).get("subject")).get("CN"))
        codes = self._times.get(label)
        return StampedTime(at, authority, codes is not None and codes.says(TIME_TRUSTED, TIME_UNTRUSTED))

    def _findings(
        self, label: str, role: str, certificate: Mapping[str, Any], time: StampedTime | None
    ) -> tuple[bool, list[Finding]]:
        codes = self._signers.get(label)
        where: Role = "active" if role == "active" else "ingredient"
        if codes is None:
            # Its manifest is in the store, but no reading says a word about it.
            return False, [Finding(label, where, "ingredient.unknownProvenance")]
        failures = codes.failures
        attested = time is not None and time.trusted
        leads = codes.says(TRUSTED, UNTRUSTED) or (attested and self._leads_by_both(label))
        at = time.at if time is not None and time.trusted else self._now
        ended = not _covers(certificate, at)
        found = sorted(
            code
            for code in failures
            if code != UNTRUSTED and code not in EXPIRED and not code.startswith(("cawg.", "timeStamp."))
        )
        if ended or (failures & EXPIRED and not attested):
            found.append(min(failures & EXPIRED, default="signingCredential.expired"))
        elif not leads:
            found.append(UNTRUSTED)
        if role == "active" and not codes.reported("success") & BOUND and not failures & MISMATCHED:
            found.append(UNBOUND)
        trusted = leads and not ended and not failures & REVOKED
        return trusted, [Finding(label, where, code) for code in found]

    def _leads_by_both(self, label: str) -> bool:
        both, alone = self._both.get(label), self._authorities.get(label)
        if both is None or not both.says(TRUSTED, UNTRUSTED):
            return False
        return self._readings.authorities_only is None or (alone is not None and UNTRUSTED in alone.failures)

    def _identities_of(self, label: str, manifest: Mapping[str, Any]) -> Iterable[Identity]:
        source = self._signers if self._readings.identities is None else self._identities
        codes = source.get(label, Codes())
        for assertion in objects(manifest.get("assertions")):
            name = str(assertion.get("label") or "")
            if not name.startswith("cawg.identity"):
                continue
            about = {
                kind: {
                    code
                    for code, url in codes.own[kind]
                    if code.startswith("cawg.") and url.endswith(f"/{name}")
                }
                for kind in codes.own
            }
            recorded = {code for kind in codes.recorded.values() for code in kind if code.startswith("cawg.")}
            info = an_object(an_object(assertion.get("data")).get("signature_info"))
            every = {code for each in about.values() for code in each} or recorded
            yield Identity(
                _text(info.get("common_name")),
                _text(info.get("issuer")),
                _identity_state(about, known=self._readings.identities is not None),
                tuple(sorted(every)),
            )


def _identity_state(about: Mapping[str, set[str]], *, known: bool) -> Any:
    failures = about["failure"]
    if failures - {"cawg.x509.credential.untrusted", "cawg.ica.untrusted_issuer"}:
        return "invalid"
    vouched = about["success"] & {"cawg.x509.credential.trusted", "cawg.ica.credential_valid"}
    return "trusted" if known and vouched and not failures else "untrusted"


def _unchecked(
    court: _Court, facts: list[ManifestFacts], trust: C2paTrust, ingredients: Ingredients
) -> Iterable[Unchecked]:
    if not trust.signers:
        yield Unchecked(
            "whether the signer is trusted: there is no list of signers", "a list of claim signers"
        )
    if any(court.skipped_revocation(each.label) for each in facts):
        yield Unchecked(
            "whether certificates were revoked since",
            "a request to the certificate's authority (OCSP), which would learn that the file is checked",
        )
    if any(each.time is not None and not each.time.trusted for each in facts):
        yield Unchecked(
            "the time in a time stamp: its authority is on no list in use", "a list of time stamp authorities"
        )
    if facts[0].time is None:
        yield Unchecked("when it was signed: there is no time stamp, and other times are the signer's word")
    if any(identity.state == "untrusted" for each in facts for identity in each.identities):
        yield Unchecked(
            "who an identity assertion names: no list in use vouches for it", "a list of identities"
        )
    if ingredients == "any" and any(not each.trusted for each in facts[1:]):
        yield Unchecked("signers of ingredients: any signer was accepted", 'ingredients="trusted"')


def _codes(reading: Reading | None) -> dict[str, Codes]:
    return {} if reading is None or not reading.report else codes_by_manifest(reading.report)


def _certificates(reading: Reading, label: str) -> Mapping[str, Any]:
    return reading.certificates.get(label, {})


def _covers(certificate: Mapping[str, Any], at: datetime) -> bool:
    """Whether a certificate is valid at a time, both ends included; without dates it is not."""
    validity = an_object(certificate.get("validity"))
    start, end = _moment(validity.get("notBefore")), _moment(validity.get("notAfter"))
    return start is not None and end is not None and start <= at <= end


def _actions(manifest: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    actions: dict[str, None] = {}
    sources: dict[str, None] = {}
    for assertion in objects(manifest.get("assertions")):
        if str(assertion.get("label") or "").startswith("c2pa.actions"):
            for action in objects(an_object(assertion.get("data")).get("actions")):
                actions[shown(str(action.get("action") or ""))] = None
                if source := action.get("digitalSourceType"):
                    sources[shown(str(source))] = None
    return tuple(actions)[:_MOST_SHOWN], tuple(sources)[:_MOST_SHOWN]


def _moment(value: object) -> datetime | None:
    with suppress(ValueError, TypeError):
        moment = datetime.fromisoformat(str(value))
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return None


def _host(url: str | None) -> str:
    with suppress(ValueError):
        return shown(urlsplit(url or "").hostname or "an unnamed host")
    return "an unnamed host"


def _text(value: object) -> str | None:
    return shown(value) if isinstance(value, str) else None
