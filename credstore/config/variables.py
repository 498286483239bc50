"""Which environment variable sets which field, as data: these serve all clouds; a cloud's own are in its row.

Each field has levels, strongest first: `CREDSTORE_<FIELD>`; then the original design's names together with
those a cloud's users already have; then what the cloud's own tools read. Within a level, all names must
agree; a higher level hides the lower ones. A name that starts with a cloud's own prefix is listed only under
that cloud, so no key set for one cloud is read for another. `.env.example` is checked against both. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from credstore.config.registry import Levels, cloud_named

PREFIX = "CREDSTORE_"
URL = "CREDSTORE_URL"
PROVIDER: Levels = (("CREDSTORE_PROVIDER",), ("STORAGE_PROVIDER",))

MILLISECONDS = frozenset({"STORAGE_TIMEOUT"})
"""Variables in which a plain number means milliseconds, as in the original design."""

ORIGINAL: Mapping[str, str] = {
    "bucket": "STORAGE_BUCKET",
    "region": "STORAGE_REGION",
    "endpoint": "STORAGE_ENDPOINT",
    "cdn_url": "STORAGE_CDN_URL",
    "max_retries": "STORAGE_MAX_RETRIES",
    "timeout": "STORAGE_TIMEOUT",
    "path": "STORAGE_PATH",
}
"""Names of the original design that serve every provider."""


def levels_of(owner: str, field: str) -> Levels:
    """Variables that set a field, strongest level first.

    Args:
        owner: Name of the cloud's row; a plug-in's has no names of its own.
        field: Of the provider's config.
    """
    row = cloud_named(owner)
    own = None if row is None else row.variables.get(field)
    beside, *below = own or ((),)
    original = (ORIGINAL[field],) if field in ORIGINAL else ()
    return ((PREFIX + field.upper(),), original + beside, *below)


def variables_of(owner: str, field: str) -> list[str]:
    """All variables that set a field, strongest first."""
    return [name for level in levels_of(owner, field) for name in level]


def spoken(names: Sequence[str]) -> str:
    """Names as the end of a sentence: `A`, `A or B`, `A, B or C`."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last
