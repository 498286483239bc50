"""The public functions."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Unpack

from credstore.arguments import typed
from credstore.concurrency import in_thread
from credstore.driver.refusals import check_writable
from credstore.errors import StorageInvalidRequestError
from credstore.proofs.format.errors import ProofFormatError
from credstore.proofs.format.fields import read_uri
from credstore.proofs.format.signing import Signer
from credstore.proofs.format.trust import TrustStore
from credstore.transfer.evidence import Evidence, VerifiedTransfer, verify
from credstore.transfer.moving import Hands
from credstore.transfer.places import check_apart, side_of
from credstore.transfer.planning import Goal
from credstore.transfer.run import Run
from credstore.transfer.sides import Flow, Side, pair_name
from credstore.transfer.store import Store
from credstore.transfer.values import (
    Place,
    TransferOptions,
    TransferReport,
)


@typed
def journal_name(source: Place, destination: Place) -> str:
    """A file name for the journal of two places, the same for the same ones: 32 hex digits and an ending.

    Raises:
        StorageInvalidRequestError: One of them is not a place.
    """
    return f"{pair_name(side_of(source), side_of(destination))}.sqlite"


@typed
async def copy_tree(source: Place, destination: Place, **options: Unpack[TransferOptions]) -> TransferReport:
    """Copy what the destination lacks or has otherwise; nothing is deleted.

    Args:
        source: A provider, `Under(provider, "prefix/")`, or the path of a folder.
        destination: Also one of these; a folder is made if it is missing.
        options: See `TransferOptions`.

    Returns:
        What was done; failures of single objects are in it, and `complete` says whether there are none.

    Raises:
        StorageInvalidRequestError: An option is wrong, there is no such folder, or one place is inside the
            other; nothing was changed.
        StorageConflictError: Another transfer uses the same journal.
        StorageError: One end cannot be listed, or something that every further object would meet: wrong
            credentials, no such bucket, a full disk.

    Cost: listing both ends; for each copied object 1 read at the source (2 above `spool_size`, 1 more where
        it has tags), 1 write, and 1 read at the destination where the write's response does not prove what is
        kept (`StorageResult.proved`). Inside one store 1 look, 1 copy and, unless its response proves it, 1
        look or read. Without a journal, 2 more for each object whose size or time differs.
    """
    return await _run(source, destination, Goal(), options)


@typed
async def sync(
    source: Place, destination: Place, *, delete: bool = False, **options: Unpack[TransferOptions]
) -> TransferReport:
    """Make the destination what the source is; with `delete`, also by deleting what the source lacks.

    Deletions come last, and not at all if anything could not be read or copied. An empty source deletes
    nothing unless `max_delete` permits it.

    Args:
        source: As for `copy_tree`.
        destination: As for `copy_tree`.
        delete: Delete at the destination, of what the filter lets through, what the source lacks.
        options: See `TransferOptions`.

    Returns:
        As `copy_tree`.

    Raises:
        StorageInvalidRequestError: More would be deleted than `max_delete`; nothing was changed.
        StorageError: As `copy_tree`.
    """
    return await _run(source, destination, Goal(delete=delete), options)


@typed
async def migrate(
    source: Place,
    destination: Place,
    *,
    delete_source: bool = False,
    evidence: str | PathLike[str] | None = None,
    signer: Signer | None = None,
    issuer: str | None = None,
    **options: Unpack[TransferOptions],
) -> TransferReport:
    """Copy everything, then look at the source once more and name what changed meanwhile.

    Args:
        source: As for `copy_tree`.
        destination: As for `copy_tree`.
        delete_source: Delete each object at the source once its copy was read back, and only the version that
            was copied.
        evidence: Path of a list to write at the end, with a signed statement next to it; see
            `verify_transfer`. Every object is then compared by content.
        signer: Signs the statement.
        issuer: URI of whoever says so, as in the readers' trust store.
        options: See `TransferOptions`.

    Returns:
        As `copy_tree`; `complete` is False where something changed meanwhile, and the same call continues.

    Raises:
        StorageError: As `copy_tree`.

    Source: promises P32, P33.
    """
    goal = migration(delete_source=delete_source, evidence=evidence, signer=signer, issuer=issuer)
    return await _run(source, destination, goal, options)


def migration(
    *, delete_source: bool, evidence: str | PathLike[str] | None, signer: Signer | None, issuer: str | None
) -> Goal:
    """The goal of a migration; the arguments are those of `migrate`.

    Raises:
        StorageInvalidRequestError: Evidence without a signer or issuer, or with one that is not a URI.
    """
    proved: Evidence | None = None
    if evidence is not None:
        if signer is None or issuer is None:
            raise StorageInvalidRequestError("evidence needs a signer and an issuer")
        try:
            read_uri(issuer, "the issuer")
        except ProofFormatError as error:
            raise StorageInvalidRequestError(
                f"evidence with this issuer would be worthless: {error}"
            ) from None
        proved = Evidence(Path(evidence), (signer,), issuer)
    return Goal(drop=delete_source, always_again=True, evidence=proved)


@typed
async def verify_transfer(
    evidence: str | PathLike[str],
    trust: TrustStore,
    *,
    source: Place | None = None,
    destination: Place | None = None,
) -> VerifiedTransfer:
    """Check the evidence of a migration: offline, or also against what is at the ends now.

    Args:
        evidence: Path of the list; the statement is next to it.
        trust: Whose statements count.
        source: Compare every object there with the list.
        destination: Compare every object there with the list.

    Returns:
        What was signed; `problems` has what the ends have otherwise.

    Raises:
        ProofUntrustedKeyError: The key that signed may not sign for this issuer.
        ProofSignatureError: The statement was changed.
        ProofAssetMismatchError: The list was changed.
        ProofError: It is not such a statement, or the key was not valid then.
        StorageInvalidRequestError: A file cannot be read.
        StorageError: An end cannot be looked at.

    Cost: offline, none; else one read of every object.
    """
    ends = [None if each is None else side_of(each) for each in (source, destination)]
    return await verify(Path(evidence), trust, source=ends[0], destination=ends[1])


@typed
async def compare(source: Place, destination: Place, **options: Unpack[TransferOptions]) -> TransferReport:
    """Find out what is the same, differs, is missing or is extra at the destination; nothing is changed.

    Args:
        source: As for `copy_tree`.
        destination: As for `copy_tree`.
        options: See `TransferOptions`; with `checksum`, by content.

    Returns:
        `equal` says whether both places have the same; `compared_by` how that was found out.

    Raises:
        StorageError: As `copy_tree`.
    """
    return await _run(source, destination, Goal(compare=True), options)


async def _run(source: Place, destination: Place, goal: Goal, options: TransferOptions) -> TransferReport:
    empty = options.get("empty_folders", False)
    one = side_of(source, links=options.get("links", "skip"), empty_folders=empty)
    return await between(one, side_of(destination, empty_folders=empty), goal, options)


async def between(
    one: Side,
    two: Side,
    goal: Goal,
    options: TransferOptions,
    hands: Callable[[Flow], Hands] | None = None,
) -> TransferReport:
    """Run one transfer between two ends; see `Run`.

    Raises:
        StorageInvalidRequestError: They are not apart, or an option is wrong.
        StorageError: As `copy_tree`.
    """
    if not goal.compare:  # Nothing is written, and whether a member lacks anything is worth asking.
        await in_thread(check_apart, one, two)
    for side, changes in ((two, not goal.compare), (one, goal.drop)):
        if changes and isinstance(side, Store):
            check_writable(side.provider.capabilities, side.provider.get_provider_name())
    if one.only is not None:  # Nothing else there has to do with it, so nothing else is listed.
        two.only = (one.only[1], one.only[1])
    if isinstance(two, Store):
        two.store_options = options.get("store_options", {})
    return await Run(one, two, goal, options, hands=hands).report()
