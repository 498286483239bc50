"""What a listing may do to whoever reads all of it: nothing but give each object once, in order, and end."""

import asyncio

import pytest

from credstore.driver import ObjectInfo, Page
from credstore.errors import StorageIntegrityError, StorageInvalidRequestError
from credstore.provider import scanning
from tests.provider.support import Spy, run


def entries(*keys):
    return [ObjectInfo(key=key, size=1) for key in keys]


class Pages(Spy):
    """Gives pages of (keys, cursor) one after the other, whatever cursor it is asked with."""

    def __init__(self, *pages, again=None):
        super().__init__()
        self.pages = list(pages)
        self.again = again
        self.limits = []

    async def list(self, prefix="", cursor=None, *, limit=1000, **_options):
        self.limits.append(limit)
        keys, following = self.pages.pop(0) if self.pages else self.again(len(self.limits))
        return Page(entries=entries(*keys), cursor=following)


def listed(driver, *args):
    async def main(provider):
        return [item.key for item in await provider.list(*args)]

    return run(main, driver)


def refused(driver, words, *args):
    with pytest.raises(StorageIntegrityError, match=words) as caught:
        listed(driver, *args)
    assert caught.value.code == "LISTING"


def test_order_is_that_of_the_bytes_in_utf_8():
    # UTF-16 would have it the other way round.
    keys = ["a", "\uff5e", "\U0001f600"]
    assert listed(Pages((keys, None))) == keys
    refused(Pages(([keys[2], keys[1]], None)), "out of order")


@pytest.mark.parametrize("second", [["b"], []])
def test_a_cursor_that_leads_to_itself_is_refused_whatever_comes_with_it(second):
    refused(Pages((["a"], "1"), (second, "1"), (["c"], None)), "circles")


def test_a_key_twice_is_refused_on_one_page_and_across_two():
    refused(Pages((["a", "a"], None)), "'a' again")
    refused(Pages((["a"], "1"), (["a", "b"], None)), "'a' again")


def test_pages_without_an_entry_end_in_an_error(monkeypatch):
    monkeypatch.setattr(scanning, "EMPTY_PAGES", 5)
    endless = Pages(again=lambda number: ([], str(number)))
    refused(endless, "circles")
    assert len(endless.limits) <= 7


def test_pages_without_an_entry_count_only_in_a_row(monkeypatch):
    monkeypatch.setattr(scanning, "EMPTY_PAGES", 5)
    pages = [(["abcd"[number // 4]] if number % 4 == 3 else [], str(number)) for number in range(16)]
    assert listed(Pages(*pages, ([], None))) == list("abcd")


def test_a_page_larger_than_asked_for_gives_no_more_than_asked_for():
    driver = Pages((["a", "b", "c"], "1"), (["d"], None))
    assert listed(driver, "", 2) == ["a", "b"]
    assert driver.limits == [2]


def test_no_more_is_asked_for_than_is_wanted():
    many = [f"{number:04d}" for number in range(1001)]
    driver = Pages((many[:1000], "1"), (many[1000:], "2"))
    assert listed(driver, "", 1001) == many
    assert driver.limits == [1000, 1]


class Slow(Spy):
    """Ten pages of one key each, of which those behind the first wait for ever."""

    def __init__(self, free=1):
        super().__init__()
        self.asked = self.cut = 0
        self.free = free

    async def list(self, prefix="", cursor=None, **_options):
        at = int(cursor or 0)
        self.asked += 1
        try:
            if at >= self.free:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cut += 1
            raise
        return Page(entries=entries(f"{at}"), cursor=str(at + 1) if at < 9 else None)


async def turns():
    for _ in range(10):
        await asyncio.sleep(0)


def test_the_next_page_is_on_its_way_while_one_is_consumed_and_ends_with_the_scan():
    driver = Slow(free=3)

    async def main(provider):
        scan = provider.scan()
        for page in range(3):
            assert (await anext(scan)).key == str(page)
            await turns()
            assert driver.asked == page + 2
        await scan.aclose()
        assert (driver.cut, len(asyncio.all_tasks())) == (1, 1)

    run(main, driver)


@pytest.mark.parametrize("verb", ["list", "get_stats"])
def test_a_cancel_ends_what_is_on_its_way(verb):
    driver = Slow()

    async def main(provider):
        task = asyncio.ensure_future(getattr(provider, verb)())
        await turns()
        assert driver.asked == 2
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (driver.cut, len(asyncio.all_tasks())) == (1, 1)

    run(main, driver)


def test_a_scan_left_open_does_not_hold_up_the_close_of_its_store():
    driver = Slow()

    async def main(provider):
        scan = provider.scan()
        await anext(scan)
        await turns()
        await provider.aclose()
        with pytest.raises(StorageInvalidRequestError) as caught:
            await anext(scan)
        assert caught.value.code == "CLOSED"
        assert len(asyncio.all_tasks()) == 1

    run(main, driver)
