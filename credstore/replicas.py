"""Looking after a store with replicas (`create_multi(..., strategy="REDUNDANT")`): `scrub` and its evidence.

A signed report is two files: the report itself, canonical JSON (RFC 8785), and next to it (`.dsse.json`) an
in-toto Statement v1 in a DSSE envelope whose subject is the SHA-256 of the report and whose predicate says
what was compared, when, and whether all replicas are equal; made and verified as the evidence of a transfer.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from credstore.arguments import typed
from credstore.concurrency import in_thread
from credstore.errors import StorageInvalidRequestError, StorageUnsupportedError
from credstore.files import write_file
from credstore.metrics import Meter
from credstore.model import ScrubReport
from credstore.proofs.format.canonical import Json, encode_json
from credstore.proofs.format.dsse import encode_envelope, seal_payload
from credstore.proofs.format.errors import ProofAssetMismatchError, ProofFormatError
from credstore.proofs.format.fields import format_time, read_hex, read_time, read_uri
from credstore.proofs.format.record import make_statement
from credstore.proofs.format.signing import Signer
from credstore.proofs.format.trust import TrustStore
from credstore.provider.homes import all_apart, sites_of
from credstore.provider.provider import StorageProvider
from credstore.provider.stored_form import session_of
from credstore.strategies.metered import metered
from credstore.strategies.redundant.driver import RedundantDriver
from credstore.transfer.evidence import read_local, statement_of, trusted_statement

__all__ = ["VerifiedScrub", "add_replica", "catch_up", "scrub", "verify_scrub", "write_scrub_report"]

TYPE = "https://credstore.dev/scrub/v1"
"""Type of the predicate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedScrub:
    """A report whose signature was verified.

    Attributes:
        issuer: Who says so.
        keyid: Of the key that signed.
        prefix: What the keys start with.
        share: Which part of them was compared, "1/1" for all.
        equal: Whether every replica that was compared was right at the end.
        finished_at: UTC.
    """

    issuer: str
    keyid: str
    prefix: str
    share: str
    equal: bool
    finished_at: datetime


@typed
async def scrub(
    provider: StorageProvider,
    prefix: str = "",
    *,
    share: str | None = None,
    deep: bool = True,
    exclusive: bool = False,
) -> ScrubReport:
    """Compare all replicas of the objects under a prefix, and make them equal.

    Replicas that are missing, old or damaged are put again from a copy that was checked; what was deleted is
    removed where it still is; tombstones that are not needed any more are removed. What cannot be mended is
    in the report, with the reason.

    Args:
        provider: Of stores with replicas.
        prefix: What the keys start with.
        share: Only a part of the keys, by their hashes: "1/7" to "7/7" are the whole in seven calls.
        deep: Read all bytes of all replicas, which is what finds damage; False compares what the stores say.
        exclusive: No one else writes meanwhile. Members without conditional writes are mended only then.

    Cost: two listings of each member; two reads of headers per replica; with `deep`, one of all its bytes.

    Raises:
        StorageUnsupportedError: The provider has no replicas.
        StorageInvalidRequestError: `share` is not such a text.
        StorageError: Too few members can be listed.

    Source: promises P29, P30.
    """
    session = session_of(provider)
    with session.call("scrub", None):
        driver = _redundant(provider)
        await driver.settled()
        return await driver.scrubber.scrub(prefix, share=share, deep=deep, exclusive=exclusive)


@typed
async def catch_up(provider: StorageProvider) -> int:
    """Give members what they have missed while they were down; how many objects are equal now.

    This happens by itself when a member responds again. It reads the journal that the other members keep.

    Raises:
        StorageUnsupportedError: The provider has no replicas.
        StorageError: Too few members can be listed.
    """
    session = session_of(provider)
    with session.call("catch_up", None):
        return await _redundant(provider).scrubber.catch_up()


@typed
async def add_replica(provider: StorageProvider, replica: StorageProvider) -> ScrubReport:
    """Take in another store, which may be empty, and fill it while the others are used.

    Both quorums grow by one, so that no read can miss what was written before, and what is written now can
    be read by processes that do not know the new store yet. Make every process with the longer list of
    stores, the new one last, and the same quorums; once all are, the usual ones will do.

    Args:
        provider: Of stores with replicas.
        replica: The new store; it is closed with `provider` from now on.

    Raises:
        StorageUnsupportedError: `provider` has no replicas.
        StorageInvalidRequestError: The new store is one of its stores, or inside one, or has one inside.
        StorageError: Too few members can be listed; call `scrub` to fill the new one.
    """
    session = session_of(provider)
    with session.call("add_replica", None):
        driver = _redundant(provider)
        added = session_of(replica)
        if not await in_thread(lambda: all_apart(sites_of(session.homes), sites_of(added.homes))):
            raise StorageInvalidRequestError(
                "the new store is one of those that keep the replicas, or one is inside the other"
            )
        meter = Meter()
        session.joined(driver.add(metered(added.driver, meter)), added, meter)
        return await driver.scrubber.scrub(deep=False)


def _redundant(provider: StorageProvider) -> RedundantDriver:
    driver = session_of(provider).driver
    if not isinstance(driver, RedundantDriver):
        raise StorageUnsupportedError(
            "this store has no replicas; StorageFactory.create_multi(stores, strategy='REDUNDANT') makes one"
        )
    return driver


@typed
async def write_scrub_report(report: ScrubReport, path: str | Path, signer: Signer, issuer: str) -> None:
    """Write a report and a signed statement about it, the statement last.

    Args:
        report: Of `scrub`.
        path: Of the report; the statement is next to it, with the ending `.dsse.json`.
        signer: Who signs.
        issuer: URI of whoever says so.

    Raises:
        ProofSignatureError: The signer's signature does not verify.
        OSError: A file cannot be written.
    """
    target = Path(path)
    data = encode_json(_members(report))
    predicate: dict[str, Json] = {
        "issuer": issuer,
        "prefix": report.prefix,
        "share": report.share,
        "replicas": list(report.replicas),
        "objects": report.objects,
        "bytesRead": report.bytes_read,
        "finishedAt": format_time(report.finished_at),
        "equal": report.equal,
    }
    subject: dict[str, Json] = {"sha256": hashlib.sha256(data).hexdigest()}
    payload = encode_json(make_statement(target.name, subject, TYPE, predicate))
    envelope = encode_envelope(await seal_payload(payload, (signer,)))
    await in_thread(write_file, target, data, replace=True)
    await in_thread(write_file, statement_of(target), envelope, replace=True)


@typed
async def verify_scrub(path: str | Path, trust: TrustStore) -> VerifiedScrub:
    """Check a report and the signed statement next to it; nothing is read from a store.

    Raises:
        ProofError: No trusted key has signed it for this issuer and time, it is not such a statement, or the
            report is not the one that was signed.
        StorageInvalidRequestError: A file cannot be read.
    """
    target = Path(path)
    digest, predicate, key = trusted_statement(await in_thread(read_local, statement_of(target)), trust, TYPE)
    data = await in_thread(read_local, target)
    if hashlib.sha256(data).digest() != read_hex(digest["sha256"], "sha256", size=32):
        raise ProofAssetMismatchError("the report is not the one that was signed")
    prefix, share, equal = (predicate.get(name) for name in ("prefix", "share", "equal"))
    if not (isinstance(prefix, str) and isinstance(share, str) and isinstance(equal, bool)):
        raise ProofFormatError("the statement does not say what was compared")
    return VerifiedScrub(
        issuer=read_uri(predicate.get("issuer"), "issuer"),
        keyid=key.keyid,
        prefix=prefix,
        share=share,
        equal=equal,
        finished_at=read_time(predicate.get("finishedAt"), "finishedAt"),
    )


def _members(report: ScrubReport) -> dict[str, Json]:
    return {
        "prefix": report.prefix,
        "share": report.share,
        "replicas": list(report.replicas),
        "objects": report.objects,
        "bytesRead": report.bytes_read,
        "deep": report.deep,
        "equal": report.equal,
        "startedAt": format_time(report.started_at),
        "finishedAt": format_time(report.finished_at),
        "findings": [
            {
                "key": each.key,
                "replica": each.replica,
                "kind": each.kind,
                "mended": each.mended,
                "reason": each.reason,
            }
            for each in report.findings
        ],
    }
