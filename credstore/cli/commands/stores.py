"""`credstore stores`: the file of names, changed without losing what somebody wrote into it by hand."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from credstore.cli.exits import Exit
from credstore.cli.options import Command, Invocation
from credstore.cli.output import note, print_json, print_table, printable, say
from credstore.config.multi import multi_of
from credstore.config.named import ENV_FILE_WORD, NAME, URL_WORD, read_stores, stores_file
from credstore.config.registry import Registry
from credstore.config.settings import OFF
from credstore.config.url import parse_url
from credstore.files import PRIVATE, PendingFile

STORE_ID = "store_id"


@click.group("stores", context_settings={"help_option_names": ["-h", "--help"]})
def stores_command() -> None:
    """Give stores names, to be used in place of their URLs: credstore --store photos ls.

    They are in credstore/stores.toml below ~/.config, or in the file that CREDSTORE_STORES names. Keys do not
    have to be in it: they come from the environment, or from the file that --env-file names.
    """


@stores_command.command("add", cls=Command)
@click.argument("name")
@click.argument("url")
@click.option("-f", "--force", is_flag=True, help="Replace a store of that name.")
@click.pass_obj
def add_command(invocation: Invocation, name: str, url: str, *, force: bool) -> None:
    """Let NAME stand for the store at URL, such as s3://my-photos/2026?region=eu-west-1.

    With --env-file, keys and everything else that the URL does not say come from that file, and nothing
    from the environment, so that stores with different keys can be used side by side. With --wrapping-key
    and --store-id, the store is encrypted so wherever the name is used; paths are kept, and no key.
    """
    if not NAME.fullmatch(name):
        raise click.BadParameter(
            "a name has 1 to 64 letters, digits, hyphens and underscores", param_hint="NAME"
        )
    if multi_of(url) is None:
        if invocation.wrapping:
            if "wrapping_key" in invocation.wrapping and STORE_ID not in invocation.wrapping:
                raise click.UsageError("--wrapping-key needs --store-id, the same wherever the store is used")
            _check_keys(invocation.wrapping)
            said = urlencode(
                {name: _absolute(name, text) for name, text in invocation.wrapping.items()}, safe="/:,"
            )
            url += f"{'&' if '?' in url else '?'}{said}"
        parse_url(url, "URL", Registry())
    elif invocation.wrapping:
        raise click.UsageError("several stores as one say how they are encrypted in the URL of each")
    path = stores_file(os.environ)
    document = _document(path)
    if name in document and not force:
        raise FileExistsError(errno.EEXIST, f"there is a store {name!r} already; --force replaces it")
    import tomlkit

    table = tomlkit.table()
    table[URL_WORD] = url
    if invocation.env_file is not None:
        table[ENV_FILE_WORD] = str(Path(invocation.env_file).expanduser().absolute())
    document[name] = table
    _write(path, document)
    if invocation.json:
        print_json({"name": name, "url": url, "file": str(path)})
    elif not invocation.quiet:
        say(f"{name} is {printable(url)} from now on; try it with: credstore --store {name} doctor")


def _check_keys(wrapping: Mapping[str, str]) -> None:
    """Refuse what has no key in it, before anything of it is kept or shown.

    Raises:
        StorageConfigurationError: A file is missing, open to others or holds no key; or it is the key itself.
    """
    from credstore.keyring.local import LocalKey

    for name, text in wrapping.items():
        for each in () if name == STORE_ID else text.split(","):
            if each != OFF and not each.startswith("arn:"):
                LocalKey.from_file(Path(each).expanduser())


def _absolute(name: str, text: str) -> str:
    """An option of encryption with paths that lead to the same files from everywhere."""
    if name == STORE_ID:
        return text
    return ",".join(
        each if each == OFF or each.startswith("arn:") else str(Path(each).expanduser().absolute())
        for each in text.split(",")
    )


@stores_command.command("list", cls=Command)
@click.pass_obj
def list_command(invocation: Invocation) -> None:
    """Show the names and what they stand for; no key is shown."""
    path = stores_file(os.environ)
    rows = {name: _said(settings) for name, settings in sorted(read_stores(path).items())}
    if invocation.json:
        print_json([{"name": name, **said} for name, said in rows.items()])
    elif rows:
        print_table(
            ("name", "store", "variables"),
            [(name, said["store"] or "-", said[ENV_FILE_WORD] or "-") for name, said in rows.items()],
            elastic=(0, 1, 2),
        )
    elif not invocation.quiet:
        note(f"no store has a name yet in {path}; credstore stores add NAME URL gives one")


@stores_command.command("remove", cls=Command)
@click.argument("name")
@click.pass_obj
def remove_command(invocation: Invocation, name: str) -> None:
    """Forget NAME; the store itself is not touched."""
    path = stores_file(os.environ)
    document = _document(path)
    if name not in document:
        note(f"credstore: no store is named {printable(name)} in {path}")
        raise click.exceptions.Exit(Exit.NOT_FOUND)
    del document[name]
    _write(path, document)
    if invocation.json:
        print_json({"name": name, "removed": True})


def _said(settings: Any) -> dict[str, str | None]:
    """What may be shown of the settings of a store."""
    url = settings.get(URL_WORD)
    if not isinstance(url, str):
        place = settings.get("bucket") or settings.get("bucket_name") or settings.get("path") or ""
        url = f"{settings.get('provider') or settings.get('provider_type')}: {place}"
    variables = settings.get(ENV_FILE_WORD)
    return {"store": url, ENV_FILE_WORD: variables if isinstance(variables, str) else None}


def _document(path: Path) -> Any:
    import tomlkit

    read_stores(path)  # Says what is wrong with it.
    return tomlkit.parse(path.read_text("utf-8")) if path.exists() else tomlkit.document()


def _write(path: Path, document: Any) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = Path(os.path.realpath(path))
    with PendingFile(target, replace=True, mode=PRIVATE) as file:
        file.write(document.as_string().encode())
        file.publish()
