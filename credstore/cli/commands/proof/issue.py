"""`credstore proof issue`: sign and store proofs about files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from credstore.cli.commands.proof.logs import LogChoice, writes_log
from credstore.cli.commands.proof.shown import end_with, proof_document, with_proofs
from credstore.cli.errors import report
from credstore.cli.options import Invocation, as_duration, command
from credstore.cli.output import note, print_json, say, say_row
from credstore.cli.progress import TransferBar
from credstore.cli.proof_files import KEY, TRUST, read_claims
from credstore.errors import StorageError, StorageInvalidRequestError
from credstore.transfer.types import UNKNOWN_TYPE, guess_type

if TYPE_CHECKING:
    from credstore.model import Progress
    from credstore.proofs import IssueRequest, Proof, ProofStore


@command("issue")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@KEY
@TRUST
@click.option("--issuer", metavar="URI", help="Who signs; needed where the key is trusted for several.")
@click.option(
    "--expires", metavar="DURATION", callback=as_duration, help="How long it is valid; default: for ever."
)
@click.option("--claims", metavar="JSON|@FILE", help="A JSON object to sign with it.")
@click.option("--manifest", metavar="FILE", help="Kept with the proof, such as a C2PA manifest store.")
@click.option("--media-type", metavar="TYPE", help="Of the files; default: guessed from their names.")
@click.option(
    "--idempotency-key", metavar="KEY", help="A repeat with the same key gets the same proof again."
)
@click.option("--supersedes", metavar="ID", help="The earlier proof that this one replaces.")
@writes_log
@click.pass_obj
def issue_command(
    invocation: Invocation,
    *,
    files: tuple[str, ...],
    key_file: str,
    trust_file: str,
    issuer: str | None,
    expires: float | None,
    claims: str | None,
    manifest: str | None,
    media_type: str | None,
    idempotency_key: str | None,
    supersedes: str | None,
    log: LogChoice,
) -> None:
    """Sign a proof about the bytes of each FILE, store it, and print its id.

    Only digest and size of the files are kept. A file that fails does not stop the others: exit code 9 means
    that some have a proof now and others do not; stderr says which. --json prints one document per line.
    """
    from credstore.proofs import IssueRequest

    if log.bundled and not log.writes:
        raise click.UsageError("--bundled proofs are entries of a log; give --log, with its key and origin")
    if len(files) > 1 and (manifest is not None or supersedes is not None):
        raise click.UsageError("--manifest and --supersedes are about one file; give one")
    said = read_claims(claims)
    if manifest is not None and not Path(manifest).is_file():
        raise click.UsageError(f"{manifest}: no such file")
    errors: list[StorageError] = []

    def request(file: str, progress: Progress) -> IssueRequest:
        return IssueRequest(
            asset=Path(file),
            media_type=media_type or _guess(file),
            expires_in=expires,
            claims=said,
            manifest=None if manifest is None else Path(manifest),
            manifest_type="application/c2pa" if manifest is None else _manifest_type(manifest),
            idempotency_key=idempotency_key,
            supersedes=supersedes,
            progress=progress,
        )

    async def action(store: ProofStore) -> None:
        with TransferBar(invocation, "1 file" if len(files) == 1 else f"{len(files):,} files") as bar:
            requests = _Whole(files, bar).requests(request)
            async with aclosing(store.issue_many(requests, at_once=16)) as outcomes:
                number = 0
                async for outcome in outcomes:
                    if outcome.proof is None:
                        errors.append(_failure(files[number], outcome.error))
                        report(errors[-1], invocation)
                    else:
                        _show(invocation, files, number, outcome.proof)
                    number += 1

    with_proofs(invocation, trust_file, action, key_file=key_file, issuer=issuer, log=log)
    if len(files) > 1 and errors and not (invocation.quiet or invocation.json):
        note(f"credstore: {len(errors):,} of {len(files):,} files have no proof")
    end_with(errors, len(files) - len(errors))


def _show(invocation: Invocation, files: Sequence[str], number: int, proof: Proof) -> None:
    if invocation.json:
        print_json({"file": files[number], **proof_document(proof)})
    elif len(files) == 1:
        say(proof.proof_id)
    else:
        say_row(proof.proof_id, files[number], elastic=1)


def _failure(file: str, error: StorageError | None) -> StorageError:
    """The error, about the file: the proof has no other name yet."""
    found = error if error is not None else StorageInvalidRequestError("it has no proof")
    found.key = file
    return found


class _Whole:
    """Progress of all files together, from that of each."""

    def __init__(self, files: Sequence[str], bar: TransferBar) -> None:
        self._files = files
        self._bar = bar
        self._done = 0
        self._total = 0
        for file in files:
            with suppress(OSError):
                self._total += os.stat(file).st_size  # noqa: PTH116 - as cheap as it gets, for many files

    def requests(self, request: Callable[[str, Progress], IssueRequest]) -> Iterator[IssueRequest]:
        for file in self._files:
            yield request(file, self._one())

    def _one(self) -> Progress:
        before = 0

        def progress(done: int, total: int | None) -> None:
            nonlocal before
            del total
            self._done += done - before
            before = done
            self._bar(self._done, max(self._total, self._done))

        return progress


def _guess(file: str) -> str | None:
    kind = guess_type(file, "")
    return None if kind == UNKNOWN_TYPE else kind


def _manifest_type(file: str) -> str:
    kind = guess_type(file, "")
    return "application/c2pa" if kind == UNKNOWN_TYPE else kind
