"""What finds out whether a server keeps conditions leaves nothing behind, however that ends."""

import asyncio

import pytest

from credstore.driver.values import BytesBody, Precondition, PutRequest
from credstore.drivers.gcs.driver import GcsDriver
from credstore.errors import ErrorCode, StorageConnectionError, StorageError, StorageUnsupportedError
from credstore.testing.scripted import ScriptedAnswer, ScriptedTransport, SentRequest
from tests.drivers.gcs.fake import LOST, FakeGcs, Tokens

ELSEWHERE = {"endpoint": "http://127.0.0.1:9", "max_retries": 0}


class Ignoring(FakeGcs):
    """A server that ignores conditions."""

    def answer(self, request: SentRequest):
        bare = request.url.replace("ifGenerationMatch", "ignored")
        return super().answer(SentRequest(request.method, bare, request.headers, request.body))


def create(driver):
    return driver.put(
        PutRequest(key="key", body=BytesBody(b"1"), write_id="0" * 32, precondition=Precondition("create"))
    )


def is_probe(request: SentRequest) -> bool:
    return request.method == "POST" and b".credstore/probe-" in request.body


@pytest.mark.parametrize("kind", [FakeGcs, Ignoring])
def test_nothing_is_left_of_a_question_that_was_answered(kind):
    fake = kind()
    driver = fake.driver(**ELSEWHERE)
    if kind is FakeGcs:
        asyncio.run(create(driver))
    else:
        with pytest.raises(StorageUnsupportedError):
            asyncio.run(create(driver))
    assert not any(name.startswith(".credstore/") for name in fake.objects)
    assert any(is_probe(each) for each in fake.sent)


@pytest.mark.parametrize("answered", [True, False])
def test_nothing_is_left_where_the_answer_was_lost(answered):
    fake = Ignoring()

    def lost(request, serve):
        if not is_probe(request):
            return None
        if answered:
            serve(request)
        return LOST

    fake.faults.append(lost)
    with pytest.raises(StorageConnectionError) as caught:
        asyncio.run(create(fake.driver(**ELSEWHERE)))
    assert caught.value.applied == "no"
    assert fake.objects == {}


def test_nothing_is_left_where_what_was_answered_is_not_googles():
    fake = Ignoring()
    fake.faults.append(lambda request, serve: (serve(request), LOST)[1] if is_probe(request) else None)
    with pytest.raises(StorageError):
        asyncio.run(create(fake.driver(**ELSEWHERE)))
    assert fake.objects == {}


@pytest.mark.parametrize("status", [200, 204, 308])
@pytest.mark.parametrize("body", [b"<html>sign in</html>", b"", b"{}"])
def test_what_is_not_google_has_not_ignored_a_condition(status, body):
    """A login page that is there for a moment takes nothing away from the store for good."""
    fake = FakeGcs()
    page = ScriptedAnswer(status, body, {"content-length": str(len(body))})
    fake.faults.append(lambda request, serve: page if is_probe(request) else None)
    driver = fake.driver(**ELSEWHERE)
    with pytest.raises(StorageError) as caught:
        asyncio.run(create(driver))
    assert (caught.value.code, caught.value.applied) == (ErrorCode.NOT_S3, "no")
    fake.faults.clear()
    assert driver.capabilities.conditional_create
    asyncio.run(create(driver))
    assert fake.objects.keys() == {"key"}


@pytest.mark.parametrize("during", ["write", "removal"])
def test_nothing_is_left_by_whoever_is_cancelled(during):
    fake = Ignoring()

    class Waiting(ScriptedTransport):
        """Holds back what was answered until it is cancelled, or told to go on."""

        def __init__(self) -> None:
            super().__init__(fake.answer)
            self.reached, self.go = asyncio.Event(), asyncio.Event()

        async def send(self, request, *, deadline=None):
            given = await super().send(request, deadline=deadline)
            if (request.method == "POST") is (during == "write"):
                self.reached.set()
                await self.go.wait()
            return given

    async def main():
        transport = Waiting()
        driver = GcsDriver(fake.config(**ELSEWHERE), tokens=Tokens(), transport=transport)
        task = asyncio.ensure_future(create(driver))
        await transport.reached.wait()
        task.cancel()
        if during == "removal":
            await asyncio.sleep(0)
            transport.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert fake.objects == {}
        await driver.aclose()

    asyncio.run(main())


def test_a_removal_that_fails_is_not_the_callers_failure():
    fake = Ignoring()
    fake.faults.append(lambda request, serve: LOST if request.method == "DELETE" else None)
    with pytest.raises(StorageUnsupportedError) as caught:
        asyncio.run(create(fake.driver(**ELSEWHERE)))
    assert caught.value.code == ErrorCode.UNSUPPORTED
