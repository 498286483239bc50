"""Arguments that are more than text: durations, sizes, pairs, encryption.

Each function is a click callback: it gets the text as given and returns what it means.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

from credstore.config.units import parse_duration, parse_size
from credstore.encryption import KmsKey, ServerEncryption
from credstore.errors import StorageError

T = TypeVar("T")


def duration(context: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    """`90`, `30s`, `15m`, `12h`, `7d` as seconds."""
    return _parsed(context, parameter, text, parse_duration)


def size(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
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


def pairs(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
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


def encryption(
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
