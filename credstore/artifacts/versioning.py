"""The verbs that every kind of artifact has: its versions, their tags, what differs, what is pruned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from credstore.arguments import typed_verbs
from credstore.artifacts.catalog import Catalog
from credstore.artifacts.changes import Changes, changes
from credstore.artifacts.classes import Classes
from credstore.artifacts.disk import DiskErrors
from credstore.artifacts.layout import Kind
from credstore.artifacts.leases import ABANDONED, between_prunes, check_pinned
from credstore.artifacts.loading import load_into, verify_stored
from credstore.artifacts.names import checked_name
from credstore.artifacts.pruning import PruneReport, prune_versions, remove_version
from credstore.artifacts.retention import Keep, checked_age, checked_keep, kept
from credstore.artifacts.saving import Saving
from credstore.artifacts.signed import check_signature
from credstore.artifacts.signing.keys import ModelKey
from credstore.artifacts.sources import Location, Source, find_files
from credstore.artifacts.statements import ArtifactVersion, Seals, issuer_of
from credstore.concurrency import in_thread
from credstore.driver.refusals import check_writable
from credstore.errors import StorageInvalidRequestError
from credstore.extras import require_extra
from credstore.model import CommonPrefix, Progress
from credstore.proofs.format.signing import Signer
from credstore.proofs.format.trust import TrustStore
from credstore.provider.homes import check_outside
from credstore.provider.provider import StorageProvider
from credstore.provider.stored_form import session_of

PREFIX = "artifacts/"
MODEL_SCHEME = "ecdsa-p256-sha256"


@typed_verbs
class Versions:
    """What is saved, verified, compared, tagged and pruned as versions, whatever kind of artifact it is.

    `StorageManager` is made of this and of what each kind has besides.
    """

    def __init__(
        self,
        provider: StorageProvider,
        *,
        trust: TrustStore,
        signers: tuple[Signer, ...],
        issuer: str | None,
        prefix: str,
        clock: Callable[[], datetime],
        model_signer: Signer | None,
        classes: Classes,
    ) -> None:
        """Put artifacts on a provider; see `StorageManager`."""
        require_extra("artifacts", "datasets, models, backups and archives need")
        if not prefix.endswith("/"):
            raise StorageInvalidRequestError("`prefix` ends with '/'")
        self._provider = provider
        self._prefix = prefix
        self._classes = classes
        self._seals = Seals(trust, signers, issuer_of(signers, issuer, trust), clock)
        usual = (each for each in signers if each.public_key.scheme == MODEL_SCHEME)
        self._model_signer = next(usual, None) if model_signer is None else model_signer
        if model_signer is not None:
            ModelKey.of(model_signer.public_key)
            issuer_of((model_signer,), self._seals.issuer, trust)

    def _catalog(self, kind: Kind, name: str, *, writing: bool = False) -> Catalog:
        if writing:  # Before the first look at what is there.
            check_writable(self._provider.capabilities, self._provider.get_provider_name())
        return Catalog.of(self._provider, self._seals, self._prefix, kind, name, classes=self._classes)

    async def _save(
        self, kind: Kind, name: str, source: Source, progress: Progress | None
    ) -> ArtifactVersion:
        catalog = self._catalog(kind, name, writing=True)
        self._seals.check_signs()
        with DiskErrors():
            files = await in_thread(find_files, source, self._provider, everything=kind == "backup")
            return await Saving(catalog, files, progress).run()

    async def _load(
        self,
        kind: Kind,
        name: str,
        version: int | str | None,
        into: Location,
        progress: Progress | None,
        *,
        permissions: bool = True,
    ) -> ArtifactVersion:
        catalog = self._catalog(kind, name)
        await in_thread(check_outside, session_of(self._provider).homes, [into])
        found = await catalog.find(version)
        await check_signature(catalog, found)
        with DiskErrors():
            await load_into(catalog, found, Path(into), progress, permissions=permissions)
        return found

    async def names(self, *, kind: Kind = "dataset") -> list[str]:
        """Names of all artifacts of a kind, ascending.

        Raises:
            StorageError: The store cannot be listed.

        Cost: 1 listing.
        """
        prefix = f"{self._prefix}{kind}/"
        found = [each async for each in self._provider.scan(prefix, delimiter="/")]
        return sorted(
            each.prefix.removeprefix(prefix).removesuffix("/")
            for each in found
            if isinstance(each, CommonPrefix)
        )

    async def versions(self, name: str, *, kind: Kind = "dataset") -> list[ArtifactVersion]:
        """All versions of an artifact, ascending by number; none is not an error.

        Raises:
            ProofError: A signature is not in order. The message has the numbers of all such versions: none is
                left out silently, since it may be the one that counts. Others are loaded by number,
                and `remove_version` removes those.
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
            StorageNotFoundError: The version does not exist.
            ProofError: A signature is not in order.
            StorageIntegrityError: Something is missing, or not what was signed.
            StorageError: Anything else.

        Cost: as `load_dataset`.
        """
        catalog = self._catalog(kind, name)
        found = await catalog.find(version)
        await check_signature(catalog, found)
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
            StorageNotFoundError: The version does not exist.
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
            StorageNotFoundError: The version does not exist, or a prune has just removed it.
            StorageConflictError: A prune is running; one that was killed counts as dead after 7 days, or a
                `prune` with a shorter `abandoned_after` ends it before.
            ProofError: A signature is not in order, or the trust store refuses what the signer signs now.
            StorageError: Anything else. Unless `applied` is "maybe", the tag is not set.

        Cost: 6 requests.
        """
        catalog = self._catalog(kind, name, writing=True)
        self._seals.check_signs()
        key = catalog.layout.tags + checked_name("tag", tag)
        async with between_prunes(catalog):
            found = await catalog.find(version)
            statement = await catalog.statement(found.version)
            sealed = await self._seals.seal_tag(tag, found, statement)
            await self._provider.store(key, sealed, content_type="application/json", compress=False)
        await check_pinned(catalog, found.version)
        return found

    async def tags(self, name: str, *, kind: Kind = "dataset") -> dict[str, int]:
        """The tags of an artifact, each with the number of its version.

        Raises:
            ProofError: The signature of a tag is not in order; the message names it, and `untag` removes it.
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
            StorageConflictError: Another prune of this artifact is running. One that was killed counts as
                dead when `abandoned_after` has passed since it began; the message says when that is.
            ProofError: A signature is not in order; nothing was removed that a version needs. What it was is
                in the message: `remove_version`, `untag` or `remove_stages` removes it.
            StorageInvalidRequestError: The rule is invalid.
            StorageError: Anything else; the next prune continues.

        Cost: 5 requests, 3 listings, and 4 for each version.
        """
        checked_age(abandoned_after)
        checked_keep(keep)

        def choose(versions: Sequence[ArtifactVersion]) -> frozenset[int]:
            return kept([(each.version, each.created) for each in versions], keep)

        return await prune_versions(self._catalog(kind, name, writing=True), choose, abandoned_after)

    async def remove_version(
        self, name: str, version: int, *, kind: Kind = "dataset", abandoned_after: timedelta = ABANDONED
    ) -> None:
        """Remove one version, also one whose signature is not in order, such as after its key was stolen.

        The last version stays, as no number is given twice: save the next one first, which needs none of
        those before it. What only the version needed goes with the next `prune`.

        Args:
            name: The artifact's name.
            version: Its number.
            kind: Of the artifact.
            abandoned_after: As for `prune`.

        Raises:
            StorageNotFoundError: The version does not exist.
            StorageInvalidRequestError: It is the last version, or has a tag or is in a stage.
            StorageConflictError: A prune is running.
            StorageError: Anything else.

        Cost: 4 requests, 2 listings, and 1 request for each tag and change of stage.
        """
        checked_age(abandoned_after)
        await remove_version(self._catalog(kind, name, writing=True), version, abandoned_after)
