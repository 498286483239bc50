"""Opening, closing, events, and errors nobody foresaw."""

import asyncio

import pytest

from credstore import SignedUrl, StorageError, StorageInvalidRequestError, StorageUnavailableError
from tests.provider.support import Spy, over, run


def test_a_closed_provider_refuses_and_closes_once():
    class Closing(Spy):
        closed = 0

        async def aclose(self):
            self.closed += 1

    driver = Closing()

    async def main():
        provider = over(driver)
        async with provider:
            await provider.store("key", b"1")
        await provider.aclose()
        assert provider.closed
        assert driver.closed == 1
        for call in (
            provider.store("k", b"1"),
            provider.retrieve("k"),
            provider.list(),
            provider.get_stats(),
        ):
            with pytest.raises(StorageInvalidRequestError) as caught:
                await call
            assert caught.value.code == "CLOSED"
        assert not (await provider.health_check()).healthy

    asyncio.run(main())


def test_closing_waits_for_calls_under_way():
    class Slow(Spy):
        def __init__(self):
            super().__init__()
            self.started, self.go_on = asyncio.Event(), asyncio.Event()

        async def put(self, request):
            self.started.set()
            await self.go_on.wait()
            return await super().put(request)

    async def main():
        driver = Slow()
        provider = over(driver)
        storing = asyncio.create_task(provider.store("key", b"1"))
        await driver.started.wait()
        closing = asyncio.create_task(provider.aclose())
        await asyncio.sleep(0)
        assert not closing.done()
        driver.go_on.set()
        assert (await storing).size == 1
        await closing

    asyncio.run(main())


def test_a_scan_held_open_does_not_keep_it_open():
    async def main():
        provider = over(Spy())
        for key in ("a", "b"):
            await provider.store(key, b"1")
        scan = provider.scan()
        assert (await anext(scan)).key == "a"
        await provider.aclose()
        with pytest.raises(StorageInvalidRequestError) as caught:
            await anext(scan)
        assert caught.value.code == "CLOSED"

    asyncio.run(main())


def test_another_loop_is_refused():
    provider = over(Spy())
    asyncio.run(provider.exists("key"))
    with pytest.raises(StorageInvalidRequestError) as caught:
        asyncio.run(provider.exists("key"))
    assert caught.value.code == "WRONG_LOOP"


def test_a_forked_child_is_refused(monkeypatch):
    provider = over(Spy())
    monkeypatch.setattr("credstore.forks.count", 1)
    with pytest.raises(StorageInvalidRequestError) as caught:
        asyncio.run(provider.exists("key"))
    assert caught.value.code == "FORKED"


def test_what_nobody_foresaw_is_a_storage_error():
    class Broken(Spy):
        async def put(self, request):
            raise RuntimeError("secret detail of below")

        async def get(self, key, options):
            raise KeyError("secret detail of below")

    async def main(provider):
        with pytest.raises(StorageError) as caught:
            await provider.store("key", b"1")
        assert (caught.value.code, caught.value.applied) == ("UNFORESEEN", "maybe")
        assert isinstance(caught.value.__cause__, RuntimeError)
        assert "secret" not in str(caught.value)
        with pytest.raises(StorageError) as caught:
            await provider.retrieve("key")
        assert (caught.value.key, caught.value.applied) == ("key", "no")

    run(main, Broken())


def test_every_error_says_where_it_happened():
    class Down(Spy):
        async def put(self, request):
            raise StorageUnavailableError("down", applied="maybe")

    async def main(provider):
        with pytest.raises(StorageUnavailableError) as caught:
            await provider.store("key", b"1")
        error = caught.value
        assert (error.provider, error.operation, error.key, error.applied) == (
            "memory",
            "store",
            "key",
            "maybe",
        )
        assert error.retryable

    run(main, Down())


def test_health_is_a_result_never_an_error():
    class Down(Spy):
        async def ping(self, *, deadline=None):
            raise StorageUnavailableError("down")

    async def main(provider):
        result = await provider.health_check()
        assert not result.healthy
        assert "down" in result.errors[0]
        assert result.latency >= 0

    run(main, Down())
    assert run(lambda provider: provider.health_check()).healthy


def test_one_event_for_each_verb():
    events = []

    async def main(provider):
        await provider.store("key", b"12345678" * 9, compress="gzip")
        await provider.retrieve("key")
        await provider.get_metadata("key")
        await provider.exists("key")
        await provider.list()
        await provider.get_stats()
        await provider.copy("key", "copy")
        await provider.move("copy", "moved")
        await provider.delete("moved")
        await provider.batch_delete(["key"])
        with pytest.raises(StorageError):
            await provider.store("", b"1")
        with pytest.raises(StorageError):
            await provider.get_signed_url("key")

    run(main, observers=[events.append])
    assert [event.name.removeprefix("credstore.") for event in events] == [
        "store", "retrieve", "get_metadata", "exists", "list", "get_stats", "copy", "move", "delete",
        "batch_delete", "store", "get_signed_url",
    ]  # fmt: skip
    assert events[0].attributes["plain_size"] == 72
    assert [event.error for event in events[-2:]] == ["INVALID_KEY", "NOT_FOUND"]


def test_the_provider_shows_no_secret():
    provider = over(Spy())
    assert repr(provider) == "<StorageProvider memory (open)>"
    assert not isinstance(provider.get_url("a b"), SignedUrl)


def test_a_close_cut_short_is_finished_by_the_next():
    class Slow(Spy):
        def __init__(self):
            super().__init__()
            self.started, self.go_on, self.closed = asyncio.Event(), asyncio.Event(), 0

        async def put(self, request):
            self.started.set()
            await self.go_on.wait()
            return await super().put(request)

        async def aclose(self):
            self.closed += 1

    async def main():
        driver = Slow()
        provider = over(driver)
        storing = asyncio.create_task(provider.store("key", b"1"))
        await driver.started.wait()
        closing = asyncio.create_task(provider.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert driver.closed == 0
        both = [asyncio.create_task(provider.aclose()) for _ in range(2)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in both)
        driver.go_on.set()
        await asyncio.gather(storing, *both)
        assert driver.closed == 1

    asyncio.run(main())


def test_a_release_that_fails_is_tried_again():
    class Failing(Spy):
        left = 1

        async def aclose(self):
            if self.left:
                self.left -= 1
                raise StorageUnavailableError("not now")
            await super().aclose()

    async def main():
        driver = Failing()
        provider = over(driver)
        with pytest.raises(StorageUnavailableError):
            await provider.aclose()
        await provider.aclose()
        assert driver._guard.closed

    asyncio.run(main())


def test_leaving_a_scan_early_is_no_failure():
    events = []

    async def main(provider):
        for key in ("a", "b"):
            await provider.store(key, b"1")
        scan = provider.scan()
        async for item in scan:
            assert item.key == "a"
            break
        await scan.aclose()

    run(main, observers=[events.append])
    assert [(event.name, event.error) for event in events][-1] == ("credstore.list", None)


def test_an_observer_that_raises_changes_nothing(caplog):
    def broken(event):
        raise RuntimeError("broken")

    async def main(provider):
        await provider.store("key", b"1")
        assert await provider.retrieve("key") == b"1"
        with pytest.raises(StorageInvalidRequestError):
            await provider.store("", b"1")

    run(main, observers=[broken])
    assert "an observer raised" in caplog.text
