"""The files of the verification page, which are part of the package."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

C2PA = "c2pa/"
"""Where the reader of Content Credentials is, in a package that was built with it."""
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".txt": "text/plain; charset=utf-8",
}
"""Content types of what the page loads, by the end of the name; other files are templates."""


def _folder() -> Traversable:
    return files("credstore.web") / "site"


def site_file(name: str) -> bytes:
    """The bytes of a file of the page.

    Args:
        name: One of `served_files`, or a template.
    """
    return _folder().joinpath(*name.split("/")).read_bytes()


@cache
def served_files() -> frozenset[str]:
    """The names of all files that the page loads; nothing else is ever read for a request."""
    found = {each.name for each in _folder().iterdir()}
    library = _folder() / C2PA
    if library.is_dir():
        found |= {C2PA + each.name for each in library.iterdir()}
    return frozenset(name for name in found if content_type(name) is not None)


def has_c2pa() -> bool:
    """Whether the package was built with the reader of Content Credentials."""
    return f"{C2PA}c2pa-web.js" in served_files()


def content_type(name: str) -> str | None:
    """The content type of a file of the page, or None where it is not served."""
    return next((kind for end, kind in TYPES.items() if name.endswith(end)), None)
