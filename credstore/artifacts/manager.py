"""`StorageManager`: datasets, models, checkpoints, backups and archives on any provider."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from credstore.arguments import typed_class
from credstore.artifacts.archiving import ArchiveReport, archive_files
from credstore.artifacts.checkpoints import Checkpoints
from credstore.artifacts.disk import DiskErrors
from credstore.artifacts.layout import Kind
from credstore.artifacts.models import Models
from credstore.artifacts.retention import Keep, checked_age, checked_keep
from credstore.artifacts.sources import Location, Source, name_of
from credstore.artifacts.statements import ArtifactVersion
from credstore.artifacts.versioning import PREFIX
from credstore.errors import StorageError, StorageInvalidRequestError
from credstore.model import Progress
from credstore.proofs.format.signing import Signer
from credstore.proofs.format.trust import TrustStore
from credstore.provider.provider import StorageProvider
from credstore.times import checked_instant


@typed_class
class StorageManager(Models, Checkpoints):
    """Versions of datasets, models and checkpoints, backups of folders, archives of logs.

    All of them are signed, deduplicated, and verified when read.

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
        model_signer: Signer | None = None,
    ) -> None:
        """Put artifacts on a provider.

        Args:
            provider: Where they are; it belongs to whoever opened it.
            trust: The keys whose versions count, for use "proof": the only trust anchor.
            signer: Signs versions and tags; without one, the manager only reads and prunes.
            issuer: URI of whoever signs; by default the one that the signer is trusted for.
            prefix: Leading part of all keys, ending with "/".
            clock: Returns the current time, with a time zone.
            model_signer: Signs models; a trusted key of the scheme "ecdsa-p256-sha256", as others' tools can
                verify it. By default the first such one of `signer`.

        Raises:
            StorageConfigurationError: The extra `artifacts` is not installed, or a signer is not trusted.
            StorageInvalidRequestError: A wrong argument.
        """
        signers = (signer,) if isinstance(signer, Signer) else tuple(signer)
        super().__init__(
            provider,
            trust=trust,
            signers=signers,
            issuer=issuer,
            prefix=prefix,
            clock=clock,
            model_signer=model_signer,
        )

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
        catalog = self._catalog("archive", chosen)
        self._seals.check_signs()
        with DiskErrors():
            return await archive_files(catalog, os.fspath(folder), self._seals.now() - age, progress)
