"""Records of the original service, as values: no one signed them, so nothing about them is proved. Pure.

`{proofId, proofUri, imageHash, manifest, timestamp, signature, expiresAt}`, plain or as an encrypted file
`{"version":1,"ciphertext","iv","tag"}` (AES-256-GCM, hex), where a missing version is 1. Its `signature` is
a constant, its times are milliseconds since 1970. Written for its readers, `signature` names the signed
envelope.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from credstore.arguments import check_fields, traceless_class, typed_request
from credstore.encryption import Secret
from credstore.errors import StorageConfigurationError, StorageInvalidRequestError
from credstore.proofs.format.canonical import Json, parse_json
from credstore.proofs.format.errors import ProofFormatError
from credstore.proofs.format.fields import read_hex, read_object, read_size, read_text, refuse
from credstore.proofs.format.record import ProofRecord, SoftBinding
from credstore.times import checked_instant

LARGEST_LEGACY = 4 * 1024 * 1024
_HASH = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})(?::phash:([0-9a-fA-F]{1,256}))?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_IV, _TAG, _KEY = 16, 16, 32
_LONGEST_ID = 255
_LAST = 253402300799999
"""Milliseconds at the end of the year 9999."""


@traceless_class
@dataclass(frozen=True, slots=True)
class LegacyHomes:
    """Where the original service kept its records on this provider.

    Attributes:
        prefix: Of the records by day, `<prefix>YYYY/MM/DD/<id>.json`, and of the oldest store's, in gzip,
            `<prefix>YYYY-MM-DD/<manifest id>/proof_<milliseconds>_<random>.<extension>`; the latter are found
            once `import_legacy` has seen them.
        files: Of those by id alone, `<files><id>.json`, or None where there are none.
        key: Of encrypted files: 64 hex digits.
        passphrase: In place of `key`, what the original had as `ENCRYPTION_KEY` where that is not a key.
        day: A day to look at first, with the days before and after it; the writer's clock chose it.
    """

    prefix: str = "proofs/"
    files: str | None = ""
    key: Secret | None = None
    day: datetime | None = None
    passphrase: Secret | None = None

    def __post_init__(self) -> None:
        for name in ("key", "passphrase"):  # Callers may have it as text.
            if isinstance(getattr(self, name), str):
                object.__setattr__(self, name, Secret(getattr(self, name)))
        check_fields(self, StorageConfigurationError)
        for name, secret in (("key", self.key), ("passphrase", self.passphrase)):
            if secret is not None and not secret.reveal():
                raise StorageConfigurationError(f"`{name}` of LegacyHomes is a Secret that is not empty")
        if self.day is not None:  # Only its date counts, so it may be without a zone.
            checked_instant("day", self.day.replace(tzinfo=UTC), StorageConfigurationError)
        if self.key is not None and self.passphrase is not None:
            raise StorageConfigurationError("give LegacyHomes the key or the passphrase, not both")
        if self.key is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", self.key.reveal()):
            raise StorageConfigurationError("the key of encrypted records is 64 hex digits")

    def keys(self, proof_id: str) -> list[str]:
        """Where a record of this id may be, without a listing."""
        found = [] if self.files is None else [f"{self.files}{proof_id}.json"]
        if self.day is not None:
            found += [
                f"{self.prefix}{self.day + timedelta(days=offset):%Y/%m/%d}/{proof_id}.json"
                for offset in (0, -1, 1)
            ]
        return found


@typed_request
@dataclass(frozen=True, slots=True)
class LegacyProof:
    """A record of the original service.

    Attributes:
        proof_id: Its id, as written.
        sha256: The asset's digest that it names, 32 bytes.
        timestamp: When it says it was made, or None.
        expires_at: When it says it ends, or None.
        uri: Its `proofUri`, or None.
        manifest: Its manifest. Not to be changed.
        soft_bindings: The perceptual hash within its `imageHash`.
        signed: Always False.
    """

    proof_id: str
    sha256: bytes
    timestamp: datetime | None = None
    expires_at: datetime | None = None
    uri: str | None = None
    manifest: Mapping[str, Any] | None = field(default=None, repr=False, hash=False)
    soft_bindings: tuple[SoftBinding, ...] = ()
    signed: bool = field(default=False, init=False)


def derive_legacy_key(passphrase: Secret) -> Secret:
    """The key that the original makes from a passphrase; takes about 50 ms and 16 MiB.

    Source: provenance of its records: scrypt (RFC 7914) with salt `salt`, N 16384, r 8, p 1.
    """
    scrypt = Scrypt(salt=b"salt", length=_KEY, n=16384, r=8, p=1)
    return Secret(scrypt.derive(passphrase.reveal().encode()).hex())


def looks_like_legacy(data: bytes) -> bool:
    """Whether something looks like a record, plain or encrypted, even if it cannot be opened."""
    try:
        members = read_object(parse_json(data, limit=LARGEST_LEGACY), "the record")
    except ProofFormatError:
        return False
    return {"ciphertext", "iv", "tag"} <= members.keys() or {"proofId", "imageHash"} <= members.keys()


def parse_legacy(data: bytes, key: Secret | None = None) -> LegacyProof:
    """Read a record, decrypting it where it is encrypted.

    Args:
        data: JSON.
        key: 64 hex digits, as given or from `derive_legacy_key`.

    Raises:
        ProofFormatError: It is not a record, or does not decrypt.
        StorageConfigurationError: It is encrypted, and there is no key.
    """
    members = read_object(parse_json(data, limit=LARGEST_LEGACY), "the record")
    if "ciphertext" in members:
        plain = _decrypted(members, key)
        members = read_object(parse_json(plain, limit=LARGEST_LEGACY), "the record")
    for name in ("proofId", "imageHash"):
        if name not in members:
            refuse("the record", f"has no {name!r}")
    found = _HASH.fullmatch(read_text(members["imageHash"], "imageHash", longest=1024))
    if found is None:
        refuse("imageHash", "is not a SHA-256")
    manifest = members.get("manifest")
    if manifest is not None and not isinstance(manifest, dict):
        refuse("manifest", "is not an object")
    uri = members.get("proofUri")
    return LegacyProof(
        proof_id=read_text(members["proofId"], "proofId", longest=_LONGEST_ID),
        sha256=bytes.fromhex(found[1]),
        timestamp=_time(members.get("timestamp"), "timestamp"),
        expires_at=_time(members.get("expiresAt"), "expiresAt"),
        uri=uri if isinstance(uri, str) and uri else None,
        manifest=manifest,
        soft_bindings=(SoftBinding("phash", found[2].lower()),) if found[2] else (),
    )


def _decrypted(members: dict[str, Json], key: Secret | None) -> bytes:
    if key is None:
        raise StorageConfigurationError("this record is encrypted; give LegacyHomes its key or passphrase")
    version = members.get("version", 1)
    if version != 1 or isinstance(version, bool):
        refuse("version", "is not 1")
    iv = read_hex(members.get("iv"), "iv", size=_IV)
    tag = read_hex(members.get("tag"), "tag", size=_TAG)
    text = members["ciphertext"]
    try:
        sealed = bytes.fromhex(cast("str", text)) + tag
        return AESGCM(bytes.fromhex(key.reveal())).decrypt(iv, sealed, None)
    except (InvalidTag, ValueError, TypeError):
        # One message for every cause.
        raise ProofFormatError("an encrypted record that does not decrypt") from None


def _time(value: Json, field_name: str) -> datetime | None:
    if value is None:
        return None
    if isinstance(value, str):
        try:
            time = datetime.fromisoformat(value)
            return time.astimezone(UTC) if time.tzinfo is not None else time.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            refuse(field_name, "is not a time")
    milliseconds = read_size(value, field_name)
    if milliseconds > _LAST:
        refuse(field_name, "is after the year 9999")
    return _EPOCH + timedelta(milliseconds=milliseconds)


def legacy_members(record: ProofRecord, digest: bytes) -> dict[str, Any]:
    """The seven fields of the original service for a signed proof.

    Args:
        record: What it says.
        digest: SHA-256 of its envelope's PAE.

    Raises:
        StorageInvalidRequestError: The digest has another length.
    """
    if len(digest) != _KEY:
        raise StorageInvalidRequestError("a digest has 32 bytes")
    image = f"sha256:{record.asset.sha256.hex()}"
    perceptual = next((each.value for each in record.soft_bindings if each.alg == "phash"), None)
    if perceptual is not None:
        image += f":phash:{perceptual}"
    return {
        "proofId": record.proof_id,
        "proofUri": record.uri or "",
        "imageHash": image,
        "manifest": {} if record.claims is None else dict(record.claims),
        "timestamp": record.issued_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "signature": f"dsse:sha256:{digest.hex()}",
        "expiresAt": _LAST  # In JavaScript null is less than now, and the original's sweep would delete it.
        if record.expires_at is None
        else (record.expires_at - _EPOCH) // timedelta(milliseconds=1),
    }
