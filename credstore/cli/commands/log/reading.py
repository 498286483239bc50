"""`credstore log check`, `monitor`, `proof` and `export`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from credstore.cli.commands.log.shared import (
    LOG,
    MEMORY,
    POLICY,
    PREFIX,
    URL,
    OpenedLog,
    counted,
    now,
    read_policy,
    with_log,
)
from credstore.cli.exits import Exit
from credstore.cli.io import NewFile, StandardOutput
from credstore.cli.options import Invocation, as_duration, command
from credstore.cli.output import note, print_json, printable, say, say_text
from credstore.cli.proof_files import read_whole
from credstore.cli.runner import run_loop

if TYPE_CHECKING:
    from credstore.proofs.log import IndexReport, LogReport, MonitorReport

LARGEST_ENTRY = 65_535


@command("check")
@LOG
@POLICY
@URL
@PREFIX
@MEMORY
@click.option(
    "--repair-index",
    is_flag=True,
    help="Write wrong runs of its index again, from the entries; needs no key.",
)
@click.pass_obj
def check_command(
    invocation: Invocation,
    *,
    vkeys: tuple[str, ...],
    policy_file: str | None,
    url: str | None,
    prefix: str,
    memory_folder: str | None,
    repair_index: bool,
) -> None:
    """Read a whole log: every tile and entry, against its signed root.

    A log in a store that has whole proofs is checked with the index that finds them: a run that someone has
    replaced could hide proofs from get and find. Exit code 27 means that something is not sound.
    """
    if repair_index and url is not None:
        raise click.UsageError("--repair-index is for the log in a store, not for --url")

    async def action(log: OpenedLog) -> tuple[LogReport, IndexReport]:
        from credstore.proofs.log import IndexReport, check_index, check_log

        report = await check_log(log.client)
        if report.problems or log.objects is None:
            return report, IndexReport()
        whole = bool(report.whole)
        return report, await check_index(log.client, log.objects, repair=repair_index, whole=whole)

    report, index = with_log(
        invocation,
        action,
        policy=read_policy(policy_file, vkeys),
        url=url,
        prefix=prefix,
        memory_folder=memory_folder,
        writing=repair_index,
    )
    if invocation.json:
        print_json(
            {
                "origin": report.checkpoint.origin,
                "size": report.checkpoint.size,
                "root": report.checkpoint.root.hex(),
                "entries": report.entries,
                "tiles": report.tiles,
                "problems": report.problems,
                "index": index,
            }
        )
    else:
        for path, problem in (report.problems | index.problems).items():
            say_text(f"{path}: {problem}")
        if not invocation.quiet:
            runs = f", {counted(index.runs, 'run')} of its index" if index.runs else ""
            origin, mended = printable(report.checkpoint.origin), "; written again" if index.repaired else ""
            tiles = counted(report.tiles, "tile")
            say_text(f"{origin}: {counted(report.entries, 'entry', 'entries')}, {tiles} read{runs}{mended}")
        if index.problems and not index.repaired:
            note("credstore: credstore log check --repair-index writes the index again, from the entries")
    if report.problems or (index.problems and not index.repaired):
        raise click.exceptions.Exit(Exit.LOG)


@command("monitor")
@LOG
@POLICY
@URL
@PREFIX
@MEMORY
@click.option(
    "--max-age",
    metavar="DURATION",
    callback=as_duration,
    help="The log stalls where its witnesses have not seen it for longer, such as 1h.",
)
@click.option("--expect", metavar="FILE", multiple=True, help="The bytes of an entry that has to be in it.")
@click.option("--start", metavar="INDEX", type=click.IntRange(0), default=0, help="First entry to read.")
@click.pass_obj
def monitor_command(
    invocation: Invocation,
    *,
    vkeys: tuple[str, ...],
    policy_file: str | None,
    url: str | None,
    prefix: str,
    memory_folder: str | None,
    max_age: float | None,
    expect: tuple[str, ...],
    start: int,
) -> None:
    """Compare a log with what its witnesses have cosigned, and read its entries.

    Exit code 27 means a fork, a stall, a missing entry, or a witness that forgot what it had cosigned; with
    --memory the notes that prove it are kept. Without it, a witness is known only for the checkpoint that is
    shown now, and for what a writer of the log has found before.
    """
    policy = read_policy(policy_file, vkeys)
    if max_age is not None and not policy.is_witnessed:
        raise click.UsageError(
            "--max-age needs a --policy with a quorum of witnesses, which say when they have seen the log"
        )
    expected = [read_whole(name, LARGEST_ENTRY) for name in expect]

    async def action(log: OpenedLog) -> MonitorReport:
        from credstore.proofs.log import WitnessGroup, monitor_log

        return await monitor_log(
            log.client,
            WitnessGroup(policy, log.http, memory=log.memory, objects=log.objects).clients,
            now=now(),
            max_age=None if max_age is None else timedelta(seconds=max_age),
            expected=expected,
            start=start,
        )

    report = with_log(invocation, action, policy=policy, url=url, prefix=prefix, memory_folder=memory_folder)
    if invocation.json:
        print_json(
            {
                "origin": report.checkpoint.origin,
                "size": report.checkpoint.size,
                "witnessed": report.witnessed,
                "unreachable": report.unreachable,
                "verified": report.verified,
                "problems": report.problems,
                "compared": report.compared,
            }
        )
    else:
        for problem in report.problems:
            say_text(problem)
        for name, why in report.unreachable.items():
            say_text(f"{name} was not asked: {why}")
        if not invocation.quiet:
            origin, size = printable(report.checkpoint.origin), report.checkpoint.size
            say_text(f"{origin}: size {size}, {counted(report.verified, 'entry', 'entries')} verified")
    if not (report.compared or report.problems or invocation.quiet):
        note(
            "credstore: the log was compared with nothing, so that a fork or a step back would not be seen; "
            "give --memory, or a --policy with the URLs of witnesses"
        )
    if report.problems:
        raise click.exceptions.Exit(Exit.LOG)


@command("proof")
@click.argument("index", metavar="INDEX", type=click.IntRange(0))
@click.option("-o", "--output", metavar="FILE", default="-", show_default=True, help="Standard output for -.")
@click.option("--entry", "entry_file", metavar="FILE", help="Write the entry's bytes to this file, too.")
@click.option("-f", "--force", is_flag=True, help="Replace files.")
@LOG
@POLICY
@URL
@PREFIX
@MEMORY
@click.pass_obj
def proof_command(
    invocation: Invocation,
    *,
    index: int,
    output: str,
    entry_file: str | None,
    force: bool,
    vkeys: tuple[str, ...],
    policy_file: str | None,
    url: str | None,
    prefix: str,
    memory_folder: str | None,
) -> None:
    """Write a proof that an entry is in the log, which verifies offline (c2sp.org/tlog-proof)."""

    async def action(log: OpenedLog) -> tuple[bytes, bytes]:
        await log.client.checkpoint()
        return await log.client.prove(index), await log.client.entry(index)

    proof, entry = with_log(
        invocation,
        action,
        policy=read_policy(policy_file, vkeys),
        url=url,
        prefix=prefix,
        memory_folder=memory_folder,
    )
    if entry_file is not None:
        run_loop(_write(entry, entry_file, force=force))
    run_loop(_write(proof, output, force=force))
    if output != "-" and invocation.json:
        print_json({"index": index, "file": output, "entry": entry_file})
    elif output != "-" and not invocation.quiet:
        say(printable(output))


async def _write(data: bytes, output: str, *, force: bool) -> None:
    if output == "-":
        await StandardOutput().write(data)
        return
    async with NewFile(Path(output), replace=force) as file:
        await file.write(data)
        await file.publish()


@command("export")
@click.argument("folder", metavar="FOLDER")
@LOG
@POLICY
@URL
@PREFIX
@MEMORY
@click.pass_obj
def export_command(
    invocation: Invocation,
    *,
    folder: str,
    vkeys: tuple[str, ...],
    policy_file: str | None,
    url: str | None,
    prefix: str,
    memory_folder: str | None,
) -> None:
    """Copy a log into FOLDER, verified, as files that any web server can serve; again to continue a copy."""

    async def action(log: OpenedLog) -> int:
        from credstore.proofs.log import export_log

        return await export_log(log.client, folder)

    size = with_log(
        invocation,
        action,
        policy=read_policy(policy_file, vkeys),
        url=url,
        prefix=prefix,
        memory_folder=memory_folder,
    )
    if invocation.json:
        print_json({"folder": folder, "size": size})
    elif not invocation.quiet:
        say(f"{counted(size, 'entry', 'entries')} in {printable(folder)}")
