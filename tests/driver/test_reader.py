"""The one stream: it never ends well unless every byte came and matches, and always lets go."""

import asyncio
import hashlib
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credstore.driver.reader import ObjectReader
from credstore.errors import StorageError, StorageIntegrityError, StorageInvalidRequestError
from credstore.hashing import LOOP_BUDGET, sha256

PARTS = [b"abc", b"", b"defg"]
WHOLE = b"".join(PARTS)
LENGTH = len(WHOLE)


class Source:
    """Chunks, and how often they were closed."""

    def __init__(self, *parts, error=None):
        self.parts = parts
        self.error = error
        self.closed = 0
        self.ended = False

    async def chunks(self):
        try:
            for part in self.parts:
                yield part
            if self.error is not None:
                raise self.error
        finally:
            self.ended = True

    async def close(self):
        self.closed += 1

    def reader(self, length=LENGTH, digest=None, **more):
        return ObjectReader("info", self.chunks(), length=length, digest=digest, close=self.close, **more)


def read(reader, max_size=None):
    return asyncio.run(reader.read(max_size))


def test_all_bytes_and_one_close():
    source = Source(*PARTS)
    assert read(source.reader(digest=hashlib.sha256(WHOLE).digest())) == WHOLE
    assert source.closed == 1


@pytest.mark.parametrize(
    ("parts", "length", "digest", "code"),
    [
        (PARTS[:-1], len(WHOLE), None, "TRUNCATED"),
        ([], len(WHOLE), None, "TRUNCATED"),
        ([*PARTS, b"!"], len(WHOLE), None, "TOO_LONG"),
        (PARTS, len(WHOLE), hashlib.sha256(b"other").digest(), "DIGEST_MISMATCH"),
        ([b"abcdefh"], None, hashlib.sha256(WHOLE).digest(), "DIGEST_MISMATCH"),
    ],
)
def test_other_bytes_are_never_an_end(parts, length, digest, code):
    source = Source(*parts)
    with pytest.raises(StorageIntegrityError) as caught:
        read(source.reader(length, digest))
    assert caught.value.code == code
    assert source.closed == 1


def test_after_a_failure_it_does_not_end_well():
    async def main():
        reader = Source(b"abc").reader()
        for _ in range(2):
            with pytest.raises(StorageIntegrityError):
                async for _chunk in reader:
                    pass

    asyncio.run(main())


def test_leaving_early_lets_go():
    async def main():
        source = Source(*PARTS)
        async with source.reader() as reader:
            assert await anext(reader) == b"abc"
        assert source.closed == 1
        assert source.ended
        await reader.aclose()
        assert source.closed == 1

    asyncio.run(main())


def test_cancelling_lets_go():
    async def main():
        source = Source()
        started = asyncio.Event()

        async def chunks():
            started.set()
            await asyncio.Event().wait()
            yield b""

        reader = ObjectReader("info", chunks(), length=1, close=source.close)
        task = asyncio.create_task(reader.read())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert source.closed == 1

    asyncio.run(main())


def test_errors_of_the_source_are_explained():
    failure = StorageError("broken")
    with pytest.raises(StorageError) as caught:
        read(
            Source(error=failure).reader(
                explain=lambda error: error.at(provider="p", operation="open", key="k")
            )
        )
    assert caught.value is failure
    assert caught.value.key == "k"


@pytest.mark.parametrize("length", [len(WHOLE), None])
def test_no_more_than_allowed(length):
    source = Source(*PARTS)
    with pytest.raises(StorageInvalidRequestError) as caught:
        read(source.reader(length), 5)
    assert caught.value.code == "TOO_LARGE"
    assert source.closed == 1


@given(st.lists(st.binary(max_size=20), max_size=8), st.integers(-2, 2))
@settings(max_examples=60, deadline=None)
def test_any_length_but_the_right_one_is_refused(parts, error):
    whole = b"".join(parts)
    reader = Source(*parts).reader(max(0, len(whole) + error), hashlib.sha256(whole).digest())
    if error == 0 or (len(whole) + error < 0 and not whole):
        assert read(reader) == whole
    elif max(0, len(whole) + error) != len(whole):
        with pytest.raises(StorageIntegrityError):
            read(reader)


def test_large_bytes_are_hashed_in_another_thread(monkeypatch):
    threads = []
    real = hashlib.sha256

    class Spy:
        def __init__(self, data=b""):
            self._hash = real()
            if data:
                self.update(data)

        def update(self, data):
            threads.append(threading.get_ident())
            self._hash.update(data)

        def digest(self):
            return self._hash.digest()

    monkeypatch.setattr("credstore.driver.reader.hashlib.sha256", Spy)
    for size in (LOOP_BUDGET, LOOP_BUDGET + 1):
        assert asyncio.run(sha256(bytes(size))) == real(bytes(size)).digest()
    assert threads[0] == threading.get_ident()
    assert threads[1] != threading.get_ident()


@pytest.mark.parametrize("most", [None, 5, 6])
@pytest.mark.parametrize("length", [4, 5, 6, None])
@pytest.mark.parametrize("digest", [None, hashlib.sha256(b"bytes").digest(), bytes(32)])
@pytest.mark.parametrize("fails", [False, True])
def test_bytes_at_hand_are_read_as_a_stream_is(most, length, digest, fails):
    async def use(at_once):
        told, explained, closed = [], [], []

        async def chunks():
            yield b"bytes"

        async def close():
            closed.append(True)

        def progress(done, total):
            told.append((done, total))
            if fails:
                raise ZeroDivisionError

        reader = ObjectReader(
            None,
            b"bytes" if at_once else chunks(),
            length=length,
            digest=digest,
            close=close,
            explain=lambda error: explained.append(error.code),
        )
        reader.watch(progress)
        try:
            found = await reader.read(most)
        except (StorageError, ZeroDivisionError) as error:
            found = type(error), str(error)
        try:
            after = await anext(reader, None)
        except StorageError as error:
            after = error.code
        return found, after, told, explained, closed

    assert asyncio.run(use(True)) == asyncio.run(use(False))


def test_bytes_at_hand_are_refused_where_none_are_allowed():
    with pytest.raises(StorageInvalidRequestError):
        asyncio.run(ObjectReader(None, b"bytes", length=None).read(0))
