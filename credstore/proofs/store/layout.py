"""Where the objects of proofs are, and what the small ones say. Pure.

Rules of this file: a key is made only from an id or a digest that was checked here, so no argument leads
elsewhere. The names under `a/` and `x/` are the data, and their bodies are constant for a proof: writing one
twice, or by two writers, is harmless on every cloud. Nothing here is trusted: what a name says is looked up
in the signed record.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import cast

from credstore.errors import StorageInvalidRequestError
from credstore.proofs.format.canonical import Json, parse_json
from credstore.proofs.format.errors import ProofFormatError
from credstore.proofs.format.fields import read_hex, read_id, read_object, refuse

PREFIX = "proofs/v1/"
INDEX_BODY = b'{"v":1}'
CLAIMED, CLEANED = b'{"abandoned":"claimed"}', b'{"abandoned":"cleaned"}'
"""What is in a record's place while leftovers of an abandoned issue are removed, and for a while after."""
SMALLEST_RECORD = 700
"""No signed record has fewer bytes; what takes its place for a while has, also where it is encrypted."""
LARGEST_MARKER = 4096
LARGEST_MANIFEST = 16 * 1024 * 1024
REVOKED, ERASED, NEXT = "revoked.json", "erased.json", "next-"
_SHA256 = 32
_PIECE = 32
_PREFIX = re.compile(r"(?:[A-Za-z0-9_=.\-]+/)+")
_DAY = re.compile(r"[0-9]{8}")


@dataclass(frozen=True, slots=True)
class Marker:
    """What an expiry marker remembers about a proof, for the sweep after a crash.

    Attributes:
        sha256: Digest of the asset, 32 bytes.
        manifest: Whether a manifest was to be stored.
    """

    sha256: bytes
    manifest: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """The keys below one prefix; arguments are ids and digests that were checked.

    Attributes:
        prefix: Leading part of all keys, ending in a slash.
    """

    prefix: str = PREFIX

    def __post_init__(self) -> None:
        if (
            not _PREFIX.fullmatch(self.prefix)
            or ".." in self.prefix.split("/")
            or "." in self.prefix.split("/")
        ):
            raise StorageInvalidRequestError(
                "a prefix for proofs is one or more names of letters, digits and _=.- with a slash after each"
            )

    def record(self, proof_id: str) -> str:
        """The signed record."""
        return f"{self.prefix}r/{proof_id[-2:]}/{proof_id}.json"

    def manifest(self, proof_id: str) -> str:
        """The manifest."""
        return f"{self.prefix}m/{proof_id[-2:]}/{proof_id}.c2pa"

    def bundle(self, proof_id: str) -> str:
        """The offline bundle."""
        return f"{self.prefix}b/{proof_id[-2:]}/{proof_id}.json"

    @property
    def bundles(self) -> str:
        """The prefix of all bundles, and of what the log has shown about notices."""
        return f"{self.prefix}b/"

    def is_bundle(self, key: str) -> bool:
        """Whether a key is that of a proof's bundle."""
        return _exact(key, key.rpartition("/")[2].removesuffix(".json"), self.bundle) is not None

    def logged(self, proof_id: str, name: str) -> str:
        """What the log has shown about a notice, by the name of that under the status prefix."""
        return f"{self.prefix}b/{proof_id[-2:]}/{proof_id}/{name}"

    @property
    def trust_stores(self) -> str:
        """The prefix of all published trust stores."""
        return f"{self.prefix}k/"

    def trust_store(self, version: int) -> str:
        """The published trust store of a version."""
        return f"{self.prefix}k/{version:08}.json"

    @property
    def shown_trust(self) -> str:
        """The prefix of what the log has shown about published trust stores."""
        return f"{self.prefix}b/trust/"

    def logged_trust(self, version: int) -> str:
        """What the log has shown about a published trust store."""
        return f"{self.shown_trust}{version:08}.json"

    def asset(self, sha256: bytes) -> str:
        """The prefix of an asset's index names."""
        digest = sha256.hex()
        return f"{self.prefix}a/sha256/{digest[:2]}/{digest}/"

    def index(self, sha256: bytes, proof_id: str) -> str:
        """The name that leads from an asset to a proof."""
        return self.asset(sha256) + proof_id

    def marker(self, expires_at: datetime, proof_id: str) -> str:
        """The name that leads the sweep to a proof."""
        day = expires_at.astimezone(UTC)  # Formatted by hand: strftime costs as much as a request in memory.
        return f"{self.prefix}x/{day.year:04}{day.month:02}{day.day:02}/{proof_id[-2:]}/{proof_id}"

    def status(self, proof_id: str) -> str:
        """The prefix of what became of a proof."""
        return f"{self.prefix}s/{proof_id[-2:]}/{proof_id}/"

    def revocation(self, proof_id: str) -> str:
        """The signed revocation."""
        return self.status(proof_id) + REVOKED

    def erasure(self, proof_id: str) -> str:
        """The signed tombstone."""
        return self.status(proof_id) + ERASED

    def successor(self, proof_id: str, new_id: str) -> str:
        """The hint that a later proof may supersede this one."""
        return f"{self.status(proof_id)}{NEXT}{new_id}"

    def evidence(self, proof_id: str) -> str:
        """The prefix of timestamps and further signatures of a proof."""
        return f"{self.prefix}t/{proof_id[-2:]}/{proof_id}/"

    def piece(self, proof_id: str, data: bytes) -> str:
        """One timestamp or further signature, named by its bytes: the same by any number of writers."""
        return self.evidence(proof_id) + hashlib.sha256(data).hexdigest()[:_PIECE]

    def legacy(self, proof_id: str) -> str:
        """Where a record of the original service was found."""
        return f"{self.prefix}l/id/{proof_id[-2:]}/{proof_id}.json"

    def legacy_copy(self, proof_id: str) -> str:
        """A record of the original service that was brought here from elsewhere."""
        return f"{self.prefix}l/record/{proof_id[-2:]}/{proof_id}"

    def legacy_asset(self, sha256: bytes) -> str:
        """The prefix of an asset's names among the records of the original service."""
        digest = sha256.hex()
        return f"{self.prefix}l/sha256/{digest[:2]}/{digest}/"

    @property
    def records(self) -> str:
        """The prefix of all records."""
        return f"{self.prefix}r/"

    @property
    def manifests(self) -> str:
        """The prefix of all manifests."""
        return f"{self.prefix}m/"

    @property
    def assets(self) -> str:
        """The prefix of all index names."""
        return f"{self.prefix}a/sha256/"

    @property
    def markers(self) -> str:
        """The prefix of all expiry markers, whose names ascend by day."""
        return f"{self.prefix}x/"

    @property
    def all_evidence(self) -> str:
        """The prefix of all timestamps and further signatures."""
        return f"{self.prefix}t/"

    @property
    def statuses(self) -> str:
        """The prefix of all notices and hints."""
        return f"{self.prefix}s/"

    def parse_record(self, key: str) -> str | None:
        """The id in a record's key, or None for any other key."""
        return _exact(key, key.rpartition("/")[2].removesuffix(".json"), self.record)

    def parse_manifest(self, key: str) -> str | None:
        """The id in a manifest's key, or None for any other key."""
        return _exact(key, key.rpartition("/")[2].removesuffix(".c2pa"), self.manifest)

    def parse_index(self, key: str) -> tuple[bytes, str] | None:
        """Digest and id of an index name, or None for any other key."""
        head, _, proof_id = key.rpartition("/")
        try:
            digest = read_hex(head.rpartition("/")[2], "digest", size=_SHA256)
            named = self.index(digest, read_id(proof_id, "proofId"))
        except ProofFormatError:
            return None
        return (digest, proof_id) if named == key else None

    def parse_notice(self, key: str) -> tuple[str, str] | None:
        """Id and name of what is known about a proof, or None for any other key."""
        return self._parse_part(key, self.status)

    def parse_piece(self, key: str) -> tuple[str, str] | None:
        """Id and name of a timestamp or further signature, or None for any other key."""
        return self._parse_part(key, self.evidence)

    def _parse_part(self, key: str, place: Callable[[str], str]) -> tuple[str, str] | None:
        head, _, name = key.rpartition("/")
        proof_id = _exact(head + "/", head.rpartition("/")[2], place)
        return None if proof_id is None else (proof_id, name)

    def parse_marker(self, key: str) -> tuple[date, str] | None:
        """Day and id of a marker, or None for any other key."""
        day, _, rest = key.removeprefix(self.markers).partition("/")
        proof_id = rest.rpartition("/")[2]
        try:
            if not _DAY.fullmatch(day):
                return None
            found = datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC)
            named = self.marker(found, read_id(proof_id, "proofId"))
        except (ProofFormatError, ValueError):
            return None
        return (found.date(), proof_id) if named == key else None


def _exact(key: str, proof_id: str, named: Callable[[str], str]) -> str | None:
    try:
        read_id(proof_id, "proofId")
    except ProofFormatError:
        return None
    return proof_id if named(proof_id) == key else None


def encode_marker(marker: Marker) -> bytes:
    """The body of an expiry marker."""
    return b'{"asset":"%s","manifest":%s}' % (
        marker.sha256.hex().encode(),
        b"true" if marker.manifest else b"false",
    )


def parse_marker_body(data: bytes) -> Marker:
    """Read the body of an expiry marker.

    Raises:
        ProofFormatError: It is not a marker's body.
    """
    members = read_object(
        parse_json(data, limit=LARGEST_MARKER), "the marker", needs=("asset", "manifest"), may=()
    )
    if not isinstance(members["manifest"], bool):
        refuse("manifest", "is not a boolean")
    return Marker(read_hex(members["asset"], "asset", size=_SHA256), members["manifest"])


def checked_id(proof_id: object) -> str:
    """A proof's id as an argument: a UUID in lower case, which leads nowhere else as part of a key.

    Raises:
        StorageInvalidRequestError: Anything else.
    """
    try:
        return read_id(cast("Json", proof_id), "proof_id")
    except ProofFormatError:
        raise StorageInvalidRequestError("a proof's id is a UUID in lower case") from None


def shown_id(proof_id: object) -> str | None:
    """What a caller took for an id, for the event of the call."""
    return proof_id if isinstance(proof_id, str) else None


def checked_digest(digest: object) -> bytes:
    """An asset's digest as an argument: 32 bytes, 64 hex digits, or those after `sha256:`.

    Raises:
        StorageInvalidRequestError: Anything else.
    """
    if isinstance(digest, bytes) and len(digest) == _SHA256:
        return digest
    if isinstance(digest, str):
        try:
            return read_hex(digest.removeprefix("sha256:").lower(), "digest", size=_SHA256)
        except ProofFormatError:
            pass
    raise StorageInvalidRequestError("a digest is 32 bytes of SHA-256, or their 64 hex digits")
