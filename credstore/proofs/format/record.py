"""The statement of a proof: what is signed, as a frozen value and as canonical bytes. Pure.

An in-toto Statement v1 with one subject, the asset, and the predicate `https://credstore.dev/proof/v1`.
Reading is strict where two readers could differ; unknown members of the predicate are ignored unless
`critical` names them, so that later versions may add some. `read_time` and its siblings define the form of
each field.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from operator import attrgetter
from typing import Any, cast

from credstore.arguments import typed_request
from credstore.errors import StorageInvalidRequestError
from credstore.proofs.format.canonical import (
    LARGEST_INTEGER,
    Json,
    encode_around,
    encode_json,
    parse_canonical,
)
from credstore.proofs.format.errors import ProofFormatError
from credstore.proofs.format.fields import (
    LONGEST_ISSUER,
    as_object,
    format_time,
    is_id,
    is_issuer,
    read_hex,
    read_id,
    read_issuer,
    read_list,
    read_object,
    read_size,
    read_text,
    read_time,
    read_uri,
    refuse,
)
from credstore.quick import made

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PROOF_TYPE = "https://credstore.dev/proof/v1"
LARGEST_PAYLOAD = 1024 * 1024
LARGEST_CLAIMS = 256 * 1024
_SHA256, _SHA512 = 32, 64
_MOST_BINDINGS = 16
_LONGEST_ALG, _LONGEST_BINDING = 64, 4096
_LONGEST_MEDIA_TYPE = 255
# RFC 6838 section 4.2, then parameters, which are not looked into.
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(?:;[ -~]*)?")
_MILLISECOND = timedelta(milliseconds=1)
_SELDOM = attrgetter("soft_bindings", "manifest", "uri", "supersedes", "critical", "asset.sha512")
_ABSENT = ((), None, None, None, (), None)
"""What these are in nearly all records."""
_NEEDED = frozenset({"proofId", "issuer", "issuedAt", "asset"})
_SELDOM_MEMBERS = frozenset({"manifest", "uri", "supersedes", "critical"})
_USUAL_ASSET = frozenset({"size", "mediaType"})
_UNDERSTOOD = frozenset(
    {
        "proofId",
        "issuer",
        "issuedAt",
        "expiresAt",
        "asset",
        "manifest",
        "claims",
        "uri",
        "supersedes",
        "critical",
    }
)


@typed_request
@dataclass(frozen=True, slots=True)
class SoftBinding:
    """A perceptual hash: finds what looks alike, verifies nothing.

    Attributes:
        alg: Name of the algorithm, up to 64 characters.
        value: Its result as text, up to 4,096 characters.
    """

    alg: str
    value: str


@typed_request
@dataclass(frozen=True)
class AssetDigest:
    """What binds a proof to the bytes of an asset.

    Attributes:
        sha256: 32 bytes.
        size: Bytes of the asset.
        sha512: 64 bytes, or None.
    """

    sha256: bytes
    size: int
    sha512: bytes | None = None

    @classmethod
    def of(cls, data: bytes | bytearray | memoryview) -> AssetDigest:
        """Measure bytes in memory; for streams, feed SHA-256 yourself and count."""
        return cls(hashlib.sha256(data).digest(), memoryview(data).nbytes)


@typed_request
@dataclass(frozen=True, slots=True)
class ManifestLink:
    """The manifest that belongs to a proof, such as a C2PA manifest store.

    Attributes:
        sha256: 32 bytes.
        size: Bytes of the manifest.
        media_type: Such as `application/c2pa`.
        uri: A hint of where it is, or None.
    """

    sha256: bytes
    size: int
    media_type: str = "application/c2pa"
    uri: str | None = None


@typed_request
@dataclass(frozen=True)
class ProofRecord:
    """What a proof says. Built by the issuer, or returned by `parse_record` from signed bytes.

    Attributes:
        proof_id: UUID in lower case; see `ids`.
        issuer: Absolute URI of whoever asserts it, up to 255 characters.
        issued_at: UTC, milliseconds; the issuer's claim.
        asset: Digest and size of the asset.
        expires_at: The proof is valid before this; None for ever.
        media_type: Of the asset, or None.
        soft_bindings: Perceptual hashes, at most 16.
        manifest: Link to the manifest, or None.
        claims: A JSON object of at most 256 KiB, or None. Not to be changed.
        uri: Where the original is or was, or None.
        supersedes: Id of an earlier proof that this one replaces, or None.
        critical: Members of the predicate that a reader must understand.
    """

    proof_id: str
    issuer: str
    issued_at: datetime
    asset: AssetDigest
    expires_at: datetime | None = None
    media_type: str | None = None
    soft_bindings: tuple[SoftBinding, ...] = ()
    manifest: ManifestLink | None = None
    claims: Mapping[str, Any] | None = field(default=None, repr=False, hash=False)
    uri: str | None = None
    supersedes: str | None = None
    critical: tuple[str, ...] = ()


def encode_record(record: ProofRecord) -> bytes:
    """The canonical bytes to sign; reading them back gives the same record.

    Raises:
        StorageInvalidRequestError: A field breaks its rule; the message names it.
    """
    try:
        usual = _SELDOM(record) == _ABSENT
        statement = _statement(record, usual=usual)
        payload = _usual_payload(record, statement) if usual else None
        if payload is None:
            payload = encode_json(statement)
            if len(payload) > LARGEST_PAYLOAD:
                refuse("the statement", f"has more than {LARGEST_PAYLOAD} bytes")
            # The value is read as the payload will be: what `encode_json` accepted has one meaning.
            read_record(statement, size=len(payload))
    except ProofFormatError as error:
        raise StorageInvalidRequestError(f"this record cannot be issued: {error.message}") from None
    return payload


def _usual_payload(record: ProofRecord, statement: dict[str, Json]) -> bytes | None:
    """The payload of a record with no more than nearly all have; None if it may break a rule or is large.

    Of its parts only the claims can be anything: the others are looked at here, which takes a tenth of the
    steps of reading the statement.
    """
    asset, claims, end = record.asset, record.claims, record.expires_at
    if not (
        (record.media_type is None or _is_media_type(record.media_type))
        and is_id(record.proof_id)
        and is_issuer(record.issuer)
        and type(asset.size) is int
        and 0 <= asset.size <= LARGEST_INTEGER
        and len(asset.sha256) == _SHA256
        and (end is None or end - record.issued_at >= _MILLISECOND)
    ):
        return None
    payload = encode_around(statement, claims, depth=2)
    return payload if len(payload) <= LARGEST_CLAIMS else None


def _statement(record: ProofRecord, *, usual: bool) -> dict[str, Json]:
    asset: dict[str, Json] = {"size": record.asset.size}
    digest: dict[str, Json] = {"sha256": record.asset.sha256.hex()}
    predicate: dict[str, Json] = {
        "proofId": record.proof_id,
        "issuer": record.issuer,
        "issuedAt": format_time(record.issued_at),
        "asset": asset,
    }
    if record.expires_at is not None:
        predicate["expiresAt"] = format_time(record.expires_at)
    if record.media_type is not None:
        asset["mediaType"] = record.media_type
    if record.claims is not None:
        predicate["claims"] = as_object(record.claims)
    if not usual:
        if record.asset.sha512 is not None:
            digest["sha512"] = record.asset.sha512.hex()
        if record.soft_bindings:
            asset["softBindings"] = [{"alg": each.alg, "value": each.value} for each in record.soft_bindings]
        if record.manifest is not None:
            predicate["manifest"] = _manifest(record.manifest)
        if record.uri is not None:
            predicate["uri"] = record.uri
        if record.supersedes is not None:
            predicate["supersedes"] = record.supersedes
        if record.critical:
            predicate["critical"] = list(record.critical)
    return make_statement("asset", digest, PROOF_TYPE, predicate)


def make_statement(
    name: str, digest: dict[str, Json], kind: str, predicate: dict[str, Json]
) -> dict[str, Json]:
    """An in-toto Statement v1 about one subject."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": digest}],
        "predicateType": kind,
        "predicate": predicate,
    }


def _manifest(link: ManifestLink) -> dict[str, Json]:
    members: dict[str, Json] = {
        "mediaType": link.media_type,
        "digest": {"sha256": link.sha256.hex()},
        "size": link.size,
    }
    if link.uri is not None:
        members["uri"] = link.uri
    return members


def parse_payload(payload: bytes) -> Json:
    """Read the bytes that were signed: strict JSON and canonical.

    Raises:
        ProofFormatError: Not the one byte string for its value.
    """
    return parse_canonical(payload, limit=LARGEST_PAYLOAD)


def parse_record(payload: bytes) -> ProofRecord:
    """Read the statement of a proof from the bytes that were signed, without verifying anything.

    Raises:
        ProofFormatError: Not canonical, not a proof of this version, or a field breaks its rule.
    """
    return read_record(parse_payload(payload), size=len(payload))


def read_statement(statement: Json, kind: str) -> tuple[str, dict[str, Json], dict[str, Json]]:
    """Subject name, subject digest and predicate of a statement of one kind.

    Raises:
        ProofFormatError: Another kind of statement, or not exactly one subject.
    """
    members = read_object(
        statement, "the statement", needs=("_type", "subject", "predicateType", "predicate"), may=()
    )
    if members["_type"] != STATEMENT_TYPE:
        refuse("_type", "is not in-toto Statement v1")
    if members["predicateType"] != kind:
        refuse("predicateType", f"is not {kind}")
    (subject,) = read_list(members["subject"], "subject", least=1, most=1)
    named = read_object(subject, "subject", needs=("name", "digest"), may=())
    name = read_text(named["name"], "subject.name", longest=LONGEST_ISSUER)
    digest = read_object(named["digest"], "subject.digest", needs=("sha256",), may=("sha512",))
    return name, digest, read_object(members["predicate"], "predicate")


def read_record(statement: Json, *, size: int) -> ProofRecord:
    """Read the parsed statement of a proof, which has `size` bytes; `parse_record` is for bytes.

    Raises:
        ProofFormatError: Not a proof of this version, or a field breaks its rule.
    """
    usual = _usual_parts(statement)
    record = _read_any(statement, size) if usual is None else _read_usual(*usual, size)
    if record.expires_at is not None and record.expires_at <= record.issued_at:
        refuse("expiresAt", "is not after issuedAt")
    if record.supersedes == record.proof_id:
        refuse("supersedes", "is the proof's own id")
    return record


def _usual_parts(statement: Json) -> tuple[dict[str, Json], dict[str, Json], Json] | None:
    """Predicate, its asset and the asset's digest where a statement has no more than nearly all have.

    None for any other, right or wrong: `_read_any` finds out which.
    """
    try:
        parts = cast("dict[str, Any]", statement)
        predicate, sha256 = parts["predicate"], parts["subject"][0]["digest"]["sha256"]
        asset = predicate["asset"]
        usual = (
            statement == make_statement("asset", {"sha256": sha256}, PROOF_TYPE, predicate)
            and predicate.keys() >= _NEEDED
            and _SELDOM_MEMBERS.isdisjoint(predicate)
            and "size" in asset
            and asset.keys() <= _USUAL_ASSET
        )
    except (KeyError, TypeError, IndexError, AttributeError):
        return None
    return (predicate, asset, sha256) if usual else None


def _read_usual(predicate: dict[str, Json], asset: dict[str, Json], sha256: Json, size: int) -> ProofRecord:
    """What `_read_any` reads, in fewer steps."""
    fields: dict[str, Any] = {
        "proof_id": read_id(predicate["proofId"], "proofId"),
        "issuer": read_issuer(predicate["issuer"], "issuer"),
        "issued_at": read_time(predicate["issuedAt"], "issuedAt"),
        "asset": made(
            AssetDigest,
            {
                "sha256": read_hex(sha256, "subject.digest.sha256", size=_SHA256),
                "size": read_size(asset["size"], "asset.size"),
            },
        ),
    }
    if "expiresAt" in predicate:
        fields["expires_at"] = read_time(predicate["expiresAt"], "expiresAt")
    if "mediaType" in asset:
        fields["media_type"] = _media_type(asset["mediaType"], "asset.mediaType")
    if "claims" in predicate:
        fields["claims"] = _claims(predicate["claims"], size)
    return made(ProofRecord, fields)


def _read_any(statement: Json, size: int) -> ProofRecord:
    name, digest, predicate = read_statement(statement, PROOF_TYPE)
    if name != "asset":
        refuse("subject.name", "is not 'asset'")
    read_object(predicate, "predicate", needs=("proofId", "issuer", "issuedAt", "asset"))
    get = predicate.get
    asset = read_object(predicate["asset"], "asset", needs=("size",))
    return ProofRecord(
        proof_id=read_id(predicate["proofId"], "proofId"),
        issuer=read_issuer(predicate["issuer"], "issuer"),
        issued_at=read_time(predicate["issuedAt"], "issuedAt"),
        asset=AssetDigest(
            read_hex(digest["sha256"], "subject.digest.sha256", size=_SHA256),
            read_size(asset["size"], "asset.size"),
            read_hex(digest["sha512"], "subject.digest.sha512", size=_SHA512) if "sha512" in digest else None,
        ),
        expires_at=read_time(get("expiresAt"), "expiresAt") if "expiresAt" in predicate else None,
        media_type=_media_type(asset["mediaType"], "asset.mediaType") if "mediaType" in asset else None,
        soft_bindings=_soft_bindings(asset["softBindings"]) if "softBindings" in asset else (),
        manifest=_read_manifest(get("manifest")) if "manifest" in predicate else None,
        claims=_claims(get("claims"), size) if "claims" in predicate else None,
        uri=read_text(get("uri"), "uri", longest=2048) if "uri" in predicate else None,
        supersedes=read_id(get("supersedes"), "supersedes") if "supersedes" in predicate else None,
        critical=_critical(get("critical")) if "critical" in predicate else (),
    )


@lru_cache(maxsize=64)
def _is_media_type(text: str) -> bool:
    return len(text) <= _LONGEST_MEDIA_TYPE and _MEDIA_TYPE.fullmatch(text) is not None


def _media_type(value: Json, name: str) -> str:
    if type(value) is str and _is_media_type(value):
        return value
    text = read_text(value, name, longest=_LONGEST_MEDIA_TYPE)
    if not _MEDIA_TYPE.fullmatch(text):
        refuse(name, "is not a media type")
    return text


def _soft_bindings(value: Json) -> tuple[SoftBinding, ...]:
    bindings: list[SoftBinding] = []
    for each in read_list(value, "asset.softBindings", least=1, most=_MOST_BINDINGS):
        members = read_object(each, "asset.softBindings", needs=("alg", "value"))
        bindings.append(
            SoftBinding(
                read_text(members["alg"], "softBindings.alg", longest=_LONGEST_ALG),
                read_text(members["value"], "softBindings.value", longest=_LONGEST_BINDING),
            )
        )
    return tuple(bindings)


def _read_manifest(value: Json) -> ManifestLink:
    members = read_object(value, "manifest", needs=("mediaType", "digest", "size"))
    digest = read_object(members["digest"], "manifest.digest", needs=("sha256",))
    return ManifestLink(
        sha256=read_hex(digest["sha256"], "manifest.digest.sha256", size=_SHA256),
        size=read_size(members["size"], "manifest.size"),
        media_type=_media_type(members["mediaType"], "manifest.mediaType"),
        uri=read_uri(members["uri"], "manifest.uri") if "uri" in members else None,
    )


def _claims(value: Json, size: int) -> dict[str, Json]:
    claims = read_object(value, "claims")
    # Encoded again only where they could be too large.
    if size > LARGEST_CLAIMS and len(encode_json(claims)) > LARGEST_CLAIMS:
        refuse("claims", f"has more than {LARGEST_CLAIMS} bytes")
    return claims


def _critical(value: Json) -> tuple[str, ...]:
    names = read_list(value, "critical", least=1, most=len(_UNDERSTOOD))
    if not all(isinstance(name, str) and name in _UNDERSTOOD for name in names):
        refuse("critical", "names a member that this version does not understand")
    return cast("tuple[str, ...]", tuple(names))
