"""What the edge asks where a browser follows a link: whether there is a page about the object, for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

PAGE_FILES = "/.credstore-page/"
"""What the paths of a page's own files start with; no link leads there, since those have a query."""


@dataclass(frozen=True, slots=True)
class PageResponse:
    """A response that is complete.

    Attributes:
        status: HTTP status.
        headers: All of them, by lower-case name, but those about the length.
        body: All of it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


@runtime_checkable
class LinkPages(Protocol):
    """Pages about objects that a link grants."""

    async def file(self, name: str) -> PageResponse | None:
        """A file that pages load, which is the same for all of them; None for any other name.

        Args:
            name: What follows `PAGE_FILES` in its path.
        """
        ...

    async def page(self, key: str, accept: str) -> PageResponse | None:
        """The page about an object that a link grants; None where its bytes are what is wanted.

        Args:
            key: The object's key.
            accept: The Accept header.

        Raises:
            StorageError: The store failed.
        """
        ...
