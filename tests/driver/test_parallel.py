"""Large objects over several connections: exact, pinned to one version, bounded, nothing left behind."""

import asyncio
import gc
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credstore.driver import ReadOptions
from credstore.driver.parallel import cut_spans, in_order
from credstore.errors import StorageConnectionError, StorageIntegrityError
from tests.drivers.s3.fake import RESET, Answer
from tests.drivers.s3.running import run
from tests.drivers.s3.support import put_request

PART = 200_000
DATA = bytes(range(256)) * 8000  # More than arrives with the headers of an answer.
PARTS = {"multipart_threshold": 10_000_000, "part_size": PART, "max_concurrency": 4}


def left() -> set[str]:
    """Tasks but this one."""
    return {task.get_coro().__qualname__ for task in asyncio.all_tasks() - {asyncio.current_task()}}


def ranges(fake) -> list[str | None]:
    return [seen.headers.get("range") for seen in fake.sent("GET")]


def test_the_parts_are_fetched_once_each_and_put_together():
    async def check(fake, driver):
        stored = await driver.put(put_request("k", DATA))
        reader = await driver.get("k")
        assert await reader.read() == DATA
        wanted = [f"bytes={start}-{end - 1}" for start, end in cut_spans(PART, len(DATA), PART)]
        first, *parts = ranges(fake)
        assert (first, sorted(parts)) == (None, sorted(wanted))  # They arrive as their connections open.
        pinned = {seen.headers.get("if-match") for seen in fake.sent("GET")[1:]}
        assert pinned == {f'"{stored.etag}"'}

    run(check, **PARTS)


def test_a_range_of_a_large_object():
    async def check(fake, driver):
        await driver.put(put_request("k", DATA))
        for start, end in ((0, 1_000_000), (777, 777_777), (1_900_000, None), (0, 300_000)):
            async with await driver.get("k", ReadOptions(start=start, end=end)) as reader:
                assert await reader.read() == DATA[start:end]

    run(check, **PARTS)


def test_a_small_object_is_one_request():
    async def check(fake, driver):
        await driver.put(put_request("k", DATA[: 2 * PART - 1]))
        assert await (await driver.get("k")).read() == DATA[: 2 * PART - 1]
        assert ranges(fake) == [None]

    run(check, **PARTS)


def test_one_connection_is_enough_where_that_was_asked_for():
    async def check(fake, driver):
        await driver.put(put_request("k", DATA))
        assert await (await driver.get("k")).read() == DATA
        assert ranges(fake) == [None]

    run(check, **{**PARTS, "max_concurrency": 1})


def test_a_broken_part_is_continued():
    async def check(fake, driver):
        await driver.put(put_request("k", DATA))
        kept = {**fake.objects["k"].headers, "ETag": fake.objects["k"].etag}
        half = {**kept, "Content-Range": f"bytes {PART}-{2 * PART - 1}/{len(DATA)}"}
        span = f"bytes={PART}-{2 * PART - 1}"

        def cut(request):
            """The first answer to this range ends early; parts are asked for at once, in any order."""
            asked = [each for each in ranges(fake) if each == span]
            if request.headers.get("range") == span and len(asked) == 1:
                return Answer(206, DATA[PART : PART + 400], half, declared=PART)
            return fake.apply(request)

        fake.plan("GET", cut, times=20)
        reader = await driver.get("k")
        assert await reader.read() == DATA
        assert f"bytes={PART + 400}-{2 * PART - 1}" in ranges(fake)

    run(check, **PARTS)


def test_parts_of_two_versions_are_never_mixed():
    async def check(fake, driver):
        await driver.put(put_request("k", DATA))
        reader = await driver.get("k")
        await driver.put(put_request("k", DATA[::-1]))
        with pytest.raises(StorageIntegrityError) as caught:
            await reader.read()
        assert caught.value.code == "REPLACED"

    run(check, **PARTS)


def test_a_part_that_cannot_be_had_ends_the_reading():
    async def check(fake, driver):
        await driver.put(put_request("k", DATA))
        reader = await driver.get("k")
        fake.plan("GET", RESET, times=1000)
        with pytest.raises(StorageConnectionError):
            await reader.read()
        assert left() == set()

    run(check, max_retries=0, **PARTS)


@pytest.mark.parametrize("chunks", [0, 1, 2, 5])
def test_leaving_early_leaves_no_task(chunks):
    async def check(fake, driver):
        await driver.put(put_request("k", DATA))
        async with await driver.get("k") as reader:
            for _ in range(chunks):
                await anext(reader)
        assert left() == set()

    run(check, **PARTS)
    gc.collect()


def test_a_cancel_leaves_no_task():
    async def check(fake, driver):
        await driver.put(put_request("k", DATA))
        reading = asyncio.create_task(_slowly(await driver.get("k")))
        while len(fake.sent("GET")) < 4:
            await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await asyncio.sleep(0)
        assert left() == set()

    run(check, **PARTS)


async def _slowly(reader):
    async with reader:
        async for _ in reader:
            await asyncio.sleep(0)


def test_leaving_ends_what_is_on_the_way():
    ended = []

    async def fetch(start, end):
        try:
            await asyncio.sleep(0)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append((start, end))
            raise

    async def first():
        for _ in range(3):
            await asyncio.sleep(0)
            yield b"first"

    async def main():
        async with aclosing(in_order(first(), [(5, 6), (6, 7)], fetch, concurrency=3)) as chunks:
            async for _ in chunks:
                await asyncio.sleep(0)
                break

    asyncio.run(asyncio.wait_for(main(), 30))
    assert ended == [(5, 6), (6, 7)]


@given(
    length=st.integers(0, 60),
    size=st.integers(1, 9),
    concurrency=st.integers(2, 5),
    order=st.randoms(use_true_random=False),
)
@settings(max_examples=60)
def test_any_order_of_arrival_gives_the_bytes_in_order(length, size, concurrency, order):
    data = bytes(range(length))
    running = 0
    most = 0

    async def fetch(start, end):
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(order.randrange(5)):
            await asyncio.sleep(0)
        running -= 1
        return [data[at : min(at + 2, end)] for at in range(start, end, 2)]

    async def first():
        yield data[:size]

    async def main():
        chunks = in_order(first(), cut_spans(size, length, size), fetch, concurrency=concurrency)
        async with aclosing(chunks):
            return b"".join([chunk async for chunk in chunks])

    assert asyncio.run(main()) == data
    assert most <= concurrency
