"""What a user, or the report of a live check, states of a server: names added to a row, or taken away. Pure.

Rules of this file: a statement is the user's word for what their server does, so it may grant, as does a
report that the user passes; what a name grants is one fact of the row, and a name that is unknown is refused
with the nearest ones.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from credstore.driver.capability_report import STORAGE_CLASS, CapabilityReport, is_name
from credstore.driver.stated import FLAGS, Said
from credstore.drivers.s3.dialect import MODES, S3Dialect
from credstore.errors import RetentionMode, StorageConfigurationError

_COPY_CREATE = "create_by_copy"
_LOCK = "object_lock"
_OF_ROW = (
    "create_by_multipart",
    "replace_by_multipart",
    "replace_by_copy",
    "pinned_copy",
    "copy_keeps_tags",
    "acl",
    "url_encoded_list",
    "quoted_if_match",
)
NAMES = tuple(sorted((*_OF_ROW, *FLAGS, _COPY_CREATE, _LOCK)))
"""What can be stated, besides `storage_class:NAME`; `S3Dialect` and `Capabilities` say what each means."""
_NEEDS: Mapping[str, str] = {
    "create_by_multipart": "conditional_create",
    _COPY_CREATE: "conditional_create",
    "replace_by_multipart": "conditional_replace",
    "replace_by_copy": "conditional_replace",
}
"""What means nothing without another."""


def stated(dialect: S3Dialect, said: Said) -> S3Dialect:
    """The row with what a user or a report states of their server.

    Args:
        dialect: Of the cloud or flavor.
        said: Names separated by commas, each granting, where one with `-` before it is taken away; or a
            report, which takes away what the server was seen not to do, and grants what it was seen to do.

    Raises:
        StorageConfigurationError: A name is unknown, stated twice, or means nothing without another.
    """
    if isinstance(said, CapabilityReport):
        return _reported(dialect, said)
    named = [each.strip() for each in said.split(",") if each.strip()]
    seen: set[str] = set()
    for each in named:
        name = each.removeprefix("-")
        if name in seen:
            raise _wrong(f"has {name!r} twice")
        seen.add(name)
        dialect = _with(dialect, name, granted=name == each)
    for name, needed in _NEEDS.items():
        if name in named and not has(dialect, needed):
            raise _wrong(f"has {name!r} without {needed!r}, without which it means nothing")
    return dialect


def _reported(dialect: S3Dialect, report: CapabilityReport) -> S3Dialect:
    for name, does in report.found().items():
        # How a row says it stays: R2's copies only create with a header of its own.
        if name.startswith(STORAGE_CLASS) or (name in NAMES and does != has(dialect, name)):
            dialect = _with(dialect, name, granted=does)
    for name, needed in _NEEDS.items():
        if has(dialect, name) and not has(dialect, needed):
            dialect = _with(dialect, name, granted=False)
    return dialect


def _with(dialect: S3Dialect, name: str, *, granted: bool) -> S3Dialect:
    able = dialect.capabilities
    flag: dict[str, Any] = {name: granted}
    if name.startswith(STORAGE_CLASS) and is_name(name):
        word = frozenset({name.removeprefix(STORAGE_CLASS)})
        change: Callable[[frozenset[str]], frozenset[str]] = (
            word.union if granted else (lambda had: had - word)
        )
        return replace(dialect, capabilities=replace(able, storage_classes=change(able.storage_classes)))
    if name in FLAGS:
        return replace(dialect, capabilities=replace(able, **flag))
    if name == _COPY_CREATE:
        return replace(dialect, create_by_copy="if-none-match" if granted else None)
    if name == _LOCK:
        modes = MODES if granted else frozenset[RetentionMode]()
        return replace(dialect, capabilities=replace(able, retention_modes=modes, legal_holds=granted))
    if name in _OF_ROW:
        return replace(dialect, **flag)
    near = difflib.get_close_matches(name, NAMES, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it knows {', '.join(NAMES)} and storage_class:NAME"
    raise _wrong(f"has {name[:40]!r}, which is not known; {hint}")


def has(dialect: S3Dialect, name: str) -> bool:
    """Whether a row grants one of `NAMES`."""
    return bool(getattr(dialect.capabilities if name in FLAGS else dialect, name))


def _wrong(how: str) -> StorageConfigurationError:
    return StorageConfigurationError(f"`capabilities` {how}")
