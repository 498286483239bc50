"""What a verdict on a proof says to people: state, title, summary, facts and checks. Pure.

Rules of this file: every sentence is in `site/words.json`, which the page's scripts read too.
`site/report.js` says the same of the same proof, and a test compares them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from credstore.proofs.format.bundle import BundleReport
from credstore.proofs.format.errors import ProofError
from credstore.web.site_files import site_file

State = Literal["verified", "consistent", "failed", "unknown", "nothing"]
Mark = Literal["done", "open", "failed"]
_GAP = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class PageReport:
    """A verdict in words.

    Attributes:
        state: What colour it has.
        title: The verdict.
        summary: The verdict in a sentence.
        facts: Names and values.
        checks: Each with whether it was made.
        by: Who made them.
        claims: What the issuer states besides, or None.
        issuer: Of a proof that verified, or None.
    """

    state: State
    title: str
    summary: str
    facts: tuple[tuple[str, str], ...] = ()
    checks: tuple[tuple[Mark, str], ...] = ()
    by: str = ""
    claims: Mapping[str, Any] | None = None
    issuer: str | None = None


@cache
def page_words() -> dict[str, dict[str, str]]:
    """All sentences of the page, by kind and name."""
    return cast("dict[str, dict[str, str]]", json.loads(site_file("words.json")))


def fill(sentence: str, **values: object) -> str:
    """A sentence with its gaps filled; what fills one is never read for others."""
    return _GAP.sub(lambda gap: str(values.get(gap[1], "")), sentence)


def shown_time(time: datetime) -> str:
    """A time for people, to the second."""
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def report_of(report: BundleReport, *, asset: bool) -> PageReport:
    """The report about a proof that verified, be it valid, expired or revoked.

    Args:
        report: From `verify_bundle`, with a policy that lets expired and revoked ones through.
        asset: Whether the bytes of the asset were compared.
    """
    words = page_words()
    record, status = report.proof.record, report.status
    made = PageReport(
        "verified",
        words["states"]["verified"],
        fill(words["summaries"]["verifiedFile" if asset else "verified"], issuer=record.issuer),
        facts=_facts(report),
        checks=_checks(report, asset=asset),
        claims=record.claims,
        issuer=record.issuer,
    )
    ended = status.notice.at if status.notice is not None else record.expires_at
    if status.state == "valid" or ended is None:
        return made
    reason = "" if status.notice is None else status.notice.reason
    said = fill(words["summaries"][status.state], issuer=record.issuer, at=shown_time(ended), reason=reason)
    return replace(made, state="failed", title=words["states"]["failed"], summary=said)


def _facts(report: BundleReport) -> tuple[tuple[str, str], ...]:
    words = page_words()
    names, values = words["facts"], words["values"]
    proof, record, logged = report.proof, report.proof.record, report.logged
    signed = fill(values["time"], time=shown_time(proof.time), clock=values[proof.time_source])
    rows = [
        (names["issuer"], record.issuer),
        (names["time"], signed),
        (
            names["expires"],
            values["never"] if record.expires_at is None else shown_time(record.expires_at),
        ),
    ]
    if record.media_type is not None:
        rows.append((names["type"], record.media_type))
    rows.append((names["size"], fill(values["size"], size=record.asset.size)))
    rows.append((names["digest"], record.asset.sha256.hex()))
    if logged is not None:
        seen = "" if logged.time is None else shown_time(logged.time)
        entry = values["logSeen" if seen else "log"]
        rows.append(
            (names["log"], fill(entry, index=logged.index, origin=logged.origin, size=logged.size, at=seen))
        )
    rows += [(names["key"], each) for each in proof.keyids]
    rows.append((names["id"], record.proof_id))
    if record.supersedes is not None:
        rows.append((names["supersedes"], record.supersedes))
    if record.uri is not None:
        rows.append((names["uri"], record.uri))
    return tuple(rows)


def _checks(report: BundleReport, *, asset: bool) -> tuple[tuple[Mark, str], ...]:
    texts = page_words()["checks"]
    at = shown_time(report.made_at)
    record, notice, logged = report.proof.record, report.status.notice, report.logged
    expired = record.expires_at is not None and report.made_at + report.status_age >= record.expires_at
    rows: list[tuple[Mark, str]] = [
        ("done", texts["signature"]),
        ("done", texts["form"]),
        ("done", texts["issuer"]),
        ("done", texts["asset"]) if asset else ("open", texts["assetOpen"]),
        ("failed", texts["expiryFailed"]) if expired else ("done", texts["expiry"]),
        ("done", fill(texts["status"], at=at)) if notice is None else ("failed", texts["statusFailed"]),
    ]
    if logged is not None:
        rows.append(("done", texts["log"]))
        if logged.time is not None:
            rows.append(("done", fill(texts["witnesses"], names=", ".join(sorted(logged.witnesses)))))
    if notice is None:
        rows.append(("open", fill(texts["statusOpen"], at=at)))
    if logged is None:
        rows.append(("open", texts["logOpen" if "log" in report.unchecked else "noLog"]))
    rows.extend(("open", texts[each]) for each in ("consistency", "timestamps") if each in report.unchecked)
    return tuple(rows)


def report_of_error(error: ProofError) -> PageReport:
    """The report about a proof that was refused: what the error says, and nothing else of the proof."""
    said = f"{error.message[:1].upper()}{error.message[1:]}."
    title = page_words()["states"]["failed"]
    return PageReport("failed", title, said, checks=(("failed", said),))


def report_of_none() -> PageReport:
    """The report where there is no such proof."""
    words = page_words()
    return PageReport("nothing", words["states"]["nothing"], words["summaries"]["noProofById"])


def origin_of(issuer: str | None) -> str | None:
    """The https origin of an issuer, as a source of a content security policy; None for any other URI."""
    try:
        parts = urlsplit(issuer or "")
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return None
    host = parts.hostname or ""
    if parts.scheme != "https" or not re.fullmatch(r"[a-z0-9.-]+", host):
        return None
    return f"https://{host}{port}"
