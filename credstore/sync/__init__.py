"""Stores for code without asyncio: notebooks, Django, scripts.

    import credstore.sync

    with credstore.sync.connect("s3://bucket/prefix?region=eu-west-1") as store:
        store.store("photo.json", data)

Every verb of `StorageProvider` is there by the same name and with the same arguments, and waits for its
outcome. Where there is asyncio, `credstore.connect` is the better choice: it does many things at a time.
"""

from __future__ import annotations

from credstore.sync.reading import BlockingOpening, BlockingReader
from credstore.sync.store import BlockingStore, connect

__all__ = ["BlockingOpening", "BlockingReader", "BlockingStore", "connect"]
