"""What is signed: a version, a tag and a change of stage, each an in-toto Statement v1 in a DSSE envelope.

The subject of a version is its index, by SHA-256; that of a tag or change of stage is the statement of the
version it names. The predicate's type keeps any from being taken for a proof, or the other way round; kind,
name and number in it keep one from being taken for another that was moved to its place.

Rule of this file: what is sealed here is opened here as a reader would, before anyone gets it. What is stored
stays, and a statement that no reader accepts would stand in the way of all others of its name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from credstore.artifacts.layout import MOST_VERSIONS, Kind, is_session
from credstore.artifacts.names import checked_name
from credstore.errors import (
    ErrorCode,
    StorageConfigurationError,
    StorageIntegrityError,
    StorageInvalidRequestError,
)
from credstore.proofs.format.canonical import Json, encode_json
from credstore.proofs.format.dsse import (
    Signed,
    encode_envelope,
    parse_envelope,
    seal_payload,
    verify_signatures,
)
from credstore.proofs.format.fields import (
    LONGEST_ISSUER,
    as_object,
    format_time,
    read_hex,
    read_object,
    read_size,
    read_text,
    read_time,
    read_uri,
    refuse,
)
from credstore.proofs.format.record import make_statement, parse_payload, read_statement
from credstore.proofs.format.signing import Signer
from credstore.proofs.format.trust import TrustStore
from credstore.proofs.format.verify import accept_signatures

VERSION_TYPE = "https://credstore.dev/artifact-version/v1"
TAG_TYPE = "https://credstore.dev/artifact-tag/v1"
STAGE_TYPE = "https://credstore.dev/model-stage/v1"
LARGEST_STATEMENT = 256 * 1024
"""Bytes as stored; the most metrics with the longest names and eight signatures take half of it."""


@dataclass(frozen=True, slots=True)
class ArtifactVersion:
    """A version of a dataset, model, checkpoint, backup or archive, as its signed statement says.

    Attributes:
        kind: "dataset", "model", "checkpoint", "backup" or "archive".
        name: Of the artifact.
        version: 1 or more; a later version has a larger number, not always the next one.
        created: When it was saved, UTC, by the clock of whoever saved it.
        files: Number of files.
        size: Bytes of all files.
        stored: Bytes that this version added to the store, without its index and statement.
        parent: The version whose chunks it could reuse, or None.
        index: Name of its index.
        digest: SHA-256 of its index: 32 bytes.
        issuer: URI of whoever signed it.
        details: What else is signed about it; empty for datasets, backups and archives.
    """

    kind: Kind
    name: str
    version: int
    created: datetime
    files: int
    size: int
    stored: int
    parent: int | None
    index: str
    digest: bytes
    issuer: str = ""
    details: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)


@dataclass(frozen=True, slots=True)
class StageChange:
    """That a version of a model came into a stage, or left the one it was in, as a signed statement says.

    Attributes:
        number: 1 for the first change of the model, then 2, and so on.
        version: Number of the version.
        stage: Its stage since then; None for none.
        since: When that was said, UTC, by the clock of whoever said it.
        issuer: URI of whoever said it.
    """

    number: int
    version: int
    stage: str | None
    since: datetime
    issuer: str


@dataclass(frozen=True, slots=True)
class Seals:
    """Signs statements, and verifies them against the keys that are trusted.

    Attributes:
        trust: The only trust anchor.
        signers: None for whoever only reads.
        issuer: URI of whoever signs, or None for whoever only reads.
        clock: Returns the current time, with a time zone.
    """

    trust: TrustStore
    signers: tuple[Signer, ...]
    issuer: str | None
    clock: Callable[[], datetime]

    def check_signs(self) -> str:
        """The issuer, for whoever signs: what is signed now counts for readers with this trust store.

        Raises:
            StorageConfigurationError: There is no signer.
            ProofError: The trust store has no signer's key for this use at this time.
        """
        self.check_keys(self.signers)
        return self._issuer()

    def check_keys(self, signers: Sequence[Signer]) -> None:
        """Whether what these sign now counts, before anything is read or sent.

        Raises:
            StorageConfigurationError: There is no signer.
            ProofError: No key of them counts.
        """
        keys = (self.trust.find(signer.public_key.keyid) for signer in signers)
        accept_signatures(
            [Signed(key, b"") for key in keys if key is not None],
            usage="proof",
            issuer=self._issuer(),
            claimed=self.now(),
            times=(),
            threshold=1,
        )

    def _issuer(self) -> str:
        if self.issuer is None:
            raise StorageConfigurationError("this manager only reads; give it a `signer` to save with")
        return self.issuer

    def now(self) -> datetime:
        """The current time in UTC, as exact as statements are: milliseconds."""
        return read_time(format_time(self.clock()), "createdAt")

    async def seal_version(self, version: ArtifactVersion) -> bytes:
        """The signed statement of a version, as stored.

        Raises:
            ProofError: Readers with this trust store would refuse it.
            StorageInvalidRequestError: It would be too large for them.
        """
        predicate: dict[str, Json] = {
            "issuer": self._issuer(),
            "createdAt": format_time(version.created),
            "kind": version.kind,
            "name": version.name,
            "version": version.version,
            "files": version.files,
            "size": version.size,
            "stored": version.stored,
            "index": version.index,
        }
        if version.parent is not None:
            predicate["parent"] = version.parent
        if version.details:
            predicate["details"] = as_object(dict(version.details))
        digest: dict[str, Json] = {"sha256": version.digest.hex()}
        sealed = await self._seal(make_statement("index", digest, VERSION_TYPE, predicate))
        _check_same(self.open_version(sealed, version.kind, version.name, version.version), version)
        return sealed

    def open_version(self, data: bytes, kind: Kind, name: str, number: int) -> ArtifactVersion:
        """Verify the statement that is kept at the place of this version.

        Raises:
            ProofError: The signature, its key or the form is not in order.
            StorageIntegrityError: It is about another version.
        """
        digest, predicate = self._open(data, VERSION_TYPE, "index")
        members = read_object(predicate, "predicate", needs=("files", "size", "stored", "index"))
        if _about(predicate) != (kind, name, number):
            raise _moved(f"version {number} of the {kind} {name!r}")
        index = read_text(members["index"], "index", longest=64)
        if not is_session(index):
            refuse("index", "is not the name of an index")
        return ArtifactVersion(
            kind,
            name,
            number,
            read_time(predicate["createdAt"], "createdAt"),
            read_size(members["files"], "files"),
            read_size(members["size"], "size"),
            read_size(members["stored"], "stored"),
            read_size(members["parent"], "parent", least=1) if "parent" in members else None,
            index,
            digest,
            read_uri(predicate["issuer"], "issuer", longest=LONGEST_ISSUER),
            read_object(members.get("details", {}), "details", needs=()),
        )

    async def seal_tag(self, tag: str, version: ArtifactVersion, statement: bytes) -> bytes:
        """The signed statement that a tag names this version, whose own statement is given.

        Raises:
            ProofError: Readers with this trust store would refuse it.
        """
        identity = statement_digest(statement)
        predicate: dict[str, Json] = {
            "issuer": self._issuer(),
            "createdAt": format_time(self.clock()),
            "kind": version.kind,
            "name": version.name,
            "version": version.version,
            "tag": tag,
        }
        digest: dict[str, Json] = {"sha256": identity.hex()}
        sealed = await self._seal(make_statement("version", digest, TAG_TYPE, predicate))
        _check_same(self.open_tag(sealed, version.kind, version.name, tag), (version.version, identity))
        return sealed

    def open_tag(self, data: bytes, kind: Kind, name: str, tag: str) -> tuple[int, bytes]:
        """Verify the statement of a tag: number and statement digest of the version it names.

        Raises:
            ProofError: The signature, its key or the form is not in order.
            StorageIntegrityError: It is about another tag.
        """
        digest, predicate = self._open(data, TAG_TYPE, "version")
        about = _about(predicate)
        if about[:2] != (kind, name) or predicate.get("tag") != tag:
            raise _moved(f"tag {tag!r} of the {kind} {name!r}")
        return about[2], digest

    async def seal_stage(
        self,
        number: int,
        stage: str | None,
        version: ArtifactVersion,
        statement: bytes,
        previous: bytes | None,
    ) -> tuple[bytes, StageChange]:
        """The signed statement that a version is in a stage, and what readers see in it.

        Args:
            number: Of the change.
            stage: None for none.
            version: Of the model.
            statement: The version's own.
            previous: The change before this one, so that none can be taken out of the middle.

        Raises:
            ProofError: Readers with this trust store would refuse it.
        """
        predicate: dict[str, Json] = {
            "issuer": self._issuer(),
            "createdAt": format_time(self.clock()),
            "kind": version.kind,
            "name": version.name,
            "version": version.version,
            "change": number,
            "stage": stage,
            "previous": None if previous is None else statement_digest(previous).hex(),
        }
        digest: dict[str, Json] = {"sha256": statement_digest(statement).hex()}
        sealed = await self._seal(make_statement("version", digest, STAGE_TYPE, predicate))
        change = self.open_stage(sealed, version.name, number, previous)
        _check_same((change.version, change.stage), (version.version, stage))
        return sealed, change

    def open_stage(self, data: bytes, name: str, number: int, previous: bytes | None) -> StageChange:
        """Verify the statement of a change of stage.

        Raises:
            ProofError: The signature, its key or the form is not in order.
            StorageIntegrityError: It is about another change, or does not follow the one before it.
        """
        _, predicate = self._open(data, STAGE_TYPE, "version")
        about = _about(predicate)
        expected = None if previous is None else statement_digest(previous).hex()
        if (
            about[:2] != ("model", name)
            or predicate.get("change") != number
            or predicate.get("previous") != expected
        ):
            raise _moved(f"change {number} of the stages of the model {name!r}")
        stage = predicate.get("stage")
        return StageChange(
            number,
            about[2],
            None if stage is None else checked_name("stage", read_text(stage, "stage", longest=100)),
            read_time(predicate["createdAt"], "createdAt"),
            read_uri(predicate["issuer"], "issuer", longest=LONGEST_ISSUER),
        )

    async def _seal(self, statement: dict[str, Json]) -> bytes:
        sealed = encode_envelope(await seal_payload(encode_json(statement), self.signers))
        if len(sealed) > LARGEST_STATEMENT:
            raise StorageInvalidRequestError(
                f"the signed statement would have {len(sealed)} bytes, more than the {LARGEST_STATEMENT} "
                "that are read"
            )
        return sealed

    def _open(self, data: bytes, kind: str, subject: str) -> tuple[bytes, dict[str, Json]]:
        envelope = parse_envelope(data)
        signed = verify_signatures(envelope, self.trust)
        name, digest, predicate = read_statement(parse_payload(envelope.payload), kind)
        if name != subject:
            refuse("subject.name", f"is not {subject!r}")
        read_object(predicate, "predicate", needs=("issuer", "createdAt", "kind", "name", "version"))
        accept_signatures(
            signed,
            usage="proof",
            issuer=read_uri(predicate["issuer"], "issuer", longest=LONGEST_ISSUER),
            claimed=read_time(predicate["createdAt"], "createdAt"),
            times=(),
            threshold=1,
        )
        return read_hex(digest["sha256"], "subject.digest.sha256", size=32), predicate


def _about(predicate: dict[str, Json]) -> tuple[Json, Json, int]:
    number = read_size(predicate["version"], "version", least=1)
    if number > MOST_VERSIONS:
        refuse("version", "is too large")
    return predicate["kind"], predicate["name"], number


def _check_same(read: object, meant: object) -> None:
    if read != meant:
        refuse("the statement", "reads differently from what was to be signed")


def _moved(what: str) -> StorageIntegrityError:
    return StorageIntegrityError(
        f"the signed statement kept for {what} is about another, moved or copied to its place",
        code=ErrorCode.DIGEST_MISMATCH,
    )


def statement_digest(statement: bytes) -> bytes:
    """What identifies a signed statement, whatever signatures it has: SHA-256 of its PAE."""
    return hashlib.sha256(parse_envelope(statement).pae).digest()


def issuer_of(signers: Sequence[Signer], issuer: str | None, trust: TrustStore) -> str | None:
    """The issuer to sign as: the one given, else the only one that all signers are trusted for.

    Raises:
        StorageConfigurationError: There is no such one, or a signer is not trusted for it.
    """
    if not signers:
        return None
    keys = [trust.find(signer.public_key.keyid) for signer in signers]
    shared = frozenset[str].intersection(*(key.issuers if key else frozenset[str]() for key in keys))
    if issuer is None and len(shared) == 1:
        (issuer,) = shared
    if issuer is None or issuer not in shared:
        raise StorageConfigurationError(
            "the trust store does not have the signer's key for one issuer; add it, or name the `issuer`"
        )
    return issuer
