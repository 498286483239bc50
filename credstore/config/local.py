"""The settings of stores of this machine: a folder, and memory.

Rules of this file: those of `stores.py`. It imports nothing of a cloud, so that a local store starts fast.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from credstore.config import validation as checks
from credstore.config.field_types import Role
from credstore.config.settings import CommonConfig, StatedConfig, with_prefix


@dataclass(frozen=True, kw_only=True)
class LocalConfig(StatedConfig):
    """Files below one directory of this machine.

    Attributes:
        path: The root directory, as text or a path object; kept as text. A relative one is that of the moment
            when these settings are made, whatever the working directory is later, or in another process.
        create: Make the root if it is missing.
        link_url: Base of temporary links: where `credstore serve` or `serve_links` serves this root.
        fsync: Keep acknowledged objects through a power failure; False only for throw-away data.
        group_commit: Let objects of up to 64 KiB that are stored at the same time share their flushes: many
            more a second, such as with `issue_many`, while one alone takes a little longer. What is
            acknowledged is as durable as without. On ext4 and xfs (Linux 5.17 or newer) it is one flush of
            the whole file system, which waits for what other programs have written as well.
    """

    provider: ClassVar[str] = "local"
    roles: ClassVar[Mapping[str, Role]] = {
        **CommonConfig.roles,
        "create": "tuning",
        "fsync": "tuning",
        "group_commit": "tuning",
    }
    path: str | os.PathLike[str] = field(default="", kw_only=False)
    create: bool = True
    link_url: str = "http://127.0.0.1:8765"
    fsync: bool = True
    group_commit: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.root:
            raise checks.wrong(self.cloud, "path", "is missing")
        if "\0" in self.root:
            raise checks.wrong(self.cloud, "path", "contains a NUL character")
        object.__setattr__(self, "path", self._from_here())  # So that equal roots have equal configs.

    def _from_here(self) -> str:
        if Path(self.root).is_absolute():
            return self.root
        try:
            return os.path.join(Path.cwd(), self.root)  # noqa: PTH118 - `a/..` stays, since `a` may be a link
        except OSError:
            raise checks.wrong(
                self.cloud, "path", "is relative, and there is no working directory (it was removed)"
            ) from None

    @property
    def root(self) -> str:
        """The root directory as text."""
        return os.fspath(self.path)

    @property
    def place(self) -> object:
        """The root, following symbolic links."""
        return Path(self.root).resolve()

    @property
    def public_base(self) -> str:
        """The root as a URL, for this machine."""
        return "file://" + quote(str(Path(self.root)))

    @property
    def answers_at(self) -> str | None:
        """See `link_url`."""
        return self.link_url

    @classmethod
    def placed(cls, authority: str, path: str) -> dict[str, object] | None:
        """The whole path; see `CommonConfig.placed`."""
        if authority not in {"", "localhost"}:
            return None
        return {"path": path} if path else {}


@dataclass(frozen=True, kw_only=True)
class MemoryConfig(StatedConfig):
    """The memory of this process, for tests, and the executable specification of a driver.

    Attributes:
        name: A label; two stores with the same name share nothing, but a factory returns the same one again.
        link_url: Base of temporary links: where `serve_links` serves this store.
    """

    provider: ClassVar[str] = "memory"
    name: str = "memory"
    link_url: str = "http://127.0.0.1:8765"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.check_word(self.cloud, "name", self.name)

    @property
    def public_base(self) -> str:
        """A label that leads nowhere."""
        return f"memory://{quote(self.name, safe='')}"

    @property
    def answers_at(self) -> str | None:
        """See `link_url`."""
        return self.link_url

    @classmethod
    def placed(cls, authority: str, path: str) -> dict[str, object] | None:
        """The name, and the prefix after `//name`; see `CommonConfig.placed`."""
        if not authority:
            return {"name": path} if path else {}
        return with_prefix({"name": authority}, path)
