"""`credstore dictionary`: dictionaries that make many small records much smaller."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

import click

from credstore.cli.clusters import CONTINUES, cluster_of, clustered, store_for_workers
from credstore.cli.errors import report
from credstore.cli.exits import Exit
from credstore.cli.options import Command, Invocation, as_size
from credstore.cli.output import human_size, human_time, note, print_json, say, say_row
from credstore.cli.progress import TransferBar
from credstore.cli.runner import run_loop, with_store
from credstore.concurrency import map_all
from credstore.errors import StorageInvalidRequestError
from credstore.model import StoredDictionary
from credstore.threads import in_pool

if TYPE_CHECKING:
    from credstore.cluster import RecompressReport
    from credstore.provider.provider import StorageProvider

LARGEST = 256 * 1024
"""Maximum bytes of an object to train on; larger ones gain little from a dictionary."""
HELD_OUT = 10
"""One in this many samples is held out from training, to measure with."""
AT_ONCE = 16


class Trained(NamedTuple):
    """The result of a training."""

    name: str
    size: int
    samples: int
    measured: int
    plain: int
    alone: int
    with_dictionary: int


@click.group("dictionary", context_settings={"help_option_names": ["-h", "--help"]})
def dictionary_command() -> None:
    """Train zstd dictionaries on the records of a store, and list those there are."""


@dictionary_command.command("train", cls=Command)
@click.argument("prefix", default="")
@click.option(
    "--samples",
    default=2000,
    show_default=True,
    type=click.IntRange(8),
    help="How many objects to learn from, at most.",
)
@click.option(
    "--size",
    default="110KiB",
    show_default=True,
    metavar="SIZE",
    callback=as_size,
    help="Maximum size.",
)
@click.pass_obj
def train_command(invocation: Invocation, prefix: str, samples: int, size: int) -> None:
    """Train a dictionary on objects under PREFIX, and keep it in the store.

    Objects up to 256 KiB are drawn at random. A tenth of them is held out to measure how much
    smaller others will be. Put the name that is printed into CREDSTORE_DICTIONARY, together with
    CREDSTORE_COMPRESS=zstd. Older objects stay readable: each names the dictionary it needs.
    """

    async def action(provider: StorageProvider) -> Trained:
        keys = await _draw(provider, prefix, samples)
        plains = await _fetch(invocation, provider, keys)
        if not invocation.quiet:
            note(f"credstore: training on {len(plains):,} objects")
        return await _train(provider, plains, size)

    trained = with_store(invocation, action)
    if invocation.json:
        print_json(trained._asdict())
        return
    say(trained.name)
    if not invocation.quiet:
        note(_praise(trained))


def _praise(trained: Trained) -> str:
    gain = trained.alone / max(1, trained.with_dictionary)
    return (
        f"credstore: {human_size(trained.size)}, trained on {trained.samples:,} objects; "
        f"{trained.measured:,} others shrink from {human_size(trained.plain)} to "
        f"{human_size(trained.with_dictionary)}, {gain:.1f} times smaller than zstd alone makes them"
    )


async def _draw(provider: StorageProvider, prefix: str, count: int) -> list[str]:
    """Keys of `count` objects at random, each as likely as the others (reservoir sampling)."""
    chance = random.Random()  # noqa: S311 - which samples are taken is not a secret
    drawn: list[str] = []
    seen = 0
    async for item in provider.scan(prefix):
        if not 0 < item.size <= LARGEST:
            continue
        seen += 1
        if len(drawn) < count:
            drawn.append(item.key)
        elif (place := chance.randrange(seen)) < count:
            drawn[place] = item.key
    if not drawn:
        raise StorageInvalidRequestError(
            f"there are no objects of 1 byte to {human_size(LARGEST)} under {prefix!r} to train on"
        )
    return drawn


async def _fetch(invocation: Invocation, provider: StorageProvider, keys: list[str]) -> list[bytes]:
    """The objects' plain bytes; those that are gone by then are left out."""
    done = 0
    with TransferBar(invocation, "objects") as bar:

        async def fetch(key: str) -> bytes | None:
            nonlocal done
            data = await provider.retrieve(key)
            done += 1
            bar(done, len(keys))
            return data

        return [data for data in await map_all(keys, fetch, at_once=AT_ONCE) if data]


async def _train(provider: StorageProvider, plains: list[bytes], size: int) -> Trained:
    from credstore.pipeline.codec import encode
    from credstore.pipeline.training import LEAST_SAMPLES, train_dictionary

    aside = plains[::HELD_OUT] if len(plains) >= 2 * LEAST_SAMPLES else []
    taught = [plain for number, plain in enumerate(plains) if number % HELD_OUT] if aside else plains
    dictionary = await in_pool(train_dictionary, taught, size=size)
    measured = aside or plains

    def packed() -> tuple[int, int]:
        alone = sum(len(encode("zstd", plain)) for plain in measured)
        return alone, sum(len(encode("zstd", plain, dictionary)) for plain in measured)

    alone, with_dictionary = await in_pool(packed)
    await provider.add_dictionary(dictionary)
    plain = sum(map(len, measured))
    return Trained(
        dictionary.name, len(dictionary.data), len(taught), len(measured), plain, alone, with_dictionary
    )


@dictionary_command.command("apply", cls=Command)
@click.argument("name")
@click.argument("prefix", default="")
@click.option("--journal", type=click.Path(dir_okay=False), metavar="FILE", help="Remembers what was done.")
@clustered
@click.pass_obj
def apply_command(
    invocation: Invocation,
    name: str,
    prefix: str,
    *,
    journal: str | None,
    dask: str | None,
    workers: int | None,
    shared_paths: bool,
) -> None:
    """Compress the objects under PREFIX again, with the dictionary NAME, where that makes them smaller.

    The workers of a cluster do it; without --dask, new ones on this machine. An object is replaced only while
    it is the one that was read; metadata and tags stay. With --journal, what did not change is not looked at
    again.
    """
    cluster = cluster_of(dask or "local", workers, shared_paths=shared_paths)
    invocation.interrupted = CONTINUES

    async def work() -> RecompressReport:
        with TransferBar(invocation, "objects", steps=True) as bar:
            async with cluster as crew:
                place = store_for_workers(invocation, prefix)
                return await crew.recompress(place, name, journal=journal, progress=bar)

    done = run_loop(work())
    if invocation.json:
        print_json(done)
    elif not invocation.quiet:
        say(
            f"{done.recompressed:,} recompressed, {done.kept:,} kept, {done.known:,} known; "
            f"{human_size(done.before)} are {human_size(done.after)} now"
        )
    for key, error in done.failed.items():
        error.key = key
        report(error, invocation)
    if not done.complete:
        raise click.exceptions.Exit(Exit.PARTIAL)


@dictionary_command.command("list", cls=Command)
@click.pass_obj
def list_command(invocation: Invocation) -> None:
    """List the dictionaries of the store, newest last."""

    async def action(provider: StorageProvider) -> list[StoredDictionary]:
        return await provider.list_dictionaries()

    found = sorted(with_store(invocation, action), key=lambda each: str(each.last_modified))
    if invocation.json:
        print_json([{"name": each.name, "size": each.size, "stored": each.last_modified} for each in found])
    for each in found if not invocation.json else ():
        say_row(each.name, f"{human_size(each.size):>8}", human_time(each.last_modified), elastic=None)
    if not found and not invocation.json and not invocation.quiet:
        note("credstore: there are no dictionaries; credstore dictionary train makes one")
