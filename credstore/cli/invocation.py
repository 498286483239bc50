"""The global options, accepted before and after the command's name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from credstore.cli import parameters


@dataclass(slots=True)
class Invocation:
    """What the global options of this run say.

    Attributes:
        store: URL of the store; None takes it from the environment.
        json: One JSON document instead of text.
        quiet: No progress and no remarks.
        verbose: All facts of errors, and each call with its duration, on stderr.
        timeout: Seconds for one operation; None leaves it to the store's settings.
    """

    store: str | None = None
    json: bool = False
    quiet: bool = False
    verbose: bool = False
    timeout: float | None = None


Keep = Callable[[click.Context, click.Parameter, Any], None]


def _keeping(
    name: str, convert: Callable[[click.Context, click.Parameter, Any], object] | None = None
) -> Keep:
    """A callback that notes the option in the `Invocation`, wherever the option stood."""

    def keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        invocation = context.ensure_object(Invocation)
        if value is not None and value is not False:
            setattr(invocation, name, convert(context, parameter, value) if convert else value)

    return keep


def global_options(*, hidden: bool) -> list[click.Option]:
    """Fresh option objects for one command.

    Args:
        hidden: Leave them out of this command's help; the group's shows them.
    """
    return [
        click.Option(
            ["--store"],
            metavar="URL",
            expose_value=False,
            hidden=hidden,
            callback=_keeping("store"),
            help="The store, such as file:///path or s3://bucket?region=eu-west-1; "
            "without it, the environment tells (CREDSTORE_URL, STORAGE_PROVIDER, ...).",
        ),
        click.Option(
            ["--json"],
            is_flag=True,
            expose_value=False,
            hidden=hidden,
            callback=_keeping("json"),
            help="Print one JSON document (ls: one per line), errors too, on stderr.",
        ),
        click.Option(
            ["-q", "--quiet"],
            is_flag=True,
            expose_value=False,
            hidden=hidden,
            callback=_keeping("quiet"),
            help="No progress, no remarks; results only.",
        ),
        click.Option(
            ["-v", "--verbose"],
            is_flag=True,
            expose_value=False,
            hidden=hidden,
            callback=_keeping("verbose"),
            help="Tell every fact of an error, and each call with its duration.",
        ),
        click.Option(
            ["--timeout"],
            metavar="DURATION",
            expose_value=False,
            hidden=hidden,
            callback=_keeping("timeout", parameters.duration),
            help="Bound on one operation, 30s or 2m; bodies add their own time.",
        ),
    ]


class Command(click.Command):
    """A command that takes the global options too."""

    def __init__(self, name: str | None, *, params: Sequence[click.Parameter] = (), **more: Any) -> None:
        """As `click.Command`."""
        more.setdefault("epilog", "Global options (credstore --help) may stand here, too.")
        super().__init__(name, params=[*params, *global_options(hidden=True)], **more)


def command(name: str, **more: Any) -> Callable[[Callable[..., Any]], Command]:
    """Decorate a function as a command of `credstore`; its docstring is the help."""
    return click.command(name, cls=Command, **more)
