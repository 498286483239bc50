"""Evidence of a migration: the list of what is at both ends, and a signed statement about the list.

The list is JSON Lines, ascending by name, one canonical JSON object (RFC 8785) a line:
`{"destination": {"key", "version"}, "name", "sha256", "size", "source": {"key", "version"}}`. `sha256` is of
the bytes that travelled: the stored bytes between two stores, else the plain bytes. The statement is an
in-toto Statement v1 in a DSSE envelope next to the list (`.dsse.json`); its subject is the SHA-256 of the
list, its predicate says from where to where, how many objects and bytes, when, and whether that was all.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from credstore.concurrency import in_thread, map_in_order
from credstore.errors import ErrorCode, StorageError, StorageInvalidRequestError
from credstore.files import PendingFile, write_file
from credstore.proofs.format.canonical import Json, encode_json, parse_json
from credstore.proofs.format.dsse import encode_envelope, parse_envelope, seal_payload, verify_signatures
from credstore.proofs.format.errors import (
    ProofAssetMismatchError,
    ProofFormatError,
    ProofKeyExpiredError,
    ProofKeyRevokedError,
    ProofUntrustedKeyError,
)
from credstore.proofs.format.fields import (
    format_time,
    read_hex,
    read_object,
    read_size,
    read_text,
    read_time,
    read_uri,
)
from credstore.proofs.format.record import make_statement, parse_payload, read_statement
from credstore.proofs.format.signing import Signer
from credstore.proofs.format.trust import TrustedKey, TrustStore
from credstore.provider.stored_form import digest_stored
from credstore.transfer.plan import Entry, Known, State
from credstore.transfer.sides import Side
from credstore.transfer.store import Store

TYPE = "https://credstore.dev/transfer/v1"
"""Type of the predicate."""
ENDING = ".dsse.json"
"""Of the statement's file, after the name of the list's."""
_LONGEST_LINE = 128 * 1024
_LONGEST_TEXT = 8 * 1024
_LARGEST_STATEMENT = 1024 * 1024
_SHA256 = 32
_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Line:
    """One object of the list.

    Attributes:
        name: Below both places.
        size: Bytes, as stored at the source.
        sha256: Of the bytes that travelled.
    """

    name: str
    size: int
    sha256: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedTransfer:
    """Evidence whose signature and list were verified.

    Attributes:
        issuer: Who says so.
        keyid: Of the key that signed.
        source: Where the objects were, in words.
        destination: Where they are, in words.
        objects: In the list.
        bytes: Their sizes together, as stored at the source.
        finished_at: When the migration ended, UTC.
        complete: Whether nothing was left, failed or changed meanwhile.
        problems: Names that are not at an end that was looked at as the list says, each with the reason.
    """

    issuer: str
    keyid: str
    source: str
    destination: str
    objects: int
    bytes: int
    finished_at: datetime
    complete: bool
    problems: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a migration is to leave.

    Attributes:
        path: Of the list.
        signers: Who signs, 1 to 8.
        issuer: URI of whoever says so.
    """

    path: Path
    signers: tuple[Signer, ...]
    issuer: str

    def check(self) -> None:
        """Find out before anything is moved whether the list can be written; it blocks.

        Raises:
            StorageInvalidRequestError: It cannot.
        """
        try:
            with PendingFile(self.path, replace=True):
                if self.path.is_dir():
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self.path))
        except OSError as error:
            raise StorageInvalidRequestError(
                f"the evidence {str(self.path)!r} cannot be written: {error.strerror}; nothing was changed"
            ) from None

    async def write(
        self,
        source: Side,
        destination: Side,
        known: AsyncIterator[Known],
        wanted: Callable[[str], bool],
        *,
        complete: bool,
    ) -> None:
        """Write both files; the statement last, so that there is none about another list.

        Raises:
            StorageInvalidRequestError: An object has no digest, which is a mistake of this program.
            ProofSignatureError: A signer's signature does not verify.
            StorageError: A file cannot be written.
        """
        try:
            await self._write(source, destination, known, wanted, complete=complete)
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise StorageError(
                f"everything was done, but the evidence {str(self.path)!r} cannot be written: "
                f"{error.strerror}; the same call writes it",
                code=ErrorCode.IO_ERROR,
                applied="yes",
            ) from None

    async def _write(
        self,
        source: Side,
        destination: Side,
        known: AsyncIterator[Known],
        wanted: Callable[[str], bool],
        *,
        complete: bool,
    ) -> None:
        count = size = 0
        digest = hashlib.sha256()
        file = PendingFile(self.path, replace=True)
        try:
            await in_thread(file.open)
            async for each in known:
                if each.state not in {State.EQUAL, State.MOVED} or not wanted(each.name):
                    continue
                if each.digest is None:
                    raise StorageInvalidRequestError(f"{each.name!r} has no digest; it cannot be evidence")
                line = encode_json(_members(each, source, destination)) + b"\n"
                digest.update(line)
                await in_thread(file.write, line)
                count, size = count + 1, size + each.size
            predicate: dict[str, Json] = {
                "issuer": self.issuer,
                "source": source.label,
                "destination": destination.label,
                "objects": count,
                "bytes": size,
                "finishedAt": format_time(datetime.now(UTC)),
                "complete": complete,
            }
            subject: dict[str, Json] = {"sha256": digest.hexdigest()}
            payload = encode_json(make_statement(self.path.name, subject, TYPE, predicate))
            envelope = encode_envelope(await seal_payload(payload, self.signers))
            await in_thread(file.publish)
            await in_thread(write_file, statement_of(self.path), envelope, replace=True)
        finally:
            await in_thread(file.close)


def statement_of(path: Path) -> Path:
    """Where the statement about a list is."""
    return path.with_name(path.name + ENDING)


def _members(known: Known, source: Side, destination: Side) -> dict[str, Json]:
    return {
        "name": known.name,
        "size": known.size,
        "sha256": (known.digest or b"").hex(),
        "source": {"key": _key(source, known.name), "version": known.tag},
        "destination": {"key": _key(destination, known.name), "version": known.version},
    }


def _key(side: Side, name: str) -> str:
    return side.key(name) if isinstance(side, Store) else side.held.called(name)


async def verify(
    path: Path, trust: TrustStore, *, source: Side | None = None, destination: Side | None = None
) -> VerifiedTransfer:
    """Check a statement and its list and, if they are given, what is at the ends now.

    Raises:
        ProofError: No trusted key has signed it for this issuer and time, it is not such a statement, or the
            list is not the one that was signed.
        StorageInvalidRequestError: A file cannot be read.
        StorageError: An end cannot be looked at.
    """
    digest, predicate, key = trusted_statement(await in_thread(read_local, statement_of(path)), trust, TYPE)
    issuer = read_uri(predicate.get("issuer"), "issuer")
    finished = read_time(predicate.get("finishedAt"), "finishedAt")
    complete = predicate.get("complete")
    if not isinstance(complete, bool):
        raise ProofFormatError("complete is not true or false")
    found = await in_thread(_check_list, path, read_hex(digest["sha256"], "sha256", size=_SHA256))
    objects, size = read_size(predicate.get("objects"), "objects"), read_size(predicate.get("bytes"), "bytes")
    if found != (objects, size):
        raise ProofFormatError("the list has other numbers than the statement about it")
    problems: list[tuple[str, str]] = []
    for side in (source, destination):
        if side is not None:
            problems += await _problems(path, side)
    return VerifiedTransfer(
        issuer=issuer,
        keyid=key.keyid,
        source=read_text(predicate.get("source"), "source", longest=_LONGEST_TEXT),
        destination=read_text(predicate.get("destination"), "destination", longest=_LONGEST_TEXT),
        objects=objects,
        bytes=size,
        finished_at=finished,
        complete=complete,
        problems=tuple(problems),
    )


def trusted_statement(
    data: bytes, trust: TrustStore, kind: str
) -> tuple[Mapping[str, Json], Mapping[str, Json], TrustedKey]:
    """What a signed statement is about, its predicate, and the key that may say this.

    Args:
        data: The envelope; its predicate has `issuer` and `finishedAt`.
        trust: Whose statements count.
        kind: Type of the predicate.

    Raises:
        ProofError: No trusted key has signed it for this issuer and time, or it is not such a statement.
    """
    envelope = parse_envelope(data)
    signed = verify_signatures(envelope, trust)
    _, digest, predicate = read_statement(parse_payload(envelope.payload), kind)
    issuer = read_uri(predicate.get("issuer"), "issuer")
    finished = read_time(predicate.get("finishedAt"), "finishedAt")
    return digest, predicate, _trusted([each.key for each in signed], issuer, finished)


def _trusted(keys: list[TrustedKey], issuer: str, finished: datetime) -> TrustedKey:
    """The first key that may say this."""
    entitled = [key for key in keys if "proof" in key.usages and issuer in key.issuers]
    if not entitled:
        raise ProofUntrustedKeyError(f"the key that signed is not trusted to sign for {issuer!r}")
    intact = [key for key in entitled if key.revoked is None]
    if not intact:
        raise ProofKeyRevokedError("the key that signed was compromised, and nothing shows when it signed")
    within = [key for key in intact if key.is_within(finished)]
    if not within:
        raise ProofKeyExpiredError("the key was not valid at the time that the statement names")
    return within[0]


def read_local(path: Path) -> bytes:
    """The bytes of a small file of this machine.

    Raises:
        StorageInvalidRequestError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(2 * _LARGEST_STATEMENT + 1)
    except OSError as error:
        raise StorageInvalidRequestError(f"cannot read {str(path)!r}: {error.strerror}") from None


def lines_of(path: Path) -> Generator[tuple[Line, bytes], None, None]:
    """The objects of a list, each with its bytes.

    Raises:
        ProofFormatError: It is not such a list, or does not ascend.
        StorageInvalidRequestError: It cannot be read.
    """
    last = None
    try:
        with path.open("rb") as file:
            while raw := file.readline(_LONGEST_LINE):
                members = read_object(
                    parse_json(raw, limit=_LONGEST_LINE),
                    "a line",
                    needs=("name", "size", "sha256", "source", "destination"),
                )
                name = members["name"]  # Files may have control characters in theirs.
                if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_TEXT:
                    raise ProofFormatError("a line has no name")
                if last is not None and name <= last:
                    raise ProofFormatError(f"the list has {name!r} after {last!r}")
                last = name
                digest = read_hex(members["sha256"], "sha256", size=_SHA256)
                yield Line(name, read_size(members["size"], "size"), digest), raw
    except OSError as error:
        raise StorageInvalidRequestError(f"cannot read {str(path)!r}: {error.strerror}") from None


def _check_list(path: Path, digest: bytes) -> tuple[int, int]:
    """Numbers of objects and bytes of the list with this digest."""
    seen, count, size = hashlib.sha256(), 0, 0
    for line, raw in lines_of(path):
        seen.update(raw)
        count, size = count + 1, size + line.size
    if seen.digest() != digest:
        raise ProofAssetMismatchError("the list is not the one that was signed")
    return count, size


async def _problems(path: Path, side: Side) -> list[tuple[str, str]]:
    async def check(line: Line) -> tuple[str, str] | None:
        why = await _problem(side, line)
        return None if why is None else (line.name, f"{side.label}: {why}")

    lines = (line for line, _ in lines_of(path))
    return [each async for each in map_in_order(lines, check, at_once=_AT_ONCE) if each is not None]


async def _problem(side: Side, line: Line) -> str | None:
    """Why what is at an end is not what the list says, or None."""
    try:
        facts = await side.look(Entry(line.name, line.size, None, "", ""), "read")
        if facts.digest == line.sha256:
            return None
        if facts.size is None and facts.digest is None:
            return "it is not there"
        if (
            isinstance(side, Store)
            and await digest_stored(side.provider, side.key(line.name), None) == line.sha256
        ):
            return None
    except StorageError as error:
        return error.message
    return "it has other content"
