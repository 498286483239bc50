"""What a listing must not do also where its order is the provider's own: repeat a name, or go in circles."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

REMEMBERED = 100_000
"""Names whose fingerprints are kept, the latest: one that comes again after that many is not noticed."""
PAGES = 100_000
"""Pages whose fingerprints are kept; a listing that goes in circles gives whole pages again."""


class Recent:
    """Fingerprints of the latest texts, in bounded memory."""

    def __init__(self, most: int) -> None:
        """Remember nothing yet.

        Args:
            most: How many to keep.
        """
        self._most = most
        self._seen: dict[bytes, None] = {}

    def again(self, text: bytes) -> bool:
        """Whether it was here before; remembers it."""
        mark = blake2b(text, digest_size=16).digest()
        if mark in self._seen:
            return True
        self._seen[mark] = None
        if len(self._seen) > self._most:
            del self._seen[next(iter(self._seen))]
        return False


class Repeats:
    """Notices names and pages that come again, whatever their order."""

    def __init__(self) -> None:
        """Begin with a listing."""
        self._names = Recent(REMEMBERED)
        self._pages = Recent(PAGES)

    def name_again(self, name: bytes) -> bool:
        """Whether a name was given before."""
        return self._names.again(name)

    def page_again(self, names: Iterable[bytes]) -> bool:
        """Whether a page of these names, one or more, was given before."""
        return self._pages.again(b"\0".join(names))
