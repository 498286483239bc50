"""What a user says that a server lacks, contrary to its cloud. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import replace

from credstore.driver.values import Capabilities
from credstore.errors import StorageConfigurationError


def taken_away(able: Capabilities, stated: str, names: Collection[str]) -> Capabilities:
    """The capabilities without those that are stated to be missing.

    Args:
        able: Of the cloud.
        stated: Names separated by commas, each with `-` before it.
        names: Those that may be taken away.

    Raises:
        StorageConfigurationError: A name is unknown, or would grant something.
    """
    for each in stated.split(","):
        word = each.strip()
        if not word:
            continue
        name = word.removeprefix("-")
        if name == word or name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean '-{near[0]}'?" if near else f"it knows -{', -'.join(names)}"
            raise StorageConfigurationError(f"`capabilities` has {word[:40]!r}, which is not known; {hint}")
        able = replace(able, **{name: False})  # type: ignore[arg-type]
    return able
