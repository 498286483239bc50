"""A file of variables, `.env` by custom, read only where somebody names it.

Rules of this file: lines are what python-dotenv takes for lines, but nothing in a value is expanded, since a
secret may contain `$`. A message names a line by its number and never repeats it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from credstore.config.traceless import traceless
from credstore.errors import StorageConfigurationError
from credstore.extras import require_extra


@traceless
def with_env_file(environ: Mapping[str, str], path: str | os.PathLike[str] | None) -> Mapping[str, str]:
    """The variables of a process, and those of a file that it does not have itself.

    Args:
        environ: Variables by name. They take precedence, as with other programs that read such files, so that
            one can be changed for one run; an empty one counts as unset.
        path: Of the file; None for no file.

    Raises:
        StorageConfigurationError: As for `read_env_file`.
    """
    if path is None:
        return environ
    return MappingProxyType({**read_env_file(path), **{name: text for name, text in environ.items() if text}})


@traceless
def read_env_file(path: str | os.PathLike[str]) -> dict[str, str]:
    """The variables of a file.

    Args:
        path: Of the file, in UTF-8.

    Raises:
        StorageConfigurationError: There is no such file, it cannot be read, a line of it is not
            `NAME=value`, or python-dotenv is not installed ("EXTRA_MISSING").
    """
    require_extra("dotenv", "a file of variables needs")
    from dotenv.parser import parse_stream

    file = Path(path).expanduser()
    try:
        with file.open(encoding="utf-8-sig") as stream:
            lines = list(parse_stream(stream))
    except OSError as error:
        raise StorageConfigurationError(
            f"the file of variables {file} cannot be read: {error.strerror or type(error).__name__}"
        ) from None
    except UnicodeDecodeError:
        raise StorageConfigurationError(f"the file of variables {file} is not UTF-8") from None
    for each in lines:
        if each.error or (each.key is not None and each.value is None):
            raise StorageConfigurationError(
                f"line {each.original.line} of the file of variables {file} is not NAME=value"
            )
    return {each.key: each.value for each in lines if each.key is not None and each.value is not None}
