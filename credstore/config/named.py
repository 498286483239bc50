"""Stores that have names: one TOML file of a person, so that `photos` means a store wherever a URL does.

    [photos]
    url = "s3://my-photos/2026?region=eu-west-1"
    env_file = "photos.env"

    [archive]
    provider = "local"
    path = "/srv/archive"

Rules of this file: it is read only where a name is given. A store with an `env_file` gets its settings from
there and nothing from the environment, so that the keys of two stores never mix. A file with keys in it may
be read by its owner alone. A message never repeats a value.
"""

from __future__ import annotations

import difflib
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from credstore.config.env_file import read_env_file
from credstore.config.field_types import held_by
from credstore.config.mapping import SYNONYMS
from credstore.config.registry import CLOUDS
from credstore.config.traceless import traceless
from credstore.encryption import CustomerKey, Secret
from credstore.errors import StorageConfigurationError

VARIABLE = "CREDSTORE_STORES"
"""Path of the file, instead of the usual one."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""What a store may be called: nothing that a URL or a path could be."""
URL_WORD = "url"
ENV_FILE_WORD = "env_file"
_LINE = re.compile(r"at line (\d+)")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def stores_file(environ: Mapping[str, str]) -> Path:
    """Where the names are: `CREDSTORE_STORES`, or `credstore/stores.toml` where programs keep settings.

    Args:
        environ: Variables by name.

    Source: XDG Base Directory Specification, "Environment variables".
    """
    if environ.get(VARIABLE):
        return Path(environ[VARIABLE]).expanduser()
    home = environ.get("XDG_CONFIG_HOME", "")
    # A relative path there is to be ignored, says the specification.
    base = Path(home) if home.startswith("/") else Path("~/.config").expanduser()
    return base / "credstore" / "stores.toml"


@traceless
def read_stores(path: Path) -> Mapping[str, Mapping[str, object]]:
    """What each name stands for; nothing where there is no such file.

    Raises:
        StorageConfigurationError: It cannot be read, is not TOML, has something other than stores, or keys
            that others can read.
    """
    import tomllib

    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            found = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StorageConfigurationError(
            f"the file of stores {path} cannot be read: {error.strerror or type(error).__name__}"
        ) from None
    except UnicodeDecodeError:
        raise StorageConfigurationError(f"the file of stores {path} is not UTF-8") from None
    except ValueError as error:  # Also a number of more digits than Python reads.
        line = _LINE.search(str(error))
        where = f"line {line[1]} of " if line else ""
        raise StorageConfigurationError(f"{where}the file of stores {path} is not TOML") from None
    except RecursionError:
        raise StorageConfigurationError(f"the file of stores {path} is nested too deeply") from None
    for name, store in found.items():
        if not NAME.fullmatch(name) or not isinstance(store, dict):
            raise StorageConfigurationError(
                f"the file of stores {path} has something that is not a store: each is [NAME], of letters, "
                "digits, hyphens and underscores, with its settings below"
            )
    stores = cast("Mapping[str, Mapping[str, object]]", found)
    open_to_others = os.name == "posix" and mode & _OTHERS
    if open_to_others and any(_secret_words() & each.keys() for each in stores.values()):
        raise StorageConfigurationError(
            f"the file of stores {path} has keys in it and others can read it; "
            f"chmod 600 it, or use `{ENV_FILE_WORD}`"
        )
    return stores


def is_name(text: str) -> bool:
    """Whether a text can only be the name of a store, and no URL."""
    return NAME.fullmatch(text) is not None


@traceless
def named_store(
    name: str, environ: Mapping[str, str]
) -> tuple[str | Mapping[str, object], Mapping[str, str]]:
    """The store of that name as a URL or mapping, and the environment that fills in the rest.

    Args:
        name: As for `is_name`.
        environ: Variables by name; they say where the names are.

    Raises:
        StorageConfigurationError: There is no such name, or the file is wrong; see `read_stores`.
    """
    path = stores_file(environ)
    stores = read_stores(path)
    if name not in stores:
        near = difflib.get_close_matches(name, stores, n=1)
        if near:
            hint = f"did you mean {near[0]!r}?"
        elif stores:
            hint = f"there are {', '.join(sorted(stores))}; a URL looks like s3://bucket or file:///path"
        else:
            hint = (
                "give a URL such as s3://bucket or file:///path, or name one: credstore stores add NAME URL"
            )
        raise StorageConfigurationError(f"there is no store of that name in {path}; {hint}")
    settings = dict(stores[name])
    variables = settings.pop(ENV_FILE_WORD, None)
    if variables is not None:
        if not isinstance(variables, str) or not variables:
            raise StorageConfigurationError(
                f"`{ENV_FILE_WORD}` of the store {name!r} in {path} is not a path"
            )
        environ = read_env_file(path.parent / Path(variables).expanduser())
    if URL_WORD not in settings:
        return settings, environ
    url = settings.pop(URL_WORD)
    if not isinstance(url, str) or is_name(url):
        raise StorageConfigurationError(f"`{URL_WORD}` of the store {name!r} in {path} is not a store URL")
    if settings:
        raise StorageConfigurationError(
            f"the store {name!r} in {path} has a `{URL_WORD}` and other settings; these are parameters of "
            "the URL, or all of them are settings, with a `provider`"
        )
    return url, environ


def _secret_words() -> frozenset[str]:
    """Settings of any cloud that hold a secret, and their other names."""
    held = {
        field
        for row in CLOUDS
        for field, kinds in held_by(row.config_class).items()
        if {Secret, CustomerKey} & set(kinds)
    }
    others = {word: field for row in CLOUDS for word, field in {**SYNONYMS, **row.synonyms}.items()}
    return frozenset(held | {word for word, field in others.items() if field in held})
