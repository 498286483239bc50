"""Reports of live checks, signed: an in-toto statement in DSSE, as a proof is.

`config/reports.py` reads them, and calls `verified_members` where a store names whose reports count.
"""

from __future__ import annotations

from datetime import datetime
from typing import cast

from credstore.driver.capability_report import (
    REPORT_TYPE,
    CapabilityReport,
    Members,
    digest_of,
    report_members,
)
from credstore.proofs.format.canonical import Json, encode_json
from credstore.proofs.format.dsse import encode_envelope, parse_envelope, seal_payload, verify_signatures
from credstore.proofs.format.errors import ProofUntrustedKeyError
from credstore.proofs.format.fields import refuse
from credstore.proofs.format.record import make_statement, parse_payload, read_statement
from credstore.proofs.format.signing import Signer
from credstore.proofs.format.trust import TrustedKey, parse_trust_store

_SUBJECT = "store"


async def sign_report(report: CapabilityReport, signer: Signer) -> bytes:
    """The bytes of a signed report; its subject is the store, by the digest of its provider and place.

    Raises:
        StorageConfigurationError: The report could not be read again.
        StorageInvalidRequestError: The key is of a scheme that is only read.
        ProofSignatureError: What the signer returned does not verify.
        Exception: What the signer raised.
    """
    members = report_members(report)
    payload = encode_json(
        make_statement(_SUBJECT, _digest(members), REPORT_TYPE, cast("dict[str, Json]", members))
    )
    return encode_envelope(await seal_payload(payload, [signer]))


def verified_members(data: bytes, keys: bytes, now: datetime) -> Members:
    """What a report says that a trusted key has signed.

    Args:
        data: The report's file.
        keys: The trust store's file.
        now: The clock of whoever reads.

    Raises:
        StorageConfigurationError: `keys` is not a trust store.
        ProofFormatError: It is not a signed report.
        ProofSignatureError: No signature fits.
        ProofUntrustedKeyError: It is not signed by a key of usage `proof` or `root` that is valid now.
        ProofAlgorithmError: The trust store has a key that must not be used.
    """
    trust = parse_trust_store(keys)
    envelope = parse_envelope(data)
    signed = verify_signatures(envelope, trust)
    if not any(_counts(each.key, now) for each in signed):
        raise ProofUntrustedKeyError("no key that may sign reports now has signed it")
    name, digest, members = read_statement(parse_payload(envelope.payload), REPORT_TYPE)
    if name != _SUBJECT or digest != _digest(cast("Members", members)):
        refuse("subject", "is not the store that the report is about")
    return cast("Members", members)


def _counts(key: TrustedKey, now: datetime) -> bool:
    return bool({"proof", "root"} & key.usages) and key.is_within(now) and key.revoked is None


def _digest(members: Members) -> dict[str, Json]:
    store = {"provider": members.get("provider"), "place": members.get("place")}
    return {"sha256": digest_of(store)}
