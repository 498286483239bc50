"""`credstore check-provider`: what a real bucket honours, compared with what is granted to it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from credstore.cli.exits import Exit
from credstore.cli.options import Invocation, command
from credstore.cli.output import human_time, note, print_json, print_table, printable, say_text
from credstore.cli.progress import TransferBar
from credstore.cli.proof_files import read_signer, replace_file
from credstore.cli.runner import run_loop
from credstore.config.settings import OFF
from credstore.driver.capability_report import CapabilityFact, CapabilityReport, encode_report

if TYPE_CHECKING:
    from credstore.proofs import LocalSigner
    from credstore.testing.live import CheckOptions


@command("check-provider")
@click.argument("url", metavar="[URL]", required=False)
@click.option(
    "--samples",
    default=20,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="Calls of each verb whose latency is measured.",
)
@click.option(
    "--quick", is_flag=True, help="Without the conformance list, which takes some 3,500 small requests."
)
@click.option(
    "--report", "report_file", metavar="FILE", help="Write a report that the store can be opened with."
)
@click.option(
    "--key",
    "key_file",
    metavar="FILE",
    help="Sign the report with this private key in PEM, as credstore proof keys generate makes it.",
)
@click.pass_obj
def check_provider_command(
    invocation: Invocation,
    *,
    url: str | None,
    samples: int,
    quick: bool,
    report_file: str | None,
    key_file: str | None,
) -> None:
    """Try what the store at URL really does, compared with what credstore relies on, and how fast it is.

    Everything is stored below a random prefix of its own, and removed at the end, also on Ctrl-C. Exit
    code 10 means that the store does not do something that is granted to it; the table says what.
    """
    from credstore.testing.live import CheckOptions

    if url is not None and invocation.store is not None and url != invocation.store:
        raise click.UsageError("give the store once: as URL, or as --store")
    if key_file is not None and report_file is None:
        raise click.UsageError("--key signs the report; say where to write it with --report")
    if report_file is not None and not Path(report_file).absolute().parent.is_dir():
        raise click.UsageError(f"--report: the folder of {report_file} is not there")
    if report_file is not None and Path(report_file).is_dir():
        raise click.UsageError(f"--report: {report_file} is a folder; name a file")
    # First, so that a key that cannot be read is found out before anything is stored.
    signer = None if key_file is None else read_signer(key_file)
    options = CheckOptions(samples=samples, conformance=not quick)
    report = run_loop(_checked(invocation, url or invocation.store, options))
    # Neither is lost where the other fails: what is shown on a full disk, the report at a closed pipe.
    try:
        if invocation.json:
            print_json({"ok": _ok(report), **_document(report)})
        else:
            _show(invocation, report)
    finally:
        if report_file is not None:
            replace_file(report_file, run_loop(_written(report, signer)))
    if report_file is not None and not (invocation.json or invocation.quiet):
        signed = "" if signer is None else f", signed by {signer.public_key.keyid}"
        note(f"credstore: the report is in {printable(report_file)}{signed}")
    if not _ok(report):
        raise click.exceptions.Exit(Exit.NOT_HONOURED)


async def _checked(invocation: Invocation, url: str | None, options: CheckOptions) -> CapabilityReport:
    # Here, since these load every driver and the wire, which `--help` does without.
    from credstore.factory import StorageFactory
    from credstore.testing.live import LiveCheck, look_at

    config = replace(StorageFactory().configure(url), wrapping_key=OFF)  # What the store does, not credstore.
    if invocation.timeout is not None:
        config = replace(config, timeout=invocation.timeout)
    store = await look_at(config)
    with TransferBar(invocation, "checking", steps=True) as bar:
        check = LiveCheck(store, options, bar)
        await check.reach()
        if not invocation.quiet and not invocation.json:
            note(f"credstore: checking below {printable(check.below)}")
        try:
            return await check.run()
        except BaseException as error:
            stays: list[str] = getattr(error, "__notes__", [])
            if stays:
                note(f"credstore: {printable('; '.join(stays))}")
            elif isinstance(error, asyncio.CancelledError):
                note(f"credstore: everything below {printable(check.below)} was removed")
            raise


async def _written(report: CapabilityReport, signer: LocalSigner | None) -> bytes:
    if signer is None:
        return encode_report(report)
    from credstore.proofs.capability_reports import sign_report

    return await sign_report(report, signer)


def _ok(report: CapabilityReport) -> bool:
    return not report.broken and not report.failed_checks


def _document(report: CapabilityReport) -> dict[str, object]:
    return {
        "provider": report.provider,
        "place": report.place,
        "tested_at": report.tested_at,
        "region": report.region,
        "location_type": report.location_type,
        "facts": [
            {
                "name": fact.name,
                "granted": fact.granted,
                "honoured": fact.honoured,
                "verdict": fact.verdict,
                "why": fact.why,
            }
            for fact in report.facts
        ],
        "latencies_us": report.latencies,
        "conformance": {
            "passed": report.checks,
            "failed": dict(report.failed_checks),
            "not_run": report.checks_not_run,
        },
    }


def _show(invocation: Invocation, report: CapabilityReport) -> None:
    say_text(f"{report.provider} at {printable(' '.join(report.place))}, {human_time(report.tested_at)}")
    say_text(f"region {printable(report.region)}, location type {printable(report.location_type)}")
    print_table(("", "granted", "honoured", "verdict"), [_row(fact) for fact in report.facts])
    print_table(
        ("milliseconds", "calls", "p50", "p95", "p99", "original"),
        [
            (each.verb, str(each.samples), *(f"{us / 1000:.1f}" for us in (each.p50, each.p95, each.p99)),
             f"{each.original / 1000:.0f}")
            for each in report.latencies
        ],
    )  # fmt: skip
    for fact in report.facts:
        if fact.honoured == "no" and fact.granted is not False:
            say_text(f"{fact.name}: {printable(fact.why)}")
        elif fact.honoured == "not tried" and not invocation.quiet:
            note(f"credstore: {fact.name} was not tried: {printable(fact.why)}")
    said = {fact.why for fact in report.facts}
    for name, why in report.failed_checks:
        say_text(f"FAILED: {name}" if why in said else f"FAILED: {name}: {printable(why)}")
    if report.checks or report.failed_checks:
        say_text(
            f"conformance: {report.checks} passed, {len(report.failed_checks)} failed, "
            f"{report.checks_not_run} not run"
        )
    count = len(report.broken)
    things = "1 thing that is" if count == 1 else f"{count} things that are"
    if not count and report.failed_checks:
        return
    say_text(
        f"this store does not do {things} granted to it"
        if count
        else "everything tried that is granted is honoured"
    )


def _row(fact: CapabilityFact) -> tuple[str, str, str, str]:
    granted = "-" if fact.granted is None else "yes" if fact.granted else "no"
    return fact.name, granted, fact.honoured, fact.verdict
