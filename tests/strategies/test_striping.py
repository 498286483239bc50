"""Large reads from several members at once: every byte in its place, whoever is slow, dead or wrong."""

import asyncio

import pytest

from credstore.driver import READ_ALL, ReadOptions
from credstore.driver.reader import ObjectReader
from credstore.errors import ErrorCode, StorageConnectionError, StorageIntegrityError
from credstore.strategies.fastest import driver as fastest
from credstore.strategies.fastest.driver import FastestDriver
from credstore.strategies.redundant import reading
from credstore.strategies.redundant.driver import RedundantDriver
from credstore.strategies.redundant.striping import striped
from credstore.testing.harness import fetched, put
from tests.strategies.virtual import VirtualLoop
from tests.strategies.weather import Weathered

SIZE = 100
DATA = (bytes(range(251)) * 40)[: SIZE * 100]


class Failing:
    """What `striped` reads from; each member takes some seconds for a piece, or fails from some piece on."""

    def __init__(self, takes, dies=()):
        self.takes = takes
        self.dies = dict(dies)
        self.served = dict.fromkeys(takes, 0)

    async def __call__(self, view, start, end):
        await asyncio.sleep(self.takes[view])
        if self.served[view] >= self.dies.get(view, len(DATA)):
            raise StorageConnectionError(f"{view} died")
        self.served[view] += 1
        middle = min(start + 7, end)
        return [DATA[start:middle], DATA[middle:end]]


def run(work):
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(work), loop.time()
    finally:
        loop.close()


async def joined(fetch, start=0, end=SIZE * 100):
    return b"".join([chunk async for chunk in striped(list(fetch.takes), start, end, fetch, SIZE)])


@pytest.mark.parametrize(("start", "end"), [(0, len(DATA)), (3, 1003), (SIZE, SIZE + 1), (5, 5 + 3 * SIZE)])
def test_pieces_are_in_order_and_from_everyone(start, end):
    fetch = Failing({"a": 1.0, "b": 1.0, "c": 1.0})
    found, took = run(joined(fetch, start, end))
    assert found == DATA[start:end]
    pieces = -(-(end - start) // SIZE)
    assert took == -(-pieces // 3)
    if pieces > 3:
        assert min(fetch.served.values()) > 0


def test_a_slow_member_holds_up_no_one():
    fetch = Failing({"a": 1.0, "b": 1000.0})
    found, took = run(joined(fetch))
    assert found == DATA
    assert took <= len(DATA) / SIZE + 2


@pytest.mark.parametrize("dies", [{"a": 0}, {"b": 3}, {"a": 0, "c": 1}])
def test_a_member_that_dies_is_left_out(dies):
    fetch = Failing({"a": 1.0, "b": 2.0, "c": 1.5}, dies)
    found, _ = run(joined(fetch))
    assert found == DATA
    assert all(fetch.served[name] == count for name, count in dies.items())


def test_the_first_reason_is_raised_when_all_have_died():
    with pytest.raises(StorageConnectionError, match="b died"):
        run(joined(Failing({"a": 2.0, "b": 1.0}, {"a": 2, "b": 1})))


def test_a_reader_that_stops_leaves_no_task():
    async def main():
        chunks = striped(["a", "b"], 0, len(DATA), Failing({"a": 1.0, "b": 3.0}), SIZE)
        assert await anext(chunks) == DATA[:7]
        await chunks.aclose()
        return asyncio.all_tasks() == {asyncio.current_task()}

    assert run(main())[0]


class Counted(Weathered):
    """Notes the ranges that are read from it; if `wrong`, the first byte of each is."""

    wrong = False

    async def get(self, key, options=READ_ALL):
        reader = await super().get(key, options)
        if key == "key":
            self.calls.append((options.start, options.end))
            if self.wrong and not options.whole:
                data = bytearray(await reader.read())
                data[0] ^= 1
                return ObjectReader(reader.info, bytes(data), length=len(data))
        return reader


def made(monkeypatch, kind):
    monkeypatch.setattr(reading, "LEAST", 1000)
    monkeypatch.setattr(fastest, "VERIFIED", 999)
    monkeypatch.setattr(reading, "striped", lambda *given: striped(*given, SIZE))
    members = [Counted(f"m{number}") for number in range(3)]
    return members, kind(members, patience=60.0)


def ranges(member):
    return [each for each in member.calls if isinstance(each, tuple)]


@pytest.mark.parametrize("kind", [RedundantDriver, FastestDriver])
@pytest.mark.parametrize(("start", "end"), [(0, None), (500, 9000)])
def test_a_large_object_comes_from_several_members(monkeypatch, kind, start, end):
    async def main():
        members, driver = made(monkeypatch, kind)
        await put(driver, "key", DATA)
        await driver.settled()
        assert await fetched(driver, "key", ReadOptions(start=start, end=end)) == DATA[start:end]
        assert sum(bool(ranges(member)) for member in members) == 2
        async with await driver.get("key", ReadOptions(start=start, end=start + 999)) as reader:
            assert await reader.read() == DATA[start : start + 999]
        await driver.aclose()

    asyncio.run(main())


def test_wrong_bytes_among_many_are_never_accepted_and_found_next_time(monkeypatch):
    async def main():
        members, driver = made(monkeypatch, RedundantDriver)
        await put(driver, "key", DATA)
        await driver.settled()
        members[1].wrong = True
        with pytest.raises(StorageIntegrityError) as raised:
            await fetched(driver, "key")
        assert raised.value.code == ErrorCode.DIGEST_MISMATCH
        assert raised.value.retryable
        assert await fetched(driver, "key") == DATA
        await driver.aclose()

    asyncio.run(main())
