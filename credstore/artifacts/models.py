"""The model registry: versions of models with their metrics, stages, lineage and signatures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import SupportsFloat

from credstore.arguments import typed_verbs
from credstore.artifacts.catalog import REFUSED, Catalog, refused, stages_now
from credstore.artifacts.disk import DiskErrors
from credstore.artifacts.index import FileEntry
from credstore.artifacts.leases import between_prunes, check_pinned
from credstore.artifacts.metrics import checked_metrics, read_metrics
from credstore.artifacts.names import checked_name
from credstore.artifacts.saving import Addition, Saving
from credstore.artifacts.signed import check_bundle, signature_by
from credstore.artifacts.signing.bundle import SIGNATURE
from credstore.artifacts.sources import Location, find_files
from credstore.artifacts.statements import ArtifactVersion, StageChange
from credstore.artifacts.versioning import Versions
from credstore.concurrency import in_thread
from credstore.errors import (
    ErrorCode,
    StorageAlreadyExistsError,
    StorageConfigurationError,
    StorageConflictError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidRequestError,
)
from credstore.model import Progress
from credstore.proofs.format.canonical import Json
from credstore.proofs.format.fields import read_hex, read_object, read_size, read_text
from credstore.proofs.format.signing import Signer

_TRIES = 100
_LONGEST_NUMBER = 10


@dataclass(frozen=True, slots=True)
class Trained:
    """The dataset that a model was trained with.

    Attributes:
        name: Of the dataset.
        version: Its number.
        digest: SHA-256 of its index, which says what every file of it is: 32 bytes.
    """

    name: str
    version: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Model:
    """A version of a model.

    Attributes:
        name: Of the model.
        version: 1 or more.
        created: When it was registered, UTC, by the clock of whoever did.
        stage: Such as "production", or None.
        metrics: What was measured of it, by name.
        dataset: What it was trained with, or None.
        artifact: The version as every artifact has it: sizes, digest, issuer.
    """

    name: str
    version: int
    created: datetime
    stage: str | None
    metrics: Mapping[str, float] = field(hash=False)
    dataset: Trained | None
    artifact: ArtifactVersion


@typed_verbs
class Models(Versions):
    """What a `StorageManager` does with models."""

    async def register_model(
        self,
        name: str,
        path: Location,
        *,
        metrics: Mapping[str, SupportsFloat] | None = None,
        stage: str | None = None,
        dataset: str | ArtifactVersion | None = None,
        progress: Progress | None = None,
    ) -> Model:
        """Save the next version of a model, signed as OpenSSF Model Signing does.

        The signature is in the version as `model.sig`; `model-signing verify key` accepts the loaded folder.
        It covers all files but itself and git's own (`.git`, `.github`, `.gitattributes`, `.gitignore`), as
        that tool leaves them out too; the version's own signature covers those. A `model.sig` that is in the
        folder already is not kept: verify that of another publisher with `verify_model` first.

        Args:
            name: 1 to 100 letters, digits, ".", "_" and "-".
            path: The folder with the model, or its only file.
            metrics: What was measured of it: up to 200 finite numbers by their names of up to 100 characters.
                Whole numbers from 2^53 to 10^21 are refused, since JSON does not have all of them.
            stage: The stage it comes into; see `set_stage`.
            dataset: What it was trained with: a version, or "name" (the latest version), "name@3" or
                "name@tag".
            progress: Called with (bytes read, bytes in total).

        Returns:
            The version.

        Raises:
            StorageConfigurationError: There is no signer, or none whose key signs models.
            ProofError: The trust store refuses what these keys sign now; nothing is saved.
            StorageNotFoundError: A file, or the dataset's version, is not there.
            StorageInvalidRequestError: A metric is not a finite number, or as `save_dataset`.
            StorageError: As `save_dataset` and `set_stage`; "yes" in `applied` says that the model was
                registered, and only its stage could not be set.

        Cost: as `save_dataset`; with a dataset 2 requests, with a stage those of `set_stage`.
        """
        if stage is not None:
            checked_name("stage", stage)
        signer = self._signs_models()
        catalog = self._catalog("model", name, writing=True)
        details: dict[str, Json] = {"metrics": checked_metrics(metrics)}
        if dataset is not None:
            used = await self._dataset(dataset)
            details["dataset"] = {"name": used.name, "version": used.version, "sha256": used.digest.hex()}
        source = Path(path)
        with DiskErrors():
            single = await in_thread(source.is_file)
            found = await in_thread(find_files, [source] if single else source, catalog.provider)
            files = [file for file in found if file.name != SIGNATURE]
            more = Addition(details, signature_by(signer, name), self._read)
            version = await Saving(catalog, files, progress, more).run()
        if stage is not None:
            try:
                await self.set_stage(name, stage, version.version)
            except StorageError as error:
                error.applied = "yes"
                raise
        return _model(version, stage)

    def _read(self, version: ArtifactVersion, files: Sequence[FileEntry], signature: bytes) -> Model:
        """What readers do with a version, before it is one."""
        check_bundle(signature, files, version, trust=self._seals.trust)
        return _model(version, None)

    def _signs_models(self) -> Signer:
        self._seals.check_signs()
        if self._model_signer is None:
            raise StorageConfigurationError(
                "models are signed by a key of the scheme ecdsa-p256-sha256, as other tools verify it; "
                "give one as `model_signer`, and add it to the trust store"
            )
        self._seals.check_keys([self._model_signer])
        return self._model_signer

    async def _dataset(self, wanted: str | ArtifactVersion) -> ArtifactVersion:
        if isinstance(wanted, ArtifactVersion):
            found = await self._catalog("dataset", wanted.name).version(wanted.version)
            if wanted.kind != "dataset" or found.digest != wanted.digest:
                raise StorageInvalidRequestError(f"{wanted.name!r} is not a version of a dataset in here")
            return found
        name, at, version = wanted.partition("@")
        if at and not version:
            raise StorageInvalidRequestError(f"{wanted[:120]!r} has no version behind its '@'")
        counts = version.isascii() and version.isdigit() and len(version) <= _LONGEST_NUMBER
        number = int(version) if counts else version or None
        return await self._catalog("dataset", name).find(number)

    async def get_model(
        self,
        name: str,
        version: int | str | None = None,
        *,
        stage: str | None = None,
        into: Location | None = None,
        progress: Progress | None = None,
    ) -> Model:
        """What is known of a version of a model, and its files.

        Args:
            name: Of the model.
            version: Its number or a tag; the latest by default.
            stage: Instead of that: the version that came last into this stage, of those in it.
            into: The folder to make, with the model and its `model.sig`, all of it verified. None brings
                no files.
            progress: Called with (bytes written, bytes in total).

        Raises:
            StorageNotFoundError: The version does not exist, or the stage has none.
            ProofError: A signature is not in order.
            StorageIntegrityError: Something is missing, or not what was signed.
            StorageInvalidRequestError: Both `version` and `stage`.
            StorageError: As `load_dataset`.

        Cost: 2 requests, 1 listing, and 1 for each change of stage; with `into` as `load_dataset`, and 3.
        """
        if version is not None and stage is not None:
            raise StorageInvalidRequestError("give `version` or `stage`, not both")
        catalog = self._catalog("model", name)
        now = stages_now(await self.stages(name))
        if stage is not None:
            version = _last_in(catalog, now, checked_name("stage", stage))
        if into is None:
            found = await catalog.find(version)
        else:
            found = await self._load("model", name, version, into, progress)
        return _staged(found, now)

    async def models(self, name: str) -> list[Model]:
        """All versions of a model, ascending by number; `names(kind="model")` has all models.

        Raises:
            ProofError: A signature is not in order.
            StorageError: Anything else.

        Cost: 2 listings, and 1 request for each version and change of stage.
        """
        catalog = self._catalog("model", name)
        now = stages_now(change for change, _ in await catalog.stages())
        return [_staged(each, now) for each in await catalog.versions(await catalog.numbers())]

    async def set_stage(self, name: str, stage: str | None, version: int | str | None = None) -> StageChange:
        """Bring a version of a model into a stage, and keep that in its history.

        A version is in one stage at most; several versions may be in the same. What is in a stage is not
        pruned.

        Args:
            name: Of the model.
            stage: Such as "staging", "production" or "archived": 1 to 100 letters, digits, ".", "_" and
                "-". None takes the version out of the stage that it is in.
            version: Its number or a tag; the latest by default.

        Raises:
            StorageNotFoundError: The version does not exist.
            StorageConflictError: A prune is running; one that was killed counts as dead after 7 days, or a
                `prune` with a shorter `abandoned_after` ends it before.
            ProofError: A signature is not in order, or the trust store refuses what the signer signs now.
            StorageError: Anything else. Unless `applied` is "maybe", the stage is not set.

        Cost: 7 requests, 1 listing, and 1 request for each earlier change.
        """
        if stage is not None:
            checked_name("stage", stage)
        catalog = self._catalog("model", name, writing=True)
        self._seals.check_signs()
        async with between_prunes(catalog):
            found = await catalog.find(version)
            statement = await catalog.statement(found.version)
            change = await self._append(catalog, stage, found, statement)
        await check_pinned(catalog, found.version)
        return change

    async def _append(
        self, catalog: Catalog, stage: str | None, version: ArtifactVersion, statement: bytes
    ) -> StageChange:
        for _ in range(_TRIES):
            earlier = await catalog.stages()
            number = len(earlier) + 1
            previous = earlier[-1][1] if earlier else None
            sealed, change = await self._seals.seal_stage(number, stage, version, statement, previous)
            try:
                await self._provider.store(
                    catalog.layout.stage(number),
                    sealed,
                    content_type="application/json",
                    compress=False,
                    if_absent=True,
                )
            except StorageAlreadyExistsError:
                continue  # Another change was faster; this one follows it.
            return change
        raise StorageConflictError(
            f"the stages of the model {catalog.name!r} change faster than this change could be added",
            retryable=True,
        )

    async def stages(self, name: str) -> list[StageChange]:
        """The history of a model's stages: every change, in its order.

        Raises:
            ProofError: A signature is not in order.
            StorageIntegrityError: A change that has a later one is missing.
            StorageError: Anything else.

        Cost: 1 listing, and 1 request for each change.
        """
        return [change for change, _ in await self._catalog("model", name).stages()]

    async def remove_stages(self, name: str) -> int:
        """Remove the whole history of a model's stages, also where its signatures are not in order.

        No version is in a stage afterwards, and `prune` may remove those that were. This is for a history
        that the trust store refuses, such as after its key was stolen; otherwise use `set_stage` with None.

        Returns:
            How many changes there were.

        Raises:
            StorageConflictError: A prune is running.
            StorageError: Anything else; a part may be left, which another call removes.

        Cost: 1 listing, 2 requests, and 1 for each change.
        """
        catalog = self._catalog("model", name, writing=True)
        async with between_prunes(catalog):
            numbers = await catalog.stage_numbers()
            for number in reversed(numbers):  # What is left if this fails has no gap.
                await self._provider.delete(catalog.layout.stage(number))
        return len(numbers)

    async def lineage(self, model: Model) -> ArtifactVersion | None:
        """The dataset version that a model was trained with, verified; None if none was named.

        Raises:
            StorageNotFoundError: It was pruned; tag what is to stay.
            ProofError: Its signature is not in order.
            StorageIntegrityError: It is another than the one that the model was registered with.
            StorageError: Anything else.

        Cost: 1 request.
        """
        if model.dataset is None:
            return None
        found = await self._catalog("dataset", model.dataset.name).version(model.dataset.version)
        if found.digest != model.dataset.digest:
            raise StorageIntegrityError(
                f"version {found.version} of the dataset {found.name!r} is not the one that version "
                f"{model.version} of the model {model.name!r} was trained with",
                code=ErrorCode.DIGEST_MISMATCH,
            )
        return found


def _model(version: ArtifactVersion, stage: str | None) -> Model:
    dataset = version.details.get("dataset")
    return Model(
        version.name,
        version.version,
        version.created,
        stage,
        read_metrics(version.details),
        None if dataset is None else _trained(dataset),
        version,
    )


def _trained(value: Json) -> Trained:
    members = read_object(value, "details.dataset", needs=("name", "version", "sha256"))
    return Trained(
        read_text(members["name"], "details.dataset.name", longest=100),
        read_size(members["version"], "details.dataset.version", least=1),
        read_hex(members["sha256"], "details.dataset.sha256", size=32),
    )


def _staged(version: ArtifactVersion, now: Mapping[int, StageChange]) -> Model:
    change = now.get(version.version)
    try:
        return _model(version, None if change is None else change.stage)
    except REFUSED as error:
        raise refused(error, version.kind, version.name, [version.version]) from error


def _last_in(catalog: Catalog, now: Mapping[int, StageChange], stage: str) -> int:
    there = [change for change in now.values() if change.stage == stage]
    if not there:
        raise catalog.missing(f"version in the stage {stage!r}")
    return max(there, key=lambda change: change.number).version
