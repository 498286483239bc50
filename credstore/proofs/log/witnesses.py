"""Asking witnesses: for cosignatures before a checkpoint is published, and for what they have seen.

Rules of this file: all are asked at once, and the first quorum is taken; a witness that is slow, refuses or
lies stops nothing by itself. That the log went back is believed only with a checkpoint that it has signed,
and that a witness did only with one that it has cosigned.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime

from credstore.arguments import typed_class
from credstore.concurrency import until_done
from credstore.errors import StorageConfigurationError, StorageError
from credstore.proofs.format.errors import (
    CheckpointError,
    LogError,
    LogForkError,
    LogRollbackError,
    WitnessError,
    WitnessQuorumError,
)
from credstore.proofs.log.add_checkpoint import SIZE_TYPE, encode_request, monitoring_path, read_size
from credstore.proofs.log.checkpoint import SignedCheckpoint, open_checkpoint
from credstore.proofs.log.cosigned import CosignedStates
from credstore.proofs.log.http import LogHttp
from credstore.proofs.log.memory import LogMemory
from credstore.proofs.log.note import (
    LARGEST_NOTE,
    Note,
    NoteError,
    NoteSignature,
    VerifierKey,
    parse_signatures,
    verify_note,
)
from credstore.proofs.log.objects import LogObjects
from credstore.proofs.log.policy import LogPolicy, PolicyWitness
from credstore.proofs.log.reading import LogTiles

_OK = 200
_CONFLICT = 409
_UNPROCESSABLE = 422
_SERVER_ERROR = 500
_RATE = 429
_TRIES = 4
_MEANINGS = {
    400: "it calls the request malformed",
    403: "it does not trust the key that signed the checkpoint",
    404: "it does not know this log",
    422: "it says that the checkpoint does not continue what it has cosigned",
}

_OTHER = "it says that it has seen another state"


@typed_class
class WitnessClient:
    """One witness, over HTTP.

    Attributes:
        name: For errors.
        key: Whose cosignatures count.
    """

    def __init__(
        self,
        witness: PolicyWitness,
        http: LogHttp,
        memory: LogMemory | None = None,
        objects: LogObjects | None = None,
    ) -> None:
        """Ask nothing yet.

        Args:
            witness: With a URL: the prefix of its API.
            http: Sends the requests; not closed here.
            memory: Remembers what the witness has cosigned, and keeps evidence against it.
            objects: Of the log, next to which it is kept what the witness has cosigned, for whoever remembers
                nothing.

        Raises:
            StorageConfigurationError: The witness has no URL.
        """
        if witness.url is None:
            raise StorageConfigurationError(f"the witness {witness.name!r} has no URL in the policy")
        self.name = witness.name
        self.key = witness.key
        self._url = witness.url.rstrip("/")
        self._http = http
        self._states = CosignedStates(witness.key, memory, objects)
        self._excluded = ""

    async def add_checkpoint(
        self, signed: SignedCheckpoint, tiles: LogTiles, published: SignedCheckpoint | None = None
    ) -> tuple[NoteSignature, ...]:
        """Ask for a cosignature.

        Args:
            signed: The checkpoint.
            tiles: Of its state, from which consistency is proved.
            published: The log's checkpoint before it: if this witness has cosigned that, or `signed` itself,
                it has to know it still.

        Returns:
            The lines of this witness, verified.

        Raises:
            LogRollbackError: The witness shows a later state that the log has signed, or is known to have
                cosigned one.
            LogForkError: So for another root of this size.
            WitnessError: It refuses, what it returns is not valid, or it went back itself.
            StorageError: It cannot be reached; or a tile is missing or wrong.
        """
        if self._excluded:
            raise self._refused(self._excluded)
        for each in (published, signed):
            if each is not None:
                await self._states.learn(each)
        known = await self._states.known(signed.checkpoint.origin, [each.key for each in signed.signatures])
        if known is not None:
            self._check_known(known, signed)
        old = 0 if known is None else known.checkpoint.size
        for _ in range(_TRIES):
            body = encode_request(old, await tiles.consistency(old), signed.data)
            answer = await self._http.send("POST", f"{self._url}/add-checkpoint", body, LARGEST_NOTE)
            if answer.status == _OK:
                lines = self._verified(answer.body, signed)
                cosigned = signed.note.extended(lines)
                await self._states.learn(SignedCheckpoint(signed.checkpoint, cosigned, signed.signatures))
                return lines
            if answer.status == _UNPROCESSABLE:
                raise await self._contradicted(signed, _MEANINGS[_UNPROCESSABLE])
            if answer.status != _CONFLICT:
                raise self._refused(
                    _MEANINGS.get(answer.status, f"it responded with status {answer.status}"), answer.status
                )
            kind = answer.headers.get("content-type", "").partition(";")[0].strip()
            if kind != SIZE_TYPE:
                raise await self._contradicted(signed, _OTHER)
            old = await self._conflict(answer.body, signed, old, known)
        raise self._refused("it names another size each time", again=True)

    def _check_known(self, known: SignedCheckpoint, signed: SignedCheckpoint) -> None:
        """Refuse a state of the log that what the witness has cosigned contradicts, whatever it says now."""
        theirs, ours = known.checkpoint, signed.checkpoint
        if theirs.size > ours.size:
            raise LogRollbackError(
                f"the log is at size {ours.size}, but the witness {self.name!r} has cosigned its size "
                f"{theirs.size}, as after restoring a backup"
            )
        if theirs.size == ours.size and theirs.root != ours.root:
            raise LogForkError(
                f"the log has signed two roots for size {ours.size}; one was shown to the witness "
                f"{self.name!r}",
                signed.data,
                known.data,
            )

    async def _conflict(
        self, body: bytes, signed: SignedCheckpoint, sent: int, known: SignedCheckpoint | None
    ) -> int:
        """The size to prove consistency from, by a response with status 409."""
        try:
            size = read_size(body)
        except NoteError:
            raise self._refused("its response is not a size", _CONFLICT) from None
        if known is not None and size < known.checkpoint.size:
            self._excluded = (
                f"it has cosigned size {known.checkpoint.size}, and now says that it has seen size {size}"
            )
            await self._states.expose(known, f"{self.name} says: {size}\n".encode())
            await self._states.keep(signed.checkpoint.origin)
            raise self._refused(self._excluded, _CONFLICT)
        if size > signed.checkpoint.size or size == sent:
            raise await self._contradicted(signed, _OTHER)
        return size

    async def _contradicted(self, signed: SignedCheckpoint, why: str) -> LogError:
        """What to raise where the witness says that it has seen something else."""
        try:
            shown = await self.latest(signed.checkpoint.origin, [each.key for each in signed.signatures])
        except StorageError:
            shown = None
        if shown is not None:
            try:
                self._check_known(shown, signed)
            except (LogRollbackError, LogForkError) as error:
                return error
        return self._refused(f"{why}, but shows nothing that the log has signed and that would prove it")

    async def keep(self, published: SignedCheckpoint) -> None:
        """Keep next to the log that this witness has cosigned a checkpoint that is replaced, if it has.

        Raises:
            StorageError: Disk or store failed.
        """
        await self._states.learn(published)
        await self._states.keep(published.checkpoint.origin)

    async def latest(self, origin: str, keys: list[VerifierKey]) -> SignedCheckpoint | None:
        """The checkpoint that the witness cosigned last, or None where it shows none.

        Raises:
            WitnessError: It is not signed by the log and by this witness.
            StorageError: It cannot be reached.
        """
        data = await self._http.get(f"{self._url}/{monitoring_path(origin)}", LARGEST_NOTE)
        if data is None:
            return None
        try:
            found = open_checkpoint(data, keys)
            verify_note(found.note, [self.key])
        except (CheckpointError, NoteError) as error:
            raise self._refused(
                f"it shows a checkpoint that is not signed as it has to be: {error}"
            ) from None
        if found.checkpoint.origin != origin:
            raise self._refused("it shows the checkpoint of another log")
        return found

    async def forgotten(
        self, found: SignedCheckpoint, shown: SignedCheckpoint | None, now: datetime
    ) -> str | None:
        """Why what the witness shows means that it has forgotten what it cosigned, or None; evidence is kept.

        Args:
            found: The checkpoint that the log shows.
            shown: What `latest` has returned.
            now: The time, with a time zone.

        Raises:
            CheckpointError: What is remembered of the witness cannot be used.
            StorageError: Disk or store failed.
        """
        await self._states.learn(found)
        if shown is not None:
            await self._states.learn(shown)
        known = await self._states.known(found.checkpoint.origin, [each.key for each in found.signatures])
        why = None if known is None else self._states.went_back(known, shown, now)
        if known is None or why is None:
            return None
        said = f"{self.name} shows nothing\n".encode() if shown is None else shown.data
        await self._states.expose(known, said)
        return f"the witness {self.name!r} {why}"

    def _verified(self, body: bytes, signed: SignedCheckpoint) -> tuple[NoteSignature, ...]:
        try:
            lines = parse_signatures(body.decode())
            found = verify_note(Note(signed.note.text, lines), [self.key])
        except (NoteError, UnicodeDecodeError) as error:
            raise self._refused(f"its cosignature cannot be used: {error}", _OK) from None
        return tuple(each.line for each in found)

    def _refused(self, why: str, status: int | None = None, *, again: bool = False) -> WitnessError:
        passing = status is not None and (status >= _SERVER_ERROR or status == _RATE)
        return WitnessError(
            _head(self.name) + why, key=self._url, status_code=status, retryable=again or passing
        )


def _head(name: str) -> str:
    return f"the witness {name!r}: "


def said_of(name: str, error: StorageError) -> str:
    """Why a witness is of no use, for a list that names it already."""
    return error.message.removeprefix(_head(name))


@dataclass(slots=True)
class _Collected:
    names: list[str] = field(default_factory=list[str])
    lines: list[NoteSignature] = field(default_factory=list[NoteSignature])
    failures: dict[str, str] = field(default_factory=dict[str, str])
    passing: list[str] = field(default_factory=list[str])
    decisive: StorageError | None = None


@typed_class
class WitnessGroup:
    """The witnesses of a policy; `cosign` is what a sequencer takes."""

    def __init__(
        self,
        policy: LogPolicy,
        http: LogHttp,
        *,
        memory: LogMemory | None = None,
        objects: LogObjects | None = None,
        timeout: float = 30.0,
    ) -> None:
        """Ask nothing yet.

        Args:
            policy: Those of its witnesses that have a URL are asked.
            http: Sends the requests; not closed here.
            memory: Remembers what witnesses have cosigned, and keeps evidence against them.
            objects: Of the log, next to which it is kept what a witness has cosigned whose cosignature is not
                under the next checkpoint, for processes that remember nothing.
            timeout: Seconds until those that have not responded are given up.
        """
        self.clients = [
            WitnessClient(each, http, memory, objects)
            for each in policy.witnesses.values()
            if each.url is not None
        ]
        self._policy = policy
        self._timeout = timeout

    async def cosign(
        self, signed: SignedCheckpoint, tiles: LogTiles, published: SignedCheckpoint | None = None
    ) -> Note:
        """The checkpoint with the cosignatures of a quorum, and of whoever else was as fast.

        Args:
            signed: The log's own checkpoint.
            tiles: Of its state.
            published: The log's checkpoint before it, whose cosignatures witnesses have to know of.

        Raises:
            LogRollbackError: A witness has shown that the log went back.
            LogForkError: A witness has shown that the log forked.
            WitnessQuorumError: Too few witnesses have cosigned; the message has the reason of each. It is
                retryable where enough of the others may cosign later, without any change.
        """
        await tiles.edge()  # Once, and not by each of them.
        names = {
            asyncio.ensure_future(client.add_checkpoint(signed, tiles, published)): client.name
            for client in self.clients
        }
        found = _Collected()
        loop = asyncio.get_running_loop()
        end = loop.time() + self._timeout
        pending = set(names)
        try:
            while pending and not self._is_enough(found):
                done, pending = await asyncio.wait(
                    pending, timeout=max(0.0, end - loop.time()), return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    break
                for task in done:
                    _collect(found, names[task], task)
        finally:
            for task in pending:
                task.cancel()
            cancelled = await until_done(pending)
            for task in pending:
                if not task.cancelled():
                    task.exception()  # Looked at: it came too late to matter.
        if cancelled is not None:
            raise cancelled
        if found.decisive is not None:
            raise found.decisive
        if not self._policy.is_met(found.names):
            found.failures |= {names[task]: "it did not respond in time" for task in pending}
            late = [names[task] for task in pending]
            raise WitnessQuorumError(
                f"the quorum {self._policy.quorum!r} is not met: "
                + "; ".join(f"{name}: {why}" for name, why in sorted(found.failures.items())),
                applied="maybe",
                # Those that refuse will refuse again.
                retryable=self._policy.is_met([*found.names, *found.passing, *late]),
            )
        if published is not None:
            for client in self.clients:
                if client.name not in found.names:
                    await client.keep(published)
        return signed.note.extended(found.lines)

    def _is_enough(self, found: _Collected) -> bool:
        return found.decisive is not None or self._policy.is_met(found.names)


def _collect(found: _Collected, name: str, task: asyncio.Future[tuple[NoteSignature, ...]]) -> None:
    error = task.exception()
    if error is None:
        found.names.append(name)
        found.lines.extend(task.result())
    elif isinstance(error, LogRollbackError | LogForkError):
        found.decisive = error
    elif isinstance(error, StorageError):
        found.failures[name] = said_of(name, error)
        if error.retryable:
            found.passing.append(name)
    else:
        raise error
