"""`credstore model` and `credstore checkpoint`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from credstore.cli.commands.artifacts.shared import (
    NEW,
    SETTINGS,
    SOURCE,
    VERSION,
    managed,
    prune_command,
    reading,
    refused_if_there,
    show_names,
    show_saved,
    verify_command,
    writing,
)
from credstore.cli.options import Command, Invocation, as_pairs
from credstore.cli.output import human_size, human_time, print_json, print_table, printable, say
from credstore.cli.proof_files import naming, read_whole
from credstore.cli.runner import run_loop

if TYPE_CHECKING:
    from credstore.artifacts import Model, StageChange, StorageManager, TrainingCheckpoint
    from credstore.model import Progress

MODEL_KEY = click.option(
    "--model-key",
    metavar="FILE",
    envvar="CREDSTORE_MODEL_KEY",
    help="Key that signs the model, of the scheme ecdsa-p256-sha256; --key unless given.",
)
METRIC = click.option(
    "--metric", "metrics", metavar="NAME=NUMBER", multiple=True, callback=as_pairs, help="Repeatable."
)
LARGEST_PEM = 64 * 1024


@click.group("model", context_settings=SETTINGS)
def model_command() -> None:
    """Keep versions of models, with metrics and stages, signed as OpenSSF Model Signing does."""


@writing("register")
@click.argument("name")
@click.argument("path", type=SOURCE)
@METRIC
@click.option("--stage", help='The stage it comes into, such as "staging".')
@click.option("--dataset", metavar="NAME[@VERSION]", help="What it was trained with.")
@MODEL_KEY
def register(
    invocation: Invocation,
    *,
    name: str,
    path: str,
    metrics: dict[str, str],
    stage: str | None,
    dataset: str | None,
    model_key: str | None,
    **options: Any,
) -> None:
    """Save the folder or file PATH as the next version of the model NAME."""
    numbers = as_numbers(metrics)

    async def work(manager: StorageManager, progress: Progress) -> Model:
        return await manager.register_model(
            name, path, metrics=numbers, stage=stage, dataset=dataset, progress=progress
        )

    made = managed(invocation, options, work, title="registering", model_key=model_key)
    if invocation.json:
        print_json(made)
    else:
        show_saved(invocation, made.artifact, "registered")


@reading("get")
@click.argument("name")
@click.argument("into", metavar="FOLDER", type=click.Path(), required=False, callback=refused_if_there)
@VERSION
@click.option("--stage", help="The version that came last into this stage.")
def get(
    invocation: Invocation,
    *,
    name: str,
    into: str | None,
    version: int | str | None,
    stage: str | None,
    **options: Any,
) -> None:
    """Show a version of the model NAME, and bring it back as the new folder FOLDER if that is given."""

    async def work(manager: StorageManager, progress: Progress) -> Model:
        return await manager.get_model(name, version, stage=stage, into=into, progress=progress)

    show_models(invocation, [managed(invocation, options, work, title="loading")])


@reading("list")
@click.argument("name", required=False)
def list_(invocation: Invocation, name: str | None, **options: Any) -> None:
    """List the versions of the model NAME; without it, all names."""
    if name is None:
        show_names(invocation, options, "model")
        return

    async def work(manager: StorageManager, _: Progress) -> list[Model]:
        return await manager.models(name)

    show_models(invocation, managed(invocation, options, work))


@writing("stage")
@click.argument("name")
@click.argument("stage", required=False)
@VERSION
@click.option("--none", "leave", is_flag=True, help="Take the version out of its stage.")
@click.option("--history", is_flag=True, help="Show every change instead.")
def stage(
    invocation: Invocation,
    *,
    name: str,
    stage: str | None,
    version: int | str | None,
    leave: bool,
    history: bool,
    **options: Any,
) -> None:
    """Bring a version of the model NAME into STAGE, such as staging, production or archived."""
    if (stage is not None) + leave + history != 1:
        raise click.UsageError("give one of STAGE, --none and --history")

    async def work(manager: StorageManager, _: Progress) -> list[StageChange]:
        if history:
            return await manager.stages(name)
        return [await manager.set_stage(name, stage, version)]

    changes = managed(invocation, options, work)
    if invocation.json:
        for change in changes:
            print_json(change)
    elif history:
        rows = [
            (str(each.version), each.stage or "-", human_time(each.since), each.issuer) for each in changes
        ]
        if rows:
            print_table(("version", "stage", "since", "by"), rows, elastic=(1, 3))
    elif not invocation.quiet:
        (change,) = changes
        where = "in no stage" if change.stage is None else f"in the stage {printable(change.stage)}"
        say(f"version {change.version} of the model {printable(name)} is {where}")


@click.command("verify-folder", cls=Command)
@click.argument("path", metavar="PATH", type=SOURCE)
@click.option("--public-key", required=True, metavar="FILE", help="Of whoever is to have signed it, in PEM.")
@click.option("--signature", metavar="FILE", type=SOURCE, help="model.sig in the folder unless given.")
@click.pass_obj
def verify_folder(invocation: Invocation, path: str, public_key: str, signature: str | None) -> None:
    """Verify a model on this machine against a signature of OpenSSF Model Signing; no store is needed."""
    from credstore.artifacts import ModelKey, verify_model

    with naming(public_key):
        key = ModelKey(read_whole(public_key, LARGEST_PEM))
    said = run_loop(verify_model(path, key, signature))
    if invocation.json:
        print_json({"name": said.name, "digest": said.digest, "resources": len(said.resources)})
    elif not invocation.quiet:
        say(f"verified {printable(path)}: {len(said.resources)} files, digest {said.digest.hex()}")


for each in (
    register,
    get,
    list_,
    stage,
    verify_command("model"),
    verify_folder,
    prune_command("model"),
):
    model_command.add_command(each)


@click.group("checkpoint", context_settings=SETTINGS)
def checkpoint_command() -> None:
    """Keep the last and the best checkpoints of training runs."""


@writing("save")
@click.argument("run")
@click.argument("step", type=click.IntRange(0))
@click.argument("path", type=SOURCE)
@METRIC
@click.option("--keep-last", type=click.IntRange(1), metavar="N", help="How many of the last steps stay.")
@click.option("--keep-best", type=click.IntRange(1), metavar="N", help="How many of the best steps stay.")
@click.option("--by", metavar="METRIC", help="What is best by, with --keep-best.")
@click.option("--higher", is_flag=True, help="Higher values of it are better; lower ones by default.")
def save(
    invocation: Invocation,
    *,
    run: str,
    step: int,
    path: str,
    metrics: dict[str, str],
    keep_last: int | None,
    keep_best: int | None,
    by: str | None,
    higher: bool,
    **options: Any,
) -> None:
    """Save the folder or file PATH as the checkpoint of RUN at STEP."""
    numbers = as_numbers(metrics)

    async def work(manager: StorageManager, progress: Progress) -> TrainingCheckpoint:
        return await manager.save_checkpoint(
            run,
            step,
            path,
            numbers,
            keep_last=keep_last,
            keep_best=keep_best,
            metric=by,
            better="higher" if higher else "lower",
            progress=progress,
        )

    made = managed(invocation, options, work, title="saving")
    if invocation.json:
        print_json(made)
    else:
        show_saved(invocation, made.artifact)


@reading("load")
@click.argument("run")
@NEW
@click.option("--step", type=click.IntRange(0), help="The last one unless given.")
def load(invocation: Invocation, run: str, into: str, step: int | None, **options: Any) -> None:
    """Bring the last checkpoint of RUN, or that of a step, back as the new folder FOLDER."""

    async def work(manager: StorageManager, progress: Progress) -> TrainingCheckpoint:
        return await manager.load_checkpoint(run, step, into=into, progress=progress)

    found = managed(invocation, options, work, title="loading")
    if invocation.json:
        print_json(found)
    elif not invocation.quiet:
        say(f"loaded step {found.step} of {printable(run)}")


@reading("list")
@click.argument("run", required=False)
def list_checkpoints(invocation: Invocation, run: str | None, **options: Any) -> None:
    """List the checkpoints of RUN; without it, all runs."""
    if run is None:
        show_names(invocation, options, "checkpoint")
        return

    async def work(manager: StorageManager, _: Progress) -> list[TrainingCheckpoint]:
        return await manager.checkpoints(run)

    found = managed(invocation, options, work)
    if invocation.json:
        for each in found:
            print_json(each)
        return
    rows = [
        (str(each.step), human_time(each.created), human_size(each.artifact.size), shown(each.metrics))
        for each in found
    ]
    if rows:
        print_table(("step", "saved", "size", "metrics"), rows, elastic=(3,))


for each in (save, load, list_checkpoints):
    checkpoint_command.add_command(each)


def as_numbers(metrics: dict[str, str]) -> dict[str, float]:
    """Metrics as numbers.

    Raises:
        click.UsageError: One is not a number.
    """
    try:
        return {name: float(value) for name, value in metrics.items()}
    except ValueError as error:
        raise click.UsageError(f"--metric takes a number: {error}") from None


def shown(metrics: Any) -> str:
    """Metrics on one line."""
    return ", ".join(f"{name} {value:g}" for name, value in sorted(metrics.items()))


def show_models(invocation: Invocation, models: Sequence[Model]) -> None:
    """A table of versions of a model, or a JSON document for each."""
    if invocation.json:
        for each in models:
            print_json(each)
        return
    rows = [
        (
            str(each.version),
            each.stage or "-",
            human_time(each.created),
            human_size(each.artifact.size),
            "-" if each.dataset is None else f"{each.dataset.name}@{each.dataset.version}",
            shown(each.metrics),
        )
        for each in models
    ]
    if rows:
        headings = ("version", "stage", "registered", "size", "dataset", "metrics")
        print_table(headings, rows, elastic=(1, 4, 5))
