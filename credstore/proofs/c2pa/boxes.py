"""The manifests of a manifest store as boxes: taken out whole, by type and length alone. Pure.

Rules of this file: nothing in a box is read; a store that is not exactly made of boxes is refused, and
whoever uses what was taken out has the library read it. Sources: C2PA 2.x section "Manifest Store" (a
superbox with a description and manifests, the last of which is the active one); ISO 19566-5 (JUMBF); ISO
14496-12 section 4.2.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from credstore.proofs.format.errors import ProofManifestError

_SUPERBOX, _DESCRIPTION = b"jumb", b"jumd"
_HEAD = 8
_LONG_HEAD = 16
_LONG = 1
"""In place of a length: eight bytes after the type have it."""


def active_manifest(store: bytes) -> bytes:
    """A manifest store with only the active manifest of another.

    Raises:
        ProofManifestError: It is not a manifest store.
    """
    tops = list(_boxes(store, 0))
    if len(tops) != 1 or tops[0][0] != _SUPERBOX:
        raise _no_store()
    parts = list(_boxes(store, tops[0][1]))
    kinds = [kind for kind, _, _, _ in parts]
    if len(parts) < 2 or kinds[0] != _DESCRIPTION or kinds[-1] != _SUPERBOX:  # noqa: PLR2004 - these two
        raise _no_store()
    if len(parts) == 2:  # noqa: PLR2004 - there is no other
        return store
    content = b"".join(store[start:end] for _, _, start, end in (parts[0], parts[-1]))
    return struct.pack(">I4s", _HEAD + len(content), _SUPERBOX) + content


def _boxes(data: bytes, start: int) -> Iterator[tuple[bytes, int, int, int]]:
    """Type, place of the content, start and end of each box up to the end of the data."""
    while start < len(data):
        head = _HEAD
        if len(data) - start < head:
            raise _no_store()
        size, kind = struct.unpack_from(">I4s", data, start)
        if size == _LONG:
            head = _LONG_HEAD
            if len(data) - start < head:
                raise _no_store()
            (size,) = struct.unpack_from(">Q", data, start + _HEAD)
        if not head <= size <= len(data) - start:
            raise _no_store()
        yield kind, start + head, start, start + size
        start += size


def _no_store() -> ProofManifestError:
    return ProofManifestError("this is not a manifest store, or not made of boxes with their lengths")
