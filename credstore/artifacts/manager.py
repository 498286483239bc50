"""`StorageManager`: versions of datasets, backups and archives on any provider."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from credstore.arguments import typed_class
from credstore.artifacts.archiving import ArchiveReport, archive_files
from credstore.artifacts.catalog import Catalog
from credstore.artifacts.changes import Changes, changes
from credstore.artifacts.layout import Kind
from credstore.artifacts.leases import ABANDONED, prune_is_running, prune_runs
from credstore.artifacts.loading import load_into, verify_stored
from credstore.artifacts.names import checked_name
from credstore.artifacts.pruning import PruneReport, prune_versions
from credstore.artifacts.retention import Keep, checked_age, checked_keep
from credstore.artifacts.saving import Saving
from credstore.artifacts.sources import Location, Source, find_files, name_of
from credstore.artifacts.statements import ArtifactVersion, Seals, issuer_of
from credstore.concurrency import in_thread
from credstore.driver.refusals import check_writable
from credstore.errors import ErrorCode, StorageError, StorageInvalidRequestError
from credstore.extras import require_extra
from credstore.model import Progress
from credstore.proofs.format.signing import Signer
from credstore.proofs.format.trust import TrustStore
from credstore.provider.provider import StorageProvider
from credstore.times import checked_instant

PREFIX = "artifacts/"


@typed_class
class StorageManager:
    """Versions of datasets, backups of folders, archives of logs: signed, deduplicated, verified when read.

    A version is a folder of files as it was at one time. What a version has in common with the one before it
    is stored once; a version is there as a whole or not at all, whatever ends a save; and any number of
    processes may save, load and prune at the same time. The provider must be able to create objects
    conditionally, and to show a write to every later read and listing.

    All verbs raise `StorageError`s; `ProofError`s among them say that a signature is not in order. Memory is
    bounded by some 200 MB, and 300 bytes for each 64 KiB of a version. Symbolic links and special files are
    refused, and empty folders are not kept.
    """

    def __init__(
        self,
        provider: StorageProvider,
        *,
        trust: TrustStore,
        signer: Signer | Sequence[Signer] = (),
        issuer: str | None = None,
        prefix: str = PREFIX,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Put artifacts on a provider.

        Args:
            provider: Where they are; it belongs to whoever opened it.
            trust: The keys whose versions count, for use "proof": the only trust anchor.
            signer: Signs versions and tags; without one, the manager only reads and prunes.
            issuer: URI of whoever signs; by default the one that the signer is trusted for.
            prefix: Leading part of all keys, ending with "/".
            clock: Returns the current time, with a time zone.

        Raises:
            StorageConfigurationError: The extra `artifacts` is not installed, or the signer is not trusted.
            StorageInvalidRequestError: A wrong argument.
        """
        require_extra("artifacts", "datasets, backups and archives need")
        if not prefix.endswith("/"):
            raise StorageInvalidRequestError("`prefix` ends with '/'")
        signers = (signer,) if isinstance(signer, Signer) else tuple(signer)
        self._provider = provider
        self._prefix = prefix
        self._seals = Seals(trust, signers, issuer_of(signers, issuer, trust), clock)

    def _catalog(self, kind: Kind, name: str, *, writing: bool = False) -> Catalog:
        if writing:  # Before the first look at what is there.
            check_writable(self._provider.capabilities, self._provider.get_provider_name())
        return Catalog.of(self._provider, self._seals, self._prefix, kind, name)

    async def save_dataset(
        self, name: str, source: Source, *, progress: Progress | None = None
    ) -> ArtifactVersion:
        """Save the next version of a dataset.

        Chunks of the version before it, which FastCDC finds again after insertions too, are not stored again.

        Args:
            name: 1 to 100 letters, digits, ".", "_" and "-".
            source: A folder, several files (kept under their last names), or the name and path of each file.
            progress: Called with (bytes read, bytes in total).

        Returns:
            The version. If two save at once, both get a version.

        Raises:
            StorageConfigurationError: There is no signer.
            StorageNotFoundError: A file is not there.
            StorageInvalidRequestError: A file cannot be kept, or changed meanwhile (code "SOURCE_CHANGED").
            StorageConflictError: The save took longer than a prune's `abandoned_after`.
            StorageUnsupportedError: The provider cannot create objects conditionally.
            StorageError: Anything else, such as a file that cannot be read (code "IO_ERROR"). Unless
                `applied` is "maybe", there is no new version.

        Cost: 6 requests and 2 listings; one or several per 16 MiB of new chunks.
        """
        return await self._save("dataset", name, source, progress)

    async def _save(
        self, kind: Kind, name: str, source: Source, progress: Progress | None
    ) -> ArtifactVersion:
        catalog = self._catalog(kind, name, writing=True)
        self._seals.check_signs()
        with _DiskErrors():
            return await Saving(catalog, await in_thread(find_files, source), progress).run()

    async def load_dataset(
        self,
        name: str,
        version: int | str | None = None,
        *,
        into: Location,
        progress: Progress | None = None,
    ) -> ArtifactVersion:
        """Bring back a version of a dataset, every chunk and file verified.

        Args:
            name: The dataset's name.
            version: Its number or a tag; the latest by default.
            into: The folder to make. It appears when all of it is there and on the disk.
            progress: Called with (bytes written, bytes in total).

        Returns:
            The version that was loaded.

        Raises:
            StorageNotFoundError: There is no such version.
            ProofError: A signature is not in order.
            StorageIntegrityError: Something is missing, or not what was signed.
            StorageError: Anything else, such as a folder that is there already (code "IO_ERROR").

        Cost: 4 requests, and 2 for each run of chunks that are next to each other in a pack.
        """
        return await self._load("dataset", name, version, into, progress)

    async def _load(
        self,
        kind: Kind,
        name: str,
        version: int | str | None,
        into: Location,
        progress: Progress | None,
    ) -> ArtifactVersion:
        catalog = self._catalog(kind, name)
        found = await catalog.find(version)
        with _DiskErrors():
            await load_into(catalog, found, Path(into), progress)
        return found

    async def versions(self, name: str, *, kind: Kind = "dataset") -> list[ArtifactVersion]:
        """All versions of an artifact, ascending by number; none is not an error.

        Raises:
            ProofError: A signature is not in order.
            StorageError: Anything else.

        Cost: 1 listing, and 1 request for each version.
        """
        catalog = self._catalog(kind, name)
        return await catalog.versions(await catalog.numbers())

    async def verify(
        self,
        name: str,
        version: int | str | None = None,
        *,
        kind: Kind = "dataset",
        progress: Progress | None = None,
    ) -> ArtifactVersion:
        """Read every chunk of a version from the store and verify it, without writing anything here.

        Raises:
            StorageNotFoundError: There is no such version.
            ProofError: A signature is not in order.
            StorageIntegrityError: Something is missing, or not what was signed.
            StorageError: Anything else.

        Cost: as `load_dataset`.
        """
        catalog = self._catalog(kind, name)
        found = await catalog.find(version)
        await verify_stored(catalog, found, progress)
        return found

    async def diff(
        self, name: str, older: int | str, newer: int | str | None = None, *, kind: Kind = "dataset"
    ) -> Changes:
        """Which files two versions differ in.

        Args:
            name: The artifact's name.
            older: Number or tag.
            newer: Number or tag; the latest by default.
            kind: Of the artifact.

        Raises:
            StorageNotFoundError: There is no such version.
            ProofError: A signature is not in order.
            StorageError: Anything else.

        Cost: 2 or 3 requests for each of them.
        """
        catalog = self._catalog(kind, name)
        before, after = await catalog.find(older), await catalog.find(newer)
        return changes(await catalog.files(before), await catalog.files(after))

    async def tag(
        self, name: str, tag: str, version: int | None = None, *, kind: Kind = "dataset"
    ) -> ArtifactVersion:
        """Give a version a name, which also keeps it from being pruned; a tag may be moved.

        Args:
            name: The artifact's name.
            tag: 1 to 100 letters, digits, ".", "_" and "-".
            version: Its number; the latest by default.
            kind: Of the artifact.

        Raises:
            StorageNotFoundError: There is no such version.
            StorageConflictError: A prune is running, or has just removed the version.
            StorageError: Anything else.

        Cost: 6 requests.
        """
        catalog = self._catalog(kind, name, writing=True)
        key = catalog.layout.tags + checked_name("tag", tag)
        if await prune_is_running(catalog):
            raise prune_runs(catalog)
        found = await catalog.find(version)
        statement = await catalog.statement(found.version)
        sealed = await self._seals.seal_tag(tag, found, statement)
        await self._provider.store(key, sealed, content_type="application/json", compress=False)
        # A prune that began before the tag was there may not have seen it.
        if await prune_is_running(catalog):
            raise _maybe(prune_runs(catalog))
        await catalog.statement(found.version)
        return found

    async def tags(self, name: str, *, kind: Kind = "dataset") -> dict[str, int]:
        """The tags of an artifact, each with the number of its version.

        Raises:
            ProofError: A signature is not in order.
            StorageError: Anything else.
        """
        return await self._catalog(kind, name).tags()

    async def untag(self, name: str, tag: str, *, kind: Kind = "dataset") -> bool | None:
        """Remove a tag; whether it was there, None where the provider does not say.

        Raises:
            StorageError: It may still be there.
        """
        return await self._provider.delete(self._catalog(kind, name).layout.tags + checked_name("tag", tag))

    async def prune(
        self,
        name: str,
        keep: Keep,
        *,
        kind: Kind = "dataset",
        abandoned_after: timedelta = ABANDONED,
    ) -> PruneReport:
        """Remove versions that neither `keep` nor a tag keeps, and what only they needed.

        It may run at the same time as saves: while one runs, versions are removed, but their space is left to
        the next prune. Where the bucket keeps versions of objects, what is removed here is hidden, and its
        space is freed when those versions are. What a save that died has left behind goes too,
        `abandoned_after` it began.

        Args:
            name: The artifact's name.
            keep: How many of the last versions, or a rule such as "7d,4w,12m": the last version of each of
                the last 7 days, 4 weeks and 12 months that have one. The latest version always stays.
            kind: Of the artifact.
            abandoned_after: How long a save may take; one that takes longer fails instead of becoming a
                version, if a prune has met it.

        Raises:
            StorageConflictError: Another prune of this artifact is running.
            ProofError: A signature is not in order; nothing was removed that a version needs.
            StorageInvalidRequestError: The rule is invalid.
            StorageError: Anything else; the next prune continues.

        Cost: 5 requests, 3 listings, and 4 for each version.
        """
        checked_age(abandoned_after)
        return await prune_versions(self._catalog(kind, name, writing=True), keep, abandoned_after)

    async def backup(
        self,
        folder: Location,
        *,
        name: str | None = None,
        keep: Keep | None = None,
        progress: Progress | None = None,
    ) -> ArtifactVersion:
        """Save a folder as the next version of a backup, and prune the older ones.

        Args:
            folder: The folder.
            name: Of the backup; by default the folder's own name.
            keep: Which versions to keep afterwards; see `prune`. All by default.
            progress: Called with (bytes read, bytes in total).

        Raises:
            StorageError: As `save_dataset` and `prune`; "yes" in `applied` says that the backup was made, and
                only the older ones could not be pruned.
        """
        if keep is not None:
            checked_keep(keep)
        chosen = name_of(folder) if name is None else name
        version = await self._save("backup", chosen, os.fspath(folder), progress)
        if keep is not None:
            try:
                await self.prune(chosen, keep, kind="backup")
            except StorageError as error:
                error.applied = "yes"
                raise
        return version

    async def restore(
        self,
        name: str,
        into: Location,
        *,
        at: datetime | None = None,
        version: int | str | None = None,
        kind: Kind = "backup",
        progress: Progress | None = None,
    ) -> ArtifactVersion:
        """Bring back a backup or an archive, every chunk and file verified, with modes and times.

        Args:
            name: Of the backup.
            into: The folder to make. It appears when all of it is there and on the disk.
            at: The last version that was saved at or before this time; the latest by default.
            version: Its number or tag, instead of `at`.
            kind: "archive" for archived logs.
            progress: Called with (bytes written, bytes in total).

        Raises:
            StorageNotFoundError: There is no such version.
            StorageInvalidRequestError: Both `at` and `version`, or a time without its zone.
            StorageError: As `load_dataset`.
        """
        if at is not None:
            if version is not None:
                raise StorageInvalidRequestError("give `at` or `version`, not both")
            time = checked_instant("at", at)
            before = [each for each in await self.versions(name, kind=kind) if each.created <= time]
            if not before:
                raise self._catalog(kind, name).missing(f"version from {time.isoformat()} or before")
            version = max(before, key=lambda each: (each.created, each.version)).version
        return await self._load(kind, name, version, into, progress)

    async def archive_logs(
        self,
        folder: Location,
        *,
        older_than: str | timedelta,
        name: str | None = None,
        progress: Progress | None = None,
    ) -> ArchiveReport:
        """Move old files to the store: saved, read back and verified, and only then removed from the folder.

        Args:
            folder: The folder with the logs.
            older_than: "7d", "12h", "2w" or a `timedelta`, since a file was last changed.
            name: Of the archive; by default the folder's own name. `restore(name, into, kind="archive",
                version=...)` brings back what one call archived.
            progress: Called with (bytes read, bytes in total).

        Returns:
            What was archived. A file that changed meanwhile stays.

        Raises:
            StorageError: As `save_dataset` and `verify`; no file was removed, unless the code is "IO_ERROR".
        """
        age = checked_age(older_than)
        chosen = name_of(folder) if name is None else name
        catalog = self._catalog("archive", chosen, writing=True)
        self._seals.check_signs()
        with _DiskErrors():
            return await archive_files(catalog, os.fspath(folder), self._seals.now() - age, progress)


class _DiskErrors:
    """Says as a `StorageError` what the disk of this machine said."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, StorageError):
            raise StorageError(
                f"{error.filename or 'a file'}: {error.strerror or error}", code=ErrorCode.IO_ERROR
            ) from error


def _maybe(error: StorageError) -> StorageError:
    error.applied = "maybe"
    return error
