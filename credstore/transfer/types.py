"""Pure: MIME types by name."""

from __future__ import annotations

import mimetypes
from functools import lru_cache

UNKNOWN_TYPE = "application/octet-stream"
_TYPES = mimetypes.MimeTypes()
for _ending, _type in {
    ".c2pa": "application/c2pa",
    ".cbor": "application/cbor",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".heic": "image/heic",
}.items():
    _TYPES.add_type(_type, _ending)


def guess_type(*names: str) -> str:
    """MIME type by the first name that has one, else that of arbitrary bytes.

    >>> guess_type("-", "proofs/1.json"), guess_type("picture.jpg", "1"), guess_type("a.json.gz", "1")
    ('application/json', 'image/jpeg', 'application/gzip')
    """
    for name in names:
        last = name.rpartition("/")[2]
        dot = last.find(".", 1)
        kind = None if dot < 0 else _of_ending(last[dot:])
        if kind is not None:
            return kind
    return UNKNOWN_TYPE


@lru_cache(1024)
def _of_ending(ending: str) -> str | None:
    kind, encoding = _TYPES.guess_type(f"name{ending}")
    if encoding is not None:
        return "application/gzip" if encoding == "gzip" else UNKNOWN_TYPE
    return kind
