"""The container: one reading of the environment, one provider, closed at the end."""

import asyncio

import pytest

from credstore import Container, StorageConfigurationError, StorageInvalidRequestError


def test_it_builds_once_and_closes():
    async def main():
        async with Container({"CREDSTORE_URL": "memory://name"}) as container:
            provider = container.storage_provider()
            assert container.storage_provider() is provider
            await provider.store("key", b"1")
        assert provider.closed
        await container.aclose()
        with pytest.raises(StorageInvalidRequestError, match="closed"):
            container.storage_provider()

    asyncio.run(main())


def test_the_environment_is_read_once():
    environ = {"CREDSTORE_URL": "memory://name"}
    container = Container(environ)
    environ["CREDSTORE_URL"] = "gopher://name"
    assert container.storage_provider().get_provider_name() == "memory"


def test_the_process_environment_is_the_default(monkeypatch):
    monkeypatch.setenv("CREDSTORE_URL", "memory://name")
    assert Container().storage_provider().get_provider_name() == "memory"


def test_nothing_is_built_before_it_is_asked_for():
    async def main():
        async with Container({}) as container:
            with pytest.raises(StorageConfigurationError, match="CREDSTORE_URL"):
                container.storage_provider()

    asyncio.run(main())


def test_observers_hear_of_every_call():
    events = []

    async def main():
        async with Container({"CREDSTORE_URL": "memory://name"}, observers=[events.append]) as container:
            await container.storage_provider().store("key", b"1")

    asyncio.run(main())
    assert [event.name for event in events] == ["credstore.store"]
