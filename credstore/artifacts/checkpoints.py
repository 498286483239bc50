"""Checkpoints of a training run: whole or not there, and as many of them as are wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, SupportsFloat

from credstore.arguments import typed_verbs
from credstore.artifacts.catalog import REFUSED, Catalog, refused
from credstore.artifacts.disk import DiskErrors
from credstore.artifacts.metrics import checked_metrics, read_metrics
from credstore.artifacts.pruning import prune_versions
from credstore.artifacts.retention import checked_age
from credstore.artifacts.saving import Addition, Saving
from credstore.artifacts.sources import Location, find_files
from credstore.artifacts.statements import ArtifactVersion
from credstore.artifacts.versioning import Versions
from credstore.concurrency import in_thread
from credstore.errors import StorageConflictError, StorageError, StorageInvalidRequestError
from credstore.model import Progress
from credstore.proofs.format.canonical import Json
from credstore.proofs.format.fields import read_size

Better = Literal["lower", "higher"]
"""Which values of a metric are the better ones."""
DEAD = timedelta(days=1)
"""How long saving a checkpoint may take before it counts as dead."""
_LARGEST_STEP = 2**53 - 1


@dataclass(frozen=True, slots=True)
class TrainingCheckpoint:
    """A checkpoint of a run.

    Attributes:
        run: Name of the run.
        step: The step that it was saved at.
        created: When it was saved, UTC, by the clock of whoever did.
        metrics: What was measured at that step, by name.
        artifact: The version as every artifact has it.
    """

    run: str
    step: int
    created: datetime
    metrics: Mapping[str, float] = field(hash=False)
    artifact: ArtifactVersion


@typed_verbs
class Checkpoints(Versions):
    """What a `StorageManager` does with checkpoints."""

    async def save_checkpoint(
        self,
        run: str,
        step: int,
        path: Location,
        metrics: Mapping[str, SupportsFloat] | None = None,
        *,
        keep_last: int | None = None,
        keep_best: int | None = None,
        metric: str | None = None,
        better: Better = "lower",
        abandoned_after: timedelta = DEAD,
        progress: Progress | None = None,
    ) -> TrainingCheckpoint:
        """Save a checkpoint, then remove those that are no longer wanted.

        It is there as a whole or not at all: a process that is killed meanwhile leaves the one before it.
        A step that is saved again replaces the earlier one.

        Args:
            run: 1 to 100 letters, digits, ".", "_" and "-".
            step: 0 or more.
            path: The folder with the checkpoint, or its only file.
            metrics: What was measured: up to 200 finite numbers by their names of up to 100 characters. Whole
                numbers from 2^53 to 10^21 are refused, since JSON does not have all of them.
            keep_last: How many of the last steps stay; with `keep_best`, what either keeps stays. Unless one
                of the two is given, all stay.
            keep_best: How many of the best steps stay, by `metric`. The last step always stays.
            metric: Name of the metric that decides; checkpoints without it are not among the best.
            better: Which of its values are the better ones.
            abandoned_after: What a process that was killed has left behind goes after this time; a save
                that takes longer fails.
            progress: Called with (bytes read, bytes in total).

        Raises:
            StorageInvalidRequestError: A wrong argument.
            ProofError: The trust store refuses what the signer signs now; nothing is saved.
            StorageError: As `save_dataset` and `prune`; "yes" in `applied` says that the checkpoint
                was saved.

        Cost: as `save_dataset`, and where some are to go, as `prune`.
        """
        if not 0 <= step <= _LARGEST_STEP:
            raise StorageInvalidRequestError(f"`step` is 0 to 2^53-1, not {step}")
        wanted = Wanted.checked(keep_last, keep_best, metric, better)
        checked_age(abandoned_after)
        catalog = self._catalog("checkpoint", run, writing=True)
        details: dict[str, Json] = {"step": step, "metrics": checked_metrics(metrics)}
        more = Addition(details, read=_as_read)
        self._seals.check_signs()
        source = Path(path)
        with DiskErrors():
            single = await in_thread(source.is_file)
            files = await in_thread(find_files, [source] if single else source, catalog.provider)
            saved = await Saving(catalog, files, progress, more).run()
        if wanted is not None:
            await _remove_others(catalog, wanted, abandoned_after)
        return _read(saved)

    async def checkpoints(self, run: str) -> list[TrainingCheckpoint]:
        """The checkpoints of a run, ascending by step; none is not an error.

        Raises:
            ProofError: A signature is not in order.
            StorageError: Anything else.

        Cost: 1 listing, and 1 request for each.
        """
        catalog = self._catalog("checkpoint", run)
        return _by_step(await catalog.versions(await catalog.numbers()))

    async def load_checkpoint(
        self, run: str, step: int | None = None, *, into: Location, progress: Progress | None = None
    ) -> TrainingCheckpoint:
        """Bring back a checkpoint, every chunk and file verified.

        Args:
            run: Name of the run.
            step: The step that it was saved at; the last one by default.
            into: The folder to make. It appears when all of it is there and on the disk.
            progress: Called with (bytes written, bytes in total).

        Raises:
            StorageNotFoundError: The checkpoint does not exist (code "VERSION_NOT_FOUND").
            StorageError: As `load_dataset`.
        """
        found = await self.checkpoints(run)
        chosen = [each for each in found if step is None or each.step == step][-1:]
        if not chosen:
            what = "checkpoint" if step is None else f"checkpoint of step {step}"
            raise self._catalog("checkpoint", run).missing(what)
        await self._load("checkpoint", run, chosen[0].artifact.version, into, progress)
        return chosen[0]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which checkpoints stay.

    Attributes:
        last: How many of the last steps.
        best: How many of the best ones.
        metric: By which metric; "" for none.
        better: Which of its values are the better ones.
    """

    last: int
    best: int
    metric: str
    better: Better

    @classmethod
    def checked(cls, last: int | None, best: int | None, metric: str | None, better: Better) -> Wanted | None:
        """What the arguments mean; None if all stay.

        Raises:
            StorageInvalidRequestError: They contradict each other.
        """
        for name, number in (("keep_last", last), ("keep_best", best)):
            if number is not None and number < 1:
                raise StorageInvalidRequestError(f"`{name}` is 1 or more, not {number}")
        if (best is None) != (metric is None):
            raise StorageInvalidRequestError("`keep_best` and `metric` are given together")
        if last is None and best is None:
            return None
        return cls(last or 1, best or 0, metric or "", better)

    def of(self, versions: Sequence[ArtifactVersion]) -> frozenset[int]:
        """Numbers of the versions that stay."""
        found = _by_step(versions)
        sign = 1 if self.better == "lower" else -1
        # Of equal ones the later is kept.
        ranked = sorted(
            (each for each in reversed(found) if self.metric in each.metrics),
            key=lambda each: sign * each.metrics[self.metric],
        )
        staying = [*found[-self.last :], *ranked[: self.best]]
        return frozenset(each.artifact.version for each in staying)


async def _remove_others(catalog: Catalog, wanted: Wanted, abandoned_after: timedelta) -> None:
    try:
        await prune_versions(catalog, wanted.of, abandoned_after)
    except StorageConflictError:
        return  # Another one is at it, or was killed at it; what is too many goes with the next checkpoint.
    except StorageError as error:
        error.applied = "yes"
        raise


def _as_read(version: ArtifactVersion, _files: object, _made: object) -> TrainingCheckpoint:
    return _read(version)


def _read(version: ArtifactVersion) -> TrainingCheckpoint:
    return TrainingCheckpoint(
        version.name,
        read_size(version.details.get("step"), "details.step"),
        version.created,
        read_metrics(version.details),
        version,
    )


def _by_step(versions: Sequence[ArtifactVersion]) -> list[TrainingCheckpoint]:
    """The checkpoints of a run, ascending by step; of a step that was saved again, the last one."""
    found: dict[int, TrainingCheckpoint] = {}
    for version in versions:
        try:
            read = _read(version)
        except REFUSED as error:
            raise refused(error, version.kind, version.name, [version.version]) from error
        found[read.step] = read
    return [found[step] for step in sorted(found)]
