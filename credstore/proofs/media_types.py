"""Whether a file is what its media type says, by its first bytes.

Rules of this file: only a contradiction is a finding. A file that is not recognised may be anything, and
formats that are made of another (an office document is a zip, a raw photo a TIFF) are not contradicted by it.
What the bytes are is puremagic's knowledge; here is only which answers are sure, and which names mean the
same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from credstore.concurrency import in_thread
from credstore.errors import StorageInvalidRequestError

HEAD = 8192
"""Number of first bytes looked at."""
_SURE = 0.3
"""puremagic's confidence from three bytes of magic upwards."""
_SAME: tuple[frozenset[str], ...] = (
    frozenset({"image/png", "image/apng", "image/x-png", "image/vnd.mozilla.apng"}),
    frozenset({"image/jpeg", "image/jpg", "image/pjpeg", "image/jfif"}),
    frozenset({"image/gif"}),
    frozenset({"image/webp", "image/x-webp"}),
    frozenset({"image/avif", "image/avif-sequence"}),
    frozenset({"image/heic", "image/heif", "image/heic-sequence", "image/heif-sequence"}),
    frozenset({"image/svg+xml", "application/svg+xml"}),
    frozenset({"image/bmp", "image/x-bmp", "image/x-ms-bmp"}),
    frozenset(
        {
            "video/mp4",
            "video/quicktime",
            "video/x-m4v",
            "audio/mp4",
            "audio/x-m4a",
            "audio/m4a",
            "application/mp4",
            "video/3gpp",
            "video/3gpp2",
            "audio/3gpp",
        }
    ),
    frozenset({"audio/wav", "audio/wave", "audio/x-wav", "audio/vnd.wave"}),
    frozenset({"audio/flac", "audio/x-flac"}),
    frozenset({"audio/ogg", "video/ogg", "application/ogg", "audio/opus", "audio/vorbis"}),
    frozenset({"application/pdf", "application/x-pdf"}),
)
_TIFF = "image/tiff"
_PLAIN = frozenset({"image/png", "image/jpeg", "image/gif", "audio/flac", "application/pdf"})
"""Types whose beginnings no other has; containers such as RIFF and MP4 have many types."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A media type that the bytes do not have.

    Attributes:
        said: The type that was said.
        found: The type that the first bytes show.
    """

    said: str
    found: str

    def __str__(self) -> str:
        return f"the media type is {self.said}, but the first bytes are those of {self.found}"


def find_contradiction(media_type: str, head: bytes) -> Contradiction | None:
    """Compare a media type with a file's first bytes.

    Args:
        media_type: As said; parameters are left out.
        head: The first bytes, at least 8,192 where the file has them.

    Returns:
        None where they agree, or where nothing is known.
    """
    said = media_type.partition(";")[0].strip().lower()
    main = said.partition("/")[0]
    if main not in {"image", "audio", "video", "text"} and said not in {"application/pdf", "application/mp4"}:
        return None
    found = _recognised(head)
    if not found or any(_agree(said, each) for each in found):
        return None
    return Contradiction(said, found[0])


async def check_media_type(media_type: str | None, head: bytes) -> None:
    """Refuse a media type that the bytes do not have.

    Raises:
        StorageInvalidRequestError: They contradict it.

    Cost: about 10 µs where the bytes start as the type does, which is usual; else a few ms in a thread.
    """
    if media_type is None or _starts_as(media_type.partition(";")[0].strip().lower(), head):
        return
    if found := await in_thread(find_contradiction, media_type, head):
        raise StorageInvalidRequestError(f"{found}; a proof would say something false")


def _starts_as(said: str, head: bytes) -> bool:
    """Whether the bytes have a beginning of this type that is long enough to be sure."""
    return any(head.startswith(magic, offset) for offset, magic in _beginnings().get(said, ()))


@cache
def _beginnings() -> dict[str, tuple[tuple[int, bytes], ...]]:
    import puremagic

    known: dict[str, dict[tuple[int, bytes], None]] = {}
    for each in puremagic.magic_header_array:
        if len(each.byte_match) >= _SURE * 10 and each.mime_type in _PLAIN:
            known.setdefault(each.mime_type, {})[each.offset, each.byte_match] = None
    return {mime: tuple(found) for mime, found in known.items()}


def media_type_of(head: bytes) -> str | None:
    """The type that first bytes show for sure, or None."""
    found = _recognised(head)
    return found[0] if found else None


def _recognised(head: bytes) -> list[str]:
    """Types that the bytes have for sure: the likeliest first."""
    import puremagic

    if not head:
        return []
    try:
        matches = puremagic.magic_string(head[:HEAD])
    except (puremagic.PureError, ValueError):
        return []
    known: dict[str, None] = {}
    best = max((match.confidence for match in matches), default=0.0)
    for match in matches:
        mime = str(match.mime_type).lower()
        if match.confidence >= max(_SURE, best) and (mime == _TIFF or any(mime in same for same in _SAME)):
            known[mime] = None
    return list(known)


def _agree(said: str, found: str) -> bool:
    if said == found or any(said in same and found in same for same in _SAME):
        return True
    if found == _TIFF:
        return said.startswith("image/") and not any(said in same for same in _SAME)
    # SVG is text, and so may be called.
    return found in {"image/svg+xml", "application/svg+xml"} and said.startswith("text/")
