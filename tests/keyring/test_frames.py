"""A plain data key is in no frame that a traceback shows, whatever ends a call of a wrapping key."""

from __future__ import annotations

import asyncio
import threading
import traceback

import pytest

from credstore import CallableKey, KeyRing, PassphraseKey
from credstore.encryption import DataKey
from credstore.errors import StorageError, StorageInvalidRequestError, StorageUnavailableError

PLAIN = b"canary key of thirty-two bytes!!"
SECRET = DataKey(PLAIN, key_id="old", wrapped=b"w")


async def generate(ring):
    await ring.generate(store_id="store")


async def wrap(ring):
    await ring.wrap(SECRET, store_id="store")


async def unwrap(ring):
    await ring.unwrap("mine", b"wrapped", store_id="store")


CALLS = [generate, wrap, unwrap]


def ring_of(function):
    return KeyRing(CallableKey("mine", function, function), random=lambda _: PLAIN)


def shown(error):
    """The frames of credstore and of the standard library, with their locals, and what led to the error."""
    found = []
    while error is not None:
        told = traceback.TracebackException.from_exception(error, capture_locals=True)
        found += [(frame.name, frame.locals) for frame in told.stack if frame.filename != __file__]
        error = error.__cause__ or error.__context__
    return repr(found)


def check(error):
    text = shown(error)
    assert "CallableKey" in text or "PassphraseKey" in text
    for form in (repr(PLAIN)[2:-1], PLAIN.hex(), "canary"):
        assert form not in text


def failure(error):
    async def fails(_data):
        raise error

    def fails_in_a_thread(_data):
        raise error

    return [fails, fails_in_a_thread]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("place", [0, 1], ids=["coroutine", "thread"])
@pytest.mark.parametrize(
    "error", [StorageUnavailableError("the service is down"), OSError("no")], ids=["ours", "another"]
)
def test_an_error_of_the_key_service(call, place, error):
    with pytest.raises(StorageUnavailableError) as caught:
        asyncio.run(call(ring_of(failure(error)[place])))
    check(caught.value)


@pytest.mark.parametrize("call", [generate, wrap])
def test_an_answer_that_is_none(call):
    with pytest.raises(StorageUnavailableError, match="6145 bytes") as caught:
        asyncio.run(call(ring_of(lambda data: data * 192 + b"x")))
    check(caught.value)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("gives", [False, True], ids=["ends", "answers all the same"])
def test_a_cancelled_call(call, gives):
    async def scenario():
        asked = asyncio.Event()

        async def waits(data):
            asked.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if not gives:
                    raise
            return PLAIN

        task = asyncio.ensure_future(call(ring_of(waits)))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        return caught.value

    check(asyncio.run(scenario()))


@pytest.mark.parametrize("call", CALLS)
def test_a_cancelled_call_in_a_thread(call):
    async def scenario():
        asked, end = threading.Event(), threading.Event()

        def waits(data):
            asked.set()
            end.wait()
            return PLAIN

        task = asyncio.ensure_future(call(ring_of(waits)))
        await asyncio.to_thread(asked.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        end.set()
        return caught.value

    check(asyncio.run(scenario()))


@pytest.mark.parametrize("call", [generate, wrap])
def test_a_call_that_is_cancelled_while_a_passphrase_becomes_a_key(call, monkeypatch):
    async def scenario():
        asked, end = threading.Event(), threading.Event()
        key = PassphraseKey("correct horse", salt=bytes(16))

        def derive(_self):
            asked.set()
            end.wait()
            raise StorageError("ended")

        monkeypatch.setattr(PassphraseKey, "_derive", derive)
        task = asyncio.ensure_future(call(KeyRing(key, random=lambda _: PLAIN)))
        await asyncio.to_thread(asked.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        end.set()
        return caught.value

    check(asyncio.run(scenario()))


def test_a_data_key_of_another_length():
    class Longer:
        key_id, remote = "mine", False

        async def generate(self, _random, _store_id):
            return PLAIN + b"!", b"wrapped"

        async def wrap(self, plain, store_id): ...

        async def unwrap(self, wrapped, store_id): ...

        async def aclose(self): ...

    with pytest.raises(StorageInvalidRequestError, match="has 33") as caught:
        asyncio.run(generate(KeyRing(Longer())))
    text = shown(caught.value)
    assert "canary" not in text
    with pytest.raises(StorageInvalidRequestError, match="has 33") as caught:
        DataKey(PLAIN + b"!", key_id="mine", wrapped=b"")
    assert "canary" not in shown(caught.value)
