"""`StorageManager`: datasets, models, checkpoints, backups and archives on any provider."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from credstore.arguments import typed_class, typed_verbs
from credstore.artifacts.archiving import ArchiveReport, archive_files
from credstore.artifacts.checkpoints import Checkpoints
from credstore.artifacts.classes import LEAST_COOL, Classes, ClassOptions, Explanation, FileClass
from credstore.artifacts.disk import DiskErrors
from credstore.artifacts.layout import Kind
from credstore.artifacts.models import Models
from credstore.artifacts.retention import Keep, checked_age, checked_keep
from credstore.artifacts.sources import Location, Source, name_of, size_of
from credstore.artifacts.statements import ArtifactVersion
from credstore.artifacts.syncing import SyncReport, has_changed, states_of, sync_folder
from credstore.artifacts.versioning import PREFIX
from credstore.concurrency import in_thread
from credstore.errors import StorageError, StorageInvalidRequestError
from credstore.model import Progress, StorageResult, StoreOptions
from credstore.proofs.format.signing import Signer
from credstore.proofs.format.trust import TrustStore
from credstore.provider.provider import StorageProvider
from credstore.times import checked_instant


@typed_class
@typed_verbs
class StorageManager(Models, Checkpoints):
    """Versions of datasets, models and checkpoints, backups of folders, archives of logs.

    All of them are signed, deduplicated, and verified when read.

    A version is a folder of files as it was at one time. What a version has in common with the one before it
    is stored once; a version is there as a whole or not at all, whatever ends a save; and any number of
    processes may save, load and prune at the same time. The provider must be able to create objects
    conditionally, and to show a write to every later read and listing.

    All verbs raise `StorageError`s; `ProofError`s among them say that a signature is not in order. What the
    trust store refuses is not saved. A version that it refuses later, such as after its key was stolen, is
    never left out silently: whatever needs it says so, others are loaded by their numbers, the next one can
    be saved, and `remove_version`, `untag` and `remove_stages` remove what is in the way.

    Memory is bounded by some 200 MB, and 300 bytes for each 64 KiB of a version. Backups keep symbolic links,
    as links, and empty folders; elsewhere links are refused, and empty folders are not kept. Special files
    are refused.
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
        class_rules: Mapping[str, FileClass] | None = None,
        class_options: Mapping[FileClass, ClassOptions] | None = None,
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
            class_rules: Globs over the paths of files, such as "*/weights.bin", and the classes of what they
                match, before the usual rules.
            class_options: How files of a class are stored, instead of the usual options.

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
            classes=Classes(class_rules or {}, class_options or {}),
        )

    def explain(self, path: str) -> Explanation:
        """What class a file has, which rule decided, how it is stored, and why; nothing is read.

        Args:
            path: Of a file, as it would be kept or stored.
        """
        return self._classes.explain(path, self._provider.capabilities.storage_classes)

    async def put(
        self, path: Location, key: str | None = None, *, progress: Progress | None = None
    ) -> StorageResult:
        """Store one file as an object of its own, as `explain` says for its key.

        Args:
            path: The file.
            key: Its key; by default the file's name.
            progress: Called with (bytes sent, total).

        Raises:
            StorageNotFoundError: The file does not exist.
            StorageUnsupportedError: The class has a retention, which this store cannot keep.
            StorageError: As `StorageProvider.store`.

        Cost: as `StorageProvider.store`.
        """
        source = Path(path)
        chosen = source.name if key is None else key
        how = self.explain(chosen)
        options: StoreOptions = {
            "content_type": how.content_type,
            "compress": how.compress,
            "progress": progress,
        }
        with DiskErrors():
            size = await in_thread(size_of, source)
        if how.storage_class is not None and size >= LEAST_COOL:
            options["storage_class"] = how.storage_class
        if how.retain_for is not None:
            options["retain_until"] = self._seals.now() + how.retain_for
        with DiskErrors():
            return await self._provider.store(chosen, source, **options)

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
            ProofError: The trust store refuses what the signer signs now; nothing is saved.
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
            StorageNotFoundError: The version does not exist.
            ProofError: A signature is not in order.
            StorageIntegrityError: Something is missing, or not what was signed.
            StorageError: Anything else, such as a folder that is there already (code "IO_ERROR").

        Cost: 4 requests, and 2 for each run of chunks that are next to each other in a pack.
        """
        return await self._load("dataset", name, version, into, progress)

    def synced(
        self,
        name: str,
        version: int | str | None = None,
        *,
        folder: Location,
        discard: bool = False,
        save: bool = False,
        progress: Progress | None = None,
    ) -> AbstractAsyncContextManager[Path]:
        """A folder that is exactly a version of a dataset, such as for a training, as a context manager.

        It is brought there as by `sync_dataset`. What the body changes stays in the folder.

        Args:
            name: The dataset's name.
            version: Its number or a tag; the latest by default.
            folder: The folder.
            discard: As for `sync_dataset`.
            save: Whether to save a new version at the end, if the body has changed anything. A body that
                raises saves nothing.
            progress: Called with (bytes written, bytes in total).

        Yields:
            The folder.

        Raises:
            StorageError: As `sync_dataset`, and at the end as `save_dataset`.
        """
        return self._synced(name, version, Path(folder), discard=discard, save=save, progress=progress)

    @asynccontextmanager
    async def _synced(
        self,
        name: str,
        version: int | str | None,
        folder: Path,
        *,
        discard: bool,
        save: bool,
        progress: Progress | None,
    ) -> AsyncGenerator[Path]:
        if save:
            self._catalog("dataset", name, writing=True)
            self._seals.check_signs()
        report = await self.sync_dataset(name, version, folder=folder, discard=discard, progress=progress)
        catalog = self._catalog("dataset", name)
        with DiskErrors():
            since = await states_of(folder, catalog.provider) if save else {}
        yield folder
        if save:
            with DiskErrors():
                if await has_changed(catalog, report.version, folder, since):
                    await self._save("dataset", name, folder, progress)

    async def sync_dataset(
        self,
        name: str,
        version: int | str | None = None,
        *,
        folder: Location,
        discard: bool = False,
        progress: Progress | None = None,
    ) -> SyncReport:
        """Make a folder exactly a version of a dataset, with as little as possible.

        A file of the same size and time as in the version is taken to be the same, as rsync does; one that
        differs only in its time is read, and so is one that is to be replaced or removed. What differs is
        fetched and verified before anything in the folder changes, then each file is replaced whole. Empty
        folders are left alone, unless a file of that name is wanted.

        Args:
            name: The dataset's name.
            version: Its number or a tag; the latest by default.
            folder: The folder; made if it is missing.
            discard: Whether files may be overwritten or removed that are in no version as they are here.
            progress: Called with (bytes written, bytes in total).

        Returns:
            What was changed.

        Raises:
            StorageConflictError: Something would be lost, or changed while the version was fetched, and
                `discard` is False. It stays; nothing else has been changed either, unless `applied` says so.
            StorageNotFoundError: The version does not exist.
            ProofError: A signature is not in order.
            StorageIntegrityError: Something is missing in the store, or not what was signed.
            StorageError: Anything else; a later call continues.

        Cost: 3 or 4 requests where nothing changed; for what did, as `load_dataset`, and up to 2 for each
            version to find out whether anything would be lost.
        """
        catalog = self._catalog("dataset", name)
        found = await catalog.find(version)
        with DiskErrors():
            return await sync_folder(catalog, found, Path(folder), progress, discard=discard)

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
        permissions: bool = True,
        progress: Progress | None = None,
    ) -> ArtifactVersion:
        """Bring back a backup or an archive, every chunk and file verified, with its times.

        Symbolic links come back as links, last of all, so that nothing is written through one; they lead
        where they led, also out of the folder. Empty folders come back too.

        Args:
            name: Of the backup.
            into: The folder to make. It appears when all of it is there and on the disk.
            at: The last version that was saved at or before this time; the latest by default.
            version: Its number or tag, instead of `at`.
            kind: "archive" for archived logs.
            permissions: Whether files get the permission bits that they had, or those of new files.
            progress: Called with (bytes written, bytes in total).

        Raises:
            StorageNotFoundError: The version does not exist.
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
        return await self._load(kind, name, version, into, progress, permissions=permissions)

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
        try:
            before = self._seals.now() - checked_age(older_than)
        except OverflowError:
            raise StorageInvalidRequestError("`older_than` leads back before the year 1") from None
        chosen = name_of(folder) if name is None else name
        catalog = self._catalog("archive", chosen, writing=True)
        self._seals.check_signs()
        with DiskErrors():
            return await archive_files(catalog, os.fspath(folder), before, progress)
