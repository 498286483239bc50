"""What the commands that move many objects have in common: options, the question, lines, and the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from credstore.cli.errors import report as report_error
from credstore.cli.exits import Exit, exit_of
from credstore.cli.options import Invocation, as_size
from credstore.cli.output import human_size, note, print_json, printable, say_row
from credstore.cli.places import Spot
from credstore.cli.progress import RunBar
from credstore.errors import StorageObjectNotFoundError

if TYPE_CHECKING:
    from credstore.transfer import (
        Place,
        TransferEvent,
        TransferOptions,
        TransferPlan,
        TransferReport,
    )

F = TypeVar("F", bound=Callable[..., Any])
SHOWN = 20
"""Deletions that are listed before somebody is asked."""
_SILENT = frozenset({"same", "kept", "lost", "missing", "differing", "extra"})
"""Events that are shown where nothing is done about them, or on request."""
_MARKS = {
    "same": "=",
    "kept": "=",
    "missing": "+",
    "differing": "*",
    "extra": "-",
    "refused": "!",
    "failed": "!",
}
"""The first character of a line of `--combined`: as rclone's, and `+` is missing at the destination."""

EVERYTHING: dict[str, Any] = {
    "include": (),
    "exclude": (),
    "files_from": None,
    "follow_links": False,
    "links": "skip",
    "empty_folders": False,
    "checksum": False,
    "journal": None,
    "no_journal": False,
    "progress": None,
    "combined": None,
}
"""The options of a command that has none of those below."""
_SELECTING = (
    click.option("--include", metavar="GLOB", multiple=True, help="Only names that match; repeatable."),
    click.option(
        "--exclude", metavar="GLOB", multiple=True, help="Not these; repeatable, has the last word."
    ),
    click.option("--files-from", type=click.File(), metavar="FILE|-", help="Only these names, one a line."),
    click.option(
        "--links",
        type=click.Choice(["skip", "follow", "error"]),
        default="skip",
        show_default=True,
        help="Leave symbolic links out, follow them, or refuse them.",
    ),
    click.option("-L", "--follow-links", is_flag=True, help="As --links follow."),
    click.option("--empty-folders", is_flag=True, help="Keep folders with nothing in them."),
    click.option(
        "--checksum", is_flag=True, help="Compare by content, not by size and time; reads what has no digest."
    ),
)
_MOVING = (
    click.option("-n", "--dry-run", is_flag=True, help="Only show what would be done."),
    click.option(
        "--overwrite",
        type=click.Choice(["never", "newer", "different", "always"]),
        default="different",
        show_default=True,
        help="What may be replaced: nothing, what is older, what differs, everything.",
    ),
    click.option("--keep-retention", is_flag=True,
                 help="Put copies under the retention and legal hold of their sources."),
    click.option("--mapping", type=click.Path(dir_okay=False), metavar="FILE",
                 help="Call names otherwise that one side cannot hold, as FILE says; new ones are added."),
    click.option("--transfers", type=click.IntRange(min=1), default=64, show_default=True, metavar="N",
                 help="Objects at once, at most; fewer while a store is slow."),
    click.option("--bwlimit", metavar="SIZE", callback=as_size, help="Bytes per second: 10MB."),
    click.option("--max-transfer", metavar="SIZE", callback=as_size, help="Start nothing beyond this: 5GB."),
    click.option(
        "--verify",
        type=click.Choice(["read", "write"]),
        default="read",
        show_default=True,
        help="Read each copy back, or rely on the checks of the write.",
    ),
)  # fmt: skip
_ANY = (
    click.option("--journal", type=click.Path(dir_okay=False), metavar="FILE",
                 help="What remembers the transfers between the two; default: a file of your own."),
    click.option("--no-journal", is_flag=True, help="Remember nothing; the next run compares everything."),
    click.option("--progress/--no-progress", default=None, help="Show progress; default: on a terminal."),
    click.option("--combined", type=click.File("w"), metavar="FILE|-",
                 help="Write = same, + missing, * differing, - extra, ! failed before each name."),
)  # fmt: skip


def selecting(function: F) -> F:
    """Add the options that select and compare."""
    return _with(function, (*_SELECTING, *_ANY))


def moving(function: F) -> F:
    """Add the options of a transfer, and those that select and compare."""
    return _with(function, (*_SELECTING, *_MOVING, *_ANY))


def _with(function: F, options: tuple[Callable[[F], F], ...]) -> F:
    for option in reversed(options):
        function = option(function)
    return function


class Telling:
    """Shows a transfer as it runs, and how it ended; made once for each."""

    def __init__(
        self,
        invocation: Invocation,
        given: dict[str, Any],
        *,
        compares: bool = False,
        asks: bool = False,
        yes: bool = False,
    ) -> None:
        """Take the command's options.

        Args:
            invocation: The global options.
            given: Those of `selecting` or `moving`.
            compares: Nothing is done about what is found, so it is shown.
            asks: Something is deleted, so the plan is shown and approved first.
            yes: It is approved already.
        """
        self._invocation, self._given = invocation, given
        self._compares = compares
        self._shows = compares or bool(given.get("dry_run"))
        self._asks, self._yes = asks, yes
        self._extra: list[str] = []
        self._codes: set[int] = set()
        self._refused = False
        self.bar = RunBar(invocation, shown=given.get("progress"))

    @property
    def is_plain(self) -> bool:
        """Whether no option says which objects are meant, or what becomes of each."""
        given = self._given
        asked = ("dry_run", "include", "exclude", "files_from", "keep_retention", "mapping", "combined")
        return (
            given["overwrite"] == "different" and given["max_transfer"] is None
            and not any(given[name] for name in asked)
        )  # fmt: skip

    def options(self) -> TransferOptions:
        """The options of the transfer itself."""
        given = self._given
        options: TransferOptions = {
            "include": given["include"],
            "exclude": given["exclude"],
            "links": "follow" if given["follow_links"] else given["links"],
            "empty_folders": given["empty_folders"],
            "checksum": given["checksum"],
            "progress": self.bar if self.bar.watched else None,
            "on_event": self._event,
        }
        if given["files_from"] is not None:
            try:
                options["files_from"] = [
                    name for each in given["files_from"] if (name := each.rstrip("\r\n"))
                ]
            except UnicodeDecodeError:
                raise click.UsageError(
                    f"{given['files_from'].name} is not text in UTF-8, with a name in each line"
                ) from None
        if "overwrite" in given:
            options["overwrite"] = given["overwrite"]
            options["dry_run"] = given["dry_run"]
            options["concurrency"] = given["transfers"]
            options["bandwidth"] = given["bwlimit"]
            options["max_transfer"] = given["max_transfer"]
            options["verify"] = given["verify"]
            options["keep_retention"] = given["keep_retention"]
            if given["mapping"] is not None:
                options["mapping"] = given["mapping"]
            options["approve"] = self._approve
        return options

    def journal(self, source: Place, destination: Place) -> Path | None:
        """The journal of two places, and from now on an interruption says that it continues."""
        from credstore.transfer import journal_name

        if self._given["no_journal"]:
            return None
        if self._given["journal"] is not None:
            path = Path(self._given["journal"])
        else:
            home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
            path = Path(home).expanduser() / "credstore" / "transfers" / journal_name(source, destination)
            try:
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            except OSError as error:
                note(f"credstore: without a journal, since {error.filename} cannot be made: {error.strerror}")
                return None
        self._invocation.interrupted = "; the same command continues where this one ended"
        return path

    def _event(self, event: TransferEvent) -> None:
        invocation, kind = self._invocation, event.kind
        combined = self._given["combined"]
        if combined is not None and kind in _MARKS:
            combined.write(f"{_MARKS[kind]} {printable(event.name)}\n")  # A name may have a line break.
        if kind == "extra" and len(self._extra) < SHOWN:
            self._extra.append(event.name)
        if kind in {"failed", "refused", "left", "changed"}:
            self._trouble(event)
        elif kind not in _SILENT or (self._shows and kind not in {"same", "kept"}) or invocation.verbose:
            if invocation.json:
                print_json({"event": kind, **_facts(event)})
            elif kind == "skipped":
                if not invocation.quiet:
                    note(f"credstore: {printable(event.name)}: left out: {event.detail}")
            elif not invocation.quiet or self._shows:
                detail = [f" ({event.detail})"] if event.detail else []
                say_row(f"{kind:<9}", event.name, *detail, elastic=1, gap=" ")

    def _trouble(self, event: TransferEvent) -> None:
        if event.error is not None:
            self._codes.add(int(exit_of(event.error)))
        else:
            self._codes.add(int(Exit.PARTIAL))
        if self._invocation.json:
            print_json({"event": event.kind, **_facts(event)})
        elif event.error is not None:
            event.error.key = event.name
            report_error(event.error, self._invocation)
        else:
            name = f"{printable(event.name)}: " if event.name else ""
            note(f"credstore: {name}{printable(event.detail)}")

    def _approve(self, plan: TransferPlan) -> bool:
        if not self._asks or self._yes or not plan.deletions:
            return True
        self.bar.stop()
        for name in self._extra:
            note(f"delete    {printable(name)}")
        if plan.deletions > len(self._extra):
            note(f"... and {plan.deletions - len(self._extra):,} more")
        what = f"copy {plan.copies:,} ({human_size(plan.copy_bytes)}) and delete {plan.deletions:,}"
        if self._invocation.json or not sys.stdin.isatty():
            raise click.UsageError(f"this would {what}; deleting needs --yes, --dry-run shows all of it")
        self._refused = not click.confirm(f"Will {what}. Continue?", err=True)
        return not self._refused

    def end(self, report: TransferReport) -> None:
        """Say how it ended, and end with the exit code that says it too."""
        self.bar.stop()
        if self._given["combined"] is not None:
            self._given["combined"].flush()
        if self._invocation.json:
            print_json({"report": report})
        elif not self._invocation.quiet:
            note(_summary(report, would=report.dry_run and not self._compares and not self._refused))
        if self._refused:
            raise click.exceptions.Exit(Exit.FAILURE)
        if not report.complete:
            done = any(report.counts.get(kind) for kind in ("copied", "moved", "deleted", "same"))
            alone = len(self._codes) == 1 and not done
            raise click.exceptions.Exit(self._codes.pop() if alone else Exit.PARTIAL)


def found_any(report: TransferReport, source: Spot) -> TransferReport:
    """The same report.

    Raises:
        StorageObjectNotFoundError: There was nothing at all at the source, which is more often a typing
            mistake than meant.
    """
    if report.counts.keys() <= {"extra"}:
        raise StorageObjectNotFoundError(
            "there is nothing below it"
            if source.glob is None
            else "nothing matches it; where *, ? or [ is part of a name, write a backslash before it",
            key=source.text,
        )
    return report


def _facts(event: TransferEvent) -> dict[str, object]:
    facts: dict[str, object] = {
        "name": event.name,
        "size": event.size,
        "compared_by": event.basis,
        "detail": event.detail,
    }
    return {**facts, "error": event.error} if event.error is not None else facts


def _summary(report: TransferReport, *, would: bool) -> str:
    counts, plan = report.counts, report.plan
    words = [
        f"{counts[kind]:,} {kind}" + (f" ({human_size(report.bytes)})" if kind in {"copied", "moved"} else "")
        for kind in (
            "copied",
            "moved",
            "deleted",
            "same",
            "kept",
            "renamed",
            "skipped",
            "refused",
            "failed",
            "changed",
            "left",
        )
        if kind in counts
    ]
    if report.dry_run:
        words += [f"{counts[kind]:,} {kind}" for kind in ("missing", "differing", "extra") if kind in counts]
    if would:
        doing = [f"copy {plan.copies:,} ({human_size(plan.copy_bytes)})"] if plan.copies else []
        doing += [f"delete {plan.deletions:,}"] if plan.deletions else []
        doing += [f"delete {plan.drops:,} at the source"] if plan.drops else []
        words.append(f"would {' and '.join(doing) or 'do nothing'}")
    how = ", ".join(f"{number:,} by {basis}" for basis, number in sorted(report.compared_by.items()))
    lost = ", ".join(f"{what} of {number:,}" for what, number in sorted(report.lost.items()))
    again = "continued; " if report.resumed else ""
    return (
        f"{again}{', '.join(words) or 'nothing to do'}; {report.seconds:.1f} s"
        + (f"; compared {how}" if how else "")
        + (f"; not carried: {lost}" if lost else "")
    )
