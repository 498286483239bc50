"""Objects of a store compressed again, with a dictionary that was trained later.

Rules of this file: an object is replaced only on the condition that it is the version that was read, only by
one that is smaller, and what is there then is read back.
"""

from __future__ import annotations

from dataclasses import dataclass

from credstore.errors import StorageObjectNotFoundError, StorageUnsupportedError
from credstore.model import NOTHING, strong_etag
from credstore.pipeline.codec import encode
from credstore.provider.stored_form import tags_of
from credstore.threads import in_pool
from credstore.transfer.plan import Entry
from credstore.transfer.sides import differs
from credstore.transfer.store import Store

LARGEST = 1024 * 1024
"""Bytes of an object, as stored, that a dictionary can still make much smaller."""


@dataclass(frozen=True, slots=True)
class Recompressed:
    """What became of an object.

    Attributes:
        before: Stored bytes.
        after: Stored bytes now; as before where it was left as it was.
    """

    before: int
    after: int


async def recompress(store: Store, entry: Entry, dictionary: str) -> Recompressed:
    """Compress one object with a dictionary, if that makes it smaller; metadata, tags and headers stay.

    Args:
        store: Has the object.
        entry: The object, as it was listed.
        dictionary: Name of a dictionary of the store.

    Raises:
        StorageObjectNotFoundError: It is gone.
        StorageUnsupportedError: The store has no conditional writes, without which another writer's object
            could be lost.
        StoragePreconditionFailedError: It was replaced meanwhile, and kept.
        StorageError: Anything else.

    Cost: 1 request; for an object up to 1 MiB 1 read, and where that helps 1 write and 1 read more.
    """
    provider, key = store.provider, store.key(entry.name)
    if not provider.capabilities.conditional_replace:
        raise StorageUnsupportedError(
            "this store cannot replace an object only while it is the one that was read, so what others write"
            " meanwhile could be lost"
        )
    item = await provider.get_metadata(key)
    if item is None:
        raise StorageObjectNotFoundError("the object is gone", key=key)
    tags = await tags_of(provider, item)
    kept = Recompressed(item.size, item.size)
    has_it = (item.compression, item.dictionary) == ("zstd", dictionary)
    if has_it or item.client_side or item.size > LARGEST:
        return kept
    async with provider.open(key) as reader:
        etag = strong_etag(reader.info.etag)
        plain = await reader.read(provider.config.max_retrieve_size)
    if etag is None or etag != item.etag:
        return kept  # It was replaced; whoever did that chose how to store it.
    with_it = await provider.get_dictionary(dictionary)
    if len(await in_pool(encode, "zstd", plain, with_it)) >= item.size:
        return kept
    options = await store.options_of(item, tags)
    options["metadata"], options["if_match"] = item.metadata or NOTHING, etag
    options["compress"], options["dictionary"] = "zstd", with_it
    result = await provider.store(key, plain, **options)
    if await provider.retrieve(key) != plain:
        raise differs()
    return Recompressed(item.size, result.size)
