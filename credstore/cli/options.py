"""The options that all commands take, and what the text of an option means.

The global options may come before or after the command's name. The functions `as_*` are click callbacks:
each gets the text as given and returns what it means.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from credstore.config.units import parse_duration, parse_size
from credstore.config.variables import PREFIX, URL
from credstore.encryption import KmsKey, ServerEncryption
from credstore.errors import RetentionMode, StorageError
from credstore.model import LockOptions

if TYPE_CHECKING:
    from credstore.factory import StorageFactory

T = TypeVar("T")
COMPLETE = "_CREDSTORE_COMPLETE"
"""Variable that a shell's function sets when it asks for suggestions; see `completing.py`."""
WRAPPING_OPTIONS = {
    "wrapping_key": "--wrapping-key",
    "older_wrapping_keys": "--older-wrapping-key",
    "store_id": "--store-id",
}
"""The settings of encryption on the client, and what gives each of them."""
MODES: tuple[RetentionMode, ...] = get_args(RetentionMode)
"""Who may end a retention early."""


@dataclass(slots=True)
class Invocation:
    """What the global options of this run say.

    Attributes:
        store: URL of the store; None takes it from the environment.
        json: One JSON document instead of text.
        quiet: No progress and no remarks.
        verbose: All facts of errors, and each call with its duration, on stderr.
        timeout: Seconds for one operation; None leaves it to the store's settings.
        wrapping: Settings of encryption on the client that options give, by name.
        env_file: Path of the file of variables that was read; None for none.
        variables: Names of those that were taken from it.
        factory: Makes the stores of this run, once there is one.
        interrupted: What to say to someone who interrupts the command now, besides that it was.
    """

    store: str | None = None
    json: bool = False
    quiet: bool = False
    verbose: bool = False
    timeout: float | None = None
    wrapping: dict[str, str] = field(default_factory=dict[str, str])
    env_file: str | None = None
    variables: frozenset[str] = frozenset()
    factory: StorageFactory | None = None
    interrupted: str = ""


Keep = Callable[[click.Context, click.Parameter, Any], None]


def _keeping(
    name: str, convert: Callable[[click.Context, click.Parameter, Any], object] | None = None
) -> Keep:
    """A callback that notes the option in the `Invocation`, wherever the option was given."""

    def keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        invocation = context.ensure_object(Invocation)
        if value is not None and value is not False:
            setattr(invocation, name, convert(context, parameter, value) if convert else value)

    return keep


def _load_variables(context: click.Context, parameter: click.Parameter, path: str | None) -> None:
    """Put the variables of a file into the environment, so that all of this run reads them."""
    del parameter
    if path is None:
        return
    from credstore.config.env_file import with_env_file

    added = {name: text for name, text in with_env_file({}, path).items() if not os.environ.get(name)}
    _set_variables(context, added)
    invocation = context.ensure_object(Invocation)
    invocation.env_file, invocation.variables = path, frozenset(added)


def _wrapping(name: str) -> Keep:
    """A callback that notes an option of encryption on the client, and lets settings be made with it."""

    def keep(context: click.Context, parameter: click.Parameter, value: str | tuple[str, ...] | None) -> None:
        if not value:
            return
        if isinstance(value, tuple):
            if any("," in each for each in value):
                raise click.BadParameter("a path here has no comma", context, parameter)
            value = ",".join(value)
        context.ensure_object(Invocation).wrapping[name] = value
        added = {f"{PREFIX}{name.upper()}": value}
        if os.environ.get(URL):  # Where both say something else, neither would count.
            added[URL] = _without(os.environ[URL], name)
        _set_variables(context, added)

    return keep


def _without(url: str, name: str) -> str:
    """A store URL without one of its parameters."""
    place, _, query = url.partition("?")
    left = "&".join(each for each in query.split("&") if each.partition("=")[0] != name)
    return f"{place}?{left}" if left else place


def _set_variables(context: click.Context, added: Mapping[str, str]) -> None:
    """Put variables into the environment for as long as this command line runs."""
    before = {name: os.environ.get(name) for name in added}
    os.environ.update(added)

    def restore() -> None:
        for name, text in before.items():
            if text is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = text

    context.call_on_close(restore)


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
            help="The store: a name (credstore stores), or a URL such as file:///path or "
            "s3://bucket?region=eu-west-1; by default from the environment (CREDSTORE_URL, ...).",
        ),
        click.Option(
            ["--env-file"],
            metavar="FILE",
            is_eager=True,  # What other options read from the environment may be in it.
            expose_value=False,
            hidden=hidden,
            callback=_load_variables,
            help="Read variables from a file such as .env, for what the environment does not have.",
        ),
        click.Option(
            [WRAPPING_OPTIONS["wrapping_key"]],
            metavar="FILE|ARN|off",
            expose_value=False,
            hidden=hidden,
            callback=_wrapping("wrapping_key"),
            help="Encrypt before anything is sent: file of a key (credstore keys), or ARN of an AWS KMS key; "
            "or CREDSTORE_WRAPPING_KEY.",
        ),
        click.Option(
            [WRAPPING_OPTIONS["older_wrapping_keys"]],
            metavar="FILE|ARN",
            multiple=True,
            expose_value=False,
            hidden=hidden,
            callback=_wrapping("older_wrapping_keys"),
            help="A key that objects may still have; repeatable; or CREDSTORE_OLDER_WRAPPING_KEYS.",
        ),
        click.Option(
            [WRAPPING_OPTIONS["store_id"]],
            metavar="NAME",
            expose_value=False,
            hidden=hidden,
            callback=_wrapping("store_id"),
            help="Permanent name that encrypted objects are bound to; or CREDSTORE_STORE_ID.",
        ),
        click.Option(
            ["--json"],
            is_flag=True,
            expose_value=False,
            hidden=hidden,
            callback=_keeping("json"),
            help="Print one JSON document (ls: one per line); errors, too, on stderr.",
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
            help="Show every fact of an error, and each call with its duration.",
        ),
        click.Option(
            ["--timeout"],
            metavar="DURATION",
            expose_value=False,
            hidden=hidden,
            callback=_keeping("timeout", as_duration),
            help="Time limit of one operation, such as 30s or 2m; bodies add their own time.",
        ),
    ]


class Command(click.Command):
    """A command that takes the global options too."""

    def __init__(self, name: str | None, *, params: Sequence[click.Parameter] = (), **more: Any) -> None:
        """As `click.Command`."""
        more.setdefault("epilog", "Global options (credstore --help) are accepted here, too.")
        super().__init__(name, params=[*params, *global_options(hidden=True)], **more)


def command(name: str, **more: Any) -> Callable[[Callable[..., Any]], Command]:
    """Decorate a function as a command of `credstore`; its docstring is the help."""
    return click.command(name, cls=Command, **more)


def as_duration(context: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    """`90`, `30s`, `15m`, `12h`, `7d` as seconds."""
    return _parsed(context, parameter, text, parse_duration)


def as_size(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    """`512`, `64KB`, `5MB`, `1GiB` as bytes."""
    return _parsed(context, parameter, text, parse_size)


def _parsed(
    context: click.Context, parameter: click.Parameter, text: str | None, parse: Callable[[str], T]
) -> T | None:
    if text is None:
        return None
    try:
        return parse(text)
    except ValueError as error:
        message = error.message if isinstance(error, StorageError) else str(error)
        raise click.BadParameter(message, context, parameter) from None


def as_instant(context: click.Context, parameter: click.Parameter, text: str | None) -> datetime | None:
    """`2030-01-31T12:00:00Z` as an instant; one without a time zone is wrong usage."""

    def parse(given: str) -> datetime:
        try:
            found = datetime.fromisoformat(given)
        except ValueError:
            raise ValueError(f"{given!r} is not a time such as 2030-01-31T12:00:00Z") from None
        if found.tzinfo is None:
            raise ValueError(f"{given!r} has no time zone; add one, as in 2030-01-31T12:00:00Z or ...+02:00")
        return found

    return _parsed(context, parameter, text, parse)


def lock_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that writes an object the options of what keeps it; see `set_lock`."""
    for option in (
        click.option("--legal-hold", is_flag=True, help="Keep what is written until it is released."),
        click.option(
            "--retain-mode",
            type=click.Choice(MODES),
            help="Who may end that early: those with a permission for it (governance) or no one.",
        ),
        click.option(
            "--retain-until",
            metavar="TIME",
            callback=as_instant,
            help="No one may remove or replace it before, such as 2030-01-31T12:00:00Z.",
        ),
    ):
        function = option(function)
    return function


def set_lock(options: LockOptions, given: dict[str, Any]) -> None:
    """Move what `lock_options` were given into the options of a verb.

    Args:
        options: Of the verb.
        given: By the command's parameters; those of `lock_options` are taken out.
    """
    until: datetime | None = given.pop("retain_until")
    mode: RetentionMode | None = given.pop("retain_mode")
    if until is not None:
        options["retain_until"] = until
    if mode is not None:
        options["retain_mode"] = mode
    if given.pop("legal_hold"):
        options["legal_hold"] = True


def as_pairs(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """Repeated `name=value` as a mapping; the value may hold further `=`."""
    named: dict[str, str] = {}
    for text in texts:
        name, found, value = text.partition("=")
        if not found or not name:
            raise click.BadParameter(f"{text!r} is not name=value", context, parameter)
        if name in named:
            raise click.BadParameter(f"{name!r} is given twice", context, parameter)
        named[name] = value
    return named


def as_encryption(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> bool | ServerEncryption | None:
    """`none`, `aes256`, `kms` or `kms:KEY-ID` as the option of `store`; None leaves it to the store."""
    if text is None:
        return None
    word, _, key_id = text.partition(":")
    match word.lower(), key_id:
        case "none", "":
            return False
        case "aes256", "":
            return "AES256"
        case "kms", _:
            return KmsKey(key_id or None)
        case _:
            raise click.BadParameter(f"{text!r} is not none, aes256, kms or kms:KEY-ID", context, parameter)
