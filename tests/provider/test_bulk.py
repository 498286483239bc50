"""What a listing may do to whoever reads all of it: nothing but give each object once, in order, and end."""

import pytest

from credstore.driver import ObjectInfo, Page
from credstore.errors import StorageIntegrityError
from credstore.provider import bulk
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
    monkeypatch.setattr(bulk, "EMPTY_PAGES", 5)
    endless = Pages(again=lambda number: ([], str(number)))
    refused(endless, "circles")
    assert len(endless.limits) <= 7


def test_pages_without_an_entry_count_only_in_a_row(monkeypatch):
    monkeypatch.setattr(bulk, "EMPTY_PAGES", 5)
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
