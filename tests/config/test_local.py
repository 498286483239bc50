"""A local store is where its path led when that was given."""

import asyncio
import pickle
from dataclasses import replace

import pytest

import credstore.sync
from credstore import LocalConfig, LocalStorageProvider, MemoryStorageProvider, cached
from credstore.errors import StorageConfigurationError


@pytest.fixture
def moved(tmp_path, monkeypatch):
    """Go to a folder, and to another one when called."""
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return lambda: monkeypatch.chdir(tmp_path / "there")


def test_a_store_that_is_first_used_in_another_directory(tmp_path, moved):
    config = LocalConfig(path="store")
    with credstore.sync.connect("local:second") as second:
        moved()

        async def scenario():
            async with LocalStorageProvider(config) as store:
                result = await store.store("k", b"1")
                assert result.url == (tmp_path / "here/store/k").as_uri()

        asyncio.run(scenario())
        second.store("k", b"2")
    assert (tmp_path / "here/store/k").read_bytes() == b"1"
    assert (tmp_path / "here/second/k").read_bytes() == b"2"
    assert list((tmp_path / "there").iterdir()) == []


def test_settings_that_are_made_of_others_or_sent_elsewhere(tmp_path, moved):
    config = LocalConfig(path="./a/../store")
    moved()
    for same in (config, replace(config, read_only=True), pickle.loads(pickle.dumps(config))):
        assert same.path == str(tmp_path / "here") + "/./a/../store"
        assert same.place == tmp_path / "here/store"


def test_a_cache_that_is_first_used_in_another_directory(tmp_path, moved):
    async def scenario():
        async with cached(MemoryStorageProvider(), "cache") as store:
            moved()
            await store.store("k", b"1")
            assert await store.retrieve("k") == b"1"

    asyncio.run(scenario())
    assert (tmp_path / "here/cache").is_dir()
    assert list((tmp_path / "there").iterdir()) == []


def test_no_working_directory(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(StorageConfigurationError, match="no working directory"):
        LocalConfig(path="store")
    assert LocalConfig(path=str(tmp_path)).path == str(tmp_path)
