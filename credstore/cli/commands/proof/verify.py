"""`credstore proof verify`: an exported proof, without store, network or settings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from credstore.cli.commands.proof.logs import LogChoice, checks_log
from credstore.cli.commands.proof.shown import (
    log_document,
    log_rows,
    policy_of,
    record_rows,
    status_document,
    verified_document,
    with_proofs,
)
from credstore.cli.options import Invocation, as_duration, command
from credstore.cli.output import human_time, print_fields, print_json
from credstore.cli.proof_files import (
    ROOTS,
    TRUST,
    measure_file,
    naming,
    read_authorities,
    read_trust,
    read_whole,
)
from credstore.proofs import AssetDigest, BundleReport, ProofPolicyError, verify_bundle

if TYPE_CHECKING:
    from credstore.proofs import ProofStatus, ProofStore

LARGEST_BUNDLE = 4 * 1024 * 1024
MINUTE, HOUR, DAY = 60, 3600, 86400
UNCHECKED = {
    "asset": "the asset: give --asset FILE to compare its bytes",
    "log": "the proof of a transparency log: give --log-policy FILE of that log",
    "consistency": "whether the log still continues that state: credstore log monitor looks",
    "timestamps": "timestamps: give --timestamp-roots FILE of each authority that counts",
}


@command("verify")
@click.argument("bundle", metavar="BUNDLE")
@TRUST
@click.option("--asset", metavar="FILE", help="The proof must be about the bytes of this file.")
@click.option("--proof-id", metavar="ID", help="The id it must have.")
@ROOTS
@click.option(
    "--threshold",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="How many keys must have signed.",
)
@click.option("--allow-expired", is_flag=True, help="Accept an expired proof, too.")
@click.option("--online", is_flag=True, help="Also ask the store whether the proof is revoked by now.")
@click.option(
    "--max-age",
    metavar="DURATION",
    callback=as_duration,
    help="How old the bundle's word on revocations may be, such as 1h; the store's is always new.",
)
@checks_log
@click.pass_obj
def verify_command(
    invocation: Invocation,
    *,
    bundle: str,
    trust_file: str,
    asset: str | None,
    proof_id: str | None,
    roots: tuple[str, ...],
    threshold: int,
    allow_expired: bool,
    online: bool,
    max_age: float | None,
    log: LogChoice,
) -> None:
    """Verify an exported proof; without --online this needs the file, the trust store, and nothing else.

    Exit codes: 0 verified, 20 not a proof bundle, 21 no signature fits, 22 about another asset, 23 key not
    trusted, 24 expired, 25 revoked, 26 anything else that is wrong, 27 its log does not show it; 2 for files
    that cannot be read.
    """
    data = read_whole(bundle, LARGEST_BUNDLE)
    trust = read_trust(trust_file)
    measured = None if asset is None else measure_file(asset)
    authorities = read_authorities(roots)
    check_log = log.check()
    with naming(bundle):
        report = verify_bundle(
            data,
            trust,
            now=datetime.now(UTC),
            proof_id=proof_id,
            asset=measured,
            authorities=authorities,
            check_log=check_log,
            threshold=threshold,
            policy=policy_of(allow_expired=allow_expired, in_log=log.required),
        )
    now: ProofStatus | None = None
    if online:
        now = _status(
            invocation, trust_file, report.proof.record.proof_id, roots, allow_expired=allow_expired
        )
    elif max_age is not None and report.status_age.total_seconds() > max_age:
        raise ProofPolicyError(
            f"{bundle} was exported {_ago(report.status_age)}, and --max-age permits less; have it exported "
            "again, or ask the store with --online"
        )
    if invocation.json:
        print_json(_document(report, measured, now))
    elif not invocation.quiet:
        print_fields(_rows(report, asset, now))


def _status(
    invocation: Invocation, trust_file: str, proof_id: str, roots: Sequence[str], *, allow_expired: bool
) -> ProofStatus:
    """What the store says of the proof, which has to be there and to verify as well."""
    policy = policy_of(allow_expired=allow_expired)

    async def action(store: ProofStore) -> ProofStatus:
        return (await store.get(proof_id, policy=policy)).status

    return with_proofs(invocation, trust_file, action, roots=roots)


def _document(report: BundleReport, asset: AssetDigest | None, now: ProofStatus | None) -> dict[str, Any]:
    return {
        "verified": True,
        **verified_document(report.proof),
        "status": status_document(report.status),
        "status_age": report.status_age.total_seconds(),
        "made_at": report.made_at,
        "asset_matches": None if asset is None else True,
        "log": None if report.logged is None else log_document(report.logged),
        "unchecked": report.unchecked,
        "online": None if now is None else status_document(now),
    }


def _rows(report: BundleReport, asset: str | None, now: ProofStatus | None) -> list[tuple[str, str]]:
    proof = report.proof
    expired = report.status.state == "expired"
    by = {"issuer": "its issuer", "rfc3161": "a timestamping authority", "witness": "witnesses of a log"}
    checked = ["signature", "key and issuer trusted", "id and form"]
    checked += [] if asset is None else [f"{asset} is the asset, byte for byte"]
    if report.logged is not None:
        by_whom = "its checkpoint and witnesses" if report.logged.witnesses else "its checkpoint; no witness"
        checked.append(f"in the log, by {by_whom}")
    checked += ["EXPIRED, as allowed" if expired else "not expired", "no revocation in the bundle"]
    later = f"revocations after {human_time(report.made_at)}, {_ago(report.status_age)}"
    unchecked = [UNCHECKED.get(each, each) for each in report.unchecked]
    if now is None:
        unchecked.append(later)
    else:
        checked.append(f"no revocation in the store, {human_time(now.as_of)}")
    return [
        ("verified", "yes"),
        *record_rows(proof),
        ("signed at", f"{human_time(proof.time)}, says {by[proof.time_source]}"),
        *log_rows(report.logged),
        *(("checked", each) for each in checked),
        *(("not checked", each) for each in unchecked),
    ]


def _ago(age: timedelta) -> str:
    """An age for a person.

    >>> _ago(timedelta(seconds=5)), _ago(timedelta(hours=30)), _ago(timedelta(days=3))
    ('0 minutes ago', '30 hours ago', '3 days ago')
    """
    seconds = age.total_seconds()
    if seconds < 2 * HOUR:
        return f"{int(seconds // MINUTE)} minutes ago"
    if seconds < 2 * DAY:
        return f"{int(seconds // HOUR)} hours ago"
    return f"{int(seconds // DAY)} days ago"
