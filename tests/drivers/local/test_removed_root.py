"""A root that was removed while it was open is no empty store."""

import asyncio
import shutil

import pytest

from credstore import LocalConfig, LocalStorageProvider
from credstore.errors import StorageError


def test_nothing_is_absent_from_a_root_that_is_gone(tmp_path):
    root = tmp_path / "store"

    async def main():
        async with LocalStorageProvider(LocalConfig(path=str(root))) as store:
            await store.store("k", b"data")
            assert await store.retrieve("absent") is None
            shutil.rmtree(root)
            for call in (
                store.retrieve("k"),
                store.get_metadata("k"),
                store.exists("k"),
                store.delete("k"),
                store.list(),
                store.get_stats(),
            ):
                with pytest.raises(StorageError) as caught:
                    await call
                assert caught.value.code == "ROOT_REMOVED"
                assert caught.value.applied == "no"
            with pytest.raises(StorageError):
                await store.store("k", b"again")
            assert not (await store.health_check()).healthy

    asyncio.run(main())
