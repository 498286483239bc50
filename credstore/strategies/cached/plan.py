"""What the cached strategy decides, and the form of its files. Pure.

An entry is one file: the stored bytes of an object, a description, and a fixed end:

    bytes | description (JSON, UTF-8) | SHA-256 of the description | its length, 8 bytes big-endian | MAGIC

The description has what the store said of the object, and the SHA-256 of every block of the bytes, so that a
range is verified without the rest. The times of the file are part of it: the time of its last change is when
the store last confirmed the version, the time of its last access when it was last used.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any

from credstore.driver.pinning import is_same
from credstore.driver.values import ContentHeaders, ObjectInfo, ReadOptions

BLOCK = 1024 * 1024
"""Bytes of one block; what is served is verified block by block."""
MAGIC = b"credstore cache1"
TRAILER = 32 + 8 + len(MAGIC)
"""Bytes of the fixed end."""
ROOM = 0.9
"""The part of the limit that remains in use when old entries are removed."""
_NAME = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Entry:
    """What the description of a cached object says.

    Attributes:
        info: What the store said of it.
        blocks: SHA-256 of each block of `BLOCK` bytes, the last one possibly shorter.
    """

    info: ObjectInfo
    blocks: tuple[bytes, ...]


def name_of(space: str, key: str) -> str:
    """The path of an entry below the cache's directory: two hex digits, a slash, and 64."""
    name = hashlib.sha256(f"{len(space)}:{space}{key}".encode()).hexdigest()
    return f"{name[:2]}/{name}"


def is_entry(folder: str, name: str) -> bool:
    """Whether a file of this name, in a folder of that one, can be an entry.

    >>> is_entry("ab", "ab" + "0" * 62), is_entry("ab", "photo.json"), is_entry("photos", "a" * 64)
    (True, False, False)
    """
    return _NAME.fullmatch(name) is not None and folder == name[:2]


def encode(entry: Entry) -> bytes:
    """Everything that follows the bytes in the file."""
    info: dict[str, Any] = {each.name: getattr(entry.info, each.name) for each in fields(entry.info)}
    modified, headers, digest = entry.info.last_modified, entry.info.headers, entry.info.digest
    info["last_modified"] = None if modified is None else modified.isoformat()
    info["headers"] = None if headers is None else asdict(headers)
    info["digest"] = None if digest is None else digest.hex()
    for name in ("metadata", "system", "extras"):
        found: Mapping[str, str] | None = getattr(entry.info, name)
        info[name] = None if found is None else dict(found)
    described = json.dumps({"info": info, "blocks": [each.hex() for each in entry.blocks]}).encode()
    return described + hashlib.sha256(described).digest() + len(described).to_bytes(8, "big") + MAGIC


def described_length(trailer: bytes) -> int | None:
    """Bytes of the description before this fixed end; None where it is not one."""
    if len(trailer) != TRAILER or not trailer.endswith(MAGIC):
        return None
    return int.from_bytes(trailer[32:40], "big")


def decode(described: bytes, trailer: bytes, size: int) -> Entry | None:
    """The inverse of `encode`; None where anything is not as it was written.

    Args:
        described: The description.
        trailer: The fixed end.
        size: Bytes before the description.
    """
    if not hmac.compare_digest(hashlib.sha256(described).digest(), trailer[:32]):
        return None
    try:
        read: dict[str, Any] = json.loads(described)
        info: dict[str, Any] = read["info"]
        modified, digest, headers = info["last_modified"], info["digest"], info["headers"]
        info["last_modified"] = None if modified is None else datetime.fromisoformat(modified)
        info["digest"] = None if digest is None else bytes.fromhex(digest)
        info["headers"] = None if headers is None else ContentHeaders(**headers)
        entry = Entry(ObjectInfo(**info), tuple(bytes.fromhex(each) for each in read["blocks"]))
    except (ValueError, TypeError, KeyError):
        return None
    return entry if entry.info.size == size and len(entry.blocks) == -(-size // BLOCK) else None


def is_block(entry: Entry, number: int, data: bytes) -> bool:
    """Whether these are the bytes of a block."""
    return hmac.compare_digest(hashlib.sha256(data).digest(), entry.blocks[number])


def is_fresh(age: float, max_age: float) -> bool:
    """Whether an entry may be served without asking the store; not if its time is in the future."""
    return 0 <= age < max_age


def may_serve(options: ReadOptions) -> bool:
    """Whether a read can be served from the cache: of the current version, with no key of the customer's."""
    return options.version_id is None and options.customer_key is None


def may_keep(info: ObjectInfo, options: ReadOptions, limit: int) -> bool:
    """Whether what a read opened is to be kept: the whole of an object that has a version to bind it to.

    What a member of a strategy served in place of another may be old, and is not kept.
    """
    return (
        options.whole
        and may_serve(options)
        and info.etag is not None
        and not info.degraded
        and info.digest != b""
        and info.size + TRAILER <= limit
    )


def confirms(now: ObjectInfo, entry: Entry) -> bool:
    """Whether the store still has the version that was cached, by everything that it says of it."""
    kept = entry.info
    # One member of a strategy may have responded in place of another.
    return now.etag is not None and is_same(now, replace(kept, served_by=now.served_by))


@dataclass(frozen=True, slots=True)
class Found:
    """A file of the cache, as a scan finds it.

    Attributes:
        path: Below the cache's directory.
        size: Bytes.
        used: When it was last used, in nanoseconds.
    """

    path: str
    size: int
    used: int


def to_remove(found: Iterable[Found], *, held: int, wanted: int, limit: int) -> Sequence[Found]:
    """The entries to remove so that there is room: those used longest ago.

    Args:
        found: All entries.
        held: Bytes of files that cannot be removed: being written.
        wanted: Bytes that are to be added.
        limit: Bytes that all files may have.
    """
    by_use = sorted(found, key=lambda each: each.used)
    total = held + wanted + sum(each.size for each in by_use)
    if total <= limit:
        return ()
    goal = max(int(limit * ROOM), wanted)
    removed: list[Found] = []
    for each in by_use:
        if total <= goal:
            break
        removed.append(each)
        total -= each.size
    return removed
