"""`LogWitness`: a witness of one's own on one store, c2sp.org/tlog-witness.

Rules of this file: what is cosigned is remembered before the cosignature leaves; comparing with what is
remembered and remembering is one conditional write, so that no two requests can both continue one state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from credstore.arguments import typed, typed_class
from credstore.errors import StorageConfigurationError, StorageConflictError, StorageError
from credstore.proofs.format.errors import CheckpointError, LogBusyError
from credstore.proofs.log.add_checkpoint import (
    LARGEST_REQUEST,
    SIZE_TYPE,
    AddCheckpoint,
    monitoring_path,
    parse_request,
)
from credstore.proofs.log.checkpoint import SignedCheckpoint, checked_key, open_checkpoint, sign_text
from credstore.proofs.log.merkle import EMPTY_ROOT, MerkleError, verify_consistency
from credstore.proofs.log.note import LARGEST_NOTE, Note, NoteError, NoteSigner, VerifierKey, parse_note
from credstore.proofs.log.objects import Found, LogObjects
from credstore.provider.provider import StorageProvider

WITNESS_PREFIX = "witness/v1/"
TEXT = "text/plain; charset=utf-8"
_TRIES = 8


@dataclass(frozen=True, slots=True)
class WitnessAnswer:
    """A response, for any HTTP server.

    Attributes:
        status: HTTP status.
        body: Bytes.
        content_type: MIME type.
    """

    status: int
    body: bytes = field(default=b"", repr=False)
    content_type: str = TEXT


class _RefusedError(Exception):
    def __init__(self, status: int, why: str, content_type: str = TEXT) -> None:
        super().__init__(why)
        self.answer = WitnessAnswer(status, f"{why}\n".encode(), content_type)


@typed_class
class LogWitness:
    """Cosigns checkpoints that continue the last one it cosigned.

    Attributes:
        key: Its public key, for policies.
    """

    def __init__(
        self,
        provider: StorageProvider,
        *,
        signer: NoteSigner,
        logs: Sequence[VerifierKey],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        prefix: str = WITNESS_PREFIX,
    ) -> None:
        """Watch logs; nothing is sent.

        Args:
            provider: A single store whose conditions are proved, and none that holds one of the logs.
            signer: Of kind 4 (Ed25519) or 6 (ML-DSA-44); its key signs for no other witness.
            logs: The keys of the logs; a log may have several.
            clock: Returns the current time, with a time zone.
            prefix: What its keys in the store start with.

        Raises:
            StorageUnsupportedError: A composite store, or one whose conditions are not proved.
            StorageConfigurationError: The key is not that of a witness, or no log is named.
        """
        if not signer.key.timestamped or not logs:
            raise StorageConfigurationError("a witness has a key of kind 4 or 6, and one log or more")
        if any(key.public == signer.key.public for key in logs):
            raise StorageConfigurationError("this is the key of the log itself; a witness has one of its own")
        self._objects = LogObjects(provider, prefix)
        self._objects.check()
        self._signer = signer
        self._clock = clock
        self.key = checked_key(signer.key)
        self._logs: dict[str, list[VerifierKey]] = {}
        for key in logs:
            self._logs.setdefault(key.name, []).append(checked_key(key))

    @typed
    async def add_checkpoint(self, body: bytes) -> WitnessAnswer:
        """Respond to a POST of add-checkpoint.

        Returns:
            200 with the cosignature; 400 for what is not a request, 404 for an unknown log, 403 for a
            checkpoint that it has not signed, 409 with the size that was cosigned last, 422 where the
            checkpoint does not continue that.

        Raises:
            StorageError: The store failed; nothing was cosigned, as far as the caller may say.
        """
        try:
            request, signed = self._read(body)
            return await self._cosigned(request, signed)
        except _RefusedError as error:
            return error.answer

    def _read(self, body: bytes) -> tuple[AddCheckpoint, SignedCheckpoint]:
        if len(body) > LARGEST_REQUEST:
            raise _RefusedError(400, f"a request has at most {LARGEST_REQUEST} bytes")
        try:
            request = parse_request(body)
            origin = parse_note(request.checkpoint).text.partition("\n")[0]
        except NoteError as error:
            raise _RefusedError(400, str(error)) from None
        keys = self._logs.get(origin)
        if keys is None:
            raise _RefusedError(404, "this log is not known here")
        try:
            signed = open_checkpoint(request.checkpoint, keys)
        except CheckpointError as error:
            raise _RefusedError(403, error.message) from None
        if request.old_size > signed.checkpoint.size:
            raise _RefusedError(400, "the old size is larger than that of the checkpoint")
        return request, signed

    async def _cosigned(self, request: AddCheckpoint, signed: SignedCheckpoint) -> WitnessAnswer:
        new = signed.checkpoint
        path = monitoring_path(new.origin)
        for _ in range(_TRIES):
            found = await self._objects.find(path)
            old = None if found is None else self._last(found, new.origin)
            size = 0 if old is None else old.checkpoint.size
            if request.old_size != size:
                raise _RefusedError(409, str(size), SIZE_TYPE)
            try:
                verify_consistency(
                    request.proof,
                    old_size=size,
                    old_root=EMPTY_ROOT if old is None else old.checkpoint.root,
                    new_size=new.size,
                    new_root=new.root,
                )
            except MerkleError as error:
                raise _RefusedError(422, str(error)) from None
            line = (await sign_text(new.text, [self._signer], int(self._clock().timestamp()))).signatures[0]
            # Only lines that were verified here are kept and shown.
            kept = Note(new.text, tuple(each.line for each in signed.signatures))
            try:
                await self._objects.swap(
                    path, kept.extended([line]).encode(), None if found is None else found.etag
                )
            except StorageConflictError:
                continue
            except StorageError as error:
                if error.applied == "no":
                    raise
                continue  # Reading it again shows what is remembered.
            return WitnessAnswer(200, line.encode().encode())
        raise LogBusyError("the state of the witness changes all the time")

    def _last(self, found: Found, origin: str) -> SignedCheckpoint:
        return open_checkpoint(found.data, [*self._logs[origin], self.key], what=self._objects.prefix)

    @typed
    async def checkpoint(self, path: str) -> bytes | None:
        """The checkpoint that was cosigned last, for a GET of a monitor.

        Args:
            path: "<SHA-256 of the origin in hex>/checkpoint".

        Returns:
            The note with the log's signatures and the cosignature, or None where there is none.

        Raises:
            StorageError: The store failed.
        """
        if path not in {monitoring_path(origin) for origin in self._logs}:
            return None
        return await self._objects.fetch(path, LARGEST_NOTE)
