"""What a user, or the report of a live check, says of a server, contrary to its cloud. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import replace
from typing import Any, TypeAlias

from credstore.driver.capability_report import STORAGE_CLASS, CapabilityReport
from credstore.driver.values import Capabilities
from credstore.errors import RetentionMode, StorageConfigurationError

Said: TypeAlias = str | CapabilityReport
"""Names separated by commas, or a report; the setting `capabilities`, once its file was read."""
FLAGS = (
    "conditional_create",
    "conditional_replace",
    "conditional_delete",
    "content_etags",
    "copy_digests",
    "delete_tells_existence",
    "ordered",
    "response_overrides",
    "sse_c",
    "sse_kms",
    "sse_s3",
    "tags",
    "upload_forms",
    "versions",
)
"""Names in `Capabilities` that servers differ in."""
MAY_LACK = (
    "conditional_create",
    "conditional_replace",
    "conditional_delete",
    "response_overrides",
    "tags",
)
"""Those that every store which is not asked over a network has, and that can be taken away by name."""


def restated(able: Capabilities, said: Said, names: Collection[str], *, most: Capabilities) -> Capabilities:
    """The capabilities as a user or a report states them.

    Args:
        able: Of the store.
        said: Names may only be taken away; a report may also grant what the driver has.
        names: Those that may be taken away by name.
        most: What the driver has at all.

    Raises:
        StorageConfigurationError: A name is unknown, or would grant something.
    """
    if isinstance(said, str):
        return taken_away(able, said, names)
    reported = said.found()
    found: dict[str, Any] = {
        name: does and getattr(most, name) for name, does in reported.items() if name in FLAGS
    }
    found["storage_classes"] = frozenset(
        name for name in able.storage_classes if reported.get(f"{STORAGE_CLASS}{name}", True)
    )
    if not reported.get("object_lock", True):
        found |= {"retention_modes": frozenset[RetentionMode](), "legal_holds": False}
    return replace(able, **found)


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
